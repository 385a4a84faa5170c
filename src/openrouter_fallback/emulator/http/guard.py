"""Checks of incoming requests: the `Host` must be a loopback name, and the body has a size limit.

The `Host` check prevents DNS rebinding. In that attack a web page lets its own host name resolve to 127.0.0.1, so the
browser treats the emulator as the page's own origin. Such a request carries the page's host name in `Host`. Other
origins cannot read a response, because no response has CORS headers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from ..requests.refusal import Refused

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

MOST_BODY_BYTES = 64 * 2**20


def check_host(headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `Refused` unless the request names a loopback host."""
    found = [value.decode("latin-1") for name, value in headers if name == b"host"]
    if len(found) != 1 or not _is_loopback(_name(found[0])):
        suffix = f", not of {found[0][:60]!r}" if found else ""
        raise Refused(403, f"The emulator answers requests of 127.0.0.1, [::1] and localhost{suffix}.")


def _name(host: str) -> str:
    """The host of a `Host` header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_loopback(name: str) -> bool:
    if name.lower().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def read_body(receive: Receive) -> bytes | None:
    """The body of a request, or None if the client disconnected first. Raises `Refused` (413) for a too large body."""
    pieces: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        pieces.append(message.get("body", b""))
        size += len(pieces[-1])
        if size > MOST_BODY_BYTES:
            most = MOST_BODY_BYTES // 2**20
            raise Refused(413, f"Request entity too large: at most {most} MiB", {"error_type": "payload_too_large"})
        if not message.get("more_body"):
            return b"".join(pieces)
