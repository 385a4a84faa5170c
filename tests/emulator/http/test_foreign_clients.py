"""Clients that know nothing of this project work against the emulator unchanged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import reduce
from operator import add
from typing import Any

import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_openrouter import ChatOpenRouter
from openai import APIError, AsyncOpenAI, AuthenticationError, BadRequestError, NotFoundError, OpenAI, RateLimitError
from pydantic import BaseModel, SecretStr

from openrouter_fallback.emulator import MODELS, Emulator

from ..helpers import MODEL

# The SDK beneath ChatOpenRouter closes no connection.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.usefixtures("collected"),
]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER: Any = {"type": "function", "function": {"name": "get_weather", "parameters": PARAMETERS}}
ASKED = "What is the weather in 'Oslo'?"


class Weather(BaseModel):
    """The weather at a place."""

    city: str
    degrees: int


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(models=MODELS) as emulator:
        yield emulator


@pytest.fixture
def openai(emulator: Emulator) -> Iterator[OpenAI]:
    with OpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        yield client


@pytest.fixture
def langchain(emulator: Emulator) -> ChatOpenRouter:
    return chat_open_router(emulator)


def chat_open_router(emulator: Emulator, **fields: Any) -> ChatOpenRouter:
    key = SecretStr(emulator.api_key)
    return ChatOpenRouter(model=MODEL, base_url=emulator.base_url, api_key=key, max_retries=0, **fields)


def said(prompt: str) -> Any:
    return [{"role": "user", "content": prompt}]


def test_openai(openai: OpenAI, emulator: Emulator) -> None:
    answer = openai.chat.completions.create(model=MODEL, messages=said("Why?"), seed=1, temperature=0.5)
    assert (answer.choices[0].message.content or "").startswith(f"{MODEL} answers:")
    assert (answer.model, answer.choices[0].finish_reason) == (MODEL, "stop")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 20
    assert emulator.log[0].ended == "finished"


def test_openai_streaming(openai: OpenAI) -> None:
    whole = openai.chat.completions.create(model=MODEL, messages=said("Why?")).choices[0].message.content
    stream = openai.chat.completions.create(
        model=MODEL, messages=said("Why?"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole
    assert [c.usage.completion_tokens for c in chunks if c.usage] == [20]


async def test_openai_async(emulator: Emulator) -> None:
    async with AsyncOpenAI(base_url=emulator.base_url, api_key=emulator.api_key, max_retries=0) as client:
        answer = await client.chat.completions.create(model=MODEL, messages=said("Why?"))
        stream = await client.chat.completions.create(model=MODEL, messages=said("Why?"), stream=True)
        text = "".join([c.choices[0].delta.content or "" async for c in stream if c.choices])
    assert text == answer.choices[0].message.content


def test_openai_tools(openai: OpenAI) -> None:
    messages = said(ASKED)
    message = openai.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0].message
    assert message.tool_calls
    call: Any = message.tool_calls[0]
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Oslo"})
    messages += [message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
    last = openai.chat.completions.create(model=MODEL, messages=messages, tools=[WEATHER]).choices[0]
    assert (last.finish_reason, last.message.tool_calls) == ("stop", None)


def test_openai_streamed_tools(openai: OpenAI) -> None:
    with openai.chat.completions.stream(model=MODEL, messages=said(ASKED), tools=[WEATHER]) as stream:
        events = [event.type for event in stream]
        (call,) = stream.get_final_completion().choices[0].message.tool_calls or []
    assert "tool_calls.function.arguments.done" in events
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


def test_openai_parse(openai: OpenAI) -> None:
    answer = openai.chat.completions.parse(
        model=MODEL, messages=said("In 'Oslo' it is 3 degrees."), response_format=Weather
    )
    assert answer.choices[0].message.parsed == Weather(city="Oslo", degrees=3)


def test_openai_lists_models(openai: OpenAI) -> None:
    assert set(MODELS) <= {model.id for model in openai.models.list()}


@pytest.mark.parametrize(
    ("fault", "fields", "error"),
    [
        ("rate_limit_exceeded", {}, RateLimitError),
        ("authentication", {}, AuthenticationError),
        (None, {"model": "openai/gpt-4-turbo"}, NotFoundError),
        (None, {"model": "openai/gpt-51"}, BadRequestError),
        (None, {"messages": [{"role": "robot", "content": "x"}]}, BadRequestError),
    ],
)
def test_openai_errors(
    openai: OpenAI, emulator: Emulator, fault: str | None, fields: dict[str, Any], error: type[APIError]
) -> None:
    if fault:
        emulator.fault(fault)
    with pytest.raises(error):
        openai.chat.completions.create(**{"model": MODEL, "messages": said("Why?"), **fields})


def test_openai_an_error_in_a_stream(openai: OpenAI, emulator: Emulator) -> None:
    emulator.fault("provider_unavailable", place="sse", after_tokens=3)
    stream = openai.chat.completions.create(model=MODEL, messages=said("Why?"), stream=True)
    with pytest.raises(APIError, match="Provider returned error"):
        list(stream)


def test_langchain(langchain: ChatOpenRouter) -> None:
    answer = langchain.invoke("Why?")
    assert str(answer.content).startswith(f"{MODEL} answers:")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] == 20
    assert answer.response_metadata["model_name"] == MODEL
    chunks = list(langchain.stream("Why?"))
    whole = reduce(add, chunks)
    assert whole.content == answer.content
    assert sum(chunk.usage_metadata is not None for chunk in chunks) == 1


async def test_langchain_async(langchain: ChatOpenRouter) -> None:
    answer = await langchain.ainvoke("Why?")
    assert "".join([str(chunk.content) async for chunk in langchain.astream("Why?")]) == answer.content


@pytest.mark.parametrize("streamed", [False, True], ids=["invoke", "stream"])
def test_langchain_tools(langchain: ChatOpenRouter, streamed: bool) -> None:
    bound = langchain.bind_tools([WEATHER])
    message: Any = reduce(add, bound.stream(ASKED)) if streamed else bound.invoke(ASKED)
    (call,) = message.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Oslo"})
    turns = [HumanMessage(ASKED), message, ToolMessage("rain", tool_call_id=call["id"])]
    last: Any = bound.invoke(turns)
    assert (last.tool_calls, bool(last.content)) == ([], True)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_structured_output(langchain: ChatOpenRouter, method: Any) -> None:
    asking = langchain.with_structured_output(Weather, method=method)
    assert asking.invoke("In 'Oslo' it is 3 degrees.") == Weather(city="Oslo", degrees=3)


def test_langchain_reasoning(emulator: Emulator) -> None:
    answer = chat_open_router(emulator, reasoning={"effort": "high"}).invoke("Why?")
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_token_details"]["reasoning"] > 0
    assert [block["type"] for block in answer.content_blocks] == ["reasoning", "text"]
