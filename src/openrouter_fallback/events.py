"""What happened, as frozen dataclasses. You may listen too: `client.subscribe(print)`.

Events hold model ids, kinds and seconds, never a key, a prompt or an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from weakref import WeakSet

from .failures.kinds import FailureKind
from .results import Attempt, Completion, Seam

logger = logging.getLogger("openrouter_fallback")


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call begins; `models` in the order of its plan."""

    call: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request is about to be sent; `number` counts from 1 within the call."""

    call: int
    model: str
    number: int
    probe: bool


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """A request has ended, answered, failed or abandoned."""

    call: int
    number: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class FailedOver:
    """The call goes on with another model. `seconds`: how long the failed attempt took."""

    call: int
    failed: str
    next: str
    kind: FailureKind
    status: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Hedged:
    """A second model is asked at the side of one whose first token has not come for so many `seconds`."""

    call: int
    silent: str
    next: str
    seconds: float


@dataclass(frozen=True, slots=True)
class BreakerOpened:
    """The breaker of a model or an endpoint has opened: it is left out for a while."""

    call: int
    name: str


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call has ended: `answered`, `failed` or `cancelled`. `error` names the exception's class, `seams` where another
    model went on from text that had been delivered."""

    call: int
    outcome: str
    model: str | None
    attempts: int
    seconds: float
    error: str | None = None
    seams: tuple[Seam, ...] = ()


Event = CallStarted | AttemptStarted | AttemptEnded | FailedOver | Hedged | BreakerOpened | CallEnded
"""Anything that is told of a call."""
Subscriber = Callable[[Event], object]
"""A function that is called with every event; what it returns is not looked at."""


class Seen(Protocol):
    """The call that an event is of, as an observer may look at it: it holds the prompt and the answer."""

    @property
    def completion(self) -> Completion | None:
        """The answer, once it is complete."""

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The request's messages."""

    @property
    def params(self) -> Mapping[str, Any]:
        """The request's other parameters."""

    @property
    def streamed(self) -> bool:
        """Whether the answer goes to its caller piece by piece."""


Observer = Callable[[Event, Seen], object]


class Events:
    """The subscribers of one client, before them those of the client it was copied from. One that raises is logged and
    harms no call.

    Observers are part of the library: they are called at once, in the call's own context and loop. Whether one looks at
    a call is asked once, when it begins: those that sleep cost it nothing else.
    """

    __slots__ = ("__weakref__", "_copies", "_others", "_subscribers", "heard", "observers")

    def __init__(self, others: Events | None = None) -> None:
        self.heard: bool = others is not None and others.heard
        """Whether there is a subscriber."""
        self.observers: tuple[tuple[Observer, Callable[[], bool]], ...] = ()
        """With each, the function that says whether it is awake."""
        self._others = others
        self._copies: WeakSet[Events] = WeakSet()
        self._subscribers: tuple[Subscriber, ...] = ()
        if others is not None:
            others._copies.add(self)

    def _set(self, subscribers: tuple[Subscriber, ...]) -> None:
        self._subscribers = subscribers
        self._look()

    def _look(self) -> None:
        self.heard = bool(self._subscribers) or (self._others is not None and self._others.heard)
        for copy in list(self._copies):
            copy._look()

    @property
    def observed(self) -> bool:
        """Whether an observer is awake."""
        return any(awake() for _, awake in self.observers)

    def add_observer(self, observer: Observer, awake: Callable[[], bool]) -> Callable[[], None]:
        """Let `observer` see the calls that begin from now on while it is `awake`; returns what ends that."""
        self.observers = (*self.observers, (observer, awake))

        def remove() -> None:
            self.observers = tuple(known for known in self.observers if known[0] is not observer)

        return remove

    def observe(self, event: Event, seen: Seen) -> None:
        """Tell the observers."""
        for observer, _ in self.observers:
            try:
                observer(event, seen)
            except Exception:
                logger.exception("an observer failed on %s; the call goes on", type(event).__name__)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every event from now on; returns what ends that."""
        self._set((*self._subscribers, subscriber))

        def unsubscribe() -> None:
            self._set(tuple(known for known in self._subscribers if known is not subscriber))

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Tell everyone."""
        if self._others is not None:
            self._others.emit(event)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber failed on %s; the call goes on", type(event).__name__)
