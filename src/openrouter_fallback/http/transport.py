"""Sends one request and reads its response. Exceptions of the HTTP library become a `TransportError` with a fault.

Uses httpx2's transport, httpcore2, without httpx2's client: no cookies, no redirects (they would pass on the key), one
request. Imported with the first client, since the HTTP library takes long to import.
"""

from __future__ import annotations

import asyncio
import functools
import os
import ssl
import sys
import weakref
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self, cast
from urllib.parse import urlsplit

import httpcore2
import httpx2
from pydantic import SecretStr

from ..errors import ConfigError
from ..redaction import Redactor, Secrets, clean_values
from ..sealed import Headers
from .decoding import Inflater, Undecodable, decoder
from .faults import HARMLESS, cut_tracebacks, translated
from .pool import Connection, Connections
from .protocol import Exchange, TransportError
from .proxies import pool, proxy_for, proxy_secrets, tls_context
from .socket import Backend

CONNECT_SECONDS = 5.0
YIELD_BYTES = 256 * 1024
"""The most bytes of a body that are read before other tasks run; each piece counts as one kilobyte more."""
_PIECE_BYTES = 1024
_MOST_DESTINATIONS = 256
_ENCODING = "content-encoding"

_TIMEOUT = {"timeout": {"connect": CONNECT_SECONDS, "read": None, "write": None, "pool": None}}


class HttpTransport:
    """HTTP with one set of connection pools per event loop; proxies and CA bundles come from the environment."""

    def __init__(self) -> None:
        self.pools: dict[asyncio.AbstractEventLoop, _Pools] = {}
        self._ssl: ssl.SSLContext | None = None
        weakref.finalize(self, _close_all, self.pools, os.getpid()).atexit = False

    async def open(
        self,
        url: str,
        headers: Headers,
        body: bytes | None,
        *,
        resend: bool = True,
        resent: Callable[[], None] | None = None,
    ) -> Exchange:
        """Send a POST (a GET without a body) and read the response's head. Raises `TransportError`.

        Raises `ConfigError` if the environment names a proxy or certificates that cannot be used.
        """
        loop = asyncio.get_running_loop()
        pools = self.pools.get(loop) or await self._new_pools(loop)
        outer = sys.exception()
        try:
            destination = pools.destinations.get(url) or self._destination(pools, url)
            send = functools.partial(_request, destination, headers, body)
            response, connection = await destination.lines.send(send, resend=resend, resent=resent)
            return _Answer(response, _received(response, headers), destination.lines, connection)
        except ConfigError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the HTTP library raises ends here
            failed = translated(error, before_status=True, where=urlsplit(url).netloc)
            through = pools.destinations.get(url)
            if through is not None and through.proxy is not None:
                detail = Redactor(proxy_secrets(through.proxy)).keyless(failed.detail)
                failed = TransportError(failed.fault, detail)
        except BaseException as error:
            cut_tracebacks(error, outer)
            raise
        raise failed  # here it has no context: that would hold the frames of the HTTP library

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""
        pools = self.pools.get(asyncio.get_running_loop())
        for lines in list(pools.lines.values()) if pools is not None else ():
            await lines.close_idle()

    def _destination(self, pools: _Pools, url: str) -> _Destination:
        parsed = httpx2.URL(url)
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise httpcore2.UnsupportedProtocol("the endpoint's URL has no http or https scheme, or no host")
        proxy = proxy_for(parsed.scheme, parsed.netloc.decode("ascii"))
        if parsed.scheme == "https" or (proxy is not None and proxy.get_secret_value().startswith("https")):
            self._ssl = self._ssl or tls_context()
        url_there = httpcore2.URL(
            scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path
        )
        origin = (proxy, parsed.raw_scheme, parsed.netloc)
        lines = pools.lines.get(origin)
        if lines is None:
            made = pool(proxy, self._ssl, Backend(pools.transports))
            lines = pools.lines[origin] = Connections(made, url_there.origin)
        destination = _Destination(url_there, parsed.netloc, lines, proxy)
        if len(pools.destinations) < _MOST_DESTINATIONS:
            pools.destinations[url] = destination
        return destination

    async def _new_pools(self, loop: asyncio.AbstractEventLoop) -> _Pools:
        # Drop the pools of closed loops: else each `asyncio.run` would leave its pools behind.
        for old in list(self.pools):
            if old.is_closed() and (left := self.pools.pop(old, None)) is not None:
                _let_go(left)
        lines: dict[_Origin, Connections] = {}
        transports = weakref.WeakSet[asyncio.BaseTransport]()
        pools = self.pools[loop] = _Pools(lines, _keep(lines, transports), transports)
        await anext(pools.keeper)
        return pools


_Origin = tuple[SecretStr | None, bytes, bytes]
"""Proxy, scheme, and host with port."""


@dataclass(frozen=True, slots=True)
class _Destination:
    """The destination of the requests for one URL."""

    url: httpcore2.URL
    host: bytes
    lines: Connections
    proxy: SecretStr | None = None


@dataclass(frozen=True, slots=True)
class _Pools:
    """The connections of one loop, and a generator that closes them: a loop ends its generators before it closes."""

    lines: dict[_Origin, Connections]
    keeper: AsyncGenerator[None]
    transports: weakref.WeakSet[asyncio.BaseTransport]
    destinations: dict[str, _Destination] = field(default_factory=dict)


