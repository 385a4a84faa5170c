"""Messages as JSON, in the format of OpenTelemetry's conventions for generative AI."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson

from ..results import Completion, text_of

Part = dict[str, Any]


def input_messages(messages: Sequence[Mapping[str, Any]]) -> str:
    """The value of `gen_ai.input.messages`."""
    return _json([{"role": str(message.get("role")), "parts": _parts(message)} for message in messages])


def output_messages(completion: Completion) -> str:
    """The value of `gen_ai.output.messages`: one message for each choice."""
    choices = completion.raw.get("choices", ())
    return _json(
        [
            {
                "role": "assistant",
                "parts": _parts(choice.get("message") or {}),
                "finish_reason": str(choice.get("finish_reason") or "error"),
            }
            for choice in choices
        ]
    )


def _json(value: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


def _parts(message: Mapping[str, Any]) -> list[Part]:
    content, role = message.get("content"), message.get("role")
    reasoning = text_of(message.get("reasoning") or message.get("reasoning_content"))
    parts: list[Part] = [{"type": "reasoning", "content": reasoning}] if reasoning else []
    if role == "tool":
        return [{"type": "tool_call_response", "id": message.get("tool_call_id"), "response": content}]
    if isinstance(content, str):
        parts += [{"type": "text", "content": content}] if content else []
    elif isinstance(content, Iterable):
        parts += [_part(one) for one in content if isinstance(one, Mapping)]
    return parts + [_tool_call(one) for one in message.get("tool_calls") or () if isinstance(one, Mapping)]


def _part(part: Mapping[str, Any]) -> Part:
    kind = str(part.get("type"))
    if kind == "text":
        return {"type": "text", "content": part.get("text")}
    image = part.get("image_url")
    url = image.get("url") if isinstance(image, Mapping) else None
    if isinstance(url, str) and not url.startswith("data:"):
        return {"type": "uri", "modality": "image", "uri": url}
    return {"type": kind}  # bytes of images, audio and files are not recorded


def _tool_call(call: Mapping[str, Any]) -> Part:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        with suppress(orjson.JSONDecodeError):  # invalid JSON is recorded as text
            arguments = orjson.loads(arguments)
    return {"type": "tool_call", "id": call.get("id"), "name": function.get("name"), "arguments": arguments}
