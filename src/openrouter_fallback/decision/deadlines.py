"""The deadlines of one attempt. The reader passes the times; they stand still while the consumer holds a piece."""

from __future__ import annotations

import math

from ..answer.decoder import State
from ..failures.classifier import dripped, timed_out
from ..failures.kinds import Failure
from .commands import StartAttempt

LOOK_SECONDS = 1.0
"""Seconds after which collected bytes are decoded: whether they hold tokens decides which deadline applies."""
USAGE_SECONDS = 2.0
"""Seconds allowed for the usage chunk and for other choices after the finish, counted from the last token."""
REUSE_SECONDS = 0.2
"""Seconds allowed for the end of the body after `[DONE]`, so that the connection can be reused."""
ERROR_BODY_SECONDS = 5.0
"""Seconds allowed for the body of an error status: the status is known, and other models are ready."""
DRIP_SECONDS = 10.0
DRIP_PIECES = 4
DRIP_RATE = 10.0
"""A stream drips if its text comes for 10 s or longer, in 4 pieces or more, at less than 10 characters a second.

That is two or three tokens a second. Text that has come within 5 s, before a silence, is no drip: an image may follow.
Nor does a model drip that has reasoned, since it may pause between its texts.
"""


class OutOfTime(Exception):
    """The deadline of the whole call has passed."""


class Deadlines:
    """The times of an attempt's events, and the deadline that follows from them.

    `total_counts`: the call's deadline holds until the answer's end; else until the caller has a piece (`delivered`).
    """

    __slots__ = (
        "_error_by",
        "_owed",
        "_since",
        "_start",
        "_started",
        "_total_counts",
        "characters",
        "delivered",
        "first_token_at",
        "last_token_at",
        "state",
        "text_at",
    )

    def __init__(self, start: StartAttempt, *, total_counts: bool) -> None:
        self.first_token_at: float | None = None
        self.last_token_at = self._started = self._since = start.permit.started
        self.state = State.HEAD
        self.delivered = False
        self.text_at: float | None = None
        """When the caller got the first text."""
        self.characters = 0
        """The length of the text that can show a drip; 0: it cannot."""
        self._start = start
        self._total_counts = total_counts
        self._owed = 0.0
        self._error_by: float | None = None

    @property
    def start(self) -> StartAttempt:
        """The command that started the attempt, its deadlines moved by the consumer's pauses."""
        if self._owed:
            self._start, self._owed = self._start.later(self._owed), 0.0
        return self._start

    def token(self, now: float) -> None:
        """A token has come."""
        self.last_token_at = now

    def first_token(self, now: float) -> None:
        """The first token has come."""
        self.first_token_at = self.last_token_at = now

    def enter(self, state: State, now: float) -> None:
        """The answer has reached this state."""
        self.state, self._since = state, now

    def refused(self, now: float) -> None:
        """An error status has come: its body follows."""
        self._error_by = now + ERROR_BODY_SECONDS

    def paused(self, seconds: float) -> None:
        """The consumer has held a piece for `seconds`: move the deadlines."""
        self.last_token_at += seconds
        self._since += seconds
        if self.text_at is not None:
            self.text_at += seconds
        self._owed += seconds

    def text(self, pieces: int, characters: int, *, reasoned: bool) -> None:
        """The caller has so much text, in so many pieces. `reasoned`: the model has reasoned in this attempt."""
        self.characters = characters if pieces >= DRIP_PIECES and not reasoned else 0

    @property
    def drips_at(self) -> float:
        """The time at which the stream is given up because it drips, if no more text comes until then."""
        drip_by, since = self.start.drip_by, self.text_at
        if drip_by is None or since is None or not self.characters or self.state is not State.ANSWERING:
            return math.inf
        if self.last_token_at - since < DRIP_SECONDS / 2:
            return math.inf
        return max(drip_by, since + DRIP_SECONDS, since + self.characters / DRIP_RATE)

    def due(self) -> float:
        """The time at which the wait ends, from the events so far."""
        start, state = self.start, self.state
        if state is State.FINISHED:
            return max(self._since, self.last_token_at) + USAGE_SECONDS
        if state is State.DONE:
            return self._since + REUSE_SECONDS
        if self.first_token_at is None:
            due = min(start.first_token_by, start.total_by)
            if self._error_by is not None:
                due = min(due, self._error_by)
        else:
            due = self.last_token_at + (start.tool_stall if state is State.IN_CALL else start.stall)
            if start.drip_by is not None:
                due = min(due, self.drips_at)
            if self._total_counts or not self.delivered:
                due = min(due, start.total_by)
        return due if start.attempt_by is None else min(due, start.attempt_by)

    def total_passed(self, now: float) -> bool:
        """Whether the deadline of the whole call has passed, and counts."""
        return now >= self.start.total_by and (self._total_counts or not self.delivered)

    def missed(self, now: float) -> Failure:
        """The failure for the deadline that has passed. Raises `OutOfTime` for the deadline of the whole call."""
        start = self.start
        if self.total_passed(now):
            raise OutOfTime
        if start.attempt_by is not None and now >= start.attempt_by:
            return timed_out("attempt", start.attempt_by - self._started)
        if self.first_token_at is None:
            what = "first token" if start.candidate.streams else "answer"
            return timed_out(what, start.first_token_by - self._started)
        if now >= self.drips_at:
            return dripped(self.characters, self.drips_at - (self.text_at or 0.0))
        return timed_out("stall", start.tool_stall if self.state is State.IN_CALL else start.stall)
