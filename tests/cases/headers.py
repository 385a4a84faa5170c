"""Headers that cannot be given: those that HTTP itself sets, and what is no header at all."""

from __future__ import annotations

from typing import Any

_OWN = ("sets itself",)

# name, value, words of the error
REFUSED: list[tuple[Any, Any, tuple[str, ...]]] = [
    ("Host", "other.example", ("'Host'", *_OWN)),
    ("content-length", "3", ("'content-length'", *_OWN)),
    ("Transfer-Encoding", "chunked", ("'Transfer-Encoding'", *_OWN)),
    ("Connection", "close", ("'Connection'", *_OWN)),
    ("Keep-Alive", "timeout=5", ("'Keep-Alive'", *_OWN)),
    ("Upgrade", "h2c", ("'Upgrade'", *_OWN)),
    ("Expect", "100-continue", ("'Expect'", *_OWN)),
    ("TE", "trailers", ("'TE'", *_OWN)),
    ("Trailer", "X-A", ("'Trailer'", *_OWN)),
    ("Proxy-Authorization", "Basic x", ("'Proxy-Authorization'", *_OWN)),
    ("Proxy-Connection", "keep-alive", ("'Proxy-Connection'", *_OWN)),
    ("X-A", "1\r\nHost: other.example", ("'X-A'", "one line")),
    ("X-A", "caf\u00e9", ("'X-A'", "ASCII")),
    ("X-A", 1, ("'X-A'", "in a string", "int")),
    ("", "x", ("'' is not a header's name",)),
    ("X A", "x", ("'X A' is not a header's name",)),
    ("X-A:", "x", ("'X-A:' is not a header's name",)),
]
