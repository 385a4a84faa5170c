"""What a plain client survives or never sees, in the core and in both frameworks: lost finishes, seams, drips."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import NamedTuple

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import ConfigError, FallbackClient, FallbackError, StreamInterruptedError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.health.shared.redis import RedisStore

from ..support.bodies import delta
from ..support.rawserver import RawServer, Reply, sse
from ..support.redis_server import RedisServer, binaries
from .test_keys_in_tracebacks import KEY as KEYS_KEY
from .test_keys_in_tracebacks import nowhere

KEY = "sk-or-v1-test"
CHAIN = ["a/a", "b/b"]
TOTAL = 10.0


class Surface(NamedTuple):
    """One way to ask: the texts of a stream, and the text of a whole answer within `TOTAL` seconds."""

    stream: Callable[[], AsyncIterator[str]]
    whole: Callable[[], AsyncIterator[str]]


def core(url: str) -> Surface:
    async def stream() -> AsyncIterator[str]:
        async with FallbackClient(CHAIN, base_url=url, api_key=KEY) as client, client.astream("one") as pieces:
            async for piece in pieces:
                yield piece.text

    async def whole() -> AsyncIterator[str]:
        async with FallbackClient(CHAIN, base_url=url, api_key=KEY) as client:
            yield (await client.achat("one", total_timeout=TOTAL)).text

    return Surface(stream, whole)


def langchain(url: str) -> Surface:
    model = ChatOpenRouterFallback(models=CHAIN, base_url=url, api_key=KEY)

    async def stream() -> AsyncIterator[str]:
        async for chunk in model.astream([HumanMessage("one")]):
            yield chunk.text
        await model.client.aclose()

    async def whole() -> AsyncIterator[str]:
        yield (await model.ainvoke([HumanMessage("one")], total_timeout=TOTAL)).text
        await model.client.aclose()

    return Surface(stream, whole)


def llamaindex(url: str) -> Surface:
    model = OpenRouterFallback(CHAIN, api_base=url, api_key=KEY)

    async def stream() -> AsyncIterator[str]:
        async for response in await model.astream_chat([ChatMessage("one")]):
            yield response.delta or ""
        await model.client.aclose()

    async def whole() -> AsyncIterator[str]:
        answer = await model.achat([ChatMessage("one")], total_timeout=TOTAL)
        yield str(answer.message.content)
        await model.client.aclose()

    return Surface(stream, whole)


SURFACES = pytest.mark.parametrize("make", [core, langchain, llamaindex])

SAID = "The first model has said all there is to say."
RULE = "    print('-' * 40)\n"
TWICE = f"def show():\n{RULE}    print('one')\n{RULE}"
SORRY = "I'm sorry for the inconvenience. Please go ahead and tell me what you need."
ENDS = {
    "only the finish is lost": (SAID, "", None),
    "no server sends a finish": (SAID, None, None),
    "a line that came twice comes a third time": (TWICE, f"{RULE}    print('two')\n", StreamInterruptedError),
    "an apology instead of a continuation": ("Dear", SORRY, StreamInterruptedError),
}
"""The text before the cut, what every further attempt says, and the error: nothing is dropped and nothing glued in."""


@SURFACES
@pytest.mark.parametrize("name", ENDS)
async def test_a_cut_answer(raw: RawServer, make: Callable[[str], Surface], name: str) -> None:
    said, further, error = ENDS[name]
    gate = raw.gate()
    if further is None:
        raw.answer(Reply([sse(delta(content=said)), gate, sse("[DONE]")]), Reply([sse(delta(content=""), "[DONE]")]))
    else:
        finished = Reply([sse(delta(content=further), delta(finish="stop"), "[DONE]")])
        raw.answer(Reply([sse(delta(content=said)), gate], ending="cut"), finished)
    read, raised = "", None
    try:
        async for text in make(raw.base_url).stream():
            read += text
            if read == said:
                gate.open()
    except FallbackError as caught:
        raised = caught
    assert read == said
    assert error is None if raised is None else isinstance(raised, error or ())


async def test_a_drip_does_not_use_up_the_time() -> None:
    """Half of the call's time, then the second model beside it. All at once: most of the time they wait."""

    async def ask(make: Callable[[str], Surface]) -> str:
        with RawServer() as server:
            drip = Reply([sse(delta(content="drip")), gate := server.gate()], ending="cut")
            server.answer(drip, Reply([sse(delta(content="whole"), delta(finish="stop"), "[DONE]")]))
            text = "".join([text async for text in make(server.base_url).whole()])
            assert [request.body["model"] for request in server.requests] == CHAIN
            gate.open()
            return text

    assert await asyncio.gather(*map(ask, (core, langchain, llamaindex))) == ["whole"] * 3


async def test_beside_a_silent_last_model_one_that_has_refused_is_called_again() -> None:
    """At half of the call's time. All at once: most of the time they wait."""

    async def ask(make: Callable[[str], Surface]) -> str:
        with RawServer() as server:
            refused = Reply([b'{"error": {"code": 503}}'], status=503, content_type="application/json")
            silent = Reply([gate := server.gate()], ending="cut")
            server.answer(refused, silent, Reply([sse(delta(content="whole"), delta(finish="stop"), "[DONE]")]))
            text = "".join([text async for text in make(server.base_url).whole()])
            assert [request.body["model"] for request in server.requests] == [*CHAIN, CHAIN[0]]
            gate.open()
            return text

    assert await asyncio.gather(*map(ask, (core, langchain, llamaindex))) == ["whole"] * 3


