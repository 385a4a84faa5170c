"""Collects the deltas of a stream into one body: the body of the same request without streaming.

Nothing is dropped: text and calls after a finish belong to the answer. `End` says whether finishes end the answer.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final, Literal

from ..failures.classifier import find_error
from ..results import Json, text_of
from .calls import Calls, Offered, nothing_offered
from .finishes import word

TEXT, REASONING, TOOL, MEDIA, FINISH, ERROR, OTHER, USAGE = 1, 2, 4, 8, 16, 32, 64, 128
TOKEN = TEXT | REASONING | TOOL | MEDIA
"""Flags that count as a token: not a role, an empty delta or detail, or a keep-alive."""
MORE_TEXT: Final = 256
"""The chunk differs from the previous one only in the text of `choices[0].delta.content`. Most chunks do."""

MAX_CHOICES: Final = 128
"""OpenAI's bound for `n`."""

_JOINED = {"content": TEXT, "reasoning": REASONING, "reasoning_content": REASONING, "refusal": MEDIA}
_LISTS = {"annotations": OTHER, "images": MEDIA}
_CHUNK_ONLY = frozenset({"choices", "object", "error"})
_FIRST_WINS = frozenset({"id", "model", "created", "provider"})
_CHOICE_ONLY = frozenset({"index", "delta", "message", "finish_reason", "logprobs", "error"})
_WRITTEN = ("text", "summary", "data", "content", "reasoning")
_ERROR_KEYS = frozenset({"errors", "detail", "message", "code", "error_type", "error_message"})


class End(StrEnum):
    """The state that follows from the finish reasons of one choice, or of all choices.

    `open`: no finish yet. `provisional`: the finish came in a chunk with content; more may come. `ended`: the finish
    came in a chunk without content. `contradicted`: tokens came after a finish, so that only a clean end (`[DONE]`, or
    a body that ends properly) ends the answer.
    """

    OPEN = "open"
    PROVISIONAL = "provisional"
    ENDED = "ended"
    CONTRADICTED = "contradicted"


_AFTER_FINISH: Final = {
    (End.OPEN, False): End.ENDED,
    (End.OPEN, True): End.PROVISIONAL,
    (End.PROVISIONAL, False): End.ENDED,
    (End.PROVISIONAL, True): End.CONTRADICTED,
    (End.ENDED, False): End.ENDED,
    (End.ENDED, True): End.CONTRADICTED,
    (End.CONTRADICTED, False): End.CONTRADICTED,
    (End.CONTRADICTED, True): End.CONTRADICTED,
}
"""(state, whether the chunk with the finish carries a token) -> the next state."""


class _Choice:
    __slots__ = (
        "audio",
        "details",
        "end",
        "extra",
        "finish",
        "legacy",
        "lists",
        "logprobs",
        "messages",
        "outer",
        "texts",
        "tools",
    )

    def __init__(self) -> None:
        self.texts: dict[str, list[str]] = {}
        self.lists: dict[str, list[Any]] = {}
        self.details: list[_Detail] = []
        self.tools = Calls()
        self.legacy: Calls | None = None
        self.audio: dict[str, Any] = {}
        self.extra: Json = {}
        self.outer: Json = {}
        self.logprobs: Json | None = None
        self.messages: Literal["", "begin", "repeat", "grow", "parts"] = ""
        """What the messages of chunks are to what has come; "": there was none."""
        self.finish: str | None = None
        self.end = End.OPEN


