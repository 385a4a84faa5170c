"""A blip: so many calls wait, all connections are reset at once, then all is well. Every call is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackClient

from ..support.byteserver import Asked, ByteServer, Step, body, plain, reply

KEY = "sk-or-v1-test"
MODEL = "a/a"
BLIP = "blip"
Ask = Callable[[str], Awaitable[str]]


class Blip:
    """Answers every request, but the calls of the blip: it holds them until all have come, and resets their
    connections."""

    def __init__(self, size: int) -> None:
        self.server = ByteServer(self._script)
        self._size = size
        self._held: set[str] = set()
        self._over = False

    def _script(self, asked: Asked) -> Iterable[Step]:
        if self._over or not asked.nonce.startswith(BLIP):
            return [plain(body(asked.nonce))]
        self._held.add(asked.nonce)
        if len(self._held) == self._size:
            self._over = True
            asyncio.get_running_loop().call_soon(self.server.reset_all)
        return []


@dataclass(frozen=True)
class Surface:
    """One way to ask: the answer's text, and the client behind it."""

    ask: Ask
    client: FallbackClient


def core(url: str) -> Surface:
    client = FallbackClient([MODEL], base_url=url, api_key=KEY)

    async def ask(nonce: str) -> str:
        return (await client.achat(nonce)).text

    return Surface(ask, client)


def langchain(url: str) -> Surface:
    model = ChatOpenRouterFallback(models=[MODEL], base_url=url, api_key=KEY)

    async def ask(nonce: str) -> str:
        return str((await model.ainvoke([HumanMessage(nonce)])).content)

    return Surface(ask, model.client)


def llamaindex(url: str) -> Surface:
    model = OpenRouterFallback([MODEL], api_base=url, api_key=KEY)

    async def ask(nonce: str) -> str:
        return str((await model.achat([ChatMessage(nonce)])).message.content)

    return Surface(ask, model.client)


async def _all_answered(surface: Surface, nonces: list[str]) -> None:
    assert await asyncio.gather(*map(surface.ask, nonces)) == [reply(nonce) for nonce in nonces]


async def _blip(make: Callable[[str], Surface], size: int, *, warm: bool) -> None:
    blip = Blip(size)
    with blip.server as server:
        surface = make(server.base_url)
        if warm:
            await _all_answered(surface, [f"warm-{number}" for number in range(size)])
        await _all_answered(surface, [f"{BLIP}-{number}" for number in range(size)])
        before = len(server.requests)
        await _all_answered(surface, ["after"])
        assert len(server.requests) == before + 1, "the next call begins at the model as if nothing had been"
        assert surface.client.health()[MODEL].state == "closed"
        await surface.client.aclose()


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("size", [10, 20, 40, 100])
async def test_a_blip_loses_no_call(size: int, warm: bool) -> None:
    """In the core and in both frameworks, each with a server of its own: most of the time they wait."""
    await asyncio.gather(*(_blip(make, size, warm=warm) for make in (core, langchain, llamaindex)))
