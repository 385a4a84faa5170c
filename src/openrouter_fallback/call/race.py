"""Attempts side by side: each reads in a task of its own until its first token."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

from .attempt import AttemptReader


class Race:
    """The attempts of one call that are waiting for their first token, and those that have landed until they are taken.

    Whatever is in here, `close` closes.
    """

    __slots__ = ("_landed", "_tasks")

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], AttemptReader] = {}
        self._landed: list[AttemptReader] = []

    def __bool__(self) -> bool:
        return bool(self._tasks or self._landed)

    @property
    def readings(self) -> list[AttemptReader]:
        """All of them: those that have landed, then those under way in the order of their start."""
        return [*self._landed, *self._tasks.values()]

    def start(self, reading: AttemptReader, sending: Coroutine[Any, Any, None]) -> None:
        """Let `reading` read by itself."""
        self._tasks[asyncio.get_running_loop().create_task(sending)] = reading

    async def landed(self, seconds: float | None) -> list[AttemptReader]:
        """Those that have their first token or have ended, the first of them awaited; none after `seconds`."""
        if self._landed:
            return list(self._landed)
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in [task for task in self._tasks if task in done]:
            self._landed.append(self._tasks.pop(task))
            task.result()
        return list(self._landed)

    def take(self, reading: AttemptReader) -> None:
        """One that has landed is its taker's to close."""
        self._landed.remove(reading)

    async def close(self) -> None:
        """Break off all that are still under way and close all connections."""
        readings, tasks = self.readings, self._tasks
        self._landed, self._tasks = [], {}
        for task in tasks:
            task.cancel()
        async with AsyncExitStack() as closing:  # each is closed, whatever comes between
            for reading in reversed(readings):
                closing.push_async_callback(reading.aclose)
            if tasks:
                await asyncio.wait(tasks)
