"""Reasoning in a history: which signed or encrypted details a target gets, and plain reasoning if it is demanded.

Details are sent to the model that made them. This model is known by the message's writer, else by the details'
`format`, which names a family. Other targets get plain reasoning instead, if they demand any.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ...routes.model_families import family_of, same_model
from .details import NAMES_CALLS, is_bound, signs
from .forms import Form, Target
from .history import REASONED, History, Message, calls_of
from .rules import FORMATS, Reasoning

Json = dict[str, Any]

PLACEHOLDER: Final = "skip_thought_signature_validator"
"""Google's documented placeholder for the signature of a call that Gemini did not make."""
NOT_RECORDED: Final = "(not recorded)"
"""Plain reasoning that is demanded but not known: an empty text is refused (crush#2696)."""

_ANYONES: Final = "reasoning.server_tool_call"


def with_reasoning(
    message: Message, target: Target, writer: str | None, renamed: Mapping[str, str], first: str
) -> tuple[Message, str]:
    """An assistant message with the reasoning that the target accepts, and a note on omitted reasoning.

    `renamed` are this message's changed call ids; `first` is the sent id of its first call, or empty. Returns the same
    object if nothing changes.
    """
    given = message.get("reasoning_details")
    details: Sequence[Any] = given if isinstance(given, list | tuple) else ()
    text = _plain(message)
    kept: list[Any] = []
    if details and target.on_openrouter:
        kept = [_linked(detail, renamed) for detail in details if _goes(detail, target, writer)]
    lost = bool(details) and not kept
    said = _said(message, target, writer, text, details, together=any(map(_thought, kept)))
    if target.rule.signature and first and not any(signs(detail, first) for detail in kept):
        if target.on_openrouter:
            kept.append(_stand_in(first, len(kept)))
        else:
            message = _signed_call(message)
    changed = _put(message, target, details, kept, said)
    note = ""
    if lost and any(is_bound(detail) for detail in details):
        note = "signed reasoning of another model"
    elif text and not said and not kept:
        note = "reasoning of another model"
    return changed, note


def reasoning_stays(history: History, target: Target) -> bool:
    """Whether no message's reasoning changes. A quick check of all messages, which may return False needlessly."""
    rule, keys = target.rule, history.keys
    if not target.on_openrouter and not keys.isdisjoint(REASONED):
        return False
    if target.demands_reasoning:
        wanted = [m for m in history.seen if m["role"] == "assistant" and (rule.everywhere or m.get("tool_calls"))]
        if not all(isinstance(text := m.get("reasoning"), str) and text.strip() for m in wanted):
            return False
    if keys.isdisjoint(REASONED):
        return not (rule.signature and history.ids)
    if not target.signed:
        return False
    if history.writers and any(is_other(target, writer) for writer in set(history.writers.values())):
        return False
    thoughts = history.thoughts
    if rule.reasoning is Reasoning.REFUSED and (
        thoughts.bare or "reasoning_content" in keys or (thoughts.formats and not rule.formats)
    ):
        return False
    if thoughts.formats is None or not thoughts.formats <= (rule.formats or _OPEN):
        return False
    if rule.thinking_first and thoughts.unsigned:
        return False
    return not (rule.signature and history.ids) or thoughts.calling


_OPEN: Final = frozenset({"unknown", None})


def owns_signed(message: Message) -> bool:
    """Whether a sent message begins with signed or encrypted reasoning."""
    details = message.get("reasoning_details")
    return isinstance(details, list | tuple) and any(is_bound(detail) for detail in details)


def _goes(detail: Any, target: Target, writer: str | None) -> bool:
    """Whether an entry may be sent to the target."""
    if target.strict:
        return False
    kind = detail.get("type") if isinstance(detail, Mapping) else None
    if not isinstance(detail, Mapping) or not isinstance(kind, str) or kind == _ANYONES:
        return True  # readable by all models, or malformed and passed on unchanged
    rule = target.rule
    given = detail.get("format")
    maker = FORMATS.get(given) if isinstance(given, str) else None
    bound = is_bound(detail)
    if bound and not target.signed:
        return False
    if maker is not None:
        return maker is rule.family and (bound or not rule.thinking_first) and not is_other(target, writer)
    if bound:
        return not is_other(target, writer)
    return rule.reasoning is not Reasoning.REFUSED and not _stranger(target, writer)


