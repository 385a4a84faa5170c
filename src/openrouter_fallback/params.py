"""What request parameters ask for, be they a call's or a model's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def wants_json(params: Mapping[str, Any]) -> bool:
    """Whether the answer must be JSON."""
    response_format = params.get("response_format")
    return isinstance(response_format, Mapping) and response_format.get("type") in ("json_object", "json_schema")


def slow(params: Mapping[str, Any]) -> bool:
    """Whether the first token may take minutes: reasoning, images, plugins, server tools."""
    reasoning = params.get("reasoning")
    if isinstance(reasoning, Mapping):
        asked = reasoning.get("enabled") is not False and reasoning.get("effort") != "none"
        if asked and reasoning:
            return True
    return (
        params.get("reasoning_effort") not in (None, "none")
        or bool(params.get("include_reasoning"))
        or "image" in (params.get("modalities") or ())
        or bool(params.get("image_config") or params.get("plugins") or params.get("web_search_options"))
        or any(_server_tool(tool) for tool in params.get("tools") or ())
    )


def own_providers(params: Mapping[str, Any]) -> bool:
    """Whether the user has chosen the providers."""
    provider = params.get("provider")
    return isinstance(provider, Mapping) and bool(provider.get("only") or provider.get("order"))


def _server_tool(tool: object) -> bool:
    return isinstance(tool, Mapping) and str(tool.get("type", "")).startswith("openrouter:")
