"""Pieces of bodies and chunks, and JSON of any shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

Json = dict[str, Any]

SCALARS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    SCALARS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def delta(index: int = 0, finish: str | None = None, **fields: Any) -> Json:
    """A chunk with one choice."""
    choice = {"index": index, "delta": {"role": "assistant", **fields}, "finish_reason": finish}
    return {"id": "gen-raw", "object": "chat.completion.chunk", "model": "raw/model", "choices": [choice]}


def part(index: int | None, call_id: str | None, name: str | None, arguments: str | None) -> Json:
    """A tool-call delta. A field that is None is omitted."""
    made: Json = {"type": "function", "function": {}}
    fields: Mapping[str, object] = {"index": index, "id": call_id}
    made |= {key: value for key, value in fields.items() if value is not None}
    function = {"name": name, "arguments": arguments}
    made["function"] = {key: value for key, value in function.items() if value is not None}
    return made


def call(arguments: object = '{"x": 1}', **function: Any) -> Json:
    return {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments, **function}}


def choice(finish: str | None = "stop", index: int = 0, **message: Any) -> Json:
    return {"index": index, "message": {"role": "assistant", "content": "", **message}, "finish_reason": finish}
