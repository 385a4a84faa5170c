"""Decodes JSON of a response within bounds: nesting and number of values are checked before memory is used."""

from __future__ import annotations

from typing import Any, Final

import orjson

from ..figures import MAX_DEPTH, TooManyValues, check_depth

MAX_CONTAINERS: Final = 1_000_000
"""Objects and lists of one event or body. 20,000 tokens with 20 `top_logprobs` each are 880,000."""
MAX_VALUES: Final = 4_000_000
"""Commas of one event or body: about the number of its values."""
DEEP_FROM: Final = 448
"""Texts of fewer bytes are nested at most 224 deep, which `orjson.dumps` accepts."""
MANY_FROM: Final = 64 * 1024
"""Shorter texts cannot hold too many values."""


def loads(data: bytes) -> Any:
    """Decode JSON. Raises ValueError (`orjson.JSONDecodeError` is one) for invalid JSON and beyond the bounds."""
    openers = 0
    if len(data) > DEEP_FROM:
        openers = data.count(b"{") + data.count(b"[")
        if len(data) > MANY_FROM:
            check_counts(data, openers)
    value = orjson.loads(data)
    if openers > MAX_DEPTH:
        check_depth(value)
    return value


def check_counts(data: bytes, openers: int | None = None) -> None:
    """Raise `TooManyValues` if the text holds too many values. Brackets and commas in strings count too."""
    openers = data.count(b"{") + data.count(b"[") if openers is None else openers
    if openers > MAX_CONTAINERS or data.count(b",") > MAX_VALUES:
        raise TooManyValues("the JSON holds too many values")
