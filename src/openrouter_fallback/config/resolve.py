"""Builds a client's configuration from its arguments and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import ConfigError
from .loading import load_config
from .models import DEFAULT_BASE_URL, OPENROUTER, FallbackConfig, ModelConfig, Settings

CONFIG_ENV = "OPENROUTER_FALLBACK_CONFIG"
BASE_URL_ENV = "OPENROUTER_BASE_URL"
API_BASE_ENV = "OPENROUTER_API_BASE"
"""The variable that LangChain's and LlamaIndex's OpenRouter integrations read. `BASE_URL_ENV` wins over it."""


def resolve_config(
    models: Sequence[str | ModelConfig] | None,
    config: FallbackConfig | str | os.PathLike[str] | Mapping[str, Any] | None,
    base_url: str | None,
    settings: Settings | Mapping[str, Any] | None,
) -> FallbackConfig:
    """The configuration from a client's arguments. The environment fills in missing arguments.

    Raises `ConfigError`.
    """
    if models is not None and config is not None:
        raise ConfigError("give models= or config=, not both; a configuration has its chains inside")
    if isinstance(models, str):
        raise ConfigError(f"models={models!r} is a string; give a list: [{models!r}]")
    if models is not None:
        config = _chain(models)
    elif config is None:
        config = os.environ.get(CONFIG_ENV)
        if not config:
            raise ConfigError(f"no models: give models=[...] or config=..., or set {CONFIG_ENV} to a YAML file")
    if not isinstance(config, FallbackConfig):
        config = load_config(config)
    given = {"base_url=": base_url}
    if config.endpoints[OPENROUTER].base_url == DEFAULT_BASE_URL:
        given |= {name: os.environ.get(name) for name in (BASE_URL_ENV, API_BASE_ENV)}
    for source, url in given.items():
        if url:
            config = _with_base_url(config, url, source)
            break
    return config if settings is None else config.with_settings(settings)


def _with_base_url(config: FallbackConfig, url: str, source: str) -> FallbackConfig:
    """OpenRouter's URL replaced; an error names its `source`, an argument or a variable."""
    openrouter = {**config.endpoints[OPENROUTER].model_dump(exclude_none=True), "base_url": url}
    try:
        return config.with_endpoints({OPENROUTER: openrouter})
    except ConfigError as error:
        found = str(error).replace("FallbackConfig, endpoints.openrouter.base_url", source)
        quoted = " Remove the quotation marks." if url[0] in "\"'" else ""
        raise ConfigError(f"{found}{quoted}") from None


def _chain(models: Sequence[str | ModelConfig]) -> FallbackConfig:
    if not models:
        raise ConfigError("models=[] is empty; name at least one: models=['openai/gpt-5.1']")
    try:
        return FallbackConfig(default_chain=tuple(models))
    except ConfigError as error:  # name the argument `models=`, not the key of a file
        told = (
            str(error).replace("FallbackConfig, default_chain", "models").replace("FallbackConfig has", "models= has")
        )
        raise ConfigError(told.replace("- default_chain", "- models")) from None
