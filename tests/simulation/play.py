"""Plays one world with the real client: its runner, machine, health, spending and transport, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from random import Random
from typing import Any, Protocol, TypeVar
from unittest import mock

import httpcore2

from openrouter_fallback import Attempt, FallbackClient, FallbackError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.events import AttemptEnded, AttemptStarted, Event, Subscriber

from ..support.clients import free_slots_by_loop
from . import loop as virtual
from .fleet import URL, Fleet, one_store
from .network import COST, Backend, Network, Request
from .worlds import CallSpec, World

AFTERWARDS = 400.0
"""Seconds after the last call in which all background work must end."""
EXCHANGE_ENDS_SECONDS = 35.0
"""After so many seconds, the exchange of every process of a fleet has noticed that its client is closed."""
_TOOL = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
_number: ContextVar[int] = ContextVar("number")
"""The number of the call to which the running task belongs."""


@dataclass(slots=True)
class Tried:
    """One attempt, from the client's events. Its request need not have reached a server.

    `probes` are the model and the endpoint that the attempt probed. `dead`: at that time no circuit of the chain
    admitted an attempt. `kind` is None while the attempt is active, and if the model answered.
    """

    number: int
    model: str
    began: float
    dead: bool
    ended: float = float("inf")
    kind: str | None = None
    probes: frozenset[str] = frozenset()

    @property
    def probe(self) -> bool:
        return bool(self.probes)


@dataclass(slots=True)
class Result:
    """The result of one call. `error` is the name of the error's class; None if the call was answered or left."""

    call: CallSpec
    ended: float = 0.0
    answered: bool = False
    left: bool = False
    error: str | None = None
    message: str = ""
    attempts: tuple[Attempt, ...] = ()


@dataclass
class Played:
    """A world and everything that was observed while playing it."""

    world: World
    results: list[Result]
    requests: list[Request]
    fleet: Fleet | None = None
    tried: list[Tried] = field(default_factory=list)
    """All attempts, in the order in which they began."""
    rest: dict[str, float] = field(default_factory=dict)
    """Quantities that must be 0 at the end, by name."""

    def requests_of(self, number: int) -> list[Request]:
        """The requests of one call that reached a server."""
        return self._requests_of.get(number, [])

    def tried_by(self, number: int) -> list[Tried]:
        """The attempts of one call."""
        return self._tried_by.get(number, [])

    @cached_property
    def _requests_of(self) -> dict[int, list[Request]]:
        return _by_call(self.requests)

    @cached_property
    def _tried_by(self) -> dict[int, list[Tried]]:
        return _by_call(self.tried)

    @property
    def processes(self) -> int:
        return 1 if self.fleet is None else self.fleet.processes


class _OfACall(Protocol):
    @property
    def number(self) -> int: ...


_One = TypeVar("_One", bound=_OfACall)


def _by_call(several: Iterable[_One]) -> dict[int, list[_One]]:
    found: dict[int, list[_One]] = {}
    for one in several:
        found.setdefault(one.number, []).append(one)
    return found


@contextmanager
def in_memory(network: Network) -> Iterator[None]:
    """Let httpcore2 connect to the servers of a world, without proxies of the environment."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with (
        mock.patch.object(httpcore2, "AnyIOBackend", return_value=Backend(network)),
        mock.patch.dict(os.environ, clean, clear=True),
    ):
        yield


def client_for(world: World, loop: virtual.VirtualLoop, process: int = 0, store: str = "memory") -> FallbackClient:
    """A client whose clocks are the loop's clock, with dice from the seed of the world."""
    endpoints = {
        "openrouter": {"base_url": "http://one.test/api/v1"},
        "other": {"base_url": "http://two.test/api/v1"},
    }
    client = FallbackClient(
        config={
            "default_chain": [model.key for model in world.models],
            "endpoints": endpoints,
            "settings": {"catalog": "never", "health_store": store, **world.settings},
        },
        api_key="sk-or-v1-simulated",
    )
    dice = Random(f"{world.seed}/ours/{process}" if process else f"{world.seed}/ours")
    runtime = parts_of(client).runtime
    runtime.clock = loop.time
    runtime.random = dice.random
    runtime.health.random = dice.random

    def wall() -> float:
        now = loop.time() - virtual.START
        return 1_700_000_000.0 + now + sum(by for at, by in world.wall_steps if at <= now)

    runtime.wall = wall
    return client


def play(world: World, fleet: Fleet | None = None) -> Played:
    """Make all calls of the world, and wait until everything has ended. The processes of a `fleet` alternate."""
    logger = logging.getLogger("openrouter_fallback")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return virtual.run(lambda loop: _play(world, fleet, loop))
    finally:
        logger.setLevel(level)
        if collecting:
            gc.enable()


