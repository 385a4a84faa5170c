"""A sliding window of outcomes and a histogram of latencies, both of constant size."""

from __future__ import annotations

from bisect import bisect_left

BUCKETS = 20
# Upper bounds in seconds, 1 ms to about 11 minutes, 20 % apart: a quantile is right to within that step.
_BOUNDS = tuple(0.001 * 1.2**step for step in range(74))


class Window:
    """Outcomes of the last `seconds`, counted in fixed buckets.

    The oldest bucket is dropped as a whole, so the window covers between 19/20 and all of `seconds`. `all_good` and
    `all_bad` count since the start; `others` holds the (successes, failures) that other processes have counted.
    """

    __slots__ = ("_bad", "_bad_total", "_good", "_good_total", "_latest", "_width", "all_bad", "all_good", "others")

    def __init__(self, seconds: float) -> None:
        self._width = seconds / BUCKETS
        self.all_good = self.all_bad = 0
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self._empty()
        self.others = (0, 0)

    def _empty(self) -> None:
        self._good = [0] * BUCKETS
        self._bad = [0] * BUCKETS
        self._good_total = self._bad_total = 0
        self._latest: int | None = None

    def _slot(self, now: float) -> int:
        bucket = int(now // self._width)
        latest = self._latest
        if latest is None or bucket - latest >= BUCKETS:
            self._empty()
            self._latest = bucket
        elif bucket > latest:
            for stale in range(latest + 1, bucket + 1):
                slot = stale % BUCKETS
                self._good_total -= self._good[slot]
                self._bad_total -= self._bad[slot]
                self._good[slot] = self._bad[slot] = 0
            self._latest = bucket
        else:
            bucket = max(bucket, latest - BUCKETS + 1)
        return bucket % BUCKETS

    def good(self, now: float) -> None:
        """Count a success."""
        slot = self._slot(now)
        self._good[slot] += 1
        self._good_total += 1
        self.all_good += 1

    def bad(self, now: float) -> None:
        """Count a failure."""
        slot = self._slot(now)
        self._bad[slot] += 1
        self._bad_total += 1
        self.all_bad += 1

    def amend(self, failed_at: float, now: float) -> None:
        """Turn the failure counted at `failed_at` into a success: a later attempt of the call succeeded."""
        newest = self._slot(now)
        expired = self._latest is None or int(failed_at // self._width) <= self._latest - BUCKETS
        slot = newest if expired else self._slot(failed_at)
        if not expired and self._bad[slot]:
            self._bad[slot] -= 1
            self._bad_total -= 1
            self.all_bad -= 1
        self._good[slot] += 1
        self._good_total += 1
        self.all_good += 1

    def counts(self, now: float) -> tuple[int, int]:
        """Successes and failures in the window, including those of other processes."""
        self._slot(now)
        good, bad = self.others
        return self._good_total + good, self._bad_total + bad

    def rate(self, now: float) -> float:
        """Share of successes, 1.0 without data."""
        good, bad = self.counts(now)
        return good / (good + bad) if good or bad else 1.0


class Latencies:
    """Quantiles of durations over one to two windows: a current and a previous half, each a histogram."""

    __slots__ = ("_current", "_previous", "_seconds", "_since")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._current = [0] * (len(_BOUNDS) + 1)
        self._previous = [0] * (len(_BOUNDS) + 1)
        self._since: float | None = None

    def record(self, seconds: float, now: float) -> None:
        """Count one duration in seconds."""
        if self._since is None:
            self._since = now
        elif now - self._since > self._seconds:
            fresh = now - self._since <= 2 * self._seconds
            self._previous = self._current if fresh else [0] * (len(_BOUNDS) + 1)
            self._current = [0] * (len(_BOUNDS) + 1)
            self._since = now
        self._current[bisect_left(_BOUNDS, seconds)] += 1

    @property
    def count(self) -> int:
        """How many durations the quantiles rest on."""
        return sum(self._current) + sum(self._previous)

    def quantile(self, share: float) -> float | None:
        """The duration in seconds that `share` of the recorded ones do not exceed; None without data."""
        merged = [new + old for new, old in zip(self._current, self._previous, strict=True)]
        wanted = share * sum(merged)
        if not wanted:
            return None
        seen = 0
        for bound, count in zip(_BOUNDS, merged, strict=False):
            seen += count
            if seen >= wanted:
                return bound
        return _BOUNDS[-1]
