"""Joins surrogate pairs that an endpoint has split: one half in one event, the other half in the next.

`orjson` refuses a lone half, so such events are decoded here, and a half is held until the other half comes. So are
events with `NaN` and `Infinity`, which Python servers write for numbers that JSON cannot hold (they become null), and
with numbers like 1e999 (they become infinite).
"""

from __future__ import annotations

import json
import re
from typing import Any

from ..figures import check_depth
from ..results import Json

# Each pattern begins with a literal, which is searched at the speed of memchr: an event may be 60 MB of white space.
_ODD = (
    re.compile(rb"\\u[dD][89a-fA-F]"),
    re.compile(rb"NaN(?<=[:,\[\s-]NaN)\b"),
    re.compile(rb"Infinity(?<=[:,\[\s-]Infinity)\b"),
    re.compile(rb"e(?<=\de)\+?\d{3}"),
    re.compile(rb"E(?<=\dE)\+?\d{3}"),
)
_LONE = re.compile("[\ud800-\udfff]")
_TEXTS = ("content", "reasoning", "refusal")
_REPLACEMENT = "\ufffd"


def decode(event: bytes) -> Any:
    """Decode JSON with lone surrogates, NaN or Infinity. Raises ValueError if it is invalid for another reason."""
    if not any(odd.search(event) for odd in _ODD):
        raise ValueError("it is not JSON")
    try:
        value = json.loads(event, parse_constant=_nothing, parse_int=_integer)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_depth(value)
    return value


def whole(value: Any) -> Any:
    """`value` with U+FFFD for every lone surrogate."""
    if isinstance(value, str):
        return _LONE.sub(_REPLACEMENT, value)
    if isinstance(value, list):
        return [whole(item) for item in value]
    if isinstance(value, dict):
        return {whole(key): whole(item) for key, item in value.items()}
    return value


class Halves:
    """The held halves of one stream. After the first lone surrogate, every chunk must go through `mend`."""

    def __init__(self) -> None:
        self._held: dict[tuple[int, str], str] = {}

    def mend(self, chunk: Json) -> Json:
        """The chunk with complete characters: a half is held back until the next text of its kind, or the finish."""
        for choice in chunk.get("choices") or ():
            index, last = choice.get("index") or 0, bool(choice.get("finish_reason"))
            delta = choice.get("delta") or {}
            for key in _TEXTS:
                text = self._mended((index, key), delta.get(key), last=last)
                if text is not None:
                    choice["delta"] = delta = {**delta, key: text}
            for call in delta.get("tool_calls") or ():
                function = call.get("function") or {}
                text = self._mended((index, f"call {call.get('index')}"), function.get("arguments"), last=last)
                if text is not None:
                    function["arguments"] = text
        mended: Json = whole(chunk)
        return mended

    def _mended(self, place: tuple[int, str], text: object, *, last: bool) -> str | None:
        if not isinstance(text, str):
            text = ""
        if not text and not last:
            return None
        held = self._held.pop(place, "")
        if not text and not held:
            return None
        text = held + text
        if not last and "\ud800" <= text[-1] <= "\udbff":
            self._held[place] = text[-1]
            text = text[:-1]
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _integer(text: str) -> int | float:
    """As in `orjson`: an integer beyond 64 bits is a float."""
    return int(text) if len(text) < 19 else float(text)


def _nothing(constant: str) -> None:
    """NaN and Infinity become null."""
