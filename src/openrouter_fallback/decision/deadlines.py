"""When the waiting of one attempt ends. Times come from whoever reads; none counts while the consumer holds a piece."""

from __future__ import annotations

from ..failures.classifier import timed_out
from ..failures.kinds import Failure
from .commands import StartAttempt

TICK_SECONDS = 1.0
"""How often the bytes of a call that is not streamed to its caller are looked at."""
USAGE_SECONDS = 2.0
"""What is given for the usage chunk and for other choices after the finish, counted from the last token."""
REUSE_SECONDS = 0.2
"""What is given for the body's end after `[DONE]`, so that the connection can be used again."""


class OutOfTime(Exception):
    """The deadline of the whole call has passed."""


class Deadlines:
    """What has happened when in an attempt, and until when it may wait.

    `total_counts`: the call's deadline holds after the first token too.
    """

    __slots__ = (
        "_ask",
        "_held_at",
        "_owed",
        "_started",
        "_total_counts",
        "done_at",
        "finished_at",
        "first_token_at",
        "last_token_at",
        "tool_open",
    )

    def __init__(self, ask: StartAttempt, *, total_counts: bool) -> None:
        self.first_token_at: float | None = None
        self.last_token_at = self._started = ask.ticket.started
        self.finished_at: float | None = None
        self.done_at: float | None = None
        self.tool_open = False
        self._ask = ask
        self._total_counts = total_counts
        self._held_at: float | None = None
        self._owed = 0.0

    @property
    def ask(self) -> StartAttempt:
        """The ask, with what the consumer's pauses have added up to."""
        if self._owed:
            self._ask, self._owed = self._ask.later(self._owed), 0.0
        return self._ask

    def first_token(self, now: float) -> None:
        """The first token has come."""
        self.first_token_at = self.last_token_at = now

    def hold(self, now: float) -> None:
        """The consumer gets a piece."""
        self._held_at = now

    def release(self, now: float) -> float:
        """The consumer wants more; returns the seconds that it held the last piece, which do not count."""
        if self._held_at is None:
            return 0.0
        held, self._held_at = now - self._held_at, None
        self.last_token_at += held
        self._owed += held
        return held

    def due(self, now: float, *, looks: bool) -> float:
        """When waiting ends, as things stand. `looks`: sooner, to look at bytes that are only collected."""
        ask = self.ask
        if self.done_at is not None:
            return self.done_at + REUSE_SECONDS
        if self.finished_at is not None:
            return max(self.finished_at, self.last_token_at) + USAGE_SECONDS
        if self.first_token_at is None:
            due = min(ask.first_token_by, ask.total_by)
        else:
            due = self.last_token_at + (ask.tool_stall if self.tool_open else ask.stall)
            if self._total_counts:
                due = min(due, ask.total_by)
            if looks and due > now:
                due = min(due, now + TICK_SECONDS)
        return due if ask.attempt_by is None else min(due, ask.attempt_by)

    def missed(self, now: float) -> Failure:
        """Which deadline has passed. Raises `OutOfTime` if it is that of the whole call."""
        ask = self.ask
        if now >= ask.total_by and (self._total_counts or self.first_token_at is None):
            raise OutOfTime
        if ask.attempt_by is not None and now >= ask.attempt_by:
            return timed_out("attempt", ask.attempt_by - self._started)
        if self.first_token_at is None:
            return timed_out("first token" if ask.candidate.streams else "answer", ask.first_token_by - self._started)
        return timed_out("stall", ask.tool_stall if self.tool_open else ask.stall)
