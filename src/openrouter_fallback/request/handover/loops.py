"""A tool loop stays with its model: which model made the calls that a request's tool results answer.

That is known by the message's writer, else by the calls that this client has delivered; never from an id's form.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from .history import History, calls_of

MOST_CALLS: Final = 4096


class DeliveredCalls:
    """The tool calls that a client has delivered, with the model that made each; the last 4,096 of them.

    A call is known by its id and a hash of its name and arguments. Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[tuple[str, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, calls: Sequence[Any], model: str) -> None:
        """Remember the `tool_calls` of an answer of `model`."""
        with self._lock:
            for call in calls:
                key = _key(call)
                if key is not None:
                    self._models[key] = model
                    self._models.move_to_end(key)
            while len(self._models) > MOST_CALLS:
                self._models.popitem(last=False)

    def model(self, calls: Sequence[Any]) -> str | None:
        """The model that made the first of these calls that is known."""
        keys = [key for call in calls if (key := _key(call)) is not None]
        with self._lock:
            return next((self._models[key] for key in keys if key in self._models), None)


def loop_models(history: History, delivered: DeliveredCalls) -> tuple[str, ...]:
    """The model whose calls the last tool results answer, by the names that are known of it, the surest first.

    Empty where the history does not end with tool results, or nothing is known.
    """
    if not history.roles or history.roles[-1] != "tool" or not history.calls:
        return ()
    number = history.answers.get(len(history.roles) - 1)
    if number is None:
        return ()
    position = history.calls[number].position
    names = (history.writers.get(position), delivered.model(calls_of(history.messages[position])))
    return tuple(name for name in names if name is not None)


def _key(call: object) -> tuple[str, int] | None:
    if not isinstance(call, Mapping):
        return None
    id, function = call.get("id"), call.get("function")
    if not isinstance(id, str) or not id or not isinstance(function, Mapping):
        return None
    return id, hash((str(function.get("name")), _arguments(function.get("arguments"))))


def _arguments(arguments: object) -> bytes:
    """Arguments as they are compared: frameworks parse them and write them anew, with other blanks and escapes."""
    text = arguments if isinstance(arguments, str) and arguments else "{}"
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        return text.encode("utf-8", "replace")
