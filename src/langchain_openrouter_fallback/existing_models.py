"""Takes over other chat models: a ChatOpenAI as a model of the chain; the settings of a ChatOpenAI or ChatOpenRouter.

This module imports neither package: a caller that has such an object has already imported its package.
"""

from __future__ import annotations

import ipaddress
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import Runnable, RunnableWithFallbacks
from pydantic import SecretStr

from openrouter_fallback import EndpointConfig, ModelConfig

from .errors import ConfigError

logger = logging.getLogger("openrouter_fallback")

SHARED = (
    "temperature",
    "max_tokens",
    "max_completion_tokens",
    "top_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "n",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
    "verbosity",
    "service_tier",
    "stop",
)
"""Fields that are parameters of the request, and that ChatOpenAI and ChatOpenRouter have under the same names."""
OPENROUTER = "openrouter"

_MILLISECONDS = 1000
"""A timeout of this size or more is treated as milliseconds, ChatOpenRouter's unit: 1000 s would be 17 minutes."""
_OPENROUTER_HOST = "openrouter.ai"
_OPENROUTER_URL = f"https://{_OPENROUTER_HOST}/api/v1"
_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"
# Fields with the same name and meaning in all three classes.
_SAME = (
    *SHARED,
    "model_kwargs",
    "extra_body",
    "streaming",
    "stream_usage",
    "openrouter_provider",
    "plugins",
    "route",
    "session_id",
    "trace",
    "app_categories",
    "default_headers",
    "max_retries",
    # Fields of every LangChain chat model.
    "name",
    "cache",
    "verbose",
    "callbacks",
    "tags",
    "metadata",
    "custom_get_token_ids",
    "rate_limiter",
    "disable_streaming",
    "output_version",
)
# Settings that each model of `with_fallbacks` has for itself.
_OWN = {*SHARED, "model_kwargs", "extra_body", "openrouter_provider", "plugins", "route"}
_OWN |= {"max_retries", "settings", "timeout"}
_OF_ALL = ("session_id", "trace")
# ChatOpenRouter's field -> the request's parameter.
_OPENROUTERS = {"openrouter_provider": "provider", "plugins": "plugins", "route": "route"}
_OPENROUTERS |= {"session_id": "session_id", "trace": "trace"}
# ChatOpenRouter's own defaults, which are not taken over.
_THEIR_DEFAULTS = {"app_url": "https://docs.langchain.com", "app_title": "LangChain"}


def check_seconds(timeout: object) -> None:
    """Raise `ConfigError` for a timeout that is probably in milliseconds, ChatOpenRouter's unit."""
    if isinstance(timeout, int | float) and timeout >= _MILLISECONDS:
        raise ConfigError(
            f"timeout={timeout} is {timeout:g} seconds to the first token: timeout= is in seconds here, in "
            f"milliseconds in ChatOpenRouter. Write timeout={timeout / 1000:g}, or, if so many seconds are meant, give "
            f"the constructor settings={{'first_token_timeout_seconds': {timeout}}}"
        )


def endpoint_of(llm: BaseChatModel, taken: Mapping[str, EndpointConfig]) -> tuple[str, EndpointConfig, ModelConfig]:
    """A ChatOpenAI as a model of the chain: (name of its endpoint, the endpoint, the model).

    `taken` are the existing endpoints. An endpoint with the same URL, key and headers is reused. Raises `ConfigError`.
    """
    kind = _kind(llm)
    if kind != "openai":
        raise ConfigError(refused(llm))
    _refuse_ways(llm, "models= holds")
    headers = dict(_attribute(llm, "default_headers") or {})
    if _attribute(llm, "openai_organization"):
        headers["OpenAI-Organization"] = str(_attribute(llm, "openai_organization"))
    url = _url(llm)
    key = _key(llm)
    if key is not None and not isinstance(key, SecretStr):
        raise ConfigError(f"models= holds a {type(llm).__name__} whose api_key is a function; give it a plain key")
    from_env = key is not None and url == _OPENAI_URL and key.get_secret_value() == os.environ.get(_OPENAI_KEY)
    endpoint = EndpointConfig(
        url,
        api_key=None if from_env else key,
        api_key_env=_OPENAI_KEY if from_env else None,
        headers=headers,
    )
    name = _name(url, endpoint, taken)
    params = _params(llm)
    if url == _OPENAI_URL and "max_tokens" in params:
        params["max_completion_tokens"] = params.pop("max_tokens")  # OpenAI's newer models refuse the old name
    return name, endpoint, ModelConfig(f"{name}:{_attribute(llm, 'model_name')}", params=params, **_patience(llm))


