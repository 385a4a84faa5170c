"""The openai SDK: one model, with the SDK's own retries."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import openai

PROMPT = [{"role": "user", "content": "Why do fallbacks need a budget?"}]


class Chain:
    def __init__(self, base_url: str, key: str, models: Sequence[str], timeout: float | None, **options: Any) -> None:
        if timeout is not None:
            options["timeout"] = timeout
        self._sync = openai.OpenAI(base_url=base_url, api_key=key, **options)
        self._async = openai.AsyncOpenAI(base_url=base_url, api_key=key, **options)
        self._body: dict[str, Any] = {"model": models[0], "messages": PROMPT}
        self._streamed = {**self._body, "stream": True, "stream_options": {"include_usage": True}}

    def call(self) -> str:
        return self._sync.chat.completions.create(**self._body).choices[0].message.content

    async def acall(self) -> str:
        return (await self._async.chat.completions.create(**self._body)).choices[0].message.content

    def stream(self) -> Iterator[str]:
        for chunk in self._sync.chat.completions.create(**self._streamed):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    async def astream(self) -> AsyncIterator[str]:
        async for chunk in await self._async.chat.completions.create(**self._streamed):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""
