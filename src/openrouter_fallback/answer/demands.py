"""The demands of a request on its answer: a forced tool call, JSON of a schema, text after a tool result.

Pure. Checked before anything is delivered; an answer that misses a demand is kept as the call's last resort.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from ..failures.kinds import Failure, FailureKind

NO_CALL: Final = "no_tool_call"
"""Code of a failure: `tool_choice` forces a tool call and the answer is text."""
NOT_JSON: Final = "not_json_answer"
"""Code of a failure: the request demands JSON and the answer holds no fitting JSON."""

_FENCE: Final = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
_OPENING: Final = re.compile(r"[{\[]")
_MOST_TRIED: Final = 20
_DEEPEST: Final = 24


@dataclass(frozen=True, slots=True)
class Demands:
    """The demands of a request on its answer.

    `call`: the answer must call a tool, one of `functions` if any are named. `json`: the answer must be JSON, of
    `schema` if there is one. `after_result`: the history ends with a tool result; an empty answer may be intended.
    """

    call: bool = False
    functions: frozenset[str] = frozenset()
    json: bool = False
    schema: Mapping[str, Any] | None = None
    after_result: bool = False

    @classmethod
    def of(cls, params: Mapping[str, Any], last_role: str) -> Demands:
        """The demands of these parameters; `last_role` is the role of the history's last message."""
        choice = params.get("tool_choice")
        choice = choice if isinstance(choice, str | Mapping) else None
        named = _function(choice) or _function({"function": params.get("function_call")})
        forced = frozenset({named}) if named else _allowed(choice)
        form = params.get("response_format")
        kind = form.get("type") if isinstance(form, Mapping) else None
        described = form.get("json_schema") if isinstance(form, Mapping) else None
        schema = described.get("schema") if isinstance(described, Mapping) else None
        return cls(
            call=_own_tools(params) and (choice in _FORCING or bool(forced)),
            functions=forced,
            json=kind in ("json_object", "json_schema"),
            schema=schema if isinstance(schema, Mapping) else None,
            after_result=last_role == "tool",
        )

    def missed(self, message: Mapping[str, Any]) -> str:
        """The code of the demand that an answer's message misses; empty if it meets all."""
        calls = message.get("tool_calls") or ([message["function_call"]] if message.get("function_call") else [])
        if self.call and not message.get("refusal"):
            names = {_name(call) for call in calls}
            if not calls or (self.functions and names.isdisjoint(self.functions)):
                return NO_CALL
        return ""

    def said(self, message: Mapping[str, Any]) -> str:
        """The missed demand of a message that is already delivered, for the log; empty if it meets all."""
        if self.missed(message):
            return "a tool call was forced and none was made"
        text = message.get("content")
        if self.json and isinstance(text, str) and text and not message.get("tool_calls") and not _is_json(text):
            return "JSON was asked for and the answer is not JSON"
        return ""

    def unwrap(self, body: dict[str, Any]) -> None:
        """If the text of an answer contains the demanded JSON among other text, reduce the text to the JSON."""
        choices = body.get("choices")
        for choice in choices if self.json and isinstance(choices, list) else ():
            message = choice.get("message") if isinstance(choice, dict) else None
            if not isinstance(message, dict):
                continue
            text = message.get("content")
            if not isinstance(text, str) or not text or _is_json(text) or choice.get("finish_reason") == "length":
                continue
            inside = self.unwrapped(text)
            if inside is not None:
                message["content"] = inside

    def unwrapped(self, text: str) -> str | None:
        """The JSON that a text is or contains, in a fence or among prose; None if none fits the demand."""
        if self._fits(text):
            return text
        found = [inside for match in _FENCE.finditer(text) if self._fits(inside := match[1].strip())]
        if found:
            return found[-1]
        return next((inside for inside in _values(text) if self._fits(inside)), None)

    def _fits(self, text: str) -> bool:
        try:
            value = orjson.loads(text)
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            return False
        return isinstance(value, dict) if self.schema is None else fits(value, self.schema)


def missed(body: Mapping[str, Any], demands: Demands, failure: Failure | None) -> Failure | None:
    """Check the demands on a complete body; `failure` is the verdict so far.

    None of these failures counts against the model's health.
    """
    if failure is not None:
        odd = demands.json and failure.kind is FailureKind.BAD_ANSWER and failure.harmless and failure.code is None
        return replace(failure, code=NOT_JSON) if odd else failure
    choice = body["choices"][0]
    if choice.get("finish_reason") == "length" or not demands.missed(choice["message"]):
        return None
    return Failure(FailureKind.BAD_ANSWER, "a tool call was forced and none was made", code=NO_CALL, harmless=True)


