"""Drives one call over real connections: carries out the commands of its `Steps`, and passes on attempts' events.

The runner starts, waits for and closes attempts. `Steps` and its machine decide; `AttemptReader` reads one attempt's
response, and `Sender` makes that reader. What the call holds has four homes: `ConnectionSlots`, `CallCosts`, `Outcome`
(attempts, delivered text, answer) and `Reporter` (events and log lines).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import replace
from enum import Enum

from ..answer.decoder import Ended, FirstToken, Pieces, Reasoning
from ..answer.seam import only_by_prefill
from ..decision.commands import Command, Fail, KeepWaiting, SleepUntil, StartAttempt, Succeed
from ..decision.failover import Failover
from ..errors import FallbackError
from ..failures.kinds import Failure, FailureKind
from ..results import Piece
from .costs import CallCosts
from .detached import DetachedAttempt
from .outcome import Outcome
from .race import Race
from .reporting import Reporter
from .runtime import Call, Runtime
from .sending import Sender
from .slots import ConnectionSlots
from .steps import OVERTAKEN, RUNS_ON, Delivery, OutOfTime, ResponseStarted, Steps
from .steps import Event as AttemptEvent
from .summary import attempt_of, cost_of

_KEEP_WAITING = KeepWaiting()
_closing: set[asyncio.Task[None]] = set()


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
    """One call under way. Call `advance` until it returns None; then `outcome.completion` is the answer.

    `deliver`: the call is streamed to the caller.
    """

    def __init__(self, runtime: Runtime, call: Call, *, deliver: bool) -> None:
        if deliver and not all(candidate.streams for candidate in call.plan.candidates):
            # A call that is streamed to the caller is always streamed from the model.
            streamed = tuple(replace(candidate, streams=True) for candidate in call.plan.candidates)
            call = replace(call, plan=replace(call.plan, candidates=streamed))
        self._runtime = runtime
        self._call = call
        self._deliver = deliver
        self._phase = Phase.NEW
        self._steps: Steps | None = None
        self._command: Command = _KEEP_WAITING
        self._race = Race()
        self._slots = ConnectionSlots()
        self.outcome = Outcome(runtime, call)
        self._reporter = Reporter(runtime, call, self.outcome, streamed=deliver)
        self._costs = CallCosts(runtime, call)
        self._sender = Sender(runtime, call, self.outcome, self._costs, deliver=deliver)
        self._held_at: float | None = None
        """The clock's time since which the caller holds a piece."""
        self._loop: asyncio.AbstractEventLoop | None = None
        self._leasing: asyncio.Task[None] | None = None
        """Requests the lease of a probe while the first attempt is under way."""

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
        await self._end("cancelled" if self.outcome.completion is None else "answered")

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
        self._slots.close()
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
                        number, event = alone.start.number, await alone.next()
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
                    return self._rest_of(self.outcome.last_pieces()) if self._deliver else None
                case Fail():
                    alone = None  # the error leads to this frame, and an attempt to what its server sent
                    await self._close_all(Failure(FailureKind.CANCELLED, "the call is over"))
                    if command.why != "raised" and self.outcome.resort is not None:
                        delivered, self._command = self._core.delivery is _TEXT, Succeed()
                        return self._rest_of(self.outcome.last_resort(self._runtime.clock(), delivered=delivered))
                    raise self._error(command)

    async def _side_by_side(self) -> Pieces | Command:
        """Wait for an event of any attempt, or until another attempt should start beside them."""
        at = self._core.beside_at
        seconds = None if at is None else max(0.0, at - self._runtime.clock())
        told = await self._race.next(self._tell, seconds, self._leasing)
        self._still_open()
        if self._leasing is not None and (told is None or type(told[1]) in _DECIDING):
            await self._probe(self._leasing)
        if told is None:
            at = self._core.beside_at
            return _KEEP_WAITING if at is None or self._runtime.clock() < at else await self._beside()
        number, event = told
        return event if isinstance(event, Pieces) else await self._took(number, event)

    def _go_on(self, held_at: float) -> None:
        """The caller continues: move all deadlines by the time for which it held the last piece."""
        held, self._held_at = self._runtime.clock() - held_at, None
        if held and self._steps is not None:
            self._steps.paused(held)
            alone = self._race.alone
            for reader in self._race.readers if alone is None else (alone,):
                reader.paused(held)

    def _delivered(self, pieces: list[Piece]) -> list[Piece]:
        self._command = _KEEP_WAITING
        steps = self._steps
        if steps is not None and steps.delivery is not _TEXT:
            steps.deliver(pieces)
        self._held_at = self._runtime.clock()
        return pieces

    def _rest_of(self, pieces: list[Piece]) -> list[Piece] | None:
        """Deliver the last pieces of the answer to the caller of a stream; None if there are none."""
        if not pieces or not self._deliver:
            return None
        self._core.deliver(pieces)
        return pieces

    async def _rest(self, wait: SleepUntil) -> None:
        """Wait without a connection slot: a call that sends nothing takes no slot from other calls."""
        clock = self._runtime.clock
        self._reporter.breakers()
        self._slots.keep(0)
        await asyncio.sleep(max(0.0, wait.until - clock()))
        await self._slots.take_again(wait.total_by - clock())

    async def _begin(self) -> Command:
        self._phase = Phase.RUNNING
        runtime, call, outcome = self._runtime, self._call, self.outcome
        try:
            outcome.plan = self._costs.affordable(outcome.plan)
        finally:  # so that observers see a start before every end
            self._reporter.call_started(outcome.plan)
        slots = runtime.connection_slots()
        self._loop = asyncio.get_running_loop()
        await self._slots.take(slots, call.limits.total)
        now = runtime.clock()
        queued = now - outcome.started
        limits = call.limits if queued < 0.001 else replace(call.limits, total=max(0.0, call.limits.total - queued))
        candidates = outcome.plan.candidates
        machine = Failover(candidates, runtime.policy, runtime.health, limits, call.request.traits, now, runtime.random)
        self._steps = Steps(machine, self._note, lambda: only_by_prefill(outcome.text))
        if runtime.lease is not None:
            now = await self._ask_lease(runtime.lease(candidate.target for candidate in candidates), now)
        return self._core.begin(now)

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
        start = self._core.probe(self._runtime.clock(), slot=self._slots.free)
        if start is not None:
            await self._slots.one_more()
            self._start(start)

    # Attempts

    def _start(self, start: StartAttempt) -> Command:
        """Start an attempt, unless its cost exceeds a spend limit."""
        why = self._costs.withheld(start, self.outcome)
        if why is not None:
            return self._core.withheld(start.number, why, self._runtime.clock())
        beside = self._race.readers[0].start if start.hedges and self._race else None
        self._reporter.attempt_started(start, beside)
        self._race.start(start.number, self._sender.reader(start))
        return _KEEP_WAITING

    async def _beside(self) -> Command:
        """Start another attempt beside the active ones, if the machine commands one and a connection slot is free."""
        runtime = self._runtime
        start = self._core.beside(runtime.clock(), slot=self._slots.free)
        if start is None:
            if runtime.lease is not None:  # a circuit may be due for a probe that no other call makes
                asked = runtime.lease(self._core.machine.open_targets)
                if asked is not None:
                    runtime.background.start(_awaited(asked))
            return _KEEP_WAITING
        await self._slots.one_more()
        return start

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
            self._slots.keep(len(core.active))
            self._still_open()

    def _runs_on(self, number: int, now: float) -> bool:
        """Detach an overtaken probe, which runs on with its connection slot and its reserved cost."""
        probe = self._core.machine.detached(number)
        if probe is None:
            return False
        self._costs.detach(number)
        self._core.drop(number, RUNS_ON, now)
        reader, pending = self._race.detach(number)
        clock = self._runtime.clock
        attempt = DetachedAttempt(probe, reader, pending, self._costs, self._slots.hand_over(), clock)
        self._runtime.background.start(attempt.run(), attempt.forsake)
        return True

    async def _close_all(self, why: Failure) -> None:
        if self._race:
            self._core.rest(why, self._runtime.clock())
            await self._race.close()

    def _still_open(self) -> None:
        if self._over:
            raise RuntimeError("the call was closed while it waited")

    # The end of an attempt

    async def _ended(self, number: int, ended: Ended) -> Command:
        """An attempt has ended: with an answer for the caller, or a failure for the machine."""
        reader, core, outcome = self._race[number], self._core, self.outcome
        if ended.failure is not None:
            ended = outcome.reconsidered(reader, ended, delivered=core.delivery is _TEXT)
        if ended.completion is not None:
            core.choose(number, self._runtime.clock())
            await self._close_overtaken()
            if self._call.accept is not None and core.delivery is not _TEXT:
                verdict = await outcome.accepted(self._call.accept, reader, ended.completion)
                if isinstance(verdict, OutOfTime):
                    return await self._out_of_time(number)
                ended = verdict
        now = self._runtime.clock()
        await reader.aclose()
        self._still_open()
        delivered = core.delivery is _TEXT
        if delivered:
            outcome.joined(reader, ended)
        if ended.failure is not None:
            self._reporter.failed(reader.start, ended.failure)
            if delivered:
                outcome.cut(reader)
        command = core.took(number, ended, now, stricter=reader.stricter)
        self._race.take(number)
        if ended.completion is not None:
            outcome.answer(reader, ended.completion, now, delivered=delivered)
        elif core.active:
            self._slots.keep(len(core.active))
            if isinstance(command, KeepWaiting):
                self._reporter.goes_on(next(iter(core.active.values())).start)
        return command

    async def _out_of_time(self, number: int) -> Command:
        reader = self._race[number]
        if not self._deliver or self._core.delivery is _TEXT:
            self.outcome.out_of_time(reader)
        await reader.aclose()
        self._still_open()
        command = self._core.out_of_time(self._runtime.clock())
        await self._race.close()
        return command

    def _error(self, given_up: Fail) -> FallbackError:
        outcome = self.outcome
        if self._costs.refused and not outcome.attempts:
            return self._costs.error((*given_up.skipped, *outcome.plan.excluded))
        return outcome.error(given_up, delivered=self._core.delivery is _TEXT)

    def _note(self, number: int, failure: Failure | None, now: float, *, counts: bool = True) -> None:
        """Record the end of an attempt. An attempt that failed before it was closed keeps its failure."""
        reader = self._race[number]
        if failure is not None and reader.failure is not None:
            failure = reader.failure
        usd, estimated = cost_of(reader)
        self._costs.settle(number, reader, failure, now, usd, estimated)
        attempt = attempt_of(reader, failure, now, usd, estimated)
        if counts:
            self.outcome.attempts.append(attempt)
        self._reporter.attempt_ended(number, attempt)

    # The end

    async def _end(self, how: str, error: Exception | None = None) -> None:
        if self._over:
            return
        self._slots.close()
        self._over_with(how, error)
        if self._race:
            await self._race.close()

    def _over_with(self, how: str, error: Exception | None = None) -> None:
        self._phase = Phase.OVER
        self._costs.close()
        self._steps = None
        self._reporter.call_ended(how, error)

    @property
    def _over(self) -> bool:
        return self._phase is Phase.OVER

    @property
    def _core(self) -> Steps:
        if self._steps is None:
            raise RuntimeError("the call is not under way")
        return self._steps
