"""The histories that Anthropic's servers refuse, with Anthropic's messages and places in the request."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from ..answers import signatures
from .history import Block, Complaint, History

_ID = re.compile(r"[a-zA-Z0-9_-]+")
_NAME = re.compile(r"[a-zA-Z0-9_-]{1,128}")
BEDROCK = "Amazon Bedrock"
_CACHE_MARKS = 4
_NO_PREFILL = (4, 6)
_DOCS = "https://docs.claude.com/en/docs/build-with-claude/extended-thinking"


def _all(history: History, *kinds: str) -> Iterator[tuple[str, Block]]:
    for number, turn in enumerate(history.turns):
        for position, block in enumerate(turn.blocks):
            if block.kind in kinds:
                yield f"messages.{number}.content.{position}", block


def ids(history: History) -> Complaint | None:
    for at, block in _all(history, "tool_use", "tool_result"):
        field = "id" if block.kind == "tool_use" else "tool_use_id"
        found = block.value["id" if block.kind == "tool_use" else "tool_call_id"]
        if not _ID.fullmatch(found):
            return Complaint(f"{at}.{block.kind}.{field}: String should match pattern '^[a-zA-Z0-9_-]+$'")
    return None


def unique_ids(history: History) -> Complaint | None:
    seen = set()
    for at, block in _all(history, "tool_use"):
        if block.value["id"] in seen:
            return Complaint(f"{at}: `tool_use` ids must be unique")
        seen.add(block.value["id"])
    return None


def names(history: History) -> Complaint | None:
    for at, block in _all(history, "tool_use"):
        if not _NAME.fullmatch(block.value["function"]["name"]):
            return Complaint(f"{at}.tool_use.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
    return None


def inputs(history: History) -> Complaint | None:
    """What a call was made with is an object."""
    for at, block in _all(history, "tool_use"):
        if not is_object(block.value["function"]["arguments"] or "{}"):
            return Complaint(f"{at}.tool_use.input: Input should be a valid dictionary")
    return None


def is_object(text: str) -> bool:
    """Whether a text is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def beginning(history: History) -> Complaint | None:
    """There is a message beside the system's; on Bedrock the first one is the user's."""
    if not history.turns:
        return Complaint("messages: at least one message is required")
    if history.host.name == BEDROCK and history.turns[0].role != "user":
        return Complaint(
            "A conversation must start with a user message. Try again with a conversation that starts with a user "
            "message."
        )
    return None


def tools(history: History) -> Complaint | None:
    """On Bedrock calls and results are read only beside tools."""
    if history.host.name != BEDROCK or history.request.get("tools"):
        return None
    if any(_all(history, "tool_use", "tool_result")):
        return Complaint("The toolConfig field must be defined when using toolUse and toolResult content blocks.")
    return None


def results(history: History) -> Complaint | None:
    """Each tool call has one result at the head of the next message, and each result belongs to such a call."""
    waiting: list[str] = []
    for number, turn in enumerate([*history.turns, None]):
        answered: list[str] = []
        for position, block in enumerate(turn.blocks if turn is not None and turn.role == "user" else ()):
            if block.kind != "tool_result":
                continue
            found = block.value["tool_call_id"]
            if found not in waiting:
                return Complaint(
                    f"messages.{number}.content.{position}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{found}. Each `tool_result` block must have a corresponding `tool_use` block in the previous "
                    "message."
                )
            if position == len(answered):
                answered.append(found)
        left = [one for one in waiting if one not in answered]
        if left:
            return Complaint(
                f"messages.{number - 1}: `tool_use` ids were found without `tool_result` blocks immediately after: "
                f"{', '.join(left)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
                "message."
            )
        waiting = [block.value["id"] for block in turn.blocks if block.kind == "tool_use"] if turn is not None else []
    return None


def empty_texts(history: History) -> Complaint | None:
    for _, block in _all(history, "text"):
        if not block.value["text"]:
            return Complaint("messages: text content blocks must be non-empty")
    return None


def empty_messages(history: History) -> Complaint | None:
    turns = history.turns
    for number, turn in enumerate(turns):
        if not turn.blocks and not (number == len(turns) - 1 and turn.role == "assistant"):
            return Complaint(
                f"messages.{number}: all messages must have non-empty content except for the optional final "
                "assistant message"
            )
    return None


def signed(history: History) -> Complaint | None:
    """The history keeps signed thinking unchanged: text, signature and, for newer models, everything before it."""
    for at, block in _all(history, "thinking", "redacted_thinking"):
        detail = block.value
        if block.kind == "redacted_thinking":
            return Complaint(f"{at}: Invalid `data` in `redacted_thinking` block")
        if not detail.get("signature"):
            return Complaint(f"{at}.thinking.signature: Field required")
        text = detail.get("text") or ""
        if detail["signature"] != signatures.claude(history.model.id, text, history.contexts[block.message]):
            return Complaint(f"{at}: Invalid `signature` in `thinking` block")
    return None


def demanded(history: History) -> Complaint | None:
    """In a request with thinking, the last assistant message (in a tool loop, or as a prefill) begins with thinking."""
    turns = history.turns
    if not history.thinks or not turns:
        return None
    last = len(turns) - 1
    if turns[last].role == "user":
        if last == 0 or turns[last].blocks[:1] == [] or turns[last].blocks[0].kind != "tool_result":
            return None
        last -= 1
    blocks = turns[last].blocks
    if not blocks or blocks[0].kind in ("thinking", "redacted_thinking"):
        return None
    return Complaint(
        f"messages.{last}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{blocks[0].kind}`. "
        "When `thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
        "lastmost set of `tool_use` and `tool_result` blocks). We recommend you include thinking blocks from previous "
        "turns. To avoid this requirement, disable `thinking`. Please consult our documentation at " + _DOCS
    )


def only_thinking(history: History) -> Complaint | None:
    for number, turn in enumerate(history.turns):
        if turn.role == "assistant" and turn.blocks and "thinking" in turn.blocks[-1].kind:
            return Complaint(f"messages.{number}: The final block in an assistant message cannot be `thinking`.")
    return None


def prefill(history: History) -> Complaint | None:
    turns = history.turns
    if not turns or turns[-1].role != "assistant":
        return None
    if history.version >= _NO_PREFILL:
        return Complaint(
            "This model does not support assistant message prefill. The conversation must end with a user message."
        )
    texts = [block.value["text"] for block in turns[-1].blocks if block.kind == "text"]
    if texts and texts[-1] != texts[-1].rstrip():
        return Complaint("messages: final assistant content cannot end with trailing whitespace")
    return None


def cache_marks(history: History) -> Complaint | None:
    marked = [tool for tool in history.request.get("tools") or () if _marked(tool) or _marked(tool.get("function"))]
    marked += [message for message in history.messages if _marked(message)]
    for message in history.messages:
        if isinstance(message.get("content"), list):
            marked += [part for part in message["content"] if _marked(part)]
    found = len(marked) + bool(history.request.get("cache_control"))
    if found > _CACHE_MARKS:
        return Complaint(f"A maximum of 4 blocks with cache_control may be provided. Found {found}.")
    return None


def _marked(part: object) -> bool:
    return isinstance(part, dict) and bool(part.get("cache_control"))
