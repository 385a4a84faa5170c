"""Prepares an answer for delivery: the caller's function names, and call ids that are new to the history."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from .details import is_bound
from .ids import new_ids
from .names import restore_names

Json = dict[str, Any]


def deliver(body: Json, known: Collection[str], original: Mapping[str, str], *, unsigned: bool = False) -> None:
    """Change the body of an answer for delivery, in place.

    `known` are the ids of the history's calls; `original` maps sent function names to the caller's. An entry of
    `reasoning_details` that names a call by its id gets the new id. `unsigned`: signed entries are removed, since the
    request held messages that the caller's history will not hold.
    """
    choices = body.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict):
            continue
        if unsigned:
            _unsign(message)
        if original:
            restore_names(message, original)
        calls = message.get("tool_calls")
        if calls and isinstance(calls, list):
            _number(message, calls, known)


def _unsign(message: Json) -> None:
    details = message.get("reasoning_details")
    if isinstance(details, list):
        kept = [detail for detail in details if not is_bound(detail)]
        if kept:
            message["reasoning_details"] = kept
        else:
            del message["reasoning_details"]


def _number(message: Json, calls: list[Any], known: Collection[str]) -> None:
    changed: dict[str, str] = {}
    for call, id in zip(calls, new_ids(known, calls), strict=True):
        if isinstance(call, dict) and call.get("id") != id:
            if isinstance(call.get("id"), str):
                changed.setdefault(call["id"], id)
            call["id"] = id
    details = message.get("reasoning_details")
    if changed and isinstance(details, list):
        for detail in details:
            if isinstance(detail, dict) and detail.get("id") in changed and not _names_other(detail["id"], calls):
                detail["id"] = changed[detail["id"]]


def _names_other(id: str, calls: list[Any]) -> bool:
    """Whether a call of the answer has kept this id."""
    return any(isinstance(call, dict) and call.get("id") == id for call in calls)
