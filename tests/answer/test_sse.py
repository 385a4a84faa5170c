"""The reader of server-sent events, beside a slow one that follows the letter of the standard (WHATWG, section 9.2)."""

from __future__ import annotations

import re
import tracemalloc
from collections.abc import Iterable, Sequence
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_fallback.answer import sse
from openrouter_fallback.answer.sse import EventReader, Oversized

BOM = b"\xef\xbb\xbf"
MIB = 2**20

_VALUES = st.text(
    st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]), max_size=12
) | st.sampled_from(["", " ", "  two", '{"a":1}', "[DONE]", ":", "data: x", "é🚀"])
_LINES = st.one_of(
    _VALUES.map(lambda value: f"data: {value}"),
    _VALUES.map(lambda value: f"data:{value}"),
    _VALUES.map(lambda value: f":{value}"),
    _VALUES.map(lambda value: f"id: {value}"),
    st.sampled_from(
        [": OPENROUTER PROCESSING", "event: message", "retry: 3", "dat", "datax: no", "Data: no", " data: no"]
    ),
    st.just(""),
    st.just(""),
)
_ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """A body: lines of all sorts, line ends mixed, perhaps a BOM, perhaps cut off at any byte."""
    lines = draw(st.lists(st.tuples(_LINES, _ENDS), max_size=25))
    body = "".join(line + end for line, end in lines).encode()
    body = BOM + body if draw(st.booleans()) else body
    return body[: draw(st.integers(0, len(body)))] if draw(st.booleans()) else body


def by_the_letter(body: bytes) -> list[bytes]:
    """The data of all events; an event that the end of the body leaves open counts too."""
    events = []
    data: list[bytes] = []
    for line in [*re.split(rb"\r\n|\n|\r", body.removeprefix(BOM)), b""]:
        if not line:
            if data:
                events.append(b"\n".join(data))
            data = []
        elif not line.startswith(b":"):
            field, _, value = line.partition(b":")
            if field == b"data" and b":" in line:
                data.append(value.removeprefix(b" "))
    return events


def read(pieces: Iterable[bytes]) -> list[bytes]:
    reader = EventReader()
    events = [event for piece in pieces for event in reader.feed(piece)]
    return events + reader.finish()


def cut(body: bytes, borders: Sequence[int]) -> list[bytes]:
    at = sorted({0, len(body), *(border % (len(body) + 1) for border in borders)})
    return [body[start:end] for start, end in pairwise(at)]


@given(streams(), st.lists(st.integers(0, 10_000), max_size=20))
@example(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [8, 9, 10, 11])
@example(b"data: a\r\ndata: b\r\n\r\n", [8])
@example(BOM + b"data: a\n\n", [1, 2, 3])
@example(b": a comment\ndata: a\n\n", [1, 3, 11, 12])
def test_any_cut_gives_the_events_of_the_standard(body: bytes, borders: list[int]) -> None:
    expected = by_the_letter(body)
    assert read([body]) == expected
    assert read(cut(body, borders)) == expected
    assert read(body[n : n + 1] for n in range(len(body))) == expected


@given(streams(), st.lists(st.integers(0, 10_000), max_size=5))
@example(b"data: a\r\ndata: b\n\n", [8])
def test_empty_reads_change_nothing(body: bytes, borders: list[int]) -> None:
    pieces = [part for piece in cut(body, borders) for part in (piece, b"")]
    assert read(pieces) == by_the_letter(body)


def test_events_come_as_soon_as_they_are_complete() -> None:
    reader = EventReader()
    assert reader.feed(b"data: one\n") == []
    assert reader.feed(b"\ndata: two\n\ndata: thr") == [b"one", b"two"]
    assert reader.feed(b"ee\r") == []
    assert reader.feed(b"\n\r") == [b"three"]
    assert reader.feed(b"\ndata: four") == []
    assert reader.finish() == [b"four"]
    assert reader.finish() == []


def test_several_lines_of_data_are_one_event() -> None:
    assert read([b'data: {"a":\ndata: 1}\n\n']) == [b'{"a":\n1}']


def test_comments_are_never_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sse, "MAX_BODY_BYTES", 4 * MIB)
    block = sse_comments(MIB)
    reader = EventReader()
    for _ in range(sse.MAX_BODY_BYTES // len(block) + 8):
        assert reader.feed(block) == []
    assert reader.feed(b"data: at last\n\n") == [b"at last"]


def sse_comments(size: int) -> bytes:
    line = b": OPENROUTER PROCESSING\n\n"
    return line * (size // len(line))


@pytest.mark.parametrize("block", [b"x" * 65_536, b": x\n" * 16_384, b"\n" * 65_536], ids=["one", "many", "blank"])
def test_endless_comments_take_no_memory(block: bytes) -> None:
    reader = EventReader()
    reader.feed(b": an endless comment ")
    reader.feed(block)
    tracemalloc.start()
    try:
        for _ in range(10):
            reader.feed(block)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 1_000
    assert peak < 4 * MIB
    assert reader.feed(b"\n\ndata: still there\n\n") == [b"still there"]


@pytest.mark.parametrize("piece", [4096, MIB, 40 * MIB])
def test_one_event_of_twenty_mebibytes_is_read(piece: int) -> None:
    data = b"x" * (20 * MIB)
    body = b"data: " + data + b"\n\n"
    assert read(body[at : at + piece] for at in range(0, len(body), piece)) == [data]


@pytest.mark.parametrize("start", [b"data: ", b"id: ", b"whatever"])
@pytest.mark.parametrize("piece", [MIB, 40 * MIB])
def test_a_line_without_end_is_too_large(start: bytes, piece: int) -> None:
    body = start + b"x" * (sse.MAX_EVENT_BYTES + 1)
    with pytest.raises(Oversized, match="an event"):
        read(body[at : at + piece] for at in range(0, len(body), piece))


def test_an_event_of_many_lines_is_too_large() -> None:
    line = b"data: " + b"x" * (MIB - 7) + b"\n"
    with pytest.raises(Oversized, match="an event"):
        read([line] * (sse.MAX_EVENT_BYTES // MIB + 1))


def test_a_body_of_many_events_is_too_large() -> None:
    event = b"data: " + b"x" * (MIB - 8) + b"\n\n"
    events = sse.MAX_BODY_BYTES // MIB
    assert len(read([event] * events)) == events
    with pytest.raises(Oversized, match="the body"):
        read([event] * (events + 1))
