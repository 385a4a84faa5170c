"""What a cut attempt has cost, as OpenRouter tells it afterwards: the estimate is corrected, no call waits for that."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future
from decimal import Decimal
from typing import Any

import pytest

from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.call.bills import LOOK_AFTER_SECONDS, MOST_LOOKS, Bills
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.endpoints.api import generation_cost
from openrouter_fallback.endpoints.destinations import Destination
from openrouter_fallback.errors import CatalogError
from openrouter_fallback.http.transport import HttpTransport
from openrouter_fallback.spending.ledger import Booking, Ledger

from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

DEAR, CHEAP = "anthropic/claude-sonnet-4.5", "openai/gpt-5-mini"
PROMPT = "How much is the fish?"
MICRO = Decimal("0.000001")


class Client:
    """A client under a limit whose look-ups begin when they are told to."""

    def __init__(self, base_url: str, api_key: str, models: list[Any], **settings: Any) -> None:
        limit = {"spend_limit_usd": {"per_day": 5}, "mid_stream": "raise", "max_retries_per_model": 1}
        self.client = FallbackClient(models, base_url=base_url, api_key=api_key, settings=limit | settings)
        self.client.refresh_catalog()
        bills = parts_of(self.client).runtime.bills
        assert bills is not None
        self.bills = bills
        self.naps: list[float] = []
        self._go: Future[None] = Future()
        self.bills.sleep = self._sleep

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        await asyncio.shield(asyncio.wrap_future(self._go))

    def look(self) -> None:
        """Let all look-ups come to their end."""
        pending = list(self.bills.pending)
        self._go.set_result(None)
        for looks in pending:
            looks.result(10)


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    for model in (DEAR, CHEAP):
        served.reply(tokens=20, model=model)
    return served


@pytest.fixture
def new(emulator: Emulator) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(*models: Any, **settings: Any) -> Client:
        made.append(Client(emulator.base_url, emulator.api_key, list(models), **settings))
        return made[-1]

    yield make
    for one in made:
        one.client.close()


def finished(emulator: Emulator) -> None:
    emulator.wait_for(lambda log: all(request.finished_at for request in log))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("fault", "details"),
    [("cut", {"after_tokens": 10}), ("stall", {"after_tokens": 3}), ("silence", {})],
    ids=["cut", "stall", "silence"],
)
def test_the_ledger_agrees_with_the_bill_of_attempts_that_were_cut(
    fault: str, details: dict[str, Any], surface: str, emulator: Emulator, new: Callable[..., Client]
) -> None:
    one, before = new(DEAR), emulator.spent
    client = one.client
    emulator.fault(fault, model=DEAR, **details)
    raised = ask(client, surface, PROMPT, max_tokens=1000, timeout=0.2, stall_timeout=0.1).raised
    assert isinstance(raised, FallbackError)
    estimate = client.spend()
    assert estimate.today == estimate.estimated > 0
    finished(emulator)
    one.look()
    spend, billed = client.spend(), emulator.spent - before
    assert abs(spend.today - billed) < MICRO
    assert spend.today < estimate.today
    assert spend.estimated == spend.held == 0
    assert one.naps == [LOOK_AFTER_SECONDS[0]]


@pytest.mark.parametrize("surface", STREAMED)
def test_a_continued_answer_is_corrected_but_for_its_own_cost(
    surface: str, emulator: Emulator, new: Callable[..., Client]
) -> None:
    one, before = new(DEAR, CHEAP, mid_stream="continue"), emulator.spent
    emulator.fault("cut", model=DEAR, after_tokens=10)
    answer = ask(one.client, surface, PROMPT, max_tokens=100).answer
    assert answer.seams
    cost = answer.cost
    finished(emulator)
    one.look()
    assert abs(one.client.spend().today - (emulator.spent - before)) < MICRO
    assert answer.cost == cost
    assert answer.estimated


async def test_a_stream_that_is_left_is_paid_as_far_as_it_was_billed(
    emulator: Emulator, new: Callable[..., Client]
) -> None:
    one, before = await asyncio.to_thread(new, DEAR), emulator.spent
    emulator.reply(tokens=1000, model=DEAR)
    emulator.pace(token_interval=0.01)
    async with one.client.astream(PROMPT, max_tokens=2000) as stream:
        await anext(stream)
    emulator.pace(token_interval=0.0)
    await asyncio.to_thread(finished, emulator)
    await asyncio.to_thread(one.look)
    assert abs(one.client.spend().today - (emulator.spent - before)) < MICRO


def test_without_a_limit_nothing_is_asked(emulator: Emulator) -> None:
    with FallbackClient([DEAR], base_url=emulator.base_url, api_key=emulator.api_key) as client:
        assert parts_of(client).runtime.bills is None


def test_what_tells_nothing_of_the_generation_leaves_the_estimate() -> None:
    listed = {"data": [{"id": "raw/model", "name": "m", "pricing": {"prompt": "0.001", "completion": "0.00001"}}]}
    with RawServer() as raw:
        raw.listing = Reply([json.dumps(listed).encode()], 200, "application/json")
        raw.answer(Reply([sse({"choices": [{"index": 0, "delta": {"content": "x"}}]})]))
        one = Client(raw.base_url, "sk-or-x", ["raw/model"])
        with one.client as client:
            with pytest.raises(FallbackError):
                client.chat(PROMPT, max_tokens=10)
            estimate = client.spend()
            one.look()
            assert client.spend() == estimate
        asked = [request.line for request in raw.requests if "generation" in request.line]
    assert asked == ["GET /api/v1/generation?id=gen-from-the-header"] * len(LOOK_AFTER_SECONDS)
    assert estimate.estimated > 0
    assert one.naps == list(LOOK_AFTER_SECONDS)


BILL = {"id": "gen-1", "total_cost": 0.5, "is_byok": False, "upstream_inference_cost": 0.25}


@pytest.mark.parametrize(
    ("said", "usd"),
    [
        ({"data": BILL}, "0.5"),
        ({"data": BILL | {"total_cost": 0}}, "0"),
        ({"data": BILL | {"is_byok": True}}, "0.75"),
        ({"data": BILL | {"id": "gen-2"}}, None),
        ({"data": BILL | {"total_cost": -1}}, None),
        ({"data": BILL | {"total_cost": "0.5"}}, None),
        ({"data": BILL | {"total_cost": 10**30}}, None),
        ({"data": BILL | {"total_cost": None}}, None),
        ({"data": [BILL]}, None),
        ([], None),
        (b"{", None),
        (b'{"data": {"id": "gen-1", "total_cost": NaN}}', None),
    ],
    ids=str,
)
async def test_what_a_generation_says_of_its_cost(said: Any, usd: str | None) -> None:
    with RawServer() as raw:
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        raw.listing = Reply([body], 200, "application/json")
        transport = HttpTransport()
        found = await generation_cost(transport, Destination(f"{raw.base_url}/generation?id=gen-1", {}))
        await transport.aclose()
    assert found == (None if usd is None else Decimal(usd))


def test_a_generation_is_asked_for_with_the_key_of_its_request() -> None:
    wire = Destination("http://h/api/v1/chat/completions", {"Authorization": "k", "Content-Type": "x", "accept": "y"})
    there = wire.generation("gen-1")
    assert there.url == "http://h/api/v1/generation?id=gen-1"
    assert there.headers == {"Authorization": "k", "Accept": "application/json"}


# The look-ups by themselves

WIRE = Destination("http://h/chat/completions", {})


class Desk:
    """Bills without a network: look-ups are kept until `run`, and answer what `said` holds."""

    def __init__(self, *said: Decimal | Exception | None) -> None:
        self.said = list(said)
        self.asked: list[str] = []
        self.naps: list[float] = []
        self.work: list[tuple[Coroutine[Any, Any, None], Future[None]]] = []
        self.bills: Bills | None = Bills(self._fetch, self._spawn, self._sleep)

    async def _fetch(self, where: Destination) -> Decimal | None:
        self.asked.append(where.url)
        said = self.said.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def _spawn(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        self.work.append((work, Future()))
        return self.work[-1][1]

    async def _sleep(self, seconds: float) -> None:
        self.naps.append(seconds)

    def look_up(self, booking: Booking, id: str | None = "gen-1") -> None:
        assert self.bills is not None
        self.bills.look_up(WIRE, id, booking)

    async def run(self) -> None:
        for work, ended in self.work:
            if ended.cancelled():
                work.close()
            else:
                await work
                ended.set_result(None)
        self.work.clear()


class Day:
    def __init__(self) -> None:
        self.number = 7

    def __call__(self) -> int:
        return self.number


@pytest.fixture
def day() -> Day:
    return Day()


@pytest.fixture
def booked(day: Day) -> tuple[Ledger, Booking]:
    """Two dollars in the books, of which one is the estimate of a cut attempt."""
    ledger = Ledger(per_day=Decimal(5), day=day)
    call_budget = ledger.call_budget()
    call_budget.settle(1, Decimal(1))
    return ledger, call_budget.settle(2, Decimal(1), estimated=True)


LOST, GONE = CatalogError("no answer"), None


@pytest.mark.parametrize(
    ("said", "today", "asked"),
    [
        ((Decimal("0.25"),), "1.25", 1),
        ((Decimal(3),), "4", 1),
        ((Decimal(0),), "1", 1),
        ((LOST, GONE, Decimal("0.5")), "1.5", 3),
        ((LOST, GONE, LOST), "2", 3),
    ],
    ids=["less", "more", "nothing", "the third time", "never"],
)
async def test_an_estimate_stays_until_it_is_known_better(
    said: tuple[Any, ...], today: str, asked: int, booked: tuple[Ledger, Booking]
) -> None:
    ledger, booking = booked
    desk = Desk(*said)
    desk.look_up(booking)
    await desk.run()
    spend = ledger.spend()
    known = Decimal(today) != 2
    assert (spend.today, spend.estimated) == (Decimal(today), Decimal(0 if known else 1))
    assert desk.asked == ["http://h/generation?id=gen-1"] * asked
    assert desk.naps == list(LOOK_AFTER_SECONDS[:asked])


@pytest.mark.parametrize(
    ("id", "asked"),
    [("gen-1-AB_c", 1), ("chatcmpl-1", 0), ("gen-../key", 0), ("gen-\u00e9", 0), ("gen-", 0), (None, 0)],
)
def test_only_generations_of_openrouters_are_asked_for(
    id: str | None, asked: int, booked: tuple[Ledger, Booking]
) -> None:
    desk = Desk()
    desk.look_up(booked[1], id)
    assert len(desk.work) == asked
    for work, _ in desk.work:
        work.close()


async def test_look_ups_are_bounded_and_end_with_their_client(booked: tuple[Ledger, Booking]) -> None:
    ledger, booking = booked
    desk = Desk(*[Decimal(1)] * 2 * MOST_LOOKS)
    for _ in range(MOST_LOOKS + 5):
        desk.look_up(booking)
    assert len(desk.work) == MOST_LOOKS
    assert desk.bills is not None
    desk.bills.close()
    await desk.run()
    assert not desk.asked
    desk.look_up(booking)
    assert len(desk.work) == 1, "a closed client can still be used"
    desk.bills = None
    await desk.run()
    assert not desk.asked, "a client that is gone asks nothing"
    assert ledger.spend().today == 2


async def test_what_was_booked_yesterday_or_by_a_parent_process_stays(booked: tuple[Ledger, Booking], day: Day) -> None:
    ledger, booking = booked
    day.number += 1
    booking.correct(Decimal(0))
    assert ledger.spend().today == 0
    ledger.call_budget().settle(1, Decimal(1))
    another = ledger.call_budget().settle(2, Decimal(1), estimated=True)
    ledger.after_fork()
    another.correct(Decimal(0))
    assert ledger.spend().today == ledger.spend().estimated == 0


def test_closing_a_client_ends_its_look_ups(emulator: Emulator, new: Callable[..., Client]) -> None:
    one = new(DEAR)
    emulator.fault("cut", model=DEAR, after_tokens=3)
    with pytest.raises(FallbackError):
        one.client.chat(PROMPT, max_tokens=100)
    [looks] = one.bills.pending
    one.client.close()
    with pytest.raises(CancelledError):
        looks.result(10)


def test_a_process_ends_in_silence_with_look_ups_under_way(emulator: Emulator) -> None:
    script = """
import sys
from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.composition import parts_of
base, model = sys.argv[1:]
client = FallbackClient([model], base_url=base, api_key="sk-or-v1-emulator", settings={
    "spend_limit_usd": {"per_day": 5}, "mid_stream": "raise", "max_retries_per_model": 1})
client.refresh_catalog()
try:
    client.chat("Hello", max_tokens=100)
except FallbackError:
    print(len(parts_of(client).runtime.bills.pending))
"""
    emulator.fault("cut", model=DEAR, after_tokens=3)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, emulator.base_url, DEAR],
        capture_output=True,
        text=True,
        timeout=sum(LOOK_AFTER_SECONDS) - 1,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("1\n", "", 0)
