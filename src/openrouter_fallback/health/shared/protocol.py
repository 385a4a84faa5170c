"""Between the processes of a fleet: what one tells the others, what it hears, and the protocol of what carries it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..admission import HealthScopes
from ..memory import MemoryHealth

What = Literal["opened", "closed", "cooling", "no_auth", "no_credits"]
Counts = Mapping[str, tuple[int, int]]
"""Successes and failures by scope."""


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """One thing that happened in one process. A scope names the same model, endpoint or account in every process.

    `left`: seconds that it still holds; `ago`: seconds since it happened, both as it was told. A breaker that has
    opened says why, and how often it has opened in a row.
    """

    what: What
    scope: str
    left: float = 0.0
    ago: float = 0.0
    trips: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """News of the process `by`, with the store's time (seconds) at which it came there."""

    at: float
    news: HealthEvent
    by: str = ""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What a process tells in one exchange.

    `bucket` numbers the part of the window that `counts` go into; `kept` names the scopes whose probe is under way.
    """

    at: float
    bucket: int
    counts: Counts = field(default_factory=dict)
    news: tuple[HealthEvent, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncResponse:
    """What a process hears in one exchange.

    `now` is the store's time, `counts` what all processes have counted in each bucket that was read (their sums).
    """

    now: float
    counts: Mapping[int, Counts] = field(default_factory=dict)
    news: tuple[ReceivedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class SpendAccount:
    """Whose money it is. `name` tells accounts apart in the store; only who knows `secret` can add to its sums."""

    name: str
    secret: bytes = field(repr=False)


NO_ACCOUNT = SpendAccount("none", b"")
"""Of processes without a key, or whose key is a function: they share one sum, which anybody can add to."""


class SpendCounter(Protocol):
    """What is spent, as far as a store has to know: whole nano-dollars of a day."""

    def collect(self, now: float) -> tuple[int, int]:
        """The day at the store's time `now` (seconds since 1970), and what this process has spent in it."""

    def apply(self, day: int, theirs: Mapping[str, int]) -> None:
        """What each of the other processes has spent on that day."""


class HealthStore(Protocol):
    """Keeps the health of one process in step with others', in the background."""

    @property
    def health(self) -> MemoryHealth:
        """What decides."""

    def touch(self) -> None:
        """A call begins: see that exchanges are made. Costs nothing and does no I/O."""

    def lease(self, targets: Iterable[HealthScopes]) -> Awaitable[None] | None:
        """Ask for the lease that a call to these models would need, if it needs one: awaited, for 50 ms at most."""

    async def exchange(self) -> bool:
        """Tell and hear once; whether it worked. Raises nothing."""

    def stop(self) -> None:
        """No more; `touch` starts it again."""

    async def aclose(self) -> None:
        """`stop`, and close what is open in the running loop."""