Calls = tuple[Callable[[], Awaitable[object]], FallbackClient]


def core_calls(url: str, **settings: object) -> Calls:
    client = FallbackClient(CHAIN, base_url=url, api_key=KEY, settings=settings)
    return lambda: client.achat("one"), client


def langchain_calls(url: str, **settings: object) -> Calls:
    model = ChatOpenRouterFallback(models=CHAIN, base_url=url, api_key=KEY, settings=settings)
    return lambda: model.ainvoke([HumanMessage("one")]), model.client


def llamaindex_calls(url: str, **settings: object) -> Calls:
    model = OpenRouterFallback(CHAIN, api_base=url, api_key=KEY, settings=settings)
    return lambda: model.achat([ChatMessage("one")]), model.client


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    found = binaries()
    if not found:
        pytest.skip("no redis-server is installed")
    with RedisServer(next(iter(found.values()))) as running:
        yield running


CALLS = pytest.mark.parametrize("make", [core_calls, langchain_calls, llamaindex_calls])


@CALLS
@pytest.mark.parametrize("gap", [5, 20])
async def test_a_fleet_of_two_with_few_calls_goes_back_to_its_model(
    gap: int, make: Callable[..., Calls], server: RedisServer
) -> None:
    """With the second call later than 30 s after the first model's last failure, in driven time."""
    with Emulator(api_key=KEY) as emulator:
        passed, turn = 0.0, itertools.count()
        server.admin().flushall()
        fleet = [make(emulator.base_url, health_store=server.url) for _ in range(2)]
        stores, loop = [], asyncio.get_running_loop()
        for _, client in fleet:
            store = parts_of(client).store
            assert isinstance(store, RedisStore)
            stores.append(store)
            store.touch = lambda: None  # type: ignore[method-assign]
            store.spawn = lambda work: asyncio.run_coroutine_threadsafe(work(), loop)
            store.clock = parts_of(client).runtime.clock = lambda: time.monotonic() + passed

        async def begins_at_it() -> bool:
            """One process makes a call, and each exchanges its health a second before."""
            nonlocal passed
            passed += gap - 1
            for store in stores:
                assert await store.exchange()
            passed += 1
            before, (call, client) = emulator.count(CHAIN[0]), fleet[next(turn) % 2]
            await call()
            await parts_of(client).runtime.background.done()
            return emulator.count(CHAIN[0]) > before

        outage, failed_at, opened = emulator.fault("overloaded", model=CHAIN[0]), 0.0, False
        for _ in range(4 - -45 // gap):
            begun = await begins_at_it()
            opened, failed_at = opened or not begun, passed if begun else failed_at
        assert opened
        outage.clear()
        late = 0
        while not await begins_at_it():
            late += passed - failed_at > 30
            assert late < 2
        for (_, client), store in zip(fleet, stores, strict=True):
            await client.aclose()
            await store.aclose()


@CALLS
async def test_after_an_outage_of_five_minutes_the_first_model_is_back(make: Callable[..., Calls]) -> None:
    """A call every 5 s in driven time: all are answered, and the second one later than 30 s is the first model's."""
    with Emulator(api_key=KEY) as emulator:
        call, client = make(emulator.base_url)
        passed = 0.0
        parts_of(client).runtime.clock = lambda: time.monotonic() + passed
        outage = emulator.fault("overloaded", model=CHAIN[0])
        for _ in range(60):
            await call()
            passed += 5.0
        assert emulator.count(CHAIN[0]) <= 3 + 300 / 20, "requests to the dead model"
        outage.clear()
        passed += 15.0
        begins = []
        for _ in range(4):
            before = len(emulator.log)
            await call()
            begins.append([entry.model for entry in emulator.log[before:]])
            passed += 5.0
        assert all(asked[0] == CHAIN[0] for asked in begins[2:]), begins
        assert client.health()[CHAIN[0]].state == "closed"
        await client.aclose()


_OWN = {"default_chain": ["no id"], "endpoints": {"own": {"base_url": "http://127.0.0.1:9/v1", "api_key": KEYS_KEY}}}
MISTAKES: dict[str, Callable[[], object]] = {
    "LangChain, a chain": lambda: ChatOpenRouterFallback(models=["no id"], api_key=KEYS_KEY),
    "LangChain, an argument": lambda: ChatOpenRouterFallback(models=CHAIN, openai_api_key=KEYS_KEY),  # type: ignore[call-arg]
    "LangChain, a configuration": lambda: ChatOpenRouterFallback(config=_OWN),
    "LlamaIndex, a chain": lambda: OpenRouterFallback(models=["no id"], api_key=KEYS_KEY),
    "LlamaIndex, an argument": lambda: OpenRouterFallback(models=CHAIN, api_key=KEYS_KEY, nonsense=1),  # type: ignore[call-arg]
    "LlamaIndex, a configuration": lambda: OpenRouterFallback(config=_OWN),
}


@pytest.mark.parametrize("mistake", list(MISTAKES))
def test_a_mistake_beside_a_key_leads_to_no_key(mistake: str) -> None:
    with pytest.raises(ConfigError) as caught:
        MISTAKES[mistake]()
    nowhere(caught.value)
