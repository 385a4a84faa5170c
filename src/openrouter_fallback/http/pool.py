"""The connections to one origin. A connection with unread or unexpected bytes is closed and never reused."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpcore2

from .faults import HARMLESS
from .socket import JoinedStream, UncleanConnection

MAX_IDLE_CONNECTIONS = 128
IDLE_SECONDS = 30.0

_NOTHING = (b"", False)
_LOST = (httpcore2.NetworkError, httpcore2.RemoteProtocolError)


@dataclass(eq=False, slots=True)
class Connection:
    """One connection of httpcore2, and its stream once the connection has carried the head of a response."""

    http: httpcore2.AsyncConnectionInterface
    stream: JoinedStream | None = None

    @property
    def clean(self) -> bool:
        """Whether the last request was sent whole, its response was read to its end, and no bytes came after it."""
        return self.stream is not None and self.http.is_available() and not _behind(self.http) and not self.stream.busy


class Connections:
    """httpcore2's connections to one origin, the most recently used first.

    httpcore2's pool checks all connections for each request; with 64 at a time this costs more than the requests
    themselves (see `benchmarks/`). So its pool only makes the connections.
    """

    def __init__(self, pool: httpcore2.AsyncConnectionPool, origin: httpcore2.Origin) -> None:
        self._pool = pool
        self._origin = origin
        self._open: set[Connection] = set()
        self._idle: deque[tuple[float, Connection]] = deque()

    async def send(
        self, request: Callable[[], httpcore2.Request], *, resend: bool, resent: Callable[[], None] | None = None
    ) -> tuple[httpcore2.Response, Connection]:
        """Send a request and read the response's head; `take_back` returns the connection later.

        `request` makes the request, which holds the key, so that no frame of this library holds the key. If a reused
        connection is lost without a byte of a response, the server closed it while the request was written (RFC 9112,
        section 9.3.1): the origin's idle connections are closed too, and with `resend` the request is sent again on a
        new connection. `resent` is called each time.
        """
        connection = await self._free()
        while True:
            try:
                response = await connection.http.handle_async_request(request())
            except BaseException as error:
                await self._drop(connection)
                used = connection.stream
                if used is None or not isinstance(error, _LOST):
                    raise
                if isinstance(error, UncleanConnection):  # nothing was sent
                    connection = await self._free()
                    continue
                if used.answered:
                    raise
                await self.close_idle()
                if not resend:
                    raise
                if resent is not None:
                    resent()
            else:
                _forget_headers(response)
                stream = response.extensions["network_stream"]
                connection.stream = stream if isinstance(stream, JoinedStream) else None
                connection.http = _made(connection.http)
                return response, connection
            connection = self._new()

    async def take_back(self, connection: Connection) -> None:
        """Called when a response is closed. Keeps the connection if it is clean, else closes it."""
        if connection not in self._open or not connection.clean:
            await self._drop(connection)
            return
        now = time.monotonic()
        self._idle.append((now, connection))
        idle = self._idle
        while idle and (len(idle) > MAX_IDLE_CONNECTIONS or now - idle[0][0] > IDLE_SECONDS):
            await self._drop(idle.popleft()[1])

    async def close_idle(self) -> None:
        """Close the connections that are not in use."""
        while self._idle:
            await self._drop(self._idle.pop()[1])

    async def aclose(self) -> None:
        """Close all connections."""
        self._idle.clear()
        for connection in list(self._open):
            await self._drop(connection)

    async def _free(self) -> Connection:
        """The most recently used connection, or a new one. The stream checks for unexpected bytes at a write."""
        while self._idle:
            since, connection = self._idle.pop()
            if time.monotonic() - since <= IDLE_SECONDS:
                return connection
            await self._drop(connection)
        return self._new()

    def _new(self) -> Connection:
        connection = Connection(self._pool.create_connection(self._origin))
        self._open.add(connection)
        return connection

    async def _drop(self, connection: Connection) -> None:
        self._open.discard(connection)
        with suppress(*HARMLESS):
            await connection.http.aclose()


def _made(connection: httpcore2.AsyncConnectionInterface) -> httpcore2.AsyncConnectionInterface:
    """The HTTP connection that httpcore2's connection has made: from now on the latter only takes one more lock."""
    below = getattr(connection, "_connection", None) if type(connection) is httpcore2.AsyncHTTPConnection else None
    return connection if below is None else below


def _behind(connection: Any) -> bool:
    """Whether unread bytes follow the last response.

    httpcore2 does not report these bytes and reads them as the next response. If the internals of httpcore2 have
    changed, no connection is reused.
    """
    while (below := getattr(connection, "_connection", None)) is not None:
        connection = below
    machine = getattr(connection, "_h11_state", None)
    return machine is None or machine.trailing_data != _NOTHING


def _forget_headers(response: httpcore2.Response) -> None:
    """Drop the sent request from an open response: its headers hold the key."""
    sent = getattr(response.stream, "_request", None)
    if sent is not None:
        sent.headers = []
