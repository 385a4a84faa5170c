"""One request on the wire. HTTP exceptions end here: what goes wrong leaves as a `TransportError` with a fault.

It goes over httpx2's own transport, httpcore2, without the client above it: no cookies, no redirects (the key would go
along), one request. Imported with the first client, because of what it brings along.
"""

from __future__ import annotations

import asyncio
import errno
import os
import select
import socket
import ssl
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore2
import httpx2

from .chunks import Chunks
from .failures import TransportFault
from .wire import Exchange, TransportError

CONNECT_SECONDS = 5.0
MAX_IDLE_CONNECTIONS = 128
IDLE_SECONDS = 30.0
_WRITE_BYTES = 256 * 1024
_MOST_PLACES = 256

_TIMEOUT = {"timeout": {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}}


class HttpTransport:
    """HTTP with one set of connection pools for each event loop; proxies and CA bundles come from the environment."""

    def __init__(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, _Pools] = {}
        self._ssl: ssl.SSLContext | None = None
        weakref.finalize(self, _close_all, self._pools, os.getpid()).atexit = False

    async def open(self, url: str, headers: Mapping[str, str], body: bytes | None) -> Exchange:
        """Send a POST (a GET where there is no body) and read the answer's head. Raises `TransportError`."""
        loop = asyncio.get_running_loop()
        pools = self._pools.get(loop) or await self._new_pools(loop)
        try:
            place = pools.places.get(url) or self._place(pools, url)
            lines = [(b"Host", place.host), *((name.encode(), value.encode()) for name, value in headers.items())]
            if body is None:
                return await place.lines.send(httpcore2.Request(b"GET", place.url, headers=lines, extensions=_TIMEOUT))
            lines.append((b"Content-Length", b"%d" % len(body)))
            request = httpcore2.Request(b"POST", place.url, headers=lines, content=_Once(body), extensions=_TIMEOUT)
            return await place.lines.send(request)
        except (*_CAUGHT, RuntimeError) as error:
            raise _translated(error, before_status=True, where=urlsplit(url).netloc) from None

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""
        pools = self._pools.get(asyncio.get_running_loop())
        for lines in list(pools.lines.values()) if pools is not None else ():
            await lines.close_idle()

    def _place(self, pools: _Pools, url: str) -> _Place:
        parsed = httpx2.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise httpcore2.UnsupportedProtocol("the endpoint's URL has no http or https scheme, or no host")
        known = getproxies()
        proxy = known.get(parsed.scheme) or known.get("all")
        if proxy is not None and proxy_bypass(parsed.netloc.decode("ascii")):
            proxy = None
        if parsed.scheme == "https" or (proxy is not None and proxy.startswith("https")):
            self._ssl = self._ssl or httpx2.create_ssl_context()
        url_there = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        origin = (proxy, parsed.raw_scheme, parsed.netloc)
        lines = pools.lines.get(origin)
        if lines is None:
            pool = _pool(proxy, self._ssl, _Backend(pools.transports))
            lines = pools.lines[origin] = _Lines(pool, url_there.origin)
        place = _Place(url_there, parsed.netloc, lines)
        if len(pools.places) < _MOST_PLACES:
            pools.places[url] = place
        return place

    async def _new_pools(self, loop: asyncio.AbstractEventLoop) -> _Pools:
        # The pools of a loop that has been closed would otherwise stay for ever: some for each asyncio.run.
        for old in list(self._pools):
            if old.is_closed() and (left := self._pools.pop(old, None)) is not None:
                _let_go(left)
        lines: dict[_Origin, _Lines] = {}
        pools = self._pools[loop] = _Pools(lines, _keep(lines))
        await anext(pools.keeper)
        return pools


_Origin = tuple[str | None, bytes, bytes]
"""Proxy, scheme, and host with port."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the requests for one URL go."""

    url: httpcore2.URL
    host: bytes
    lines: _Lines


@dataclass(frozen=True, slots=True)
class _Pools:
    """The connections of one loop, and the generator whose end closes them: a loop ends its own before it closes."""

    lines: dict[_Origin, _Lines]
    keeper: AsyncGenerator[None]
    places: dict[str, _Place] = field(default_factory=dict)
    transports: weakref.WeakSet[asyncio.BaseTransport] = field(default_factory=weakref.WeakSet)


async def _keep(lines: dict[_Origin, _Lines]) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        for one in lines.values():
            await one.aclose()


class _Lines:
    """httpcore2's connections to one origin, the last used first.

    Its pool looks at all connections for each request; with 64 at a time that costs more than the requests themselves
    (see `benchmarks/`). So the pool only makes them.
    """

    def __init__(self, pool: httpcore2.AsyncConnectionPool, origin: httpcore2.Origin) -> None:
        self._pool = pool
        self._origin = origin
        self._open: set[httpcore2.AsyncConnectionInterface] = set()
        self._idle: deque[tuple[float, httpcore2.AsyncConnectionInterface]] = deque()

    async def send(self, request: httpcore2.Request) -> _Answer:
        """Send a request and read the answer's head."""
        connection = await self._free()
        try:
            return _Answer(await connection.handle_async_request(request), self, connection)
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
        with suppress(*_HARMLESS):
            await connection.aclose()


def _pool(proxy: str | None, tls: ssl.SSLContext | None, backend: _Backend) -> httpcore2.AsyncConnectionPool:
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


class _Backend(httpcore2.AsyncNetworkBackend):
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
        return _Joined(made)


