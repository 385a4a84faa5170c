"""The requests that OpenRouter refuses: requests against its API description, and conversations that no model accepts.

OpenRouter itself refuses the first kind. The provider refuses the second kind; its message is in `metadata.raw`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ..models.families import Family, family
from .refusal import Refused, by_provider

Json = Mapping[str, Any]


class Field(NamedTuple):
    """The allowed values of a parameter: its types, its bounds, its words."""

    types: tuple[type, ...]
    least: float | None = None
    most: float | None = None
    words: Collection[str] = ()
    items: tuple[type, ...] = ()


_NUMBER = (int, float)
_EFFORTS = ("max", "xhigh", "high", "medium", "low", "minimal", "none")
_TEXTS = Field((list,), items=(str,))
_BOOL, _DICT, _STR = Field((bool,)), Field((dict,)), Field((str,))

_FIELDS: dict[str, Field] = {
    "stream": _BOOL,
    "n": Field((int,), 1, 128),
    "max_tokens": Field((int,), 1),
    "max_completion_tokens": Field((int,), 1),
    "temperature": Field(_NUMBER, 0, 2),
    "top_p": Field(_NUMBER, 0, 1),
    "top_k": Field((int,), 0),
    "top_a": Field(_NUMBER, 0, 1),
    "min_p": Field(_NUMBER, 0, 1),
    "frequency_penalty": Field(_NUMBER, -2, 2),
    "presence_penalty": Field(_NUMBER, -2, 2),
    "repetition_penalty": Field(_NUMBER, 0, 2),
    "seed": Field((int,)),
    "stop": Field((str, list), items=(str,), most=4),
    "logprobs": _BOOL,
    "top_logprobs": Field((int,), 0, 20),
    "logit_bias": _DICT,
    "tools": Field((list,), items=(dict,)),
    "tool_choice": Field((str, dict)),
    "parallel_tool_calls": _BOOL,
    "reasoning": _DICT,
    "reasoning_effort": Field((str,), words=_EFFORTS),
    "include_reasoning": _BOOL,
    "response_format": _DICT,
    "modalities": Field((list,), items=(str,), words=("text", "image", "audio")),
    "models": _TEXTS,
    "provider": _DICT,
    "plugins": Field((list,), items=(dict,)),
    "metadata": _DICT,
    "stream_options": _DICT,
    "user": _STR,
    "session_id": Field((str,), most=256),
    "service_tier": Field((str,), words=("auto", "default", "fast", "flex", "priority", "scale")),
}
_REASONING = {
    "effort": Field((str,), words=_EFFORTS),
    "max_tokens": Field((int,), 1),
    "exclude": _BOOL,
    "enabled": _BOOL,
    "summary": _STR,
}
_PROVIDER = {
    "order": _TEXTS,
    "only": _TEXTS,
    "ignore": _TEXTS,
    "allow_fallbacks": _BOOL,
    "require_parameters": _BOOL,
    "data_collection": Field((str,), words=("allow", "deny")),
    "zdr": _BOOL,
    "enforce_distillable_text": _BOOL,
    "quantizations": _TEXTS,
    "sort": Field((str, dict)),
    "max_price": _DICT,
    "preferred_min_throughput": Field((int, float, dict)),
    "preferred_max_latency": Field((int, float, dict)),
}
_DETAIL = dict.fromkeys(("type", "text", "summary", "data", "signature", "id"), _STR)
_MAX_PRICE = {name: Field((int, float, str)) for name in ("prompt", "completion", "request", "image", "audio")}
_FORMATS = ("text", "json_object", "json_schema", "grammar", "python")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def checked(body: Any) -> dict[str, Any]:
    """The request, with `model` set. Raises `Refused` for a request that OpenRouter itself refuses."""
    if not isinstance(body, dict):
        raise Refused(400, "Invalid JSON in request body")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages or not all(isinstance(m, dict) for m in messages):
        raise Refused(400, 'Input required: specify "prompt" or "messages"')
    _fields(body, _FIELDS, "")
    model = body.get("model") or next(iter(body.get("models") or ()), None)
    if model is None:
        raise Refused(400, "No models provided")
    _expect(isinstance(model, str), "str", "model")
    for index, message in enumerate(messages):
        _message(message, f"messages[{index}]")
    _settings(body)
    return {**body, "model": model}


def conversable(request: Json, provider: str) -> None:
    """Raise `Refused`, with a provider's message, for a conversation that no model can continue."""
    words = _broken_turns(request["messages"], family(request["model"])) or _broken_tools(request)
    if words is not None:
        raise by_provider(provider, words)


