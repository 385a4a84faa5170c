"""Reports failed attempts as LangChain's custom events during the call."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self, TypeGuard
from uuid import UUID

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config

from openrouter_fallback import FailureKind, FallbackClient
from openrouter_fallback.events import AttemptEnded, Event

from .responses import attempt_dict

ATTEMPT_FAILED = "openrouter_fallback_attempt_failed"
"""The name of the custom event. Its data has the form of an entry of `response_metadata["attempts"]`."""


class Listening:
    """Reports the failed attempts of one call to the surrounding LangChain run.

    For an async call, use it as an async context manager: the end of the block waits until all events are dispatched.
    """

    __slots__ = ("_config", "_telling")

    def __init__(self, config: RunnableConfig) -> None:
        self._config = config
        self._telling: list[asyncio.Task[None]] = []

    @classmethod
    def here(cls) -> Self | None:
        """An instance for the surrounding run; None without a run, since LangChain then refuses to dispatch events."""
        around = var_child_runnable_config.get()
        if around is None or getattr(around.get("callbacks"), "parent_run_id", None) is None:
            return None
        return cls(ensure_config())

    @property
    def run(self) -> UUID:
        """The id of the surrounding run."""
        run: UUID = self._config["callbacks"].parent_run_id  # type: ignore[union-attr,assignment]
        return run

    def to(self, client: FallbackClient) -> FallbackClient:
        """The client that reports the failed attempts of a synchronous call."""
        return client.with_options(on_event=self._tell)

    def ato(self, client: FallbackClient) -> FallbackClient:
        """The client that reports the failed attempts of an async call."""
        return client.with_options(on_event=self._atell)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._telling:
            await asyncio.gather(*self._telling, return_exceptions=True)

    def _tell(self, event: Event) -> None:
        if _failed(event):
            dispatch_custom_event(ATTEMPT_FAILED, attempt_dict(event.attempt), config=self._config)

    def _atell(self, event: Event) -> None:
        if _failed(event):
            data = attempt_dict(event.attempt)
            telling = adispatch_custom_event(ATTEMPT_FAILED, data, config=self._config)
            self._telling.append(asyncio.ensure_future(telling))


def _failed(event: Event) -> TypeGuard[AttemptEnded]:
    return isinstance(event, AttemptEnded) and event.attempt.kind not in (None, FailureKind.CANCELLED)
