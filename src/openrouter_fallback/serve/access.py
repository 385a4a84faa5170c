"""Access control: the server's API keys, the chains that each key may use, and the check of the Host header.

Keys are stored as SHA-256 digests. Every request is compared with all keys, in constant time.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from .. import ConfigError
from .errors import Refused

KEY_ENV = "SERVE_API_KEY"
MIN_CHARACTERS = 16

_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
_SCHEME = b"bearer "


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key of the server. `chains` are the values of `model` that the key may use; None allows all."""

    name: str
    digest: bytes = field(repr=False)
    chains: frozenset[str] | None = None

    @classmethod
    def of(cls, name: str, key: str, chains: Iterable[str] | None = None) -> ApiKey:
        """An `ApiKey` from the plain key. Raises `ConfigError` for a key that is too short to be safe."""
        if len(key) < MIN_CHARACTERS:
            raise ConfigError(f"the API key {name!r} is too short: it needs at least {MIN_CHARACTERS} characters")
        return cls(name, digest(key.encode()), None if chains is None else frozenset(chains))

    def may_use(self, chain: str) -> bool:
        """Whether this key may use `chain` as the `model` of a request."""
        return self.chains is None or chain in self.chains


ANYBODY = ApiKey("-", b"")
"""The caller of a server without keys."""


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    key: SecretStr | None = None
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-fA-F]{64}$")
    chains: list[str] | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _one(self) -> _Entry:
        if (self.key is None) == (self.sha256 is None):
            raise ValueError("give either `key` or `sha256`, the key's digest")
        return self

    def api_key(self) -> ApiKey:
        if self.key is not None:
            return ApiKey.of(self.name, self.key.get_secret_value(), self.chains)
        chains = None if self.chains is None else frozenset(self.chains)
        return ApiKey(self.name, bytes.fromhex(self.sha256 or ""), chains)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    keys: list[_Entry] = Field(min_length=1)


class ApiKeys:
    """The API keys of a server. Without keys, every request is accepted."""

    def __init__(self, keys: Sequence[ApiKey] = ()) -> None:
        for what, values in (("name", [key.name for key in keys]), ("key", [key.digest for key in keys])):
            if len(set(values)) != len(values):
                raise ConfigError(f"two API keys have the same {what}")
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    def __iter__(self) -> Iterator[ApiKey]:
        return iter(self._keys)

    def __repr__(self) -> str:
        return f"<ApiKeys {[key.name for key in self._keys]}>"

    @classmethod
    def load(cls, file: str | os.PathLike[str] | None = None) -> ApiKeys:
        """The keys of a YAML file, and the key of `SERVE_API_KEY` with the name `default`. Raises `ConfigError`."""
        keys = [] if file is None else _read(file)
        given = os.environ.get(KEY_ENV)
        if given:
            keys.append(ApiKey.of("default", given))
        return cls(keys)

    def caller(self, authorization: Sequence[bytes]) -> ApiKey:
        """The `ApiKey` of the request's `Authorization` headers. Raises `Refused` (401) without a valid key."""
        if not self._keys:
            return ANYBODY
        found = None
        if len(authorization) == 1 and authorization[0][: len(_SCHEME)].lower() == _SCHEME:
            shown = digest(authorization[0][len(_SCHEME) :].strip())
            for key in self._keys:
                if hmac.compare_digest(key.digest, shown):
                    found = key
        if found is None:
            raise Refused(
                401,
                "The API key is missing or wrong: send `Authorization: Bearer <key>` with a key of this server.",
                code="invalid_api_key",
                type="authentication_error",
                headers=[(b"www-authenticate", b"Bearer")],
            )
        return found


def digest(key: bytes) -> bytes:
    """The SHA-256 digest of a key."""
    return hashlib.sha256(key).digest()


def check_host(hosts: Sequence[bytes]) -> None:
    """Raise `Refused` (403) unless the Host header is a loopback name. This prevents DNS rebinding by web pages."""
    host = hosts[0].decode("latin-1").lower() if len(hosts) == 1 else ""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdigit():
        name = host
    if name not in _LOCAL_NAMES:
        raise Refused(
            403,
            "This server listens on loopback and answers only to localhost, 127.0.0.1 and [::1] as its Host.",
            code="forbidden_host",
            type="permission_error",
            close=True,
        )


def _read(file: str | os.PathLike[str]) -> list[ApiKey]:
    name = os.fspath(file)
    try:
        with open(file, encoding="utf-8") as opened:
            data = yaml.safe_load(opened)
    except OSError as error:
        raise ConfigError(f"API keys {name}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError):
        raise ConfigError(f"API keys {name}: this is not YAML") from None
    try:
        return [entry.api_key() for entry in _File.model_validate(data).keys]
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"API keys {name}, {where or 'top'}: {first['msg']}") from None
    except ConfigError as error:
        raise ConfigError(f"API keys {name}: {error}") from None
