"""Converts LangChain's tools to request parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from .errors import ConfigError

_CHOICES = ("auto", "none", "required")

Tool = dict[str, Any] | type | Callable[..., Any] | BaseTool
"""A tool in one of LangChain's forms: a dict in OpenAI's form, a pydantic class, a function, a `BaseTool`."""


def tool_arguments(
    tools: Sequence[Tool],
    tool_choice: str | bool | Mapping[str, Any] | None = None,
    strict: bool | None = None,
    parallel_tool_calls: bool | None = None,
) -> dict[str, Any]:
    """The request parameters for these tools. Raises `ConfigError` for an invalid tool or choice."""
    if not isinstance(tools, list | tuple):
        raise ConfigError(f"tools= is a {type(tools).__name__}; give a list: tools=[...]")
    bound: dict[str, Any] = {"tools": [openai_tool(tool, strict) for tool in tools]}
    if tool_choice:
        bound["tool_choice"] = _choice(tool_choice, [name_of(tool) for tool in bound["tools"]])
    if parallel_tool_calls is not None:
        bound["parallel_tool_calls"] = parallel_tool_calls
    return bound


def in_openai_form(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call with `tools` in OpenAI's form; the same object if they already have that form."""
    tools, choice = given.get("tools"), given.get("tool_choice")
    plain = isinstance(tools, list | tuple) and all(isinstance(tool, Mapping) and "type" in tool for tool in tools)
    if tools is None or (plain and (choice is None or isinstance(choice, Mapping) or choice in _CHOICES)):
        return given
    return {**given, **tool_arguments(tools, choice)}


def openai_tool(tool: Tool, strict: bool | None = None) -> dict[str, Any]:
    """A tool in OpenAI's form. Raises `ConfigError` for an object that is not a tool."""
    if isinstance(tool, Mapping) and str(tool.get("type")).startswith("openrouter:"):
        return dict(tool)  # a server tool, which OpenRouter runs
    try:
        return convert_to_openai_tool(tool, strict=strict)
    except Exception as error:  # noqa: BLE001 - whatever LangChain and pydantic make of a function or a class
        name = getattr(tool, "__name__", None) or getattr(tool, "name", None) or type(tool).__name__
        told = " ".join(str(error).split())
        raise ConfigError(f"tools= holds {name}, which cannot be described to a model: {told}") from None


def name_of(tool: Mapping[str, Any]) -> str:
    """The name of a tool in OpenAI's form."""
    return str((tool.get("function") or {}).get("name") or tool.get("type"))


def _choice(choice: str | bool | Mapping[str, Any], names: list[str]) -> str | dict[str, Any]:
    if isinstance(choice, Mapping):
        named = choice.get("name") if choice.get("type") == "tool" else None  # Anthropic's form
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
