"""Structured output: pydantic classes as `response_format`, and streamed objects.

A streamed object is filled by a tool call, which the core delivers complete at the end of the stream. LlamaIndex's own
streamed program does not force the tool call. For each response without one (reasoning, text, a cut-off call) it would
yield an object with empty fields.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools.types import BaseTool
from pydantic import BaseModel

from openrouter_fallback import ConfigError

from .messages import Json

if TYPE_CHECKING:
    from .llm import OpenRouterFallback

_FORMATS = frozenset({"grammar", "json_object", "json_schema", "python", "text"})
_OF_SCHEMAS = ("$defs", "$ref", "$schema", "allOf", "anyOf", "enum", "items", "oneOf", "properties", "title")
_OURS = {"tool_required", "tool_choice", "allow_parallel_tool_calls"}


def in_wire_form(params: Json) -> Json:
    """The parameters of a call, with LlamaIndex's `tools` and a pydantic `response_format` in OpenAI's form."""
    tools, form = params.get("tools"), params.get("response_format")
    if isinstance(tools, list | tuple) and any(isinstance(tool, BaseTool) for tool in tools):
        params = {**params, "tools": [_tool(tool) for tool in tools]}
    return params if form is None else {**params, "response_format": _answer_format(form)}


def _tool(tool: object) -> object:
    return tool.metadata.to_openai_tool(skip_length_check=True) if isinstance(tool, BaseTool) else tool


def _answer_format(form: Any) -> Any:
    """OpenAI's form of a pydantic class or a JSON schema; any other value unchanged. Raises `ConfigError`."""
    if isinstance(form, type):
        if not issubclass(form, BaseModel):
            raise ConfigError(f"response_format={form.__name__} is no pydantic class; give one, or a JSON schema")
        form = form.model_json_schema()
    if not isinstance(form, Mapping) or form.get("type") in _FORMATS or form.keys().isdisjoint(_OF_SCHEMAS):
        return form
    name = re.sub(r"[^A-Za-z0-9_-]", "_", str(form.get("title") or "answer"))[:64]
    return {"type": "json_schema", "json_schema": {"name": name, "schema": dict(form)}}


def filling(
    llm: OpenRouterFallback, output_cls: type[Any], prompt: PromptTemplate, llm_kwargs: Json | None, args: Json
) -> Json:
    """The arguments of `stream_chat_with_tools` for a call that fills `output_cls`."""
    return {
        **{key: value for key, value in (llm_kwargs or {}).items() if key not in _OURS},
        "tools": [get_function_tool(output_cls)],
        "chat_history": llm._extend_messages(prompt.format_messages(llm=llm, **args)),
        "tool_required": True,
    }


def filled(llm: OpenRouterFallback, output_cls: type[Any], request: Json) -> Generator[Any, None, None]:
    """Yield the object once it is complete. Raises ValueError if the model did not fill the object."""
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
