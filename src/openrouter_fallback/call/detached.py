"""Work that outlives its call: overtaken probes that run on, and requests for the lease of a probe.

The work ends with its client or its event loop at the latest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from ..answer.decoder import Ended, FirstToken
from ..decision.detached import DetachedProbe
from ..events import BreakerOpened
from .attempt import AttemptReader
from .log import log
from .steps import Event, OutOfTime, ResponseStarted


class Background:
    """The tasks of one client that no call waits for."""

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


async def run_on(
    number: int,
    probe: DetachedProbe,
    reading: AttemptReader,
    pending: asyncio.Task[Event] | None,
    clock: Callable[[], float],
    settle: Callable[[], None],
) -> None:
    """Read a detached probe of call `number` until its verdict, then close it and `settle` it."""
    try:
        try:
            async with asyncio.timeout(max(0.0, probe.until - clock())):
                while not probe.over:
                    event = await (reading.next() if pending is None else pending)
                    pending = None
                    _tell(probe, event, clock())
        except TimeoutError:
            probe.expired(clock())
    except GeneratorExit:  # the loop is gone: nothing can be awaited
        probe.dropped()
        settle()
        raise
    except BaseException:
        probe.dropped()
        await _close(reading, settle)
        raise
    for name in probe.opened:
        log(BreakerOpened(number, name))
    await _close(reading, settle)


async def _close(reading: AttemptReader, settle: Callable[[], None]) -> None:
    try:
        await reading.aclose()
    finally:
        settle()


def _tell(probe: DetachedProbe, event: Event, now: float) -> None:
    if isinstance(event, ResponseStarted):
        probe.reached(now)
    elif isinstance(event, FirstToken):
        probe.answered(now)
    elif isinstance(event, OutOfTime):
        probe.undecided()
    elif isinstance(event, Ended):
        if event.failure is None:
            probe.answered(now)
        else:
            probe.failed(event.failure, now)
