"""Attempts side by side, turn by turn of the event loop: what comes in one turn, and whenever one leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator

import pytest

from openrouter_fallback import AsyncStream, FallbackClient
from openrouter_fallback.composition import parts_of
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, Event

from ..support.clients import free_slots, undiced
from ..support.rawserver import Gate, RawServer, Reply, sse

CHAIN = ["a/first", "a/second", "a/third"]
TURNS = 24
"""Turns of the loop that an event takes until nothing more happens."""


def chunk(text: str | None, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}]}


def answer(text: str, *before: Gate) -> Reply:
    return Reply([*before, sse(chunk(text), chunk(None, "stop"), "[DONE]")])


def dies(*before: Gate) -> Reply:
    return Reply(before, ending="cut")


def refuses(*before: Gate) -> Reply:
    return Reply([*before, b'{"error": {"code": 503, "message": "no"}}'], 503, "application/json")


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as one:
        yield one


class Watched:
    """A client that asks the second model at once, and what it says of its calls."""

    def __init__(self, server: RawServer, models: int, replies: Callable[[Gate], tuple[Reply, ...]]) -> None:
        self.server = server
        self.gate = server.gate()
        server.answer(*replies(self.gate))
        self.client = FallbackClient(
            CHAIN[:models], base_url=server.base_url, api_key="sk-or-v1-test", settings={"hedge": {"after": 1e-6}}
        )
        undiced(self.client)
        parts_of(self.client).runtime.health.hedges.share = None
        self.events: list[Event] = []
        self.client.subscribe(self.events.append)
        self.free = free_slots(self.client)

    async def both_asked(self) -> None:
        """Go on until the server has both requests, and its answers' heads have been read."""
        while len(self.server.requests) < 2:  # noqa: ASYNC110 - the requests come in another thread
            await asyncio.sleep(0)
        await turns(TURNS)

    def open(self) -> None:
        """Open the gate; all that the server sends then has arrived before the loop goes on."""
        self.gate.open()
        asyncio.run_coroutine_threadsafe(turns(TURNS), self.server.loop).result()

    async def check(self) -> None:
        """Every attempt has ended once, the call after all of them; nothing is left behind."""
        await turns(TURNS)
        started = [event.number for event in self.events if isinstance(event, AttemptStarted)]
        ended = sorted(event.number for event in self.events if isinstance(event, AttemptEnded))
        assert ended == started == list(range(1, len(started) + 1))
        assert not self.events or isinstance(self.events[-1], CallEnded)
        assert free_slots(self.client) == self.free
        assert asyncio.all_tasks() == {asyncio.current_task()}
        pools = parts_of(self.client).transport.pools.get(asyncio.get_running_loop())
        await self.client.aclose()
        left = [one for one in pools.transports if not one.is_closing()] if pools is not None else []
        assert left == [], "no connection is left open"


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_both_fail_in_one_turn(server: RawServer) -> None:
    watched = Watched(server, 3, lambda gate: (refuses(gate), dies(gate), answer("third")))
    call = asyncio.ensure_future(watched.client.achat("hello"))
    await watched.both_asked()
    watched.open()
    assert (await call).text == "third"
    assert len((await call).attempts) == 3
    await watched.check()


async def test_whoever_fails_gives_its_place_back(server: RawServer) -> None:
    end = server.gate()
    begun = Reply([sse(chunk("three")), end, sse(chunk(None, "stop"), "[DONE]")])
    watched = Watched(server, 2, lambda gate: (dies(gate), dies(), begun))
    stream = watched.client.astream("hello")
    piece = asyncio.ensure_future(anext(stream))
    await watched.both_asked()
    watched.open()
    assert (await piece).text == "three"
    assert watched.free - free_slots(watched.client) == 1
    end.open()
    assert [piece.text async for piece in stream] == []
    await watched.check()


async def test_both_have_their_first_token_in_one_turn(server: RawServer) -> None:
    watched = Watched(server, 2, lambda gate: (answer("one", gate), answer("one", gate)))
    call = asyncio.ensure_future(watched.client.achat("hello"))
    await watched.both_asked()
    watched.open()
    assert (await call).text == "one"
    await watched.check()


@pytest.mark.parametrize("turn", range(12))
async def test_a_first_token_comes_while_a_failed_attempt_is_closed(server: RawServer, turn: int) -> None:
    second = server.gate()
    watched = Watched(server, 2, lambda gate: (answer("first", gate), dies(second)))
    call = asyncio.ensure_future(watched.client.achat("hello"))
    await watched.both_asked()
    second.open()
    asyncio.run_coroutine_threadsafe(turns(TURNS), server.loop).result()
    await turns(turn)
    watched.open()
    assert (await call).text == "first"
    await watched.check()


async def leave_by_cancelling(task: asyncio.Task[None], stream: AsyncStream) -> None:
    task.cancel()


async def leave_by_closing(task: asyncio.Task[None], stream: AsyncStream) -> None:
    await stream.aclose()


async def leave_both_ways(task: asyncio.Task[None], stream: AsyncStream) -> None:
    task.cancel()
    await stream.aclose()


ANSWERS: dict[str, Callable[[Gate], tuple[Reply, ...]]] = {
    "two tokens": lambda gate: (answer("one", gate), answer("two", gate)),
    "a token and a failure": lambda gate: (answer("one", gate), dies(gate)),
    "a failure and a token": lambda gate: (refuses(gate), answer("two", gate)),
    "two failures": lambda gate: (refuses(gate), dies(gate), answer("three")),
    "a wrong request": lambda gate: (answer("one", gate), Reply([gate], 400, "application/json")),
}


@pytest.mark.parametrize("leave", [leave_by_cancelling, leave_by_closing, leave_both_ways])
@pytest.mark.parametrize("name", ANSWERS)
async def test_leaving_in_any_turn(
    server: RawServer, name: str, leave: Callable[[asyncio.Task[None], AsyncStream], Awaitable[None]]
) -> None:
    for turn in range(TURNS):
        watched = Watched(server, 3, ANSWERS[name])
        stream = watched.client.astream("hello")

        async def read(stream: AsyncStream = stream) -> None:
            async for _ in stream:
                pass

        task = asyncio.ensure_future(read())
        await watched.both_asked()
        watched.open()
        await turns(turn)
        await leave(task, stream)
        await asyncio.wait([task])
        assert task.cancelled() or task.exception() is None or name == "a wrong request"
        await watched.check()


@pytest.mark.parametrize("leave", [leave_by_cancelling, leave_by_closing, leave_both_ways])
async def test_leaving_while_it_connects(
    server: RawServer, leave: Callable[[asyncio.Task[None], AsyncStream], Awaitable[None]]
) -> None:
    for turn in range(1, 2 * TURNS):
        watched = Watched(server, 3, lambda gate: (dies(gate),))
        stream = watched.client.astream("hello")

        async def read(stream: AsyncStream = stream) -> None:
            async for _ in stream:
                pass

        task = asyncio.ensure_future(read())
        await turns(turn)
        await leave(task, stream)
        await asyncio.wait([task])
        await watched.check()
        watched.open()
