"""The trace of a call through LangChain."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from langchain_openrouter_fallback import ChatOpenRouterFallback
from openrouter_fallback.emulator import Emulator

from ..support.traces import MODELS, check_the_trace
from .conftest import Make


def _stream(llm: ChatOpenRouterFallback) -> str:
    return "".join(str(chunk.content) for chunk in llm.stream("Count"))


def _astream(llm: ChatOpenRouterFallback) -> str:
    async def read() -> str:
        return "".join([str(chunk.content) async for chunk in llm.astream("Count")])

    return asyncio.run(read())


SURFACES: dict[str, Callable[[ChatOpenRouterFallback], str]] = {
    "invoke": lambda llm: str(llm.invoke("Count").content),
    "ainvoke": lambda llm: str(asyncio.run(llm.ainvoke("Count")).content),
    "stream": _stream,
    "astream": _astream,
}


@pytest.mark.parametrize("surface", SURFACES)
def test_two_failed_attempts_and_one_continuation(surface: str, emulator: Emulator, make: Make) -> None:
    llm = make(models=list(MODELS))
    check_the_trace(emulator, llm.client, lambda: SURFACES[surface](llm), streamed=surface.endswith("stream"))
    llm.client.close()
