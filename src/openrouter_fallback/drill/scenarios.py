"""What is done to the primary model: one table, a row per outage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

Mode = Literal["chat", "stream"]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One outage of the primary model.

    `fault` is a row of the emulator's `FAULTS` with its `details`; None is no fault. `refused`: the primary's port
    refuses connections instead. The `calls` are made in the `modes` by turns. `left_out` shortens how long a failing
    model is left out, in seconds; then `calls_after` more calls are made once that time is over: the first of them
    probes the primary. `plain_fails`: without failover no call is expected to be answered.
    """

    name: str
    title: str
    description: str
    fault: str | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    refused: bool = False
    modes: tuple[Mode, ...] = ("chat", "stream")
    calls: int = 12
    left_out: float | None = None
    calls_after: int = 0
    plain_fails: bool = True


HEALTHY = Scenario("healthy", "healthy", "Nothing fails: the baseline of the added latency.", plain_fails=False)

SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "overloaded",
        "503 overloaded",
        "Every request is answered with 503.",
        "provider_overloaded",
    ),
    Scenario(
        "rate-limited",
        "429 Retry-After",
        "Every request is answered with 429 and Retry-After: 30.",
        "rate_limit_exceeded",
        {"retry_after": 30},
    ),
    Scenario(
        "refused",
        "connection refused",
        "The primary's endpoint refuses connections; they are tried once more after a second.",
        refused=True,
    ),
    Scenario(
        "silent",
        "silence",
        "200, and then nothing but keep-alive comments, which defeat read timeouts.",
        "silence",
    ),
    Scenario(
        "error-body",
        "200 with an error",
        "200, and in the body an error in place of an answer.",
        "provider_unavailable",
        {"place": "body"},
    ),
    Scenario(
        "cut-off",
        "cut-off answer",
        "The answer stops after some words, and the body ends as if all were well. A stream that has delivered text "
        "goes on with the next model where it stopped.",
        "truncated",
        {"after_tokens": 5},
    ),
    Scenario(
        "empty",
        "empty answer",
        "200, a finished answer, and not one word in it.",
        "empty",
    ),
    Scenario(
        "dead",
        "dead for good",
        "404, the model was withdrawn. It is left out for a second here, and then probed with one request.",
        "model_deprecated",
        left_out=1.0,
        calls_after=4,
    ),
)
