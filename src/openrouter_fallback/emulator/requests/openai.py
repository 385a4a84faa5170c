"""The histories that OpenAI's servers refuse. The check of encrypted reasoning also applies to xAI."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ..answers import signatures
from .history import Complaint, History

_ID_LENGTH = 40
_NAME_LENGTH = 64
_NAME = re.compile(r"[a-zA-Z0-9_-]+")
_SPEAKER = re.compile(r"[^\s<|\\/>]+")


def _length(value: str, most: int, param: str) -> Complaint | None:
    if not value:
        words = f"Invalid '{param}': empty string. Expected a string with minimum length 1, but got an empty string"
        return Complaint(f"{words} instead.", param, "empty_string")
    if len(value) > most:
        words = f"Invalid '{param}': string too long. Expected a string with maximum length {most}, but got a string"
        return Complaint(f"{words} with length {len(value)} instead.", param, "string_above_max_length")
    return None


def _pattern(value: str, pattern: re.Pattern[str], param: str) -> Complaint | None:
    if pattern.fullmatch(value):
        return None
    words = f"Invalid '{param}': string does not match pattern. Expected a string that matches the pattern"
    return Complaint(f"{words} '^{pattern.pattern}$'.", param, "invalid_value")


def ids(history: History) -> Complaint | None:
    return next(filter(None, _ids(history)), None)


def _ids(history: History) -> Iterator[Complaint | None]:
    for index, message in enumerate(history.messages):
        for position, call in enumerate(message.get("tool_calls") or ()):
            yield _length(call["id"], _ID_LENGTH, f"messages[{index}].tool_calls[{position}].id")
        if message["role"] == "tool":
            yield _length(message["tool_call_id"], _ID_LENGTH, f"messages[{index}].tool_call_id")


def lists(history: History) -> Complaint | None:
    """A message without calls has no list of them."""
    for index, message in enumerate(history.messages):
        if message.get("tool_calls") == []:
            param = f"messages[{index}].tool_calls"
            words = f"Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array"
            return Complaint(f"{words} instead.", param, "empty_array")
    return None


def names(history: History) -> Complaint | None:
    """The names of called functions in the history."""
    for index, position, call in history.calls():
        param = f"messages[{index}].tool_calls[{position}].function.name"
        name = call["function"]["name"]
        found = _length(name, _NAME_LENGTH, param) or _pattern(name, _NAME, param)
        if found:
            return found
    return None


def speakers(history: History) -> Complaint | None:
    """The names of speakers, `message.name`."""
    for index, message in enumerate(history.messages):
        name = message.get("name")
        if isinstance(name, str):
            param = f"messages[{index}].name"
            found = _length(name, _NAME_LENGTH, param) or _pattern(name, _SPEAKER, param)
            if found:
                return found
    return None


def results(history: History) -> Complaint | None:
    """The order of tool calls and results: the rule of the generic check, but the error names the place."""
    waiting: list[str] = []
    asked = 0
    for index, message in enumerate(history.messages):
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting:
                words = "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with"
                return Complaint(f"{words} 'tool_calls'.", f"messages.[{index}].role")
            waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            break
        if message.get("tool_calls"):
            asked, waiting = index, [call["id"] for call in message["tool_calls"]]
    if not waiting:
        return None
    words = "An assistant message with 'tool_calls' must be followed by tool messages responding to each"
    left = ", ".join(waiting)
    param = f"messages.[{asked + 1}].role"
    return Complaint(
        f"{words} 'tool_call_id'. The following tool_call_ids did not have response messages: {left}", param
    )


def images(history: History) -> Complaint | None:
    """Images are allowed in user messages only."""
    for index, message in enumerate(history.messages):
        content = message.get("content")
        if message["role"] == "user" or not isinstance(content, list):
            continue
        if any(part["type"] == "image_url" for part in content):
            words = (
                f"Invalid 'messages[{index}]'. Image URLs are only allowed for messages with role 'user', but this "
                f"message with role '{message['role']}' contains an image URL."
            )
            return Complaint(words, f"messages[{index}]", "invalid_value")
    return None


def items(history: History) -> Complaint | None:
    """An item id that no response has stored needs the item's encrypted content."""
    for _, detail in history.details():
        if str(detail.get("id") or "").startswith("rs_") and not detail.get("data"):
            words = (
                f"Item with id '{detail['id']}' not found. Items are not persisted when `store` is set to false. Try "
                "again with `store` set to true, or remove this item from your input."
            )
            return Complaint(words, "input", status=404)
    return None


def encrypted(history: History) -> Complaint | None:
    """Encrypted reasoning is valid only for the account and the provider that encrypted it."""
    for _, detail in history.details():
        data = detail.get("data") or detail.get("signature")
        if data and not signatures.opens(data, history.family, history.account, history.host.name):
            words = f"The encrypted content {str(data)[:4]}...{str(data)[-4:]} could not be verified."
            return Complaint(words, None, "invalid_encrypted_content")
    return None