def at_home(models: Sequence[Any], url: str | None, key: Any) -> tuple[list[Any], Any]:
    """Convert the chat models for OpenRouter itself to models of the chain: (models, API key of the chain).

    This applies to each ChatOpenRouter, and to each ChatOpenAI with OpenRouter's URL, that has the chain's URL and API
    key. As a model of the chain it has prices and provider preferences. If the chain has no key, the chain gets theirs.
    """
    home = (url or _url_of_the_environment() or _OPENROUTER_URL).rstrip("/")
    # A ChatOpenRouter without a URL means OpenRouter, even if the environment sets another URL for it.
    homes = {home} if url else {home, _OPENROUTER_URL}
    key = key or os.environ.get("OPENROUTER_API_KEY")
    found: list[Any] = []
    for model in models:
        if is_chat_model(model) and _url(model) in {"openai": {home}, "openrouter": homes}.get(
            _kind(model) or "", set()
        ):
            theirs = _key(model)
            if isinstance(theirs, SecretStr) and not _attribute(model, "default_headers"):
                key = key or theirs
                if _plain(theirs) == _plain(key):
                    _refuse_ways(model, "models= holds")
                    model = ModelConfig(_attribute(model, "model_name"), params=_params(model), **_patience(model))
        found.append(model)
    return found, key


def settings_of(llm: object) -> dict[str, Any]:
    """The arguments for a ChatOpenRouterFallback with the behaviour of `llm`. Raises `ConfigError`.

    If `llm` was made by `with_fallbacks`, `models` are its models in order, each once, each with its own parameters,
    timeout and retries. All other settings are those of the first model.
    """
    members: dict[tuple[str, object], BaseChatModel] = {}
    for one in _members(llm):
        members.setdefault((_url(one), _attribute(one, "model_name")), one)
    first, *others = members.values()
    taken = _apart(_settings_of(first), first) if others else _settings_of(first)
    return {**taken, "models": [*taken["models"], *others]}


def _apart(taken: dict[str, Any], llm: BaseChatModel) -> dict[str, Any]:
    """The settings of the first of several models, with what it has for itself in its `ModelConfig`."""
    (model,) = taken["models"]
    if isinstance(model, str):
        own: dict[str, Any] = _patience(llm)
        if params := {name: value for name, value in _params(llm).items() if name not in _OF_ALL}:
            own["params"] = params
        model = ModelConfig(model, **own) if own else model
    return {**{name: value for name, value in taken.items() if name not in _OWN}, "models": [model]}


def _members(llm: object) -> list[BaseChatModel]:
    if isinstance(llm, RunnableWithFallbacks):
        if llm.exception_key is not None:
            raise ConfigError(
                "from_chat_model found with_fallbacks(exception_key=...): a chain passes no exception to its models"
            )
        if tuple(llm.exceptions_to_handle) != (Exception,):
            names = ", ".join(error.__name__ for error in llm.exceptions_to_handle)
            logger.warning("with_fallbacks(exceptions_to_handle=(%s)) is not taken over: the policy decides", names)
        return [one for runnable in (llm.runnable, *llm.fallbacks) for one in _members(runnable)]
    if isinstance(llm, BaseChatModel):
        return [llm]
    found = f"from_chat_model takes chat models; found a {type(llm).__name__}"
    if isinstance(llm, Runnable):
        found += ". Bind tools and arguments to the chain: from_chat_model(...).bind_tools(...); retries are its own"
    raise ConfigError(found)


def _settings_of(llm: BaseChatModel) -> dict[str, Any]:
    kind = _kind(llm)
    if kind is None:
        raise ConfigError(
            "from_chat_model takes a ChatOpenRouter, a ChatOpenAI, or with_fallbacks of them; "
            f"found a {type(llm).__name__}"
        )
    given = {field: value for field in _SAME if (value := _useful(llm, field)) is not None}
    if seconds := _seconds(llm):
        # `check_seconds` would refuse such a timeout as an argument, so it becomes a setting.
        given |= (
            {"timeout": seconds} if seconds < _MILLISECONDS else {"settings": {"first_token_timeout_seconds": seconds}}
        )
    if kind == "openrouter":
        given |= {"models": [_attribute(llm, "model_name")], "api_key": _attribute(llm, "openrouter_api_key")}
        given["base_url"] = _attribute(llm, "openrouter_api_base")
        given |= {key: value for key, default in _THEIR_DEFAULTS.items() if (value := _useful(llm, key)) != default}
    elif _on_openrouter(_url(llm)):
        _refuse_ways(llm, "from_chat_model found")
        given |= {"models": [_attribute(llm, "model_name")], "api_key": _attribute(llm, "openai_api_key")}
        given["base_url"] = _url(llm)
    else:
        given["models"] = [llm]
        given.pop("default_headers", None)  # they are sent to the model's own endpoint only
    return {key: value for key, value in given.items() if value is not None}


def refused(model: object) -> str:
    """The error message for an object that cannot be a model of a chain."""
    told = f"models= holds a {type(model).__name__}; it may hold model ids, ModelConfig and ChatOpenAI objects"
    if isinstance(model, BaseChatModel) and _kind(model) == "openrouter":
        return (
            f"{told}, and ChatOpenRouter objects with the chain's own URL and key and no headers. Write its id, or "
            "begin with it: ChatOpenRouterFallback.from_chat_model(llm, models=[...])"
        )
    if isinstance(model, Runnable):
        return f"{told}. Other runnables can follow the whole chain: ChatOpenRouterFallback(...).with_fallbacks([...])"
    return told


