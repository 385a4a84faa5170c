"""What all calls of a client share, and a call as the client hands it over; `run.py` carries it out."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..decision.commands import Limits
from ..endpoints.destinations import Destination
from ..errors import LocalError
from ..events import Event, Events
from ..failures.policy import Policy
from ..health import HealthScopes, MemoryHealth
from ..http.protocol import MAX_CONNECTIONS, Transport
from ..redaction import Redactor
from ..request.handover import Delivered
from ..request.request import Request
from ..results import Completion
from ..routes.candidate import Candidate, Plan
from ..routes.sticking import Sticking
from ..spending.ledger import Ledger
from ..suggest import VERY_CLOSE, nearest
from .bills import Bills
from .detached import Background

logger = logging.getLogger("openrouter_fallback")
_MOST_WARNINGS = 1000
_NO_LOOP = (
    "Async calls need a running asyncio event loop, and there is none. Under trio, call the synchronous method in a "
    "thread: await trio.to_thread.run_sync(client.chat, messages)."
)


Accept = Callable[[Completion], Any]
"""Whether an answer will do; if not, the next model is asked. For async calls it may be a coroutine function."""


class CallbackHost(Protocol):
    """Where the caller's own functions run: in the loop of an async caller, in the thread of a synchronous one."""

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call it, and await what it returns if that can be awaited."""

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""

    def emit(self, event: Event) -> None:
        """Hand an event to the subscribers."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the client hands it to the engine."""

    request: Request
    plan: Plan
    limits: Limits
    wire: Callable[[Candidate], Destination]
    host: CallbackHost
    accept: Accept | None = None
    key_hint: str = ""
    redactor: Redactor = field(default_factory=Redactor, repr=False)
    """Takes what no message may hold out of it: all secrets of the call, and its prompt."""


@dataclass(slots=True)
class Runtime:
    """What all calls of a client share. `clock` counts seconds, `wall` is the time of day, `random` is in [0, 1)."""

    transport: Transport
    health: MemoryHealth
    policy: Policy
    events: Events
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    random: Callable[[], float] = random.random
    ledger: Ledger = field(default_factory=Ledger)
    bills: Bills | None = None
    """Where a spend limit holds: asks for what cut attempts have cost."""
    delivered: Delivered = field(default_factory=Delivered)
    lease: Callable[[Iterable[HealthScopes]], Awaitable[None] | None] | None = None
    """Where health is shared: asks for the lease of the probe that a call to these models would make."""
    background: Background = field(default_factory=Background)
    """What runs on after the calls."""
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    _places: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(default_factory=dict)
    sticking: Sticking = field(default_factory=lambda: Sticking(0.0))
    stick_to: str | None = None
    """What stays with the model that it failed over to: `session`, `thread` or nothing."""
    known: Callable[[], Iterable[str]] = tuple
    """The ids that may have been meant by one that does not exist."""
    _not_found: dict[str, str | None] = field(default_factory=dict)
    _left_out: set[tuple[str, str]] = field(default_factory=set)

    def number(self) -> int:
        """The next call's number, from 1."""
        return next(self._numbers)

    def not_found(self, candidate: Candidate) -> None:
        """Say once for each id that it does not exist, and what may have been meant."""
        key = candidate.key
        if key in self._not_found or len(self._not_found) > _MOST_WARNINGS:
            return
        near = self._not_found[key] = nearest(key, {one for one in self.known() if one != key}, VERY_CLOSE)
        meant = f" Did you mean {near!r}?" if near else " Check the id at https://openrouter.ai/models."
        logger.warning("%s does not exist: left out for %.0f s.%s", key, candidate.target.longest_open, meant)

    def left_out(self, key: str, notes: Iterable[str]) -> None:
        """Say what of a history a model was not sent: once for each model and thing, and at debug for each call."""
        for note in notes:
            first = (key, note) not in self._left_out and len(self._left_out) < _MOST_WARNINGS
            self._left_out.add((key, note))
            logger.log(logging.INFO if first else logging.DEBUG, "%s, in what was sent to it: %s", key, note)

    def meant(self, key: str) -> str | None:
        """What may have been meant by an id that does not exist."""
        return self._not_found.get(key)

    def places(self) -> asyncio.Semaphore:
        """The running loop's places for requests: those without one queue here, before any of their clocks runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise LocalError(_NO_LOOP) from None
        places = self._places.get(loop)
        if places is None:
            self.background.forsake()
            for old in list(self._places):
                if old.is_closed():
                    self._places.pop(old, None)
            places = self._places[loop] = asyncio.Semaphore(MAX_CONNECTIONS)
        return places
