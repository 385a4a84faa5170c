"""Figures and names as servers write them, checked once: what is absurd counts as not said.

Servers, proxies and attackers send negative, infinite and huge numbers, numbers as text, and names of any type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

MAX_TOKENS: Final = 1_000_000_000
"""No request uses more tokens."""
MAX_USD: Final = 1_000_000.0
"""No request costs more, in USD."""
MAX_NAME: Final = 300
MAX_DEPTH: Final = 128
"""Containers in one another. `orjson.dumps` refuses more than 254, and Python's own `json` and `copy` about 300."""

_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class TooManyValues(ValueError):
    """JSON beyond its bounds."""


def number(value: object) -> float | None:
    """A finite number; None for anything else, also for text and booleans."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def tokens(source: object, *keys: str) -> int:
    """The first of `keys` that holds a number of tokens; 0 if none does."""
    for key in keys:
        found = number(source.get(key)) if isinstance(source, Mapping) else None
        if found is not None and 0 <= found <= MAX_TOKENS:
            return int(found)
    return 0


def usd(value: object) -> float | None:
    """An amount in USD from 0 to `MAX_USD`; None for anything else."""
    found = number(value)
    return found if found is not None and 0 <= found < MAX_USD else None


def cost(usage: object) -> float | None:
    """USD that a `usage` object reports, for the caller: what OpenRouter charges and what the caller's provider does.

    With a provider key of the caller's own (`is_byok`) `cost` is OpenRouter's fee, and the provider charges
    `cost_details.upstream_inference_cost`; where that is not told, a fee of 0 says nothing of the cost. Without such a
    key that field is a breakdown of `cost`.
    """
    if not isinstance(usage, Mapping):
        return None
    charged = usd(usage.get("cost"))
    details = usage.get("cost_details")
    if usage.get("is_byok") is not True:
        return charged
    upstream = usd(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
    return charged or None if upstream is None else upstream + (charged or 0.0)


def name(value: object) -> str | None:
    """A name of a model or provider, or an id: printable text of at most `MAX_NAME` characters; None if it is none."""
    return _UNPRINTABLE.sub("\ufffd", value[:MAX_NAME]) if isinstance(value, str) and value else None


def used_up(usage: object, max_tokens: int | None) -> bool:
    """Whether an answer has used all tokens that it was allowed. Some servers count reasoning apart from the rest."""
    if max_tokens is None or max_tokens <= 0 or not isinstance(usage, Mapping):
        return False
    written = tokens(usage, "completion_tokens", "output_tokens")
    return written >= max_tokens or written + reasoning_tokens(usage) >= max_tokens


def reasoning_tokens(usage: Mapping[str, Any]) -> int:
    """The tokens of the reasoning, where they are told."""
    return tokens(usage.get("completion_tokens_details") or usage.get("output_tokens_details"), "reasoning_tokens")


def check_depth(value: object) -> None:
    """Raise `TooManyValues` if the value is nested too deeply."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise TooManyValues("the JSON is nested too deeply")
