"""An event loop in virtual time. If no task is ready, its clock moves to the next timer instead of waiting."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")

START = 1000.0
"""The clock's time at second 0 of every world."""


class Stuck(RuntimeError):
    """No task is ready and no timer is set, so the tasks would wait forever."""


class VirtualLoop(asyncio.BaseEventLoop):
    """An asyncio event loop without sockets. `time()` is virtual, and advances only when the loop would sleep."""

    def __init__(self) -> None:
        super().__init__()
        self._now = START
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Advance the clock to the next timer, in place of a selector's sleep."""
        if timeout is None:
            raise Stuck("every task waits, and no timer is set")
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0]._when)  # type: ignore[attr-defined]
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Does nothing: there are no events."""

    def _write_to_self(self) -> None:
        """Does nothing: the loop never sleeps."""


@contextmanager
def virtual_clock(loop: VirtualLoop) -> Iterator[None]:
    """Make `time.monotonic` return the loop's time, for libraries that read the clock themselves."""
    real = time.monotonic
    time.monotonic = loop.time
    try:
        yield
    finally:
        time.monotonic = real


def run(make: Callable[[VirtualLoop], Coroutine[Any, Any, T]]) -> T:
    """Run a coroutine to its end in virtual time, on a new loop."""
    loop = VirtualLoop()
    with virtual_clock(loop):
        try:
            return loop.run_until_complete(make(loop))
        finally:
            try:
                _cancel_rest(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
            finally:
                loop.close()


def _cancel_rest(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
