"""What a failure changes: health, cooldowns, penalties, and the call's other candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ..failures.kinds import Failure, FailureKind
from ..failures.policy import Action, Rule
from ..health import Fact
from ..health.accounts import FREE
from ..routes.candidate import Candidate
from ..routes.needs import blamed
from .candidates import ActiveAttempt, CallState, CandidateState

BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 4.0
LONGEST_COOLDOWN_SECONDS = 60.0
"""The longest wait for a cooldown, if every model cools down; for a longer one the models are called nevertheless."""

_AUTH_SERVICE = Rule(Action.RETRY, again=True)
"""The rule for a 401 with a key that was accepted within the last hour."""


def names_model(failure: Failure) -> bool:
    """Whether a 404 concerns the model, and not an item, a value or the URL of the request."""
    return not failure.harmless


def learn(call: CallState, attempt: ActiveAttempt, failure: Failure, now: float) -> Rule:
    """Record a failure in health and in its candidate's state. Returns the rule for the failure."""
    rule = call.policy.rule(failure)
    state, permit, kind = attempt.state, attempt.permit, failure.kind
    health, target = call.health, state.candidate.target
    if kind is FailureKind.CONNECTION:
        health.endpoint_failed(permit, now)
        for other in (call.permits[target.endpoint], *(other.permit for other in call.active.values())):
            other.continue_from(permit)
    elif attempt.reached:
        health.endpoint_answered(permit, now)
    if kind in (FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED) and (attempt.start.ignore or state.candidate.max_price):
        state.excluded = True
        health.release(permit)
        return Rule(Action.NEXT)
    state.backoff_until = now + backoff(call, state.attempts)
    if kind is FailureKind.RATE_LIMITED and not call.policy.any_error:
        _cool_down(call, state, failure, now)
    else:
        state.ready_at = max(state.backoff_until, now + (failure.retry_after or 0.0))
    if kind is FailureKind.CREDITS:
        health.accounts.out_of_credits(target, now, failure.retry_after)
    elif kind is FailureKind.AUTH:
        if rule.action is Action.OTHER_ACCOUNT and health.accounts.accepted(target.account, now):
            rule = _AUTH_SERVICE  # the key is valid: the service that checks keys fails
        else:
            health.accounts.unauthorized(target, now)
    elif kind is FailureKind.UNSUPPORTED:
        for need in blamed(failure.message, call.traits.needs):
            health.facts.learn(target.model, Fact.LACKS, now, subject=need)
    elif kind is FailureKind.NOT_FOUND and not call.policy.any_error and not names_model(failure):
        rule = replace(rule, disables=False)
    if _hurts(call, attempt, failure, now) if rule.hurts == "model" else rule.disables:
        state.pending_penalty = rule
        health.ended(permit)
        if permit.probe:
            settle(call, state, now)
    elif kind is FailureKind.TIMED_OUT and failure.status is None:
        health.ended(permit)  # silence without an outcome: a probe keeps its slot
    else:
        health.release(permit)
    if kind is FailureKind.TIMED_OUT and failure.status is None and not attempt.token and state.candidate.streams:
        health.outlasted(permit, now)
    return rule


def _cool_down(call: CallState, state: CandidateState, failure: Failure, now: float) -> None:
    """Record a rate limit of the model, or of all free models of its API key."""
    target, told, free = state.candidate.target, failure.retry_after, failure.scope == "free"
    state.ready_at = call.health.accounts.rate_limited(target, now, told, free=free)
    if told is not None and told <= LONGEST_COOLDOWN_SECONDS and now + told < call.deadline:
        # An earlier call may have been told of a later time, for which this call cannot wait.
        state.backoff_until = max(state.backoff_until, now + told)
    for sibling in call.candidates if free else ():  # they share one limit: all of them would fail
        if sibling.candidate.target.account == target.account and sibling.candidate.model.endswith(FREE):
            sibling.excluded, sibling.why = True, "the free models of this API key are used up"


def _hurts(call: CallState, attempt: ActiveAttempt, failure: Failure, now: float) -> bool:
    """Whether a failure counts against the model's health.

    A deadline that the call made shorter than the model's usual one only counts if it exceeds `health.patience`.
    """
    start = attempt.start
    if failure.kind is not FailureKind.TIMED_OUT or failure.status is not None or attempt.token:
        return True
    usual = call.timing.usual_first_token(start.candidate)[0]
    own_deadline = start.attempt_by is not None and now >= start.attempt_by
    if start.candidate.streams and not own_deadline and call.health.spoke_since(start.permit):
        return False  # the model has answered another call since: it is slow, not dead
    if own_deadline or start.first_token_by >= start.permit.started + usual:
        return True
    return start.candidate.streams and now - start.permit.started > call.health.patience(start.candidate.key)


def backoff(call: CallState, attempts: int) -> float:
    """Seconds before the next attempt at a model after so many `attempts`: a random half to whole of the step."""
    step = min(BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 9), LONGEST_BACKOFF_SECONDS)
    return (0.5 + 0.5 * call.random()) * step


def settle(call: CallState, state: CandidateState, now: float) -> None:
    """Record the call's one outcome for a model when the call leaves the model."""
    rule, state.pending_penalty = state.pending_penalty, None
    if rule is None or state.permit is None:
        return
    at_once = rule.disables and (state.exhausted or rule.hurts is None or state.permit.model.probe)
    open_for = state.candidate.target.longest_open if at_once else None
    counts, reason = rule.hurts is not None, str(state.failure.kind) if state.failure else ""
    call.health.model_failed(state.permit, now, open_for=open_for, counts=counts, reason=reason)


def put_aside(call: CallState, state: CandidateState, rule: Rule) -> None:
    """Apply the rule of a failure to the call's other candidates, and to this candidate's later rounds."""
    target = state.candidate.target
    if rule.action is Action.OTHER_ACCOUNT:
        for other in call.candidates:
            other.excluded = other.excluded or _refused_too(state, other.candidate)
    elif rule.action is Action.RECONNECT:
        _reorder(call, lambda c: c.target.endpoint == target.endpoint)
    elif rule.action is Action.AFFORDABLE:
        _reorder(call, state.candidate.affordable)
    elif state.failure is not None and state.failure.kind is FailureKind.CONTEXT_TOO_LONG:
        _only_larger(call, state, state.failure)
    if not rule.again:
        state.excluded = True


def _refused_too(state: CandidateState, other: Candidate) -> bool:
    """Whether the account's refusal also applies to `other`. An account without credits may still use free models."""
    empty = state.failure is not None and state.failure.kind is FailureKind.CREDITS
    spared = empty and other.free and not state.candidate.free
    return other.target.account == state.candidate.target.account and not spared


def _only_larger(call: CallState, state: CandidateState, failure: Failure) -> None:
    """Exclude models whose context is not larger than that of the model for which the request was too long."""
    held = state.candidate.context
    if held is None or failure.code == "max_tokens_exceeded" or call.policy.any_error:
        return
    for other in call.candidates:
        context = other.candidate.context if not (other.attempts or other.active) else None
        if context is not None and context <= held:
            other.excluded, other.why = True, f"its context of {context} tokens is no larger"


def _reorder(call: CallState, rank: Callable[[Candidate], int]) -> None:
    call.candidates.sort(key=lambda state: (state.attempts > 0, rank(state.candidate)))
