"""One timer for one attempt: it wakes a task that waits too long for bytes.

The hot path only notes when a token came. The timer asks `due` when it fires and sleeps again if that has moved on, so
a chunk costs no timer of its own. A timer that fires late (a blocked loop) first lets the loop read what has arrived.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_SECOND_LOOKS = 8
"""Turns of the loop given to bytes that have arrived: socket, TLS, HTTP and the task take one or two each."""


class Watchdog:
    """Guards the reads of one attempt. `due` returns the time (of `loop.time`) at which waiting ends.

    `look` is called before a task is woken: it returns whether bytes that have arrived are decoded first, in a task of
    their own; after that comes `again`.
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
        """Whether `due` may have become earlier: it is asked when a task waits."""
        self.rung = False

    def watch(self) -> None:
        """The current task is about to wait."""
        self._task = task = asyncio.current_task()
        self._base = task.cancelling() if task is not None else 0
        if self.moved or self._handle is None:
            self.again()

    def rest(self) -> None:
        """The task has stopped waiting (the consumer holds a piece, or the attempt is over)."""
        self._task = None

    def again(self) -> None:
        """Ask `due` now."""
        self.moved = False
        if self._handle is not None:
            self._handle.cancel()
        self._looks = 0
        self._handle = self._loop.call_at(self._due(), self._ring)

    def stop(self) -> None:
        """No more."""
        self._task = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def took(self) -> bool:
        """Whether the cancellation that has just arrived is this alarm's own and no one else's."""
        task = asyncio.current_task()
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
        elif self._looks < _SECOND_LOOKS:
            self._looks += 1
            self._handle = self._loop.call_soon(self._ring)
        elif not self._look():
            self.rung = True
            self._task.cancel()
            self._task = None
