"""The connections below HTTP: what is written leaves in one piece, what was read is joined."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
import weakref
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore2

from .chunks import Chunks

_WRITE_BYTES = 256 * 1024


class Backend(httpcore2.AsyncNetworkBackend):
    """httpcore2's own connections, but a request's head and body go out as one write: a system call less."""

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
        made = await self._inner.connect_tcp(host, port, timeout, local_address, socket_options)
        transport = getattr(getattr(made, "_stream", None), "_transport", None)
        if isinstance(transport, asyncio.BaseTransport):
            self._transports.add(transport)
        return JoinedStream(made)


class JoinedStream(httpcore2.AsyncNetworkStream):
    """Writes are kept until something is to be read, or much has come together; chunks that were read are joined."""

    def __init__(self, inner: httpcore2.AsyncNetworkStream) -> None:
        self._inner = inner
        self._socket = inner.get_extra_info("socket")
        self._kept: list[bytes] = []
        self._size = 0
        self._chunks = Chunks()

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        if self._kept:
            await self._flush(timeout)
        return self._chunks.joined(await self._inner.read(max_bytes, timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        if buffer:
            self._kept.append(buffer)
            self._size += len(buffer)
            if self._size > _WRITE_BYTES:
                await self._flush(timeout)

    async def _flush(self, timeout: float | None) -> None:  # noqa: ASYNC109
        data, self._kept, self._size = b"".join(self._kept), [], 0
        self._chunks.begin()
        # As httpcore2 does for a write of its own: the server may have answered before it hung up.
        with suppress(httpcore2.WriteError):
            await self._inner.write(data, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> httpcore2.AsyncNetworkStream:
        if self._kept:
            await self._flush(timeout)
        return JoinedStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._socket is not None and hasattr(select, "poll"):
            return _readable(self._socket)  # asked before each request: anyio's way to the socket costs more than it
        return self._inner.get_extra_info(info)


def _readable(sock: socket.socket) -> bool:
    """Whether reading would not wait: on an idle connection, because the server has closed it."""
    descriptor = sock.fileno()
    if descriptor < 0:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))
