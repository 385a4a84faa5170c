"""What one call knows of its candidates, and of the attempts that are under way."""

from __future__ import annotations

from dataclasses import dataclass

from .commands import Ask
from .continuation import Way
from .failures import Failure
from .health import Gate, Standing, Ticket
from .policy import Rule
from .router import Candidate


class Slot:
    """A candidate within one call."""

    __slots__ = (
        "attempts",
        "broke_off",
        "candidate",
        "dropped",
        "failure",
        "flying",
        "hurt",
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
        self.retried = False
        self.dropped = False
        self.why = ""
        self.flying = False
        self.hurt: Rule | None = None
        self.ticket: Ticket | None = None
        self.way: Way | None = None
        self.broke_off = False

    @property
    def spent(self) -> bool:
        """Whether it is not to be asked (again) by this call."""
        return self.dropped or self.attempts >= self.candidate.attempts


@dataclass(slots=True, eq=False)
class Flight:
    """An attempt under way. `reached`: the endpoint has given an HTTP status; `token`: the first token has come."""

    slot: Slot
    ask: Ask
    reached: bool = False
    token: bool = False

    @property
    def ticket(self) -> Ticket:
        """Its admission."""
        return self.ask.ticket


def turn(left_out: tuple[Slot, Standing]) -> tuple[bool, int, int, float]:
    """The order of those that are left out: rotating, soonest to recover first, and last who cannot do it."""
    slot, at = left_out
    return at.gate is Gate.UNFIT, slot.attempts, at.forced, at.until or 0.0
