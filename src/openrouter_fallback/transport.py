"""One request on the wire. HTTP exceptions end here: what goes wrong leaves as a `TransportError` with a fault.

`Transport` and `Exchange` are the seam: a second HTTP client can come behind them.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import ssl
import weakref
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

import httpx2

from .failures import TransportFault

CONNECT_SECONDS = 5.0
MAX_CONNECTIONS = 512
MAX_IDLE_CONNECTIONS = 128
IDLE_SECONDS = 30.0

_TIMEOUT = httpx2.Timeout(None, connect=CONNECT_SECONDS)
_LIMITS = httpx2.Limits(
    max_connections=None, max_keepalive_connections=MAX_IDLE_CONNECTIONS, keepalive_expiry=IDLE_SECONDS
)


class TransportError(Exception):
    """The request could not be sent, or its answer not be read."""

    def __init__(self, fault: TransportFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class Exchange(Protocol):
    """An open answer: its status and headers are there, its body is read piece by piece."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes | None:
        """The next bytes of the decoded body, None at its end. Raises `TransportError`."""

    async def aclose(self) -> None:
        """Close; where the body was not read to its end, the connection with it."""


class Transport(Protocol):
    """Opens requests."""

    async def open(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Send a POST and read the answer's head. Raises `TransportError`."""

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""


class HttpxTransport:
    """httpx2, with one connection pool for each event loop.

    Redirects are not followed: the key would go along. Proxies and CA bundles come from the environment.
    """

    def __init__(self) -> None:
        self._pools: dict[asyncio.AbstractEventLoop, _Pool] = {}
        self._ssl: ssl.SSLContext | None = None
        weakref.finalize(self, _close_all, self._pools, os.getpid()).atexit = False

    async def open(self, url: str, headers: Mapping[str, str], body: bytes) -> Exchange:
        """Send a POST and read the answer's head. Raises `TransportError`."""
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = await self._new_pool(loop)
        with _faults(before_status=True):
            request = pool.client.build_request("POST", url, content=body, headers=headers)
            response = await pool.client.send(request, stream=True)
        return _HttpxExchange(response)

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.keeper.aclose()

    async def _new_pool(self, loop: asyncio.AbstractEventLoop) -> _Pool:
        # A pool whose loop has been closed would otherwise stay for ever: one for each asyncio.run.
        for old in [old for old in self._pools if old.is_closed()]:
            del self._pools[old]
        if self._ssl is None:
            self._ssl = httpx2.create_ssl_context()
        client = httpx2.AsyncClient(verify=self._ssl, timeout=_TIMEOUT, limits=_LIMITS, follow_redirects=False)
        pool = self._pools[loop] = _Pool(client, _keep(client))
        await anext(pool.keeper)
        return pool


@dataclass(frozen=True, slots=True)
class _Pool:
    """A client and the generator whose end closes it: a loop ends its generators before it closes."""

    client: httpx2.AsyncClient
    keeper: AsyncGenerator[None]


async def _keep(client: httpx2.AsyncClient) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        await client.aclose()


def _close_all(pools: dict[asyncio.AbstractEventLoop, _Pool], process: int) -> None:
    """The transport was dropped without being closed: close what it left, each pool on its own loop."""
    if process != os.getpid():
        # The connections are the parent's: they must not even be garbage-collected here.
        _inherited.append(pools)
        return
    for loop, pool in pools.items():
        if not loop.is_closed():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(_close_soon, loop, pool.keeper)


def _close_soon(loop: asyncio.AbstractEventLoop, keeper: AsyncGenerator[None]) -> None:
    task = loop.create_task(keeper.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


_closing: set[asyncio.Task[None]] = set()
_inherited: list[object] = []


class _HttpxExchange:
    __slots__ = ("_bytes", "_response", "headers", "status")

    def __init__(self, response: httpx2.Response) -> None:
        self._response = response
        self._bytes: AsyncIterator[bytes] | None = None
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes | None:
        if self._bytes is None:
            self._bytes = self._response.aiter_bytes()
        with _faults(before_status=False):
            async for data in self._bytes:
                return data
        return None

    async def aclose(self) -> None:
        with suppress(httpx2.HTTPError, OSError, RuntimeError):
            await self._response.aclose()
        if isinstance(self._bytes, AsyncGenerator):
            with suppress(httpx2.HTTPError, OSError, RuntimeError):
                await self._bytes.aclose()


_BEFORE_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (httpx2.ConnectTimeout, TransportFault.NOT_CONNECTED),
    (httpx2.PoolTimeout, TransportFault.POOL_EXHAUSTED),
    (httpx2.ProxyError, TransportFault.PROXY),
    (httpx2.ConnectError, TransportFault.REFUSED),
    (httpx2.LocalProtocolError, TransportFault.OUR_BUG),
    (httpx2.UnsupportedProtocol, TransportFault.OUR_BUG),
    (httpx2.InvalidURL, TransportFault.OUR_BUG),
    (httpx2.TransportError, TransportFault.RESET_BEFORE_STATUS),
    (OSError, TransportFault.REFUSED),
)
_AFTER_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (httpx2.DecodingError, TransportFault.UNDECODABLE),
    (httpx2.HTTPError, TransportFault.CUT_AFTER_STATUS),
    (OSError, TransportFault.CUT_AFTER_STATUS),
)
# Causes that say more than the exception around them.
_CAUSES: tuple[tuple[type[BaseException], TransportFault], ...] = (
    (ssl.SSLError, TransportFault.TLS),
    (socket.gaierror, TransportFault.DNS),
)


@contextmanager
def _faults(*, before_status: bool) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise TransportError(_fault(error, before_status=before_status), _detail(error)) from None
    except RuntimeError as error:
        fault = TransportFault.LOOP_CLOSED if "loop is closed" in str(error) else TransportFault.OUR_BUG
        raise TransportError(fault, _detail(error)) from error


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
