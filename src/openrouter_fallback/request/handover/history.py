"""The caller's history: its content, and which result belongs to which call.

`History` is made once for a request and read for each target. Its summary costs little, so that a history without
changes costs almost nothing; calls are paired with their results only if they are out of order. Messages that do not
have OpenAI's shape are passed on unchanged.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter
from typing import Any, Final

from .blocks import PARTS, has_media, normal_message
from .details import thoughts_of
from .marks import CACHE
from .quick import NOTHING, Facts, are_objects, facts_of, widest

Message = Mapping[str, Any]

WRITER: Final = "model"
"""The key of an assistant message that names its model (it is in OpenRouter's schema). Never sent."""
SYSTEM: Final = frozenset({"system", "developer"})
_TELLERS: Final = SYSTEM | {"assistant"}
REASONED: Final = frozenset({"reasoning", "reasoning_details", "reasoning_content"})


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call of the history: the `number`-th of the message at `position`."""

    position: int
    number: int
    id: str
    name: str


class History:
    """The messages of a request, without the names of their writers and with content blocks in OpenAI's form.

    `writers`: the known models of the messages, by position; `keys`: all keys of messages. `lists`: a content is
    more than text; `marks`: a block has `cache_control`; `voids`: a content is empty or blank; `pictured`: a tool
    result holds media, `illustrated`: a message of the system or the assistant does; `speakers`: all roles;
    `thoughts`: the facts of all reasoning. `tidy`: each call has a unique id, and its results follow directly, in
    order. `ids`: the ids of all calls; `names`: the functions that they name.
    """

    def __init__(self, messages: Sequence[Message], roles: list[str] | None = None, before: Facts = NOTHING) -> None:
        """Read the messages; `roles` are theirs, if the caller knows them, `before` the facts of the first ones."""
        self.given = messages
        self.roles = list(map(_ROLE, messages)) if roles is None else roles
        self.lists = self.pictured = self.illustrated = False
        self.tidy = True
        self.facts = self._read(before)
        """What a quick reading finds; None if the messages needed a thorough one."""
        if self.facts is not None:
            self.keys: Set[str] = self.facts.keys
            self.speakers = self.facts.speakers
            self.ids: Collection[str] = self.facts.ids
            self.names, self.thoughts = self.facts.names, self.facts.thoughts
            self.voids, self.odd, self.writers = self.facts.voids, self.facts.odd, dict(self.facts.writers)
            self.marks, self.widest = CACHE in self.keys, self.facts.widest
        else:
            self.keys = keys = set().union(*messages)
            self.messages, self.writers = _without_writers(messages) if WRITER in keys else (messages, {})
            keys.discard(WRITER)
            self.marks = CACHE in keys
            self._look(keys)

    def _read(self, before: Facts) -> Facts | None:
        """Read a history of texts and tidy calls. None if it is not one: `_look` reads any history."""
        new, roles = self.given, self.roles
        if before.count:
            new, roles = new[before.count :], roles[before.count :]
        self.later, writers = new, dict[int, str]()
        """The messages behind those of `before`, as `messages`."""
        keys: set[str] = set().union(*new)
        if WRITER in keys:
            self.later, writers = _without_writers(new)
            keys.discard(WRITER)
        facts = facts_of(self.later, roles, keys)
        if facts is None:
            return None
        facts.thoughts, self.later = thoughts_of(self.later, keys)
        facts.writers, facts.changed = writers, self.later is not new
        return before.then(facts) if before.count else facts

    @property
    def seen(self) -> Sequence[Message]:
        """The messages with the roles, contents and calls of `messages`, perhaps with more keys; nothing is made."""
        return self.messages if self.facts is None else self.given

    @cached_property
    def messages(self) -> Sequence[Message]:
        """The messages as they may be sent. Those of the facts `before` are read only if they are needed."""
        if self.facts is None or not self.facts.changed:
            return self.given
        count = len(self.given) - len(self.later)
        return [*History(self.given[:count]).messages, *self.later] if count else self.later

    def _look(self, keys: set[str]) -> None:
        """Read any history; `keys` are those of its messages."""
        messages = self.messages
        contents = [message.get("content") for message in messages]
        said = list(filter(None, contents))
        self.lists, blank = _lists_or_blanks(said)
        if _idle(messages, keys) or "function" in self.roles or (self.lists and not _known(contents)):
            messages = self.messages = self._normal(messages, keys)
            contents = [message.get("content") for message in messages]
            said = list(filter(None, contents))
            self.roles = list(map(_ROLE, messages))
        self.speakers = frozenset(self.roles)
        if self.lists:
            blocks = [block for content in contents if isinstance(content, list) for block in content]
            self.marks = self.marks or any(CACHE in block for block in blocks if isinstance(block, Mapping))
            blank = any(map(_void_block, blocks)) or any(isinstance(one, str) and one.isspace() for one in said)
            showing = {role for role, content in zip(self.roles, contents, strict=True) if has_media(content)}
            self.pictured, self.illustrated = "tool" in showing, not _TELLERS.isdisjoint(showing)
        self.callers = []
        self.thoughts, self.messages = thoughts_of(self.messages, keys)
        self.ids = []
        self.names = frozenset()
        if "tool_calls" in keys or "tool_call_id" in keys or "tool" in self.speakers:
            self._look_at_calls()
        # A message with calls needs no content.
        self.voids = blank or len(contents) - len(said) > [contents[n] for n in self.callers].count(None)

    @property
    def opening(self) -> bool:
        """Whether the history is only the opening text of a conversation, which no target needs changed."""
        if self.lists or self.voids or self.keys != _TEXT:
            return False
        return self.roles == _PROMPT or self.roles == _INSTRUCTED

    def _normal(self, messages: Sequence[Message], keys: set[str]) -> list[Message]:
        normal = []
        for message in messages:
            changed = normal_message(message)
            if changed is not message:
                keys.update(changed)
            normal.append(changed)
        return normal

    def _look_at_calls(self) -> None:
        """Find the calls, and check whether all calls and results are in order."""
        messages = self.messages
        del self.callers
        self.tidy = self._in_order()
        if self.tidy:
            return
        listed = [messages[n]["tool_calls"] for n in self.callers]
        if any(_sdks(call) for calls in listed if isinstance(calls, list | tuple) for call in calls):
            self.messages = [normal_message(message) for message in messages]
        self.ids = [call.id for call in self.calls]
        self.names = frozenset(call.name for call in self.calls)

    def _in_order(self) -> bool:
        """Whether the history is `tidy`; then its `ids` and `names` are known."""
        messages, roles, ids, names = self.messages, self.roles, list[str](), set[str]()
        try:
            for position in self.callers:
                if roles[position] != "assistant":
                    return False
                for call in messages[position]["tool_calls"]:
                    position += 1
                    id = call["id"]
                    if roles[position] != "tool" or messages[position]["tool_call_id"] != id:
                        return False
                    ids.append(id)
                    names.add(call["function"]["name"])
            "".join(ids), "".join(names)  # a TypeError if one is not a string
        except (IndexError, KeyError, TypeError):
            return False
        known = set(ids)
        if len(known) != len(ids) or "" in known or len(ids) != roles.count("tool"):
            return False
        self.ids, self.names = ids, frozenset(names)
        return True

    @cached_property
    def callers(self) -> list[int]:
        """The positions of the messages with calls."""
        return [n for n, message in enumerate(self.seen) if message.get("tool_calls")]

    @cached_property
    def odd(self) -> bool:
        """Whether a call has no type, or arguments that do not look like a JSON object, by their first and last
        characters."""
        try:
            calls = [call for position in self.callers for call in self.messages[position]["tool_calls"]]
            arguments = list(map(_ARGUMENTS, map(_FUNCTION, calls)))
            return not (set(map(_TYPE, calls)) <= _FUNCTIONS and are_objects(arguments))
        except (KeyError, TypeError, IndexError):
            return True

    @cached_property
    def widest(self) -> int:
        """The length of the longest id; a million if an id has other characters than letters, digits, `_` and `-`."""
        return widest(self.ids)

    @cached_property
    def texts(self) -> bool:
        """Whether each message without calls has a content that is not null or an empty list."""
        return all(message.get("tool_calls") or message.get("content") not in (None, []) for message in self.seen)

    @property
    def last_caller(self) -> int | None:
        """The position of the message whose call the last message answers; None if the last is not a tool result."""
        if not self.roles or self.roles[-1] != "tool":
            return None
        if self.tidy:
            position = len(self.roles) - 2
            while self.roles[position] != "assistant":
                position -= 1
            return position
        number = self.answers.get(len(self.roles) - 1)
        return None if number is None else self.calls[number].position

    @cached_property
    def calls(self) -> tuple[Call, ...]:
        """The tool calls in order."""
        calls: list[Call] = []
        for position, role in enumerate(self.roles):
            if role == "assistant":
                for number, call in enumerate(calls_of(self.messages[position])):
                    if isinstance(call, Mapping):
                        calls.append(Call(position, number, _text(call.get("id")), name_of(call)))
        return tuple(calls)

    @cached_property
    def answers(self) -> dict[int, int | None]:
        """The number of each tool result's call, by the result's position; None: the history has no such call.

        A result belongs to the nearest unanswered call with its id, in order within one message. A result without an
        id, or with an unknown one, belongs to the first call without an id.
        """
        results = [position for position, role in enumerate(self.roles) if role == "tool"]
        if self.tidy:
            return {position: number for number, position in enumerate(results)}
        calls, answers = self.calls, dict[int, int | None]()
        open_calls: list[int] = []
        coming = 0
        for position in results:
            id = _text(self.messages[position].get("tool_call_id"))
            while coming < len(calls) and calls[coming].position < position:
                open_calls.append(coming)
                coming += 1
            found = _nearest(calls, open_calls, id) if id else None
            if found is None:
                found = _nearest(calls, open_calls, "")
            if found is None and not id:
                found = open_calls[0] if open_calls else None
            answers[position] = found
            if found is not None:
                open_calls.remove(found)
        return answers


def _without_writers(messages: Sequence[Message]) -> tuple[list[Message], dict[int, str]]:
    """The messages without the names of their writers, and these by position."""
    plain, writers = list(messages), dict[int, str]()
    for position, message in enumerate(messages):
        if WRITER in message:
            writer = message[WRITER]
            if isinstance(writer, str) and writer:
                writers[position] = writer
            plain[position] = one = dict(message)
            del one[WRITER]
    return plain, writers


_ROLE: Final = itemgetter("role")
_FUNCTION: Final = itemgetter("function")
_ARGUMENTS: Final = itemgetter("arguments")
_TYPE: Final = itemgetter("type")
_FUNCTIONS: Final = frozenset({"function"})
_TEXT: Final = frozenset({"role", "content"})
_PROMPT: Final = ["user"]
_INSTRUCTED: Final = ["system", "user"]


def _lists_or_blanks(contents: Sequence[Any]) -> tuple[bool, bool]:
    """Whether a content is not a string, else whether one is blank."""
    try:
        return False, True in set(map(str.isspace, contents))
    except TypeError:
        return True, False


def _idle(messages: Sequence[Message], keys: Set[str]) -> bool:
    """Whether a message has a call of the functions API, or a key of calls without a call."""
    if "function_call" in keys:
        return True
    return "tool_calls" in keys and any("tool_calls" in message and not message["tool_calls"] for message in messages)


def _known(contents: Sequence[Any]) -> bool:
    """Whether all blocks have a type of OpenAI's shape."""
    try:
        return {
            block["type"] for content in contents if content.__class__ is list for block in content
        } <= PARTS and all(content is None or content.__class__ in _CONTENTS for content in contents)
    except (KeyError, TypeError):
        return False


_CONTENTS: Final = frozenset({str, list})


def _void_block(block: object) -> bool:
    if not isinstance(block, Mapping) or block.get("type") != "text":
        return False
    text = block.get("text")
    return text is None or (isinstance(text, str) and not text.strip())


def _nearest(calls: Sequence[Call], open_calls: Sequence[int], id: str) -> int | None:
    """The first unanswered call with this id in the last message that has one."""
    found: int | None = None
    for number in reversed(open_calls):
        if calls[number].id == id and (found is None or calls[number].position == calls[found].position):
            found = number
    return found


def _sdks(call: object) -> bool:
    """Whether a call is an object of an SDK, which must be converted first."""
    return not isinstance(call, Mapping) and hasattr(call, "model_dump")


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def name_of(call: object) -> str:
    """The name of the called function; empty if it has none."""
    function = call.get("function") if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else ""


def calls_of(message: Message) -> Sequence[Any]:
    """The tool calls of a message; none if they are not a list."""
    calls = message.get("tool_calls")
    return calls if isinstance(calls, list | tuple) else ()
