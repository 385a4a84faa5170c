"""The real costs of cut attempts, which OpenRouter reports later. Runs beside the calls: no call waits for them.

An attempt that was cut, overtaken or left reports no cost, so an estimate is booked under a spend limit. Later a task
in the portal's loop requests `GET /generation` and books the difference. Without an answer the estimate stays.
"""

from __future__ import annotations

import asyncio
import os
import re
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from decimal import Decimal
from typing import Any

from ..endpoints.destinations import Destination
from ..errors import CatalogError
from ..spending.ledger import Booking
from .portal import portal_at_hand

LOOK_AFTER_SECONDS = (2.0, 8.0, 20.0)
"""Seconds before each look-up, from the cut or the last look-up. A record appears some seconds after its end."""
MOST_LOOKS = 64
"""The most look-ups at a time in one client; beyond that, the estimates stay."""
_GENERATION_ID = re.compile(r"gen-[A-Za-z0-9_-]{1,120}")

Fetch = Callable[[Destination], Awaitable[Decimal | None]]
Spawn = Callable[[Coroutine[Any, Any, None]], "Future[None] | None"]


def spawned(work: Coroutine[Any, Any, None]) -> Future[None] | None:
    """Run `work` in the portal's loop; None if no loop is available any more."""
    held = portal_at_hand()
    if held is not None:
        with suppress(RuntimeError):  # the interpreter is ending
            return asyncio.run_coroutine_threadsafe(work, held.loop)
    work.close()
    return None


class Bills:
    """The look-ups of one client. `fetch` returns the USD of a generation, or None if they are not known."""

    def __init__(
        self, fetch: Fetch, spawn: Spawn = spawned, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self.fetch = fetch
        self._spawn = spawn
        self.sleep = sleep
        self.pending: set[Future[None]] = set()
        self._process = os.getpid()

    def look_up(self, wire: Destination, generation: str | None, booking: Booking) -> None:
        """Look up a generation's cost later, and correct its booking. `wire`: its destination. Raises nothing."""
        if self._process != os.getpid():  # a forked child: the look-ups are the parent's
            self.pending, self._process = set(), os.getpid()
        if generation is None or not _GENERATION_ID.fullmatch(generation) or len(self.pending) >= MOST_LOOKS:
            return
        looks = self._spawn(_look(weakref.ref(self), wire.generation(generation), booking, self.sleep))
        if looks is not None:
            self.pending.add(looks)
            looks.add_done_callback(self.pending.discard)

    def close(self) -> None:
        """Stop the look-ups; the estimates stay."""
        for looks in list(self.pending):
            looks.cancel()


async def _look(
    bills: weakref.ref[Bills], where: Destination, booking: Booking, sleep: Callable[[float], Awaitable[object]]
) -> None:
    for seconds in LOOK_AFTER_SECONDS:
        await sleep(seconds)
        held = bills()
        if held is None:  # the client is gone
            return
        with suppress(CatalogError):
            usd = await held.fetch(where)
            if usd is not None:
                booking.correct(usd)
                return
        del held
