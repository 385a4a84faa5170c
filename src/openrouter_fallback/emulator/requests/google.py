"""The histories that Google's servers refuse."""

from __future__ import annotations

import re

from ..answers import signatures
from ..models.families import Family
from .history import Complaint, History

_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_.-]{0,63}")
_SIGNS_CALLS = (3, 0)
_NO_PREFILL = (3, 6)
_NO_PREFILL_EARLIER = "gemini-3.5-flash-lite"
_PRESERVE = (
    "Gemini models require OpenRouter reasoning details to be preserved in each request. Please refer to our docs: "
    "https://openrouter.ai/docs/guides/best-practices/reasoning-tokens#preserving-reasoning-blocks. Upstream error: "
)
STUDIO = "Google AI Studio"


def names(history: History) -> Complaint | None:
    for _, _, call in history.calls():
        if not _NAME.fullmatch(call["function"]["name"]):
            return Complaint(
                "Invalid function name. Must start with a letter or an underscore. Must be alphameric (a-z, A-Z, 0-9), "
                "underscores (_), dots (.) or dashes (-), with a maximum length of 64."
            )
    return None


def beginning(history: History) -> Complaint | None:
    """There is a turn, and the first one is the user's."""
    if not history.turns:
        return Complaint("* GenerateContentRequest.contents: contents is not specified")
    first = history.turns[0]
    if first.role == "user":
        return None
    if any(block.kind == "tool_use" for block in first.blocks):
        return Complaint(
            "Please ensure that function call turn comes immediately after a user turn or after a function response "
            "turn."
        )
    return Complaint("Please ensure that multiturn requests alternate between user and model.")


def results(history: History) -> Complaint | None:
    """The turn after tool calls holds their results, as many results as calls."""
    calls = 0
    for turn in history.turns:
        found = [block.kind for block in turn.blocks].count("tool_result")
        if found and not calls:
            return Complaint("Please ensure that function response turn comes immediately after a function call turn.")
        if found != calls:
            return Complaint(
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn."
            )
        calls = [block.kind for block in turn.blocks].count("tool_use")
    if calls:
        return Complaint(
            "Please ensure that function call turn comes immediately after a user turn or after a function response "
            "turn."
        )
    return None


def last(history: History) -> Complaint | None:
    """Newer models take no final message of the assistant."""
    if history.version < _NO_PREFILL and _NO_PREFILL_EARLIER not in history.model.id:
        return None
    if not history.turns or history.turns[-1].role == "user":
        return None
    return Complaint("Requests ending with a model turn are not supported unless the last part is a function response.")


def valid(history: History) -> Complaint | None:
    """Every signature was issued by Google. The documented placeholder is accepted."""
    for _, detail in history.details():
        data = detail.get("data") or detail.get("signature")
        if data and data != signatures.SKIP_VALIDATION and not signatures.opens(data, Family.GOOGLE):
            return Complaint("Unable to submit request because Thought signature is not valid.")
    return None


def demanded(history: History) -> Complaint | None:
    """Gemini 3: the first tool call of each step of the current turn has a signature.

    The signature is one `reasoning.encrypted` detail of the message. Its id is that call's id, or is missing.
    """
    if history.version < _SIGNS_CALLS:
        return None
    for index, position, call in history.calls(history.turn_start):
        if position:
            continue
        owners = [
            detail.get("id")
            for detail in history.messages[index].get("reasoning_details") or ()
            if detail.get("data") or detail.get("signature")
        ]
        if not any(owner in (None, "", call["id"]) for owner in owners):
            return _missing(history, index, call["function"]["name"])
    return None


def _missing(history: History, index: int, name: str) -> Complaint:
    place = next(n for n, turn in enumerate(history.turns, 1) if any(block.message == index for block in turn.blocks))
    if history.host.name != STUDIO:
        return Complaint(
            f"Unable to submit request because function call `{name}` in the {place}. content block is missing a "
            "`thought_signature`. Learn more: https://docs.cloud.google.com/vertex-ai/generative-ai/docs/"
            "thought-signatures",
            code=_PRESERVE,
        )
    return Complaint(
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
        "correctly, and missing thought_signature may lead to degraded model performance. Additional data, function "
        f"call `default_api:{name}` , position {place}. Please refer to "
        "https://ai.google.dev/gemini-api/docs/thought-signatures for more details.",
        code=_PRESERVE,
    )
