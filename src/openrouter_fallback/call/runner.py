"""One call under way: sends what its machine asks for, sleeps when it waits, closes what is over."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ..answer.seam import ContinuationMode, SeamJoiner, only_by_prefill
from ..decision.commands import Command, Fail, KeepWaiting, SleepUntil, StartAttempt, Succeed
from ..decision.deadlines import OutOfTime
from ..decision.failover import Failover
from ..errors import DeadlineExceededError, FallbackError, StreamInterruptedError
from ..events import (
    AttemptEnded,
    AttemptStarted,
    BreakerOpened,
    CallEnded,
    CallStarted,
    Event,
    FailedOver,
    Hedged,
    log,
)
from ..failures.kinds import Failure, FailureKind
from ..http.protocol import MAX_CONNECTIONS
from ..redaction import Redactor
from ..results import Attempt, Completion, Piece, Seam, Skipped, add_usage
from ..routes.candidate import Plan
from ..routes.needs import written_tokens
from ..spending.quotes import CostReservation
from .attempt import AttemptReader
from .error_messages import error_for, too_dear
from .race import Race
from .runtime import Call, Runtime
from .summary import attempt_of, cost_of

_TOO_LATE = Failure(FailureKind.TIMED_OUT, "the call's deadline has passed")


class CallRunner:
    """One call under way. `advance` until it returns None; then `completion` is there.

    `deliver`: its pieces go to the caller as they come.
    """

    def __init__(self, engine: Runtime, call: Call, *, deliver: bool) -> None:
        self.completion: Completion | None = None
        self._engine = engine
        if deliver and not all(candidate.streams for candidate in call.plan.candidates):
            # What is delivered as a stream is always streamed from the model.
            streamed = tuple(replace(candidate, streams=True) for candidate in call.plan.candidates)
            call = replace(call, plan=replace(call.plan, candidates=streamed))
        self._call = call
        self._redactor = Redactor(call.keys, call.request.texts)
        self._number = engine.number()
        self._deliver = deliver
        self._attempts: list[Attempt] = []
        self._reading: AttemptReader | None = None
        self._machine: Failover | None = None
        self._command: Command | None = None
        self._flights = Race()
        self._places: asyncio.Semaphore | None = None
        self._held = 0
        self._started = engine.clock()
        self._streamed = self._delivered = self._restarted = False
        self._over = self._too_dear = False
        self._failed: tuple[str, Failure] | None = None
        self._partial: str | None = None
        self._text = ""
        self._author = ""
        self._spent: list[tuple[object, int]] = []
        self._seams: list[Seam] = []
        self._costs = CostReservation(engine.ledger, call.request.messages, call.request.params)
        self._observed = engine.events.observed

    # For observers

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self._call.request.messages

    @property
    def params(self) -> Mapping[str, Any]:
        return self._call.request.params

    @property
    def streamed(self) -> bool:
        return self._deliver

    # For whoever drives it

    async def advance(self) -> list[Piece] | None:
        """The next pieces; None when the answer is complete. Raises a `FallbackError`."""
        if self._over:
            return None
        try:
            pieces = await self._advance()
        except Exception as error:
            if self._over:
                return None  # closed from elsewhere while this waited
            self._leave("the call ended in an error")
            await self._end("failed", error)
            raise
        except BaseException:
            await self.aclose()
            raise
        if pieces is None:
            await self._end("answered")
        return pieces

    async def aclose(self) -> None:
        """The caller leaves: close the upstream connection at once."""
        if self._over:
            return
        self._leave("the caller left")
        await self._end("cancelled" if self.completion is None else "answered")

    def forsake(self) -> None:
        """The loop has ended before the call: nothing can be closed any more, but it is accounted for."""
        if not self._over:
            self._leave("the caller left")
            self._over_with("cancelled")

    def _leave(self, why: str) -> None:
        """Account for an attempt that is still under way: its end says nothing of the model."""
        now = self._engine.clock()
        for reading in self._under_way():
            self._note(reading, Failure(FailureKind.CANCELLED, why), now)
        if self._machine is not None:
            self._machine.left(now)

    def _under_way(self) -> list[AttemptReader]:
        return [*([self._reading] if self._reading is not None else []), *self._flights.readings]

    async def _advance(self) -> list[Piece] | None:
        command = self._command or await self._begin()
        while True:
            match command:
                case StartAttempt():
                    if self._reading is None:
                        if command.hedge_at is not None:
                            command = await self._race(command)
                            continue
                        why = self._withheld(command)
                        if why is not None:
                            command = self._machine_().withheld(why, self._engine.clock(), command.number)
                            continue
                        await self._open(command)
                    pieces = await self._read()
                    if pieces is not None:
                        self._command = command
                        return pieces
                    command = await self._conclude(command)
                case SleepUntil(until):
                    await asyncio.sleep(max(0.0, until - self._engine.clock()))
                    command = self._machine_().woke(self._engine.clock())
                case Succeed():
                    self._command = command
                    return self._last_pieces()
                case Fail():
                    raise self._error(command)
                case KeepWaiting():
                    raise RuntimeError("no attempt is under way")

    async def _begin(self) -> Command:
        engine, call = self._engine, self._call
        try:
            if self._costs.limited:
                call = self._call = replace(call, plan=self._affordable(call.plan))
        finally:  # whoever is told that a call has ended was told that it began
            if self._heard:
                self._emit(CallStarted(self._number, tuple(c.key for c in call.plan.candidates)))
        places = engine.places()
        if places.locked():
            try:
                async with asyncio.timeout(call.limits.total):
                    await places.acquire()
            except TimeoutError:
                raise DeadlineExceededError(
                    f"No place for another request within {call.limits.total:.1f} s: {MAX_CONNECTIONS} are under way."
                ) from None
        else:
            await places.acquire()
        self._places, self._held = places, 1
        now = engine.clock()
        queued = now - self._started
        limits = call.limits if queued < 0.001 else replace(call.limits, total=max(0.0, call.limits.total - queued))
        self._machine = Failover(
            call.plan.candidates, engine.policy, engine.health, limits, call.request.facts, now, engine.random
        )
        return self._machine.begin(now)

    def _affordable(self, plan: Plan) -> Plan:
        """The candidates that the spend limits leave; raises `SpendLimitError` where that is none."""
        offers = [(one, self._costs.offer(one.info, one.params)) for one in plan.candidates]
        kept = tuple(one for one, found in offers if not isinstance(found, str))
        beyond = [Skipped(one.key, found) for one, found in offers if isinstance(found, str)]
        if not kept and beyond:
            raise too_dear((*beyond, *plan.excluded), self._engine.ledger.spend(), self._engine.wall())
        return Plan(kept, (*plan.excluded, *beyond))

    @property
    def _written(self) -> int:
        """About how many tokens of the answer have been delivered by attempts that broke off."""
        return sum(written for _, written in self._spent)

    def _withheld(self, ask: StartAttempt) -> str | None:
        """Hold what the request may cost; why it must not be sent, or None."""
        candidate = ask.candidate
        delivered, written = (self._text, self._written) if ask.way is not None else ("", 0)
        why = self._costs.hold(ask.number, candidate.info, candidate.params, delivered, written)
        self._too_dear = self._too_dear or why is not None
        return why

    async def _open(self, ask: StartAttempt) -> None:
        self._reading = reading = self._prepared(ask)
        try:
            await reading.open(self._engine.transport, *self._letter(reading))
        except OutOfTime:
            await self._out_of_time(reading)

    async def _race(self, ask: StartAttempt) -> Command:
        """Attempts side by side, until one has its first token or none is left."""
        clock, machine, flights = self._engine.clock, self._machine_(), self._flights
        command: Command = ask
        hedge_at: float | None = None
        while True:
            if isinstance(command, StartAttempt):
                if command.hedge_at is None and not flights:
                    return command
                why = self._withheld(command)
                if why is not None:
                    command = machine.withheld(why, clock(), command.number)
                    continue
                hedge_at = command.hedge_at
                reading = self._prepared(command)
                flights.start(reading, reading.to_first_token(self._engine.transport, *self._letter(reading)))
            elif not isinstance(command, KeepWaiting):
                await self._break_off(Failure(FailureKind.CANCELLED, "the call is over"))
                return command
            landed = await flights.landed(None if hedge_at is None else max(0.0, hedge_at - clock()))
            self._still_open()
            winner = next((one for one in landed if one.begun and machine.under_way(one.ask.number)), None)
            command = KeepWaiting()
            if winner is not None:
                self._take(winner)
                machine.chosen(clock(), winner.ask.number)
                await self._break_off(Failure(FailureKind.CANCELLED, "another model was faster"))
                self._still_open()
                return winner.ask
            if landed:
                command = await self._landed(landed[0])
            else:
                command, hedge_at = await self._hedge() or command, None

    async def _landed(self, reading: AttemptReader) -> Command:
        """One of several attempts has ended without a token."""
        self._take(reading)
        if reading.out_of_time:
            await self._break_off(_TOO_LATE)
            await self._out_of_time(reading)
        await reading.aclose()
        self._still_open()
        if not self._machine_().under_way(reading.ask.number):  # another has had its first token meanwhile
            self._note(reading, reading.failure, self._engine.clock())
            self._reading = None
            return KeepWaiting()
        command = await self._conclude(reading.ask)
        self._give_back(max(1, len(self._flights.readings) + isinstance(command, StartAttempt)))
        if isinstance(command, KeepWaiting):
            self._report(self._flights.readings[0].ask)
        return command

    def _take(self, reading: AttemptReader) -> None:
        """Go on with one that has landed."""
        self._flights.take(reading)
        self._reading = reading

    def _still_open(self) -> None:
        if self._over:
            raise RuntimeError("the call was closed while it waited")

    async def _hedge(self) -> StartAttempt | None:
        """One more at the side of those under way, if the machine wants it and there is a place."""
        places = self._places
        if places is None or places.locked():
            return None
        ask = self._machine_().hedge(self._engine.clock())
        if ask is not None:
            await places.acquire()
            self._held += 1
        return ask

    async def _break_off(self, why: Failure) -> None:
        """Close the other attempts at once and give their places back."""
        now = self._engine.clock()
        for reading in self._flights.readings:
            self._note(reading, reading.failure or why, now)
        await self._flights.close()
        self._give_back(1)

    def _give_back(self, kept: int) -> None:
        while self._places is not None and self._held > kept:
            self._places.release()
            self._held -= 1

    def _prepared(self, ask: StartAttempt) -> AttemptReader:
        """What will carry out an ask."""
        call, engine = self._call, self._engine
        self._report(ask)
        if self._heard:
            silent = self._flights.readings
            if ask.hedges and silent:
                started = silent[0].ask.ticket.started
                key = silent[0].ask.candidate.key
                self._emit(Hedged(self._number, key, ask.candidate.key, engine.clock() - started))
            self._emit(AttemptStarted(self._number, ask.candidate.key, ask.number, ask.ticket.probe))
        request, splice = call.request, None
        if ask.way is not None:
            request = request.continued(self._text, ask.way, self._written)
            splice = SeamJoiner(self._text, trusted=ask.way is ask.candidate.continues is ContinuationMode.PREFILL)
        return AttemptReader(
            ask,
            request,
            self._machine_(),
            engine.clock,
            engine.wall,
            deliver=self._deliver,
            total_counts=call.limits.wall_clock,
            splice=splice,
            redactor=self._redactor,
        )

    def _letter(self, reading: AttemptReader) -> tuple[str, Mapping[str, str], bytes]:
        """The request of an attempt: URL, headers, body."""
        ask = reading.ask
        wire = self._call.wire(ask.candidate)
        return (
            wire.url,
            wire.headers,
            reading.request.body(ask.candidate, ask.ignore, self._costs.bounds.get(ask.number)),
        )

    async def _read(self) -> list[Piece] | None:
        reading = self._reading
        if reading is None:
            return None
        try:
            pieces = await reading.advance()
        except OutOfTime:
            await self._out_of_time(reading)
            return None
        if not pieces:
            return None
        self._mark(pieces)
        return pieces

    def _mark(self, pieces: list[Piece]) -> None:
        """Note what reaches the caller, and the first piece of an attempt that starts over."""
        if self._restarted:
            self._restarted = False
            pieces[0] = replace(pieces[0], restarted=True)
        if not self._delivered and any(piece.text or piece.tool_calls for piece in pieces):
            self._delivered = self._streamed = True
            self._machine_().delivered()
        elif not self._streamed:
            self._streamed = True
            self._machine_().streamed()

    async def _conclude(self, ask: StartAttempt) -> Command:
        """The attempt is over: an answer for the caller, or a failure for the machine."""
        reading, engine = self._reading, self._engine
        if reading is None:
            raise RuntimeError("no attempt is under way")
        accept = self._call.accept
        if reading.completion is not None and accept is not None and not self._delivered:
            await reading.aclose()
            reading.completion.attempts = (
                *self._attempts,
                attempt_of(reading, None, engine.clock(), *cost_of(reading, self._call.request)),
            )
            if not await self._call.host.call(accept, reading.completion):
                reading.turn_down()
        now = engine.clock()
        completion = reading.completion
        failure = reading.failure
        await reading.aclose()
        self._still_open()
        self._joined(reading, ask)
        if completion is not None:
            self._note(reading, None, now)
            completion.attempts = tuple(self._attempts)
            completion.seconds = now - self._started
            completion.seams = tuple(self._seams)
            self.completion = completion
            if self._spent:
                completion.raw["usage"] = {
                    **add_usage(completion.raw.get("usage"), self._spent),
                    "cost": completion.cost,
                }
            return self._machine_().succeeded(now, ask.number)
        if failure is None:
            raise RuntimeError("an attempt ended without an answer and without a failure")
        self._note(reading, failure, now, counts=not self._machine_().prefill_refused(failure, ask.number))
        self._reading = None
        self._restarted = self._streamed and not self._delivered
        self._failed = (ask.candidate.key, failure)
        if failure.kind is FailureKind.NOT_FOUND and not (ask.ignore or ask.candidate.max_price):
            engine.not_found(ask.candidate)
        if self._delivered:
            self._partial = self._text = self._text + reading.partial
            if reading.said:
                self._author = ask.candidate.key
                self._spent.append((reading.assembler.usage, written_tokens(reading.partial, reading.said)))
        return self._machine_().failed(
            failure,
            now,
            number=ask.number,
            only_prefill=self._delivered and only_by_prefill(self._text),
        )

    def _joined(self, reading: AttemptReader, ask: StartAttempt) -> None:
        """Note the seam, once a continuation has shown what it does."""
        splice = reading.splice
        if splice is None or not splice.joined:
            return
        self._machine_().joined(splice.how)
        if reading.said or reading.completion is not None:
            self._seams.append(Seam(len(self._text), self._author, ask.candidate.key, splice.how, splice.dropped))

    async def _out_of_time(self, reading: AttemptReader) -> None:
        await reading.aclose()
        self._still_open()
        now = self._engine.clock()
        self._note(reading, _TOO_LATE, now)
        self._partial = self._text + reading.partial if self._delivered or not self._deliver else None
        self._reading = None
        raise self._error(self._machine_().out_of_time(now))

    def _last_pieces(self) -> list[Piece] | None:
        reading, self._reading = self._reading, None
        pieces = reading.last_pieces() if self._deliver and reading is not None else []
        if self._seams and reading is not None:
            pieces.append(Piece(seams=tuple(self._seams)))
        if not pieces:
            return None
        self._mark(pieces)
        return pieces

    def _error(self, given_up: Fail) -> FallbackError:
        seconds = self._engine.clock() - self._started
        call = self._call
        if self._too_dear and not self._attempts:
            return too_dear((*given_up.skipped, *call.plan.excluded), self._engine.ledger.spend(), self._engine.wall())
        error = error_for(
            given_up,
            self._attempts,
            call.plan.excluded,
            seconds=seconds,
            key_hint=call.key_hint,
            meant=self._engine.meant,
        )
        if isinstance(error, StreamInterruptedError | DeadlineExceededError) or self._delivered:
            error.partial = self._partial
        return error

    def _note(self, reading: AttemptReader, failure: Failure | None, now: float, *, counts: bool = True) -> None:
        usd, estimated = cost_of(reading, self._call.request)
        self._costs.purse.settle(reading.ask.number, usd or Decimal(0), estimated=estimated)
        attempt = attempt_of(reading, failure, now, usd, estimated)
        if counts:
            self._attempts.append(attempt)
        if self._heard:
            self._emit(AttemptEnded(self._number, reading.ask.number, attempt))

    def _report(self, ask: StartAttempt) -> None:
        """Say that the call goes on with another model."""
        key = ask.candidate.key
        if self._failed is not None and self._failed[0] != key:
            name, failure = self._failed
            event = FailedOver(self._number, name, key, failure.kind, failure.status, self._attempts[-1].seconds)
            log(event)
            self._emit(event)
        self._failed = None

    @property
    def _heard(self) -> bool:
        return self._observed or self._call.host.heard

    def _emit(self, event: Event) -> None:
        if self._observed:
            self._engine.events.observe(event, self)
        if self._call.host.heard:
            self._call.host.emit(event)

    async def _end(self, outcome: str, error: Exception | None = None) -> None:
        if self._over:
            return
        reading = self._reading
        self._give_back(0)
        self._over_with(outcome, error)
        try:
            if self._flights:
                await self._flights.close()
        finally:
            if reading is not None:
                await reading.aclose()

    def _over_with(self, outcome: str, error: Exception | None = None) -> None:
        self._over = True
        self._reading = None
        self._costs.purse.close()
        machine = self._machine
        for name in machine.opened if machine is not None else ():
            opened = BreakerOpened(self._number, name)
            log(opened)
            self._emit(opened)
        if self._heard:
            model = self.completion.attempts[-1].model if self.completion is not None else None
            seconds = self._engine.clock() - self._started
            raised = type(error).__name__ if error is not None else None
            seams = tuple(self._seams)
            self._emit(CallEnded(self._number, outcome, model, len(self._attempts), seconds, raised, seams))

    def _machine_(self) -> Failover:
        if self._machine is None:
            raise RuntimeError("the call has not begun")
        return self._machine
