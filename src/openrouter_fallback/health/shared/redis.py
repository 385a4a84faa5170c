"""The fleet's health in Redis (6 and newer) or Valkey: one transaction about once a second, beside the calls.

Under the prefix stand: `news`, a stream of what happened, whose order and time are the server's, so that no process's
clock matters; `counts:<ms>:<n>`, a hash of outcomes for each bucket of the window; `lease:<scope>`, who may probe;
`spent:<day>`, the fleet's nano-dollars. Everything has a time to live. What is read is checked: Redis is not trusted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from ..window import BUCKETS
from .codec import BadValue, counts_of, heard_of, news_json
from .fleet import PERIODS_ALONE, PERIODS_LEASED, SharedHealth
from .protocol import ReceivedEvent, SpendCounter, SyncRequest, SyncResponse

PREFIX = "openrouter-fallback:1"
PASSWORD_ENV = "OPENROUTER_FALLBACK_REDIS_PASSWORD"  # noqa: S105 - the name, not the password
CONNECT_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 30.0
KEPT_SECONDS = 3600.0
"""How long news stays there; longer where a breaker may be open for longer."""
MOST_HEARD = 1000
FUTURE_SECONDS = 1.0
"""An entry may be so much ahead of the server's clock: more means that it was set back, or that somebody lies."""
_TWO_DAYS_MS = 2 * 86_400_000
_MOST_NANO_DOLLARS = 10**15

logger = logging.getLogger("openrouter_fallback")


