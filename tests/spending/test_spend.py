"""Money: what a request may cost; no interleaving of calls spends more than the limits and the estimates' error."""

from __future__ import annotations

import gc
import threading
from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import ModelInfo
from openrouter_fallback.catalog.prices import cost
from openrouter_fallback.decision.commands import Fail, Limits, StartAttempt
from openrouter_fallback.decision.failover import Failover
from openrouter_fallback.routes.needs import RequestTraits
from openrouter_fallback.spending.ledger import ZERO, Ledger
from openrouter_fallback.spending.quotes import (
    DAY_SHARE,
    LEAST_TOKENS,
    TOKENS_PER_MEDIUM,
    TOKENS_PER_MESSAGE,
    CostReservation,
    Quote,
    Unaffordable,
    dollars,
    prompt_tokens,
    quote,
)

from ..support.timeline import World

USD = Decimal
MODEL = ModelInfo(
    "a", prompt_price=USD("0.000003"), completion_price=USD("0.000015"), max_output=8000, context_length=200_000
)
FREE = ModelInfo("a:free", prompt_price=ZERO, completion_price=ZERO)
UNKNOWN = ModelInfo("a")
PER_REQUEST = ModelInfo(
    "r", prompt_price=ZERO, completion_price=USD("0.00001"), request_price=USD("0.01"), max_output=100
)


# What a prompt has


@pytest.mark.parametrize(
    ("messages", "tools", "expected"),
    [
        ([], None, 0),
        ([{"role": "user", "content": "x" * 300}], None, TOKENS_PER_MESSAGE + 100),
        ([{"role": "user", "content": "ü"}], None, TOKENS_PER_MESSAGE + 1),
        ([{"role": "user", "content": "\ud800"}], None, TOKENS_PER_MESSAGE + 1),
        ([{"role": "assistant", "content": None, "tool_calls": ["x" * 2]}], None, TOKENS_PER_MESSAGE + 2),
        ([{"role": "user", "content": []}], [{"a": 1}], TOKENS_PER_MESSAGE + 3),
        (
            [{"role": "user", "content": [{"type": "text", "text": "abc"}, {"type": "image_url"}]}],
            None,
            TOKENS_PER_MESSAGE + 1 + TOKENS_PER_MEDIUM,
        ),
    ],
)
def test_prompt_tokens(messages: list[dict[str, Any]], tools: Any, expected: int) -> None:
    assert prompt_tokens(messages, tools) == expected


@pytest.mark.parametrize("odd", [{1: 2}, {"x": 2**70}, {"x": "\ud800"}], ids=repr)
def test_what_is_not_quite_json_is_counted_all_the_same(odd: Any) -> None:
    call = {"id": "1", "function": {"name": "f", "arguments": odd}}
    assert prompt_tokens([{"role": "assistant", "tool_calls": [call]}], [odd]) > TOKENS_PER_MESSAGE


def test_the_models_own_number_of_choices_is_held() -> None:
    info = ModelInfo("a", prompt_price=Decimal(0), completion_price=Decimal("0.01"))
    for params, own in (({"n": 4}, {}), ({}, {"n": 4}), ({"n": 4}, {"n": 9})):
        found = CostReservation(Ledger(per_call=Decimal(9)), [], {"max_tokens": 10, **params}).quote(info, own)
        assert found == Quote(Decimal("0.40"))


@pytest.mark.parametrize(
    ("params", "delivered", "most"),
    [
        ({"max_tokens": 10}, "", "0.00015"),
        ({"max_tokens": 10}, "x" * 300, "0.00045"),
        ({"max_tokens": 10, "tools": [{"a": 1}]}, "", "0.000159"),
        ({"max_tokens": True}, "", "0.12"),
    ],
    ids=["the answer", "with what was delivered", "with tools", "true is no bound"],
)
def test_what_the_request_of_a_call_may_cost(params: dict[str, Any], delivered: str, most: str) -> None:
    assert CostReservation(Ledger(per_call=USD(9)), [], params).quote(MODEL, {}, delivered) == Quote(USD(most))


def test_the_bytes_of_an_image_are_not_text() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 1_000_000}}
    assert prompt_tokens([{"role": "user", "content": [image]}]) < 2000


# What a request may cost


@dataclass
class Case:
    expected: Quote | str
    info: ModelInfo | None = MODEL
    prompt: int = 1000
    wanted: int | None = None
    choices: int = 1
    left: Decimal | None = None
    day: Decimal | None = None


