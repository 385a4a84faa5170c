"""Secrets that print as a mask in tracebacks, reprs and dumps. Only `http/` reads their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import SecretStr

Headers = Mapping[str, str | SecretStr]
"""A request's headers by name. Values that may be secrets stay `SecretStr` until the request is written."""


def sealed(value: Any) -> Any:
    """A string as a `SecretStr`; any other value unchanged."""
    return SecretStr(value) if isinstance(value, str) else value


def sealed_headers(headers: Mapping[str, Any] | None) -> Any:
    """A user's headers with `SecretStr` values; any value that is not a mapping unchanged."""
    return {name: sealed(value) for name, value in headers.items()} if isinstance(headers, Mapping) else headers


def sealed_values(headers: Headers) -> list[SecretStr]:
    """The header values that are `SecretStr`."""
    return [value for value in headers.values() if isinstance(value, SecretStr)]


_BORDERS: Final = re.compile(r"[\s;,=]")
_WORD: Final = re.compile(r"[^\s;,=]{12,}")


class Secrets:
    """All secrets of a call, for the code that removes them from messages. Iterating yields the plain values.

    The long words of a secret with several words (`Token t-123...`, `session=t-123...; theme=x`) are secrets too.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[SecretStr] = ()) -> None:
        self._values = tuple(values)

    def __iter__(self) -> Iterator[str]:
        for sealed_value in self._values:
            value = sealed_value.get_secret_value().removeprefix("Bearer ")
            yield value
            if _BORDERS.search(value):
                yield from _WORD.findall(value)

    def __repr__(self) -> str:
        return f"Secrets({len(self._values)})"
