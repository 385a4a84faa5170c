"""Other chat models taken over: a ChatOpenAI as a candidate, a ChatOpenAI's or ChatOpenRouter's settings.

Neither package is imported here: whoever gives such a model has imported it.
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
"""Fields that are parameters of the request; ChatOpenAI and ChatOpenRouter have them by the same names."""
OPENROUTER = "openrouter"

_MILLISECONDS = 1000
"""From here on a timeout is taken for ChatOpenRouter's milliseconds: no one waits 17 minutes for a first token."""
_OPENROUTER_HOST = "openrouter.ai"
_OPENROUTER_URL = f"https://{_OPENROUTER_HOST}/api/v1"
_OPENAI_URL = "https://api.openai.com/v1"
_OPENAI_KEY = "OPENAI_API_KEY"
# Fields with the same name and meaning in all three.
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
    # of every chat model
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
# ChatOpenRouter's field -> the request's parameter.
_OPENROUTERS = {"openrouter_provider": "provider", "plugins": "plugins", "route": "route"}
_OPENROUTERS |= {"session_id": "session_id", "trace": "trace"}
# What ChatOpenRouter says where its user has said nothing.
_THEIR_DEFAULTS = {"app_url": "https://docs.langchain.com", "app_title": "LangChain"}


def check_seconds(timeout: object) -> None:
    """Raise `ConfigError` for a timeout that is meant in milliseconds, as ChatOpenRouter's is."""
    if isinstance(timeout, int | float) and timeout >= _MILLISECONDS:
        raise ConfigError(
            f"timeout={timeout} is {timeout:g} seconds to the first token: timeout= is in seconds here, in "
            f"milliseconds in ChatOpenRouter. Write timeout={timeout / 1000:g}, or, if so many seconds are meant, give "
            f"the constructor settings={{'first_token_timeout_seconds': {timeout}}}"
        )


