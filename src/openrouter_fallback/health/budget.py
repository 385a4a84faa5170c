"""A budget of extra requests, in proportion to ordinary requests, so that retries do not multiply an outage."""

from __future__ import annotations

import math

from .window import Window

BUDGET_SECONDS = 10.0
BUDGET_FLOOR = 10
HEDGE_SECONDS = 60.0
HEDGE_FLOOR = 1


class Budget:
    """Allows `share` extra requests for each ordinary request of the last `seconds`, but at least `floor` of them.

    When these are used up, one more is still allowed every `seconds / floor`, so that the end of an outage is noticed.
    A `share` of 0 allows none, None allows all.
    """

    __slots__ = ("_floor", "_pace", "_taken_at", "_window", "share")

    def __init__(self, share: float | None, *, seconds: float = BUDGET_SECONDS, floor: int = BUDGET_FLOOR) -> None:
        self.share = share
        self._floor = floor if share else 0
        self._pace = seconds / self._floor if self._floor else 0.0
        self._taken_at = -math.inf
        self._window = Window(seconds)

    def count(self, now: float) -> None:
        """Count an ordinary request."""
        self._window.good(now)

    def allows(self, now: float) -> bool:
        """Whether the budget has room for an extra request."""
        if self.share is None:
            return True
        ordinary, extra = self._window.counts(now)
        room = extra + 1 <= max(self._floor, self.share * ordinary)
        return room or (self._floor > 0 and now - self._taken_at >= self._pace)

    def take(self, now: float) -> None:
        """Count an extra request."""
        self._window.bad(now)
        self._taken_at = now
