"""The core of a call: passes the attempts' events to the call's machine, and keeps the active attempts.

Pure: no event loop, no HTTP, no clock. `CallRunner` drives the core over real connections, `tests/support/timeline.py`
in virtual time. Only the core passes events to the machine of a call (`Failover`).

    command                       what the driver does
    StartAttempt                  starts an attempt, which is in `active` now, and calls `beside` at `beside_at`
    KeepWaiting                   waits for the next event of any active attempt, or for `beside_at`
    SleepUntil                    sleeps, then `woke`
    Succeed, Fail                 ends the call

    an attempt's event            what it means here
    ResponseStarted               the endpoint is reached
    FirstToken                    the call takes this attempt; attempts that the machine no longer has are overtaken
    Reasoning                     the model reasons
    Pieces                        the caller has reasoning or text: `Delivery`
    Ended                         an answer, a failure, or the end of an overtaken attempt
    OutOfTime                     the deadline of the whole call has passed

States of an attempt: STARTED ──> ANSWERING ──> (ended), and from both to OVERTAKEN, once the machine no longer has it
(`Failover.under_way`). `overtaken()` lists these: the driver closes them and calls `drop`. Where `Failover.detached`
returns a `DetachedProbe`, the driver drops the attempt too, but continues to read it: its events go to that probe, not
to this call. The core does not assume that a first token overtakes the others, or that a second attempt starts before
it: the driver calls `beside` whenever `beside_at` has come, and waits for the events of all active attempts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Protocol

from ..answer.decoder import Ended, FirstToken, Pieces, Reasoning
from ..decision.commands import Command, Fail, KeepWaiting, StartAttempt
from ..decision.failover import Failover
from ..failures.kinds import Failure, FailureKind
from ..request.handover import Form
from ..results import Piece

TOO_LATE: Final = Failure(FailureKind.TIMED_OUT, "the call's deadline has passed")
OVERTAKEN: Final = Failure(FailureKind.CANCELLED, "another model was faster")
RUNS_ON: Final = Failure(FailureKind.CANCELLED, "another model was faster; the probe of this one runs on")
_KEEP_WAITING: Final = KeepWaiting()


@dataclass(slots=True)
class ResponseStarted:
    """The status line and the headers have come."""

    status: int


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The deadline of the whole call has passed while this attempt was under way."""


Event = ResponseStarted | FirstToken | Reasoning | Pieces | Ended | OutOfTime


class Progress(Enum):
    """The progress of an active attempt."""

    STARTED = "started"
    ANSWERING = "answering"
    OVERTAKEN = "overtaken"


class Delivery(Enum):
    """What the caller of a stream has received."""

    NOTHING = "nothing"
    REASONING = "reasoning"
    VOID = "void"
    """Reasoning of a failed attempt: the next piece tells the caller that the answer starts over."""
    TEXT = "text"
    """Text or tool calls: the answer can only be continued from now on."""


class Noting(Protocol):
    """Records the end of an attempt. `counts`: the attempt counts as one (a refused prefill does not)."""

    def __call__(self, number: int, failure: Failure | None, now: float, *, counts: bool = True) -> None: ...


@dataclass(slots=True)
class Active:
    """An attempt under way."""

    start: StartAttempt
    progress: Progress = Progress.STARTED


