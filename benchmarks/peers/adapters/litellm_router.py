"""LiteLLM's Router: a model group for each model, the others as its fallbacks."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from litellm import Router

PROMPT = [{"role": "user", "content": "Why do fallbacks need a budget?"}]


class Chain:
    def __init__(
        self,
        base_url: str,
        key: str,
        models: Sequence[str],
        timeout: float | None,
        *,
        prefill: bool = False,
        **options: Any,
    ) -> None:
        if timeout is not None:
            options |= {"timeout": timeout, "stream_timeout": timeout}
        self._first = models[0]
        self._router = Router(
            model_list=[
                {
                    "model_name": model,
                    "litellm_params": {"model": f"openrouter/{model}", "api_base": base_url, "api_key": key},
                    # LiteLLM's list of models does not have these models. Without this flag it continues no answer.
                    "model_info": {"supports_assistant_prefill": True} if prefill else {},
                }
                for model in models
            ],
            fallbacks=[{models[0]: list(models[1:])}],
            **options,
        )

    def call(self) -> str:
        return self._router.completion(self._first, PROMPT).choices[0].message.content

    async def acall(self) -> str:
        return (await self._router.acompletion(self._first, PROMPT)).choices[0].message.content

    def stream(self) -> Iterator[str]:
        for chunk in self._router.completion(self._first, PROMPT, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""

    async def astream(self) -> AsyncIterator[str]:
        async for chunk in await self._router.acompletion(self._first, PROMPT, stream=True):
            if chunk.choices:
                yield chunk.choices[0].delta.content or ""