class Accumulator:
    """Collects the chunks of one stream.

    `add` returns flags for the content of the chunk: `MORE_TEXT` alone, or any of the others. `wanted` is the number of
    choices in the request (`n`): while fewer have begun, only a clean end ends the answer. `offered`: the functions
    that the request offers.
    """

    __slots__ = (
        "_begun",
        "_choices",
        "_clean",
        "_contradicted",
        "_finished",
        "_going_on",
        "_keys",
        "_like",
        "_like_choice",
        "_like_delta",
        "_offered",
        "_provisional",
        "_text",
        "_usage_came",
        "_wanted",
        "head",
    )

    def __init__(self, wanted: int = 1, offered: Offered = nothing_offered) -> None:
        self._choices: dict[int, _Choice] = {}
        self.head: Json = {}
        """The fields beside the choices: the id, the model, the provider, the usage."""
        self._keys: object = None
        self._going_on = False
        """Whether the previous chunk carried only text: of a chunk like that, only the text is read."""
        self._like: Json = {}
        self._like_choice: Json = {}
        self._like_delta: Json = {}
        """The previous chunk, its choice and its delta; their `choices`, `delta` and `content` are the next chunk's."""
        self._text: list[str] = []
        """The text that such a chunk continues."""
        self._begun = self._finished = self._provisional = 0
        self._contradicted = self._clean = self._usage_came = False
        self._wanted = wanted
        self._offered = offered

    # The end

    @property
    def begun(self) -> bool:
        """Whether any choice has begun."""
        return self._begun > 0

    @property
    def finished(self) -> bool:
        """Whether every choice that has begun has a finish reason."""
        return self._begun > 0 and self._finished == self._begun

    @property
    def end(self) -> End:
        """The combined state of all choices."""
        if self._contradicted:
            return End.CONTRADICTED
        if not self.finished:
            return End.OPEN
        return End.PROVISIONAL if self._provisional else End.ENDED

    @property
    def ended(self) -> bool:
        """Whether the answer has ended: only usage and other choices may follow."""
        if not self.finished:
            return False
        if self._clean:
            return True
        if self._contradicted or self._begun < self._wanted:
            return False
        return not self._provisional or self._usage_came

    @property
    def survives_a_cut(self) -> bool:
        """Whether the answer is complete if the connection breaks now."""
        return self.finished and (self._clean or not (self._contradicted or self._begun < self._wanted))

    def ends_cleanly(self) -> None:
        """`[DONE]` has come, or the body has ended properly."""
        self._clean = True

    # The answer so far

    @property
    def open_tool_call(self) -> bool:
        """Whether an unfinished choice has a tool call that is not complete."""
        return self._finished < self._begun and any(
            choice.tools and choice.finish is None for choice in self._choices.values()
        )

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        choice = self._choices.get(0)
        return "".join(choice.texts.get("content", ())) if choice else ""

    @property
    def usage(self) -> object:
        """The `usage` object, if it has come."""
        return self.head.get("usage")

    @property
    def generation_id(self) -> str | None:
        """The answer's id; None if it is no text."""
        said = self.head.get("id")
        return said if isinstance(said, str) else None

    def add(self, chunk: Json) -> int:
        """Merge one decoded chunk. Raises AttributeError, KeyError, TypeError or ValueError if it is not a chunk."""
        choices = chunk.get("choices")
        if self._going_on and choices:
            like = self._like
            like["choices"] = choices
            if chunk == like and len(choices) == 1:
                choice, like = choices[0], self._like_choice
                like["delta"] = delta = choice.get("delta")
                if delta and choice == like:
                    like = self._like_delta
                    like["content"] = text = delta.get("content")
                    if text and delta == like and isinstance(text, str):
                        self._text.append(text)
                        return MORE_TEXT
        return self._add(chunk, choices)

    def add_texts(self, texts: list[str]) -> None:
        """Merge the chunks that have these texts and are else like the last one, for which `add` gave `MORE_TEXT`."""
        self._text += texts

    def forget(self) -> None:
        """No chunk follows: drop the previous chunk, which may hold secrets."""
        self._going_on = False
        self._like = self._like_choice = self._like_delta = {}

    def _add(self, chunk: Json, choices: Any) -> int:
        flags = 0
        if chunk.keys() != self._keys or "usage" in chunk:
            self._keys = chunk.keys()
            flags = self._add_head(chunk)
        elif chunk.get("error"):
            flags = ERROR
        if choices:
            for choice in choices:
                flags |= self._add_choice(choice)
        elif not flags and find_error(chunk) is not None:
            flags = ERROR
        if flags & USAGE or self._usage_came:
            self._usage_came = not flags & TOKEN
        self._going_on = flags == TEXT and self._begun == 1 and not self._finished
        if self._going_on:
            self._like, self._like_choice, self._like_delta = dict(chunk), dict(choices[0]), dict(choices[0]["delta"])
            self._text = next(iter(self._choices.values())).texts["content"]
        return flags

    def _add_head(self, chunk: Json) -> int:
        head = self.head
        for key, value in chunk.items():
            if key in _CHUNK_ONLY or (value is None and key in head):
                continue
            known = head.get(key)
            if known is None or not (key in _FIRST_WINS or (key == "usage" and not isinstance(value, dict))):
                head[key] = value
        if is_error(chunk):
            return ERROR
        return USAGE if isinstance(chunk.get("usage"), dict) else 0

    def _add_choice(self, choice: Json) -> int:
        state = self._choices.get(choice.get("index") or 0) or self._begin(choice.get("index") or 0)
        delta = choice.get("delta")
        flags = _add_delta(state, delta) if delta else 0
        if not flags & TOKEN and "message" in choice:
            flags |= _add_message(state, choice)
        finish = choice.get("finish_reason")
        if finish or choice.get("error"):
            if finish == "error" or choice.get("error"):
                return flags | ERROR
            if self._add_finish(state, finish, token=flags & TOKEN > 0):
                flags |= FINISH
        elif state.finish is not None and flags & TOKEN:
            self._move(state, End.CONTRADICTED)
        if len(choice) > 3:
            # The fields beside the delta: `native_finish_reason`, `logprobs`, fields of one server.
            for key, value in choice.items():
                if value is None:
                    if key not in _CHOICE_ONLY:
                        state.outer.setdefault(key, None)
                elif key == "logprobs":
                    if value and isinstance(value, dict):
                        state.logprobs = _merge_logprobs(state.logprobs, value)
                        flags |= OTHER
                elif key not in _CHOICE_ONLY:
                    state.outer[key] = value
        return flags

    def _begin(self, index: object) -> _Choice:
        if not isinstance(index, int) or self._begun >= MAX_CHOICES:
            raise TypeError("the index of a choice is not a number, or there are too many choices")
        state = self._choices[index] = _Choice()
        self._begun += 1
        return state

    def _add_finish(self, state: _Choice, finish: object, *, token: bool) -> bool:
        """Record a finish reason. Returns whether it is one."""
        finish = word(finish)
        if finish is None:
            if state.finish is not None and token:
                self._move(state, End.CONTRADICTED)
            return False
        if state.finish is None:
            self._finished += 1
        if token or state.end is not End.ENDED:
            state.finish = finish
        self._move(state, _AFTER_FINISH[state.end, token])
        return True

    def _move(self, state: _Choice, end: End) -> None:
        self._provisional += (end is End.PROVISIONAL) - (state.end is End.PROVISIONAL)
        self._contradicted = self._contradicted or end is End.CONTRADICTED
        state.end = end

    def body(self) -> Json:
        """The assembled body, as the unstreamed request would have returned it."""
        head = {key: value for key, value in self.head.items() if key != "usage"}
        body: Json = {"id": None, **head, "object": "chat.completion"}
        body["choices"] = [_message(index, self._choices[index], self._offered) for index in sorted(self._choices)]
        if "usage" in self.head:
            body["usage"] = self.head["usage"]
        return body


