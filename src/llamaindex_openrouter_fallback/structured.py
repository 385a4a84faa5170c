"""Classes filled in a stream, by a tool call, which comes whole and last.

LlamaIndex's own streamed program leaves the model free to answer in words instead, and yields an object without any
field for each response that holds no tool call: of thinking, of text, of a call that was cut off.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.prompts import PromptTemplate

from .messages import Json

if TYPE_CHECKING:
    from .llm import OpenRouterFallback

_OURS = {"tool_required", "tool_choice", "allow_parallel_tool_calls"}


def filling(
    llm: OpenRouterFallback, output_cls: type[Any], prompt: PromptTemplate, llm_kwargs: Json | None, args: Json
) -> Json:
    """The arguments of the call with tools that has `output_cls` filled."""
    return {
        **{key: value for key, value in (llm_kwargs or {}).items() if key not in _OURS},
        "tools": [get_function_tool(output_cls)],
        "chat_history": llm._extend_messages(prompt.format_messages(llm=llm, **args)),
        "tool_required": True,
    }


def filled(llm: OpenRouterFallback, output_cls: type[Any], request: Json) -> Generator[Any, None, None]:
    """The object, once it is whole. Raises ValueError if the model has not filled it."""
    response = ChatResponse(message=ChatMessage())
    for one in llm.stream_chat_with_tools(**request):
        response = one
    yield _object(llm, output_cls, response)


async def afilled(llm: OpenRouterFallback, output_cls: type[Any], request: Json) -> AsyncGenerator[Any, None]:
    """`filled` for async callers."""
    response = ChatResponse(message=ChatMessage())
    async for one in await llm.astream_chat_with_tools(**request):
        response = one
    yield _object(llm, output_cls, response)


def _object(llm: OpenRouterFallback, output_cls: type[Any], response: ChatResponse) -> Any:
    return output_cls(**llm.get_tool_calls_from_response(response)[0].tool_kwargs)
