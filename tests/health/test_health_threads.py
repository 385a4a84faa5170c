"""Health in threads, forks and pickles; and that nothing in it grows."""

from __future__ import annotations

import os
import pickle
import signal
import threading
import tracemalloc
import warnings
from collections.abc import Callable

import pytest

from openrouter_fallback import HealthTracker
from openrouter_fallback.health import Availability, HealthScopes, MemoryHealth, Rules

from ..support.health import A, B, begun, fail, health


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
    known = MemoryHealth(Rules(min_samples=1), lambda: forking())  # dice are thrown under the lock
    status = -1

    def forking() -> float:
        nonlocal status
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(10)
            there = threading.Thread(target=lambda: found.append(known.status_of(A, 0.0).availability))
            there.start()
            there.join()
            os._exit(0 if found == [Availability.READY] else 1)
        _, status = os.waitpid(child, 0)
        return 0.0

    found: list[Availability] = []
    fail(known, A, 0.0, times=1)
    assert status == 0


def test_a_pickled_health_knows_the_rules_and_nothing_else() -> None:
    known = MemoryHealth(Rules(min_samples=1), float)
    fail(known, A, 0.0, times=1)
    copy = pickle.loads(pickle.dumps(known))
    assert copy.status_of(A, 0.0).availability is Availability.READY
    fail(copy, A, 0.0, times=1)
    assert copy.status_of(A, 0.0).availability is Availability.CIRCUIT_OPEN


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
            known.accounts.rate_limited(B, now, None)

    assert grown(go, 20_000) < 20_000


def test_tenants_that_come_and_go_take_no_memory() -> None:
    known = health()
    for number in range(10_000):
        target = HealthScopes("a", "openrouter", f"openrouter#{number}")
        now = number * 10.0
        known.accounts.rate_limited(target, now, 5.0)
        known.accounts.unauthorized(target, now)
        known.accounts.out_of_credits(target, now, None)
    accounts = known.accounts
    assert max(map(len, (accounts.cooldowns, *accounts.refused.values()))) <= 4097  # type: ignore[arg-type]
