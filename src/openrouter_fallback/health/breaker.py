"""A circuit breaker: closed, open, half-open with one probe. Plain data and time as an argument; no locks, no clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from .window import Window

OPEN_SECONDS = 10.0
"""Seconds from the opening of a circuit to its first probe, less a random part of up to a fifth."""
PROBE_SECONDS = 25.0
"""Seconds from the start of one probe to the start of the next, less a random part of up to a fifth."""
PROBE_SETTLES_SECONDS = 5.0
SAME_EVENT_SECONDS = 1.0
"""Failures within so many seconds of a first one are one event, if their attempts were under way at the first."""
SLOW_START_SECONDS = 10.0
"""Seconds after its closing in which a circuit admits only a share of the calls, while another model is ready."""
SLOW_START_ATTEMPTS = 2
JITTER = 0.2
_MOST_TRIPS = 40


class State(StrEnum):
    """The state of a circuit breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class Rules:
    """When a breaker opens and for how long (seconds). `longest_open` bounds every opening."""

    window_seconds: float = 600.0
    min_samples: int = 3
    skip_threshold: float = 0.3
    longest_open: float = 300.0


class BreakerPermit:
    """The admission of one attempt: its start, and the breaker's epoch at that time."""

    __slots__ = ("began", "ended", "epoch", "failed_at", "forced", "probe")

    def __init__(self, began: float, epoch: int, *, probe: bool, forced: bool) -> None:
        self.began = began
        self.epoch = epoch
        self.probe = probe
        self.forced = forced
        self.failed_at: float | None = None
        self.ended = False


def _unheard(state: State, cause: str, at: float | None) -> None:
    """The report of a breaker whose changes are not watched."""


