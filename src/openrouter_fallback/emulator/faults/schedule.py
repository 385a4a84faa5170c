"""The schedule of faults: chooses the fault of each request."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from .kinds import FAULTS, unknown
from .plan import Plan, Scene

_BOUNDS: Final = {"status": (200, 599), "after_tokens": (0, sys.maxsize)}


@dataclass(eq=False, slots=True)
class Fault:
    """A fault that was set: its kind, the model and provider that it concerns, and its windows."""

    kind: str
    model: str | None
    provider: str | None
    requests: tuple[int, int | None] | None
    seconds: tuple[float, float | None] | None
    probability: float
    details: dict[str, Any]
    random: Random
    set_at: float
    seen: int = field(default=0, init=False)

    def matches(self, model: str, provider: str | None, now: float) -> bool:
        """Count a request; return whether the request gets this fault."""
        if self.model not in (None, model) or self.provider != provider:
            return False
        self.seen += 1
        within = _inside(self.seen, self.requests) and _inside(now - self.set_at, self.seconds)
        return within and (self.probability >= 1.0 or self.random.random() < self.probability)

    def plan(self, scene: Scene) -> Plan:
        return FAULTS[self.kind].plan(scene, self.details)


def _inside(value: float, window: tuple[float, float | None] | None) -> bool:
    return window is None or (value >= window[0] and (window[1] is None or value <= window[1]))


def window(ends: Sequence[Any] | None, least: int) -> tuple[Any, Any] | None:
    """A list of two ends as a window that begins at `least` or later. Raises ValueError for any other list."""
    if ends is None:
        return None
    if len(ends) != 2 or ends[0] is None:
        raise ValueError(f"a window has two ends, [from, to], of which the last may be null; found {list(ends)!r}")
    _ordered("a window", (ends[0], ends[1]), least)
    return ends[0], ends[1]


def _ordered(name: str, ends: tuple[float, float | None] | None, least: int) -> None:
    if ends is not None and (ends[0] < least or (ends[1] is not None and ends[1] < ends[0])):
        raise ValueError(f"{name}=(first, last) counts from {least}, last not before first; found {ends!r}")


class FaultHandle:
    """An active fault. `clear` removes it, and so does the end of a `with` block."""

    def __init__(self, schedule: Schedule, fault: Fault) -> None:
        self._schedule = schedule
        self._fault = fault

    def clear(self) -> None:
        """Remove the fault. Answers that have already started are not changed."""
        self._schedule.remove(self._fault)

    def __enter__(self) -> FaultHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.clear()

    def __repr__(self) -> str:
        at = f", provider={self._fault.provider!r}" if self._fault.provider else ""
        return f"FaultHandle({self._fault.kind!r}, model={self._fault.model!r}{at})"


class Schedule:
    """All active faults, in the order in which they were set. The first matching fault is played."""

    def __init__(self, dice: Random | int, clock: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._random = dice if isinstance(dice, Random) else Random(dice)
        self._clock = clock

    def add(
        self,
        kind: str,
        model: str | None,
        requests: int | tuple[int, int | None] | None,
        seconds: tuple[float, float | None] | None,
        probability: float,
        details: dict[str, Any],
        provider: str | None = None,
    ) -> FaultHandle:
        checked = check(kind, details)
        if not 0.0 <= probability <= 1.0:
            raise ValueError(f"probability is a number from 0 to 1, not {probability!r}")
        first_and_last = (1, requests) if isinstance(requests, int) else requests
        _ordered("requests", first_and_last, 1)
        _ordered("seconds", seconds, 0)
        fault = Fault(kind, model, provider, first_and_last, seconds, probability, checked, self._random, self._clock())
        with self._lock:
            self._faults.append(fault)
        return FaultHandle(self, fault)

    def remove(self, fault: Fault) -> None:
        with self._lock:
            if fault in self._faults:
                self._faults.remove(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def pick(self, model: str, provider: str | None = None) -> Fault | None:
        """The fault for a model's next request, or with `provider` for the provider's next request; None for no fault.

        Every fault that concerns the request counts it.
        """
        with self._lock:
            now = self._clock()
            hits = [fault for fault in self._faults if fault.matches(model, provider, now)]
        return hits[0] if hits else None


def check(kind: str, details: dict[str, Any]) -> dict[str, Any]:
    """The details with defaults. Raises ValueError for an unknown kind or value, TypeError for an unknown detail."""
    if kind not in FAULTS:
        raise ValueError(unknown(kind))
    row = FAULTS[kind]
    strange = sorted(set(details) - set(row.details))
    if strange:
        allowed = ", ".join(row.details) or "none"
        raise TypeError(f"fault {kind!r} takes no {', '.join(strange)}; its details: {allowed}")
    for name, allowed_values in row.choices.items():
        if name in details and details[name] not in allowed_values:
            raise ValueError(f"{name} of fault {kind!r} is one of {allowed_values}, not {details[name]!r}")
    for name, (least, most) in _BOUNDS.items():
        value = details.get(name)
        if value is not None and not (type(value) is int and least <= value <= most):
            what = f"a status from {least} to {most}" if name == "status" else "a number of tokens, 0 or more"
            raise ValueError(f"{name} of fault {kind!r} is {what}, not {value!r}")
    if not isinstance(details.get("headers") or {}, Mapping):
        raise TypeError(f"headers of fault {kind!r} is a mapping, not {details['headers']!r}")
    return {**row.details, **details}
