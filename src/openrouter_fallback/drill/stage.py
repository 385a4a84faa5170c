"""The setup of a run: the user's chain with the emulator in place of every endpoint, and a port that refuses."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Self

from .. import EndpointConfig, FallbackConfig, ModelConfig
from ..emulator import Emulator, Request
from ..emulator.answers.completion import Stamp, answer
from ..emulator.models.money import Served
from ..emulator.models.registry import Models
from .scenarios import Scenario

DEADLINES: Mapping[str, float] = {
    "first_token_timeout_seconds": 0.4,
    "stall_timeout_seconds": 0.4,
    "total_timeout_seconds": 5.0,
}
"""Deadlines in seconds that replace the user's deadlines, so that a drill takes little time."""

_LATENCY = 0.01
_OPENROUTER = "openrouter"
_DOWN = "drill-refused"
_PROXIES = ("no_proxy", "NO_PROXY")
# Settings that a drill ignores. A drill must not change the health, the budget or the traces of a fleet.
_NOT_TAKEN = ("attempt_timeout_seconds", "health_store", "spend_limit_usd", "catalog", "opentelemetry")


class Stage:
    """The emulator for one scenario. It serves every model of the chain under its name in the user's configuration.

    The user's order, attempts, thresholds and policy are kept. Model parameters, headers and API keys are dropped. As a
    context manager, the stage runs the emulator with the scenario's pace.
    """

    def __init__(self, config: FallbackConfig, scenario: Scenario, *, task: str | None = None) -> None:
        self._config = config
        self._scenario = scenario
        self._keys = config.chain(task)
        routes = {self._name(key): config.split(key)[0] for key in self._keys}
        self._routes = routes
        self.chain = tuple(routes)
        self.primary = self.chain[0]
        self.emulator = Emulator(models=self.chain, latency=_LATENCY, seed=scenario.seed or 0)
        self._models = Models(self.chain)
        self.port = RefusingPort() if scenario.refused else None

    def __enter__(self) -> Self:
        self.emulator.start()
        for pace in self._scenario.pace:
            given = pace.model_dump(exclude_unset=True, exclude={"model"})
            for name in (None,) if pace.model is None else self._models_for(pace.model):
                self.emulator.pace(model=name, **given)
        return self

    def __exit__(self, *exc: object) -> None:
        self.emulator.stop()
        if self.port is not None:
            self.port.close()

    @contextmanager
    def faults(self) -> Iterator[None]:
        """Set the scenario's faults for the `with` block. Their seconds and requests count from its start."""
        with ExitStack() as stack:
            for fault in self._scenario.faults:
                given = fault.given()
                name = given.pop("model", None)
                for model in (None,) if name is None else self._models_for(name):
                    stack.enter_context(self.emulator.fault(model=model, **given))
            yield

    def answer(self, request: Request) -> str:
        """The complete text with which a healthy server answers a request."""
        model = self._models.find(request.model or "")
        if model is None:
            return ""
        body = answer(request.body, Stamp(0, 0), None, Served(model, model.hosts[0], 0))
        return str(body["choices"][0]["message"]["content"])

    def _models_for(self, name: str) -> Sequence[str]:
        """The models that a name in a scenario means; empty if the chain is too short."""
        stand_ins = {
            "primary": self.chain[:1],
            "second": self.chain[1:2],
            "third": self.chain[2:3],
            "last": self.chain[-1:],
            "others": self.chain[1:],
        }
        return stand_ins.get(name, tuple(model for model in self.chain if model == name))

    def _name(self, key: str) -> str:
        # Requests carry this name too, so the log distinguishes the same model at two endpoints.
        endpoint, model = self._config.split(key)
        return model if endpoint == _OPENROUTER else key

    def key(self, name: str) -> str:
        """The id of a model in the configuration of this stage."""
        endpoint = _DOWN if self.port is not None and name == self.primary else self._routes[name]
        return name if endpoint == _OPENROUTER else f"{endpoint}:{name}"

    def names(self) -> dict[str, str]:
        """The name of each model, by its id in the configuration of this stage."""
        return {self.key(name): name for name in self.chain}

    def with_failover(self) -> FallbackConfig:
        """The configuration with the user's chain. If the scenario is `refused`, the primary has its own endpoint."""
        settings: dict[str, Any] = {**self._config.settings.model_dump(exclude_none=True), **DEADLINES}
        settings |= self._scenario.settings
        models = {}
        for key in self._keys:
            attempts = self._config.model(key).max_retries
            if attempts is not None:
                name = self.key(self._name(key))
                models[name] = ModelConfig(name, max_retries=attempts)
        return FallbackConfig(
            default_chain=[self.key(name) for name in self.chain],
            models=models,
            endpoints=self._endpoints(),
            settings={name: value for name, value in settings.items() if name not in _NOT_TAKEN},
        )

    def without_failover(self) -> FallbackConfig:
        """The configuration of a plain client: only the primary, one attempt."""
        return FallbackConfig(
            default_chain=[self.key(self.primary)],
            endpoints=self._endpoints(),
            settings={"max_retries_per_model": 1, **DEADLINES},
        )

    def _endpoints(self) -> dict[str, EndpointConfig]:
        urls = dict.fromkeys([_OPENROUTER, *self._config.endpoints], self.emulator.base_url)
        if self.port is not None:
            urls[_DOWN] = self.port.url
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
    """A loopback port that refuses connections. After `watch`, the port accepts, counts and closes connections."""

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.watched = False

    @property
    def url(self) -> str:
        """The base URL of an endpoint at this port."""
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/api/v1"

    def watch(self) -> None:
        """Listen, so that connections can be counted. No request is answered."""
        if not self.watched:
            self._socket.listen()
            self._socket.setblocking(False)
            self.watched = True

    def connections(self) -> int:
        """The number of connections since the last call of this method."""
        count = 0
        if self.watched:
            with suppress(BlockingIOError):
                while True:
                    self._socket.accept()[0].close()
                    count += 1
        return count

    def close(self) -> None:
        """Release the port."""
        self._socket.close()


@contextmanager
def no_proxies() -> Iterator[None]:
    """Exclude loopback from the environment's proxies for the `with` block."""
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
