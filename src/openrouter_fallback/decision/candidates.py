"""What one call knows of its candidates, and of the attempts that are under way."""

from __future__ import annotations

from dataclasses import dataclass

from ..answer.seam import ContinuationMode
from ..failures.kinds import Failure
from ..failures.policy import Rule
from ..health import Availability, AvailabilityStatus, Permit
from ..request.handover import Form
from ..routes.candidate import Candidate
from .commands import StartAttempt


class CandidateState:
    """A candidate within one call."""

    __slots__ = (
        "attempts",
        "backoff_until",
        "candidate",
        "excluded",
        "failed_mid_stream",
        "failure",
        "flying",
        "form",
        "held_back",
        "max_tokens",
        "pending_penalty",
        "ready_at",
        "retried",
        "ticket",
        "way",
        "why",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.attempts = 0
        self.failure: Failure | None = None
        self.ready_at = 0.0
        self.backoff_until = 0.0
        self.held_back: bool | None = None
        self.retried = False
        self.excluded = False
        self.why = ""
        self.flying = False
        self.pending_penalty: Rule | None = None
        self.ticket: Permit | None = None
        self.way: ContinuationMode | None = None
        self.form: Form | None = None
        self.failed_mid_stream = False
        self.max_tokens: int | None = None

    @property
    def exhausted(self) -> bool:
        """Whether it is not to be asked (again) by this call."""
        return self.excluded or self.attempts >= self.candidate.attempts


@dataclass(slots=True, eq=False)
class ActiveAttempt:
    """An attempt under way. `reached`: the endpoint has given an HTTP status; `token`: the first token has come.

    Another is asked beside it at `hedge_at`, if the user wants hedges, and at `doubt_at`, when its first token is
    overdue; at `half_at`, when half of the call's time is used without a whole answer. They are None once they have
    passed. `late`: that half is over.
    """

    slot: CandidateState
    ask: StartAttempt
    hedge_at: float | None = None
    doubt_at: float | None = None
    half_at: float | None = None
    late: bool = False
    reached: bool = False
    token: bool = False

    @property
    def ticket(self) -> Permit:
        """Its admission."""
        return self.ask.ticket


def turn(left_out: tuple[CandidateState, AvailabilityStatus]) -> tuple[bool, int, int, float]:
    """The order of those that are left out: rotating, soonest to recover first, and last who cannot do it."""
    slot, at = left_out
    return at.gate is Availability.UNFIT, slot.attempts, at.forced, at.until or 0.0
