"""The checked arguments of a call, and the callback host of an async caller."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ..endpoints.destinations import checked_headers
from ..errors import ConfigError
from ..events import Event, Events
from ..request.handover import Histories
from ..request.request import Messages, Request
from ..routes.choice import Choice
from .runtime import Accept


class CallArguments:
    """The checked arguments of a call."""

    __slots__ = ("accept", "choice", "headers", "request")

    def __init__(
        self,
        messages: Messages,
        choice: Choice,
        accept: Accept | None,
        headers: Mapping[str, str] | None,
        params: Mapping[str, Any],
        mid_stream: str = "raise",
        *,
        idempotent: bool = True,
        thread_id: str | None = None,
        histories: Histories | None = None,
    ) -> None:
        if accept is not None and not callable(accept):
            raise ConfigError(f"accept is a {type(accept).__name__}; it must be a function of the completion")
        self.request = Request(
            messages, params, mid_stream=mid_stream, idempotent=idempotent, thread_id=thread_id, histories=histories
        )
        self.choice = choice
        self.accept = accept
        self.headers = {} if headers is None else checked_headers(headers)


class InlineCallbacks:
    """The callback host of an async caller: its functions run in the caller's event loop."""

    __slots__ = ("_events",)

    def __init__(self, events: Events) -> None:
        self._events = events

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        result = function(*args)
        return await result if inspect.isawaitable(result) else result

    @property
    def heard(self) -> bool:
        return self._events.heard

    def emit(self, event: Event) -> None:
        self._events.emit(event)
