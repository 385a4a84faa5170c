"""Chunks and bodies of any shape, through the whole client: an answer or a `FallbackError`, nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import Completion, FailureKind, FallbackClient, Settings, ToolCall, Usage
from openrouter_fallback.composition import parts_of

from ..support.bodies import JSON, Json, call, choice, delta, part
from ..support.rawserver import sse
from ..support.surfaces import SURFACES, Outcome, ask

K = FailureKind


class _Exchange:
    """An answer that is there already."""

    def __init__(self, pieces: list[bytes], content_type: str) -> None:
        self.status = 200
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._pieces = iter(pieces)

    async def read(self) -> bytes | None:
        return next(self._pieces, None)

    async def aclose(self) -> None:
        pass


class _Transport:
    """Answers every request with the same bytes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.content_type = "text/event-stream"

    async def open(self, url: str, headers: object, body: bytes | None, **options: object) -> _Exchange:
        return _Exchange(self.pieces, self.content_type)

    async def aclose(self) -> None:
        pass


@pytest.fixture(scope="module")
def wire() -> tuple[FallbackClient, _Transport]:
    client = FallbackClient(["some/model"], api_key="sk-or-v1-test", settings=Settings(max_retries_per_model=1))
    transport = _Transport()
    parts_of(client).runtime.transport = transport
    return client, transport


def send(wire: tuple[FallbackClient, _Transport], surface: str, pieces: list[bytes], content_type: str) -> Outcome:
    """Only a `FallbackError` may come out of it, or a completion whose attributes are what they say."""
    client, transport = wire
    client.reset()
    transport.pieces, transport.content_type = pieces, content_type
    outcome = ask(client, surface)
    for piece in outcome.pieces:
        assert isinstance(piece.text, str)
        assert isinstance(piece.reasoning, str)
        assert isinstance(piece.index, int)
        assert all(isinstance(one, ToolCall) for one in piece.tool_calls)
    if outcome.completion is not None:
        _is_what_it_says(outcome.completion)
    return outcome


def _is_what_it_says(completion: Completion) -> None:
    assert isinstance(completion.text, str)
    assert isinstance(completion.reasoning, str)
    assert isinstance(completion.model, str)
    assert isinstance(completion.finish_reason, str)
    assert isinstance(completion.message, dict)
    assert completion.provider is None or isinstance(completion.provider, str)
    assert completion.usage is None or isinstance(completion.usage, Usage)
    assert completion.cost is None or isinstance(completion.cost, float | int)
    assert isinstance(completion.estimated, bool)
    assert all(isinstance(one, ToolCall) for one in completion.tool_calls)
    assert all(isinstance(one, dict) for one in completion.invalid_tool_calls)
    assert repr(completion)
    assert orjson.dumps(completion.raw)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("usage", [None, [], "none", {}, {"estimated": 1}])
def test_a_usage_that_says_nothing(wire: tuple[FallbackClient, _Transport], surface: str, usage: object) -> None:
    body = json.dumps({"choices": [choice(content="hello")], "usage": usage}).encode()
    assert not send(wire, surface, [body], "application/json").answer.estimated


