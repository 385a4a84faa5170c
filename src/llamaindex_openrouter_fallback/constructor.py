"""What a user may say when making an LLM: names checked, the words of LlamaIndex put into the core's."""

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
# What is taken over of another LLM. The second group only where its owner has changed it: those are that class's ways
# to be reliable, and this one has its own.
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
    """The arguments of an LLM, its configuration loaded. Raises `ConfigError` for one that is not known."""
    for key in given:
        if key in fields or key == "class_name":  # of a dump
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
    """Pydantic's findings by argument, without what was found: it may be a key."""
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
    """The core's client; `settings`, and before them `changes`, change what they name in the configuration."""
    from openrouter_fallback import FallbackClient

    given: Json = {"models": models} if config is None else {"config": config}
    own = {} if settings is None else {name: getattr(settings, name) for name in settings.model_fields_set}
    return FallbackClient(**given, settings={**own, **changes}, **options)


def taken_over(llm: Any) -> Json:
    """The arguments that make an LLM of an `OpenRouter` or `OpenAILike` one, by its attributes alone."""
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
    """What the class of `llm` takes where nothing is given."""
    parameter = inspect.signature(type(llm).__init__).parameters.get(key)
    if parameter is not None and parameter.default is not parameter.empty:
        return parameter.default
    field = getattr(type(llm), "model_fields", {}).get(key)
    return None if field is None else field.get_default(call_default_factory=False)