class Breaker:
    """The health of one model or endpoint.

    Failures of one event count once: if an attempt fails within a second of another failure, and was under way then,
    its failure counts in the window but not in the row of failures. So a reset of all connections opens no circuit.

    An attempt that began before the last change of state has an older epoch and counts in the window only. A forced
    attempt (all circuits were open) takes no probe slot: its failure changes nothing, its success closes the circuit.

    A probe's slot is taken for 20 to 25 s from its begin, however it ends; only an end that says nothing of health
    (a rate limit, a caller that leaves soon) gives it back.

    `report` is called at each change of state: the new one, what opened the circuit, the time if it is known.
    """

    __slots__ = (
        "_event_at",
        "_jitter",
        "_probe",
        "_probe_token_at",
        "_probe_until",
        "_repeats",
        "_why",
        "alone",
        "closed_at",
        "epoch",
        "failures_in_a_row",
        "forced",
        "in_flight",
        "open_until",
        "reason",
        "report",
        "rules",
        "trips",
        "window",
    )

    def __init__(self, rules: Rules, jitter: Callable[[], float]) -> None:
        self.rules = rules
        self.window = Window(rules.window_seconds)
        self._jitter = jitter
        self._event_at: float | None = None
        self._repeats = Window(rules.window_seconds)
        self.epoch = 0
        self.failures_in_a_row = 0
        self.trips = 0
        self.forced = 0
        self.in_flight = 0
        self.open_until: float | None = None
        self.closed_at: float | None = None
        self.reason = self._why = ""
        self.report: Callable[[State, str, float | None], object] = _unheard
        self.alone = False
        """Whether the last probe was overtaken and closed without a verdict: the next probe runs alone."""
        self._probe: BreakerPermit | None = None
        self._probe_token_at: float | None = None
        self._probe_until = 0.0

    def state(self, now: float) -> State:
        """The state at `now`; a probe that has been answering for five seconds counts as a success."""
        if self.open_until is None:
            return State.CLOSED
        if self._probe_token_at is not None and now - self._probe_token_at >= PROBE_SETTLES_SECONDS:
            self.close(now)
            return State.CLOSED
        return State.OPEN if now < self.open_until else State.HALF_OPEN

    def admits(self, now: float) -> bool:
        """Whether an unforced attempt may begin: the circuit is closed, or half-open with a free probe slot."""
        if self.open_until is None:
            return True
        state = self.state(now)
        return state is State.CLOSED or (state is State.HALF_OPEN and not self.probe_holds(now))

    @property
    def probe(self) -> BreakerPermit | None:
        """The permit of the probe that has taken the slot."""
        return self._probe

    def probe_holds(self, now: float) -> bool:
        """Whether the probe slot is taken."""
        return self._probe is not None and now < self._probe_until

    def holds_back(self, now: float, chance: float) -> bool:
        """Whether a call should go to another ready model, since this circuit has closed within the last 10 s.

        `chance` is a random number of the call, in [0, 1).
        """
        if self.closed_at is None:  # the common case
            return False
        share = (now - self.closed_at) / SLOW_START_SECONDS
        if share >= 1.0:
            self.closed_at = None
            return False
        return self.in_flight >= SLOW_START_ATTEMPTS and chance >= share * share

    def begin(self, now: float, *, forced: bool = False) -> BreakerPermit:
        """Admit one attempt. In a half-open breaker an attempt that is not `forced` takes the probe slot."""
        state = self.state(now)
        probe, forced = state is State.HALF_OPEN and not forced, forced and state is not State.CLOSED
        held = BreakerPermit(now, self.epoch, probe=probe, forced=forced)
        self.in_flight += 1
        if held.probe:
            self._probe, self._probe_token_at = held, None
            self._probe_until = now + self._probe_seconds()
            self.report(State.HALF_OPEN, self.reason, now)
        if held.forced:
            self.forced += 1
        return held

    def first_token(self, held: BreakerPermit, now: float) -> None:
        """The attempt has produced its first token."""
        if held is self._probe:
            self._probe_token_at = now

    def success(self, held: BreakerPermit, now: float) -> None:
        """Count a success; it replaces a failure of the same call. A probe's or forced success closes the circuit."""
        state = self.state(now)
        self.end(held)
        if held.failed_at is not None:
            self.window.amend(held.failed_at, now)
            held.failed_at = None
        else:
            self.window.good(now)
        if held.epoch != self.epoch:
            return
        self.failures_in_a_row = 0
        if state is not State.CLOSED and (held.probe or held.forced):
            self.close(now)

    def failure(
        self, held: BreakerPermit, now: float, *, open_for: float | None = None, counts: bool = True, why: str = ""
    ) -> bool:
        """The attempt's call failed here; returns whether the breaker opened.

        `open_for`: open at once, that long; `counts`: whether it is a failure in the window too; `why`: its kind.
        """
        self._why = why
        state = self.state(now)
        self.end(held)
        if held.forced and held.epoch == self.epoch and state is not State.CLOSED:
            return False
        if held.epoch == self.epoch and held.probe and held is not self._probe and self._probe is not None:
            return False  # a later probe has the slot: its outcome decides
        if held.epoch == self.epoch and held.probe:
            self.trips = min(self.trips + 1, _MOST_TRIPS)
            self._open(now, max(0.0, self._probe_until - now) if open_for is None else open_for)
            return True
        again = held.failed_at is not None
        if counts and not again:
            self._count_bad(held, now)
        if held.epoch != self.epoch:
            # An attempt from before the last change of state counts, but cannot change the state again.
            return False
        if open_for is not None:
            self._open(now, open_for)
            return True
        if again:
            return False
        if self._same_event(held, now):
            if counts:
                self._repeats.bad(now)
            return False
        self._event_at = now
        self.failures_in_a_row += 1
        if self.failures_in_a_row >= self.rules.min_samples or self._too_low(now):
            self._open(now, min(OPEN_SECONDS, self.rules.longest_open) * self._spread())
            return True
        return False

    def release(self, held: BreakerPermit) -> None:
        """End the attempt without an outcome: nothing is counted, and a probe gives its slot back."""
        self.end(held)
        if held is self._probe:
            self._probe = self._probe_token_at = None

    def end(self, held: BreakerPermit) -> None:
        """End the attempt. A probe keeps its slot."""
        if not held.ended:
            held.ended = True
            self.in_flight -= 1

    def close(self, now: float | None = None) -> None:
        """Closed, with an empty window. `now`: by an answer; the circuit starts slowly."""
        if self.open_until is not None:
            self.report(State.CLOSED, self.reason, now)
        self.epoch += 1
        self.alone = False
        self.failures_in_a_row = self.trips = self.forced = 0
        self.open_until = self._probe = self._probe_token_at = None
        self.closed_at = now
        self.reason = ""
        self.window.clear()
        self._repeats.clear()

    def _open(self, now: float, seconds: float) -> None:
        self.epoch += 1
        self.alone = False
        self.failures_in_a_row = self.forced = 0
        self.open_until = now + seconds
        self.reason = self._why
        self._probe = self._probe_token_at = self.closed_at = None
        self.report(State.OPEN, self.reason, now)

    def _same_event(self, held: BreakerPermit, now: float) -> bool:
        """Whether the attempt was under way at the last failure in the row, at most a second ago."""
        at = self._event_at
        return at is not None and held.began < at and now - at <= SAME_EVENT_SECONDS

    def _too_low(self, now: float) -> bool:
        """Whether the success rate is below the threshold. All failures of one event count as one."""
        good, bad = self.window.counts(now)
        events = good + max(0, bad - self._repeats.counts(now)[1])
        return events >= self.rules.min_samples and good < self.rules.skip_threshold * events

    def _count_bad(self, held: BreakerPermit, now: float) -> None:
        self.window.bad(now)
        held.failed_at = now

    def _probe_seconds(self) -> float:
        return min(PROBE_SECONDS, self.rules.longest_open) * self._spread()

    def _spread(self) -> float:
        return 1.0 - JITTER * self._jitter()
