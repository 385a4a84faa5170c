"""Whose reasoning may go to whom: what is signed or encrypted, only its maker can read, and others refuse.

An entry of `reasoning_details` names its maker's `format`; one that names none is passed on as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

# ReasoningFormat in OpenRouter's API description -> the author whose models read it.
_MAKERS: Final = {
    "anthropic-claude-v1": "anthropic",
    "azure-openai-responses-v1": "openai",
    "bedrock-openai-responses-v1": "openai",
    "bedrock-xai-responses-v1": "x-ai",
    "google-gemini-v1": "google",
    "meta-responses-v1": "meta",
    "openai-responses-v1": "openai",
    "xai-responses-v1": "x-ai",
}
# What a server's tool did is no model's own.
_ANYONES: Final = "reasoning.server_tool_call"

Message = Mapping[str, Any]


def makers(messages: Sequence[Message]) -> frozenset[str]:
    """The authors of the reasoning in these messages, as far as it says."""
    return frozenset(
        maker for message in messages for detail in _details(message) if (maker := _maker(detail)) is not None
    )


def family(model: str) -> str:
    """The author of a model, by the id that goes on the wire."""
    author = model.partition("/")[0].lstrip("~")
    return author if author != "meta-llama" else "meta"


def without_others(messages: Sequence[Message], own: str) -> list[Message]:
    """The messages without reasoning that another author than `own` has made."""
    return [_without(message, own) for message in messages]


def _without(message: Message, own: str) -> Message:
    details = _details(message)
    kept = [detail for detail in details if _maker(detail) in (None, own)]
    if len(kept) == len(details):
        return message
    rest = {key: value for key, value in message.items() if key != "reasoning_details"}
    return {**rest, "reasoning_details": kept} if kept else rest


def _details(message: Message) -> Sequence[object]:
    details = message.get("reasoning_details")
    return details if isinstance(details, list | tuple) else ()


def _maker(detail: object) -> str | None:
    if not isinstance(detail, Mapping) or detail.get("type") == _ANYONES:
        return None
    given = detail.get("format")
    return _MAKERS.get(given) if isinstance(given, str) else None
