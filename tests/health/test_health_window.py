"""The window of outcomes and the quantiles of latencies, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback.health.window import BUCKETS, Latencies, Window


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
