"""What a client remembers of histories changes nothing but the time: any history, read on from any beginning."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback.health import HealthScopes
from openrouter_fallback.request.handover import Histories, History, Target, memory, translate
from openrouter_fallback.request.request import Request
from openrouter_fallback.routes.candidate import Candidate

from .histories import HISTORIES, TARGETS, Json, call, calling, encrypted, result, user
from .test_properties import found

_MANY = settings(max_examples=400, deadline=None)
MINE = "anthropic/claude-sonnet-4.5"
CANDIDATE = Candidate("a", "a", HealthScopes("a", "openrouter", "key", 60.0), attempts=1)


@pytest.fixture(autouse=True, scope="module")
def short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "FEWEST", 1)
        yield


def _roles(messages: list[Json]) -> list[str]:
    return [message["role"] for message in messages]


def _tidy(count: int, **more: Any) -> list[Json]:
    """Turns with a call each, which a quick reading reads."""
    turns = [(user(f"{n}?"), calling(call(f"call_{n}"), **more), result(f"call_{n}")) for n in range(count)]
    return [message for turn in turns for message in turn]


TURNS = st.lists(
    st.sampled_from(
        [
            *[_tidy(n + 1)[-3:] for n in range(3)],
            _tidy(5, model=MINE)[-3:],
            _tidy(6, reasoning_details=[encrypted("openai-responses-v1", id="rs_1")])[-3:],
            _tidy(7, reasoning_details=[encrypted("google-gemini-v1", id="call_6")])[-3:],
            _tidy(8, reasoning="Hm.")[-3:],
            _tidy(9, reasoning_details=[{"type": "reasoning.text", "text": "So", "format": None}])[-3:],
            [user(" "), {"role": "assistant", "content": "Sunny."}],
            [user(), {"role": "assistant", "content": None, "tool_calls": []}],
            [user(), {"role": "assistant", "content": "Sunny.", "name": "Ada", "model": MINE}],
        ]
    ),
    min_size=1,
    max_size=5,
).map(lambda turns: [message for turn in turns for message in turn])

CUTS = st.lists(st.integers(1, 12), max_size=4) | st.sampled_from([[3], [6], [3, 6, 9, 12]])


@_MANY
@given(TURNS | HISTORIES, CUTS, TARGETS)
def test_reading_on_finds_what_a_new_reading_finds(messages: list[Json], cuts: list[int], target: Target) -> None:
    histories = Histories()
    for cut in (*cuts, len(messages), len(messages)):
        now = copy.deepcopy(messages[:cut])
        history, written = histories.read(now, _roles(now))
        anew = History(now)
        assert found(history) == found(anew)
        assert not written or json.loads(b"".join(written)) == anew.messages
        assert (history.messages is now) == (anew.messages is now)
        handed, expected = translate(history, target), translate(anew, target)
        assert (handed.messages, handed.changed is None) == (expected.messages, expected.changed is None)
        assert handed.functions == expected.functions
        assert handed.without_reasoning == expected.without_reasoning
        assert handed.notes == expected.notes


@_MANY
@given(TURNS | HISTORIES, st.integers(1, 12))
def test_the_body_is_the_same(messages: list[Json], cut: int) -> None:
    histories = Histories()
    params = {"temperature": 0.5} if cut % 2 else {}
    for now in (messages[:cut], messages):
        try:
            expected = Request(now, dict(params))
        except Exception as error:
            with pytest.raises(type(error)):
                Request(now, dict(params), histories=histories)
            continue
        assert Request(now, dict(params), histories=histories).body(CANDIDATE) == expected.body(CANDIDATE)


def _read(histories: Histories, messages: list[Json]) -> int:
    """How many messages were read."""
    return len(histories.read(messages, _roles(messages))[0].later)


def test_a_history_is_read_on_from_its_beginning() -> None:
    histories, messages = Histories(), _tidy(5)
    other = [user("X?"), *messages[1:]]
    states = (messages[:9], messages, messages, other, messages, messages[:9])
    assert [_read(histories, state) for state in states] == [9, 6, 0, 15, 0, 9]


def test_a_message_that_the_caller_has_changed_is_read_anew() -> None:
    """Also one that only looks the same by its identity."""
    histories, messages = Histories(), _tidy(3)
    histories.read(messages, _roles(messages))
    messages[1]["tool_calls"][0]["id"] = "other"
    history, _ = histories.read(messages, _roles(messages))
    assert not history.tidy


def test_what_the_caller_changes_later_is_not_sent() -> None:
    histories, messages = Histories(), _tidy(3, model=MINE)
    as_it_was = copy.deepcopy(messages)
    histories.read(messages, _roles(messages))
    messages[1]["tool_calls"][0]["function"]["arguments"] = '{"city": "Rome"}'
    history, written = histories.read(as_it_was, _roles(as_it_was))
    assert "Rome" not in b"".join(written).decode()
    assert "Rome" not in str(history.messages)


@pytest.mark.parametrize("odd", [{1: 2}, {"at": UUID(int=1)}, {"at": float("nan")}, {"at": (1, 2)}], ids=str)
def test_values_of_other_types(odd: Any) -> None:
    histories, messages = Histories(), [*_tidy(2), {"role": "assistant", "content": "Hi", "metadata": odd}, user()]
    bodies = [Request(messages, {}, histories=known).body(CANDIDATE) for known in (None, histories, histories)]
    assert bodies[0] == bodies[1] == bodies[2]


def test_the_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    histories, asked = Histories(), [[user(f"{n}")] for n in range(memory.MOST + 1)]
    for one in asked[:-1]:
        _read(histories, one)
    assert [_read(histories, one) for one in (asked[0], asked[-1], asked[0])] == [0, 1, 1]
    monkeypatch.setattr(memory, "MOST_BYTES", 1000)
    long, too_long = [user("x" * 700)], [user("x" * 1700)]
    assert [_read(histories, one) for one in (long, long, asked[5], too_long, too_long)] == [1, 0, 1, 1, 1]


def test_no_prompt_is_shown_or_pickled() -> None:
    histories = Histories()
    histories.read([user("my diary")], ["user"])
    assert "diary" not in repr(histories)
    assert b"diary" not in pickle.dumps(histories)
