"""How an attempt starts: its deadlines, and what its request omits."""

from __future__ import annotations

from ..failures.kinds import FailureKind
from ..health import Fact, Permit
from ..request.handover import Form
from .candidates import ActiveAttempt, CallState, CandidateState
from .commands import StartAttempt
from .timeouts import SLOW_FIRST_TOKEN_SECONDS, SLOW_STALL_SECONDS

PROBE_ALONE_SECONDS = 0.5
"""Seconds in which a probe runs alone while another candidate is ready."""
BROKE_OFF_SHARE = 0.75
"""The share of the call's time after which a model that broke off is called again beside a silent last one."""


def with_deadlines(
    call: CallState, state: CandidateState, permit: Permit, now: float, *, forced: bool
) -> tuple[StartAttempt, ActiveAttempt]:
    """The command and the state of a new attempt. `forced`: candidates with an open circuit may follow."""
    candidate, limits, timing = state.candidate, call.limits, call.timing
    remaining = call.deadline - now
    probe = permit.probe
    others = call.goes_on(state, now, forced=forced)
    beside = others or call.may_recover(state, now)
    first_token, ends = timing.first_token(candidate, remaining, others=beside, probe=probe)
    ends = ends or call.policy.any_error
    first_token_by = now + first_token if ends and first_token < remaining else call.deadline
    hedge_at = now + timing.hedge_after(candidate) if beside and limits.hedge is not None else first_token_by
    rest = call.side_by_side and (others or any(not other.exhausted for other in call.candidates if other is not state))
    half_at = now + remaining / 2 if rest and limits.whole else None
    doubt_at = first_token_by
    if not ends and beside:
        doubt_at = now + min(first_token, timing.learnt(candidate, now))
    elif not ends and rest:
        # Then a model that has stalled or broken off is called again. Earlier, it could overtake a slow model's answer.
        doubt = max(remaining / 2, SLOW_FIRST_TOKEN_SECONDS)
        if call.broke_off(state):
            doubt = min(doubt, BROKE_OFF_SHARE * remaining)
        doubt_at = min(now + doubt, call.deadline)
    raced = probe and call.side_by_side and not call.health.probes_alone(candidate.target)
    ready = raced and any(call.ready(other, now) for other in call.candidates)
    probe_at = now + PROBE_ALONE_SECONDS if ready else None
    form = state.form or call.health.facts.value(candidate.key, Fact.FORM, now)
    drips = timing.drips(candidate, remaining, others=beside or call.broke_off(state))
    start = StartAttempt(
        candidate=candidate,
        number=call.started,
        permit=permit,
        first_token_by=first_token_by,
        total_by=call.deadline,
        attempt_by=now + limits.attempt if limits.attempt is not None else None,
        stall=timing.stall(candidate, remaining, others=beside),
        tool_stall=limits.stall or SLOW_STALL_SECONDS,
        ignore=_ignored(call, state),
        way=call.way(state) if call.delivered else None,
        hedges=bool(call.active),
        without=call.health.facts.subjects(candidate.taker, Fact.REFUSES, now),
        max_tokens=state.max_tokens,
        form=Form.NORMAL if form is None else Form(form),
        drip_by=None if drips is None else now + drips,
    )
    return start, ActiveAttempt(
        state,
        start,
        hedge_at=hedge_at if hedge_at < first_token_by else None,
        doubt_at=doubt_at if doubt_at < first_token_by else None,
        half_at=half_at,
        probe_at=probe_at,
    )


def _ignored(call: CallState, state: CandidateState) -> tuple[str, ...]:
    """On a retry of the same model: the provider that has failed, if OpenRouter has named one."""
    failure = state.failure
    if (
        failure is None
        or failure.kind is not FailureKind.UNAVAILABLE
        or failure.provider is None
        or call.traits.own_providers
        or state.candidate.own_providers
        or not state.candidate.on_openrouter
    ):
        return ()
    return (failure.provider,)
