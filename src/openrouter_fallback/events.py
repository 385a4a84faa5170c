"""The events of a call, as frozen dataclasses. Subscribe with `client.subscribe(print)`.

Events hold model ids, kinds and seconds, never a key, a prompt or an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar, Literal, Protocol
from weakref import WeakSet

from .failures.kinds import FailureKind
from .results import Attempt, Completion, Seam

logger = logging.getLogger("openrouter_fallback")


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call started. `models` are its candidates in order."""

    call: int
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AttemptStarted:
    """A request is about to be sent. `number` counts the attempts of the call from 1."""

    call: int
    model: str
    number: int
    probe: bool


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """An attempt ended: answered, failed or cancelled."""

    call: int
    number: int
    attempt: Attempt


@dataclass(frozen=True, slots=True)
class FailedOver:
    """The call moved to another model. `seconds` is the duration of the failed attempt."""

    call: int
    failed: str
    next: str
    kind: FailureKind
    status: int | None
    seconds: float


@dataclass(frozen=True, slots=True)
class Hedged:
    """A second model is called beside one whose first token has not come for so many `seconds`."""

    call: int
    silent: str
    next: str
    seconds: float


@dataclass(frozen=True, slots=True)
class _BreakerChange:
    """What the three changes of a circuit breaker report; `BreakerOpened` explains the fields."""

    call: int
    name: str
    scope: Literal["model", "endpoint"] = "model"
    cause: str = ""
    count: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class BreakerOpened(_BreakerChange):
    """A circuit breaker is open: calls use other models until `next_probe` seconds have passed.

    `call`: the call that reports it, 0 outside a call; `name`: the model or the endpoint, as `scope` says; `cause`: the
    failure kind; `count`: failures that the health window held; `seconds`: since the circuit opened first; `again`: it
    was open before, and its probe has failed.
    """

    state: ClassVar[str] = "open"
    next_probe: float | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class BreakerHalfOpened(_BreakerChange):
    """A circuit breaker is half-open: one request, the probe, finds out whether the model is back.

    The fields are those of `BreakerOpened`.
    """

    state: ClassVar[str] = "half_open"


@dataclass(frozen=True, slots=True)
class BreakerClosed(_BreakerChange):
    """A circuit breaker is closed again, after so many `seconds`. The fields are those of `BreakerOpened`."""

    state: ClassVar[str] = "closed"


@dataclass(frozen=True, slots=True)
class CallEnded:
    """A call ended: `answered`, `failed` or `cancelled`. `error` is the name of the exception's class, `seams` are the
    places where another model continued delivered text."""

    call: int
    outcome: str
    model: str | None
    attempts: int
    seconds: float
    error: str | None = None
    seams: tuple[Seam, ...] = ()


BreakerEvent = BreakerOpened | BreakerHalfOpened | BreakerClosed
"""A change of a circuit breaker."""
Event = CallStarted | AttemptStarted | AttemptEnded | FailedOver | Hedged | BreakerEvent | CallEnded
"""Anything that is reported of a call."""
Subscriber = Callable[[Event], object]
"""A function that is called with every event. Its return value is ignored."""


class Seen(Protocol):
    """The call of an event, as an observer reads it. The call holds the prompt and the answer."""

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
        """Whether the answer is streamed to the caller."""


Observer = Callable[[Event, Seen], object]


class _NoCall:
    """What an observer sees of an event outside a call."""

    completion: Completion | None = None
    messages: Sequence[Mapping[str, Any]] = ()
    params: Mapping[str, Any] = MappingProxyType({})
    streamed = False


NO_CALL = _NoCall()


class Events:
    """The subscribers of one client. Those of the client that it was copied from are called first. An exception of a
    subscriber is logged and does not affect the call.

    Observers are part of the library. They are called immediately, in the context and event loop of the call. A call
    checks once, at its start, whether an observer is awake; a sleeping observer costs nothing more.
    """

    __slots__ = ("__weakref__", "_copies", "_others", "_subscribers", "heard", "observers")

    def __init__(self, others: Events | None = None) -> None:
        self.heard: bool = others is not None and others.heard
        """Whether this client or the client that it was copied from has a subscriber."""
        self.observers: tuple[tuple[Observer, Callable[[], bool]], ...] = ()
        """Each observer with the function that returns whether the observer is awake."""
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
        """Call `observer` for calls that start while `awake()` is true. Returns a function that removes `observer`."""
        self.observers = (*self.observers, (observer, awake))

        def remove() -> None:
            self.observers = tuple(known for known in self.observers if known[0] is not observer)

        return remove

    def observe(self, event: Event, seen: Seen) -> None:
        """Call every observer with the event. An exception is logged."""
        for observer, _ in self.observers:
            try:
                observer(event, seen)
            except Exception:
                logger.exception("an observer failed on %s; the call goes on", type(event).__name__)

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Call `subscriber` with every later event. Returns a function that unsubscribes."""
        self._set((*self._subscribers, subscriber))

        def unsubscribe() -> None:
            self._set(tuple(known for known in self._subscribers if known is not subscriber))

        return unsubscribe

    def emit(self, event: Event) -> None:
        """Call every subscriber with the event. An exception is logged."""
        if self._others is not None:
            self._others.emit(event)
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber failed on %s; the call goes on", type(event).__name__)
