"""The options of a server: its address, its API keys, and its limits."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from .. import ConfigError
from .access import ApiKeys


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits for clients. Sizes are bytes, times are seconds.

    - `calls`: the number of active calls. A further call is refused with 503.
    - `connections`: the number of open connections. A further connection is closed.
    - `header_seconds`, `body_seconds`: the time in which a client must send the headers and the body.
    - `write_seconds`: the time for which a client may stop reading an answer.
    - `keep_alive_seconds`: the time for which an idle connection is kept open.
    """

    body_bytes: int = 32 * 2**20
    header_bytes: int = 32 * 2**10
    calls: int = 1000
    connections: int = 4000
    header_seconds: float = 10.0
    body_seconds: float = 60.0
    write_seconds: float = 120.0
    keep_alive_seconds: float = 65.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of a server. Raises `ConfigError` for a host other than loopback without API keys.

    `origins` are the web origins that may call from a browser (CORS). `drain_seconds` is the time for which active
    calls may continue after SIGTERM.
    """

    host: str = "127.0.0.1"
    port: int = 8788
    keys: ApiKeys = field(default_factory=ApiKeys)
    origins: tuple[str, ...] = ()
    drain_seconds: float = 30.0
    access_log: bool = True
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        if not self.loopback and not self.keys:
            raise ConfigError(
                f"host {self.host} can be reached from other machines, so callers need API keys: give --api-keys-file"
                " or set SERVE_API_KEY, or listen on 127.0.0.1"
            )

    @property
    def loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback name or address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
