"""The lines of the log: one for each failover, one for each change of a circuit breaker, and none that says the same.

Each record has its facts as attributes (`extra`), for log systems that search in fields.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import asdict

from ..events import BreakerClosed, BreakerEvent, BreakerHalfOpened, BreakerOpened, FailedOver
from ..failures.kinds import FailureKind
from ..health import BreakerChange, State

logger = logging.getLogger("openrouter_fallback")

_QUIET_SECONDS = 60.0
_NAMED = 3
"""So many failed models are named in one line."""
_UNITS = ((172_800.0, 86_400.0, "days"), (7200.0, 3600.0, "h"), (120.0, 60.0, "min"))


def breaker_event(call: int, change: BreakerChange) -> BreakerEvent:
    """The event of a change, reported by a call."""
    known = (call, change.name, change.scope, change.cause, change.count, change.seconds)
    if change.state is State.OPEN:
        return BreakerOpened(*known, change.next_probe, change.again)
    return BreakerHalfOpened(*known) if change.state is State.HALF_OPEN else BreakerClosed(*known)


def duration(seconds: float) -> str:
    """A time as people write it: 4 s, 4 min, 4 h, 4 days."""
    for least, unit, name in _UNITS:
        if seconds >= least:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds:.1f} s" if 0.05 <= seconds < 1.0 else f"{seconds:.0f} s"


class LogLines:
    """Writes the lines of one client.

    Failovers because an endpoint cannot be reached are held until the call ends, and written as one line; then at DEBUG
    for a minute, or while the endpoint's circuit is open, whose own line says it. `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._quiet: dict[str, float] = {}
        """By endpoint: until when its failovers say nothing new."""
        self.held: dict[str, list[FailedOver]] = {}

    def failed_over(self, event: FailedOver, endpoint: str | None) -> None:
        """A call goes on with another model; `endpoint` is that of the failed one."""
        if event.kind is not FailureKind.CONNECTION or endpoint is None:
            _failover(logging.WARNING, [event])
        elif self._clock() < self._quiet.get(endpoint, 0.0):
            _failover(logging.DEBUG, [event])
        else:
            self.held.setdefault(endpoint, []).append(event)

    def call_ended(self) -> None:
        """Write what was held."""
        while self.held:
            endpoint, events = self.held.popitem()
            self._quiet[endpoint] = self._clock() + _QUIET_SECONDS
            _failover(logging.WARNING, events)

    def breaker(self, event: BreakerEvent, hint: Callable[[str], str | None] = lambda _: None) -> None:
        """A circuit breaker has changed. `hint`: what else to say of a model that does not exist, once for each."""
        if event.scope == "endpoint" and isinstance(event, BreakerOpened):
            self._quiet[event.name] = math.inf
            self.held.pop(event.name, None)
        elif event.scope == "endpoint" and isinstance(event, BreakerClosed):
            self._quiet.pop(event.name, None)
        level, text = _said(event, hint)
        facts = asdict(event)
        facts["model"], facts["endpoint"] = (None, event.name) if event.scope == "endpoint" else (event.name, None)
        facts["state"] = event.state
        facts.setdefault("next_probe", None)
        del facts["name"]  # a record has one of its own
        logger.log(level, "%s", text, extra=facts)


def _said(event: BreakerEvent, hint: Callable[[str], str | None]) -> tuple[int, str]:
    """The level and the sentence. What goes on as before is no warning."""
    after = duration(event.seconds)
    match event:
        case BreakerClosed(call=0):
            return logging.WARNING, f"{event.name}: circuit closed by hand after {after}"
        case BreakerClosed():
            return logging.WARNING, f"{event.name} is back after {after}"
        case BreakerHalfOpened():
            return logging.INFO, f"{event.name}: circuit half-open after {after}, a probe is sent"
    probe = f", next probe in {duration(event.next_probe)}" if event.next_probe is not None else ""
    if event.again:
        return logging.INFO, f"{event.name}: circuit open again, the probe failed ({event.cause}) after {after}{probe}"
    if event.cause == FailureKind.NOT_FOUND and (more := hint(event.name)) is not None:
        return logging.WARNING, f"{event.name} does not exist: circuit open{probe}.{more}"
    failures = f"{event.count} failures, the last: " if event.count > 1 else ""
    return logging.WARNING, f"{event.name}: circuit open ({failures}{event.cause or 'by another process'}){probe}"


def _failover(level: int, events: list[FailedOver]) -> None:
    last = events[-1]
    names = list(dict.fromkeys(event.failed for event in events))
    failed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
    status = f" {last.status}" if last.status is not None else ""
    facts = {
        "call": last.call,
        "model": last.failed,
        "next": last.next,
        "kind": str(last.kind),
        "status": last.status,
        "seconds": last.seconds,
    }
    logger.log(
        level,
        "%s failed (%s%s, %.2f s), going on with %s",
        failed,
        last.kind,
        status,
        last.seconds,
        last.next,
        extra=facts,
    )
