"""Finds the model that wrote delivered tool calls and signed reasoning.

A tool loop stays with the model that made its calls, and signed reasoning is sent only to its own model. Both are found
by the message's writer, else by the records of this client; never by the form of an id.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

import orjson

from ...routes.model_families import same_model
from .history import History, Message, calls_of
from .reasoning import owns_signed
from .turns import open_turn

MOST_CALLS: Final = 4096
_Key = tuple[str, int]


class Delivered:
    """The last 4,096 tool calls and signatures that a client has delivered, each with its model.

    A call is identified by its id and a hash of its name and arguments, a signature by a hash. Safe to use from
    several threads.
    """

    def __init__(self) -> None:
        self._models: OrderedDict[_Key, str] = OrderedDict()
        self._signers: frozenset[str] = frozenset()
        self._lock = threading.Lock()

    def add(self, message: Message, model: str) -> None:
        """Record the calls and signatures in the message of an answer of `model`."""
        keys = [key for call in calls_of(message) if (key := _key(call)) is not None]
        signed = _signatures(message)
        with self._lock:
            if signed:
                self._signers |= {model}
            keys += signed
            for key in keys:
                self._models[key] = model
                self._models.move_to_end(key)
            while len(self._models) > MOST_CALLS:
                self._models.popitem(last=False)

    def caller(self, message: Message) -> str | None:
        """The model of the first recorded call of a message."""
        return self._first([key for call in calls_of(message) if (key := _key(call)) is not None])

    def signer(self, message: Message) -> str | None:
        """The model of the first recorded signature of a message."""
        return self._first(_signatures(message))

    def signed_elsewhere(self, model: str) -> bool:
        """Whether a model other than this one has a recorded signature."""
        return any(not same_model(signer, model) for signer in self._signers)

    def _first(self, keys: Iterable[_Key]) -> str | None:
        for key in keys:
            if (model := self._models.get(key)) is not None:
                return model
        return None


def name_signers(history: History, delivered: Delivered) -> None:
    """Add to `history.writers` the models of signed reasoning in messages that do not name their writer."""
    if "reasoning_details" not in history.keys:
        return
    for position, message in enumerate(history.messages):
        if "reasoning_details" in message and position not in history.writers:
            model = delivered.signer(message)
            if model is not None:
                history.writers[position] = model


def name_callers(history: History, delivered: Delivered) -> None:
    """Add to `history.writers` the models of unsigned calls in the turn that goes on."""
    for position in open_turn(history.roles):
        message = history.messages[position]
        if position not in history.writers and not owns_signed(message):
            model = delivered.caller(message)
            if model is not None:
                history.writers[position] = model


def loop_models(history: History, delivered: Delivered) -> tuple[str, ...]:
    """The known names of the model whose calls the last tool results answer, the most certain first.

    Empty if the history does not end with tool results, or the model is not known.
    """
    position = history.last_caller
    if position is None:
        return ()
    names = (history.writers.get(position), delivered.caller(history.seen[position]))
    return tuple(name for name in names if name is not None)


def _signatures(message: Message) -> list[_Key]:
    details = message.get("reasoning_details")
    if not isinstance(details, list | tuple):
        return []
    found = [detail.get("signature") or detail.get("data") for detail in details if isinstance(detail, Mapping)]
    return [("", hash(one)) for one in found if isinstance(one, str) and one]


def _key(call: object) -> _Key | None:
    if not isinstance(call, (dict, Mapping)):  # dict first: an abstract class takes ten times as long
        return None
    id, function = call.get("id"), call.get("function")
    if not isinstance(id, str) or not id or not isinstance(function, (dict, Mapping)):
        return None
    return id, hash((str(function.get("name")), _arguments(function.get("arguments"))))


def _arguments(arguments: object) -> bytes:
    """Arguments in a form for comparison: frameworks parse and rewrite them, with other blanks and escapes."""
    text = arguments if isinstance(arguments, str) and arguments else "{}"
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        return text.encode("utf-8", "replace")
