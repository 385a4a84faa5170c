"""The openai SDK for Python against the server: text, streams, tools, structured output, leaving, error classes."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import openai
import pytest
from pydantic import BaseModel

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_CALL, SECOND_TEXT, TOOL
from ..support.serving import Served
from .conftest import CHEAP

SAY: Any = [{"role": "user", "content": "Say something"}]
PACE = 0.02


def collected(stream: Any) -> tuple[str, list[Any]]:
    chunks = list(stream)
    return "".join(c.choices[0].delta.content or "" for c in chunks if c.choices), chunks


def test_a_whole_answer_says_what_was_tried(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault("rate_limit_exceeded", model=FIRST)

    raw = sdk.chat.completions.with_raw_response.create(model="default", messages=SAY, temperature=0.5, top_p=0.9)

    answer = raw.parse()
    assert answer.choices[0].message.content == SECOND_TEXT
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert answer.usage.total_tokens > 0
    told = answer.model_extra["openrouter_fallback"] if answer.model_extra else {}
    assert told["model"] == SECOND
    assert [(attempt["model"], attempt["kind"]) for attempt in told["attempts"]] == [
        (FIRST, "rate_limited"),
        (SECOND, None),
    ]
    assert raw.headers["x-openrouter-fallback-model"] == SECOND
    assert raw.headers["x-openrouter-fallback-attempts"] == f"{FIRST} rate_limited 429, {SECOND} answered"
    assert emulator.log[-1].body["temperature"] == 0.5
    assert emulator.log[-1].body["top_p"] == 0.9


def test_a_stream_is_openais_and_says_what_was_tried(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault("server", model=FIRST)

    raw = sdk.chat.completions.with_raw_response.create(model="default", messages=SAY, stream=True)
    text, chunks = collected(raw.parse())

    assert text == SECOND_TEXT
    assert raw.headers["x-openrouter-fallback-model"] == SECOND
    assert f"{FIRST} unavailable 500" in raw.headers["x-openrouter-fallback-attempts"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks] == [None] * (len(chunks) - 1) + ["stop"]
    assert chunks[-1].openrouter_fallback["model"] == SECOND
    assert all(chunk.usage is None for chunk in chunks)


def test_the_usage_comes_when_it_is_asked_for(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(
        model="default", messages=SAY, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens > 0
    assert [chunk.usage for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1].model_extra is not None
    assert chunks[-1].model_extra["openrouter_fallback"]["cost"] > 0


def test_a_stream_goes_on_with_the_next_model(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.pace(token_interval=PACE)
    emulator.reply(text=SECOND_TEXT, model=FIRST)
    emulator.fault("cut", model=FIRST, after_tokens=5)

    text, chunks = collected(sdk.chat.completions.create(model="default", messages=SAY, stream=True))

    assert text == SECOND_TEXT
    assert (chunks[0].model, chunks[-1].model) == (FIRST, SECOND)
    (seam,) = chunks[-1].openrouter_fallback["seams"]
    assert (seam["before"], seam["after"]) == (FIRST, SECOND)
    assert 0 < seam["offset"] < len(SECOND_TEXT)


def test_a_stream_that_nobody_goes_on_with_is_an_error(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.pace(token_interval=PACE)
    emulator.fault("cut", after_tokens=3)
    stream = sdk.chat.completions.create(model="default", messages=SAY, stream=True)
    first = next(stream)

    with pytest.raises(openai.APIError, match="broke off") as caught:
        list(stream)

    assert first.choices[0].delta.content
    assert caught.value.code == "stream_interrupted"


def test_the_sdks_own_stream_helper(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault("empty", model=FIRST)
    with sdk.chat.completions.stream(model="default", messages=SAY) as stream:
        kinds = [event.type for event in stream]
        answer = stream.get_final_completion()
    assert "content.delta" in kinds
    assert kinds[-1] == "chunk" or "content.done" in kinds
    assert answer.choices[0].message.content == SECOND_TEXT


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_tools(sdk: openai.OpenAI, emulator: Emulator, stream: bool) -> None:
    emulator.reply(text=None, tool_calls=[SECOND_CALL], model=SECOND)
    emulator.fault("cut_tool_call", model=FIRST, end="silent")
    tools: Any = [TOOL]
    if stream:
        with sdk.chat.completions.stream(model="default", messages=SAY, tools=tools) as events:
            answer: Any = events.get_final_completion()
    else:
        answer = sdk.chat.completions.create(model="default", messages=SAY, tools=tools)
    (call,) = answer.choices[0].message.tool_calls
    assert (call.id, call.function.name) == (SECOND_CALL["id"], SECOND_CALL["name"])
    assert json.loads(call.function.arguments) == SECOND_CALL["arguments"]
    assert answer.choices[0].finish_reason == "tool_calls"


class Answer(BaseModel):
    city: str
    people: int


def test_parse(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.reply(text='{"city": "Ber', model=FIRST)
    emulator.reply(text='{"city": "Bern", "people": 134000}', model=SECOND)
    answer = sdk.chat.completions.parse(model="default", messages=SAY, response_format=Answer)
    assert answer.choices[0].message.parsed == Answer(city="Bern", people=134000)
    assert emulator.log[-1].body["response_format"]["type"] == "json_schema"


async def test_async(asdk: openai.AsyncOpenAI, emulator: Emulator) -> None:
    emulator.fault("provider_overloaded", model=FIRST)
    answer = await asdk.chat.completions.create(model="default", messages=SAY)
    assert answer.choices[0].message.content == SECOND_TEXT
    text = ""
    async for chunk in await asdk.chat.completions.create(model="task:coding", messages=SAY, stream=True):
        text += chunk.choices[0].delta.content or ""
    assert text == SECOND_TEXT
    async with asdk.chat.completions.stream(model="default", messages=SAY) as stream:
        assert (await stream.get_final_completion()).choices[0].message.content == SECOND_TEXT


async def test_a_client_that_leaves_a_stream_ends_the_request_upstream(
    asdk: openai.AsyncOpenAI, emulator: Emulator
) -> None:
    emulator.pace(token_interval=PACE)
    emulator.reply(tokens=2000, model=FIRST)
    stream = await asdk.chat.completions.create(model="default", messages=SAY, stream=True)
    async for _ in stream:
        break
    await stream.close()
    await asdk.close()
    log = await emulator.await_for(lambda log: log and log[-1].ended == "gone")
    assert len(log) == 1
    assert log[0].tokens_sent < 1000


async def test_a_client_that_leaves_before_the_answer_ends_the_request_upstream(
    asdk: openai.AsyncOpenAI, emulator: Emulator
) -> None:
    emulator.fault("silence")
    with pytest.raises(openai.APITimeoutError):
        await asdk.with_options(timeout=0.2).chat.completions.create(model="default", messages=SAY)
    log = await emulator.await_for(lambda log: log and log[-1].ended == "gone")
    assert [request.model for request in log] == [FIRST]


ERRORS: list[tuple[str, dict[str, Any], type[openai.APIStatusError], int, str]] = [
    ("rate_limit_exceeded", {"retry_after": 400}, openai.RateLimitError, 429, "rate_limit_exceeded"),
    ("authentication", {}, openai.InternalServerError, 502, "upstream_authentication"),
    ("payment_required", {}, openai.APIStatusError, 402, "insufficient_credits"),
    ("guardrail", {}, openai.PermissionDeniedError, 403, "permission_denied"),
    ("invalid_request", {}, openai.BadRequestError, 400, "invalid_request"),
    ("unprocessable", {}, openai.UnprocessableEntityError, 422, "invalid_request"),
    ("context_length_exceeded", {}, openai.BadRequestError, 400, "context_length_exceeded"),
    ("content_policy_violation", {}, openai.BadRequestError, 400, "content_policy_violation"),
    ("model_not_found", {}, openai.NotFoundError, 404, "model_not_found"),
    ("empty", {}, openai.InternalServerError, 503, "all_models_failed"),
]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("fault", "details", "cls", "status", "code"), ERRORS, ids=[row[0] for row in ERRORS])
def test_error_classes(
    sdk: openai.OpenAI,
    server: Served,
    emulator: Emulator,
    fault: str,
    details: dict[str, Any],
    cls: type[openai.APIStatusError],
    status: int,
    code: str,
    stream: bool,
) -> None:
    """After exhaustion the SDK's own retries send nothing more; where it may retry, it is told when."""
    emulator.fault(fault, **details)
    create: Callable[..., Any] = sdk.with_options(max_retries=2 if status != 429 else 0).chat.completions.create

    with pytest.raises(cls) as caught:
        create(model="default", messages=SAY, stream=stream)

    error = caught.value
    assert (error.status_code, error.code) == (status, code)
    headers = error.response.headers
    if status == 429:
        assert headers["retry-after"] == "400"
        assert "x-should-retry" not in headers
    else:
        assert headers["x-should-retry"] == "false"
    assert isinstance(error.body, dict)
    assert error.body["metadata"]["attempts"][0]["model"] == FIRST
    assert error.body["metadata"]["error_type"]
    assert emulator.api_key not in error.response.text
    sent = emulator.count()
    assert sent == len(error.body["metadata"]["attempts"])


