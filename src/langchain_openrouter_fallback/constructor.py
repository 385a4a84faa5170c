"""Checks the arguments of the constructor, and converts them to the types of the fields."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel

from openrouter_fallback import EndpointConfig, FallbackConfig, ModelConfig, Settings, load_config
from openrouter_fallback.suggest import meant, nearest

from .errors import ConfigError
from .existing_models import at_home, check_seconds, endpoint_of, refused
from .shared_client import Core

_OF_CALLS = ("accept", "idempotent")


def checked(cls: type[BaseChatModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as fields: configurations are loaded, models and endpoints are objects. Raises `ConfigError`."""
    _refuse_unknown(cls, given)
    data = dict(given)
    if data.get("model") is not None and data.get("models") is not None:
        raise ConfigError("give model= (a chain of one) or models=[...], not both")
    if isinstance(data.get("model"), list | tuple):
        raise ConfigError(f"model={data['model']!r} is a list; a chain is models={list(data['model'])!r}")
    for name in ("timeout", "request_timeout"):
        check_seconds(data.get(name))
    config = data.get("config")
    if isinstance(config, Mapping):
        data["config"] = load_config(config)
    elif isinstance(config, os.PathLike):
        data["config"] = os.fspath(config)
    settings = data.get("settings")
    if isinstance(settings, Settings):
        data["settings"] = {name: getattr(settings, name) for name in settings.model_fields_set}
    endpoints = {name: _endpoint(end) for name, end in (data.get("endpoints") or {}).items()}
    models = data.get("models")
    if isinstance(models, str):
        raise ConfigError(f"models={models!r} is a string; give a list: models=[{models!r}]")
    if models is not None:
        if config is None and any(isinstance(model, BaseChatModel) for model in models):
            named = "openrouter_api_key" if "openrouter_api_key" in data else "api_key"
            url = data.get("base_url") or data.get("openrouter_api_base")
            models, data[named] = at_home(models, url, data.get(named))
        taken = {**_configured(data.get("config"), models), **endpoints}
        data["models"] = [_model(model, endpoints, taken) for model in models]
    if endpoints:
        data["endpoints"] = endpoints
    core = data.get("core")
    if isinstance(core, Core) and data.get("profile") in core.profiles:
        del data["profile"]  # derived from the catalog, perhaps for other models; not the user's profile
    return data


def plain(value: object) -> Any:
    """A value for LangChain's serialization: configurations as JSON, without API keys."""
    # Strings and lists first: LangChain calls this in each call, and checks for pydantic's classes are slow.
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, FallbackConfig):
        return _without_keys(value.model_dump(mode="json", exclude_defaults=True))
    if isinstance(value, ModelConfig | EndpointConfig):
        return value.model_dump(mode="json", exclude_defaults=True, exclude={"api_key"})
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value


def _without_keys(config: dict[str, Any]) -> dict[str, Any]:
    for endpoint in config.get("endpoints", {}).values():
        endpoint.pop("api_key", None)
    return config


def _refuse_unknown(cls: type[BaseChatModel], given: Mapping[str, Any]) -> None:
    known = {*cls.model_fields, *(field.alias for field in cls.model_fields.values() if field.alias)}
    for name in given:
        if name not in known:
            raise ConfigError(f"{cls.__name__} has no argument {name}=; {_meant(name, known - {'core'})}")


def _meant(name: str, known: set[str]) -> str:
    elsewhere = meant("ChatOpenRouterFallback", name)
    if elsewhere is not None:
        return f"did you mean {elsewhere}=?"
    setting = next((word for word in (name, f"{name}_seconds") if word in Settings.model_fields), None)
    if setting is not None:
        return f"it is a setting: settings={{{setting!r}: ...}}"
    if name in _OF_CALLS:
        return f"it is an argument of a call: .invoke(..., {name}=...) or .bind({name}=...)"
    near = nearest(name, sorted(known), 0.75)
    return f"did you mean {near}=?" if near else "parameters of the request go into model_kwargs={...}"


def _configured(config: FallbackConfig | str | None, models: Sequence[object]) -> Mapping[str, EndpointConfig]:
    """The endpoints of the configuration if one of `models` is a chat model; else empty.

    The endpoint of such a chat model needs a name that the configuration does not use.
    """
    if config is None or not any(isinstance(model, BaseChatModel) for model in models):
        return {}
    return (load_config(config) if isinstance(config, str) else config).endpoints


def _model(model: object, endpoints: dict[str, EndpointConfig], taken: dict[str, EndpointConfig]) -> str | ModelConfig:
    if isinstance(model, BaseChatModel):
        name, endpoint, config = endpoint_of(model, taken)
        endpoints[name] = taken[name] = endpoint
        return config
    if isinstance(model, Mapping):
        return ModelConfig(**model)
    if isinstance(model, str | ModelConfig):
        return model
    raise ConfigError(refused(model))


def _endpoint(endpoint: object) -> EndpointConfig:
    if isinstance(endpoint, EndpointConfig):
        return endpoint
    if isinstance(endpoint, Mapping):
        return EndpointConfig(**endpoint)
    raise ConfigError(f"endpoints= holds a {type(endpoint).__name__}; it must be an EndpointConfig or a mapping")
