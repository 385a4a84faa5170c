"""The shared parts of the fault matrix for every surface: the emulator, the configuration, and a row as a script."""

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
"""Seconds between two tokens, so that the first token is delivered before the fault. On a busy machine, token and fault
may still arrive in one read. Then no text was delivered, and the second model answers; the tests accept that too."""


@contextmanager
def served() -> Iterator[Emulator]:
    """One emulator for the whole matrix, with short waits wherever a row has no deadline of its own."""
    with Emulator(strict=True) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr("openrouter_fallback.decision.rounds.RECONNECT_SECONDS", 0.01)
        patch.setattr("openrouter_fallback.decision.deadlines.USAGE_SECONDS", 0.05)
        # Else a busy machine joins a token and the following fault in one read, and the token is not delivered.
        patch.setattr("openrouter_fallback.http.chunks.Chunks.joined", lambda _, data: data)
        # A request on a kept connection that fails is sent again. So each request has a new connection here.
        patch.setattr("openrouter_fallback.http.pool.MAX_IDLE_CONNECTIONS", 0)
        yield emulator


def config(emulator: Emulator) -> FallbackConfig:
    """The configuration with the chain and the endpoints that the rows name."""
    return FallbackConfig(
        default_chain=(FIRST, SECOND),
        endpoints={
            "openrouter": EndpointConfig(emulator.base_url),
            "elsewhere": EndpointConfig(emulator.base_url, api_key=emulator.api_key),
            "nowhere": EndpointConfig(emulator.refused_url()),
        },
    )


def settings(*, hasty: bool) -> dict[str, Any]:
    """The settings of a row: a short stall deadline for rows with a stall, and no retry budget.

    The number of rows within the ten seconds of the budget would depend on the machine.
    """
    return {"stall_timeout_seconds": SHORT if hasty else PATIENT, "retry_budget": None}


def models(case: Case) -> list[ModelConfig]:
    """The chain of a row. Only the first model has a short deadline."""
    return [
        ModelConfig(case.first, timeout=SHORT if case.hasty else PATIENT),
        ModelConfig(case.second, timeout=PATIENT),
    ]


def script(emulator: Emulator, case: Case, *, streamed: bool) -> dict[str, Any]:
    """Make the first model fail as the row defines; return the parameters of the call."""
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
    """Set the fault of a row; `which` limits the requests with the fault."""
    if case.fault != "refused":
        emulator.fault(case.fault, model=None if case.everywhere else FIRST, **case.details, **which)
