"""Several processes of one fleet in virtual time. Each process has its own client; all share one simulated Redis.

The store is the library's own `RedisStore`. Only redis-py is simulated: its answers take time, or never arrive.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import Any
from unittest import mock

from redis.exceptions import ConnectionError as RedisConnectionError

from openrouter_fallback import composition
from openrouter_fallback.health.shared import redis as shared

from .loop import START, VirtualLoop
from .worlds import World

URL = "redis://store.test:6379/0"
LONGEST_SECONDS = 60.0
"""Fleets play only worlds whose calls take at most so long, because a fleet exchanges data every second."""
_EPOCH = 1_700_000_000.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """A fleet of `processes` processes. Its store answers after `latency` seconds, except in its `outages` (seconds).

    In an outage, a `silent` store never answers; any other store refuses connections.
    """

    processes: int
    latency: float = 0.001
    outages: tuple[tuple[float, float], ...] = ()
    silent: bool = False

    def __str__(self) -> str:
        lost = "".join(f", {'silent' if self.silent else 'gone'} {a:.1f}-{b:.1f}" for a, b in self.outages)
        return f"{self.processes} processes, a store that answers after {self.latency * 1000:g} ms{lost}"


def fleet_of(world: World) -> Fleet:
    """The fleet that plays this world, derived from the world's seed with separate dice."""
    dice = Random(f"{world.seed}/fleet")
    outages: tuple[tuple[float, float], ...] = ()
    if dice.random() < 0.5:
        start = dice.uniform(0.0, max(1.0, world.calls[-1].at))
        outages = ((start, start + 10 ** dice.uniform(0, 2)),)
    processes, latency = dice.choice((2, 3, 5)), dice.choice((0.001, 0.001, 0.02, 0.2))
    silent = dice.random() < 0.5
    if dice.random() < 0.1:
        processes = dice.choice((20, 50))
    return Fleet(processes, latency, outages, silent)


@dataclass
class Server:
    """The data of the Redis server, and the time of its answers."""

    fleet: Fleet
    loop: VirtualLoop
    keys: dict[str, Any] = field(default_factory=dict)
    ends: dict[str, float] = field(default_factory=dict)
    entries: int = 0

    @property
    def now(self) -> float:
        return self.loop.time() - START

    async def turn(self) -> None:
        """Wait for one round trip in virtual time. Raises an error in an outage."""
        if any(start <= self.now < end for start, end in self.fleet.outages):
            await asyncio.sleep(86_400.0 if self.fleet.silent else 0.001)  # in virtual time
            raise RedisConnectionError("refused")
        await asyncio.sleep(self.fleet.latency)

    def run(self, name: str, *args: Any, **options: Any) -> Any:
        """Run one command. Expired keys are removed first."""
        for key in [key for key, end in self.ends.items() if end <= self.now]:
            del self.ends[key]
            self.keys.pop(key, None)
        return getattr(self, f"_{name}")(*args, **options)

    def _time(self) -> tuple[int, int]:
        now = _EPOCH + self.now
        return int(now), int(now % 1.0 * 1e6)

    def _set(self, key: str, value: str, *, px: int, nx: bool = False) -> bool | None:
        if nx and key in self.keys:
            return None
        self.keys[key], self.ends[key] = value.encode(), self.now + px / 1000.0
        return True

    def _get(self, key: str) -> Any:
        return self.keys.get(key)

    def _pttl(self, key: str) -> int:
        return int((self.ends[key] - self.now) * 1000) if key in self.ends else -2

    def _pexpire(self, key: str, ms: int) -> None:
        if key in self.keys:
            self.ends[key] = self.now + ms / 1000.0

    def _unlink(self, key: str) -> None:
        self.keys.pop(key, None)

    def _type(self, key: str) -> bytes:
        return b"stream" if isinstance(self.keys.get(key), list) else b"hash"

    def _xadd(self, key: str, fields: Mapping[str, bytes | str], **_: Any) -> None:
        self.entries += 1
        kept = {name.encode(): value if isinstance(value, bytes) else value.encode() for name, value in fields.items()}
        self.keys.setdefault(key, []).append((b"%d-%d" % (int((_EPOCH + self.now) * 1000), self.entries), kept))

    def _xrevrange(self, key: str, *, count: int) -> list[Any]:
        return list(reversed(self.keys.get(key, [])))[:count]

    def _xread(self, streams: Mapping[str, bytes], *, count: int) -> list[Any]:
        found = []
        for key, last in streams.items():
            later = [entry for entry in self.keys.get(key, []) if _order(entry[0]) > _order(last)][:count]
            found += [[key.encode(), later]] if later else []
        return found

    def _hincrby(self, key: str, name: str, by: int) -> None:
        kept = self.keys.setdefault(key, {})
        kept[name.encode()] = b"%d" % (int(kept.get(name.encode(), 0)) + by)

    def _hset(self, key: str, name: str, value: str) -> None:
        self.keys.setdefault(key, {})[name.encode()] = value.encode()

    def _hscan(self, key: str, *, count: int) -> tuple[int, dict[bytes, bytes]]:
        assert len(self.keys.get(key, {})) <= count, "no world has so many processes"
        return 0, dict(self.keys.get(key, {}))

    def _hlen(self, key: str) -> int:
        return len(self.keys.get(key, {}))


def _order(id: bytes) -> tuple[int, int]:
    ms, _, number = id.partition(b"-")
    return int(ms), int(number or 0)


class _Client:
    """The client of redis-py, with the commands that the store uses."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def __getattr__(self, name: str) -> Callable[..., Coroutine[Any, Any, Any]]:
        async def command(*args: Any, **options: Any) -> Any:
            await self._server.turn()
            return self._server.run(name, *args, **options)

        return command

    def pipeline(self, *, transaction: bool) -> _Pipeline:
        return _Pipeline(self._server)

    async def aclose(self) -> None:
        """Does nothing: the client has no connections."""


class _Pipeline:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._commands: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._commands)

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args, **options: self._commands.append((name, args, options))

    async def execute(self, *, raise_on_error: bool) -> list[Any]:
        await self._server.turn()
        return [self._server.run(name, *args, **options) for name, args, options in self._commands]


@contextmanager
def one_store(world: World, fleet: Fleet, loop: VirtualLoop) -> Iterator[None]:
    """Within the `with` block, new clients share a simulated Redis, and their exchanges run on the virtual loop."""
    server, tasks = Server(fleet, loop), set[asyncio.Task[None]]()

    def spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        task = loop.create_task(work())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    with (
        mock.patch.object(shared, "Redis", SimpleNamespace(from_url=lambda *_, **__: _Client(server))),
        mock.patch.object(composition, "spawn", spawn),
        mock.patch.object(composition, "random", Random(f"{world.seed}/store")),
    ):
        yield