OFFERS = {
    "no limit, the caller's bound": Case(Quote(USD("0.018")), wanted=1000),
    "no limit, no bound: the model's own": Case(Quote(USD("0.123"))),
    "two choices cost twice": Case(Quote(USD("0.033")), wanted=1000, choices=2),
    "within both limits": Case(Quote(USD("0.018")), wanted=1000, left=USD(1), day=USD(1)),
    "exactly what is left": Case(Quote(USD("0.018")), wanted=1000, left=USD("0.018")),
    "a micro-dollar too much": Case("it may cost 0.018 USD", wanted=1000, left=USD("0.017999")),
    "the day says no": Case("0.01 USD are left", wanted=1000, left=USD(1), day=USD("0.01")),
    "no bound of its own: what is affordable is sent": Case(Quote(USD("0.018"), 1000), left=USD("0.018")),
    "of the day a quarter": Case(Quote(USD("0.018"), 1000), day=DAY_SHARE * USD("0.018")),
    "of the day a quarter, also where the model's longest answer would fit": Case(
        Quote(USD("0.049995"), 3133), day=USD("0.2")
    ),
    "no more than fits into the context": Case(Quote(USD("0.0105")), replace(MODEL, context_length=1500)),
    "no choices are one": Case(Quote(USD("0.018")), wanted=1000, choices=0, left=USD(1)),
    "all of it where a quarter is too little": Case(Quote(USD("0.00396"), LEAST_TOKENS), day=USD("0.00397")),
    "too little for an answer": Case("USD are left to spend", left=USD("0.0039")),
    "nothing left": Case("and 0 USD are left", left=USD("-0.5"), wanted=1),
    "free": Case(Quote(ZERO), FREE, left=USD("0.0001"), day=ZERO),
    "unknown": Case("its price is unknown", UNKNOWN, left=USD(1)),
    "not listed": Case("its price is unknown", None, left=USD(1)),
    "per request": Case(Quote(USD("0.011")), PER_REQUEST, left=USD(1)),
    "the request alone is too dear": Case("it may cost 0.01064 USD", PER_REQUEST, left=USD("0.0101")),
}


@pytest.mark.parametrize("name", OFFERS)
def test_offer(name: str) -> None:
    case = OFFERS[name]
    found = quote(case.info, case.prompt, case.wanted, case.choices, case.left, case.day)
    if isinstance(case.expected, str):
        assert isinstance(found, Unaffordable)
        assert case.expected in found.reason
        assert found.priceless is ("unknown" in case.expected)
    else:
        assert found == case.expected


@given(
    st.integers(0, 100_000),
    st.none() | st.integers(1, 10_000),
    st.integers(1, 3),
    st.none() | st.decimals(-1, 2, places=7),
    st.none() | st.decimals(-1, 2, places=7),
)
def test_an_offer_is_within_the_limits_and_covers_what_can_come(
    prompt: int, wanted: int | None, choices: int, left: Decimal | None, day: Decimal | None
) -> None:
    found = quote(MODEL, prompt, wanted, choices, left, day)
    if isinstance(found, Unaffordable):
        return
    assert all(bound is None or found.most <= bound for bound in (left, day))
    assert wanted is None or found.max_tokens is None, "the caller's own bound is never changed"
    longest = wanted or found.max_tokens or 8000
    whole = cost(MODEL, prompt, choices * longest)
    assert whole is not None
    assert whole <= found.most


@pytest.mark.parametrize(
    ("seconds", "estimate", "params", "booked"),
    [
        (0.0, None, {"max_tokens": 1000}, "0.000009"),
        (1.0, None, {"max_tokens": 1000}, "0.004509"),
        (1.0, "0.02", {"max_tokens": 1000}, "0.02"),
        (1.0, None, {"max_tokens": 1000, "n": 2}, "0.009009"),
        (60.0, None, {"max_tokens": 1000}, "0.015009"),
    ],
    ids=["at once: the prompt", "a second: 300 tokens", "a faster model", "two choices", "no more than was held"],
)
def test_a_cut_request_is_booked_as_what_may_have_been_generated(
    seconds: float, estimate: str | None, params: dict[str, Any], booked: str
) -> None:
    for limit, expected in ((USD(9), USD(booked)), (None, USD(estimate or 0))):
        ledger = Ledger(per_call=limit)
        costs = CostReservation(ledger, [], {**params, "tools": [{"a": 1}]})
        assert costs.hold(1, MODEL, {}) is None
        costs.settle_cut(1, None if estimate is None else USD(estimate), MODEL, {}, seconds)
        seen = ledger.spend()
        assert (seen.today, seen.estimated, seen.held) == (expected, expected, ZERO)


def test_amounts_for_people() -> None:
    assert [dollars(USD(one)) for one in ("0", "1", "20.50", "0.0000001", "0.0000015")] == [
        "0",
        "1",
        "20.5",
        "0.000001",
        "0.000002",
    ]


# The machine


