"""A probe that another model overtakes: it costs its caller nothing, shows what it has to show, and leaves nothing."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from openrouter_fallback import Completion, FallbackClient
from openrouter_fallback.call.background import Background
from openrouter_fallback.composition import parts_of
from openrouter_fallback.decision import starting
from openrouter_fallback.events import AttemptEnded, CallEnded, Event
from openrouter_fallback.health.memory import MemoryHealth

from ..support.clients import free_slots_by_loop
from ..support.rawserver import Gate, RawServer, Reply, sse

CHAIN = ["a/first", "a/second"]
LISTING = {"data": [{"id": key, "pricing": {"prompt": "0.00001", "completion": "0.00001"}} for key in CHAIN]}


def chunk(text: str | None, finish: str | None = None) -> dict[str, object]:
    return {"choices": [{"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}]}


def answer(text: str, *before: Gate, after: Gate | None = None) -> Reply:
    rest = [] if after is None else [after]
    return Reply([*before, sse(chunk(text)), *rest, sse(chunk(None, "stop"), "[DONE]")])


def refuses(before: Gate, status: int) -> Reply:
    return Reply([before, b'{"error": {"code": 503, "message": "no"}}'], status, "application/json")


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as one:
        one.listing = Reply([json.dumps(LISTING).encode()], content_type="application/json")
        yield one


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other model is called beside a probe at once."""
    monkeypatch.setattr(starting, "PROBE_ALONE_SECONDS", 1e-6)


class Half:
    """A client whose first model is half-open."""

    def __init__(self, server: RawServer, *replies: Reply, **settings: Any) -> None:
        server.answer(*replies)
        self.server = server
        self.client = FallbackClient(CHAIN, base_url=server.base_url, api_key="sk-or-v1-test", settings=settings)
        self.events: list[Event] = []
        self.client.subscribe(self.events.append)
        self.ago(11.0)

    def ago(self, seconds: float) -> None:
        """Three calls have failed at the first model so long ago."""
        runtime = parts_of(self.client).runtime
        accounts = parts_of(self.client).keys.accounts()
        target = parts_of(self.client).router.candidate(CHAIN[0], accounts).target
        at = runtime.clock() - seconds
        for _ in range(3):
            permit = runtime.health.begin(target, at)
            assert permit is not None
            runtime.health.model_failed(permit, at)

    @property
    def health(self) -> MemoryHealth:
        return parts_of(self.client).runtime.health

    def state(self) -> str:
        return str(self.health.state(CHAIN[0], parts_of(self.client).runtime.clock()))

    def probe_holds(self) -> bool:
        return self.health.breakers[CHAIN[0]].probe_holds(parts_of(self.client).runtime.clock())

    def at_rest(self) -> None:
        """Nothing is left behind: no task, place, attempt or money."""
        runtime = parts_of(self.client).runtime
        assert not len(runtime.background)
        assert set(free_slots_by_loop(self.client)) <= {512}
        assert not any(breaker.in_flight for breaker in self.health.breakers.values())
        assert self.client.spend().held == 0


async def until(done: Callable[[], bool]) -> None:
    while not done():  # noqa: ASYNC110 - the requests come in another thread
        await asyncio.sleep(0)


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_first_token_of_an_overtaken_probe_brings_its_model_home(server: RawServer, streamed: bool) -> None:
    gate, never = server.gate(), server.gate()
    half = Half(server, answer("first", gate, after=never), answer("second"))
    if streamed:
        stream = half.client.astream("hello")
        assert "".join([piece.text async for piece in stream]) == "second"
        completion = stream.completion
    else:
        completion = await half.client.achat("hello")
    assert (completion.text, half.state()) == ("second", "half_open")
    kinds = [(one.model, one.kind, one.probe) for one in completion.attempts]
    assert kinds == [(CHAIN[0], "cancelled", True), (CHAIN[1], None, False)]
    assert completion.attempts[0].message.endswith("runs on")
    assert [type(event) for event in half.events[-2:]] == [AttemptEnded, CallEnded], "the call has ended for everybody"
    gate.open()
    await until(lambda: not len(parts_of(half.client).runtime.background))
    assert half.state() == "closed"
    half.at_rest()
    await half.client.aclose()
    never.open()


