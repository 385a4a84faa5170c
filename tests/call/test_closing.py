"""Closing from elsewhere: by another thread, another task, the end of an app; and what no client lets out."""

from __future__ import annotations

import asyncio
import gc
import itertools
import json
import pickle
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any, Literal

import pytest

from openrouter_fallback import (
    ConfigError,
    FallbackClient,
    InvalidRequestError,
    Piece,
    StreamInterruptedError,
)
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.http.protocol import Exchange
from openrouter_fallback.http.transport import HttpTransport, revealed
from openrouter_fallback.sealed import Headers

from ..support.bodies import delta
from ..support.clients import free_slots
from ..support.rawserver import Gate, RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

PATIENCE = 10.0
HELLO = sse(delta(content="hello"))
REST = sse(delta(content=" there"), delta(finish="stop"), "[DONE]")


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as running:
        yield running


@pytest.fixture
def client(server: RawServer) -> Iterator[FallbackClient]:
    with client_for(server) as made:
        yield made


@pytest.fixture
def gate(server: RawServer) -> Gate:
    """The server says hello, and the rest when this is opened."""
    made = server.gate()
    server.answer(Reply([HELLO, made, REST]))
    return made


def client_for(server: RawServer, **options: Any) -> FallbackClient:
    return FallbackClient(["a/a"], base_url=server.base_url, api_key="sk-or-v1-test", **options)


