"""The LlamaIndex LLM with the interface of the plain client, so that one case table tests both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage, ChatResponse, ToolCallBlock
from llama_index_instrumentation import get_dispatcher

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import Attempt, Completion, FailureKind, Piece
from openrouter_fallback.results import Seam


@contextmanager
def left_as_it_was() -> Iterator[None]:
    """Restore LlamaIndex's global state after the block: settings, observers, the loop for synchronous callers."""
    root = get_dispatcher()
    before = list(root.event_handlers), list(root.span_handlers)
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "_llm", None)
        patch.setattr(Settings, "_embed_model", None)
        yield
    asyncio.set_event_loop(None)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    root.event_handlers, root.span_handlers = before


class AsClient:
    """`chat`, `achat`, `stream` and `astream` of an LLM. Responses are converted back to completions and pieces."""

    def __init__(self, llm: OpenRouterFallback) -> None:
        self.llm = llm

    def chat(self, prompt: str, **params: Any) -> Completion:
        return completion(self.llm.chat([ChatMessage(prompt)], **params))

    async def achat(self, prompt: str, **params: Any) -> Completion:
        return completion(await self.llm.achat([ChatMessage(prompt)], **params))

    def stream(self, prompt: str, **params: Any) -> Streamed:
        return Streamed(self.llm, prompt, params)

    def astream(self, prompt: str, **params: Any) -> AStreamed:
        return AStreamed(self.llm, prompt, params)

    def reset(self) -> None:
        self.llm.client.reset()

    def close(self) -> None:
        self.llm.client.close()


class Streamed:
    """`stream_chat` as a stream of pieces. The call begins with the first piece, as in the core."""

    def __init__(self, llm: OpenRouterFallback, prompt: str, params: dict[str, Any]) -> None:
        self._llm, self._prompt, self._params = llm, prompt, params
        self._responses: Generator[ChatResponse, None, None] | None = None
        self._cumulative = Cumulative()

    def __enter__(self) -> Streamed:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._responses is not None:
            self._responses.close()

    def __iter__(self) -> Iterator[Piece]:
        self._responses = self._llm.stream_chat([ChatMessage(self._prompt)], **self._params)
        for response in self._responses:
            yield self._cumulative.piece(response)

    @property
    def completion(self) -> Completion:
        return self._cumulative.completion()


class AStreamed:
    """`astream_chat` as a stream of pieces."""

    def __init__(self, llm: OpenRouterFallback, prompt: str, params: dict[str, Any]) -> None:
        self._llm, self._prompt, self._params = llm, prompt, params
        self._responses: AsyncGenerator[ChatResponse, None] | None = None
        self._cumulative = Cumulative()

    async def __aenter__(self) -> AStreamed:
        return self

    async def __aexit__(self, *raised: object) -> None:
        if self._responses is not None:
            await self._responses.aclose()

    async def __aiter__(self) -> AsyncIterator[Piece]:
        self._responses = await self._llm.astream_chat([ChatMessage(self._prompt)], **self._params)
        async for response in self._responses:
            yield self._cumulative.piece(response)

    @property
    def completion(self) -> Completion:
        return self._cumulative.completion()


class Cumulative:
    """Checks that every response of a stream has a delta and the whole text so far."""

    def __init__(self) -> None:
        self._text = ""
        self._last: ChatResponse | None = None

    def piece(self, response: ChatResponse) -> Piece:
        assert response.delta is not None
        self._text += response.delta
        assert (response.message.content or "") == self._text
        self._last = response
        whole = completion(response) if "finish_reason" in response.additional_kwargs else None
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        assert bool(blocks) == bool(response.message.additional_kwargs.get("tool_calls"))
        if whole is None:
            assert not blocks
            return Piece(response.delta)
        delta = {"tool_calls": whole.message["tool_calls"]} if whole.tool_calls else {}
        return Piece(
            response.delta, tool_calls=whole.tool_calls, seams=whole.seams, raw={"choices": [{"delta": delta}]}
        )

    def completion(self) -> Completion:
        assert self._last is not None
        return completion(self._last)


def completion(response: ChatResponse) -> Completion:
    """The completion of a response. Asserts that the blocks of the message agree with the body."""
    facts = response.additional_kwargs
    attempts = tuple(
        Attempt(
            model=one["model"],
            endpoint="",
            kind=None if one["kind"] is None else FailureKind(one["kind"]),
            seconds=one["seconds"],
            status=one["status"],
        )
        for one in facts["attempts"]
    )
    whole = Completion(response.raw, attempts, invalid=tuple(facts.get("invalid_tool_calls", ())))  # type: ignore[arg-type]
    whole.seams = tuple(Seam(**seam) for seam in facts.get("seams", ()))
    assert (response.message.content or "") == whole.text
    calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    assert [(call.id, call.name, call.arguments) for call in whole.tool_calls] == [
        (block.tool_call_id, block.tool_name, block.tool_kwargs) for block in calls
    ]
    assert (facts["model"], facts["finish_reason"]) == (whole.model, whole.finish_reason)
    return whole
