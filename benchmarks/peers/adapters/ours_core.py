"""This project's plain client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from openrouter_fallback import FallbackClient

PROMPT = "Why do fallbacks need a budget?"


def settings(timeout: float | None, options: dict[str, Any]) -> dict[str, Any]:
    """Settings that limit a model's silence, before its first token and between tokens, to `timeout` seconds."""
    if timeout is None:
        return options
    return {"first_token_timeout_seconds": timeout, "stall_timeout_seconds": timeout, **options}


class Chain:
    def __init__(self, base_url: str, key: str, models: Sequence[str], timeout: float | None, **options: Any) -> None:
        self._client = FallbackClient(models, base_url=base_url, api_key=key, settings=settings(timeout, options))

    def call(self) -> str:
        return self._client.chat(PROMPT).text

    async def acall(self) -> str:
        return (await self._client.achat(PROMPT)).text

    def stream(self) -> Iterator[str]:
        for piece in self._client.stream(PROMPT):
            yield piece.text

    async def astream(self) -> AsyncIterator[str]:
        async for piece in self._client.astream(PROMPT):
            yield piece.text
