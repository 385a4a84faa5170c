"""LangChain's messages in the shape of OpenRouter's API."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)

from .errors import ConfigError

Json = dict[str, Any]

_KEPT = ("cache_control", "prompt_cache_breakpoint")
_AUDIO_FORMATS = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a", "x-m4a": "m4a"}


def wire_messages(messages: Sequence[BaseMessage]) -> list[Json]:
    """The messages of a request. Raises `ConfigError` for one that cannot be sent."""
    return [_message(position, message) for position, message in enumerate(messages)]


def _message(position: int, message: BaseMessage) -> Json:
    row = next((row for row in _ROLES if isinstance(message, row[0])), None)
    if row is None:
        raise ConfigError(f"messages[{position}] is a {type(message).__name__}, which has no role here")
    _, role, write = row
    try:
        wire: Json = {"role": role, **write(message)}
    except _Unsendable as error:
        raise ConfigError(f"messages[{position}] ({message.type}): {error}") from None
    name = message.name or message.additional_kwargs.get("name")
    if name and wire["role"] != "tool":
        wire["name"] = name
    return wire


def _plain(message: BaseMessage) -> Json:
    return {"content": content(message.content)}


def _system(message: BaseMessage) -> Json:
    # The mark by which LangChain tells OpenAI's developer role.
    role = message.additional_kwargs.get("__openai_role__")
    return {**_plain(message), **({"role": role} if role else {})}


def _chat(message: BaseMessage) -> Json:
    return {**_plain(message), "role": getattr(message, "role", "user")}


def _tool(message: BaseMessage) -> Json:
    return {**_plain(message), "tool_call_id": getattr(message, "tool_call_id", "")}


def _function(message: BaseMessage) -> Json:
    # OpenRouter has no functions any more, but tools; the one call before is written so as well.
    return {**_plain(message), "tool_call_id": message.name}


def _assistant(message: BaseMessage) -> Json:
    blocks = message.content
    wire: Json = {"content": blocks}
    if isinstance(blocks, list):
        said = [block for block in blocks if _kind(block) in ("text", "text-plain") and _text(block)["text"]]
        wire["content"] = content(said) or ""
        images = [_block(block) for block in blocks if _kind(block) in ("image", "image_url")]
        if images:
            wire["images"] = images
    if isinstance(message, AIMessage):
        calls = [_call(call["id"], call["name"], _arguments(call["args"])) for call in message.tool_calls]
        calls += [_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
        function = message.additional_kwargs.get("function_call")
        if function and not calls:
            calls.append(_call(function["name"], function["name"], function["arguments"]))
        if calls or message.additional_kwargs.get("tool_calls"):
            wire["tool_calls"] = calls or message.additional_kwargs["tool_calls"]
            wire["content"] = wire["content"] or None
        wire.update(_reasoning(message))
        writer = message.response_metadata.get("model_name") or message.response_metadata.get("model")
        if isinstance(writer, str) and writer:
            wire["model"] = writer  # for the core, which sends it to nobody: whose the reasoning and the calls are
    return wire


def _reasoning(message: AIMessage) -> Json:
    """What the model thought, unchanged: signed or encrypted details are worth nothing otherwise."""
    details = message.additional_kwargs.get("reasoning_details") or message.response_metadata.get("reasoning_details")
    if details:
        return {"reasoning_details": details}
    text = message.additional_kwargs.get("reasoning_content")
    if not text and isinstance(message.content, list):
        text = "".join(_said(block) for block in message.content if _kind(block) == "reasoning")
    return {"reasoning": text} if text else {}


def _said(block: str | Mapping[str, Any]) -> str:
    said = block.get("reasoning") if isinstance(block, Mapping) else None
    return said if isinstance(said, str) else ""


def _call(id: str | None, name: str | None, arguments: str | None) -> Json:
    return {"type": "function", "id": id, "function": {"name": name, "arguments": arguments}}


def _arguments(args: object) -> str:
    return json.dumps(args, ensure_ascii=False)


_ROLES: tuple[tuple[type[BaseMessage], str, Callable[[BaseMessage], Json]], ...] = (
    (HumanMessage, "user", _plain),
    (AIMessage, "assistant", _assistant),
    (ToolMessage, "tool", _tool),
    (SystemMessage, "system", _system),
    (FunctionMessage, "tool", _function),
    (ChatMessage, "", _chat),
)


# Content


class _Unsendable(ValueError):
    """What is wrong with a block, and what would do."""


def content(value: str | list[str | dict[Any, Any]]) -> str | list[Json]:
    """A message's content: text as it is, blocks of LangChain, OpenAI and Anthropic as OpenRouter takes them."""
    return value if isinstance(value, str) else [_block(block) for block in value]


