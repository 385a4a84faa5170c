"""Arguments of tool calls that are not a JSON object: cut off, empty, a list.

Frameworks keep such calls with the tool's complaint as their result, and most providers then refuse the history.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from .history import Message, calls_of

_NONE: Final = "{}"


def with_objects(message: Message) -> Message:
    """The message with the arguments of each call as the text of a JSON object.

    Nothing becomes `{}`. What is no object becomes one with the key `arguments`: the model sees what was written.
    """
    calls = calls_of(message)
    repaired = [_repaired(call) for call in calls]
    return (
        message
        if all(new is old for new, old in zip(repaired, calls, strict=True))
        else {**message, "tool_calls": repaired}
    )


def _repaired(call: Any) -> Any:
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping):
        return call
    given = function.get("arguments")
    text = _object(given)
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
