"""The next step: which candidate to call, or until when to wait. Functions over the candidates' states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..failures.policy import Action
from ..health import Availability, AvailabilityStatus
from .candidates import CallState, CandidateState
from .commands import SleepUntil
from .learning import LONGEST_COOLDOWN_SECONDS, backoff

RECONNECT_SECONDS = 1.0
BUDGET_WAIT_SECONDS = 10.0
"""How long a call waits for the retry budget before it fails, all its requests together."""
BUDGET_LOOK_SECONDS = 0.5
SPARED_LOOK_SECONDS = 1.0
"""How often a call whose attempts are silent looks whether the probe of another call has closed a circuit."""

SAME_MODEL = frozenset({Action.RETRY, Action.RECONNECT, Action.USE_UP})


@dataclass(slots=True)
class Start:
    """Call this candidate. `forced`: although a circuit is open; `extra`: charge the retry budget."""

    state: CandidateState
    forced: bool = False
    extra: bool = False


Step = Start | SleepUntil | None
"""None: no candidate is left to call or to wait for."""


def following(call: CallState, now: float) -> Step:
    """The next untried candidate in the order of the chain; if all were tried, see `_again`."""
    states = [state for state in call.candidates if call.open(state) and not state.active]
    open_to = [(state, call.status_of(state, now)) for state in states]
    ready = [(state, at) for state, at in open_to if not state.attempts and at.admits]
    if not ready:
        return _again(call, open_to, now)
    state, at = ready[0]
    if len(ready) > 1:
        state, at = next((one for one in ready if not _holds_back(call, *one, ready, now)), ready[0])
    return Start(state, forced=at.unreachable)


def _holds_back(
    call: CallState,
    state: CandidateState,
    at: AvailabilityStatus,
    ready: list[tuple[CandidateState, AvailabilityStatus]],
    now: float,
) -> bool:
    """Whether this call spares a model that has recovered within the last 10 s; decided once per call."""
    if state.held_back is None:
        target = state.candidate.target
        elsewhere = any(other.candidate.target.endpoint != target.endpoint for other, _ in ready)
        ready_now = at.availability is Availability.READY
        state.held_back = ready_now and call.health.holds_back(target, now, elsewhere=elsewhere)
    return state.held_back


def _again(call: CallState, open_to: list[tuple[CandidateState, AvailabilityStatus]], now: float) -> Step:
    """All available candidates were tried: later rounds, then open circuits, then cooldowns."""
    unpaid = False
    rounds = [(state, at) for state, at in open_to if state.attempts and at.admits]
    forced = [
        (state, at) for state, at in open_to if at.availability in (Availability.CIRCUIT_OPEN, Availability.UNFIT)
    ]
    cooling = [at.until for _, at in open_to if at.availability is Availability.COOLING and at.until is not None]
    if call.active:  # these may take long: the last attempts of a model whose circuit is open are spared until then
        spared = [
            (state, at) for state, at in forced if state.attempts and at.availability is Availability.CIRCUIT_OPEN
        ]
        forced = [one for one in forced if one not in spared]
        cooling += [max(at.until or now, now + SPARED_LOOK_SECONDS) for _, at in spared]
    due = {id(state): _due(call, state, now) for state, _ in (*rounds, *forced)}
    rounds.sort(key=lambda one: (one[0].failed_mid_stream, due[id(one[0])]))
    if rounds and call.health.retries_forbidden and not call.policy.any_error:
        rounds, unpaid = [], True
    if rounds and due[id(rounds[0][0])] > now:
        soonest = min([due[id(rounds[0][0])], *cooling])
        if soonest < call.deadline:
            return SleepUntil(soonest, call.deadline)
    # A model whose circuit has opened since this call tried it comes before another attempt at one tried more often.
    fewest = min((state.attempts for state, _ in rounds), default=0)
    left = [(state, at) for state, at in forced if 0 < state.attempts < fewest and not state.failed_mid_stream]
    for state, at in (*left, *rounds):
        if due[id(state)] <= now and call.affords(state, now):
            return Start(state, forced=at.unreachable or (state, at) in left, extra=True)
        unpaid = unpaid or due[id(state)] <= now
    everything = call.all_circuits_open(now)
    for state, _ in sorted(forced, key=_turn):
        extra = state.attempts > 0 or everything
        if due[id(state)] <= now and (not extra or call.affords(state, now)):
            return Start(state, forced=True, extra=extra)
        unpaid = unpaid or due[id(state)] <= now
    if unpaid:
        return _await_budget(call, cooling, now)
    soonest = min([*(due[id(state)] for state, _ in forced), *cooling], default=now)
    if now < soonest < call.deadline and (forced or soonest - now <= LONGEST_COOLDOWN_SECONDS):
        if soonest >= call.latest_wait:
            # Hardly any time is left for an answer then: first the models that would cool down beyond the deadline.
            beyond = [(state, at) for state, at in open_to if at.until is None or at.until >= call.deadline]
            if (step := after_cooldown(call, beyond, now)) is not None:
                return step
        call.unpaid_since, call.unpaid_seconds = None, 0.0
        return SleepUntil(soonest, call.deadline)
    return after_cooldown(call, open_to, now)


def _due(call: CallState, state: CandidateState, now: float) -> float:
    """When a candidate that does not cool down may be called (again).

    It is the time that its server has named, where the call can wait so long, and the end of its backoff otherwise: the
    cooldown that this call was told of is over for other calls, if one of them was answered.
    """
    if state.ready_at - now <= LONGEST_COOLDOWN_SECONDS and state.ready_at < call.deadline:
        return state.ready_at
    return min(state.ready_at, state.backoff_until)


def once_more(call: CallState, now: float) -> Step:
    """Half of the time has passed and no other candidate can be called: retry a model beside its own late attempt.

    So a silent or slow model that has recovered since can answer the call. Once per model.
    """
    late = {id(attempt.state): attempt for attempt in call.active.values() if attempt.late}
    for state in call.candidates:
        if id(state) not in late or state.active > 1 or state.attempts + 1 >= state.candidate.attempts:
            continue
        at = call.status_of(state, now)
        if at.availability is Availability.READY and call.affords(state, now):
            return Start(state, forced=at.unreachable, extra=True)
    return None


def after_cooldown(call: CallState, open_to: list[tuple[CandidateState, AvailabilityStatus]], now: float) -> Step:
    """All remaining models cool down for longer than the call can wait: call them nevertheless, after a backoff."""
    cooling = [state for state, at in open_to if at.availability is Availability.COOLING]
    if not cooling or call.policy.any_error:
        return None
    state = min(cooling, key=lambda state: (state.attempts, state.backoff_until))
    if state.backoff_until > now:
        return SleepUntil(state.backoff_until, call.deadline) if state.backoff_until < call.deadline else None
    if state.attempts and not call.affords(state, now):
        return _await_budget(call, [], now)
    return Start(state, forced=True, extra=state.attempts > 0)


def _await_budget(call: CallState, cooling: Sequence[float], now: float) -> Step:
    """Wait until the retry budget has room, or a candidate has earned a request: `BUDGET_WAIT_SECONDS` in a call.

    After a wait for a cooldown, the call has all these seconds again, because all calls that waited for the cooldown
    wake at once; so it has if one of its models answers another call meanwhile, once. While an attempt is under way,
    the call does not fail and waits without a limit.
    """
    look = now + (0.5 + 0.5 * call.random()) * BUDGET_LOOK_SECONDS
    if call.active and not call.health.retries_forbidden:
        soonest = min([look, *cooling])
        return SleepUntil(soonest, call.deadline) if soonest < call.deadline else None
    call.over_budget = True
    if call.unpaid_since is None:
        call.unpaid_since = now
    elif not call.waits_on and call.health.answered_since(_keys(call), call.unpaid_since):
        call.waits_on, call.unpaid_since, call.unpaid_seconds = True, now, 0.0
    until = call.unpaid_since + BUDGET_WAIT_SECONDS - call.unpaid_seconds
    if call.health.retries_forbidden or now >= until:
        soonest = min(cooling, default=now)
        if not now < soonest < call.deadline:
            return None
        call.unpaid_since, call.unpaid_seconds = None, 0.0
        return SleepUntil(soonest, call.deadline)
    soonest = min([look, until, *cooling])
    return SleepUntil(soonest, call.deadline) if soonest < call.deadline else None


def _keys(call: CallState) -> list[str]:
    """The models that this call may still call."""
    return [state.candidate.key for state in call.candidates if call.open(state)]


def same_again(call: CallState, state: CandidateState, action: Action, now: float) -> Step:
    """Retry the same model before any other, if the rule's action says so; else None."""
    if action is Action.QUEUE:
        state.attempts -= 1
        call.queued += 1
        state.ready_at = now + (0.5 + 0.5 * call.random()) * min(0.1 * 2 ** min(call.queued, 9), 5.0)
        return _pause(call, state.ready_at)
    if state.exhausted or action not in SAME_MODEL or not call.affords(state, now):
        return None
    availability = call.status_of(state, now).availability
    if action is Action.USE_UP:
        refused = availability is Availability.CIRCUIT_OPEN and state.permit is not None and state.permit.probe
        if now < call.deadline and availability is not Availability.DISABLED and not refused:
            return Start(state, forced=availability is Availability.CIRCUIT_OPEN, extra=True)
        return None
    if state.retried:
        return None
    state.retried = True
    wait = RECONNECT_SECONDS if action is Action.RECONNECT else backoff(call, 1)
    if availability not in (Availability.READY, Availability.COOLING):
        return None
    return _pause(call, max(now + wait, state.ready_at if availability is Availability.COOLING else 0.0))


def _pause(call: CallState, until: float) -> SleepUntil | None:
    """Wait for one candidate; None if the call's deadline comes first."""
    return SleepUntil(until, call.deadline) if until < call.deadline else None


def _turn(unavailable: tuple[CandidateState, AvailabilityStatus]) -> tuple[bool, int, int, float]:
    """Sort key of unavailable candidates: fewest attempts, soonest to recover; those that lack a feature come last.

    Models with one attempt keep the order of the chain: a model that was called too early is not called again.
    """
    state, at = unavailable
    forced, until = (at.forced, at.until or 0.0) if state.most_attempts > 1 else (0, 0.0)
    return at.availability is Availability.UNFIT, state.attempts, forced, until