def test_models_are_what_the_configuration_names(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names == [
        "default",
        "task:coding",
        "tier:budget",
        "tier:standard",
        "provider:openai",
        "provider:anthropic",
        FIRST,
        SECOND,
        CHEAP,
    ]
    assert sdk.models.retrieve("task:coding").id == "task:coding"
    assert sdk.models.retrieve(FIRST).owned_by == "openrouter-fallback"


CHOSEN = [
    ("default", FIRST, [FIRST, SECOND]),
    ("task:coding", SECOND, [SECOND, FIRST]),
    ("tier:budget", CHEAP, [CHEAP]),
    ("tier:standard", CHEAP, [CHEAP, FIRST]),
    ("provider:anthropic", SECOND, None),
    (SECOND, SECOND, [SECOND, FIRST]),
    (CHEAP, CHEAP, [CHEAP, FIRST, SECOND]),
]


@pytest.mark.parametrize(("model", "first", "chain"), CHOSEN, ids=[row[0] for row in CHOSEN])
def test_the_model_chooses_the_chain(
    sdk: openai.OpenAI, emulator: Emulator, model: str, first: str, chain: list[str] | None
) -> None:
    assert sdk.chat.completions.create(model=model, messages=SAY).model_extra["openrouter_fallback"]["model"] == first  # type: ignore[index]
    if chain is not None:
        emulator.clear()
        emulator.fault("rejected")
        with pytest.raises(openai.BadRequestError):
            sdk.chat.completions.create(model=model, messages=SAY)
        assert [request.model for request in emulator.log] == chain


def test_openrouters_own_list_of_models(sdk: openai.OpenAI, emulator: Emulator) -> None:
    emulator.fault("rejected")
    with pytest.raises(openai.BadRequestError):
        sdk.chat.completions.create(model=CHEAP, messages=SAY, extra_body={"models": [SECOND]})
    assert [request.model for request in emulator.log] == [CHEAP, SECOND]


def test_fields_that_are_arguments_of_the_library_go_upstream_as_they_are(
    sdk: openai.OpenAI, emulator: Emulator
) -> None:
    body = {"headers": {"x-evil": "1"}, "timeout": 0.001, "task": "coding", "accept": "no", "self": 1, "user": "me"}
    answer = sdk.chat.completions.create(model="default", messages=SAY, extra_body=body)
    assert answer.choices[0].message.content == FIRST_TEXT
    sent = emulator.log[-1]
    assert {name: sent.body[name] for name in body} == body
    assert "x-evil" not in sent.headers


def test_several_choices(sdk: openai.OpenAI, client: FallbackClient) -> None:
    stream = sdk.chat.completions.create(model="default", messages=SAY, n=2, stream=True)
    texts = {0: "", 1: ""}
    for chunk in stream:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
    assert set(texts.values()) == {FIRST_TEXT}
