"""What cut attempts have cost, as OpenRouter tells it afterwards. Beside the calls: none waits for it.

An attempt that was cut, overtaken or left reports no cost, so under a spend limit an estimate is booked for it. A task
in the portal's loop asks `GET /generation` for the generation a while later and books the difference. Where there is no
answer the estimate stays.
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
"""When a generation is asked for, from the last look or the cut; the record is there some seconds after its end."""
MOST_LOOKS = 64
"""Generations that are asked for at a time in one client; of more the estimates stay."""
_GENERATION_ID = re.compile(r"gen-[A-Za-z0-9_-]{1,120}")

Fetch = Callable[[Destination], Awaitable[Decimal | None]]
Spawn = Callable[[Coroutine[Any, Any, None]], "Future[None] | None"]


def spawned(work: Coroutine[Any, Any, None]) -> Future[None] | None:
    """Run it in the portal's loop; None where there is no loop to be had any more."""
    held = portal_at_hand()
    if held is not None:
        with suppress(RuntimeError):  # the interpreter is ending
            return asyncio.run_coroutine_threadsafe(work, held.loop)
    work.close()
    return None


class Bills:
    """The generations of one client that are asked for. `fetch` gives the USD of one, None where they are not told."""

    def __init__(
        self, fetch: Fetch, spawn: Spawn = spawned, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    ) -> None:
        self.fetch = fetch
        self._spawn = spawn
        self._sleep = sleep
        self._pending: set[Future[None]] = set()
        self._process = os.getpid()

    def look_up(self, wire: Destination, generation: str | None, booking: Booking) -> None:
        """Ask for a generation by and by, and correct its booking. `wire`: where its request went. Raises nothing."""
        if self._process != os.getpid():  # those of a parent process
            self._pending, self._process = set(), os.getpid()
        if generation is None or not _GENERATION_ID.fullmatch(generation) or len(self._pending) >= MOST_LOOKS:
            return
        looks = self._spawn(_look(weakref.ref(self), wire.generation(generation), booking, self._sleep))
        if looks is not None:
            self._pending.add(looks)
            looks.add_done_callback(self._pending.discard)

    def close(self) -> None:
        """Ask for nothing more; the estimates stay."""
        for looks in list(self._pending):
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
