"""What hostile bytes may cost: counted in values, lines and joins, not in seconds."""

from __future__ import annotations

import math
import weakref
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import Completion, Usage, figures
from openrouter_fallback.answer import bounds, sse
from openrouter_fallback.answer.accumulator import Accumulator
from openrouter_fallback.answer.sse import EventReader, Oversized
from openrouter_fallback.figures import MAX_DEPTH, TooManyValues
from openrouter_fallback.results import add_usage

from ..support.bodies import JSON, Json, delta, part


def test_too_many_containers_are_not_decoded() -> None:
    text = b"[" + b"[]," * bounds.MAX_CONTAINERS + b"[]]"
    with pytest.raises(TooManyValues):
        bounds.loads(text)


def test_too_many_values_are_not_decoded() -> None:
    with pytest.raises(TooManyValues):
        bounds.loads(b"[" + b"0," * (bounds.MAX_VALUES + 1) + b"0]")


@pytest.mark.parametrize("depth", [1, MAX_DEPTH - 1, MAX_DEPTH, 224, 300, 700, 1000, 5000])
def test_what_is_decoded_can_be_encoded_again(depth: int) -> None:
    text = b"[" * depth + b"]" * depth
    try:
        value = bounds.loads(text)
    except ValueError:
        assert depth > MAX_DEPTH
    else:
        assert orjson.dumps(value) == text


def test_brackets_in_strings_nest_nothing() -> None:
    text = orjson.dumps({"a": "[{" * 1000})
    assert bounds.loads(text) == orjson.loads(text)


def _kept_lines(reader: EventReader) -> int:
    """The lines of the event that the reader has begun."""
    (begun,) = reader.finish()
    return begun.count(b"\n") + 1


def test_one_event_of_many_lines_is_refused_early() -> None:
    reader = EventReader()
    for _ in range(sse.MAX_EVENT_LINES // 4096):
        reader.feed(b"data: x\n" * 4096)
    with pytest.raises(Oversized, match="lines"):
        reader.feed(b"data: x\n" * 4096)
    assert _kept_lines(reader) < 2 * sse.MAX_EVENT_LINES


def test_a_large_read_is_split_in_slices() -> None:
    reader = EventReader()
    with pytest.raises(Oversized, match="lines"):
        reader.feed(b"data: x\n" * 4_000_000)
    assert _kept_lines(reader) < 2 * sse.MAX_EVENT_LINES
    event = b'data: {"x": 1}\n\n'
    assert EventReader().feed(event * 50_000) == [b'{"x": 1}'] * 50_000


def test_too_many_events_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_EVENTS", 10)
    reader = EventReader()
    for _ in range(10):
        reader.feed(b"data: {}\n\n")
    with pytest.raises(Oversized, match="events"):
        reader.feed(b"data: {}\n\n")


# Every long field is kept in parts and joined once


class _Counting(str):
    """A text that notes how much of it is copied by `+`."""

    copied = 0

    def __add__(self, other: str) -> str:
        _Counting.copied += len(self) + len(other)
        return _Counting(str(self) + other)

    def __radd__(self, other: str) -> str:
        _Counting.copied += len(self) + len(other)
        return _Counting(other + str(self))


FIELDS: dict[str, Any] = {
    "content": lambda text: {"content": text},
    "reasoning": lambda text: {"reasoning": text},
    "arguments": lambda text: {"tool_calls": [part(0, None, None, text)]},
    "legacy arguments": lambda text: {"function_call": {"arguments": text}},
    "details": lambda text: {"reasoning_details": [{"type": "reasoning.text", "text": text, "index": 0}]},
    "sound": lambda text: {"audio": {"data": text}},
}


@pytest.mark.parametrize("name", FIELDS)
def test_nothing_is_joined_before_the_end(name: str) -> None:
    _Counting.copied = 0
    assembler = Accumulator()
    for _ in range(2000):
        assembler.add(delta(**FIELDS[name](_Counting("12345678"))))
    body = assembler.body()
    assert "12345678" * 2000 in orjson.dumps(body).decode()
    assert _Counting.copied == 0


class _Compared(str):
    """A text that notes how often it is compared with another."""

    compared = 0
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        _Compared.compared += 1
        return str(self) == other


def test_a_call_that_repeats_its_name_is_joined_rarely() -> None:
    """A delta can only repeat the whole call if it is as long: each such part doubles what has come."""
    _Compared.compared = 0
    assembler = Accumulator()
    for _ in range(2000):
        assembler.add(delta(tool_calls=[part(0, None, "f", _Compared("{1"))]))
    assert _Compared.compared <= 2


class _Text(str):
    """A text that can be referred to weakly."""


def test_empty_arguments_are_not_kept() -> None:
    assembler = Accumulator()
    parts: list[weakref.ref[_Text]] = []
    for _ in range(2000):
        empty = _Text("")
        parts.append(weakref.ref(empty))
        assembler.add(delta(tool_calls=[part(0, None, "f", empty)]))
    del empty
    assert sum(one() is not None for one in parts) <= 1, "the last one at most"
    assert assembler.body()["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": ""}


# Figures

ABSURD = [-1, -0.5, math.inf, -math.inf, math.nan, 1e300, 10**400, "12", "inf", True, [1], {"a": 1}, None]


@pytest.mark.parametrize("value", ABSURD, ids=repr)
def test_an_absurd_figure_counts_as_not_told(value: object) -> None:
    usage = Usage.read(dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens", "cost"), value))
    assert usage == Usage()
    assert figures.cost({"cost": value}) is None
    assert figures.number(value) is None or value in (-1, -0.5, 1e300)


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4, 7)),
        (
            {"input_tokens": 3, "output_tokens": 4, "output_tokens_details": {"reasoning_tokens": 2}},
            Usage(3, 4, 7, reasoning_tokens=2),
        ),
        ({"prompt_tokens": None, "input_tokens": 3}, Usage(3, 0, 3)),
        ({"prompt_tokens": 3.0, "completion_tokens": 4.0, "total_tokens": 9}, Usage(3, 4, 9)),
    ],
)
def test_usage_in_other_words(usage: Json, expected: Usage) -> None:
    assert Usage.read(usage) == expected


def test_the_usage_of_several_attempts_holds_no_breakdown_of_one() -> None:
    last = {"prompt_tokens": 5, "completion_tokens": 2, "is_byok": True, "cost_details": {"upstream_inference_cost": 3}}
    total = add_usage(last, [({"prompt_tokens": 10**400, "completion_tokens": -5}, 4)])
    assert Usage.read({**total, "cost": 1.0}) == Usage(5, 2, 7, cost=1.0)


@pytest.mark.parametrize("usage", [None, 5, "x", [], {}])
def test_a_completion_without_usage(usage: object) -> None:
    body = {"choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}], "usage": usage}
    completion = Completion(body)
    assert completion.cost is None
    assert not completion.estimated


@given(
    st.dictionaries(st.sampled_from(["cost", "is_byok", "cost_details", "prompt_tokens", "completion_tokens"]), JSON)
)
def test_any_usage_is_read(usage: Json) -> None:
    found = Usage.read(usage)
    assert found is not None
    assert 0 <= found.prompt_tokens <= figures.MAX_TOKENS
    assert found.cost is None or 0 <= found.cost < 2 * figures.MAX_USD
    add_usage(usage, [(usage, 3)])
