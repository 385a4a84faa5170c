"""Streams in the caller's hands, and deadlines, over real HTTP. What happened is read off the server's log."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from openrouter_fallback import (
    AsyncStream,
    Completion,
    DeadlineExceededError,
    FailureKind,
    FallbackClient,
    Stream,
    StreamInterruptedError,
)
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator, Request
from openrouter_fallback.events import AttemptEnded, CallEnded, Event
from openrouter_fallback.http.protocol import Exchange
from openrouter_fallback.sealed import Headers

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_TEXT
from ..support import leaving
from ..support.bodies import delta
from ..support.clients import HASTY_FIRST, SHORT, client_for, free_slots, kinds
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

K = FailureKind
LONGER = 0.6


def gone(log: list[Request]) -> bool:
    return bool(log) and all(request.ended == "gone" for request in log)


def block(seconds: float) -> None:
    """Keep this thread busy, and with it the loop that runs in it."""
    threading.Event().wait(seconds)


# Deadlines


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("fault", "details"), [("silence", {}), ("no_response", {}), ("stall", {"after_tokens": 0})])
def test_a_silent_primary_is_answered_by_the_next(
    emulator: Emulator, client: FallbackClient, surface: str, fault: str, details: dict[str, Any]
) -> None:
    emulator.fault(fault, model=FIRST, **details)
    outcome = ask(client, surface, models=HASTY_FIRST)
    silent, healthy = outcome.answer.attempts
    assert (silent.model, silent.kind, silent.first_token) == (FIRST, K.TIMED_OUT, None)
    assert silent.message == "first token deadline of 0.3 s passed"
    assert silent.seconds >= SHORT
    assert (healthy.model, healthy.kind) == (SECOND, None)
    assert outcome.answer.text == SECOND_TEXT
    first, second = emulator.wait_for(lambda log: log[0].ended == "gone")
    assert (first.model, first.tokens_sent, second.model, second.ended) == (FIRST, 0, SECOND, "finished")


@pytest.mark.parametrize("surface", SURFACES)
def test_a_call_with_little_time_left_still_reaches_its_second_model(emulator: Emulator, surface: str) -> None:
    emulator.fault("silence", model=FIRST)
    client = client_for(emulator.base_url, first_token_timeout_seconds=None, total_timeout_seconds=LONGER)
    outcome = ask(client, surface)
    assert kinds(outcome.answer) == [K.TIMED_OUT, None]
    told = outcome.answer.attempts[0].message
    assert told.startswith("first token overdue after"), "nothing ends it but the answer of the other"
    assert told.endswith("another model was faster")
    assert outcome.answer.attempts[0].seconds >= LONGER / 2
    client.close()


@pytest.mark.parametrize("surface", SURFACES)
def test_the_deadline_of_the_call(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("silence")
    outcome = ask(client, surface, total_timeout=SHORT)
    assert type(outcome.raised) is DeadlineExceededError
    assert isinstance(outcome.raised, TimeoutError)
    once_more = [] if "stream" in surface else [K.TIMED_OUT]  # at half of the time, beside the silent two
    assert [attempt.kind for attempt in outcome.raised.attempts] == [K.TIMED_OUT, K.TIMED_OUT, *once_more]
    emulator.wait_for(gone)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_stall_after_reasoning_starts_over(emulator: Emulator, surface: str) -> None:
    emulator.reply(reasoning="Thinking it over, step by step, for a long while.", model=FIRST)
    emulator.fault("stall", model=FIRST, after_tokens=3)
    client = client_for(emulator.base_url, stall_timeout_seconds=SHORT)
    outcome = ask(client, surface)
    assert (outcome.answer.text, kinds(outcome.answer)) == (SECOND_TEXT, [K.TIMED_OUT, None])
    assert outcome.answer.attempts[0].message.startswith("stall deadline")
    client.close()


async def test_a_blocked_loop_does_not_make_a_healthy_model_time_out(
    emulator: Emulator, client: FallbackClient
) -> None:
    emulator.pace(latency=SHORT / 3)
    task = asyncio.create_task(client.achat("Hello", models=HASTY_FIRST))
    await emulator.await_for(lambda log: log)
    emulator.wait_for(lambda log: log[0].ended == "finished")
    block(LONGER)
    completion = await task
    assert (completion.model, kinds(completion)) == (FIRST, [None])


async def test_a_blocked_loop_does_not_make_a_stream_stall(emulator: Emulator) -> None:
    emulator.pace(token_interval=0.02)
    client = client_for(emulator.base_url, stall_timeout_seconds=SHORT)

    async def read() -> Completion:
        async with client.astream("Hello") as stream:
            async for _ in stream:
                pass
            return stream.completion

    task = asyncio.create_task(read())
    await emulator.await_for(lambda log: log and log[0].tokens_sent > 2)
    emulator.wait_for(lambda log: log[0].ended == "finished")
    block(LONGER)
    completion = await task
    assert (completion.text, kinds(completion)) == (FIRST_TEXT, [None])
    await client.aclose()


async def test_a_slow_async_consumer_uses_up_no_time_of_the_call(emulator: Emulator) -> None:
    emulator.reply(tokens=300, model=FIRST)
    client = client_for(emulator.base_url, stall_timeout_seconds=SHORT)
    async with client.astream("Hello", total_timeout=LONGER) as stream:
        pieces = [await anext(stream)]
        # The loop goes on: its timers could fire.
        await asyncio.to_thread(block, 2 * LONGER)
        pieces += [piece async for piece in stream]
    assert "".join(piece.text for piece in pieces) == stream.completion.text
    assert (stream.completion.model, kinds(stream.completion)) == (FIRST, [None])
    await client.aclose()


async def test_a_slow_async_consumer_is_no_stall_of_the_model(raw: RawServer) -> None:
    """The next token comes when the consumer has gone on: it is not among the bytes that came meanwhile."""
    gate = raw.gate()
    raw.answer(Reply([sse(delta(content="One")), gate, sse(delta(content=" two."), delta(finish="stop"))]))
    async with client_for(raw.base_url, stall_timeout_seconds=SHORT) as client:
        async with client.astream("Hello") as stream:
            first = await anext(stream)
            await asyncio.to_thread(block, 2 * LONGER)
            asyncio.get_running_loop().call_later(SHORT / 6, gate.open)
            rest = [piece async for piece in stream]
        assert "".join(piece.text for piece in [first, *rest]) == "One two."
        assert kinds(stream.completion) == [None]


def test_a_slow_consumer_does_not_time_out(emulator: Emulator) -> None:
    emulator.reply(tokens=2000, model=FIRST)
    client = client_for(emulator.base_url, stall_timeout_seconds=SHORT)
    with client.stream("Hello") as stream:
        pieces = [next(stream)]
        block(LONGER)
        pieces += stream
    assert "".join(piece.text for piece in pieces) == stream.completion.text
    assert (stream.completion.model, kinds(stream.completion)) == (FIRST, [None])
    client.close()


async def test_a_callers_own_timeout_is_the_callers(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("silence")
    with pytest.raises(TimeoutError) as raised:
        async with asyncio.timeout(SHORT / 3):
            await client.achat("Hello")
    assert not isinstance(raised.value, DeadlineExceededError)
    await emulator.await_for(gone)
    assert emulator.count() == 1


# Leaving


@pytest.mark.parametrize("leave", leaving.WAYS)
def test_leaving_a_stream_closes_the_upstream(
    emulator: Emulator, client: FallbackClient, leave: Callable[[Stream], None]
) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    leave(client.stream("Hello"))
    gc.collect()
    (request,) = emulator.wait_for(gone)
    assert request.tokens_sent < 5000


def test_a_stream_in_a_cycle_closes_the_upstream_when_collected(emulator: Emulator, client: FallbackClient) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    cycle: list[Any] = [client.stream("Hello")]
    next(cycle[0])
    cycle.append(cycle)
    del cycle
    gc.collect()
    emulator.wait_for(gone)


async def _read_in_a_cycle(client: FallbackClient, *, by_accept: bool) -> None:
    cycle: list[Any] = []
    cycle.append(client.astream("Hello", accept=(lambda _: bool(cycle)) if by_accept else None))
    cycle.append(cycle)
    await anext(cycle[0])


@pytest.mark.parametrize("by_accept", [False, True], ids=["in a list", "by accept="])
async def test_an_async_stream_in_a_cycle_gives_everything_back(emulator: Emulator, by_accept: bool) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    async with client_for(emulator.base_url) as client:
        free = free_slots(client)
        await _read_in_a_cycle(client, by_accept=by_accept)
        gc.collect()
        await emulator.await_for(gone)
        assert free_slots(client) == free
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reader_that_is_dropped_while_it_waits_gives_everything_back(emulator: Emulator) -> None:
    client = client_for(emulator.base_url)
    parts_of(client).runtime.transport = _Silent()
    free = free_slots(client)
    ends: list[Event] = []
    client.subscribe(ends.append)
    reading = client.astream("Hello").__anext__()
    reading.send(None)  # it waits for its answer
    assert free_slots(client) == free - 1
    reading.close()
    await asyncio.sleep(0)
    assert free_slots(client) == free
    assert [type(event) for event in ends[-2:]] == [AttemptEnded, CallEnded]


class _Silent:
    """A transport whose requests are never answered."""

    async def open(self, url: str, headers: Headers, body: bytes | None, **options: object) -> Exchange:
        await asyncio.get_running_loop().create_future()
        raise AssertionError("nobody answers")

    async def aclose(self) -> None:
        pass


async def test_a_stream_has_one_reader(emulator: Emulator, client: FallbackClient) -> None:
    stream = client.astream("Hello")
    first = asyncio.ensure_future(_texts(stream))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task is reading this stream"):
        await anext(stream)
    assert "".join(await first) == stream.completion.text == FIRST_TEXT


async def _texts(stream: AsyncStream) -> list[str]:
    return [piece.text async for piece in stream]


def test_a_synchronous_stream_has_one_reader(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("silence", model=FIRST)
    stream = client.stream("Hello", models=HASTY_FIRST)
    reader = threading.Thread(target=lambda: texts.extend(piece.text for piece in stream))
    texts: list[str] = []
    reader.start()
    emulator.wait_for(lambda log: log)
    with pytest.raises(RuntimeError, match="another thread is reading this stream"):
        next(stream)
    reader.join()
    assert "".join(texts) == stream.completion.text == SECOND_TEXT


async def _abreak(stream: AsyncStream) -> None:
    async for _ in stream:
        break


async def _aclose(stream: AsyncStream) -> None:
    await anext(stream)
    await stream.aclose()
    await stream.aclose()
    assert [piece async for piece in stream] == []


async def _awith(stream: AsyncStream) -> None:
    async with stream:
        await anext(stream)


async def _acancel(stream: AsyncStream) -> None:
    began = asyncio.Event()

    async def read() -> None:
        async for _ in stream:
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [piece async for piece in stream] == []


@pytest.mark.parametrize("leave", [_abreak, _aclose, _awith, _acancel])
async def test_leaving_an_async_stream_closes_the_upstream(
    emulator: Emulator, client: FallbackClient, leave: Callable[[AsyncStream], Awaitable[None]]
) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    await leave(client.astream("Hello"))
    gc.collect()
    (request,) = await emulator.await_for(gone)
    assert request.tokens_sent < 5000


@pytest.mark.parametrize("fault", [None, "silence", "no_response"])
async def test_cancelling_a_call_closes_the_upstream(
    emulator: Emulator, client: FallbackClient, fault: str | None
) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    if fault:
        emulator.fault(fault)
    task = asyncio.create_task(client.achat("Hello"))
    await emulator.await_for(lambda log: log)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await emulator.await_for(gone)
    assert emulator.count() == 1
    assert client.health()[FIRST].failures == 0


# What a stream delivers


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("streamed", [True, False])
def test_a_delivered_stream_is_always_streamed_from_the_model(emulator: Emulator, streamed: bool, surface: str) -> None:
    with client_for(emulator.base_url, stream_upstream=streamed) as client:
        outcome = ask(client, surface)
    assert outcome.answer.text == FIRST_TEXT
    assert emulator.log[0].body.get("stream", False) is (streamed or surface in STREAMED)


@pytest.mark.parametrize("surface", STREAMED)
def test_tool_calls_come_complete_and_in_one_piece(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    calls = [{"name": name, "arguments": {"query": "a whole question " * 5}} for name in ("look_up", "divide")]
    emulator.reply(text="I look it up.", tool_calls=calls, model=FIRST)
    *before, last = ask(client, surface).pieces
    assert "".join(piece.text for piece in before) == "I look it up."
    for piece in before:
        assert piece.raw is not None
        assert "tool_calls" not in piece.raw["choices"][0]["delta"]
    assert [(call.name, call.arguments) for call in last.tool_calls] == [(c["name"], c["arguments"]) for c in calls]
    assert last.raw is not None
    (choice,) = last.raw["choices"]
    assert [call["function"]["name"] for call in choice["delta"]["tool_calls"]] == ["look_up", "divide"]
    assert choice["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("surface", STREAMED)
def test_delivered_reasoning_commits_nobody(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("reasoning_only", model=FIRST, reasoning="Thoughts that lead nowhere.")
    emulator.reply(reasoning="Better thoughts.", text=SECOND_TEXT, model=SECOND)
    outcome = ask(client, surface)
    (at,) = [n for n, piece in enumerate(outcome.pieces) if piece.restarted]
    void, kept = outcome.pieces[:at], outcome.pieces[at:]
    assert "".join(piece.reasoning for piece in void) == "Thoughts that lead nowhere."
    assert not any(piece.text for piece in void)
    assert "".join(piece.reasoning for piece in kept) == "Better thoughts." == outcome.answer.reasoning
    assert "".join(piece.text for piece in kept) == SECOND_TEXT == outcome.answer.text


@pytest.mark.parametrize("surface", STREAMED)
def test_every_choice_of_n_is_streamed(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.clear_replies()
    outcome = ask(client, surface, n=3)
    streamed = Counter[int]()
    texts = dict.fromkeys(range(3), "")
    for piece in outcome.pieces:
        texts[piece.index] += piece.text
        streamed[piece.index] += 1
    assert texts == {c["index"]: c["message"]["content"] for c in outcome.answer.raw["choices"]}
    assert len(set(texts.values())) == 3
    assert min(streamed.values()) > 1


def test_no_completion_before_the_end(emulator: Emulator, client: FallbackClient) -> None:
    with client.stream("Hello") as stream:
        next(stream)
        with pytest.raises(RuntimeError, match="not been read to its end"):
            _ = stream.completion
        for _ in stream:
            pass
    assert stream.completion.text == FIRST_TEXT
    assert list(stream) == []


@pytest.mark.parametrize("surface", SURFACES)
def test_one_event_of_twenty_mebibytes(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("oversized", size=20 * 2**20)
    outcome = ask(client, surface)
    assert len(outcome.answer.text) == 20 * 2**20
    assert kinds(outcome.answer) == [None]


TEXT = [delta(content=""), delta(content="Half of "), delta(content="an ans")]
ENDS: dict[str, tuple[Reply, K]] = {
    "an error": (Reply([sse({**delta(finish="error"), "error": {"code": 502, "message": "down"}})]), K.UNAVAILABLE),
    "an error that brings text": (
        Reply([sse({**delta(content="wer", finish="error"), "error": {"code": 503, "message": "down"}})]),
        K.OVERLOADED,
    ),
    "a limit": (Reply([sse({"error": {"code": 429, "message": "slow down"}})]), K.RATE_LIMITED),
    "the key": (Reply([sse({"error": {"code": 401, "message": "User not found."}})]), K.AUTH),
    "the request": (Reply([sse({"error": {"code": 400, "message": "Bad Request"}})]), K.INVALID_REQUEST),
    "no finish": (Reply([]), K.BAD_ANSWER),
    "only [DONE]": (Reply([sse("[DONE]")]), K.BAD_ANSWER),
    "an event that is not JSON": (Reply([sse('{"choices": [')]), K.BAD_ANSWER),
    "an event of another shape": (Reply([sse(delta(content="wer", tool_calls=[5]))]), K.BAD_ANSWER),
    "half a tool call": (
        Reply(
            [
                sse(
                    delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{"}}]),
                    delta(finish="tool_calls"),
                )
            ]
        ),
        K.BAD_ANSWER,
    ),
    "an event too large": (Reply([b"data: " + b"x" * (33 * 2**20)]), K.BAD_ANSWER),
    "a closed connection": (Reply([], ending="cut"), K.BAD_ANSWER),
    "a reset": (Reply([], ending="reset"), K.BAD_ANSWER),
}


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@dataclass
class Broken:
    """A reply that stops after some text until the test has read it."""

    reply: Reply
    go_on: Callable[[], None]


def broken(raw: RawServer, end: Reply) -> Broken:
    gate = raw.gate()
    return Broken(Reply([sse(*TEXT), gate, *end.pieces], ending=end.ending), gate.open)


@pytest.mark.parametrize("name", ENDS)
def test_a_stream_that_breaks_after_text(raw: RawServer, name: str) -> None:
    end, kind = ENDS[name]
    reply = broken(raw, end)
    raw.answer(reply.reply)
    client = client_for(raw.base_url, mid_stream="raise")
    stream = client.stream("Hello")
    delivered = next(stream).text
    reply.go_on()
    error = None
    try:
        for piece in stream:
            delivered += piece.text
            assert piece.tool_calls == ()
    except StreamInterruptedError as raised:
        error = raised
    assert error is not None
    assert error.partial == delivered
    assert delivered.startswith("Half of an ans")
    assert [attempt.kind for attempt in error.attempts] == [kind]
    assert len(raw.requests) == 1
    assert list(stream) == []
    client.close()


@pytest.mark.parametrize("name", ENDS)
async def test_an_async_stream_that_breaks_after_text(raw: RawServer, name: str) -> None:
    end, kind = ENDS[name]
    reply = broken(raw, end)
    raw.answer(reply.reply)
    async with client_for(raw.base_url) as client:
        stream = client.astream("Hello", mid_stream="raise")
        delivered = (await anext(stream)).text
        reply.go_on()
        error = None
        try:
            async for piece in stream:
                delivered += piece.text
        except StreamInterruptedError as raised:
            error = raised
        assert error is not None
        assert error.partial == delivered
        assert [attempt.kind for attempt in error.attempts] == [kind]
        assert len(raw.requests) == 1
