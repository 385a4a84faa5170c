"""Names of functions and messages: translated into the form that a target accepts, and back.

A function name that breaks the target's rule is rewritten in letters, digits, `_` and `-` with a part of its hash, so
that two names stay different. It is translated in tools, `tool_choice` and history, and back in the answer.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

_NAMING: Final = frozenset({"tools", "functions", "tool_choice", "function_call"})
_NONE: Final[frozenset[str]] = frozenset()
_LONGEST: Final = 64
_HASH: Final = 8
_UNNAMED: Final = "unnamed"
"""Stands for the name that a broken call lacks: no provider accepts an empty one."""
_NOT_WORD: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NOT_NAME: Final = re.compile(r"[\s<|\\/>]")

Json = dict[str, Any]


@lru_cache(maxsize=4096)
def function_name(pattern: str, name: str) -> str:
    """A function's name in the form that the target accepts."""
    if re.fullmatch(pattern, name):
        return name
    mark = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH]
    word = _NOT_WORD.sub("_", name)[: _LONGEST - _HASH - 1] or _UNNAMED
    written = f"{word}_{mark}"
    return written if re.fullmatch(pattern, written) else f"_{written}"[:_LONGEST]


@lru_cache(maxsize=4096)
def message_name(pattern: str, name: str) -> str:
    """A message's name in the form that the target accepts; the rule is OpenAI's."""
    if re.fullmatch(pattern, name):
        return name
    return _NOT_NAME.sub("_", name)[:_LONGEST]


def changed_names(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """Maps the names that the target refuses to the names that are sent."""
    return {name: written for name in names if (written := function_name(pattern, name)) != name}


def tool_names(params: Mapping[str, Any]) -> frozenset[str]:
    """The names of the functions in a request's parameters."""
    if _NAMING.isdisjoint(params):
        return _NONE
    names = {_named(tool) for tool in _listed(params.get("tools"))}
    names |= {_own(function) for function in _listed(params.get("functions"))}
    names |= {_named(params.get("tool_choice")), _own(params.get("function_call"))}
    return frozenset(names - {""})


def translated_params(params: Mapping[str, Any], changed: Mapping[str, str]) -> Mapping[str, Any]:
    """The parameters with translated function names; the same object if no name changes."""
    given: Json = {}
    tools = params.get("tools")
    if isinstance(tools, list | tuple):
        given["tools"] = [_renamed(tool, changed) for tool in tools]
    functions = params.get("functions")
    if isinstance(functions, list | tuple):
        given["functions"] = [_rename(function, changed) for function in functions]
    choice = params.get("tool_choice")
    if isinstance(choice, Mapping):
        given["tool_choice"] = _renamed(choice, changed)
        allowed = choice.get("allowed_tools")  # OpenAI's choice among some of the tools
        if isinstance(allowed, Mapping):
            renamed = [_renamed(tool, changed) for tool in _listed(allowed.get("tools"))]
            given["tool_choice"] = {**choice, "allowed_tools": {**allowed, "tools": renamed}}
    legacy = params.get("function_call")
    if isinstance(legacy, Mapping):
        given["function_call"] = _rename(legacy, changed)
    found = {key: value for key, value in given.items() if value != params[key]}
    return {**params, **found} if found else params


def restore_names(message: Json, original: Mapping[str, str]) -> None:
    """Restore the caller's function names in the message of an answer, in place."""
    for call in _listed(message.get("tool_calls")):
        function = call.get("function") if isinstance(call, dict) else None
        if isinstance(function, dict) and function.get("name") in original:
            function["name"] = original[function["name"]]
    legacy = message.get("function_call")
    if isinstance(legacy, dict) and legacy.get("name") in original:
        legacy["name"] = original[legacy["name"]]


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _own(value: object) -> str:
    name = value.get("name") if isinstance(value, Mapping) else None
    return name if isinstance(name, str) else ""


def _named(value: object) -> str:
    return _own(value.get("function")) if isinstance(value, Mapping) else ""


def _rename(value: Any, changed: Mapping[str, str]) -> Any:
    name = _own(value)
    return {**value, "name": changed[name]} if name and name in changed else value


def _renamed(value: Any, changed: Mapping[str, str]) -> Any:
    if (name := _named(value)) and name in changed:
        return {**value, "function": _rename(value["function"], changed)}
    return value
