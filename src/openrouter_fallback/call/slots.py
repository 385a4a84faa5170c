"""The connection slots that one call holds: one for each request that it has sent and not ended.

A loop has `MAX_CONNECTIONS` slots for all calls of a client (`Runtime.connection_slots`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from ..errors import DeadlineExceededError
from ..http.protocol import MAX_CONNECTIONS


class ConnectionSlots:
    """Call `take` for the first request, `one_more` for each request beside it, `keep` when requests have ended.

    Another task may `close` the call while it waits for a slot: a slot that comes later is given back at once.
    """

    __slots__ = ("_all", "_closed", "_held")

    def __init__(self) -> None:
        self._all: asyncio.Semaphore | None = None
        self._closed = False
        self._held = 0

    @property
    def free(self) -> bool:
        """Whether a request may start beside those of the call."""
        return self._all is not None and not self._all.locked()

    async def take(self, slots: asyncio.Semaphore, seconds: float) -> None:
        """Take the first slot of `slots`. Raises `DeadlineExceededError` if none becomes free within `seconds`."""
        if slots.locked():
            try:
                async with asyncio.timeout(seconds):
                    await slots.acquire()
            except TimeoutError:
                raise DeadlineExceededError(
                    f"No connection slot within {seconds:.1f} s, the call's deadline: {MAX_CONNECTIONS} requests of "
                    "this client are under way. Make fewer calls at a time, or raise total_timeout=."
                ) from None
        else:
            await slots.acquire()
        self._all = slots
        self._got_one()

    async def take_again(self, seconds: float) -> None:
        """Take a slot after a wait without one. If none becomes free within `seconds`, the call goes on without."""
        slots = self._all
        if slots is not None:
            with suppress(TimeoutError):  # the machine sees that the deadline has passed
                async with asyncio.timeout(max(0.0, seconds) if slots.locked() else None):
                    await slots.acquire()
                    self._got_one()

    async def one_more(self) -> None:
        """Take the slot of a request beside those of the call."""
        if self._all is not None:
            await self._all.acquire()
            self._got_one()

    def _got_one(self) -> None:
        self._held += 1
        if self._closed:
            self.keep(0)
            raise RuntimeError("the call was closed while it waited")

    def keep(self, count: int) -> None:
        """Give back all slots but `count`."""
        while self._all is not None and self._held > count:
            self._all.release()
            self._held -= 1

    def close(self) -> None:
        """The call is over: give back all slots."""
        self._closed = True
        self.keep(0)

    def hand_over(self) -> Callable[[], None]:
        """Hand the slot of a request over to a task that outlives the call. Returns the function that gives it back."""
        self._held -= 1
        return _nothing if self._all is None else self._all.release


def _nothing() -> None: ...
