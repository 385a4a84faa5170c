"""Keeps sessions and threads for a limited time at the model that they failed over to (`stick_to`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from ..failures.kinds import FailureKind
from ..results import Attempt

MOST_SESSIONS: Final = 4096


class Stay(NamedTuple):
    """The model to call first, and the time on the clock at which the stay ends."""

    model: str
    until: float


class Sticking:
    """Stores the model to which each session or thread failed over, for the last 4,096 of them.

    A stay ends `seconds` after its failover and is not renewed. Safe to use from several threads.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stays: OrderedDict[str, Stay] = OrderedDict()
        self._lock = threading.Lock()

    def stay(self, session: str, now: float) -> Stay | None:
        """The current stay of a session; None without a stay."""
        with self._lock:
            found = self._stays.get(session)
            if found is not None and now >= found.until:
                del self._stays[session]
                return None
            return found

    def failed_over(self, session: str, model: str, now: float) -> None:
        """Record that another model than the first of the plan answered a call of the session."""
        with self._lock:
            found = self._stays.get(session)
            if found is not None and found.model == model and now < found.until:
                return
            self._stays[session] = Stay(model, now + self._seconds)
            self._stays.move_to_end(session)
            while len(self._stays) > MOST_SESSIONS:
                self._stays.popitem(last=False)


def is_failover(first: str, attempts: tuple[Attempt, ...]) -> bool:
    """Whether the model of the last attempt answered because `first` failed or was skipped.

    False if `first` was only slower than a hedge.
    """
    if attempts[-1].model == first:
        return False
    return not any(one.model == first and one.kind is FailureKind.CANCELLED for one in attempts)
