"""The connections below HTTP: joins writes, joins the chunks that were read, and finds unexpected bytes."""

from __future__ import annotations

import asyncio
import functools
import select
import socket
import ssl
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import anyio
import httpcore2

from .chunks import Chunks
from .wire import Wire

UNACKNOWLEDGED_SECONDS = 20.0
"""Seconds in which the other side's machine must acknowledge what was sent, where the system can be told (Linux).

A kept connection that a router in between has forgotten takes a request and gives no sign. Then it is lost after this
time, and the request is sent again on a new one (`pool`); the system itself would try for 15 minutes (RFC 5482).
"""
_BROKEN = (anyio.BrokenResourceError, anyio.ClosedResourceError)
_WRITE_BYTES = 256 * 1024
_INTERIM = b"HTTP/1.1 1"
_MOST_CHUNKS = 2_000
"""The chunks that are joined before the event loop runs other tasks; each takes about a microsecond."""
_MOST_INTERIM = 200
"""The most interim responses (status 100 to 199) before one response; each takes h11 as long as some chunks."""


class UncleanConnection(httpcore2.NetworkError):
    """Bytes, or the end of the connection, came before the request: nothing was sent."""


class Backend(httpcore2.AsyncNetworkBackend):
    """httpcore2's connections, but a request's head and body are sent in one write, which saves a system call."""

    def __init__(self, transports: weakref.WeakSet[asyncio.BaseTransport]) -> None:
        self._inner = httpcore2.AnyIOBackend()
        self._transports = transports

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's protocol
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        options = [*(socket_options or ()), *_unacknowledged()]
        made = await self._inner.connect_tcp(host, port, timeout, local_address, options)
        transport = getattr(getattr(made, "_stream", None), "_transport", None)
        if isinstance(transport, asyncio.BaseTransport):
            self._transports.add(transport)
        return JoinedStream(made)


@functools.cache
def _unacknowledged() -> tuple[tuple[int, int, int], ...]:
    """The socket option for `UNACKNOWLEDGED_SECONDS`; empty where the system does not know it."""
    name = getattr(socket, "TCP_USER_TIMEOUT", None)
    if name is None:
        return ()
    option = (socket.IPPROTO_TCP, name, int(UNACKNOWLEDGED_SECONDS * 1000))
    try:
        with socket.socket() as one:
            one.setsockopt(*option)
    except OSError:
        return ()
    return (option,)


class JoinedStream(httpcore2.AsyncNetworkStream):
    """Keeps writes until the next read, or until they are many bytes; joins the chunks that were read.

    `answered`: bytes have come since the last request was written.
    """

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self.answered = False
        self._interim = 0
        self._inner = inner
        self._socket = inner.get_extra_info("socket")
        self._kept: list[bytes] = []
        self._size = 0
        self._chunks = Chunks()
        self._writing = False
        self._used = False
        self._tls: list[Any] = []
        self._stream = layer = getattr(inner, "_stream", None)
        while (below := getattr(layer, "transport_stream", None)) is not None:  # anyio's TLS
            self._tls.append(layer)
            layer = below
        self._protocol: Any = getattr(layer, "_protocol", None)
        self._transport: Any = getattr(layer, "_transport", None)
        self._wire = Wire.below(self._stream)
        self._look: select.poll | None = None

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._kept:
            await self._flush(timeout)
        self._writing = False
        data = await self._received(max_bytes, timeout)
        if data:
            first, self.answered = not self.answered, True
            if first or self._interim:
                self._count_interim(data)
        chunks = self._chunks
        data = chunks.joined(data)
        if chunks.count > _MOST_CHUNKS:
            chunks.count = 0
            await asyncio.sleep(0)
        return data

    def _count_interim(self, data: bytes) -> None:
        """Count the interim responses at the beginning of a response, as long as each read begins with one."""
        more = data.count(_INTERIM) if data.startswith(_INTERIM) else 0
        self._interim = self._interim + more if more else 0
        if self._interim > _MOST_INTERIM:
            raise httpcore2.RemoteProtocolError(f"more than {_MOST_INTERIM} interim responses")

    async def _received(self, max_bytes: int, timeout: float | None) -> bytes:  # noqa: ASYNC109
        if self._wire is not None:
            return await self._wire.read(max_bytes)  # no request has a read timeout
        if timeout is not None or self._stream is None:
            return await self._inner.read(max_bytes, timeout)
        try:
            received: bytes = await self._stream.receive(max_bytes)
        except anyio.EndOfStream:
            return b""
        except _BROKEN as error:
            raise httpcore2.ReadError(str(error)) from error
        return received

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if buffer:
            self._kept.append(buffer)
            self._size += len(buffer)
            if self._size > _WRITE_BYTES:
                await self._flush(timeout)

    async def _flush(self, timeout: float | None) -> None:  # noqa: ASYNC109
        if not self._writing:
            self._begin()
        data, self._kept, self._size = b"".join(self._kept), [], 0
        if self._wire is not None:
            await self._wire.write(data)
            return
        # As in httpcore2's own write: the server may have answered before it closed the connection.
        with suppress(httpcore2.WriteError):
            await self._inner.write(data, timeout)

    def _begin(self) -> None:
        """Check for unexpected bytes before the first bytes of a request: they would answer another request."""
        if self._dirty():
            self._kept, self._size = [], 0
            raise UncleanConnection("the server closed the connection or sent bytes before the request")
        self._writing = self._used = True
        self.answered, self._interim = False, 0
        self._chunks.begin()

    async def aclose(self) -> None:
        if self._wire is not None:
            self._wire.closed()
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        if self._kept:
            await self._flush(timeout)
        if self._wire is not None:
            self._wire.hand_back()
            self._wire = None
        return JoinedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    @property
    def busy(self) -> bool:
        """Whether received bytes, or bytes of a request, are in a buffer of this process (not of the system)."""
        return self._unread or (self._transport is not None and self._transport.get_write_buffer_size() > 0)

    @property
    def _unread(self) -> bool:
        if any(layer._ssl_object.pending() or layer._read_bio.pending for layer in self._tls):
            return True
        if self._wire is not None:
            return bool(self._wire.unread)
        return bool(self._protocol is not None and self._protocol.read_queue)

    def _dirty(self) -> bool:
        if self._tls and not self._used and self._inner.get_extra_info("ssl_object") is not None:
            return False  # the server may send session tickets now (RFC 8446, section 4.6.1)
        if self._unread:
            return True
        if self._socket is None or not hasattr(select, "poll"):
            return bool(self._inner.get_extra_info("is_readable"))
        # Runs before each request: anyio's way to the socket costs more than the check.
        descriptor = self._socket.fileno()
        if descriptor < 0:
            return True
        if self._look is None:
            self._look = select.poll()
            self._look.register(descriptor, select.POLLIN)
        return bool(self._look.poll(0))  # a read would not wait: the server has closed the connection, or sent bytes
