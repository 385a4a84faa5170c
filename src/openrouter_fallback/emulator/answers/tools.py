"""The tool calls of an emulated model and their arguments, built as the smallest instance of a JSON schema."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from .chunks import Body, pieces

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_WORD = re.compile(r"\w+")
_PART_OF_NAME = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[^\W\d_a-zA-Z]+")
_TELLING_NOTHING = frozenset({"answer", "call", "find", "function", "have", "make", "show", "tell", "tool", "with"})
_READ_CHARACTERS = 20_000
"""Only so many characters of a prompt are searched for quoted words: the pattern is slow on very long quotes."""
_QUOTED = re.compile(r"\"([^\"]+)\"|'([^']+)'|“([^”]+)”")


def text_of(content: Any) -> str:
    """The text of a message's content. The content may be a string or a list of parts."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(part.get("text") or "" for part in content if isinstance(part, dict)).strip()
    return ""


def token_count(content: Any) -> int:
    """The number of tokens in the text of a message's content."""
    return len(pieces(text_of(content)))


def last_text(messages: Sequence[Body], role: str = "user") -> str:
    """The text of the last message of a role, or ""."""
    return next((text_of(m.get("content")) for m in reversed(messages) if m.get("role") == role), "")


def calls(request: Body) -> list[dict[str, Any]]:
    """The tool calls that answer a request; empty if the answer is a text.

    `tool_choice` decides:

    - `auto`: every tool whose name occurs in the last user message. If no name occurs, the first tool of which a
      distinctive word occurs ("weather" for `get_weather`). No tool directly after a tool's result.
    - `required`: one tool, chosen as for `auto`, else the first tool; after a tool's result the last tool.
    - a named tool: that tool.
    """
    tools = [t["function"] for t in request.get("tools") or () if t.get("type") == "function"]
    if not tools:
        return []
    prompt = last_text(request["messages"])
    if request["messages"][-1].get("role") == "assistant" and request.get("tool_choice", "auto") == "auto":
        return []  # the model continues the assistant's text
    # Skip an unfinished answer that the model is to continue: the message before that answer decides.
    roles = (
        m.get("role") for m in reversed(request["messages"]) if m.get("role") != "assistant" or m.get("tool_calls")
    )
    chosen = _choose(request.get("tool_choice", "auto"), tools, prompt, after_tool=next(roles, None) == "tool")
    if request.get("parallel_tool_calls") is False:
        chosen = chosen[:1]
    return [
        tool_call(tool["name"], instance(tool.get("parameters") or {"type": "object"}, prompt), index)
        for index, tool in enumerate(chosen)
    ]


def tool_call(name: str, arguments: Any, index: int, call_id: str | None = None) -> dict[str, Any]:
    """One entry of `message.tool_calls`. Arguments that are a string are sent unchanged."""
    text = arguments if isinstance(arguments, str) else orjson.dumps(arguments).decode()
    function = {"name": name, "arguments": text}
    return {"index": index, "id": call_id or f"call_{name}_{index}", "type": "function", "function": function}


def _choose(choice: Any, tools: list[Any], prompt: str, after_tool: bool) -> list[Any]:
    if isinstance(choice, Mapping):
        name = choice.get("function", {}).get("name")
        return [tool for tool in tools if tool["name"] == name]
    if choice == "required":
        return [tools[-1]] if after_tool else (_suggested(tools, prompt) or tools)[:1]
    return [] if choice == "none" or after_tool else _suggested(tools, prompt)


def _suggested(tools: list[Any], prompt: str) -> list[Any]:
    named = [tool for tool in tools if re.search(rf"(?<!\w){re.escape(tool['name'])}(?!\w)", prompt)]
    words = {word.lower() for word in _WORD.findall(prompt)}
    return named or [tool for tool in tools if words & _telling(tool["name"])][:1]


def _telling(name: str) -> set[str]:
    parts = {part.lower() for part in _PART_OF_NAME.findall(name)}
    return {part for part in parts if len(part) > 3} - _TELLING_NOTHING


def quoted(prompt: str) -> list[str]:
    """The quoted words of a prompt."""
    return [next(filter(None, found)) for found in _QUOTED.findall(prompt[:_READ_CHARACTERS])]


