"""Translates LangChain's arguments of a call into arguments of the core: parameters, routing, different names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langchain_core.utils.function_calling import convert_to_json_schema

from openrouter_fallback import current_routing

from .errors import ConfigError
from .existing_models import SHARED, check_seconds
from .tools import in_openai_form

if TYPE_CHECKING:
    from .base import Configured

ROUTING = ("task", "max_cost_tier", "primary_provider", "models", "model", "max_price")
"""The routing arguments of `bind`."""
CONFIGURABLE = tuple(name for name in ROUTING if name != "model")
"""The routing keys of `config={"configurable": {...}}`. `model` is not among them: many graphs use that key themselves.
"""

# A field of the chat model -> the request's parameter.
_PARAMS = {name: name for name in (*SHARED, "plugins", "route", "session_id", "trace", "extra_body")}
_PARAMS |= {"openrouter_provider": "provider"}
# LangChain's name for an argument of a call -> the core's name.
_RENAMED = {
    "openrouter_provider": "provider",
    "stop_sequences": "stop",
    "request_timeout": "timeout",
    "default_headers": "headers",
}
_FORMATS = frozenset({"grammar", "json_object", "json_schema", "python", "text"})
_OF_SCHEMAS = ("$defs", "$ref", "$schema", "allOf", "anyOf", "enum", "items", "oneOf", "properties", "title")
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")
# Arguments for LangChain only, which are not sent.
_NOT_SENT = ("stream", "streaming", "stream_usage", "ls_structured_output_format", "structured_output_format")
# Arguments of the constructor only. As an argument of a call, they would be sent in the request's body.
_CONSTRUCTORS = frozenset(
    {
        "api_key",
        "app_categories",
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
    """The arguments of the core's call. The arguments of the call override the fields of the chat model.

    Raises `ConfigError` for an argument that a call does not take.
    """
    fields = llm.__dict__
    asked: dict[str, Any] = {wire: fields[name] for name, wire in _PARAMS.items() if fields[name] is not None}
    if llm.model_kwargs:
        asked |= llm.model_kwargs
    if kwargs:
        if any(kwargs.get(name) is not None for name in _TOKEN_LIMITS):
            for name in _TOKEN_LIMITS:  # two names of one limit: the call's limit replaces the field's limit
                asked.pop(name, None)
        for name in _CONSTRUCTORS & kwargs.keys():
            raise ConfigError(
                f"{name}= is an argument of {type(llm).__name__} itself, not of a call: make another chat model"
            )
        asked |= {_RENAMED.get(name, name): value for name, value in kwargs.items() if name not in _NOT_SENT}
    if kwargs or llm.model_kwargs:
        asked = _adapted(asked)
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
    """The keyword arguments of a call, with the routing of its config and its context.

    The routing is fixed when the call is made, so that callbacks and caches see it.
    """
    given = current_routing()
    is_plain = config is None and var_child_runnable_config.get() is None
    configurable = None if is_plain else ensure_config(config).get("configurable")
    if configurable:
        given = _over({key: configurable[key] for key in CONFIGURABLE if configurable.get(key) is not None}, given)
        thread = configurable.get("thread_id")
        if thread is not None and llm.client.config.settings.stick_to == "thread":
            given["thread_id"] = str(thread)
    return _over(kwargs, given) if given else kwargs


def _over(near: dict[str, Any], far: dict[str, Any]) -> dict[str, Any]:
    """Merge two routings; `near` overrides `far`. `task` or `model` in `near` also override `models` in `far`."""
    if any(near.get(name) is not None for name in ("task", "model")):
        far = {name: value for name, value in far.items() if name != "models"}
    return {**far, **near}


def in_wire_form(given: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call with `tools` and `response_format` in OpenAI's form.

    Returns the same object if nothing has to be converted.
    """
    given = in_openai_form(given)
    form = given.get("response_format")
    return given if form is None else {**given, "response_format": answer_format(form)}


def _adapted(asked: dict[str, Any]) -> dict[str, Any]:
    model = asked.pop("model", None)
    if model is not None:
        if asked.get("models") is not None:
            raise ConfigError("give model= (a chain of one) or models=[...], not both")
        asked["models"] = [model]
    if "timeout" in asked:
        check_seconds(asked["timeout"])
    if "timeout_ms" in asked:
        raise ConfigError("timeout_ms= is ChatOpenRouter's; here it is timeout=, in seconds to the first token")
    if "tools" in asked and not asked["tools"]:
        del asked["tools"]
        asked.pop("tool_choice", None)
    return in_wire_form(asked)


def answer_format(form: Any) -> Any:
    """A `response_format` in OpenAI's form.

    Accepts a pydantic class, a TypedDict, a JSON schema, or the form of the Responses API. Any other value is returned
    unchanged. Raises `ConfigError` for a class without a schema.
    """
    if isinstance(form, type):
        return json_format(form, None)
    if not isinstance(form, Mapping):
        return form
    schema, kind = form.get("schema"), form.get("type")
    if isinstance(schema, type):
        schema = json_format(schema, None)["json_schema"]["schema"]
    if isinstance(schema, Mapping) and kind in (None, "json_schema"):
        named = {**form, "name": _name(form.get("name") or schema.get("title")), "schema": schema}
        named.pop("type", None)
        return {"type": "json_schema", "json_schema": named}
    inner = form.get("json_schema")
    if isinstance(inner, type):
        return json_format(inner, None)
    if isinstance(inner, Mapping) and isinstance(inner.get("schema"), type):
        plain = json_format(inner["schema"], None)["json_schema"]
        return {**form, "json_schema": {**plain, **inner, "schema": plain["schema"]}}
    is_schema = kind not in _FORMATS and not form.keys().isdisjoint(_OF_SCHEMAS)
    return json_format({"title": "answer", **form}, None) if is_schema else form


def json_format(form: dict[str, Any] | type, strict: bool | None) -> dict[str, Any]:
    """The `response_format` for an answer with this schema. Raises `ConfigError` for an invalid schema.

    OpenAI allows names of at most 64 letters, digits, underscores and dashes. A strict schema must require all
    properties.
    """
    try:
        schema = convert_to_json_schema(form, strict=strict or None)
    except Exception as error:  # noqa: BLE001 - whatever LangChain and pydantic make of a class
        named, told = form.__name__ if isinstance(form, type) else "the schema", " ".join(str(error).split())
        raise ConfigError(f"{named} cannot be written as a JSON schema: {told}") from None
    described = {"name": _name(schema.get("title")), "schema": schema}
    return {"type": "json_schema", "json_schema": described if strict is None else {**described, "strict": strict}}


def _name(title: object) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", str(title or "answer"))[:64]
