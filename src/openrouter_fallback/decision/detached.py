"""A probe that another attempt has overtaken: it runs on, detached, until it has shown whether its model answers."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..failures.kinds import Failure, FailureKind
from .candidates import ActiveAttempt, CallState, CandidateState
from .learning import learn, settle


@dataclass(slots=True, eq=False)
class DetachedProbe:
    """What is left to be told of an overtaken probe. `until`: the clock's time at which silence is a failure.

    Its call may be over long since: it has a view of the call of its own, and changes nothing in the call. `over`: the
    verdict is told, and the attempt is to be closed.
    """

    number: int
    until: float
    call: CallState
    attempt: ActiveAttempt
    over: bool = False

    @property
    def opened(self) -> list[str]:
        """Models and endpoints whose breaker its failure has opened."""
        return self.call.opened

    def reached(self, now: float) -> None:
        """The endpoint has given an HTTP status. Where only the endpoint was probed, that is the verdict."""
        self.attempt.reached = True
        self.call.health.endpoint_answered(self.attempt.ticket, now)
        if not self.attempt.ticket.model.probe:
            self.over = True
            self.call.health.ended(self.attempt.ticket)

    def answered(self, now: float) -> None:
        """The first token has come, or the whole answer: the model answers."""
        self.over = True
        self.call.health.proved(self.attempt.ticket, now)

    def failed(self, failure: Failure, now: float) -> None:
        """The attempt has failed by itself."""
        self.over = True
        state = self.attempt.state
        state.attempts, state.failure = 1, failure
        learn(self.call, self.attempt, failure, now)
        settle(self.call, state, now)

    def expired(self, now: float) -> None:
        """No first token until `until`. Silence proves nothing of a model whose answers are not streamed."""
        self.over = True
        call, attempt = self.call, self.attempt
        health, ticket, candidate = call.health, attempt.ticket, attempt.state.candidate
        if ticket.endpoint.probe and not attempt.reached and health.endpoint_failed(ticket, now):
            call.opened.append(candidate.target.endpoint)
        if not candidate.streams or health.spoke_since(ticket):
            health.ended(ticket)
            return
        health.outlasted(ticket, now)
        if health.model_failed(ticket, now, reason=str(FailureKind.TIMED_OUT)):
            call.opened.append(candidate.key)

    def undecided(self) -> None:
        """It ended without a verdict; the slot of the probe stays taken."""
        self.over = True
        self.call.health.ended(self.attempt.ticket)

    def dropped(self) -> None:
        """It was closed with its client or its event loop: the slot of the probe is free again."""
        if not self.over:
            self.over = True
            self.call.health.cut_short(self.attempt.ticket)


def detached(call: CallState, attempt: ActiveAttempt) -> DetachedProbe | None:
    """The rest of an overtaken attempt, where it is a probe that has shown nothing so far; None for all others."""
    ticket, candidate = attempt.ticket, attempt.state.candidate
    open_question = ticket.model.probe or (ticket.endpoint.probe and not attempt.reached)
    if attempt.token or not open_question or call.policy.any_error:
        return None
    state = CandidateState(candidate)
    state.ticket = ticket
    own = replace(call, candidates=[state], active={}, tickets={candidate.target.endpoint: ticket}, opened=[])
    until = ticket.started + call.timing.proof(candidate, ticket.started)
    return DetachedProbe(attempt.start.number, until, own, replace(attempt, state=state))
