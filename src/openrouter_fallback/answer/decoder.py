"""The decoder of one response body. Its states, events and promises: see the docstring of this package."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Final

import orjson

from .. import figures
from ..failures.classifier import find_error, from_error, from_event, from_transport
from ..failures.kinds import Failure, FailureKind, TransportFault
from ..results import Completion, Json, Piece, text_of
from . import bounds
from .accumulator import ERROR, FINISH, MORE_TEXT, REASONING, TOKEN, TOOL, USAGE, Accumulator
from .calls import Offered, nothing_offered
from .demands import Demands, missed
from .finishes import looks_whole
from .pieces import calls_of, cut, pieces_of, reworded
from .repeats import texts_like
from .seam import SeamJoiner, SeamNotFound
from .sse import MAX_BODY_BYTES, EventReader, Oversized
from .surrogates import Halves, decode, whole
from .verdict import EMPTY_END, HALF_END, UNSURE_END, error_in, finished, judge, without_finish

SEAM_LOST: Final = "seam_lost"

_TRIES: Final = 8
"""How often chunks of one `feed` are read together; each time takes time linear in its bytes."""
_STREAM_END = b"[DONE]"
_ENDED_BY_SERVER = (UNSURE_END, HALF_END)
_SHALLOW = bounds.DEEP_FROM
_WHITE = b" \t\r\n"
_MARK = b"\xef\xbb\xbf"
_EVENT_FIELDS = (b":", b"data", b"event", b"id", b"retry")


class State(Enum):
    """The progress of an answer."""

    HEAD = "head"
    EVENTS = "events"
    ANSWERING = "answering"
    IN_CALL = "in_call"
    FINISHED = "finished"
    DONE = "done"
    BODY = "body"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class FirstToken:
    """The first token has come: content, reasoning, a tool call or media."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The model has begun to reason."""


@dataclass(slots=True)
class Pieces:
    """Pieces for the caller; at least one."""

    pieces: list[Piece]


@dataclass(slots=True)
class Ended:
    """The answer is over: with a `completion`, or with the `failure` that is the reason for none.

    `joined`: what a continuation did, once its seam was found (`went_on`, `restarted`, `overlapped`), else "".
    """

    failure: Failure | None = None
    completion: Completion | None = None
    joined: str = ""


Event = FirstToken | Reasoning | Pieces | Ended

# Globals, since they are read for every chunk: reading an Enum member costs several times more.
_HEAD, _BODY, _DECODER_ENDED = State.HEAD, State.BODY, State.ENDED
_FIRST_TOKEN = FirstToken()
_REASONING = Reasoning()
_OVER = (State.FINISHED, State.DONE)  # not a set: the hash of an Enum member is a function of Python
_TURNS = TOOL | FINISH | USAGE
_NOTHING_MORE = Demands()


