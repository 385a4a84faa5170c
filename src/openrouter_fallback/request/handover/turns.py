"""The order of a history: results after their calls, roles in turn, system messages first, no empty contents.

No text of the user is dropped: a message in the wrong place is moved, or gets another role.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from .blocks import has_media, plain_text, text_and_media, without_blank_text
from .history import SYSTEM, History, Message, calls_of
from .marks import CACHE
from .rules import Rule

EMPTY: Final = "(empty)"
NO_RESULT: Final = "(no result)"
_SEE_BELOW: Final = "(see below)"
OF_RESULTS: Final = "From the tool results above:"
OF_INSTRUCTIONS: Final = "From the instructions above:"
OF_ANSWERS: Final = "From the answers above:"
_SHOWN_BESIDE: Final = ("images", "audio", "function_call")
OPENING: Final = {"role": "user", "content": "(begin)"}
BRIDGE: Final = {"role": "assistant", "content": "(continued)"}
_CALL: Final = "[call {}: {}({})]"
_RESULT: Final = "[result of call {}:]"
_ORPHAN: Final = "Result of an earlier tool call:"

Json = dict[str, Any]


def results_in_place(messages: Sequence[Message], history: History) -> list[Message]:
    """The messages with each call's result directly after the call; `messages` are in the order of the history.

    A call without a result gets one that says so. A result without a call becomes user text.
    """
    results: dict[int, Message] = {}
    for position, number in history.answers.items():
        if number is not None:
            results[number] = messages[position]
    calls: defaultdict[int, list[int]] = defaultdict(list)
    for number, call in enumerate(history.calls):
        calls[call.position].append(number)
    placed: list[Message] = []
    for position, message in enumerate(messages):
        if history.roles[position] == "tool":
            if history.answers.get(position) is None:
                placed.append(_orphan(message))
            continue
        placed.append(message)
        for number in calls.get(position, ()):
            result = results.get(number)
            placed.append(_no_result(message, history.calls[number].number) if result is None else result)
    return placed


def _orphan(message: Message) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        return {"role": "user", "content": [{"type": "text", "text": _ORPHAN}, *content]}
    return {"role": "user", "content": f"{_ORPHAN}\n{content if isinstance(content, str) else EMPTY}"}


def _no_result(message: Message, number: int) -> Json:
    call = calls_of(message)[number]
    return {"role": "tool", "tool_call_id": call.get("id"), "content": NO_RESULT}


def one_by_one(messages: Sequence[Message]) -> list[Message]:
    """The messages, with parallel calls as steps of their own, each before its result.

    Some chat templates and hosts read one call in a message: Llama 3 "only supports single tool-calls at once".
    """
    placed: list[Message] = []
    position = 0
    while position < len(messages):
        message = messages[position]
        calls = calls_of(message)
        behind = position + 1
        results = messages[behind : behind + len(calls)]
        position = behind
        if len(calls) < 2 or [one["role"] for one in results] != ["tool"] * len(calls):
            placed.append(message)
            continue
        later = {key: value for key, value in message.items() if key not in ("reasoning_details", CACHE)}
        for number, (call, result) in enumerate(zip(calls, results, strict=True)):
            step = {**later, "content": None} if number else message
            placed += [{**step, "tool_calls": [call]}, result]
        position += len(results)
    return placed


def without_trailing_space(message: Message) -> Message:
    """A final assistant message without white space at the end of its text."""
    content = message.get("content")
    if isinstance(content, str):
        return message if content == content.rstrip() else {**message, "content": content.rstrip()}
    last = content[-1] if isinstance(content, list) and content else None
    text = last.get("text") if isinstance(last, Mapping) else None
    if not isinstance(content, list) or not isinstance(last, Mapping) or not isinstance(text, str):
        return message
    if text == text.rstrip():
        return message
    return {**message, "content": [*content[:-1], {**last, "text": text.rstrip()}]}


def without_empty_end(messages: list[Message]) -> list[Message]:
    """The messages without a final assistant message that says nothing; the same list if there is none."""
    last = messages[-1]
    if last["role"] != "assistant" or calls_of(last) or _refused(last) or any(last.get(key) for key in _SHOWN_BESIDE):
        return messages
    if not _is_empty(without_blank_text(last.get("content"))):
        return messages
    return without_empty_end(messages[:-1]) if messages[1:] else [OPENING]


def ended(messages: list[Message], instruction: Message) -> list[Message]:
    """The messages with the instruction to continue a final text of the assistant behind it.

    The same list if the last message is not a text of the assistant.
    """
    final = messages[-1]
    return messages if final["role"] != "assistant" or calls_of(final) else [*messages, instruction]


def told(message: Message) -> Message:
    """A message with calls, or a result, as text: for a provider that reads them only beside tools.

    Signed reasoning of such a message is left out: the signature holds for the call.
    """
    calls = calls_of(message)
    if message["role"] == "tool":
        text = _RESULT.format(message.get("tool_call_id"))
        content = message.get("content")
        if isinstance(content, list):
            return {"role": "user", "content": [{"type": "text", "text": text}, *content]}
        return {"role": "user", "content": f"{text} {content}"}
    if not calls:
        return message
    lines = [_call_text(call) for call in calls]
    content = message.get("content")
    said = plain_text(content) if isinstance(content, list) else content
    rest = {key: value for key, value in message.items() if key not in ("tool_calls", "reasoning_details")}
    return {**rest, "content": "\n".join([*([said] if isinstance(said, str) and said else []), *lines])}


def _call_text(call: Any) -> str:
    found = call if isinstance(call, Mapping) else {}
    function = found.get("function")
    function = function if isinstance(function, Mapping) else {}
    return _CALL.format(found.get("id"), function.get("name"), function.get("arguments"))


def media_with_the_user(messages: Sequence[Message], roles: frozenset[str], words: str) -> list[Message]:
    """The messages, with media of these roles' messages moved to a user message behind each group of them.

    The results of a group's calls belong to it. `words` say where the media were.
    """
    placed: list[Message] = []
    shown: list[Any] = []
    for message in messages:
        if message["role"] in roles and has_media(message.get("content")):
            text, media = text_and_media(message["content"])
            shown += media
            message = {**message, "content": text or _SEE_BELOW}
        elif shown and message["role"] not in roles and message["role"] != "tool":
            placed.append({"role": "user", "content": [{"type": "text", "text": words}, *shown]})
            shown = []
        placed.append(message)
    if shown:
        placed.append({"role": "user", "content": [{"type": "text", "text": words}, *shown]})
    return placed


def filled(message: Message) -> Message:
    """The message with its empty content filled: providers refuse empty contents and blank text blocks."""
    content = without_blank_text(message.get("content"))
    if _is_empty(content):
        if message["role"] != "assistant":
            content = EMPTY
        elif calls_of(message):
            content = None
        elif _refused(message):
            content = message["refusal"]
        else:
            content = message.get("content") if any(message.get(key) for key in _SHOWN_BESIDE) else EMPTY
    return message if content is message.get("content") else {**message, "content": content}


def with_text(message: Message) -> Message:
    """The message with a text for no content: empty texts are accepted, null and empty lists are not."""
    content = message.get("content")
    if content is not None and content != []:
        return message
    if message["role"] == "assistant" and (
        calls_of(message) or _refused(message) or any(message.get(key) for key in _SHOWN_BESIDE)
    ):
        return message
    return {**message, "content": EMPTY if message["role"] == "user" else ""}


def _is_empty(content: Any) -> bool:
    return content is None or content == [] or (isinstance(content, str) and not content.strip())


def _refused(message: Message) -> bool:
    """Whether the message holds the text of a refusal."""
    refusal = message.get("refusal")
    return isinstance(refusal, str) and bool(refusal.strip())


def open_turn(roles: Sequence[str]) -> list[int]:
    """The positions of the assistant's messages that the next answer continues: those behind the user's last message.

    A user message directly behind a tool result belongs to the result. Empty if the user's message is a new turn.
    """
    end = len(roles)
    while end and roles[end - 1] in _NO_ANSWER:
        end -= 1
    if end < len(roles) and (not end or roles[end - 1] != "tool"):
        return []
    start = end
    while start and roles[start - 1] != "user":
        start -= 1
    return [position for position in range(start, end) if roles[position] == "assistant"]


def needs_turns(roles: Sequence[str], speakers: frozenset[str], rule: Rule, *, strict: bool) -> bool:
    """Whether the order of the roles breaks the rule; `speakers` is the set of all roles."""
    if "developer" in speakers and not rule.developer:
        return True
    front = 0
    if not SYSTEM.isdisjoint(speakers):
        front = _front(roles)
        if (rule.system != "anywhere" or strict) and not SYSTEM.isdisjoint(roles[front:]):
            return True
        if (rule.system == "one" or strict) and front > 1:
            return True
    if (rule.opens or strict) and "user" not in roles[front : front + 1]:
        return True
    pairs = set(pairwise(roles)) if rule.alternates or rule.bridges or strict else _NO_PAIRS
    if (rule.alternates or strict) and not _IN_A_ROW.isdisjoint(pairs):
        return True
    return (rule.bridges or strict) and ("tool", "user") in pairs


def in_turn(messages: Sequence[Message], rule: Rule, bridge: Message, *, strict: bool) -> list[Message]:
    """The messages with roles in an allowed order; `bridge` is inserted between a result and a user message.

    Where the user must begin and does not, `OPENING` is inserted: an agent with instructions only, a greeting, or a
    history of which the beginning was cut off.
    """
    one_system = rule.system == "one" or strict
    front_only = rule.system != "anywhere" or strict
    alternates, bridges = rule.alternates or strict, rule.bridges or strict
    placed: list[Message] = []
    in_front = True
    for message in messages:
        role = message["role"]
        if role == "developer" and not rule.developer:
            message, role = {**message, "role": "system"}, "system"
        if role in SYSTEM:
            if not in_front and front_only:
                message, role = _as_user(message), "user"
        else:
            in_front = False
        last = placed[-1] if placed else None
        if last is not None and in_front and role in SYSTEM and one_system:
            placed[-1] = _together(last, message)
            continue
        if last is not None and alternates and last["role"] == role and role in _TURNS and _mergeable(last):
            placed[-1] = _together(last, message)
            continue
        if last is not None and bridges and last["role"] == "tool" and role == "user":
            placed.append(bridge)
        placed.append(message)
    if rule.opens or strict:
        front = _front([message["role"] for message in placed])
        if front == len(placed) or placed[front]["role"] != "user":
            placed.insert(front, OPENING)
    return placed


def _front(roles: Sequence[str]) -> int:
    """How many system messages stand in front."""
    return next((n for n, role in enumerate(roles) if role not in SYSTEM), len(roles))


_TURNS: Final = frozenset({"user", "assistant"})
_IN_A_ROW: Final = frozenset({("user", "user"), ("assistant", "assistant")})
_NO_PAIRS: Final[frozenset[tuple[str, str]]] = frozenset()
_NO_ANSWER: Final = frozenset({"system", "developer", "user"})


def _mergeable(message: Message) -> bool:
    return not calls_of(message)


def _as_user(message: Message) -> Json:
    """An instruction in mid-history as a user message, so that the messages before it stay unchanged."""
    content = message.get("content")
    if isinstance(content, list):
        text = plain_text(content)
        if not isinstance(text, str):
            return {**message, "role": "user"}
        content = text
    return {**message, "role": "user", "content": f"<system>\n{content or ''}\n</system>"}


def _together(one: Message, other: Message) -> Json:
    """Join two neighbours of one role to one message."""
    first, second = one.get("content"), other.get("content")
    if not first or not second:
        content: Any = second or first
        if calls_of(other) and _is_empty(without_blank_text(content)):
            content = None
    elif isinstance(first, str) and isinstance(second, str):
        content = f"{first}\n\n{second}"
    else:
        content = [*_blocks(first), *_blocks(second)]
    rest: Mapping[str, Any] = {**one, **{key: value for key, value in other.items() if key not in ("role", "name")}}
    return {**rest, "content": content}


def _blocks(content: Any) -> list[Any]:
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return list(content) if isinstance(content, list | tuple) else []
