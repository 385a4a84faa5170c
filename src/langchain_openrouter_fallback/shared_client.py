"""The core's client of a chat model: one `FallbackClient`, shared by all copies with the same settings."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from pydantic import SecretStr

from openrouter_fallback import EndpointConfig, FallbackClient, FallbackConfig, ModelConfig, load_config

from .steps import FailedCalls

logger = logging.getLogger("openrouter_fallback")

_KEY_ENV = "OPENROUTER_API_KEY"
_CONFIG_ENV = "OPENROUTER_FALLBACK_CONFIG"


@dataclass(frozen=True, slots=True)
class Recipe:
    """The arguments from which a client is built, without the routing."""

    config: FallbackConfig | str | None = None
    endpoints: Mapping[str, EndpointConfig] | None = None
    settings: Mapping[str, Any] | None = None
    timeout: float | None = None
    max_retries: int | None = None
    base_url: str | None = None
    api_key: SecretStr | Callable[[], Any] | None = field(default=None, repr=False)
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    app_url: str | None = None
    app_title: str | None = None

    def client(self, models: list[str | ModelConfig] | None) -> FallbackClient:
        """A new client. Without a configuration, `models` is its chain. Raises the core's `ConfigError`."""
        config: FallbackConfig | str | None = self.config
        if self.endpoints:
            config = self._with_endpoints(models)
        return FallbackClient(
            models if config is None else None,
            config=config,
            base_url=self.base_url,
            api_key=self._key(),
            settings=self._changes(),
            headers=self.headers,
            app_url=self.app_url,
            app_title=self.app_title,
        )

    def _with_endpoints(self, models: list[str | ModelConfig] | None) -> FallbackConfig | None:
        """The configuration with the chat model's own endpoints; None without configuration and without models."""
        config = self.config
        if config is None and models is not None:
            return FallbackConfig(default_chain=models, endpoints=self.endpoints or {})
        config = config or os.environ.get(_CONFIG_ENV) or None
        if isinstance(config, str):
            config = load_config(config)
        return config and config.with_endpoints(self.endpoints or {})

    def _key(self) -> SecretStr | Callable[[], Any] | None:
        """The given API key; None if it is only the default from the environment.

        The core reads the environment itself, because a configuration may name another variable.
        """
        key = self.api_key
        from_env = isinstance(key, SecretStr) and key.get_secret_value() == os.environ.get(_KEY_ENV)
        return None if from_env else key

    def _changes(self) -> dict[str, Any]:
        """The settings that the chat model's own arguments change in the configuration."""
        told = dict(self.settings or {})
        if self.timeout is not None:
            told["first_token_timeout_seconds"] = float(self.timeout)
        if self.max_retries is not None:
            told["max_retries_per_model"] = self.max_retries + 1  # LangChain counts retries, the core counts attempts
        return told


@dataclass(slots=True)
class Core:
    """A client and the arguments that it was built from. Copies of a chat model share the client, also deep copies."""

    recipe: Recipe
    client: FallbackClient = field(repr=False)
    models: list[str | ModelConfig] | None
    profiles: list[Any] = field(default_factory=list, repr=False)
    """The profiles that were derived from the catalog, not set by the user."""
    told: set[str] = field(default_factory=set, repr=False)
    """The types of blocks for which the log already has a warning that they are not sent."""
    failed: FailedCalls = field(default_factory=FailedCalls, repr=False)

    @classmethod
    def made(cls, recipe: Recipe, models: list[str | ModelConfig] | None) -> Self:
        """A new client from these arguments."""
        return cls(recipe, recipe.client(models), models)

    def routed(self, models: list[str | ModelConfig] | None, **routing: Any) -> FallbackClient:
        """The shared client with the routing of one chat model as its default."""
        own = models if models != self.models or self.recipe.config is not None else None
        if own is None and not any(routing.values()):
            return self.client
        return self.client.with_options(models=own, **routing)

    def left_out(self, kind: str) -> None:
        """Log that a type of block is not sent: the first time as a warning, later at debug level."""
        level = logging.DEBUG if kind in self.told else logging.WARNING
        self.told.add(kind)
        logger.log(
            level, "a block of type %r of an AI message is not sent: there is no place for it in OpenRouter's API", kind
        )

    def __deepcopy__(self, memo: object) -> Self:
        return self
