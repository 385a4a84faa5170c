"""The core of a call: carries what its attempts tell to its machine, and keeps which attempts are under way.

Pure: no event loop, no HTTP, no clock. `CallRunner` drives it over real connections, `tests/support/timeline.py` in
virtual time. Only here the machine of a call (`Failover`) is told anything.

    command                       what the driver does
    StartAttempt                  starts an attempt: it is one of `active` now. `beside` is to be called at `beside_at`.
    KeepWaiting                   waits for the next event of any active attempt, or for `beside_at`
    SleepUntil                    sleeps, then `woke`
    Succeed, Fail                 ends the call

    an attempt's event            what it means here
    ResponseStarted               the endpoint is reached
    FirstToken                    the call goes on with this attempt; one that the machine no longer has is overtaken
    Reasoning                     the model reasons
    Pieces                        the caller has something, or text: `Delivery`
    Ended                         an answer, a failure, or the end of one that was overtaken
    OutOfTime                     the deadline of the whole call has passed

An attempt's way: STARTED ──> ANSWERING ──> (ended), and from both to OVERTAKEN, once the machine no longer has it
(`Failover.under_way`). `overtaken()` lists those: the driver closes them and calls `drop`. One for which `detached`
gives a `DetachedProbe` is dropped too, but read on: what it tells goes to that probe, and no longer to this call.
Nothing here assumes that a first token overtakes the others, nor that a second attempt starts before it: the driver
calls `beside` whenever `beside_at` has come, and waits for the events of all active attempts alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Protocol

from ..answer.decoder import Ended, FirstToken, Pieces, Reasoning
from ..decision.commands import Command, Fail, KeepWaiting, StartAttempt
from ..decision.detached import DetachedProbe
from ..decision.failover import Failover
from ..failures.kinds import Failure, FailureKind
from ..request.handover import Form
from ..results import Piece

TOO_LATE: Final = Failure(FailureKind.TIMED_OUT, "the call's deadline has passed")
OVERTAKEN: Final = Failure(FailureKind.CANCELLED, "another model was faster")
RUNS_ON: Final = Failure(FailureKind.CANCELLED, "another model was faster; the probe of this one runs on")
_STAY: Final = KeepWaiting()


@dataclass(frozen=True, slots=True)
class ResponseStarted:
    """The status line and the headers have come."""

    status: int


@dataclass(frozen=True, slots=True)
class OutOfTime:
    """The deadline of the whole call has passed while this attempt was under way."""


Event = ResponseStarted | FirstToken | Reasoning | Pieces | Ended | OutOfTime


class Progress(Enum):
    """How far an active attempt has come."""

    STARTED = "started"
    ANSWERING = "answering"
    OVERTAKEN = "overtaken"


class Delivery(Enum):
    """What the caller of a stream has received."""

    NOTHING = "nothing"
    REASONING = "reasoning"
    VOID = "void"
    """Reasoning of an attempt that failed: the next piece says that the answer starts over."""
    TEXT = "text"
    """Text or tool calls: from now on the answer can only be continued."""


class Noting(Protocol):
    """Keeps how an attempt ended. `counts`: it is one of the call's attempts (a refused prefill is none)."""

    def __call__(self, number: int, failure: Failure | None, now: float, *, counts: bool = True) -> None: ...


@dataclass(slots=True)
class Active:
    """An attempt under way."""

    ask: StartAttempt
    progress: Progress = Progress.STARTED


