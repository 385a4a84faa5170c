"""Translates content blocks of other APIs (Anthropic, Google, Responses) into OpenAI's shape, which OpenRouter accepts.

`normal_message` is the same for every target. A block of an unknown type is passed on unchanged: it may be newer than
this table. `unsendable` names a known block without counterpart, for the caller's error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from .marks import CACHE

Json = dict[str, Any]
Message = Mapping[str, Any]

PARTS: Final = frozenset({"text", "image_url", "input_audio", "file", "video_url", "input_video"})
"""The types of content blocks that OpenRouter describes."""
_MEDIA: Final = PARTS - {"text"}
_CALLS: Final = ("tool_calls", "function_call")
_ANTHROPIC: Final = "anthropic-claude-v1"
_AUDIO: Final = {"mpeg": "mp3", "x-wav": "wav", "wave": "wav", "vnd.wave": "wav", "mp4": "m4a", "x-m4a": "m4a"}
# Blocks in a caller's message that only one provider's API knows.
_ALIEN: Final = frozenset(
    {
        "code_execution_result",
        "code_execution_tool_result",
        "computer_call",
        "computer_call_output",
        "executable_code",
        "function_call_output",
        "item_reference",
        "mcp_call",
        "server_tool_use",
        "tool_result",
        "web_search_tool_result",
    }
)


def normal_message(message: Message) -> Message:
    """The message with its blocks in OpenAI's shape; the same object if nothing changes."""
    if any(key in message and not message[key] for key in _CALLS):
        message = _without_nulls(message)
    if message.get("role") == "function" or "function_call" in message:
        message = _of_tools(message)
    calls = message.get("tool_calls")
    if isinstance(calls, list) and any(hasattr(call, "model_dump") for call in calls):
        plain = [call.model_dump(exclude_none=True) if hasattr(call, "model_dump") else call for call in calls]
        message = {**message, "tool_calls": plain}
    content = message.get("content")
    if not isinstance(content, list | tuple):
        return message
    if message.get("role") == "assistant":
        message, content = _assistant(message, content)
    blocks = [_normal(block) for block in content]
    if len(blocks) == len(content) and all(new is old for new, old in zip(blocks, content, strict=True)):
        return message
    return {**message, "content": blocks}


def _without_nulls(message: Message) -> Message:
    """The message without keys that say nothing, as SDKs write them: an empty list of calls is refused."""
    idle = {key for key, value in message.items() if value is None or (key in _CALLS and not value)} - {"content"}
    return {key: value for key, value in message.items() if key not in idle}


def _of_tools(message: Message) -> Message:
    """Turn a message of OpenAI's older functions API, whose calls have no ids, into one of tools."""
    rest = {key: value for key, value in message.items() if key != "function_call"}
    if message.get("role") == "function":
        return {"tool_call_id": "", **rest, "role": "tool"}
    call = message["function_call"]
    if message.get("role") != "assistant" or not isinstance(call, Mapping) or message.get("tool_calls"):
        return message
    return {**rest, "tool_calls": [{"id": "", "type": "function", "function": dict(call)}]}


def has_media(content: Any) -> bool:
    """Whether a content holds blocks other than text."""
    return isinstance(content, list | tuple) and any(_kind(block) in _MEDIA for block in content)