async def _play(world: World, fleet: Fleet | None, loop: virtual.VirtualLoop) -> Played:
    network = Network(world, loop)
    if fleet is not None:
        network.process = lambda: _number.get(0) % fleet.processes
    played = Played(world, [Result(call) for call in world.calls], network.requests, fleet)
    with in_memory(network), one_store(world, fleet, loop) if fleet is not None else nullcontext():
        if fleet is None:
            clients = [client_for(world, loop)]
        else:
            clients = [client_for(world, loop, process, URL) for process in range(fleet.processes)]
        for client in clients:
            client.subscribe(_watcher(played, client, loop))
        tasks = []
        for result in played.results:
            await asyncio.sleep(max(0.0, virtual.START + result.call.at - loop.time()))
            tasks.append(loop.create_task(_call(clients[result.call.number % len(clients)], result, loop)))
        await asyncio.gather(*tasks)
        if fleet is not None:
            for client in clients:
                store = parts_of(client).store
                assert store is not None
                store.stop()
            await asyncio.sleep(EXCHANGE_ENDS_SECONDS)
        await asyncio.sleep(AFTERWARDS)
        for client in clients:
            await client.aclose()
        await asyncio.sleep(0)
        played.rest = _rest(clients, network, loop)
        return played


def _rest(clients: Sequence[FallbackClient], network: Network, loop: virtual.VirtualLoop) -> dict[str, float]:
    """The quantities that must be 0 at the end, by name."""
    billed = COST * sum(request.billed for request in network.requests)
    spends = [client.spend() for client in clients]
    spent = sum(float(spend.today) - float(spend.estimated) for spend in spends)
    engines = [parts_of(client).runtime for client in clients]
    breakers = [breaker for runtime in engines for breaker in runtime.health.breakers.values()]
    return {
        "sockets": len(network.open),
        "held": sum(float(spend.held) for spend in spends),
        "owed": round(spent - billed, 9) if len(clients) == 1 else 0.0,
        "tasks": len(asyncio.all_tasks()) - 1,
        "places": sum(512 - free for client in clients for free in free_slots_by_loop(client)),
        "probes": sum(breaker.probe_holds(loop.time()) for breaker in breakers),
    }


def _watcher(played: Played, client: FallbackClient, loop: virtual.VirtualLoop) -> Subscriber:
    under_way: dict[tuple[int, int], Tried] = {}

    def watch(event: Event) -> None:
        now = loop.time() - virtual.START
        if isinstance(event, AttemptStarted):
            breakers, world = parts_of(client).runtime.health.breakers, played.world
            endpoint = world.model(event.model).endpoint
            dead = not any(
                model.key not in breakers or breakers[model.key].admits(loop.time()) for model in world.models
            )
            scopes = ((event.model, breakers[event.model]), (endpoint, breakers[endpoint]))
            probes = [scope for scope, breaker in scopes if event.probe and breaker.open_until is not None]
            one = Tried(_number.get(), event.model, now, dead, probes=frozenset(probes))
            under_way[event.call, event.number] = one
            played.tried.append(one)
        elif isinstance(event, AttemptEnded):
            one = under_way.pop((event.call, event.number))
            one.ended = now
            one.kind = None if event.attempt.kind is None else str(event.attempt.kind)

    return watch


async def _call(client: FallbackClient, result: Result, loop: virtual.VirtualLoop) -> None:
    call = result.call
    _number.set(call.number)
    work = asyncio.ensure_future(_ask(client, call))
    try:
        if call.leaves is not None:
            done, _ = await asyncio.wait([work], timeout=call.leaves)
            if not done:
                work.cancel()
                await asyncio.wait([work])
        result.attempts = await work
        result.answered = True
    except asyncio.CancelledError:
        result.left = True
    except FallbackError as error:
        result.error, result.message, result.attempts = type(error).__name__, str(error), error.attempts
    result.ended = loop.time() - virtual.START


async def _ask(client: FallbackClient, call: CallSpec) -> tuple[Attempt, ...]:
    prompt = f"call {call.number} please"
    more: dict[str, Any] = {"total_timeout": call.total, "idempotent": call.idempotent}
    if call.tools:
        more["tools"] = [_TOOL]
    if not call.streamed:
        answer = await client.achat(prompt, **more)
        return answer.attempts
    stream = client.astream(prompt, **more)
    async with stream:
        async for _ in stream:
            pass
    completion = stream.completion
    assert completion is not None
    return completion.attempts
