"""Spend limits over real HTTP: what is sent, what is withheld, and that the ledger agrees with the emulator's bill."""

from __future__ import annotations

import asyncio
import json
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from openrouter_fallback import FallbackClient, FallbackError, ModelConfig, SpendLimitError
from openrouter_fallback.call.summary import was_cut
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import CallEnded, CallStarted, Event
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.results import Attempt, Completion

from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

DEAR, CHEAP, FREE = "anthropic/claude-sonnet-4.5", "openai/gpt-5-mini", "openai/gpt-oss-20b:free"
UNKNOWN = "nobody/knows"
PROMPT = "How much is the fish?"
MICRO = Decimal("0.000001")


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    for model in (DEAR, CHEAP, FREE):
        served.reply(tokens=20, model=model)
    return served


New = Callable[..., FallbackClient]


@pytest.fixture
def new(emulator: Emulator) -> Iterator[New]:
    made: list[FallbackClient] = []

    def make(models: list[Any], *, prices: bool = True, **settings: Any) -> FallbackClient:
        client = FallbackClient(models, base_url=emulator.base_url, api_key=emulator.api_key, settings=settings)
        if prices:
            asyncio.run(client.catalog.refresh())
        made.append(client)
        return client

    yield make
    for client in made:
        assert client.spend().held == 0
        client.close()


@pytest.mark.parametrize("surface", SURFACES)
def test_the_ledger_agrees_with_the_bill_to_the_micro_dollar(surface: str, emulator: Emulator, new: New) -> None:
    client = new([DEAR, CHEAP], spend_limit_usd={"per_day": 5})
    before = emulator.spent
    emulator.fault("overloaded", model=DEAR, requests=(2, 4))
    for number in range(8):
        ask(client, surface, f"{PROMPT} {number}", max_tokens=50 + number)
    spend = client.spend()
    assert abs(spend.today - (emulator.spent - before)) < MICRO
    assert spend.today > 0
    assert (spend.estimated, spend.per_day, spend.per_call) == (Decimal(0), Decimal(5), None)


@pytest.mark.parametrize("surface", SURFACES)
def test_a_model_that_may_cost_too_much_is_passed_over(surface: str, emulator: Emulator, new: New) -> None:
    client = new([DEAR, CHEAP], spend_limit_usd={"per_call": "0.01"})
    answer = ask(client, surface, PROMPT, max_tokens=1000).answer
    assert answer.attempts[0].model == CHEAP
    assert emulator.count(DEAR) == 0
    assert dict(emulator.log[0].body)["max_tokens"] == 1000


@pytest.mark.parametrize("surface", SURFACES)
def test_nothing_is_sent_where_all_would_cost_too_much(surface: str, emulator: Emulator, new: New) -> None:
    client = new([DEAR, CHEAP], spend_limit_usd={"per_call": 0.001, "per_day": 2})
    raised = ask(client, surface, PROMPT, max_tokens=1000).raised
    assert isinstance(raised, SpendLimitError)
    assert emulator.count() == 0
    assert raised.attempts == ()
    assert [one.model for one in raised.skipped] == [DEAR, CHEAP]
    assert raised.skipped[0].reason.endswith("0.001 USD are left to spend")
    told = str(raised)
    assert "the spend limit is 0.001 USD per call and 2 USD per day" in told
    assert "Next step" in told
    assert PROMPT not in told
    assert raised.retry_after is not None
    assert 0 < raised.retry_after <= 86_400
    assert str(pickle.loads(pickle.dumps(raised))) == told


def test_without_max_tokens_the_affordable_maximum_is_sent(emulator: Emulator, new: New) -> None:
    client = new([DEAR], spend_limit_usd={"per_call": "0.003"})
    client.chat(PROMPT)
    sent = emulator.log[0].body["max_tokens"]
    assert 150 < sent <= 200, "0.003 USD buy 200 tokens at 0.000015, less the prompt"
    client.chat(PROMPT, max_completion_tokens=90)
    assert "max_tokens" not in emulator.log[1].body, "the caller's own bound stands"
    assert emulator.log[1].body["max_completion_tokens"] == 90


