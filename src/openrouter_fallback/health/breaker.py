"""A circuit breaker: closed, open, half-open with one probe. Plain data and time as an argument; no locks, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .window import Window

FIRST_OPEN_SECONDS = 10.0
PROBE_SETTLES_SECONDS = 5.0
_JITTER = 0.2
_MOST_DOUBLINGS = 40


class State(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a breaker opens and for how long (seconds)."""

    window_seconds: float = 600.0
    min_samples: int = 3
    skip_threshold: float = 0.3
    longest_open: float = 300.0


class BreakerPermit:
    """One attempt's admission: when it began, and what the breaker looked like then."""

    __slots__ = ("began", "epoch", "failed_at", "forced", "probe")

    def __init__(self, began: float, epoch: int, *, probe: bool, forced: bool) -> None:
        self.began = began
        self.epoch = epoch
        self.probe = probe
        self.forced = forced
        self.failed_at: float | None = None


class Breaker:
    """The health of one model or endpoint.

    An attempt that began before the last change of state carries an older epoch and counts in the window only. A
    forced attempt (all candidates were left out) takes no probe slot: its failure changes nothing, its success closes.
    """

    __slots__ = (
        "_jitter",
        "_probe",
        "_probe_token_at",
        "epoch",
        "failures_in_a_row",
        "forced",
        "open_until",
        "reason",
        "rules",
        "trips",
        "window",
    )

    def __init__(self, rules: Rules, jitter: Callable[[], float]) -> None:
        self.rules = rules
        self.window = Window(rules.window_seconds)
        self._jitter = jitter
        self.epoch = 0
        self.failures_in_a_row = 0
        self.trips = 0
        self.forced = 0
        self.open_until: float | None = None
        self.reason = ""
        self._probe: BreakerPermit | None = None
        self._probe_token_at: float | None = None

    def state(self, now: float) -> State:
        """The state at `now`; a probe that has been answering for five seconds counts as a success."""
        if self.open_until is None:
            return State.CLOSED
        if self._probe_token_at is not None and now - self._probe_token_at >= PROBE_SETTLES_SECONDS:
            self.close()
            return State.CLOSED
        return State.OPEN if now < self.open_until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether an attempt may begin unforced: closed, or half-open with the probe's slot free."""
        if self.open_until is None:
            return True
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and self._probe is None)

    def begin(self, now: float, *, forced: bool = False) -> BreakerPermit:
        """Admit one attempt; half-open and not forced, it takes the probe's slot."""
        state = self.state(now)
        probe, forced = state is State.HALF_OPEN and not forced, forced and state is not State.CLOSED
        held = BreakerPermit(now, self.epoch, probe=probe, forced=forced)
        if held.probe:
            self._probe, self._probe_token_at = held, None
        if held.forced:
            self.forced += 1
        return held

    def first_token(self, held: BreakerPermit, now: float) -> None:
        """The attempt has produced its first token."""
        if held is self._probe:
            self._probe_token_at = now

    def success(self, held: BreakerPermit, now: float) -> None:
        """The attempt's call was answered through this breaker's model."""
        state = self.state(now)
        if held.failed_at is not None:
            self.window.amend(held.failed_at, now)
            held.failed_at = None
        else:
            self.window.good(now)
        if held.epoch != self.epoch:
            return
        self.failures_in_a_row = 0
        if state is not State.CLOSED and (held.probe or held.forced):
            self.close()

    def failure(self, held: BreakerPermit, now: float, *, open_for: float | None = None, counts: bool = True) -> bool:
        """The attempt's call failed here; returns whether the breaker opened.

        `open_for`: open at once, that long; `counts`: whether it is a failure in the window too.
        """
        state = self.state(now)
        if held.forced and held.epoch == self.epoch and state is not State.CLOSED:
            return False
        if held.epoch == self.epoch and held.probe:
            self.trips = min(self.trips + 1, _MOST_DOUBLINGS)
            longer = min(FIRST_OPEN_SECONDS * 2**self.trips, self.rules.longest_open) * self._spread()
            self._open(now, longer if open_for is None else open_for)
            return True
        again = held.failed_at is not None
        if counts and not again:
            self._count_bad(held, now)
        if held.epoch != self.epoch:
            # Counted, but an attempt from before the last change cannot change the state again.
            return False
        if open_for is not None:
            self._open(now, open_for)
            return True
        if again:
            return False
        self.failures_in_a_row += 1
        good, bad = self.window.counts(now)
        low = good + bad >= self.rules.min_samples and good < self.rules.skip_threshold * (good + bad)
        if self.failures_in_a_row >= self.rules.min_samples or low:
            self._open(now, min(FIRST_OPEN_SECONDS, self.rules.longest_open) * self._spread())
            return True
        return False

    def release(self, held: BreakerPermit) -> None:
        """Any other end: a probe gives its slot back, nothing is counted."""
        self._release(held)

    def close(self) -> None:
        """Closed, with an empty window."""
        self.epoch += 1
        self.failures_in_a_row = self.trips = self.forced = 0
        self.open_until = self._probe = self._probe_token_at = None
        self.reason = ""
        self.window.clear()

    def _open(self, now: float, seconds: float) -> None:
        self.epoch += 1
        self.failures_in_a_row = self.forced = 0
        self.open_until = now + seconds
        self._probe = self._probe_token_at = None

    def _count_bad(self, held: BreakerPermit, now: float) -> None:
        self.window.bad(now)
        held.failed_at = now

    def _release(self, held: BreakerPermit) -> None:
        if held is self._probe:
            self._probe = self._probe_token_at = None

    def _spread(self) -> float:
        return 1.0 - _JITTER * self._jitter()