class Steps:
    """Drive it with `begin`; then carry out each command, and tell it what comes of it.

    `note` is called once for each attempt that was started, when it is over. `only_prefill` returns whether the
    delivered text stops where an instruction would break its form.
    """

    __slots__ = ("_note", "_only_prefill", "active", "beside_at", "delivery", "machine", "paused")

    def __init__(self, machine: Failover, note: Noting, only_prefill: Callable[[], bool] = lambda: False) -> None:
        self.machine = machine
        self.paused = machine.held
        """To be called with the seconds that the caller has held a piece."""
        self.active: dict[int, Active] = {}
        """By number, in the order of their start."""
        self.beside_at: float | None = None
        """When `beside` is to be called, as things stand; None: not while the attempts go on like this."""
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

    def beside(self, now: float, *, place: bool = True) -> StartAttempt | None:
        """Those under way are silent, or doubtful: one more, if the machine wants it and there is a `place` for it."""
        start = self.machine.beside(now, place=place)
        self._obey(_STAY if start is None else start)
        return start

    def probe(self, now: float, *, place: bool = True) -> StartAttempt | None:
        """A probe may be made by now: one more beside those under way, if the machine wants it."""
        start = self.machine.probe(now, place=place)
        self._obey(_STAY if start is None else start)
        return start

    def detached(self, number: int) -> DetachedProbe | None:
        """The overtaken attempt, if it is a probe that runs on without this call: it is not closed, but `drop`ped."""
        return self.machine.detached(number)

    def withheld(self, number: int, why: str, now: float) -> Command:
        """The attempt was not sent, since the call may not pay for it."""
        del self.active[number]
        return self._obey(self.machine.withheld(why, now, number))

    def _obey(self, command: Command) -> Command:
        if isinstance(command, StartAttempt):
            self.active[command.number] = Active(command)
        self.beside_at = self.machine.beside_at
        return command

    # Events of attempts

    def took(self, number: int, event: Event, now: float, *, stricter: Form | None = None) -> Command:
        """An attempt has told something; what is to be done. `stricter`: see `Failover.failed`."""
        kind = type(event)
        if kind is ResponseStarted:
            self.machine.reached(now, number)
        elif kind is FirstToken:
            self._begun(number, now)
        elif kind is Reasoning:
            self.machine.reasons(number)
        elif isinstance(event, Pieces):
            self.deliver(event.pieces)
        elif isinstance(event, Ended):
            return self._ended(number, event, now, stricter)
        else:
            return self.out_of_time(now)
        return _STAY

    def _begun(self, number: int, now: float) -> None:
        if self.machine.under_way(number):
            self.active[number].progress = Progress.ANSWERING
            self.machine.first_token(now, number)
            self.beside_at = self.machine.beside_at

    def choose(self, number: int, now: float) -> None:
        """The call goes on with this attempt, whose answer came whole."""
        if len(self.active) > 1 and self.machine.under_way(number):
            self.machine.chosen(now, number)
            self.beside_at = self.machine.beside_at

    def overtaken(self) -> Sequence[int]:
        """The attempts that the machine no longer has: they are to be closed and noted."""
        if len(self.active) == 1:
            return ()
        gone = [number for number in self.active if not self.machine.under_way(number)]
        for number in gone:
            self.active[number].progress = Progress.OVERTAKEN
        return gone

    def drop(self, number: int, failure: Failure, now: float) -> None:
        """An overtaken attempt is closed. One that had missed a deadline is told as timed out."""
        del self.active[number]
        missed = self.machine.overdue(number)
        if missed is not None:
            failure = Failure(FailureKind.TIMED_OUT, f"{missed}; another model was faster")
        self._note(number, failure, now)

    def deliver(self, pieces: list[Piece]) -> None:
        """The caller gets these pieces."""
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
            return _STAY
        if ended.joined:
            machine.joined(ended.joined)
        del self.active[number]
        if failure is None:
            self._note(number, None, now)
            return machine.succeeded(now, number)
        corrected = machine.corrects(failure, number) or machine.form_refused(stricter, number)
        self._note(number, failure, now, counts=not corrected)
        if self.delivery is Delivery.REASONING:
            self.delivery = Delivery.VOID
        only_prefill = self.delivery is Delivery.TEXT and self._only_prefill()
        return self._obey(machine.failed(failure, now, number=number, only_prefill=only_prefill, stricter=stricter))

    # The end

    def out_of_time(self, now: float) -> Fail:
        """The deadline of the call has passed; all that is under way is noted as too late."""
        self._note_all(TOO_LATE, now)
        return self.machine.out_of_time(now)

    def left(self, why: Failure, now: float) -> None:
        """The call ends from outside: the caller left, or something broke."""
        self._note_all(why, now)
        self.machine.left(now)

    def rest(self, why: Failure, now: float) -> None:
        """The call is over; whatever is still under way is noted so, and is to be closed."""
        self._note_all(why, now)

    def _note_all(self, why: Failure, now: float) -> None:
        numbers = list(self.active)
        self.active.clear()
        for number in numbers:
            self._note(number, why, now)
