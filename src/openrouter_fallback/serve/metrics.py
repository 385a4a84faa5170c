"""Numbers for Prometheus: what the server answered, and what its calls did upstream."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from .. import FallbackClient
from ..events import AttemptEnded, BreakerEvent, CallEnded, Event, FailedOver

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
DIRECTORY_ENV = "PROMETHEUS_MULTIPROC_DIR"
"""Where several processes keep their numbers; read by prometheus_client when it is imported."""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 300)


class Metrics:
    """The numbers of one server; call it with the client's events."""

    def __init__(self, client: FallbackClient) -> None:
        self._pages = registry = CollectorRegistry()
        self.calls = Counter(
            "openrouter_fallback_calls",
            "Requests for an answer.",
            ("key", "chain", "status", "outcome"),
            registry=registry,
        )
        self.in_flight = Gauge(
            "openrouter_fallback_calls_in_flight",
            "Calls under way.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.first_token = Histogram(
            "openrouter_fallback_first_token_seconds",
            "Seconds from the request to its first token, of streams.",
            ("chain",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.seconds = Histogram(
            "openrouter_fallback_call_seconds",
            "Seconds from the request to the end of its answer.",
            ("chain",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._attempts = Counter(
            "openrouter_fallback_attempts", "Requests sent upstream.", ("model", "kind"), registry=registry
        )
        self._failovers = Counter(
            "openrouter_fallback_failovers",
            "Calls that went on with another model.",
            ("model", "kind"),
            registry=registry,
        )
        self._seams = Counter(
            "openrouter_fallback_seams",
            "Answers that another model went on with.",
            ("before", "after"),
            registry=registry,
        )
        self._changes = Counter(
            "openrouter_fallback_breaker_changes",
            "Changes of circuit breakers: open, half_open or closed.",
            ("scope", "name", "state"),
            registry=registry,
        )
        self._cost = Counter("openrouter_fallback_cost_usd", "USD of all attempts.", ("model",), registry=registry)
        if DIRECTORY_ENV in os.environ:  # several processes: what is read is what all of them have written there
            self._pages = CollectorRegistry()
            multiprocess.MultiProcessCollector(self._pages)
        self._pages.register(_Breakers(client))

    def __call__(self, event: Event) -> None:
        """Count an event."""
        if isinstance(event, AttemptEnded):
            attempt = event.attempt
            self._attempts.labels(attempt.model, attempt.kind or "answered").inc()
            if attempt.cost:
                self._cost.labels(attempt.model).inc(attempt.cost)
        elif isinstance(event, FailedOver):
            self._failovers.labels(event.failed, event.kind).inc()
        elif isinstance(event, BreakerEvent):
            self._changes.labels(event.scope, event.name, event.state).inc()
        elif isinstance(event, CallEnded):
            for seam in event.seams:
                self._seams.labels(seam.before, seam.after).inc()

    def page(self) -> bytes:
        """All numbers as they stand."""
        return generate_latest(self._pages)


class _Breakers(Collector):
    def __init__(self, client: FallbackClient) -> None:
        self._client = client

    def describe(self) -> list[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        states = GaugeMetricFamily(
            "openrouter_fallback_breaker", "1 for the state of a model's circuit breaker.", labels=("model", "state")
        )
        for model, health in self._client.health().items():
            states.add_metric((model, str(health.state)), 1)
        yield states


def mark_dead(process: int) -> None:
    """A process has ended: what is under way in it no longer counts."""
    if DIRECTORY_ENV in os.environ:
        multiprocess.mark_process_dead(process)