def is_error(chunk: Json) -> bool:
    """Whether a chunk or body is an error: it has an `error`, or no choices and an error's fields."""
    if chunk.get("error"):
        return True
    return "choices" not in chunk and "usage" not in chunk and not _ERROR_KEYS.isdisjoint(chunk)


def _add_delta(state: _Choice, delta: Json) -> int:
    flags = 0
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
            flags |= _add_other(state, key, value)
    return flags


def _add_other(state: _Choice, key: str, value: Any) -> int:
    if key == "tool_calls":
        if isinstance(value, dict):
            value = [value]
        if not isinstance(value, list):
            raise TypeError("the tool calls are neither a list nor an object")
        return TOOL if state.tools.add(value) else OTHER
    if key == "reasoning_details" and isinstance(value, list):
        return REASONING if _add_details(state.details, value) else OTHER
    if (flag := _LISTS.get(key)) is not None and isinstance(value, list):
        state.lists.setdefault(key, []).extend(value)
        return flag
    if key == "audio" and isinstance(value, dict):
        return MEDIA if _add_audio(state.audio, value) else OTHER
    if key == "content" and (text := text_of(value)):
        # Some servers stream parts where OpenRouter streams strings.
        state.texts.setdefault(key, []).append(text)
        return TEXT
    if key == "function_call" and isinstance(value, dict):
        state.legacy = state.legacy or Calls()
        return TOOL if state.legacy.add([{"index": 0, "function": value}]) else OTHER
    state.extra[key] = value
    return OTHER


