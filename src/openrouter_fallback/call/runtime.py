"""What all calls of a client share, and one call as the client passes it to `runner`."""

from __future__ import annotations

import asyncio
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

from ..decision.commands import Limits
from ..endpoints.destinations import Destination
from ..errors import LocalError
from ..events import BreakerEvent, Event, Events
from ..failures.policy import Policy
from ..health import HealthScopes, MemoryHealth
from ..http.protocol import MAX_CONNECTIONS, Transport
from ..redaction import Quoteless, Redactor
from ..request.handover import Delivered, Histories
from ..request.request import Request
from ..results import Completion
from ..routes.candidate import Candidate, Plan
from ..routes.sticking import Sticking
from ..spending.ledger import Ledger
from ..suggest import VERY_CLOSE, nearest
from .background import Background
from .bills import Bills
from .log import LogLines, breaker_event

logger = logging.getLogger("openrouter_fallback")
_MOST_WARNINGS = 1000
_NO_LOOP = (
    "Async calls need a running asyncio event loop, and there is none. Under trio, call the synchronous method in a "
    "thread: await trio.to_thread.run_sync(client.chat, messages)."
)


Accept = Callable[[Completion], Any]
"""Whether to accept an answer; if not, the next model is called. For async calls also a coroutine function."""


class CallbackHost(Protocol):
    """Runs the caller's functions: in the loop of an async caller, in the thread of a synchronous caller."""

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call `function`, and await its result if it is awaitable."""

    @property
    def heard(self) -> bool:
        """Whether there are subscribers."""

    def emit(self, event: Event) -> None:
        """Pass an event to the subscribers."""


@dataclass(slots=True)
class Call:
    """One call as the client passes it to the runner."""

    request: Request
    plan: Plan
    limits: Limits
    destination: Callable[[Candidate], Destination]
    host: CallbackHost
    key_hint: Callable[[str], str]
    """For an endpoint that refused its key: where the key came from."""
    accept: Accept | None = None
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
    """Under a spend limit: looks up the costs of cut attempts."""
    delivered: Delivered = field(default_factory=Delivered)
    histories: Histories = field(default_factory=Histories, repr=False)
    lease: Callable[[Iterable[HealthScopes]], Awaitable[None] | None] | None = None
    """With shared health: requests the lease of the probe that a call to these models would make."""
    background: Background = field(default_factory=Background)
    """Tasks that run on after their calls."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    """The numbers of the calls, from 1."""
    slots: dict[asyncio.AbstractEventLoop, asyncio.Semaphore] = field(default_factory=dict)
    """The connection slots of each loop on which calls were made."""
    sticking: Sticking = field(default_factory=lambda: Sticking(0.0))
    stick_to: str | None = None
    """What stays with the model after a failover: a `session`, a `thread` or nothing (None)."""
    known: Callable[[], Iterable[str]] = tuple
    """The known ids, to suggest one for an id that does not exist."""
    quoteless: Quoteless = field(default_factory=Quoteless)
    """The servers' messages that quote no prompt."""
    _not_found: dict[str, str | None] = field(default_factory=dict)
    _unsaid: set[str] = field(default_factory=set)
    lines: LogLines = field(default_factory=LogLines)
    _left_out: set[tuple[str, str]] = field(default_factory=set)

    def not_found(self, candidate: Candidate) -> None:
        """Note once for each id that it does not exist, and what may have been meant."""
        key = candidate.key
        if key in self._not_found or len(self._not_found) > _MOST_WARNINGS:
            return
        self._not_found[key] = nearest(key, {one for one in self.known() if one != key}, VERY_CLOSE)
        self._unsaid.add(key)

    def _hint(self, key: str) -> str | None:
        """What to say of an id that does not exist; None if that was said before."""
        if key not in self._unsaid:
            return None
        self._unsaid.discard(key)
        near = self._not_found.get(key)
        return f" Did you mean {near!r}?" if near else " Check the id at https://openrouter.ai/models."

    def breaker_events(self, call: int = 0) -> list[BreakerEvent]:
        """The changes of circuit breakers since the last time, logged; `call` is the one that reports them."""
        events = [breaker_event(call, change) for change in self.health.take_changes(self.clock())]
        for event in events:
            self.lines.breaker(event, self._hint)
        return events

    def left_out(self, key: str, notes: Iterable[str]) -> None:
        """Log the parts of a history that a model was not sent: once for each model and part, and at debug per call."""
        for note in notes:
            first = (key, note) not in self._left_out and len(self._left_out) < _MOST_WARNINGS
            self._left_out.add((key, note))
            logger.log(logging.INFO if first else logging.DEBUG, "%s, in what was sent to it: %s", key, note)

    def meant(self, key: str) -> str | None:
        """The known id that a non-existent id probably means."""
        return self._not_found.get(key)

    def connection_slots(self) -> asyncio.Semaphore:
        """The connection slots of the running loop. Calls queue for a slot before any of their deadlines runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise LocalError(_NO_LOOP) from None
        slots = self.slots.get(loop)
        if slots is None:
            self.background.forsake()
            for old in list(self.slots):
                if old.is_closed():
                    self.slots.pop(old, None)
            slots = self.slots[loop] = asyncio.Semaphore(MAX_CONNECTIONS)
        return slots
