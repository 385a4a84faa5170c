"""Brings a decoded body into OpenAI's documented shape: drops fields of wrong types, translates foreign words.

The model's own text is not changed. All later readers, also in the two framework packages, may rely on this:
`refusal` is text, `images`, `annotations` and `reasoning_details` are lists of objects, `audio` and `logprobs` are
objects, a tool call is an object with an object `function` whose `arguments` are text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ..figures import number, used_up
from ..results import Json
from .calls import ARGUMENTS, arguments_of
from .finishes import WORDS, Meaning, read, word


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _text_or_parts(value: object) -> str | list[Any] | None:
    if isinstance(value, list):
        return [part for part in value if isinstance(part, dict | str)]
    return _text(value)


def _objects(value: object) -> list[Any]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _images(value: object) -> list[Any]:
    return [image for image in _objects(value) if isinstance(image.get("image_url") or {}, dict)]


def _object(value: object) -> Json | None:
    return value if isinstance(value, dict) else None


def _audio(value: object) -> Json | None:
    audio = _object(value)
    return None if audio is None else {k: v for k, v in audio.items() if k == "expires_at" or isinstance(v, str)}


_FIELDS: Final[Mapping[str, Callable[[object], Any]]] = {
    "content": _text_or_parts,
    "reasoning": _text_or_parts,
    "reasoning_content": _text_or_parts,
    "refusal": _text,
    "images": _images,
    "annotations": _objects,
    "reasoning_details": _objects,
    "audio": _audio,
    "function_call": _object,
}
"""The type of each field of a message; a value of another type becomes None, or is dropped from its list."""


def repair(body: Json, *, max_tokens: int | None = None, wanted: int | None = None) -> None:
    """Bring a body into shape, in place.

    `max_tokens`: the request's limit, to fill in a missing finish reason. `wanted`: the number of choices in the
    request; with 1, choices of one index are parts of one answer.
    """
    choices = body.get("choices")
    choices = choices if isinstance(choices, list) else []
    if wanted == 1 and len(choices) > 1:
        body["choices"] = choices = _joined(choices)
    if not isinstance(body.get("usage"), dict) and (found := _usage_elsewhere(body, choices)):
        body["usage"] = found
    for choice in choices:
        if not isinstance(choice, dict):
            continue
        finish = choice.get("finish_reason")
        if isinstance(finish, str | dict) and (said := word(finish)) != finish:
            choice["finish_reason"] = finish = said
        if finish is None and used_up(body.get("usage"), max_tokens):
            choice["finish_reason"] = "length"
        meaning = _repair_finish(choice)
        if not _good_logprobs(choice.get("logprobs")):
            choice["logprobs"] = None
        message = choice.get("message")
        if isinstance(message, dict):
            _repair_message(message, cut_off=meaning is Meaning.LENGTH)


def _joined(choices: list[Any]) -> list[Any]:
    """The choices, those of one index as one: GitHub Copilot sends text and calls apart (nanobot#1555)."""
    found: dict[object, Any] = {}
    for choice in choices:
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(message, dict) or not isinstance(message.get("content") or "", str):
            return choices
        first = found.setdefault(str(choice.get("index") or 0), choice)
        if first is choice:
            continue
        into = first["message"]
        for key, value in message.items():
            here = into.get(key)
            both = type(here) is type(value) and isinstance(value, str | list) and key != "role"
            if value and (not here or both):
                into[key] = here + value if here else value
        if choice.get("finish_reason"):
            meanings = (first.get("finish_reason"), choice["finish_reason"])
            first["finish_reason"] = next(
                (one for one in meanings if isinstance(one, str) and read(one).meaning not in WORDS),
                "tool_calls" if into.get("tool_calls") else choice["finish_reason"],
            )
    return list(found.values())


def _usage_elsewhere(body: Json, choices: list[Any]) -> Json | None:
    """Usage from the places of Groq (`x_groq`) and Moonshot (the last choice)."""
    for place in (body.get("x_groq"), *choices):
        if isinstance(place, dict) and isinstance(place.get("usage"), dict):
            return dict(place["usage"])
    return None


def _repair_finish(choice: Json) -> Meaning | None:
    """Replace a foreign finish reason by OpenAI's word for it; the foreign word becomes the native reason."""
    finish, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    if not isinstance(finish, str) or not finish:
        return None
    meaning = read(finish, native).meaning
    word = WORDS.get(meaning)
    if word is not None and word != finish and not (meaning is Meaning.CALLS and finish == "function_call"):
        choice["finish_reason"] = word
        if not native:
            choice["native_finish_reason"] = finish
    return meaning


def _good_logprobs(logprobs: object) -> bool:
    if logprobs is None:
        return True
    if not isinstance(logprobs, dict):
        return False
    return all(_good_tokens(logprobs[key]) for key in ("content", "refusal") if logprobs.get(key) is not None)


def _good_tokens(found: object) -> bool:
    if not isinstance(found, list):
        return False
    return all(
        isinstance(one, dict)
        and isinstance(one.get("token"), str)
        and number(one.get("logprob")) is not None
        and isinstance(one.get("bytes") or [], list)
        and _good_tokens(one.get("top_logprobs") or [])
        for one in found
    )


def _repair_message(message: Json, *, cut_off: bool) -> None:
    for key, shape in _FIELDS.items():
        if message.get(key) is not None:
            value = message[key]
            shaped = shape(value)
            if shaped != value:
                message[key] = shaped
    if "tool_calls" in message:
        given = message["tool_calls"]
        calls = _calls(given, cut_off=cut_off)
        if calls:
            message["tool_calls"] = calls
        elif isinstance(given, list | dict) and given:
            del message["tool_calls"]  # of another type they stay, and are judged
    legacy = message.get("function_call")
    if legacy:
        message["function_call"] = _function(legacy, cut_off=cut_off)


def _calls(calls: object, *, cut_off: bool) -> list[Any]:
    """The calls with content of the model, their arguments as text."""
    if isinstance(calls, dict):
        calls = [calls]
    found = [call for call in calls if isinstance(call, dict) and not _hollow(call)] if isinstance(calls, list) else []
    return [
        {**call, "function": _function(call["function"], cut_off=cut_off and position == len(found) - 1)}
        if isinstance(call.get("function"), dict)
        else call
        for position, call in enumerate(found)
    ]


def _hollow(call: Json) -> bool:
    function = call.get("function")
    if isinstance(function, dict) and (function.get("name") or arguments_of(function)):
        return False
    return not any(value for key, value in call.items() if key not in ("id", "index", "type", "function"))


def _function(function: Json, *, cut_off: bool) -> Json:
    """The function with its arguments as text: no arguments, null, "null" and an empty list become `{}`.

    If the answer was cut off (`cut_off`), missing arguments of the last call stay missing.
    """
    arguments = arguments_of(function)
    if isinstance(arguments, dict) and "arguments" not in function:
        function = {key: value for key, value in function.items() if key not in ARGUMENTS}
    if isinstance(arguments, str) and _ODD.search(arguments):
        return {**function, "arguments": _object_in(arguments) or arguments}
    if arguments == []:
        return {**function, "arguments": "{}"}
    if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
        return function if cut_off else {**function, "arguments": "{}"}
    if isinstance(arguments, dict):
        return {**function, "arguments": orjson.dumps(arguments).decode()}
    return function


_ODD: Final = re.compile(r"\A\s*[^\s{]|\}\s*\{")
_NOTHING: Final = frozenset({"null", "None", "undefined", "[]"})


def _object_in(text: str) -> str | None:
    """The object in malformed arguments; None if it is not certain.

    Known cases: a word for null instead of `{}`; the object encoded twice; `{}` or `null` at the beginning of every
    call (litellm#4537, ogx#5462); the whole object repeated after its parts (codex-lb#284, eliza#16973).
    """
    text = text.strip()
    if text in _NOTHING:
        return "{}"
    if text.startswith("null{"):
        text = text[4:]
    try:
        value, end = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return None
    rest = text[end:].strip()
    if isinstance(value, str):
        return None if rest or not value.strip().startswith("{") else value
    if not isinstance(value, dict):
        return None
    if not value and rest:
        return _object_in(rest) if rest.startswith("{") else None
    first = text[:end]
    while rest.startswith(first):
        rest = rest[len(first) :].strip()
    return None if rest else first


_DECODER: Final = json.JSONDecoder()
