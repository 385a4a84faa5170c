"""Decides whether a complete body is an answer: one rule for streams and bodies, text, calls, reasoning and media.

`verdict` changes nothing. `judge` brings a body into shape before the verdict, and removes cut-off calls after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from ..failures.classifier import find_error, from_error, from_transport
from ..failures.kinds import Failure, FailureKind, TransportFault
from ..results import Json, ToolCall, Usage, text_of
from .accumulator import is_error
from .finishes import Finish, Meaning, looks_whole, read, word
from .repair import repair

EMPTY_END = "empty_end"
"""Code of an empty answer that ended with `stop`; after a tool result it may be intended."""
EMPTY_LENGTH = "empty_length"
"""Code of an answer whose tokens were used up before any content."""

UNSURE_END = "unsure_end"
"""Code of a text that looks complete, whose server ended the stream or body itself, but gave no finish reason."""
HALF_END = "half_end"
"""Code of such a text that does not look complete."""

_PROSE = frozenset({"text", "output_text", "input_text", "thinking", "redacted_thinking", "reasoning", "summary"})
_MEDIA = ("refusal", "images", "audio")


@dataclass(slots=True)
class Verdict:
    """`failure`: why the body is not an answer. `cut`: tool calls that `length` cut off, by choice and position."""

    failure: Failure | None = None
    cut: tuple[tuple[int, int], ...] = ()


def judge(
    body: Json, *, wants_json: bool, now: float, max_tokens: int | None = None, wanted: int | None = None
) -> tuple[Failure | None, tuple[Json, ...]]:
    """Bring a body into shape, judge it, and remove the tool calls that `length` cut off; returns those too.

    `max_tokens` is the request's limit, `wanted` its number of choices; `now` is the wall clock, for errors that name
    the time of a retry.
    """
    repair(body, max_tokens=max_tokens, wanted=wanted)
    found = verdict(body, wants_json=wants_json, now=now)
    return found.failure, _without(body, found.cut) if found.failure is None else ()


def verdict(body: Json, *, wants_json: bool, now: float) -> Verdict:
    """Judge a body that is in shape."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        error = error_in(body)
        if error is not None:
            return Verdict(from_error(error, now=now))
        return Verdict(from_transport(TransportFault.NO_CHOICES, "the answer has no choices"))
    cut: list[tuple[int, int]] = []
    for number, choice in enumerate(choices):
        failure = _in_error(choice, now) or _ended_without_message(choice) or _unfinished(choice)
        if failure is not None:
            return Verdict(failure)
        finish = read(choice["finish_reason"], choice.get("native_finish_reason"))
        message = choice["message"]
        lost = _incomplete(message)
        failure = (
            _bad_finish(finish)
            or _half_calls(message, lost, finish)
            or _no_call(message, finish)
            or _empty(message, finish, body.get("usage"))
            or _half_text(message, finish)
            or (_not_json(message, finish) if wants_json else None)
        )
        if failure is not None:
            return Verdict(failure)
        cut += [(number, position) for position in lost]
    return Verdict(cut=tuple(cut))


def error_in(payload: Json) -> object | None:
    """The error in a body or chunk, or the body itself if it is one; else None."""
    found = find_error(payload)
    if found:
        return found
    return payload if is_error(payload) else None


def _in_error(choice: Json, now: float) -> Failure | None:
    if choice.get("finish_reason") == "error" or choice.get("error"):
        return from_error(find_error({"choices": [choice]}), now=now)
    return None


def _ended_without_message(choice: Json) -> Failure | None:
    """Azure's and Google's filters leave out the message."""
    finish = choice.get("finish_reason")
    if choice.get("message") is not None or not isinstance(finish, str) or not finish:
        return None
    return _bad_finish(read(finish, choice.get("native_finish_reason")))


def _unfinished(choice: Json) -> Failure | None:
    finish = choice.get("finish_reason")
    if (
        isinstance(finish, str)
        and finish
        and isinstance(choice.get("message"), dict)
        and isinstance(choice.get("index") or 0, int)
    ):
        return None
    return from_transport(TransportFault.NO_FINISH, "")


def _bad_finish(finish: Finish) -> Failure | None:
    if finish.meaning is Meaning.FILTERED:
        return Failure(
            FailureKind.CONTENT_POLICY, "the provider's content filter stopped the answer", code="content_filter"
        )
    if finish.meaning is Meaning.FAILED:
        kind = finish.kind or FailureKind.BAD_ANSWER
        return Failure(
            kind, f"the provider ended the answer early (finish reason {finish.name[:60]})", code="bad_finish"
        )
    return None


def _incomplete(message: Json) -> list[int]:
    """The positions of tool calls that have no name or no complete arguments."""
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise TypeError("the tool calls are not a list")
    return [number for number, call in enumerate(calls) if not _complete(call, number)]


