"""A step of an agent or graph does not walk an exhausted chain twice.

`ModelFallbackMiddleware` with the same chat model among its fallbacks, or a retry without a wait, makes a failed call
again at once. The chain has just tried its models as often as its limits allow, so a second walk would only multiply
the load of an outage. Such a call raises the error of the first one, and sends nothing.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final
from uuid import UUID

import openrouter_fallback as core

from .errors import FallbackError, twin_of

AT_ONCE: Final = 0.1
"""Seconds after a failed call in which the same request of the same step is not sent again. Retries wait longer."""
_MOST: Final = 256


@dataclass(frozen=True, slots=True)
class _Failure:
    client: Any
    request: int
    until: float
    error: core.FallbackError


class FailedCalls:
    """The last failed call of each of the last 256 steps. A step is the run that calls the chat model, by its id."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._failures: OrderedDict[UUID, _Failure] = OrderedDict()
        self._lock = threading.Lock()

    def calling(self, step: UUID, client: Any, *request: Any) -> AbstractContextManager[None]:
        """Around a call: raises at once if this step's call of `client` with the same `request` has just failed.

        Errors of the core become errors of LangChain in it.
        """
        return _Calling(self, step, client, request)

    def last(self, step: UUID, client: Any, request: tuple[Any, ...]) -> core.FallbackError | None:
        """The error of the same call, if it failed a moment ago."""
        with self._lock:
            known = self._failures.get(step)
        if known is None or known.client is not client or self.clock() >= known.until:
            return None
        return known.error if known.request == hash(repr(request)) else None

    def add(self, step: UUID, client: Any, request: tuple[Any, ...], error: core.FallbackError) -> None:
        """Remember that the call has failed."""
        failure = _Failure(client, hash(repr(request)), self.clock() + AT_ONCE, error)
        with self._lock:
            self._failures[step] = failure
            self._failures.move_to_end(step)
            while len(self._failures) > _MOST:
                self._failures.popitem(last=False)


@dataclass(slots=True)
class _Calling:
    calls: FailedCalls
    step: UUID
    client: Any
    request: tuple[Any, ...]

    def __enter__(self) -> None:
        known = self.calls.last(self.step, self.client, self.request)
        if known is not None:
            raise twin_of(known)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not isinstance(error, core.FallbackError):
            return
        if error.attempts and error.partial is None:
            self.calls.add(self.step, self.client, self.request, error)
        if not isinstance(error, FallbackError):
            raise twin_of(error) from None
