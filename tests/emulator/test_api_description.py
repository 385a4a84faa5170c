"""The emulator and our client beside OpenRouter's published API description: neither may agree only with the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from openapi_core.exceptions import OpenAPIError

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import MODELS, Emulator
from openrouter_fallback.emulator.faults.errors import ERRORS

from .description import check_chunk, check_request, check_response, needs_description
from .helpers import MODEL, Asker, Json, chunks_of, request

pytestmark = needs_description

OTHER = "anthropic/claude-sonnet-4.5"
IMAGE = "data:image/png;base64,iVBORw0KGgo="
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": True,
    },
}
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "answer",
        "strict": True,
        "schema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]},
    },
}
CALL = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Oslo"}'}}
THOUGHT = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}
PARTS: list[Json] = [
    {"type": "text", "text": "What is this?", "cache_control": {"type": "ephemeral"}},
    {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
    {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
    {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERi0="}},
]
TURNS: list[Json] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "The weather in Oslo?", "name": "ann"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [CALL],
        "reasoning": "Hm.",
        "reasoning_details": [THOUGHT],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "rain"}]},
]

# What callers may ask for; each row is sent by our client, and answered by the emulator, streamed and not.
FIELDS: dict[str, Json] = {
    "plain": {},
    "sampling": {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "seed": 1,
        "frequency_penalty": 0.1,
        "presence_penalty": -0.1,
        "repetition_penalty": 1.1,
        "logit_bias": {"50256": -100},
    },
    "limits": {"max_tokens": 5, "stop": ["\n", "END"]},
    "completion tokens": {"max_completion_tokens": 5, "stop": "answers"},
    "logprobs": {"logprobs": True, "top_logprobs": 2},
    "three choices": {"n": 3},
    "tools": {"tools": [WEATHER], "tool_choice": "auto", "parallel_tool_calls": False},
    "tool required": {"tools": [WEATHER], "tool_choice": "required"},
    "tool named": {"tools": [WEATHER], "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
    "tool none": {"tools": [WEATHER], "tool_choice": "none"},
    "json": {"response_format": {"type": "json_object"}},
    "schema": {"response_format": SCHEMA},
    "reasoning": {"reasoning": {"effort": "high", "summary": "auto"}},
    "reasoning budget": {"reasoning": {"max_tokens": 100}},
    "reasoning hidden": {"reasoning": {"enabled": True, "exclude": True}},
    "effort": {"reasoning_effort": "low"},
    "parts": {"messages": [{"role": "user", "content": PARTS}]},
    "turns": {"messages": TURNS, "tools": [WEATHER]},
    "prefill": {"messages": [{"role": "user", "content": "Count."}, {"role": "assistant", "content": "One"}]},
    "developer": {"messages": [{"role": "developer", "content": "Be brief."}, {"role": "user", "content": "Why?"}]},
    "preferences": {
        "provider": {
            "order": ["openai", "anthropic"],
            "ignore": ["azure"],
            "allow_fallbacks": True,
            "require_parameters": True,
            "data_collection": "deny",
            "sort": "price",
            "max_price": {"prompt": "20", "completion": "100"},
        }
    },
    "server-side models": {"models": [OTHER]},
    "web": {"plugins": [{"id": "web", "max_results": 3}]},
    "told apart": {"user": "u-1", "session_id": "s-1", "metadata": {"trace": "t-1"}, "service_tier": "auto"},
    "cache": {"cache_control": {"type": "ephemeral"}, "prompt_cache_key": "k"},
    "modalities": {"modalities": ["text"]},
}


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FallbackClient]:
    settings = {"stall_timeout_seconds": 0.2}
    with FallbackClient(
        [MODEL, OTHER], base_url=emulator.base_url, api_key=emulator.api_key, settings=settings
    ) as made:
        yield made


def asked(fields: Json) -> tuple[Any, Json]:
    rest = dict(fields)
    return rest.pop("messages", "get_weather in 'Oslo' as JSON"), rest


@pytest.mark.parametrize("streamed", [False, True], ids=["chat", "stream"])
@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_what_our_client_sends(emulator: Emulator, client: FallbackClient, fields: Json, streamed: bool) -> None:
    messages, params = asked(fields)
    if streamed:
        list(client.stream(messages, **params))
    else:
        client.chat(messages, **params)
    for sent in emulator.log:
        check_request(sent.body)


FAULTS_ON_THE_WAY: dict[str, Json] = {
    "provider_unavailable": {},
    "stall": {"after_tokens": 5},
    "cut": {"after_tokens": 5},
    "empty": {},
}


@pytest.mark.parametrize("prefill", ["continue", "refuse"])
@pytest.mark.parametrize(("kind", "details"), FAULTS_ON_THE_WAY.items(), ids=FAULTS_ON_THE_WAY)
def test_what_our_client_sends_after_a_failure(
    emulator: Emulator, client: FallbackClient, kind: str, details: Json, prefill: str
) -> None:
    emulator.fault(kind, model=MODEL, **details)
    emulator.reply(prefill=prefill)
    assert "".join(piece.text for piece in client.stream("Why?"))
    assert emulator.count() > 1
    for sent in emulator.log:
        check_request(sent.body)


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_answers(ask: Asker, fields: Json) -> None:
    prompt, params = asked(fields)
    params = params if isinstance(prompt, str) else {"messages": prompt, **params}
    ask.http.headers["X-OpenRouter-Metadata"] = "enabled"
    response = ask.post("get_weather", **params)
    assert response.status_code == 200, response.text
    check_response(response.request, response)
    chunks = ask.chunks("get_weather", **params)
    assert chunks
    for chunk in chunks:
        check_chunk(chunk)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
def test_scripted_answers(emulator: Emulator, ask: Asker, streamed: bool) -> None:
    emulator.reply(
        "Fixed.",
        reasoning="Hm.",
        images=[{"type": "image_url", "image_url": {"url": IMAGE}}],
        annotations=[{"type": "url_citation", "url_citation": {"url": "https://example.com"}}],
        audio={"id": "a", "data": "UklGRg==", "transcript": "Fixed.", "expires_at": 1},
        logprobs=True,
    )
    response = ask.post(stream=streamed)
    if streamed:
        for chunk in chunks_of(response.text):
            check_chunk(chunk)
    else:
        check_response(response.request, response)


# The description names no 412 and no 504, though the list of error types does.
UNDESCRIBED = {"precondition_failed", "timeout"}


@pytest.mark.parametrize("name", sorted(set(ERRORS) - UNDESCRIBED))
def test_errors(emulator: Emulator, ask: Asker, name: str) -> None:
    ask.http.headers["X-OpenRouter-Metadata"] = "enabled"
    emulator.fault(name, retry_after=3)
    response = ask.post()
    assert response.status_code == ERRORS[name].status
    check_response(response.request, response)


# In a stream `metadata` needs an `error_type`, which these errors of before have not.
UNTYPED = {name for name, row in ERRORS.items() if row.error_type is None and (row.metadata or row.upstream)}


@pytest.mark.parametrize("name", sorted(set(ERRORS) - UNTYPED))
def test_errors_in_a_stream(emulator: Emulator, ask: Asker, name: str) -> None:
    emulator.fault(name, place="sse", after_tokens=3)
    chunks = ask.chunks()
    assert "error" in chunks[-1]
    for chunk in chunks:
        check_chunk(chunk)


# Faults whose every byte is still what the description says; the others are wrong on purpose.
WELL_FORMED: dict[str, Json] = {
    "truncated": {},
    "empty": {},
    "reasoning_only": {},
    "cut_tool_call": {"end": "length"},
    "tool_call_no_finish": {},
    "oversized": {"size": 1000},
    "content_filter": {},
    "error_after_finish": {},
    "no_done": {},
    "slow": {"delay": 0.001},
    "provider_overloaded": {"place": "choice", "after_tokens": 3},
}


@pytest.mark.parametrize(("kind", "details"), WELL_FORMED.items(), ids=WELL_FORMED)
def test_faulty_answers(emulator: Emulator, ask: Asker, kind: str, details: Json) -> None:
    emulator.fault(kind, **details)
    chunks = ask.chunks()
    assert chunks
    for chunk in chunks:
        check_chunk(chunk)
    if kind != "truncated":
        response = ask.post()
        check_response(response.request, response)


@pytest.mark.parametrize(
    "fields",
    [
        {"model": "foo"},
        {"messages": []},
        {"messages": [{"role": "tool", "tool_call_id": "1", "content": "x"}]},
        {"provider": {"only": ["nobody"]}},
        {"temperature": 3},
    ],
    ids=str,
)
def test_refusals(ask: Asker, fields: Json) -> None:
    response = ask.post(**fields)
    assert response.status_code in (400, 404)
    check_response(response.request, response)


@pytest.mark.parametrize(
    "path",
    [
        "/models",
        "/models?limit=5&offset=60",
        "/models?q=gemini&sort=pricing-low-to-high&output_modalities=all",
        "/key",
        "/credits",
        "/generation?id=unknown",
    ],
)
def test_pages(ask: Asker, path: str) -> None:
    response = ask.http.get(path)
    check_response(response.request, response)
    assert response.json()


@pytest.mark.parametrize("path", ["/key", "/credits", "/generation?id=x"])
def test_pages_without_a_key(ask: Asker, path: str) -> None:
    response = ask.http.get(path, headers={"Authorization": "Bearer sk-or-v1-wrong"})
    assert response.status_code == 401
    check_response(response.request, response)


def test_endpoints_of_every_model(ask: Asker) -> None:
    for model in MODELS:
        response = ask.http.get(f"/models/{model}/endpoints")
        assert response.json()["data"]["endpoints"]
        check_response(response.request, response)


@pytest.mark.parametrize(
    "fields", [{}, {"stream": True}, {"reasoning": {"enabled": True}}, {"models": [OTHER]}], ids=str
)
def test_a_bill(emulator: Emulator, ask: Asker, fields: Json) -> None:
    if "models" in fields:
        emulator.fault("server", model=MODEL)
    name = ask.post(**fields).headers["x-generation-id"]
    response = ask.http.get("/generation", params={"id": name})
    check_response(response.request, response)
    assert response.json()["data"]["id"] == name


def test_the_check_finds_mistakes(emulator: Emulator, ask: Asker) -> None:
    mistakes: list[Json] = [{"messages": []}, {"temperature": "hot"}, {"messages": [{"role": "user"}]}]
    for wrong in mistakes:
        with pytest.raises(OpenAPIError):
            check_request({**request(), **wrong})
    emulator.fault("http", status=429, body={"error": "slow down"})
    response = ask.post()
    with pytest.raises(OpenAPIError):
        check_response(response.request, response)
    chunk = {"id": "gen-1", "choices": [], "created": 1, "model": MODEL, "object": "chat.completion.chunk"}
    check_chunk(chunk)
    with pytest.raises(Exception, match="is not of type"):
        check_chunk({**chunk, "choices": [{"delta": {"content": 5}, "finish_reason": None, "index": 0}]})
