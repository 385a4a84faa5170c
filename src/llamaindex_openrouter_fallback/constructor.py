"""Checks the arguments of the constructor, and translates LlamaIndex's names into the core's names."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from openrouter_fallback import ConfigError, FallbackConfig, ModelConfig, Settings, load_config
from openrouter_fallback.suggest import meant, nearest

if TYPE_CHECKING:
    from openrouter_fallback import FallbackClient

Json = dict[str, Any]

_ROUTING = ("task", "max_cost_tier", "primary_provider", "models", "max_price")
# The attributes of another LLM that are taken over. The second group is taken over only if the user has changed it,
# because that class's defaults for retries and timeouts are not meant for this class.
_TAKEN = (
    "temperature",
    "max_tokens",
    "api_base",
    "api_key",
    "default_headers",
    "callback_manager",
    "system_prompt",
    "output_parser",
    "pydantic_program_mode",
    "query_wrapper_prompt",
    "rate_limiter",
)
_TAKEN_IF_CHANGED = ("max_retries", "timeout", "context_window", "is_function_calling_model")
_PROMPTS = ("messages_to_prompt", "completion_to_prompt")
_AS_PARAMETERS = {"reasoning_effort": "reasoning_effort", "modalities": "modalities", "audio_config": "audio"}


def checked(name: str, given: Mapping[str, Any], fields: Collection[str]) -> Json:
    """The arguments of an LLM, with its configuration loaded. Raises `ConfigError` for an unknown argument."""
    for key in given:
        if key in fields or key == "class_name":  # `class_name` is part of a dump
            continue
        elsewhere = meant("OpenRouterFallback", key)
        if elsewhere is not None:
            raise ConfigError(f"{name} takes no {key}=; here that is {elsewhere}")
        near = nearest(key, fields)
        hint = f"did you mean {near}=?" if near else "request parameters go into additional_kwargs={...}"
        raise ConfigError(f"{name} takes no {key}=; {hint}")
    data = {key: value for key, value in given.items() if key in fields}
    models = data.get("models")
    if isinstance(models, str):
        raise ConfigError(f"models={models!r} is a string; give a list: [{models!r}]")
    if models is not None:
        data["models"] = [ModelConfig(**one) if isinstance(one, Mapping) else one for one in models]
    if data.get("config") is not None and not isinstance(data["config"], FallbackConfig):
        data["config"] = load_config(data["config"])
    if isinstance(data.get("settings"), Mapping):
        data["settings"] = Settings(**data["settings"])
    for key in _ROUTING:
        if key in (data.get("additional_kwargs") or {}):
            raise ConfigError(f"additional_kwargs holds {key}: give it as {key}=")
    return data


def mistakes(name: str, error: ValidationError) -> ConfigError:
    """Pydantic's errors by argument, without the invalid values: a value may be an API key."""
    found: dict[str, list[str]] = {}
    for one in error.errors(include_url=False, include_input=False):
        found.setdefault(str(one["loc"][0]) if one["loc"] else "", []).append(one["msg"])
    told = [f"{key}: {', or '.join(said)}" for key, said in found.items()]
    return ConfigError(f"{name}: {'; '.join(told)}")


def client(
    models: list[str | ModelConfig] | None,
    config: FallbackConfig | None,
    settings: Settings | None,
    changes: Mapping[str, Any],
    **options: Any,
) -> FallbackClient:
    """The core's client. `settings` override the configuration, and `changes` override `settings`."""
    from openrouter_fallback import FallbackClient

    given: Json = {"models": models} if config is None else {"config": config}
    own = {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    return FallbackClient(**given, settings={**own, **changes}, **options)


def taken_over(llm: Any) -> Json:
    """The constructor's arguments from the attributes of an `OpenRouter` or `OpenAILike` LLM."""
    data = {key: value for key in _TAKEN if (value := getattr(llm, key, None)) is not None}
    data |= {
        key: value
        for key in _TAKEN_IF_CHANGED
        if (value := getattr(llm, key, None)) is not None and value != _default(llm, key)
    }
    if getattr(llm, "is_chat_model", True):
        data |= {key: value for key in _PROMPTS if (value := getattr(llm, key, None)) is not None}
    parameters = dict(getattr(llm, "additional_kwargs", None) or {})
    if headers := parameters.pop("extra_headers", None):
        data["default_headers"] = {**(data.get("default_headers") or {}), **headers}
    for theirs, ours in _AS_PARAMETERS.items():
        if (value := getattr(llm, theirs, None)) is not None:
            parameters.setdefault(ours, value)
    if getattr(llm, "logprobs", None):
        parameters.setdefault("logprobs", True)
        if top := getattr(llm, "top_logprobs", None):
            parameters.setdefault("top_logprobs", top)
    data["additional_kwargs"] = parameters
    return data


def _default(llm: Any, key: str) -> Any:
    """The default of a constructor argument in the class of `llm`."""
    parameter = inspect.signature(type(llm).__init__).parameters.get(key)
    if parameter is not None and parameter.default is not parameter.empty:
        return parameter.default
    field = getattr(type(llm), "model_fields", {}).get(key)
    return None if field is None else field.get_default(call_default_factory=False)
