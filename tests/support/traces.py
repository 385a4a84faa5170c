"""The check of a call's trace, for every framework: two failed attempts and a continuation below the caller's span."""

from __future__ import annotations

from collections.abc import Callable

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

MODELS = A, B, C = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"
TEXT = "One two three four five six seven eight nine ten."


def check_the_trace(emulator: Emulator, client: FallbackClient, ask: Callable[[], str], *, streamed: bool) -> None:
    """Check the trace of one call. `ask` makes a call of `client`, whose chain is `MODELS`, and returns the text."""
    for model in MODELS:
        emulator.reply(text=TEXT, model=model)
    emulator.fault("overloaded", model=A)
    emulator.fault("cut", model=B, after_tokens=4)
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    client.instrument(tracer_provider=provider)

    with provider.get_tracer("app").start_as_current_span("agent") as agent:
        assert ask() == TEXT

    spans = sorted(exported.get_finished_spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in spans] == ["agent", f"chat {A}", *(f"attempt {model}" for model in MODELS)]
    _, call, *attempts = spans
    assert call.parent is not None
    assert call.parent.span_id == agent.get_span_context().span_id
    assert {span.parent.span_id for span in attempts if span.parent is not None} == {call.context.span_id}
    found = dict(call.attributes or {})
    assert found["gen_ai.response.model"] == C
    assert found["openrouter_fallback.attempts"] == 3
    assert ("openrouter_fallback.seams" in found) is streamed
    assert ("gen_ai.request.stream" in found) is streamed
    kinds = [(span.attributes or {}).get("error.type") for span in attempts]
    assert kinds == ["overloaded", "bad_answer", None]
    provider.shutdown()
