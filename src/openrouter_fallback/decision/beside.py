"""Attempts side by side: when another attempt may start, and how overtaken attempts end."""

from __future__ import annotations

from ..failures.kinds import FailureKind
from .candidates import ActiveAttempt, CallState, CandidateState
from .detached import DetachedProbe, detached

MOST_BESIDE = 3
"""The most active attempts of one call while first tokens are overdue."""


def beside_at(call: CallState) -> float | None:
    """The time at which `beside` must be called; None: not before the next event of an active attempt."""
    attempts = call.active
    if not attempts:
        return None
    if call.begun:
        times = [attempt.half_at for attempt in attempts.values() if attempt.half_at is not None]
    else:
        dues = [at for one in attempts.values() for at in (one.hedge_at, one.doubt_at, one.half_at, one.probe_at)]
        times = [at for at in dues if at is not None]
    if call.later_at is not None and (call.to_the_end or not call.begun):
        times.append(call.later_at)
    return min(times, default=None)


def next_hedge(call: CallState, now: float) -> CandidateState | None:
    """The candidate of one more attempt, if the user's `hedge` allows one."""
    hedging = call.limits.hedge
    if hedging is None or not call.traits.idempotent or now >= call.deadline:
        return None
    if len(call.active) >= hedging.max_parallel or call.committed:
        return None
    return next((state for state in call.candidates if call.fresh(state, now)), None)


def next_probe(call: CallState, now: float) -> CandidateState | None:
    """The candidate that is due for a probe, if it may be probed beside the active attempts."""
    if not call.side_by_side or call.delivered or call.begun or now >= call.deadline:
        return None
    if len(call.active) >= MOST_BESIDE:
        return None
    return next((state for state in call.candidates if call.probeable(state, now)), None)


def probe_can_wait(call: CallState, now: float) -> bool:
    """Whether the call can start with a candidate that needs no probe, and make its probe beside that one."""
    if not call.side_by_side or any(call.health.probes_alone(one.candidate.target) for one in call.candidates):
        return False
    return any(call.fresh(state, now) for state in call.candidates)


def mark_due(call: CallState, now: float) -> bool:
    """Mark the deadlines that active attempts have reached. Returns whether a hedge is due."""
    hedges = False
    for attempt in list(call.active.values()):
        if attempt.doubt_at is not None and attempt.doubt_at <= now:
            attempt.doubt_at, call.doubtful = None, True
            if not attempt.token:
                call.overdue[attempt.start.number] = f"first token overdue after {now - attempt.permit.started:.1f} s"
                _overdue(call, attempt, now)
        if attempt.probe_at is not None and attempt.probe_at <= now:
            attempt.probe_at, attempt.probing = None, True
        if attempt.half_at is not None and attempt.half_at <= now:
            attempt.half_at, attempt.late, call.doubtful, call.to_the_end = None, True, True, True
            waited = now - attempt.permit.started
            call.overdue.setdefault(
                attempt.start.number, f"no whole answer after {waited:.1f} s, half of the call's time"
            )
        if attempt.hedge_at is not None and attempt.hedge_at <= now:
            attempt.hedge_at, hedges = None, True
    return hedges


def _overdue(call: CallState, attempt: ActiveAttempt, now: float) -> None:
    """The first token is overdue: record that in health. The attempt stays under way."""
    health, permit, candidate = call.health, attempt.permit, attempt.state.candidate
    health.late(candidate.key, now)
    if not candidate.streams or health.spoke_since(permit) or not call.goes_on(attempt.state, now):
        return
    waited = now - permit.started
    ill = waited >= call.timing.usual_first_token(candidate)[0] or waited > health.patience(candidate.key)
    if ill:
        health.model_failed(permit, now, reason=str(FailureKind.TIMED_OUT))


def overtake(call: CallState, winner: ActiveAttempt, now: float) -> list[DetachedProbe]:
    """End all other attempts. Returns the probes among them, which run on, detached.

    Records the time that each other attempt has waited as a lower bound of its model's time to first token.
    """
    probes = []
    for attempt in list(call.active.values()):
        if attempt is winner:
            continue
        if attempt.state is winner.state:  # one call records one outcome per model: the winner's
            land(call, attempt)
            call.health.ended(attempt.permit)
            continue
        probe = detached(call, attempt)
        if probe is not None and now < probe.until:
            land(call, attempt)
            probes.append(probe)
            continue
        abandon(call, attempt, now, overtaken=True)
        if attempt.state.candidate.streams:
            call.health.outlasted(attempt.permit, now)
    return probes


def abandon(call: CallState, attempt: ActiveAttempt, now: float, *, overtaken: bool = False) -> None:
    """End an attempt that has no outcome. A failure is recorded only for a silence longer than `health.patience`."""
    land(call, attempt)
    health, permit, key = call.health, attempt.permit, attempt.state.candidate.key
    if attempt.reached:
        health.endpoint_answered(permit, now)
    silent = attempt.state.candidate.streams and not attempt.token
    ill = silent and now - permit.started > health.patience(key) and not health.spoke_since(permit)
    if ill or (overtaken and attempt.late and attempt.token):
        health.model_failed(permit, now, reason=str(FailureKind.TIMED_OUT))
    elif overtaken:
        health.ended(permit)
    else:
        health.release(permit)


def land(call: CallState, attempt: ActiveAttempt) -> None:
    """Remove the attempt from the active attempts."""
    attempt.state.active -= 1
    del call.active[attempt.start.number]