def endpoint_of(llm: BaseChatModel, taken: Mapping[str, EndpointConfig]) -> tuple[str, EndpointConfig, ModelConfig]:
    """A ChatOpenAI as a candidate: the name of its endpoint, the endpoint, the model there.

    `taken` are the endpoints there are; one with the same URL, key and headers is used again. Raises `ConfigError`.
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
        params["max_completion_tokens"] = params.pop("max_tokens")  # its newer models refuse the old name
    return name, endpoint, ModelConfig(f"{name}:{_attribute(llm, 'model_name')}", params=params, **_patience(llm))


def at_home(models: Sequence[Any], url: str | None, key: Any) -> tuple[list[Any], Any]:
    """`models`, each ChatOpenRouter, and each ChatOpenAI that asks OpenRouter, with the chain's own URL and key turned
    into a model of the chain, which has prices there and preferences; and the chain's key, which is theirs where it has
    none.
    """
    home = (url or _url_of_the_environment() or _OPENROUTER_URL).rstrip("/")
    # A ChatOpenRouter that names no server means OpenRouter, wherever the environment says that it is.
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
    """The arguments for a ChatOpenRouterFallback that does what `llm` does. Raises `ConfigError`.

    `models` are those of a chain that `with_fallbacks` has made, in its order, each once; all else is its first one's.
    """
    members: dict[tuple[str, object], BaseChatModel] = {}
    for one in _members(llm):
        members.setdefault((_url(one), _attribute(one, "model_name")), one)
    first, *others = members.values()
    taken = _settings_of(first)
    return {**taken, "models": [*taken["models"], *others]}


def _members(llm: object) -> list[BaseChatModel]:
    if isinstance(llm, RunnableWithFallbacks):
        if llm.exception_key is not None:
            raise ConfigError(
                "from_chat_model found with_fallbacks(exception_key=...): a chain hands no exception to its models"
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
        # As a setting where no argument would be believed.
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
        given.pop("default_headers", None)  # they go to the model's own endpoint, and nowhere else
    return {key: value for key, value in given.items() if value is not None}


def refused(model: object) -> str:
    """What is said of an object that cannot stand in a chain."""
    told = f"models= holds a {type(model).__name__}; it may hold model ids, ModelConfig and ChatOpenAI objects"
    if isinstance(model, BaseChatModel) and _kind(model) == "openrouter":
        return (
            f"{told}, and ChatOpenRouter objects with the chain's own URL and key and no headers. Write its id, or "
            "begin with it: ChatOpenRouterFallback.from_chat_model(llm, models=[...])"
        )
    if isinstance(model, Runnable):
        return f"{told}. Others stand behind the whole chain: ChatOpenRouterFallback(...).with_fallbacks([...])"
    return told


def is_chat_model(value: object) -> bool:
    """Whether it is a chat model rather than an id."""
    return isinstance(value, BaseChatModel)


def _refuse_ways(llm: BaseChatModel, where: str) -> None:
    """`ConfigError` for ways to a server that cannot be gone here."""
    if hasattr(llm, "azure_endpoint") or _attribute(llm, "default_query"):
        raise ConfigError(
            f"{where} a {type(llm).__name__} whose URL needs a query; give one whose base_url is all there is"
        )
    if _attribute(llm, "openai_proxy") or _attribute(llm, "http_client") or _attribute(llm, "http_async_client"):
        raise ConfigError(
            f"{where} a {type(llm).__name__} with a proxy or an HTTP client of its own, which is not used here; "
            "proxies are taken from HTTPS_PROXY"
        )


def _kind(llm: BaseChatModel) -> str | None:
    packages = {cls.__module__.partition(".")[0] for cls in type(llm).__mro__}
    return next((kind for kind in ("openai", "openrouter") if f"langchain_{kind}" in packages), None)


def _params(llm: BaseChatModel) -> dict[str, Any]:
    """What it asks with."""
    params = {field: value for field in SHARED if (value := _useful(llm, field)) is not None}
    if _kind(llm) == "openrouter":
        params |= {name: value for field, name in _OPENROUTERS.items() if (value := _useful(llm, field)) is not None}
    return {**params, **(_attribute(llm, "model_kwargs") or {}), **(_attribute(llm, "extra_body") or {})}


def _plain(key: object) -> object:
    return key.get_secret_value() if isinstance(key, SecretStr) else key


def _attribute(llm: BaseChatModel, name: str) -> Any:
    return getattr(llm, name, None)


def _useful(llm: BaseChatModel, name: str) -> Any:
    """The attribute if it says more than nothing."""
    field = type(llm).model_fields.get(name)
    value = _attribute(llm, name)
    return None if field is None or value is None or value == field.default or value in ({}, []) else value


def _seconds(llm: BaseChatModel) -> float | None:
    """Its timeout in seconds; ChatOpenRouter's is in milliseconds."""
    timeout = _attribute(llm, "request_timeout")
    if not isinstance(timeout, int | float) or timeout <= 0:
        return None
    return timeout / 1000 if _kind(llm) == "openrouter" else float(timeout)


def _patience(llm: BaseChatModel) -> dict[str, Any]:
    """How long and how often it is asked, where its user has said so, as fields of a `ModelConfig`."""
    retries = _useful(llm, "max_retries")
    found = {"timeout": _seconds(llm), "max_retries": retries + 1 if isinstance(retries, int) else None}
    return {name: value for name, value in found.items() if value is not None}


def _client(llm: BaseChatModel) -> Any:
    """Its own client, which knows what became of arguments and environment."""
    return _attribute(llm, "root_async_client") or _attribute(llm, "root_client")


def _key(llm: BaseChatModel) -> Any:
    """ChatXAI and other relatives have a field of their own for it."""
    if _kind(llm) == "openrouter":
        return _attribute(llm, "openrouter_api_key")
    key, sent = _attribute(llm, "openai_api_key"), _attribute(_client(llm), "api_key")
    return key if callable(key) or not sent else SecretStr(sent)


def _url(llm: BaseChatModel) -> str:
    """Where it really asks."""
    if _kind(llm) == "openrouter":
        return (_attribute(llm, "openrouter_api_base") or _OPENROUTER_URL).rstrip("/")
    client = _client(llm)
    return str(client.base_url if client is not None else _attribute(llm, "openai_api_base") or _OPENAI_URL).rstrip("/")


def _on_openrouter(url: str) -> bool:
    return urlsplit(url).hostname == _OPENROUTER_HOST or url == (_url_of_the_environment() or "").rstrip("/")


def _url_of_the_environment() -> str | None:
    return os.environ.get("OPENROUTER_BASE_URL") or os.environ.get("OPENROUTER_API_BASE")


def _name(url: str, endpoint: EndpointConfig, taken: Mapping[str, EndpointConfig]) -> str:
    """A name for the endpoint: `openai` for https://api.openai.com, counted on where that is another's."""
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