def begin(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def ends(*threads: threading.Thread) -> bool:
    for thread in threads:
        thread.join(PATIENCE)
    return not any(thread.is_alive() for thread in threads)


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


# A stream that is closed from elsewhere


class Turns:
    """A bridge's queue. Once `first` is set, that one of the two is the first to see that the reading has ended."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[Any] = SimpleQueue()
        self.first: Literal["reader", "closer"] | None = None
        self.reading = threading.Event()
        self._seen = threading.Event()

    def put(self, item: object) -> None:
        self._queue.put(item)

    def get(self, timeout: float | None = None) -> object:
        who = "reader" if timeout is None else "closer"
        if self.first is not None:
            if who == "reader":
                self.reading.set()
            if who != self.first:
                self._seen.wait(PATIENCE)
        item = self._queue.get(timeout=timeout)
        if isinstance(item, asyncio.Task):
            self._seen.set()
        return item


@pytest.mark.parametrize("first", ["reader", "closer"])
def test_a_stream_closed_by_another_thread_ends(
    client: FallbackClient, gate: Gate, monkeypatch: pytest.MonkeyPatch, first: Literal["reader", "closer"]
) -> None:
    monkeypatch.setattr("openrouter_fallback.call.portal.CLOSING_SECONDS", 3600.0)
    turns = Turns()
    with monkeypatch.context() as patch:
        patch.setattr("openrouter_fallback.call.portal.SimpleQueue", lambda: turns)
        stream = client.stream("hello")
    assert next(stream).text == "hello"
    turns.first = first
    rest: list[list[Piece]] = []
    reader = begin(lambda: rest.append(list(stream)))
    assert turns.reading.wait(PATIENCE)
    assert ends(begin(stream.close), reader)
    assert rest == [[]]
    gate.open()


async def test_a_stream_closed_by_another_task_ends(client: FallbackClient, gate: Gate) -> None:
    stream = client.astream("hello")
    waiting = asyncio.Event()

    async def read() -> list[str]:
        texts = []
        async for piece in stream:
            texts.append(piece.text)
            waiting.set()
        return texts

    reader = asyncio.create_task(read())
    await waiting.wait()
    await stream.aclose()
    assert await asyncio.wait_for(reader, PATIENCE) == ["hello"]
    gate.open()


async def test_a_stream_closed_while_its_call_waits_for_a_slot_sends_nothing_and_holds_none(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer(Reply([HELLO, REST]))
    async with client_for(server) as client:
        slots = parts_of(client).runtime.connection_slots()
        free = free_slots(client)
        for _ in range(free):
            await slots.acquire()
        waiting, acquire = asyncio.Event(), slots.acquire

        async def waits() -> Literal[True]:
            waiting.set()
            return await acquire()

        monkeypatch.setattr(slots, "acquire", waits)
        stream = client.astream("hello")
        reader = asyncio.create_task(anext(stream, None))
        await asyncio.wait_for(waiting.wait(), PATIENCE)
        await stream.aclose()
        for _ in range(free):
            slots.release()
        assert await asyncio.wait_for(reader, PATIENCE) is None
        assert (server.requests, free_slots(client)) == ([], free)


async def test_a_stream_closed_while_its_call_waits_for_a_retry_holds_no_slot(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answer(Reply([b"{}"], status=503, content_type="application/json"))
    waiting, waited, sleep = asyncio.Event(), asyncio.Event(), asyncio.sleep

    async def held(seconds: float) -> None:
        if seconds and server.requests:
            waiting.set()
            await waited.wait()
        else:
            await sleep(seconds)

    async with client_for(server) as client:
        free = free_slots(client)
        monkeypatch.setattr("openrouter_fallback.call.runner.asyncio.sleep", held)
        stream = client.astream("hello")
        reader = asyncio.create_task(anext(stream, None))
        await asyncio.wait_for(waiting.wait(), PATIENCE)
        await stream.aclose()
        waited.set()
        assert await asyncio.wait_for(reader, PATIENCE) is None
        assert (len(server.requests), free_slots(client)) == (1, free)


async def test_an_app_that_cancels_all_its_tasks_does_not_make_a_stream_look_whole(
    client: FallbackClient, gate: Gate
) -> None:
    stream = client.astream("hello")
    assert (await anext(stream)).text == "hello"
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    with pytest.raises(StreamInterruptedError, match="before its end"):
        await anext(stream)
    gate.open()


def test_a_reader_that_catches_up_while_the_read_ahead_pauses_is_not_forgotten(
    client: FallbackClient, server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, drained = threading.Event(), threading.Event()

    class Asyncio:
        """The consumer empties the queue just before the read-ahead has its event."""

        def __getattr__(self, name: str) -> Any:
            return getattr(asyncio, name)

        def Event(self) -> asyncio.Event:
            full.set()
            drained.wait(PATIENCE)
            return asyncio.Event()

    monkeypatch.setattr("openrouter_fallback.http.chunks.Chunks.joined", lambda _, data: data)  # a batch for each event
    monkeypatch.setattr("openrouter_fallback.streams.READ_AHEAD", 8)
    monkeypatch.setattr("openrouter_fallback.streams.asyncio", Asyncio())
    server.answer(Reply([*[HELLO] * 20, REST]))
    stream = client.stream("hello")
    pieces: list[Piece] = []

    def read() -> None:
        pieces.append(next(stream))
        full.wait(PATIENCE)
        pieces.extend(itertools.islice(stream, 5))  # three are left to read
        drained.set()
        pieces.extend(stream)

    assert ends(begin(read))
    assert text(pieces) == "hello" * 20 + " there"
    assert full.is_set()


# A client that is closed, or pickled


def test_closing_the_client_leaves_a_stream_alone(client: FallbackClient, gate: Gate) -> None:
    stream = client.stream("hello")
    pieces = [next(stream)]
    client.close()
    gate.open()
    assert text([*pieces, *stream]) == "hello there"


async def test_closing_the_client_leaves_an_async_stream_alone(client: FallbackClient, gate: Gate) -> None:
    stream = client.astream("hello")
    pieces = [await anext(stream)]
    async with client.with_options():
        pass
    gate.open()
    assert text([*pieces, *[piece async for piece in stream]]) == "hello there"


def test_loops_that_are_closed_without_ado_leave_no_sockets(server: RawServer) -> None:
    """As LlamaIndex's `asyncio_run` closes its own: without ending their generators."""
    server.answer(Reply([HELLO, REST]))
    client = client_for(server)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for _ in range(3):
            loop = asyncio.new_event_loop()
            assert loop.run_until_complete(client.achat("hello")).text == "hello there"
            loop.close()
        client.close()
        del client
        gc.collect()
    assert [str(one.message) for one in warned if issubclass(one.category, ResourceWarning)] == []


@pytest.mark.parametrize("turns", range(12))
def test_a_loop_that_ends_while_a_dropped_client_is_closed_leaves_no_sockets(turns: int, server: RawServer) -> None:
    """`asyncio.run` cancels the task that closes the connections."""
    server.answer(Reply([HELLO, REST]))

    async def main() -> None:
        client = client_for(server)
        await asyncio.gather(*(client.achat("hello") for _ in range(4)))
        del client
        gc.collect()
        for _ in range(turns):
            await asyncio.sleep(0)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        asyncio.run(main())
        gc.collect()
    assert [str(one.message) for one in warned if issubclass(one.category, ResourceWarning)] == []


class SweptElsewhere:
    """A closed loop that another thread sweeps away, and adds two of its own, between two steps of ours."""

    def __init__(self, loops: dict[Any, Any]) -> None:
        self._loops = loops

    def is_closed(self) -> bool:
        self._loops.pop(self, None)
        self._loops.update({object(): None, object(): None})
        return True


async def test_two_threads_may_sweep_closed_loops_at_a_time(client: FallbackClient, server: RawServer) -> None:
    server.answer(Reply([HELLO, REST]))
    for loops in (parts_of(client).runtime.slots, parts_of(client).transport.pools):
        known: dict[Any, Any] = loops
        known.update(dict.fromkeys([SweptElsewhere(known) for _ in range(3)]))
    assert (await client.achat("hello")).text == "hello there"
    for left in (parts_of(client).runtime.slots, parts_of(client).transport.pools):
        assert not any(isinstance(loop, SweptElsewhere) for loop in left)
        for stranger in [loop for loop in left if type(loop) is object]:
            del left[stranger]


class Closed:
    """A closed loop; other threads come in while it is asked."""

    def is_closed(self) -> bool:
        threading.Event().wait(0.0001)
        return True


def test_sixteen_threads_sweep_closed_loops_at_a_time(client: FallbackClient, server: RawServer) -> None:
    server.answer(Reply([HELLO, REST]))
    for loops in (parts_of(client).runtime.slots, parts_of(client).transport.pools):
        known: dict[Any, Any] = loops
        known.update(dict.fromkeys([Closed() for _ in range(20)]))
    together = threading.Barrier(16)
    answered: list[str] = []

    async def call() -> None:
        together.wait(PATIENCE)
        answered.append((await client.achat("hello")).text)

    assert ends(*[begin(lambda: asyncio.run(call())) for _ in range(16)])
    assert answered == ["hello there"] * 16
    for left in (parts_of(client).runtime.slots, parts_of(client).transport.pools):
        assert not any(isinstance(loop, Closed) for loop in left)


def test_a_client_cannot_be_pickled(client: FallbackClient) -> None:
    with pytest.raises(TypeError, match=r"holds keys and connections: pickle its `config`"):
        pickle.dumps(client)


# What a caller gives is checked, and not quoted

SECRET = "hunter2-very-secret"


@pytest.mark.parametrize(
    "value", [f"{SECRET}\n", f"{SECRET}\r\nx: y", f"{SECRET}é", [SECRET], SECRET.encode(), 5, None]
)
def test_a_bad_header_is_refused_without_its_value(client: FallbackClient, server: RawServer, value: Any) -> None:
    for make in (
        lambda headers: client_for(server, headers=headers),
        lambda headers: client.chat("hello", headers=headers),
        lambda headers: client.stream("hello", headers=headers),
    ):
        with pytest.raises(ConfigError, match="header 'X-Mine'") as caught:
            make({"X-Mine": value})
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_the_names_of_headers_do_not_differ_by_case(
    server: RawServer, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Mapping[str, str]] = []
    really = HttpTransport.open

    async def noted(self: HttpTransport, url: str, headers: Headers, content: bytes, **options: Any) -> Exchange:
        sent.append({name: revealed(value) for name, value in headers.items()})
        return await really(self, url, headers, content, **options)

    monkeypatch.setattr(HttpTransport, "open", noted)
    gate.open()
    given = {"user-agent": "the client's", "X-TITLE": "the client's"}
    with client_for(server, headers=given, app_title="the app's") as client:
        client.chat("hello")
        client.chat("hello", headers={"USER-agent": "the call's"})
    lines = [
        sorted((k.lower(), v) for k, v in headers.items() if k.lower() in given or k == "X-TITLE") for headers in sent
    ]
    assert lines == [
        [("user-agent", "the client's"), ("x-title", "the client's")],
        [("user-agent", "the call's"), ("x-title", "the client's")],
    ]


@pytest.mark.parametrize(
    ("name", "value"), [("model", "x/y"), ("stream", False), ("messages", [{"role": "user", "content": SECRET}])]
)
def test_what_is_not_for_the_extra_body(client: FallbackClient, name: str, value: object) -> None:
    with pytest.raises(ConfigError, match=f"extra_body may not hold {name}: ") as caught:
        client.chat("hello", extra_body={name: value})
    assert SECRET not in str(caught.value)


PROMPT = "name: Jane Miller\nborn:  1 May 1980\n\nIBAN: DE02 1203 0000\nsalary: 93,000"


@pytest.mark.parametrize("surface", SURFACES)
def test_a_prompt_of_several_lines_that_is_sent_back_is_not_shown(
    client: FallbackClient, server: RawServer, surface: str
) -> None:
    error = {"error": {"message": f"Invalid input: {PROMPT}", "code": 400}}
    server.answer(Reply([json.dumps(error).encode()], 400, "application/json"))
    raised = ask(client, surface, PROMPT).raised
    assert type(raised) is InvalidRequestError
    shown = f"{raised} {raised.attempts} {raised!r}"
    assert "Invalid input: [prompt]" in shown
    assert not [word for word in ("Jane", "1 May", "DE02", "93,000") if word in shown]


@pytest.mark.parametrize("streamed", [True, False])
def test_an_answer_that_was_turned_down_keeps_its_cost(streamed: bool) -> None:
    with (
        Emulator(strict=True) as emulator,
        FallbackClient(
            ["a/a", "b/b"],
            base_url=emulator.base_url,
            api_key=emulator.api_key,
            settings={"stream_upstream": streamed},
        ) as client,
    ):
        answer = client.chat("hello", accept=lambda completion: completion.attempts[-1].model != "a/a")
    costs = [attempt.cost or 0.0 for attempt in answer.attempts]
    assert len(costs) == 2
    assert all(costs)
    assert answer.cost == pytest.approx(sum(costs))
