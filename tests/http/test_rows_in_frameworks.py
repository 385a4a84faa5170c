"""What a plain client survives or never sees, in the core and in both frameworks: lost finishes, seams, drips."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import NamedTuple

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import ConfigError, FallbackClient, FallbackError, StreamInterruptedError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator

from ..support.bodies import delta
from ..support.rawserver import RawServer, Reply, sse
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
    "a line that came twice comes a third time": (TWICE, f"{RULE}    print('two')\n", StreamInterruptedError),
    "an apology instead of a continuation": ("Dear", SORRY, StreamInterruptedError),
}
"""The text before the cut, what every further attempt says, and the error: nothing is dropped and nothing glued in."""


@SURFACES
@pytest.mark.parametrize("name", ENDS)
async def test_a_cut_answer(raw: RawServer, make: Callable[[str], Surface], name: str) -> None:
    said, further, error = ENDS[name]
    gate = raw.gate()
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


def core_calls(url: str) -> tuple[Callable[[], Awaitable[object]], FallbackClient]:
    client = FallbackClient(CHAIN, base_url=url, api_key=KEY)
    return lambda: client.achat("one"), client


def langchain_calls(url: str) -> tuple[Callable[[], Awaitable[object]], FallbackClient]:
    model = ChatOpenRouterFallback(models=CHAIN, base_url=url, api_key=KEY)
    return lambda: model.ainvoke([HumanMessage("one")]), model.client


def llamaindex_calls(url: str) -> tuple[Callable[[], Awaitable[object]], FallbackClient]:
    model = OpenRouterFallback(CHAIN, api_base=url, api_key=KEY)
    return lambda: model.achat([ChatMessage("one")]), model.client


@pytest.mark.parametrize("make", [core_calls, langchain_calls, llamaindex_calls])
async def test_after_an_outage_of_five_minutes_the_first_model_is_back(
    make: Callable[[str], tuple[Callable[[], Awaitable[object]], FallbackClient]],
) -> None:
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
