"""Attempts side by side: each reads in a task of its own until its first token."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from typing import Any

from .exchange import Reading


class Flights:
    """The attempts of one call that are waiting for their first token."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Reading] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks)

    @property
    def readings(self) -> list[Reading]:
        """Those under way, in the order of their start."""
        return list(self._tasks.values())

    def start(self, reading: Reading, sending: Coroutine[Any, Any, None]) -> None:
        """Let `reading` read by itself."""
        self._tasks[asyncio.get_running_loop().create_task(sending)] = reading

    async def landed(self, seconds: float | None) -> list[Reading]:
        """Those that have their first token or have ended, the first of them awaited; none after `seconds`."""
        done, _ = await asyncio.wait(self._tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        landed = []
        for task in [task for task in self._tasks if task in done]:
            landed.append(self._tasks.pop(task))
            task.result()
        return landed

    async def close(self) -> list[Reading]:
        """Break off all that are still under way and close their connections; returns them."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            await _aclose(tasks.values())
        return list(tasks.values())


async def _aclose(readings: Iterable[Reading]) -> None:
    for reading in readings:
        await reading.aclose()