def text_and_media(content: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """The text and unknown blocks of a content, and its media blocks."""
    kinds = [_kind(block) in _MEDIA for block in content]
    return (
        [block for block, media in zip(content, kinds, strict=True) if not media],
        [block for block, media in zip(content, kinds, strict=True) if media],
    )


def unsendable(messages: Sequence[Message]) -> str:
    """The error for a caller's block without counterpart in OpenAI's shape; empty if all blocks can be sent."""
    for position, message in enumerate(messages):
        content = message.get("content")
        if message.get("role") == "assistant" or not isinstance(content, list | tuple):
            continue
        for number, block in enumerate(content):
            if (kind := _kind(block)) in _ALIEN:
                return (
                    f"messages[{position}].content[{number}] is a block of type {kind!r}, which only its maker's API "
                    "knows; write it as text, or a tool's result as a message "
                    "{'role': 'tool', 'tool_call_id': ..., 'content': ...}"
                )
    return ""


def plain_text(content: Any) -> Any:
    """Text blocks joined to a string. Content with other blocks only loses its blank text blocks."""
    if not isinstance(content, list):
        return content
    texts = [block.get("text") for block in content if _kind(block) == "text"]
    if len(texts) == len(content) and all(isinstance(text, str) for text in texts):
        return "\n".join(text for text in texts if text and text.strip())
    return content


def without_blank_text(content: Any) -> Any:
    """The blocks without blank text blocks; the same list if there are none."""
    if not isinstance(content, list):
        return content
    kept = [block for block in content if not _blank(block)]
    return content if len(kept) == len(content) else kept


def _blank(block: object) -> bool:
    if _kind(block) != "text" or not isinstance(block, Mapping):
        return False
    text = block.get("text")
    return text is None or (isinstance(text, str) and not text.strip())


def _kind(block: object) -> str:
    kind = block.get("type") if isinstance(block, Mapping) else None
    return kind if isinstance(kind, str) else ""


# An assistant message: reasoning and tool calls have their own keys.


def _assistant(message: Message, content: Sequence[Any]) -> tuple[Message, Sequence[Any]]:
    kept, thoughts, calls = [], [], []
    for block in content:
        kind = _kind(block)
        if kind in ("thinking", "redacted_thinking", "reasoning", "reasoning_content"):
            thoughts.append(block)
        elif kind in ("tool_use", "function_call", "tool_call"):
            calls.append(block)
        elif kind not in _ALIEN:
            kept.append(block)
    if len(kept) == len(content):
        return message, content
    changed: Json = dict(message)
    if calls and not message.get("tool_calls"):
        changed["tool_calls"] = [_call(block) for block in calls]
    if thoughts and not message.get("reasoning_details") and not message.get("reasoning"):
        details = [detail for block in thoughts if (detail := _detail(block))]
        if details:
            changed["reasoning_details"] = details
    changed["content"] = kept or ("" if not changed.get("tool_calls") else None)
    return changed, kept


def _call(block: Mapping[str, Any]) -> Json:
    import json

    arguments = block.get("input", block.get("arguments", block.get("args")))
    text = arguments if isinstance(arguments, str) else json.dumps(arguments or {}, ensure_ascii=False, default=str)
    function = {"name": block.get("name"), "arguments": text or "{}"}
    return {"type": "function", "id": block.get("call_id") or block.get("id"), "function": function}


def _detail(block: Mapping[str, Any]) -> Json | None:
    """A thinking block as an entry of `reasoning_details`; Anthropic's blocks keep their signatures.

    Bedrock's hold text and signature under `reasoning_content`, Mistral's a list of text blocks under `thinking`.
    """
    if _kind(block) == "redacted_thinking":
        data = block.get("data")
        return {"type": "reasoning.encrypted", "data": data, "format": _ANTHROPIC} if data else None
    inner = block.get("reasoning_content")
    if isinstance(inner, Mapping):
        block = inner
    extras = block.get("extras")
    signature = block.get("signature") or (extras.get("signature") if isinstance(extras, Mapping) else None)
    text = block.get("thinking") or block.get("reasoning") or block.get("text") or ""
    parts = text if isinstance(text, list) else block.get("summary")
    if (not text or text is parts) and isinstance(parts, list):
        text = "\n".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
    if not isinstance(text, str) or not (text or signature):
        return None
    detail: Json = {"type": "reasoning.text", "text": text}
    return {**detail, "signature": signature, "format": _ANTHROPIC} if signature else detail


# Blocks


def _normal(block: Any) -> Any:
    if isinstance(block, str):
        return {"type": "text", "text": block}
    if not isinstance(block, Mapping):
        return block
    kind = block.get("type")
    if kind is None:
        kind = next((key for key in ("inline_data", "inlineData", "file_data", "fileData") if key in block), "")
        if isinstance(block.get("text"), str):
            kind = "untyped"
    write = _WRITERS.get(kind) if isinstance(kind, str) else None
    written = write(block) if write is not None else None
    if written is None:
        return block
    if CACHE in block:
        written[CACHE] = block[CACHE]
    return written


def _text_block(block: Mapping[str, Any]) -> Json | None:
    text = block.get("text") if isinstance(block.get("text"), str) else block.get("refusal")
    return {"type": "text", "text": text} if isinstance(text, str) else None


def _image(block: Mapping[str, Any]) -> Json | None:
    given = block.get("image_url")
    if isinstance(given, Mapping):
        given = given.get("url")
    url = given if isinstance(given, str) else _url(block, "image/png")
    if url is None:
        return None
    detail = block.get("detail")
    return {"type": "image_url", "image_url": {"url": url, "detail": detail} if detail else {"url": url}}


def _document(block: Mapping[str, Any]) -> Json | None:
    source = block.get("source")
    if isinstance(source, Mapping) and isinstance(source.get("data"), str) and source.get("type") == "text":
        return {"type": "text", "text": source["data"]}
    url = _url(block, "application/pdf")
    if url is None:
        return None
    name = block.get("filename") or block.get("title")
    return {"type": "file", "file": {"filename": name, "file_data": url} if name else {"file_data": url}}


def _file(block: Mapping[str, Any]) -> Json | None:
    if isinstance(block.get("file"), Mapping):
        return None
    given = {key: block[key] for key in ("filename", "file_data", "file_id") if isinstance(block.get(key), str)}
    if isinstance(block.get("file_url"), str):
        given["file_data"] = block["file_url"]
    return {"type": "file", "file": given} if given.keys() - {"filename"} else None


def _media(block: Mapping[str, Any]) -> Json | None:
    inner = next((block[key] for key in ("inline_data", "inlineData", "file_data", "fileData") if key in block), block)
    if not isinstance(inner, Mapping):
        return None
    mime = str(inner.get("mime_type") or inner.get("mimeType") or "application/octet-stream")
    data, url = inner.get("data"), inner.get("file_uri") or inner.get("fileUri") or inner.get("url")
    if mime.startswith("audio/") and isinstance(data, str):
        subtype = mime.rpartition("/")[2]
        return {"type": "input_audio", "input_audio": {"data": data, "format": _AUDIO.get(subtype, subtype)}}
    if isinstance(data, str):
        url = f"data:{mime};base64,{data}"
    if not isinstance(url, str):
        return None
    if mime.startswith("image/"):
        return {"type": "image_url", "image_url": {"url": url}}
    if mime.startswith("video/"):
        return {"type": "video_url", "video_url": {"url": url}}
    return {"type": "file", "file": {"file_data": url}}


def _url(block: Mapping[str, Any], mime: str) -> str | None:
    source = block.get("source")
    if isinstance(source, Mapping):
        block = {"mime_type": source.get("media_type"), **source}
    url, data = block.get("url"), block.get("base64") or block.get("data")
    if isinstance(url, str):
        return url
    return f"data:{block.get('mime_type') or mime};base64,{data}" if isinstance(data, str) else None


_WRITERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Json | None]]] = {
    "untyped": _text_block,
    "input_text": _text_block,
    "output_text": _text_block,
    "refusal": _text_block,
    "input_image": _image,
    "image": _image,
    "document": _document,
    "input_file": _file,
    "media": _media,
    "inline_data": _media,
    "inlineData": _media,
    "file_data": _media,
    "fileData": _media,
}
