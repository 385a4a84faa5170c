"""Windows, quantiles, breakers, cooldowns and what is remembered, all in virtual time."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import tracemalloc
import warnings
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback import HealthTracker
from openrouter_fallback.health import Gate, MemoryHealth, Rules, State, Target, Ticket
from openrouter_fallback.health.breaker import Breaker, Pass
from openrouter_fallback.health.window import BUCKETS, Latencies, Window

A = Target("a", "openrouter", "openrouter#one")
A_OF_ANOTHER = Target("a", "openrouter", "openrouter#two")
B = Target("b", "openrouter", "openrouter#one")
C = Target("groq:c", "groq", "groq#one")


def health(rules: Rules | None = None, jitter: float = 0.0) -> MemoryHealth:
    return MemoryHealth(rules or Rules(), lambda: jitter)


def breaker(jitter: float = 0.0, **rules: float) -> Breaker:
    return Breaker(Rules(**rules), lambda: jitter)  # type: ignore[arg-type]


def begun(known: MemoryHealth, target: Target, now: float, *, forced: bool = False) -> Ticket:
    ticket = known.begin(target, now, forced=forced)
    assert ticket is not None
    return ticket


def fail(known: MemoryHealth, target: Target, now: float, times: int = 3) -> None:
    for _ in range(times):
        known.model_failed(begun(known, target, now), now)


def trip(one: Breaker, now: float) -> None:
    for _ in range(one.rules.min_samples):
        one.failure(one.begin(now), now)


# The window


def test_without_data_the_rate_is_one() -> None:
    assert Window(600).rate(0.0) == 1.0


def test_outcomes_leave_with_their_bucket() -> None:
    window = Window(600)
    window.bad(15.0)
    window.good(45.0)
    assert window.counts(599.0) == (1, 1)
    assert window.counts(600.0) == (1, 0)
    assert window.counts(630.0) == (0, 0)
    assert window.rate(630.0) == 1.0


def test_a_gap_longer_than_the_window_forgets_everything() -> None:
    window = Window(600)
    window.bad(0.0)
    assert window.counts(5000.0) == (0, 0)
    window.good(5001.0)
    assert window.counts(5001.0) == (1, 0)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.floats(0, 300), st.booleans()), min_size=1, max_size=40
    ),
    st.floats(0, 1300),
)  # fmt: skip
def test_the_window_covers_between_19_twentieths_and_all_of_its_seconds(
    outcomes: list[tuple[float, bool]], later: float
) -> None:
    window, seconds, now, seen = Window(600), 600.0, 0.0, []
    for after, good in outcomes:
        now += after
        (window.good if good else window.bad)(now)
        seen.append((now, good))
    now += later
    counted = window.counts(now)
    for index, good in enumerate((True, False)):
        ages = [now - at for at, was_good in seen if was_good is good]
        at_least = sum(age < seconds * (BUCKETS - 1) / BUCKETS for age in ages)
        at_most = sum(age <= seconds for age in ages)
        assert at_least <= counted[index] <= at_most


@pytest.mark.parametrize(
    ("now", "expected"),
    [(20.0, (1, 1)), (500.0, (1, 1)), (615.0, (1, 1)), (700.0, (1, 0))],
    ids=["same bucket", "later", "the failure has left the window", "all but the success have left"],
)
def test_a_failure_that_went_well_after_all_is_amended(now: float, expected: tuple[int, int]) -> None:
    window = Window(600)
    window.bad(10.0)
    window.bad(40.0)
    window.amend(10.0, now)
    assert window.counts(now) == expected
    for later in range(30):
        good, bad = window.counts(now + 30 * later)
        assert good >= 0
        assert bad >= 0
    assert window.counts(now + 600) == (0, 0)


def test_what_was_cleared_meanwhile_is_not_amended_but_counted() -> None:
    window = Window(600)
    window.bad(10.0)
    window.clear()
    window.amend(10.0, 20.0)
    assert window.counts(20.0) == (1, 0)
    assert window.counts(620.0) == (0, 0)


def test_time_that_goes_back_a_little_is_counted_where_it_belongs() -> None:
    window = Window(600)
    window.good(100.0)
    window.bad(50.0)
    assert window.counts(100.0) == (1, 1)
    window.bad(-10_000.0)
    assert window.counts(100.0) == (1, 2)


# Latencies


def test_no_latencies_no_quantile() -> None:
    assert Latencies(600).quantile(0.5) is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.floats(0.001, 600), min_size=1, max_size=60), st.sampled_from([0.05, 0.5, 0.95, 0.99, 1.0]))
def test_a_quantile_is_right_to_a_step_of_a_fifth(durations: list[float], share: float) -> None:
    latencies = Latencies(600)
    for duration in durations:
        latencies.record(duration, 0.0)
    found = latencies.quantile(share)
    exact = min(d for d in durations if sum(other <= d for other in durations) >= share * len(durations))
    assert found is not None
    assert exact <= found * (1 + 1e-9)
    assert found <= exact * 1.2 * (1 + 1e-9)


def test_longer_than_anything_is_the_last_bound() -> None:
    latencies = Latencies(600)
    latencies.record(1e6, 0.0)
    assert latencies.quantile(0.5) == pytest.approx(600, rel=0.2)


def test_latencies_are_kept_for_one_to_two_windows() -> None:
    latencies = Latencies(600)
    latencies.record(100.0, 0.0)
    latencies.record(1.0, 601.0)
    assert latencies.count == 2
    assert latencies.quantile(1.0) == pytest.approx(100, rel=0.2)
    latencies.record(1.0, 1202.0)
    assert latencies.count == 2
    assert latencies.quantile(1.0) == pytest.approx(1, rel=0.2)


def test_latencies_of_long_ago_are_not_the_last_window() -> None:
    latencies = Latencies(600)
    latencies.record(100.0, 0.0)
    latencies.record(1.0, 50_000.0)
    assert latencies.count == 1
    assert latencies.quantile(1.0) == pytest.approx(1, rel=0.2)


# The breaker


def test_opens_after_min_samples_failed_calls_in_a_row() -> None:
    one = breaker()
    assert [one.failure(one.begin(0.0), 0.0) for _ in range(3)] == [False, False, True]
    assert one.state(0.0) is State.OPEN


def test_a_success_in_between_starts_the_row_anew() -> None:
    one = breaker()
    for _ in range(4):
        trip_short(one)
        one.success(one.begin(0.0), 0.0)
    assert one.state(0.0) is State.CLOSED


def trip_short(one: Breaker) -> None:
    one.failure(one.begin(0.0), 0.0)


@pytest.mark.parametrize(
    ("outcomes", "opens"),
    [
        ("+--", False),  # 0.33 is not below 0.3
        ("+-+--+--+--", False),
        ("+--+--" + "--", True),  # 2 of 8 = 0.25
        ("--", False),  # fewer than min_samples
        ("---", True),
        ("++++---", True),  # by the row
    ],
)
def test_opens_when_the_rate_falls_below_the_threshold(outcomes: str, opens: bool) -> None:
    one = breaker(min_samples=3)
    for outcome in outcomes:
        if outcome == "+":
            one.success(one.begin(0.0), 0.0)
        else:
            one.failure(one.begin(0.0), 0.0)
    assert (one.state(0.0) is State.OPEN) is opens


def test_opens_by_rate_without_a_row_of_failures() -> None:
    one = breaker(min_samples=5)
    for outcome in "--+--":
        assert one.state(0.0) is State.CLOSED
        held = one.begin(0.0)
        one.success(held, 0.0) if outcome == "+" else one.failure(held, 0.0)
    assert one.state(0.0) is State.OPEN


def test_a_rate_at_the_threshold_is_not_below() -> None:
    one = breaker(min_samples=4, skip_threshold=0.5)
    for outcome in "+-+-":
        held = one.begin(0.0)
        one.success(held, 0.0) if outcome == "+" else one.failure(held, 0.0)
    assert one.state(0.0) is State.CLOSED


def test_a_success_that_keeps_the_rate_low_does_not_open() -> None:
    one = breaker(min_samples=3)
    for outcome in "--+":
        held = one.begin(0.0)
        one.success(held, 0.0) if outcome == "+" else one.failure(held, 0.0)
    assert one.state(0.0) is State.CLOSED


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 10.0), (0.5, 9.0), (1.0, 8.0)])
def test_open_for_ten_jittered_seconds_then_twice_that(jitter: float, first: float) -> None:
    one = breaker(jitter)
    trip(one, 100.0)
    assert one.state(100.0 + first - 0.01) is State.OPEN
    assert one.state(100.0 + first) is State.HALF_OPEN
    one.failure(one.begin(200.0), 200.0)
    assert one.open_until == 200.0 + 2 * first


def test_the_time_doubles_per_failed_probe_up_to_the_longest() -> None:
    one = breaker(longest_open=60.0)
    trip(one, 0.0)
    now, lengths = 0.0, []
    for _ in range(6):
        assert one.open_until is not None
        lengths.append(one.open_until - now)
        now = one.open_until
        assert one.failure(one.begin(now), now) is True
    assert lengths == [10.0, 20.0, 40.0, 60.0, 60.0, 60.0]


def test_a_model_that_is_dead_for_days_is_still_probed() -> None:
    one = breaker(longest_open=5.0)
    trip(one, 0.0)
    for probe in range(1, 1100):
        assert one.failure(one.begin(5.0 * probe), 5.0 * probe) is True
    assert one.open_until == 5.0 * 1100


def test_the_first_time_is_bounded_by_the_longest_too() -> None:
    one = breaker(longest_open=4.0)
    trip(one, 0.0)
    assert one.open_until == 4.0


def test_a_success_starts_the_doubling_anew() -> None:
    one = breaker()
    trip(one, 0.0)
    one.failure(one.begin(10.0), 10.0)
    one.success(one.begin(30.0), 30.0)
    trip(one, 31.0)
    assert one.open_until == 41.0


def half_open() -> Breaker:
    one = breaker()
    trip(one, -10.0)
    assert one.state(0.0) is State.HALF_OPEN
    return one


def test_half_open_admits_exactly_one_probe() -> None:
    one = half_open()
    assert one.admits(0.0)
    held = one.begin(0.0)
    assert held.probe
    assert not one.admits(0.0)
    assert not one.admits(1000.0), "however long it takes"


def test_looking_takes_no_slot() -> None:
    one = half_open()
    assert [one.admits(0.0) for _ in range(3)] == [True] * 3


def test_a_complete_answer_closes_and_clears_the_window() -> None:
    one = half_open()
    one.success(one.begin(0.0), 1.0)
    assert one.state(1.0) is State.CLOSED
    assert one.window.counts(1.0) == (0, 0)


def test_the_first_token_and_five_seconds_close() -> None:
    one = half_open()
    held = one.begin(0.0)
    one.first_token(held, 2.0)
    assert one.state(6.9) is State.HALF_OPEN
    assert one.state(7.0) is State.CLOSED
    one.success(held, 9.0)
    assert one.window.counts(9.0) == (1, 0)


def test_a_failure_after_those_five_seconds_is_one_of_a_closed_breaker() -> None:
    one = half_open()
    held = one.begin(0.0)
    one.first_token(held, 2.0)
    assert one.failure(held, 8.0) is False
    assert one.state(8.0) is State.CLOSED
    assert one.window.counts(8.0) == (0, 1)


def test_the_first_token_of_another_attempt_is_not_the_probes() -> None:
    one = half_open()
    other = one.begin(0.0, forced=True)
    one.begin(0.0)
    one.first_token(other, 1.0)
    assert one.state(100.0) is State.HALF_OPEN


def test_any_other_end_gives_the_slot_back() -> None:
    one = half_open()
    held = one.begin(0.0)
    one.first_token(held, 1.0)
    one.release(held)
    assert one.state(100.0) is State.HALF_OPEN
    assert one.begin(100.0).probe


def test_only_the_probe_gives_the_slot_back() -> None:
    one = half_open()
    other = one.begin(0.0, forced=True)
    one.begin(0.0)
    one.release(other)
    assert not one.admits(0.0)


def test_a_probe_that_failed_before_in_its_call_still_settles() -> None:
    one = half_open()
    held = one.begin(0.0)
    held.failed_at = -10.0
    assert one.failure(held, 1.0) is True
    assert one.state(1.0) is State.OPEN
    assert one.open_until == 21.0
    assert one.begin(21.0).probe


@pytest.mark.parametrize("begin_at", [-5.0, 0.0], ids=["open", "half-open"])
def test_a_forced_try_takes_no_slot_and_its_failure_changes_nothing(begin_at: float) -> None:
    one = half_open()
    held = one.begin(begin_at, forced=True)
    assert (held.probe, held.forced) == (False, True)
    before = (one.open_until, one.epoch, one.window.counts(1.0))
    assert one.failure(held, 1.0) is False
    assert one.failure(one.begin(begin_at, forced=True), 1.0, open_for=300.0) is False
    assert (one.open_until, one.epoch, one.window.counts(1.0)) == before
    assert one.admits(1.0)


def test_a_forced_success_closes() -> None:
    one = half_open()
    one.success(one.begin(-5.0, forced=True), -4.0)
    assert one.state(-4.0) is State.CLOSED


def test_forced_tries_are_counted_until_the_state_changes() -> None:
    one = half_open()
    for _ in range(3):
        one.begin(-5.0, forced=True)
    assert one.forced == 3
    one.failure(one.begin(0.0), 0.0)
    assert one.forced == 0


def test_forced_and_closed_is_an_attempt_like_any_other() -> None:
    one = breaker()
    assert not one.begin(0.0, forced=True).forced


def opened_since() -> tuple[Breaker, Pass]:
    one = breaker()
    held = one.begin(0.0)
    trip(one, 1.0)
    return one, held


def closed_since() -> tuple[Breaker, Pass]:
    one = breaker()
    held = one.begin(0.0)
    trip(one, 1.0)
    one.success(one.begin(11.0), 11.0)
    return one, held


@pytest.mark.parametrize("since", [opened_since, closed_since])
@pytest.mark.parametrize(
    "end",
    [
        lambda one, held: one.success(held, 12.0),
        lambda one, held: one.failure(held, 12.0),
        lambda one, held: one.failure(held, 12.0, open_for=300.0),
    ],
    ids=["success", "failure", "failure that opens at once"],
)
def test_an_attempt_from_before_the_last_change_counts_in_the_window_only(
    since: Callable[[], tuple[Breaker, Pass]], end: Callable[[Breaker, Pass], object]
) -> None:
    one, held = since()
    before = (one.open_until, one.epoch, one.failures_in_a_row)
    counted = sum(one.window.counts(12.0))
    assert end(one, held) in (None, False)
    assert (one.open_until, one.epoch, one.failures_in_a_row) == before
    assert sum(one.window.counts(12.0)) == counted + 1


def test_a_forced_success_from_before_a_failed_probe_does_not_close() -> None:
    one = half_open()
    held = one.begin(-5.0, forced=True)
    one.failure(one.begin(0.0), 0.0)
    one.success(held, 1.0)
    assert one.state(1.0) is State.OPEN


def test_a_success_from_before_does_not_end_a_row_of_failures() -> None:
    one, held = closed_since()
    for outcome in "+++--":
        now = one.begin(12.0)
        one.success(now, 12.0) if outcome == "+" else one.failure(now, 12.0)
    one.success(held, 12.0)
    assert one.failure(one.begin(12.0), 12.0) is True


def test_opened_at_once_for_a_given_time() -> None:
    one = breaker()
    assert one.failure(one.begin(0.0), 0.0, open_for=300.0) is True
    assert (one.open_until, one.window.counts(0.0)) == (300.0, (0, 1))


def test_opened_at_once_without_being_a_failure() -> None:
    one = breaker()
    one.failure(one.begin(0.0), 0.0, open_for=300.0, counts=False)
    assert (one.open_until, one.window.counts(0.0)) == (300.0, (0, 0))


def test_a_call_is_one_outcome() -> None:
    known = health()
    first = begun(known, A, 0.0)
    known.model_failed(first, 0.0)
    second = begun(known, A, 1.0)
    second.continue_from(first)
    known.model_failed(second, 1.0)
    assert (known.snapshot(A, 1.0).failures, known.success_rate("a", 1.0)) == (1, 0.0)
    third = begun(known, A, 2.0)
    third.continue_from(second)
    known.success(third, 2.0)
    seen = known.snapshot(A, 2.0)
    assert (seen.successes, seen.failures) == (1, 0)


def test_a_call_at_two_models_of_an_endpoint_is_one_outcome_of_the_endpoint() -> None:
    known = health(Rules(min_samples=2))
    first = begun(known, A, 0.0)
    assert known.endpoint_failed(first, 0.0) is False
    second = begun(known, B, 1.0)
    second.continue_from(first)
    assert known.endpoint_failed(second, 1.0) is False
    assert known.endpoint_failed(begun(known, B, 2.0), 2.0) is True


# Standing: what may be asked


def test_nothing_known_is_ready() -> None:
    assert health().standing(A, 0.0).gate is Gate.READY


def test_the_gates_of_a_breaker() -> None:
    known = health()
    fail(known, A, 0.0)
    at = known.standing(A, 1.0)
    assert (at.gate, at.reason, at.until) == (Gate.LEFT_OUT, "failing", 10.0)
    assert known.begin(A, 1.0) is None
    assert known.standing(A, 10.0).gate is Gate.PROBE
    probe = begun(known, A, 10.0)
    assert probe.probe
    at = known.standing(A, 10.0)
    assert (at.gate, at.reason) == (Gate.LEFT_OUT, "failing, a probe is under way")
    assert known.begin(A, 10.0) is None
    assert begun(known, A, 10.0, forced=True).probe is False
    known.release(probe)
    assert known.standing(A, 10.0).gate is Gate.PROBE


def test_an_endpoint_that_cannot_be_reached_leaves_out_its_models_only() -> None:
    known = health()
    for _ in range(3):
        known.endpoint_failed(begun(known, A, 0.0), 0.0)
    assert known.standing(B, 1.0).reason == "endpoint openrouter cannot be reached"
    assert known.standing(C, 1.0).gate is Gate.READY
    assert known.standing(B, 10.0).gate is Gate.PROBE
    probe = begun(known, B, 10.0)
    assert known.standing(A, 10.0).gate is Gate.LEFT_OUT
    known.endpoint_answered(probe, 11.0)
    assert known.standing(A, 11.0).gate is Gate.READY


@pytest.mark.parametrize("end", ["release", "model_failed"])
def test_an_endpoints_probe_that_says_nothing_about_it_gives_the_slot_back(end: str) -> None:
    known = health()
    for _ in range(3):
        known.endpoint_failed(begun(known, A, 0.0), 0.0)
    probe = begun(known, A, 10.0)
    if end == "release":
        known.release(probe)
    else:
        known.model_failed(probe, 20.0)
    assert known.standing(A, 20.0).gate is Gate.PROBE


def test_two_endpoints_are_judged_apart() -> None:
    known = health()
    fail(known, A, 0.0)
    assert (known.standing(A, 1.0).gate, known.standing(C, 1.0).gate) == (Gate.LEFT_OUT, Gate.READY)


# Rate limits


@pytest.mark.parametrize(
    ("retry_after", "ready_at", "cool_until"),
    [(20.0, 20.0, 20.0), (0.0, 0.0, 0.0), (400.0, 400.0, 300.0), (None, 1.0, 1.0)],
    ids=["as told", "at once", "told more than disable_duration", "not told"],
)
def test_a_cooldown_is_as_long_as_the_server_says_up_to_disable_duration(
    retry_after: float | None, ready_at: float, cool_until: float
) -> None:
    known = health()
    assert known.rate_limited(A, 0.0, retry_after) == ready_at
    if cool_until:
        at = known.standing(A, cool_until - 0.01)
        assert (at.gate, at.reason, at.until) == (Gate.COOLING, "rate-limited", ready_at)
    assert known.standing(A, cool_until).gate is Gate.READY


def test_without_a_figure_it_cools_1_2_4_seconds_until_an_answer() -> None:
    known, now = health(), 0.0
    for seconds in (1.0, 2.0, 4.0, 8.0):
        assert known.rate_limited(A, now, None) == now + seconds
        now += seconds
    known.success(begun(known, A, now), now)
    assert known.rate_limited(A, now, None) == now + 1.0


def test_its_own_steps_end_at_disable_duration() -> None:
    known, now = health(), 0.0
    for _ in range(12):
        now = known.rate_limited(A, now, None)
    assert known.rate_limited(A, now, None) == now + 300.0


def test_a_burst_is_one_step() -> None:
    known = health()
    assert {known.rate_limited(A, 0.1 * number, None) for number in range(9)} == {1.0}
    assert known.rate_limited(A, 1.0, None) == 3.0


def test_the_longest_figure_holds() -> None:
    known = health()
    known.rate_limited(A, 0.0, 30.0)
    known.rate_limited(A, 0.0, 5.0)
    assert known.standing(A, 6.0).until == 30.0


def test_a_limit_belongs_to_model_and_key() -> None:
    known = health()
    known.rate_limited(A, 0.0, 60.0)
    assert [known.standing(target, 1.0).gate for target in (A, A_OF_ANOTHER, B, C)] == [
        Gate.COOLING, Gate.READY, Gate.READY, Gate.READY,
    ]  # fmt: skip


def test_it_says_nothing_about_the_models_health() -> None:
    known = health()
    for _ in range(10):
        known.rate_limited(A, 0.0, None)
    assert known.snapshot(A, 0.0).state == "closed"
    assert known.success_rate("a", 0.0) == 1.0


# Accounts


@pytest.mark.parametrize(
    ("learn", "what", "seconds"),
    [
        (lambda known: known.unauthorized(A, 0.0), "auth", 60.0),
        (lambda known: known.out_of_credits(A, 0.0, None), "credits", 60.0),
        (lambda known: known.out_of_credits(A, 0.0, 90.0), "credits", 90.0),
    ],
)
def test_a_refused_account_is_kept_for_the_order_only(
    learn: Callable[[MemoryHealth], None], what: str, seconds: float
) -> None:
    known = health()
    assert not known.any_account_refused
    learn(known)
    assert known.any_account_refused
    assert [known.account_standing(target, seconds - 0.01) for target in (A, B, A_OF_ANOTHER, C)] == [
        what, what, None, None,
    ]  # fmt: skip
    assert known.account_standing(A, seconds) is None
    assert known.standing(A, 1.0).gate is Gate.READY


def test_an_answer_shows_that_the_key_is_good() -> None:
    known = health()
    known.unauthorized(A, 0.0)
    known.success(begun(known, B, 1.0), 1.0)
    assert known.account_standing(A, 1.0) is None


def test_an_answer_says_nothing_about_credits() -> None:
    """It may have come from a free model."""
    known = health()
    known.out_of_credits(A, 0.0, None)
    known.success(begun(known, B, 1.0), 1.0)
    assert known.account_standing(A, 1.0) == "credits"


# What is learnt, and by hand


def test_a_lack_is_remembered_for_an_hour_for_this_model_and_need() -> None:
    known = health()
    known.learn_lack(A, "tools", 0.0)
    at = known.standing(A, 1.0, {"tools", "images"})
    assert (at.gate, at.reason, at.until) == (Gate.UNFIT, "does not support tools", 3600.0)
    assert known.standing(A, 1.0).gate is Gate.READY
    assert known.standing(A, 1.0, {"images"}).gate is Gate.READY
    assert known.standing(B, 1.0, {"tools"}).gate is Gate.READY
    assert known.standing(A, 3600.0, {"tools"}).gate is Gate.READY


def test_reasoning_unasked_is_remembered() -> None:
    known = health()
    known.learn_reasons(A)
    assert (known.reasons_unasked("a"), known.reasons_unasked("b")) == (True, False)


def test_disabled_until_then_whatever_else_is_known() -> None:
    known = health()
    known.disable(A, 60.0)
    at = known.standing(A, 59.9)
    assert (at.gate, at.reason, at.until) == (Gate.DISABLED, "disabled by hand", 60.0)
    assert known.standing(A_OF_ANOTHER, 59.9).gate is Gate.DISABLED
    assert known.standing(A, 60.0).gate is Gate.READY


def everything(known: MemoryHealth) -> None:
    fail(known, A, 0.0)
    known.disable(A, 100.0)
    known.rate_limited(A, 0.0, 50.0)
    known.rate_limited(A_OF_ANOTHER, 0.0, 50.0)
    known.rate_limited(B, 0.0, 50.0)
    known.learn_lack(A, "tools", 0.0)
    known.learn_reasons(A)
    known.unauthorized(A, 0.0)
    known.out_of_credits(A, 0.0, None)
    for _ in range(3):
        known.endpoint_failed(begun(known, C, 0.0), 0.0)


def test_enable_undoes_all_that_leaves_a_model_out() -> None:
    known = health()
    everything(known)
    known.enable(A)
    assert known.standing(A, 1.0, {"tools"}).gate is Gate.READY
    assert known.standing(A_OF_ANOTHER, 1.0).gate is Gate.READY
    assert known.standing(B, 1.0).gate is Gate.COOLING
    assert known.reasons_unasked("a"), "that is no reason to leave it out"


def test_forget_forgets_one_model() -> None:
    known = health()
    everything(known)
    known.forget(A)
    assert known.standing(A, 1.0, {"tools"}).gate is Gate.READY
    assert known.standing(A_OF_ANOTHER, 1.0).gate is Gate.READY
    assert not known.reasons_unasked("a")
    assert known.standing(B, 1.0).gate is Gate.COOLING
    assert known.account_standing(A, 1.0) == "auth"


def test_reset_forgets_everything() -> None:
    known = health()
    everything(known)
    known.reset()
    assert {known.standing(target, 1.0, {"tools"}).gate for target in (A, A_OF_ANOTHER, B, C)} == {Gate.READY}
    assert not known.any_account_refused


def test_an_attempt_that_began_before_a_reset_ends_without_harm() -> None:
    known = health()
    fail(known, A, 0.0)
    probe = begun(known, A, 10.0)
    known.reset()
    known.first_token(probe, 11.0)
    known.model_failed(probe, 12.0)
    known.release(probe)
    assert known.standing(A, 12.0).gate is Gate.READY


# Patience


def test_patience_is_ten_seconds_until_a_hundred_samples_are_known() -> None:
    known = health()
    for number in range(100):
        assert known.patience("a") == 10.0
        known.first_token(begun(known, A, float(number)), number + 0.5)
    assert known.patience("a") == pytest.approx(0.5, rel=0.2)
    assert known.patience("b") == 10.0


def test_patience_is_the_p99() -> None:
    known = health()
    for number in range(200):
        known.first_token(begun(known, A, 0.0), 30.0 if number % 50 == 0 else 1.0)
    assert known.patience("a") == pytest.approx(30, rel=0.2)
    assert known.first_token_quantile("a", 0.5) == pytest.approx(1, rel=0.2)


# The snapshot


def test_the_snapshot_says_what_is_known() -> None:
    known = health()
    ticket = begun(known, A, 0.0)
    known.first_token(ticket, 0.4)
    known.success(ticket, 1.0)
    fail(known, A, 2.0)
    seen = known.snapshot(A, 3.0)
    assert (seen.model, seen.state, seen.success_rate) == ("a", "open", 0.25)
    assert (seen.successes, seen.failures, seen.seconds_left, seen.reason) == (1, 3, 9.0, "failing")
    assert seen.first_token_p50 == pytest.approx(0.4, rel=0.2)
    assert seen.first_token_p95 == pytest.approx(0.4, rel=0.2)


def test_the_snapshot_of_a_model_never_asked() -> None:
    seen = health().snapshot(A, 0.0)
    assert (seen.state, seen.success_rate, seen.successes, seen.failures) == ("closed", 1.0, 0, 0)
    assert (seen.first_token_p50, seen.first_token_p95, seen.seconds_left, seen.reason) == (None, None, None, "")


def test_a_model_may_be_left_out_no_longer_than_its_own_disable_duration() -> None:
    known = health()
    short = Target("a", "openrouter", "k", longest_open=5.0)
    fail(known, short, 0.0)
    assert known.standing(short, 0.0).until == 5.0
    assert known.rate_limited(short, 0.0, 60.0) == 60.0
    assert known.standing(short, 5.0).gate is Gate.PROBE


# Threads, forks, pickles, memory


def test_of_many_threads_one_gets_the_probe() -> None:
    known = health()
    fail(known, A, 0.0)
    start, got = threading.Barrier(16), []

    def go() -> None:
        start.wait()
        got.append(known.begin(A, 10.0))

    threads = [threading.Thread(target=go) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ticket.probe for ticket in got if ticket is not None] == [True]
    assert len(got) == 16


def test_threads_lose_no_count() -> None:
    known = health()

    def go() -> None:
        for number in range(500):
            ticket = begun(known, A, float(number % 100))
            known.first_token(ticket, number % 100 + 0.1)
            known.success(ticket, number % 100 + 0.2)

    threads = [threading.Thread(target=go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert known.snapshot(A, 100.0).successes == 2000


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_lock_held_during_a_fork_is_free_in_the_child() -> None:
    known = health()
    with known._lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            os._exit(0 if known.standing(A, 0.0).gate is Gate.READY else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0


def test_a_pickled_health_knows_the_rules_and_nothing_else() -> None:
    known = MemoryHealth(Rules(min_samples=1), float)
    fail(known, A, 0.0, times=1)
    copy = pickle.loads(pickle.dumps(known))
    assert copy.standing(A, 0.0).gate is Gate.READY
    fail(copy, A, 0.0, times=1)
    assert copy.standing(A, 0.0).gate is Gate.LEFT_OUT


def grown(go: Callable[[range], None], times: int) -> int:
    """Bytes that a second round of `times` leaves behind."""
    go(range(times // 10))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        go(range(times // 10, times))
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()


def test_a_hundred_thousand_outcomes_take_no_memory() -> None:
    tracker = HealthTracker(clock=lambda: now)
    now = 0.0

    def go(numbers: range) -> None:
        nonlocal now
        for number in numbers:
            now = number * 0.05
            (tracker.record_failure if number % 3 else tracker.record_success)("a")

    assert grown(go, 100_000) < 20_000
    assert tracker.get_success_rate("a") == pytest.approx(1 / 3, abs=0.01)


def test_many_calls_take_no_memory() -> None:
    known = health()

    def go(numbers: range) -> None:
        for number in numbers:
            now = number * 0.1
            ticket = known.begin(A, now) or begun(known, A, now, forced=True)
            known.first_token(ticket, now + 0.05)
            if number % 7 == 0:
                known.model_failed(ticket, now + 0.1)
            else:
                known.success(ticket, now + 0.1)
            known.rate_limited(B, now, None)

    assert grown(go, 20_000) < 20_000


def test_tenants_that_come_and_go_take_no_memory() -> None:
    known = health()
    for number in range(10_000):
        target = Target("a", "openrouter", f"openrouter#{number}")
        now = number * 10.0
        known.rate_limited(target, now, 5.0)
        known.unauthorized(target, now)
        known.out_of_credits(target, now, None)
    assert max(map(len, (known._cooldowns, known._no_auth, known._no_credits))) <= 4097  # type: ignore[arg-type]


# The public tracker, as in the recipes


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_tracker_of_the_recipes() -> None:
    clock = Clock()
    tracker = HealthTracker(window_minutes=10, clock=clock)
    assert tracker.get_success_rate("a") == 1.0
    assert tracker.should_skip("a") is False
    tracker.record_failure("a")
    assert tracker.get_success_rate("a") == 0.0
    assert tracker.should_skip("a") is True, "no minimum of samples unless asked for"
    tracker.record_success("a")
    assert tracker.get_success_rate("a") == 0.5
    assert tracker.should_skip("a") is False
    assert tracker.should_skip("a", threshold=0.6) is True
    assert tracker.should_skip("a", 0.5) is False, "not below"
    assert tracker.get_success_rate("b") == 1.0
    clock.now = 600.0
    assert tracker.get_success_rate("a") == 1.0
    assert tracker.should_skip("a", threshold=0.6) is False


def test_the_tracker_with_a_minimum_of_samples() -> None:
    tracker = HealthTracker(clock=Clock())
    for expected in (False, False, True):
        tracker.record_failure("a")
        assert tracker.should_skip("a", min_samples=3) is expected


def test_the_tracker_sorts_as_in_the_recipes() -> None:
    tracker = HealthTracker()
    tracker.record_failure("a")
    tracker.record_success("b")
    assert sorted("ab", key=tracker.get_success_rate, reverse=True) == ["b", "a"]
