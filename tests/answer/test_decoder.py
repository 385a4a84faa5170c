"""The decoder of one response body: its states, its events, and that the cuts of the bytes change nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import AllModelsFailedError, FailureKind, FallbackClient, Settings
from openrouter_fallback.answer.decoder import AnswerDecoder, Ended, Event, FirstToken, Pieces, Reasoning, State
from openrouter_fallback.answer.slices import SLICE_BYTES, SLICE_PARTS, parts
from openrouter_fallback.answer.sse import EventReader
from openrouter_fallback.composition import parts_of
from openrouter_fallback.http.protocol import Exchange
from openrouter_fallback.sealed import Headers

from ..support.bodies import choice, delta, part
from ..support.rawserver import cut, sse

K = FailureKind
S = State
EVENTS = {"content-type": "text/event-stream"}
DONE = "[DONE]"
ONCE = Settings(max_retries_per_model=1, catalog="never")
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
    "done among blanks, without a finish": ([delta(content="a"), " [DONE] "], [S.ANSWERING, S.DONE]),
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


@pytest.mark.parametrize("line", [b"data: [DONE]", b"data: [DONE]\n", b"\ndata: [DONE]"])
def test_a_last_line_without_its_end_ends_the_answer_wherever_it_is_cut(line: bytes) -> None:
    for cut_at in range(len(line)):
        decoder = AnswerDecoder(EVENTS)
        decoder.feed(sse(delta(content="a"), delta(finish="stop")) + line[:cut_at], 0.0)
        decoder.feed(line[cut_at:], 0.0)
        assert decoder.state is S.DONE


def test_text_that_ends_like_the_last_line_does_not_end_the_answer() -> None:
    decoder = AnswerDecoder(EVENTS)
    event = sse(delta(content="data: [DONE]")).rstrip(b"\n")
    decoder.feed(event[: event.index(b"[DONE]") + 6], 0.0)
    assert decoder.state is S.EVENTS


@pytest.mark.parametrize(
    ("data", "state"),
    [(b" \n", S.HEAD), (b": comment\n\n", S.EVENTS), (b"dat", S.EVENTS), (b"\n{", S.BODY), (b"[", S.BODY)],
)
def test_the_first_bytes_decide_what_comes(data: bytes, state: State) -> None:
    decoder = AnswerDecoder(EVENTS)
    decoder.feed(data, 0.0)
    assert decoder.state is state


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b" \n\xef\xbb\xbf\r\n"])
@pytest.mark.parametrize("kind", ["application/json", "text/event-stream", ""])
@pytest.mark.parametrize("answer", [WHOLE, sse(delta(content="hello"), delta(finish="stop"))], ids=["body", "events"])
def test_a_byte_order_mark_and_white_space_before_an_answer(answer: bytes, kind: str, before: bytes) -> None:
    data = before + answer
    for reads in ([data], [bytes([byte]) for byte in data], [before, answer]):
        decoder = AnswerDecoder({"content-type": kind})
        events = [event for read in reads for event in decoder.feed(read, 0.0)] + decoder.end(0.0)
        assert isinstance(events[-1], Ended)
        assert events[-1].completion is not None
        assert events[-1].completion.text == "hello"


@pytest.mark.parametrize("space", [b" ", b"\t", b"\n ", b"\r\n\t"])
def test_white_space_before_the_first_event_is_none_of_its_line_wherever_it_is_cut(space: bytes) -> None:
    data = space + sse(delta(content="hello"), delta(finish="stop"))
    for cut_at in range(len(space) + 1):
        _, events = decode([data[:cut_at], data[cut_at:]])
        assert isinstance(events[-1], Ended)
        assert events[-1].completion is not None


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
    """A response that is there already: no read has to wait."""

    status = 200
    headers: Mapping[str, str] = EVENTS

    def __init__(self, *reads: bytes) -> None:
        self._reads = iter(reads)

    async def open(self, url: str, headers: Headers, body: bytes | None, **options: object) -> Exchange:
        return self

    async def read(self) -> bytes | None:
        return next(self._reads, None)

    async def aclose(self) -> None:
        pass


@dataclass
class _Fed:
    """What one call of `AnswerDecoder.feed` has decoded, and the turn of the loop in which it was called."""

    turn: int
    bytes: int
    events: int
    parts: int


async def _decoded(
    monkeypatch: pytest.MonkeyPatch, reads: Iterable[bytes], *, streamed: bool
) -> tuple[str, list[_Fed]]:
    """The text of an answer (its error's kind, if it is none), and all that was decoded on the way."""
    client = FallbackClient(["some/model"], api_key="sk-or-v1-test", settings=ONCE)
    parts_of(client).runtime.transport = _AtOnce(*reads)
    turns = 0
    fed: list[_Fed] = []
    read: list[bytes] = []
    feed, split = AnswerDecoder.feed, EventReader.feed

    def counted(self: AnswerDecoder, data: bytes, now: float) -> list[Event]:
        before = len(read)
        events = feed(self, data, now)
        fed.append(_Fed(turns, len(data), len(read[before:]), parts(data)))
        return events

    def kept(self: EventReader, data: bytes) -> list[bytes]:
        events = split(self, data)
        read.extend(events)
        return events

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    monkeypatch.setattr(AnswerDecoder, "feed", counted)
    monkeypatch.setattr(EventReader, "feed", kept)
    turning = asyncio.ensure_future(turn())
    try:
        if streamed:
            async with client.astream("hello") as stream:
                text = "".join([piece.text async for piece in stream])
        else:
            text = (await client.achat("hello")).text
    except AllModelsFailedError as error:
        text = str(error.attempts[-1].kind)
    turning.cancel()
    return text, fed


def _by_turn(fed: list[_Fed], of: str) -> list[int]:
    """How much was decoded in each turn of the loop."""
    found: Counter[int] = Counter()
    for one in fed:
        found[one.turn] += getattr(one, of)
    return list(found.values())


@pytest.mark.parametrize("streamed", [True, False])
async def test_the_loop_turns_while_a_long_answer_is_decoded(monkeypatch: pytest.MonkeyPatch, streamed: bool) -> None:
    many = [delta(content="token ")] * 20_000
    data = sse(*many, delta(finish="stop"), DONE)
    text, fed = await _decoded(monkeypatch, [data], streamed=streamed)
    assert text == "token " * len(many)
    assert max(one.bytes for one in fed) <= SLICE_BYTES
    assert sum(one.bytes for one in fed) == len(data)
    assert max(_by_turn(fed, "bytes")) <= 2 * SLICE_BYTES
    assert [one.turn for one in fed] == sorted(one.turn for one in fed)


DENSE: dict[str, bytes] = {
    "empty objects": b"data: {}\n\n",
    "no data": b"data:\n\n",
    "CR": b"data:{}\r\r",
    "comments": b": x\n",
    "blank lines": b"\n",
    "other fields": b"e\n",
    "no choices": b'data: {"choices":[]}\n\n',
    "many values": b'data: {"choices":[{"delta":{"tool_calls":[' + b"{}," * 30 + b"{}]}}]}\n\n",
    "half characters": b'data:{"choices":[{"delta":{"content":"\\ud800"}}]}\n\ndata:{}\n\n',
}


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("size", [2_000, 16_384, 262_144])
@pytest.mark.parametrize("shape", list(DENSE))
async def test_the_loop_turns_between_so_many_events_and_values(
    monkeypatch: pytest.MonkeyPatch, shape: str, size: int, streamed: bool
) -> None:
    """256 kB are a thousand events of an honest answer, or 26,000 empty events: these held the loop for 0.3 s."""
    one = DENSE[shape]
    data = sse(delta(content="x")) + one * (262_144 // len(one)) + sse(delta(finish="stop"), DONE)
    reads = [data[start : start + size] for start in range(0, len(data), size)]
    text, fed = await _decoded(monkeypatch, reads, streamed=streamed)
    assert text.replace("\ufffd", "") == "x"
    assert sum(one.bytes for one in fed) == len(data)
    assert max(_by_turn(fed, "bytes")) <= 2 * SLICE_BYTES
    assert max(_by_turn(fed, "events")) <= 2 * SLICE_PARTS
    assert max(_by_turn(fed, "parts")) <= SLICE_BYTES // 4 + SLICE_PARTS
