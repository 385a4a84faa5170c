"""Converts LlamaIndex's messages to OpenRouter's form: OpenAI's form with files, video, reasoning and cache points."""

from __future__ import annotations

import json
import mimetypes
from base64 import b64encode
from collections.abc import Iterable, Sequence
from functools import singledispatch
from io import IOBase
from pathlib import Path
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from openrouter_fallback import ConfigError

Json = dict[str, Any]

_ROLES = {MessageRole.CHATBOT: "assistant", MessageRole.MODEL: "assistant"}
# The keys of a message's `additional_kwargs` that are sent, by role. Agents also store other keys there.
_EXTRA = {"tool": ("tool_call_id", "name"), "function": ("name",), "assistant": ("name", "audio", "annotations")}
_SIGNED = ("thinking", "redacted_thinking")
_MEDIA = (ImageBlock, AudioBlock, VideoBlock, DocumentBlock)


def wire_messages(messages: Sequence[ChatMessage]) -> list[Json]:
    """The messages of a request. Raises `ConfigError` for a block that cannot be sent."""
    return [_message(message, position) for position, message in enumerate(messages)]


def reads_files(messages: Iterable[ChatMessage]) -> bool:
    """Whether `wire_messages` may read files or fetch URLs."""
    return any(
        type(block) is not TextBlock and isinstance(block, (*_MEDIA, CitableBlock, CitationBlock))
        for message in messages
        for block in message.blocks
    )


def _message(message: ChatMessage, position: int) -> Json:
    role = _ROLES.get(message.role, message.role.value)
    blocks, extra = message.blocks, message.additional_kwargs
    wire: Json = {"role": role, "content": None}
    if extra:
        wire.update({key: extra[key] for key in _EXTRA.get(role, ("name",)) if key in extra})
        if role == "tool" and "tool_call_id" not in extra and "call_id" in extra:
            wire["tool_call_id"] = extra["call_id"]  # the name in the Responses API
    if len(blocks) == 1 and type(blocks[0]) is TextBlock and "tool_calls" not in extra:
        wire["content"] = blocks[0].text
        return wire
    parts: list[Json] = []
    thinking: list[ThinkingBlock] = []
    calls: list[ToolCallBlock] = []
    for number, block in enumerate(blocks):
        if isinstance(block, ThinkingBlock):
            if signed := _signed(block):
                parts.append(signed)
            else:
                thinking.append(block)
        elif isinstance(block, ToolCallBlock):
            calls.append(block)
        elif isinstance(block, CachePoint):
            _mark(parts, block)
        else:
            try:
                parts += _parts(block)
            except (OSError, TypeError, ValueError) as error:
                where = f"block {number} of message {position} ({type(block).__name__})"
                raise ConfigError(f"{where} cannot be sent: {error}") from error
    if role == "assistant":
        parts = _assistant(wire, parts, thinking, calls, extra, position)
    wire["content"] = _content(parts)
    if wire["content"] is None and not wire.keys() & {"tool_calls", "images", "reasoning", "audio"}:
        wire["content"] = ""
    return wire


def _assistant(
    wire: Json,
    parts: list[Json],
    thinking: list[ThinkingBlock],
    calls: list[ToolCallBlock],
    extra: Json,
    position: int,
) -> list[Json]:
    """Put reasoning, tool calls, images and audio of an assistant message into their fields; return the other parts."""
    details = [one for block in thinking for one in _listed(block.additional_information.get("reasoning_details"))]
    if details:
        wire["reasoning_details"] = details
    reasoning = "\n".join(block.content for block in thinking if block.content)
    if reasoning and not any(part["type"] in _SIGNED for part in parts):
        wire["reasoning"] = reasoning
    if calls:
        wire["tool_calls"] = [_call(call, number, position) for number, call in enumerate(calls)]
    elif others := _listed(extra.get("tool_calls")):
        wire["tool_calls"] = [_plain(call) for call in others]
    if images := [part for part in parts if part["type"] == "image_url"]:
        wire["images"] = images
    # The provider recognizes its own speech by an id (the field `audio`), not by the sound.
    return [part for part in parts if part["type"] not in ("image_url", "input_audio")]


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else ()