GOOD: list[Json] = [
    delta(content=""),
    delta(reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm", "index": 0}]),
    {**delta(content="hello"), "provider": "Someone", "created": 1, "error": None},
    delta(1, content="there", annotations=[{"type": "url_citation"}], images=[]),
    delta(content=None, tool_calls=[part(0, "c", "f", '{"x":')]),
    delta(content=None, tool_calls=[part(0, None, None, "1}")], audio={"id": "a", "data": "AA"}),
    {**delta(1, finish="stop"), "choices": [{**delta(1, finish="stop")["choices"][0], "logprobs": {"content": [{}]}}]},
    delta(finish="tool_calls", refusal=None),
    {"id": "gen-raw", "choices": [], "usage": {"total_tokens": 3, "cost": 0.5, "prompt_tokens_details": {}}},
]
WHOLE: Json = {
    "id": "gen-raw",
    "model": "raw/model",
    "choices": [
        {**choice(content="hello", reasoning="hm", tool_calls=[call()]), "logprobs": {"content": []}},
        choice(index=1, content=[{"type": "text", "text": "hello"}], annotations=[{}]),
    ],
    "usage": {"total_tokens": 3, "cost": 0.5, "completion_tokens_details": {"reasoning_tokens": 1}},
}


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """A value of which one part, at any depth, has been replaced by any JSON or taken away."""
    copy = deepcopy(whole)
    paths = list(_paths(copy))
    *way, last = draw(st.sampled_from(paths))
    place = copy
    for step in way:
        place = place[step]
    if draw(st.booleans()):
        place[last] = draw(JSON | st.just([place[last]]) | st.just({"0": place[last]}))
    else:
        del place[last]
    return copy


def _paths(value: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*way, key)
        yield from _paths(inner, (*way, key))


@pytest.mark.parametrize("surface", SURFACES)
def test_the_good_chunks_are_good(wire: tuple[FallbackClient, _Transport], surface: str) -> None:
    outcome = send(wire, surface, [sse(*GOOD, "[DONE]")], "text/event-stream")
    assert (outcome.answer.text, outcome.answer.tool_calls[0].arguments) == ("hello", {"x": 1})
    outcome = send(wire, surface, [orjson.dumps(WHOLE)], "application/json")
    assert outcome.answer.raw == WHOLE


@pytest.mark.parametrize("surface", ["achat", "astream"])
@given(chunks=spoilt(GOOD), piecewise=st.booleans())
def test_one_spoilt_part_of_a_stream(
    wire: tuple[FallbackClient, _Transport], surface: str, chunks: list[Any], piecewise: bool
) -> None:
    events = [sse(chunk) for chunk in chunks]
    send(wire, surface, events if piecewise else [b"".join(events)], "text/event-stream")


@pytest.mark.parametrize("surface", ["achat", "astream"])
@given(body=spoilt(WHOLE))
def test_one_spoilt_part_of_a_body(wire: tuple[FallbackClient, _Transport], surface: str, body: Any) -> None:
    send(wire, surface, [orjson.dumps(body)], "application/json")


@pytest.mark.parametrize("surface", ["achat", "astream"])
@given(
    events=st.lists(JSON.map(json.dumps) | st.text(max_size=10).map(lambda text: text.replace("\n", "")), max_size=4)
)
def test_events_of_any_shape(wire: tuple[FallbackClient, _Transport], surface: str, events: list[str]) -> None:
    outcome = send(wire, surface, [sse(*events)], "text/event-stream")
    assert outcome.raised.attempts[-1].kind is not None


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    "event",
    [
        "nothing",
        "[1]",
        "5",
        '"text"',
        "null",
        "{}",
        '{"choices": 5}',
        '{"choices": [5]}',
        '{"choices": [{"delta": 5}]}',
        '{"choices": [{"index": [], "delta": {}}]}',
        '{"choices": [{"index": "a", "delta": {"content": "x"}, "finish_reason": "stop"}]}',
        '{"choices": [{"delta": {"content": "x"}, "finish_reason": 5}]}',
        '{"choices": [{"delta": {"tool_calls": [5]}, "finish_reason": "stop"}]}',
        '{"choices": [{"delta": {"tool_calls": {"0": {}}}, "finish_reason": "stop"}]}',
        '{"choices": [{"delta": {"content": "half an ev',
    ],
)
def test_a_malformed_event_is_a_bad_answer(wire: tuple[FallbackClient, _Transport], surface: str, event: str) -> None:
    outcome = send(wire, surface, [sse(event)], "text/event-stream")
    assert [attempt.kind for attempt in outcome.raised.attempts] == [K.BAD_ANSWER]
