"""What the fault matrix needs on every surface: its emulator, its configuration, and a row of it as a script."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from openrouter_fallback import EndpointConfig, FallbackConfig, ModelConfig
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_CALL, SECOND_TEXT, TOOL, Case

SHORT, PATIENT = 0.3, 60.0
PACE = 0.02
"""Between two tokens, so that the first of them is delivered before the fault comes. Should all come in one read after
all (a busy machine), nobody has seen the text and the second model answers, which the tests take as well."""


@contextmanager
def served() -> Iterator[Emulator]:
    """One emulator for the whole matrix; what is waited for without a deadline of the row's own is short."""
    with Emulator(strict=True) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr("openrouter_fallback.decision.rounds.RECONNECT_SECONDS", 0.01)
        patch.setattr("openrouter_fallback.decision.deadlines.USAGE_SECONDS", 0.05)
        # Otherwise a busy machine finds a token and the fault after it in one read, and nobody has seen the token.
        patch.setattr("openrouter_fallback.http.chunks.Chunks.joined", lambda _, data: data)
        # A request whose kept connection dies is sent once more: here each has a connection of its own.
        patch.setattr("openrouter_fallback.http.pool.MAX_IDLE_CONNECTIONS", 0)
        yield emulator


def config(emulator: Emulator) -> FallbackConfig:
    """The chain, and the endpoints that rows name."""
    return FallbackConfig(
        default_chain=(FIRST, SECOND),
        endpoints={
            "openrouter": EndpointConfig(emulator.base_url),
            "elsewhere": EndpointConfig(emulator.base_url, api_key=emulator.api_key),
            "nowhere": EndpointConfig(emulator.refused_url()),
        },
    )


def settings(*, hasty: bool) -> dict[str, Any]:
    """Where a row is of a stall, that is noticed soon. No retry budget: how many rows fall into its ten seconds depends
    on the machine."""
    return {"stall_timeout_seconds": SHORT if hasty else PATIENT, "retry_budget": None}


def models(case: Case) -> list[ModelConfig]:
    """The row's chain; only the first model is ever short of time."""
    return [
        ModelConfig(case.first, timeout=SHORT if case.hasty else PATIENT),
        ModelConfig(case.second, timeout=PATIENT),
    ]


def script(emulator: Emulator, case: Case, *, streamed: bool) -> dict[str, Any]:
    """Make the first model fail as the row says; returns the parameters to ask with."""
    emulator.pace(token_interval=PACE if case.text_first and streamed else 0.0)
    if case.tools:
        emulator.reply(text=None, model=FIRST)
        emulator.reply(text=None, tool_calls=[SECOND_CALL], model=SECOND)
    else:
        emulator.reply(text=FIRST_TEXT, model=FIRST)
        emulator.reply(text=SECOND_TEXT, model=SECOND)
    fault(emulator, case)
    return {**case.params, **({"tools": [TOOL], "tool_choice": "required"} if case.tools else {})}


def fault(emulator: Emulator, case: Case, **which: Any) -> None:
    """The row's fault; `which` requests, where that is not all."""
    if case.fault != "refused":
        emulator.fault(case.fault, model=None if case.everywhere else FIRST, **case.details, **which)