def _add_message(state: _Choice, choice: Json) -> int:
    """Merge the `message` of a chunk whose delta says nothing: the answer in one event, in parts, or repeated.

    Of what deltas have brought, a message is a repetition. Else a text that begins with all that has come is the whole
    text so far (DashScope), and another one is the next part. Both in one stream raise ValueError.
    """
    message = choice["message"]
    if not isinstance(message, dict):
        return 0
    if not state.messages:
        state.messages = "repeat" if state.texts or state.tools or state.legacy or state.lists else "begin"
    repeats = state.messages == "repeat"
    fresh = {}
    for key, value in message.items():
        known = state.texts.get(key) or state.lists.get(key)
        if key == "tool_calls" and state.tools and repeats:
            if isinstance(value, list) and len(value) > len(state.tools):
                raise ValueError("a message has calls that its deltas have not")
        elif not known:
            fresh[key] = value
        elif not repeats and isinstance(value, str):
            fresh[key] = _next_part(state, state.texts[key], value)
    choice["delta"] = fresh
    return _add_delta(state, fresh)


def _next_part(state: _Choice, parts: list[str], text: str) -> str:
    if state.messages != "parts":
        parts[:] = ["".join(parts)]
        if text.startswith(parts[0]):
            state.messages = "grow"
            return text[len(parts[0]) :]
        if state.messages == "grow":
            raise ValueError("a message does not continue the one before it")
        state.messages = "parts"
    return text


def _message(index: int, state: _Choice, offered: Offered) -> Json:
    message: Json = {"role": "assistant", "content": None, **state.extra}
    for key, parts in state.texts.items():
        message[key] = "".join(parts)
    message.update(state.lists)
    if state.details:
        message["reasoning_details"] = [detail.as_dict() for detail in state.details]
    if calls := state.tools.as_list(offered):
        message["tool_calls"] = calls
    if state.legacy is not None and (legacy := state.legacy.as_list()):
        message["function_call"] = legacy[0]["function"]
    if state.audio:
        message["audio"] = {
            key: "".join(value) if key in _SOUND and isinstance(value, list) else value
            for key, value in state.audio.items()
        }
    return {
        "index": index,
        "message": message,
        "logprobs": state.logprobs,
        **state.outer,
        "finish_reason": state.finish,
    }


_SOUND: Final = ("data", "transcript")


def _add_audio(audio: dict[str, Any], delta: Json) -> bool:
    """Merge a delta of audio; data and transcript are kept in parts."""
    for key, value in delta.items():
        if key in _SOUND and isinstance(value, str):
            parts = audio.get(key)
            if isinstance(parts, list):
                parts.append(value)
            else:
                audio[key] = [value]
        elif key not in _SOUND:
            audio[key] = value
    return any(delta.get(key) for key in _SOUND)


class _Detail:
    """One entry of `reasoning_details`; its streamed fields are kept in parts."""

    __slots__ = ("fields", "joined", "parts")

    def __init__(self, part: Json) -> None:
        self.fields = dict(part)
        kind = part.get("type")
        self.joined = {"reasoning.text": "text", "reasoning.summary": "summary"}.get(
            kind if isinstance(kind, str) else ""
        )
        text = part.get(self.joined) if self.joined else None
        self.parts = [text] if isinstance(text, str) else []

    def takes(self, part: Json) -> bool:
        """Whether the part continues this entry."""
        known = self.fields
        if self.joined is None or known.get("type") != part.get("type") or known.get("index") != part.get("index"):
            return False
        return not (known.get("id") and part.get("id") and known["id"] != part["id"])

    def add(self, part: Json) -> None:
        for key, value in part.items():
            if key == self.joined and isinstance(value, str):
                self.parts.append(value)
            elif value is not None or key not in self.fields:
                self.fields[key] = value

    def as_dict(self) -> Json:
        return {**self.fields, self.joined: "".join(self.parts)} if self.joined and self.parts else self.fields


def _add_details(details: list[_Detail], parts: list[Any]) -> bool:
    """Merge entries. Returns whether any of them has content."""
    token = False
    for part in parts:
        if not isinstance(part, dict) or not part:
            continue
        if details and details[-1].takes(part):
            details[-1].add(part)
        else:
            details.append(_Detail(part))
        token = token or any(part.get(key) for key in _WRITTEN)
    return token


def _merge_logprobs(known: Json | None, part: Json) -> Json:
    known = {} if known is None else known
    for key, value in part.items():
        if isinstance(value, list):
            parts = known.get(key)
            if isinstance(parts, list):
                parts.extend(value)
            else:
                known[key] = list(value)
        elif value is not None or key not in known:
            known[key] = value
    return known
