"""Records calls as OpenTelemetry spans and metrics, by the semantic conventions for generative AI (extra `otel`).

One span for each call, `chat <first model>`, with all that the conventions know of it; below it one for each attempt.
Tokens stand on the call's span only, so that a sum over spans counts them once. What the conventions have no word
for is named `openrouter_fallback.*`. Prompts and answers are recorded only if the conventions' own switch says so.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from opentelemetry import metrics, trace
from opentelemetry.metrics import MeterProvider, Observation
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, TracerProvider, set_span_in_context

from .._version import __version__
from ..config.models import FallbackConfig
from ..events import AttemptEnded, AttemptStarted, BreakerEvent, CallEnded, CallStarted, Event, FailedOver, Hedged, Seen
from ..failures.kinds import FailureKind
from ..results import Completion
from .otel_messages import input_messages, output_messages

CONTENT_ENV = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
CHAT = "chat"
SECONDS_BUCKETS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92]
TOKEN_BUCKETS = [4**power for power in range(14)]
STATES = {"closed": 0, "half_open": 1, "open": 2}

_PARAMS: Mapping[str, tuple[str, type[int] | type[float]]] = {
    "frequency_penalty": ("gen_ai.request.frequency_penalty", float),
    "max_completion_tokens": ("gen_ai.request.max_tokens", int),
    "max_tokens": ("gen_ai.request.max_tokens", int),
    "presence_penalty": ("gen_ai.request.presence_penalty", float),
    "seed": ("gen_ai.request.seed", int),
    "temperature": ("gen_ai.request.temperature", float),
    "top_k": ("gen_ai.request.top_k", int),
    "top_p": ("gen_ai.request.top_p", float),
}
_USAGE = (
    ("prompt_tokens", "gen_ai.usage.input_tokens"),
    ("completion_tokens", "gen_ai.usage.output_tokens"),
    ("cached_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("cache_write_tokens", "gen_ai.usage.cache_creation.input_tokens"),
    ("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
)
_API_MODULES = ("opentelemetry.trace", "opentelemetry.metrics")
_ALWAYS = ("prompt_tokens", "completion_tokens")

Attributes = dict[str, Any]


class _Call:
    """An active call: its span, the spans of its attempts, and the data for its metrics."""

    __slots__ = ("attempts", "attributes", "first_token", "span", "started")

    def __init__(self, span: Span, attributes: Attributes, started: float) -> None:
        self.span = span
        self.attributes = attributes
        self.started = started
        self.attempts: dict[int, tuple[Span | None, float]] = {}
        self.first_token: float | None = None


class OpenTelemetry:
    """Observes the calls of one client. `states` returns each model's breaker state. Provider None: global."""

    def __init__(
        self,
        config: FallbackConfig,
        states: Callable[[], Mapping[str, str]],
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        self._config = config
        self._places = {name: _place(at.base_url) for name, at in config.endpoints.items()}
        self._calls: dict[int, _Call] = {}
        self._given = tracer_provider is not None or meter_provider is not None
        self._content = os.environ.get(CONTENT_ENV, "").upper() in ("SPAN_ONLY", "SPAN_AND_EVENT", "TRUE")
        self._tracer = trace.get_tracer("openrouter_fallback", __version__, tracer_provider)
        meter = metrics.get_meter("openrouter_fallback", __version__, meter_provider)
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
        )
        self._first_chunk = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to receive the first chunk of a streamed answer.",
            explicit_bucket_boundaries_advisory=SECONDS_BUCKETS,
        )
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self._cost = meter.create_counter(
            "openrouter_fallback.cost", unit="{USD}", description="What the attempts have cost."
        )
        self._attempts = meter.create_counter(
            "openrouter_fallback.attempts", unit="{attempt}", description="Requests sent, by model and outcome."
        )
        self._failovers = meter.create_counter(
            "openrouter_fallback.failovers",
            unit="{failover}",
            description="Failovers: calls that continued with another model.",
        )
        self._hedges = meter.create_counter(
            "openrouter_fallback.hedges",
            unit="{hedge}",
            description="Hedges: a second model was called beside a silent one.",
        )
        self._changes = meter.create_counter(
            "openrouter_fallback.breaker.changes",
            unit="{change}",
            description="Changes of circuit breakers, by model or endpoint and new state.",
        )
        self._resends = meter.create_counter(
            "openrouter_fallback.resends",
            unit="{request}",
            description="Requests sent again since a kept connection was lost.",
        )
        self._meters = meter_provider
        self._states = states
        _live.add(self)
        meter.create_observable_gauge(
            "openrouter_fallback.breaker.state",
            [lambda options: _breakers(meter_provider)],
            description="The breaker of each configured model: 0 closed, 1 half-open, 2 open.",
        )

    def __call__(self, event: Event, seen: Seen) -> None:
        if isinstance(event, CallStarted):
            self._begin(event, seen)
            return
        if isinstance(event, BreakerEvent):
            self._breaker(event)
            return
        if event.call not in self._calls:
            return
        match event:
            case AttemptStarted():
                self._begin_attempt(event)
            case AttemptEnded():
                self._end_attempt(event)
            case FailedOver():
                self._failed_over(event)
            case Hedged():
                between = {"openrouter_fallback.silent": event.silent, "openrouter_fallback.next": event.next}
                self._hedges.add(1, between)
                self._calls[event.call].span.add_event("hedged", between)
            case CallEnded():
                self._end(event, seen)

    def awake(self) -> bool:
        """Whether a provider receives what is recorded."""
        return self._given or _configured()

    def end(self) -> None:
        """Stop observing and end all open spans."""
        _live.discard(self)
        while self._calls:
            _, call = self._calls.popitem()
            for attempt, _ in call.attempts.values():
                if attempt is not None:
                    attempt.end()
            call.span.end()

    def _aim(self, key: str) -> Attributes:
        """The endpoint and the model of a request."""
        endpoint, model = self._config.split(key)
        return {"gen_ai.provider.name": endpoint, "gen_ai.request.model": model, **self._places[endpoint]}

    # Events of the call

    def _begin(self, event: CallStarted, seen: Seen) -> None:
        first = self._aim(event.models[0]) if event.models else {"gen_ai.provider.name": "openrouter"}
        attributes = {"gen_ai.operation.name": CHAT, **first}
        name = f"{CHAT} {attributes['gen_ai.request.model']}" if event.models else CHAT
        span = self._tracer.start_span(name, kind=SpanKind.CLIENT, attributes=attributes)
        if span.is_recording():
            span.set_attributes(_request(seen.params, streamed=seen.streamed))
            span.set_attribute("openrouter_fallback.chain", list(event.models))
            if self._content:
                span.set_attribute("gen_ai.input.messages", input_messages(seen.messages))
        self._calls[event.call] = _Call(span, attributes, time.monotonic())

    def _end(self, event: CallEnded, seen: Seen) -> None:
        call = self._calls.pop(event.call)
        span, attributes, completion = call.span, dict(call.attributes), seen.completion
        if completion is not None and event.outcome == "answered":
            attributes["gen_ai.response.model"] = completion.model
        if event.error is not None:
            attributes["error.type"] = event.error
        if span.is_recording():
            span.set_attribute("openrouter_fallback.outcome", event.outcome)
            span.set_attribute("openrouter_fallback.attempts", event.attempts)
            if completion is not None:
                span.set_attributes(_response(completion))
                if self._content:
                    span.set_attribute("gen_ai.output.messages", output_messages(completion))
            if event.model is not None:
                span.set_attribute("openrouter_fallback.answered_by", event.model)
            if seen.streamed and call.first_token is not None:
                span.set_attribute("gen_ai.response.time_to_first_chunk", call.first_token)
            if event.error is not None:
                span.set_attribute("error.type", event.error)
                span.set_status(Status(StatusCode.ERROR, event.error))
        self._duration.record(event.seconds, attributes)
        if seen.streamed and call.first_token is not None:
            self._first_chunk.record(call.first_token, attributes)
        usage = completion.usage if completion is not None else None
        if usage is not None:
            self._tokens.record(usage.prompt_tokens, {**attributes, "gen_ai.token.type": "input"})
            self._tokens.record(usage.completion_tokens, {**attributes, "gen_ai.token.type": "output"})
        for attempt, _ in call.attempts.values():
            if attempt is not None:
                attempt.end()
        span.end()

    def _failed_over(self, event: FailedOver) -> None:
        attributes = {
            "openrouter_fallback.failed": event.failed,
            "openrouter_fallback.next": event.next,
            "error.type": str(event.kind),
        }
        self._failovers.add(1, attributes)
        self._calls[event.call].span.add_event("failover", attributes)

    def _breaker(self, event: BreakerEvent) -> None:
        """Count a change, and note it on the span of the call that reports it."""
        state = event.state
        name = {"openrouter_fallback.name": event.name}
        self._changes.add(1, {**name, "openrouter_fallback.breaker.state": state, "error.type": event.cause})
        call = self._calls.get(event.call)
        if call is not None:
            happened = {"open": "breaker_opened", "half_open": "breaker_half_opened", "closed": "breaker_closed"}
            call.span.add_event(happened[state], {**name, "error.type": event.cause})

    # Its attempts

    def _begin_attempt(self, event: AttemptStarted) -> None:
        call, span = self._calls[event.call], None
        if call.span.is_recording():
            attributes = {
                **self._aim(event.model),
                "openrouter_fallback.attempt.number": event.number,
                "openrouter_fallback.attempt.probe": event.probe,
            }
            context = set_span_in_context(call.span)
            span = self._tracer.start_span(f"attempt {event.model}", context, SpanKind.CLIENT, attributes)
        call.attempts[event.number] = span, time.monotonic()

    def _end_attempt(self, event: AttemptEnded) -> None:
        attempt = event.attempt
        outcome = "answered" if attempt.kind is None else str(attempt.kind)
        aim = self._aim(attempt.model)
        labels = {name: aim[name] for name in ("gen_ai.provider.name", "gen_ai.request.model")}
        self._attempts.add(1, {**labels, "openrouter_fallback.outcome": outcome})
        if attempt.resent:
            self._resends.add(attempt.resent, labels)
        if attempt.cost:
            self._cost.add(attempt.cost, labels)
        call = self._calls[event.call]
        span, started = call.attempts.pop(event.number, (None, call.started))
        if attempt.first_token is not None:
            since_call = started - call.started + attempt.first_token
            call.first_token = since_call if call.first_token is None else min(call.first_token, since_call)
        if span is None:
            return
        facts = {
            "gen_ai.response.id": attempt.generation_id,
            "gen_ai.response.time_to_first_chunk": attempt.first_token,
            "http.request.resend_count": attempt.resent or None,
            "http.response.status_code": attempt.status,
            "openrouter_fallback.cost": attempt.cost,
            "openrouter_fallback.outcome": outcome,
            "openrouter_fallback.provider": attempt.provider,
        }
        span.set_attributes({name: value for name, value in facts.items() if value is not None})
        if attempt.kind is not None and attempt.kind is not FailureKind.CANCELLED:
            span.set_attribute("error.type", str(attempt.kind))
            span.set_status(Status(StatusCode.ERROR, str(attempt.kind)))
        span.end()


