"""What one run of a scenario's calls has left behind: every call, every request of it, every change of a breaker.

Times are seconds since the run began.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median
from typing import Literal

from .. import Attempt
from .surfaces import Seamed

Outcome = Literal["answered", "partial", "unanswered"]


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as the server saw it; a refused one as the client did, its `status` is None.

    `ended` is "finished", "gone" (the client left), "fault" or "refused". `known_dead`: it went to a model that was
    known to be dead while another could be asked; `probe`: to one that was tried again after that.
    """

    model: str
    at: float
    until: float
    first_token: float | None = None
    status: int | None = None
    fault: str | None = None
    ended: str = "finished"
    tokens: int = 0
    cost: float = 0.0
    known_dead: bool = False
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the workload. `seconds` until the last byte of its answer left the server.

    `partial` is an answer that was handed over as whole and was not; `error` the exception's class of an unanswered
    one, and `message` its text. `attempts` are the client's own account.
    """

    number: int
    mode: str
    at: float
    seconds: float
    outcome: Outcome
    model: str | None = None
    error: str = ""
    message: str = ""
    text: str = ""
    asked: tuple[Asked, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    seams: tuple[Seamed, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A model's breaker has another state: closed, open, half-open, or cooldown (closed, but left out for a while)."""

    at: float
    model: str
    state: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run. `known_dead`: whether any model ever was known to be; `blind`: the primary's requests are unseen."""

    calls: tuple[Call, ...]
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    known_dead: bool = False
    blind: bool = False

    @property
    def answered(self) -> int:
        """Calls that got the whole answer."""
        return sum(call.outcome == "answered" for call in self.calls)

    @property
    def partial(self) -> int:
        """Calls that got a part of the answer, or another one, as if it were whole."""
        return sum(call.outcome == "partial" for call in self.calls)

    @property
    def complete(self) -> bool:
        """Whether every call was answered."""
        return self.answered == len(self.calls)

    @property
    def answered_by(self) -> dict[str, int]:
        """Answered calls per model."""
        return dict(Counter(call.model for call in self.calls if call.outcome == "answered" and call.model))

    @property
    def requests(self) -> dict[str, int]:
        """Requests per model that reached the server."""
        return dict(Counter(one.model for call in self.calls for one in call.asked if one.ended != "refused"))

    @property
    def errors(self) -> dict[str, int]:
        """The others by their exception."""
        return dict(Counter(call.error for call in self.calls if call.error))

    @property
    def durations(self) -> tuple[float, ...]:
        """Seconds of the answered calls."""
        return tuple(call.seconds for call in self.calls if call.outcome == "answered")

    @property
    def median_seconds(self) -> float | None:
        """Of an answered call."""
        return median(self.durations) if self.durations else None

    @property
    def worst_seconds(self) -> float | None:
        """Of an answered call."""
        return max(self.durations, default=None)

    @property
    def cost(self) -> float:
        """USD of all requests, by the emulator's bill."""
        return sum(one.cost for call in self.calls for one in call.asked)

    @property
    def requests_to_dead(self) -> int | None:
        """Requests to models while they were known to be dead; None if none ever was."""
        if not self.known_dead:
            return None
        return sum(one.known_dead for call in self.calls for one in call.asked)

    @property
    def probes(self) -> int:
        """Requests that tried a dead model again."""
        return sum(one.probe for call in self.calls for one in call.asked)
