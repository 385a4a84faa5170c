"""Entries of `reasoning_details`: joined where another client left fragments, without the ids of unstored responses.

This is the same for every target.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final, NamedTuple

from .rules import FORMATS

Json = dict[str, Any]
Message = Mapping[str, Any]

NAMES_CALLS: Final = "google-gemini-v1"
"""The format of entries that hold the id of their call."""
_CALLING: Final = frozenset({NAMES_CALLS})
_TYPES: Final = frozenset({"reasoning.text", "reasoning.summary", "reasoning.encrypted", "reasoning.server_tool_call"})
_KNOWN: Final = frozenset({*FORMATS, "unknown", None})
_JOINED: Final = {"reasoning.text": "text", "reasoning.summary": "summary"}
_UNSTORED: Final = "rs_"
_TYPE: Final = itemgetter("type")
_ENCRYPTED: Final = "reasoning.encrypted"


class Thoughts(NamedTuple):
    """The facts of all reasoning in a history.

    `bare`: a message has only plain reasoning; `formats`: those of the entries, None if an entry is malformed;
    `unsigned`: a readable entry has no signature; `calling`: the first call of each message with calls is signed.
    """

    bare: bool = False
    formats: frozenset[str | None] | None = frozenset()
    unsigned: bool = False
    calling: bool = True

    def then(self, later: Thoughts) -> Thoughts:
        """The facts of a history and of the messages behind it."""
        if later == self:
            return self
        return Thoughts(
            self.bare or later.bare,
            None if self.formats is None or later.formats is None else self.formats | later.formats,
            self.unsigned or later.unsigned,
            self.calling and later.calling,
        )


NO_THOUGHTS: Final = Thoughts()
_UNTHOUGHT: Final = Thoughts(calling=False)
_THOUGHT: Final = frozenset({"reasoning", "reasoning_details"})


def thoughts_of(messages: Sequence[Message], keys: Collection[str]) -> tuple[Thoughts, Sequence[Message]]:
    """The facts of the messages' reasoning, and the messages with tidy entries: the same object if nothing changes."""
    calls = "tool_calls" in keys
    if _THOUGHT.isdisjoint(keys):
        return (_UNTHOUGHT if calls else NO_THOUGHTS), messages
    found, tidy, unstored = _read(messages, calls)
    if unstored or not tidy:
        messages = _tidied(messages)
    return found if tidy else _read(messages, calls)[0], messages


def _read(messages: Sequence[Message], calls: bool) -> tuple[Thoughts, bool, bool]:
    """The facts of the messages' reasoning, whether `merged` changes nothing but ids, and whether it may change these.

    The second may be False needlessly.
    """
    formats = set[str | None]()
    bare = unsigned = untidy = unstored = False
    try:
        for message in messages:
            if "reasoning_details" not in message or not (details := message["reasoning_details"]):
                bare = bare or "reasoning" in message
                continue
            for entry in details:
                kind, format = entry["type"], entry["format"]
                formats.add(format)
                if kind != _ENCRYPTED and not entry.get("signature"):
                    unsigned = True
                if kind not in _TYPES or format not in _KNOWN or entry.get("index", 0).__class__ is not int:
                    untidy = True
                if "id" in entry and _is_unstored(entry["id"]):
                    unstored = True
            if len(details) > 1 and len(set(map(_TYPE, details))) < len(details):
                untidy = True
        calling = not calls or (formats == _CALLING and _are_signed(messages))
    except (AttributeError, KeyError, TypeError):
        bare = any("reasoning" in message and not message.get("reasoning_details") for message in messages)
        return Thoughts(bare, None), False, True
    return Thoughts(bare, frozenset(formats), unsigned, calling), not untidy, unstored


def _is_unstored(id: object) -> bool:
    """Whether the id is that of a response that the provider has not stored."""
    return isinstance(id, str) and id.startswith(_UNSTORED)


