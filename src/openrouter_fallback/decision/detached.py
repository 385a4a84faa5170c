"""An overtaken probe: it runs on, detached from its call, until it has shown whether its model answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..failures.kinds import Failure, FailureKind
from .candidates import ActiveAttempt, CallState, CandidateState
from .learning import learn, settle


@dataclass(slots=True, eq=False)
class DetachedProbe:
    """Records the outcome of an overtaken probe. `until`: the clock's time from which silence is a failure.

    The call may have ended already: the probe has its own copy of the call's state, and changes nothing in the call.
    `over`: the outcome is recorded, and the attempt must be closed.
    """

    number: int
    until: float
    call: CallState
    attempt: ActiveAttempt
    over: bool = False

    def reached(self, now: float) -> None:
        """The endpoint has sent an HTTP status. If only the endpoint was probed, that is the outcome."""
        self.attempt.reached = True
        self.call.health.endpoint_answered(self.attempt.permit, now)
        if not self.attempt.permit.model.probe:
            self.over = True
            self.call.health.ended(self.attempt.permit)

    def answered(self, now: float) -> None:
        """The first token or the complete answer has come: a success."""
        self.over = True
        self.call.health.proved(self.attempt.permit, now)

    def failed(self, failure: Failure, now: float) -> None:
        """The attempt has failed."""
        self.over = True
        state = self.attempt.state
        state.attempts, state.failure = 1, failure
        learn(self.call, self.attempt, failure, now)
        settle(self.call, state, now)

    def expired(self, now: float) -> None:
        """No first token came until `until`. For a model without streaming, silence is no failure."""
        self.over = True
        attempt, health = self.attempt, self.call.health
        permit, candidate = attempt.permit, attempt.state.candidate
        if permit.endpoint.probe and not attempt.reached:
            health.endpoint_failed(permit, now)
        if not candidate.streams or health.spoke_since(permit):
            health.ended(permit)
            return
        health.outlasted(permit, now)
        health.model_failed(permit, now, reason=str(FailureKind.TIMED_OUT))

    def undecided(self) -> None:
        """The probe ended without an outcome. It keeps its slot."""
        self.over = True
        self.call.health.ended(self.attempt.permit)

    def dropped(self) -> None:
        """The probe was closed with its client or event loop: it gives its slot back."""
        if not self.over:
            self.over = True
            self.call.health.cut_short(self.attempt.permit)


def detached(call: CallState, attempt: ActiveAttempt) -> DetachedProbe | None:
    """The detached probe of an overtaken attempt, if it is a probe without an outcome so far; else None."""
    permit, candidate = attempt.permit, attempt.state.candidate
    open_question = permit.model.probe or (permit.endpoint.probe and not attempt.reached)
    if attempt.token or not open_question or call.policy.any_error:
        return None
    state = CandidateState(candidate)
    state.permit = permit
    own = replace(call, candidates=[state], active={}, permits={candidate.target.endpoint: permit})
    until = permit.started + call.timing.proof(candidate, permit.started)
    return DetachedProbe(attempt.start.number, until, own, replace(attempt, state=state))
