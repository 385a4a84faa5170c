"""Finds each endpoint's API key, and the advice about it that messages may show: never the key itself."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from ..config.models import OPENROUTER, FallbackConfig
from ..errors import ConfigError, DeadlineExceededError
from ..redaction import Secrets
from ..sealed import sealed

ApiKey = str | SecretStr | Callable[[], Any]
"""A key, or a function that returns a key (for async calls also a coroutine function)."""

KEYS_PAGE = "An OpenRouter key starts with sk-or- and is made at https://openrouter.ai/settings/keys."


@dataclass(frozen=True, slots=True)
class KeyRing:
    """The keys of one call. `accounts`: endpoint and key fingerprint; `missing`: endpoints without a key.

    `sources`: by endpoint, where its key is looked for.
    """

    keys: Mapping[str, SecretStr | None] = field(repr=False)
    accounts: Mapping[str, str]
    missing: frozenset[str]
    sources: Mapping[str, str]

    def hint(self, name: str) -> str:
        """Where the key of this endpoint came from: the advice after the endpoint refused the key."""
        key = self.keys.get(name)
        if name != OPENROUTER:
            source = self.sources[name] if key is not None else "its api_key_env or api_key in the configuration"
            return f"Check the key of the endpoint {name}: {source}."
        looks = "" if key is None or key.get_secret_value().startswith("sk-or-") else " and does not start with sk-or-"
        return f"The key that was used came from {self.sources[name]}{looks}."

    def secrets(self, others: Iterable[SecretStr]) -> Secrets:
        """The keys and `others`, for the code that removes secrets from messages."""
        return Secrets([*(key for key in self.keys.values() if key is not None), *others])


class Keys:
    """The keys of one client. Found keys are cached; a missing key is looked up again at each call."""

    def __init__(self, config: FallbackConfig, api_key: ApiKey | None) -> None:
        self._config = config
        self._given = sealed(api_key)
        self._sources = {name: self._source(name) for name in config.endpoints}
        self._found: KeyRing | None = None
        self._last_accounts: Mapping[str, str] | None = None

    def ring(self) -> KeyRing:
        """The keys for a synchronous call. Raises `ConfigError` for an invalid key."""
        if self._found is not None:
            return self._found
        if not callable(self._given):
            return self._static()
        key = sealed(self._given())
        if inspect.isawaitable(key):
            if inspect.iscoroutine(key):
                key.close()
            raise ConfigError("api_key is a coroutine function; synchronous calls need a plain one")
        return self._given_by(key)

    async def aring(self, seconds: float | None = None) -> KeyRing:
        """The keys for an async call. Raises `ConfigError` for an invalid key.

        Raises `DeadlineExceededError` if the user's function has not returned within `seconds`.
        """
        if self._found is not None:
            return self._found
        if not callable(self._given):
            return self._static()
        key = sealed(self._given())
        return self._given_by(sealed(await _within(seconds, key)) if inspect.isawaitable(key) else key)

    def _given_by(self, key: object) -> KeyRing:
        """The keys of a call with a key from the user's function. Only the account of that key is stored."""
        ring = self._ring(key)
        self._last_accounts = ring.accounts
        return ring

    def known(self) -> KeyRing:
        """The keys that are known without calling the user's function."""
        return self._ring(None) if callable(self._given) else self.ring()

    def accounts(self) -> Mapping[str, str]:
        """The accounts, without calling the user's function: the account of its last key is used."""
        return self._last_accounts or self.known().accounts

    def fixed(self) -> Mapping[str, SecretStr | None]:
        """The keys by endpoint, without the key from the user's function."""
        given = {OPENROUTER} if callable(self._given) else set()
        return {name: key for name, key in self.known().keys.items() if name not in given}

    def missing(self) -> frozenset[str]:
        """The endpoints without a key. An endpoint whose key comes from the user's function is not one of them."""
        return self.known().missing - ({OPENROUTER} if callable(self._given) else frozenset())

    def no_key(self, name: str) -> str:
        """The advice for an endpoint without a key."""
        variable = self._config.endpoints[name].api_key_env
        if name != OPENROUTER:
            return f"No API key for endpoint {name}: set the environment variable {variable}."
        looked = f"api_key= was not given and the environment variable {variable} is not set."
        return f"No API key: {'api_key= gave none.' if callable(self._given) else looked} {KEYS_PAGE}"

    def _static(self) -> KeyRing:
        ring = self._ring(self._given)
        if not ring.missing:
            self._found = ring
        return ring

    def _ring(self, given: object) -> KeyRing:
        keys = {name: self._configured(name) for name in self._config.endpoints}
        if given is not None:
            keys[OPENROUTER] = _clean(given, "api_key=")
        needed = (name for name, at in self._config.endpoints.items() if at.api_key_env or name == OPENROUTER)
        return KeyRing(
            keys,
            {name: f"{name}#{_fingerprint(key)}" for name, key in keys.items()},
            frozenset(name for name in needed if not keys[name]),
            self._sources,
        )

    def _configured(self, name: str) -> SecretStr | None:
        endpoint = self._config.endpoints[name]
        if endpoint.api_key is not None:
            return _clean(endpoint.api_key, self._sources[name])
        variable = endpoint.api_key_env
        return _clean(sealed(os.environ.get(variable)), self._sources[name]) if variable else None

    def _source(self, name: str) -> str:
        endpoint = self._config.endpoints[name]
        if name == OPENROUTER and self._given is not None:
            return "api_key="
        if endpoint.api_key is not None:
            return f"endpoints.{name}.api_key in the configuration"
        return f"the environment variable {endpoint.api_key_env}"


async def _within(seconds: float | None, key: Awaitable[Any]) -> Any:
    try:
        async with asyncio.timeout(seconds) as deadline:
            return await key
    except TimeoutError:
        if not deadline.expired():
            raise  # raised by the user's function
        raise DeadlineExceededError(
            f"No API key within {seconds:.1f} s, the call's deadline: the function given as api_key= has not returned."
        ) from None


def _clean(key: object, source: str) -> SecretStr | None:
    """The key without white space around it; `ConfigError`, which names its source, if it cannot be a key."""
    if key is None:
        return None
    if not isinstance(key, SecretStr):
        raise ConfigError(f"the API key is a {type(key).__name__}; it must be a string")
    key = SecretStr(key.get_secret_value().strip())
    if not _possible(key.get_secret_value()):
        raise ConfigError(
            "the API key holds characters that no key has: copy it again, without quotes or line breaks. "
            f"It came from {source}."
        )
    return key if key.get_secret_value() else None


def _possible(key: str) -> bool:
    return key.isascii() and key.isprintable() and {" ", "'", '"'}.isdisjoint(key)


def _fingerprint(key: SecretStr | None) -> str:
    return hashlib.sha256(key.get_secret_value().encode()).hexdigest()[:12] if key else ""