# The SDK keeps only an instrument's first callback, so one client's callback reports the breakers of all clients.
_live: weakref.WeakSet[OpenTelemetry] = weakref.WeakSet()


def _breakers(meters: MeterProvider | None) -> Iterator[Observation]:
    """Each model's breaker state. If several clients have a breaker for a model, the most open state counts."""
    worst: dict[str, int] = {}
    for one in list(_live):
        if one._meters is meters:
            for model, state in one._states().items():
                worst[model] = max(STATES[state], worst.get(model, 0))
    for model, value in worst.items():
        yield Observation(value, {"gen_ai.request.model": model})


def _configured() -> bool:
    """Whether the application set a provider. The API's default providers record nothing."""
    providers = (trace.get_tracer_provider(), metrics.get_meter_provider())
    return any(not type(one).__module__.startswith(_API_MODULES) for one in providers)


def _place(url: str) -> Attributes:
    parts = urlsplit(url)
    return {"server.address": parts.hostname, "server.port": parts.port or (443 if parts.scheme == "https" else 80)}


def _request(params: Mapping[str, Any], *, streamed: bool) -> Attributes:
    """The parameters of the request that have the type of the conventions."""
    attributes: Attributes = {
        name: kind(value)
        for key, (name, kind) in _PARAMS.items()
        if isinstance(value := params.get(key), int if kind is int else int | float) and not isinstance(value, bool)
    }
    choices, stop, reasoning = params.get("n"), params.get("stop"), params.get("reasoning")
    if isinstance(choices, int) and choices != 1:
        attributes["gen_ai.request.choice.count"] = choices
    if isinstance(stop, str) or (isinstance(stop, list | tuple) and all(isinstance(one, str) for one in stop)):
        attributes["gen_ai.request.stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    effort = reasoning.get("effort") if isinstance(reasoning, Mapping) else params.get("reasoning_effort")
    if isinstance(effort, str):
        attributes["gen_ai.request.reasoning.level"] = effort
    if streamed:
        attributes["gen_ai.request.stream"] = True
    output = _output_type(params.get("response_format"), params.get("modalities"))
    if output is not None:
        attributes["gen_ai.output.type"] = output
    return attributes


def _output_type(response_format: Any, modalities: Any) -> str | None:
    wanted = response_format.get("type") if isinstance(response_format, Mapping) else None
    if wanted in ("json_object", "json_schema"):
        return "json"
    if wanted == "text":
        return "text"
    kinds = modalities if isinstance(modalities, Iterable) else ()
    return next((kind for name, kind in (("image", "image"), ("audio", "speech")) if name in kinds), None)


def _response(completion: Completion) -> Attributes:
    raw = completion.raw
    attributes: Attributes = {
        "gen_ai.response.model": completion.model,
        "gen_ai.response.finish_reasons": [str(one.get("finish_reason") or "none") for one in raw.get("choices", ())],
    }
    if isinstance(raw.get("id"), str):
        attributes["gen_ai.response.id"] = raw["id"]
    usage = completion.usage
    for name, attribute in _USAGE if usage is not None else ():
        count = getattr(usage, name)
        if count or name in _ALWAYS:
            attributes[attribute] = count
    if usage is not None and usage.estimated:
        attributes["openrouter_fallback.usage.estimated"] = True
    if completion.cost is not None:
        attributes["openrouter_fallback.cost"] = completion.cost
    if completion.seams:
        attributes["openrouter_fallback.seams"] = [seam.offset for seam in completion.seams]
    return attributes
