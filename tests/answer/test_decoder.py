"""The decoder of one response body: its states, its events, and that the cuts of the bytes change nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import FailureKind, FallbackClient
from openrouter_fallback.answer.decoder import (
    SLICE_BYTES,
    AnswerDecoder,
    Ended,
    Event,
    FirstToken,
    Pieces,
    Reasoning,
    State,
)
from openrouter_fallback.call.backlog import MAX_UNREAD_BYTES
from openrouter_fallback.composition import parts_of
from openrouter_fallback.http.protocol import Exchange
from openrouter_fallback.sealed import Headers

from ..support.bodies import choice, delta, part
from ..support.rawserver import cut, sse

K = FailureKind
S = State
EVENTS = {"content-type": "text/event-stream"}
DONE = "[DONE]"
USAGE = {"id": "gen", "choices": [], "usage": {"total_tokens": 3}}
WHOLE = json.dumps({"id": "gen", "model": "m", "choices": [choice(content="hello")]}).encode()


def decode(data: Sequence[bytes], *, deliver: bool = True) -> tuple[AnswerDecoder, list[Event]]:
    decoder = AnswerDecoder(EVENTS, deliver=deliver)
    events = [event for piece in data for event in decoder.feed(piece, 0.0)]
    return decoder, [*events, *decoder.end(0.0)]


def summary(events: list[Event]) -> tuple[object, ...]:
    """What the events say, however they were cut."""
    pieces = [piece for event in events if isinstance(event, Pieces) for piece in event.pieces]
    (ended,) = [event for event in events if isinstance(event, Ended)]
    body = None if ended.completion is None else ended.completion.raw
    kinds = [type(event) for event in events if not isinstance(event, Pieces)]
    said = [(one.text, one.index) for one in pieces if one.text]
    thought = "".join(one.reasoning for one in pieces) if ended.failure is None else None
    return said, thought, ended.failure, body, kinds


CALL = part(0, "c", "f", '{"x"')
STATES: Mapping[str, tuple[list[object], list[State]]] = {
    "text": (
        [delta(content=""), delta(content="a"), delta(finish="stop"), DONE],
        [S.EVENTS, S.ANSWERING, S.FINISHED, S.DONE],
    ),
    "a call": (
        [delta(tool_calls=[CALL]), delta(finish="tool_calls"), USAGE],
        [S.IN_CALL, S.FINISHED, S.FINISHED],
    ),
    "done without a finish": ([delta(content="a"), DONE], [S.ANSWERING, S.DONE]),
    "a second choice": (
        [delta(content="a"), delta(finish="stop"), delta(1, content="b"), delta(1, finish="stop")],
        [S.ANSWERING, S.FINISHED, S.ANSWERING, S.FINISHED],
    ),
    "an error": ([delta(content="a"), {"error": {"code": 502, "message": "no"}}], [S.ANSWERING, S.ENDED]),
    "an error after the finish": (
        [delta(content="a"), delta(finish="stop"), {"error": {"code": 502, "message": "no"}}],
        [S.ANSWERING, S.FINISHED, S.FINISHED],
    ),
    "a finish beside content is provisional": (
        [delta(content="a", finish="stop"), delta(content="b"), USAGE, DONE],
        [S.ANSWERING, S.ANSWERING, S.ANSWERING, S.DONE],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_the_states(name: str) -> None:
    chunks, states = STATES[name]
    decoder = AnswerDecoder(EVENTS)
    assert decoder.state is S.HEAD
    seen = []
    for chunk in chunks:
        decoder.feed(sse(chunk), 0.0)
        seen.append(decoder.state)
    assert seen == states


@pytest.mark.parametrize(
    ("data", "state"),
    [(b" \n", S.HEAD), (b": comment\n\n", S.EVENTS), (b"dat", S.EVENTS), (b"\n{", S.BODY), (b"[", S.BODY)],
)
def test_the_first_bytes_decide_what_comes(data: bytes, state: State) -> None:
    decoder = AnswerDecoder(EVENTS)
    decoder.feed(data, 0.0)
    assert decoder.state is state


def test_what_is_neither_events_nor_json_is_a_failure_at_once() -> None:
    decoder = AnswerDecoder({"content-type": "text/html"})
    (ended,) = decoder.feed(b"<html>", 0.0)
    assert isinstance(ended, Ended)
    assert ended.failure is not None
    assert ended.failure.kind is K.BAD_ANSWER
    assert decoder.feed(b"more", 0.0) == decoder.end(0.0) == []


def test_a_body_that_comes_whole() -> None:
    decoder, events = decode([WHOLE[:9], WHOLE[9:]])
    [ended] = events
    assert decoder.tokens == 0, "bytes of a body are no tokens: a drip of them does not count as an answer"
    assert isinstance(ended, Ended)
    assert ended.completion is not None
    assert [piece.text for piece in decoder.last_pieces(ended.completion.raw)] == ["hello"]


STREAMS: Mapping[str, bytes] = {
    "text": sse(
        *(delta(content=""), delta(reasoning="hm"), delta(content="he"), delta(content="llo")),
        *(delta(finish="stop"), USAGE, DONE),
    ),
    "a call": sse(
        *(delta(content="a"), delta(tool_calls=[CALL]), delta(tool_calls=[part(0, None, None, ":1}")])),
        delta(finish="tool_calls"),
    ),
    "half a call": sse(delta(tool_calls=[CALL]), delta(finish="tool_calls"), DONE),
    "no finish": sse(delta(reasoning="hm"), DONE),
    "an error": sse(delta(reasoning="hm"), {"error": {"code": 429, "message": "slower"}}),
    "no json": sse(delta(reasoning="hm"), "{"),
    "half a character": sse(delta(content="a\ud83d"), delta(content="\ude00", finish="stop")),
    "whole": WHOLE,
    "nothing": b"",
}


@given(st.sampled_from(sorted(STREAMS)), st.integers(1, 40), st.integers(0, 10**6), st.booleans())
def test_the_cuts_change_nothing(name: str, longest: int, seed: int, deliver: bool) -> None:
    data = STREAMS[name]
    _, whole = decode(cut(data, 1), deliver=deliver)
    _, events = decode(cut(data, longest, seed), deliver=deliver)
    assert summary(events) == summary(whole)
    assert [type(event) for event in events if isinstance(event, Pieces)] == [] or deliver


@given(
    st.lists(st.binary(max_size=40) | st.sampled_from([b"data: ", b"\n\n", b"{", b'"choices"', b"[DONE]"]), max_size=12)
)
def test_whatever_the_bytes_are_they_end_once_and_nothing_is_raised(data: list[bytes]) -> None:
    _, events = decode(data)
    assert [isinstance(event, Ended) for event in events] == [False] * (len(events) - 1) + [True]
    order = [type(event) for event in events]
    assert order.count(FirstToken) <= 1
    assert order.count(Reasoning) <= 1
    assert Pieces not in order or order.index(FirstToken) < order.index(Pieces)


def test_breaking_after_the_finish_changes_nothing() -> None:
    from openrouter_fallback.failures.kinds import Failure

    decoder = AnswerDecoder(EVENTS)
    decoder.feed(sse(delta(content="a"), delta(finish="stop")), 0.0)
    (ended,) = decoder.broken(Failure(K.CONNECTION, "reset"), 0.0)
    assert isinstance(ended, Ended)
    assert ended.completion is not None


# The loop turns while much is decoded


class _AtOnce:
    """A response that is there already, all of it in one read."""

    status = 200
    headers: Mapping[str, str] = EVENTS

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data

    async def open(self, url: str, headers: Headers, body: bytes | None, **options: object) -> Exchange:
        return self

    async def read(self) -> bytes | None:
        data, self._data = self._data, None
        return data

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_loop_turns_while_a_long_answer_is_decoded(monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    many = [delta(content="token ")] * 20_000
    data = sse(*many, delta(finish="stop"), DONE)
    client = FallbackClient(["some/model"], api_key="sk-or-v1-test", settings={"catalog": "never"})
    parts_of(client).runtime.transport = _AtOnce(data)
    turns, fed = 0, []
    feed = AnswerDecoder.feed

    def counted(self: AnswerDecoder, data: bytes, now: float) -> list[Event]:
        fed.append((turns, len(data)))
        return feed(self, data, now)

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(AnswerDecoder, "feed", counted)
    turning = asyncio.ensure_future(turn())
    if streamed:
        async with client.astream("hello") as stream:
            text = "".join([piece.text async for piece in stream])
    else:
        text = (await client.achat("hello")).text
    turning.cancel()
    assert text == "token " * len(many)
    assert max(size for _, size in fed) <= SLICE_BYTES
    assert sum(size for _, size in fed) == len(data)
    by_turn: dict[int, int] = {}
    for at, size in fed:
        by_turn[at] = by_turn.get(at, 0) + size
    assert max(by_turn.values()) <= MAX_UNREAD_BYTES
    assert all(later > earlier for earlier, later in pairwise(sorted(by_turn)))
