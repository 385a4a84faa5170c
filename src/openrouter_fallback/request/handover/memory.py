"""What a client remembers of the last long histories: their JSON, and the facts of their reading.

Conversations grow at their end. A history that begins as a remembered one is read on from there. The comparison costs
almost nothing, since the history must be encoded for the request anyway.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import orjson

from .history import History, Message
from .quick import NOTHING, Facts

FEWEST: Final = 16
"""Messages of a history that is remembered: shorter ones are read as fast."""
MOST: Final = 32
MOST_BYTES: Final = 4_000_000
_END: Final = 64
# Nothing but JSON's own types, so that equal bytes mean equal messages.
_EXACT: Final = orjson.OPT_PASSTHROUGH_SUBCLASS | orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME


@dataclass(slots=True, repr=False)
class _Known:
    given: memoryview
    """The JSON of the messages, without the closing bracket."""
    end: bytes
    at: int
    """The last bytes of `given`, and where they begin."""
    sent: tuple[bytes, ...]
    """The JSON of the history's `messages` in parts, without the closing bracket; none if it is `given`."""
    size: int
    facts: Facts


class Histories:
    """Reads histories, and remembers at most 32 of them, 4 MB of JSON. Safe to use from several threads."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: tuple[_Known, ...] = ()

    def __reduce__(self) -> tuple[type[Histories], tuple[()]]:
        """A copy remembers nothing: no prompt is pickled."""
        return Histories, ()

    def read(self, messages: Sequence[Message], roles: list[str]) -> tuple[History, tuple[bytes, ...]]:
        """The history, and the JSON of its `messages` in parts; no parts if it was not written."""
        if len(messages) < FEWEST:
            return History(messages, roles), ()
        try:
            given = orjson.dumps(messages, option=_EXACT)
        except (TypeError, RecursionError):
            return History(messages, roles), ()
        before = self._before(given)
        history = History(messages, roles, NOTHING if before is None else before.facts)
        if history.facts is None:
            return history, (given,) if history.messages is messages else ()
        sent = _sent(history, before) if history.facts.changed else ()
        if before is None or history.later:
            at = max(0, len(given) - 1 - _END)
            size = len(given) + sum(map(len, sent))
            self._remember(_Known(memoryview(given)[:-1], given[at:-1], at, sent, size, history.facts), before)
        return history, (*sent, b"]") if sent else (given,)

    def _before(self, given: bytes) -> _Known | None:
        """The remembered history with which this one begins.

        A remembered one ends behind a message, so that JSON with the same beginning has the same messages there.
        """
        for known in self._known:
            if given.startswith(known.end, known.at) and given.startswith(known.given):
                return known
        return None

    def _remember(self, new: _Known, before: _Known | None) -> None:
        """Put a history in the first place, instead of the one with which it begins."""
        known = [new, *[one for one in self._known if one is not before]][:MOST]
        while sum([one.size for one in known]) > MOST_BYTES:
            known.pop()
        self._known = tuple(known)


def _sent(history: History, before: _Known | None) -> tuple[bytes, ...]:
    """The JSON of a changed history, which goes on behind that of the remembered one."""
    if before is None:
        return (orjson.dumps(history.messages)[:-1],)
    parts = before.sent or (bytes(before.given),)
    return (*parts, b",", orjson.dumps(history.later)[1:-1]) if history.later else parts
