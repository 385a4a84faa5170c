"""The connections to one origin, by way of a proxy where the environment names one."""

from __future__ import annotations

import ssl
import time
from collections import deque
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import httpcore2

from .faults import HARMLESS
from .socket import Backend

MAX_IDLE_CONNECTIONS = 128
IDLE_SECONDS = 30.0


class Connections:
    """httpcore2's connections to one origin, the last used first.

    Its pool looks at all connections for each request; with 64 at a time that costs more than the requests themselves
    (see `benchmarks/`). So the pool only makes them.
    """

    def __init__(self, pool: httpcore2.AsyncConnectionPool, origin: httpcore2.Origin) -> None:
        self._pool = pool
        self._origin = origin
        self._open: set[httpcore2.AsyncConnectionInterface] = set()
        self._idle: deque[tuple[float, httpcore2.AsyncConnectionInterface]] = deque()

    async def send(self, request: httpcore2.Request) -> tuple[httpcore2.Response, httpcore2.AsyncConnectionInterface]:
        """Send a request and read the answer's head; the connection comes back through `take_back`."""
        connection = await self._free()
        try:
            return await connection.handle_async_request(request), connection
        except BaseException:
            await self._drop(connection)
            raise

    async def take_back(self, connection: httpcore2.AsyncConnectionInterface) -> None:
        """Its answer is closed; it is open still if that was read to its end."""
        if connection not in self._open or not connection.is_available():
            await self._drop(connection)
            return
        now = time.monotonic()
        self._idle.append((now, connection))
        idle = self._idle
        while idle and (len(idle) > MAX_IDLE_CONNECTIONS or now - idle[0][0] > IDLE_SECONDS):
            await self._drop(idle.popleft()[1])

    async def close_idle(self) -> None:
        """Close the connections that no request uses."""
        while self._idle:
            await self._drop(self._idle.pop()[1])

    async def aclose(self) -> None:
        """Close all connections."""
        self._idle.clear()
        for connection in list(self._open):
            await self._drop(connection)

    async def _free(self) -> httpcore2.AsyncConnectionInterface:
        while self._idle:
            connection = self._idle.pop()[1]
            if not connection.has_expired():
                return connection
            await self._drop(connection)
        connection = self._pool.create_connection(self._origin)
        self._open.add(connection)
        return connection

    async def _drop(self, connection: httpcore2.AsyncConnectionInterface) -> None:
        self._open.discard(connection)
        with suppress(*HARMLESS):
            await connection.aclose()


def pool(proxy: str | None, tls: ssl.SSLContext | None, backend: Backend) -> httpcore2.AsyncConnectionPool:
    options: dict[str, Any] = {
        "ssl_context": tls,
        "max_connections": None,
        "max_keepalive_connections": MAX_IDLE_CONNECTIONS,
        "keepalive_expiry": IDLE_SECONDS,
        "network_backend": backend,
    }
    if proxy is None:
        return httpcore2.AsyncConnectionPool(**options)
    parsed = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    bare = parsed._replace(netloc=parsed.netloc.rpartition("@")[2]).geturl()
    auth = None if parsed.username is None else (unquote(parsed.username), unquote(parsed.password or ""))
    if parsed.scheme.startswith("socks"):
        return httpcore2.AsyncSOCKSProxy(bare, auth, **options)
    return httpcore2.AsyncHTTPProxy(bare, auth, proxy_ssl_context=tls if parsed.scheme == "https" else None, **options)
