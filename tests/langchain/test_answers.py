"""What comes back: content, reasoning, calls, usage and metadata, the same from invoke as from a stream's chunks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler, UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.content import KNOWN_BLOCK_TYPES
from langchain_core.rate_limiters import InMemoryRateLimiter
from langchain_core.runnables import RunnableGenerator, RunnableLambda

from langchain_openrouter_fallback import ATTEMPT_FAILED, ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import FallbackError
from openrouter_fallback.emulator import Emulator

from ..support.clients import undiced
from ..support.rawserver import RawServer, Reply, sse
from .conftest import CLAUDE, GPT, LLAMA, Make
from .surfaces import STREAMED, SURFACES, Outcome, aask

pytestmark = [
    pytest.mark.filterwarnings("ignore:The method `BaseChatModel._a?chat_model_stream_v3"),
    pytest.mark.filterwarnings("ignore:The function `_a?chat_model_stream_v3"),
]
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
CITED = {"url": "https://x.org", "title": "X", "start_index": 0, "end_index": 3, "content": "the very words"}
CITATION = {"type": "url_citation", "url_citation": CITED}
CALLS = [{"name": "f", "arguments": {"a": 1}, "id": "1"}, {"name": "g", "arguments": {}, "id": "2"}]
LC_CALLS = [
    {"name": "f", "args": {"a": 1}, "id": "1", "type": "tool_call"},
    {"name": "g", "args": {}, "id": "2", "type": "tool_call"},
]

ALL = (*SURFACES, "v3", "av3")


async def anyhow(llm: ChatOpenRouterFallback, surface: str, prompt: Any = "hello", **arguments: Any) -> AIMessage:
    """The whole message, also by the v3 events."""
    if surface == "v3":
        return llm.stream_events(prompt, version="v3", **arguments).output  # type: ignore[no-any-return]
    if surface == "av3":
        return await (await llm.astream_events(prompt, version="v3", **arguments)).output  # type: ignore[no-any-return]
    return (await aask(llm, surface, prompt, **arguments)).answer


@pytest.mark.parametrize("surface", ALL)
async def test_metadata(emulator: Emulator, make: Make, surface: str) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    emulator.reply(served_as=f"{CLAUDE}-20250929", model=CLAUDE)
    message = await anyhow(make(), surface)

    told = message.response_metadata
    assert (told["model_name"], told["model_provider"]) == (f"{CLAUDE}-20250929", "openrouter")
    assert (told["finish_reason"], told["native_finish_reason"]) == ("stop", "end_turn")
    assert told["provider"]
    assert told["id"].startswith("gen-")
    assert [(attempt["model"], attempt.get("kind")) for attempt in told["attempts"]] == [
        (GPT, "overloaded"),
        (CLAUDE, None),
    ]
    assert told["cost"] == told["attempts"][1]["cost"] > 0
    json.dumps(told)
    usage = message.usage_metadata
    assert usage is not None
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"] > 0


@pytest.mark.parametrize("surface", ALL)
async def test_reasoning_comes_as_a_block_and_goes_back_unchanged(emulator: Emulator, make: Make, surface: str) -> None:
    emulator.reply(text="Yes.", reasoning="Let me think about this for a while", model=CLAUDE)
    llm = make(models=[CLAUDE])
    message = await anyhow(llm, surface)

    first = message.content_blocks[0]
    assert (first["type"], first.get("reasoning")) == ("reasoning", "Let me think about this for a while")
    assert message.text == "Yes."
    assert message.usage_metadata is not None
    assert message.usage_metadata["output_token_details"]["reasoning"] > 0
    (detail,) = message.additional_kwargs["reasoning_details"]
    assert detail["format"] == "anthropic-claude-v1"
    llm.invoke([HumanMessage("hello"), message, HumanMessage("And?")])
    assert emulator.log[-1].body["messages"][1]["reasoning_details"] == [detail]


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("surface", ALL)
async def test_parallel_calls_and_text(emulator: Emulator, make: Make, surface: str, version: str | None) -> None:
    emulator.reply(text="I shall call.", reasoning="Which?", tool_calls=CALLS)
    message = await anyhow(make(output_version=version), surface)

    assert [dict(call) for call in message.tool_calls] == LC_CALLS
    assert (message.text, message.invalid_tool_calls) == ("I shall call.", [])
    kinds = [block["type"] for block in message.content_blocks]
    assert kinds == ["reasoning", "text", "tool_call", "tool_call"]
    assert message.response_metadata["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("surface", SURFACES)
async def test_citations_and_images(emulator: Emulator, make: Make, surface: str, version: str | None) -> None:
    emulator.reply(text="See there.", annotations=[CITATION], images=[IMAGE])
    message = await anyhow(make(output_version=version), surface)

    assert message.text == "See there."
    blocks: list[Mapping[str, Any]] = list(message.content_blocks)
    (image,) = [block for block in blocks if block["type"] == "image"]
    assert (image["base64"], image["mime_type"]) == ("QQ==", "image/png")
    (citation,) = [note for block in blocks for note in block.get("annotations", [])]
    assert citation == {
        "type": "citation",
        "url": "https://x.org",
        "title": "X",
        "start_index": 0,
        "end_index": 3,
        "cited_text": "the very words",
    }


@pytest.mark.parametrize("surface", ALL)
async def test_logprobs_and_refusals(emulator: Emulator, make: Make, surface: str) -> None:
    emulator.reply(text="Yes indeed.", logprobs=True)
    told = (await anyhow(make(logprobs=True), surface)).response_metadata["logprobs"]
    assert "".join(token["token"] for token in told["content"]) == "Yes indeed."
    emulator.reply(refusal="I would rather not.")
    refused = await anyhow(make(), surface)
    assert (refused.text, refused.additional_kwargs["refusal"]) == ("", "I would rather not.")
    blocks = [block for block in refused.content_blocks if block["type"] != "text"]
    # LangChain has a block for it from langchain-core 1.7.5 on; the message of its v3 events has text only.
    if surface in SURFACES:
        assert blocks == [{"type": "refusal", "refusal": "I would rather not."}][: "refusal" in KNOWN_BLOCK_TYPES]


@pytest.mark.parametrize("surface", ALL)
async def test_what_openrouter_tells_of_an_answer(make: Make, surface: str) -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "total_tokens": 7,
        "cost": 0.25,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.5},
    }
    first = {"content": "See", "annotations": [CITATION]}
    chunks: list[Any] = [
        {"choices": [{"index": 0, "delta": first, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {"content": " there."}, "finish_reason": "stop"}], "usage": usage},
    ]
    with RawServer() as server:
        told = [{"id": "gen-1", "model": GPT, "service_tier": "priority", **chunk} for chunk in chunks]
        server.answer(Reply([sse(*told, "[DONE]")]))
        llm = make(base_url=server.base_url)
        message = await anyhow(llm, surface)
        llm.invoke(["hello", message, HumanMessage("And?")])
    metadata = message.response_metadata
    expected = {
        "annotations": [CITATION],
        "cost_details": {"upstream_inference_cost": 0.5},
        "is_byok": True,
        "service_tier": "priority",
        "cost": 0.75,
    }
    assert {name: metadata[name] for name in expected} == expected
    assert "estimated" not in metadata
    assert message.text == "See there."
    sent = server.requests[-1].body
    assert sent is not None
    assert sent["messages"][1]["annotations"] == [CITATION]


@pytest.mark.parametrize("surface", STREAMED)
async def test_an_estimate_is_marked(emulator: Emulator, make: Make, surface: str) -> None:
    emulator.reply(tokens=30)
    emulator.fault("cut", model=GPT, after_tokens=5)
    message = (await aask(make(), surface)).answer
    assert message.response_metadata["seams"]
    assert message.response_metadata["estimated"] is True


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_several_choices(emulator: Emulator, make: Make, asynchronous: bool) -> None:
    llm = make(n=2)
    asked: list[list[BaseMessage]] = [[HumanMessage("hello")]]
    result = await llm.agenerate(asked) if asynchronous else llm.generate(asked)
    (both,) = result.generations
    assert len({generation.text for generation in both}) == 2
    for surface in STREAMED:
        assert "n > 1" in str((await aask(llm, surface)).raised)


@pytest.mark.parametrize("version", [None, "v1"])
@pytest.mark.parametrize("surface", STREAMED)
async def test_each_metadata_key_comes_once(emulator: Emulator, make: Make, surface: str, version: str | None) -> None:
    emulator.reply(text="one two three four five", reasoning="Let me see now")
    chunks = (await aask(make(output_version=version), surface)).chunks
    keys = [key for chunk in chunks for key in chunk.response_metadata if key != "output_version"]
    assert len(keys) == len(set(keys))
    assert [chunk.usage_metadata is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].chunk_position == "last"
    assert all(chunk.content or chunk.additional_kwargs for chunk in chunks[:-1]), "an empty chunk commits nobody"


@pytest.mark.parametrize("surface", STREAMED)
async def test_a_stream_of_ours_can_still_be_rescued_before_its_first_token(
    emulator: Emulator, make: Make, surface: str
) -> None:
    """The empty role chunk would have committed LangChain's own fallbacks."""
    emulator.fault("server", model=GPT, place="sse")
    rescued = make(model=GPT).with_fallbacks([make(model=CLAUDE)])
    assert (await aask(rescued, surface)).delivered.startswith(CLAUDE)


