"""Refusals that another model would not make, and errors in every shape: over real HTTP, on every surface."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import orjson
import pytest

from openrouter_fallback import (
    ContentPolicyError,
    EndpointConfig,
    FailureKind,
    FallbackClient,
    FallbackConfig,
    InsufficientCreditsError,
    ModelConfig,
    RateLimitedError,
)

from ..cases.failures import Case
from ..cases.shapes import SHAPES
from ..support.bodies import Json, delta
from ..support.clients import undiced
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

K = FailureKind
FIRST, SECOND = "some/first", "some/second"
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
ANSWER = Reply([sse(delta(content="hel"), delta(content="lo"), delta(finish="stop"), "[DONE]")])
ON_EVERY_SURFACE = pytest.mark.parametrize("surface", SURFACES)


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


@pytest.fixture
def client(server: RawServer) -> Iterator[FallbackClient]:
    settings = {"max_retries_per_model": 1, "total_timeout_seconds": 10}
    with FallbackClient([FIRST, SECOND], base_url=server.base_url, api_key="sk-or-v1-x", settings=settings) as one:
        yield undiced(one)


def refusal(status: int, body: Any) -> Reply:
    return Reply([orjson.dumps(body)], status, "application/json")


def error(status: int, message: str, **metadata: Any) -> Reply:
    return refusal(status, {"error": {"code": status, "message": message, "metadata": metadata}})


def asked(server: RawServer) -> list[str]:
    return [request.body["model"] for request in server.requests]


_LOC = [{"type": "extra_forbidden", "loc": ["body", "stream_options"], "msg": "Extra inputs are not permitted"}]
_ID = "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40."
_PROMPT = "This model's maximum prompt length is 131072 but the request contains 537812 tokens."
_GONE = "Item with id 'rs_68af' not found. Items are not persisted when `store` is set to false."
_CHOICE = "No endpoints found that support the provided 'tool_choice' value."
_UNSAFE = "Content violates usage guidelines. Team: x, Failed check: SAFETY_CHECK_TYPE_BIO"
_AFFORD = "This request requires more credits, or fewer max_tokens. You want 65536 tokens, but can only afford 3919."

# What the first model says; the second answers, and the first is as good as before.
NEXT: dict[str, tuple[Reply, K]] = {
    "too long, in xAI's words": (error(400, _PROMPT), K.CONTEXT_TOO_LONG),
    "too long, of a provider": (
        error(400, "Provider returned error", raw=_PROMPT, provider_name="xAI"),
        K.CONTEXT_TOO_LONG,
    ),
    "too long, Moonshot's": (
        error(400, "Your request exceeded model token limit: 1 (requested: 2)"),
        K.CONTEXT_TOO_LONG,
    ),
    "an id is too long": (error(400, _ID), K.REJECTED),
    "max_tokens beyond the model's": (error(400, "max_tokens: 64001 > 8192, which is the maximum allowed"), K.REJECTED),
    "a parameter's value": (error(404, _CHOICE), K.UNSUPPORTED),
    "an item": (error(404, _GONE), K.REJECTED),
    "an item, of a provider": (error(404, "Provider returned error", raw=_GONE, provider_name="OpenAI"), K.REJECTED),
    "a feature nobody asked for": (error(404, "No endpoints found that support logprobs."), K.UNSUPPORTED),
    "Google's wait": (refusal(429, [{"error": {"code": 429, "details": [{"retryDelay": "7s"}]}}]), K.RATE_LIMITED),
}


@ON_EVERY_SURFACE
@pytest.mark.parametrize("case", NEXT)
def test_the_next_model_is_asked(server: RawServer, client: FallbackClient, case: str, surface: str) -> None:
    reply, kind = NEXT[case]
    server.answer(reply, ANSWER)
    answer = ask(client, surface, "hi", tools=TOOLS, tool_choice="auto").answer
    assert (answer.text, asked(server)) == ("hello", [FIRST, SECOND])
    assert [attempt.kind for attempt in answer.attempts] == [kind, None]
    route = client.route(models=[FIRST, SECOND])
    assert [skip.model for skip in route.skipped] == ([FIRST] if kind is K.RATE_LIMITED else [])
    assert client.health()[FIRST].state == "closed"


@ON_EVERY_SURFACE
def test_a_parameter_of_ours_is_left_out_and_that_is_remembered(
    server: RawServer, client: FallbackClient, surface: str
) -> None:
    server.answer(refusal(422, {"detail": _LOC}), ANSWER)
    answer = ask(client, surface, "hi").answer
    assert (answer.text, asked(server)) == ("hello", [FIRST, FIRST])
    assert [attempt.kind for attempt in answer.attempts] == [None]
    assert ["stream_options" in request.body for request in server.requests] == [True, False]
    server.answer(ANSWER)
    assert ask(client, surface, "hi").answer.text == "hello"
    assert ["stream_options" in request.body for request in server.requests] == [False]


@ON_EVERY_SURFACE
def test_parallel_tool_calls_are_left_out(server: RawServer, client: FallbackClient, surface: str) -> None:
    server.answer(error(400, "Unrecognized request argument supplied: parallel_tool_calls"), ANSWER)
    assert ask(client, surface, "hi", tools=TOOLS, parallel_tool_calls=False).answer.text == "hello"
    assert ["parallel_tool_calls" in request.body for request in server.requests] == [True, False]


def test_two_parameters_one_after_the_other_and_then_an_end(server: RawServer, client: FallbackClient) -> None:
    first, second = (error(400, f"Unknown parameter: '{name}'.") for name in ("stream_options", "parallel_tool_calls"))
    server.answer(first, second, first, ANSWER)
    answer = ask(client, "chat", "hi", tools=TOOLS, parallel_tool_calls=True).answer
    assert (asked(server), [attempt.kind for attempt in answer.attempts]) == (
        [FIRST] * 3 + [SECOND],
        [K.REJECTED, None],
    )


def test_what_an_endpoint_refuses_is_remembered_for_all_its_models(server: RawServer) -> None:
    config = FallbackConfig(
        default_chain=["local:a"], endpoints={"local": EndpointConfig(base_url=server.base_url, api_key="k")}
    )
    with FallbackClient(config=config) as client:
        server.answer(refusal(422, {"detail": _LOC}), ANSWER)
        client.chat("hi")
        client.chat("hi", models=["local:b"])
    assert ["stream_options" in request.body for request in server.requests] == [True, False, False]


def test_null_in_params_sends_nothing(server: RawServer) -> None:
    model = ModelConfig(FIRST, params={"stream_options": None, "temperature": None})
    with FallbackClient([model], base_url=server.base_url, api_key="k") as client:
        server.answer(ANSWER)
        client.chat("hi")
    assert not {"stream_options", "temperature"} & set(server.requests[0].body)


@ON_EVERY_SURFACE
def test_a_value_of_tool_choice_teaches_nothing_about_tools(
    server: RawServer, client: FallbackClient, surface: str
) -> None:
    server.answer(error(404, _CHOICE), ANSWER)
    ask(client, surface, "hi", tools=TOOLS, tool_choice="required")
    server.answer(ANSWER)
    assert ask(client, surface, "hi", tools=TOOLS).answer.text == "hello"
    assert asked(server) == [FIRST]


@ON_EVERY_SURFACE
def test_a_policy_is_raised_at_once(server: RawServer, client: FallbackClient, surface: str) -> None:
    for reply in (
        refusal(403, {"code": "The caller does not have permission", "error": _UNSAFE}),
        error(403, "Provider returned error", raw=json.dumps({"error": _UNSAFE}), provider_name="xAI"),
    ):
        server.answer(reply, ANSWER)
        assert type(ask(client, surface, "hi").raised) is ContentPolicyError
        assert asked(server) == [FIRST]


@ON_EVERY_SURFACE
def test_an_empty_account_is_asked_once(server: RawServer, client: FallbackClient, surface: str) -> None:
    server.answer(error(402, "Insufficient credits. Add more using https://openrouter.ai/credits"), ANSWER)
    raised = ask(client, surface, "hi", models=[FIRST, SECOND]).raised
    assert (type(raised), asked(server)) == (InsufficientCreditsError, [FIRST])


@ON_EVERY_SURFACE
def test_a_free_model_of_an_empty_account_is_asked(server: RawServer, client: FallbackClient, surface: str) -> None:
    empty = error(402, "Insufficient credits. This account never purchased credits.")
    server.answer(empty, ANSWER)
    chain = [FIRST, SECOND, "some/third:free", "some/fourth:free"]
    assert ask(client, surface, "hi", models=chain).answer.text == "hello"
    assert asked(server) == [FIRST, "some/third:free"]
    client.reset()
    server.answer(empty)  # a negative balance: free models are refused too
    assert type(ask(client, surface, "hi", models=chain).raised) is InsufficientCreditsError
    assert asked(server) == [FIRST, "some/third:free"]


@ON_EVERY_SURFACE
def test_what_is_affordable_is_asked_for(server: RawServer, client: FallbackClient, surface: str) -> None:
    server.answer(error(402, _AFFORD, provider_name=None), ANSWER)
    answer = ask(client, surface, "hi").answer
    assert (answer.text, asked(server)) == ("hello", [FIRST, FIRST])
    assert [request.body.get("max_tokens") for request in server.requests] == [None, 3919]


@ON_EVERY_SURFACE
@pytest.mark.parametrize("afford", ["3919", "9", "0"])
def test_cheaper_models_are_asked_where_the_caller_has_set_a_limit_or_too_little_is_left(
    server: RawServer, client: FallbackClient, surface: str, afford: str
) -> None:
    server.answer(error(402, _AFFORD.replace("3919", afford)), ANSWER)
    params: Json = {"max_tokens": 8000} if afford == "3919" else {}
    assert ask(client, surface, "hi", **params).answer.text == "hello"
    assert asked(server) == [FIRST, SECOND]


def test_what_is_affordable_is_asked_for_once(server: RawServer, client: FallbackClient) -> None:
    server.answer(error(402, _AFFORD), error(402, _AFFORD), ANSWER)
    assert [attempt.kind for attempt in ask(client, "chat", "hi").answer.attempts] == [K.CREDITS, K.CREDITS, None]
    assert asked(server) == [FIRST, FIRST, SECOND]


@ON_EVERY_SURFACE
def test_all_free_models_wait_for_the_reset(server: RawServer, client: FallbackClient, surface: str) -> None:
    says = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
    reset = {"X-RateLimit-Reset": str(int((time.time() + 7200) * 1000))}
    free = ["some/a:free", "some/b:free", "some/c:free"]
    server.answer(error(429, says, headers=reset))
    for most in (1, 2):  # a later call may look again, but not at each of them
        raised = ask(client, surface, "hi", models=free).raised
        assert type(raised) is RateLimitedError
        assert raised.retry_after == pytest.approx(7200, abs=60)
        assert 1 <= len(server.requests) <= most
    server.answer(ANSWER)
    assert ask(client, surface, "hi", models=[*free, SECOND]).answer.text == "hello"
    assert asked(server) == [SECOND]


UNDER_200 = [case for case in SHAPES if case.status == 200]


@ON_EVERY_SURFACE
@pytest.mark.parametrize("case", UNDER_200, ids=lambda case: case.name)
def test_any_shape_in_a_whole_body_and_in_a_stream(server: RawServer, case: Case, surface: str) -> None:
    """As a body, as the only event, and as an event behind a comment and a role."""
    event = b"event: error\ndata: " + case.content + b"\n\n"
    begun = b": OPENROUTER PROCESSING\n\n" + sse(delta(content="", role="assistant"))
    with FallbackClient(
        [FIRST],
        base_url=server.base_url,
        api_key="k",
        settings={"max_retries_per_model": 1, "total_timeout_seconds": 5},
    ) as client:
        for reply in (Reply([case.content], 200, "application/json"), Reply([event]), Reply([begun, event])):
            client.reset()
            server.answer(reply)
            raised = ask(client, surface, "hi").raised
            assert [attempt.kind for attempt in raised.attempts] == [case.kind]
