"""Converts the core's completions and pieces to LangChain's messages, results and chunks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.messages.ai import InputTokenDetails, OutputTokenDetails, UsageMetadata
from langchain_core.messages.content import KNOWN_BLOCK_TYPES
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from openrouter_fallback import Attempt, Completion, Piece, Usage

PROVIDER = "openrouter"
CALLS_FROM = 1000
"""The index of the first tool call in chunks. Other blocks are counted from 0, and LangChain merges equal indices."""

_DATA_URL = re.compile(r"data:([^;,]+);base64,(.*)", re.DOTALL)
_REFUSALS = "refusal" in KNOWN_BLOCK_TYPES
"""Whether LangChain has a block for refusals (langchain-core 1.7.5 and later)."""
_NAMED = ("url", "title", "start_index", "end_index")
_OF_AN_ATTEMPT = (
    "model",
    "endpoint",
    "kind",
    "status",
    "message",
    "seconds",
    "first_token",
    "provider",
    "generation_id",
    "cost",
    "notes",
)


def chat_result(completion: Completion) -> ChatResult:
    """The result with all choices of an answer. Each message has the usage and the cost of the whole answer."""
    choices = completion.raw["choices"]
    if len(choices) == 1:
        return ChatResult(generations=[_generation(completion)])
    return ChatResult(generations=[_generation(_one(completion, choice)) for choice in choices])


def chunk(piece: Piece) -> ChatGenerationChunk:
    """The chunk with the new text or the new reasoning of a piece."""
    if not piece.reasoning:
        return ChatGenerationChunk(message=AIMessageChunk(content=piece.text))
    # Another attempt has restarted the reasoning. The earlier reasoning is already delivered, so a blank line follows.
    reasoning = f"\n\n{piece.reasoning}" if piece.restarted else piece.reasoning
    return ChatGenerationChunk(
        message=AIMessageChunk(content=piece.text, additional_kwargs={"reasoning_content": reasoning})
    )


def call_chunk(piece: Piece) -> ChatGenerationChunk:
    """The chunk with complete tool calls."""
    chunks = [
        tool_call_chunk(name=call.name, args=call.arguments_json, id=call.id, index=CALLS_FROM + call.index)
        for call in piece.tool_calls
    ]
    return ChatGenerationChunk(message=AIMessageChunk(content="", tool_call_chunks=chunks))


def last_chunk(completion: Completion, *, usage: bool = True) -> ChatGenerationChunk:
    """The chunk with the facts that are known only at the end.

    A stream has each key only once, because LangChain's merging joins strings and refuses floats. `usage`: whether the
    chunk has the token counts.
    """
    content = _blocks(completion.message, "")
    message = AIMessageChunk(
        content=content or "",
        additional_kwargs=_additional(completion, streamed=True),
        response_metadata=_metadata(completion),
        usage_metadata=usage_metadata(completion.usage) if usage else None,
        chunk_position="last",
    )
    return ChatGenerationChunk(message=message)


def usage_metadata(usage: Usage | None) -> UsageMetadata | None:
    """The token counts in LangChain's form, without the cost: LangChain cannot add floats there."""
    if usage is None:
        return None
    return UsageMetadata(
        input_tokens=usage.prompt_tokens,
        output_tokens=usage.completion_tokens,
        total_tokens=usage.total_tokens,
        input_token_details=InputTokenDetails(cache_read=usage.cached_tokens, cache_creation=usage.cache_write_tokens),
        output_token_details=OutputTokenDetails(reasoning=usage.reasoning_tokens),
    )


def attempt_dict(attempt: Attempt) -> dict[str, Any]:
    """An attempt as plain JSON, without unknown values."""
    values = attempt.as_dict()
    return {key: value for key in _OF_AN_ATTEMPT if (value := values[key]) or value == 0}


def _one(completion: Completion, choice: Mapping[str, Any]) -> Completion:
    other = Completion({**completion.raw, "choices": [choice]}, completion.attempts, completion.seconds)
    other.seams = completion.seams
    return other