def instance(schema: Any, prompt: str = "") -> Any:
    """A value, about the smallest, that fits a JSON schema.

    Numbers and strings are taken from the first number and the first quoted word of the prompt, if the schema allows.
    """
    return _Filler(schema, prompt).fill(schema)


class _Filler:
    def __init__(self, root: Any, prompt: str) -> None:
        self._root = root
        number = _NUMBER.search(prompt)
        self._number = float(number[0]) if number else 1.0
        self._text = next(iter(quoted(prompt)), "x")

    def fill(self, schema: Any, depth: int = 0) -> Any:
        if not isinstance(schema, Mapping) or depth > 20:
            return None if depth > 20 else self._text
        if "$ref" in schema:
            return self.fill(self._resolve(schema["$ref"]), depth + 1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.fill(schema[key][0], depth + 1)
        if schema.get("allOf"):
            return self.fill(_merged([self._expand(part) for part in schema["allOf"]]), depth + 1)
        kind = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else None)
        if isinstance(kind, list):
            kind = next((k for k in kind if k != "null"), "null")
        return _BY_TYPE.get(str(kind), _Filler._string)(self, schema, depth)

    def _resolve(self, ref: str) -> Any:
        node = self._root
        for part in ref.removeprefix("#").strip("/").split("/"):
            if part:
                node = node.get(part, {})
        return node

    def _expand(self, part: Any) -> Any:
        return self._resolve(part["$ref"]) if "$ref" in part else part

    def _object(self, schema: Body, depth: int) -> Any:
        properties = schema.get("properties") or {}
        return {key: self.fill(properties.get(key, {}), depth + 1) for key in schema.get("required") or ()}

    def _array(self, schema: Body, depth: int) -> Any:
        first = schema.get("prefixItems") or []
        # A top-level list has one item. A nested list has as few as allowed, because schemas may be recursive.
        least = schema.get("minItems", int(depth <= 1 and "items" in schema and schema.get("maxItems") != 0))
        rest = [schema.get("items", {})] * (least - len(first))
        return [self.fill(item, depth + 1) for item in (*first, *rest)]

    def _integer(self, schema: Body, depth: int) -> int:
        number = math.trunc(self._number)
        if "minimum" in schema:
            number = max(number, math.ceil(schema["minimum"]))
        if "exclusiveMinimum" in schema:
            number = max(number, math.floor(schema["exclusiveMinimum"]) + 1)
        if "maximum" in schema:
            number = min(number, math.floor(schema["maximum"]))
        if "exclusiveMaximum" in schema:
            number = min(number, math.ceil(schema["exclusiveMaximum"]) - 1)
        return number

    def _float(self, schema: Body, depth: int) -> float | int:
        low, high = schema.get("minimum", -math.inf), schema.get("maximum", math.inf)
        above, below = schema.get("exclusiveMinimum", -math.inf), schema.get("exclusiveMaximum", math.inf)
        number = min(max(self._number, low), high)
        if not above < number < below:
            ends = max(low, above), min(high, below)
            number = sum(ends) / 2 if math.isfinite(sum(ends)) else above + 1 if number <= above else below - 1
        return int(number) if number == int(number) else number

    def _string(self, schema: Body, depth: int) -> str:
        text = _FORMATS.get(schema.get("format", ""), self._text)
        return text.ljust(schema.get("minLength", 0), "x")[: schema.get("maxLength")]

    def _boolean(self, schema: Body, depth: int) -> bool:
        return True

    def _null(self, schema: Body, depth: int) -> None:
        return None


_BY_TYPE = {
    "object": _Filler._object,
    "array": _Filler._array,
    "integer": _Filler._integer,
    "number": _Filler._float,
    "string": _Filler._string,
    "boolean": _Filler._boolean,
    "null": _Filler._null,
}
_FORMATS = {"date": "2026-01-01", "date-time": "2026-01-01T00:00:00Z", "email": "x@example.com", "uri": "https://x.y"}


def _merged(parts: list[Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        if part.get("type", "object") != "object":
            return dict(part)
        merged["properties"] |= part.get("properties") or {}
        merged["required"] += part.get("required") or []
    return merged