def _tidied(messages: Sequence[Message]) -> list[Message]:
    tidy = list(messages)
    for position, message in enumerate(messages):
        given = message.get("reasoning_details")
        if isinstance(given, (list, tuple)) and (entries := merged(given)) is not given:
            tidy[position] = {**message, "reasoning_details": entries}
    return tidy


def _are_signed(messages: Sequence[Message]) -> bool:
    """Whether the first call of each message with calls is signed."""
    for message in messages:
        calls = message.get("tool_calls")
        if not calls:
            continue
        call = calls[0]["id"]
        for one in message.get("reasoning_details") or ():
            if one["type"] == _ENCRYPTED and one.get("data") and one.get("id") in (None, "", call):  # as in `signs`
                break
        else:
            return False
    return True


def signs(entry: object, call: str) -> bool:
    """Whether an entry signs the call with this id: it names the call, or none."""
    if not isinstance(entry, (dict, Mapping)) or entry.get("type") != _ENCRYPTED:
        return False
    return bool(entry.get("data")) and entry.get("id") in (None, "", call)


def merged(details: Sequence[Any]) -> Sequence[Any]:
    """Join the fragments of details: other clients' streams leave one entry per chunk.

    Neighbours of one type and index are one block until its signature (langchain#36400, agno#8794).
    """
    if len(details) == 1 and type(details[0]) is dict:
        tidy = _tidy(details[0])
        return details if tidy is details[0] else [tidy]
    whole: list[Any] = []
    changed = False
    for detail in details:
        if not isinstance(detail, (dict, Mapping)):  # dict first: an abstract class takes ten times as long
            whole.append(detail)
            continue
        tidy = _tidy(detail)
        changed = changed or tidy is not detail
        last = whole[-1] if whole else None
        joined = _JOINED.get(tidy.get("type") or "")
        if isinstance(last, Mapping) and joined is not None and _continues(last, tidy):
            whole[-1] = _joined(last, tidy, joined)
            changed = True
        else:
            whole.append(tidy)
    return whole if changed else details


def _continues(last: Mapping[str, Any], part: Mapping[str, Any]) -> bool:
    if last.get("type") != part.get("type") or last.get("signature") or "index" not in last:
        return False
    if last.get("index") != part.get("index") or not _agree(last, part, "id"):
        return False
    return _agree(last, part, "format")


def _agree(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    return not (one.get(key) and other.get(key)) or one[key] == other[key]


def _joined(last: Mapping[str, Any], part: Mapping[str, Any], key: str) -> Json:
    whole = dict(last)
    for name, value in part.items():
        if name == key:
            before = last.get(key)
            whole[key] = (before if isinstance(before, str) else "") + (value if isinstance(value, str) else "")
        elif value or name not in whole:
            whole[name] = value
    return whole


def _tidy(detail: Mapping[str, Any]) -> Mapping[str, Any]:
    """One entry without the damage of other clients' merging (a float index, a doubled type or format), and without the
    id of a response that is not stored."""
    found: Json = {}
    index, kind, format, id = detail.get("index"), detail.get("type"), detail.get("format"), detail.get("id")
    if isinstance(index, float) and index.is_integer():
        found["index"] = int(index)
    if isinstance(kind, str) and kind not in _TYPES and (once := _once(kind, _TYPES)):
        found["type"] = once
    if isinstance(format, str) and format not in FORMATS and (once := _once(format, FORMATS)):
        format = found["format"] = once
    unstored = _is_unstored(id) and format != NAMES_CALLS
    if not unstored and not found:
        return detail
    tidy = {**detail, **found}
    if unstored:
        del tidy["id"]
    return tidy


def _once(value: str, known: Collection[str]) -> str:
    """A value that merging has repeated, once; empty if it is none."""
    return next((name for name in known if value and value == name * (len(value) // len(name))), "")


def is_bound(detail: object) -> bool:
    """Whether only the model that made an entry can read it."""
    if not isinstance(detail, Mapping):
        return False
    return bool(detail.get("signature")) or detail.get("type") == "reasoning.encrypted"
