"""What a drill happens on: the user's chain with the emulator in place of every endpoint, and a port that refuses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from openrouter_fallback import EndpointConfig, FallbackConfig, ModelConfig
from openrouter_fallback.emulator import Emulator

DEADLINES: Mapping[str, float] = {
    "first_token_timeout_seconds": 0.4,
    "stall_timeout_seconds": 0.4,
    "total_timeout_seconds": 5.0,
}
"""Seconds, in place of the user's, so that a drill ends soon."""

_LATENCY = 0.01
_OPENROUTER = "openrouter"
_DOWN = "drill-refused"
_PROXIES = ("no_proxy", "NO_PROXY")


class Stage:
    """The emulator serves every model of the default chain under the name it has in the user's configuration.

    The user's order, attempts, thresholds and policy hold; parameters of models, headers and keys are left out.
    """

    def __init__(self, config: FallbackConfig) -> None:
        self._config = config
        routes = {self._name(key): config.split(key)[0] for key in config.chain()}
        self._routes = routes
        self.chain = tuple(routes)
        self.primary = self.chain[0]
        self.emulator = Emulator(models=self.chain, latency=_LATENCY)
        self.texts = {name: f"This is the answer of {name}, whole and from nobody else." for name in self.chain}
        for name, text in self.texts.items():
            self.emulator.reply(text, model=name)

    def _name(self, key: str) -> str:
        # Also the model's name on the wire, so that the log tells alike models of two endpoints apart.
        endpoint, model = self._config.split(key)
        return model if endpoint == _OPENROUTER else key

    def key(self, name: str, refused: str | None) -> str:
        """The id under which a client of this stage knows a model."""
        endpoint = _DOWN if refused is not None and name == self.primary else self._routes[name]
        return name if endpoint == _OPENROUTER else f"{endpoint}:{name}"

    def with_failover(self, refused: str | None, left_out: float | None) -> FallbackConfig:
        """The user's chain; with `refused`, the primary lives on an endpoint at that URL."""
        settings: dict[str, Any] = {**self._config.settings.model_dump(exclude_none=True), **DEADLINES}
        settings.pop("attempt_timeout_seconds", None)
        models = {}
        for key in self._config.chain():
            attempts = self._config.model(key).max_retries
            if attempts is not None:
                name = self.key(self._name(key), refused)
                models[name] = ModelConfig(name, max_retries=attempts)
        if left_out is not None:
            settings["disable_duration_seconds"] = left_out
        return FallbackConfig(
            default_chain=[self.key(name, refused) for name in self.chain],
            models=models,
            endpoints=self._endpoints(refused),
            settings=settings,
        )

    def without_failover(self, refused: str | None) -> FallbackConfig:
        """The primary alone, asked once: a plain client."""
        return FallbackConfig(
            default_chain=[self.key(self.primary, refused)],
            endpoints=self._endpoints(refused),
            settings={"max_retries_per_model": 1, **DEADLINES},
        )

    def _endpoints(self, refused: str | None) -> dict[str, EndpointConfig]:
        urls = dict.fromkeys([_OPENROUTER, *self._config.endpoints], self.emulator.base_url)
        if refused is not None:
            urls[_DOWN] = refused
        given = self._config.endpoints
        return {
            name: EndpointConfig(
                url,
                api_key=self.emulator.api_key,
                stream_upstream=given[name].stream_upstream if name in given else True,
            )
            for name, url in urls.items()
        }


class RefusingPort:
    """A port on loopback where connections are refused, until `watch`: from then on they are counted."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.watched = False

    @property
    def url(self) -> str:
        """The base URL of an endpoint there."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/v1"

    def watch(self) -> None:
        """Listen, so that whoever still comes can be counted; nobody is answered."""
        if not self.watched:
            self._socket.listen()
            self._socket.setblocking(False)
            self.watched = True

    def knocks(self) -> int:
        """How many connections came since the last look."""
        count = 0
        if self.watched:
            with suppress(BlockingIOError):
                while True:
                    self._socket.accept()[0].close()
                    count += 1
        return count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()


@contextmanager
def no_proxies() -> Iterator[None]:
    """Let no proxy of the environment stand between client and emulator."""
    before = {name: os.environ.get(name) for name in _PROXIES}
    hosts = [value for value in before.values() if value]
    try:
        for name in _PROXIES:
            os.environ[name] = ",".join([*hosts, "127.0.0.1"])
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