class _Joined(httpcore2.AsyncNetworkStream):
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
        return _Joined(await self._inner.start_tls(ssl_context, server_hostname, timeout))

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


class _Once:
    """A request's body."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        yield self._body


class _Answer:
    """An open answer of httpcore2."""

    __slots__ = ("_bytes", "_connection", "_lines", "_response", "headers", "status")

    def __init__(
        self, response: httpcore2.Response, lines: _Lines, connection: httpcore2.AsyncConnectionInterface
    ) -> None:
        self._response = response
        self._lines: _Lines | None = lines
        self._connection = connection
        self.status = response.status
        self.headers: Mapping[str, str] = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
        }
        encoded = self.headers.get("content-encoding", "identity").lower() != "identity"
        self._bytes: AsyncIterator[bytes] = _decoded(response) if encoded else response.aiter_stream()

    async def read(self) -> bytes | None:
        try:
            return await anext(self._bytes, None)
        except (*_CAUGHT, RuntimeError) as error:
            raise _translated(error, before_status=False) from None

    async def aclose(self) -> None:
        lines, self._lines = self._lines, None
        if lines is None:
            return
        try:
            with suppress(*_HARMLESS):
                await self._response.aclose()
            if isinstance(self._bytes, AsyncGenerator):
                with suppress(*_HARMLESS):
                    await self._bytes.aclose()
        finally:
            await lines.take_back(self._connection)


class _Raw(httpx2.AsyncByteStream):
    def __init__(self, response: httpcore2.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._response.aiter_stream():
            yield data


def _decoded(response: httpcore2.Response) -> AsyncIterator[bytes]:
    """A body that was compressed although nobody asked for that."""
    return httpx2.Response(response.status, headers=response.headers, stream=_Raw(response)).aiter_bytes()


def _close_all(pools: dict[asyncio.AbstractEventLoop, _Pools], process: int) -> None:
    """The transport was dropped without being closed: close what it left, each pool on its own loop."""
    if process != os.getpid():
        # The connections are the parent's: they must not even be garbage-collected here.
        _inherited.append(pools)
        return
    for loop, kept in pools.items():
        if loop.is_closed():
            _let_go(kept)
            continue
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_close_soon, loop, kept.keeper)


def _let_go(pools: _Pools) -> None:
    """Close the sockets of a loop that was closed before its generators were ended.

    A transport closes its socket by way of its loop, which is no more; what the loop would have called is called here.
    Until garbage collection, which warns, upstreams would hold the connections otherwise.
    """
    for transport in list(pools.transports):
        with suppress(Exception):
            transport._call_connection_lost(None)  # type: ignore[attr-defined]


def _close_soon(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None]) -> None:
    task = loop.create_task(keeper.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
_inherited: list[object] = []

_BEFORE_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (httpcore2.ConnectTimeout, TransportFault.NOT_CONNECTED),
    (httpcore2.PoolTimeout, TransportFault.POOL_EXHAUSTED),
    (httpcore2.ProxyError, TransportFault.PROXY),
    (httpcore2.ConnectError, TransportFault.REFUSED),
    (httpcore2.LocalProtocolError, TransportFault.OUR_BUG),
    (httpcore2.UnsupportedProtocol, TransportFault.OUR_BUG),
    (httpx2.InvalidURL, TransportFault.OUR_BUG),
    (httpcore2.NetworkError, TransportFault.RESET_BEFORE_STATUS),
    (httpcore2.TimeoutException, TransportFault.RESET_BEFORE_STATUS),
    (httpcore2.ProtocolError, TransportFault.RESET_BEFORE_STATUS),
    (OSError, TransportFault.REFUSED),
)
_AFTER_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (httpx2.DecodingError, TransportFault.UNDECODABLE),
    (Exception, TransportFault.CUT_AFTER_STATUS),
)
# Causes that say more than the exception around them.
_CAUSES: tuple[tuple[type[BaseException], TransportFault], ...] = (
    (ssl.SSLError, TransportFault.TLS),
    (socket.gaierror, TransportFault.DNS),
)
_CAUGHT = (
    httpcore2.NetworkError,
    httpcore2.TimeoutException,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
    httpx2.HTTPError,
    httpx2.InvalidURL,
    OSError,
)


_ELSEWHERE = frozenset({TransportFault.REFUSED, TransportFault.NOT_CONNECTED, TransportFault.DNS, TransportFault.TLS})
"""What is better known with the place where it happened."""
_HARMLESS = (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, RuntimeError)
"""What may go wrong while closing."""


def _translated(error: Exception, *, before_status: bool, where: str = "") -> TransportError:
    if isinstance(error, RuntimeError):
        fault = TransportFault.LOOP_CLOSED if "loop is closed" in str(error) else TransportFault.OUR_BUG
    else:
        fault = _fault(error, before_status=before_status)
    place = f" ({where})" if where and fault in _ELSEWHERE else ""
    return TransportError(fault, f"{_detail(error)}{place}")


def _fault(error: Exception, *, before_status: bool) -> TransportFault:
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return TransportFault.NO_FILES
        if before_status:
            for kind, fault in _CAUSES:
                if isinstance(cause, kind):
                    return fault
    table = _BEFORE_STATUS if before_status else _AFTER_STATUS
    return next((fault for kind, fault in table if isinstance(error, kind)), TransportFault.OUR_BUG)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions


def _detail(error: Exception) -> str:
    return str(error) or type(error).__name__
