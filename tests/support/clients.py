"""Clients of the chain FIRST, SECOND that wait for nothing but what a test makes them wait for."""

from __future__ import annotations

from typing import Any

from openrouter_fallback import Completion, FailureKind, FallbackClient, ModelConfig
from openrouter_fallback.composition import parts_of

from ..cases.matrix import FIRST, SECOND

KEY = "sk-or-v1-emulator"
"""The key of the tests' emulators, and of processes that tests start."""
SHORT, PATIENT = 0.3, 60.0
HASTY_FIRST = [ModelConfig(FIRST, timeout=SHORT), ModelConfig(SECOND, timeout=PATIENT)]


def client_for(base_url: str, models: list[Any] | None = None, **settings: Any) -> FallbackClient:
    """A client whose deadlines are out of the way and whose dice show nought."""
    settings = {"first_token_timeout_seconds": PATIENT, "stall_timeout_seconds": PATIENT, **settings}
    client = FallbackClient(models or [FIRST, SECOND], base_url=base_url, api_key=KEY, settings=settings)
    return undiced(client)


def undiced(client: FallbackClient) -> FallbackClient:
    """The client; its dice show nought from now on: no jitter."""
    parts_of(client).runtime.random = lambda: 0.0
    return client


def kinds(completion: Completion) -> list[FailureKind | None]:
    """What went wrong with each attempt, None with the one that answered."""
    return [attempt.kind for attempt in completion.attempts]


def free_slots(client: FallbackClient) -> int:
    """The connection slots of the running loop that no request of the client holds."""
    return parts_of(client).runtime.places()._value
