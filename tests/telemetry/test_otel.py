"""Spans and metrics as the SDK's in-memory exporters get them, against the names that the conventions' package has."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from opentelemetry import context, trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv._incubating.metrics import gen_ai_metrics
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes
from opentelemetry.trace import SpanKind, StatusCode

from openrouter_fallback import ConfigError, FallbackClient, SpendLimitError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.telemetry.otel import CONTENT_ENV

from ..support.surfaces import STREAMED, SURFACES, ask
from ..support.traces import TEXT, A, B, C

PROMPT = "A secret prompt"

KNOWN = {
    value
    for module in (gen_ai_attributes, error_attributes, http_attributes, server_attributes)
    for name, value in vars(module).items()
    if name.isupper() and isinstance(value, str)
} | {  # newer than the package, the oldest that is allowed or any
    "gen_ai.provider.name",
    "gen_ai.request.reasoning.level",
    "gen_ai.request.stream",
    "gen_ai.response.time_to_first_chunk",
}
METRICS = {value for name, value in vars(gen_ai_metrics).items() if name.isupper() and isinstance(value, str)} | {
    "gen_ai.client.operation.time_to_first_chunk"
}


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    for model in (A, B, C):
        served.reply(text=TEXT, model=model)
    return served


class Telemetry:
    """A client, what it exports, and the SDK's providers."""

    def __init__(self, emulator: Emulator, models: list[str], *, sampler: Any = None) -> None:
        self.spans = InMemorySpanExporter()
        self.tracers = TracerProvider(sampler=sampler)
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.reader = InMemoryMetricReader()
        self.meters = MeterProvider([self.reader])
        self.client = FallbackClient(models, base_url=emulator.base_url, api_key=emulator.api_key)
        self.port = int(emulator.base_url.split(":")[2].split("/")[0])
        self.end = self.client.instrument(tracer_provider=self.tracers, meter_provider=self.meters)

    def tree(self) -> tuple[ReadableSpan, list[ReadableSpan]]:
        """The span of the only call, and those of its attempts in the order of their beginning."""
        spans = sorted(self.spans.get_finished_spans(), key=lambda span: span.start_time or 0)
        calls = [span for span in spans if span.name.startswith("chat")]
        assert len(calls) == 1
        attempts = [span for span in spans if span is not calls[0]]
        assert all(span.parent is not None and span.parent.span_id == calls[0].context.span_id for span in attempts)
        return calls[0], attempts

    def points(self, name: str) -> dict[tuple[str, ...], Any]:
        """The points of a metric by the values of their attributes."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    assert metric.name in METRICS or metric.name.startswith("openrouter_fallback.")
                    if metric.name == name:
                        for point in metric.data.data_points:
                            labels = dict(point.attributes or {})
                            assert_known(labels)
                            found[tuple(str(labels[key]) for key in sorted(labels) if "server" not in key)] = point
        return found


@pytest.fixture
def telemetry(emulator: Emulator) -> Iterator[Callable[..., Telemetry]]:
    made: list[Telemetry] = []

    def make(models: list[str], **options: Any) -> Telemetry:
        made.append(Telemetry(emulator, models, **options))
        return made[-1]

    yield make
    for one in made:
        one.meters.shutdown()
        one.tracers.shutdown()
        one.client.close()


def assert_known(attributes: Mapping[str, Any]) -> None:
    strange = {name for name in attributes if name not in KNOWN and not name.startswith("openrouter_fallback.")}
    assert not strange


@pytest.mark.parametrize("surface", STREAMED)
def test_two_failed_attempts_and_one_continuation(
    surface: str, emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    """Field by field."""
    made = telemetry([A, B, C])
    emulator.fault("overloaded", model=A)
    emulator.fault("cut", model=B, after_tokens=4)
    outcome = ask(made.client, surface, PROMPT, temperature=0.5, max_tokens=100, stop=["END"], seed=7)
    assert outcome.delivered == outcome.answer.text == TEXT
    call, (first, second, third) = made.tree()

    completion, usage = outcome.answer, outcome.answer.usage
    assert usage is not None
    at = {"server.address": "127.0.0.1", "server.port": made.port}
    attributes = dict(call.attributes or {})
    waited = attributes.pop("gen_ai.response.time_to_first_chunk")
    assert isinstance(waited, float)
    assert attributes == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openrouter",
        "gen_ai.request.model": A,
        **at,
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 100,
        "gen_ai.request.stop_sequences": ("END",),
        "gen_ai.request.seed": 7,
        "gen_ai.request.stream": True,
        "gen_ai.response.model": C,
        "gen_ai.response.id": completion.raw["id"],
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "openrouter_fallback.chain": (A, B, C),
        "openrouter_fallback.outcome": "answered",
        "openrouter_fallback.answered_by": C,
        "openrouter_fallback.attempts": 3,
        "openrouter_fallback.cost": completion.cost,
        "openrouter_fallback.seams": (completion.seams[0].offset,),
        "openrouter_fallback.usage.estimated": True,
    }
    assert (call.name, call.kind, call.status.status_code) == (f"chat {A}", SpanKind.CLIENT, StatusCode.UNSET)
    assert [(event.name, dict(event.attributes or {})) for event in call.events] == [
        ("failover", {"openrouter_fallback.failed": A, "openrouter_fallback.next": B, "error.type": "overloaded"}),
        ("failover", {"openrouter_fallback.failed": B, "openrouter_fallback.next": C, "error.type": "bad_answer"}),
    ]

    assert [span.name for span in (first, second, third)] == [f"attempt {model}" for model in (A, B, C)]
    assert {span.kind for span in (first, second, third)} == {SpanKind.CLIENT}
    assert [span.status.status_code for span in (first, second, third)] == [
        StatusCode.ERROR,
        StatusCode.ERROR,
        StatusCode.UNSET,
    ]
    for number, (span, attempt) in enumerate(zip((first, second, third), completion.attempts, strict=True), 1):
        expected = {
            "gen_ai.provider.name": "openrouter",
            "gen_ai.request.model": attempt.model,
            **at,
            "gen_ai.response.id": attempt.generation_id,
            "gen_ai.response.time_to_first_chunk": attempt.first_token,
            "http.response.status_code": attempt.status,
            "error.type": None if attempt.kind is None else str(attempt.kind),
            "openrouter_fallback.attempt.number": number,
            "openrouter_fallback.attempt.probe": False,
            "openrouter_fallback.outcome": "answered" if attempt.kind is None else str(attempt.kind),
            "openrouter_fallback.cost": attempt.cost,
            "openrouter_fallback.provider": attempt.provider,
        }
        assert dict(span.attributes or {}) == {name: value for name, value in expected.items() if value is not None}
    for span in (call, first, second, third):
        assert_known(span.attributes or {})
        assert call.start_time is not None
        assert call.end_time is not None
        assert call.start_time <= (span.start_time or 0) <= (span.end_time or 0) <= call.end_time
    assert PROMPT not in f"{call.to_json()}{first.to_json()}{second.to_json()}{third.to_json()}"
    assert "seven" not in f"{call.to_json()}{third.to_json()}"


@pytest.mark.parametrize("surface", SURFACES)
def test_a_call_is_the_child_of_its_callers_span(
    surface: str, emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    made = telemetry([A])
    tracer = made.tracers.get_tracer("app")
    with tracer.start_as_current_span("request") as outer:
        ask(made.client, surface)
    spans = {span.name: span for span in made.spans.get_finished_spans()}
    call = spans[f"chat {A}"]
    assert call.parent is not None
    assert call.parent.span_id == outer.get_span_context().span_id
    assert call.context.trace_id == outer.get_span_context().trace_id
    assert trace.get_current_span(context.get_current()) is trace.INVALID_SPAN


@pytest.mark.parametrize("surface", SURFACES)
def test_a_call_that_fails(surface: str, emulator: Emulator, telemetry: Callable[..., Telemetry]) -> None:
    made = telemetry([A])
    emulator.fault("invalid_request", model=A)
    raised = ask(made.client, surface).raised
    call, (attempt,) = made.tree()
    attributes = dict(call.attributes or {})
    assert (call.status.status_code, attributes["error.type"]) == (StatusCode.ERROR, type(raised).__name__)
    assert attributes["openrouter_fallback.outcome"] == "failed"
    assert dict(attempt.attributes or {})["http.response.status_code"] == 400
    assert not any(name.startswith(("gen_ai.usage", "gen_ai.response.model")) for name in attributes)


async def test_a_call_that_is_left_has_an_end_and_no_error(
    emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    made = telemetry([A])
    emulator.reply(tokens=1000, model=A)
    emulator.pace(token_interval=0.01)
    async with made.client.astream("Hello") as stream:
        await anext(stream)
    emulator.pace(token_interval=0.0)
    call, (attempt,) = made.tree()
    assert dict(call.attributes or {})["openrouter_fallback.outcome"] == "cancelled"
    assert dict(attempt.attributes or {})["openrouter_fallback.outcome"] == "cancelled"
    assert {call.status.status_code, attempt.status.status_code} == {StatusCode.UNSET}


def test_metrics(emulator: Emulator, telemetry: Callable[..., Telemetry]) -> None:
    made = telemetry([A, B])
    emulator.fault("overloaded", model=A)
    usages = []
    for _ in range(3):
        answer = made.client.chat("Hello")
        usages.append(answer.usage)
    for piece in made.client.stream("Hello"):
        assert piece
    durations = made.points("gen_ai.client.operation.duration")
    assert {key: point.count for key, point in durations.items()} == {("chat", "openrouter", A, B): 4}
    tokens = made.points("gen_ai.client.token.usage")
    assert {key[-1]: point.count for key, point in tokens.items()} == {"input": 4, "output": 4}
    assert usages[0] is not None
    assert tokens["chat", "openrouter", A, B, "output"].max == usages[0].completion_tokens
    assert [point.count for point in made.points("gen_ai.client.operation.time_to_first_chunk").values()] == [1]
    attempts = {key: point.value for key, point in made.points("openrouter_fallback.attempts").items()}
    assert attempts == {("openrouter", A, "overloaded"): 3, ("openrouter", B, "answered"): 4}
    failovers = {key: point.value for key, point in made.points("openrouter_fallback.failovers").items()}
    assert failovers == {("overloaded", A, B): 3}
    [cost] = made.points("openrouter_fallback.cost").values()
    assert usages[0].cost is not None
    assert cost.value == pytest.approx(4 * usages[0].cost)
    states = {key: point.value for key, point in made.points("openrouter_fallback.breaker.state").items()}
    assert states == {(A,): 2, (B,): 0}
    assert made.points("openrouter_fallback.resends") == {}


def test_a_request_that_is_sent_again_on_another_connection_is_counted(
    emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    made = telemetry([A])
    emulator.fault("reset", model=A, requests=(2, 2))
    for _ in range(3):
        assert len(made.client.chat("Hello").attempts) == 1
    assert emulator.count(A) == 4
    counted = {key: point.value for key, point in made.points("openrouter_fallback.resends").items()}
    assert counted == {("openrouter", A): 1}
    attempts = [span.attributes or {} for span in made.spans.get_finished_spans() if span.name.startswith("attempt")]
    assert [one.get("http.request.resend_count") for one in attempts] == [None, 1, None]


def test_changes_of_breakers_are_counted_also_outside_a_call(
    emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    made = telemetry([A, B])
    emulator.fault("model_not_found", model=A)
    made.client.chat("Hello")
    made.client.enable(A)
    changes = made.points("openrouter_fallback.breaker.changes")
    assert {key: point.value for key, point in changes.items()} == {
        ("not_found", "closed", A): 1,
        ("not_found", "open", A): 1,
    }
    call, _ = made.tree()
    assert [event.name for event in call.events] == ["failover", "breaker_opened"]


@pytest.mark.parametrize("switch", ["", "NO_CONTENT", "EVENT_ONLY"])
def test_content_stays_out(
    switch: str,
    emulator: Emulator,
    telemetry: Callable[..., Telemetry],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CONTENT_ENV, switch)
    made = telemetry([A])
    made.client.chat(PROMPT)
    said = "".join(span.to_json() for span in made.spans.get_finished_spans())
    assert PROMPT not in said
    assert TEXT not in said


@pytest.mark.parametrize("switch", ["SPAN_ONLY", "span_and_event", "true"])
def test_content_on_the_call_where_the_conventions_switch_says_so(
    switch: str, emulator: Emulator, telemetry: Callable[..., Telemetry], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CONTENT_ENV, switch)
    made = telemetry([A])
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    inline = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}
    broken = {"id": "c2", "type": "function", "function": {"name": "f", "arguments": '{"x":'}}
    made.client.chat(
        [
            {"role": "user", "content": [{"type": "text", "text": PROMPT}, image, inline]},
            {"role": "assistant", "content": None, "tool_calls": [call, broken]},
            {"role": "tool", "tool_call_id": "c1", "content": "42"},
            {"role": "tool", "tool_call_id": "c2", "content": "?"},
        ]
    )
    span, _ = made.tree()
    attributes = dict(span.attributes or {})
    assert json.loads(str(attributes["gen_ai.input.messages"])) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": PROMPT},
                {"type": "uri", "modality": "image", "uri": "https://example.com/a.png"},
                {"type": "image_url"},
            ],
        },
        {
            "role": "assistant",
            "parts": [
                {"type": "tool_call", "id": "c1", "name": "f", "arguments": {"x": 1}},
                {"type": "tool_call", "id": "c2", "name": "f", "arguments": '{"x":'},
            ],
        },
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "42"}]},
        {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c2", "response": "?"}]},
    ]
    assert json.loads(str(attributes["gen_ai.output.messages"])) == [
        {"role": "assistant", "parts": [{"type": "text", "content": TEXT}], "finish_reason": "stop"}
    ]


PARAMS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"n": 2}, {"gen_ai.request.choice.count": 2}),
    ({"n": 1}, {}),
    ({"stop": "x"}, {"gen_ai.request.stop_sequences": ("x",)}),
    ({"reasoning": {"effort": "low"}}, {"gen_ai.request.reasoning.level": "low"}),
    ({"reasoning_effort": "high"}, {"gen_ai.request.reasoning.level": "high"}),
    ({"response_format": {"type": "text"}}, {"gen_ai.output.type": "text"}),
    ({"modalities": ["image", "text"]}, {"gen_ai.output.type": "image"}),
    ({"max_completion_tokens": 9}, {"gen_ai.request.max_tokens": 9}),
    ({"top_p": 1, "top_k": 3}, {"gen_ai.request.top_p": 1.0, "gen_ai.request.top_k": 3}),
]


@pytest.mark.parametrize(("params", "expected"), PARAMS, ids=lambda one: " ".join(one))
def test_parameters(
    params: dict[str, Any], expected: dict[str, Any], emulator: Emulator, telemetry: Callable[..., Telemetry]
) -> None:
    made = telemetry([A])
    ask(made.client, "chat", **params)
    call, _ = made.tree()
    names = ("gen_ai.request.", "gen_ai.output.type")
    found = {name: value for name, value in (call.attributes or {}).items() if name.startswith(names)}
    assert {name: repr(value) for name, value in found.items()} == {
        name: repr(value) for name, value in {"gen_ai.request.model": A, **expected}.items()
    }, "to the type"


def test_unsampled_calls_make_no_spans_but_metrics(emulator: Emulator, telemetry: Callable[..., Telemetry]) -> None:
    made = telemetry([A], sampler=ALWAYS_OFF)
    made.client.chat("Hello")
    assert made.spans.get_finished_spans() == ()
    assert len(made.points("gen_ai.client.operation.duration")) == 1


def test_it_ends(emulator: Emulator, telemetry: Callable[..., Telemetry]) -> None:
    made = telemetry([A])
    made.end()
    made.client.chat("Hello")
    assert made.spans.get_finished_spans() == ()


def test_what_is_open_when_it_ends_is_ended(emulator: Emulator, telemetry: Callable[..., Telemetry]) -> None:
    made = telemetry([A])
    emulator.reply(tokens=2000, model=A)
    with made.client.stream(PROMPT) as stream:
        next(stream)
        made.end()
        assert len(made.spans.get_finished_spans()) == 2


def test_a_call_that_is_refused_before_anything_is_sent_has_a_span(emulator: Emulator) -> None:
    spans, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    limit = {"spend_limit_usd": {"per_call": "0.000001"}}
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=emulator.api_key, settings=limit) as client:
        asyncio.run(client.catalog.refresh())
        client.instrument(tracer_provider=tracers)
        with pytest.raises(SpendLimitError):
            client.chat(PROMPT, max_tokens=1000)
    [call] = spans.get_finished_spans()
    attributes = dict(call.attributes or {})
    assert (attributes["gen_ai.request.model"], attributes["error.type"]) == (A, "SpendLimitError")
    assert attributes["openrouter_fallback.attempts"] == 0


def test_the_breakers_of_all_clients_of_a_meter_provider_are_told(emulator: Emulator) -> None:
    reader = InMemoryMetricReader()
    meters = MeterProvider([reader])
    clients = [FallbackClient(models, base_url=emulator.base_url) for models in ([A, B], [B, C])]
    ends = [client.instrument(meter_provider=meters) for client in clients]
    parts = parts_of(clients[1])
    health, clock = parts.runtime.health, parts.runtime.clock
    for _ in range(3):
        permit = health.begin(parts.planner.candidate(B, ()).target, clock())
        assert permit is not None
        health.model_failed(permit, clock())

    def told() -> dict[Any, Any]:
        data = reader.get_metrics_data()
        assert data is not None or not ends
        return {
            (point.attributes or {})["gen_ai.request.model"]: point.value
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
            for point in metric.data.data_points
            if metric.name == "openrouter_fallback.breaker.state" and isinstance(point, NumberDataPoint)
        }

    assert told() == {A: 0, B: 2, C: 0}
    ends.pop(0)()
    assert told() == {B: 2, C: 0}, "also where the one that registered the gauge has ended"
    meters.shutdown()


def test_an_exporter_that_raises_harms_no_call(
    emulator: Emulator, telemetry: Callable[..., Telemetry], caplog: pytest.LogCaptureFixture
) -> None:
    made = telemetry([A])

    class Broken(SimpleSpanProcessor):
        def on_start(self, span: Any, parent_context: Any = None) -> None:
            raise RuntimeError("broken")

    made.tracers.add_span_processor(Broken(made.spans))
    assert made.client.chat("Hello").text == TEXT
    assert "an observer failed on CallStarted" in caplog.text


def test_by_configuration_and_without_an_sdk(emulator: Emulator) -> None:
    """The global providers: nobody has set any, so nothing is made of it."""
    client = FallbackClient([A], base_url=emulator.base_url, api_key=emulator.api_key, settings={"opentelemetry": True})
    assert not parts_of(client).runtime.events.observed, (
        "nothing is made, and nobody woken, for an observer that sleeps"
    )
    assert not parts_of(client).runtime.events.heard
    assert client.chat("Hello").text == TEXT
    assert asyncio.run(client.achat("Hello")).text == TEXT
    client.close()


def test_a_missing_extra_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    monkeypatch.delitem(sys.modules, "openrouter_fallback.telemetry.otel")
    with pytest.raises(ConfigError, match=r'pip install "openrouter-fallback\[otel\]"'):
        FallbackClient([A], settings={"opentelemetry": True})
