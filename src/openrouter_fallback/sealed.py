"""Secrets that print as a mask in tracebacks, reprs and dumps. Only `http/` reads their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import SecretStr

E = TypeVar("E", bound=BaseException)
Headers = Mapping[str, str | SecretStr]
"""A request's headers by name. Values that may be secrets stay `SecretStr` until the request is written."""


def sealed(value: Any) -> Any:
    """A string as a `SecretStr`; any other value unchanged."""
    return SecretStr(value) if isinstance(value, str) else value


def sealed_headers(headers: Mapping[str, Any] | None) -> Any:
    """A user's headers with `SecretStr` values; any value that is not a mapping unchanged."""
    return {name: sealed(value) for name, value in headers.items()} if isinstance(headers, Mapping) else headers


def bare(error: E, outer: BaseException | None) -> E:
    """An error about arguments, without the frames and causes below the caller's own: they hold the arguments.

    `outer` is the exception that the user is handling; it stays the context. Drop the frame's own arguments first.
    """
    error.__cause__, error.__context__ = None, outer
    return error.with_traceback(None)


def sealed_values(headers: Headers) -> list[SecretStr]:
    """The header values that are `SecretStr`."""
    return [value for value in headers.values() if isinstance(value, SecretStr)]
