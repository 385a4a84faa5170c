"""The lines of the log: one for each failover, one for each change of a circuit breaker, and none that says the same.

The failovers of one model for one kind of failure have three lines a minute. Further ones are at DEBUG; the next line
says how many there were, and so does the line of a circuit that closes.

Each record has its facts as attributes (`extra`), for log systems that search in fields.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from ..events import BreakerClosed, BreakerEvent, BreakerHalfOpened, BreakerOpened, FailedOver
from ..failures.kinds import FailureKind
from ..health import BreakerChange, State

logger = logging.getLogger("openrouter_fallback")

_LINES = 3
"""So many failovers of one model and kind have a line in a minute."""
_MOST_KNOWN = 1000
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


@dataclass(slots=True)
class _Minute:
    """The failovers of one kind that were logged `until` then (seconds): `lines` as warnings, `more` at DEBUG."""

    until: float
    lines: int = 0
    more: int = 0


class LogLines:
    """Writes the lines of one client. `clock` counts seconds.

    Failovers because an endpoint cannot be reached are held until the call ends, and written as one line.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._minutes: dict[tuple[str, str], _Minute] = {}
        """By model (for a connection: endpoint) and kind of failure."""
        self.held: dict[str, list[FailedOver]] = {}

    def failed_over(self, event: FailedOver, endpoint: str | None) -> None:
        """A call goes on with another model; `endpoint` is that of the failed one."""
        shared = endpoint if event.kind is FailureKind.CONNECTION else None
        minute = self._minutes.get((shared or event.failed, event.kind))
        if minute is not None and minute.lines >= _LINES and self._clock() < minute.until:
            minute.more += 1
            _failover(logging.DEBUG, [event])
        elif shared is not None:
            self.held.setdefault(shared, []).append(event)
        else:
            self._warn(event.failed, [event])

    def call_ended(self) -> None:
        """Write what was held."""
        while self.held:
            endpoint, events = self.held.popitem()
            self._warn(endpoint, events, lines=_LINES)

    def _warn(self, name: str, events: list[FailedOver], lines: int = 1) -> None:
        """Write a line that counts as so many, with the number of failovers like it that had none."""
        now, key = self._clock(), (name, str(events[-1].kind))
        minute = self._minutes.get(key)
        more = 0 if minute is None else minute.more
        if minute is None or now >= minute.until:
            if len(self._minutes) >= _MOST_KNOWN:
                self._minutes.clear()
            minute = self._minutes[key] = _Minute(now + 60.0)
        minute.lines, minute.more = minute.lines + lines, 0
        _failover(logging.WARNING, events, more)

    def breaker(self, event: BreakerEvent, hint: Callable[[str], str | None] = lambda _: None) -> None:
        """A circuit breaker has changed. `hint`: what else to say of a model that does not exist, once for each."""
        more = 0
        if event.scope == "endpoint" and isinstance(event, BreakerOpened):  # its line says what the held ones would
            for one in (held := self.held.pop(event.name, [])):
                _failover(logging.DEBUG, [one])
            known = _Minute(self._clock() + 60.0, _LINES, len(held))
            self._minutes.setdefault((event.name, str(FailureKind.CONNECTION)), known)
        elif isinstance(event, BreakerClosed):
            keys = [key for key in [*self._minutes] if key[0] == event.name]
            more = sum(minute.more for key in keys if (minute := self._minutes.pop(key, None)) is not None)
        level, text = _said(event, hint)
        text += f" ({more} more failover{'' if more == 1 else 's'})" if more else ""
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


def _failover(level: int, events: list[FailedOver], more: int = 0) -> None:
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
        "count": len(events) + more,
    }
    logger.log(
        level,
        "%s failed (%s%s, %.2f s)%s%s",
        failed,
        last.kind,
        status,
        last.seconds,
        "" if last.next in names else f", going on with {last.next}",
        f"; {more} more like it since the last such line" if more else "",
        extra=facts,
    )
