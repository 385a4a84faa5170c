"""What LangChain says about a call, in the words of the core: parameters, routing, names that differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langchain_core.utils.function_calling import convert_to_json_schema

from openrouter_fallback import current_routing

from .errors import ConfigError
from .existing_models import SHARED

if TYPE_CHECKING:
    from .base import Configured

ROUTING = ("task", "max_cost_tier", "primary_provider", "models", "model", "max_price")
"""What `bind` takes as routing."""
CONFIGURABLE = tuple(name for name in ROUTING if name != "model")
"""What `config={"configurable": {...}}` may say; `model` stands there in many graphs, for something of their own."""

# A field of the chat model -> the request's parameter.
_PARAMS = {name: name for name in (*SHARED, "plugins", "session_id", "trace", "extra_body")}
_PARAMS |= {"openrouter_provider": "provider"}
# LangChain's name for an argument of a call -> the core's.
_RENAMED = {
    "openrouter_provider": "provider",
    "stop_sequences": "stop",
    "request_timeout": "timeout",
    "default_headers": "headers",
}
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
# For LangChain itself.
_NOT_SENT = ("stream", "streaming", "stream_usage", "ls_structured_output_format", "structured_output_format")
# What a call cannot change; it would go out in the body.
_CONSTRUCTORS = frozenset(
    {
        "api_key",
        "app_title",
        "app_url",
        "base_url",
        "config",
        "endpoints",
        "max_retries",
        "openrouter_api_base",
        "openrouter_api_key",
        "settings",
    }
)


def options(
    llm: Configured, stop: list[str] | None, kwargs: Mapping[str, Any], *, streamed: bool = False
) -> dict[str, Any]:
    """The arguments of the core's call; those given to the call go before the model's own."""
    fields = llm.__dict__
    asked: dict[str, Any] = {wire: fields[name] for name, wire in _PARAMS.items() if fields[name] is not None}
    if llm.model_kwargs:
        asked |= llm.model_kwargs
    if kwargs:
        if any(kwargs.get(name) is not None for name in _TOKEN_LIMITS):
            for name in _TOKEN_LIMITS:  # both mean the same: a call's replaces whichever the model has
                asked.pop(name, None)
        for name in _CONSTRUCTORS & kwargs.keys():
            raise ConfigError(f"{name}= is an argument of {type(llm).__name__} itself, not of a call: make another one")
        asked |= {_RENAMED.get(name, name): value for name, value in kwargs.items() if name not in _NOT_SENT}
        _adapt(asked)
    if stop is not None:
        asked["stop"] = stop
    if "stop" in asked and not asked["stop"]:
        del asked["stop"]
    if streamed:
        if (asked.get("n") or 1) > 1:
            raise ConfigError(
                "n > 1 cannot be streamed: chunks of several answers would be merged into one; use invoke"
            )
        if llm.mid_stream is not None:
            asked.setdefault("mid_stream", llm.mid_stream)
    return asked


def routed(llm: Configured, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
    """The keyword arguments of a call with the routing of its config and its context, fixed when the call is made, so
    that callbacks and caches see it too."""
    given = current_routing()
    configurable = ensure_config(config).get("configurable")
    if configurable:
        given = _over({key: configurable[key] for key in CONFIGURABLE if configurable.get(key) is not None}, given)
        thread = configurable.get("thread_id")
        if thread is not None and llm.client.config.settings.stick_to == "thread":
            given["thread_id"] = str(thread)
    return _over(kwargs, given) if given else kwargs


def _over(near: dict[str, Any], far: dict[str, Any]) -> dict[str, Any]:
    """The nearer word over the farther one; `task`, `model` and `models` say the same thing, which models."""
    if any(near.get(name) is not None for name in ("task", "model")):
        far = {name: value for name, value in far.items() if name != "models"}
    return {**far, **near}


def _adapt(asked: dict[str, Any]) -> None:
    model = asked.pop("model", None)
    if model is not None:
        if asked.get("models") is not None:
            raise ConfigError("give model= (a chain of one) or models=[...], not both")
        asked["models"] = [model]
    if "tools" in asked and not asked["tools"]:
        del asked["tools"]
        asked.pop("tool_choice", None)
    form = asked.get("response_format")
    if isinstance(form, type):
        asked["response_format"] = json_format(form, None)


def json_format(form: dict[str, Any] | type, strict: bool | None) -> dict[str, Any]:
    """The `response_format` for an answer of this schema. OpenAI wants its name in 64 of few characters, and in a
    strict one all properties named."""
    schema = convert_to_json_schema(form, strict=strict or None)
    named = {"name": re.sub(r"[^A-Za-z0-9_-]", "_", schema.get("title") or "answer")[:64], "schema": schema}
    return {"type": "json_schema", "json_schema": named if strict is None else {**named, "strict": strict}}
