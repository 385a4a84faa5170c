"""What calls of a usual size cost, by the catalog's prices. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal

from ... import ModelInfo

CALLS = 1000
MILLION = 1_000_000
_TINY = Decimal("0.0001")


@dataclass(frozen=True, slots=True)
class Load:
    """The size of a usual call, in tokens."""

    prompt_tokens: int = 1000
    completion_tokens: int = 300


@dataclass(frozen=True, slots=True)
class ChainCost:
    """USD per 1,000 calls: answered by the `first` model, by the `cheapest` and by the `dearest`; None is unknown."""

    first: Decimal | None
    cheapest: Decimal | None
    dearest: Decimal | None


def per_thousand(model: ModelInfo | None, load: Load) -> Decimal | None:
    """USD per 1,000 calls of one model; None if a price is unknown."""
    if model is None or model.prompt_price is None or model.completion_price is None:
        return None
    tokens = load.prompt_tokens * model.prompt_price + load.completion_tokens * model.completion_price
    return CALLS * (tokens + (model.request_price or 0))


def chain_cost(chain: Iterable[str], look_up: Callable[[str], ModelInfo | None], load: Load) -> ChainCost:
    """What 1,000 calls of a chain cost, depending on the model that answers."""
    costs = [per_thousand(look_up(id), load) for id in chain]
    known = [cost for cost in costs if cost is not None]
    return ChainCost(costs[0] if costs else None, min(known, default=None), max(known, default=None))


def per_million(price: Decimal | None) -> Decimal | None:
    """A price per token as one per million tokens, as people compare them."""
    return None if price is None else price * MILLION


def usd(amount: Decimal | float | None) -> str:
    """An amount as people write it: cents from a dollar on, two figures that tell something below."""
    if amount is None:
        return "?"
    if not amount:
        return "free"
    if amount >= 1:
        return f"${amount:,.2f}"
    if amount < _TINY:
        return f"<${_TINY}"
    digits = max(2, 1 - Decimal(amount).adjusted())
    return f"${amount:.{digits}f}".rstrip("0") if digits > 2 else f"${amount:.2f}"
