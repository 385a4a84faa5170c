"""What a call has so far: its ended attempts, the text that the caller has, and at last the answer or the error.

Delivered text is text that the caller of a stream has received. Without delivered text a call may still choose: reject
an answer (`accept=`), or keep one that misses a demand as the last resort. With delivered text, the answer can only be
continued, and the places where another model continued it are its seams.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import Final

from ..answer.decoder import Ended
from ..answer.demands import NO_CALL, NOT_JSON, ends_without_words
from ..answer.pieces import calls_of, pieces_of
from ..answer.verdict import EMPTY_END, HALF_END, UNSURE_END
from ..decision.commands import Fail
from ..errors import DeadlineExceededError, FallbackError, StreamInterruptedError
from ..health.learnt import Fact
from ..results import Attempt, Completion, Piece, Seam, add_usage
from ..routes.needs import written_tokens
from ..routes.sticking import is_failover
from .attempt import AttemptReader
from .error_messages import error_for
from .runtime import Accept, Call, Runtime, logger
from .steps import OutOfTime
from .summary import attempt_of, cost_of, tokens_of

NEVER_FINISHES: Final = 3
"""Answers of a model in a row without a finish reason, after which its server is taken to give none. Further ones are
logged at DEBUG."""


class Outcome:
    """The outcome of one call as far as it is known."""

    __slots__ = (
        "_answering",
        "_author",
        "_call",
        "_partial",
        "_runtime",
        "_silent",
        "_spent",
        "_unsure",
        "attempts",
        "completion",
        "plan",
        "resort",
        "seams",
        "started",
        "text",
    )

    def __init__(self, runtime: Runtime, call: Call) -> None:
        self.started = runtime.clock()
        self.plan = call.plan
        """The candidates of the call, and the skipped models."""
        self.attempts: list[Attempt] = []
        self.completion: Completion | None = None
        """The answer, once it is complete."""
        self.text = ""
        """The delivered text of failed attempts."""
        self.seams: list[Seam] = []
        self.resort: tuple[AttemptReader, int] | None = None
        """The last answer with a defect that a call may live with, and its index in `attempts`."""
        self._runtime = runtime
        self._call = call
        self._author = ""
        """The model of the last delivered text."""
        self._spent: list[tuple[object, int]] = []
        """For each failed attempt that delivered text: the reported usage, and the estimated tokens of that text."""
        self._partial: str | None = None
        self._silent = self._unsure = False
        self._answering: AttemptReader | None = None
        """The attempt that gave the answer, until its last pieces are delivered."""

    @property
    def written(self) -> int:
        """The approximate number of tokens of `text`."""
        return sum(written for _, written in self._spent)

    # The end of an attempt, without delivered text

    def reconsidered(self, reader: AttemptReader, ended: Ended, *, delivered: bool) -> Ended:
        """Keep an answer with a defect as the last resort, or accept it at once.

        Accepted: the second empty answer to a tool result; the second text without a finish reason, or the third in a
        row of its model. `delivered`: the caller of a stream has the text, which may lack its finish reason only.
        """
        code = ended.failure.code if ended.failure is not None else None
        if code == UNSURE_END:
            key, in_a_row = reader.start.candidate.key, self._without_finish(reader)
            if self._unsure or in_a_row >= NEVER_FINISHES:
                level = logging.WARNING if in_a_row <= NEVER_FINISHES else logging.DEBUG
                logger.log(level, "%s: the answer has no finish reason (%d in a row); it is delivered", key, in_a_row)
                return reader.settle()
            self._unsure = True
            self._keep(reader)
        elif code == HALF_END:
            if self._unsure and (delivered or self.resort is None):
                self._keep(reader)
            self._unsure = True
        elif not delivered and code in (NO_CALL, NOT_JSON):
            self._keep(reader)
        elif not delivered and code == EMPTY_END and ends_without_words(reader.body, reader.demands):
            if self._silent:
                return reader.settle()
            self._silent = True
        return ended

    def _keep(self, reader: AttemptReader) -> None:
        """Keep an answer as the last resort, unless the caller's `accept=` decides on answers."""
        if self._call.accept is None:
            self.resort = reader, len(self.attempts)

    def _without_finish(self, reader: AttemptReader) -> int:
        """Record an answer without its finish reason. Returns how many of the model's last answers had none."""
        facts, key, now = self._runtime.health.facts, reader.start.candidate.key, self._runtime.clock()
        in_a_row = int(facts.value(key, Fact.UNFINISHED, now) or 0) + 1
        facts.learn(key, Fact.UNFINISHED, now, value=str(in_a_row))
        return in_a_row

    async def accepted(self, accept: Accept, reader: AttemptReader, completion: Completion) -> Ended | OutOfTime:
        """Call `accept=` with an answer. Returns how the attempt ends, or that the call's deadline has passed."""
        await reader.aclose()
        now = self._runtime.clock()
        completion.attempts = (*self.attempts, attempt_of(reader, None, now, *cost_of(reader)))
        limits = self._call.limits
        left = reader.start.total_by - now if limits.wall_clock else limits.total
        try:
            async with asyncio.timeout(max(0.0, left)) as deadline:
                taken = await self._call.host.call(accept, completion)
        except TimeoutError:
            if deadline.expired():
                return OutOfTime()
            raise  # raised by `accept=`
        return Ended(completion=completion) if taken else reader.turn_down()

    # The end of an attempt, with delivered text

    def joined(self, reader: AttemptReader, ended: Ended) -> None:
        """Record the seam, once a continuation has joined the delivered text."""
        splice = reader.splice
        if splice is not None and ended.joined and (reader.said or ended.completion is not None):
            key = reader.start.candidate.key
            self.seams.append(Seam(len(self.text), self._author, key, splice.how, splice.dropped))

    def cut(self, reader: AttemptReader) -> None:
        """An attempt has failed: keep the text that it has delivered."""
        text, said = reader.delivered()
        self._partial = self.text = self.text + text
        if said:
            self._author = reader.start.candidate.key
            self._spent.append((reader.usage, written_tokens(text, said)))
            if self.resort is not None and self.resort[0] is not reader:
                self.resort = None  # it does not have this text

    def out_of_time(self, reader: AttemptReader) -> None:
        """The call's deadline has passed while this attempt gave its answer: keep the text so far for the error."""
        self._partial = self.text + reader.partial

    # The end of the call

    def answer(self, reader: AttemptReader, completion: Completion, now: float, *, delivered: bool) -> None:
        """The call has its answer. `delivered`: the caller of a stream has text."""
        runtime, call = self._runtime, self._call
        completion.attempts = tuple(self.attempts)
        completion.seconds = now - self.started
        completion.seams = tuple(self.seams)
        self._answering = reader
        self.completion = completion
        key, message, finish = reader.start.candidate.key, completion.message, completion.finish_reason
        if "tool_calls" in message or "reasoning_details" in message:
            runtime.delivered.add(message, key)
        session = call.request.session(runtime.stick_to)
        if session is not None and is_failover(self.plan.candidates[0].key, completion.attempts):
            runtime.sticking.failed_over(session, key, now)
        if delivered and (said := reader.demands.said(message)):
            logger.warning("%s: %s; its text was delivered as it came", key, said)
        if finish is not None:
            runtime.health.facts.unlearn(key, Fact.UNFINISHED, ("",))
        if self._spent:
            usage = add_usage(completion.raw.get("usage"), self._spent, tokens_of(reader))
            completion.raw["usage"] = {**usage, "cost": completion.cost}

    def last_pieces(self) -> list[Piece]:
        """The pieces of the answer that the caller of a stream does not have yet. Empty from the second time on."""
        reader, self._answering = self._answering, None
        if reader is None:
            return []
        pieces = reader.last_pieces()
        if self.seams:
            pieces.append(Piece(seams=tuple(self.seams)))
        return pieces

    def last_resort(self, now: float, *, delivered: bool) -> list[Piece]:
        """No answer was without a defect: the last one is the answer, as it is. Returns its pieces to deliver."""
        if self.resort is None:
            raise RuntimeError("no attempt has given an answer")
        reader, index = self.resort
        failure, attempt = reader.failure, self.attempts.pop(index)
        said = failure.message if failure is not None else ""
        completion = reader.settle().completion
        if completion is None:
            raise RuntimeError("the last resort holds no answer")
        self.attempts.append(replace(attempt, kind=None, message="", notes=(*attempt.notes, said)))
        logger.warning("%s: %s; no model did better, so that its answer is delivered", attempt.model, said)
        if delivered and reader.said:
            self._spent.pop()  # its own text
        self.answer(reader, completion, now, delivered=False)
        if delivered:
            return self.last_pieces()
        self._answering = None
        return [*pieces_of(completion.raw), *calls_of(completion.raw)]

    def error(self, given_up: Fail, *, delivered: bool) -> FallbackError:
        """The exception of a failed call. `delivered`: the caller of a stream has text."""
        call, seconds = self._call, self._runtime.clock() - self.started
        error = error_for(
            given_up,
            self.attempts,
            self.plan.excluded,
            seconds=seconds,
            key_hint=call.key_hint,
            meant=self._runtime.meant,
        )
        if delivered or isinstance(error, StreamInterruptedError | DeadlineExceededError):
            error.partial = self._partial
        return error
