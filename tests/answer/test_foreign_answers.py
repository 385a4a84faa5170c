"""Answers as servers send them, over real HTTP and on every surface: whole, or another model is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from openrouter_fallback import ContentPolicyError, FailureKind, FallbackClient, ModelConfig, StreamInterruptedError

from ..cases.answers import BAD, DONE, GOOD, UNSURE, USAGE, Good
from ..support.bodies import Json, choice, delta
from ..support.clients import SHORT, client_for
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

FIRST, SECOND = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5"
ONCE = [ModelConfig(FIRST, max_retries=1)]
"""A chain that is not called twice."""
FINE = Reply([sse(delta(content="Whole, from the second."), delta(finish="stop"), DONE)])


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture(scope="module")
def shared(raw: RawServer) -> Iterator[FallbackClient]:
    with client_for(raw.base_url, [FIRST, SECOND]) as client:
        yield client


@pytest.fixture
def client(shared: FallbackClient) -> FallbackClient:
    shared.reset()
    return shared


def replies(row: Good, *, apart: bool) -> Reply:
    events = [sse(event) for event in row.events]
    return Reply(events if apart else [b"".join(events)], ending=row.ending)


@pytest.mark.parametrize("apart", [True, False], ids=["apart", "together"])
@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", GOOD)
def test_a_good_answer(raw: RawServer, client: FallbackClient, name: str, surface: str, apart: bool) -> None:
    row = GOOD[name]
    raw.answer(replies(row, apart=apart))
    outcome = ask(client, surface, **row.params)
    answer = outcome.answer
    assert (answer.text, answer.finish_reason) == (row.text, row.finish)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == list(row.calls)
    assert [attempt.kind for attempt in answer.attempts] == [None]
    assert row.tokens is None or (answer.usage is not None and answer.usage.total_tokens == row.tokens)
    assert len(answer.raw["choices"]) == row.params.get("n", 1)
    if outcome.pieces:
        assert outcome.delivered == row.text
        assert [call for piece in outcome.pieces for call in piece.tool_calls] == list(answer.tool_calls)


@pytest.mark.parametrize("surface", ["chat", "achat"])
@pytest.mark.parametrize("name", [*BAD, *UNSURE])
def test_a_bad_answer(raw: RawServer, client: FallbackClient, name: str, surface: str) -> None:
    row = {**BAD, **UNSURE}[name]
    fine = FINE
    if row.params.get("n") == 2:
        both = [delta(n, content="Whole, from the second.") for n in range(2)]
        fine = Reply([sse(*both, *(delta(n, "stop") for n in range(2)), DONE)])
    raw.answer(Reply([sse(*row.events)], ending=row.ending), fine)
    outcome = ask(client, surface, **row.params)
    if row.kind is FailureKind.CONTENT_POLICY:
        assert type(outcome.raised) is ContentPolicyError
        return
    answer = outcome.answer
    first = answer.attempts[0]
    assert (first.model, first.kind) == (FIRST, row.kind)
    assert row.says in first.message
    assert answer.text == "Whole, from the second."


NOTHING_SAID = [
    name
    for name, row in BAD.items()
    if row.kind is not FailureKind.CONTENT_POLICY and row.params.get("n") is None and "content" not in str(row.events)
]
WHITE = [name for name in BAD if "white space" in name]


@pytest.mark.parametrize("surface", ["stream", "astream"])
@pytest.mark.parametrize("name", [*NOTHING_SAID, *WHITE])
def test_a_stream_that_says_nothing_starts_over(
    raw: RawServer, client: FallbackClient, name: str, surface: str
) -> None:
    row = BAD[name]
    raw.answer(Reply([sse(event) for event in row.events], ending=row.ending), FINE)
    outcome = ask(client, surface, **row.params)
    assert outcome.delivered == outcome.answer.text == "Whole, from the second."
    assert [attempt.kind for attempt in outcome.answer.attempts] == [row.kind, None]
    assert outcome.answer.seams == ()


@pytest.mark.parametrize("surface", ["stream", "astream"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_answer_is_never_streamed_as_good(
    raw: RawServer, client: FallbackClient, name: str, surface: str
) -> None:
    row = BAD[name]
    raw.answer(Reply([sse(*row.events)], ending=row.ending))
    outcome = ask(client, surface, models=ONCE, **row.params)
    assert outcome.raised.attempts[0].kind is row.kind


# Only the finish is lost

DOWN = Reply([b'{"error": {"code": 503, "message": "down"}}'], status=503, content_type="application/json")
NEVER_A_FINISH = "Hi there."


def unsure(name: str) -> Reply:
    """A reply of `Hi there.` without a finish reason."""
    if name == "a body":
        return Reply([json.dumps(whole(None, content=NEVER_A_FINISH)).encode()], content_type="application/json")
    return Reply([sse(*UNSURE[name].events)])


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", [*UNSURE, "a body"])
def test_an_answer_that_lacks_only_its_finish_is_delivered_if_no_model_has_a_better_one(
    raw: RawServer, client: FallbackClient, name: str, surface: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw.answer(unsure(name), DOWN)
    outcome = ask(client, surface, models=[*ONCE, ModelConfig(SECOND, max_retries=1)])
    answer = outcome.answer
    assert (answer.text, answer.finish_reason, answer.seams) == (NEVER_A_FINISH, None, ())
    assert not outcome.pieces or outcome.delivered == answer.text
    assert [(attempt.model, attempt.kind) for attempt in answer.attempts] == [
        (SECOND, FailureKind.OVERLOADED),
        (FIRST, None),
    ]
    assert "finish reason" in answer.attempts[-1].notes[-1]
    assert any("its answer is delivered" in message for message in caplog.messages)


@pytest.mark.parametrize("surface", SURFACES)
def test_it_is_delivered_too_if_the_next_model_is_silent_until_the_deadline(
    raw: RawServer, client: FallbackClient, surface: str
) -> None:
    raw.answer(unsure("one event"), Reply([gate := raw.gate()]))
    outcome = ask(client, surface, models=[*ONCE, ModelConfig(SECOND, max_retries=1)], total_timeout=SHORT)
    gate.open()
    assert outcome.answer.text == NEVER_A_FINISH
    assert not outcome.pieces or outcome.delivered == NEVER_A_FINISH


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", [*UNSURE, "a body"])
def test_a_server_that_never_sends_a_finish_is_asked_twice(
    raw: RawServer, client: FallbackClient, name: str, surface: str
) -> None:
    streamed = surface in STREAMED and name != "a body"
    raw.answer(unsure(name), Reply([sse(delta(content=""), DONE)]) if streamed else unsure(name))
    outcome = ask(client, surface, models=[ModelConfig(FIRST, max_retries=4)])
    answer = outcome.answer
    assert (answer.text, answer.finish_reason) == (NEVER_A_FINISH, None)
    assert not outcome.pieces or outcome.delivered == answer.text
    assert [attempt.kind for attempt in answer.attempts] == [FailureKind.BAD_ANSWER, None]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_model_whose_answers_never_have_a_finish_is_asked_once(
    raw: RawServer, client: FallbackClient, surface: str, caplog: pytest.LogCaptureFixture
) -> None:
    """From its third such answer in a row, until one has a finish reason. Later ones are no warnings."""
    for kinds in ([FailureKind.BAD_ANSWER, None], [FailureKind.BAD_ANSWER, None], [None], [None]):
        raw.answer(unsure("one event"), Reply([sse(delta(content="Whole."), delta(finish="stop"), DONE)]))
        answer = ask(client, surface).answer
        assert [attempt.kind for attempt in answer.attempts] == kinds
    assert [message for message in caplog.messages if "no finish reason" in message] == [
        f"{FIRST}: the answer has no finish reason (3 in a row); it is delivered"
    ]
    raw.answer(FINE)
    ask(client, surface)
    raw.answer(unsure("one event"), FINE)
    assert [attempt.kind for attempt in ask(client, surface).answer.attempts] == [FailureKind.BAD_ANSWER, None]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_text_that_looks_half_is_the_last_resort_only_if_its_server_ends_another_so(
    raw: RawServer, client: FallbackClient, attempts: int, surface: str
) -> None:
    half, rest = Reply([sse(delta(content="Hello world"), DONE)]), Reply([sse(delta(content=""), DONE)])
    streamed = surface in STREAMED
    raw.answer(half, *([rest if streamed else half] * (attempts - 1)))
    outcome = ask(client, surface, models=[ModelConfig(FIRST, max_retries=attempts)])
    if attempts == 1:
        assert "finish reason" in outcome.raised.attempts[0].message
        return
    assert (outcome.answer.text, outcome.answer.finish_reason) == ("Hello world", None)
    assert not outcome.pieces or outcome.delivered == "Hello world"
    assert len(outcome.answer.attempts) == attempts


@pytest.mark.parametrize("surface", ["chat", "achat"])
def test_an_answer_that_accept_has_not_seen_is_no_last_resort(
    raw: RawServer, client: FallbackClient, surface: str
) -> None:
    raw.answer(unsure("one event"))
    seen: list[str] = []
    outcome = ask(client, surface, models=ONCE, accept=lambda completion: seen.append(completion.text))
    assert outcome.error is not None
    raw.answer(unsure("one event"), unsure("one event"))
    outcome = ask(client, surface, models=[ModelConfig(FIRST, max_retries=2)], accept=lambda completion: True)
    assert outcome.answer.text == NEVER_A_FINISH


@pytest.mark.parametrize("surface", STREAMED)
def test_a_continuation_without_a_finish_counts_as_the_second(
    raw: RawServer, client: FallbackClient, surface: str
) -> None:
    raw.answer(unsure("one event"), Reply([sse(delta(content=" How are"), delta(content=" you?"), USAGE, DONE)]))
    outcome = ask(client, surface, models=[ModelConfig(FIRST, max_retries=4)])
    assert outcome.delivered == outcome.answer.text == "Hi there. How are you?"
    assert outcome.answer.finish_reason is None
    assert outcome.answer.usage is not None
    assert outcome.answer.usage.completion_tokens == 8, "both servers' tokens"


@pytest.mark.parametrize("surface", STREAMED)
def test_a_text_that_another_model_has_continued_and_broken_off_is_no_last_resort(
    raw: RawServer, client: FallbackClient, surface: str
) -> None:
    raw.answer(
        unsure("one event"), Reply([sse(*(delta(content=f" How are you {n}, and") for n in range(40)))], ending="cut")
    )
    outcome = ask(client, surface, models=[*ONCE, ModelConfig(SECOND, max_retries=1)])
    assert type(outcome.raised) is StreamInterruptedError
    assert outcome.raised.partial == outcome.delivered


@pytest.mark.parametrize("surface", SURFACES)
def test_prose_without_a_finish_is_no_json(raw: RawServer, client: FallbackClient, surface: str) -> None:
    raw.answer(unsure("one event"))
    outcome = ask(client, surface, models=ONCE, response_format={"type": "json_object"})
    assert outcome.error is not None or surface in STREAMED


# Bodies that come whole


def whole(finish: str | None = "stop", usage: object = None, **message: object) -> Json:
    return {"id": "gen", "choices": [choice(finish, **message)], "usage": usage}  # type: ignore[arg-type]


_CALL: Json = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
WHOLE: dict[str, tuple[Json, str | None]] = {
    "usage null": (whole(content="Hi."), ""),
    "logprobs that are a number": ({"choices": [{**choice(content="Hi."), "logprobs": -1.5}]}, ""),
    "arguments as an object": (whole("tool_calls", tool_calls=[_CALL]), ""),
    "calls that are not in a list": (whole(content="Hi.", tool_calls=_CALL), ""),
    "arguments under parameters": (
        whole("tool_calls", tool_calls=[{**_CALL, "function": {"name": "f", "parameters": {"x": 1}}}]),
        "",
    ),
    "text and calls in choices of their own": (
        {"choices": [choice("tool_calls", content="Hi."), choice("tool_calls", content=None, tool_calls=[_CALL])]},
        "",
    ),
    "a filter's choice without a message": (
        {"choices": [{"index": 0, "finish_reason": "content_filter"}]},
        "content filter",
    ),
    "calls that are a text": (whole(content="Hi.", tool_calls="[]]"), "not what it should be"),
    "malformed calls beside text": (whole(content="Hi.", tool_calls=[{"function": None}, None, 5]), ""),
    "a choice's error beside stop": (
        {"choices": [{**choice(content="Hi."), "error": {"code": 503, "message": "overloaded"}}]},
        "overloaded",
    ),
    "abort": (whole("abort", content="Half an"), "abort"),
    "only white space": (whole(content=" \n "), "empty"),
    "used up by reasoning": (
        whole("length", {"completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 9}}, reasoning="Hm"),
        "9 tokens went into reasoning",
    ),
    "no finish behind half a text": (whole(None, content="Hi, I"), "finish reason"),
    "a detail in place of choices": ({"detail": "the model is overloaded"}, "overloaded"),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", WHOLE)
def test_a_body_that_comes_whole(raw: RawServer, client: FallbackClient, name: str, surface: str) -> None:
    body, says = WHOLE[name]
    raw.answer(Reply([json.dumps(body).encode()], content_type="application/json"))
    outcome = ask(client, surface, models=ONCE)
    if says:
        assert says in outcome.raised.attempts[0].message
    else:
        assert outcome.answer.text == "Hi." or outcome.answer.tool_calls
        assert [call.arguments for call in outcome.answer.tool_calls] == (
            [{"x": 1}] if '"x": 1' in json.dumps(body) else []
        )


# Money


BYOK: dict[str, tuple[Json, float | None]] = {
    "own key": ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
    "own key, with a fee": ({"cost": 0.01, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}}, 0.26),
    "a breakdown": ({"cost": 0.5, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
    "nothing said of a key": ({"cost": 0.5, "cost_details": {"upstream_inference_cost": 0.5}}, 0.5),
    "an own key, and nothing more": ({"cost": 0, "is_byok": True}, None),
    "an own key, nothing told": ({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}, None),
    "own key, the charge in two parts": (
        {
            "cost": 0,
            "is_byok": True,
            "cost_details": {"upstream_inference_prompt_cost": 0.05, "upstream_inference_completions_cost": 0.2},
        },
        0.25,
    ),
    "own key, said as a number": ({"cost": 0, "is_byok": 1, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
    "nothing said of a key, and no cost": ({"cost": 0, "cost_details": {"upstream_inference_cost": 0.25}}, 0.25),
    "no own key, and no cost": ({"cost": 0, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.25}}, 0.0),
    "absurd upstream": ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": -3}}, 0.5),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", BYOK)
def test_what_an_own_provider_key_costs(raw: RawServer, client: FallbackClient, name: str, surface: str) -> None:
    usage, usd = BYOK[name]
    chunk = {**USAGE, "usage": {**USAGE["usage"], **usage}}
    raw.answer(Reply([sse(delta(content="Hi."), delta(finish="stop"), chunk, DONE)]))
    spent = client.spend().today
    answer = ask(client, surface, models=ONCE).answer
    assert answer.cost == pytest.approx(usd)
    assert answer.usage is not None
    assert answer.usage.cost == pytest.approx(usd)
    assert float(client.spend().today - spent) == pytest.approx(usd or 0.0)
