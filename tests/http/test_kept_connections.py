"""Kept connections that die as requests are written (a load balancer is reloaded): sent once more, at no cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Literal

import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.llms import ChatMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackClient

from ..support.byteserver import Asked, ByteServer, Step, body, plain, reply

CALLS = 20
KEY = "sk-or-v1-test"
Death = Literal["close", "reset"]


def _dies(death: Death) -> Callable[[Asked], Iterable[Step]]:
    """Each connection answers one request, and ends at the second without a byte."""
    return lambda asked: [plain(body(asked.nonce))] if asked.number == 0 else [death]


async def _all_answered(server: ByteServer, ask: Callable[[str], Coroutine[None, None, str]]) -> None:
    for wave in range(2):
        nonces = [f"{wave}-{number}" for number in range(CALLS)]
        assert await asyncio.gather(*map(ask, nonces)) == [reply(nonce) for nonce in nonces]
    assert server.connections == 2 * CALLS
    assert len(server.requests) <= 3 * CALLS, "each was sent once more at most"


@pytest.mark.parametrize("death", ["close", "reset"])
async def test_all_are_answered_and_no_attempt_is_charged(death: Death) -> None:
    with ByteServer(_dies(death)) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:

            async def ask(nonce: str) -> str:
                answer = await client.achat(nonce)
                assert [attempt.kind for attempt in answer.attempts] == [None]
                resent.append(answer.attempts[0].resent)
                return answer.text

            resent: list[int] = []
            await _all_answered(server, ask)
            assert set(resent) == {0, 1}
            assert sum(resent) == len(server.requests) - 2 * CALLS, "an attempt tells of each request beyond its first"
            assert client.health()["a/a"].success_rate == 1.0


@pytest.mark.parametrize("death", ["close", "reset"])
def test_the_same_from_threads(death: Death) -> None:
    with (
        ByteServer(_dies(death)) as server,
        FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client,
        ThreadPoolExecutor(CALLS) as threads,
    ):
        for wave in range(2):
            nonces = [f"{wave}-{number}" for number in range(CALLS)]
            answers = list(threads.map(client.chat, nonces))
            assert [answer.text for answer in answers] == [reply(nonce) for nonce in nonces]
            assert all(len(answer.attempts) == 1 for answer in answers)


async def test_the_same_through_langchain() -> None:
    with ByteServer(_dies("reset")) as server:
        model = ChatOpenRouterFallback(models=["a/a"], base_url=server.base_url, api_key=KEY)

        async def ask(nonce: str) -> str:
            return str((await model.ainvoke([HumanMessage(nonce)])).content)

        await _all_answered(server, ask)
        await model.client.aclose()


async def test_the_same_through_llamaindex() -> None:
    with ByteServer(_dies("reset")) as server:
        model = OpenRouterFallback(["a/a"], api_base=server.base_url, api_key=KEY)

        async def ask(nonce: str) -> str:
            return str((await model.achat([ChatMessage(nonce)])).message.content)

        await _all_answered(server, ask)
        await model.client.aclose()


async def test_a_request_that_is_not_idempotent_is_not_sent_twice_by_the_connection() -> None:
    with ByteServer(_dies("reset")) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            await client.achat("one", idempotent=False)
            answer = await client.achat("two", idempotent=False)
    assert [attempt.kind for attempt in answer.attempts] == ["connection", None]
    assert [attempt.resent for attempt in answer.attempts] == [0, 0]


@pytest.mark.parametrize("death", ["close", "reset"])
async def test_a_connection_that_has_begun_an_answer_is_not_replaced(death: Death) -> None:
    def script(asked: Asked) -> Iterable[Step]:
        whole = plain(body(asked.nonce))
        return [whole] if asked.number == 0 else [whole[:20], death]

    with ByteServer(script) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            await client.achat("one")
            answer = await client.achat("two")
    assert [attempt.kind for attempt in answer.attempts] == ["connection", None]


async def test_a_new_connection_that_dies_is_a_failure() -> None:
    with ByteServer(lambda asked: ["reset"] if asked.connection == 0 else [plain(body(asked.nonce))]) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            answer = await client.achat("one")
    assert [attempt.kind for attempt in answer.attempts] == ["connection", None]
