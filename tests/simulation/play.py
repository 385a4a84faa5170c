"""One world, played by the real client: its runner, machine, health, spending and transport, in virtual time."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from unittest import mock

import httpcore2

from openrouter_fallback import Attempt, FallbackClient, FallbackError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.events import AttemptEnded, Event, Subscriber

from . import loop as virtual
from .network import COST, Backend, Network, Request
from .worlds import CallSpec, World

_ILL = ("overloaded", "unavailable", "timed_out", "bad_answer")
AFTERWARDS = 400.0
"""Seconds given after the last call, in which whatever goes on by itself must come to its end."""


@dataclass(slots=True)
class Result:
    """What came of one call. `error` names the class; None: answered or left."""

    call: CallSpec
    ended: float = 0.0
    answered: bool = False
    left: bool = False
    error: str | None = None
    message: str = ""
    attempts: tuple[Attempt, ...] = ()


@dataclass
class Played:
    """A world and all that was seen in it."""

    world: World
    results: list[Result]
    requests: list[Request]
    probes: list[tuple[str, float, bool]] = field(default_factory=list)
    """Probes that were not answered: the model, the second at which it began, and whether that says that it is ill."""
    rest: dict[str, float] = field(default_factory=dict)
    """What should be 0 when all is over."""

    def requests_of(self, number: int) -> list[Request]:
        return [request for request in self.requests if request.number == number]


@contextmanager
def in_memory(network: Network) -> Iterator[None]:
    """Let httpcore2 connect to the servers of a world; no proxy of the environment comes between."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    with (
        mock.patch.object(httpcore2, "AnyIOBackend", return_value=Backend(network)),
        mock.patch.dict(os.environ, clean, clear=True),
    ):
        yield


def client_for(world: World, loop: virtual.VirtualLoop) -> FallbackClient:
    """A client whose clocks are the loop's and whose dice are its own."""
    endpoints = {
        "openrouter": {"base_url": "http://one.test/api/v1"},
        "other": {"base_url": "http://two.test/api/v1"},
    }
    client = FallbackClient(
        config={
            "default_chain": [model.key for model in world.models],
            "endpoints": endpoints,
            "settings": {"catalog": "never", **world.settings},
        },
        api_key="sk-or-v1-simulated",
    )
    dice = Random(f"{world.seed}/ours")
    engine = parts_of(client).runtime
    engine.clock = loop.time
    engine.random = dice.random
    engine.health._random = dice.random

    def wall() -> float:
        now = loop.time() - virtual.START
        return 1_700_000_000.0 + now + sum(by for at, by in world.wall_steps if at <= now)

    engine.wall = wall
    return client


def play(world: World) -> Played:
    """Make all calls of the world and wait until everything is over."""
    logger = logging.getLogger("openrouter_fallback")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    collecting = gc.isenabled()
    gc.disable()
    try:
        return virtual.run(lambda loop: _play(world, loop))
    finally:
        logger.setLevel(level)
        if collecting:
            gc.enable()


async def _play(world: World, loop: virtual.VirtualLoop) -> Played:
    network = Network(world, loop)
    with in_memory(network):
        client = client_for(world, loop)
        played = Played(world, [Result(call) for call in world.calls], network.requests)
        client.subscribe(_watcher(played, loop))
        tasks = []
        for result in played.results:
            await asyncio.sleep(max(0.0, virtual.START + result.call.at - loop.time()))
            tasks.append(loop.create_task(_call(client, result, loop)))
        await asyncio.gather(*tasks)
        await asyncio.sleep(AFTERWARDS)
        await client.aclose()
        await asyncio.sleep(0)
        engine = parts_of(client).runtime
        spend = client.spend()
        billed = COST * sum(request.billed for request in network.requests)
        health = engine.health
        breakers = [model.breaker for model in health._models.values()] + list(health._endpoints.values())
        played.rest = {
            "sockets": len(network.open),
            "held": float(spend.held),
            "owed": round(float(spend.today) - float(spend.estimated) - billed, 9),
            "tasks": len(asyncio.all_tasks()) - 1,
            "places": sum(512 - places._value for places in engine._places.values()),
            "probes": sum(breaker.probe_holds(loop.time()) for breaker in breakers),
        }
        return played


def _watcher(played: Played, loop: virtual.VirtualLoop) -> Subscriber:
    def watch(event: Event) -> None:
        if isinstance(event, AttemptEnded) and event.attempt.probe and event.attempt.kind is not None:
            attempt = event.attempt
            began = loop.time() - virtual.START - attempt.seconds
            ill = attempt.kind in _ILL
            played.probes.append((attempt.model, began, ill))

    return watch


async def _call(client: FallbackClient, result: Result, loop: virtual.VirtualLoop) -> None:
    call = result.call
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
    if not call.streamed:
        answer = await client.achat(prompt, total_timeout=call.total)
        return answer.attempts
    stream = client.astream(prompt, total_timeout=call.total)
    async with stream:
        async for _ in stream:
            pass
    completion = stream.completion
    assert completion is not None
    return completion.attempts
