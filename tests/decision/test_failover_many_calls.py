"""What takes more than one call to see: budgets, breakers under load, what one call teaches the next."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.failures.kinds import Failure
from openrouter_fallback.failures.policy import policy
from openrouter_fallback.health import Availability, Fact, MemoryHealth, Rules
from openrouter_fallback.routes.needs import RequestTraits

from ..cases.hedges import AFTER_2
from ..cases.timelines.words import (
    E400,
    E401,
    E402,
    E404,
    E500,
    E503,
    LIMITED,
    NO_FILES,
    NO_TOOLS,
    OK,
    ONE_FAILED,
    REFUSED,
    TOOLS,
    always,
    limited,
)
from ..support.timeline import SILENT, START, Reply, World, fails, ok


def hedges(shares: float | None, retry_budget: float | None = None, calls: int = 200) -> int:
    """How many of `calls` in ten seconds are hedged, where each could be."""
    world = World({"a": always(ok(3)), "b": always(ok(2.5))}, hedge_share=shares, retry_budget=retry_budget)
    for number in range(calls):
        world.call("a b", at=number * 10 / calls, limits=AFTER_2)
    world.run()
    assert all(call.error is None for call in world.calls)
    return sum(sent.hedges for sent in world.sent)


def test_hedges_are_a_share_of_the_requests() -> None:
    assert hedges(None) == 200
    assert hedges(0.05) == 10
    assert hedges(0.05, calls=5) == 1, "with little traffic one a minute"
    assert hedges(0.0) == 0


def test_hedges_are_charged_to_the_retry_budget() -> None:
    assert hedges(None, retry_budget=0.0) == 0
    assert hedges(None, retry_budget=0.2) == pytest.approx(40, abs=2)


def test_going_on_from_a_failure_beside_a_silent_hedge_is_not_charged() -> None:
    world = World({"a": always(((5, E503),)), "b": always(SILENT), "c": OK}, hedge_share=0.01, retry_budget=None)
    call = world.call("a b c", limits=AFTER_2)
    world.run()
    assert (world.requests(), call.outcome) == ("a@0 b&@2 c&@5", "c @6")


def test_the_loser_s_time_enters_the_quantiles_as_a_lower_bound() -> None:
    world = World({"a": always(ok(9)), "b": OK})
    world.call("a b", limits=AFTER_2)
    world.run()
    assert world.health.snapshot(world.candidate("a").target, world.now).first_token_p50 == pytest.approx(3, rel=0.2)


def test_what_comes_whole_has_no_first_token_whose_time_could_be_learnt() -> None:
    world = World({"a": always(ok(9)), "b": OK}, models={"a": {"streams": False}})
    world.call("a b", limits=AFTER_2)
    world.run()
    assert world.requests() == "a@0 b&@2"
    assert world.health.snapshot(world.candidate("a").target, world.now).first_token_p50 is None


def outage(retry_budget: float | None, calls_a_second: int = 20, seconds: int = 60, **models: Any) -> World:
    """All of three models are dead (but those given), at a constant load."""
    world = World({**{name: always(E503) for name in "abc"}, **models}, retry_budget=retry_budget)
    for number in range(calls_a_second * seconds):
        world.call("a b c", at=number / calls_a_second)
    world.run()
    return world


def test_an_outage_of_all_models_is_not_multiplied() -> None:
    world = outage(0.2)
    assert round(sum(len(call.asks) for call in world.calls[400:]) / 800, 2) <= 1.2
    plain = outage(None)
    assert sum(len(call.asks) for call in plain.calls[400:]) > 4 * 800, "what it would be without a budget"


@pytest.mark.parametrize("calls_a_second", [1, 5, 20])
def test_what_was_earned_before_an_outage_does_not_multiply_it(calls_a_second: int) -> None:
    def dies(second: float) -> Reply:
        return ok(0.1) if second < 60 else fails(E503)

    world = World({"a": dies, "b": dies}, retry_budget=0.2)
    for number in range(calls_a_second * 105):
        world.call("a b", at=number / calls_a_second)
    world.run()
    calls = calls_a_second * 45
    requests = sum(sent.at >= 60 for sent in world.sent)
    floor = 10 * 6 + 10  # in each 10 s of 60, the last waits included; and ten more, where they came all at once
    unseen = 2 * 3 + 2 * 3  # what each circuit takes to open, and its probes
    assert requests <= 1.2 * calls + floor + unseen, "1 + budget for each call, and the floor"


def test_the_error_says_that_the_budget_is_exhausted() -> None:
    world = outage(0.2)
    said = ["The retry budget is exhausted" in str(call.error) for call in world.calls]
    assert not said[0]
    assert said[-1]
    assert {type(call.error).__name__ for call in world.calls} == {"AllModelsFailedError"}


def test_little_traffic_is_not_bounded() -> None:
    world = outage(0.2, calls_a_second=1, seconds=3)  # the floor is ten extra requests in ten seconds
    assert [len(call.asks) for call in world.calls] == [6, 6, 6]


@pytest.mark.parametrize("budget", [None, 0.2, 0.0])
def test_one_healthy_model_among_dead_ones_answers_64_calls_at_once_whatever_the_budget(budget: float | None) -> None:
    world = World({**{name: always(E503) for name in "abde"}, "c": OK}, retry_budget=budget)
    calls = [world.call("a b c d e") for _ in range(64)]
    world.run()
    assert {call.outcome for call in calls} == {"c @1"}
    assert len(world.sent) == 3 * 64


def test_a_budget_of_none_at_all_retries_nothing() -> None:
    world = World({"a": always(E500)}, retry_budget=0.0)
    call = world.call("a")
    world.run()
    assert (world.requests(), call.outcome) == ("a@0", "AllModelsFailedError @0")
    assert "retry budget" in str(call.error)


def test_the_error_does_not_blame_the_budget_for_what_it_did_not_decide() -> None:
    world = World({"a": always(E503), "b": always(E400)}, retry_budget=0.0)
    world.health.accounts.rate_limited(world.candidate("b").target, START, 5.0)
    call = world.call("a b")
    world.run()
    assert call.outcome == "InvalidRequestError @5"
    assert "retry budget" not in str(call.error)


def test_any_error_knows_no_budget() -> None:
    world = World({"a": always(E503), "b": always(E503)}, policy("any_error"), retry_budget=0.0)
    call = world.call("a b")
    world.run()
    assert world.requests() == "a@0 a@0 b@0 b@0"
    assert "retry budget" not in str(call.error)


def test_a_dead_primary_is_known_then_left_alone_then_probed_once() -> None:
    """Dead until second 40: three failed calls, 10 s of nothing, one probe, 25 s of nothing, one probe ..."""
    world = World({"a": lambda second: ok() if second >= 50 else fails(E503), "b": OK})
    for second in range(70):
        for _ in range(64 if second in (12, 37, 47, 62) else 1):
            world.call("a b", at=second)
    world.run()
    assert {call.outcome.split()[0] for call in world.calls} <= {"a", "b"}
    to_a = world.requests_to("a")
    assert [at for at in to_a if at < 62] == [0, 1, 2, 12, 37]
    # 12 s after it is up again, and then a few at first, all of them soon.
    assert sum(at == 62 for at in to_a) == 1
    assert [str(sent) for sent in world.sent if sent.probe] == ["a*@12", "a*@37", "a*@62"]
    assert all(at in to_a for at in range(64, 70))


def test_a_primary_that_is_back_is_probed_once_by_64_calls_and_then_used_by_all() -> None:
    world = World({"a": OK, "b": OK})
    world.fail("a")
    for second in (9.0, 10.0, 10.5, 11.5):
        for _ in range(64):
            world.call("a b", at=second)
    world.run()
    assert world.requests_to("a") == [10.0] + [11.5] * 64
    assert len(world.requests_to("b")) == 64 + 63 + 64 + 1, "one beside the probe"


def test_64_calls_fail_at_a_dead_primary_at_once() -> None:
    world = World({"a": always(E503), "b": OK})
    for _ in range(64):
        world.call("a b")
    later = [world.call("a b", at=second) for second in (1.0, 9.9)]
    world.run()
    assert [call.outcome for call in later] == ["b @2", "b @10.9"]
    assert world.requests_to("a") == [0.0] * 64, "they had all begun when it was not known"


def test_all_breakers_open_with_64_calls() -> None:
    """They rotate, nobody is refused, no slot is taken; the first success closes."""
    world = World(dict.fromkeys("abc", OK))
    for name, since in (("a", -1.0), ("b", -3.0), ("c", -5.0)):
        world.fail(name, since)
    calls = [world.call("a b c") for _ in range(64)]
    world.run()
    assert [call.outcome.split()[0] for call in calls] == (["c", "b", "a"] * 22)[:64]
    assert {world.state(name) for name in "abc"} == {"closed +21 -0", "closed +20 -0"}
    assert not any(sent.probe for sent in world.sent)


def test_all_breakers_open_and_all_still_dead_with_64_calls() -> None:
    world = World({name: always(E503) for name in "abc"})
    for name, since in (("a", -1.0), ("b", -3.0), ("c", -5.0)):
        world.fail(name, since)
    calls = [world.call("a b c") for _ in range(64)]
    world.run()
    assert {call.outcome for call in calls} == {"AllModelsFailedError @0.5"}
    assert {len(call.asks) for call in calls} == {6}
    assert [world.state(name) for name in "abc"] == [
        "open +0 -3 failing 8.5s", "open +0 -3 failing 6.5s", "open +0 -3 failing 4.5s",
    ]  # fmt: skip


def test_of_64_forced_calls_one_failure_does_not_keep_a_success_from_closing() -> None:
    world = World({"a": always(fails(E404, after=0.1), ok())})
    world.fail("a")
    for _ in range(64):
        world.call("a")
    world.run()
    assert world.state("a").startswith("closed")


def test_64_calls_at_once_are_one_step_of_the_cooldown() -> None:
    world = World({"a": always(*[LIMITED] * 64, ok()), "b": OK})
    for _ in range(64):
        world.call("a b")
    world.call("a b", at=1.0)
    world.run()
    assert world.calls[0].outcome == "b @1"
    assert world.calls[-1].outcome == "a @2"


def test_one_tenants_rate_limit_does_not_cool_anothers_models() -> None:
    world = World({"a": lambda second: fails(limited(60)) if second == 0 else ok(), "b": OK})
    world.call("a b", at=0, account="one")
    world.call("a b", at=1, account="two")
    world.call("a b", at=2, account="one")
    world.run()
    assert world.requests() == "a@0 b@0 a@1 b@2"


def test_three_calls_that_cannot_connect_open_the_endpoint_and_others_are_asked_first() -> None:
    world = World({"a": always(REFUSED), "b": always(REFUSED), "groq:c": OK})
    for second in (0, 10, 20, 25):
        world.call("a b groq:c", at=second)
    world.run()
    assert [world.requests(number) for number in range(4)] == [
        "a@0 a@1 groq:c@1", "a@10 a@11 groq:c@11", "a@20 groq:c@20", "groq:c@25",
    ]  # fmt: skip


def test_an_endpoint_whose_probe_has_got_a_status_line_is_back() -> None:
    world = World({"a": always(((2, "status"), (3, "text"), (20, "answer")), ok()), "b": OK})
    world.cut_off("openrouter", -10)
    world.call("a")
    world.call("b", at=1.9)
    world.call("b", at=2.0)
    world.run()
    assert world.requests() == "a*@0 b!@1.9 b@2"


@pytest.mark.parametrize("start", [0.1, 1000.1, 4321.987654, 123456.789, 9876543.21])
def test_a_user_set_timeout_teaches_at_any_time_of_the_clock(start: float) -> None:
    """start + timeout - start is not always timeout."""
    world = World({"a": always(SILENT), "b": OK}, models={"a": {"timeout": 5.3}}, start=start)
    world.call("a b")
    world.run()
    assert world.state("a") == ONE_FAILED


def test_unsupported_is_remembered_for_the_model_and_the_need() -> None:
    world = World({"a": always(NO_TOOLS, ok()), "b": OK})
    world.call("a b", at=0, facts=TOOLS)
    world.call("a b", at=1, facts=TOOLS)
    world.call("a b", at=2)
    world.call("a b", at=3602, facts=TOOLS)
    world.run()
    assert world.requests() == "a@0 b@0 b@1 a@2 a@3602"


def test_a_model_that_lacks_what_is_needed_comes_after_those_that_are_only_failing() -> None:
    world = World({"a": always(NO_TOOLS), "b": OK})
    world.health.facts.learn("a", Fact.LACKS, START, subject="tools")
    world.fail("b")
    for _ in range(3):
        world.call("a b", facts=TOOLS)
    world.run()
    assert world.requests_to("a") == []


def test_a_model_that_reasons_unasked_is_given_more_time() -> None:
    world = World({"a": always(((1, "reasoning"), (2, "text"), (2, "answer")), SILENT), "b": OK})
    world.call("a b", at=0)
    second = world.call("a b", at=10)
    world.run()
    assert [(ask.permit.started - START, ask.stall) for ask in second.asks] == [(10.0, 300.0), (130.0, 30.0)]


def test_a_credits_failure_orders_only_and_does_not_leave_out() -> None:
    world = World({"a": always(E402, ok())})
    world.call("a")
    world.call("a", at=1)
    world.run()
    assert [call.outcome for call in world.calls] == ["InsufficientCreditsError @0", "a @2"]


def test_a_local_shortage_of_hours_is_waited_for_in_short_steps() -> None:
    world = World({"a": lambda second: fails(NO_FILES) if second < 6 * 3600 else ok()})
    call = world.call("a", limits=Limits(total=1e9))
    world.run()
    assert call.outcome.startswith("a @")
    assert max(until - since for since, until in call.waits) == pytest.approx(2.5)


@pytest.mark.parametrize(("refusal", "what"), [(E402, "credits"), (E401, "auth")])
def test_a_refused_account_is_kept_for_the_order(refusal: Failure, what: str) -> None:
    world = World({"a": always(refusal)})
    world.call("a")
    world.run()
    target = world.candidate("a").target
    assert [world.health.accounts.status(target.account, START + second) for second in (59, 60)] == [what, None]


def test_credits_are_kept_as_long_as_the_server_says() -> None:
    world = World({"a": always(replace(E402, retry_after=90.0))})
    world.call("a")
    world.run()
    target = world.candidate("a").target
    assert [world.health.accounts.status(target.account, START + second) for second in (89, 90)] == ["credits", None]


@pytest.mark.parametrize(
    ("message", "needs", "lacking"),
    [
        ("No endpoints found that support tool use", ["tools", "image"], ["tools"]),
        ("it cannot do that", ["tools", "image"], []),
        ("it cannot do that", ["tools"], []),
        ("No endpoints found that support the provided 'tool_choice' value.", ["tools"], []),
        ("response_format json_schema is not supported", ["structured_outputs", "tools"], ["structured_outputs"]),
        ("No endpoints found that support image input", ["tools", "image"], ["image"]),
        ("No endpoints found that support input audio", ["tools", "audio"], ["audio"]),
    ],
)
def test_only_the_need_that_is_named_is_blamed(message: str, needs: list[str], lacking: list[str]) -> None:
    world = World({"a": always(replace(NO_TOOLS, message=message))})
    world.call("a", facts=RequestTraits(needs=frozenset(needs)))
    world.run()
    target = world.candidate("a").target
    assert [
        need for need in needs if world.health.status_of(target, START, {need}).availability is Availability.UNFIT
    ] == lacking


def reset_at(second: float) -> Callable[[float], Reply]:
    """Every connection is reset then; before and after it all is well, but that answers take two seconds."""
    return lambda begun: ((second - begun, REFUSED),) if second - 2.0 < begun < second else ok(2.0)


@pytest.mark.parametrize("calls", [10, 20, 40, 100])
@pytest.mark.parametrize("chain", ["a", "a b"])
def test_a_reset_of_all_connections_loses_nobody(calls: int, chain: str) -> None:
    world = World({"a": reset_at(1.0), "b": reset_at(1.0)}, retry_budget=0.2)
    for number in range(calls):
        world.call(chain, at=number / calls * 0.9)
    world.run()
    assert [call.outcome for call in world.calls if call.error] == []
    assert world.endpoint_state("openrouter") == "closed 0"
    assert world.under_way() == {}


def test_the_budget_delays_and_a_success_ends_the_wait() -> None:
    world = World({"a": lambda second: ok() if second >= 5 else fails(E503)}, retry_budget=0.2)
    for _ in range(60):
        world.call("a")
    world.call("a", at=5.0)
    world.run()
    failed = [call for call in world.calls if call.error]
    assert len(failed) == 12 + 4, "those whose second attempt the budget allowed at once, and then one a second"
    assert len([at for at in world.requests_to("a") if at < 5]) == 60 + len(failed)


def test_a_wait_for_the_budget_ends_after_ten_seconds() -> None:
    world = World({"a": always(E503)}, retry_budget=0.2)
    for _ in range(60):
        world.call("a", limits=Limits(total=60.0))
    world.run()
    late = [call for call in world.calls if "retry budget is exhausted" in str(call.error)]
    assert late
    assert all(float(call.outcome.split("@")[1]) <= 13.0 for call in world.calls)


def test_what_a_model_has_earned_is_used_up() -> None:
    health = MemoryHealth(Rules(), lambda: 0.0, retry_budget=0.2)
    target = World({}).candidate("a").target
    for _ in range(3):
        health.success(health.begin(target, 0.0) or pytest.fail("not admitted"), 0.0)
    extras = 0
    while health.begin(target, 0.0, extra=True) is not None:
        extras += 1
    assert extras == 10 + 3 * 4, "the floor of the budget, and four for each success"
    assert not health.affords(0.0, ("a",))


def test_what_a_model_has_earned_does_not_count_while_its_circuit_is_open() -> None:
    health = MemoryHealth(Rules(), lambda: 0.0, retry_budget=0.2)
    target = World({}).candidate("a").target
    for second in range(6):
        permit = health.begin(target, float(second)) or pytest.fail("not admitted")
        health.success(permit, float(second)) if second < 3 else health.model_failed(permit, float(second))
    for _ in range(10):
        assert health.begin(target, 6.0, forced=True, extra=True) is not None
    assert not health.affords(6.0, ("a",))


@pytest.mark.parametrize("apart", [0.05, 1.0, 5.0, 20.0, 60.0])
@pytest.mark.parametrize("lasts", [30.0, 300.0])
def test_a_recovered_model_is_called_by_the_second_call_after_30_s(apart: float, lasts: float) -> None:
    world = World({"a": lambda second: ok() if second >= lasts else fails(E503), "b": OK}, retry_budget=0.2)
    number = 0
    while number * apart < lasts + 31.0 + 2 * apart:
        world.call("a b", at=number * apart)
        number += 1
    world.run()
    assert [call.outcome for call in world.calls if call.error] == []
    late = [call for call in world.calls if call.asks[0].permit.started - START > lasts + 30.0]
    assert "a" in [call.asks[0].candidate.key for call in late[:2]]
    dead = [at for at in world.requests_to("a") if at < lasts]
    assert len(dead) <= 3 + lasts / 20.0 + 1, "three to notice it, then one in 20 s"
