"""The public tracker, as in the recipes."""

from __future__ import annotations

from openrouter_fallback import HealthTracker


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