def test_a_request_that_is_withheld_gives_its_probe_back_and_the_next_one_is_asked() -> None:
    world = World(script={})
    world.fail("a")
    world.now += 10.0
    candidates = [world.candidate(key) for key in "ab"]
    machine = Failover(candidates, world.policy, world.health, Limits(), RequestTraits(), world.now, world.random)
    first = machine.begin(world.now)
    assert isinstance(first, StartAttempt)
    assert first.permit.probe
    second = machine.withheld("too dear", world.now, first.number)
    assert world.slots_taken() == []
    assert isinstance(second, StartAttempt)
    assert second.candidate.key == "b"
    over = machine.withheld("too dear as well", world.now, second.number)
    assert isinstance(over, Fail)
    assert [(one.model, one.reason) for one in over.skipped] == [("a", "too dear"), ("b", "too dear as well")]
    assert world.state("b") == "closed +0 -0"


# The ledger


class Calendar:
    day = 1

    def __call__(self) -> int:
        return self.day


def test_the_life_of_a_call() -> None:
    ledger = Ledger(USD("0.05"), USD(1), Calendar())
    call_budget = ledger.call_budget()
    assert call_budget.hold(1, USD("0.03"))
    assert not call_budget.hold(2, USD("0.021")), "more than the call may spend"
    assert call_budget.hold(2, USD("0.02"))
    call_budget.settle(1, USD("0.001"))
    call_budget.settle(2, USD("0.002"), estimated=True)
    assert call_budget.left() == (USD("0.047"), USD("0.997"))
    call_budget.close()
    spent = ledger.spend()
    assert (spent.today, spent.estimated, spent.held, spent.left) == (USD("0.003"), USD("0.002"), ZERO, USD("0.997"))


def test_what_was_never_sent_is_free_again() -> None:
    ledger = Ledger(None, USD(1), Calendar())
    call_budget = ledger.call_budget()
    assert call_budget.hold(1, USD(1))
    assert not ledger.call_budget().hold(1, USD("0.000001"))
    call_budget.close()
    assert ledger.call_budget().hold(1, USD(1))


def test_at_midnight_the_day_begins_with_what_is_still_held() -> None:
    today = Calendar()
    ledger = Ledger(None, USD(1), today)
    early, late = ledger.call_budget(), ledger.call_budget()
    assert early.hold(1, USD("0.4"))
    assert late.hold(1, USD("0.6"))
    late.settle(1, USD("0.6"))
    today.day = 2
    assert ledger.spend().left == USD("0.6")
    early.settle(1, USD("0.4"))
    assert ledger.spend().today == USD("0.4")


def test_what_others_have_spent_is_the_days_and_never_less_than_it_was() -> None:
    today = Calendar()
    ledger = Ledger(None, USD(1), today)
    ledger.apply(2, {"x": 10**9})
    assert ledger.spend().others == ZERO, "of another day"
    ledger.apply(1, {"x": 10**8, "y": 2 * 10**8})
    assert ledger.spend().others == USD("0.3")
    ledger.apply(1, {})
    ledger.apply(1, {"x": 0, "z": 10**8})
    assert ledger.spend().others == USD("0.4"), "the store has lost what it was told"
    today.day = 2
    assert ledger.spend().others == ZERO


@pytest.mark.parametrize(
    ("days", "left"),
    [((1, 0, 1), "0.3"), ((1, 0, 1, 2), "1"), ((1, -400, -399), "1"), ((1, -400, 1), "0.3"), ((1, -400, 1, 2), "1")],
    ids=str,
)
def test_a_clock_that_goes_back_over_midnight_zeroes_nothing(days: tuple[int, ...], left: str) -> None:
    today = Calendar()
    ledger = Ledger(None, USD(1), today)
    _spend(ledger, "0.7")
    for today.day in days[:-1]:
        assert ledger.spend().left == USD("0.3")
        ledger.apply(1, {})
    today.day = days[-1]
    assert ledger.spend().left == USD(left)


def test_in_a_fleet_the_day_is_the_stores() -> None:
    """This machine's clock is a day ahead; it says nothing once the store's time is known."""
    local, since_start = Calendar(), [50.0]
    local.day = 11
    ledger = Ledger(None, USD(1), local, clock=lambda: since_start[0])
    _spend(ledger, "0.25")
    midnight = 11 * 86_400.0
    assert ledger.collect(midnight - 10.0) == (10, 250_000_000), "another day's number is no new day"
    ledger.apply(10, {"x": 10**8})
    local.day = 12
    since_start[0] += 9.0
    assert ledger.spend().left == USD("0.65")
    since_start[0] += 1.0
    assert ledger.spend().left == 1
    _spend(ledger, "0.5")
    assert ledger.collect(midnight - 1.0) == (11, 500_000_000), "a store whose clock is behind has taken over"
    since_start[0] += 2.0
    assert ledger.spend().left == USD("0.5")