async def test_reasoning_that_starts_over_is_set_apart(emulator: Emulator, make: Make) -> None:
    emulator.reply(text="No.", reasoning="First thoughts of mine", model=GPT)
    emulator.reply(text="Yes.", reasoning="Second thoughts", model=CLAUDE)
    emulator.pace(token_interval=0.02)
    emulator.fault("cut", model=GPT, after_tokens=3)
    message = (await aask(make(), "astream")).answer
    before, after = message.additional_kwargs["reasoning_content"].split("\n\n")
    assert "First thoughts of mine".startswith(before)
    assert (after, message.text) == ("Second thoughts", "Yes.")
    (detail,) = message.additional_kwargs["reasoning_details"]
    assert detail["text"] == "Second thoughts"


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.tokens: list[str] = []
        self.events: list[tuple[str, Any]] = []
        self.begun: list[Mapping[str, Any]] = []
        self.failed: list[BaseException] = []
        self.ended = 0

    def on_chat_model_start(self, serialized: Any, messages: Any, **kwargs: Any) -> None:
        self.begun.append({**kwargs, "serialized": serialized})

    def on_llm_new_token(self, token: Any, **kwargs: Any) -> None:
        self.tokens.append(token)

    def on_llm_end(self, response: Any, **kwargs: Any) -> None:
        self.ended += 1

    def on_llm_error(self, error: BaseException, **kwargs: Any) -> None:
        self.failed.append(error)

    def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.events.append((name, data))


