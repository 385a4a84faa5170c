"""Whether a model may be called now: the scopes, their availability, and the permit of one attempt."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .breaker import BreakerPermit


@dataclass(frozen=True, slots=True)
class HealthScopes:
    """What an attempt is aimed at: the scopes in which its outcome is kept.

    `model` is the candidate's key, `account` the endpoint with the key's fingerprint: 429, 402 and 401 belong to it.
    """

    model: str
    endpoint: str
    account: str
    longest_open: float = 300.0


class Availability(StrEnum):
    """Whether a model may be asked now."""

    READY = "ready"
    PROBE = "probe"
    LEFT_OUT = "left_out"
    UNFIT = "unfit"
    COOLING = "cooling"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class AvailabilityStatus:
    """A model's gate with the reason and the clock's time at which it opens (None: by an event, not by time).

    `unreachable`: only the endpoint's circuit is open; the model's own is not.
    """

    gate: Availability
    reason: str = ""
    until: float | None = None
    forced: int = 0
    unreachable: bool = False


READY = AvailabilityStatus(Availability.READY)


@dataclass(slots=True)
class Permit:
    """One attempt's admission, given back with its outcome. `pace`: the class of its request, see `Pace`."""

    target: HealthScopes
    started: float
    model: BreakerPermit
    endpoint: BreakerPermit
    pace: int = 0
    probe: bool = field(init=False)
    """Whether this attempt is the one probe of a half-open breaker."""

    def __post_init__(self) -> None:
        self.probe = self.model.probe or self.endpoint.probe

    def continue_from(self, earlier: Permit) -> None:
        """This attempt belongs to the same call: what was counted for its model or endpoint stays one outcome."""
        if earlier.target.model == self.target.model:
            self.model.failed_at = earlier.model.failed_at
        if earlier.target.endpoint == self.target.endpoint:
            self.endpoint.failed_at = earlier.endpoint.failed_at
