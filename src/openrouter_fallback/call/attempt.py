"""One attempt on the wire: its deadlines and its bytes, until it is an answer or a failure. It returns events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial

from ..answer.decoder import SLICE_BYTES, AnswerDecoder, Ended, Pieces, State
from ..answer.seam import SeamJoiner
from ..decision.commands import StartAttempt
from ..decision.deadlines import LOOK_SECONDS, Deadlines
from ..decision.deadlines import OutOfTime as DeadlinePassed
from ..failures.classifier import from_response, from_transport
from ..failures.kinds import Failure, FailureKind
from ..http.protocol import Exchange, TransportError
from ..redaction import Redactor
from ..request.handover import Form
from ..request.request import Request
from ..results import Completion, Json, Piece
from ..routes.needs import most_tokens, wants_json
from .steps import Event, OutOfTime, ResponseStarted
from .watchdog import Watchdog

MAX_UNREAD_BYTES = 256 * 1024
"""So much is collected before it is decoded, and so much is decoded before the loop turns."""
MAX_ERROR_BYTES = 1024 * 1024

_DONE_LINE = b"[DONE]\n\n"
_TURNED_DOWN = Failure(FailureKind.BAD_ANSWER, "accept= turned the answer down", harmless=True)
_GRACE = frozenset({State.FINISHED, State.DONE})


class Stage(Enum):
    """What an attempt does next."""

    NEW = "new"
    """It sends its request."""
    REFUSED = "refused"
    """The status is an error: it reads what that says."""
    READING = "reading"
    """It decodes bytes as they come."""
    COLLECTING = "collecting"
    """Its call is not streamed and the first token has come: bytes are decoded together, now and then."""
    OVER = "over"


# Looked up for every chunk: a member of an Enum costs several times what a global does.
_READING, _COLLECTING = Stage.READING, Stage.COLLECTING


class AttemptReader:
    """Carries out one `StartAttempt`: `next` returns its events, the last of them `Ended` or `OutOfTime`.

    `send` sends the request and returns the open response; it calls its argument each time that the request is sent
    again since a kept connection was lost. In a call that is not streamed to its caller (`deliver`
    False) there are no `Pieces`.
    """

    __slots__ = (
        "_alarm",
        "_clock",
        "_collected",
        "_collected_at",
        "_collected_bytes",
        "_decoder",
        "_decoding",
        "_deliver",
        "_events",
        "_exchange",
        "_last_bytes_at",
        "_look_task",
        "_redactor",
        "_send",
        "_since_turn",
        "_splice",
        "_stage",
        "_times",
        "_tokens",
        "_wall",
        "ask",
        "completion",
        "demands",
        "failure",
        "headers",
        "paused",
        "request",
        "resent",
        "status",
        "stricter",
    )

    def __init__(
        self,
        ask: StartAttempt,
        request: Request,
        send: Callable[[Callable[[], None]], Awaitable[Exchange]],
        clock: Callable[[], float],
        wall: Callable[[], float],
        *,
        deliver: bool,
        total_counts: bool,
        redactor: Redactor,
        splice: SeamJoiner | None = None,
    ) -> None:
        self.ask = ask
        self.request = request
        self.failure: Failure | None = None
        """What went wrong, once the attempt is over: without keys and without the prompt."""
        self.completion: Completion | None = None
        self.status: int | None = None
        self.headers: Mapping[str, str] = {}
        self.resent = 0
        """How many times the request was sent again."""
        self._send: Callable[[Callable[[], None]], Awaitable[Exchange]] | None = send
        self._clock = clock
        self._wall = wall
        self._deliver = deliver
        self._redactor = redactor
        self._splice = splice
        self._times = times = Deadlines(ask, total_counts=total_counts)
        self.paused = times.paused
        """To be called with the seconds that the consumer has held a piece: no clock ran."""
        self._stage = Stage.NEW
        self._events: deque[Event] = deque()
        self._decoder: AnswerDecoder | None = None
        self._tokens = 0
        self._since_turn = 0
        self._exchange: Exchange | None = None
        self._alarm: Watchdog | None = None
        self._last_bytes_at = ask.ticket.started
        self._collected: deque[bytes] = deque()
        self._collected_bytes = 0
        self._collected_at = 0.0
        self._decoding = asyncio.Lock()
        self._look_task: asyncio.Task[None] | None = None
        self.demands = request.demands(ask.candidate)
        """What the request demands of this answer."""
        self.stricter: Form | None = None
        """The form of the history that the model may take, after a refusal that names what stands in it."""

    # For whoever drives it

    async def next(self) -> Event:
        """What has happened next."""
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
        """The caller's `accept=` did not take the answer; how the attempt has ended now."""
        self.completion, self.failure = None, _TURNED_DOWN
        return Ended(_TURNED_DOWN)

    def settle(self) -> Ended:
        """Take an answer that was turned down as the answer after all; how the attempt has ended now."""
        body = self.body
        if body is None:
            raise RuntimeError("the attempt holds no answer")
        self.completion, self.failure = Completion(body), None
        return Ended(completion=self.completion)

    def last_pieces(self) -> list[Piece]:
        """What a finished answer still has to deliver."""
        if self.completion is None or self._decoder is None:
            return []
        return self._decoder.last_pieces(self.completion.raw)

    async def aclose(self) -> None:
        """Close the connection, unless the body was read to its end."""
        if self.completion is None and self.failure is None:  # else that was done at its end, after which nothing comes
            self._clean_names()
        self._collected.clear()
        if self._decoder is not None:
            self._decoder.forget()
        alarm, self._alarm = self._alarm, None
        if alarm is not None:
            alarm.stop()
        if self._look_task is not None:
            self._look_task.cancel()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            await exchange.aclose()

    # What has come so far

    @property
    def first_token_at(self) -> float | None:
        """When the first token came."""
        return self._times.first_token_at

    @property
    def said(self) -> int:
        """How many pieces with text the caller has from this attempt: about its tokens."""
        return 0 if self._decoder is None else self._decoder.said

    @property
    def partial(self) -> str:
        """The text that the caller has; in a call that is not streamed to it, all that has come."""
        if self._decoder is None:
            return ""
        while self._collected and not self._decoding.locked() and not self._ended:
            self._feed(self._decoder, self._collected.popleft(), self._last_bytes_at)
        return self._decoder.text

    def delivered(self) -> tuple[str, int]:
        """`partial` and `said` together."""
        text, decoder = self.partial, self._decoder
        return text, 0 if decoder is None else decoder.said

    @property
    def body(self) -> Json | None:
        """The body that was judged, whatever the verdict; None before."""
        return None if self._decoder is None else self._decoder.body

    @property
    def tokens(self) -> int:
        """How many chunks with tokens have come and were decoded, reasoning and tool calls among them."""
        return self._tokens

    @property
    def usage(self) -> object:
        """The `usage` object that the attempt reported, if it did."""
        return None if self._decoder is None else self._decoder.usage

    @property
    def generation_id(self) -> str | None:
        """The generation's id, of the headers or of the body."""
        said = self.headers.get("x-generation-id") or (
            None if self._decoder is None else self._decoder.assembler.generation_id
        )
        return None if said is None else self._redactor.literally(said)

    @property
    def splice(self) -> SeamJoiner | None:
        """How a continuation joins the delivered text."""
        return self._splice

    # The request

    async def _open(self) -> None:
        send, self._send = self._send, None
        if send is None:
            raise RuntimeError("the attempt was begun already")
        self._alarm = alarm = Watchdog(asyncio.get_running_loop(), self._due, self._look)
        alarm.watch()
        try:
            self._exchange = exchange = await send(self._sent_again)
        except TransportError as error:
            self._events.append(Ended(from_transport(error.fault, error.detail)))
        except asyncio.CancelledError:
            if not alarm.took():
                raise
            self._missed()
        else:
            self.status, self.headers = exchange.status, exchange.headers
            self._events.append(ResponseStarted(exchange.status))
            self._stage = Stage.READING if 200 <= exchange.status < 300 else Stage.REFUSED
            if self._stage is Stage.READING:
                request, own = self.request, self.ask.candidate.params
                self._decoder = AnswerDecoder(
                    exchange.headers,
                    streams=self.ask.candidate.streams,
                    deliver=self._deliver,
                    wants_json=request.wants_json or (bool(own) and wants_json(own)),
                    choices=wanted if isinstance(wanted := request.params.get("n"), int) else 1,
                    max_tokens=most_tokens(request.params, own) if own else request.max_tokens,
                    model=self.ask.candidate.model,
                    demands=self.demands,
                    offered=partial(request.offered, self.ask.candidate, self.ask.form),
                    prepare=partial(request.deliver, candidate=self.ask.candidate, form=self.ask.form),
                    splice=self._splice,
                )
        finally:
            alarm.rest()

    def _sent_again(self) -> None:
        self.resent += 1

    async def _read_error(self) -> None:
        """Read what an error status says; where that does not end in time, the status alone decides."""
        alarm, exchange, body = self._alarm, self._exchange, bytearray()
        if alarm is None or exchange is None:
            raise RuntimeError("the attempt was closed")
        self._times.refused(self._clock())
        alarm.again()
        alarm.watch()
        try:
            while len(body) < MAX_ERROR_BYTES:
                data = await exchange.read()
                if data is None:
                    break
                body += data
        except TransportError:
            pass
        except asyncio.CancelledError:
            if not alarm.took():
                raise
            body.clear()
        finally:
            alarm.rest()
        model = self.ask.candidate.model
        failure = from_response(exchange.status, self.headers, bytes(body), now=self._wall(), model=model)
        self._events.append(Ended(failure))

    # Bytes

    async def _read(self) -> None:
        """Read until there is an event."""
        alarm, exchange, decoder = self._alarm, self._exchange, self._decoder
        if alarm is None or exchange is None or decoder is None:
            raise RuntimeError("the attempt was closed")
        events = self._events
        alarm.watch()
        try:
            while not events:
                if alarm.moved:
                    alarm.again()
                data = await exchange.read()
                if data is None:
                    alarm.rest()
                    await self._catch_up()
                    if not self._ended:
                        events += decoder.end(self._wall())
                elif self._stage is _COLLECTING:
                    if self._collect(data, alarm):
                        await self._catch_up()
                elif len(data) <= SLICE_BYTES:
                    self._last_bytes_at = now = self._clock()
                    self._feed(decoder, data, now)
                    self._since_turn += len(data)
                    if self._since_turn > MAX_UNREAD_BYTES:
                        self._since_turn = 0
                        if now >= self._due():  # the watchdog waits some turns for bytes, and they have come
                            self._missed()
                        await asyncio.sleep(0)
                else:
                    self._collect(data, alarm)
                    await self._catch_up()
        except TransportError as error:
            alarm.rest()
            await self._catch_up()
            if not self._ended:
                events += decoder.broken(from_transport(error.fault, error.detail), self._wall())
        except asyncio.CancelledError:
            if not alarm.took():
                raise
            self._missed()
        finally:
            alarm.rest()

    def _feed(self, decoder: AnswerDecoder, data: bytes, at: float) -> None:
        """Decode bytes that came then; note what has happened."""
        events = decoder.feed(data, self._wall())
        times = self._times
        if decoder.tokens != self._tokens:
            self._tokens = decoder.tokens
            if decoder.begun and times.first_token_at is None:
                self._first_token(at, decoder)
            else:
                times.last_token_at = at
        if decoder.state is not times.state:
            times.enter(decoder.state, at)
            if decoder.state in _GRACE and self._alarm is not None:
                self._alarm.moved = True
        if events:
            self._events += events
            if not times.delivered and type(events[-1]) is Pieces:
                times.delivered = True

    def _first_token(self, at: float, decoder: AnswerDecoder) -> None:
        self._times.first_token(at)
        if not self._deliver and decoder.state is not State.BODY:
            self._stage = Stage.COLLECTING
        if self._alarm is not None and self.ask.stall < self._times.ask.first_token_by - at:
            self._alarm.moved = True

    # Bytes of a call that is not streamed: collected, and decoded together

    def _collect(self, data: bytes, alarm: Watchdog) -> bool:
        """Keep bytes; whether they are to be decoded now."""
        now = self._last_bytes_at = self._clock()
        if self._collected:
            self._collected.append(data)
        else:
            self._collected_at = now
            self._collected.append(data)
            alarm.moved = True
        self._collected_bytes += len(data)
        return (
            self._collected_bytes > MAX_UNREAD_BYTES
            or now - self._collected_at >= LOOK_SECONDS
            or data.endswith(_DONE_LINE)
        )

    async def _catch_up(self) -> None:
        """Decode what was collected, in slices between which the loop turns; only the call's deadline ends that."""
        decoder, collected = self._decoder, self._collected
        if decoder is None or not collected:
            return
        async with self._decoding:  # the reader, or a look at what it has collected
            while collected and not self._ended:
                data = self._joined()
                self._collected_bytes -= len(data)
                for start in range(0, len(data), SLICE_BYTES):
                    self._feed(decoder, data[start : start + SLICE_BYTES], self._last_bytes_at)
                    if self._ended:
                        break
                    if start + SLICE_BYTES < len(data) or collected:
                        await asyncio.sleep(0)
                        if self._times.total_passed(self._clock()):
                            self._missed()
                            break
        if self._alarm is not None:
            self._alarm.moved = True

    def _joined(self) -> bytes:
        """The next collected bytes, together: about as many as are decoded at a time."""
        collected = self._collected
        data = collected.popleft()
        if not collected or len(data) >= SLICE_BYTES:
            return data
        parts, size = [data], len(data)
        while collected and size < SLICE_BYTES:
            parts.append(collected.popleft())
            size += len(parts[-1])
        return b"".join(parts)

    # Deadlines

    @property
    def _ended(self) -> bool:
        """Whether the last event is there."""
        return bool(self._events) and isinstance(self._events[-1], Ended | OutOfTime)

    def _due(self) -> float:
        """When waiting ends, as things stand."""
        if self._ended:
            return self._clock()
        due = self._times.due()
        return min(due, self._collected_at + LOOK_SECONDS) if self._collected else due

    def _look(self) -> bool:
        """Before a deadline holds: whether bytes that were collected are decoded first, beside the reading."""
        if self._decoding.locked():
            return True
        if not self._collected or self._ended:
            return False
        self._look_task = asyncio.get_running_loop().create_task(self._catch_up_beside())
        return True

    async def _catch_up_beside(self) -> None:
        """Decode what was collected while the reading waits, and wait on."""
        await self._catch_up()
        if self._alarm is not None:
            self._alarm.again()

    def _missed(self) -> None:
        """Waiting has ended: say which deadline it was. After the finish what has come is the answer."""
        if self._ended:
            return
        decoder, now = self._decoder, self._clock()
        if decoder is not None and self._times.state in _GRACE:
            self._events += decoder.end(self._wall())
            return
        try:
            failure = self._times.missed(now)
        except DeadlinePassed:
            self._events.append(OutOfTime())
            return
        self._events += [Ended(failure)] if decoder is None else decoder.broken(failure, self._wall())

    # The end

    def _clean_names(self) -> None:
        """Take secrets out of the names of what has come: events and spans show them, and errors lead to them."""
        decoder = self._decoder
        if decoder is not None:
            self._redactor.clean_values(decoder.assembler.head, decoder.body or {})

    async def _end(self, ended: Ended) -> Ended:
        """The one way by which a failure leaves an attempt. The loop turns while a long prompt is looked through."""
        self._stage = Stage.OVER
        self.completion = ended.completion
        failure = ended.failure
        if failure is not None:
            self.stricter = self.request.stricter(self.ask.candidate, self.ask.form, failure)
        self._clean_names()
        if failure is None:
            return ended
        keyless = self._redactor.keyless
        provider = failure.provider and keyless(failure.provider)
        code = failure.code and keyless(failure.code)
        for message in self._redactor.steps(failure.message):
            if message is None:
                await asyncio.sleep(0)
            else:
                self.failure = replace(failure, message=message, provider=provider, code=code)
        return replace(ended, failure=self.failure)
