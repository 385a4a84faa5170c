"""Prometheus metrics of the server's answers and of the calls' requests upstream."""

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
"""The environment variable with the directory in which several processes store their metrics.

prometheus_client reads it on import.
"""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128, 300)


class Metrics:
    """The metrics of one server. An instance is a subscriber of the client's events."""

    def __init__(self, client: FallbackClient) -> None:
        self._pages = registry = CollectorRegistry()
        self.calls = Counter(
            "openrouter_fallback_calls",
            "Chat completion requests.",
            ("key", "chain", "status", "outcome"),
            registry=registry,
        )
        self.in_flight = Gauge(
            "openrouter_fallback_calls_in_flight",
            "Active calls.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self.first_token = Histogram(
            "openrouter_fallback_first_token_seconds",
            "Seconds from the request to the first token of a stream.",
            ("chain",),
            buckets=_SECONDS,
            registry=registry,
        )
        self.seconds = Histogram(
            "openrouter_fallback_call_seconds",
            "Seconds from the request to the end of the answer.",
            ("chain",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._attempts = Counter(
            "openrouter_fallback_attempts", "Requests sent upstream.", ("model", "kind"), registry=registry
        )
        self._failovers = Counter(
            "openrouter_fallback_failovers",
            "Calls that were continued with another model.",
            ("model", "kind"),
            registry=registry,
        )
        self._seams = Counter(
            "openrouter_fallback_seams",
            "Answers that another model continued.",
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
        if DIRECTORY_ENV in os.environ:  # several processes: the page shows the metrics that all of them have stored
            self._pages = CollectorRegistry()
            multiprocess.MultiProcessCollector(self._pages)
        self._pages.register(_Breakers(client))

    def __call__(self, event: Event) -> None:
        """Update the metrics with an event of the client."""
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
        """All metrics in the text format of Prometheus."""
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
    """Remove the active calls of a process that has ended."""
    if DIRECTORY_ENV in os.environ:
        multiprocess.mark_process_dead(process)
