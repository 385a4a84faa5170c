"""pydantic-ai's FallbackModel with OpenRouter models, called by direct requests without an agent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import openai
from pydantic_ai import ModelRequest
from pydantic_ai.direct import (
    model_request,
    model_request_stream,
    model_request_stream_sync,
    model_request_sync,
)
from pydantic_ai.messages import PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openrouter import OpenRouterModel
from pydantic_ai.providers.openrouter import OpenRouterProvider

PROMPT = [ModelRequest.user_text_prompt("Why do fallbacks need a budget?")]


class Chain:
    def __init__(
        self,
        base_url: str,
        key: str,
        models: Sequence[str],
        timeout: float | None,
        *,
        deadlines: bool = False,
        **options: Any,
    ) -> None:
        client = openai.AsyncOpenAI(base_url=base_url, api_key=key, **options)
        provider = OpenRouterProvider(openai_client=client)
        self._model = FallbackModel(*(OpenRouterModel(model, provider=provider) for model in models))
        self._settings: Any = {} if timeout is None else {"timeout": timeout}
        self._streamed = dict(self._settings)
        if timeout is not None and deadlines:
            self._settings |= {"request_timeout": timeout}
            self._streamed |= {"first_event_timeout": timeout}

    def call(self) -> str:
        return model_request_sync(self._model, PROMPT, model_settings=self._settings).text or ""

    async def acall(self) -> str:
        return (await model_request(self._model, PROMPT, model_settings=self._settings)).text or ""

    def stream(self) -> Iterator[str]:
        with model_request_stream_sync(self._model, PROMPT, model_settings=self._streamed) as stream:
            for event in stream:
                yield _text(event)

    async def astream(self) -> AsyncIterator[str]:
        async with model_request_stream(self._model, PROMPT, model_settings=self._streamed) as stream:
            async for event in stream:
                yield _text(event)


def _text(event: object) -> str:
    match event:
        case PartStartEvent(part=TextPart(content=text)) | PartDeltaEvent(delta=TextPartDelta(content_delta=text)):
            return text
    return ""