def _spend(ledger: Ledger, amount: str) -> None:
    call_budget = ledger.call_budget()
    assert call_budget.hold(1, USD(amount))
    call_budget.settle(1, USD(amount))


def test_a_forked_child_owes_nothing_of_its_parents() -> None:
    ledger = Ledger(None, USD(1), Calendar())
    call_budget = ledger.call_budget()
    call_budget.hold(1, USD(1))
    ledger.after_fork()
    assert ledger.spend().left == USD(1)
    call_budget.settle(1, USD("0.5"))
    call_budget.close()
    assert (ledger.spend().held, ledger.spend().today) == (ZERO, ZERO), "the parent's calls may end here too"


def test_a_call_that_is_collected_inside_the_lock_settles_all_the_same() -> None:
    """Any allocation may start the collector, and a suspended call ends where it does."""
    day = Calendar()
    ledger = Ledger(None, USD(1), lambda: gc.collect() * 0 + day())

    class Suspended:
        def __init__(self) -> None:
            self.call_budget = ledger.call_budget()
            self.call_budget.hold(1, USD("0.5"))
            self.itself = self

        def __del__(self) -> None:
            self.call_budget.settle(1, USD("0.25"))

    Suspended()
    ledger.spend()
    assert (ledger.spend().held, ledger.spend().today) == (ZERO, USD("0.25"))


def test_without_limits_everything_is_allowed_and_counted() -> None:
    ledger = Ledger(None, None, Calendar())
    assert not ledger.limited
    call_budget = ledger.call_budget()
    assert call_budget.hold(1, USD(1_000_000))
    call_budget.settle(1, USD(3))
    assert (ledger.spend().today, ledger.spend().left) == (USD(3), None)


_AMOUNTS = st.decimals(0, 2, places=6)


@dataclass
class Model:
    """What must hold, kept apart from the ledger: each request's hold and cost."""

    held: dict[tuple[int, int], Decimal] = field(default_factory=dict)
    overrun: Decimal = ZERO
    spent: Decimal = ZERO
    by_call: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    overrun_by_call: dict[int, Decimal] = field(default_factory=lambda: defaultdict(Decimal))


@given(
    st.none() | _AMOUNTS,
    st.none() | _AMOUNTS,
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 2), st.sampled_from(["hold", "settle", "close"]), _AMOUNTS),
        max_size=80,
    ),
)
def test_no_interleaving_spends_more_than_the_limits_and_the_estimates_error(
    per_call: Decimal | None, per_day: Decimal | None, deeds: list[tuple[int, int, str, Decimal]]
) -> None:
    ledger = Ledger(per_call, per_day, Calendar())
    purses = [ledger.call_budget() for _ in range(4)]
    model = Model()
    for call, number, deed, amount in deeds:
        call_budget, key = purses[call], (call, number)
        if deed == "hold" and key not in model.held:
            if call_budget.hold(number, amount):
                model.held[key] = amount
        elif deed == "settle" and key in model.held:
            call_budget.settle(number, amount)
            error = max(ZERO, amount - model.held.pop(key))
            model.overrun += error
            model.overrun_by_call[call] += error
            model.spent += amount
            model.by_call[call] += amount
        elif deed == "close":
            call_budget.close()
            model.held = {key: held for key, held in model.held.items() if key[0] != call}
        seen = ledger.spend()
        assert (seen.today, seen.held) == (model.spent, sum(model.held.values(), ZERO))
        if per_day is not None:
            assert seen.today + seen.held <= per_day + model.overrun
        if per_call is not None:
            for one, call_budget in enumerate(purses):
                held = sum((held for key, held in model.held.items() if key[0] == one), ZERO)
                assert call_budget.spent == model.by_call[one]
                assert call_budget.spent + held <= per_call + model.overrun_by_call[one]
    for call_budget in purses:
        call_budget.close()
    assert ledger.spend().held == ZERO


def test_64_threads_stay_within_the_day() -> None:
    ledger = Ledger(None, USD(1), Calendar())
    start = threading.Barrier(64)
    sent: list[Decimal] = []

    def call() -> None:
        start.wait()
        for number in range(20):
            call_budget = ledger.call_budget()
            if call_budget.hold(number, USD("0.003")):
                seen = ledger.spend()
                assert seen.today + seen.held <= 1
                call_budget.settle(number, USD("0.002"))
                sent.append(USD("0.002"))
            call_budget.close()

    threads = [threading.Thread(target=call) for _ in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ledger.spend().today == sum(sent, ZERO) <= 1
    assert ledger.spend().held == ZERO
    assert len(sent) > 300
