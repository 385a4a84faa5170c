"""One attempt on the wire: its deadlines, its bytes, its chunks, until it is an answer or a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import orjson

from .. import figures
from ..answer import bounds
from ..answer.accumulator import ERROR, FINISH, REASONING, TOKEN, TOOL, USAGE, Accumulator
from ..answer.finishes import looks_whole
from ..answer.pieces import calls_of, cut, pieces_of, reworded
from ..answer.seam import SeamJoiner, SeamNotFound
from ..answer.sse import MAX_BODY_BYTES, EventReader, Oversized
from ..answer.surrogates import Halves, decode, whole
from ..answer.verdict import EMPTY_END, error_in, finished, judge
from ..decision.commands import StartAttempt
from ..decision.deadlines import Deadlines, OutOfTime
from ..decision.failover import Failover
from ..failures.classifier import from_error, from_response, from_transport
from ..failures.kinds import Failure, FailureKind, TransportFault
from ..http.protocol import Exchange, Transport, TransportError
from ..redaction import Redactor
from ..request.request import Request
from ..results import Completion, Json, Piece, text_of
from ..routes.needs import wants_json
from .watchdog import Watchdog

MAX_UNREAD_BYTES = 256 * 1024
MAX_ERROR_BYTES = 1024 * 1024
SEAM_LOST = "seam_lost"

_STREAM_END = b"[DONE]"
_DONE_LINE = b"[DONE]\n\n"
_WHITE = b" \t\r\n"
_EVENT_FIELDS = (b":", b"data", b"event", b"id", b"retry", b"\xef\xbb\xbf")


class AttemptReader:
    """Carries out one `StartAttempt`.

    `advance` returns the next pieces for the caller, or None when the attempt is over: then `failure` says what went
    wrong, or `completion` is the answer. In a call that is not streamed (`deliver` False) it returns only None: after
    the first token the bytes are only collected, and decoded together at the end.
    """

    def __init__(
        self,
        ask: StartAttempt,
        request: Request,
        machine: Failover,
        clock: Callable[[], float],
        wall: Callable[[], float],
        *,
        deliver: bool,
        total_counts: bool,
        redactor: Redactor,
        splice: SeamJoiner | None = None,
    ) -> None:
        self.ask = ask
        self.failure: Failure | None = None
        """What went wrong, once the attempt is over: without keys and without the prompt."""
        self._found: Failure | None = None
        self._redactor = redactor
        self.completion: Completion | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.assembler = Accumulator(_choices_wanted(request))
        self.request = request
        self._machine = machine
        self._clock = clock
        self._wall = wall
        self._deliver = deliver
        self._times = Deadlines(ask, total_counts=total_counts)
        self.splice = splice
        self._rest = ""
        self._exchange: Exchange | None = None
        self._reader = EventReader()
        self._alarm: Watchdog | None = None
        self._last_bytes_at = ask.ticket.started
        self._unread: list[bytes] = []
        self._unread_bytes = 0
        self._waiting: list[Piece] = []
        self._delivered_text = False
        self._said: list[str] = []
        self._unstreamed: bytearray | None = None
        self._ended = False
        self._over = False
        self._events = False
        self._usage: object = None
        self._reasoned = False
        self._halves: Halves | None = None
        self._stops = False
        self._ready: list[Piece] | None = None
        self.out_of_time = False

    # For whoever drives it

    async def to_first_token(self, transport: Transport, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request and read until the first token or the attempt's end; `advance` goes on from there."""
        try:
            await self.open(transport, url, headers, body)
            self._stops = True
            self._ready = await self.advance()
        except OutOfTime:
            self.out_of_time = True

    async def open(self, transport: Transport, url: str, headers: Mapping[str, str], body: bytes) -> None:
        """Send the request and read the answer's head; a failure is noted, not raised. Raises `OutOfTime`."""
        loop = asyncio.get_running_loop()
        self._alarm = Watchdog(loop, self._due)
        self._alarm.watch()
        try:
            self._exchange = exchange = await transport.open(url, headers, body)
            self.status = exchange.status
            self.headers = exchange.headers
            self._machine.reached(self._clock(), self.ask.number)
            if not 200 <= exchange.status < 300:
                answer = await self._read_error(exchange)
                self._fail(from_response(exchange.status, self.headers, answer, now=self._wall()))
        except TransportError as error:
            self._fail(from_transport(error.fault, error.detail))
        except asyncio.CancelledError:
            if not self._alarm.took():
                raise
            if self.status is not None and not 200 <= self.status < 300:
                self._fail(from_response(self.status, self.headers, b"", now=self._wall()))
            else:
                self._rang()
        finally:
            self._alarm.rest()
        await self._clean()

    async def advance(self) -> list[Piece] | None:
        """The next pieces, or None at the end of the attempt. Raises `OutOfTime`."""
        alarm, exchange = self._alarm, self._exchange
        if self._ready:
            ready, self._ready = self._ready, None
            return ready
        if self._over or self._found is not None or alarm is None or exchange is None:
            await self._clean()
            return None
        if self._ended:
            self._conclude()
            await self._clean()
            return None
        held = self._times.release(self._clock())
        if held:
            self._machine.held(held)
        alarm.watch()
        self._stops = self._stops and self._times.first_token_at is None
        try:
            while True:
                data = await exchange.read()
                if data is None:
                    pieces = self._end()
                    if pieces:
                        return pieces
                    break
                pieces = self._take(data)
                if pieces:
                    self._times.hold(self._clock())
                    return pieces
                if self._found is not None:
                    break
                if self._stops and self._times.first_token_at is not None:
                    return []
        except TransportError as error:
            self._broke(from_transport(error.fault, error.detail))
        except asyncio.CancelledError:
            if not alarm.took():
                raise
            self._rang()
        finally:
            alarm.rest()
        self._conclude()
        await self._clean()
        return None

    async def _clean(self) -> None:
        """The one way by which a failure leaves an attempt. The loop turns while a long prompt is looked through."""
        found = self._found
        if found is None or self.failure is not None:
            return
        for message in self._redactor.steps(found.message):
            if message is None:
                await asyncio.sleep(0)
            else:
                keyless = self._redactor.keyless
                provider = found.provider and keyless(found.provider)
                code = found.code and keyless(found.code)
                self.failure = replace(found, message=message, provider=provider, code=code)

    def last_pieces(self) -> list[Piece]:
        """What a finished answer still has to deliver: its tool calls, or all of it where the body came whole."""
        if self.completion is None:
            return []
        body = self.completion.raw
        if self.splice is not None:
            rest = [Piece(text=self._rest, raw=reworded(body, self._rest))] if self._rest else []
        else:
            rest = [] if self._unstreamed is None else pieces_of(body)
        return rest + calls_of(body)

    @property
    def usage(self) -> object:
        """The `usage` object that the attempt reported, if it did."""
        return self._usage or self.assembler.usage

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        if self._alarm is not None:
            self._alarm.stop()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.aclose()

    @property
    def first_token_at(self) -> float | None:
        """When the first token came."""
        return self._times.first_token_at

    @property
    def begun(self) -> bool:
        """Whether there is a first token, or an answer that came whole."""
        return self._times.first_token_at is not None or self.completion is not None

    @property
    def said(self) -> int:
        """How many pieces with text the caller has from this attempt: about its tokens."""
        return len(self._said)

    @property
    def partial(self) -> str:
        """The text that the caller has; in a call that is not streamed to it, all that has come."""
        if self._deliver:
            return "".join(self._said)
        self._catch_up()
        return self.assembler.text

    # Deadlines

    def _due(self) -> float:
        """When waiting ends, as things stand; reads what has been collected first."""
        now = self._clock()
        if self._unread:
            self._catch_up()
        if self._found is not None:
            return now
        return self._times.due(now, looks=not self._deliver and self._unstreamed is None)

    def _rang(self) -> None:
        """The alarm has ended the waiting: say which deadline it was."""
        if self._found is None and self._times.done_at is None and not self.assembler.survives_a_cut:
            self._fail(self._times.missed(self._clock()))

    # Bytes

    def _take(self, data: bytes) -> list[Piece] | None:
        self._last_bytes_at = now = self._clock()
        if self._unstreamed is not None:
            self._take_unstreamed(data, now)
            return None
        if self._times.first_token_at is None and not self.assembler.begun and self._is_json(data):
            return None
        if not self._deliver and self._times.first_token_at is not None:
            self._unread.append(data)
            self._unread_bytes += len(data)
            if self._unread_bytes > MAX_UNREAD_BYTES or data.endswith(_DONE_LINE):
                self._catch_up()
            return None
        return self._read_events(data, now)

    def _is_json(self, data: bytes) -> bool:
        """Whether the body comes whole, as JSON, although a stream was asked for (or because none was)."""
        if self._events:
            return False
        content_type = self.headers.get("content-type", "").lower()
        start = data.lstrip(_WHITE)
        if not start and "json" not in content_type and self.ask.candidate.streams:
            return True
        events = bool(start) and any(start.startswith(field) or field.startswith(start) for field in _EVENT_FIELDS)
        if start[:1] in (b"{", b"[") or ("json" in content_type and not events):
            self._unstreamed = bytearray()
            self._take_unstreamed(data, self._clock())
            return True
        if start and not events and not content_type.startswith("text/event-stream"):
            kind = content_type.partition(";")[0] or "no content type"
            self._fail(
                from_transport(TransportFault.WRONG_CONTENT_TYPE, f"the answer is neither events nor JSON ({kind})")
            )
            return True
        self._events = bool(start)
        return False

    def _take_unstreamed(self, data: bytes, now: float) -> None:
        body = self._unstreamed
        if body is None:
            return
        body += data if body else data.lstrip(_WHITE)
        if body and self._times.first_token_at is None and self.ask.candidate.streams:
            self._first_token(now)
        self._times.last_token_at = now if body else self._times.last_token_at
        if len(body) > MAX_BODY_BYTES:
            self._fail(from_transport(TransportFault.OVERSIZED, f"the body exceeds {MAX_BODY_BYTES} bytes"))

    def _catch_up(self) -> None:
        """Decode what a call that is not streamed has collected."""
        if self._unread:
            data = b"".join(self._unread) if len(self._unread) > 1 else self._unread[0]
            self._unread.clear()
            self._unread_bytes = 0
            self._read_events(data, self._last_bytes_at)

    def _read_events(self, data: bytes, now: float) -> list[Piece] | None:
        try:
            events = self._reader.feed(data)
        except Oversized as error:
            self._broke(from_transport(TransportFault.OVERSIZED, str(error)))
            return None
        return self._read_payloads(events, now) if events else None

    def _read_payloads(self, events: list[bytes], now: float) -> list[Piece] | None:
        pieces: list[Piece] = []
        add = self.assembler.add
        for event in events:
            if event == _STREAM_END:
                self._done(now)
                continue
            if not event or event.startswith(b":"):
                continue  # some servers keep a connection alive with empty events, or with comments as data
            try:
                try:
                    chunk = bounds.loads(event)
                except orjson.JSONDecodeError:
                    chunk = decode(event)
                    self._halves = self._halves or Halves()
                if self._halves is not None:
                    chunk = self._halves.mend(chunk)
                flags = add(chunk)
            except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
                self._broke(from_transport(TransportFault.NOT_JSON, "an event of the stream is not what it should be"))
                break
            if self._times.finished_at is not None and not self.assembler.ended:
                self._times.finished_at = None  # more has come behind a finish, or another choice has begun
            if flags & ERROR and not self.assembler.ended:
                self._fail(from_error(error_in(chunk), headers=self.headers, now=self._wall()))
                break
            if flags & TOKEN:
                self._times.last_token_at = now
                if self._times.first_token_at is None:
                    self._first_token(now)
            if flags & (TOOL | FINISH | USAGE):
                self._changed(now)
            if flags & REASONING and not self._reasoned:
                self._reasoned = True
                self._machine.reasons(self.ask.number)
            if self._deliver and flags:
                cut(chunk, pieces)
        if not self._deliver or (self._found is not None and not self._delivered_text):
            # Nobody has seen text: the next attempt can start over, so this batch is better not delivered.
            return None
        if self._times.first_token_at is None:
            self._waiting += pieces
            return None
        if self._waiting:
            pieces = self._waiting + pieces
            self._waiting = []
        if self.splice is not None:
            pieces = self._join(self.splice, pieces)
        self._delivered_text = self._delivered_text or any(piece.text for piece in pieces)
        self._said += [piece.text for piece in pieces if piece.text and not piece.index]
        return pieces

    def _join(self, splice: SeamJoiner, pieces: list[Piece]) -> list[Piece]:
        """The pieces of a continuation, without what repeats the delivered text."""
        joined = []
        for piece in pieces:
            try:
                text = splice.feed(piece.text) if piece.text else ""
            except SeamNotFound as error:
                self._fail(Failure(FailureKind.BAD_ANSWER, str(error), code=SEAM_LOST, harmless=True))
                break
            if text == piece.text:
                joined.append(piece)
            elif text or piece.reasoning:
                joined.append(replace(piece, text=text, raw=reworded(piece.raw or {}, text)))
        return joined

    def _first_token(self, now: float) -> None:
        self._times.first_token(now)
        self._machine.first_token(now, self.ask.number)
        if self._alarm is not None and (not self._deliver or self.ask.stall < self._times.ask.first_token_by - now):
            self._alarm.again()

    def _done(self, now: float) -> None:
        """`[DONE]` has come: nothing more is waited for, with a finish or without."""
        self._times.done_at = now
        self.assembler.ends_cleanly()
        self._changed(now)
        if self._alarm is not None:
            self._alarm.again()

    def _changed(self, now: float) -> None:
        """A tool call has begun or the answer has ended: other deadlines hold."""
        tool_open = self.assembler.open_tool_call
        finished = self.assembler.ended
        if finished and self._times.finished_at is None:
            self._times.finished_at = now
        elif tool_open == self._times.tool_open:
            return
        self._times.tool_open = tool_open
        if self._alarm is not None and finished:
            self._alarm.again()

    # The end

    def _end(self) -> list[Piece] | None:
        """The body has ended; returns the pieces of an event that it left unterminated."""
        self._ended = True
        self._catch_up()
        if self._unstreamed is not None or self._found is not None:
            return None
        pieces = self._read_payloads(self._reader.finish(), self._last_bytes_at)
        self.assembler.ends_cleanly()
        return pieces

    def _conclude(self) -> None:
        self._over = True
        self._catch_up()
        if self._found is not None:
            return
        body: Json | None = None
        if self._unstreamed is not None:
            body = _decoded(bytes(self._unstreamed))
            if not isinstance(body, dict):
                self._fail(from_transport(TransportFault.CUT_AFTER_STATUS, "the answer's JSON is cut off or broken"))
                return
            error = error_in(body)
            if error is not None and not finished(body):
                self._fail(from_error(error, headers=self.headers, now=self._wall()))
                return
        elif not self.assembler.begun:
            self._fail(from_transport(TransportFault.NO_CHOICES, "the stream ended without an answer"))
            return
        elif not self.assembler.survives_a_cut and not figures.used_up(self.assembler.usage, self._max_tokens()):
            self._fail(from_transport(TransportFault.NO_FINISH, "the stream stopped without a finish reason"))
            return
        else:
            body = self.assembler.body()
        asked = self.request.wants_json or wants_json(self.ask.candidate.params)
        try:
            failure, invalid = judge(
                body,
                wants_json=asked and not self._delivered_text and self.splice is None,
                now=self._wall(),
                max_tokens=self._max_tokens(),
            )
        except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
            failure, invalid = from_transport(TransportFault.NOT_JSON, "the answer is not what it should be"), ()
        if self.splice is not None and (failure is None or self._adds_nothing(failure, self.splice)):
            failure = self._complete(self.splice, body)
        if failure is not None:
            self._fail(failure)
        else:
            self.completion = Completion(body, invalid=invalid)
            self._usage = body.get("usage")

    def _max_tokens(self) -> int | None:
        """The limit on the answer's tokens that the request set."""
        for source in (self.request.params, self.ask.candidate.params):
            for name in ("max_completion_tokens", "max_tokens"):
                if isinstance(limit := source.get(name), int):
                    return limit
        return None

    def _adds_nothing(self, failure: Failure, splice: SeamJoiner) -> bool:
        """Whether a continuation ended properly and empty behind a text that looks whole: only its finish was lost."""
        return failure.code == EMPTY_END and not self._said and looks_whole(splice.delivered)

    def _complete(self, splice: SeamJoiner, body: Json) -> Failure | None:
        """Put the delivered text before what this attempt has added."""
        message = body["choices"][0]["message"]
        try:
            self._rest = splice.feed(text_of(message.get("content"))) if self._unstreamed is not None else ""
            self._rest += splice.finish(cut_off=body["choices"][0].get("finish_reason") == "length")
        except SeamNotFound as error:
            return Failure(FailureKind.BAD_ANSWER, str(error), code=SEAM_LOST, harmless=True)
        message["content"] = splice.delivered + "".join(self._said) + self._rest
        return None

    def _broke(self, failure: Failure) -> None:
        """A failure of the connection or the stream; where the answer survives a cut, it changes nothing."""
        if not self.assembler.survives_a_cut:
            self._fail(failure)

    def _fail(self, failure: Failure) -> None:
        if self._found is None:
            self._found = failure

    def turn_down(self) -> None:
        """The caller's `accept=` did not take the answer."""
        self.completion = None
        self.failure = Failure(FailureKind.BAD_ANSWER, "accept= turned the answer down", harmless=True)

    async def _read_error(self, exchange: Exchange) -> bytes:
        body = bytearray()
        while len(body) < MAX_ERROR_BYTES:
            try:
                data = await exchange.read()
            except TransportError:
                break
            if data is None:
                break
            body += data
        return bytes(body)


def _choices_wanted(request: Request) -> int:
    wanted = request.params.get("n")
    return wanted if isinstance(wanted, int) else 1


def _decoded(body: bytes) -> Any:
    """A body that came whole; None if it is not JSON."""
    try:
        return bounds.loads(body)
    except figures.TooManyValues:
        return None
    except orjson.JSONDecodeError:
        try:
            return whole(decode(body))
        except (ValueError, RecursionError):
            return None