class RedisStore:
    """Keeps a `SharedHealth` in step with the other processes that use the same server, database and prefix.

    `url` is `redis://`, `rediss://` (TLS) or `unix://`, with redis-py's query options and `prefix=`. `spawn` starts a
    coroutine on a loop that does not keep the process alive; `sleep` waits for the next exchange. Raises `ValueError`
    for a URL that cannot be one, without quoting it.
    """

    def __init__(
        self,
        health: SharedHealth,
        url: str,
        *,
        clock: Callable[[], float],
        random: Callable[[], float],
        spawn: Callable[[Callable[[], Coroutine[Any, Any, None]]], object],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        deadline: float | None = None,
        till: SpendCounter | None = None,
    ) -> None:
        self.health: SharedHealth = health
        self._url, self._prefix, self.address = _parsed(url)
        self._clock = clock
        self._random = random
        self._spawn = spawn
        self._sleep = sleep
        self._deadline = deadline or health.period
        self._till = till
        self._process: int | None = None
        self._redis: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inherited: list[object] = []
        self._turn: object = None
        self._one = asyncio.Lock()
        self._forget()
        self._client()  # a URL with unknown options is told of here, not in the background

    def __repr__(self) -> str:
        return f"<RedisStore {self.address} prefix={self._prefix!r}>"

    def _forget(self) -> None:
        self._me = secrets.token_hex(6)
        self._ahead: float | None = None
        self._last: bytes | None = None
        self._misses = 0
        self._down = False
        self._warned = self._spoilt = False

    def touch(self) -> None:
        if self._turn is None or self._process != os.getpid():
            self._start()

    def _here(self) -> None:
        """In a forked child: begin anew."""
        if self._process not in (None, os.getpid()):
            # Not closed and never collected: the connection is the parent's.
            self._inherited += [self._redis, self._loop]
            self._redis = self._loop = None
            self._one = asyncio.Lock()
            self._forget()
            self._turn = None
            self.health.after_fork()
        self._process = os.getpid()

    def _start(self) -> None:
        self._here()
        me, turn, sleep = weakref.ref(self), object(), self._sleep
        self._turn = turn
        self._spawn(lambda: _keep_in_step(me, turn, sleep))

    async def exchange(self) -> bool:
        self._here()
        async with self._one:
            return await self._exchanged()

    async def _exchanged(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + self._deadline):
                redis = await self._connected()
                async with asyncio.timeout(self._deadline):
                    await self._exchange(redis)
        except Exception as error:  # noqa: BLE001 - whatever it is, calls go on without
            await self._missed(error)
            return False
        self._misses = 0
        if self._down:
            self._down = False
            logger.warning("health is shared again: Redis at %s answers", self.address)
        return True

    def pause(self) -> float:
        """Seconds until the next exchange: a jittered period, longer and longer while Redis does not answer."""
        period = self.health.period
        if self._misses:
            return min(period * 2.0 ** min(self._misses - 1, 10), LONGEST_PAUSE_SECONDS) * (0.5 + 0.5 * self._random())
        return period * (0.9 + 0.1 * self._random())

    def stop(self) -> None:
        self._turn = None

    async def aclose(self) -> None:
        """Stop, and close the connection that the running loop has; an exchange under way closes it at its end."""
        self.stop()
        self._here()
        if not self._one.locked():
            await self._disconnect()

    # The connection

    def _client(self) -> Redis:
        return Redis.from_url(
            self._url,
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=self._deadline,
            retry=Retry(NoBackoff(), 0),
            max_connections=1,
            protocol=2,
        )

    async def _connected(self) -> Redis:
        loop = asyncio.get_running_loop()
        if self._redis is not None and self._loop is not loop:
            self._redis, self._ahead = None, None  # its loop is gone, and it went with it
        if self._redis is None:
            self._redis, self._loop = self._client(), loop
        if self._ahead is None:
            now = _seconds(await self._redis.time())
            self._ahead = now - self._clock()
        return self._redis

    async def _disconnect(self) -> None:
        redis, self._redis, self._ahead = self._redis, None, None
        if redis is not None and self._loop is asyncio.get_running_loop():
            with suppress(Exception):
                async with asyncio.timeout(self._deadline):
                    await redis.aclose()

    async def _missed(self, error: Exception) -> None:
        await self._disconnect()
        self._misses += 1
        if not self._down:
            self._down = True
            # The message may hold what the server was told: only its kind is said.
            kind = type(error).__name__
            logger.warning(
                "health is not shared, calls go on with this process's own: Redis at %s does not answer (%s)",
                self.address,
                kind,
            )
        if self._misses == PERIODS_ALONE:
            self.health.alone()

    # One exchange

    async def _exchange(self, redis: Redis) -> None:
        health, ahead = self.health, self._ahead or 0.0
        sent = health.tell(self._clock(), self._clock() + ahead)
        newest = sent.bucket
        # After a first exchange, or one that failed, the whole window is read; then the buckets that still change.
        fresh = self._last is None or self._misses
        buckets = range(newest - BUCKETS + 1, newest + 1) if fresh else range(newest - 1, newest + 1)
        spoilt: Any = self._spoilt and await redis.xrevrange(self._key("news"), count=1)
        pipe = redis.pipeline(transaction=True)
        pipe.time()
        if spoilt and _stamp(spoilt[0][0]) > self._clock() + ahead + FUTURE_SECONDS:
            # New entries get later stamps than the newest one has: one from the future would spoil all that follow.
            pipe.delete(self._key("news"))
        kept_ms = int(max(KEPT_SECONDS, 2 * health.longest_open) * 1000)
        if sent.news:
            pipe.xadd(self._key("news"), {"n": news_json(sent.news, self._me)}, maxlen=MOST_HEARD, approximate=True)
        pipe.pexpire(self._key("news"), kept_ms)
        reading = len(pipe)
        if self._last is None:
            pipe.xrevrange(self._key("news"), count=MOST_HEARD)
        else:
            pipe.xread({self._key("news"): self._last}, count=MOST_HEARD)
        into = self._counts_key(newest)
        for scope, outcomes in sent.counts.items():
            for mark, count in zip("+-", outcomes, strict=True):
                if count:
                    pipe.hincrby(into, f"{mark}{scope}", count)
        if sent.counts:
            pipe.pexpire(into, int(health.bucket_seconds * (BUCKETS + 2) * 1000))
        counting = len(pipe)
        for bucket in buckets:
            pipe.hgetall(self._counts_key(bucket))
        leasing = len(pipe)
        lease_ms = int(PERIODS_LEASED * health.period * 1000)
        for scope in sent.wanted:
            pipe.set(self._key(f"lease:{scope}"), self._me, nx=True, px=lease_ms)
        for scope in sent.kept:
            pipe.set(self._key(f"lease:{scope}"), self._me, px=lease_ms)
        till, (day, spent) = self._till, (0, 0) if self._till is None else self._till.untold()
        if till is not None:
            pipe.incrby(self._key(f"spent:{day}"), spent)
            pipe.pexpire(self._key(f"spent:{day}"), _TWO_DAYS_MS)
        answers = await pipe.execute(raise_on_error=False)
        if till is not None and type(answers[-2]) is int:
            if answers[-2] > _MOST_NANO_DOLLARS:
                answers[-2] = BadValue("a sum that nobody has spent")
            else:
                till.hear(day, spent, max(answers[-2], spent))
        self._hear(sent, answers, buckets, reading, counting, leasing)

    def _hear(
        self, sent: SyncRequest, answers: list[Any], buckets: range, reading: int, counting: int, leasing: int
    ) -> None:
        refused = [answer for answer in answers if isinstance(answer, RedisError | BadValue)]
        now = _seconds(answers[0])
        if self._last is not None and now < _stamp(self._last) - FUTURE_SECONDS:
            self._last = b"%d-0" % int(now * 1000 - 1)  # another server has taken over, whose clock is behind
        self._ahead = now - self._clock()
        entries = answers[reading]
        if isinstance(entries, RedisError):
            entries = []
        elif self._last is None:
            entries = list(reversed(entries))
        else:
            entries = [entry for _, stream in entries for entry in stream]
        self._spoilt = False
        heard: list[ReceivedEvent] = []
        poisoned: list[object] = list(refused)
        for id, fields in entries:
            at = _stamp(id)
            if at > now + FUTURE_SECONDS:
                poisoned.append("an entry from the future")
                self._spoilt = True
                continue
            self._last = id
            try:
                by, news = heard_of(fields, at)
            except BadValue as bad:
                poisoned.append(bad)
                continue
            if by != self._me:
                heard += news
        if self._last is None:
            self._last = b"0-0"
        counts = {}
        for bucket, answer in zip(buckets, answers[counting:leasing], strict=True):
            if isinstance(answer, dict):
                counts[bucket], bad_counts = counts_of(answer)
                poisoned += bad_counts
        leases = [scope for scope, answer in zip(sent.wanted, answers[leasing:], strict=False) if answer is True]
        inbox = SyncResponse(now, counts, tuple(heard), frozenset([*leases, *sent.kept]))
        self.health.hear(inbox, sent, self._clock())
        if self._spoilt:
            self.health.retell()
        if poisoned and not self._warned:
            self._warned = True
            what = poisoned[0]
            why = f"{type(what).__name__}" if isinstance(what, ResponseError) else str(what)
            logger.warning(
                "values in Redis at %s under %s are not this library's and are ignored (%s)",
                self.address,
                self._prefix,
                why,
            )

    def _key(self, name: str) -> str:
        return f"{self._prefix}:{name}"

    def _counts_key(self, bucket: int) -> str:
        return self._key(f"counts:{int(self.health.bucket_seconds * 1000)}:{bucket}")


