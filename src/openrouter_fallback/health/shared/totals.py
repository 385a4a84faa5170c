"""The fleet's counts of outcomes: what other processes have counted in each bucket of the window."""

from __future__ import annotations

from collections.abc import Mapping

from ..window import BUCKETS
from .protocol import Counts


class Totals:
    """The fleet's counts in each bucket of the window, this process's share of them, and the share that is void."""

    def __init__(self) -> None:
        self._all: dict[int, Counts] = {}
        self._own: dict[int, dict[str, tuple[int, int]]] = {}
        self._void: dict[int, dict[str, tuple[int, int]]] = {}

    def told(self, bucket: int, counts: Counts) -> None:
        """Record that counts of this process have arrived in the store."""
        own = self._own.setdefault(bucket, {})
        for scope, (good, bad) in counts.items():
            before = own.get(scope, (0, 0))
            own[scope] = (before[0] + good, before[1] + bad)

    def read(self, counts: Mapping[int, Counts], newest: int) -> None:
        """Take the store's sums, and drop buckets that have left the window."""
        self._all.update(counts)
        for buckets in (self._all, self._own, self._void):
            for old in [bucket for bucket in buckets if not newest - BUCKETS < bucket <= newest + 1]:
                del buckets[old]

    def forget(self, scope: str) -> None:
        """Make the scope's counts up to now void."""
        for bucket in self._all:
            self._void.setdefault(bucket, {})[scope] = self._theirs(bucket, scope)

    def others(self, scope: str) -> tuple[int, int]:
        """Successes and failures of the other processes."""
        good = bad = 0
        for bucket in self._all:
            theirs = self._theirs(bucket, scope)
            void = self._void.get(bucket, {}).get(scope, (0, 0))
            good += theirs[0] - void[0]
            bad += theirs[1] - void[1]
        return max(0, good), max(0, bad)

    def _theirs(self, bucket: int, scope: str) -> tuple[int, int]:
        known = self._all.get(bucket, {}).get(scope, (0, 0))
        own = self._own.get(bucket, {}).get(scope, (0, 0))
        return max(0, known[0] - own[0]), max(0, known[1] - own[1])
