"""What `--json` prints."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from ... import Completion, ConfigError, FallbackError, ModelInfo, Route, Skipped
from ..analysis.costs import per_million
from .annotations import mistakes

if TYPE_CHECKING:
    from ...drill import Scenario
    from ..commands.check import Report


def completion_json(completion: Completion) -> dict[str, Any]:
    """An answer; cost in USD."""
    return {
        "text": completion.text,
        "model": completion.model,
        "finish_reason": completion.finish_reason,
        "usage": asdict(completion.usage) if completion.usage is not None else None,
        "cost": completion.cost,
        "seconds": round(completion.seconds, 4),
        "attempts": [attempt.as_dict() for attempt in completion.attempts],
    }


def route_json(route: Route) -> dict[str, Any]:
    """What a call would do."""
    return {"candidates": list(route.candidates), "skipped": _skipped(route.skipped)}


def error_json(error: FallbackError) -> dict[str, Any]:
    """A call that was not answered."""
    return {
        "error": {"type": type(error).__name__, "message": str(error), "retry_after": error.retry_after},
        "attempts": [attempt.as_dict() for attempt in error.attempts],
        "skipped": _skipped(error.skipped),
        **_mistakes(error),
    }


def _mistakes(error: FallbackError) -> dict[str, Any]:
    """Of a configuration that cannot be used: where."""
    if not isinstance(error, ConfigError) or not (found := mistakes(error)):
        return {}
    return {"mistakes": [dict(zip(("file", "line", "key", "text"), one, strict=True)) for one in found]}


def _skipped(skipped: Iterable[Skipped]) -> list[dict[str, Any]]:
    return [asdict(one) for one in skipped]


def scenarios_json(scenarios: Iterable[Scenario]) -> dict[str, Any]:
    """The drill's scenarios."""
    return {
        "scenarios": [
            {"name": one.name, "title": one.title, "description": one.description}
            | {"surface": one.workload.surface, "modes": list(one.workload.modes)}
            for one in scenarios
        ]
    }


def models_json(models: Iterable[ModelInfo]) -> dict[str, Any]:
    """Models; prices in USD per million tokens."""
    return {"models": [model_json(model) for model in models]}


def model_json(model: ModelInfo) -> dict[str, Any]:
    """One model; prices in USD per million tokens and per request."""
    return {
        "id": model.id,
        "name": model.name,
        "context_length": model.context_length,
        "max_output": model.max_output,
        "prompt_price": _amount(per_million(model.prompt_price)),
        "completion_price": _amount(per_million(model.completion_price)),
        "request_price": _amount(model.request_price),
        "input_modalities": _sorted(model.input_modalities),
        "output_modalities": _sorted(model.output_modalities),
        "parameters": _sorted(model.parameters),
        "expires": model.expires.isoformat() if model.expires is not None else None,
    }


def report_json(report: Report, *, passed: bool) -> dict[str, Any]:
    """A check; costs in USD per 1,000 calls of the size in `load`."""
    return {
        "passed": passed,
        "findings": [asdict(finding) for finding in report.findings],
        "keys": [
            {"endpoint": key.endpoint, "source": key.source, "present": key.present, "accepted": key.accepted}
            | {"limit_remaining": key.left}
            for key in report.keys
        ],
        "lists": [
            {"endpoint": one.endpoint, "models": one.count}
            | {"fetched": one.fetched.isoformat() if one.fetched is not None else None}
            for one in report.lists
        ],
        "models": [
            {"id": model.id, "chains": list(model.chains), "listed": model.listed}
            | {"info": model_json(model.info) if model.info is not None else None}
            | {"answer": asdict(model.answer) if model.answer is not None else None}
            for model in report.models
        ],
        "chains": [
            {"kind": chain.kind, "name": chain.name, "models": list(chain.models)}
            | {"first": _amount(cost.first), "cheapest": _amount(cost.cheapest), "dearest": _amount(cost.dearest)}
            for chain, cost in report.costs
        ],
        "load": asdict(report.load),
    }


def _amount(amount: Decimal | None) -> float | None:
    return None if amount is None else float(amount)


def _sorted(names: Iterable[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)
