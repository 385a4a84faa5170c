"""The records of one run: every call, the requests of each call, and every change of a breaker.

Times are seconds since the start of the run.
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
    """One request, recorded by the server. A refused connection is recorded by the client and has the `status` None.

    - `ended`: "finished", "gone" (the client disconnected), "fault" or "refused".
    - `known_dead`: the client skipped this model at that time and could have called another model.
    - `probe`: the client had skipped the model before, and the model had not answered since.
    - `cost`: USD.
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
    """One call of the workload.

    - `seconds`: the time until the server sent the last byte of the answer.
    - `outcome`: "answered", "unanswered", or "partial": the client returned an incomplete or wrong answer as complete.
    - `error`, `message`: the class name and the text of the exception of an unanswered call ("a wrong text": partial).
    - `asked`: the requests of the call, from the server's log. `attempts`: the client's own record.
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
    """A change of a model's breaker. `state` is "closed", "open", "half_open", or "cooldown" (closed, but skipped)."""

    at: float
    model: str
    state: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run.

    `known_dead`: whether the client skipped a model at any time. `blind`: the server cannot see the primary's requests,
    because the primary's endpoint refuses connections.
    """

    calls: tuple[Call, ...]
    changes: tuple[Change, ...] = ()
    seconds: float = 0.0
    known_dead: bool = False
    blind: bool = False

    @property
    def answered(self) -> int:
        """The number of calls that got the complete answer."""
        return sum(call.outcome == "answered" for call in self.calls)

    @property
    def partial(self) -> int:
        """The number of calls that got an incomplete or wrong answer as a complete one."""
        return sum(call.outcome == "partial" for call in self.calls)

    @property
    def complete(self) -> bool:
        """Whether every call was answered."""
        return self.answered == len(self.calls)

    @property
    def answered_by(self) -> dict[str, int]:
        """The number of answered calls per model."""
        return dict(Counter(call.model for call in self.calls if call.outcome == "answered" and call.model))

    @property
    def requests(self) -> dict[str, int]:
        """The number of requests per model that reached the server."""
        return dict(Counter(one.model for call in self.calls for one in call.asked if one.ended != "refused"))

    @property
    def errors(self) -> dict[str, int]:
        """The number of failed calls per exception class."""
        return dict(Counter(call.error for call in self.calls if call.error))

    @property
    def durations(self) -> tuple[float, ...]:
        """The durations of the answered calls, in seconds."""
        return tuple(call.seconds for call in self.calls if call.outcome == "answered")

    @property
    def median_seconds(self) -> float | None:
        """The median duration of an answered call; None if no call was answered."""
        return median(self.durations) if self.durations else None

    @property
    def worst_seconds(self) -> float | None:
        """The longest duration of an answered call; None if no call was answered."""
        return max(self.durations, default=None)

    @property
    def cost(self) -> float:
        """The cost of all requests in USD, charged by the emulator."""
        return sum(one.cost for call in self.calls for one in call.asked)

    @property
    def requests_to_dead(self) -> int | None:
        """The number of requests with `known_dead`; None if the client never skipped a model."""
        if not self.known_dead:
            return None
        return sum(one.known_dead for call in self.calls for one in call.asked)

    @property
    def probes(self) -> int:
        """The number of requests that probed a skipped model."""
        return sum(one.probe for call in self.calls for one in call.asked)
