"""A budget of requests: so many extra ones for each ordinary one, so that an outage is not multiplied."""

from __future__ import annotations

import math

from .window import Window

BUDGET_SECONDS = 10.0
BUDGET_FLOOR = 10
HEDGE_SECONDS = 60.0
HEDGE_FLOOR = 1


class Budget:
    """Extra requests may be `share` of the ordinary ones of the last `seconds`; with little traffic, `floor` of them.

    Where those came all at once, single ones are still allowed at the floor's pace, so that somebody finds out that an
    outage is over. A `share` of 0 allows none, None allows all.
    """

    __slots__ = ("_floor", "_pace", "_taken_at", "_window", "share")

    def __init__(self, share: float | None, *, seconds: float = BUDGET_SECONDS, floor: int = BUDGET_FLOOR) -> None:
        self.share = share
        self._floor = floor if share else 0
        self._pace = seconds / self._floor if self._floor else 0.0
        self._taken_at = -math.inf
        self._window = Window(seconds)

    def count(self, now: float) -> None:
        """An ordinary request."""
        self._window.good(now)

    def allows(self, now: float) -> bool:
        """Whether there is room for an extra request."""
        if self.share is None:
            return True
        ordinary, extra = self._window.counts(now)
        room = extra + 1 <= max(self._floor, self.share * ordinary)
        return room or (self._floor > 0 and now - self._taken_at >= self._pace)

    def take(self, now: float) -> None:
        """An extra request."""
        self._window.bad(now)
        self._taken_at = now