def is_other(target: Target, writer: str | None) -> bool:
    """Whether the entry is known to be of another model."""
    if writer is None:
        return False
    return not (same_model(writer, target.model) or (target.slug is not None and same_model(writer, target.slug)))


def _stranger(target: Target, writer: str | None) -> bool:
    """Whether the entry is known to be of a model of another family."""
    return writer is not None and is_other(target, writer) and family_of(writer) is not target.rule.family


def _thought(detail: object) -> bool:
    """Whether an entry holds reasoning."""
    return isinstance(detail, Mapping) and detail.get("type") != _ANYONES


def _linked(detail: Any, renamed: Mapping[str, str]) -> Any:
    """The entry with the sent id of the tool call that it names."""
    id = detail.get("id") if isinstance(detail, Mapping) else None
    return {**detail, "id": renamed[id]} if isinstance(id, str) and id in renamed else detail


def _stand_in(id: str, index: int) -> Json:
    return {"type": "reasoning.encrypted", "data": PLACEHOLDER, "id": id, "format": NAMES_CALLS, "index": index}


def _signed_call(message: Message) -> Message:
    """Copy the signature to `extra_content` of the call, where Google's OpenAI-compatible endpoint reads it."""
    calls = list(calls_of(message))
    if not calls or not isinstance(calls[0], Mapping) or calls[0].get("extra_content"):
        return message
    calls[0] = {**calls[0], "extra_content": {"google": {"thought_signature": PLACEHOLDER}}}
    return {**message, "tool_calls": calls}


def _plain(message: Message) -> str:
    return next((text for key in ("reasoning", "reasoning_content") if isinstance(text := message.get(key), str)), "")


def _said(
    message: Message, target: Target, writer: str | None, text: str, details: Sequence[Any], *, together: bool
) -> str:
    """The plain reasoning to send to the target."""
    wanted = target.rule.everywhere or target.strict or bool(calls_of(message))
    if target.demands_reasoning and wanted:
        return text if text.strip() else _read(details) or NOT_RECORDED
    if target.strict or not text:
        return ""
    if details:
        # It repeats the details: it is sent if they are.
        return text if together else ""
    allowed = target.rule.reasoning is not Reasoning.REFUSED and not _stranger(target, writer)
    return text if allowed else ""


def _read(details: Sequence[Any]) -> str:
    parts = [detail.get("text") or detail.get("summary") for detail in details if isinstance(detail, Mapping)]
    return "".join(part for part in parts if isinstance(part, str)).strip()


def _put(message: Message, target: Target, before: Sequence[Any], kept: Sequence[Any], said: str) -> Message:
    field = target.field
    wanted: Json = {}
    if kept:
        same = len(kept) == len(before) and all(new is old for new, old in zip(kept, before, strict=True))
        wanted["reasoning_details"] = message["reasoning_details"] if same else list(kept)
    if said and field:
        # OpenRouter reads both names: reasoning under either stays unchanged.
        name = next((key for key in ("reasoning", "reasoning_content") if message.get(key) == said), field)
        wanted[name if target.on_openrouter else field] = said
    elif said and message.get("reasoning_content") == said and not target.refuses_reasoning:
        wanted["reasoning_content"] = said
    odd = message.get("reasoning_details")
    if not wanted.get("reasoning_details") and target.on_openrouter and not target.strict and _is_odd(odd):
        wanted["reasoning_details"] = odd
    present = {key: message[key] for key in _KEYS if key in message}
    if wanted.keys() <= present.keys() and all(
        value == wanted.get(key) and (value is not None or target.on_openrouter) for key, value in present.items()
    ):
        return message
    return {**{key: value for key, value in message.items() if key not in _KEYS}, **wanted}


def _is_odd(details: object) -> bool:
    """Whether the details are not a list of entries, or an empty list: they are passed on unchanged."""
    return details is not None and (not isinstance(details, list | tuple) or not details)


_KEYS: Final = ("reasoning", "reasoning_content", "reasoning_details")
__all__ = ["NOT_RECORDED", "PLACEHOLDER", "Form", "owns_signed", "with_reasoning"]
