"""The fleet's health in Redis (6 and newer) or Valkey: one transaction about once a second, beside the calls.

Keys under the prefix: `news`, a stream of events in the server's order and time, so that no process's clock matters;
`counts:<ms>:<n>`, a hash of outcomes for each bucket of the window; `lease:<scope>`, the process that may probe;
`spent:<account>:<day>`, a hash of the nano-dollars that each process has spent, signed with the account's secret.
Every key expires. Redis is not trusted: every value read is checked, and a key of another type is deleted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import SecretStr
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ..admission import HealthScopes
from .fleet import PERIODS_ALONE, SOON_SECONDS, SharedHealth
from .protocol import NO_ACCOUNT, SpendAccount, SpendCounter
from .sync import Sync, seconds_of

PREFIX = "openrouter-fallback:1"
PASSWORD_ENV = "OPENROUTER_FALLBACK_REDIS_PASSWORD"  # noqa: S105 - the name, not the password
CONNECT_SECONDS = 5.0
ASK_SECONDS = 0.05
"""The longest that a call waits for a lease; without an answer the process probes without it."""
LONGEST_PAUSE_SECONDS = 30.0

logger = logging.getLogger("openrouter_fallback")


class RedisStore:
    """Synchronizes a `SharedHealth` with the other processes that use the same server, database and prefix.

    `url` is `redis://`, `rediss://` (TLS) or `unix://`, with redis-py's query options and `prefix=`. `spawn` starts a
    coroutine on a loop that does not keep the process alive; `sleep` waits for the next exchange. Raises `ValueError`
    for an invalid URL, without quoting it.
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
        counter: SpendCounter | None = None,
        account: Callable[[], SpendAccount] = lambda: NO_ACCOUNT,
    ) -> None:
        self.health: SharedHealth = health
        whole, self._prefix, self.address = _parsed(url)
        self.url = SecretStr(whole)
        self.clock = clock
        self._random = random
        self.spawn = spawn
        self._sleep = sleep
        self.deadline = deadline or health.period
        self._counter = counter
        self._account = account
        self._process = os.getpid()
        self._redis: Redis | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._inherited: list[object] = []
        self._turn: object = None
        self._one = asyncio.Lock()
        self._forget()
        me = weakref.ref(self)
        health.hurry = lambda: None if (store := me()) is None else store._hurry()
        self._client()  # raises here for a URL with unknown options, not in the background

    def __repr__(self) -> str:
        return f"<RedisStore {self.address} prefix={self._prefix!r}>"

    def _forget(self) -> None:
        self.sync = Sync(self.health, self._prefix, self.address, self._counter, self._account)
        self._misses = 0
        self._down = self._hurries = False

    def touch(self) -> None:
        if self._turn is None or self._process != os.getpid():
            self._start()

    def _here(self) -> None:
        """In a forked child: start again without the parent's connection."""
        if self._process != os.getpid():
            # Neither closed nor garbage-collected: the connection belongs to the parent.
            self._inherited += [self._redis, self._loop]
            self._redis = self._loop = None
            self._one = asyncio.Lock()
            self._forget()
            self._turn = None
        self._process = os.getpid()

    def _start(self) -> None:
        self._here()
        me, turn, sleep = weakref.ref(self), object(), self._sleep
        self._turn = turn
        self.spawn(lambda: _keep_in_step(me, turn, sleep))

    def _hurry(self) -> None:
        """Exchange soon, and repeatedly while a model fails; not while Redis does not answer."""
        if self._hurries or self._misses or self._turn is None or self._process != os.getpid():
            return
        self._hurries = True
        me, turn, sleep = weakref.ref(self), self._turn, self._sleep
        self.spawn(lambda: _exchange_soon(me, turn, sleep))

    async def exchange(self) -> bool:
        self._here()
        async with self._one:
            return await self._exchanged()

    async def _exchanged(self) -> bool:
        try:
            async with asyncio.timeout(CONNECT_SECONDS + self.deadline):
                redis = await self._connected()
                async with asyncio.timeout(self.deadline):
                    await self.sync.exchange(redis, self.clock, missed=self._misses > 0)
        except Exception as error:  # noqa: BLE001 - calls go on without the store, whatever the error
            await self._missed(error)
            return False
        self._misses = 0
        if self._down:
            self._down = False
            logger.warning("health is shared again: Redis at %s answers", self.address)
        return True

    def pause(self) -> float:
        """Seconds until the next exchange: a jittered period, which grows while Redis does not answer."""
        period = self.health.period
        if self._misses:
            return min(period * 2.0 ** min(self._misses - 1, 10), LONGEST_PAUSE_SECONDS) * (0.5 + 0.5 * self._random())
        return period * (0.9 + 0.1 * self._random())

    def stop(self) -> None:
        self._turn = None

    async def aclose(self) -> None:
        """Stop, and close the running loop's connection; an exchange under way closes it when it ends."""
        self.stop()
        self._here()
        if not self._one.locked():
            await self._disconnect()

    # The connection

    def _client(self) -> Redis:
        return Redis.from_url(
            self.url.get_secret_value(),
            socket_connect_timeout=CONNECT_SECONDS,
            socket_timeout=self.deadline,
            retry=Retry(NoBackoff(), 0),
            max_connections=1,
            protocol=2,
        )

    async def _connected(self) -> Redis:
        loop = asyncio.get_running_loop()
        if self._redis is not None and self._loop is not loop:
            self._redis, self.sync.ahead = None, None  # the loop of this connection is gone, and the connection with it
        if self._redis is None:
            self._redis, self._loop = self._client(), loop
        if self.sync.ahead is None:
            self.sync.ahead = seconds_of(await self._redis.time()) - self.clock()
        return self._redis

    async def _disconnect(self) -> None:
        redis, self._redis, self.sync.ahead = self._redis, None, None
        if redis is not None and self._loop is asyncio.get_running_loop():
            with suppress(Exception):
                async with asyncio.timeout(self.deadline):
                    await redis.aclose()

    async def _missed(self, error: Exception) -> None:
        await self._disconnect()
        self._misses += 1
        if not self._down:
            self._down = True
            # The message may quote a command: the log names only the error's type.
            kind = type(error).__name__
            logger.warning(
                "health is not shared, calls go on with this process's own: Redis at %s does not answer (%s)",
                self.address,
                kind,
            )
        if self._misses == PERIODS_ALONE:
            self.health.detach()

    # Leases

    def lease(self, targets: Iterable[HealthScopes]) -> Awaitable[None] | None:
        scopes = self.health.unleased(targets, self.clock())
        return self._lease(scopes) if scopes else None

    async def _lease(self, scopes: tuple[str, ...]) -> None:
        alone = dict.fromkeys(scopes, True)
        asked: Future[dict[str, bool]] = Future()
        self._here()
        self.spawn(lambda: self._ask(scopes, asked))
        try:
            async with asyncio.timeout(ASK_SECONDS):
                answers = await asyncio.wrap_future(asked)
        except TimeoutError:
            answers = alone
        self.health.leased(answers, self.clock())

    async def _ask(self, scopes: tuple[str, ...], asked: Future[dict[str, bool]]) -> None:
        """Runs in the loop of the connection. The next call sees an answer that comes after the wait has ended."""
        answers = dict.fromkeys(scopes, True)
        async with self._one:
            redis = self._redis
            try:
                if redis is not None and self._loop is asyncio.get_running_loop():
                    async with asyncio.timeout(self.deadline):
                        answers = {scope: await self.sync.granted(redis, scope) for scope in scopes}
            except Exception:  # noqa: BLE001 - the process decides alone, whatever the error
                await self._disconnect()
        with suppress(InvalidStateError):
            asked.set_result(answers)