def _generation(completion: Completion) -> ChatGeneration:
    text = completion.text
    message = AIMessage(
        content=_blocks(completion.message, text) or text,
        additional_kwargs=_additional(completion, streamed=False),
        tool_calls=[tool_call(name=call.name, args=call.arguments, id=call.id) for call in completion.tool_calls],
        response_metadata=_metadata(completion),
        usage_metadata=usage_metadata(completion.usage),
    )
    return ChatGeneration(message=message, generation_info={"finish_reason": completion.finish_reason})


def _additional(completion: Completion, *, streamed: bool) -> dict[str, Any]:
    message = completion.message
    extra = {key: message[key] for key in ("refusal", "audio", "reasoning_details") if message.get(key)}
    if completion.reasoning and not streamed:
        extra["reasoning_content"] = completion.reasoning
    if completion.invalid_tool_calls:
        # Not in LangChain's `invalid_tool_calls`: merging chunks would parse the partial JSON and make a valid call.
        extra["cut_tool_calls"] = list(completion.invalid_tool_calls)
    return extra


def _metadata(completion: Completion) -> dict[str, Any]:
    raw, choice = completion.raw, completion.choice
    usage = raw["usage"] if isinstance(raw.get("usage"), dict) else {}
    metadata = {
        "model_name": completion.model,
        "model_provider": PROVIDER,
        "provider": completion.provider,
        "finish_reason": choice["finish_reason"],
        "native_finish_reason": choice.get("native_finish_reason"),
        "id": raw.get("id"),
        "system_fingerprint": raw.get("system_fingerprint"),
        "service_tier": raw.get("service_tier"),
        "cost": completion.cost,
        "estimated": completion.estimated or None,
        "cost_details": usage.get("cost_details"),
        "is_byok": usage.get("is_byok"),
        "annotations": choice["message"].get("annotations"),
        "logprobs": choice.get("logprobs"),
        "attempts": [attempt_dict(attempt) for attempt in completion.attempts],
        "seams": [asdict(seam) for seam in completion.seams],
    }
    return {key: value for key, value in metadata.items() if value is not None and value != []}


# Content


def _blocks(message: Mapping[str, Any], text: str) -> list[str | dict[Any, Any]]:
    """The content as blocks if it is more than text: citations, a refusal, images, or parts from the server."""
    parts = message.get("content")
    drawn = [*(parts if isinstance(parts, list) else ()), *(message.get("images") or ())]
    images = [_image(url) for image in drawn if (url := _url(image))]
    citations = [_citation(one) for one in message.get("annotations") or () if isinstance(one, Mapping)]
    blocks: list[str | dict[Any, Any]] = []
    refusal = message.get("refusal") if _REFUSALS else None
    if citations:
        blocks.append({"type": "text", "text": text, "annotations": citations})
    elif text and (images or refusal):
        blocks.append({"type": "text", "text": text})
    if refusal:
        blocks.append({"type": "refusal", "refusal": refusal})
    return blocks + images


def _url(image: object) -> str | None:
    shown = image.get("image_url") if isinstance(image, Mapping) else None
    url = shown.get("url") if isinstance(shown, Mapping) else None
    return url if isinstance(url, str) else None


def _image(url: str) -> dict[Any, Any]:
    data = _DATA_URL.fullmatch(url)
    if data is None:
        return {"type": "image", "url": url}
    return {"type": "image", "base64": data[2], "mime_type": data[1]}


def _citation(annotation: Mapping[str, Any]) -> dict[str, Any]:
    cited = annotation.get("url_citation")
    if not isinstance(cited, Mapping):
        return {"type": "non_standard_annotation", "value": dict(annotation)}
    citation = {"type": "citation", **{key: cited[key] for key in _NAMED if cited.get(key) is not None}}
    if cited.get("content"):
        citation["cited_text"] = cited["content"]
    return citation
