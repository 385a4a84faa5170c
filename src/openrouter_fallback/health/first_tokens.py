"""Times to first token of one model: how long it usually takes, and from when on a first token is overdue.

Not safe to use from several threads: `MemoryHealth` calls this with its lock held.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .window import Latencies

PATIENCE_SECONDS = 10.0
"""Seconds of silence that count as a time-out while a model has fewer than 100 first tokens."""
_PATIENCE_SAMPLES = 100
_USUAL_SAMPLES = 20
LEARNT_SECONDS = 3600.0
LEARNT_SAMPLES = 200
SHORTEST_LEARNT_SECONDS = 5.0
LEARNT_TIMES_P99 = 4.0
"""A learnt first-token deadline is 4 times the p99 of at least 200 first tokens of a class, none older than 1 h."""
_LEARN_AGAIN_SECONDS = 10.0


@dataclass(slots=True)
class _Pace:
    """Times to first token of one class of requests to a model. Slowness and prompt size make a class.

    `learnt`: the deadline in seconds that follows, computed at `learnt_at`; `token_at`: when the last first token came.
    """

    latencies: Latencies = field(default_factory=lambda: Latencies(LEARNT_SECONDS / 2))
    learnt: float | None = None
    learnt_at: float | None = None
    token_at: float | None = None


class FirstTokens:
    """The times to first token of one model, of all requests together and by class (`pace`)."""

    __slots__ = ("_all", "_paces")

    def __init__(self, window_seconds: float) -> None:
        self._all = Latencies(window_seconds)
        self._paces: dict[int, _Pace] = {}

    def record(self, pace: int, started: float, now: float, *, token: bool) -> bool:
        """Record the time from `started` to the first token, or (no `token`) to the end of the wait for it.

        Returns whether that was longer than the learnt deadline.
        """
        seen, waited = self._paces.get(pace), now - started
        if seen is None:
            seen = self._paces[pace] = _Pace()
        self._all.record(waited, now)
        seen.latencies.record(waited, now)
        if token:
            seen.token_at = now
        return seen.learnt is not None and waited > max(seen.learnt, SHORTEST_LEARNT_SECONDS)

    def quantile(self, share: float) -> float | None:
        """A quantile of the seconds to the first token; None without data."""
        return self._all.quantile(share)

    def usual(self, share: float) -> float | None:
        """As `quantile`, but None on fewer than 20 samples."""
        return self._all.quantile(share) if self._all.count >= _USUAL_SAMPLES else None

    @property
    def patience(self) -> float:
        """Seconds of silence after which an abandoned attempt counts as timed out."""
        known = self._all.quantile(0.99) if self._all.count >= _PATIENCE_SAMPLES else None
        return known or PATIENCE_SECONDS

    def learnt(self, pace: int, longest: float, now: float) -> float | None:
        """The learnt first-token deadline of this class in seconds, 5 to `longest`; None on fewer than 200 samples."""
        seen = self._paces.get(pace)
        if seen is None:
            return None
        if seen.learnt_at is None or now - seen.learnt_at > _LEARN_AGAIN_SECONDS:
            p99 = seen.latencies.quantile(0.99) if seen.latencies.count >= LEARNT_SAMPLES else None
            seen.learnt, seen.learnt_at = (None if p99 is None else LEARNT_TIMES_P99 * p99), now
        return None if seen.learnt is None else min(max(seen.learnt, SHORTEST_LEARNT_SECONDS), longest)

    def came_since(self, pace: int, started: float) -> bool:
        """Whether a first token of this class has come since `started`."""
        seen = self._paces.get(pace)
        return seen is not None and seen.token_at is not None and seen.token_at > started
