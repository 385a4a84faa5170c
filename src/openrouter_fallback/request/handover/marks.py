"""The marks of a prompt cache (`cache_control`): left out where they mean nothing, no more than a provider takes.

A mark covers all that stands before it: first the tools, then the system messages, then the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

CACHE: Final = "cache_control"
_SYSTEM: Final = frozenset({"system", "developer"})

Json = dict[str, Any]
Message = Mapping[str, Any]


def without_marks(message: Message) -> Message:
    """The message without `cache_control`, for targets that do not know it."""
    content = message.get("content")
    if isinstance(content, list) and any(map(_marked, content)):
        message = {**message, "content": [_without(block) for block in content]}
    without: Message = _without(message)
    return without


def fewer_marks(messages: Sequence[Message], most: int) -> Sequence[Message]:
    """The messages with at most `most` marks: the last ones, and the last one of the system messages.

    The last marks cover most of the conversation; the one of the system messages covers what all conversations share.
    """
    places = _places(messages)
    if len(places) <= most:
        return messages
    kept = set(places[len(places) - most :])
    front = [place for place in places if messages[place[0]]["role"] in _SYSTEM]
    if most and front and front[-1] not in kept:
        kept = {front[-1], *places[len(places) - most + 1 :]}
    left_out = set(places) - kept
    positions = {position for position, _ in left_out}
    return [_thinned(message, n, left_out) if n in positions else message for n, message in enumerate(messages)]


def count_marks(messages: Sequence[Message]) -> int:
    """How many marks the messages have."""
    return len(_places(messages))


def marks_beside(params: Mapping[str, Any]) -> tuple[int, bool]:
    """How many tools are marked in a request's parameters, and whether the whole request is."""
    tools = params.get("tools")
    listed = tools if isinstance(tools, list | tuple) else ()
    return sum(map(_marked_tool, listed)), bool(params.get(CACHE))


def with_tool_marks(params: Mapping[str, Any], most: int) -> Mapping[str, Any]:
    """The parameters with at most `most` marked tools, the last ones; the same object if that are all."""
    tools = params.get("tools")
    if not isinstance(tools, list | tuple):
        return params
    left = sum(map(_marked_tool, tools)) - most
    if left <= 0:
        return params
    plain: list[Any] = []
    for tool in tools:
        if left > 0 and _marked_tool(tool):
            left -= 1
            tool = _without(_without_inside(tool))
        plain.append(tool)
    return {**params, "tools": plain}


def _places(messages: Sequence[Message]) -> list[tuple[int, int]]:
    """Where the marks stand: the position of the message, and the block's number, -1 for the message itself."""
    places: list[tuple[int, int]] = []
    for position, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, list):
            places += [(position, number) for number, block in enumerate(content) if _marked(block)]
        if message.get(CACHE):
            places.append((position, -1))
    return places


def _thinned(message: Message, position: int, left_out: set[tuple[int, int]]) -> Message:
    content = message.get("content")
    if isinstance(content, list):
        blocks = [_without(block) if (position, n) in left_out else block for n, block in enumerate(content)]
        message = {**message, "content": blocks}
    thinned: Message = _without(message) if (position, -1) in left_out else message
    return thinned


def _marked(block: object) -> bool:
    return isinstance(block, Mapping) and CACHE in block


def _marked_tool(tool: object) -> bool:
    return isinstance(tool, Mapping) and (CACHE in tool or _marked(tool.get("function")))


def _without_inside(tool: Any) -> Any:
    function = tool.get("function")
    return {**tool, "function": _without(function)} if _marked(function) else tool


def _without(value: Any) -> Any:
    if not _marked(value):
        return value
    return {name: part for name, part in value.items() if name != CACHE}
