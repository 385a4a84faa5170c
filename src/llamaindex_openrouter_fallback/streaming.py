"""One streamed call. If the caller stops reading, the upstream connection is closed at once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback

from .messages import Json
from .responses import Growing, GrowingChat, GrowingText

if TYPE_CHECKING:
    from openrouter_fallback import AsyncStream, Stream

    from .llm import OpenRouterFallback

R = TypeVar("R", ChatResponse, CompletionResponse)


class StreamedCall:
    """Takes the place of the LLM in LlamaIndex's decorators, and keeps a reference to the stream.

    The decorators' generators do not close the generator that they wrap. If an observer keeps the exception of a caller
    that stopped reading, it keeps the frame alive, and with it the connection. Therefore this class makes the outermost
    generator, which closes the stream itself.
    """

    def __init__(self, llm: OpenRouterFallback) -> None:
        self._llm = llm
        self._stream: Stream | None = None
        self._astream: AsyncStream | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._llm, name)

    # For synchronous callers

    @llm_chat_callback()
    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Generator[Any, None, None]:
        return self._begin(
            GrowingChat(kwargs.get("parallel_tool_calls") is False), self._llm._messages(messages), kwargs
        )

    @llm_completion_callback()
    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> Generator[Any, None, None]:
        return self._begin(GrowingText(), self._llm._prompt(prompt, formatted), kwargs)

    def _begin(self, growing: Growing, messages: list[Json], kwargs: Json) -> Generator[Any, None, None]:
        """Wait for the first response, so that failover before it happens inside the call that LlamaIndex observes."""
        stream = self._stream = self._llm.client.stream(messages, **self._llm._params(kwargs))
        first = next((response for piece in stream if (response := growing.add(piece)) is not None), None)
        return _responses(stream, growing, first)

    def closing(self, responses: Generator[R, None, None]) -> Generator[R, None, None]:
        """The responses for the caller. The end of the generator closes the stream."""
        try:
            yield from responses
        finally:
            if self._stream is not None:
                self._stream.close()

    # For async callers

    @llm_chat_callback()
    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> AsyncGenerator[Any, None]:
        return await self._abegin(
            GrowingChat(kwargs.get("parallel_tool_calls") is False), await self._llm._amessages(messages), kwargs
        )

    @llm_completion_callback()
    async def astream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> AsyncGenerator[Any, None]:
        return await self._abegin(GrowingText(), self._llm._prompt(prompt, formatted), kwargs)

    async def _abegin(self, growing: Growing, messages: list[Json], kwargs: Json) -> AsyncGenerator[Any, None]:
        stream = self._astream = self._llm.client.astream(messages, **self._llm._params(kwargs))
        first = None
        async for piece in stream:
            first = growing.add(piece)
            if first is not None:
                break
        return _aresponses(stream, growing, first)

    async def aclosing(self, responses: AsyncGenerator[R, None]) -> AsyncGenerator[R, None]:
        """`closing` for async callers."""
        try:
            async for response in responses:
                yield response
        finally:
            if self._astream is not None:
                await self._astream.aclose()
            await responses.aclose()


def _responses(stream: Stream, growing: Growing, first: Any) -> Generator[Any, None, None]:
    if first is not None:
        yield first
    for piece in stream:
        response = growing.add(piece)
        if response is not None:
            yield response
    yield growing.end(stream.completion)


async def _aresponses(stream: AsyncStream, growing: Growing, first: Any) -> AsyncGenerator[Any, None]:
    if first is not None:
        yield first
    async for piece in stream:
        response = growing.add(piece)
        if response is not None:
            yield response
    yield growing.end(stream.completion)
