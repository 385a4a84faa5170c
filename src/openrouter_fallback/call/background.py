"""The tasks of a client that no call waits for: overtaken probes that run on, and requests for the lease of a probe.

They end with their client or their event loop at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Background:
    """The tasks of one client."""

    __slots__ = ("_tasks",)

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], Callable[[], None]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(self, work: Coroutine[Any, Any, None], forsake: Callable[[], None] = lambda: None) -> asyncio.Task[None]:
        """Run `work` on the running loop until it ends, or until `aclose` on that loop.

        `forsake` releases what `work` holds if the loop was closed before `work` could.
        """
        task = asyncio.get_running_loop().create_task(work)
        # A loop that is closed without cancelling its tasks would log a warning about this task.
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        self._tasks[task] = forsake
        task.add_done_callback(lambda task: self._tasks.pop(task, None))
        return task

    async def done(self) -> None:
        """Wait for the tasks of the running loop."""
        loop = asyncio.get_running_loop()
        if tasks := [task for task in list(self._tasks) if task.get_loop() is loop]:
            await asyncio.wait(tasks)

    def forsake(self) -> None:
        """Release what the tasks of closed loops held."""
        for task in [task for task in list(self._tasks) if task.get_loop().is_closed()]:
            self._tasks.pop(task, lambda: None)()

    async def aclose(self) -> None:
        """Cancel the tasks of the running loop, and wait until they have closed what they hold."""
        self.forsake()
        loop = asyncio.get_running_loop()
        tasks = [task for task in list(self._tasks) if task.get_loop() is loop]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