def _block(block: str | Mapping[str, Any]) -> Json:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    write = _BLOCKS.get(_kind(block))
    wire = write(block) if write else dict(block)
    for key in _KEPT:
        mark = block.get(key) or (block.get("extras") or {}).get(key)
        if mark:
            wire[key] = mark
    return wire


def _kind(block: str | Mapping[str, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type", ""))


def _text(block: str | Mapping[str, Any]) -> Json:
    return {"type": "text", "text": block if isinstance(block, str) else block.get("text", "")}


def _plain_text(block: Mapping[str, Any]) -> Json:
    return _text(block) if block.get("text") is not None else _file({"mime_type": "text/plain", **block})


def _image(block: Mapping[str, Any]) -> Json:
    image: Json = {"url": _url(block, "image/png")}
    detail = block.get("detail") or (block.get("extras") or {}).get("detail")
    return {"type": "image_url", "image_url": {**image, "detail": detail} if detail else image}


def _image_url(block: Mapping[str, Any]) -> Json:
    image = block.get("image_url")
    return {"type": "image_url", "image_url": {"url": image} if isinstance(image, str) else image}


def _audio(block: Mapping[str, Any]) -> Json:
    data = block.get("base64") or block.get("data")
    if not data:
        raise _Unsendable("an audio block needs its data: {'type': 'audio', 'base64': ..., 'mime_type': 'audio/wav'}")
    subtype = str(block.get("mime_type") or "audio/wav").rpartition("/")[2]
    return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO_FORMATS.get(subtype, subtype)}}


def _video(block: Mapping[str, Any]) -> Json:
    return {"type": "video_url", "video_url": {"url": _url(block, "video/mp4")}}


def _file(block: Mapping[str, Any]) -> Json:
    source = block.get("source")
    if isinstance(source, Mapping) and source.get("type") == "text":
        return {"type": "text", "text": source.get("data", "")}
    if block.get("source_type") == "text":
        return _text(block)
    if isinstance(block.get("file"), Mapping):
        return {"type": "file", "file": dict(block["file"])}
    if block.get("file_id"):
        return {"type": "file", "file": {"file_id": block["file_id"]}}
    file = {"file_data": _url(block, "application/pdf")}
    extras = block.get("extras") or block.get("metadata") or {}
    name = block.get("filename") or block.get("title") or extras.get("filename")
    return {"type": "file", "file": {**file, "filename": name} if name else file}


def _other(block: Mapping[str, Any]) -> Json:
    value = block.get("value")
    if not isinstance(value, Mapping):
        raise _Unsendable("a non_standard block needs its value: {'type': 'non_standard', 'value': {...}}")
    return dict(value)


def _url(block: Mapping[str, Any], mime_type: str) -> str:
    """Where the data is, or the data itself as a URL; LangChain's blocks of both generations, and Anthropic's."""
    source = block.get("source")
    if isinstance(source, Mapping):
        block = {"mime_type": source.get("media_type"), **source}
    url, data = block.get("url"), block.get("base64") or block.get("data")
    if isinstance(url, str):
        return url
    if isinstance(data, str):
        return f"data:{block.get('mime_type') or mime_type};base64,{data}"
    raise _Unsendable(f"a block of type {block.get('type')!r} needs a url, or base64 and mime_type")


_BLOCKS: Mapping[str, Callable[[Mapping[str, Any]], Json]] = {
    "text": _text,
    "text-plain": _plain_text,
    "image": _image,
    "image_url": _image_url,
    "audio": _audio,
    "video": _video,
    "file": _file,
    "document": _file,
    "non_standard": _other,
}
