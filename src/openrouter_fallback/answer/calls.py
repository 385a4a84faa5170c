"""Assembles tool calls from their deltas. Time is linear in the bytes: the parts of arguments are joined once.

Deltas with one `index` or one `id` belong to one call; a delta without both belongs to the previous call. A delta with
a name begins a call if the previous call is complete. An ambiguous delta raises ValueError: a call with a name or
arguments that the model did not write would be worse than a failed attempt.

A name comes complete, in parts, repeated, or longer in each delta. If two readings are possible, the function that the
request offers is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import orjson

Json = dict[str, Any]

_OWN: Final = frozenset({"id", "index", "type", "function"})
_MAX_NAME: Final = 1024
_MAX_CHECKS: Final = 16

ARGUMENTS: Final = ("arguments", "parameters", "input", "args")
"""The names under which servers send the arguments of a call, OpenAI's first: Cohere's, Anthropic's, gateways'."""

Offered = Callable[[], frozenset[str]]
"""Returns the functions that the request offers, by the names that the model was sent."""


def nothing_offered() -> frozenset[str]:
    """No function is known."""
    return frozenset()


class _Call:
    __slots__ = ("arguments", "checks", "fields", "function", "name", "parts", "said", "size")

    def __init__(self) -> None:
        self.fields: Json = {}
        self.function: Json = {}
        self.name = ""
        self.parts: str | None = ""  # the name, if it came in parts; None: too long for a name
        self.arguments: list[str] = []
        """The parts of the arguments; no part is empty."""
        self.size = 0
        """Characters of the arguments, for checks that need not join the parts."""
        self.said = False
        self.checks = 0

    @property
    def begun(self) -> bool:
        return bool(self.arguments)

    @property
    def placeholder(self) -> bool:
        """Whether the arguments so far are `{}`: some servers begin every call with this."""
        return self.size < 16 and "".join(self.arguments).strip() == "{}"

    @property
    def hollow(self) -> bool:
        """Whether the model has written no part of the call."""
        return not (self.name or self.begun or any(self.fields.get(key) for key in self.fields if key not in _OWN))

    def complete(self) -> bool:
        """Whether the arguments so far are a JSON object."""
        if not self.arguments or not self.arguments[-1].rstrip().endswith("}"):
            return False
        self.checks += 1
        if self.checks > _MAX_CHECKS:
            raise ValueError("a tool call repeats its name too often")
        try:
            return isinstance(orjson.loads("".join(self.arguments)), dict)
        except orjson.JSONDecodeError:
            return False

    def repeated(self, name: str, arguments: object) -> bool:
        """Whether the delta repeats the whole call."""
        text = _text(arguments)
        return (
            name == self.name
            and len(text) == self.size
            and text.lstrip().startswith("{")
            and text == "".join(self.arguments)
            and self.complete()
        )

    def add_name(self, name: str) -> None:
        """Append a part of the name. A part that begins with the name so far replaces the name."""
        if self.begun:
            if name != self.name:
                raise ValueError("a tool call changes its name")
            return
        grown = name if name.startswith(self.name) else self.name + name
        if len(grown) > _MAX_NAME:
            raise ValueError("the name of a tool call is too long")
        if self.parts is not None:
            self.parts = self.parts + name if len(self.parts) + len(name) <= _MAX_NAME else None
        self.name = grown

    def add_arguments(self, arguments: object) -> None:
        if arguments is not None:
            self.said = True
            text = _text(arguments)
            if text:
                self.arguments.append(text)
                self.size += len(text)

    def add_fields(self, part: Json, function: Json) -> None:
        for key, value in part.items():
            if key != "function" and (key not in self.fields or (value is not None and not self.fields[key])):
                self.fields[key] = value
        for key, value in function.items():
            if key != "name" and key not in ARGUMENTS and not self.function.get(key):
                self.function[key] = value

    def as_dict(self, offered: Offered) -> Json:
        name = self.name
        parts = self.parts
        if parts is not None and name != parts and name not in (known := offered()) and parts in known:
            name = parts
        function = {**({"name": name} if name else {}), **self.function}
        if self.said:
            function["arguments"] = "".join(self.arguments)
        return {**self.fields, "function": function}


class Calls:
    """The tool calls of one choice."""

    __slots__ = ("_by_id", "_by_index", "_calls")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int | str, _Call] = {}
        self._by_id: dict[str, _Call] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, parts: list[Any]) -> bool:
        """Merge the entries of one delta. Returns whether they hold content of the model."""
        if len(parts) == 1:
            return isinstance(parts[0], dict) and self._add(parts[0])
        token = False
        seen: set[tuple[int | str | None, str]] = set()
        for position, part in enumerate(parts):
            if isinstance(part, dict):
                place = _index(part.get("index")), str(part.get("id") or "")
                token = self._add(part, later=position > 0, twice=place in seen) or token
                seen.add(place)
        return token

    def _add(self, part: Json, *, later: bool = False, twice: bool = False) -> bool:
        """Merge one entry. `later`: it is not the delta's first; `twice`: an earlier one has the same index and id."""
        function = part.get("function")
        function = function if isinstance(function, dict) else {}
        name, arguments = function.get("name"), function.get("arguments")
        if arguments is None:
            arguments = arguments_of(function)
        name = name if isinstance(name, str) else ""
        call_id = part.get("id")
        call_id = call_id if isinstance(call_id, str) else ""
        index = _index(part.get("index"))
        if not (name or arguments or call_id or index is not None or part.keys() - _OWN):
            return False
        call = self._find(index, call_id, name, arguments, later=later, twice=twice)
        if call is None:
            call = _Call()
            self._calls.append(call)
        elif name and not twice and call.repeated(name, arguments):
            return True
        if index is not None:
            self._by_index[index] = call
        if call_id:
            self._by_id[call_id] = call
        call.add_fields(part, function)
        if name:
            call.add_name(name)
        call.add_arguments(arguments)
        return bool(name or arguments or not _OWN.issuperset(part))

    def _find(
        self, index: int | str | None, call_id: str, name: str, arguments: object, *, later: bool, twice: bool
    ) -> _Call | None:
        """The call to which a part belongs; None: the part begins a call."""
        if index is None:
            if call_id:
                call = self._by_id.get(call_id)
                return None if call is not None and name and self._anew(call, name, arguments, twice) else call
            call = self._calls[-1] if self._calls else None
            return None if call is None or (name and (later or self._anew(call, name, arguments))) else call
        call = self._by_index.get(index)
        if call is None:
            return None if name or not call_id else self._by_id.get(call_id)
        known = call.fields.get("id")
        if call_id and known and call_id != known:
            # Some servers send every call with index 0: a new id with a name begins a new call.
            return None if name else call
        return None if name and not call_id and self._anew(call, name, arguments, twice) else call

    def _anew(self, call: _Call, name: str, arguments: object, twice: bool = False) -> bool:
        """Whether a part with a name begins another call: the previous call is complete, and this is no repetition.

        One delta repeats nothing: two equal entries in it (`twice`) are two calls.
        """
        if not call.begun or (name == call.name and not _text(arguments).lstrip().startswith("{")):
            return False
        if not call.complete() or (call.repeated(name, arguments) and not twice):
            return False
        if name == call.name and call.placeholder:
            raise ValueError("a tool call is opened with {}, or followed by another one of the same name")
        return True

    def as_list(self, offered: Offered = nothing_offered) -> list[Json]:
        """The calls, without those of which the model has written no part."""
        return [call.as_dict(offered) for call in self._calls if not call.hollow]


def arguments_of(function: Json) -> object:
    """The arguments under the first name that has any; under another name than OpenAI's only an object is taken."""
    found = function.get("arguments")
    if found is not None:
        return found
    return next((found for name in ARGUMENTS[1:] if isinstance(found := function.get(name), dict)), None)


def _text(arguments: object) -> str:
    """Arguments as text: some servers send the object itself."""
    if isinstance(arguments, str):
        return arguments
    return "" if arguments is None else orjson.dumps(arguments).decode()


def _index(value: object) -> int | str | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        return int(value) if value.isdecimal() and len(value) < 19 else value
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, float) and value.is_integer() else None
