"""The circuit breaker of one model or endpoint, in virtual time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from openrouter_fallback.health import Rules, State
from openrouter_fallback.health.breaker import Breaker, BreakerPermit

from ..support.health import A, B, begun, breaker, health, trip


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
def test_open_for_ten_jittered_seconds_and_25_from_the_begin_of_a_failed_probe(jitter: float, first: float) -> None:
    one = breaker(jitter)
    trip(one, 100.0)
    assert one.state(100.0 + first - 0.01) is State.OPEN
    assert one.state(100.0 + first) is State.HALF_OPEN
    one.failure(one.begin(200.0), 203.0)
    assert one.open_until == 200.0 + 2.5 * first


def test_the_time_does_not_grow_with_failed_probes() -> None:
    one = breaker()
    trip(one, 0.0)
    now, lengths = 0.0, []
    for _ in range(6):
        assert one.open_until is not None
        lengths.append(one.open_until - now)
        now = one.open_until
        assert one.failure(one.begin(now), now) is True
    assert lengths == [10.0, 25.0, 25.0, 25.0, 25.0, 25.0]


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


def test_a_success_starts_with_ten_seconds_anew() -> None:
    one = breaker()
    trip(one, 0.0)
    one.failure(one.begin(10.0), 10.0)
    one.success(one.begin(40.0), 40.0)
    trip(one, 41.0)
    assert one.open_until == 51.0


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
    assert not one.admits(24.9)
    assert one.admits(25.0), "20 to 25 s after its begin, whatever it does"


def test_a_probe_that_another_one_has_followed_tells_nothing_when_it_fails() -> None:
    one = half_open()
    first, second = one.begin(0.0), one.begin(25.0)
    assert (first.probe, second.probe) == (True, True)
    assert one.failure(first, 30.0) is False
    assert not one.admits(30.0), "the second one's slot is its own"
    one.success(second, 31.0)
    assert one.state(31.0) is State.CLOSED


def test_a_probe_that_has_lost_a_race_keeps_its_slot() -> None:
    one = half_open()
    one.end(one.begin(0.0))
    assert not one.admits(1.0)
    assert one.admits(25.0)


def test_a_failure_of_an_attempt_that_was_under_way_at_the_last_one_is_the_same_event() -> None:
    one = breaker()
    held = [one.begin(0.0) for _ in range(40)]
    assert not any(one.failure(attempt, 1.0 + 0.02 * number) for number, attempt in enumerate(held))
    assert (one.failures_in_a_row, one.window.counts(2.0)) == (1, (0, 40))
    assert one.failure(one.begin(2.0), 2.0) is False, "a blip and one later are two events, whatever the rate"


def test_what_fails_more_than_a_second_later_is_an_event_of_its_own() -> None:
    one = breaker()
    held = [one.begin(0.0) for _ in range(3)]
    assert [one.failure(attempt, at) for attempt, at in zip(held, (1.0, 2.1, 3.2), strict=True)] == [False, False, True]


def test_a_circuit_that_has_just_closed_admits_two_and_then_a_growing_share() -> None:
    one = half_open()
    one.success(one.begin(0.0), 0.0)
    assert not one.holds_back(1.0, 0.5), "nothing is under way"
    held = [one.begin(1.0) for _ in range(2)]
    assert [one.holds_back(now, 0.5) for now in (1.0, 5.0, 7.0, 7.1, 10.0)] == [True, True, True, False, False]
    assert not one.holds_back(1.0, 0.5), "what is over is over"
    for attempt in held:
        one.success(attempt, 8.0)
    assert one.in_flight == 0


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
    assert one.open_until == 25.0
    assert one.begin(25.0).probe


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


def opened_since() -> tuple[Breaker, BreakerPermit]:
    one = breaker()
    held = one.begin(0.0)
    trip(one, 1.0)
    return one, held


def closed_since() -> tuple[Breaker, BreakerPermit]:
    one = breaker()
    held = one.begin(0.0)
    trip(one, 1.0)
    one.success(one.begin(11.0), 11.0)
    return one, held


def probed_since() -> tuple[Breaker, BreakerPermit]:
    one = half_open()
    held = one.begin(-5.0, forced=True)
    one.failure(one.begin(0.0), 0.0)
    return one, held


@pytest.mark.parametrize("since", [opened_since, closed_since, probed_since])
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
    since: Callable[[], tuple[Breaker, BreakerPermit]], end: Callable[[Breaker, BreakerPermit], object]
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
