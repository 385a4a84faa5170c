"""Ids of tool calls: in the form that a target accepts, and as an answer's ids are delivered.

A sent id is a function of the target's form, the id and its occurrence in the history: the same over turns, processes
and resumed checkpoints, and unchanged if it has the form already. No two calls share a sent id.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from .history import Call, History, Message, calls_of
from .rules import IdForm

_LETTERS: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_LENGTH: Final = 24


def wire_ids(form: IdForm, calls: Sequence[Call], names: Mapping[str, str]) -> list[str]:
    """The ids of all calls of a history in the target's form; `names` are translated function names."""
    if form.counted:
        return [f"functions.{names.get(call.name, call.name) or 'call'}:{n}" for n, call in enumerate(calls)]
    pattern = _compiled(form.pattern)
    seen: Counter[str] = Counter()
    ids: list[str] = []
    anew: list[int] = []
    for number, call in enumerate(calls):
        if not call.id or seen[call.id] or pattern.fullmatch(call.id) is None:
            anew.append(number)
            ids.append(f"{seen[call.id]}:{call.id}")
        else:
            ids.append(call.id)
        seen[call.id] += 1
    if anew:
        changed = set(anew)
        taken = {id for number, id in enumerate(ids) if number not in changed}
        for number in anew:
            ids[number] = _made(form, ids[number], taken)
            taken.add(ids[number])
    return ids


def holds(form: IdForm, history: History, names: Mapping[str, str]) -> bool:
    """Whether the ids of a tidy history, none of which is empty, already have the form."""
    if form.counted:
        return list(history.ids) == wire_ids(form, history.calls, names)
    if history.widest <= form.words:
        return True
    # One match for all ids: no form allows control characters.
    ids = "\0".join(history.ids)
    return _compiled(f"{form.pattern}(?:\0{form.pattern})*").fullmatch(ids) is not None


def orphan_id(form: IdForm, id: str) -> str:
    """The id of a result without a call."""
    return id if id and not form.counted and _compiled(form.pattern).fullmatch(id) else _made(form, f"0:{id}", set())


def delivered_ids(history: Sequence[Message], calls: Sequence[Any]) -> list[str]:
    """The ids with which an answer's `calls` (entries of `tool_calls`) are delivered.

    The model's id is kept, unless it is missing or already occurs in the request's history or earlier in the answer.
    Then it becomes `call_` and 24 letters or digits, a function of the history's calls and the answer's.
    """
    return new_ids({id for message in history for call in calls_of(message) if (id := _id(call))}, calls)


def new_ids(known: Collection[str], calls: Sequence[Any]) -> list[str]:
    """As `delivered_ids`, from the ids of the history's calls (`known`)."""
    taken = set(known)
    before = len(taken)
    ids: list[str] = []
    for number, call in enumerate(calls):
        id = _id(call)
        if not id or id in taken:
            function = call.get("function") if isinstance(call, Mapping) else None
            id = _made(IdForm(""), f"{before}:{number}:{id}:{function}", taken)
        taken.add(id)
        ids.append(id)
    return ids


def _id(call: object) -> str:
    id = call.get("id") if isinstance(call, Mapping) else None
    return id if isinstance(id, str) else ""


def _made(form: IdForm, seed: str, taken: set[str]) -> str:
    salt = 0
    while True:
        digits = _digits(seed if not salt else f"{salt}#{seed}")
        id = digits[:9] if form.make == "nine" else f"call_{digits[:_LENGTH]}"
        if id not in taken:
            return id
        salt += 1


def _digits(seed: str) -> str:
    number = int.from_bytes(hashlib.sha256(seed.encode("utf-8", "surrogatepass")).digest(), "big")
    letters = []
    for _ in range(_LENGTH):
        number, rest = divmod(number, len(_LETTERS))
        letters.append(_LETTERS[rest])
    return "".join(letters)


@lru_cache(maxsize=32)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL)
