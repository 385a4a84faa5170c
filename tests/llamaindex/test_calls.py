"""All the ways to call the LLM; each goes to the second model when the first is down."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms import LLM
from llama_index.core.llms.function_calling import FunctionCallingLLM, _supports_tool_required
from llama_index.core.llms.structured_llm import StructuredLLM
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND

ASKED = [ChatMessage("Say something")]
TEXT = "Whole, from whoever is asked."
SONG = PromptTemplate("A song named 'Yesterday', of {year}.")


class Song(BaseModel):
    """A song."""

    name: str
    year: int


def look_up(query: str) -> str:
    """Look something up."""
    return f"found {query}"


TOOL = FunctionTool.from_defaults(look_up)
CALL = "look_up 'the seam'"
FOUND = ("look_up", {"query": "the seam"})


def text(response: Any) -> Any:
    return response.text if isinstance(response, CompletionResponse) else response.message.content


def called(response: ChatResponse) -> Any:
    (block,) = [block for block in response.message.blocks if block.block_type == "tool_call"]
    return block.tool_name, block.tool_kwargs


def last(generator: Generator[Any, None, None]) -> Any:
    assert isinstance(generator, Generator)
    return list(generator)[-1]


async def alast(generator: AsyncGenerator[Any, None]) -> Any:
    assert isinstance(generator, AsyncGenerator)
    return [one async for one in generator][-1]


def parsed(song: Any) -> Any:
    return Song(name=song.name, year=song.year)


async def now(value: Any) -> Any:
    return value


# How to call, what is got from it, what is expected. The first sixteen are those of every function-calling LLM.
WAYS: dict[str, tuple[Callable[[OpenRouterFallback], Any], Any]] = {
    "chat": (lambda llm: now(text(llm.chat(ASKED))), TEXT),
    "achat": (lambda llm: then(llm.achat(ASKED), text), TEXT),
    "stream_chat": (lambda llm: now(text(last(llm.stream_chat(ASKED)))), TEXT),
    "astream_chat": (lambda llm: then(athen(llm.astream_chat(ASKED)), text), TEXT),
    "complete": (lambda llm: now(text(llm.complete("Say something"))), TEXT),
    "acomplete": (lambda llm: then(llm.acomplete("Say something"), text), TEXT),
    "stream_complete": (lambda llm: now(text(last(llm.stream_complete("Say something")))), TEXT),
    "astream_complete": (lambda llm: then(athen(llm.astream_complete("Say something")), text), TEXT),
    "chat_with_tools": (lambda llm: now(called(llm.chat_with_tools([TOOL], CALL))), FOUND),
    "achat_with_tools": (lambda llm: then(llm.achat_with_tools([TOOL], CALL), called), FOUND),
    "stream_chat_with_tools": (lambda llm: now(called(last(llm.stream_chat_with_tools([TOOL], CALL)))), FOUND),
    "astream_chat_with_tools": (lambda llm: then(athen(llm.astream_chat_with_tools([TOOL], CALL)), called), FOUND),
    "structured_predict": (lambda llm: now(llm.structured_predict(Song, SONG, year=1965)), "song"),
    "astructured_predict": (lambda llm: llm.astructured_predict(Song, SONG, year=1965), "song"),
    "stream_structured_predict": (
        lambda llm: now(parsed(last(llm.stream_structured_predict(Song, SONG, year=1965)))),
        "song",
    ),
    "astream_structured_predict": (
        lambda llm: then(athen(llm.astream_structured_predict(Song, SONG, year=1965)), parsed),
        "song",
    ),
    "predict": (lambda llm: now(llm.predict(PromptTemplate("Say {what}"), what="something")), TEXT),
    "apredict": (lambda llm: llm.apredict(PromptTemplate("Say {what}"), what="something"), TEXT),
    "stream": (lambda llm: now("".join(llm.stream(PromptTemplate("Say {what}"), what="something"))), TEXT),
    "astream": (lambda llm: joined(llm.astream(PromptTemplate("Say {what}"), what="something")), TEXT),
    "predict_and_call": (lambda llm: now(llm.predict_and_call([TOOL], CALL).response), "found the seam"),
    "apredict_and_call": (
        lambda llm: then(llm.apredict_and_call([TOOL], CALL), lambda r: r.response),
        "found the seam",
    ),
    "as_structured_llm.complete": (
        lambda llm: now(llm.as_structured_llm(Song).complete("'Yesterday' of 1965").raw),
        "song",
    ),
    "as_structured_llm.achat": (
        lambda llm: then(llm.as_structured_llm(Song).achat([ChatMessage("'Yesterday' of 1965")]), lambda r: r.raw),
        "song",
    ),
    "as_structured_llm.stream_chat": (
        lambda llm: now(parsed(last(llm.as_structured_llm(Song).stream_chat([ChatMessage("'Yesterday', 1965")])).raw)),
        "song",
    ),
}


async def then(awaited: Awaitable[Any], take: Callable[[Any], Any]) -> Any:
    return take(await awaited)


async def athen(awaited: Awaitable[AsyncGenerator[Any, None]]) -> Any:
    return await alast(await awaited)


async def joined(awaited: Awaitable[AsyncGenerator[str, None]]) -> str:
    return "".join([token async for token in await awaited])


@pytest.mark.parametrize("down", [False, True], ids=["healthy", "first down"])
@pytest.mark.parametrize("way", WAYS)
async def test_a_way_to_call(llm: OpenRouterFallback, emulator: Emulator, way: str, down: bool) -> None:
    call, expected = WAYS[way]
    if expected == TEXT:
        emulator.reply(text=TEXT)
    if down:
        emulator.fault("overloaded", model=FIRST)

    got = await call(llm)

    assert got == (Song(name="Yesterday", year=1965) if expected == "song" else expected)
    assert [request.model for request in emulator.log] == ([FIRST, SECOND] if down else [FIRST])


STREAMED: dict[str, Callable[[OpenRouterFallback], Any]] = {
    "stream_structured_predict": lambda llm: now(list(llm.stream_structured_predict(Song, SONG, year=1965))),
    "astream_structured_predict": lambda llm: collected(llm.astream_structured_predict(Song, SONG, year=1965)),
    "as_structured_llm.stream_chat": lambda llm: now(
        [response.raw for response in llm.as_structured_llm(Song).stream_chat(ASKED)]
    ),
    "as_structured_llm.astream_chat": lambda llm: then(
        collected(llm.as_structured_llm(Song).astream_chat(ASKED)), lambda all: [response.raw for response in all]
    ),
}


async def collected(awaited: Awaitable[AsyncGenerator[Any, None]]) -> list[Any]:
    return [one async for one in await awaited]


@pytest.mark.parametrize("way", STREAMED)
@pytest.mark.parametrize(
    "before", [{}, {"text": "Let me see."}, {"reasoning": "I think."}], ids=["", "text", "thought"]
)
async def test_a_streamed_object_comes_in_one_piece(
    llm: OpenRouterFallback, emulator: Emulator, way: str, before: dict[str, Any]
) -> None:
    """Whatever the model says before: an object without any field is none."""
    emulator.reply(tool_calls=[{"name": "Song", "arguments": {"name": "Yesterday", "year": 1965}}], **before)
    assert await STREAMED[way](llm) == [Song(name="Yesterday", year=1965)]


@pytest.mark.parametrize("way", STREAMED)
async def test_a_streamed_object_that_was_cut_off_is_none(
    llm: OpenRouterFallback, emulator: Emulator, way: str
) -> None:
    emulator.fault("cut_tool_call", model=FIRST, end="length")
    with pytest.raises(ValueError, match="cut off at the length limit; give more max_tokens"):
        await STREAMED[way](llm)


@pytest.mark.parametrize("way", STREAMED)
async def test_a_streamed_object_of_another_class_is_none(
    llm: OpenRouterFallback, emulator: Emulator, way: str
) -> None:
    emulator.reply(tool_calls=[{"name": "Song", "arguments": {"name": "Yesterday"}}])
    with pytest.raises(ValueError, match="year"):
        await STREAMED[way](llm)


def test_it_is_one_of_llamaindex_s_own() -> None:
    assert [cls for cls in OpenRouterFallback.__mro__ if cls in (FunctionCallingLLM, LLM)] == [FunctionCallingLLM, LLM]
    assert OpenRouterFallback.class_name() == "OpenRouterFallback"
    assert _supports_tool_required(OpenRouterFallback, True)


def test_a_structured_llm_wraps_it(llm: OpenRouterFallback) -> None:
    structured = llm.as_structured_llm(Song)
    assert isinstance(structured, StructuredLLM)
    assert structured.metadata == llm.metadata


PARAMETERS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # the LLM's fields, the call's keywords, what is sent
    ({}, {}, {}),
    ({"temperature": 0.3, "max_tokens": 50}, {}, {"temperature": 0.3, "max_tokens": 50}),
    ({"temperature": 0.3}, {"temperature": 0.9}, {"temperature": 0.9}),
    ({"temperature": 0.0}, {}, {"temperature": 0.0}),
    ({"additional_kwargs": {"top_p": 0.5, "max_tokens": 9}, "max_tokens": 50}, {}, {"top_p": 0.5, "max_tokens": 9}),
    ({"additional_kwargs": {"extra_body": {"provider": {"sort": "price"}}}}, {}, {"provider": {"sort": "price"}}),
    ({"additional_kwargs": {"reasoning": {"effort": "low"}}}, {}, {"reasoning": {"effort": "low"}}),
    ({"max_tokens": 50}, {"max_tokens": None}, {}),
]


@pytest.mark.parametrize(("fields", "keywords", "sent"), PARAMETERS)
def test_parameters(
    make: Callable[..., OpenRouterFallback],
    emulator: Emulator,
    fields: dict[str, Any],
    keywords: dict[str, Any],
    sent: dict[str, Any],
) -> None:
    make(**fields).chat(ASKED, **keywords)

    body = emulator.log[-1].body
    own = {"model", "messages", "stream", "stream_options"}
    assert {key: value for key, value in body.items() if key not in own} == sent


TOOLS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"tool_choice": "auto", "parallel_tool_calls": False}),
    ({"allow_parallel_tool_calls": True}, {"tool_choice": "auto"}),
    ({"tool_required": True}, {"tool_choice": "required", "parallel_tool_calls": False}),
    ({"tool_choice": "none"}, {"tool_choice": "none", "parallel_tool_calls": False}),
    ({"tool_choice": "any", "allow_parallel_tool_calls": True}, {"tool_choice": "required"}),
    (
        {"tool_choice": "look_up", "tool_required": True, "allow_parallel_tool_calls": True},
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    ),
    (
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}, "allow_parallel_tool_calls": True},
        {"tool_choice": {"type": "function", "function": {"name": "look_up"}}},
    ),
]


@pytest.mark.parametrize(("said", "sent"), TOOLS)
def test_what_is_said_of_tools(
    llm: OpenRouterFallback, emulator: Emulator, said: dict[str, Any], sent: dict[str, Any]
) -> None:
    history = [ChatMessage("Before", role="system")]
    llm.chat_with_tools([TOOL], "Say something", chat_history=history, **said)

    body = emulator.log[-1].body
    assert {key: body[key] for key in ("tool_choice", "parallel_tool_calls") if key in body} == sent
    assert [tool["function"]["name"] for tool in body["tools"]] == ["look_up"]
    assert [message["role"] for message in body["messages"]] == ["system", "user"]
    assert len(history) == 1


def test_without_tools_nothing_is_said_of_them(llm: OpenRouterFallback, emulator: Emulator) -> None:
    llm.chat_with_tools([], "Say something", tool_required=True)
    assert not emulator.log[-1].body.keys() & {"tools", "tool_choice", "parallel_tool_calls"}


def test_one_call_where_no_more_are_allowed(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """A model that calls two tools although it was told not to."""
    calls = [{"name": "look_up", "arguments": {"query": query}, "id": query} for query in ("one", "two")]
    emulator.reply(tool_calls=calls)

    both = llm.chat_with_tools([TOOL], CALL, allow_parallel_tool_calls=True)
    first = llm.chat_with_tools([TOOL], CALL)

    assert [call.tool_id for call in llm.get_tool_calls_from_response(both)] == ["one", "two"]
    assert [call.tool_id for call in llm.get_tool_calls_from_response(first)] == ["one"]
    assert [call["id"] for call in first.message.additional_kwargs["tool_calls"]] == ["one"]


async def test_one_call_of_a_stream_where_no_more_are_allowed(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """LlamaIndex looks only at whole answers for that, but agents run what streams bring."""
    calls = [{"name": "look_up", "arguments": {"query": query}, "id": query} for query in ("one", "two")]
    emulator.reply(tool_calls=calls)
    both = {"allow_parallel_tool_calls": True}

    for more, ids in (({}, ["one"]), (both, ["one", "two"])):
        streamed = list(llm.stream_chat_with_tools([TOOL], CALL, **more))[-1]  # type: ignore[arg-type]
        astreamed = await athen(llm.astream_chat_with_tools([TOOL], CALL, **more))  # type: ignore[arg-type]
        for response in (streamed, astreamed):
            assert [call.tool_id for call in llm.get_tool_calls_from_response(response)] == ids


def test_an_answer_without_a_call(llm: OpenRouterFallback) -> None:
    response = llm.chat_with_tools([TOOL], "Say something")

    assert llm.get_tool_calls_from_response(response, error_on_no_tool_call=False) == []
    with pytest.raises(ValueError, match="called no tool"):
        llm.get_tool_calls_from_response(response)


def test_prompts_are_formatted_as_elsewhere(make: Callable[..., OpenRouterFallback], emulator: Emulator) -> None:
    llm = make(completion_to_prompt=lambda prompt: f"<{prompt}>", system_prompt="Be brief.")

    llm.complete("a")
    llm.complete("a", formatted=True)
    llm.predict(PromptTemplate("{letter}"), letter="a")

    sent = [[message["content"] for message in request.body["messages"]] for request in emulator.log]
    assert sent == [["<a>"], ["a"], ["Be brief.", "a"]]


def test_what_an_answer_tells(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.fault("overloaded", model=FIRST)

    response = llm.chat(ASKED)

    facts = response.additional_kwargs
    assert response.raw["model"] == facts["model"] == SECOND
    usage = response.raw["usage"]
    assert [facts[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")] == [
        usage[key] for key in ("prompt_tokens", "completion_tokens", "total_tokens", "cost")
    ]
    assert [(attempt["model"], attempt["kind"]) for attempt in facts["attempts"]] == [
        (FIRST, "overloaded"),
        (SECOND, None),
    ]


def test_logprobs(make: Callable[..., OpenRouterFallback], emulator: Emulator) -> None:
    llm = make(additional_kwargs={"logprobs": True, "top_logprobs": 1})
    emulator.reply(text="Two tokens")

    for response in (llm.chat(ASKED), last(llm.stream_chat(ASKED)), llm.complete("Say something")):
        assert response.logprobs is not None
        assert "".join(one.token for (one,) in response.logprobs) == "Two tokens"
    assert make().chat(ASKED).logprobs is None
