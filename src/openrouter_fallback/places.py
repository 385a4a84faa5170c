"""Where a client's requests go, and with which headers."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ._version import __version__
from .config import OPENROUTER, FallbackConfig
from .engine import Wire
from .errors import ConfigError
from .keys import KeyRing
from .router import Candidate

_MOST_WIRES = 256
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_|~0-9A-Za-z`-]+")  # RFC 9110, section 5.6.2


class Places:
    """The URLs and headers of one client's requests."""

    def __init__(
        self, config: FallbackConfig, attribution: Mapping[str, str], headers: Mapping[str, str] | None
    ) -> None:
        self._config = config
        self._attribution = attribution
        self._headers = checked_headers(headers)
        self._wires: dict[str, Wire] = {}

    def wire(self, candidate: Candidate, ring: KeyRing, extra: Mapping[str, str]) -> Wire:
        """Where one candidate's chat requests go; `extra` are the call's own headers."""
        name, account = candidate.target.endpoint, candidate.target.account
        wire = self._wires.get(account)
        if wire is None:
            own = {
                "Content-Type": "application/json",
                "Accept": "text/event-stream, application/json",
                "Accept-Encoding": "identity",
            }
            wire = self._sent(name, "chat/completions", own, ring)
            if len(self._wires) < _MOST_WIRES:
                self._wires[account] = wire
        return Wire(wire.url, _merged(wire.headers, extra)) if extra else wire

    def models(self, endpoint: str, ring: KeyRing) -> Wire:
        """Where an endpoint's list of models is."""
        return self._sent(endpoint, "models", {"Accept": "application/json", "Accept-Encoding": "gzip"}, ring)

    def key(self, ring: KeyRing) -> Wire:
        """Where OpenRouter says what it knows of the key."""
        return self._sent(OPENROUTER, "key", {"Accept": "application/json"}, ring)

    def _sent(self, name: str, path: str, own: Mapping[str, str], ring: KeyRing) -> Wire:
        endpoint = self._config.endpoints[name]
        agent = {"User-Agent": f"openrouter-fallback/{__version__}"}
        attribution = self._attribution if name == OPENROUTER else {}
        headers = _merged(own, agent, attribution, self._headers, endpoint.headers)
        if ring.keys[name]:
            headers["Authorization"] = f"Bearer {ring.keys[name]}"
        return Wire(f"{endpoint.base_url}/{path}", headers)


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, str]:
    """A user's headers; `ConfigError` for what cannot be one."""
    checked = dict(headers or {})
    for name in checked:
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ConfigError(f"headers=: {name!r} is not a header's name")
    if any(name.lower() == "authorization" for name in checked):
        raise ConfigError("headers= may not hold Authorization, it would go to every endpoint; use api_key=")
    for name, value in checked.items():
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            raise ConfigError(f"headers=: the value of {name!r} must be printable ASCII in one line")
    return checked


def _merged(*headers: Mapping[str, str]) -> dict[str, str]:
    """All of them, the later ones first; names do not differ by case."""
    by_name = {name.lower(): (name, value) for some in headers for name, value in some.items()}
    return dict(by_name.values())