class AsyncListener(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    async def on_custom_event(self, name: str, data: Any, **kwargs: Any) -> None:
        self.events.append((name, data))


@pytest.mark.parametrize("surface", SURFACES)
async def test_callbacks(emulator: Emulator, make: Make, surface: str) -> None:
    listener, usage = Listener(), UsageMetadataCallbackHandler()
    llm = make(temperature=0.5, max_tokens=40, stop=["END"])
    outcome = await aask(llm, surface, config={"callbacks": [listener, usage]})

    assert "".join(listener.tokens) == outcome.delivered
    assert (len(listener.begun), listener.ended, listener.failed) == (1, 1, [])
    metadata = listener.begun[0]["metadata"]
    assert {key: value for key, value in metadata.items() if key.startswith("ls_")} == {
        "ls_provider": "openrouter",
        "ls_model_name": GPT,
        "ls_model_type": "chat",
        "ls_temperature": 0.5,
        "ls_max_tokens": 40,
        "ls_stop": ["END"],
        "ls_integration": "langchain_chat_model",
    }
    assert emulator.api_key not in str(listener.begun)
    assert set(usage.usage_metadata) == {GPT}

    emulator.fault("invalid_request")
    await aask(llm, surface, config={"callbacks": [listener]})
    assert [type(error).__name__ for error in listener.failed] == ["InvalidRequestError"]
    assert isinstance(listener.failed[0], FallbackError)


@pytest.mark.parametrize("surface", SURFACES)
async def test_each_failed_attempt_is_a_custom_event_of_the_run_around(
    emulator: Emulator, make: Make, surface: str
) -> None:
    emulator.fault("server", model=GPT)
    llm = make(models=[GPT, CLAUDE])
    undiced(llm.client)
    chain = llm | RunnableLambda(lambda message: message) if surface.endswith("invoke") else llm | _identity
    listener, other = Listener(), AsyncListener()
    callbacks = [listener, other] if surface.startswith("a") else [listener]
    outcome = await aask(chain, surface, config={"callbacks": callbacks})

    told = outcome.answer.response_metadata["attempts"]
    failed = [(ATTEMPT_FAILED, attempt) for attempt in told if "kind" in attempt]
    assert [attempt["model"] for _, attempt in failed] == [GPT, GPT]
    assert listener.events == failed
    if surface.startswith("a"):
        assert other.events == failed


async def test_an_event_comes_while_the_call_goes_on(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    chain = make() | _identity
    order = [
        event["name"] if event["event"] == "on_custom_event" else event["event"]
        async for event in chain.astream_events("hello", version="v2")
    ]
    assert order.index(ATTEMPT_FAILED) < order.index("on_chat_model_stream")


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_direct_call_has_nobody_to_tell(emulator: Emulator, llm: ChatOpenRouterFallback, surface: str) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    listener = Listener()
    assert (await aask(llm, surface, config={"callbacks": [listener]})).kinds == ["overloaded", None]
    assert listener.events == []


def _pass(chunks: Any) -> Any:
    yield from chunks


async def _apass(chunks: Any) -> Any:
    async for chunk in chunks:
        yield chunk


_identity: Any = RunnableGenerator(_pass, _apass)


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_rate_limiter_is_asked(make: Make, surface: str) -> None:
    limiter = InMemoryRateLimiter(requests_per_second=1000, check_every_n_seconds=0.001)
    outcome = await aask(make(rate_limiter=limiter), surface)
    assert outcome.answer.text


@pytest.mark.parametrize(("given", "streams"), [({"streaming": True}, True), ({}, False)])
@pytest.mark.parametrize("surface", ["invoke", "ainvoke"])
async def test_streaming_invokes(make: Make, given: dict[str, Any], streams: bool, surface: str) -> None:
    listener = Listener()
    outcome = await aask(make(**given), surface, config={"callbacks": [listener]})
    assert bool(listener.tokens) is streams
    assert outcome.answer.text == "".join(listener.tokens) or not streams


@pytest.mark.parametrize("given", [{"disable_streaming": True}, {"streaming": False}])
async def test_what_streams_nothing(make: Make, given: dict[str, Any]) -> None:
    chunks: list[Any] = [chunk async for chunk in make(**given).astream("hello")]
    assert len(chunks) == 1
    assert not isinstance(chunks[0], AIMessageChunk)


async def test_a_consumer_that_leaves_ends_the_generation(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    emulator.pace(token_interval=0.02)
    emulator.reply(tokens=500)
    async for _ in llm.astream("hello"):
        break
    stream = llm.astream("hello")
    await anext(stream)
    await stream.aclose()  # type: ignore[attr-defined]
    for chunk in llm.stream("hello"):
        assert chunk
        break
    await emulator.await_for(lambda log: len(log) == 3 and all(request.ended == "gone" for request in log))


def test_tokens_are_counted_here(make: Make) -> None:
    llm = make()
    messages = [HumanMessage("How many tokens are these?"), ToolMessage("4", tool_call_id="1")]
    assert 5 <= llm.get_num_tokens("How many tokens are these?") <= 8
    assert llm.get_num_tokens_from_messages(messages) > llm.get_num_tokens_from_messages(messages[:1]) > 5
    with_tools = llm.get_num_tokens_from_messages(messages, tools=[{"name": "f", "description": "d" * 80}])
    assert with_tools > llm.get_num_tokens_from_messages(messages)
    with pytest.raises(NotImplementedError, match="custom_get_token_ids"):
        llm.get_token_ids("hello")
    assert make(custom_get_token_ids=lambda text: [1, 2]).get_num_tokens("hello") == 2


@pytest.mark.parametrize("surface", SURFACES)
async def test_a_wrong_key_says_what_to_do(make: Make, surface: str) -> None:
    raised: Outcome = await aask(make(api_key="sk-wrong"), surface)
    text = str(raised.raised)
    assert "https://openrouter.ai/settings/keys" in text
    assert "sk-wrong" not in text


async def test_a_misspelt_model_is_left_out_and_told(
    emulator: Emulator, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault("model_not_found", model="openai/gpt-5.l")
    outcome = await aask(make(models=["openai/gpt-5.l", LLAMA]), "ainvoke")
    assert outcome.answer.response_metadata["model_name"] == LLAMA
    assert "openai/gpt-5.l" in caplog.text
