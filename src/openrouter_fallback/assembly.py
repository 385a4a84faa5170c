"""Deltas become one body, and a body is judged: an answer, or a failure.

A streamed answer assembles to the body that the same request would have given unstreamed.
"""

from __future__ import annotations

from typing import Any

import orjson

from .completions import Json, ToolCall, text_of
from .diagnosis import find_error, from_error, from_transport
from .failures import Failure, FailureKind, TransportFault

TEXT, REASONING, TOOL, MEDIA, FINISH, ERROR, OTHER = 1, 2, 4, 8, 16, 32, 64
TOKEN = TEXT | REASONING | TOOL | MEDIA
"""What counts as a token: not a role, not an empty delta, not a keep-alive."""

_JOINED = {"content": TEXT, "reasoning": REASONING, "reasoning_content": REASONING, "refusal": MEDIA}
_LISTS = {"annotations": OTHER, "images": MEDIA}
_CHUNK_ONLY = frozenset({"choices", "object", "error"})


class _Choice:
    __slots__ = ("audio", "details", "extra", "finish", "lists", "logprobs", "order", "outer", "texts", "tools")

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.lists: dict[str, list[Any]] = {}
        self.details: list[Json] = []
        self.tools: list[Json] = []
        self.order: dict[object, Json] = {}
        self.audio: Json = {}
        self.extra: Json = {}
        self.outer: Json = {}
        self.logprobs: Json | None = None
        self.finish: str | None = None


class Assembler:
    """Collects the chunks of one stream.

    `add` returns flags that say what the chunk carried, so that the caller need not look again.
    """

    __slots__ = ("_begun", "_choices", "_finished", "_head", "_keys", "partial_tokens")

    def __init__(self) -> None:
        self._choices: dict[int, _Choice] = {}
        self._head: Json = {}
        self._keys: object = None
        self._begun = self._finished = 0

    @property
    def finished(self) -> bool:
        """Whether every choice that has begun has a finish reason."""
        return self._begun > 0 and self._finished == self._begun

    @property
    def begun(self) -> bool:
        """Whether any choice has begun."""
        return self._begun > 0

    @property
    def open_tool_call(self) -> bool:
        """Whether an unfinished choice is in the middle of a tool call."""
        return any(choice.tools and choice.finish is None for choice in self._choices.values())

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        choice = self._choices.get(0)
        return "".join(choice.texts.get("content", ())) if choice else ""

    @property
    def usage(self) -> object:
        """The `usage` object, if it has come."""
        return self._head.get("usage")

    @property
    def generation_id(self) -> str | None:
        """The answer's id."""
        return self._head.get("id")

    def add(self, chunk: Json) -> int:
        """Merge one decoded chunk."""
        flags = 0
        if chunk.keys() != self._keys or "usage" in chunk:
            self._keys = chunk.keys()
            if chunk.get("error") is not None:
                flags = ERROR
            head = self._head
            for key, value in chunk.items():
                if (
                    key not in _CHUNK_ONLY
                    and (value is not None or key not in head)
                    and (key not in head or head[key] is None or key not in ("id", "model", "created", "provider"))
                ):
                    head[key] = value
        elif chunk.get("error") is not None:
            flags = ERROR
        choices = chunk.get("choices")
        if choices:
            for choice in choices:
                flags |= self._add_choice(choice)
        return flags

    def _add_choice(self, choice: Json) -> int:
        index = choice.get("index") or 0
        state = self._choices.get(index)
        if state is None:
            if not isinstance(index, int):
                raise TypeError("the index of a choice is not a number")
            state = self._choices[index] = _Choice()
            self._begun += 1
        flags = 0
        delta = choice.get("delta")
        if delta:
            for key, value in delta.items():
                if value is None or value == "" or value == []:
                    if key != "role":
                        state.extra.setdefault(key, value)
                elif (flag := _JOINED.get(key)) is not None and isinstance(value, str):
                    parts = state.texts.get(key)
                    if parts is None:
                        state.texts[key] = [value]
                    else:
                        parts.append(value)
                    flags |= flag
                elif key != "role":
                    flags |= self._add_other(state, key, value)
        finish = choice.get("finish_reason")
        if finish not in (None, "") and state.finish is None:
            if finish == "error" or choice.get("error") is not None:
                return flags | ERROR
            if not isinstance(finish, str):
                raise TypeError("a finish reason is not a string")
            state.finish = finish
            self._finished += 1
            flags |= FINISH
        if len(choice) > 3:
            for key, value in choice.items():
                if key == "logprobs" and value:
                    state.logprobs = _merge_logprobs(state.logprobs, value)
                    flags |= OTHER
                elif key not in ("index", "delta", "message", "finish_reason", "logprobs", "error") and (
                    value is not None or key not in state.outer
                ):
                    state.outer[key] = value
        if choice.get("error") is not None and state.finish is None:
            flags |= ERROR
        return flags

    def _add_other(self, state: _Choice, key: str, value: Any) -> int:
        if key == "tool_calls" and isinstance(value, list):
            for call in value:
                _merge_call(state, call)
            return TOOL
        if key == "reasoning_details" and isinstance(value, list):
            for detail in value:
                _merge_detail(state.details, detail)
            return REASONING
        if (flag := _LISTS.get(key)) is not None and isinstance(value, list):
            state.lists.setdefault(key, []).extend(value)
            return flag
        if key == "audio" and isinstance(value, dict):
            for name, part in value.items():
                joins = name in ("data", "transcript") and isinstance(part, str)
                state.audio[name] = state.audio.get(name, "") + part if joins else part
            return MEDIA
        if key == "content" and (text := text_of(value)):
            # Some servers stream parts where OpenRouter streams strings.
            state.texts.setdefault(key, []).append(text)
            return TEXT
        if key == "function_call" and isinstance(value, dict):
            known = state.extra.get(key) or {}
            whole = (known.get("arguments") or "") + (value.get("arguments") or "")
            state.extra[key] = {**known, **{k: v for k, v in value.items() if v is not None}, "arguments": whole}
            return TOOL
        state.extra[key] = value
        return OTHER

    def body(self) -> Json:
        """The assembled body, as the unstreamed request would have returned it."""
        head = {key: value for key, value in self._head.items() if key != "usage"}
        body: Json = {"id": None, **head, "object": "chat.completion"}
        body["choices"] = [_message(index, self._choices[index]) for index in sorted(self._choices)]
        if "usage" in self._head:
            body["usage"] = self._head["usage"]
        return body


