"""The transitions of the state machines, found by driving the real machines with every event in every state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from openrouter_fallback.decision.commands import Command, Fail, Hedging, Limits, SleepUntil, StartAttempt, Succeed
from openrouter_fallback.decision.failover import Failover
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import policy
from openrouter_fallback.health import HealthScopes, MemoryHealth, Rules, State
from openrouter_fallback.health.breaker import PROBE_SETTLES_SECONDS, Breaker, BreakerPermit
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

Json = dict[str, Any]
RULES: Final = Rules()


@dataclass(frozen=True)
class Step:
    """One transition: in the state `source`, the event leads to `target`."""

    source: str
    event: str
    target: str


# The breaker


def _tripped(breaker: Breaker, now: float) -> None:
    for _ in range(RULES.min_samples):
        breaker.failure(breaker.begin(now), now)


def _closed() -> tuple[Breaker, float]:
    return Breaker(RULES, lambda: 0.0), 0.0


def _open() -> tuple[Breaker, float]:
    breaker, now = _closed()
    _tripped(breaker, now)
    return breaker, now


def _half_open() -> tuple[Breaker, float]:
    breaker, _ = _open()
    assert breaker.open_until is not None
    return breaker, breaker.open_until


Event = Callable[[Breaker, float], float]
"""A function that causes an event of the breaker and returns the time after the event."""


def _begun(breaker: Breaker, now: float, *, forced: bool = False) -> BreakerPermit:
    if not forced and not breaker.admits(now):
        raise LookupError("nothing may begin")
    return breaker.begin(now, forced=forced)


def _success(breaker: Breaker, now: float) -> float:
    breaker.success(_begun(breaker, now), now)
    return now


def _failure(breaker: Breaker, now: float) -> float:
    breaker.failure(_begun(breaker, now), now)
    return now


def _row(breaker: Breaker, now: float) -> float:
    for _ in range(RULES.min_samples):
        _failure(breaker, now)
    return now


def _low(breaker: Breaker, now: float) -> float:
    """A low success rate, but never enough failures in a row to open the breaker for that reason."""
    if breaker.state(now) is not State.CLOSED:
        raise LookupError("nothing but a probe may begin")
    for number in range(20 * RULES.min_samples):
        if breaker.state(now) is not State.CLOSED:
            break
        (_success if number % RULES.min_samples == RULES.min_samples - 1 else _failure)(breaker, now)
    return now


def _gone(breaker: Breaker, now: float) -> float:
    breaker.failure(_begun(breaker, now), now, open_for=RULES.longest_open, counts=False)
    return now


def _settled(breaker: Breaker, now: float) -> float:
    if breaker.state(now) is not State.HALF_OPEN:
        raise LookupError("there is no probe")
    breaker.first_token(_begun(breaker, now), now)
    return now + PROBE_SETTLES_SECONDS


def _released(breaker: Breaker, now: float) -> float:
    breaker.release(_begun(breaker, now))
    return now


def _forced_success(breaker: Breaker, now: float) -> float:
    breaker.success(_begun(breaker, now, forced=True), now)
    return now


def _forced_failure(breaker: Breaker, now: float) -> float:
    breaker.failure(_begun(breaker, now, forced=True), now)
    return now


def _earlier(outcome: Callable[[Breaker, BreakerPermit, float], object]) -> Event:
    """The event of an attempt that began before the breaker entered its current state."""

    def event(breaker: Breaker, now: float) -> float:
        outcome(breaker, BreakerPermit(0.0, breaker.epoch - 1, probe=False, forced=False), now)
        return now

    return event


def _waited(breaker: Breaker, now: float) -> float:
    if breaker.state(now) is not State.OPEN:
        raise LookupError("there is no time to wait for")
    assert breaker.open_until is not None
    return breaker.open_until


def _by_hand(breaker: Breaker, now: float) -> float:
    breaker.close()
    return now


BREAKER_EVENTS: Final[dict[str, Event]] = {
    "a call is answered": _success,
    "a call fails": _failure,
    f"{RULES.min_samples} calls in a row fail": _row,
    f"the success rate falls below {RULES.skip_threshold:g}": _low,
    "the model does not exist": _gone,
    "the open time is over": _waited,
    f"the first token came {PROBE_SETTLES_SECONDS:g} s ago": _settled,
    "a call ends in a way that is not the model's fault": _released,
    "a forced call is answered": _forced_success,
    "a forced call fails": _forced_failure,
    "a call that began in an earlier state is answered": _earlier(lambda b, held, now: b.success(held, now)),
    "a call that began in an earlier state fails": _earlier(lambda b, held, now: b.failure(held, now)),
    "client.enable()": _by_hand,
}


def breaker_steps() -> Iterator[Step]:
    """The transitions of every event in every state of the breaker in which the event is possible."""
    for make in (_closed, _open, _half_open):
        for name, event in BREAKER_EVENTS.items():
            breaker, now = make()
            source = breaker.state(now)
            try:
                now = event(breaker, now)
            except LookupError:
                continue
            yield Step(source, name, breaker.state(now))


def admitted() -> dict[str, str]:
    """The calls that each state admits, in words."""
    said = {}
    for make in (_closed, _open, _half_open):
        breaker, now = make()
        first = breaker.admits(now)
        if first:
            breaker.begin(now)
        more = first and breaker.admits(now)
        said[str(breaker.state(now))] = "every call" if more else "one call" if first else "none"
    return said


def open_seconds() -> list[float]:
    """The successive open times of a breaker in seconds if every probe fails, without jitter, up to the longest."""
    breaker, now = _open()
    times: list[float] = []
    while len(times) < 2 or times[-1] != times[-2]:
        assert breaker.open_until is not None
        times.append(breaker.open_until - now)
        now = breaker.open_until
        _failure(breaker, now)
    return times


def least_open_share() -> float:
    """The smallest share of an open time that remains after jitter."""
    breaker = Breaker(RULES, lambda: 1.0)
    _tripped(breaker, 0.0)
    assert breaker.open_until is not None
    return breaker.open_until / open_seconds()[0]


# One call

MODELS: Final = ("a", "b", "groq:c")
_CODES: Final = {FailureKind.LOCAL: "pool_exhausted", FailureKind.NOT_FOUND: "model_not_found"}


def candidate(key: str, attempts: int = 2) -> Candidate:
    """A candidate: a model on OpenRouter, or at another endpoint if the key is `endpoint:model`."""
    endpoint = key.partition(":")[0] if ":" in key else "openrouter"
    return Candidate(key, key, HealthScopes(key, endpoint, f"{endpoint}#key", RULES.longest_open), attempts=attempts)


def failure(kind: FailureKind) -> Failure:
    """A typical failure of this kind."""
    return Failure(kind, str(kind), code=_CODES.get(kind))


class Driven:
    """One call that is driven event by event. `state` is begun, calling, waiting, answered, raised or left."""

    def __init__(self, models: Sequence[str] = MODELS, *, hedge: bool = False, prepared: str = "") -> None:
        self.now = 0.0
        self._health = health = MemoryHealth(RULES, lambda: 0.5, hedge_share=1.0)
        self._candidates = candidates = [candidate(key) for key in models]
        self._others(prepared)
        limits = Limits(hedge=Hedging(after=2.0) if hedge else None)
        self.machine = Failover(candidates, policy("smart"), health, limits, RequestTraits(), self.now, lambda: 0.5)
        self.state = "begun"
        self.started: list[StartAttempt] = []
        self.until = 0.0
        self.gave_up: Fail | None = None

    def _others(self, what: str) -> None:
        """Prepare the health of all models: the effects of other calls, or of disabling by hand."""
        for one in self._candidates:
            if what == "cooling":
                self._health.accounts.rate_limited(one.target, self.now, 5.0)
            elif what == "disabled":
                self._health.disable(one.target, float("inf"))

    def under_way(self) -> StartAttempt | None:
        """The latest attempt that has not ended."""
        return next((one for one in reversed(self.started) if self.machine.under_way(one.number)), None)

    def do(self, event: str) -> bool:
        """Cause the event if it is possible now; return whether it was possible."""
        flight = self.under_way()
        name, _, kind = event.partition(" ")
        match name:
            case "begin" if self.state == "begun":
                self._follow(self.machine.begin(self.now))
            case "first_token" if flight is not None:
                self.machine.first_token(self.now, flight.number)
            case "failed" if flight is not None:
                self._follow(self.machine.failed(failure(FailureKind(kind)), self.now, number=flight.number))
            case "withheld" if flight is not None:
                self._follow(self.machine.withheld("too expensive", self.now, flight.number))
            case "succeeded" if flight is not None:
                self._follow(self.machine.succeeded(self.now, flight.number))
            case "hedge" if flight is not None:
                due = self.machine.beside_at
                if due is None:
                    return False
                self.now = max(self.now, due)
                beside = self.machine.beside(self.now)
                if beside is None:
                    return False
                self._follow(beside)
            case "woke" if self.state == "waiting":
                self.now = self.until
                self._others(kind)
                self._follow(self.machine.woke(self.now))
            case "out_of_time" if self.state in ("calling", "waiting"):
                self._follow(self.machine.out_of_time(self.now))
            case "left" if self.state in ("calling", "waiting"):
                self.machine.left(self.now)
                self.state = "left"
            case _:
                return False
        return True

    def _follow(self, command: Command) -> None:
        match command:
            case StartAttempt():
                self.started.append(command)
                self.state = "calling"
            case SleepUntil(until):
                self.until, self.state = until, "waiting"
            case Succeed():
                self.state = "answered"
            case Fail():
                self.gave_up, self.state = command, "raised"


_WORLDS: Final[tuple[Json, ...]] = (
    {},
    {"hedge": True},
    {"models": ("a",)},
    {"prepared": "cooling"},
    {"prepared": "disabled"},
)
_PLAIN_EVENTS: Final = ("first_token", "succeeded", "hedge", "withheld", "woke", "woke cooling", "woke disabled")
_ENDS: Final = ("out_of_time", "left")
_EXAMPLES: Final = (FailureKind.UNAVAILABLE, FailureKind.RATE_LIMITED, FailureKind.INVALID_REQUEST)
_DEPTH: Final = 4


def call_steps() -> list[Step]:
    """The transitions of a call: first each kind of failure, then sequences of up to four events with examples."""
    found: dict[Step, None] = {}
    for world in _WORLDS:
        paths: list[tuple[str, ...]] = [()]
        for depth in range(_DEPTH + 1):
            kinds = FailureKind if depth == 1 else _EXAMPLES
            events = ("begin",) if depth == 0 else (*_PLAIN_EVENTS, *_ENDS, *(f"failed {kind}" for kind in kinds))
            longer = []
            for path in paths:
                for event in events:
                    driven = Driven(**world)
                    for earlier in path:
                        driven.do(earlier)
                    source = driven.state
                    if driven.do(event):
                        found[Step(source, event.partition(" ")[0], driven.state)] = None
                        if driven.state in ("calling", "waiting"):
                            longer.append((*path, event))
            paths = longer
    return list(found)


def rehearsed(kind: FailureKind) -> str:
    """What a call does if every attempt ends with this kind of failure, in one line."""
    driven = Driven()
    driven.do("begin")
    said, told = [], 0
    for _ in range(40):
        if driven.state == "calling":
            said.append(driven.started[-1].candidate.key.rpartition(":")[2])
            told += 1
            driven.do(f"failed {kind}")
        elif driven.state == "waiting":
            said.append(f"{driven.until - driven.now:.2g} s")
            driven.do("woke")
    return " → ".join([*(said if told < 40 else said[:5]), "raise" if driven.state == "raised" else "…"])
