"""Secrets that mask themselves: in the frames of a traceback, in a repr, in a dump. Only `http/` opens them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from pydantic import SecretStr

Headers = Mapping[str, str | SecretStr]
"""A request's headers by name. Values that may be secrets mask themselves until the request is written."""


def sealed(value: Any) -> Any:
    """A string as a secret that masks itself; anything else as it is."""
    return SecretStr(value) if isinstance(value, str) else value


def sealed_headers(headers: Mapping[str, Any] | None) -> Any:
    """A user's headers, whose values may be secrets, masking themselves; what cannot be headers stays as it is."""
    return {name: sealed(value) for name, value in headers.items()} if isinstance(headers, Mapping) else headers


def sealed_values(headers: Headers) -> list[SecretStr]:
    """The values of headers that may be secrets."""
    return [value for value in headers.values() if isinstance(value, SecretStr)]


_BORDERS: Final = re.compile(r"[\s;,=]")
_WORD: Final = re.compile(r"[^\s;,=]{12,}")


class Secrets:
    """All secrets of a call, for the code that takes them out of messages: iterating opens them one by one.

    Of a secret that has words (`Token t-123...`, `session=t-123...; theme=x`) the long ones are secrets as well.
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
