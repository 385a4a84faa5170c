"""The fault matrix over real HTTP: {chat, achat, stream, astream} x every row of `cases/matrix.py`.

Faults that strike after text was delivered are asked twice: with `mid_stream="raise"`, and going on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

import pytest

from openrouter_fallback import FallbackClient, Settings
from openrouter_fallback.emulator import FAULTS, Emulator
from openrouter_fallback.emulator.faults.errors import ERRORS
from openrouter_fallback.failures.kinds import FailureKind

from ..cases.matrix import CASES, FIRST, FIRST_TEXT, SECOND, SECOND_CALL, SECOND_TEXT, Case
from ..conftest import Matrix
from ..support.clients import undiced
from ..support.matrix import PACE, config, models, script, served, settings
from ..support.surfaces import STREAMED, SURFACES, Outcome, ask

LATE = 15
"""One token before the end of the second's text."""
MANY = 400
LONG_TEXT = " ".join(f"Sentence {n} says that {n * 7919 % 1000} is a number." for n in range(60))


@dataclass
class Lab:
    """One emulator for the whole matrix, and clients by (hasty, streams upstream); every test starts from nothing."""

    emulator: Emulator
    clients: Mapping[tuple[bool, bool], FallbackClient]

    def ask(self, case: Case, surface: str, *, streams: bool = True) -> Outcome:
        client = self._fresh(case, streams=streams)
        params = script(self.emulator, case, streamed=surface in STREAMED)
        return ask(client, surface, "Say something", models=models(case), **params)

    def go_on(self, case: Case, surface: str, after_tokens: int, prefill: str) -> Outcome:
        """Both models would say the same; the first breaks off after so many tokens, the second goes on somehow."""
        client = self._fresh(case)
        emulator = self.emulator
        emulator.pace(token_interval=PACE if after_tokens == 1 else PACE / 20)
        text = LONG_TEXT if after_tokens >= MANY else SECOND_TEXT
        emulator.reply(text=text, model=FIRST)
        emulator.reply(text=text, model=SECOND, prefill=prefill)
        emulator.fault(case.fault, model=FIRST, **{**case.details, "after_tokens": after_tokens})
        return ask(client, surface, "Say something", models=models(case), mid_stream="continue")

    def _fresh(self, case: Case, *, streams: bool = True) -> FallbackClient:
        self.emulator.clear()
        client = self.clients[case.hasty, streams]
        client.reset()
        return client


@contextmanager
def laboratory(make: Callable[..., Any]) -> Iterator[Lab]:
    """`make` takes a configuration, a key and settings."""
    with served() as emulator:
        clients = {}
        for hasty, streams in product((False, True), repeat=2):
            chosen = Settings(**settings(hasty=hasty), stream_upstream=streams, mid_stream="raise")
            clients[hasty, streams] = make(config=config(emulator), api_key=emulator.api_key, settings=chosen)
        yield Lab(emulator, clients)
        for client in clients.values():
            client.close()


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with laboratory(lambda **options: undiced(FallbackClient(**options))) as lab:
        yield lab


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_first_model_is_faulty(lab: Lab, fault_matrix: Matrix, case: Case, surface: str) -> None:
    cells = fault_matrix.setdefault(case.id, {})
    cells[surface] = "FAILED"
    cells[surface] = checked(lab, case, surface, lab.ask(case, surface))


@pytest.mark.parametrize("case", [case for case in CASES if not case.only_streamed], ids=lambda case: case.id)
def test_the_same_where_the_model_is_not_asked_to_stream(lab: Lab, fault_matrix: Matrix, case: Case) -> None:
    cells = fault_matrix.setdefault(case.id, {})
    cells["chat, not streamed"] = "FAILED"
    cells["chat, not streamed"] = checked(lab, case, "chat", lab.ask(case, "chat", streams=False))


TEXT_FIRST = [case for case in CASES if case.text_first]
GOES_ON = [case for case in TEXT_FIRST if case.raises is None]


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("after_tokens", [1, 5, LATE])
@pytest.mark.parametrize("case", GOES_ON, ids=lambda case: case.id)
def test_the_second_goes_on(lab: Lab, fault_matrix: Matrix, case: Case, after_tokens: int, surface: str) -> None:
    cells = fault_matrix.setdefault(f"{case.id}, going on", {})
    cells[surface] = "FAILED"
    goes_on(lab, case, lab.go_on(case, surface, after_tokens, "continue"), SECOND_TEXT)
    cells[surface] = f"whole after 1, 5, {LATE} tokens"


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("case", [case for case in TEXT_FIRST if case.raises is not None], ids=lambda case: case.id)
def test_nobody_goes_on_where_no_other_model_would_be_asked(lab: Lab, case: Case, surface: str) -> None:
    outcome = lab.go_on(case, surface, 5, "continue")
    assert lab.emulator.count() == len(outcome.raised.attempts) == 1
    assert type(outcome.raised) is (case.interrupted if outcome.delivered else case.raises)
    assert (outcome.raised.partial or "") == outcome.delivered
    assert SECOND_TEXT.startswith(outcome.delivered)


@pytest.mark.parametrize("prefill", ["continue", "restart", "overlap", "preface", "refuse"])
@pytest.mark.parametrize("case", [case for case in GOES_ON if not case.details.get("place")], ids=lambda case: case.id)
def test_the_second_goes_on_after_many_tokens(lab: Lab, case: Case, prefill: str) -> None:
    goes_on(lab, case, lab.go_on(case, "astream", MANY, prefill), LONG_TEXT)


