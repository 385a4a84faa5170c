"""Drives one call over real connections: carries out the commands of its `Steps`, and passes on attempts' events.

The runner sends, sleeps, closes, and holds connection slots and reserved costs. `Steps` and its machine decide;
`AttemptReader` reads one attempt's response.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any

from .. import figures
from ..answer.decoder import Ended, FirstToken, Pieces, Reasoning
from ..answer.demands import NO_CALL, NOT_JSON, ends_without_words
from ..answer.pieces import calls_of, pieces_of
from ..answer.seam import ContinuationMode, SeamJoiner, only_by_prefill
from ..answer.verdict import EMPTY_END
from ..config.models import OPENROUTER
from ..decision.commands import Command, Fail, KeepWaiting, SleepUntil, StartAttempt, Succeed
from ..decision.failover import Failover
from ..errors import DeadlineExceededError, FallbackError, StreamInterruptedError
from ..events import (
    AttemptEnded,
    AttemptStarted,
    CallEnded,
    CallStarted,
    Event,
    FailedOver,
    Hedged,
)
from ..failures.kinds import Failure, FailureKind
from ..http.protocol import MAX_CONNECTIONS, Exchange
from ..request.request import Request
from ..results import Attempt, Completion, Piece, Seam, Skipped, add_usage
from ..routes.candidate import Plan
from ..routes.needs import written_tokens
from ..routes.sticking import is_failover
from ..spending.quotes import CostReservation, Quote, Unaffordable
from .attempt import AttemptReader
from .detached import run_on
from .error_messages import error_for, too_dear
from .race import Race
from .runtime import Call, Runtime, logger
from .steps import OVERTAKEN, RUNS_ON, Delivery, OutOfTime, ResponseStarted, Steps
from .steps import Event as AttemptEvent
from .summary import attempt_of, cost_of, tokens_of, was_cut

_STAY = KeepWaiting()
_closing: set[asyncio.Task[None]] = set()


class _AcceptTooLate(Exception):
    """The deadline of the call has passed while `accept=` ran."""


class Phase(Enum):
    """The progress of a call."""

    NEW = "new"
    RUNNING = "running"
    OVER = "over"


# Globals, since they are read for every piece: reading an Enum member costs several times more.
_NEW, _OVER, _TEXT = Phase.NEW, Phase.OVER, Delivery.TEXT
_DECIDING = frozenset({FirstToken, Ended, OutOfTime})
"""Events after which the call chooses an attempt or starts another one."""


async def _awaited(asked: Awaitable[None]) -> None:
    await asked


class CallRunner:
    """One call under way. Call `advance` until it returns None; then `completion` holds the answer.

    `deliver`: the call is streamed to the caller.
    """

    def __init__(self, runtime: Runtime, call: Call, *, deliver: bool) -> None:
        self.completion: Completion | None = None
        self._runtime = runtime
        if deliver and not all(candidate.streams for candidate in call.plan.candidates):
            # A call that is streamed to the caller is always streamed from the model.
            streamed = tuple(replace(candidate, streams=True) for candidate in call.plan.candidates)
            call = replace(call, plan=replace(call.plan, candidates=streamed))
        self._call = call
        self._number = runtime.number()
        self._deliver = deliver
        self._phase = Phase.NEW
        self._attempts: list[Attempt] = []
        self._steps: Steps | None = None
        self._command: Command = _STAY
        self._race = Race(self._tell)
        self._held_at: float | None = None
        """The clock's time since which the caller holds a piece."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places: asyncio.Semaphore | None = None
        self._held = 0
        self._started = runtime.clock()
        self._too_dear = self._priceless = False
        self._failed: tuple[str, Failure] | None = None
        self._partial: str | None = None
        self._text = ""
        self._author = ""
        self._answering: AttemptReader | None = None
        """The attempt that gave the answer."""
        self._spent: list[tuple[object, int]] = []
        self._seams: list[Seam] = []
        self._resort: tuple[AttemptReader, int] | None = None
        self._silent = False
        self._leasing: asyncio.Task[None] | None = None
        """Requests the lease of a probe while the first attempt is under way."""
        self._costs = CostReservation(runtime.ledger, call.request.messages, call.request.params)
        self._observed = bool(runtime.events.observers) and runtime.events.observed

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

    # For the client and the streams

    async def advance(self) -> list[Piece] | None:
        """The next pieces; None when the answer is complete. Raises a `FallbackError`."""
        if self._phase is _OVER:
            return None
        try:
            pieces = await self._advance()
        except Exception as error:
            if self._over:
                return None  # another task closed the call during the wait
            self._leave("the call ended in an error")
            await self._end("failed", error)
            raise
        except GeneratorExit:
            self.forsake()  # the coroutine was dropped while it waited: nothing can be awaited here
            raise
        except BaseException:
            await self.aclose()
            raise
        if pieces is None:
            await self._end("answered")
        return pieces

    async def aclose(self) -> None:
        """The caller leaves: close the connections at once."""
        if self._over:
            return
        self._leave("the caller left")
        await self._end("cancelled" if self.completion is None else "answered")

    def forsake(self) -> None:
        """The stream was dropped without `aclose`: record the end. A loop that still runs closes the connections."""
        if self._over:
            return
        self._leave("the caller left")
        self._over_with("cancelled")
        loop = self._loop
        if loop is not None and not loop.is_closed():
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(self._abandon, loop)

    def _abandon(self, loop: asyncio.AbstractEventLoop) -> None:
        self._give_back(0)
        task = loop.create_task(self._race.close())
        _closing.add(task)
        task.add_done_callback(_closing.discard)

    def _leave(self, why: str) -> None:
        """Record the end of active attempts; this says nothing about their models."""
        if self._steps is not None:
            self._steps.left(Failure(FailureKind.CANCELLED, why), self._runtime.clock())

    # Commands

    async def _advance(self) -> list[Piece] | None:
        if self._phase is _NEW:
            self._command = await self._begin()
        elif self._held_at is not None:
            self._go_on(self._held_at)
        command: Command | Pieces = self._command
        while True:
            match command:
                case KeepWaiting():
                    alone = self._race.alone
                    if alone is not None and self._core.beside_at is None and self._leasing is None:
                        number, event = alone.ask.number, await alone.next()
                        if type(event) is Pieces:
                            return self._delivered(event.pieces)
                        command = await self._took(number, event)
                    else:
                        command = await self._side_by_side()
                        if isinstance(command, Pieces):
                            return self._delivered(command.pieces)
                case StartAttempt():
                    command = self._start(command)
                case SleepUntil():
                    await self._rest(command)
                    command = self._core.woke(self._runtime.clock())
                case Succeed():
                    self._command = command
                    return self._last_pieces()
                case Fail():
                    await self._close_all(Failure(FailureKind.CANCELLED, "the call is over"))
                    if command.why == "exhausted" and self._resort is not None:
                        return self._last_resort(*self._resort)
                    raise self._error(command)

    async def _side_by_side(self) -> Pieces | Command:
        """Wait for an event of any attempt, or until another attempt should start beside them."""
        at = self._core.beside_at
        seconds = None if at is None else max(0.0, at - self._runtime.clock())
        told = await self._race.next(seconds, self._leasing)
        self._still_open()
        if self._leasing is not None and (told is None or type(told[1]) in _DECIDING):
            await self._probe(self._leasing)
        if told is None:
            at = self._core.beside_at
            return _STAY if at is None or self._runtime.clock() < at else await self._beside()
        number, event = told
        return event if isinstance(event, Pieces) else await self._took(number, event)

    def _go_on(self, held_at: float) -> None:
        """The caller continues: move all deadlines by the time for which it held the last piece."""
        held, self._held_at = self._runtime.clock() - held_at, None
        if held and self._steps is not None:
            self._steps.paused(held)
            alone = self._race.alone
            for reader in self._race.readings if alone is None else (alone,):
                reader.paused(held)

    def _delivered(self, pieces: list[Piece]) -> list[Piece]:
        self._command = _STAY
        steps = self._steps
        if steps is not None and steps.delivery is not _TEXT:
            steps.deliver(pieces)
        self._held_at = self._runtime.clock()
        return pieces

    async def _rest(self, wait: SleepUntil) -> None:
        """Wait without a connection slot: a call that sends nothing takes no slot from other calls."""
        clock, places = self._runtime.clock, self._places
        if self._runtime.health.changes.waiting:
            self._report_breakers()
        self._give_back(0)
        await asyncio.sleep(max(0.0, wait.until - clock()))
        if places is not None:
            with suppress(TimeoutError):  # the machine sees that the deadline has passed
                async with asyncio.timeout(None if not places.locked() else max(0.0, wait.total_by - clock())):
                    await places.acquire()
                    self._held = 1

    async def _begin(self) -> Command:
        self._phase = Phase.RUNNING
        runtime, call = self._runtime, self._call
        try:
            if self._costs.limited:
                call = self._call = replace(call, plan=self._affordable(call.plan))
        finally:  # so that observers see a start before every end
            if self._heard:
                self._emit(CallStarted(self._number, tuple(c.key for c in call.plan.candidates)))
        places = runtime.places()
        self._loop = asyncio.get_running_loop()
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
        now = runtime.clock()
        queued = now - self._started
        limits = call.limits if queued < 0.001 else replace(call.limits, total=max(0.0, call.limits.total - queued))
        machine = Failover(
            call.plan.candidates, runtime.policy, runtime.health, limits, call.request.facts, now, runtime.random
        )
        self._steps = Steps(machine, self._note, lambda: only_by_prefill(self._text))
        if runtime.lease is not None:
            now = await self._ask_lease(runtime.lease(candidate.target for candidate in call.plan.candidates), now)
        return self._steps.begin(now)

    async def _ask_lease(self, asked: Awaitable[None] | None, now: float) -> float:
        """Request the lease of a probe: beside the first attempt, or before it if no attempt may run beside it."""
        if asked is None:
            return now
        work = self._runtime.background.start(_awaited(asked))
        if not self._costs.limited and self._core.machine.goes_without(now):
            self._leasing = work
            return now
        await asyncio.shield(work)
        return self._runtime.clock()

    async def _probe(self, leasing: asyncio.Task[None]) -> None:
        """Start the probe beside the active attempts, if this process has got the lease.

        Waits for the store's answer, 50 ms at most, so that even a call that is answered sooner uses its lease.
        """
        if not leasing.done():
            await asyncio.wait([leasing])
            self._still_open()
        self._leasing = None
        places = self._places
        ask = self._core.probe(self._runtime.clock(), place=places is not None and not places.locked())
        if ask is not None:
            await self._take_place()
            self._start(ask)

    async def _take_place(self) -> None:
        if self._places is not None:
            await self._places.acquire()
            self._held += 1

    def _affordable(self, plan: Plan) -> Plan:
        """The candidates that the spend limits allow. Raises `SpendLimitError` if there are none."""
        offers = [(one, self._costs.offer(one.info, one.params)) for one in plan.candidates]
        kept = tuple(one for one, found in offers if isinstance(found, Quote))
        refused = [(one, found) for one, found in offers if isinstance(found, Unaffordable)]
        beyond = [Skipped(one.key, found.reason) for one, found in refused]
        self._priceless = any(found.priceless for _, found in refused)
        if not kept and beyond:
            raise self._beyond_limits((*beyond, *plan.excluded))
        return Plan(kept, (*plan.excluded, *beyond))

    def _beyond_limits(self, skipped: Sequence[Skipped]) -> FallbackError:
        runtime = self._runtime
        return too_dear(skipped, runtime.ledger.spend(), runtime.wall(), priceless=self._priceless)

    # Attempts

    def _start(self, ask: StartAttempt) -> Command:
        """Start an attempt, unless its cost exceeds a spend limit."""
        why = self._withheld(ask)
        if why is not None:
            return self._core.withheld(ask.number, why, self._runtime.clock())
        self._report(ask)
        if self._runtime.health.changes.waiting:
            self._report_breakers()
        if self._heard:
            silent = self._race.readings
            if ask.hedges and silent:
                first = silent[0].ask
                seconds = self._runtime.clock() - first.permit.started
                self._emit(Hedged(self._number, first.candidate.key, ask.candidate.key, seconds))
            self._emit(AttemptStarted(self._number, ask.candidate.key, ask.number, ask.permit.probe))
        self._race.start(ask.number, self._prepared(ask))
        return _STAY

    def _withheld(self, ask: StartAttempt) -> str | None:
        """Reserve the possible cost of the request. Returns why the request must not be sent, or None."""
        if not self._costs.limited:
            return None
        candidate = ask.candidate
        delivered, written = (self._text, self._written) if ask.way is not None else ("", 0)
        why = self._costs.hold(ask.number, candidate.info, candidate.params, delivered, written)
        if why is None:
            return None
        self._too_dear, self._priceless = True, self._priceless or why.priceless
        return why.reason

    @property
    def _written(self) -> int:
        """The approximate number of tokens that failed attempts have delivered."""
        return sum(written for _, written in self._spent)

    def _prepared(self, ask: StartAttempt) -> AttemptReader:
        """The reader that carries out a `StartAttempt`."""
        call, runtime = self._call, self._runtime
        request, splice = call.request, None
        if ask.way is not None:
            request = request.continued(self._text, ask.way, self._written)
            splice = SeamJoiner(self._text, trusted=ask.way is ask.candidate.continues is ContinuationMode.PREFILL)
        return AttemptReader(
            ask,
            request,
            partial(self._send, ask, request),
            runtime.clock,
            runtime.wall,
            deliver=self._deliver,
            total_counts=call.limits.wall_clock,
            splice=splice,
            redactor=call.redactor,
        )

    def _send(self, ask: StartAttempt, request: Request, resent: Callable[[], None]) -> Awaitable[Exchange]:
        """Send the request of an attempt."""
        destination = self._call.destination(ask.candidate)
        body = request.body(ask.candidate, ask.ignore, self._longest(ask), ask.without, ask.form)
        resend = request.facts.idempotent
        return self._runtime.transport.open(destination.url, destination.headers, body, resend=resend, resent=resent)

    def _longest(self, ask: StartAttempt) -> int | None:
        """The longest answer in tokens that the spend limits and the account allow; None: as the caller says."""
        bounds = [bound for bound in (self._costs.bounds.get(ask.number), ask.max_tokens) if bound is not None]
        return min(bounds, default=None)

    async def _beside(self) -> Command:
        """Start another attempt beside the active ones, if the machine commands one and a connection slot is free."""
        places = self._places
        ask = self._core.beside(self._runtime.clock(), place=places is not None and not places.locked())
        if ask is None:
            return _STAY
        await self._take_place()
        return ask

    def _tell(self, number: int, event: AttemptEvent) -> bool:
        """Pass an event to the machine in the attempt's task, if the caller's task has nothing to do after it."""
        steps, kind = self._steps, type(event)
        if steps is None:
            return False
        if number not in steps.active:
            return False  # a detached attempt
        if kind is FirstToken and (self._deliver or len(steps.active) > 1 or self._leasing is not None):
            return False  # the caller gets pieces, or other attempts are overtaken
        if kind is not FirstToken and kind is not ResponseStarted and kind is not Reasoning:
            return False
        steps.took(number, event, self._runtime.clock())
        return True

    async def _took(self, number: int, event: AttemptEvent) -> Command:
        """Handle an attempt's event, other than `Pieces`."""
        if isinstance(event, Ended):
            return await self._ended(number, event)
        if isinstance(event, OutOfTime):
            return await self._out_of_time(number)
        command = self._core.took(number, event, self._runtime.clock())
        if isinstance(event, FirstToken):
            await self._close_overtaken()
        return command

    async def _close_overtaken(self) -> None:
        """Close overtaken attempts at once, and release their connection slots."""
        core, now = self._core, self._runtime.clock()
        gone = core.overtaken()
        if not gone:
            return
        closed = [number for number in gone if not self._runs_on(number, now)]
        for number in closed:
            core.drop(number, OVERTAKEN, now)
        if closed:
            await self._race.close(*closed)
            self._give_back(len(core.active))
            self._still_open()

    def _runs_on(self, number: int, now: float) -> bool:
        """Detach an overtaken probe, which runs on with its connection slot and its reserved cost."""
        probe = self._core.detached(number)
        if probe is None:
            return False
        self._costs.detached.add(number)
        self._core.drop(number, RUNS_ON, now)
        reader, pending = self._race.detach(number)
        places, self._held = self._places, self._held - 1

        def settle() -> None:
            if number not in self._costs.detached:
                return  # once
            self._costs.detached.discard(number)
            failure = reader.failure or OVERTAKEN
            self._settle(number, reader, failure, self._runtime.clock(), *cost_of(reader))
            if places is not None:
                places.release()

        def forsake() -> None:
            probe.dropped()
            settle()

        work = run_on(probe, reader, pending, self._runtime.clock, settle)
        self._runtime.background.start(work, forsake)
        return True

    async def _close_all(self, why: Failure) -> None:
        if self._race:
            self._core.rest(why, self._runtime.clock())
            await self._race.close()

    def _give_back(self, kept: int) -> None:
        while self._places is not None and self._held > kept:
            self._places.release()
            self._held -= 1

    def _still_open(self) -> None:
        if self._over:
            raise RuntimeError("the call was closed while it waited")

    # The end of an attempt

    async def _ended(self, number: int, ended: Ended) -> Command:
        """An attempt has ended: with an answer for the caller, or a failure for the machine."""
        reader, core = self._race[number], self._core
        ended = self._reconsidered(reader, ended)
        if ended.completion is not None:
            core.choose(number, self._runtime.clock())
            await self._close_overtaken()
            try:
                ended = await self._accepted(reader, ended)
            except _AcceptTooLate:
                return await self._out_of_time(number)
        now = self._runtime.clock()
        await reader.aclose()
        self._still_open()
        self._join(reader, ended)
        if ended.failure is not None:
            self._broke_off(reader, ended.failure)
        command = core.took(number, ended, now, stricter=reader.stricter)
        self._race.take(number)
        if ended.completion is not None:
            self._answer(reader, ended.completion, now)
        elif core.active:
            self._give_back(len(core.active))
            if isinstance(command, KeepWaiting):
                self._report(next(iter(core.active.values())).ask)
        return command

    def _reconsidered(self, reader: AttemptReader, ended: Ended) -> Ended:
        """Keep an answer that misses a demand as the last resort. Accept the second of two empty answers."""
        failure = ended.failure
        if failure is None or self._core.delivery is Delivery.TEXT:
            return ended
        if failure.code in (NO_CALL, NOT_JSON):
            self._resort = reader, len(self._attempts)
        elif failure.code == EMPTY_END and ends_without_words(reader.body, reader.demands):
            if self._silent:
                return reader.settle()
            self._silent = True
        return ended

    def _last_resort(self, reader: AttemptReader, number: int) -> list[Piece] | None:
        """No answer has met the request's demands: deliver the last one as it is."""
        failure, attempt = reader.failure, self._attempts.pop(number)
        said = failure.message if failure is not None else ""
        completion = reader.settle().completion
        if completion is None:
            raise RuntimeError("the last resort holds no answer")
        self._attempts.append(replace(attempt, kind=None, message="", notes=(*attempt.notes, said)))
        logger.warning("%s: %s; no model did better, so that its answer is delivered", attempt.model, said)
        self._command = Succeed()
        self._answer(reader, completion, self._runtime.clock())
        self._answering = None
        pieces = [*pieces_of(completion.raw), *calls_of(completion.raw)] if self._deliver else []
        if not pieces:
            return None
        self._core.deliver(pieces)
        return pieces

    async def _accepted(self, reader: AttemptReader, ended: Ended) -> Ended:
        """Call `accept=`, if no text was delivered yet."""
        accept, completion = self._call.accept, ended.completion
        if accept is None or completion is None or self._core.delivery is Delivery.TEXT:
            return ended
        await reader.aclose()
        now = self._runtime.clock()
        completion.attempts = (
            *self._attempts,
            attempt_of(reader, None, now, *cost_of(reader)),
        )
        limits = self._call.limits
        left = reader.ask.total_by - now if limits.wall_clock else limits.total
        try:
            async with asyncio.timeout(max(0.0, left)) as deadline:
                taken = await self._call.host.call(accept, completion)
        except TimeoutError:
            if deadline.expired():
                raise _AcceptTooLate from None
            raise  # raised by `accept=`
        return ended if taken else reader.turn_down()

    def _broke_off(self, reader: AttemptReader, failure: Failure) -> None:
        """Keep the failure of an attempt for the report, and the text that the attempt has delivered."""
        candidate = reader.ask.candidate
        self._failed = (candidate.key, failure)
        gone = failure.kind is FailureKind.NOT_FOUND and not failure.harmless
        if gone and not (reader.ask.ignore or candidate.max_price):
            self._runtime.not_found(candidate)
        if self._core.delivery is Delivery.TEXT:
            text, said = reader.delivered()
            self._partial = self._text = self._text + text
            if said:
                self._author = candidate.key
                self._spent.append((reader.usage, written_tokens(text, said)))

    def _join(self, reader: AttemptReader, ended: Ended) -> None:
        """Record the seam, once a continuation has joined the delivered text."""
        splice = reader.splice
        if splice is None or not ended.joined:
            return
        if reader.said or ended.completion is not None:
            key = reader.ask.candidate.key
            self._seams.append(Seam(len(self._text), self._author, key, splice.how, splice.dropped))

    def _answer(self, reader: AttemptReader, completion: Completion, now: float) -> None:
        completion.attempts = tuple(self._attempts)
        completion.seconds = now - self._started
        completion.seams = tuple(self._seams)
        self._answering = reader
        self.completion = completion
        key, message = reader.ask.candidate.key, completion.message
        if "tool_calls" in message or "reasoning_details" in message:
            self._runtime.delivered.add(message, key)
        session = self._call.request.session(self._runtime.stick_to)
        if session is not None and is_failover(self._call.plan.candidates[0].key, completion.attempts):
            self._runtime.sticking.failed_over(session, key, now)
        if self._core.delivery is Delivery.TEXT and (said := reader.demands.said(message)):
            logger.warning("%s: %s; its text was delivered as it came", key, said)
        if self._spent:
            usage = add_usage(completion.raw.get("usage"), self._spent, tokens_of(reader))
            completion.raw["usage"] = {**usage, "cost": completion.cost}

    async def _out_of_time(self, number: int) -> Command:
        reader = self._race[number]
        if not self._deliver or self._core.delivery is Delivery.TEXT:
            self._partial = self._text + reader.partial
        await reader.aclose()
        self._still_open()
        command = self._core.out_of_time(self._runtime.clock())
        await self._race.close()
        return command

    def _last_pieces(self) -> list[Piece] | None:
        reader, self._answering = self._answering, None
        pieces = reader.last_pieces() if self._deliver and reader is not None else []
        if self._seams and reader is not None:
            pieces.append(Piece(seams=tuple(self._seams)))
        if not pieces:
            return None
        self._core.deliver(pieces)
        return pieces

    # Errors, events and costs

    def _error(self, given_up: Fail) -> FallbackError:
        seconds = self._runtime.clock() - self._started
        call = self._call
        if self._too_dear and not self._attempts:
            return self._beyond_limits((*given_up.skipped, *call.plan.excluded))
        error = error_for(
            given_up,
            self._attempts,
            call.plan.excluded,
            seconds=seconds,
            key_hint=call.key_hint,
            meant=self._runtime.meant,
        )
        if isinstance(error, StreamInterruptedError | DeadlineExceededError) or self._core.delivery is Delivery.TEXT:
            error.partial = self._partial
        return error

    def _note(self, number: int, failure: Failure | None, now: float, *, counts: bool = True) -> None:
        """Record the end of an attempt. An attempt that failed before it was closed keeps its failure."""
        reader = self._race[number]
        if failure is not None and reader.failure is not None:
            failure = reader.failure
        usd, estimated = cost_of(reader)
        if number not in self._costs.detached:
            self._settle(number, reader, failure, now, usd, estimated)
        attempt = attempt_of(reader, failure, now, usd, estimated)
        if attempt.notes:
            self._runtime.left_out(attempt.model, attempt.notes)
        if counts:
            self._attempts.append(attempt)
        if self._heard:
            self._emit(AttemptEnded(self._number, number, attempt))

    def _settle(
        self,
        number: int,
        reader: AttemptReader,
        failure: Failure | None,
        now: float,
        usd: Decimal | None,
        estimated: bool,
    ) -> None:
        """Book the cost of an attempt: `usd`, which may be an estimate."""
        if self._costs.limited and was_cut(reader, failure):
            ask = reader.ask
            seconds, candidate = now - ask.permit.started, ask.candidate
            booked = self._costs.settle_cut(number, usd, candidate.info, candidate.params, seconds)
            if self._costs.limited and candidate.target.endpoint == OPENROUTER and self._runtime.bills is not None:
                destination, generation = self._call.destination(candidate), figures.name(reader.generation_id)
                self._runtime.bills.look_up(destination, generation, booked)
        else:
            self._costs.settle(number, usd, estimated=estimated)

    def _report(self, ask: StartAttempt) -> None:
        """Report a failover to another model."""
        key = ask.candidate.key
        if self._failed is not None and self._failed[0] != key:
            name, failure = self._failed
            event = FailedOver(self._number, name, key, failure.kind, failure.status, self._attempts[-1].seconds)
            candidates = self._call.plan.candidates
            endpoint = next((one.target.endpoint for one in candidates if one.key == name), None)
            self._runtime.lines.failed_over(event, endpoint)
            self._emit(event)
        self._failed = None

    def _report_breakers(self) -> None:
        """Report what circuit breakers have done; called only where something waits."""
        for event in self._runtime.breaker_events(self._number):
            self._emit(event)

    @property
    def _heard(self) -> bool:
        return self._observed or self._call.host.heard

    def _emit(self, event: Event) -> None:
        if self._observed:
            self._runtime.events.observe(event, self)
        if self._call.host.heard:
            self._call.host.emit(event)

    # The end

    async def _end(self, outcome: str, error: Exception | None = None) -> None:
        if self._over:
            return
        self._give_back(0)
        self._over_with(outcome, error)
        if self._race:
            await self._race.close()

    def _over_with(self, outcome: str, error: Exception | None = None) -> None:
        self._phase = Phase.OVER
        self._costs.close()
        self._steps = None
        if self._runtime.health.changes.waiting:
            self._report_breakers()
        if self._runtime.lines.held:
            self._runtime.lines.call_ended()
        if self._heard:
            model = self.completion.attempts[-1].model if self.completion is not None else None
            seconds = self._runtime.clock() - self._started
            raised = type(error).__name__ if error is not None else None
            seams = tuple(self._seams)
            self._emit(CallEnded(self._number, outcome, model, len(self._attempts), seconds, raised, seams))

    @property
    def _over(self) -> bool:
        return self._phase is Phase.OVER

    @property
    def _core(self) -> Steps:
        if self._steps is None:
            raise RuntimeError("the call is not under way")
        return self._steps