async def _keep(
    lines: dict[_Origin, Connections], transports: weakref.WeakSet[asyncio.BaseTransport]
) -> AsyncGenerator[None]:
    try:
        yield
    finally:
        try:
            for one in lines.values():
                await one.aclose()
        finally:  # an ending loop may cancel the task that closes them
            for transport in list(transports):
                with suppress(Exception):
                    transport.abort()  # type: ignore[attr-defined]


def _request(destination: _Destination, headers: Headers, body: bytes | None) -> httpcore2.Request:
    """The request for httpcore2; the only place where a key is in plain text."""
    lines = [
        (b"Host", destination.host),
        *((name.encode(), revealed(value).encode()) for name, value in headers.items()),
    ]
    if body is None:
        request = httpcore2.Request(b"GET", destination.url, extensions=_TIMEOUT)
    else:
        lines.append((b"Content-Length", b"%d" % len(body)))
        request = httpcore2.Request(b"POST", destination.url, content=_Once(body), extensions=_TIMEOUT)
    request.headers = lines  # it would look at each whether it is bytes
    return request


def revealed(value: str | SecretStr) -> str:
    """A header's value in plain text."""
    return value.get_secret_value() if isinstance(value, SecretStr) else value


def _received(response: httpcore2.Response, sent: Headers) -> Mapping[str, str]:
    """The response's headers. A secret that the server sends back in a header is masked.

    Removes the original headers and the reason phrase from the response, which stays open while its body is read.
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in response.headers:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        again = name == _ENCODING and name in headers
        headers[name] = f"{headers[name]}, {value}" if again else value
    response.headers = []
    response.extensions.pop("reason_phrase", None)
    clean_values(Secrets(value for value in sent.values() if isinstance(value, SecretStr)), headers, names=headers)
    return headers


class _Once:
    """A request's body. Not a generator: the loop keeps a list of generators."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        body, self._body = self._body, None
        if body is None:
            raise StopAsyncIteration
        return body


class _Answer:
    """An open response of httpcore2."""

    __slots__ = ("_bytes", "_connection", "_decoder", "_lines", "_response", "_slices", "_work", "headers", "status")

    def __init__(
        self, response: httpcore2.Response, headers: Mapping[str, str], lines: Connections, connection: Connection
    ) -> None:
        self._response = response
        self._lines: Connections | None = lines
        self._connection = connection
        self._bytes: AsyncIterator[bytes] = aiter(cast(AsyncIterable[bytes], response.stream))
        self._decoder: Inflater | None = None
        self._slices: Iterator[bytes] | None = None
        self._work = 0
        self.status = response.status
        self.headers = headers
        if _ENCODING in self.headers:
            self._decode(self.headers[_ENCODING])

    def _decode(self, encoding: str) -> None:
        """Prepare for a compressed body, whether the request asked for compression or not."""
        try:
            self._decoder = decoder(encoding)
        except Undecodable as error:
            self._bytes = _fails(error)

    async def read(self) -> bytes | None:
        if self._work > YIELD_BYTES:
            self._work = 0
            await asyncio.sleep(0)
        outer = sys.exception()
        try:
            data = await anext(self._bytes, None) if self._decoder is None else await self._decoded(self._decoder)
        except Exception as error:  # noqa: BLE001 - whatever the HTTP library raises ends here
            failed = translated(error, before_status=False)
        except BaseException as error:
            cut_tracebacks(error, outer)
            raise
        else:
            self._work += _PIECE_BYTES + (len(data) if data else 0)
            return data
        raise failed  # here it has no context: that would hold the frames of the HTTP library

    async def _decoded(self, decoder: Inflater) -> bytes | None:
        while True:
            if self._slices is not None:
                piece = next(self._slices, None)
                if piece is not None:
                    return piece
            data = await anext(self._bytes, None)
            if data is None:
                decoder.finish()
                return None
            self._slices = decoder.feed(data)

    async def aclose(self) -> None:
        lines, self._lines = self._lines, None
        if lines is None:
            return
        try:
            with suppress(*HARMLESS):
                await self._response.aclose()
            if isinstance(self._bytes, AsyncGenerator):
                with suppress(*HARMLESS):
                    await self._bytes.aclose()
        finally:
            await lines.take_back(self._connection)


async def _fails(error: Exception) -> AsyncGenerator[bytes]:
    raise error
    yield b""


def _close_all(pools: dict[asyncio.AbstractEventLoop, _Pools], process: int) -> None:
    """The transport was dropped without being closed: close its pools, each on its own loop."""
    if process != os.getpid():
        # The connections belong to the parent: the child must not even garbage-collect them.
        _inherited.append(pools)
        return
    for loop, kept in pools.items():
        if loop.is_closed():
            _let_go(kept)
            continue
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(_close_soon, loop, kept.keeper)


def _let_go(pools: _Pools) -> None:
    """Close the sockets of a loop that was closed before its generators ended.

    A transport closes its socket through its loop, which is closed; so the loop's callback is called here. Otherwise
    servers would hold the connections until garbage collection, which warns.
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
