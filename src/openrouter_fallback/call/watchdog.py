"""One timer for one attempt: it wakes a task that waits too long for bytes.

The hot path only records the time of a token. When the timer fires it calls `due`, and sleeps again if `due` is later
now, so a chunk needs no timer. A timer that fires late (a blocked loop) first lets the loop read the arrived bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

SECOND_LOOKS = 8
"""Turns of the loop granted to arrived bytes: socket, TLS, HTTP and the task need one or two each."""


class Watchdog:
    """Guards the reads of one attempt. `due` returns the time (of `loop.time`) at which the wait ends.

    `look` is called before a task is woken. It returns whether arrived bytes are decoded first, in another task, which
    then calls `again`.
    """

    __slots__ = ("_base", "_due", "_handle", "_look", "_looks", "_loop", "_task", "moved", "rung")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, due: Callable[[], float], look: Callable[[], bool] = lambda: False
    ) -> None:
        self._loop = loop
        self._due = due
        self._look = look
        self._task: asyncio.Task[object] | None = None
        self._base = 0
        self._handle: asyncio.Handle | None = None
        self._looks = 0
        self.moved = True
        """Whether `due` may be earlier now: the next wait calls `due`."""
        self.rung = False

    def watch(self) -> None:
        """Guard the current task, which is about to wait."""
        self._task = task = asyncio.current_task(self._loop)
        self._base = task.cancelling() if task is not None else 0
        if self.moved or self._handle is None:
            self.again()

    def rest(self) -> None:
        """The task has stopped waiting (the consumer holds a piece, or the attempt is over)."""
        self._task = None

    def again(self) -> None:
        """Call `due` now."""
        self.moved = False
        if self._handle is not None:
            self._handle.cancel()
        self._looks = 0
        self._handle = self._loop.call_at(self._due(), self._ring)

    def stop(self) -> None:
        """Stop the timer."""
        self._task = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def took(self) -> bool:
        """Whether the cancellation that has just arrived comes from this watchdog alone."""
        task = asyncio.current_task(self._loop)
        if not self.rung or task is None:
            return False
        self.rung = False
        return task.uncancel() <= self._base

    def _ring(self) -> None:
        self._handle = None
        if self._task is None:
            return
        due = self._due()
        if due > self._loop.time():
            self._looks = 0
            self._handle = self._loop.call_at(due, self._ring)
        elif self._looks < SECOND_LOOKS:
            self._looks += 1
            self._handle = self._loop.call_soon(self._ring)
        elif not self._look():
            self.rung = True
            self._task.cancel()
            self._task = None
