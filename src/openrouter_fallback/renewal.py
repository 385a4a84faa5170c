"""Keeping the catalog fresh: `GET /models` in a thread of its own, off every call's path.

A call only looks whether it is time to look. Then a daemon thread fetches the lists that are old, and ends; it belongs
to no event loop and holds no process up. A client's first two seconds start none, so a script that asks once, or a
client made for each request, fetches nothing. Only a call that could ask nobody for want of prices waits for it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future
from typing import Any
from urllib.parse import urlsplit

import orjson

from .catalog import Catalog
from .config import OPENROUTER
from .diagnosis import from_response
from .engine import Wire
from .errors import AuthenticationError, CatalogError, FallbackError
from .http.protocol import Transport, TransportError
from .keys import Keys
from .places import Places

logger = logging.getLogger("openrouter_fallback")

THREAD_NAME = "openrouter-fallback-catalog"
DELAY_SECONDS = 2.0
LOOK_SECONDS = 600.0
"""How often it is looked at whether a list has become old."""
MOST_THREADS = 8
"""In a process; clients made for each call would start any number where an endpoint does not answer."""
FIRST_BACKOFF_SECONDS = 60.0
LONGEST_BACKOFF_SECONDS = 3600.0
MAX_LISTING_BYTES = 32 * 1024 * 1024
FETCH_SECONDS = 30.0
PRICES_SECONDS = 5.0
"""The longest that a call waits for prices; at most half of its own deadline."""


class Lists:
    """Fetches endpoints' lists of models: called with an endpoint's name, it gives the body of its `GET /models`.

    Raises `CatalogError`, which says why there is none. A function that gives API keys is not asked for this.
    """

    def __init__(self, places: Places, keys: Keys, transport: Transport) -> None:
        self._places = places
        self._keys = keys
        self._transport = transport

    async def __call__(self, endpoint: str) -> bytes:
        ring = self._keys.known()
        if endpoint in ring.missing and endpoint != OPENROUTER:
            raise CatalogError(self._keys.no_key(endpoint))
        return await _get(self._transport, f"{endpoint}: GET /models failed", self._places.models(endpoint, ring))


async def key_info(transport: Transport, wire: Wire) -> Mapping[str, Any]:
    """What `GET /key` says. Raises `AuthenticationError` at a 401, else `CatalogError`."""
    body = await _get(transport, "openrouter: GET /key failed", wire, unauthorized=AuthenticationError)
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    data = said.get("data") if isinstance(said, dict) else None
    if not isinstance(data, dict):
        raise CatalogError("openrouter: the answer to GET /key says nothing of a key; check base_url")
    return data


async def _get(
    transport: Transport, what: str, wire: Wire, *, unauthorized: type[FallbackError] = CatalogError
) -> bytes:
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _fetch(transport, what, wire, unauthorized)
    except TimeoutError:
        why = f"no answer within {FETCH_SECONDS:g} s"
    except TransportError as error:
        why = f"{error.fault.value.replace('_', ' ')}: {error.detail}"
    raise CatalogError(f"{what}: {why}")


async def _fetch(transport: Transport, what: str, wire: Wire, unauthorized: type[FallbackError]) -> bytes:
    answer = await transport.open(wire.url, wire.headers, None)
    try:
        body = bytearray()
        while (data := await answer.read()) is not None:
            body += data
            if len(body) > MAX_LISTING_BYTES:
                raise CatalogError(f"{what}: it is longer than {MAX_LISTING_BYTES} bytes")
    finally:
        await answer.aclose()
    if answer.status != 200:
        failure = from_response(answer.status, answer.headers, bytes(body), now=time.time())
        error = unauthorized if answer.status == 401 else CatalogError
        raise error(f"{what}: {answer.status}, {failure.message}")
    return bytes(body)


class Renewal:
    """Fetches the lists of `endpoints` in the background when they are old. May be called by any thread."""

    def __init__(self, catalog: Catalog, endpoints: Iterable[str]) -> None:
        self._catalog = catalog
        self._endpoints = tuple(endpoints)
        self._next: float | None = None
        self._failures = 0
        self._under_way: tuple[threading.Thread, Future[None]] | None = None

    def soon(self, now: float, *, needed: bool = False) -> None:
        """Begin if it is time; `now` is the monotonic clock. `needed`: no delay. Returns at once."""
        if self._next is None or (needed and self._under_way is None):
            self._next = now if needed else now + DELAY_SECONDS
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        if self._endpoints and sum(thread.name == THREAD_NAME for thread in threading.enumerate()) < MOST_THREADS:
            ended: Future[None] = Future()
            thread = threading.Thread(target=self._look_once, args=(ended,), name=THREAD_NAME, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # no thread can be started
                logger.debug("the list of models is not looked at: %s", error)
            else:
                self._under_way = thread, ended

    async def looked(self, seconds: float) -> bool:
        """Wait for the look that is under way, at most so long; False where there was none yet."""
        if self._under_way is None:
            return False
        thread, ended = self._under_way
        if thread.is_alive():  # in a forked child it is not, and never ends
            await asyncio.wait([asyncio.wrap_future(ended)], timeout=min(seconds, PRICES_SECONDS))
        return True

    def _look_once(self, ended: Future[None]) -> None:
        try:
            self.look()
        finally:
            ended.set_result(None)

    def look(self) -> None:
        """Fetch what is old. Raises nothing: what goes wrong is a line in the debug log, and tried again later."""
        try:
            if old := [endpoint for endpoint in self._endpoints if self._catalog.stale(endpoint)]:
                with asyncio.Runner() as runner:  # not asyncio.run, which nest_asyncio replaces
                    runner.run(self._catalog.refresh(*old))
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - nobody is there to whom it could be raised
            wait = min(FIRST_BACKOFF_SECONDS * 2**self._failures, LONGEST_BACKOFF_SECONDS)
            self._failures = min(self._failures + 1, 10)
            self._next = time.monotonic() + wait
            logger.debug("the list of models was not renewed, next try in %.0f s: %s", wait, error)


def on_this_machine(url: str) -> bool:
    """Whether a URL's host is a name of this very machine: what answers there changes with its port."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified
