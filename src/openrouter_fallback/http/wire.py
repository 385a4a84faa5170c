"""Reads and writes a plain TCP connection that anyio has made. Bytes go straight to the reader that waits for them.

anyio's stream stops reading after each read and starts again before the next one: two system calls for each read. Here
reading stops only when bytes come that nobody waits for, so at most one more read is kept.

A server may answer before it has read the whole request (413, 401), and close the connection. So while the system does
not take a request's bytes at once, its answer is awaited too, and ends the waiting; and when a write fails, what the
system has received is read before the socket is closed.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from contextlib import suppress
from typing import Any, Self

import httpcore2

_READ_BYTES = 256 * 1024
_MOST_LEFT = 1024 * 1024
"""The most bytes that are read from a connection that is lost; so much is read of the body of an error, too."""


class Wire(asyncio.Protocol):
    """The connection below one of anyio's socket streams, whose protocol it replaces until `hand_back`."""

    def __init__(self, transport: asyncio.Transport, protocol: Any) -> None:
        self.unread: deque[bytes] = deque(protocol.read_queue)
        """Received bytes that nobody has read."""
        self._transport = transport
        self._anyio = protocol
        self._loop = asyncio.get_running_loop()
        self._ended = bool(protocol.is_at_eof)
        self._error: Exception | None = protocol.exception
        self._closed = False
        self._reading = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        transport.set_protocol(self)

    @classmethod
    def below(cls, stream: object) -> Self | None:
        """The connection below a stream of anyio; None if it is not a plain TCP connection."""
        transport, protocol = getattr(stream, "_transport", None), getattr(stream, "_protocol", None)
        if transport is None or not hasattr(protocol, "read_queue") or hasattr(stream, "transport_stream"):
            return None
        return cls(transport, protocol)

    def hand_back(self) -> None:
        """Let anyio's stream read and write again, for TLS over this connection."""
        if self._reading:
            self._transport.pause_reading()
            self._reading = False
        protocol = self._anyio
        protocol.read_queue.extend(self.unread)
        protocol.is_at_eof, protocol.exception = self._ended, self._error
        if self.unread or self._ended:
            protocol.read_event.set()
        self._transport.set_protocol(_UnderTls(self._transport, protocol))

    # For the connection's only reader and writer

    async def read(self, most: int) -> bytes:
        """The next bytes, at most `most`; b"" at the end. Raises httpcore2's `ReadError`."""
        unread = self.unread
        while not unread:
            if self._error is not None or self._closed:
                raise httpcore2.ReadError from self._error
            if self._ended or self._transport.is_closing():
                return b""
            if not self._reading:
                self._reading = True
                self._transport.resume_reading()
            self._reader = self._loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        data = unread.popleft()
        if len(data) > most:
            unread.appendleft(data[most:])
            data = data[:most]
        return data

    async def write(self, data: bytes) -> None:
        """Write, and wait until the system has taken all bytes or the server has answered.

        An error is left to the next `read`: the server may have answered before it closed the connection.
        """
        self._transport.write(data)
        if self._writer is not None:
            await self._writer

    def closed(self) -> None:
        """The connection is being closed: reading is an error."""
        self._closed = True

    # For asyncio

    def data_received(self, data: bytes) -> None:
        self.unread.append(bytes(data))
        if self._reader is None or self._reader.done():
            self._reading = False
            self._transport.pause_reading()
            self._wake(self._writer)
        else:
            self._reader.set_result(None)

    def eof_received(self) -> bool:
        self._ended = True
        self._wake(self._reader)
        self._wake(self._writer)
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.unread.extend(_left_in(self._transport))
        self._ended, self._error = True, exc
        self._wake(self._reader)
        self.resume_writing()

    def pause_writing(self) -> None:
        self._writer = self._loop.create_future()
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def resume_writing(self) -> None:
        writer, self._writer = self._writer, None
        self._wake(writer)

    @staticmethod
    def _wake(waiting: asyncio.Future[None] | None) -> None:
        if waiting is not None and not waiting.done():
            waiting.set_result(None)


class _UnderTls(asyncio.Protocol):
    """anyio's protocol of a connection that carries TLS; an answer ends a write here, too."""

    def __init__(self, transport: asyncio.Transport, protocol: Any) -> None:
        self._transport = transport
        self._anyio = protocol

    def data_received(self, data: bytes) -> None:
        self._anyio.data_received(data)
        self._answered()

    def eof_received(self) -> bool:
        self._answered()
        return bool(self._anyio.eof_received())

    def connection_lost(self, exc: Exception | None) -> None:
        for data in _left_in(self._transport) if exc is not None else ():
            self._anyio.data_received(data)
        self._anyio.connection_lost(exc)

    def pause_writing(self) -> None:
        self._anyio.pause_writing()
        self._transport.resume_reading()

    def resume_writing(self) -> None:
        self._transport.pause_reading()
        self._anyio.resume_writing()

    def _answered(self) -> None:
        if not self._anyio.write_event.is_set():
            self._transport.pause_reading()
            self._anyio.write_event.set()


def _left_in(transport: asyncio.BaseTransport) -> list[bytes]:
    """What the system has received on a connection that is lost, before its socket is closed."""
    received: list[bytes] = []
    with suppress(OSError):
        descriptor = transport.get_extra_info("socket").fileno()
        for _ in range(_MOST_LEFT // _READ_BYTES):
            data = os.read(descriptor, _READ_BYTES)
            if not data:
                break
            received.append(data)
    return received
