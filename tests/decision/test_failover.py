"""The machine against the design's timelines, call by call; and what may not happen in any state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from openrouter_fallback.call.error_messages import NEXT_STEP
from openrouter_fallback.decision.commands import Fail, Limits, SleepUntil
from openrouter_fallback.decision.failover import Failover, WrongOrder
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import ANY_ERROR, SMART, policy
from openrouter_fallback.health import Availability, HealthScopes, MemoryHealth, Permit, Rules, State
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

from ..cases.hedges import HEDGES
from ..cases.timelines import TABLE
from ..cases.timelines.rows import ANY_ERROR_ROWS, ROWS
from ..cases.timelines.streams import GOES_ON
from ..cases.timelines.words import (
    BREAKS,
    E400,
    E404,
    E500,
    E503,
    NO_FILES,
    NO_PREFILL,
    OK,
    REFUSED,
    Case,
    always,
    limited,
)
from ..support.timeline import SILENT, START, Step, World, fails

K = FailureKind


def check(case: Case) -> None:
    world = case.world()
    call = case.call(world)
    world.run()
    assert (world.requests(), call.waited(), call.outcome) == (case.requests, case.waits, case.outcome)
    assert {model: world.state(model) for model in case.health} == case.health
    assert {name: world.endpoint_state(name) for name in case.endpoints} == case.endpoints
    assert world.slots_taken() == [*case.probed]
    assert world.under_way() == {}


@pytest.mark.parametrize("kind", ROWS, ids=str)
def test_each_row_of_the_failure_table(kind: FailureKind) -> None:
    check(ROWS[kind])


def test_the_rows_are_all_that_a_model_can_cause() -> None:
    assert set(ROWS) == set(SMART) - {K.CANCELLED} == set(K) - {K.CANCELLED}
    assert set(ANY_ERROR_ROWS) == set(ANY_ERROR) - {K.CANCELLED, K.LOCAL}
    assert set(NEXT_STEP) == set(K) - {K.CANCELLED}


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)
def test_timelines(case: Case) -> None:
    check(case)


@pytest.mark.parametrize("case", HEDGES, ids=lambda case: case.name)
def test_side_by_side(case: Case) -> None:
    check(case)


def test_the_names_of_the_cases_differ() -> None:
    assert len({case.name for case in (*TABLE, *HEDGES)}) == len(TABLE) + len(HEDGES)


@pytest.mark.parametrize("kind", ANY_ERROR_ROWS, ids=str)
def test_any_error_uses_up_the_attempts_goes_on_and_disables(kind: FailureKind) -> None:
    check(ANY_ERROR_ROWS[kind])


def test_a_first_token_is_counted_once() -> None:
    world = World({})
    machine = Failover(
        [world.candidate("a")], world.policy, world.health, Limits(), RequestTraits(), START, world.random
    )
    machine.begin(START)
    machine.first_token(START + 1)
    machine.first_token(START + 2)
    assert world.health.first_token_quantile("a", 1.0) == pytest.approx(1.0, rel=0.2)


def test_disabled_by_hand_during_the_call_is_not_overridden() -> None:
    for name in ("smart", "any_error"):
        world = World({"a": always(E500), "b": OK}, policy("smart" if name == "smart" else "any_error"))

        def disable(_: object, world: World = world) -> None:
            world.health.disable(world.candidate("a").target, START + 60)

        world.call("a b", on_ask=disable)
        world.run()
        assert world.requests() == "a@0 b@0", name


def test_what_is_skipped_is_said_with_its_reason() -> None:
    world = World(dict.fromkeys("abc", OK) | {"d": always(E400)})
    world.fail("a", -3.0)
    world.health.disable(world.candidate("b").target, START + 60)
    world.health.accounts.rate_limited(world.candidate("c").target, START, 20)
    call = world.call("a b c d")
    world.run()
    assert call.given_up is not None
    assert [(skip.model, skip.reason, skip.seconds_left) for skip in call.given_up.skipped] == [
        ("a", "failing", 7.0), ("b", "disabled by hand", 60.0), ("c", "rate-limited", 20.0),
    ]  # fmt: skip
    assert call.given_up.failure == E400


def test_what_was_asked_is_not_skipped() -> None:
    world = World({"a": always(E503), "b": always(E404)})
    call = world.call("a b")
    world.run()
    assert call.given_up is not None
    assert call.given_up.skipped == ()
    assert [ask.number for ask in call.asks] == [1, 2, 3]


def test_the_breakers_that_a_call_opens_are_reported() -> None:
    world = World({"a": always(E503), "b": always(E404), "groq:c": always(REFUSED), "d": always(SILENT)})
    world.fail("a", times=2)
    world.fail("d", times=2)
    world.cut_off("groq", times=2)
    world.call("a b groq:c d", leaves=20)
    world.run()
    opened = [change.name for change in world.health.take_changes(world.now) if change.state is State.OPEN]
    assert opened == ["a", "b", "groq", "d"]
    assert world.state("d") == "open +0 -3 timed_out 10s"


class Rival(MemoryHealth):
    """Another thread takes the probe's slot between the look and the beginning."""

    def begin(self, target: HealthScopes, now: float, *, forced: bool = False, **charged: Any) -> Permit | None:
        if target.model == "a" and not forced:
            super().begin(target, now)
        return super().begin(target, now, forced=forced, **charged)


