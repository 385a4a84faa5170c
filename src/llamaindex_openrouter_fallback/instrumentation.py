"""Reports each attempt of a call as events and as a child span of LlamaIndex's instrumentation.

Without an attached handler, this module does nothing and costs nothing.
"""

from __future__ import annotations

import inspect
import threading
import uuid
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any

from llama_index.core.instrumentation.event_handlers import NullEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span import active_span_id
from llama_index.core.instrumentation.span_handlers import NullSpanHandler
from llama_index_instrumentation import get_dispatcher

from openrouter_fallback import Attempt, FallbackError
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, FailedOver

if TYPE_CHECKING:
    from openrouter_fallback import FallbackClient

dispatcher = get_dispatcher("llamaindex_openrouter_fallback")


class LLMAttemptStartEvent(BaseEvent, defer_build=True):
    """An attempt starts. `number` counts the attempts of the call from 1."""

    model: str
    number: int

    @classmethod
    def class_name(cls) -> str:
        """The name of the event class."""
        return "LLMAttemptStartEvent"


class LLMAttemptEndEvent(BaseEvent, defer_build=True):
    """An attempt has ended. `kind` is the kind of the failure (None: the model answered). `cost` is in USD."""

    model: str
    number: int
    kind: str | None
    seconds: float
    status: int | None = None
    first_token: float | None = None
    provider: str | None = None
    generation_id: str | None = None
    cost: float | None = None
    message: str = ""

    @classmethod
    def class_name(cls) -> str:
        """The name of the event class."""
        return "LLMAttemptEndEvent"


class LLMFailoverEvent(BaseEvent, defer_build=True):
    """The call continues with another model."""

    failed: str
    next: str
    kind: str
    status: int | None = None

    @classmethod
    def class_name(cls) -> str:
        """The name of the event class."""
        return "LLMFailoverEvent"


def heard() -> bool:
    """Whether any handler would receive the events of attempts."""
    here = dispatcher
    while True:
        if any(not isinstance(one, NullEventHandler) for one in here.event_handlers):
            return True
        if any(not isinstance(one, NullSpanHandler) for one in here.span_handlers):
            return True
        if not here.propagate:
            return False
        here = here.parent


def attempt(model: str, number: int) -> None:
    """The signature of this function gives the span of an attempt its arguments. The function is never called."""


_SIGNATURE = inspect.signature(attempt)


class _Call:
    """An active call: the surrounding span, and the context in which the call began."""

    __slots__ = ("context", "span", "spans")

    def __init__(self) -> None:
        self.span = active_span_id.get()
        self.context = copy_context()
        self.spans: dict[int, tuple[str, Context, inspect.BoundArguments]] = {}


class Observer:
    """Passes a client's events on to LlamaIndex. All copies of an LLM share one observer."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}
        self._watching = False
        self._lock = threading.Lock()

    def watch(self, client: FallbackClient) -> None:
        """Subscribe to the client's events once a handler is attached. Called before each call of a model."""
        if not self._watching and heard():
            with self._lock:
                if not self._watching:
                    client.subscribe(self._take)
                    self._watching = True

    def _take(self, event: Event) -> None:
        match event:
            case CallStarted():
                if heard():
                    self._calls[event.call] = _Call()
            case AttemptStarted():
                if call := self._calls.get(event.call):
                    _enter(call, event)
            case AttemptEnded():
                if (call := self._calls.get(event.call)) and event.number in call.spans:
                    _leave(call, event.number, event.attempt)
            case FailedOver():
                if call := self._calls.get(event.call):
                    status, kind = event.status, str(event.kind)
                    told = LLMFailoverEvent(
                        failed=event.failed, next=event.next, kind=kind, status=status, span_id=call.span
                    )
                    call.context.run(dispatcher.event, told)
            case CallEnded():
                self._calls.pop(event.call, None)


def _enter(call: _Call, event: AttemptStarted) -> None:
    span = f"OpenRouterFallback.attempt-{uuid.uuid4()}"
    # A separate context: OpenTelemetry's handler sets the current span in it. The caller's current span stays.
    context = call.context.copy()
    bound = _SIGNATURE.bind(event.model, event.number)
    call.spans[event.number] = span, context, bound
    tags: dict[str, Any] = {"openrouter_fallback.model": event.model, "openrouter_fallback.attempt": event.number}
    context.run(dispatcher.span_enter, id_=span, bound_args=bound, parent_id=call.span, tags=tags)
    context.run(dispatcher.event, LLMAttemptStartEvent(model=event.model, number=event.number, span_id=span))


def _leave(call: _Call, number: int, ended: Attempt) -> None:
    span, context, bound = call.spans.pop(number)
    told = LLMAttemptEndEvent(
        model=ended.model,
        number=number,
        kind=None if ended.kind is None else str(ended.kind),
        seconds=ended.seconds,
        status=ended.status,
        first_token=ended.first_token,
        provider=ended.provider,
        generation_id=ended.generation_id,
        cost=ended.cost,
        message=ended.message,
        span_id=span,
    )
    context.run(dispatcher.event, told)
    if ended.answered:
        context.run(dispatcher.span_exit, id_=span, bound_args=bound, result=ended)
    else:
        status = "" if ended.status is None else f" {ended.status}"
        error = FallbackError(f"{ended.model}: {ended.kind}{status} {ended.message}".rstrip())
        context.run(dispatcher.span_drop, id_=span, bound_args=bound, err=error)