def test_a_bound_in_the_models_own_parameters_counts(emulator: Emulator, new: New) -> None:
    client = new([ModelConfig(DEAR, params={"max_tokens": 100})], spend_limit_usd={"per_call": "0.002"})
    client.chat(PROMPT)
    assert emulator.log[0].body["max_tokens"] == 100


@pytest.mark.parametrize(
    ("own", "call", "sent"),
    [
        ({"max_completion_tokens": 100_000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 100_000}, {"max_completion_tokens": 10}, {"max_completion_tokens": 10}),
        ({"max_tokens": 100_000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_completion_tokens": 10}, {}, {"max_completion_tokens": 10}),
        ({"max_completion_tokens": 10}, {"max_tokens": None}, {"max_completion_tokens": 10}),
    ],
    ids=str,
)
@pytest.mark.parametrize("surface", SURFACES)
def test_what_is_sent_as_the_token_limit_is_what_is_paid_for(
    surface: str, emulator: Emulator, new: New, own: dict[str, Any], call: dict[str, Any], sent: dict[str, Any]
) -> None:
    client = new([ModelConfig(DEAR, params=own)], spend_limit_usd={"per_call": "0.002"})
    assert ask(client, surface, PROMPT, **call).answer.attempts[0].model == DEAR
    body = emulator.log[0].body
    assert {name: body[name] for name in ("max_tokens", "max_completion_tokens") if name in body} == sent


@pytest.mark.parametrize("call", [{"max_tokens": 100_000}, {"max_tokens": 10, "max_completion_tokens": 100_000}])
def test_of_two_token_limits_the_higher_one_is_paid_for(emulator: Emulator, new: New, call: dict[str, Any]) -> None:
    client = new([ModelConfig(DEAR, params={"max_completion_tokens": 10})], spend_limit_usd={"per_call": "0.002"})
    assert isinstance(ask(client, "chat", PROMPT, **call).raised, SpendLimitError)
    assert emulator.count() == 0


def test_where_money_is_enough_no_bound_is_sent(emulator: Emulator, new: New) -> None:
    client = new([DEAR], spend_limit_usd={"per_call": 2, "per_day": 10})
    client.chat(PROMPT)
    assert "max_tokens" not in emulator.log[0].body


def test_free_models_stay_when_the_money_is_gone(emulator: Emulator, new: New) -> None:
    client = new([DEAR, FREE], spend_limit_usd={"per_day": "0.0001"})
    assert client.chat(PROMPT).attempts[0].model == FREE
    assert client.spend().today == 0


def test_a_model_of_unknown_price_is_not_asked(emulator: Emulator, new: New) -> None:
    client = new([DEAR], spend_limit_usd={"per_day": 5}, prices=False)
    with pytest.raises(SpendLimitError, match="its price is unknown") as raised:
        client.chat(PROMPT, models=[UNKNOWN])
    assert "client.refresh_catalog()" in str(raised.value)
    assert "Set settings.catalog: always" in str(raised.value)
    assert emulator.count() == 0
    with pytest.raises(SpendLimitError) as raised:
        new([DEAR], spend_limit_usd={"per_call": "0.000001"}).chat(PROMPT, max_tokens=1000)
    assert "settings.catalog" not in str(raised.value), "the prices are known"


def test_where_a_limit_needs_prices_the_first_call_waits_for_them(emulator: Emulator, new: New) -> None:
    client = new([CHEAP], spend_limit_usd={"per_day": 5}, catalog="always", prices=False)
    assert client.chat(PROMPT).attempts[0].model == CHEAP
    assert "".join(piece.text for piece in client.stream(PROMPT))


def test_without_a_limit_everything_is_asked_and_counted(emulator: Emulator, new: New) -> None:
    client = new([UNKNOWN, CHEAP], prices=False)
    before = emulator.spent
    for _ in range(3):
        client.chat(PROMPT, models=[CHEAP])
    spend = client.spend()
    assert spend.today == emulator.spent - before > 0
    assert (spend.left, spend.per_day, spend.per_call) == (None, None, None)


@pytest.mark.parametrize("surface", STREAMED)
def test_a_cut_attempt_is_estimated_and_marked(surface: str, emulator: Emulator, new: New) -> None:
    client = new([DEAR, CHEAP])
    before = emulator.spent
    emulator.fault("cut", model=DEAR, after_tokens=10)
    answer = ask(client, surface, PROMPT, max_tokens=100).answer
    assert answer.seams
    spend, billed = client.spend(), emulator.spent - before
    assert 0 < spend.estimated < spend.today
    assert abs(spend.today - billed) < billed / 4, "for ten tokens, counted by pieces"
    assert answer.cost == pytest.approx(float(spend.today))
    assert answer.estimated
    limited = new([DEAR, CHEAP], spend_limit_usd={"per_day": 5})
    answer = ask(limited, surface, PROMPT, max_tokens=100).answer
    assert answer.cost == pytest.approx(float(spend.today))
    assert limited.spend().today >= spend.today, "and what may have been generated beside it"


async def test_a_stream_that_is_left_gives_back_what_it_held(emulator: Emulator, new: New) -> None:
    client = await asyncio.to_thread(new, [DEAR], spend_limit_usd={"per_day": 5})
    emulator.reply(tokens=1000, model=DEAR)
    emulator.pace(token_interval=0.01)
    async with client.astream(PROMPT, max_tokens=2000) as stream:
        await anext(stream)
        assert client.spend().held > Decimal("0.03")
    emulator.pace(token_interval=0.0)
    spend = client.spend()
    assert spend.held == 0
    assert 0 < spend.estimated == spend.today < Decimal("0.01")


def test_a_stream_whose_loop_was_closed_under_it_gives_back_what_it_held(emulator: Emulator) -> None:
    """In a process of its own: such a loop leaves its sockets to the garbage collector, which complains."""
    script = """
import asyncio, gc, sys
from openrouter_fallback import FallbackClient
from openrouter_fallback.failures.kinds import FailureKind
from openrouter_fallback.results import Attempt, Completion
from openrouter_fallback.events import CallEnded
from openrouter_fallback.composition import parts_of
base, model = sys.argv[1:]
client = FallbackClient([model], base_url=base, api_key="sk-or-v1-emulator",
                        settings={"spend_limit_usd": {"per_day": 5}})
asyncio.run(client.catalog.refresh())
client.subscribe(lambda event: print(event.outcome) if isinstance(event, CallEnded) else None)
loop = asyncio.new_event_loop()
stream = client.astream("Hello", max_tokens=2000)
loop.run_until_complete(anext(stream))
loop.close()
print(client.spend().held > 0)
del stream
gc.collect()
spend = client.spend()
print(spend.held == 0, spend.estimated == spend.today > 0)
"""
    emulator.reply(tokens=2000, model=DEAR)
    done = subprocess.run(
        [sys.executable, "-c", script, emulator.base_url, DEAR], capture_output=True, text=True, timeout=30
    )
    assert (done.stdout, done.returncode) == ("True\ncancelled\nTrue True\n", 0), done.stderr


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("strange", [True, "0.5", -1, 2_000_000, {"a": 1}], ids=repr)
def test_a_cost_that_is_none_loses_no_answer_and_is_estimated(
    strange: Any, surface: str, emulator: Emulator, new: New
) -> None:
    client = new([DEAR])
    emulator.reply(tokens=20, model=DEAR, usage={"cost": strange})
    assert ask(client, surface, PROMPT).answer.text
    assert client.spend().estimated == client.spend().today > 0


OWN_KEY = {"cost": 0, "is_byok": True}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("usage", "paid"),
    [
        (OWN_KEY | {"cost_details": {"upstream_inference_cost": 0.25}}, "0.25"),
        (OWN_KEY | {"cost": 0.01, "cost_details": {"upstream_inference_cost": 0.25}}, "0.26"),
        (
            OWN_KEY
            | {
                "cost_details": {
                    "upstream_inference_cost": None,
                    "upstream_inference_prompt_cost": 0.05,
                    "upstream_inference_completions_cost": 0.2,
                }
            },
            "0.25",
        ),
        (OWN_KEY | {"cost_details": {}}, None),
    ],
    ids=["the provider's charge", "with a fee", "in two parts", "nothing told: an estimate"],
)
def test_what_an_own_provider_key_costs_counts_in_the_limit(
    usage: dict[str, Any], paid: str | None, surface: str, emulator: Emulator, new: New
) -> None:
    client = new([DEAR], spend_limit_usd={"per_day": "0.2505"})
    emulator.reply(tokens=20, model=DEAR, usage=usage)
    answer = ask(client, surface, PROMPT, max_tokens=50).answer
    spend = client.spend()
    assert answer.cost == pytest.approx(float(spend.today))
    assert answer.estimated is (paid is None)
    if paid is None:
        assert 0 < spend.today == spend.estimated
    else:
        assert spend.today == Decimal(paid)
        assert isinstance(ask(client, surface, PROMPT, max_tokens=50).raised, SpendLimitError)


def test_a_call_that_is_refused_has_a_beginning_and_an_end(emulator: Emulator, new: New) -> None:
    client = new([DEAR, CHEAP], spend_limit_usd={"per_call": "0.000001"})
    told: list[Event] = []
    client.subscribe(told.append)
    with pytest.raises(SpendLimitError):
        client.chat(PROMPT, max_tokens=1000)
    begun, ended = told
    assert begun == CallStarted(1, (DEAR, CHEAP))
    assert isinstance(ended, CallEnded)
    assert (ended.outcome, ended.error) == ("failed", "SpendLimitError")


def test_when_the_next_one_has_become_too_dear_the_call_fails_with_what_it_tried(emulator: Emulator, new: New) -> None:
    """The first attempt has cost a little, and what is left is too little for the second model."""
    client = new([CHEAP, DEAR], spend_limit_usd={"per_call": "0.00155"})
    emulator.fault("cut", model=CHEAP, after_tokens=10)
    with pytest.raises(FallbackError) as raised:
        client.chat(PROMPT, max_tokens=100)
    assert {attempt.model for attempt in raised.value.attempts} == {CHEAP}
    [skipped] = raised.value.skipped
    assert skipped.model == DEAR
    assert "USD are left to spend" in skipped.reason
    assert emulator.count(DEAR) == 0
    emulator.clear_faults()
    assert client.route().candidates == (CHEAP, DEAR), "it says nothing of the model's health"


@pytest.mark.parametrize("per_day", ["0.02", "0.05"])
async def test_64_calls_at_a_time_stay_within_the_day(per_day: str, emulator: Emulator, new: New) -> None:
    client = await asyncio.to_thread(new, [DEAR], spend_limit_usd={"per_day": per_day})
    before = emulator.spent
    limit = Decimal(per_day)
    outcomes: list[str] = []

    async def call(number: int) -> None:
        try:
            await client.achat(f"{PROMPT} {number}", max_tokens=100)
            outcomes.append("answered")
        except SpendLimitError:
            outcomes.append("too dear")
        spend = client.spend()
        assert spend.today + spend.held <= limit

    for _ in range(3):
        await asyncio.gather(*(call(number) for number in range(64)))
    assert emulator.spent - before <= limit
    assert abs(client.spend().today - (emulator.spent - before)) < MICRO
    assert set(outcomes) == {"answered", "too dear"}
    assert outcomes.count("answered") == emulator.count(DEAR)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("fault", "details", "booked"),
    [
        ("overloaded", {}, False),
        ("provider_overloaded", {"place": "sse"}, False),
        ("html", {}, False),
        ("silence", {}, True),
        ("no_response", {}, True),
        ("reset", {}, True),
        ("stall", {"after_tokens": 3}, True),
    ],
    ids=lambda value: str(value),
)
def test_what_is_booked_for_a_request_that_failed(
    fault: str, details: dict[str, Any], booked: bool, surface: str, emulator: Emulator, new: New
) -> None:
    """Whoever tells an error has stopped generating."""
    client = new([DEAR], spend_limit_usd={"per_day": 5}, max_retries_per_model=1, mid_stream="raise")
    emulator.fault(fault, model=DEAR, **details)
    raised = ask(client, surface, PROMPT, max_tokens=1000, timeout=0.1, stall_timeout=0.05).raised
    assert isinstance(raised, FallbackError)
    [attempt] = raised.attempts
    spend = client.spend()
    assert (spend.estimated > Decimal(str(attempt.cost or 0))) is booked
    assert spend.today == spend.estimated


