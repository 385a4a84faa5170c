"""The quick reading of a history: texts, and tool calls whose results follow directly and in order.

What it finds can be joined, so that the reading of a conversation goes on where an earlier one ended (`memory`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
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
    ids: Mapping[str, None] = field(default_factory=dict)
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
        if not self.ids.keys().isdisjoint(later.ids):
            return None
        writers = self.writers
        if later.writers:
            writers = writers | {self.count + position: writer for position, writer in later.writers.items()}
        return Facts(
            self.count + later.count,
            _both(self.keys, later.keys),
            {**self.ids, **later.ids},
            _both(self.names, later.names),
            max(self.widest, later.widest),
            _both(self.speakers, later.speakers),
            self.voids or later.voids,
            self.odd or later.odd,
            self.thoughts.then(later.thoughts),
            writers,
            self.changed or later.changed,
        )


NOTHING: Final = Facts()


def facts_of(messages: Sequence[Message], roles: Sequence[str], keys: set[str]) -> Facts | None:
    """The facts of a history of texts and tidy calls, without its thoughts; None if it is not such a history."""
    ids: dict[str, None] = {}
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
                    ids[id := call["id"]] = None
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
        if others:
            texts += map(_CONTENT, others)
        blank = True in set(map(str.isspace, texts))
        width = widest(ids)
        "".join(names)  # a TypeError if one is not a string, as for the ids
        odd = untyped or not are_objects(arguments)
    except (KeyError, StopIteration, TypeError):
        return None
    if "function" in roles or "function_call" in keys or len(ids) != len(arguments) or "" in ids:
        return None
    if others is messages:
        if "tool" in roles:
            return None
    else:
        said = list(map(_ROLE, others)) if others else []
        callers = len(messages) - len(others) - len(ids)
        if "tool" in said or roles.count("tool") != len(ids):
            return None
        if roles.count("assistant") != callers + said.count("assistant"):
            return None
    speakers, voids = frozenset(roles), blank or not all(texts)
    return Facts(len(messages), frozenset(keys), ids, frozenset(names), width, speakers, voids, odd)


def _both(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    return one if other <= one else one | other


def widest(ids: Collection[str]) -> int:
    """The length of the longest id; a million if an id has other characters than letters, digits, `_` and `-`."""
    together = "".join(ids)
    if not together.isascii() or together.encode().translate(None, _WORD):
        return _NO_WORD
    return max(map(len, ids)) if ids else 0


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
