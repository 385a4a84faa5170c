"""An overtaken probe that runs on without its call, with its connection slot and its reserved cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ..answer.decoder import Ended, FirstToken
from ..decision.detached import DetachedProbe
from .attempt import AttemptReader
from .costs import CallCosts
from .steps import OVERTAKEN, Event, OutOfTime, ResponseStarted
from .summary import cost_of


class DetachedAttempt:
    """Reads a detached probe until its verdict, then closes and settles it. The next call reports the outcome.

    `pending`: the task of its next event, if one was under way; `give_back` gives back its connection slot.
    """

    __slots__ = ("_clock", "_costs", "_give_back", "_pending", "_probe", "_reader")

    def __init__(
        self,
        probe: DetachedProbe,
        reader: AttemptReader,
        pending: asyncio.Task[Event] | None,
        costs: CallCosts,
        give_back: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self._probe = probe
        self._reader = reader
        self._pending = pending
        self._costs = costs
        self._give_back = give_back
        self._clock = clock

    async def run(self) -> None:
        """Read events until the probe's verdict."""
        probe, clock = self._probe, self._clock
        try:
            try:
                async with asyncio.timeout(max(0.0, probe.until - clock())):
                    while not probe.over:
                        pending, self._pending = self._pending, None
                        self._tell(await (self._reader.next() if pending is None else pending))
            except TimeoutError:
                probe.expired(clock())
        except GeneratorExit:  # the loop is gone: nothing can be awaited
            self.forsake()
            raise
        except BaseException:
            probe.dropped()
            await self._close()
            raise
        await self._close()

    def forsake(self) -> None:
        """The loop was closed before the verdict: release what the attempt holds."""
        self._probe.dropped()
        self._settle()

    async def _close(self) -> None:
        try:
            await self._reader.aclose()
        finally:
            self._settle()

    def _settle(self) -> None:
        number, reader = self._probe.number, self._reader
        if self._costs.attach(number):
            self._costs.settle(number, reader, reader.failure or OVERTAKEN, self._clock(), *cost_of(reader))
            self._give_back()

    def _tell(self, event: Event) -> None:
        probe, now = self._probe, self._clock()
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
