"""One process's side of the exchange with the store: what is written, and how every value read is checked.

Works over an open connection of redis-py, and imports none of it. The keys are described in `redis`.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from typing import Any

from ..window import BUCKETS
from .breaker import LEASE_SECONDS
from .codec import BadValue, counts_of, heard_of, news_json, sum_text, sums_of
from .fleet import SharedHealth
from .protocol import ReceivedEvent, SpendAccount, SpendCounter, SyncRequest, SyncResponse
from .transaction import Answers, Transaction

KEPT_SECONDS = 3600.0
"""How long the store keeps an event; longer if a breaker may be open for longer."""
MOST_HEARD = 1000
FUTURE_SECONDS = 1.0
"""The most that an entry may be ahead of the server's clock; more means a clock set back, or a forged entry."""
SPENT_SECONDS = 25 * 3600
"""How long the store keeps the sums of a day after the last update."""
MOST_FIELDS = 20_000
"""The most fields of a hash that are read: one for each process of a day. A hash with more is deleted."""
_LEASE_MS = int(LEASE_SECONDS * 1000)

logger = logging.getLogger("openrouter_fallback")


class Sync:
    """What one process sends to the store and reads there.

    `counter` and `account`: the spend that is shared, and whose it is. `server` describes the store in log lines.
    """

    def __init__(
        self,
        health: SharedHealth,
        prefix: str,
        server: str,
        counter: SpendCounter | None,
        account: Callable[[], SpendAccount],
    ) -> None:
        self.name = secrets.token_hex(6)
        """The name of this process in the store."""
        self.ahead: float | None = None
        """The store's time minus this process's clock, in seconds; None: not known on this connection."""
        self.last: bytes | None = None
        """The last entry of the stream that was read."""
        self._health = health
        self._prefix = prefix
        self._server = server
        self._counter = counter
        self._account = account
        self._spoilt = self._warned = False
        self._foreign: set[str] = set()
        """Keys of another type, to be deleted at the next exchange."""
        self._overfull: set[str] = set()
        """Hashes with more than `MOST_FIELDS` fields, to be deleted at the next exchange."""

    async def granted(self, redis: Any, scope: str) -> bool:
        """Whether this process holds the lease. A lease without expiry, or with too long a one, is not valid."""
        key = self._key(f"lease:{scope}")
        ask = Transaction(redis.pipeline(transaction=True))
        ask("set").set(key, self.name, nx=True, px=_LEASE_MS)
        ask("holder").get(key)
        ask("left").pttl(key)
        answers = await ask.run()
        if answers["set"] is True:
            return True
        left = answers.good("left", int)
        if answers["holder"] != self.name.encode() and left is not None and 0 < left <= _LEASE_MS:
            return False
        await redis.set(key, self.name, px=_LEASE_MS)
        return True

    async def exchange(self, redis: Any, clock: Callable[[], float], *, missed: bool) -> None:
        """Send and receive once. `missed`: the exchange before this one has failed."""
        health, here = self._health, clock()
        now = here + (self.ahead or 0.0)
        sent = health.collect(here, now)
        # The first exchange, and one after a failure, reads the whole window; others only buckets that still change.
        fresh = self.last is None or missed
        buckets = range(sent.bucket - (BUCKETS if fresh else 2) + 1, sent.bucket + 1)
        account = self._account()
        day, spent = (0, 0) if self._counter is None else self._counter.collect(now)
        ask = Transaction(redis.pipeline(transaction=True))
        ask("now").time()
        for key in await self._spoilt_keys(redis, now):
            ask().unlink(key)
        self._ask_news(ask, sent)
        self._ask_counts(ask, sent, buckets)
        self._ask_leases(ask, sent)
        if self._counter is not None:
            self._ask_spent(ask, self._spent_key(account, day), spent, account)
        answers = await ask.run()
        poisoned: list[object] = [*answers.refused]
        self._foreign = {name for name, answer in answers.items() if _of_another_type(answer)}
        self._overfull = set()
        self._hear(sent, answers, buckets, clock(), poisoned)
        if self._counter is not None:
            self._hear_spent(self._counter, answers, account, day, poisoned)
        self._warn(poisoned)

    async def _spoilt_keys(self, redis: Any, now: float) -> set[str]:
        """Keys of another type, overfull hashes, and the stream if its newest entry is ahead of the clock.

        Entries after such an entry would be ahead, too.

        Reads types and sizes again, since another process may have deleted the keys already.
        """
        news = self._key("news")
        spoilt = {key for key in self._foreign if await redis.type(key) != (b"stream" if key == news else b"hash")}
        spoilt |= {key for key in self._overfull if await redis.hlen(key) > MOST_FIELDS}
        if self._spoilt and news not in self._foreign:
            newest: Any = await redis.xrevrange(news, count=1)
            if newest and _stamp(newest[0][0]) > now + FUTURE_SECONDS:
                spoilt.add(news)
        return spoilt

    def _ask_news(self, ask: Transaction, sent: SyncRequest) -> None:
        key = self._key("news")
        if sent.news:
            ask().xadd(key, {"n": news_json(sent.news, self.name)}, maxlen=MOST_HEARD, approximate=True)
        ask().pexpire(key, int(max(KEPT_SECONDS, 2 * self._health.longest_open) * 1000))
        if self.last is None:
            ask(key).xrevrange(key, count=MOST_HEARD)
        else:
            ask(key).xread({key: self.last}, count=MOST_HEARD)

    def _ask_counts(self, ask: Transaction, sent: SyncRequest, buckets: range) -> None:
        into = self._counts_key(sent.bucket)
        for scope, outcomes in sent.counts.items():
            for mark, count in zip("+-", outcomes, strict=True):
                if count:
                    ask().hincrby(into, f"{mark}{scope}", count)
        if sent.counts:
            ask().pexpire(into, int(self._health.bucket_seconds * (BUCKETS + 2) * 1000))
        for bucket in buckets:
            key = self._counts_key(bucket)
            ask(key).hscan(key, count=MOST_FIELDS)

    def _ask_leases(self, ask: Transaction, sent: SyncRequest) -> None:
        for scope in sent.kept:
            ask().set(self._key(f"lease:{scope}"), self.name, px=_LEASE_MS)

    def _ask_spent(self, ask: Transaction, key: str, spent: int, account: SpendAccount) -> None:
        if spent:
            ask().hset(key, self.name, sum_text(key, self.name, spent, account.secret))
            ask().pexpire(key, SPENT_SECONDS * 1000)
        ask(key).hscan(key, count=MOST_FIELDS)

    def _hear(self, sent: SyncRequest, answers: Answers, buckets: range, here: float, poisoned: list[object]) -> None:
        now = seconds_of(answers["now"])
        if self.last is not None and now < _stamp(self.last) - FUTURE_SECONDS:
            self.last = b"%d-0" % int(now * 1000 - 1)  # another server, whose clock is behind, has taken over
        self.ahead = now - here
        heard = self._news(answers.good(self._key("news"), list) or [], now, poisoned)
        counts = {}
        for bucket in buckets:
            found = self._hash(answers, self._counts_key(bucket), poisoned)
            if found is not None:
                counts[bucket], bad = counts_of(found)
                poisoned += bad
        self._health.apply(SyncResponse(now, counts, tuple(heard)), sent, here)
        if self._spoilt or self._key("news") in self._foreign:
            self._health.resend()

    def _news(self, answer: list[Any], now: float, poisoned: list[object]) -> list[ReceivedEvent]:
        """The events of other processes since the last exchange, in the store's order."""
        later = (entry for _, stream in answer for entry in stream)
        entries = list(reversed(answer)) if self.last is None else list(later)
        self._spoilt = False
        heard: list[ReceivedEvent] = []
        for id, fields in entries:
            at = _stamp(id)
            if at > now + FUTURE_SECONDS:
                poisoned.append("an entry from the future")
                self._spoilt = True
                continue
            self.last = id
            try:
                by, news = heard_of(fields, at)
            except BadValue as bad:
                poisoned.append(bad)
                continue
            if by != self.name:
                heard += news
        if self.last is None:
            self.last = b"0-0"
        return heard

    def _hear_spent(
        self, counter: SpendCounter, answers: Answers, account: SpendAccount, day: int, poisoned: list[object]
    ) -> None:
        key = self._spent_key(account, day)
        sums, bad = sums_of(self._hash(answers, key, poisoned) or {}, key, account.secret)
        sums.pop(self.name, None)
        counter.apply(day, sums)
        poisoned += bad

    def _hash(self, answers: Answers, key: str, poisoned: list[object]) -> dict[bytes, bytes] | None:
        """The fields of a hash; None if the key is of another type or the hash has too many fields."""
        answer = answers.good(key, tuple)
        if answer is None:
            return None
        cursor, found = answer
        if cursor == 0:  # the scan has read the whole hash at once
            return dict(found)
        self._overfull.add(key)
        poisoned.append(f"a hash of more than {MOST_FIELDS:,} fields")
        return None

    def _warn(self, poisoned: list[object]) -> None:
        if not poisoned or self._warned:
            return
        self._warned = True
        what = poisoned[0]
        why = str(what) if isinstance(what, BadValue | str) else type(what).__name__
        logger.warning(
            "values in Redis at %s under %s are not this library's and are ignored (%s)",
            self._server,
            self._prefix,
            why,
        )

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _spent_key(self, account: SpendAccount, day: int) -> str:
        return self._key(f"spent:{account.name}:{day}")

    def _counts_key(self, bucket: int) -> str:
        return self._key(f"counts:{int(self._health.bucket_seconds * 1000)}:{bucket}")


def seconds_of(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6


def _of_another_type(answer: object) -> bool:
    return isinstance(answer, Exception) and "WRONGTYPE" in str(answer)


def _stamp(id: bytes) -> float:
    return int(id.partition(b"-")[0]) / 1000.0
