"""What observers see: LlamaIndex's own events and spans, and one event and one child span for each attempt."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

import pytest
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager, CBEventType, LlamaDebugHandler, TokenCountingHandler
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span import SimpleSpan
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index_instrumentation import get_dispatcher

from llamaindex_openrouter_fallback import (
    LLMAttemptEndEvent,
    LLMAttemptStartEvent,
    LLMFailoverEvent,
    OpenRouterFallback,
)
from openrouter_fallback import AllModelsFailedError
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND

ASKED = [ChatMessage("Say something")]
OWN = (LLMAttemptStartEvent, LLMAttemptEndEvent, LLMFailoverEvent)


class Events(BaseEventHandler):
    """Keeps what it hears."""

    heard: list[Any] = []  # noqa: RUF012 - a pydantic field

    def handle(self, event: BaseEvent, **kwargs: Any) -> None:
        self.heard.append(event)


class Observed:
    """Events and spans since the beginning of a test."""

    def __init__(self, events: Events, spans: SimpleSpanHandler) -> None:
        self._events, self._spans = events, spans

    @property
    def names(self) -> list[str]:
        return [event.class_name() for event in self._events.heard]

    def events(self, *kinds: type[BaseEvent]) -> list[Any]:
        return [event for event in self._events.heard if isinstance(event, kinds)]

    @property
    def attempts(self) -> list[SimpleSpan]:
        ended = self._spans.completed_spans + self._spans.dropped_spans
        spans = [span for span in ended if span.id_.startswith("OpenRouterFallback.attempt-")]
        return sorted(spans, key=lambda span: span.start_time)

    @property
    def answered(self) -> list[bool]:
        return [span in self._spans.completed_spans for span in self.attempts]

    @property
    def open(self) -> list[str]:
        return list(self._spans.open_spans)

    def parents(self) -> set[str]:
        """The methods whose spans the attempts' are children of."""
        return {(span.parent_id or "").partition("-")[0] for span in self.attempts}


@pytest.fixture
def observed() -> Iterator[Observed]:
    root = get_dispatcher()
    before = list(root.event_handlers), list(root.span_handlers)
    events, spans = Events(), SimpleSpanHandler()
    root.add_event_handler(events)
    root.add_span_handler(spans)
    yield Observed(events, spans)
    root.event_handlers, root.span_handlers = before


async def alast(stream: AsyncGenerator[Any, None]) -> Any:
    return [response async for response in stream][-1]


async def _astream_chat(llm: OpenRouterFallback) -> Any:
    return await alast(await llm.astream_chat(ASKED))


async def _astream_complete(llm: OpenRouterFallback) -> Any:
    return await alast(await llm.astream_complete("Say something"))


