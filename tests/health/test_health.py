"""What may be asked: gates, cooldowns, accounts, what is learnt and what is said of it, in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from openrouter_fallback.health import Availability, Fact, HealthScopes, MemoryHealth, Rules

from ..support.health import A_OF_ANOTHER, A, B, C, begun, fail, health

# Standing: what may be asked


def test_nothing_known_is_ready() -> None:
    assert health().status_of(A, 0.0).availability is Availability.READY


def test_the_gates_of_a_breaker() -> None:
    known = health()
    fail(known, A, 0.0)
    at = known.status_of(A, 1.0)
    assert (at.availability, at.reason, at.until) == (Availability.CIRCUIT_OPEN, "failing", 10.0)
    assert known.begin(A, 1.0) is None
    assert known.status_of(A, 10.0).availability is Availability.PROBE
    probe = begun(known, A, 10.0)
    assert probe.probe
    at = known.status_of(A, 10.0)
    assert (at.availability, at.reason) == (Availability.CIRCUIT_OPEN, "failing, a probe is under way")
    assert known.begin(A, 10.0) is None
    assert begun(known, A, 10.0, forced=True).probe is False
    known.release(probe)
    assert known.status_of(A, 10.0).availability is Availability.PROBE


def test_an_endpoint_that_cannot_be_reached_leaves_out_its_models_only() -> None:
    known = health()
    for _ in range(3):
        known.endpoint_failed(begun(known, A, 0.0), 0.0)
    assert known.status_of(B, 1.0).reason == "endpoint openrouter cannot be reached"
    assert known.status_of(C, 1.0).availability is Availability.READY
    assert known.status_of(B, 10.0).availability is Availability.PROBE
    probe = begun(known, B, 10.0)
    assert known.status_of(A, 10.0).availability is Availability.CIRCUIT_OPEN
    known.endpoint_answered(probe, 11.0)
    assert known.status_of(A, 11.0).availability is Availability.READY


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
    assert known.status_of(A, 20.0).availability is Availability.PROBE


def test_two_endpoints_are_judged_apart() -> None:
    known = health()
    fail(known, A, 0.0)
    assert (known.status_of(A, 1.0).availability, known.status_of(C, 1.0).availability) == (
        Availability.CIRCUIT_OPEN,
        Availability.READY,
    )


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
    assert known.accounts.rate_limited(A, 0.0, retry_after) == ready_at
    if cool_until:
        at = known.status_of(A, cool_until - 0.01)
        assert (at.availability, at.reason, at.until) == (Availability.COOLING, "rate-limited", ready_at)
    assert known.status_of(A, cool_until).availability is Availability.READY


def test_without_a_figure_it_cools_1_2_4_seconds_until_an_answer() -> None:
    known, now = health(), 0.0
    for seconds in (1.0, 2.0, 4.0, 8.0):
        assert known.accounts.rate_limited(A, now, None) == now + seconds
        now += seconds
    known.success(begun(known, A, now), now)
    assert known.accounts.rate_limited(A, now, None) == now + 1.0


@pytest.mark.parametrize(("disable_duration", "longest"), [(300.0, 16.0), (5.0, 5.0)])
def test_its_own_steps_are_short(disable_duration: float, longest: float) -> None:
    known, now = health(), 0.0
    target = replace(A, longest_open=disable_duration)
    for _ in range(12):
        now = known.accounts.rate_limited(target, now, None)
    assert known.accounts.rate_limited(target, now, None) == now + longest


def test_the_servers_word_replaces_a_guess() -> None:
    known, now = health(), 0.0
    for _ in range(4):
        now = known.accounts.rate_limited(A, now, None)
    assert known.accounts.rate_limited(A, now, None) == now + 16.0
    assert known.accounts.rate_limited(A, now + 1.0, 5.0) == now + 6.0
    assert known.status_of(A, now + 5.9).availability is Availability.COOLING
    assert known.status_of(A, now + 6.0).availability is Availability.READY
    assert known.accounts.rate_limited(A, now + 2.0, None) == now + 6.0, "and no guess replaces it"


def test_a_burst_is_one_step() -> None:
    known = health()
    assert {known.accounts.rate_limited(A, 0.1 * number, None) for number in range(9)} == {1.0}
    assert known.accounts.rate_limited(A, 1.0, None) == 3.0


def test_the_longest_figure_holds() -> None:
    known = health()
    known.accounts.rate_limited(A, 0.0, 30.0)
    known.accounts.rate_limited(A, 0.0, 5.0)
    assert known.status_of(A, 6.0).until == 30.0


def test_a_limit_belongs_to_model_and_key() -> None:
    known = health()
    known.accounts.rate_limited(A, 0.0, 60.0)
    assert [known.status_of(target, 1.0).availability for target in (A, A_OF_ANOTHER, B, C)] == [
        Availability.COOLING, Availability.READY, Availability.READY, Availability.READY,
    ]  # fmt: skip


def test_it_says_nothing_about_the_models_health() -> None:
    known = health()
    for _ in range(10):
        known.accounts.rate_limited(A, 0.0, None)
    assert known.snapshot(A, 0.0).state == "closed"
    assert known.success_rate("a", 0.0) == 1.0


# Accounts


@pytest.mark.parametrize(
    ("learn", "what", "seconds"),
    [
        (lambda known: known.accounts.unauthorized(A, 0.0), "auth", 60.0),
        (lambda known: known.accounts.out_of_credits(A, 0.0, None), "credits", 60.0),
        (lambda known: known.accounts.out_of_credits(A, 0.0, 90.0), "credits", 90.0),
    ],
)
def test_a_refused_account_is_kept_for_the_order_only(
    learn: Callable[[MemoryHealth], None], what: str, seconds: float
) -> None:
    known = health()
    assert not known.accounts.any_refused
    learn(known)
    assert known.accounts.any_refused
    assert [known.accounts.status(target.account, seconds - 0.01) for target in (A, B, A_OF_ANOTHER, C)] == [
        what, what, None, None,
    ]  # fmt: skip
    assert known.accounts.status(A.account, seconds) is None
    assert known.status_of(A, 1.0).availability is Availability.READY


def test_an_answer_shows_that_the_key_is_good() -> None:
    known = health()
    known.accounts.unauthorized(A, 0.0)
    known.success(begun(known, B, 1.0), 1.0)
    assert known.accounts.status(A.account, 1.0) is None


def test_an_answer_says_nothing_about_credits() -> None:
    """It may have come from a free model."""
    known = health()
    known.accounts.out_of_credits(A, 0.0, None)
    known.success(begun(known, B, 1.0), 1.0)
    assert known.accounts.status(A.account, 1.0) == "credits"


# What is learnt, and by hand


def test_a_lack_is_remembered_for_ten_minutes_for_this_model_and_need() -> None:
    known = health()
    known.facts.learn("a", Fact.LACKS, 0.0, subject="tools")
    at = known.status_of(A, 1.0, {"tools", "images"})
    assert (at.availability, at.reason, at.until) == (Availability.UNFIT, "does not support tools", 600.0)
    assert known.status_of(A, 1.0).availability is Availability.READY
    assert known.status_of(A, 1.0, {"images"}).availability is Availability.READY
    assert known.status_of(B, 1.0, {"tools"}).availability is Availability.READY
    assert known.status_of(A, 600.0, {"tools"}).availability is Availability.READY


def test_a_success_unlearns_a_lack() -> None:
    known = health()
    known.facts.learn("a", Fact.LACKS, 0.0, subject="tools")
    known.success(begun(known, A, 1.0), 1.0, {"images"})
    assert known.status_of(A, 1.0, {"tools"}).availability is Availability.UNFIT
    known.success(begun(known, A, 1.0), 1.0, {"tools"})
    assert known.status_of(A, 1.0, {"tools"}).availability is Availability.READY


def test_disabled_until_then_whatever_else_is_known() -> None:
    known = health()
    known.disable(A, 60.0)
    at = known.status_of(A, 59.9)
    assert (at.availability, at.reason, at.until) == (Availability.DISABLED, "disabled by hand", 60.0)
    assert known.status_of(A_OF_ANOTHER, 59.9).availability is Availability.DISABLED
    assert known.status_of(A, 60.0).availability is Availability.READY


def everything(known: MemoryHealth) -> None:
    fail(known, A, 0.0)
    known.disable(A, 100.0)
    known.accounts.rate_limited(A, 0.0, 50.0)
    known.accounts.rate_limited(A_OF_ANOTHER, 0.0, 50.0)
    known.accounts.rate_limited(B, 0.0, 50.0)
    known.facts.learn("a", Fact.LACKS, 0.0, subject="tools")
    known.facts.learn("a", Fact.REASONS, 0.0)
    known.accounts.unauthorized(A, 0.0)
    known.accounts.out_of_credits(A, 0.0, None)
    for _ in range(3):
        known.endpoint_failed(begun(known, C, 0.0), 0.0)


def test_enable_undoes_all_that_leaves_a_model_out() -> None:
    known = health()
    everything(known)
    known.enable(A)
    assert known.status_of(A, 1.0, {"tools"}).availability is Availability.READY
    assert known.status_of(A_OF_ANOTHER, 1.0).availability is Availability.READY
    assert known.status_of(B, 1.0).availability is Availability.COOLING
    assert known.facts.get("a", Fact.REASONS), "that is no reason to leave it out"


def test_forget_forgets_one_model() -> None:
    known = health()
    everything(known)
    known.forget(A)
    assert known.status_of(A, 1.0, {"tools"}).availability is Availability.READY
    assert known.status_of(A_OF_ANOTHER, 1.0).availability is Availability.READY
    assert not known.facts.get("a", Fact.REASONS)
    assert known.status_of(B, 1.0).availability is Availability.COOLING
    assert known.accounts.status(A.account, 1.0) == "auth"


def test_reset_forgets_everything() -> None:
    known = health()
    everything(known)
    known.reset()
    assert {known.status_of(target, 1.0, {"tools"}).availability for target in (A, A_OF_ANOTHER, B, C)} == {
        Availability.READY
    }
    assert not known.accounts.any_refused


def test_an_attempt_that_began_before_a_reset_ends_without_harm() -> None:
    known = health()
    fail(known, A, 0.0)
    probe = begun(known, A, 10.0)
    known.reset()
    known.first_token(probe, 11.0)
    known.model_failed(probe, 12.0)
    known.release(probe)
    assert known.status_of(A, 12.0).availability is Availability.READY


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
    permit = begun(known, A, 0.0)
    known.first_token(permit, 0.4)
    known.success(permit, 1.0)
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
    short = HealthScopes("a", "openrouter", "k", longest_open=5.0)
    fail(known, short, 0.0)
    assert known.status_of(short, 0.0).until == 5.0
    assert known.accounts.rate_limited(short, 0.0, 60.0) == 60.0
    assert known.status_of(short, 5.0).availability is Availability.PROBE


def test_a_first_token_deadline_is_learnt_from_200_of_its_class_and_shown() -> None:
    known = health()
    for number in range(200):
        assert known.snapshot(A, 0.0).first_token_overdue is None
        known.first_token(begun(known, A, 0.0), 2.0)
        assert number == 199 or known.learnt_first_token("a", 0, 30.0, 2.0 + 20.0 * number) is None
    learnt = known.learnt_first_token("a", 0, 30.0, 5000.0)
    assert learnt is not None
    assert 8.0 <= learnt <= 8.0 * 1.2, "four times the 99th percentile, which is right to within a fifth"
    assert known.snapshot(A, 5000.0).first_token_overdue == learnt
    assert known.learnt_first_token("a", 0, 6.0, 5000.0) == 6.0
    assert known.learnt_first_token("a", 2, 30.0, 5000.0) is None, "a longer prompt"


def test_a_quick_model_still_has_five_seconds() -> None:
    known = health()
    for _ in range(200):
        known.first_token(begun(known, A, 0.0), 0.1)
    assert known.learnt_first_token("a", 0, 30.0, 1.0) == 5.0


def test_what_a_model_earns_is_bounded_and_its_own() -> None:
    """4 extra requests for each success, 400 at most, beyond the 10 of the retry budget's floor."""
    for successes, earned in ((0, 0), (3, 12), (1000, 400)):
        known = MemoryHealth(Rules(), lambda: 0.0, retry_budget=1e-9)
        for _ in range(successes):
            known.success(begun(known, A, 0.0), 0.0)
        assert sum(known.begin(A, 1.0, extra=True) is not None for _ in range(1000)) == 10 + earned
        assert known.begin(B, 1.0, extra=True) is None
