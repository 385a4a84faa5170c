"""The trace of a call through LlamaIndex: two failed attempts, one continuation, below the caller's own span."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from llama_index.core.llms import ChatMessage
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback.emulator import Emulator

A, B, C = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"
TEXT = "One two three four five six seven eight nine ten."


ASKED = [ChatMessage(role="user", content="Count")]


def _stream(llm: OpenRouterFallback) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_chat(ASKED))


def _astream(llm: OpenRouterFallback) -> str:
    async def read() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(ASKED)])

    return asyncio.run(read())


SURFACES: dict[str, Callable[[OpenRouterFallback], Any]] = {
    "chat": lambda llm: llm.chat(ASKED).message.content,
    "achat": lambda llm: asyncio.run(llm.achat(ASKED)).message.content,
    "stream": _stream,
    "astream": _astream,
}


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator() as running:
        yield running


@pytest.mark.parametrize("surface", SURFACES)
def test_two_failed_attempts_and_one_continuation(surface: str, emulator: Emulator) -> None:
    emulator.clear()
    for model in (A, B, C):
        emulator.reply(text=TEXT, model=model)
    emulator.fault("overloaded", model=A)
    emulator.fault("cut", model=B, after_tokens=4)
    exported, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    llm = OpenRouterFallback([A, B, C], api_base=emulator.base_url, api_key=emulator.api_key)
    llm.client.instrument(tracer_provider=provider)

    with provider.get_tracer("app").start_as_current_span("agent") as agent:
        assert SURFACES[surface](llm) == TEXT

    spans = sorted(exported.get_finished_spans(), key=lambda span: span.start_time or 0)
    assert [span.name for span in spans] == ["agent", f"chat {A}", *(f"attempt {model}" for model in (A, B, C))]
    _, call, *attempts = spans
    assert call.parent is not None
    assert call.parent.span_id == agent.get_span_context().span_id
    assert {span.parent.span_id for span in attempts if span.parent is not None} == {call.context.span_id}
    found = dict(call.attributes or {})
    streamed = surface.endswith("stream")
    assert found["gen_ai.response.model"] == C
    assert found["openrouter_fallback.attempts"] == 3
    assert ("openrouter_fallback.seams" in found) is streamed
    assert ("gen_ai.request.stream" in found) is streamed
    kinds = [(span.attributes or {}).get("error.type") for span in attempts]
    assert kinds == ["overloaded", "bad_answer", None]
    llm.client.close()
    provider.shutdown()
