"""The command `models`: which of the models that exist are shown, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from ... import ModelInfo
from ..options import Sort
from .costs import Load, per_million, per_thousand

_NEVER = Decimal("Infinity")
_USUAL = Load()
_ORDER: Mapping[Sort, Callable[[ModelInfo], Any]] = MappingProxyType(
    {
        Sort.PRICE: lambda model: _known(per_thousand(model, _USUAL)),
        Sort.CONTEXT: lambda model: -(model.context_length or 0),
        Sort.ID: lambda model: model.id,
    }
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a model must be to be shown; prices in USD per million tokens. What is unknown passes no limit."""

    words: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    can: tuple[str, ...] = ()
    min_context: int = 0
    max_price: float | None = None
    free: bool = False

    def fits(self, model: ModelInfo) -> bool:
        """Whether it is shown."""
        said = f"{model.id} {model.name}".lower()
        return (
            all(word.lower() in said for word in self.words)
            and (not self.providers or provider(model.id) in self.providers)
            and all(model.can(need) for need in self.can)
            and (model.context_length or 0) >= self.min_context
            and (self.max_price is None or _dearest(model) <= Decimal(str(self.max_price)))
            and (not self.free or _dearest(model) == 0)
        )


def select(models: Iterable[ModelInfo], wanted: Wanted, sort: Sort) -> list[ModelInfo]:
    """The wanted models: the cheapest first (what is unknown last), the largest context first, or by id."""
    return sorted(filter(wanted.fits, models), key=lambda model: (_ORDER[sort](model), model.id))


def provider(id: str) -> str:
    """The author's part of an id."""
    return id.partition("/")[0].lstrip("~")


def _dearest(model: ModelInfo) -> Decimal:
    """The higher of both prices, per million tokens."""
    return max(_known(per_million(model.prompt_price)), _known(per_million(model.completion_price)))


def _known(amount: Decimal | None) -> Decimal:
    return _NEVER if amount is None else amount