def _complete(call: Any, position: int) -> bool:
    if not isinstance(call, dict) or ToolCall.read(call, position) is None:
        return False
    return bool(call["function"].get("arguments"))


def _half_calls(message: Json, lost: list[int], finish: Finish) -> Failure | None:
    if finish.meaning is Meaning.LENGTH:
        return None
    if lost:
        return from_transport(TransportFault.NO_FINISH, "a tool call's arguments are not complete")
    legacy = message.get("function_call")
    if legacy and ToolCall.read({"function": legacy}, 0) is None:
        return from_transport(TransportFault.NO_FINISH, "a function call's arguments are not complete")
    return None


def _no_call(message: Json, finish: Finish) -> Failure | None:
    if finish.meaning is Meaning.CALLS and not (message.get("tool_calls") or message.get("function_call")):
        return from_transport(TransportFault.EMPTY, "the answer ended with tool calls and holds none")
    return None


def says_something(message: Json) -> bool:
    """Whether a message has content: text other than white space, a call, a refusal or media.

    Reasoning alone does not count.
    """
    content = message.get("content")
    if text_of(content).strip() or message.get("tool_calls") or message.get("function_call"):
        return True
    if any(value.strip() if isinstance(value, str) else value for value in map(message.get, _MEDIA)):
        return True
    return isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") not in _PROSE and part.keys() - {"type", "text"} for part in content
    )


def _empty(message: Json, finish: Finish, usage: object) -> Failure | None:
    if says_something(message):
        return None
    if finish.meaning is Meaning.LENGTH:
        known = Usage.read(usage)
        spent = f" ({known.reasoning_tokens} tokens went into reasoning)" if known and known.reasoning_tokens else ""
        return Failure(
            FailureKind.BAD_ANSWER,
            f"the answer is empty: its tokens were used up before any text{spent}; raise max_tokens or lower the "
            "reasoning effort",
            code=EMPTY_LENGTH,
            harmless=True,
        )
    failure = from_transport(TransportFault.EMPTY, "the answer is empty")
    if finish.meaning is not Meaning.STOP:
        return failure
    return Failure(failure.kind, failure.message, code=EMPTY_END)


def _half_text(message: Json, finish: Finish) -> Failure | None:
    """The failure for an unknown finish reason with a text that ends in the middle of a sentence."""
    if finish.meaning is not Meaning.UNKNOWN or message.get("tool_calls"):
        return None
    text = text_of(message.get("content"))
    if not text or looks_whole(text):
        return None
    return Failure(
        FailureKind.BAD_ANSWER,
        f"the answer looks unfinished, and its finish reason is not known ({finish.name[:60]})",
        code="bad_finish",
    )


def _not_json(message: Json, finish: Finish) -> Failure | None:
    text = text_of(message.get("content"))
    if finish.meaning is Meaning.LENGTH or not text or message.get("tool_calls"):
        return None
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return Failure(FailureKind.BAD_ANSWER, "the request wants JSON and the answer is not JSON", harmless=True)
    return None


def _without(body: Json, cut: tuple[tuple[int, int], ...]) -> tuple[Json, ...]:
    """Remove the cut-off calls from the body's messages; returns them."""
    taken: list[Json] = []
    for number, choice in enumerate(body["choices"]):
        message = choice["message"]
        lost = {position for where, position in cut if where == number}
        if lost:
            calls = message["tool_calls"]
            taken += [calls[position] for position in sorted(lost)]
            message["tool_calls"] = [call for position, call in enumerate(calls) if position not in lost]
            if not message["tool_calls"]:
                del message["tool_calls"]
        legacy = message.get("function_call")
        if legacy and ToolCall.read({"function": legacy}, 0) is None:
            taken.append({"type": "function", "function": message.pop("function_call")})
    return tuple(taken)


def finished(body: Json) -> bool:
    """Whether a complete body has choices, each with a finish reason: then an error beside them does not count."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(choice, dict) and _finished(choice.get("finish_reason")) for choice in choices)


def _finished(finish: object) -> bool:
    return bool(word(finish)) if isinstance(finish, str | dict) else bool(finish)


def without_finish(body: Json, delivered: str, *, wants_json: bool, now: float) -> str | None:
    """The code of a body that would be an answer with `stop`, but has no finish reason; None for any other body.

    `delivered` is the text before a continuation, which may have nothing to add. Tool calls need their finish.
    """
    choices = body["choices"]
    if len(choices) != 1 or _finished(choices[0].get("finish_reason")):
        return None
    message = choices[0].get("message")
    if not isinstance(message, dict) or message.get("tool_calls") or message.get("function_call"):
        return None
    stopped = {**body, "choices": [{**choices[0], "finish_reason": "stop"}]}
    failure = verdict(stopped, wants_json=wants_json, now=now).failure
    if failure is not None and not (failure.code == EMPTY_END and delivered):
        return None
    return UNSURE_END if looks_whole(delivered + text_of(message.get("content"))) else HALF_END
