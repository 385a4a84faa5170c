"""What a server is told: where it listens, and its bounds."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from .. import ConfigError
from .access import ApiKeys


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a client may take up. Sizes in bytes, times in seconds.

    `calls` are under way at a time; one more is refused with 503. `connections` are open at a time; one more is closed.
    `header_seconds` and `body_seconds` are the time that
    a client has to send its headers and its body, `write_seconds` the time that a client may read nothing while an
    answer waits for it, `keep_alive_seconds` the time that an idle connection is kept.
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
    """A server's options. Raises `ConfigError` where anybody could call: another host than loopback without API keys.

    `origins` may call from a browser (CORS); `drain_seconds`: how long calls under way may last after SIGTERM.
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
    """Whether a host name or address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