class Steps:
    """The core of one call. Call `begin`; then carry out each command, and pass in the events that follow.

    `note` is called once for each attempt, when it is over. `only_prefill` returns whether an instruction at the end
    of the delivered text would break the form of the text.
    """

    __slots__ = ("_note", "_only_prefill", "active", "beside_at", "delivery", "machine", "paused")

    def __init__(self, machine: Failover, note: Noting, only_prefill: Callable[[], bool] = lambda: False) -> None:
        self.machine = machine
        self.paused = machine.held
        """The driver calls this with the seconds for which the caller has held a piece."""
        self.active: dict[int, Active] = {}
        """The active attempts by number, in the order of their start."""
        self.beside_at: float | None = None
        """The time at which `beside` must be called; None: not before the next event of an active attempt."""
        self.delivery = Delivery.NOTHING
        self._note = note
        self._only_prefill = only_prefill

    # Commands of the machine

    def begin(self, now: float) -> Command:
        """The call starts."""
        return self._obey(self.machine.begin(now))

    def woke(self, now: float) -> Command:
        """A wait is over."""
        return self._obey(self.machine.woke(now))

    def beside(self, now: float, *, slot: bool = True) -> StartAttempt | None:
        """Start another attempt beside silent or slow ones, if the machine commands one and a slot is free."""
        start = self.machine.beside(now, slot=slot)
        self._obey(_KEEP_WAITING if start is None else start)
        return start

    def probe(self, now: float, *, slot: bool = True) -> StartAttempt | None:
        """This process may make a probe now: start the probe beside the active attempts, if the machine commands it."""
        start = self.machine.probe(now, slot=slot)
        self._obey(_KEEP_WAITING if start is None else start)
        return start

    def withheld(self, number: int, why: str, now: float) -> Command:
        """The attempt was not sent, since its cost exceeds a spend limit."""
        del self.active[number]
        return self._obey(self.machine.withheld(why, now, number))

    def _obey(self, command: Command) -> Command:
        if isinstance(command, StartAttempt):
            self.active[command.number] = Active(command)
        self.beside_at = self.machine.beside_at
        return command

    # Events of attempts

    def took(self, number: int, event: Event, now: float, *, stricter: Form | None = None) -> Command:
        """Take an attempt's event; returns the next command. `stricter`: see `Failover.failed`."""
        kind = type(event)
        if kind is ResponseStarted:
            self.machine.reached(now, number)
        elif kind is FirstToken:
            self._begun(number, now)
        elif kind is Reasoning:
            self.machine.reasons(now, number)
        elif isinstance(event, Pieces):
            self.deliver(event.pieces)
        elif isinstance(event, Ended):
            return self._ended(number, event, now, stricter)
        else:
            return self.out_of_time(now)
        return _KEEP_WAITING

    def _begun(self, number: int, now: float) -> None:
        if self.machine.under_way(number):
            self.active[number].progress = Progress.ANSWERING
            self.machine.first_token(now, number)
            self.beside_at = self.machine.beside_at

    def choose(self, number: int, now: float) -> None:
        """The call takes this attempt, whose answer is complete."""
        if len(self.active) > 1 and self.machine.under_way(number):
            self.machine.chosen(now, number)
            self.beside_at = self.machine.beside_at

    def overtaken(self) -> Sequence[int]:
        """The attempts that the machine no longer has, which the driver must close and `drop`."""
        if len(self.active) == 1:
            return ()
        gone = [number for number in self.active if not self.machine.under_way(number)]
        for number in gone:
            self.active[number].progress = Progress.OVERTAKEN
        return gone

    def drop(self, number: int, failure: Failure, now: float) -> None:
        """An overtaken attempt is closed. If it had missed a deadline, it is noted as timed out."""
        del self.active[number]
        missed = self.machine.overdue(number)
        if missed is not None:
            failure = Failure(FailureKind.TIMED_OUT, f"{missed}; another model was faster")
        self._note(number, failure, now)

    def deliver(self, pieces: list[Piece]) -> None:
        """Pass these pieces to the caller."""
        delivery = self.delivery
        if delivery is Delivery.TEXT:
            return
        if delivery is Delivery.VOID:
            pieces[0] = replace(pieces[0], restarted=True)
        if any(piece.text or piece.tool_calls for piece in pieces):
            self.delivery = Delivery.TEXT
            self.machine.delivered()
        else:
            self.delivery = Delivery.REASONING
            self.machine.streamed()

    def _ended(self, number: int, ended: Ended, now: float, stricter: Form | None) -> Command:
        machine, failure = self.machine, ended.failure
        if not machine.under_way(number):
            del self.active[number]
            self._note(number, failure, now)
            return _KEEP_WAITING
        if ended.joined:
            machine.joined(ended.joined, now)
        del self.active[number]
        if failure is None:
            self._note(number, None, now)
            return machine.succeeded(now, number)
        self._note(number, failure, now, counts=not machine.corrects(failure, number, stricter))
        if self.delivery is Delivery.REASONING:
            self.delivery = Delivery.VOID
        only_prefill = self.delivery is Delivery.TEXT and self._only_prefill()
        return self._obey(machine.failed(failure, now, number=number, only_prefill=only_prefill, stricter=stricter))

    # The end

    def out_of_time(self, now: float) -> Fail:
        """The deadline of the call has passed: note all active attempts as too late."""
        self.rest(TOO_LATE, now)
        return self.machine.out_of_time(now)

    def left(self, why: Failure, now: float) -> None:
        """The call ends from outside: the caller has left, or an error was raised."""
        self.rest(why, now)
        self.machine.left(now)

    def rest(self, why: Failure, now: float) -> None:
        """The call is over: note the active attempts, which the driver must close."""
        numbers = list(self.active)
        self.active.clear()
        for number in numbers:
            self._note(number, why, now)
