"""A plain connection: bytes go to the reader that waits for them, and reading stops when nobody waits."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import httpcore2
import pytest

from openrouter_fallback.http.wire import Wire


class Transport:
    """asyncio's transport as far as a wire uses it. anyio hands it over while it does not read."""

    def __init__(self) -> None:
        self.protocol: Any = None
        self.reading = False
        self.closing = False
        self.changes = 0
        self.written: list[bytes] = []

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def is_closing(self) -> bool:
        return self.closing

    def get_extra_info(self, name: str) -> Any:
        return SimpleNamespace(fileno=lambda: -1)  # a socket of which nothing can be read

    def resume_reading(self) -> None:
        assert not self.reading
        self.reading, self.changes = True, self.changes + 1

    def pause_reading(self) -> None:
        assert self.reading
        self.reading, self.changes = False, self.changes + 1

    def write(self, data: bytes) -> None:
        self.written.append(data)
        if len(data) > 9:
            self.protocol.pause_writing()


def made(*early: bytes) -> tuple[Wire, Transport, Any]:
    transport = Transport()
    theirs = SimpleNamespace(read_queue=list(early), is_at_eof=False, exception=None, read_event=asyncio.Event())
    wire = Wire.below(SimpleNamespace(_transport=transport, _protocol=theirs))
    assert wire is not None
    assert transport.protocol is wire
    return wire, transport, theirs


async def begun(wire: Wire) -> asyncio.Task[bytes]:
    """A read that waits."""
    reading = asyncio.create_task(wire.read(100))
    await asyncio.sleep(0)
    return reading


async def test_reading_goes_on_while_each_read_waits() -> None:
    wire, transport, _ = made()
    for number in range(5):
        reading = await begun(wire)
        wire.data_received(b"%d" % number)
        assert await reading == b"%d" % number
    assert transport.changes == 1


async def test_bytes_that_nobody_waits_for_stop_the_reading() -> None:
    wire, transport, _ = made()
    reading = await begun(wire)
    wire.data_received(b"one")
    wire.data_received(b"two")  # before the reader has run
    assert not transport.reading
    assert await reading == b"one"
    assert list(wire.unread) == [b"two"]
    assert await wire.read(100) == b"two"
    assert not transport.reading, "only a read that waits starts it again"
    reading = await begun(wire)
    assert transport.reading
    wire.data_received(b"three")
    assert await reading == b"three"


async def test_a_read_takes_no_more_than_it_may() -> None:
    wire, _, _ = made(b"abcde", b"f")
    assert [await wire.read(2) for _ in range(4)] == [b"ab", b"cd", b"e", b"f"]


async def test_a_read_that_was_cancelled_loses_nothing() -> None:
    wire, _, _ = made()
    reading = await begun(wire)
    wire.data_received(b"one")
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await wire.read(100) == b"one"


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("end", ["end", "lost", "reset", "closing", "closed"])
async def test_the_end_of_a_connection(end: str, waits: bool) -> None:
    wire, transport, _ = made()
    reading = await begun(wire) if waits else None
    if end == "end":
        assert wire.eof_received(), "the other direction stays open"
    elif end == "closing":
        transport.closing = True
        wire.connection_lost(None)
    else:
        if end == "closed":
            wire.closed()
        wire.connection_lost(ConnectionResetError("reset") if end == "reset" else None)
    reading = reading or asyncio.create_task(wire.read(100))
    if end in ("reset", "closed"):
        with pytest.raises(httpcore2.ReadError):
            await reading
    else:
        assert await reading == b""


@pytest.mark.parametrize("goes_on", ["resume_writing", "connection_lost"])
async def test_a_write_waits_for_the_system(goes_on: str) -> None:
    wire, transport, _ = made()
    await wire.write(b"short")
    writing = asyncio.create_task(wire.write(b"much longer"))
    await asyncio.sleep(0)
    assert not writing.done()
    wire.connection_lost(None) if goes_on == "connection_lost" else wire.resume_writing()
    await writing
    assert transport.written == [b"short", b"much longer"]


async def test_what_anyio_gets_back() -> None:
    wire, transport, theirs = made()
    reading = await begun(wire)
    wire.data_received(b"one")
    wire.data_received(b"two")
    await reading
    wire.hand_back()
    assert not transport.reading
    assert theirs.read_queue == [b"two"]
    assert theirs.read_event.is_set()
