"""The trace of a call through LlamaIndex."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from llama_index.core.llms import ChatMessage

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback.emulator import Emulator

from ..support.traces import MODELS, check_the_trace
from .conftest import Make

ASKED = [ChatMessage(role="user", content="Count")]


def _stream(llm: OpenRouterFallback) -> str:
    return "".join(chunk.delta or "" for chunk in llm.stream_chat(ASKED))


def _astream(llm: OpenRouterFallback) -> str:
    async def read() -> str:
        return "".join([chunk.delta or "" async for chunk in await llm.astream_chat(ASKED)])

    return asyncio.run(read())


SURFACES: dict[str, Callable[[OpenRouterFallback], str]] = {
    "chat": lambda llm: str(llm.chat(ASKED).message.content),
    "achat": lambda llm: str(asyncio.run(llm.achat(ASKED)).message.content),
    "stream": _stream,
    "astream": _astream,
}


@pytest.mark.parametrize("surface", SURFACES)
def test_two_failed_attempts_and_one_continuation(surface: str, emulator: Emulator, make: Make) -> None:
    llm = make(MODELS)
    check_the_trace(emulator, llm.client, lambda: SURFACES[surface](llm), streamed=surface.endswith("stream"))
