"""Whether a model may be called now: the scopes, their availability, a snapshot for people, and an attempt's permit."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from .breaker import BreakerPermit


@dataclass(frozen=True, slots=True)
class HealthScopes:
    """The scopes of an attempt, in which its outcome is recorded.

    `model` is the candidate's key. `account` is the endpoint with the API key's fingerprint (for 429, 402 and 401).
    """

    model: str
    endpoint: str
    account: str
    longest_open: float = 300.0


class Availability(StrEnum):
    """Whether a model may be called now."""

    READY = "ready"
    PROBE = "probe"
    CIRCUIT_OPEN = "circuit_open"
    UNFIT = "unfit"
    COOLING = "cooling"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class AvailabilityStatus:
    """A model's availability, the reason, and the clock's time until which it holds (None: until an event).

    `unreachable`: the endpoint's circuit is open, the model's own is closed.
    """

    availability: Availability
    reason: str = ""
    until: float | None = None
    forced: int = 0
    unreachable: bool = False

    @property
    def admits(self) -> bool:
        """Whether the model may be called now, be it as a probe."""
        return self.availability in (Availability.READY, Availability.PROBE)


READY = AvailabilityStatus(Availability.READY)


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """A snapshot of one model: breaker state, success rate, counts, seconds to the first token, seconds until calls.

    `first_token_overdue`: the learnt seconds after which a short request's first token is overdue; None: not learnt.
    """

    model: str
    state: str
    success_rate: float
    successes: int
    failures: int
    first_token_p50: float | None
    first_token_p95: float | None
    seconds_left: float | None
    reason: str
    first_token_overdue: float | None = None


@dataclass(slots=True)
class Permit:
    """The admission of one attempt, returned with its outcome. `pace`: the class of the request (`Timeouts.pace`)."""

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
        """Take over the failure that an `earlier` attempt of the same call has counted: one call is one outcome."""
        if earlier.target.model == self.target.model:
            self.model.failed_at = earlier.model.failed_at
        if earlier.target.endpoint == self.target.endpoint:
            self.endpoint.failed_at = earlier.endpoint.failed_at
