"""What `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from openrouter_fallback import Attempt, Completion, FallbackError, Route, Skipped


def completion_json(completion: Completion) -> dict[str, Any]:
    """An answer; cost in USD."""
    return {
        "text": completion.text,
        "model": completion.model,
        "finish_reason": completion.finish_reason,
        "usage": asdict(completion.usage) if completion.usage is not None else None,
        "cost": completion.cost,
        "seconds": round(completion.seconds, 4),
        "attempts": _attempts(completion.attempts),
    }


def route_json(route: Route) -> dict[str, Any]:
    """What a call would do."""
    return {"candidates": list(route.candidates), "skipped": _skipped(route.skipped)}


def error_json(error: FallbackError) -> dict[str, Any]:
    """A call that was not answered."""
    return {
        "error": {"type": type(error).__name__, "message": str(error), "retry_after": error.retry_after},
        "attempts": _attempts(error.attempts),
        "skipped": _skipped(error.skipped),
    }


def _attempts(attempts: Iterable[Attempt]) -> list[dict[str, Any]]:
    return [{**asdict(attempt), "seconds": round(attempt.seconds, 4)} for attempt in attempts]


def _skipped(skipped: Iterable[Skipped]) -> list[dict[str, Any]]:
    return [asdict(one) for one in skipped]
