"""Checks the HTTP headers that a user gives for an endpoint, a client or a call."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import SecretStr

from .problems import show

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
_VALUE = re.compile(r"[\t\x20-\x7e]*")
# HTTP sets these for each request: the host, the length, the handling of the connection (RFC 9110, 7.2, 7.6.1, 8.6).
_SET_BY_HTTP = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_OF_A_PROXY = "proxy-"


def header_problem(name: object, value: object) -> str | None:
    """The problem of a header; None if valid. The text omits the value, which may be a key."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return f"{show(name)} is not a header's name: it may hold letters, digits and '-'"
    lower = name.lower()
    if lower == "authorization":
        return "headers may not hold Authorization; give the key as api_key=, that of an endpoint as its `api_key_env`"
    if lower in _SET_BY_HTTP or lower.startswith(_OF_A_PROXY):
        return f"headers may not hold {show(name)}, which HTTP sets itself; leave it out"
    return value_problem(f"the value of the header {show(name)}", value)


def value_problem(what: str, value: object) -> str | None:
    """The problem of a header's value; None if valid. `what` names the value in the text."""
    value = value.get_secret_value() if isinstance(value, SecretStr) else value
    allowed = f"{what} must be printable ASCII in one line"
    if not isinstance(value, str):
        return f"{allowed}, in a string; it is a {type(value).__name__}"
    return None if _VALUE.fullmatch(value) else allowed


def headers_problem(headers: object) -> str | None:
    """The first problem of a mapping of headers; None if all are valid."""
    if not isinstance(headers, Mapping):
        return f"headers must be a mapping of names to values; it is a {type(headers).__name__}"
    return next((problem for one in headers.items() if (problem := header_problem(*one)) is not None), None)
