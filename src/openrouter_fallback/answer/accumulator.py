"""Deltas become one body, and a body is judged: an answer, or a failure.

A streamed answer assembles to the body that the same request would have given unstreamed.
"""

from __future__ import annotations

from typing import Any

from ..results import Json, text_of

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


class Accumulator:
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
