"""Refreshes the catalog: sends `GET /models` from a background thread, so that calls do not wait.

A call only checks whether a refresh is due. Then a daemon thread fetches the old lists and ends. The thread uses no
loop of the caller and does not keep the process alive. No thread starts within two seconds of a client's first call: a
script with one call, or a client per request, fetches nothing. A call waits if missing prices leave no candidate.
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
"""Seconds between two checks for old lists."""
MOST_THREADS = 8
"""Refresh threads in one process. Else clients made for each call would start a thread each if an endpoint hangs."""
FIRST_BACKOFF_SECONDS = 60.0
LONGEST_BACKOFF_SECONDS = 3600.0


PRICES_SECONDS = 5.0
"""The longest time that a call waits for prices; at most half of its total timeout."""


class Refresh:
    """Fetches old lists of `endpoints` in the background. Safe to call from any thread."""

    def __init__(self, catalog: Catalog, endpoints: Iterable[str]) -> None:
        self._catalog = catalog
        self._endpoints = tuple(endpoints)
        self.next_look: float | None = None
        """The time (monotonic) of the next check for old lists; None before the first call."""
        self._failures = 0
        self._under_way: tuple[threading.Thread, Future[None]] | None = None

    def soon(self, now: float, *, needed: bool = False) -> None:
        """Start a refresh if one is due. `now` is the monotonic time. `needed` skips the first delay. Never waits."""
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
        """Wait at most `seconds` for the running refresh. Returns False if none was started yet."""
        if self._under_way is None:
            return False
        thread, ended = self._under_way
        if thread.is_alive():  # in a forked child the thread is gone, and `ended` is never set
            await asyncio.wait([asyncio.wrap_future(ended)], timeout=min(seconds, PRICES_SECONDS))
        return True

    def _look_once(self, ended: Future[None]) -> None:
        try:
            self.look()
        finally:
            ended.set_result(None)

    def look(self) -> None:
        """Fetch the old lists. Never raises: a failure is logged at debug level, and retried later."""
        try:
            if old := [endpoint for endpoint in self._endpoints if self._catalog.stale(endpoint)]:
                with asyncio.Runner() as runner:  # not asyncio.run, which nest_asyncio replaces
                    runner.run(self._catalog.refresh(*old))
            self._failures = 0
        except Exception as error:  # noqa: BLE001 - a background thread has no caller
            wait = min(FIRST_BACKOFF_SECONDS * 2**self._failures, LONGEST_BACKOFF_SECONDS)
            self._failures = min(self._failures + 1, 10)
            self.next_look = time.monotonic() + wait
            logger.debug("the list of models was not renewed, next try in %.0f s: %s", wait, error)


def on_this_machine(url: str) -> bool:
    """Whether a URL's host is this machine. The server behind a local port may change at any time."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified
