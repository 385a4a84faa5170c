"""The URL and headers of each request of a client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import SecretStr

from .._version import __version__
from ..config.headers import headers_problem, value_problem
from ..config.models import OPENROUTER, FallbackConfig
from ..errors import ConfigError
from ..routes.candidate import Candidate
from ..sealed import Headers, sealed_headers, sealed_values
from .keys import KeyRing

_MOST_WIRES = 256


class Destinations:
    """The URLs and headers of one client's requests."""

    def __init__(self, config: FallbackConfig, attribution: Mapping[str, str], headers: Headers | None) -> None:
        self._config = config
        self._attribution = attribution
        self._headers = checked_headers(headers)
        given = (self._headers, *(endpoint.headers for endpoint in config.endpoints.values()))
        self._secrets = tuple(value for headers in given for value in sealed_values(headers))
        self._known: dict[str, Destination] = {}

    def secrets(self, extra: Headers) -> Iterable[SecretStr]:
        """The values of all given headers, which messages must not contain. `extra` are the call's own headers."""
        return (*self._secrets, *sealed_values(extra)) if extra else self._secrets

    def destination(self, candidate: Candidate, ring: KeyRing, extra: Headers) -> Destination:
        """The destination of a candidate's chat requests. `extra` are the call's own headers."""
        name, account = candidate.target.endpoint, candidate.target.account
        destination = self._known.get(account)
        if destination is None:
            own = {
                "Content-Type": "application/json",
                "Accept": "text/event-stream, application/json",
                "Accept-Encoding": "identity",
            }
            destination = self._sent(name, "chat/completions", own, ring)
            if len(self._known) < _MOST_WIRES:
                self._known[account] = destination
        return Destination(destination.url, _merged(destination.headers, extra)) if extra else destination

    def models(self, endpoint: str, ring: KeyRing) -> Destination:
        """The destination of an endpoint's `GET /models`."""
        return self._sent(endpoint, "models", {"Accept": "application/json", "Accept-Encoding": "gzip"}, ring)

    def key(self, ring: KeyRing) -> Destination:
        """The destination of OpenRouter's `GET /key`."""
        return self._sent(OPENROUTER, "key", {"Accept": "application/json"}, ring)

    def _sent(self, name: str, path: str, own: Headers, ring: KeyRing) -> Destination:
        endpoint = self._config.endpoints[name]
        agent = {"User-Agent": f"openrouter-fallback/{__version__}"}
        attribution = self._attribution if name == OPENROUTER else {}
        if lost := getattr(endpoint.headers, "masked", None):
            raise ConfigError(
                f"endpoints.{name}.headers: the value of {lost[0]!r} is masked, as pickles hold it; give it again"
            )
        headers = _merged(own, agent, attribution, self._headers, endpoint.headers)
        if (key := ring.keys[name]) is not None:
            headers["Authorization"] = SecretStr(f"Bearer {key.get_secret_value()}")
        return Destination(f"{endpoint.base_url}/{path}", headers)


def checked_headers(headers: Headers | None) -> dict[str, SecretStr]:
    """A user's headers with `SecretStr` values. Raises `ConfigError` for an invalid header."""
    if headers is None:
        return {}
    problem = headers_problem(headers)
    if problem is not None:
        raise ConfigError(f"headers=: {problem}")
    return dict(sealed_headers(headers))


def attribution(app_url: str | None, app_title: str | None) -> dict[str, str]:
    """The headers for OpenRouter's app attribution. Raises `ConfigError` for a value that no header can hold."""
    given = {"HTTP-Referer": ("app_url=", app_url), "X-Title": ("app_title=", app_title)}
    for argument, value in given.values():
        problem = None if value is None else value_problem(argument, value)
        if problem is not None:
            raise ConfigError(problem)
    return {name: value for name, (_, value) in given.items() if value}


def _merged(*headers: Headers) -> dict[str, str | SecretStr]:
    """The merged headers. The last value of a name wins; names ignore case."""
    by_name = {name.lower(): (name, value) for some in headers for name, value in some.items()}
    return dict(by_name.values())


@dataclass(frozen=True, slots=True)
class Destination:
    """The URL and headers of a request."""

    url: str
    headers: Headers = field(repr=False)

    def generation(self, id: str) -> Destination:
        """The destination of `GET /generation` for a request sent here. `id`: letters, digits, `-` and `_`."""
        headers = {
            name: value for name, value in self.headers.items() if name.lower() not in ("content-type", "accept")
        }
        base = self.url.removesuffix("chat/completions")
        return Destination(f"{base}generation?id={id}", {**headers, "Accept": "application/json"})