def goes_on(lab: Lab, case: Case, outcome: Outcome, text: str) -> None:
    """The whole answer, once, and where the second went on."""
    answer = outcome.answer
    assert outcome.delivered == answer.text == text
    assert (answer.model, answer.finish_reason) == (SECOND, "stop")
    assert [(attempt.model, attempt.kind) for attempt in answer.attempts] == [(FIRST, case.kind), (SECOND, None)]
    assert lab.emulator.count(FIRST) == 1
    assert not any(piece.restarted for piece in outcome.pieces)
    if not answer.seams:
        # All of the first's text came in one read with its end: nobody has seen it, so the second has answered alone.
        assert outcome.pieces[-1].seams == ()
        return
    (seam,) = answer.seams
    assert outcome.pieces[-1].seams == (seam,)
    assert (seam.before, seam.after) == (FIRST, SECOND)
    asked = lab.emulator.log[-1].body["messages"]
    said = next(message["content"] for message in asked if message["role"] == "assistant")
    assert said == text[: seam.offset].rstrip()


def checked(lab: Lab, case: Case, surface: str, outcome: Outcome) -> str:
    """What came of it, as a cell of the table."""
    asked = {model: lab.emulator.count(model) for model in (FIRST, SECOND)}

    _nothing_half_done(outcome)
    if case.kind is None:
        _the_first_answers(case, outcome)
        expected = (case.asked, 0)
        cell = "first"
    elif outcome.delivered and outcome.error is not None:
        _interrupted(case, outcome, surface)
        expected = (len(outcome.error.attempts), 0)
        cell = f"{type(outcome.error).__name__}, text out"
    elif case.raises is not None:
        _raised(case, outcome)
        expected = (case.asked, case.asked_second if case.everywhere else 0)
        cell = type(outcome.error).__name__
    else:
        _the_second_answers(case, outcome)
        expected = (case.asked, 1)
        cell = "second"
    assert (asked[FIRST], asked[SECOND]) == expected
    return f"{cell} {asked[FIRST]}+{asked[SECOND]}"


def _nothing_half_done(outcome: Outcome) -> None:
    """Pieces say what the completion says, and hold no tool call that was not complete."""
    for piece in outcome.pieces:
        delta = (piece.raw or {"choices": [{"delta": {}}]})["choices"][0]["delta"]
        assert bool(delta.get("tool_calls")) == bool(piece.tool_calls)
    if outcome.completion is not None and outcome.pieces:
        assert outcome.delivered == outcome.completion.text
        calls = [call for piece in outcome.pieces for call in piece.tool_calls]
        assert calls == list(outcome.completion.tool_calls)
    if outcome.error is not None:
        assert not any(piece.tool_calls for piece in outcome.pieces)


def _the_first_answers(case: Case, outcome: Outcome) -> None:
    expected = {"text": FIRST_TEXT, "finish_reason": "stop", "model": FIRST, "tool_calls": (), **case.answer}
    assert {name: getattr(outcome.answer, name) for name in expected} == expected
    assert [attempt.kind for attempt in outcome.answer.attempts] == [*case.before, None]
    assert len(outcome.answer.invalid_tool_calls) == (1 if case.tools else 0)


def _the_second_answers(case: Case, outcome: Outcome) -> None:
    answer = outcome.answer
    assert answer.model == SECOND
    assert answer.invalid_tool_calls == ()
    if case.tools:
        (call,) = answer.tool_calls
        assert {"name": call.name, "arguments": call.arguments, "id": call.id} == SECOND_CALL
        assert (answer.text, answer.finish_reason) == ("", "tool_calls")
    else:
        assert (answer.text, answer.finish_reason, answer.tool_calls) == (SECOND_TEXT, "stop", ())
    attempts = max(case.asked, 2 if case.kind is FailureKind.CONNECTION else 1)
    assert [attempt.kind for attempt in answer.attempts] == [case.kind] * attempts + [None]
    assert [attempt.model for attempt in answer.attempts] == [case.first] * attempts + [case.second]


def _interrupted(case: Case, outcome: Outcome, surface: str) -> None:
    assert surface in STREAMED
    assert case.text_first
    assert type(outcome.raised) is case.interrupted
    assert outcome.raised.partial == outcome.delivered
    assert FIRST_TEXT.startswith(outcome.delivered)
    assert len(outcome.delivered) < len(FIRST_TEXT)
    kinds = [attempt.kind for attempt in outcome.raised.attempts]
    assert kinds == [case.kind] * len(kinds)
    assert 1 <= len(kinds) <= case.asked


def _raised(case: Case, outcome: Outcome) -> None:
    assert type(outcome.raised) is case.raises
    assert outcome.delivered == ""
    assert outcome.raised.partial is None
    kinds = [attempt.kind for attempt in outcome.raised.attempts]
    assert kinds == [case.kind] * (case.asked + (case.asked_second if case.everywhere else 0))
    if "retry_after" in case.details:
        assert outcome.raised.retry_after == pytest.approx(case.details["retry_after"], abs=60)


def test_every_fault_of_the_emulator_has_a_row() -> None:
    assert {case.fault for case in CASES} >= set(FAULTS)


def test_every_error_has_a_row_as_a_bare_status() -> None:
    plain: Mapping[str, Case] = {case.fault: case for case in CASES if not case.details and not case.everywhere}
    assert set(plain) >= set(ERRORS)


def test_no_two_rows_are_one() -> None:
    assert len({(case.id, case.tools) for case in CASES}) == len(CASES)
