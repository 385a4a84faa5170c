"""Attempts side by side: each reads its next event in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from typing import Any

from ..answer.decoder import Ended, FirstToken
from .attempt import AttemptReader
from .steps import Event

Tell = Callable[[int, Event], bool]
"""May handle an attempt's event in the attempt's task. If it returns True, the caller's task is not woken."""


class Race:
    """The active attempts of one call, by number. `close` closes all that are left.

    `next` waits for an event of any attempt, each in its own task. A single attempt (`alone`) can be read in the
    caller's task. An attempt stays until the driver takes, detaches or closes it, also after it was overtaken.
    """

    __slots__ = ("_readers", "_tasks", "alone")

    def __init__(self) -> None:
        self._readers: dict[int, AttemptReader] = {}
        self._tasks: dict[int, asyncio.Task[Event]] = {}
        self.alone: AttemptReader | None = None
        """The only attempt, if it can be read without its own task."""

    def __len__(self) -> int:
        return len(self._readers)

    @property
    def readers(self) -> list[AttemptReader]:
        """All attempts in the order of their start."""
        return list(self._readers.values())

    def _count(self) -> None:
        alone = len(self._readers) == 1 and not self._tasks
        self.alone = next(iter(self._readers.values())) if alone else None

    def start(self, number: int, reader: AttemptReader) -> None:
        """Add an attempt; it sends its request when it is first read."""
        self._readers[number] = reader
        self._count()

    def __getitem__(self, number: int) -> AttemptReader:
        return self._readers[number]

    async def next(
        self, tell: Tell, seconds: float | None = None, until: asyncio.Task[None] | None = None
    ) -> tuple[int, Event] | None:
        """The next event of any attempt that `tell` does not handle; None after `seconds`, or once `until` is done.

        An event that shows an answer comes before a failure.
        """
        readers, tasks = self._readers, self._tasks
        loop = asyncio.get_running_loop()
        for number, reader in readers.items():
            if number not in tasks:
                tasks[number] = loop.create_task(_read(number, reader, tell))
        self.alone = None
        watched = tasks.values() if until is None else (*tasks.values(), until)
        await _first(loop, watched, seconds)
        done = [number for number, task in tasks.items() if task.done()]
        if not done:
            return None
        number = next((number for number in done if _answers(tasks[number])), done[0])
        event = tasks.pop(number).result()
        self._count()
        return number, event

    def take(self, number: int) -> AttemptReader:
        """Remove an attempt; the caller closes the attempt."""
        reader = self._readers.pop(number)
        self._count()
        return reader

    def detach(self, number: int) -> tuple[AttemptReader, asyncio.Task[Event] | None]:
        """Remove an attempt that is read elsewhere; returns the attempt and the task of its next event, if any."""
        pending = self._tasks.pop(number, None)
        return self.take(number), pending

    async def close(self, *numbers: int) -> None:
        """Cancel these attempts, or all, and close their connections."""
        gone = numbers or tuple(self._readers)
        readers = [self._readers.pop(number) for number in gone if number in self._readers]
        tasks = [self._tasks.pop(number) for number in gone if number in self._tasks]
        self._count()
        for task in tasks:
            task.cancel()
        async with AsyncExitStack() as closing:  # closes each one, even if another one raises
            for reader in reversed(readers):
                closing.push_async_callback(reader.aclose)
            if tasks:
                await asyncio.wait(tasks)


async def _read(number: int, reader: AttemptReader, tell: Tell) -> Event:
    """The next event that `tell` does not handle."""
    while tell(number, event := await reader.next()):
        pass
    return event


def _answers(task: asyncio.Task[Event]) -> bool:
    """Whether the task's event shows that a model answers."""
    if task.cancelled() or task.exception() is not None:
        return False
    event = task.result()
    return isinstance(event, FirstToken) or (isinstance(event, Ended) and event.completion is not None)


async def _first(loop: asyncio.AbstractEventLoop, tasks: Iterable[asyncio.Task[Any]], seconds: float | None) -> None:
    """Wait for the first task, at most `seconds`. Cheaper for a healthy call than `asyncio.wait`."""
    if any(task.done() for task in tasks):
        return
    waiting: asyncio.Future[None] = loop.create_future()

    def wake(_: object = None) -> None:
        if not waiting.done():
            waiting.set_result(None)

    watched = list(tasks)
    timer = None if seconds is None else loop.call_later(seconds, wake)
    for task in watched:
        task.add_done_callback(wake)
    try:
        await waiting
    finally:
        if timer is not None:
            timer.cancel()
        for task in watched:
            task.remove_done_callback(wake)
