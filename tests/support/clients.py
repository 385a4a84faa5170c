"""Clients of the chain FIRST, SECOND without delays of their own."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from openrouter_fallback import Completion, FailureKind, FallbackClient, ModelConfig
from openrouter_fallback.composition import parts_of

from ..cases.matrix import FIRST, SECOND

KEY = "sk-or-v1-emulator"
"""The API key of the tests' emulators, and of processes that tests start."""
SHORT, PATIENT = 0.3, 60.0
HASTY_FIRST = [ModelConfig(FIRST, timeout=SHORT), ModelConfig(SECOND, timeout=PATIENT)]


def client_for(base_url: str, models: list[Any] | None = None, **settings: Any) -> FallbackClient:
    """A client with long deadlines, and with dice that always return 0."""
    settings = {"first_token_timeout_seconds": PATIENT, "stall_timeout_seconds": PATIENT, **settings}
    client = FallbackClient(models or [FIRST, SECOND], base_url=base_url, api_key=KEY, settings=settings)
    return undiced(client)


def undiced(client: FallbackClient) -> FallbackClient:
    """The client. From now on its dice always return 0, so delays have no jitter."""
    parts_of(client).runtime.random = lambda: 0.0
    return client


def kinds(completion: Completion) -> list[FailureKind | None]:
    """The kind of failure of each attempt; None for the attempt that answered."""
    return [attempt.kind for attempt in completion.attempts]


def counted_clients(monkeypatch: pytest.MonkeyPatch) -> list[FallbackClient]:
    """A list to which each new client is added."""
    made: list[FallbackClient] = []
    init = FallbackClient.__init__

    def counted(self: FallbackClient, *args: Any, **given: Any) -> None:
        made.append(self)
        init(self, *args, **given)

    monkeypatch.setattr(FallbackClient, "__init__", counted)
    return made


def free_slots(client: FallbackClient) -> int:
    """The number of free connection slots of the client on the running event loop."""
    return _free(parts_of(client).runtime.connection_slots())


def free_slots_by_loop(client: FallbackClient) -> list[int]:
    """The numbers of free connection slots of the client on each of its event loops."""
    return [_free(slots) for slots in parts_of(client).runtime.slots.values()]


def _free(slots: asyncio.Semaphore) -> int:
    """How often `slots` can be acquired without waiting."""
    taken = 0
    while not slots.locked():
        with suppress(StopIteration):
            slots.acquire().send(None)
        taken += 1
    for _ in range(taken):
        slots.release()
    return taken
