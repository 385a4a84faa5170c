"""The base class of the LlamaIndex adapters: the four chat methods of an LLM."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from llama_index.core.llms import ChatMessage

PROMPT = [ChatMessage(role="user", content="Why do fallbacks need a budget?")]


class Llm:
    def __init__(self, llm: Any) -> None:
        self._llm = llm

    def call(self) -> str:
        return self._llm.chat(PROMPT).message.content

    async def acall(self) -> str:
        return (await self._llm.achat(PROMPT)).message.content

    def stream(self) -> Iterator[str]:
        for response in self._llm.stream_chat(PROMPT):
            yield response.delta or ""

    async def astream(self) -> AsyncIterator[str]:
        async for response in await self._llm.astream_chat(PROMPT):
            yield response.delta or ""
