"""Sessions and threads that stay for a while with the model that they failed over to (`stick_to`)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final, NamedTuple

from ..failures.kinds import FailureKind
from ..results import Attempt

MOST_SESSIONS: Final = 4096


class Stay(NamedTuple):
    """The model that goes first, and until when (a time of the clock)."""

    model: str
    until: float


class Sticking:
    """Which model each session or thread has failed over to; the last 4,096 of them.

    A stay lasts `seconds` from its failover and is not renewed. Safe to use from several threads.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._stays: OrderedDict[str, Stay] = OrderedDict()
        self._lock = threading.Lock()

    def stay(self, session: str, now: float) -> Stay | None:
        """Where a session stays now; None: nowhere."""
        with self._lock:
            found = self._stays.get(session)
            if found is not None and now >= found.until:
                del self._stays[session]
                return None
            return found

    def failed_over(self, session: str, model: str, now: float) -> None:
        """A call of the session has been answered by another model than the first of its plan."""
        with self._lock:
            found = self._stays.get(session)
            if found is not None and found.model == model and now < found.until:
                return
            self._stays[session] = Stay(model, now + self._seconds)
            self._stays.move_to_end(session)
            while len(self._stays) > MOST_SESSIONS:
                self._stays.popitem(last=False)


def is_failover(first: str, attempts: tuple[Attempt, ...]) -> bool:
    """Whether the model of the last attempt has answered in place of `first`, which failed or was passed over.

    Not where `first` was only slower than a hedge.
    """
    if attempts[-1].model == first:
        return False
    return not any(one.model == first and one.kind is FailureKind.CANCELLED for one in attempts)
