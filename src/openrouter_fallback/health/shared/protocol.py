"""What the processes of a fleet send to each other and receive, and the protocol of the store between them."""

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
    """One event in one process. A scope names the same model, endpoint or account in every process.

    `left`: seconds that the event still holds; `ago`: seconds since it happened; both counted when it was sent. For a
    breaker that has opened, `why` is the cause, and `trips` counts its openings in a row.
    """

    what: What
    scope: str
    left: float = 0.0
    ago: float = 0.0
    trips: int = 0
    why: str = ""


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of the process `by`, with the store's time (seconds) at which the store received the event."""

    at: float
    news: HealthEvent
    by: str = ""


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What a process sends in one exchange.

    `bucket` is the number of the window's bucket for `counts`; `kept` names the scopes whose probe is under way.
    """

    at: float
    bucket: int
    counts: Counts = field(default_factory=dict)
    news: tuple[HealthEvent, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SyncResponse:
    """What a process receives in one exchange.

    `now` is the store's time. `counts` holds, for each bucket that was read, the sums over all processes.
    """

    now: float
    counts: Mapping[int, Counts] = field(default_factory=dict)
    news: tuple[ReceivedEvent, ...] = ()


@dataclass(frozen=True, slots=True)
class SpendAccount:
    """The account that pays. `name` identifies the account in the store; adding to its sums needs `secret`."""

    name: str
    secret: bytes = field(repr=False)


NO_ACCOUNT = SpendAccount("none", b"")
"""The account of processes without a key, or with a key function: they share one sum, which is not protected."""


class SpendCounter(Protocol):
    """The part of a spend ledger that a store uses: whole nano-dollars per day."""

    def collect(self, now: float) -> tuple[int, int]:
        """The day at the store's time `now` (seconds since 1970), and what this process has spent in it."""

    def apply(self, day: int, theirs: Mapping[str, int]) -> None:
        """What each of the other processes has spent on that day."""


class HealthStore(Protocol):
    """Synchronizes the health of one process with the other processes, in the background."""

    @property
    def health(self) -> MemoryHealth:
        """The health on which this process decides."""

    @property
    def address(self) -> str:
        """Where the store is, without credentials."""

    def touch(self) -> None:
        """A call begins: make sure that exchanges run. Cheap; does no I/O."""

    def lease(self, targets: Iterable[HealthScopes]) -> Awaitable[None] | None:
        """Request the lease that a call to these models needs; None if it needs none. The wait takes 50 ms at most."""

    async def exchange(self) -> bool:
        """Send and receive once. Returns whether that worked. Raises nothing."""

    def stop(self) -> None:
        """Stop the exchanges; `touch` starts them again."""

    async def aclose(self) -> None:
        """`stop`, and close the connection of the running loop."""