@pytest.mark.parametrize(
    ("code", "booked"),
    [
        *((one, True) for one in ("seam_lost", "not_json", "cut_after_status", "no_finish", "oversized")),
        *((one, False) for one in (None, "overloaded", "wrong_content_type", "refused")),
    ],
)
def test_an_answer_that_is_closed_before_its_end_is_cut(code: str | None, booked: bool) -> None:
    """An answer whose seam was lost was booked by what it had sent; the server generates on, until it notices."""
    reader: Any = SimpleNamespace(status=200, usage=None, tokens=3)
    failure = Failure(FailureKind.BAD_ANSWER, "", code=code)
    assert was_cut(reader, failure) is booked
    reader.tokens = 0
    assert was_cut(reader, failure) is (booked and code != "not_json"), "a page of HTML is no answer that was begun"


ARGUMENTS = json.dumps({"text": "z" * 488})
WRITTEN: dict[str, tuple[list[dict[str, Any]], int]] = {
    "text in one piece": ([{"content": "x" * 500}], 100),
    "text in many pieces": ([{"content": "x"}] * 40, 40),
    "reasoning": ([{"reasoning": "y" * 1000}, {"content": "x"}], 200),
    "a tool call": (
        [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": ARGUMENTS}}]}],
        len(ARGUMENTS) // 5,
    ),
}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", WRITTEN)
def test_tokens_that_nobody_reports_are_estimated_alike_however_the_model_was_called(name: str, surface: str) -> None:
    deltas, tokens = WRITTEN[name]
    chunks = [{"choices": [{"index": 0, "delta": one}]} for one in deltas]
    finish = "tool_calls" if name == "a tool call" else "stop"
    end: list[object] = [{"choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}, "[DONE]"]
    listed = {"data": [{"id": "raw/model", "name": "m", "pricing": {"prompt": "0.001", "completion": "0.00001"}}]}
    with RawServer() as raw:
        raw.listing = Reply([json.dumps(listed).encode()], 200, "application/json")
        raw.answer(Reply([sse(*chunks, *end)]))
        with FallbackClient(["raw/model"], base_url=raw.base_url, api_key="sk-or-x") as client:
            client.refresh_catalog()
            answer = ask(client, surface, "p" * 50, tools=[{"type": "function", "function": {"name": "f"}}]).answer
            assert answer.cost == pytest.approx(10 * 0.001 + tokens * 0.00001)
            assert answer.estimated
            assert client.spend().today == Decimal("0.01") + tokens * Decimal("0.00001")


@pytest.mark.parametrize(
    ("costs", "cost", "estimated"), [((None, 0.5), 0.5, True), ((0.25, 0.5), 0.75, False), ((None, None), None, False)]
)
def test_a_cost_that_lacks_an_attempts_is_an_estimate(
    costs: tuple[float | None, ...], cost: float | None, estimated: bool
) -> None:
    """Text came of both attempts; of one nobody knows the price."""
    kinds = (FailureKind.BAD_ANSWER, None)
    tried = [Attempt("m", "e", kind, 1.0, first_token=0.5, cost=one) for kind, one in zip(kinds, costs, strict=True)]
    answer = Completion({"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}, tuple(tried))
    assert (answer.cost, answer.estimated) == (cost, estimated)


def test_nothing_is_booked_for_a_connection_that_is_refused() -> None:
    with Emulator() as emulator:
        settings = {"spend_limit_usd": {"per_day": 5}}
        client = FallbackClient([DEAR], base_url=emulator.base_url, api_key=emulator.api_key, settings=settings)
        client.refresh_catalog()
    with client, pytest.raises(FallbackError, match="refused"):
        client.chat(PROMPT, max_tokens=1000)
    assert client.spend().today == 0


class Biller:
    """A server that sends three tokens, goes on unheard for a while of its clock, cuts, and bills what it generated.

    Calls come in waves: it cuts those of one when each call of the wave has its first token, or was refused.
    """

    PRICE, RATE, SECONDS, AT_A_TIME = Decimal("0.00001"), 300, 0.125, 64
    BEGINNING = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"

    def __init__(self) -> None:
        self.bill = Decimal(0)
        self.asked = 0
        self.now = asyncio.get_running_loop().time()
        self._due = 0
        self._cut = asyncio.Event()

    def begin(self) -> None:
        """The next wave."""
        self._due, self._cut = self.AT_A_TIME, asyncio.Event()

    def came(self) -> None:
        """A call of the wave has its first token, or was refused."""
        self._due -= 1
        if not self._due:
            self.now += self.SECONDS
            self._cut.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET"):
            prices = {"prompt": "0", "completion": f"{self.PRICE:f}"}
            listed = json.dumps({"data": [{"id": "raw/model", "name": "m", "pricing": prices}]}).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(listed) + listed)
        else:
            self.asked += 1
            begun, cut = self.now, self._cut
            length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
            limit = json.loads(await reader.readexactly(length))["max_tokens"]
            writer.write(self.BEGINNING + sse(*[{"choices": [{"index": 0, "delta": {"content": "tok "}}]}] * 3))
            await writer.drain()
            await cut.wait()
            written = min(limit, int((self.now - begun) * self.RATE))
            self.bill += self.PRICE * max(3, written)
        writer.close()


async def test_the_limit_holds_where_cut_attempts_are_billed_by_what_was_generated() -> None:
    """64 calls at a time. Each wave is as many as the rest of the day can hold; what was cut gives the rest back."""
    biller, limit, waves, tokens = Biller(), Decimal("0.05"), 8, 100
    async with await asyncio.start_server(biller.serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
        settings = {"spend_limit_usd": {"per_day": limit}, "max_retries_per_model": 1, "mid_stream": "raise"}
        async with FallbackClient(["raw/model"], base_url=url, api_key="sk-or-x", settings=settings) as client:
            await client.catalog.refresh()
            parts_of(client).runtime.clock = lambda: biller.now
            raised: list[FallbackError] = []

            async def read() -> None:
                async with client.astream(PROMPT, max_tokens=tokens) as stream:
                    try:
                        await anext(stream)
                    finally:
                        biller.came()
                    async for _ in stream:
                        pass

            async def call() -> None:
                with pytest.raises(FallbackError) as error:
                    await read()
                raised.append(error.value)
                client.enable("raw/model")

            for _ in range(waves):
                biller.begin()
                await asyncio.gather(*(call() for _ in range(biller.AT_A_TIME)))
            spend = client.spend()
    hold, booked = tokens * biller.PRICE, int(biller.RATE * biller.SECONDS) * biller.PRICE
    sent = 0
    for _ in range(waves):
        sent += min(biller.AT_A_TIME, int((limit - sent * booked) / hold))
    assert biller.asked == sent
    assert sum(isinstance(error, SpendLimitError) for error in raised) == waves * biller.AT_A_TIME - sent
    assert biller.bill == spend.today == sent * booked <= limit
    assert spend.held == 0
    reported = sum(attempt.cost or 0.0 for error in raised for attempt in error.attempts)
    assert 0 < reported < float(spend.today), "what an attempt says of itself is an estimate"


async def test_hedges_are_held_and_billed_too(emulator: Emulator, new: New) -> None:
    hedge = {"after": 0.02, "max_fraction": 1}
    limit = {"per_call": "0.0024"}
    client = await asyncio.to_thread(new, [DEAR, CHEAP], spend_limit_usd=limit, hedge=hedge)
    before = emulator.spent
    emulator.fault("slow", model=DEAR)
    answer = await client.achat(PROMPT, max_tokens=100)
    assert answer.attempts[-1].model == CHEAP
    assert client.spend().today >= Decimal(str(answer.cost))
    assert 0 <= client.spend().today - (emulator.spent - before) < Decimal("0.0016"), "what was held for the silent one"
    too_dear = await asyncio.to_thread(new, [CHEAP, DEAR], spend_limit_usd={"per_call": "0.0016"}, hedge=hedge)
    emulator.clear_faults()
    emulator.fault("slow", model=CHEAP)
    asked = emulator.count(DEAR)
    assert (await too_dear.achat(PROMPT, max_tokens=100)).attempts[-1].model == CHEAP
    assert emulator.count(DEAR) == asked, "the hedge would have cost more than the call had left"
