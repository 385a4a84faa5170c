"""Connections: one for calls in a row, one each for calls at a time, none that was left in the middle or has died."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.http.socket import UNACKNOWLEDGED_SECONDS, Backend

_BODY = (
    b'{"id":"gen-1","model":"a/a","choices":[{"index":0,"finish_reason":"stop",'
    b'"message":{"role":"assistant","content":"hello"}}]}'
)
_WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n%scontent-length: %d\r\n\r\n%s"
_EVENT = b'data: {"id":"gen-1","choices":[{"index":0,"delta":{"content":"hello"},"finish_reason":null}]}\n\n'


class Counting:
    """A server that notes on which of its connections each request came; `hold` keeps answers back until released."""

    def __init__(self) -> None:
        self.port = 0
        self.requests: list[int] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.gone: list[asyncio.Event] = []
        self.closing = self.endless = False
        self.hold: asyncio.Event | None = None
        self.waiting = asyncio.Semaphore(0)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        number, gone = len(self.writers), asyncio.Event()
        self.writers.append(writer)
        self.gone.append(gone)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                self.requests.append(number)
                if self.hold is not None:
                    self.waiting.release()
                    await self.hold.wait()
                if self.endless:
                    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + _EVENT)
                else:
                    writer.write(_WHOLE % (b"connection: close\r\n" if self.closing else b"", len(_BODY), _BODY))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            gone.set()
            writer.close()


@pytest.fixture
async def server() -> AsyncIterator[Counting]:
    counting = Counting()
    listening = await asyncio.start_server(counting, "127.0.0.1", 0)
    counting.port = listening.sockets[0].getsockname()[1]
    yield counting
    listening.close()
    for writer in counting.writers:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def client(server: Counting) -> AsyncIterator[FallbackClient]:
    url = f"http://127.0.0.1:{server.port}/api/v1"
    async with FallbackClient(["a/a"], base_url=url, api_key="sk-or-v1-test") as made:
        yield made


async def test_calls_in_a_row_share_one_connection(client: FallbackClient, server: Counting) -> None:
    for _ in range(5):
        await client.achat("hello")
    assert server.requests == [0] * 5


async def test_calls_at_a_time_have_one_each_and_leave_them_to_the_next(
    client: FallbackClient, server: Counting
) -> None:
    for _ in range(2):
        server.hold = asyncio.Event()
        calls = [asyncio.create_task(client.achat("hello")) for _ in range(8)]
        for _ in calls:
            await server.waiting.acquire()
        server.hold.set()
        await asyncio.gather(*calls)
    assert sorted(server.requests) == sorted([*range(8), *range(8)])


async def test_a_stream_that_was_left_takes_its_connection_along(client: FallbackClient, server: Counting) -> None:
    server.endless = True
    async with client.astream("hello") as stream:
        await anext(stream)
    await server.gone[0].wait()
    server.endless = False
    await client.achat("hello")
    assert server.requests == [0, 1]


async def test_a_connection_that_the_server_closes_is_not_used_again(client: FallbackClient, server: Counting) -> None:
    server.closing = True
    for _ in range(2):
        answer = await client.achat("hello")
        assert len(answer.attempts) == 1
    assert server.requests == [0, 1]


async def test_a_connection_that_died_while_idle_costs_no_attempt(client: FallbackClient, server: Counting) -> None:
    await client.achat("hello")
    server.writers[0].close()
    await server.writers[0].wait_closed()
    answer = await client.achat("hello")
    assert [attempt.kind for attempt in answer.attempts] == [None]
    assert server.requests == [0, 1]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="this system has no TCP_USER_TIMEOUT")
async def test_a_connection_whose_other_side_acknowledges_nothing_is_given_up(
    client: FallbackClient, server: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Any] = []
    connect = Backend.connect_tcp

    async def keeping(*args: Any, **named: Any) -> Any:
        made.append(await connect(*args, **named))
        return made[-1]

    monkeypatch.setattr(Backend, "connect_tcp", keeping)
    await client.achat("hello")
    given = made[0].get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
    assert given == UNACKNOWLEDGED_SECONDS * 1000


async def test_closing_the_client_closes_its_connections_and_it_can_go_on(
    client: FallbackClient, server: Counting
) -> None:
    await client.achat("hello")
    await client.aclose()
    await server.gone[0].wait()
    await client.achat("hello")
    assert server.requests == [0, 1]


async def test_idle_connections_beyond_a_number_are_closed(
    client: FallbackClient, server: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrouter_fallback.http.pool.MAX_IDLE_CONNECTIONS", 0)
    for number in range(2):
        await client.achat("hello")
        await server.gone[number].wait()
    assert server.requests == [0, 1]


async def test_a_connection_that_was_idle_too_long_is_closed(
    client: FallbackClient, server: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.achat("hello")
    monkeypatch.setattr("openrouter_fallback.http.pool.IDLE_SECONDS", -1.0)
    await client.achat("hello")
    await server.gone[0].wait()
