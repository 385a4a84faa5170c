"""The verdict on a whole body: an answer, or a failure."""

from __future__ import annotations

import orjson

from ..failures.classifier import find_error, from_error, from_transport
from ..failures.kinds import Failure, FailureKind, TransportFault
from ..results import Json, ToolCall, text_of


def _fault(fault: TransportFault, detail: str) -> Failure:
    return from_transport(fault, detail)


def finished(body: Json) -> bool:
    """Whether a whole body has choices and each of them a finish reason: then an error beside them changes nothing."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices:
        return False
    return all(isinstance(choice, dict) and choice.get("finish_reason") for choice in choices)


def judge(body: Json, *, wants_json: bool, now: float) -> tuple[Failure | None, tuple[Json, ...]]:
    """Whether a whole body is an answer; a failure says why not. Also returns the tool calls that `length` cut off.

    Calls that `finish_reason: length` cut off are taken out of the body's messages; missing arguments become `{}`.
    """
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not all(isinstance(choice, dict) for choice in choices):
        error = find_error(body)
        if error is not None:
            return from_error(error, now=now), ()
        return _fault(TransportFault.NO_CHOICES, "the answer has no choices"), ()
    invalid: list[Json] = []
    for choice in choices:
        failure = _judge_choice(choice, invalid, wants_json=wants_json, now=now)
        if failure is not None:
            return failure, ()
    return None, tuple(invalid)


def _judge_choice(choice: Json, invalid: list[Json], *, wants_json: bool, now: float) -> Failure | None:
    finish = choice.get("finish_reason")
    message = choice.get("message")
    if finish == "error" or (choice.get("error") is not None and finish is None):
        return from_error(find_error({"choices": [choice]}), now=now)
    if (
        not isinstance(finish, str)
        or not finish
        or not isinstance(message, dict)
        or not isinstance(choice.get("index") or 0, int)
    ):
        return _fault(TransportFault.NO_FINISH, "the answer stopped without a finish reason")
    if finish == "content_filter":
        return Failure(
            FailureKind.CONTENT_POLICY, "the provider's content filter stopped the answer", code="content_filter"
        )
    calls = message.get("tool_calls")
    if calls:
        good = []
        for position, call in enumerate(calls):
            read = ToolCall.read(call, position) if isinstance(call, dict) else None
            last_and_empty = position == len(calls) - 1 and not (call.get("function") or {}).get("arguments")
            if read is None or (finish == "length" and last_and_empty):
                if finish != "length":
                    return _fault(TransportFault.NO_FINISH, "a tool call's arguments are not complete")
                invalid.append(call)
            else:
                if not call["function"].get("arguments"):
                    call["function"]["arguments"] = "{}"
                good.append(call)
        if good:
            message["tool_calls"] = good
        else:
            del message["tool_calls"]
    legacy = message.get("function_call")
    if legacy and ToolCall.read({"function": legacy}, 0) is None:
        if finish != "length":
            return _fault(TransportFault.NO_FINISH, "a function call's arguments are not complete")
        invalid.append({"type": "function", "function": message.pop("function_call")})
    if finish == "length":
        return None
    text = text_of(message.get("content"))
    answered = text or any(message.get(key) for key in ("tool_calls", "refusal", "images", "audio", "function_call"))
    if not answered and not (message.get("content") and isinstance(message["content"], list)):
        return _fault(TransportFault.EMPTY, "the answer is empty")
    if wants_json and text and not message.get("tool_calls"):
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            return Failure(FailureKind.BAD_ANSWER, "JSON was asked for and the answer is not JSON", harmless=True)
    return None
