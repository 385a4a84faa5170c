"""Changes of circuit breakers, from where they happen to where they are reported.

Breakers change inside the lock of the health store, where no log and no subscriber may run. So they only queue a
change; the next step of a call takes what waits, completes it and reports it.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

from .breaker import Breaker, State

Scope = Literal["model", "endpoint"]
_MOST_WAITING = 1000
"""In a process that makes no calls, the oldest changes of others are dropped."""


@dataclass(frozen=True, slots=True)
class BreakerChange:
    """A breaker has another state.

    `scope`: whose breaker; `cause`: the failure kind that opened it; `count`: failures that the window held then, 0
    where the kind is not counted; `seconds`: since it opened first; `next_probe`: seconds until a probe may begin, None
    unless open; `again`: it was open before, and its probe has failed.
    """

    scope: Scope
    name: str
    state: State
    cause: str
    count: int
    seconds: float
    next_probe: float | None = None
    again: bool = False


@dataclass(slots=True)
class _Trouble:
    since: float
    cause: str
    count: int
    state: State


@dataclass(frozen=True, slots=True)
class _Waiting:
    scope: Scope
    name: str
    breaker: Breaker
    state: State
    cause: str
    until: float | None
    at: float | None


class Changes:
    """The queue. `waiting` is empty almost always, so that a call looks at it for next to nothing."""

    def __init__(self) -> None:
        self.waiting: deque[_Waiting] = deque(maxlen=_MOST_WAITING)
        self._troubles: dict[tuple[Scope, str], _Trouble] = {}

    def watch(self, breaker: Breaker, scope: Scope, name: str) -> Breaker:
        """Queue the changes of a breaker from now on."""

        def report(state: State, cause: str, at: float | None) -> None:
            self.waiting.append(_Waiting(scope, name, breaker, state, cause, breaker.open_until, at))

        breaker.report = report
        if breaker.open_until is not None:  # another process had opened it before this one knew the model
            report(State.OPEN, breaker.reason, None)
        return breaker

    def take(self, now: float) -> list[BreakerChange]:
        """What waits, in order. A second probe in one state half-open is no change."""
        found = (self._taken(self.waiting.popleft(), now) for _ in range(len(self.waiting)))
        return [change for change in found if change is not None]

    def _taken(self, one: _Waiting, now: float) -> BreakerChange | None:
        # A change by hand has no time of its own, and one of another process may have one that is yet to come.
        at, key = now if one.at is None else min(one.at, now), (one.scope, one.name)
        known = self._troubles.get(key)
        trouble = known or _Trouble(at, one.cause, 0, State.CLOSED)
        if one.state is trouble.state is State.HALF_OPEN:
            return None
        trouble.state = one.state
        if one.state is State.OPEN:
            trouble.cause, trouble.count = one.cause, max(trouble.count, one.breaker.window.counts(now)[1])
            self._troubles[key] = trouble
        elif one.state is State.CLOSED:
            self._troubles.pop(key, None)
        opened, seconds = one.state is State.OPEN, max(0.0, at - trouble.since)
        next_probe = max(0.0, one.until - now) if opened and one.until is not None else None
        again = opened and known is not None
        return BreakerChange(one.scope, one.name, one.state, trouble.cause, trouble.count, seconds, next_probe, again)