@pytest.mark.parametrize(("status", "state"), [(503, "open"), (429, "half_open")])
async def test_an_overtaken_probe_that_fails(server: RawServer, status: int, state: str) -> None:
    gate = server.gate()
    half = Half(server, refuses(gate, status), answer("second"))
    assert (await half.client.achat("hello")).text == "second"
    gate.open()
    await until(lambda: not len(parts_of(half.client).runtime.background))
    assert (half.state(), half.probe_holds()) == (state, False)
    half.at_rest()
    await half.client.aclose()


async def test_the_client_ends_what_runs_on(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, answer("first", gate), answer("second"))
    assert (await half.client.achat("hello")).text == "second"
    assert half.probe_holds()
    await half.client.aclose()
    assert (half.state(), half.probe_holds()) == ("half_open", False), "the next call may probe"
    half.at_rest()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    gate.open()


def test_a_loop_that_ends_ends_what_runs_on(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, answer("first", gate), answer("second"))

    async def main(expected: str = "second") -> None:
        assert (await half.client.achat("hello")).text == expected

    asyncio.run(main())
    assert not half.probe_holds()
    half.at_rest()
    gate.open()
    server.answer(answer("first"))
    asyncio.run(main("first"))
    assert half.state() == "closed", "after a probe that was cut short the next one goes alone"
    assert len(server.requests) == 1


def test_a_loop_that_is_closed_without_its_tasks(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, answer("first", gate), answer("second"))
    loop = asyncio.new_event_loop()
    assert loop.run_until_complete(half.client.achat("hello")).text == "second"
    loop.run_until_complete(parts_of(half.client).transport.aclose())
    loop.close()
    asyncio.run(parts_of(half.client).runtime.background.aclose())
    assert not half.probe_holds()
    half.at_rest()
    gate.open()
    gc.collect()


def test_synchronous_calls(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, answer("first", gate), answer("second"))
    with half.client:
        assert half.client.chat("hello").text == "second"
        assert len(parts_of(half.client).runtime.background) == 1
    assert not half.probe_holds()
    half.at_rest()
    gate.open()


async def test_what_runs_on_holds_its_place_and_its_money_and_is_booked(server: RawServer) -> None:
    gate, never = server.gate(), server.gate()
    half = Half(server, answer("first", gate, after=never), answer("second"), spend_limit_usd={"per_day": 5})
    await half.client.catalog.refresh()
    server.requests.clear()
    assert (await half.client.achat("hello", max_tokens=100)).text == "second"
    spend = half.client.spend()
    assert spend.held > 0
    assert free_slots_by_loop(half.client) == [511]
    gate.open()
    await until(lambda: not len(parts_of(half.client).runtime.background))
    after = half.client.spend()
    assert after.held == 0
    assert after.today > spend.today
    half.at_rest()
    await half.client.aclose()
    never.open()


async def test_no_money_for_both_a_probe_goes_alone(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, answer("first", gate), answer("second"), spend_limit_usd={"per_call": "0.0015"})
    await half.client.catalog.refresh()
    server.requests.clear()
    call = asyncio.ensure_future(half.client.achat("hello", max_tokens=100))
    await until(lambda: len(server.requests) == 1)
    for _ in range(50):
        await asyncio.sleep(0)
    gate.open()
    assert (await call).text == "first"
    assert len(server.requests) == 1
    half.at_rest()
    await half.client.aclose()


