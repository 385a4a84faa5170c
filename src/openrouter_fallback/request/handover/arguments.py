"""Arguments of tool calls that are not a JSON object: cut off, empty, a list.

Frameworks keep such calls with the tool's complaint as their result, and most providers then refuse the history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from .history import Message, calls_of

_NONE: Final = "{}"


def with_arguments(message: Message, *, objects: bool) -> Message:
    """The message with the arguments of each call as text; with `objects` as the text of a JSON object.

    Nothing becomes `{}`. What is no object becomes one with the key `arguments`: the model sees what was written. Each
    call gets a `type` if it has none.
    """
    calls = calls_of(message)
    repaired = [_repaired(call, objects) for call in calls]
    return (
        message
        if all(new is old for new, old in zip(repaired, calls, strict=True))
        else {**message, "tool_calls": repaired}
    )


def _repaired(call: Any, objects: bool) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    if not isinstance(call.get("type"), str):
        call = {**call, "type": "function"}
    given = function.get("arguments")
    text = given if isinstance(given, str) and not objects else _object(given)
    return call if text == given else {**call, "function": {**function, "arguments": text}}


def _object(given: Any) -> str:
    value = given
    if isinstance(given, str):
        try:
            value = json.loads(given) if given.strip() else None
        except ValueError:
            value = given
        if isinstance(value, Mapping):
            return given
    if value is None:
        return _NONE
    return json.dumps(value if isinstance(value, Mapping) else {"arguments": value}, ensure_ascii=False, default=str)
