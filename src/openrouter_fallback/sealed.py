"""Secrets that mask themselves: in the frames of a traceback, in a repr, in a dump. Only `http/` opens them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