def _settings(body: Json) -> None:
    reasoning = body.get("reasoning") or {}
    _fields(reasoning, _REASONING, "reasoning.")
    if reasoning.get("effort") and reasoning.get("max_tokens"):
        raise Refused(400, 'Only one of "reasoning.effort" and "reasoning.max_tokens" may be given')
    provider = body.get("provider") or {}
    strange = sorted(set(provider) - set(_PROVIDER))
    if strange:
        raise Refused(400, f"Unrecognized key(s) in object: {', '.join(map(repr, strange))} at provider")
    _fields(provider, _PROVIDER, "provider.")
    _fields(provider.get("max_price") or {}, _MAX_PRICE, "provider.max_price.")
    wanted = body.get("response_format")
    if wanted is not None:
        _expect(wanted.get("type") in _FORMATS, " | ".join(_FORMATS), "response_format.type")
        if wanted["type"] == "json_schema":
            schema = wanted.get("json_schema")
            _expect(isinstance(schema, dict), "dict", "response_format.json_schema")
            assert isinstance(schema, dict)  # noqa: S101 for mypy
            _name(schema.get("name"), "response_format.json_schema.name")
            _expect(isinstance(schema.get("schema", {}), dict), "dict", "response_format.json_schema.schema")
    for index, tool in enumerate(body.get("tools") or ()):
        _tool(tool, f"tools[{index}]")
    _tool_choice(body.get("tool_choice"))


def _tool(tool: Json, at: str) -> None:
    _expect(isinstance(tool.get("type"), str), "str", f"{at}.type")
    if tool["type"] != "function":
        return
    function = tool.get("function")
    if not isinstance(function, dict):
        raise _invalid("dict", f"{at}.function")
    _name(function.get("name"), f"{at}.function.name")
    parameters = function.get("parameters")
    _expect(parameters is None or isinstance(parameters, dict), "dict", f"{at}.function.parameters")


def _tool_choice(choice: Any) -> None:
    if isinstance(choice, str):
        _expect(choice in ("none", "auto", "required"), "none | auto | required", "tool_choice")
    elif choice is not None and choice.get("type") == "function":
        function = choice.get("function")
        _expect(
            isinstance(function, dict) and isinstance(function.get("name"), str), "str", "tool_choice.function.name"
        )
    elif choice is not None:
        _expect(isinstance(choice.get("type"), str), "str", "tool_choice.type")


def _message(message: Json, at: str) -> None:
    role = message.get("role")
    if role not in _ROLES:
        raise _invalid(" | ".join(_ROLES), f"{at}.role", role)
    content = message.get("content")
    if content is None:
        _expect(role == "assistant", "str | list", f"{at}.content")
    elif isinstance(content, list):
        for index, part in enumerate(content):
            _part(part, _ROLES[role], f"{at}.content[{index}]")
    else:
        _expect(isinstance(content, str), "str | list", f"{at}.content")
    if role == "tool":
        _expect(isinstance(message.get("tool_call_id"), str), "str", f"{at}.tool_call_id")
    details = message.get("reasoning_details")
    if details is not None:
        listed = isinstance(details, list) and all(isinstance(one, dict) for one in details)
        _expect(listed, "list of dict", f"{at}.reasoning_details")
        for index, detail in enumerate(details):
            _fields(detail, _DETAIL, f"{at}.reasoning_details[{index}].")
    calls = message.get("tool_calls")
    if role == "assistant" and calls is not None:
        _expect(isinstance(calls, list), "list", f"{at}.tool_calls")
        for index, call in enumerate(calls):
            _call(call, f"{at}.tool_calls[{index}]")


def _part(part: Any, allowed: Mapping[str, Callable[[Json, str], None]], at: str) -> None:
    kind = str(part.get("type")) if isinstance(part, dict) else ""
    if kind not in allowed:
        raise _invalid(" | ".join(allowed), f"{at}.type", kind or None)
    allowed[kind](part, at)


def _call(call: Any, at: str) -> None:
    _expect(isinstance(call, dict), "dict", at)
    _expect(isinstance(call.get("id"), str), "str", f"{at}.id")
    _expect(call.get("type") == "function", "function", f"{at}.type")
    function = call.get("function")
    _expect(isinstance(function, dict), "dict", f"{at}.function")
    for name in ("name", "arguments"):
        _expect(isinstance(function.get(name), str), "str", f"{at}.function.{name}")


def _text(part: Json, at: str) -> None:
    _expect(isinstance(part.get("text"), str), "str", f"{at}.text")


