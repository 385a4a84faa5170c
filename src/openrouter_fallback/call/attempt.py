"""One attempt over a connection: reads bytes under deadlines until an answer or a failure. Returns events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum

from ..answer.decoder import AnswerDecoder, Ended, Pieces, State
from ..answer.demands import Demands
from ..answer.seam import SeamJoiner
from ..answer.slices import SLICE_BYTES, slices, weight
from ..decision.commands import StartAttempt
from ..decision.deadlines import DRIP_SECONDS, LOOK_SECONDS, Deadlines
from ..decision.deadlines import OutOfTime as DeadlinePassed
from ..failures.classifier import from_response, from_transport
from ..failures.kinds import Failure, FailureKind
from ..http.protocol import Exchange, TransportError
from ..redaction import Redactor
from ..request.handover import Form
from ..request.request import Request
from ..results import Completion, Json, Piece
from .backlog import Backlog
from .steps import Event, OutOfTime, ResponseStarted
from .watchdog import Watchdog

MAX_ERROR_BYTES = 1024 * 1024

_TURNED_DOWN = Failure(FailureKind.BAD_ANSWER, "accept= turned the answer down", harmless=True)
_FINISHES = ("stop", "tool_calls", "length", "content_filter")
"""The finish reasons of OpenRouter. Another one may be any text."""
_GRACE = (State.FINISHED, State.DONE)


class Stage(Enum):
    """The next step of an attempt."""

    NEW = "new"
    """Send the request."""
    REFUSED = "refused"
    """The status is an error: read its body."""
    READING = "reading"
    """Decode bytes as they come."""
    COLLECTING = "collecting"
    """The call is not streamed and the first token has come: collect bytes, and decode them together."""
    OVER = "over"


_ENDS = (Ended, OutOfTime)

# Globals, since they are read for every chunk: reading an Enum member costs several times more.
_READING, _COLLECTING = Stage.READING, Stage.COLLECTING


class AttemptReader:
    """Carries out one `StartAttempt`: `next` returns its events; the last is `Ended` or `OutOfTime`.

    `send` sends the request and returns the open response. It calls its argument each time that it sends the request
    again after the loss of a kept connection. `decoder_of` makes the decoder of an answer, from its headers and the
    request's demands. In a call that is not streamed to its caller (`deliver` is False) there are no `Pieces`.
    """

    __slots__ = (
        "_backlog",
        "_clock",
        "_decoder",
        "_decoder_of",
        "_decoding",
        "_deliver",
        "_drips_from",
        "_events",
        "_exchange",
        "_last_bytes_at",
        "_look_task",
        "_own_words",
        "_redactor",
        "_send",
        "_since_turn",
        "_stage",
        "_times",
        "_wall",
        "_watchdog",
        "completion",
        "demands",
        "failure",
        "headers",
        "paused",
        "request",
        "resent",
        "splice",
        "start",
        "status",
        "stricter",
        "tokens",
    )

    def __init__(
        self,
        start: StartAttempt,
        request: Request,
        send: Callable[[Callable[[], None]], Awaitable[Exchange]],
        decoder_of: Callable[[Mapping[str, str], Demands], AnswerDecoder],
        clock: Callable[[], float],
        wall: Callable[[], float],
        *,
        deliver: bool,
        total_counts: bool,
        redactor: Redactor,
        splice: SeamJoiner | None = None,
    ) -> None:
        self.start = start
        self.request = request
        self.failure: Failure | None = None
        """The failure of an attempt that has ended, without keys and without the prompt."""
        self.completion: Completion | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.resent = 0
        """How often the request was sent again."""
        self._send: Callable[[Callable[[], None]], Awaitable[Exchange]] | None = send
        self._decoder_of = decoder_of
        self._clock = clock
        self._wall = wall
        self._deliver = deliver
        self._redactor = redactor
        self.splice = splice
        """Joins a continuation with the delivered text; None for other attempts."""
        self._backlog = Backlog()
        self._drips_from: float | None = None
        """From when on the next text shows whether the stream drips: the timer that was set before may be later."""
        self._times = times = Deadlines(start, total_counts=total_counts)
        self.paused = times.paused
        """The driver calls this with the seconds for which the consumer has held a piece: the deadlines move."""
        self._stage = Stage.NEW
        self._events: deque[Event] = deque()
        self._decoder: AnswerDecoder | None = None
        self.tokens = 0
        """The number of decoded chunks with tokens, including reasoning and tool calls."""
        self._since_turn = 0
        self._exchange: Exchange | None = None
        self._watchdog: Watchdog | None = None
        self._last_bytes_at = start.permit.started
        self._own_words: Failure | None = None
        """The failure of a missed deadline: no server has a part in its message."""
        self._decoding = asyncio.Lock()
        self._look_task: asyncio.Task[None] | None = None
        self.demands = request.demands(start.candidate)
        """The request's demands on this answer."""
        self.stricter: Form | None = None
        """The form of history that the model may accept, after a refusal that names a part of the history."""

    # For the driver

    async def next(self) -> Event:
        """The next event."""
        events = self._events
        while not events:
            stage = self._stage
            if stage is _READING or stage is _COLLECTING:
                await self._read()
            elif stage is Stage.NEW:
                await self._open()
            elif stage is Stage.REFUSED:
                await self._read_error()
            else:
                raise RuntimeError("the attempt is over")
        event = events.popleft()
        if isinstance(event, Ended):
            return await self._end(event)
        if isinstance(event, OutOfTime):
            self._stage = Stage.OVER
        return event

    def turn_down(self) -> Ended:
        """The caller's `accept=` has rejected the answer. Returns the attempt's new end."""
        self.completion, self.failure = None, _TURNED_DOWN
        return Ended(_TURNED_DOWN)

    def settle(self) -> Ended:
        """Use a rejected answer nevertheless. Returns the attempt's new end."""
        body = self.body
        if body is None:
            raise RuntimeError("the attempt holds no answer")
        self.completion, self.failure = Completion(body), None
        return Ended(completion=self.completion)

    def last_pieces(self) -> list[Piece]:
        """The pieces of a finished answer that are not delivered yet."""
        if self.completion is None or self._decoder is None:
            return []
        return self._decoder.last_pieces(self.completion.raw)

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        if self.completion is None and self.failure is None:  # else that was done at its end, after which nothing comes
            self._clean_names()
        self._backlog.parts.clear()
        if self._decoder is not None:
            self._decoder.forget()
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None:
            watchdog.stop()
        if self._look_task is not None:
            self._look_task.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.aclose()

    # The answer so far

    @property
    def first_token_at(self) -> float | None:
        """The clock's time of the first token."""
        return self._times.first_token_at

    @property
    def said(self) -> int:
        """The number of pieces with text that the caller has from this attempt: about its tokens."""
        return 0 if self._decoder is None else self._decoder.said

    @property
    def partial(self) -> str:
        """The text that the caller has; in a call that is not streamed, all text that has come."""
        if self._decoder is None:
            return ""
        while self._backlog.parts and not self._decoding.locked() and not self._ended:
            self._feed(self._decoder, self._backlog.take(), self._last_bytes_at)
        return self._decoder.text

    def delivered(self) -> tuple[str, int]:
        """`partial` and `said` together."""
        text, decoder = self.partial, self._decoder
        return text, 0 if decoder is None else decoder.said

    @property
    def body(self) -> Json | None:
        """The complete body, whatever the verdict on it; None before the verdict."""
        return None if self._decoder is None else self._decoder.body

    @property
    def usage(self) -> object:
        """The `usage` object that the attempt has reported, if any."""
        decoder = self._decoder
        return None if decoder is None else decoder.body_usage or decoder.assembler.head.get("usage")

    @property
    def generation_id(self) -> str | None:
        """The generation's id, from the headers or the body."""
        said = self.headers.get("x-generation-id") or (
            None if self._decoder is None else self._decoder.assembler.generation_id
        )
        return None if said is None else self._redactor.literally(said)

    # The request

    async def _open(self) -> None:
        send, self._send = self._send, None
        if send is None:
            raise RuntimeError("the attempt was begun already")
        self._watchdog = watchdog = Watchdog(asyncio.get_running_loop(), self._due, self._look)
        watchdog.watch()
        try:
            self._exchange = exchange = await send(self._sent_again)
        except TransportError as error:
            self._events.append(Ended(from_transport(error.fault, error.detail)))
        except asyncio.CancelledError:
            if not watchdog.took():
                raise
            self._missed()
        else:
            self.status, self.headers = exchange.status, exchange.headers
            self._events.append(ResponseStarted(exchange.status))
            self._stage = Stage.READING if 200 <= exchange.status < 300 else Stage.REFUSED
            if self._stage is Stage.READING:
                self._decoder = self._decoder_of(exchange.headers, self.demands)
        finally:
            watchdog.rest()

    def _sent_again(self) -> None:
        self.resent += 1

    async def _read_error(self) -> None:
        """Read the body of an error status. If the body does not end in time, the status alone decides."""
        watchdog, exchange, body = self._watchdog, self._exchange, bytearray()
        if watchdog is None or exchange is None:
            raise RuntimeError("the attempt was closed")
        self._times.refused(self._clock())
        watchdog.again()
        watchdog.watch()
        try:
            while len(body) < MAX_ERROR_BYTES:
                data = await exchange.read()
                if data is None:
                    break
                body += data
        except TransportError:
            pass
        except asyncio.CancelledError:
            if not watchdog.took():
                raise
            body.clear()
        finally:
            watchdog.rest()
        model = self.start.candidate.model
        failure = from_response(exchange.status, self.headers, bytes(body), now=self._wall(), model=model)
        self._events.append(Ended(failure))

    # Bytes

    async def _read(self) -> None:
        """Read until an event is due."""
        watchdog, exchange, decoder = self._watchdog, self._exchange, self._decoder
        if watchdog is None or exchange is None or decoder is None:
            raise RuntimeError("the attempt was closed")
        events, backlog = self._events, self._backlog
        watchdog.watch()
        try:
            while not events:
                if watchdog.moved:
                    watchdog.again()
                data = await exchange.read()
                if data is None:
                    watchdog.rest()
                    await self._catch_up()
                    if not self._ended:
                        events += decoder.end(self._wall())
                elif self._stage is _COLLECTING or (size := weight(data)) > SLICE_BYTES:
                    self._last_bytes_at = now = self._clock()
                    watchdog.moved = watchdog.moved or not backlog.parts
                    if backlog.add(data, now) or self._stage is not _COLLECTING:
                        await self._catch_up()
                else:
                    self._last_bytes_at = now = self._clock()
                    self._feed(decoder, data, now)
                    self._since_turn += size
                    if self._since_turn > SLICE_BYTES:
                        self._since_turn = 0
                        if now >= self._due():  # the watchdog grants late bytes some turns of the loop
                            self._missed()
                        await asyncio.sleep(0)
        except TransportError as error:
            watchdog.rest()
            await self._catch_up()
            if not self._ended:
                events += decoder.broken(from_transport(error.fault, error.detail), self._wall())
        except asyncio.CancelledError:
            if not watchdog.took():
                raise
            self._missed()
        finally:
            watchdog.rest()

    def _feed(self, decoder: AnswerDecoder, data: bytes, at: float) -> None:
        """Decode bytes that came at `at`, and record their events."""
        events = decoder.feed(data, self._wall())
        times = self._times
        if decoder.tokens != self.tokens:
            self.tokens = decoder.tokens
            if decoder.begun and times.first_token_at is None:
                self._first_token(at, decoder)
            else:
                times.last_token_at = at
        if decoder.state is not times.state:
            times.enter(decoder.state, at)
            if decoder.state in _GRACE and self._watchdog is not None:
                self._watchdog.moved = True
        if events:
            self._events += events
            if times.text_at is None and type(events[-1]) is Pieces:
                times.delivered = True
                if decoder.said:
                    times.text_at = at
                    if self.start.drip_by is not None:
                        self._drips_from = max(self.start.drip_by, at + DRIP_SECONDS)
            elif self._drips_from is not None and at >= self._drips_from and self._watchdog is not None:
                self._watchdog.moved = True
                self._drips_from = at + LOOK_SECONDS

    def _first_token(self, at: float, decoder: AnswerDecoder) -> None:
        self._times.first_token(at)
        if not self._deliver and decoder.state is not State.BODY:
            self._stage = Stage.COLLECTING
        if self._watchdog is not None and self.start.stall < self._times.start.first_token_by - at:
            self._watchdog.moved = True

    # Bytes of a call that is not streamed are collected, and decoded together

    async def _catch_up(self) -> None:
        """Decode the collected bytes in slices, between which other tasks run. Only the call's deadline ends this."""
        decoder, backlog = self._decoder, self._backlog
        if decoder is None or not backlog.parts:
            return
        begun = False
        async with self._decoding:  # the reader and `_look` exclude each other
            while backlog.parts and not self._ended:
                for part in slices(backlog.take()):
                    if begun:
                        await asyncio.sleep(0)
                        if self._times.total_passed(self._clock()):
                            self._missed()
                            break
                    begun = True
                    self._feed(decoder, part, self._last_bytes_at)
                    if self._ended:
                        break
        if self._watchdog is not None:
            self._watchdog.moved = True

    # Deadlines

    @property
    def _ended(self) -> bool:
        """Whether the last event is in the queue."""
        return bool(self._events) and type(self._events[-1]) in _ENDS

    def _due(self) -> float:
        """The time at which the wait ends, from the events so far."""
        if self._ended:
            return self._clock()
        times, decoder = self._times, self._decoder
        if times.text_at is not None and times.start.drip_by is not None and decoder is not None:
            times.text(decoder.said, len(decoder.text), reasoned=decoder.reasoned)
        due = times.due()
        return min(due, self._backlog.since + LOOK_SECONDS) if self._backlog.parts else due

    def _look(self) -> bool:
        """At a deadline: whether collected bytes are decoded first, in a task beside the reader."""
        if self._decoding.locked():
            return True
        if not self._backlog.parts or self._ended:
            return False
        self._look_task = asyncio.get_running_loop().create_task(self._catch_up_beside())
        return True

    async def _catch_up_beside(self) -> None:
        """Decode the collected bytes while the reader waits, then check the deadline again."""
        await self._catch_up()
        if self._watchdog is not None:
            self._watchdog.again()

    def _missed(self) -> None:
        """The wait has ended: the missed deadline is the failure. After the finish, the answer so far is complete."""
        if self._ended:
            return
        decoder, now = self._decoder, self._clock()
        if decoder is not None and self._times.state in _GRACE:
            self._events += decoder.end(self._wall())
            return
        try:
            failure = self._own_words = self._times.missed(now)
        except DeadlinePassed:
            self._events.append(OutOfTime())
            return
        self._events += [Ended(failure)] if decoder is None else decoder.broken(failure, self._wall())

    # The end

    def _clean_names(self) -> None:
        """Take secrets out of the names of what has come: events and spans show them, and errors lead to them."""
        decoder = self._decoder
        if decoder is not None:
            body = decoder.body or {}
            self._redactor.clean_values(decoder.assembler.head, body)
            choices = body.get("choices")
            for choice in choices if isinstance(choices, list) else ():
                if isinstance(choice, dict) and choice.get("finish_reason") not in _FINISHES:
                    self._redactor.clean_values(choice, names=("finish_reason",))

    async def _end(self, ended: Ended) -> Ended:
        """End the attempt: remove keys and prompt from its failure. Other tasks run while a long prompt is searched."""
        self._stage = Stage.OVER
        self.completion = ended.completion
        failure = ended.failure
        if failure is not None:
            self.stricter = self.request.stricter(self.start.candidate, self.start.form, failure)
        self._clean_names()
        if failure is None or failure is self._own_words:
            self.failure = failure
            return ended
        keyless = self._redactor.keyless
        provider = failure.provider and keyless(failure.provider)
        code = failure.code and keyless(failure.code)
        parameter = failure.parameter and keyless(failure.parameter)
        for message in self._redactor.steps(failure.message):
            if message is None:
                await asyncio.sleep(0)
            else:
                self.failure = replace(failure, message=message, provider=provider, code=code, parameter=parameter)
        return replace(ended, failure=self.failure)