def test_a_probe_that_another_thread_took_first_goes_to_the_next() -> None:
    world = World({"a": OK, "b": OK})
    world.health = Rival(Rules(), lambda: 0.0)
    target = world.candidate("a").target
    for _ in range(3):
        permit = MemoryHealth.begin(world.health, target, START - 10)
        assert permit is not None
        world.health.model_failed(permit, START - 10)
    world.call("a b")
    world.run()
    assert world.requests() == "b@0"


ILLEGAL: Mapping[str, Callable[[Failover], object]] = {
    "begin": lambda machine: machine.begin(START),
    "first_token": lambda machine: machine.first_token(START),
    "succeeded": lambda machine: machine.succeeded(START),
    "failed": lambda machine: machine.failed(E503, START),
    "out_of_time": lambda machine: machine.out_of_time(START),
    "woke": lambda machine: machine.woke(START),
}
LEGAL = {
    "new": {"begin"},
    "asking": {"first_token", "succeeded", "failed", "out_of_time"},
    "waiting": {"woke", "out_of_time"},
    "done": set[str](),
}


@pytest.mark.parametrize("event", ILLEGAL)
@pytest.mark.parametrize("state", LEGAL)
def test_an_event_that_cannot_come_is_a_wrong_order(state: str, event: str) -> None:
    world = World({"a": always(E503)})
    candidates = [world.candidate("a")]
    machine = Failover(candidates, world.policy, world.health, Limits(), RequestTraits(), START, world.random)
    if state != "new":
        machine.begin(START)
    if state == "waiting":
        machine.failed(E503, START)
    if state == "done":
        machine.succeeded(START)
    if event in LEGAL[state]:
        ILLEGAL[event](machine)
    else:
        with pytest.raises(WrongOrder):
            ILLEGAL[event](machine)


@pytest.mark.parametrize("first", [E500, REFUSED, E503, limited(20), NO_FILES], ids=lambda one: one.kind)
def test_nobody_is_asked_after_the_deadline_by_a_wait_that_ends_late(first: Failure) -> None:
    world = World({})
    machine = Failover(
        [world.candidate("a")], world.policy, world.health, Limits(), RequestTraits(), START, world.random
    )
    machine.begin(START)
    assert isinstance(machine.failed(first, START), SleepUntil)
    given_up = machine.woke(START + 301)
    assert isinstance(given_up, Fail)
    assert given_up.why == "deadline"


@pytest.mark.parametrize("table", ["smart", "any_error"])
def test_nobody_is_asked_after_the_deadline_by_a_failure_that_comes_late(table: Literal["smart", "any_error"]) -> None:
    world = World({}, policy(table))
    chain = [world.candidate("a"), world.candidate("b")]
    machine = Failover(chain, world.policy, world.health, Limits(), RequestTraits(), START, world.random)
    machine.begin(START)
    given_up = machine.failed(E503, START + 301)
    assert isinstance(given_up, Fail)
    assert given_up.why == "deadline"


def test_leaving_is_possible_in_every_state() -> None:
    world = World({"a": OK})
    machine = Failover(
        [world.candidate("a")], world.policy, world.health, Limits(), RequestTraits(), START, world.random
    )
    machine.left(START)
    machine.left(START)
    with pytest.raises(WrongOrder):
        machine.begin(START)


@pytest.mark.parametrize(("shows", "asked_next"), [("restarted", "b~"), ("text", "b+")], ids=["starts over", "goes on"])
def test_what_a_model_does_with_a_prefill_is_remembered(shows: Step, asked_next: str) -> None:
    world = World({"a": BREAKS, "b": always(((0.0, "status"), (1.0, shows), (1.0, "answer")))})
    for second in (0, 10):
        world.call("a b", at=second, facts=GOES_ON, streamed=True)
    world.run()
    assert world.requests() == f"a@0 b+@2 a@10 {asked_next}@12"


def test_a_refused_prefill_is_remembered_and_nobody_hears_of_it() -> None:
    world = World({"a": BREAKS, "b": [fails(NO_PREFILL), *OK]})
    first, second = (world.call("a b", at=at, facts=GOES_ON, streamed=True) for at in (0, 10))
    world.run()
    assert world.requests() == "a@0 b+@2 b~@2 a@10 b~@12"
    assert [attempt.model for call in (first, second) for attempt in call.attempts] == ["a", "b"] * 2


def test_a_refused_prefill_is_not_what_the_error_speaks_of() -> None:
    world = World({"a": [*BREAKS, fails(E404)], "b": always(NO_PREFILL)})
    call = world.call("a b", facts=GOES_ON, streamed=True, only_prefill=True)
    world.run()
    assert call.given_up is not None
    assert call.given_up.failure == E404


def test_an_endpoints_probe_succeeds_with_the_status_line_not_only_with_the_answer() -> None:
    health = MemoryHealth(Rules(min_samples=1), lambda: 0.0)
    slow, other = (HealthScopes(name, "openrouter", "openrouter#key") for name in ("slow", "other"))
    assert health.endpoint_failed(health.begin(slow, 0.0) or pytest.fail("not admitted"), 0.0)
    candidate = Candidate("slow", "slow", slow, attempts=1)
    machine = Failover([candidate], policy("smart"), health, Limits(), RequestTraits(), 20.0, lambda: 0.0)
    machine.begin(20.0)
    assert health.status_of(other, 20.0).availability is Availability.CIRCUIT_OPEN
    machine.reached(20.1)
    assert health.status_of(other, 20.1).availability is Availability.READY
