"""Converts LangChain's messages to the form of OpenRouter's API."""

from __future__ import annotations

import json
import re
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
# Types of text blocks of an assistant message. Google's blocks have no type.
_SAYING = frozenset({"", "text", "text-plain", "input_text", "output_text", "refusal"})
_DRAWN = frozenset({"image", "image_generation_call", "image_url"})
_THOUGHTS = frozenset({"reasoning", "thinking", "redacted_thinking"})
_NESTED = frozenset({"reasoning_content", "thinking"})
_CALLS = frozenset({"function_call", "tool_call", "tool_use"})
_IN_CALLS = frozenset({"invalid_tool_call", "tool_call_chunk", "input_json_delta"})
"""Blocks whose content is also among the message's own tool calls."""
# Blocks of Anthropic's API, Google's API and the Responses API, with LangChain's names: records of tools that ran at
# the provider, and data that only the provider can read.
_ALIEN = re.compile(
    r"(.*_)?(call|call_chunk|call_output|use|tool_result|list_tools|approval_request|approval_response)"
    r"|reasoning|thinking|redacted_thinking|executable_code|code_execution_result|container_upload|compaction"
)


def wire_messages(messages: Sequence[BaseMessage], left_out: Callable[[str], None] = lambda kind: None) -> list[Json]:
    """The messages of a request. Raises `ConfigError` for a message that cannot be sent.

    `left_out` is called with the type of each block of an AI message that is not sent, because OpenRouter's API has no
    such block, for example the record of a search that ran at the provider.
    """
    wire = [_message(position, message) for position, message in enumerate(messages)]
    for message in messages:
        if isinstance(message, AIMessage) and isinstance(message.content, list):
            for kind in filter(None, map(_lost, _unwrapped(message))):
                left_out(kind)
    return wire


def _message(position: int, message: BaseMessage) -> Json:
    row = next((row for row in _ROLES if isinstance(message, row[0])), None)
    if row is None:
        raise ConfigError(f"messages[{position}] is a {type(message).__name__}, which has no role in the API")
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
    if isinstance(message.content, str):
        return {"content": message.content}
    blocks = _unwrapped(message)
    alien = next((kind for kind in map(_kind, blocks) if _ALIEN.fullmatch(kind)), None)
    if alien:
        raise _Unsendable(
            f"a block of type {alien!r} is known to its maker's API only; write it as text, or a tool's result as a "
            "ToolMessage"
        )
    return {"content": content(blocks)}


def _system(message: BaseMessage) -> Json:
    # LangChain marks OpenAI's developer role with this key.
    role = message.additional_kwargs.get("__openai_role__")
    return {**_plain(message), **({"role": role} if role else {})}


def _chat(message: BaseMessage) -> Json:
    return {**_plain(message), "role": getattr(message, "role", "user")}


def _tool(message: BaseMessage) -> Json:
    return {**_plain(message), "tool_call_id": getattr(message, "tool_call_id", "")}


def _function(message: BaseMessage) -> Json:
    # OpenRouter has tools instead of functions. The function call before this message is also sent as a tool call.
    return {**_plain(message), "tool_call_id": message.name}


def _unwrapped(message: BaseMessage) -> str | list[Any]:
    """The content, with each `non_standard` block replaced by its value."""
    if isinstance(message.content, str):
        return message.content
    return [_value(block) for block in message.content]


def _value(block: str | dict[Any, Any]) -> Any:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind != "non_standard":
        return _flat(block) if kind in _NESTED else block
    if not isinstance(block.get("value"), Mapping):
        raise _Unsendable("a non_standard block needs its value: {'type': 'non_standard', 'value': {...}}")
    return block["value"]


