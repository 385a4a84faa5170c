"""Compares the prices of models: one price per model, the tiers derived from it, and a caller's cap.

A model's price is one number in USD per million tokens: three parts prompt and one part completion, as in an ordinary
chat. A price per request is spread over 1,000 tokens. Tiers derived from prices: budget up to 2, standard up to 8,
premium above. In 2026 small models (claude-haiku-4.5: 2.00, gpt-5-mini: 0.69) are budget, gpt-5.1 (3.44) and
claude-sonnet-4.5 (6.00) standard, and claude-opus-4.5 (10.00) premium.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from ..errors import ConfigError
from .listing import ModelInfo

MaxPrice = float | Decimal | Mapping[str, float | Decimal | str]
"""USD per million tokens, for prompt and completion each; or `{"prompt": 1, "completion": 5, "request": 0.01}`
(`request` in USD per request), the shape of OpenRouter's `provider.max_price`."""

_MILLION: Final = Decimal(1_000_000)
_PARTS: Final = (750, 250)
TIER_BOUNDS: Final = (("budget", Decimal(2)), ("standard", Decimal(8)))
"""The highest price of each tier, in USD per million tokens. A higher price is `premium`."""
_UNITS: Final = {
    "prompt": "per million prompt tokens",
    "completion": "per million completion tokens",
    "request": "per request",
}


def price(info: ModelInfo | None) -> Decimal | None:
    """USD per million tokens, in requests of 750 prompt and 250 completion tokens; None if unknown."""
    thousand = cost(info, *_PARTS)
    return None if thousand is None else thousand * 1000


def tier(info: ModelInfo | None) -> str | None:
    """The tier derived from the model's price; None if the price is unknown."""
    cost = price(info)
    if cost is None:
        return None
    return next((name for name, most in TIER_BOUNDS if cost <= most), "premium")


def cost(info: ModelInfo | None, prompt_tokens: int, completion_tokens: int) -> Decimal | None:
    """The cost in USD of one request with these token counts; None if the prices are unknown."""
    if info is None or info.prompt_price is None or info.completion_price is None:
        return None
    tokens = info.prompt_price * prompt_tokens + info.completion_price * completion_tokens
    return tokens + (info.request_price or 0)


@dataclass(frozen=True, slots=True)
class PriceCap:
    """A caller's highest prices: USD per million tokens and USD per request. None means no limit."""

    prompt: Decimal | None = None
    completion: Decimal | None = None
    request: Decimal | None = None

    @classmethod
    def read(cls, given: MaxPrice | PriceCap | None) -> PriceCap | None:
        """Parse the argument `max_price=`. Raises `ConfigError`."""
        if given is None or isinstance(given, PriceCap):
            return given
        if not isinstance(given, Mapping):
            amount = _amount("max_price", given)
            return cls(amount, amount)
        if not given or not given.keys() <= _UNITS.keys():
            raise ConfigError(f"max_price={dict(given)!r}: name one or more of {', '.join(_UNITS)}")
        return cls(**{name: _amount(f"max_price[{name!r}]", value) for name, value in given.items()})

    def beyond(self, info: ModelInfo | None) -> str | None:
        """Why a model exceeds the cap; None if it does not. A model of unknown price exceeds every cap."""
        for name, most in self._limits():
            known = None if info is None else getattr(info, f"{name}_price")
            if known is None and name == "request" and info is not None and info.prompt_price is not None:
                continue  # most lists omit the request price if there is none
            if known is None:
                return f"its {name} price is unknown, and max_price is {most:f} USD {_UNITS[name]}"
            asked = known if name == "request" else known * _MILLION
            if asked > most:
                return f"{asked.normalize():f} USD {_UNITS[name]} is above max_price {most:f}"
        return None

    def wire(self) -> dict[str, str]:
        """The cap as OpenRouter's `provider.max_price`, which applies to each provider of a model separately."""
        return {name: f"{most:f}" for name, most in self._limits()}

    def _limits(self) -> list[tuple[str, Decimal]]:
        limits = (("prompt", self.prompt), ("completion", self.completion), ("request", self.request))
        return [(name, most) for name, most in limits if most is not None]


def lower(own: object, cap: Mapping[str, str]) -> Mapping[str, Any]:
    """A request's own `provider.max_price` combined with a cap: the lower value of each limit."""
    if not isinstance(own, Mapping):
        return cap
    return {**own, **{name: most for name, most in cap.items() if not _within(own.get(name), Decimal(most))}}


def _within(value: object, most: Decimal) -> bool:
    try:
        return value is not None and Decimal(str(value)) <= most
    except InvalidOperation:
        return False


def _amount(what: str, value: object) -> Decimal:
    try:
        amount = Decimal(str(value)) if isinstance(value, int | float | Decimal | str) else None
    except InvalidOperation:
        amount = None
    if amount is None or isinstance(value, bool) or not amount.is_finite() or amount < 0:
        raise ConfigError(f"{what}={value!r} is not an amount of USD per million tokens, 0 or more")
    return amount
