"""Health in virtual time: targets, breakers without jitter, and functions that make them fail."""

from __future__ import annotations

from openrouter_fallback.health import HealthScopes, MemoryHealth, Permit, Rules
from openrouter_fallback.health.breaker import Breaker

A = HealthScopes("a", "openrouter", "openrouter#one")
A_OF_ANOTHER = HealthScopes("a", "openrouter", "openrouter#two")
B = HealthScopes("b", "openrouter", "openrouter#one")
C = HealthScopes("groq:c", "groq", "groq#one")


def health(rules: Rules | None = None, jitter: float = 0.0) -> MemoryHealth:
    return MemoryHealth(rules or Rules(), lambda: jitter)


def breaker(jitter: float = 0.0, **rules: float) -> Breaker:
    return Breaker(Rules(**rules), lambda: jitter)  # type: ignore[arg-type]


def begun(known: MemoryHealth, target: HealthScopes, now: float, *, forced: bool = False) -> Permit:
    permit = known.begin(target, now, forced=forced)
    assert permit is not None
    return permit


def fail(known: MemoryHealth, target: HealthScopes, now: float, times: int = 3) -> None:
    for _ in range(times):
        known.model_failed(begun(known, target, now), now)


def trip(one: Breaker, now: float) -> None:
    for _ in range(one.rules.min_samples):
        one.failure(one.begin(now), now)