async def _keep_in_step(
    store: weakref.ref[RedisStore], turn: object, sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Exchange until the store is stopped or dropped, then close its connection."""
    redis, task = None, asyncio.current_task()
    try:
        # redis-py may turn a cancellation into its own time-out; the cancellation would then be lost.
        while (held := store()) is not None and held._turn is turn and not (task and task.cancelling()):
            await held.exchange()
            redis, pause = held._redis, held.pause()
            del held
            if task is None or not task.cancelling():
                await sleep(pause)
    finally:
        held = store()
        if held is not None and held._turn in (turn, None):
            redis = held._redis  # another exchange may have connected since
            held._turn = held._redis = None  # the loop has ended before the store: the next call starts again
        if redis is not None:
            with suppress(Exception):
                await redis.aclose()


async def _exchange_soon(
    store: weakref.ref[RedisStore], turn: object, sleep: Callable[[float], Awaitable[object]]
) -> None:
    """Exchange every 0.1 s while a model fails in this process, beside the exchanges of `_keep_in_step`."""
    again = True
    try:
        while again:
            await sleep(SOON_SECONDS)
            held = store()
            again = held is not None and held._turn is turn and await held.exchange()
            again = again and held is not None and held.health.uneasy(held.clock())
            del held
    finally:
        held = store()
        if held is not None:
            held._hurries = False


def _parsed(url: str) -> tuple[str, str, str]:
    """The URL for redis-py, the prefix, and a description of the server without secrets."""
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