def _url(part: Json, at: str) -> None:
    name = part["type"]
    found = part.get(name)
    url = found.get("url") if isinstance(found, dict) else None
    _expect(isinstance(url, str), "str", f"{at}.{name}.url")
    if not str(url).startswith(("http://", "https://", "data:")):
        raise _invalid("a URL or a data: URL", f"{at}.{name}.url")


def _audio(part: Json, at: str) -> None:
    found = part.get("input_audio")
    _expect(isinstance(found, dict), "dict", f"{at}.input_audio")
    for name in ("data", "format"):
        _expect(isinstance((found or {}).get(name), str), "str", f"{at}.input_audio.{name}")


def _file(part: Json, at: str) -> None:
    found = part.get("file")
    given = isinstance(found, dict) and (
        isinstance(found.get("file_data"), str) or isinstance(found.get("file_id"), str)
    )
    _expect(given, "file_data or file_id", f"{at}.file")


_TEXT_PARTS: dict[str, Callable[[Json, str], None]] = {"text": _text}
_ALL_PARTS = {
    **_TEXT_PARTS,
    "image_url": _url,
    "input_audio": _audio,
    "file": _file,
    "video_url": _url,
    "input_video": lambda part, at: _expect(isinstance(part.get("input_video"), dict), "dict", f"{at}.input_video"),
}
_ROLES = {
    "system": _TEXT_PARTS,
    "developer": _TEXT_PARTS,
    "user": _ALL_PARTS,
    "assistant": _ALL_PARTS,
    "tool": _ALL_PARTS,
}


def _broken_turns(messages: Sequence[Json], reader: Family) -> str | None:
    """A provider's message about a wrong order of tool calls and results, or about an empty turn; None if valid."""
    waiting: list[str] = []
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                return (
                    f"Invalid parameter: messages[{index}]: messages with role 'tool' must be a response to a "
                    "preceeding message with 'tool_calls'."
                )
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        if role == "assistant":
            waiting = [call["id"] for call in message.get("tool_calls") or ()]
            if not any(message.get(key) for key in _SPOKEN) and message.get("content") is None:
                return f"Invalid value for 'messages[{index}].content': expected a string, got null."
        elif role == "user" and not message["content"] and (message["content"] == [] or reader is not Family.OPENAI):
            return f"messages.{index}: user messages must have non-empty content"
    if waiting:
        return (
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {', '.join(waiting)}"
        )
    return None


_SPOKEN = ("tool_calls", "refusal", "audio", "images", "reasoning", "reasoning_details")


def _broken_tools(request: Json) -> str | None:
    names = [tool["function"]["name"] for tool in request.get("tools") or () if tool["type"] == "function"]
    if len(names) != len(set(names)):
        return "tools: Tool names must be unique."
    choice = request.get("tool_choice")
    if not request.get("tools") and (choice == "required" or isinstance(choice, dict)):
        return "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified."
    if isinstance(choice, dict) and choice["type"] == "function" and choice["function"]["name"] not in names:
        return f"Invalid value for 'tool_choice': Tool '{choice['function']['name']}' not found in provided tools."
    return None


def _fields(found: Json, fields: Mapping[str, Field], prefix: str) -> None:
    for name, value in found.items():
        field = fields.get(name)
        if field is None or value is None:
            continue
        at = f"{prefix}{name}"
        if not _is(value, field.types):
            raise _invalid(" | ".join(kind.__name__ for kind in field.types), at)
        if isinstance(value, list):
            for index, item in enumerate(value):
                _expect(not field.items or _is(item, field.items), field.items[0].__name__, f"{at}[{index}]")
                _expect(not field.words or item in field.words, " | ".join(field.words), f"{at}[{index}]")
        elif field.words and value not in field.words:
            raise _invalid(" | ".join(field.words), at, value)
        size = value if isinstance(value, int | float) else len(value)
        if field.least is not None and size < field.least:
            raise Refused(400, f"Invalid input: {at} must not be less than {field.least:g}")
        if field.most is not None and not (isinstance(value, str) and list in field.types) and size > field.most:
            raise Refused(400, f"Invalid input: {at} must not be more than {field.most:g}")


def _is(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (bool in types or not isinstance(value, bool))


def _name(name: Any, at: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _invalid("a name of at most 64 letters, digits, underscores and dashes", at)


def _expect(holds: bool, wanted: str, at: str) -> None:
    if not holds:
        raise _invalid(wanted, at)


def _invalid(wanted: str, at: str, found: Any = None) -> Refused:
    shown = f", found {str(found)[:40]!r}" if found is not None else ""
    return Refused(400, f"Invalid input: expected {wanted} at {at}{shown}")