async def test_no_money_for_both_does_not_keep_the_other_model_out(server: RawServer) -> None:
    gate = server.gate()
    half = Half(server, refuses(gate, 503), answer("second"), spend_limit_usd={"per_call": "0.0015"})
    await half.client.catalog.refresh()
    server.requests.clear()
    call = asyncio.ensure_future(half.client.achat("hello", max_tokens=100))
    await until(lambda: len(server.requests) == 1)
    for _ in range(50):
        await asyncio.sleep(0)
    gate.open()
    assert (await call).text == "second"
    half.at_rest()
    await half.client.aclose()


class Leased(Half):
    """A client of a fleet, in which another process may hold the lease: the store's answer comes when it is told."""

    def __init__(self, server: RawServer, *replies: Reply, granted: bool = True, **settings: Any) -> None:
        super().__init__(server, *replies, **settings)
        self.asked = 0
        self.answered = asyncio.Event()
        breaker = self.health.breakers[CHAIN[0]]
        breaker.open_until = parts_of(self.client).runtime.clock() + 60.0

        async def ask() -> None:
            self.asked += 1
            await self.answered.wait()
            if granted:
                breaker.open_until = parts_of(self.client).runtime.clock()

        parts_of(self.client).runtime.lease = lambda _: ask()


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("early", [False, True], ids=["the answer first", "the lease first"])
async def test_the_call_that_asks_for_a_lease_probes(server: RawServer, *, early: bool, streamed: bool) -> None:
    second, probed = server.gate(), server.gate()
    half = Leased(server, answer("second", second), answer("first", probed))
    if streamed:
        stream = half.client.astream("hello")

        async def read() -> str:
            return "".join([piece.text async for piece in stream])

        call = asyncio.ensure_future(read())
    else:
        call = asyncio.ensure_future(_text(half.client.achat("hello")))
    await until(lambda: len(server.requests) == 1 and half.asked == 1)
    assert server.requests[0].body["model"] == CHAIN[1], "it does not wait for the lease"
    if early:
        half.answered.set()
        await until(lambda: len(server.requests) == 2)
    second.open()
    for _ in range(200):
        await asyncio.sleep(0)
    half.answered.set()
    assert await call == "second"
    await until(lambda: len(server.requests) == 2)
    probed.open()
    await until(lambda: half.state() == "closed")
    await until(lambda: not len(parts_of(half.client).runtime.background))
    half.at_rest()
    await half.client.aclose()


async def test_a_lease_that_is_refused_costs_nothing(server: RawServer) -> None:
    half = Leased(server, answer("second"), granted=False)
    half.answered.set()
    completion = await half.client.achat("hello")
    assert (completion.text, len(completion.attempts), len(server.requests)) == ("second", 1, 1)
    half.at_rest()
    await half.client.aclose()


async def test_a_request_that_must_not_run_twice_asks_for_its_lease_first(server: RawServer) -> None:
    half = Leased(server, answer("first"))
    call = asyncio.ensure_future(half.client.achat("hello", idempotent=False))
    await until(lambda: half.asked == 1)
    assert not server.requests
    half.answered.set()
    completion = await call
    assert [one.model for one in completion.attempts] == [CHAIN[0]]
    half.at_rest()
    await half.client.aclose()


async def test_a_caller_that_leaves_while_the_lease_is_asked_for(server: RawServer) -> None:
    half = Leased(server, answer("second", server.gate()))
    call = asyncio.ensure_future(half.client.achat("hello"))
    await until(lambda: len(server.requests) == 1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    half.answered.set()
    await until(lambda: not len(parts_of(half.client).runtime.background))
    half.at_rest()
    await half.client.aclose()


async def _text(answer: Awaitable[Completion]) -> str:
    return (await answer).text


async def test_background_forgets_the_tasks_of_closed_loops() -> None:
    background = Background()

    async def nothing() -> None:
        await asyncio.Event().wait()

    def elsewhere() -> None:
        loop = asyncio.new_event_loop()

        async def start() -> None:
            background.start(nothing())

        loop.run_until_complete(start())
        loop.close()

    await asyncio.to_thread(elsewhere)
    assert len(background) == 1
    await background.aclose()
    assert not len(background)