class AnswerDecoder:
    """Decodes one response body.

    `headers`: the response's, with lower-case names. `deliver`: return pieces. `wants_json`: the answer must be JSON.
    `choices`: the number of choices in the request. `max_tokens`: the request's limit. `model`: the id in the request.
    `demands`: the request's demands on the answer. `offered` returns the functions that the model was sent. `prepare`
    is called with the body before the verdict, and restores the caller's names. `splice`: joins the answer with the
    delivered text. Times of day (`now`) are epoch seconds, used only to read a date in an error.
    """

    __slots__ = (
        "_deliver",
        "_demands",
        "_halves",
        "_headers",
        "_held",
        "_max_tokens",
        "_model",
        "_prepare",
        "_reader",
        "_reasoned",
        "_rest",
        "_said",
        "_shown",
        "_splice",
        "_waiting",
        "_wanted",
        "_wants_json",
        "_was_body",
        "_whole",
        "assembler",
        "begun",
        "body",
        "body_usage",
        "state",
        "tokens",
    )

    def __init__(
        self,
        headers: Mapping[str, str],
        *,
        deliver: bool = True,
        wants_json: bool = False,
        choices: int = 1,
        max_tokens: int | None = None,
        model: str = "",
        demands: Demands = _NOTHING_MORE,
        offered: Offered = nothing_offered,
        prepare: Callable[[Json], None] | None = None,
        splice: SeamJoiner | None = None,
    ) -> None:
        self.state = State.HEAD
        self.begun = False
        """Whether the first token has come."""
        self.tokens = 0
        """The number of chunks with a token. The bytes of a BODY do not count: it is an answer only when complete."""
        self.assembler = Accumulator(choices, offered)
        self._headers = headers
        self._deliver = deliver
        self._wants_json = wants_json
        self._max_tokens = max_tokens
        self._wanted = choices
        self._model = model
        self._demands = demands
        self._prepare = prepare
        self.body: Json | None = None
        """The complete body, whatever the verdict on it."""
        self._splice = splice
        self._reader = EventReader()
        self._whole = bytearray()
        self._was_body = False
        self._halves: Halves | None = None
        self._waiting: list[Piece] = []
        self._held: list[Piece] = []  # white space before the first other text
        self._said: list[str] = []
        self._shown = False  # whether text of any choice was delivered
        self._rest = ""
        self._reasoned = False
        self.body_usage: object = None
        """The `usage` object of a JSON body; that of events is in the assembler's `head`."""

    # Bytes in, events out

    def feed(self, data: bytes, now: float) -> list[Event]:
        """Decode bytes into events."""
        state = self.state
        if state is _HEAD:
            data = _beginning(bytes(self._whole) + data)
            self._whole.clear()
            if data and _MARK.startswith(data):
                self._whole += data  # the beginning of a byte order mark, perhaps
                return []
            state = self._kind_of_body(data)
            if state is _HEAD:
                return []
            if state is _DECODER_ENDED:
                return [self._wrong_content_type()]
        if state is _BODY:
            return self._collect(data)
        if state is _DECODER_ENDED:
            return []
        try:
            payloads = self._reader.feed(data)
            if not data.endswith(b"\n\n") and self._reader.is_pending(_STREAM_END):
                payloads = [*payloads, *self._reader.finish()]  # nothing comes after it, not even its end
        except Oversized as error:
            return self.broken(from_transport(TransportFault.OVERSIZED, str(error)), now)
        return self._decode(payloads, now) if payloads else []

    def end(self, now: float) -> list[Event]:
        """The body has ended."""
        if self.state is State.ENDED:
            return []
        events: list[Event] = []
        if self.state is not State.BODY:
            events = self._decode(self._reader.finish(), now)
            if self._ended():
                return events
            self.assembler.ends_cleanly()
        return [*events, self._verdict(now)]

    def broken(self, failure: Failure, now: float) -> list[Event]:
        """The body was cut, by a fault or a deadline. If the answer is complete by then, it is an answer."""
        if self.state is State.ENDED:
            return []
        whole = self.state in _OVER or self.assembler.survives_a_cut
        return [self._verdict(now) if whole else self._fail(failure)]

    # The answer so far

    @property
    def text(self) -> str:
        """The delivered text; without `deliver`, all text that has come."""
        return "".join(self._said) if self._deliver else self.assembler.text

    @property
    def said(self) -> int:
        """The number of delivered pieces with text: about the tokens of the text."""
        return len(self._said)

    @property
    def reasoned(self) -> bool:
        """Whether the model has reasoned in this answer."""
        return self._reasoned

    def last_pieces(self, body: Json) -> list[Piece]:
        """The pieces that are not delivered yet: the tool calls of a stream, or all pieces of one JSON body."""
        if self._splice is not None:
            rest = [Piece(text=self._rest, raw=reworded(body, self._rest))] if self._rest else []
        else:
            rest = pieces_of(body) if self._was_body else self._held
        return rest + calls_of(body)

    def forget(self) -> None:
        """The attempt is over: drop bytes that were not decoded, which may hold secrets."""
        self._reader, self._whole = EventReader(), bytearray()
        self.assembler.forget()

    # Events or JSON

    def _kind_of_body(self, data: bytes) -> State:
        """EVENTS or BODY, by the first bytes of the body; ENDED: neither. HEAD: only white space has come."""
        if not data:
            return State.HEAD
        content_type = self._headers.get("content-type", "").lower()
        events = any(data.startswith(field) or field.startswith(data) for field in _EVENT_FIELDS)
        if data[:1] in (b"{", b"[") or ("json" in content_type and not events):
            self.state, self._was_body = State.BODY, True
        elif not events and not content_type.startswith("text/event-stream"):
            return State.ENDED
        else:
            self.state = State.EVENTS
        return self.state

    def _wrong_content_type(self) -> Ended:
        kind = self._headers.get("content-type", "").lower().partition(";")[0] or "no content type"
        detail = f"the answer is neither events nor JSON ({kind})"
        return self._fail(from_transport(TransportFault.WRONG_CONTENT_TYPE, detail))

    def _collect(self, data: bytes) -> list[Event]:
        body = self._whole
        body += data if body else data.lstrip(_WHITE)
        if len(body) > MAX_BODY_BYTES:
            detail = f"the body exceeds {MAX_BODY_BYTES} bytes"
            return [self._fail(from_transport(TransportFault.OVERSIZED, detail))]
        return []

    # Events

    def _decode(self, payloads: list[bytes], now: float) -> list[Event]:
        events: list[Event] = []
        pieces: list[Piece] = []
        failure: Failure | None = None
        assembler, deliver = self.assembler, self._deliver
        add = assembler.add
        over = self.state in _OVER
        tries, read = 0 if deliver else _TRIES, 0
        for number, payload in enumerate(payloads, 1):
            if number <= read:
                continue
            if not payload.startswith(b"{"):
                if payload.strip() == _STREAM_END:
                    assembler.ends_cleanly()  # with or without a finish, no more chunks are expected
                    self.state, over = State.DONE, True
                    continue
                if not payload or payload.startswith(b":"):
                    continue  # some servers send empty events, or comments as data, as keep-alives
            try:
                try:
                    chunk = orjson.loads(payload) if len(payload) <= _SHALLOW else bounds.loads(payload)
                except orjson.JSONDecodeError:
                    chunk = decode(payload)
                    self._halves = self._halves or Halves()
                if self._halves is not None:
                    chunk = self._halves.mend(chunk)
                flags = add(chunk)
            except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
                if not assembler.survives_a_cut:
                    failure = from_event(payload, now=now)
                break
            if over and not assembler.ended:
                over = False  # a token came after a finish, or another choice has begun
                self.state = State.ANSWERING if self.begun else State.EVENTS
            if flags == MORE_TEXT:
                self.tokens += 1
                if deliver:
                    choice = chunk["choices"][0]
                    pieces.append(Piece(choice["delta"]["content"], "", (), choice.get("index") or 0, False, chunk))
                elif tries and self._halves is None:
                    tries -= 1
                    texts = texts_like(chunk, payload, payloads[number:])
                    assembler.add_texts(texts)
                    self.tokens += len(texts)
                    read = number + len(texts)
                continue
            if flags & ERROR and not assembler.ended:
                failure = self._error(chunk, now)
                break
            if flags & TOKEN:
                self.tokens += 1
                if not self.begun:
                    self.begun = True
                    self.state = State.ANSWERING
                    events.append(_FIRST_TOKEN)
            if flags & _TURNS:
                self._turn()
                over = self.state in _OVER
            if flags & REASONING and not self._reasoned:
                self._reasoned = True
                events.append(_REASONING)
            if deliver and flags:
                cut(chunk, pieces)
        if deliver and pieces and (failure is None or self._shown):
            failure = self._release(pieces, events) or failure
        if failure is not None:
            events.append(self._fail(failure))
        return events

    def _turn(self) -> None:
        """Update the state: a tool call may have begun, or the answer may have ended."""
        if self.assembler.ended:
            if self.state is not State.DONE:
                self.state = State.FINISHED
        elif self.begun:
            self.state = State.IN_CALL if self.assembler.open_tool_call else State.ANSWERING

    def _release(self, pieces: list[Piece], events: list[Event]) -> Failure | None:
        """Deliver pieces after the first token. Returns a failure if the seam is not found."""
        if not self.begun:
            self._waiting += pieces
            return None
        failure = None
        if self._waiting:
            pieces, self._waiting = self._waiting + pieces, []
        if self._splice is not None:
            pieces, failure = self._join(self._splice, pieces)
        elif not self._shown:
            pieces = self._without_white_space(pieces)
        for piece in pieces:
            if piece.text:
                self._shown = True
                if not piece.index:
                    self._said.append(piece.text)
        if pieces:
            events.append(Pieces(pieces))
        return failure

    def _without_white_space(self, pieces: list[Piece]) -> list[Piece]:
        """The pieces, without white space before the first other text: an answer of white space alone is empty."""
        if any(piece.text and not piece.text.isspace() for piece in pieces):
            pieces, self._held = self._held + pieces, []
            return pieces
        self._held += [piece for piece in pieces if piece.text]
        return [piece for piece in pieces if not piece.text]

    def _join(self, splice: SeamJoiner, pieces: list[Piece]) -> tuple[list[Piece], Failure | None]:
        """The pieces of a continuation, without the repetition of delivered text."""
        joined: list[Piece] = []
        for piece in pieces:
            try:
                text = splice.feed(piece.text) if piece.text else ""
            except SeamNotFound as error:
                return joined, _seam_lost(error)
            if text == piece.text:
                joined.append(piece)
            elif text or piece.reasoning:
                joined.append(replace(piece, text=text, raw=reworded(piece.raw or {}, text)))
        return joined, None

    # The verdict

    def _ended(self) -> bool:
        return self.state is State.ENDED

    def _fail(self, failure: Failure) -> Ended:
        self.state = State.ENDED
        return Ended(failure, joined=self._how())

    def _how(self) -> str:
        return self._splice.how if self._splice is not None and self._splice.joined else ""

    def _verdict(self, now: float) -> Ended:
        """Judge the complete body: an answer or a failure."""
        body = self._body(now)
        if isinstance(body, Failure):
            return self._fail(body)
        self.body, fresh = body, not self._shown and self._splice is None
        try:
            if self._prepare is not None:
                self._prepare(body)
            if fresh:
                self._demands.unwrap(body)
            failure, invalid = judge(
                body,
                wants_json=self._wants_json and fresh,
                now=now,
                max_tokens=self._max_tokens,
                wanted=self._wanted,
            )
            if fresh:
                failure = missed(body, self._demands, failure)
            if failure is not None and failure.code == TransportFault.NO_FINISH:
                failure = replace(failure, code=self._without_finish(body, now) or failure.code)
        except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
            return self._fail(from_transport(TransportFault.NOT_JSON, "the answer is not what it should be"))
        if self._splice is not None and failure is not None and self._adds_nothing(failure, self._splice):
            self._splice.complete()
            failure = None
        if self._splice is not None and (failure is None or failure.code in _ENDED_BY_SERVER):
            failure = self._complete(self._splice, body) or failure
        if failure is not None:
            return self._fail(failure)
        self.state = State.ENDED
        self.body_usage = body.get("usage")
        return Ended(completion=Completion(body, invalid=invalid), joined=self._how())

    def _body(self, now: float) -> Json | Failure:
        if self.state is State.BODY:
            body = _loaded(bytes(self._whole))
            if not isinstance(body, dict):
                cut_off = from_transport(TransportFault.CUT_AFTER_STATUS, "the answer's JSON is cut off or broken")
                return cut_off if find_error(body) is None else self._error(body, now)
            if (find_error(body) is not None or error_in(body) is not None) and not finished(body):
                return self._error(body, now)
            return body
        if not self.assembler.begun:
            return from_transport(TransportFault.NO_CHOICES, "the stream ended without an answer")
        ended = self.state is State.DONE or self.assembler.survives_a_cut
        if not ended and not figures.used_up(self.assembler.usage, self._max_tokens):
            return from_transport(TransportFault.NO_FINISH, "")
        return self.assembler.body()

    def _adds_nothing(self, failure: Failure, splice: SeamJoiner) -> bool:
        """Whether an empty continuation ended properly and the delivered text looks complete: only a finish is lost."""
        return failure.code == EMPTY_END and not "".join(self._said).strip() and looks_whole(splice.delivered)

    def _without_finish(self, body: Json, now: float) -> str | None:
        """The code of a text that the server ended itself, and which lacks only its finish reason."""
        splice = self._splice
        delivered = "" if splice is None else splice.delivered
        code = without_finish(body, delivered, wants_json=self._wants_json and not self._shown, now=now)
        adds = text_of(body["choices"][0]["message"].get("content")).strip() if code is not None else ""
        if code is not None and splice is not None and not adds:
            splice.complete()
        return code

    def _error(self, payload: object, now: float) -> Failure:
        """The failure for the error in a chunk or body."""
        found = find_error(payload)
        if found is None and isinstance(payload, dict):
            found = error_in(payload)
        return from_error(found, headers=self._headers, now=now, model=self._model)

    def _complete(self, splice: SeamJoiner, body: Json) -> Failure | None:
        """Put the delivered text before the text of this attempt."""
        message = body["choices"][0]["message"]
        try:
            unread = self._was_body and not splice.joined
            self._rest = splice.feed(text_of(message.get("content"))) if unread else ""
            self._rest += splice.finish(cut_off=body["choices"][0].get("finish_reason") == "length")
        except SeamNotFound as error:
            return _seam_lost(error)
        message["content"] = splice.delivered + "".join(self._said) + self._rest
        return None


def _beginning(data: bytes) -> bytes:
    """`data` without white space and a byte order mark at its beginning, which JSON and events may have."""
    data = data.lstrip(_WHITE)
    return data[len(_MARK) :].lstrip(_WHITE) if data.startswith(_MARK) else data


def _seam_lost(error: SeamNotFound) -> Failure:
    return Failure(FailureKind.BAD_ANSWER, str(error), code=SEAM_LOST, harmless=True)


def _loaded(body: bytes) -> Any:
    """The decoded JSON of a complete body; None if it is not JSON."""
    try:
        return bounds.loads(body)
    except figures.TooManyValues:
        return None
    except orjson.JSONDecodeError:
        try:
            return whole(decode(body))
        except (ValueError, RecursionError):
            return None