def is_chat_model(value: object) -> bool:
    """Whether the value is a LangChain chat model."""
    return isinstance(value, BaseChatModel)


def _refuse_ways(llm: BaseChatModel, where: str) -> None:
    """Raise `ConfigError` for a connection that is not supported: a URL with a query, a proxy, an HTTP client."""
    if hasattr(llm, "azure_endpoint") or _attribute(llm, "default_query"):
        raise ConfigError(
            f"{where} a {type(llm).__name__} whose URL has query parameters, which are not supported; give one that "
            "needs only its base_url"
        )
    if _attribute(llm, "openai_proxy") or _attribute(llm, "http_client") or _attribute(llm, "http_async_client"):
        raise ConfigError(
            f"{where} a {type(llm).__name__} with its own proxy or HTTP client, which is not supported; "
            "set a proxy with HTTPS_PROXY"
        )


def _kind(llm: BaseChatModel) -> str | None:
    packages = {cls.__module__.partition(".")[0] for cls in type(llm).__mro__}
    return next((kind for kind in ("openai", "openrouter") if f"langchain_{kind}" in packages), None)


def _params(llm: BaseChatModel) -> dict[str, Any]:
    """The request parameters of a chat model."""
    params = {field: value for field in SHARED if (value := _useful(llm, field)) is not None}
    if _kind(llm) == "openrouter":
        params |= {name: value for field, name in _OPENROUTERS.items() if (value := _useful(llm, field)) is not None}
    return {**params, **(_attribute(llm, "model_kwargs") or {}), **(_attribute(llm, "extra_body") or {})}


def _plain(key: object) -> object:
    return key.get_secret_value() if isinstance(key, SecretStr) else key


def _attribute(llm: BaseChatModel, name: str) -> Any:
    return getattr(llm, name, None)


def _useful(llm: BaseChatModel, name: str) -> Any:
    """The attribute if it is a field that is neither empty nor the default; else None."""
    field = type(llm).model_fields.get(name)
    value = _attribute(llm, name)
    return None if field is None or value is None or value == field.default or value in ({}, []) else value


def _seconds(llm: BaseChatModel) -> float | None:
    """The timeout of a chat model in seconds. ChatOpenRouter's own unit is milliseconds."""
    timeout = _attribute(llm, "request_timeout")
    if not isinstance(timeout, int | float) or timeout <= 0:
        return None
    return timeout / 1000 if _kind(llm) == "openrouter" else float(timeout)


def _patience(llm: BaseChatModel) -> dict[str, Any]:
    """The timeout and the retries that the user has set on a chat model, as fields of a `ModelConfig`."""
    retries = _useful(llm, "max_retries")
    found = {"timeout": _seconds(llm), "max_retries": retries + 1 if isinstance(retries, int) else None}
    return {name: value for name, value in found.items() if value is not None}


def _client(llm: BaseChatModel) -> Any:
    """The SDK client of a chat model, which has the URL and key that result from arguments and environment."""
    return _attribute(llm, "root_async_client") or _attribute(llm, "root_client")


def _key(llm: BaseChatModel) -> Any:
    """The API key of a chat model. ChatXAI and other subclasses have their own field for the key."""
    if _kind(llm) == "openrouter":
        return _attribute(llm, "openrouter_api_key")
    key, sent = _attribute(llm, "openai_api_key"), _attribute(_client(llm), "api_key")
    return key if callable(key) or not sent else SecretStr(sent)


def _url(llm: BaseChatModel) -> str:
    """The base URL that a chat model uses."""
    if _kind(llm) == "openrouter":
        return (_attribute(llm, "openrouter_api_base") or _OPENROUTER_URL).rstrip("/")
    client = _client(llm)
    return str(client.base_url if client is not None else _attribute(llm, "openai_api_base") or _OPENAI_URL).rstrip("/")


def _on_openrouter(url: str) -> bool:
    return urlsplit(url).hostname == _OPENROUTER_HOST or url == (_url_of_the_environment() or "").rstrip("/")


def _url_of_the_environment() -> str | None:
    return os.environ.get("OPENROUTER_BASE_URL") or os.environ.get("OPENROUTER_API_BASE")


def _name(url: str, endpoint: EndpointConfig, taken: Mapping[str, EndpointConfig]) -> str:
    """A name for the endpoint: `openai` for https://api.openai.com, with a number if the name is taken."""
    host = urlsplit(url).hostname or "endpoint"
    try:
        base = str(ipaddress.ip_address(host)).replace(":", "-")
    except ValueError:
        base = host.split(".")[-2] if "." in host else host
    number, name = 1, base
    while (name in taken and taken[name] != endpoint) or name == OPENROUTER:
        number += 1
        name = f"{base}-{number}"
    return name
