"""Reports one call: events for its subscribers and observers, and lines for the log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..decision.commands import StartAttempt
from ..events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, FailedOver, Hedged
from ..failures.kinds import Failure, FailureKind
from ..results import Attempt, Completion
from ..routes.candidate import Candidate, Plan
from .outcome import Outcome
from .runtime import Call, Runtime


class Reporter:
    """The reports of one call. Observers read the call here (`events.Seen`)."""

    __slots__ = ("_call", "_failed", "_host", "_observed", "_outcome", "_runtime", "number", "streamed")

    def __init__(self, runtime: Runtime, call: Call, outcome: Outcome, *, streamed: bool) -> None:
        self.number = next(runtime.numbers)
        """The number of the call in its client."""
        self.streamed = streamed
        self._runtime = runtime
        self._call = call
        self._host = call.host
        self._outcome = outcome
        self._observed = bool(runtime.events.observers) and runtime.events.observed
        self._failed: tuple[Candidate, Failure] | None = None
        """The last failure, while no attempt has started after it."""

    # For observers

    @property
    def completion(self) -> Completion | None:
        return self._outcome.completion

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        return self._call.request.messages

    @property
    def params(self) -> Mapping[str, Any]:
        return self._call.request.params

    # For the runner

    def call_started(self, plan: Plan) -> None:
        """The call starts with the candidates of `plan`."""
        if self._heard:
            self._emit(CallStarted(self.number, tuple(candidate.key for candidate in plan.candidates)))

    def attempt_started(self, start: StartAttempt, beside: StartAttempt | None) -> None:
        """An attempt starts, `beside` another one that gave no token yet (None: alone)."""
        if self._failed is not None:
            self.goes_on(start)
        self.breakers()
        if self._heard:
            key = start.candidate.key
            if beside is not None:
                seconds = self._runtime.clock() - beside.permit.started
                self._emit(Hedged(self.number, beside.candidate.key, key, seconds))
            self._emit(AttemptStarted(self.number, key, start.number, start.permit.probe))

    def attempt_ended(self, number: int, attempt: Attempt) -> None:
        """An attempt has ended."""
        if attempt.notes:
            self._runtime.left_out(attempt.model, attempt.notes)
        if self._heard:
            self._emit(AttemptEnded(self.number, number, attempt))

    def failed(self, start: StartAttempt, failure: Failure) -> None:
        """An attempt has failed: the next attempt of another model reports a failover."""
        self._failed = start.candidate, failure
        gone = failure.kind is FailureKind.NOT_FOUND and not failure.harmless
        if gone and not (start.ignore or start.candidate.max_price):
            self._runtime.not_found(start.candidate)

    def goes_on(self, start: StartAttempt) -> None:
        """The call goes on with this attempt, after a failure or without one."""
        failed, self._failed = self._failed, None
        if failed is None or failed[0].key == start.candidate.key:
            return
        candidate, failure = failed
        seconds = self._outcome.attempts[-1].seconds
        event = FailedOver(self.number, candidate.key, start.candidate.key, failure.kind, failure.status, seconds)
        self._runtime.lines.failed_over(event, candidate.target.endpoint)
        self._emit(event)

    def breakers(self) -> None:
        """Report what circuit breakers have done since the last report, by any call."""
        if self._runtime.health.changes.waiting:
            for event in self._runtime.breaker_events(self.number):
                self._emit(event)

    def call_ended(self, end: str, error: Exception | None) -> None:
        """The call has ended: `answered`, `failed` with an error, or `cancelled`."""
        runtime, outcome = self._runtime, self._outcome
        self.breakers()
        if runtime.lines.held:
            runtime.lines.call_ended()
        if self._heard:
            completion = outcome.completion
            model = completion.attempts[-1].model if completion is not None else None
            seconds = runtime.clock() - outcome.started
            raised = type(error).__name__ if error is not None else None
            attempts, seams = len(outcome.attempts), tuple(outcome.seams)
            self._emit(CallEnded(self.number, end, model, attempts, seconds, raised, seams))

    @property
    def _heard(self) -> bool:
        return self._observed or self._host.heard

    def _emit(self, event: Event) -> None:
        if self._observed:
            self._runtime.events.observe(event, self)
        if self._host.heard:
            self._host.emit(event)
