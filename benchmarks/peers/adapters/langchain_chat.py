"""The base class of the LangChain adapters: the four calls of a Runnable."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

PROMPT = "Why do fallbacks need a budget?"


class Runnable:
    def __init__(self, model: Any) -> None:
        self._model = model

    def call(self) -> str:
        return self._model.invoke(PROMPT).content

    async def acall(self) -> str:
        return (await self._model.ainvoke(PROMPT)).content

    def stream(self) -> Iterator[str]:
        for chunk in self._model.stream(PROMPT):
            yield chunk.content

    async def astream(self) -> AsyncIterator[str]:
        async for chunk in self._model.astream(PROMPT):
            yield chunk.content