async def _keep_in_step(
    store: weakref.ref[RedisStore], turn: object, sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Exchange until the store is stopped or dropped, then close what it had open."""
    redis, task = None, asyncio.current_task()
    try:
        # redis-py may make a time-out of its own of a cancellation, which would then be lost.
        while (held := store()) is not None and held._turn is turn and not (task and task.cancelling()):
            await held.exchange()
            redis, pause = held._redis, held.pause()
            del held
            if task is None or not task.cancelling():
                await sleep(pause)
    finally:
        held = store()
        if held is not None and held._turn in (turn, None):
            held._turn = held._redis = None  # where the loop has ended before the store, the next call starts anew
        if redis is not None:
            with suppress(Exception):
                await redis.aclose()


def _parsed(url: str) -> tuple[str, str, str]:
    """The URL as redis-py takes it, the prefix, and what may be said of the server."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    prefix = options.pop("prefix", PREFIX)
    netloc = parts.netloc
    password = os.environ.get(PASSWORD_ENV)
    if password and parts.password is None:
        user, _, host = netloc.rpartition("@")
        netloc = f"{user.rstrip(':')}:{quote(password, safe='')}@{host}"
    address = parts.path if parts.scheme == "unix" else f"{parts.hostname or 'localhost'}:{parts.port or 6379}"
    return urlunsplit((parts.scheme, netloc, parts.path, urlencode(options), "")), prefix, address


def _seconds(time: tuple[int, int]) -> float:
    return time[0] + time[1] / 1e6


def _stamp(id: bytes) -> float:
    return int(id.partition(b"-")[0]) / 1000.0