def _flat(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """A thinking block of Bedrock (text and signature inside) or of Mistral (a list of texts) in Anthropic's form."""
    inner, told = block.get("reasoning_content"), block.get("thinking")
    if isinstance(inner, Mapping):
        signature = {"signature": inner["signature"]} if inner.get("signature") else {}
        return {"type": "thinking", "thinking": inner.get("text") or "", **signature}
    if isinstance(told, list):
        return {
            **block,
            "thinking": "\n".join(part["text"] for part in told if isinstance(part, Mapping) and part.get("text")),
        }
    return block


def _assistant(message: BaseMessage) -> Json:
    blocks = _unwrapped(message)
    wire: Json = {"content": blocks or message.additional_kwargs.get("refusal") or blocks}
    extra = message.additional_kwargs
    if isinstance(message, AIMessage):
        calls = [_call(call["id"], call["name"], _arguments(call["args"])) for call in message.tool_calls]
        calls += [_call(call["id"], call["name"], call["args"]) for call in message.invalid_tool_calls]
        function = extra.get("function_call")
        if isinstance(function, Mapping) and not calls:
            calls.append(_call(function.get("name"), function.get("name"), function.get("arguments")))
        if calls or extra.get("tool_calls"):
            wire["tool_calls"] = calls or extra["tool_calls"]
        wire.update(_reasoning(message))
        if annotations := message.response_metadata.get("annotations"):
            wire["annotations"] = annotations  # with the annotations, OpenRouter does not parse the file again
        writer = message.response_metadata.get("model_name") or message.response_metadata.get("model")
        if isinstance(writer, str) and writer:
            wire["model"] = writer  # for the core only: the model that wrote the reasoning and the calls; not sent
    if isinstance(blocks, list):
        # The core converts signed reasoning and calls, unless the message already has them in OpenRouter's fields.
        kept = _SAYING | (_THOUGHTS if _signed(blocks) and "reasoning_details" not in wire else frozenset())
        kept |= _CALLS if "tool_calls" not in wire else frozenset()
        said = [block for block in blocks if (kind := _kind(block)) in kept and (kind not in _SAYING or _says(block))]
        wire["content"] = content(said) or ""
        if images := [_block(block) for block in blocks if _kind(block) in _DRAWN and _is_drawn(block)]:
            wire["images"] = images
    if "tool_calls" in wire:
        wire["content"] = wire["content"] or None
    return wire


def _lost(block: str | Mapping[str, Any]) -> str | None:
    """The type of a block of an AI message if the block is not sent in any form; else None."""
    kind = _kind(block)
    return None if kind in _SAYING | _DRAWN | _THOUGHTS | _CALLS | _IN_CALLS else kind


def _is_drawn(block: str | Mapping[str, Any]) -> bool:
    """Whether a block can be sent as an image. The Responses API's record of an image may lack the image."""
    return isinstance(block, Mapping) and (_kind(block) != "image_generation_call" or bool(block.get("result")))


def _says(block: str | Mapping[str, Any]) -> bool:
    return bool(block if isinstance(block, str) else block.get("text") or block.get("refusal"))


def _signed(blocks: str | Sequence[str | Mapping[str, Any]]) -> bool:
    """Whether a reasoning block is signed or encrypted, so that only its own model can use it."""
    return not isinstance(blocks, str) and any(map(_is_signed, blocks))


def _is_signed(block: str | Mapping[str, Any]) -> bool:
    kind = _kind(block)
    if isinstance(block, str) or kind not in _THOUGHTS:
        return False
    return kind == "redacted_thinking" or bool(block.get("signature") or _inner(block, "extras").get("signature"))


def _reasoning(message: AIMessage) -> Json:
    """The reasoning of a message, unchanged: a changed signed or encrypted detail would be refused."""
    extra, blocks = message.additional_kwargs, _unwrapped(message)
    details = extra.get("reasoning_details") or message.response_metadata.get("reasoning_details")
    if details:
        return {"reasoning_details": details}
    text = extra.get("reasoning_content")
    if not text and isinstance(blocks, list) and not _signed(blocks):
        text = "".join(_thought(block) for block in blocks if _kind(block) in _THOUGHTS)
    if not text and isinstance(extra.get("reasoning"), Mapping):  # the form of the Responses API
        text = _thought(extra["reasoning"])
    return {"reasoning": text} if text else {}


def _thought(block: str | Mapping[str, Any]) -> str:
    if isinstance(block, str):
        return ""
    summary = block.get("summary")
    if isinstance(summary, list):
        return "\n".join(part["text"] for part in summary if isinstance(part, Mapping) and part.get("text"))
    text = block.get("reasoning") or block.get("thinking")
    return text if isinstance(text, str) else ""


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
    """A block that cannot be sent. The message says why, and what to use instead."""


def content(value: str | list[str | dict[Any, Any]]) -> str | list[Json]:
    """The content of a message in OpenRouter's form. Blocks may have LangChain's, OpenAI's or Anthropic's form."""
    return value if isinstance(value, str) else [_block(_value(block)) for block in value]


def _block(block: str | Mapping[str, Any]) -> Json:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    write = _BLOCKS.get(_kind(block))
    wire = write(block) if write else dict(block)
    for key in _KEPT:
        mark = block.get(key) or _inner(block, "extras").get(key)
        if mark:
            wire[key] = mark
    return wire


def _inner(block: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """The mapping at a key of a block; empty if the value is not a mapping."""
    found = block.get(key)
    return found if isinstance(found, Mapping) else {}


def _kind(block: str | Mapping[str, Any]) -> str:
    return "text" if isinstance(block, str) else str(block.get("type", ""))


def _text(block: str | Mapping[str, Any]) -> Json:
    return {"type": "text", "text": block if isinstance(block, str) else block.get("text", "")}


def _plain_text(block: Mapping[str, Any]) -> Json:
    return _text(block) if block.get("text") is not None else _file({"mime_type": "text/plain", **block})


def _image(block: Mapping[str, Any]) -> Json:
    image: Json = {"url": _url(block, "image/png")}
    detail = block.get("detail") or _inner(block, "extras").get("detail")
    return {"type": "image_url", "image_url": {**image, "detail": detail} if detail else image}


def _image_url(block: Mapping[str, Any]) -> Json:
    image = block.get("image_url")
    return {"type": "image_url", "image_url": {"url": image} if isinstance(image, str) else image}


def _drawn(block: Mapping[str, Any]) -> Json:
    return _image({"base64": block["result"], "mime_type": f"image/{block.get('output_format') or 'png'}"})


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
    if isinstance(source, Mapping) and source.get("type") == "content":
        return {"type": "text", "text": _texts(block, source.get("content"))}
    if block.get("source_type") == "text":
        return _text(block)
    if isinstance(block.get("file"), Mapping):
        return {"type": "file", "file": dict(block["file"])}
    if block.get("file_id"):
        return {"type": "file", "file": {"file_id": block["file_id"]}}
    file = {"file_data": _url(block, "application/pdf")}
    extras = _inner(block, "extras") or _inner(block, "metadata")
    name = block.get("filename") or block.get("title") or extras.get("filename")
    return {"type": "file", "file": {**file, "filename": name} if name else file}


def _search_result(block: Mapping[str, Any]) -> Json:
    """Anthropic's block for a result of a retriever, as text."""
    source = ", ".join(str(block[key]) for key in ("title", "source") if block.get(key))
    return {"type": "text", "text": f"[{source}]\n{_texts(block, block.get('content'))}"}


def _texts(block: Mapping[str, Any], inner: object) -> str:
    if isinstance(inner, str):
        return inner
    parts = inner if isinstance(inner, list) else [None]
    texts = [part.get("text") if isinstance(part, Mapping) else None for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _Unsendable(f"a block of type {block.get('type')!r} may hold text only")
    return "\n".join(map(str, texts))


def _url(block: Mapping[str, Any], mime_type: str) -> str:
    """The URL of a block's data, or a data: URL. Reads LangChain's old and new blocks, and Anthropic's blocks."""
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
    "image_generation_call": _drawn,
    "audio": _audio,
    "video": _video,
    "file": _file,
    "document": _file,
    "search_result": _search_result,
}