def _content(parts: list[Json]) -> str | list[Json] | None:
    """The content of text parts as one string, joined as LlamaIndex joins them; else the parts."""
    if not parts:
        return None
    if all(part.keys() == {"type", "text"} for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _signed(block: ThinkingBlock) -> Json | None:
    """A signed thinking block of Claude from another integration, in Anthropic's form, which the core understands."""
    told = block.additional_information
    if told.get("type") == "redacted_thinking" and told.get("data"):
        return {"type": "redacted_thinking", "data": told["data"]}
    if told.get("signature") and not told.get("reasoning_details"):
        return {"type": "thinking", "thinking": block.content or "", "signature": told["signature"]}
    return None


def _mark(parts: list[Json], point: CachePoint) -> None:
    """Mark the part before a cache point, which may be an image or a document: the provider caches up to that part."""
    control = point.cache_control
    if parts:
        parts[-1]["cache_control"] = {"type": control.type, "ttl": control.ttl}


def _call(call: ToolCallBlock, number: int, position: int) -> Json:
    name, arguments = call.tool_name, call.tool_kwargs
    try:
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        where = f"the arguments of a call to {name} in message {position}"
        raise ConfigError(f"{where} cannot be sent: {error}") from error
    function = {"name": name, "arguments": text or "{}"}
    return {"id": call.tool_call_id or f"call_{number}", "type": "function", "function": function}


def _plain(call: object) -> object:
    """A tool call from another integration as a mapping. It may be an object of the openai SDK."""
    dump = getattr(call, "model_dump", None)
    return dump(exclude_none=True) if callable(dump) else call


@singledispatch
def _parts(block: Any) -> list[Json]:
    """The parts of a message's content for a block."""
    raise TypeError("this kind of block is not known here")


@_parts.register
def _(block: TextBlock) -> list[Json]:
    return [{"type": "text", "text": block.text}]


@_parts.register
def _(block: ImageBlock) -> list[Json]:
    if not _remote(block) and block.image_mimetype is None:
        block = ImageBlock(image=block.resolve_image().read(), detail=block.detail)  # detects the type from the bytes
    image = {"url": str(block.url) if _remote(block) else _data_url(block.resolve_image(), block.image_mimetype)}
    if block.detail:
        image["detail"] = block.detail
    return [{"type": "image_url", "image_url": image}]


@_parts.register
def _(block: VideoBlock) -> list[Json]:
    url = str(block.url) if _remote(block) else _data_url(block.resolve_video(), block.video_mimetype)
    return [{"type": "video_url", "video_url": {"url": url}}]


@_parts.register
def _(block: AudioBlock) -> list[Json]:
    data = b64encode(block.resolve_audio().read()).decode("ascii")
    return [{"type": "input_audio", "input_audio": {"data": data, "format": block.format or "wav"}}]


@_parts.register
def _(block: DocumentBlock) -> list[Json]:
    name = Path(str(block.path)).name if block.path else block.title or "document"
    if not Path(name).suffix and block.document_mimetype:
        name += mimetypes.guess_extension(block.document_mimetype) or ""
    data = str(block.url) if _remote(block) else _data_url(block.resolve_document(), block.document_mimetype)
    return [{"type": "file", "file": {"filename": name, "file_data": data}}]


@_parts.register
def _(block: CitableBlock) -> list[Json]:
    source = [{"type": "text", "text": f"[{block.title}, {block.source}]"}]
    return source + [part for one in block.content for part in _parts(one)]


@_parts.register
def _(block: CitationBlock) -> list[Json]:
    return _parts(block.cited_content)


def _remote(block: ImageBlock | VideoBlock | DocumentBlock) -> bool:
    """Whether the URL of a block can be sent: the provider can fetch the URL, or the URL contains the data."""
    return bool(block.url) and str(block.url).startswith(("http:", "https:", "data:"))


def _data_url(buffer: IOBase, mimetype: str | None) -> str:
    return f"data:{mimetype or 'application/octet-stream'};base64,{b64encode(buffer.read()).decode('ascii')}"
