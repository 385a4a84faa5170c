"""A caller's routing: from arguments, from the context, from the configuration."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, fields, replace
from typing import Any

from ..catalog.prices import MaxPrice, PriceCap
from ..config.models import ModelConfig
from ..errors import ConfigError


@dataclass(frozen=True, slots=True)
class Choice:
    """The routing of one call. None takes the value of the context, then of the configuration."""

    task: str | None = None
    max_cost_tier: str | None = None
    primary_provider: str | None = None
    models: tuple[str | ModelConfig, ...] | None = None
    max_price: PriceCap | None = None

    @classmethod
    def of(
        cls,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: MaxPrice | None = None,
    ) -> Choice:
        """The routing from a caller's arguments. Raises `ConfigError`."""
        if isinstance(models, str):
            raise ConfigError(f"models={models!r} is a string; give a list: models=[{models!r}]")
        for name, value in (("task", task), ("max_cost_tier", max_cost_tier), ("primary_provider", primary_provider)):
            if value is not None and not isinstance(value, str):
                raise ConfigError(f"{name}={value!r} is a {type(value).__name__}; it must be a string")
        given = None if models is None else tuple(models)
        for model in given or ():
            if not isinstance(model, str | ModelConfig):
                raise ConfigError(f"models= holds a {type(model).__name__}; for a call it may hold ids and ModelConfig")
        cap = None if max_price is None else PriceCap.read(max_price)
        return cls(task, max_cost_tier, primary_provider, given, cap)

    def over(self, other: Choice) -> Choice:
        """This choice, with its None values taken from `other`.

        `task` and `models` both select models, and within one choice `models` wins. So a choice with a `task` takes no
        `models` from `other`. All other values are taken: a call that names a task keeps every cap.
        """
        given = {name: value for name in _NAMES if (value := getattr(self, name)) is not None}
        if "task" in given:
            given.setdefault("models", None)
        return replace(other, **given) if given else other


_NAMES = tuple(field.name for field in fields(Choice))
_context: ContextVar[Choice | None] = ContextVar("openrouter_fallback_routing", default=None)


@contextmanager
def routing(
    *,
    task: str | None = None,
    max_cost_tier: str | None = None,
    primary_provider: str | None = None,
    models: Sequence[str | ModelConfig] | None = None,
    max_price: MaxPrice | None = None,
) -> Iterator[None]:
    """Set the routing of all calls in this context. A call's own arguments and an inner context win over it."""
    choice = Choice.of(task, max_cost_tier, primary_provider, models, max_price)
    outer = _context.get()
    token = _context.set(choice.over(outer) if outer is not None else choice)
    try:
        yield
    finally:
        _context.reset(token)


def current_routing() -> dict[str, Any]:
    """The values that `routing` set in this context. A cache of answers must include them in its key."""
    choice = _context.get()
    if choice is None:
        return {}
    return {name: value for name in _NAMES if (value := getattr(choice, name)) is not None}


def in_context(choice: Choice) -> Choice:
    """The call's own choice, with None values taken from the context."""
    outer = _context.get()
    return choice if outer is None else choice.over(outer)
