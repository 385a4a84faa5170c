"""Streams as LlamaIndex expects them, and that leaving one closes the upstream connection."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, TextBlock, ThinkingBlock, ToolCallBlock
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.program.utils import process_streaming_objects
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import ConfigError, StreamInterruptedError
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.http.log import Request

from ..cases.matrix import FIRST, SECOND

ASKED = [ChatMessage("Say something")]
SLOW = 0.05
MANY = 400


class Found(BaseModel):
    """What was found."""

    query: str


def text_of(response: ChatResponse) -> str:
    return response.message.content or ""


def raw(response: Any) -> dict[str, Any]:
    assert isinstance(response.raw, dict)
    return response.raw


def test_every_response_holds_all_so_far(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="One two three four five.", reasoning="Let me count.")

    stream = llm.stream_chat(ASKED)
    assert isinstance(stream, Generator)
    responses = list(stream)

    text = thought = ""
    for response in responses:
        assert response.delta is not None
        text += response.delta
        thought += response.additional_kwargs.get("thinking_delta", "")
        thinking, said = response.message.blocks
        assert isinstance(thinking, ThinkingBlock)
        assert isinstance(said, TextBlock)
        assert (thinking.content, said.text) == (thought, text)
    assert (text, thought) == ("One two three four five.", "Let me count.")
    lists = [response.message.blocks for response in responses]
    assert len({id(one) for one in lists}) == len(lists)


def test_the_last_response_tells_all(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="One two three.")

    last = list(llm.stream_chat(ASKED))[-1]

    assert (last.delta, text_of(last)) == ("", "One two three.")
    assert raw(last)["model"] == FIRST
    assert raw(last)["usage"]["completion_tokens"] == last.additional_kwargs["completion_tokens"] > 0
    assert last.additional_kwargs["finish_reason"] == "stop"


def test_the_raw_of_a_response_is_its_chunk(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="One two three.")

    for response in list(llm.stream_chat(ASKED))[:-1]:
        assert raw(response)["object"] == "chat.completion.chunk"
        assert raw(response)["choices"][0]["delta"]["content"] == response.delta


async def test_a_completion_grows_as_well(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="One two three four five.")

    responses = list(llm.stream_complete("Say something"))
    aresponses = [response async for response in await llm.astream_complete("Say something")]

    for stream in (responses, aresponses):
        text = ""
        for response in stream:
            text += response.delta or ""
            assert response.text == text
        assert text == "One two three four five."
        assert raw(stream[-1])["usage"]["total_tokens"] > 0


async def test_tool_calls_come_whole_and_last(llm: OpenRouterFallback, emulator: Emulator) -> None:
    calls = [{"name": "look_up", "arguments": {"query": query}, "id": query} for query in ("one", "two")]
    emulator.reply(text="Let me see.", tool_calls=calls)

    for stream in (list(llm.stream_chat(ASKED)), [one async for one in await llm.astream_chat(ASKED)]):
        assert isinstance(stream[0], ChatResponse)
        for response in stream[:-1]:
            assert "tool_calls" not in response.message.additional_kwargs
            assert not any(isinstance(block, ToolCallBlock) for block in response.message.blocks)
        last = stream[-1]
        assert [block.block_type for block in last.message.blocks] == ["text", "tool_call", "tool_call"]
        assert [call.tool_kwargs for call in llm.get_tool_calls_from_response(last)] == [
            {"query": "one"},
            {"query": "two"},
        ]
        # LlamaIndex itself looks for them there.
        found = process_streaming_objects(last, Found, allow_parallel_tool_calls=True, llm=llm)
        assert found == [Found(query="one"), Found(query="two")]


def test_a_call_cut_by_the_length_is_none(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.fault("cut_tool_call", model=FIRST, end="length")
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}

    for response in list(llm.stream_chat(ASKED, tools=[tool], tool_choice="required")):
        assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
        assert not response.message.additional_kwargs
    assert response.additional_kwargs["finish_reason"] == "length"
    assert len(response.additional_kwargs["invalid_tool_calls"]) == 1


def test_reasoning_of_a_model_that_failed_is_void(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.pace(token_interval=0.005)
    emulator.reply(text="From the first", reasoning="I am the first and think", model=FIRST)
    emulator.reply(text="From the second", reasoning="Second thoughts", model=SECOND)
    emulator.fault("truncated", model=FIRST, after_tokens=4)

    responses = list(llm.stream_chat(ASKED))

    thinking, text = responses[-2].message.blocks
    assert isinstance(thinking, ThinkingBlock)
    assert thinking.content == "Second thoughts"
    assert isinstance(text, TextBlock)
    assert text.text == "From the second"


def test_the_primary_dies_in_mid_answer(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="One two three four five six seven.")
    emulator.pace(token_interval=0.01)
    emulator.fault("cut", model=FIRST, after_tokens=3)

    responses = list(llm.stream_chat(ASKED))

    assert "".join(response.delta or "" for response in responses) == "One two three four five six seven."
    (seam,) = responses[-1].additional_kwargs["seams"]
    assert (seam["before"], seam["after"]) == (FIRST, SECOND)
    assert [attempt["kind"] for attempt in responses[-1].additional_kwargs["attempts"]] == ["bad_answer", None]


def test_an_interruption_keeps_what_came(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.pace(token_interval=0.01)
    emulator.fault("cut", after_tokens=3)
    delivered: list[str] = []

    with pytest.raises(StreamInterruptedError) as raised:
        delivered.extend(response.delta or "" for response in llm.stream_chat(ASKED, mid_stream="raise"))

    assert raised.value.partial == "".join(delivered) != ""


def test_a_failure_before_the_first_token_comes_with_the_call(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.fault("invalid_request")
    with pytest.raises(Exception, match="invalid"):
        llm.stream_chat(ASKED)


def test_mistakes_come_with_the_call(llm: OpenRouterFallback, emulator: Emulator) -> None:
    with pytest.raises(ConfigError, match=r"max_cost_teir= .* did you mean max_cost_tier="):
        llm.stream_chat(ASKED, max_cost_teir="budget")
    assert emulator.log == []


# Leaving


class Keeper(BaseEventHandler):
    """Keeps every event, as tracing does: the exception of who left, and with it the frames of the stream."""

    kept: list[Any] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.kept.append(event)


@pytest.fixture(params=[False, True], ids=["", "observed"])
def observed(request: pytest.FixtureRequest) -> Any:
    """Without an observer, and with one that keeps everything."""
    root = get_dispatcher()
    before = list(root.event_handlers)
    if request.param:
        root.add_event_handler(Keeper())
    yield request.param
    root.event_handlers = before


Way = Callable[[OpenRouterFallback], None]
AWay = Callable[[OpenRouterFallback], Awaitable[None]]


def _break(llm: OpenRouterFallback) -> None:
    for _ in llm.stream_chat(ASKED):
        break


def _break_complete(llm: OpenRouterFallback) -> None:
    for _ in llm.stream_complete("Say something"):
        break


def _close(llm: OpenRouterFallback) -> None:
    stream = llm.stream_chat(ASKED)
    next(stream)
    stream.close()
    assert list(stream) == []


def _never_read(llm: OpenRouterFallback) -> None:
    llm.stream_chat(ASKED)


def _raise(llm: OpenRouterFallback) -> None:
    def use() -> None:
        for _ in llm.stream_chat(ASKED):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()


def gone(log: list[Request]) -> bool:
    return [request.ended for request in log] == ["gone"]


@pytest.mark.parametrize("way", [_break, _break_complete, _close, _never_read, _raise])
def test_leaving(make: Any, emulator: Emulator, way: Way, observed: bool) -> None:
    llm = make(callback_manager=CallbackManager([LlamaDebugHandler(print_trace_on_end=False)] if observed else []))
    emulator.reply(tokens=MANY)
    emulator.pace(token_interval=SLOW)

    way(llm)

    (request,) = emulator.wait_for(gone)
    assert request.tokens_sent < MANY


async def _abreak(llm: OpenRouterFallback) -> None:
    async for _ in await llm.astream_chat(ASKED):
        break


async def _aclose(llm: OpenRouterFallback) -> None:
    stream = await llm.astream_chat(ASKED)
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    assert [one async for one in stream] == []


async def _aclose_complete(llm: OpenRouterFallback) -> None:
    stream = await llm.astream_complete("Say something")
    await anext(stream)
    await stream.aclose()


async def _anever_read(llm: OpenRouterFallback) -> None:
    await llm.astream_chat(ASKED)
    gc.collect()


async def _araise(llm: OpenRouterFallback) -> None:
    async def use() -> None:
        async for _ in await llm.astream_chat(ASKED):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await use()


async def _cancel(llm: OpenRouterFallback) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for _ in await llm.astream_chat(ASKED):
            begun.set()

    task = asyncio.create_task(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _timeout(llm: OpenRouterFallback) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await llm.achat(ASKED)


@pytest.mark.parametrize("way", [_abreak, _aclose, _aclose_complete, _anever_read, _araise, _cancel, _timeout])
async def test_leaving_async(make: Any, emulator: Emulator, way: AWay, observed: bool) -> None:
    llm = make(callback_manager=CallbackManager([LlamaDebugHandler(print_trace_on_end=False)] if observed else []))
    emulator.reply(tokens=MANY)
    emulator.pace(token_interval=SLOW)

    await way(llm)

    (request,) = await emulator.await_for(gone)
    assert request.tokens_sent < MANY


async def test_closing_is_at_once(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """When `aclose` returns nothing is left to be done later: no task, no open connection."""
    emulator.reply(tokens=MANY)
    emulator.pace(token_interval=SLOW)
    before = asyncio.all_tasks()
    stream = await llm.astream_chat(ASKED)
    await anext(stream)

    await stream.aclose()

    left = [task for task in asyncio.all_tasks() - before if not task.cancelling()]
    assert left == []


def test_a_stream_is_read_in_another_context(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """As web frameworks do: the generator is made here and read there."""
    emulator.reply(text="One two three.")
    stream = llm.stream_chat(ASKED)

    read = contextvars.Context().run(lambda: "".join(response.delta or "" for response in stream))

    assert read == "One two three."


def test_callbacks_see_one_call_for_each_stream(make: Any, emulator: Emulator) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm = make(callback_manager=CallbackManager([debug]))
    emulator.fault("overloaded", model=FIRST)

    list(llm.stream_chat(ASKED))
    list(llm.stream_complete("Say something"))

    pairs = debug.get_event_pairs(CBEventType.LLM)
    assert len(pairs) == 2
