"""Checks figures and names that servers send. An impossible value counts as missing.

Servers, proxies and attackers send negative, infinite and huge numbers, numbers as text, and names of any type.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, Final

MAX_TOKENS: Final = 1_000_000_000
"""A higher count of tokens counts as missing."""
MAX_USD: Final = 1_000_000.0
"""This amount or more, in USD, counts as missing."""
MAX_NAME: Final = 300
MAX_DEPTH: Final = 128
"""Levels of nesting. `orjson.dumps` refuses more than 254; Python's `json` and `copy` fail at about 300."""

# Tuples: for each figure of each answer, a union or an abstract class takes several times as long to check.
_NUMBERS: Final = (int, float)
_MAPPINGS: Final = (dict, Mapping)
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


class TooManyValues(ValueError):
    """A JSON value exceeds a size limit."""


def number(value: object) -> float | None:
    """A finite number; None for anything else, also for text and booleans."""
    if isinstance(value, bool) or not isinstance(value, _NUMBERS):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def tokens(source: object, *keys: str) -> int:
    """The number of tokens under the first of `keys` that holds one; 0 if no key does."""
    if not isinstance(source, _MAPPINGS):
        return 0
    for key in keys:
        value = source.get(key)
        if value is None:
            continue
        found = value if type(value) is int else number(value)
        if found is not None and 0 <= found <= MAX_TOKENS:
            return int(found)
    return 0


def usd(value: object) -> float | None:
    """An amount in USD from 0 to `MAX_USD`; None for anything else."""
    found = number(value)
    return found if found is not None and 0 <= found < MAX_USD else None


def cost(usage: object) -> float | None:
    """The caller's total cost in USD, as a `usage` object reports it: OpenRouter's charge plus the provider's.

    With a provider key of the caller's own (`is_byok`) `cost` is OpenRouter's fee, and the provider charges
    `cost_details.upstream_inference_cost`, or the sum of its parts. If that charge is missing, a fee of 0 means an
    unknown cost. Without such a key the field is a breakdown of `cost`; if nobody says, the breakdown of a cost of 0
    is a charge of the provider.
    """
    if not isinstance(usage, _MAPPINGS):
        return None
    charged = usd(usage.get("cost"))
    details = usage.get("cost_details")
    own = usage.get("is_byok")
    if own is False or (own is None and charged != 0.0):
        return charged
    upstream = _upstream(details) if isinstance(details, Mapping) else None
    if own is None:
        return upstream or charged
    return charged or None if upstream is None else upstream + (charged or 0.0)


def _upstream(details: Mapping[str, Any]) -> float | None:
    """The provider's charge, in one figure or in two."""
    parts = [usd(details.get(key)) for key in ("upstream_inference_prompt_cost", "upstream_inference_completions_cost")]
    known = [part for part in parts if part is not None]
    whole = usd(details.get("upstream_inference_cost"))
    return whole if whole is not None or not known else sum(known)


def name(value: object) -> str | None:
    """A model's or provider's name, or an id, as printable text cut to `MAX_NAME` characters; None for no text."""
    if not isinstance(value, str) or not value:
        return None
    cut = value[:MAX_NAME]
    return cut if cut.isprintable() else _UNPRINTABLE.sub("\ufffd", cut)


def used_up(usage: object, max_tokens: int | None) -> bool:
    """Whether an answer used its whole `max_tokens`. Some servers count reasoning tokens separately."""
    if max_tokens is None or max_tokens <= 0 or not isinstance(usage, Mapping):
        return False
    written = tokens(usage, "completion_tokens", "output_tokens")
    return written >= max_tokens or written + reasoning_tokens(usage) >= max_tokens


def reasoning_tokens(usage: Mapping[str, Any]) -> int:
    """The reported reasoning tokens; 0 if not reported."""
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
