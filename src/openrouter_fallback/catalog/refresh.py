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
from collections.abc import Iterable
from concurrent.futures import Future
from urllib.parse import urlsplit

from .catalog import Catalog

logger = logging.getLogger("openrouter_fallback")

THREAD_NAME = "openrouter-fallback-catalog"
DELAY_SECONDS = 2.0
LOOK_SECONDS = 600.0
"""How often it is looked at whether a list has become old."""
MOST_THREADS = 8
"""In a process; clients made for each call would start any number where an endpoint does not answer."""
FIRST_BACKOFF_SECONDS = 60.0
LONGEST_BACKOFF_SECONDS = 3600.0


PRICES_SECONDS = 5.0
"""The longest that a call waits for prices; at most half of its own deadline."""


class Refresh:
    """Fetches the lists of `endpoints` in the background when they are old. May be called by any thread."""

    def __init__(self, catalog: Catalog, endpoints: Iterable[str]) -> None:
        self._catalog = catalog
        self._endpoints = tuple(endpoints)
        self.next_look: float | None = None
        """When it is looked again whether a list is old; None before the first call."""
        self._failures = 0
        self._under_way: tuple[threading.Thread, Future[None]] | None = None

    def soon(self, now: float, *, needed: bool = False) -> None:
        """Begin if it is time; `now` is the monotonic clock. `needed`: no delay. Returns at once."""
        if self.next_look is None or (needed and self._under_way is None):
            self.next_look = now if needed else now + DELAY_SECONDS
        if now < self.next_look:
            return
        self.next_look = now + LOOK_SECONDS
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
            self.next_look = time.monotonic() + wait
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
