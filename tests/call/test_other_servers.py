"""Habits of other OpenAI-compatible servers, and parameters that a model has of its own: over real HTTP."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from openrouter_fallback import EndpointConfig, FailureKind, FallbackClient, FallbackConfig, ModelConfig
from openrouter_fallback.decision.candidates import ActiveAttempt
from openrouter_fallback.decision.commands import StartAttempt
from openrouter_fallback.decision.starting import with_deadlines
from openrouter_fallback.decision.timeouts import SLOW_FIRST_TOKEN_SECONDS, SLOW_STALL_SECONDS
from openrouter_fallback.health import HealthScopes
from openrouter_fallback.request.request import Request
from openrouter_fallback.routes.candidate import Candidate

from ..support.bodies import Json, choice, delta
from ..support.clients import undiced
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import Outcome, ask

K = FailureKind
FIRST, SECOND = "some/first", "some/second"
BOTH = pytest.mark.parametrize("surface", ["chat", "stream"])
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]

EVENTS = sse(delta(content="hel"), delta(content="lo"), delta(finish="stop"), "[DONE]")
WHOLE: Json = {"id": "gen-raw", "model": "raw/model", "choices": [choice(content="hello")]}
TOO_LONG = {"error": {"message": "This model's maximum context length is 8192 tokens", "code": 400}}
DIED = {"message": "upstream died", "code": 502}
FAILED_THERE = {"error": {"message": "no", "code": 502, "metadata": {"provider_name": "Someone"}}}
NOBODY_LEFT = {"error": {"message": "No allowed providers are available for the selected model.", "code": 404}}


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


def client_for(server: RawServer, *models: str | ModelConfig, **settings: Any) -> FallbackClient:
    client = FallbackClient(models or [FIRST], base_url=server.base_url, api_key="sk-or-v1-test", settings=settings)
    undiced(client)
    return client


def once(server: RawServer, surface: str, *replies: Reply, **params: Any) -> Outcome:
    """What one attempt comes to."""
    server.answer(*replies)
    with client_for(server, max_retries_per_model=1) as client:
        return ask(client, surface, **params)


def body(value: object, content_type: str = "application/json", status: int = 200) -> Reply:
    return Reply([json.dumps(value).encode()], status, content_type)


def null_message(text: str, finish: str | None = None) -> Json:
    chunk = delta(content=text, finish=finish)
    return {**chunk, "choices": [{**chunk["choices"][0], "message": None}]}


def function_call(finish: str | None = None, **fields: str) -> Json:
    return delta(content=None, finish=finish, function_call=fields)


CALL_BEGUN = [function_call(name="get", arguments=""), function_call(arguments='{"city":')]

GOOD: dict[str, Reply] = {
    "an empty finish reason on each chunk": Reply(
        [sse(delta(finish="", content="hel"), delta(finish="", content="lo"), delta(finish="stop"))]
    ),
    "no content type, the first event in two reads": Reply([EVENTS[:2], EVENTS[2:]], content_type=""),
    "no content type, a comment in two reads": Reply([b": PRO", b"CESSING\n\n" + EVENTS], content_type=""),
    "events called JSON": Reply([EVENTS], content_type="application/json"),
    "events called JSON, the first in two reads": Reply([EVENTS[:3], EVENTS[3:]], content_type="application/json"),
    "JSON called events": body(WHOLE, "text/event-stream"),
    "a null message beside the delta": Reply([sse(null_message("hello"), null_message("", "stop"))]),
    "events with no data": Reply([b"data:\n\ndata: \n\n" + EVENTS.replace(b"\n\n", b"\n\ndata: \n\n")]),
    "lines that end in CRLF": Reply([EVENTS.replace(b"\n", b"\r\n")]),
    "an error beside finished choices": body({**WHOLE, "error": DIED}),
}
BAD: dict[str, tuple[Reply, K]] = {
    "an empty finish reason, cut off": (Reply([sse(delta(finish="", content="half of"))]), K.BAD_ANSWER),
    "an empty finish reason in a body": (
        body({**WHOLE, "choices": [choice(finish="", content="half of")]}),
        K.BAD_ANSWER,
    ),
    "a JSON error called events": (body(TOO_LONG, "text/event-stream"), K.CONTEXT_TOO_LONG),
    "an error beside unfinished choices": (
        body({**WHOLE, "choices": [choice(finish=None, content="half of")], "error": DIED}),
        K.UNAVAILABLE,
    ),
    "a broken function call": (Reply([sse(*CALL_BEGUN, function_call(finish="function_call"))]), K.BAD_ANSWER),
}


@BOTH
@pytest.mark.parametrize("habit", GOOD)
def test_an_answer(server: RawServer, surface: str, habit: str) -> None:
    answer = once(server, surface, GOOD[habit]).answer
    assert (answer.text, answer.finish_reason, len(answer.attempts)) == ("hello", "stop", 1)


@BOTH
@pytest.mark.parametrize("habit", BAD)
def test_no_answer(server: RawServer, surface: str, habit: str) -> None:
    reply, kind = BAD[habit]
    assert [attempt.kind for attempt in once(server, surface, reply).raised.attempts] == [kind]


@BOTH
def test_reasoning_content_is_reasoning(server: RawServer, surface: str) -> None:
    thoughts = sse(delta(content=None, reasoning_content="first "), delta(content=None, reasoning_content="second"))
    outcome = once(server, surface, Reply([thoughts + EVENTS]))
    assert (outcome.answer.reasoning, outcome.answer.message["reasoning_content"]) == ("first second", "first second")
    if surface == "stream":
        assert "".join(piece.reasoning for piece in outcome.pieces) == "first second"
    cut_off = once(server, surface, Reply([thoughts])).raised.attempts[0]
    assert (cut_off.kind, cut_off.first_token is not None) == (K.BAD_ANSWER, True)


@BOTH
def test_usage_in_the_last_chunk_with_choices(server: RawServer, surface: str) -> None:
    last = {**delta(finish="stop"), "usage": {"total_tokens": 3, "cost": 0.5}}
    early = {**delta(content="hello"), "usage": None}
    answer = once(server, surface, Reply([sse(early, last)])).answer
    assert (answer.text, answer.cost, answer.usage and answer.usage.total_tokens) == ("hello", 0.5, 3)


@BOTH
def test_choices_that_come_one_after_the_other(
    server: RawServer, surface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrouter_fallback.decision.deadlines.USAGE_SECONDS", 0.05)
    gate = server.gate()
    begun = sse(delta(content="first"), delta(finish="stop"), delta(1, content="sec"))
    later = threading.Timer(0.3, gate.open)
    later.start()
    answer = once(server, surface, Reply([begun, gate, sse(delta(1, content="ond"), delta(1, finish="stop"))]), n=2)
    later.join()
    assert [each["message"]["content"] for each in answer.answer.raw["choices"]] == ["first", "second"]


@BOTH
def test_function_calls_are_joined(server: RawServer, surface: str) -> None:
    end = [function_call(arguments=' "Rome"}'), delta(finish="function_call")]
    answer = once(server, surface, Reply([sse(*CALL_BEGUN, *end)])).answer
    assert answer.message["function_call"] == {"name": "get", "arguments": '{"city": "Rome"}'}
    assert answer.invalid_tool_calls == ()


@BOTH
def test_a_function_call_that_length_cut_off_is_only_an_invalid_one(server: RawServer, surface: str) -> None:
    answer = once(server, surface, Reply([sse(*CALL_BEGUN, delta(finish="length"))])).answer
    assert (answer.finish_reason, answer.tool_calls) == ("length", ())
    assert "function_call" not in answer.message
    assert [call["function"] for call in answer.invalid_tool_calls] == [{"name": "get", "arguments": '{"city":'}]


# A model's own parameters count like the call's


@BOTH
def test_a_model_that_always_reasons_has_the_slow_deadlines(
    server: RawServer, surface: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asks: list[tuple[StartAttempt, ActiveAttempt]] = []

    def noted(*args: Any, **named: Any) -> tuple[StartAttempt, ActiveAttempt]:
        asks.append(with_deadlines(*args, **named))
        return asks[-1]

    monkeypatch.setattr("openrouter_fallback.decision.failover.with_deadlines", noted)
    server.answer(Reply([EVENTS]))
    thinker = ModelConfig(FIRST, params={"reasoning": {"effort": "high"}})
    with client_for(server, thinker, SECOND, total_timeout_seconds=10_000) as client:
        assert ask(client, surface).answer.text == "hello"
    ((only, under_way),) = asks
    assert only.stall == SLOW_STALL_SECONDS
    assert under_way.doubt_at is not None
    assert under_way.doubt_at - only.permit.started == pytest.approx(SLOW_FIRST_TOKEN_SECONDS)


def test_a_model_that_always_answers_in_json_is_checked(server: RawServer) -> None:
    server.answer(Reply([EVENTS]))
    careful = ModelConfig(FIRST, params={"response_format": {"type": "json_object"}}, max_retries=1)
    with client_for(server, careful, SECOND) as client:
        answer = ask(client, "chat").answer
    assert [(attempt.model, attempt.kind) for attempt in answer.attempts] == [(FIRST, K.BAD_ANSWER), (SECOND, None)]


@BOTH
@pytest.mark.parametrize(
    ("of_model", "of_call", "again"),
    [
        (None, None, {"ignore": ["Someone"]}),
        ({"only": ["Someone"]}, None, {"only": ["Someone"]}),
        ({"order": ["Someone"]}, None, {"order": ["Someone"]}),
        ({"sort": "price"}, None, {"sort": "price", "ignore": ["Someone"]}),
        (None, {"sort": "price"}, {"sort": "price", "ignore": ["Someone"]}),
        ({"data_collection": "deny"}, {"sort": "price"}, {"sort": "price", "ignore": ["Someone"]}),
        (None, {"ignore": ["Other"]}, {"ignore": ["Other", "Someone"]}),
    ],
)
def test_the_providers_of_a_retry(
    server: RawServer, surface: str, of_model: Json | None, of_call: Json | None, again: Json
) -> None:
    server.answer(body(FAILED_THERE, status=502), Reply([EVENTS]))
    model = ModelConfig(FIRST, params={"provider": of_model} if of_model else {})
    with client_for(server, model) as client:
        assert ask(client, surface, provider=of_call).answer.text == "hello"
    first, second = (received.body for received in server.requests)
    assert first.get("provider") == (of_call or of_model)
    assert second["provider"] == again


@BOTH
def test_a_callers_own_providers_say_nothing_about_the_model(server: RawServer, surface: str) -> None:
    server.answer(body(NOBODY_LEFT, status=404), Reply([EVENTS]))
    with client_for(server, FIRST, SECOND) as client:
        refused = ask(client, surface, tools=TOOLS, provider={"only": ["nobody"]}, models=[FIRST]).raised
        assert refused.attempts[0].kind is K.UNSUPPORTED
        assert ask(client, surface, tools=TOOLS).answer.attempts[-1].model == FIRST


# What only OpenRouter knows

OPENROUTERS: Json = {
    "cache_control": {"type": "ephemeral"},
    "include_reasoning": True,
    "plugins": [{"id": "web"}],
    "provider": {"order": ["anthropic"]},
    "reasoning": {"effort": "low"},
    "route": "fallback",
    "session_id": "s",
    "trace": {"trace_id": "t"},
    "transforms": ["middle-out"],
    "usage": {"include": True},
}
ANYBODYS: Json = {"temperature": 0.2, "top_k": 4, "reasoning_effort": "low", "max_tokens": 9}
THOUGHT: Json = {
    "role": "assistant",
    "content": "Yes.",
    "reasoning": "Let me see",
    "reasoning_details": [{"type": "reasoning.text", "text": "Let me see"}],
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}],
}
TALK: list[Json] = [{"role": "user", "content": "hi"}, THOUGHT, {"role": "user", "content": "And?"}]


@BOTH
def test_another_server_gets_nothing_that_only_openrouter_knows(server: RawServer, surface: str) -> None:
    """Some refuse what they do not know: the last resort would answer with a 400."""
    server.answer(Reply([], status=503), Reply([EVENTS]))
    config = FallbackConfig(
        default_chain=[FIRST, ModelConfig("direct:m", params={"reasoning": {"effort": "high"}, "trace": {"a": 1}})],
        endpoints={"direct": EndpointConfig(server.base_url)},
    )
    with FallbackClient(config=config, base_url=server.base_url, api_key="sk-or-v1-test") as client:
        ask(client, surface, TALK, **OPENROUTERS, **ANYBODYS, extra_body={"session_id": "mine"}).answer  # noqa: B018
    ours, theirs = (request.body for request in server.requests)

    assert ours["messages"] == TALK
    assert {key: ours[key] for key in OPENROUTERS} == {**OPENROUTERS, "session_id": "mine"}
    assert theirs["messages"] == [TALK[0], {"role": "assistant", "content": "Yes."}, TALK[2]]
    assert {key: theirs[key] for key in OPENROUTERS if key in theirs} == {
        "session_id": "mine",
        "reasoning": {"effort": "high"},
        "trace": {"a": 1},
    }
    assert {key: theirs[key] for key in ANYBODYS} == ANYBODYS


def body_for(host: str, own: Json, bound: int | None = None, **params: Any) -> Json:
    target = HealthScopes("direct:m", "direct", "key", 60.0)
    candidate = Candidate("direct:m", "m", target, attempts=1, params=own, host=host)
    sent: Json = json.loads(Request(TALK, params).body(candidate, max_tokens=bound))
    return {key: value for key, value in sent.items() if key not in ("model", "stream", "stream_options", "messages")}


def test_openrouter_under_another_name_gets_its_own_parameters() -> None:
    assert body_for("openrouter.ai", {}, **OPENROUTERS) == OPENROUTERS


@pytest.mark.parametrize(
    ("host", "own", "given", "sent"),
    [
        ("api.openai.com", {}, {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("api.openai.com", {"max_completion_tokens": 5}, {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("api.openai.com", {}, {"extra_body": {"max_tokens": 9}}, {"max_tokens": 9}),
        ("api.openai.com", {}, {"bound": 7}, {"max_completion_tokens": 7}),
        ("api.groq.com", {}, {"max_tokens": 9}, {"max_tokens": 9}),
        ("api.groq.com", {"max_completion_tokens": 5}, {"max_tokens": 9}, {"max_tokens": 9}),
        ("openrouter.ai", {"max_completion_tokens": 5}, {"max_tokens": 9}, {"max_tokens": 9}),
    ],
)
def test_one_limit_goes_out_by_the_name_that_is_known_there(host: str, own: Json, given: Json, sent: Json) -> None:
    """OpenAI refuses both at once, and of its newer models each the old name."""
    assert body_for(host, own, **given) == sent


@pytest.mark.parametrize(
    ("given", "source"),
    [
        ({}, "its api_key_env or api_key in the configuration"),
        ({"api_key_env": "DIRECT_KEY"}, "the environment variable DIRECT_KEY"),
        ({"api_key_env": "DIRECT_KEY", "api_key": "hidden"}, "endpoints.direct.api_key in the configuration"),
    ],
)
def test_a_refused_key_of_another_server_is_looked_for_there(
    server: RawServer, monkeypatch: pytest.MonkeyPatch, given: Json, source: str
) -> None:
    monkeypatch.setenv("DIRECT_KEY", "hidden")
    server.answer(body({"error": {"message": "Incorrect API key provided", "code": 401}}, status=401))
    config = FallbackConfig(default_chain=["direct:m"], endpoints={"direct": EndpointConfig(server.base_url, **given)})
    with FallbackClient(config=config, api_key="sk-or-v1-test") as client:
        told = str(ask(client, "chat").raised)
    assert f"Next step: Check the key of the endpoint direct: {source}." in told
    assert "sk-or" not in told
    assert "hidden" not in told


@BOTH
def test_the_bytes_of_a_body_are_no_tokens(server: RawServer, surface: str) -> None:
    """A body that drips does not hold the call: it has no first token until it is whole."""
    rest = server.gate()
    server.answer(Reply([b'{"id": "gen-raw", ', rest], content_type="application/json"), Reply([EVENTS]))
    with client_for(server, FIRST, SECOND, first_token_timeout_seconds=0.2) as client:
        outcome = ask(client, surface)
    rest.open()
    assert outcome.answer.text == "hello"
    assert [attempt.kind for attempt in outcome.answer.attempts] == [K.TIMED_OUT, None]
    assert outcome.answer.attempts[0].message.startswith("first token deadline")