def _message(index: int, state: _Choice) -> Json:
    message: Json = {"role": "assistant", "content": None, **state.extra}
    for key, parts in state.texts.items():
        message[key] = "".join(parts)
    for key, items in state.lists.items():
        message[key] = items
    if state.details:
        message["reasoning_details"] = state.details
    if state.tools:
        message["tool_calls"] = state.tools
    if state.audio:
        message["audio"] = state.audio
    return {
        "index": index,
        "message": message,
        "logprobs": state.logprobs,
        **state.outer,
        "finish_reason": state.finish,
    }


def _merge_call(state: _Choice, part: Json) -> None:
    index = part.get("index")
    if index is None:
        # Without an index, a part without an id belongs to the call before it.
        index = part.get("id") or next(reversed(state.order), 0)
    call = state.order.get(index)
    name = (part.get("function") or {}).get("name")
    # Some providers send every call with index 0: a new id with a name of its own is a new call.
    if call is None or (part.get("id") and call.get("id") and part["id"] != call["id"] and name):
        call = state.order[index] = {**part, "function": dict(part.get("function") or {})}
        state.tools.append(call)
        return
    for key, value in part.items():
        if key != "function" and value is not None and not call.get(key):
            call[key] = value
    function = call["function"]
    for key, value in (part.get("function") or {}).items():
        if value is None:
            continue
        if key == "arguments" and isinstance(value, str):
            function[key] = (function.get(key) or "") + value
        elif not function.get(key):
            function[key] = value


def _merge_detail(details: list[Json], part: Json) -> None:
    last = details[-1] if details else None
    joined = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(part.get("type", ""))
    if (
        last is None
        or joined is None
        or last.get("type") != part["type"]
        or last.get("index") != part.get("index")
        or (last.get("id") and part.get("id") and last["id"] != part["id"])
    ):
        details.append(dict(part))
        return
    for key, value in part.items():
        if key == joined and isinstance(value, str):
            last[key] = (last.get(key) or "") + value
        elif value is not None or key not in last:
            last[key] = value


def _merge_logprobs(known: Json | None, part: Json) -> Json:
    if known is None:
        return {key: list(value) if isinstance(value, list) else value for key, value in part.items()}
    for key, value in part.items():
        if isinstance(value, list):
            known[key] = (known.get(key) or []) + value
        elif value is not None or key not in known:
            known[key] = value
    return known


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
