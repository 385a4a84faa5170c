"""A model's breaker in a fleet: its probe needs a lease, and its changes of state are sent to the other processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

from ..breaker import Breaker, BreakerPermit, Rules

UNEASY_SECONDS = 2.0
"""Seconds after a failure, while the circuit is still closed, in which a process exchanges every `SOON_SECONDS`."""
LEASE_SECONDS = 20.0
"""How long a lease holds after its request; each exchange renews it while the probe is under way."""
LONGEST_REFUSED_SECONDS = 60.0
"""A lease that is refused for longer belongs to no living process: this process probes without it."""
NEVER = -math.inf
"""The time of what has not happened."""


class Fleet(Protocol):
    """What a breaker needs of the fleet (`SharedHealth`)."""

    in_step_until: float
    """The clock's time until which this process is in step with the fleet."""
    hurry: Callable[[], None]
    """Requests an exchange soon. Called with the lock held, from any thread."""


class SharedBreaker(Breaker):
    """A breaker whose probe needs a lease. Records which of its changes the other processes know."""

    __slots__ = (
        "answered",
        "ask_at",
        "fleet",
        "leased_until",
        "opened_at",
        "rebase",
        "refused_since",
        "scope",
        "telling",
        "told",
    )

    def __init__(self, rules: Rules, jitter: Callable[[], float], scope: str, fleet: Fleet) -> None:
        super().__init__(rules, jitter)
        self.scope = scope
        self.fleet = fleet
        self.answered = self.opened_at = self.ask_at = self.leased_until = NEVER
        self.refused_since: float | None = None
        self.rebase = False
        self.told = (0, 0, 0)
        """What the other processes know: the epoch, all successes, all failures."""
        self.telling = 0

    def admits(self, now: float) -> bool:
        if self.open_until is None:
            return True
        return super().admits(now) and (self.open_until is None or self._leased(now))

    def unleased(self, now: float) -> bool:
        """Whether only the lease keeps an attempt from starting, and the lease may be requested now."""
        return now >= self.ask_at and super().admits(now) and self.open_until is not None and not self._leased(now)

    def leased(self, granted: bool, now: float) -> None:
        """Take the store's answer to the request for the lease."""
        if not granted:
            self.refused_since = now if self.refused_since is None else self.refused_since
            granted = now - self.refused_since >= LONGEST_REFUSED_SECONDS
        if granted:
            self.refused_since, self.leased_until = None, now + LEASE_SECONDS

    def _leased(self, now: float) -> bool:
        return now < self.leased_until or now >= self.fleet.in_step_until

    def success(self, held: BreakerPermit, now: float) -> None:
        self.answered = max(self.answered, held.began)
        super().success(held, now)

    def failure(
        self, held: BreakerPermit, now: float, *, open_for: float | None = None, counts: bool = True, why: str = ""
    ) -> bool:
        opened = super().failure(held, now, open_for=open_for, counts=counts, why=why)
        if self.uneasy(now):
            self.fleet.hurry()
        return opened

    def uneasy(self, now: float) -> bool:
        """Whether the breaker has an unsent change of state, or a call of this process has failed within 2 s."""
        if self.open_until is not None:
            return self.told[0] != self.epoch
        at = self._event_at
        return self.failures_in_a_row > 0 and at is not None and now - at <= UNEASY_SECONDS

    def close(self, now: float | None = None) -> None:
        super().close(now)
        self.rebase, self.refused_since = True, None
        if now is not None:  # an answer in this process closed it, not another process's event
            self.fleet.hurry()

    def _open(self, now: float, seconds: float) -> None:
        super()._open(now, seconds)
        self.opened_at, self.refused_since = now, None

    def follow(self, until: float, trips: int, why: str) -> None:
        """Open the breaker, since another process has opened its own."""
        if self.open_until is None:
            self._why = why
            super()._open(until, 0.0)
        else:
            self.open_until = max(self.open_until, until)
        self.refused_since = None
        self.trips = max(self.trips, trips)
