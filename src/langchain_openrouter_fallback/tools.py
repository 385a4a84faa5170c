"""Tools as request parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from .errors import ConfigError

_CHOICES = ("auto", "none", "required")

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
"""A tool as LangChain takes it: a dict in OpenAI's form, a pydantic class, a function, a `BaseTool`."""


def tool_arguments(
    tools: Sequence[Tool],
    tool_choice: str | bool | Mapping[str, Any] | None = None,
    strict: bool | None = None,
    parallel_tool_calls: bool | None = None,
) -> dict[str, Any]:
    """The request parameters for these tools. Raises `ConfigError` for a choice that is none."""
    bound: dict[str, Any] = {"tools": [_wire(tool, strict) for tool in tools]}
    if tool_choice:
        bound["tool_choice"] = _choice(tool_choice, [name_of(tool) for tool in bound["tools"]])
    if parallel_tool_calls is not None:
        bound["parallel_tool_calls"] = parallel_tool_calls
    return bound


def _wire(tool: Tool, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and str(tool.get("type")).startswith("openrouter:"):
        return dict(tool)  # OpenRouter runs it itself
    return convert_to_openai_tool(tool, strict=strict)


def name_of(tool: Mapping[str, Any]) -> str:
    """The name of a tool as it goes on the wire."""
    return str((tool.get("function") or {}).get("name") or tool.get("type"))


def _choice(choice: str | bool | Mapping[str, Any], names: list[str]) -> str | dict[str, Any]:
    if isinstance(choice, Mapping):
        named = choice.get("name") if choice.get("type") == "tool" else None  # as Anthropic writes it
        return dict(choice) if named is None else _function(named)
    if choice == "any":
        return "required"
    if choice is True:
        if len(names) != 1:
            raise ConfigError(f"tool_choice=True is for one tool; there are {len(names)}: name one of {names}")
        return _function(names[0])
    if isinstance(choice, str) and choice not in _CHOICES:
        if choice not in names:
            raise ConfigError(f"tool_choice={choice!r} is neither a tool of this call ({names}) nor any of {_CHOICES}")
        return _function(choice)
    return str(choice)


def _function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}
