"""The quick reading of a history: texts, and tool calls whose results follow directly and in order.

What it finds can be joined, so that the reading of a conversation goes on where an earlier one ended (`memory`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from string import ascii_letters, digits
from typing import Any, Final

from .details import NO_THOUGHTS, Thoughts

Message = Mapping[str, Any]


@dataclass(slots=True, repr=False)
class Facts:
    """What a quick reading finds; no text of the messages. `count`: of the messages; `changed`: `History.messages` are
    not those of the caller. The other fields are those of `History`."""

    count: int = 0
    keys: frozenset[str] = frozenset()
    ids: Sequence[str] = ()
    names: frozenset[str] = frozenset()
    widest: int = 0
    speakers: frozenset[str] = frozenset()
    voids: bool = False
    odd: bool = False
    thoughts: Thoughts = NO_THOUGHTS
    writers: dict[int, str] = field(default_factory=dict)
    changed: bool = False

    def then(self, later: Facts) -> Facts | None:
        """The facts of a history and of the messages behind it; None if both have a call of one id."""
        if not later.count:
            return self
        if not set(self.ids).isdisjoint(later.ids):
            return None
        return Facts(
            self.count + later.count,
            self.keys | later.keys,
            [*self.ids, *later.ids],
            self.names | later.names,
            max(self.widest, later.widest),
            self.speakers | later.speakers,
            self.voids or later.voids,
            self.odd or later.odd,
            self.thoughts.then(later.thoughts),
            self.writers | {self.count + position: writer for position, writer in later.writers.items()},
            self.changed or later.changed,
        )


NOTHING: Final = Facts()


def facts_of(messages: Sequence[Message], roles: Sequence[str], keys: set[str]) -> Facts | None:
    """The facts of a history of texts and tidy calls, without its thoughts; None if it is not such a history."""
    ids: list[str] = []
    names: set[str] = set()
    arguments: list[str] = []
    texts: list[Any] = []
    others: Sequence[Message] = messages
    untyped = False
    try:
        if "tool_calls" in keys:
            others = []
            coming = iter(messages)
            for message in coming:
                if "tool_calls" not in message:
                    others.append(message)
                    continue
                calls = message["tool_calls"]
                if not calls:
                    return None
                for call in calls:
                    ids.append(id := call["id"])
                    function = call["function"]
                    names.add(function["name"])
                    arguments.append(function["arguments"])
                    if call["type"] != "function":
                        untyped = True
                    result = next(coming)
                    if result["tool_call_id"] != id:
                        return None
                    texts.append(result["content"])
                if (content := message.get("content")) is not None:
                    texts.append(content)
        texts += map(_CONTENT, others)
        blank = True in set(map(str.isspace, texts))
        "".join(ids), "".join(names)  # a TypeError if one is not a string
        known, odd = set(ids), untyped or not are_objects(arguments)
    except (KeyError, StopIteration, TypeError):
        return None
    if "function" in roles or "function_call" in keys or len(known) != len(ids) or "" in known:
        return None
    if others is messages:
        if "tool" in roles:
            return None
    else:
        said = list(map(_ROLE, others))
        callers = len(messages) - len(others) - len(ids)
        if "tool" in said or roles.count("tool") != len(ids):
            return None
        if roles.count("assistant") != callers + said.count("assistant"):
            return None
    speakers, voids = frozenset(roles), blank or not all(texts)
    return Facts(len(messages), frozenset(keys), ids, frozenset(names), widest(ids), speakers, voids, odd)


def widest(ids: Sequence[str]) -> int:
    """The length of the longest id; a million if an id has other characters than letters, digits, `_` and `-`."""
    together = "".join(ids)
    if not together.isascii() or together.encode().translate(None, _WORD):
        return _NO_WORD
    return max(map(len, ids), default=0)


def are_objects(arguments: Sequence[str]) -> bool:
    """Whether the arguments of all calls look like JSON objects, by their first and last characters."""
    written = "\0".join(arguments)
    ends = len(arguments) - 1
    return not arguments or (
        written[:1] == "{" and written[-1] == "}" and written.count("}\0{") == written.count("\0") == ends
    )


_WORD: Final = f"{ascii_letters}{digits}_-".encode()
_NO_WORD: Final = 1_000_000
_CONTENT: Final = itemgetter("content")
_ROLE: Final = itemgetter("role")