def ends_without_words(body: Mapping[str, Any] | None, demands: Demands) -> bool:
    """Whether an empty answer may be intended: after a tool result, ended by the model itself (langchain#33390)."""
    if body is None or not demands.after_result or demands.call or demands.json:
        return False
    choices = body.get("choices")
    return isinstance(choices, list) and len(choices) == 1 and choices[0].get("finish_reason") == "stop"


_FORCING: Final = ("required", "any")


def _own_tools(params: Mapping[str, Any]) -> bool:
    """Whether all tools are the caller's functions: a server tool runs on the server and leaves no call."""
    tools = params.get("tools")
    if isinstance(tools, list | tuple) and tools:
        return all(isinstance(tool, Mapping) and tool.get("type") == "function" for tool in tools)
    return bool(params.get("functions"))


def fits(value: object, schema: Mapping[str, Any]) -> bool:
    """Whether a value has the shape of a JSON schema: types, required properties, items, enumerations, alternatives.

    Formats, patterns and bounds are not checked: the purpose is to find the answer among prose.
    """
    return _fits(value, schema, schema, 0)


def _fits(value: object, schema: Any, root: Mapping[str, Any], depth: int) -> bool:
    if not isinstance(schema, Mapping) or depth > _DEEPEST:
        return schema is not False
    reference = schema.get("$ref")
    if isinstance(reference, str):
        return _fits(value, _referred(reference, root), root, depth + 1)
    for key in ("anyOf", "oneOf"):
        if isinstance(schema.get(key), list):
            return any(_fits(value, one, root, depth + 1) for one in schema[key])
    if isinstance(schema.get("allOf"), list) and not all(_fits(value, one, root, depth + 1) for one in schema["allOf"]):
        return False
    if "const" in schema and value != schema["const"]:
        return False
    if isinstance(schema.get("enum"), list) and value not in schema["enum"]:
        return False
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return False
    if isinstance(value, dict):
        if any(name not in value for name in schema.get("required") or ()):
            return False
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        if schema.get("additionalProperties") is False and not value.keys() <= properties.keys():
            return False
        return all(_fits(value[name], one, root, depth + 1) for name, one in properties.items() if name in value)
    if isinstance(value, list) and "items" in schema:
        return all(_fits(item, schema["items"], root, depth + 1) for item in value)
    return True


def _referred(reference: str, root: Mapping[str, Any]) -> Any:
    found: Any = root
    for name in reference.removeprefix("#").strip("/").split("/") if reference.startswith("#") else ():
        if name:
            found = found.get(name.replace("~1", "/").replace("~0", "~")) if isinstance(found, Mapping) else None
    return found


def _is(value: object, kind: object) -> bool:
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    expected = _TYPES.get(kind) if isinstance(kind, str) else None
    return expected is None or isinstance(value, expected)


_TYPES: Final[Mapping[str, Any]] = {
    "array": list,
    "boolean": bool,
    "null": type(None),
    "object": dict,
    "string": str,
}


def _is_json(text: str) -> bool:
    try:
        orjson.loads(text)
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return False
    return True


def _values(text: str) -> Sequence[str]:
    """The outermost JSON objects and lists in a text, found by brackets; 20 beginnings are tried."""
    found: list[str] = []
    position = 0
    for _ in range(_MOST_TRIED):
        opening = _OPENING.search(text, position)
        if opening is None:
            break
        end = _end(text, opening.start())
        if end > 0:
            found.append(text[opening.start() : end])
        position = end if end > 0 else opening.end()
    return found


def _end(text: str, start: int) -> int:
    """The end of the value that begins at `start`; -1 if it has none."""
    depth, quoted, escaped = 0, False, False
    for position in range(start, len(text)):
        character = text[position]
        if escaped:
            escaped = False
        elif quoted:
            escaped, quoted = character == "\\", character != '"'
        elif character == '"':
            quoted = True
        elif character in "{[":
            depth += 1
        elif character in "}]":
            depth -= 1
            if depth == 0:
                return position + 1
    return -1


def _allowed(choice: object) -> frozenset[str]:
    """The functions of which OpenAI's `allowed_tools` forces one to be called; empty if none is forced."""
    inner = choice.get("allowed_tools") if isinstance(choice, Mapping) else None
    if not isinstance(inner, Mapping) or inner.get("mode") != "required":
        return frozenset()
    tools = inner.get("tools")
    return frozenset(filter(None, map(_function, tools if isinstance(tools, list | tuple) else ())))


def _function(choice: object) -> str:
    function = choice.get("function") if isinstance(choice, Mapping) else None
    return _name({"function": function})


def _name(call: object) -> str:
    inner = call.get("function") if isinstance(call, Mapping) else None
    holder = inner if isinstance(inner, Mapping) else call
    name = holder.get("name") if isinstance(holder, Mapping) else None
    return name if isinstance(name, str) else ""
