"""What h11 makes of an answer must be the same, whether its chunks were put together or not."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import h11
import httpcore2
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_fallback.http.chunks import Chunks
from openrouter_fallback.http.socket import JoinedStream

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def heard(reads: list[bytes], join: bool) -> tuple[bytes, str, int]:
    """The body that h11 reads from what comes in `reads` and then ends; how that ends, and how many events it was."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "here")]))
    connection.send(h11.EndOfMessage())
    chunks = Chunks()
    body, count = b"", 0
    for data in [*reads, b""]:
        connection.receive_data(chunks.joined(data) if join else data)
        while True:
            try:
                event = connection.next_event()
            except h11.RemoteProtocolError as error:
                return body, str(error), count
            count += 1
            if event is h11.NEED_DATA:
                break
            if isinstance(event, h11.Data):
                body += bytes(event.data)
            elif event is h11.PAUSED or isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                return body, type(event).__name__, count
    raise AssertionError("h11 goes on after the end of the connection")


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(data) + 1) for place in at} | {0, len(data)})
    return [data[begin:end] for begin, end in pairwise(places)]


events = st.lists(st.binary(min_size=1, max_size=40) | st.sampled_from([b"\r\n", b"0\r\n\r\n", b"5\r\n", b"x" * 300]))
cuts = st.lists(st.integers(0, 2000), max_size=6)


@given(events, cuts)
@example([b"a", b"b"], [len(HEAD) - 1])  # the head comes in two reads
@example([b"abc", b"def"], [len(HEAD) + 1])  # a size that was cut
@example([b"x" * 300, b"y" * 300], [len(HEAD) + 1, len(HEAD) + 2, len(HEAD) + 4])  # the same one four times
@example([b"abc", b"def"], [len(HEAD) + len(chunk(b"abc")) + 2])  # within the line end of a size
@example([b"abc", b"def", b"ghi"], [len(HEAD) + 7])  # the line end of a chunk was cut
def test_whatever_the_reads_the_answer_is_the_same(bodies: list[bytes], at: list[int]) -> None:
    reads = cut(HEAD + b"".join(map(chunk, bodies)) + END, at)
    whole = heard(reads, join=True)
    assert whole[:2] == heard(reads, join=False)[:2] == (b"".join(bodies), "EndOfMessage")


@given(events, cuts, st.integers(0, 2000), st.binary(max_size=4), st.integers(0, 4))
@example([b"abc", b"def"], [], len(HEAD), b"", 1)  # a size with a digit less
@example([b"abc", b"def"], [], len(HEAD), b"-", 0)
@example([b"abc", b"def"], [], len(HEAD) + 1, b";name=value", 0)  # a chunk extension
@example([b"abc", b"def"], [], len(HEAD) + 6, b"xy", 2)  # no line end after a chunk
@example([b"abc", b"def"], [], len(HEAD), b"", 2000)  # cut off
def test_h11_judges_what_is_wrong(bodies: list[bytes], at: list[int], where: int, put: bytes, instead: int) -> None:
    raw = HEAD + b"".join(map(chunk, bodies)) + END
    where %= len(raw) + 1
    reads = cut(raw[:where] + put + raw[where + instead :], at)
    assert heard(reads, join=True)[:2] == heard(reads, join=False)[:2]


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD,
        b"HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n",
        # The head ends at bare LFs, and its body looks as if the head went on.
        b"HTTP/1.1 200 OK\ncontent-length: 60\n\n: x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\n: x\r\ntransfer-encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\ncontent-length: 60\n\r\n: x\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
)
def test_other_answers_go_through(head: bytes) -> None:
    reads = [head + chunk(b"a") + chunk(b"b") + END]
    assert heard(reads, join=True) == heard(reads, join=False)


def test_a_read_of_many_chunks_is_one_for_h11() -> None:
    bodies = [b"data: %d\n\n" % number for number in range(40)]
    raw = b"".join(map(chunk, bodies))
    assert heard([HEAD + raw, raw + END], join=True) == (b"".join(bodies) * 2, "EndOfMessage", 5)
    assert heard([HEAD + raw, raw + END], join=False)[2] == 83


@pytest.mark.parametrize("cut_at", range(1, 5))
def test_a_read_may_end_in_a_size(cut_at: int) -> None:
    """A long answer has hundreds of reads, so that some end there; the chunks after that are joined as well."""
    event = chunk(b"x" * 300)
    assert event.index(b"x") == 5
    begin, rest = event[:cut_at], event[cut_at:]
    reads = [HEAD + event * 40 + begin, *[rest + event * 40 + begin] * 5, rest + END]
    body, end, count = heard(reads, join=True)
    assert (len(body), end) == (300 * (40 * 6 + 6), "EndOfMessage")
    assert count < 40


def test_the_next_answer_on_the_connection() -> None:
    chunks = Chunks()
    for _ in range(2):
        assert chunks.joined(HEAD + chunk(b"ab") + chunk(b"c") + END) == HEAD + chunk(b"abc") + END
        chunks.begin()


async def test_the_loop_turns_while_very_small_chunks_are_joined() -> None:
    """A body in chunks of one byte held the loop for 200 ms."""

    class Small(httpcore2.AsyncNetworkStream):
        first = True

        async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
            head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" if self.first else b""
            self.first = False
            return head + b"1\r\nx\r\n" * 1_000

        def get_extra_info(self, info: str) -> Any:
            return None

    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    stream, beside = JoinedStream(Small()), asyncio.create_task(turn())
    for _ in range(30):
        await stream.read(65_536)
    beside.cancel()
    assert turns >= 9
