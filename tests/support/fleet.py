"""A fleet without a network, in virtual time: one object holds the data that the processes exchange."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from openrouter_fallback.health import HealthScopes, Rules, SharedHealth
from openrouter_fallback.health.shared.breaker import LEASE_SECONDS
from openrouter_fallback.health.shared.protocol import ReceivedEvent, SyncRequest, SyncResponse

PLACES = {"openrouter": "openrouter.ai/api/v1", "groq": "api.groq.com/openai/v1"}


@dataclass
class Board:
    """The data that a Redis server holds for a fleet. Its clock is `skew` seconds ahead of the members' clocks."""

    skew: float = 1_700_000_000.0
    news: list[tuple[str, ReceivedEvent]] = field(default_factory=list)
    counts: dict[int, dict[str, tuple[int, int]]] = field(default_factory=dict)
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)

    def lease(self, me: str, scope: str, at: float) -> bool:
        """Whether the member `me` holds the lease, or takes it now."""
        now = at + self.skew
        holder, until = self.leases.get(scope, (me, 0.0))
        if now < until and holder != me:
            return False
        self.leases[scope] = me, now + LEASE_SECONDS
        return True

    def exchange(self, me: str, sent: SyncRequest, read: int) -> tuple[SyncResponse, int]:
        """One exchange of the member `me`, which has read `read` events: (the response, events read after it)."""
        now = sent.at + self.skew
        self.news += [(me, ReceivedEvent(now, one, me)) for one in sent.news]
        bucket = self.counts.setdefault(sent.bucket, {})
        for scope, (good, bad) in sent.counts.items():
            before = bucket.get(scope, (0, 0))
            bucket[scope] = (before[0] + good, before[1] + bad)
        self.leases |= dict.fromkeys(sent.kept, (me, now + LEASE_SECONDS))
        heard = tuple(one for by, one in self.news[read:] if by != me)
        counts = {number: dict(bucket) for number, bucket in self.counts.items()}
        return SyncResponse(now, counts, heard), len(self.news)


class Member:
    """One process of a fleet: its health, synchronized with a board."""

    def __init__(
        self,
        board: Board,
        name: str,
        clock: Callable[[], float],
        rules: Rules | None = None,
        *,
        retry_budget: float | None = None,
    ) -> None:
        self.health = SharedHealth(rules or Rules(), lambda: 0.0, PLACES, retry_budget=retry_budget)
        self._board = board
        self._name = name
        self._clock = clock
        self._read = 0

    async def exchange(self) -> bool:
        """Exchange health events with the board."""
        self.step()
        return True

    def lease(self, targets: Iterable[HealthScopes]) -> None:
        """Request the leases that a call of these models needs. The board answers at once."""
        now = self._clock()
        scopes = self.health.unleased(targets, now)
        self.health.leased({scope: self._board.lease(self._name, scope, now) for scope in scopes}, now)

    def step(self) -> None:
        """`exchange` for synchronous callers."""
        now, health = self._clock(), self.health
        sent = health.collect(now, now + self._board.skew)
        inbox, self._read = self._board.exchange(self._name, sent, self._read)
        health.apply(inbox, sent, now)


def scope(target: HealthScopes) -> str:
    """The name of a model's circuit breaker in the store."""
    return f"model|{target.endpoint}@{PLACES[target.endpoint]}|{target.model}"


def target(model: str, key: str = "one", endpoint: str = "openrouter") -> HealthScopes:
    """The health scopes of a model that is called with one of the fleet's API keys."""
    return HealthScopes(model, endpoint, f"{endpoint}#{key}")