CALLS: dict[str, Callable[[OpenRouterFallback], Any]] = {
    "chat": lambda llm: llm.chat(ASKED),
    "complete": lambda llm: llm.complete("Say something"),
    "stream_chat": lambda llm: list(llm.stream_chat(ASKED)),
    "stream_complete": lambda llm: list(llm.stream_complete("Say something")),
    "achat": lambda llm: asyncio.run(llm.achat(ASKED)),
    "acomplete": lambda llm: asyncio.run(llm.acomplete("Say something")),
    "astream_chat": lambda llm: asyncio.run(_astream_chat(llm)),
    "astream_complete": lambda llm: asyncio.run(_astream_complete(llm)),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_and_its_attempts(llm: OpenRouterFallback, emulator: Emulator, observed: Observed, name: str) -> None:
    emulator.fault("overloaded", model=FIRST)

    CALLS[name](llm)

    kind = "Completion" if "complete" in name else "Chat"
    theirs = [one for one in observed.names if one.startswith(f"LLM{kind}") and "InProgress" not in one]
    assert theirs == [f"LLM{kind}StartEvent", f"LLM{kind}EndEvent"]
    assert not [one for one in observed.names if one.startswith("LLM" + {"Chat": "Comp", "Completion": "Chat"}[kind])]

    begun, failed, over, again, answered = observed.events(*OWN)
    assert (begun.model, begun.number) == (failed.model, failed.number) == (FIRST, 1)
    assert (failed.kind, failed.status) == ("overloaded", 529)
    assert (over.failed, over.next, over.kind) == (FIRST, SECOND, "overloaded")
    assert (again.model, answered.model, answered.kind, answered.number) == (SECOND, SECOND, None, 2)
    assert answered.cost > 0

    assert [span.tags["openrouter_fallback.model"] for span in observed.attempts] == [FIRST, SECOND]
    assert observed.answered == [False, True]
    assert observed.parents() == {f"OpenRouterFallback.{name}"}
    assert [begun.span_id, again.span_id] == [span.id_ for span in observed.attempts]
    assert over.span_id == observed.attempts[0].parent_id
    assert observed.open == []


def test_events_hold_neither_prompt_nor_key(llm: OpenRouterFallback, emulator: Emulator, observed: Observed) -> None:
    emulator.fault("overloaded", model=FIRST)
    llm.chat([ChatMessage("A secret prompt")])

    own = "".join(repr(event.model_dump()) for event in observed.events(*OWN)) + repr(observed.attempts)
    assert "secret" not in own
    everything = "".join(repr(event) for event in observed.events(BaseEvent))
    assert emulator.api_key not in own + everything


def test_an_attempt_in_mid_stream(llm: OpenRouterFallback, emulator: Emulator, observed: Observed) -> None:
    """The span of the call ended when the stream was returned; its later attempts still belong to it."""
    emulator.pace(token_interval=0.01)
    emulator.fault("cut", model=FIRST, after_tokens=4)

    list(llm.stream_chat(ASKED))

    assert [span.tags["openrouter_fallback.model"] for span in observed.attempts] == [FIRST, SECOND]
    assert observed.parents() == {"OpenRouterFallback.stream_chat"}
    assert len({span.parent_id for span in observed.attempts}) == 1


def test_all_fail(llm: OpenRouterFallback, emulator: Emulator, observed: Observed) -> None:
    emulator.fault("not_found")

    with pytest.raises(AllModelsFailedError):
        llm.chat(ASKED)

    assert observed.answered == [False, False]
    assert [span.metadata for span in observed.attempts] == [
        {"error": f"{model}: not_found 404 No endpoints found for {model}."} for model in (FIRST, SECOND)
    ]
    assert observed.open == []
    assert "SpanDropEvent" in observed.names


async def test_who_leaves_ends_the_span(llm: OpenRouterFallback, emulator: Emulator, observed: Observed) -> None:
    emulator.reply(tokens=300)
    emulator.pace(token_interval=0.02)

    stream = await llm.astream_chat(ASKED)
    await anext(stream)
    await stream.aclose()

    (end,) = observed.events(LLMAttemptEndEvent)
    assert end.kind == "cancelled"
    assert observed.answered == [False]
    assert observed.open == []


async def test_calls_at_a_time_do_not_meet(llm: OpenRouterFallback, emulator: Emulator, observed: Observed) -> None:
    emulator.fault("overloaded", model=FIRST, probability=0.5)

    await asyncio.gather(*(llm.achat(ASKED) for _ in range(20)))

    answered = [span for span, good in zip(observed.attempts, observed.answered, strict=True) if good]
    assert len({span.parent_id for span in answered}) == 20
    assert observed.open == []


def test_handlers_may_come_and_go(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """Also after the first call; a copy's calls are seen as well, and nobody is told twice."""
    llm.chat(ASKED)
    root = get_dispatcher()
    events = Events()
    before = list(root.event_handlers)
    root.add_event_handler(events)
    llm.chat(ASKED)
    llm.with_options(models=[SECOND]).chat(ASKED)
    root.event_handlers = before
    llm.chat(ASKED)

    ended = [event.model for event in events.heard if isinstance(event, LLMAttemptEndEvent)]
    assert ended == [FIRST, SECOND]


def test_a_handler_that_fails_harms_no_call(llm: OpenRouterFallback, emulator: Emulator) -> None:
    class Failing(BaseEventHandler):
        def handle(self, event: BaseEvent, **kwargs: Any) -> None:
            raise ZeroDivisionError

    root = get_dispatcher()
    before = list(root.event_handlers)
    root.add_event_handler(Failing())
    try:
        assert llm.chat(ASKED).message.content
    finally:
        root.event_handlers = before


# Callbacks


@pytest.mark.parametrize("name", CALLS)
def test_tokens_are_counted_once(make: Any, emulator: Emulator, name: str) -> None:
    counter = TokenCountingHandler(tokenizer=lambda text: list(text))
    llm = make(callback_manager=CallbackManager([counter]))
    emulator.fault("overloaded", model=FIRST)
    emulator.reply(text="One two three.", usage={"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18})

    CALLS[name](llm)

    assert (counter.prompt_llm_token_count, counter.completion_llm_token_count) == (11, 7)
    assert len(counter.llm_token_counts) == 1


@pytest.mark.parametrize("name", CALLS)
def test_callbacks_see_one_call(make: Any, emulator: Emulator, name: str) -> None:
    debug = LlamaDebugHandler(print_trace_on_end=False)
    llm = make(callback_manager=CallbackManager([debug]))
    emulator.fault("overloaded", model=FIRST)

    CALLS[name](llm)

    (pair,) = debug.get_event_pairs(CBEventType.LLM)
    assert emulator.api_key not in repr(pair[0].payload)


# OpenTelemetry


def test_opentelemetry(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """Attempts are children of the call's span there too, and the caller's own current span stays what it was."""
    otel: Any = pytest.importorskip(
        "llama_index.observability.otel.base", reason="llama-index-observability-otel is not installed"
    )
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    root = get_dispatcher()
    before = list(root.event_handlers), list(root.span_handlers)
    handler = otel.OTelCompatibleSpanHandler(tracer=provider.get_tracer("tests"), tracer_provider=provider)
    root.add_span_handler(handler)
    root.add_event_handler(otel.OTelCompatibleEventHandler(span_handler=handler))
    emulator.fault("overloaded", model=FIRST, requests=1)
    emulator.pace(token_interval=0.005)
    try:
        llm.chat(ASKED)
        stream = llm.stream_chat(ASKED)
        next(stream)
        inside = trace.get_current_span()
        list(stream)
        after = trace.get_current_span()
    finally:
        root.event_handlers, root.span_handlers = before

    spans: Any = exporter.get_finished_spans()
    calls = {span.context.span_id: span.name for span in spans if span.name != "OpenRouterFallback.attempt"}
    attempts = [span for span in spans if span.name == "OpenRouterFallback.attempt"]
    assert [span.attributes["openrouter_fallback.model"] for span in attempts] == [FIRST, SECOND, FIRST]
    assert [calls[span.parent.span_id] for span in attempts] == [
        "OpenRouterFallback.chat",
        "OpenRouterFallback.chat",
        "OpenRouterFallback.stream_chat",
    ]
    assert [span.status.is_ok for span in attempts] == [False, True, True]
    assert [[event.name for event in span.events][:2] for span in attempts][1] == [
        "LLMAttemptStartEvent",
        "LLMAttemptEndEvent",
    ]
    assert not inside.get_span_context().is_valid
    assert not after.get_span_context().is_valid
