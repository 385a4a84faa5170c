"""The machine of one call: events in, commands out, the time as an argument. See the docstring of this package.

`rounds` picks the next candidate, `learning` records failures, `beside` runs attempts side by side. This module has
the events, and what they change in the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from ..answer.seam import ContinuationMode
from ..failures.kinds import Failure, FailureKind
from ..failures.policy import Action, Policy, Rule
from ..health import Availability, Fact, HealthScopes, MemoryHealth, Permit
from ..request.handover import Form
from ..results import Skipped
from ..routes.candidate import Candidate
from ..routes.needs import RequestTraits
from .beside import MOST_BESIDE, abandon, beside_at, land, mark_due, next_hedge, next_probe, overtake, probe_can_wait
from .candidates import ActiveAttempt, CallState, CandidateState
from .commands import Command, Fail, KeepWaiting, Limits, SleepUntil, StartAttempt, Succeed
from .corrections import AtMost, ByInstruction, confirm, correct, correction
from .detached import DetachedProbe
from .learning import learn, put_aside, settle
from .rounds import SAME_MODEL, Start, following, once_more, same_again
from .starting import with_deadlines

ATTEMPTS_OF_ONE = 3
"""Attempts at the only model of a chain, if the user has not set a number."""
NO_SLOT_SECONDS = 0.5


class WrongOrder(RuntimeError):
    """An event that cannot come in this state: a bug in the driver."""


class Failover:
    """One call. Drive it with `begin`, then one of the events for each command, until `Succeed` or `Fail`.

    `number` names the attempt of an event; without a number, the event belongs to the only active attempt.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        policy: Policy,
        health: MemoryHealth,
        limits: Limits,
        traits: RequestTraits,
        now: float,
        random: Callable[[], float],
    ) -> None:
        if len(candidates) == 1 and not candidates[0].attempts_set:
            states = [CandidateState(candidates[0], max(ATTEMPTS_OF_ONE, candidates[0].attempts))]
        else:
            states = [CandidateState(candidate) for candidate in candidates]
        self._call = CallState(states, policy, health, limits, traits, random, now + limits.total)
        self._state: Literal["new", "asking", "waiting", "done"] = "new"
        self._last: CandidateState | None = None
        self._resume: CandidateState | None = None
        self._streamed = False
        self._last_failure: Failure | None = None
        self._refused: Failure | None = None
        self._detached: dict[int, DetachedProbe] = {}

    # Events

    def begin(self, now: float) -> Command:
        """The call starts."""
        self._expect("new")
        return self._next(now)

    def reached(self, now: float, number: int | None = None) -> None:
        """The endpoint has sent an HTTP status; any status is the success of an endpoint probe."""
        call = self._call
        if self._state != "asking" or (number is not None and number not in call.active):
            return  # the caller has left, or another attempt was faster
        attempt = self._attempt(number)
        attempt.reached = True
        if attempt.permit.endpoint.probe or attempt.permit.endpoint.forced:
            call.health.endpoint_answered(attempt.permit, now)

    def first_token(self, now: float, number: int | None = None) -> None:
        """The attempt has its first token: content, reasoning or a tool call. If tokens win, others are overtaken."""
        call = self._call
        self._expect("asking")
        if number is not None and number not in call.active:
            return
        attempt = self._attempt(number)
        self._refused = None
        if not attempt.token:
            attempt.token = True
            call.health.first_token(attempt.permit, now)
        if len(call.active) > 1 and not call.first_whole_wins:
            self._overtake(attempt, now)

    def chosen(self, now: float, number: int) -> None:
        """The call takes this attempt's answer, also one without a first token. All other attempts are overtaken."""
        self._expect("asking")
        self._overtake(self._attempt(number), now)

    def _overtake(self, winner: ActiveAttempt, now: float) -> None:
        for probe in overtake(self._call, winner, now):
            self._detached[probe.number] = probe

    def overdue(self, number: int) -> str | None:
        """The deadline of this library that an overtaken attempt had missed; None: it was in time."""
        return self._call.overdue.get(number)

    def detached(self, number: int) -> DetachedProbe | None:
        """An overtaken probe that runs on. The driver passes its further events to the probe, even after the call."""
        return self._detached.pop(number, None)

    def corrects(self, failure: Failure, number: int, stricter: Form | None) -> bool:
        """Whether the endpoint refused only an addition of this library, which the next request omits."""
        change = correction(self._call, self._attempt(number), failure, stricter)
        return change is not None and not isinstance(change, AtMost)

    def reasons(self, now: float, number: int | None = None) -> None:
        """The model reasons. Recorded in health if the request did not ask for reasoning."""
        call = self._call
        if not call.traits.slow and (number is None or number in call.active):
            call.health.facts.learn(self._attempt(number).state.candidate.key, Fact.REASONS, now)
            call.timing.forget()

    def streamed(self) -> None:
        """The caller has received a piece, at least reasoning."""
        self._streamed = True

    def delivered(self) -> None:
        """The caller has received text: no model can start over now."""
        self._streamed = self._call.delivered = True

    def held(self, seconds: float) -> None:
        """The consumer has held a piece for `seconds`: move the call's deadline."""
        self._call.deadline += seconds

    def succeeded(self, now: float, number: int | None = None) -> Succeed:
        """The attempt has a complete answer."""
        call = self._call
        self._expect("asking")
        attempt = self._attempt(number)
        self._overtake(attempt, now)
        land(call, attempt)
        attempt.state.pending_penalty = None
        call.health.success(attempt.permit, now, call.traits.needs)
        confirm(call, attempt, now)
        self._finish(now)
        return Succeed()

    def joined(self, how: str, now: float) -> None:
        """A continuation has joined the delivered text. Records in health how the model continued the text."""
        start = self._attempt(None).start
        if start.way is ContinuationMode.PREFILL:
            way = ContinuationMode.INSTRUCT if how == "restarted" else ContinuationMode.PREFILL
            self._call.health.facts.learn(start.candidate.key, Fact.CONTINUES, now, value=way)

    def failed(
        self,
        failure: Failure,
        now: float,
        *,
        number: int | None = None,
        only_prefill: bool = False,
        stricter: Form | None = None,
    ) -> Command:
        """The attempt failed. `only_prefill`: at the end of the delivered text, an instruction would break its form.

        `stricter`: the form of history that the model may accept, after a refusal that names a part of the history.
        """
        call = self._call
        self._expect("asking")
        attempt = self._attempt(number)
        state = attempt.state
        call.only_prefill = only_prefill
        change = correction(call, attempt, failure, stricter)
        land(call, attempt)
        self._last = state
        if change is not None:
            correct(call, attempt, change, now)
            # Another model may still go on by a prefill, where an instruction would break the form of the text.
            elsewhere = only_prefill and isinstance(change, ByInstruction)
            return self._next(now) if elsewhere else self._start(state, now)
        state.attempts += 1
        state.failure = self._last_failure = failure
        rule = learn(call, attempt, failure, now)
        self._resume = None
        if self._streamed and attempt.token and not call.limits.wall_clock:
            call.deadline = max(call.deadline, now + call.limits.total)
        if call.delivered:
            if failure.kind is FailureKind.CONTENT_POLICY:
                return self._give_up("raised", failure, now)
            ours = failure.kind is FailureKind.INVALID_REQUEST and attempt.start.way is not None
            if not call.traits.continues or (rule.action is Action.RAISE and not ours):
                return self._give_up("interrupted", failure, now)
            # A model that failed in mid-answer is called again only after all others, and not at once.
            state.failed_mid_stream = True
            rule = Rule(Action.NEXT, again=rule.again) if ours or rule.action in SAME_MODEL else rule
        return self._react(attempt, rule, failure, now)

    def withheld(self, why: str, now: float, number: int) -> Command:
        """The request was not sent, since its cost exceeds a spend limit. Another model may be cheaper."""
        call = self._call
        self._expect("asking")
        attempt = self._attempt(number)
        land(call, attempt)
        call.health.release(attempt.permit)
        state = attempt.state
        if not state.attempts:
            state.permit = None
        if call.active:  # their reserved costs may become free
            state.why = why
            return KeepWaiting()
        self._last = state
        state.excluded, state.why = True, why
        return self._next(now)

    def probe(self, now: float, *, slot: bool = True) -> StartAttempt | None:
        """This process may make a probe now, which it could not when the call began: start it beside active attempts.

        The probe is not charged to the retry budget. None: this call makes no probe, or has no connection slot for one.
        """
        state = next_probe(self._call, now) if self._state == "asking" and slot else None
        return None if state is None else self._start_beside(state, now)

    def goes_without(self, now: float) -> bool:
        """Whether this call can start with a candidate that needs no probe, while the store decides on its lease."""
        return probe_can_wait(self._call, now)

    @property
    def open_targets(self) -> list[HealthScopes]:
        """What this call may still call and does not call now. It needs no lease of others: it could not use it."""
        call = self._call
        return [state.candidate.target for state in call.candidates if call.open(state) and not state.active]

    @property
    def beside_at(self) -> float | None:
        """The time at which `beside` must be called; None: not before the next event of an active attempt."""
        return beside_at(self._call)

    def beside(self, now: float, *, slot: bool = True) -> StartAttempt | None:
        """`beside_at` has come: call the next candidate beside the silent or slow attempts, if one may be called.

        `slot`: whether a connection slot is free for one more request; if not, `beside_at` comes again soon.
        """
        if self._state != "asking":
            return None
        call = self._call
        hedges = mark_due(call, now)
        if not slot:
            call.later_at = now + NO_SLOT_SECONDS
            return None
        if call.later_at is not None and call.later_at <= now:
            call.later_at = None
        command = self._next(now) if call.others_wanted else self._hedge(now, charged=True) if hedges else None
        return command if isinstance(command, StartAttempt) else None

    def out_of_time(self, now: float) -> Fail:
        """The call's own deadline has passed, during an attempt or a wait."""
        self._expect("asking", "waiting")
        return self._give_up("deadline", None, now)

    def woke(self, now: float) -> Command:
        """A wait is over."""
        call = self._call
        self._expect("waiting")
        state, self._resume = self._resume, None
        if state is not None and now < call.deadline:
            at = call.status_of(state, now)
            if at.admits and (not state.attempts or call.affords(state, now)):
                return self._start(state, now, forced=at.unreachable, extra=state.attempts > 0)
        return self._next(now)

    def left(self, now: float) -> None:
        """The caller has cancelled or closed the call."""
        if self._state != "done":
            self._finish(now)

    def under_way(self, number: int) -> bool:
        """Whether the attempt has neither ended nor been overtaken."""
        return number in self._call.active

    # The next candidate

    def _react(self, attempt: ActiveAttempt, rule: Rule, failure: Failure, now: float) -> Command:
        """Carry out the rule of a failure."""
        call = self._call
        state, action = attempt.state, rule.action
        if failure.kind is FailureKind.INVALID_REQUEST and action is Action.RAISE and call.active:
            # Another model, whose attempt is under way, may accept the request.
            self._refused, state.excluded = failure, True
            return KeepWaiting()
        if action is Action.RAISE or (action is Action.QUEUE and attempt.token):
            return self._give_up("raised", failure, now)
        if self._refused is not None and not call.active:
            return self._give_up("raised", self._refused, now)
        if call.active:
            if action is Action.QUEUE:
                state.attempts -= 1
            elif state.exhausted or action is not Action.USE_UP:
                put_aside(call, state, rule)
            settle(call, state, now)
            return KeepWaiting() if action is Action.QUEUE else self._next(now)
        step = same_again(call, state, action, now)
        if isinstance(step, SleepUntil):
            return self._pause(state, step.until, now)
        if step is not None:
            return self._start(step.state, now, forced=step.forced, extra=step.extra)
        if action is Action.QUEUE:
            return self._give_up("raised", failure, now)
        put_aside(call, state, rule)
        return self._next(now)

    def _pause(self, state: CandidateState, until: float, now: float) -> Command:
        """Wait until the next attempt at one candidate."""
        self._resume = state
        wait = self._wait(until)
        return self.woke(now) if until <= now else wait

    def _next(self, now: float) -> Command:
        call = self._call
        call.over_budget = False
        if call.active and not call.others_wanted:
            return self._hedge(now, charged=False) or KeepWaiting()
        if call.active and (len(call.active) >= MOST_BESIDE or call.committed or now >= call.deadline):
            return KeepWaiting()
        if now >= call.deadline:
            return self._give_up("deadline", None, now)
        step = following(call, now)
        if call.to_the_end and not isinstance(step, Start):
            step = once_more(call, now) or step
        if isinstance(step, Start):
            return self._start(step.state, now, forced=step.forced, extra=step.extra)
        if isinstance(step, SleepUntil):
            return self._wait(step.until)
        return KeepWaiting() if call.active else self._give_up("exhausted", None, now)

    def _wait(self, until: float) -> SleepUntil | KeepWaiting:
        call = self._call
        if call.active:
            call.later_at = until
            return KeepWaiting()
        self._state = "waiting"
        return SleepUntil(until, call.deadline)

    def _start(self, state: CandidateState, now: float, *, forced: bool = False, extra: bool = False) -> Command:
        """Call the candidate. `extra`: the request is charged to the retry budget."""
        call = self._call
        target, previous = state.candidate.target, self._last
        if previous is not None and previous is not state:
            settle(call, previous, now)
        charged = extra and call.started > call.queued and not call.policy.any_error
        permit = call.health.begin(target, now, forced=forced, extra=charged, pace=call.timing.pace(state.candidate))
        if permit is None:
            return self._next(now)
        return self._send(state, permit, now, forced=forced)

    def _hedge(self, now: float, *, charged: bool) -> StartAttempt | None:
        """One more attempt, if `hedge` allows one. A hedge is `charged`; the next attempt after a failure is not."""
        state = next_hedge(self._call, now) if self._state == "asking" else None
        return None if state is None else self._start_beside(state, now, hedge=charged)

    def _start_beside(self, state: CandidateState, now: float, *, hedge: bool = False) -> StartAttempt | None:
        """Call the candidate beside the active attempts, if health admits that."""
        call, candidate = self._call, state.candidate
        extra = hedge and not call.policy.any_error
        permit = call.health.begin(candidate.target, now, extra=extra, hedge=hedge, pace=call.timing.pace(candidate))
        return None if permit is None else self._send(state, permit, now)

    def _send(self, state: CandidateState, permit: Permit, now: float, *, forced: bool = False) -> StartAttempt:
        call = self._call
        endpoint = state.candidate.target.endpoint
        for earlier in (state.permit, call.permits.get(endpoint)):
            if earlier is not None:
                permit.continue_from(earlier)
        state.permit = call.permits[endpoint] = permit
        state.active += 1
        self._last = state
        self._state = "asking"
        if call.unpaid_since is not None:
            call.unpaid_seconds += now - call.unpaid_since
            call.unpaid_since = None
        call.started += 1
        call.later_at = None
        start, attempt = with_deadlines(call, state, permit, now, forced=forced)
        call.active[start.number] = attempt
        return start

    # The end

    def _give_up(
        self, why: Literal["raised", "exhausted", "interrupted", "deadline"], failure: Failure | None, now: float
    ) -> Fail:
        call = self._call
        if why == "exhausted" and call.delivered:
            why, failure = "interrupted", self._last_failure
        skipped = []
        ready: list[float] = []
        for state in call.candidates:
            status_of = call.status_of(state, now)
            if state.failure is not None and (
                state.failure.kind is FailureKind.RATE_LIMITED or state.failure.retry_after is not None
            ):
                ready.append(state.ready_at)
            if state.permit is None:
                left = max(0.0, status_of.until - now) if status_of.until is not None else None
                if status_of.availability is Availability.COOLING and status_of.until is not None:
                    ready.append(status_of.until)
                skipped.append(Skipped(state.candidate.key, state.why or status_of.reason or "not called", left))
        self._finish(now)
        retry_after = max(0.0, min(ready) - now) if ready else None
        return Fail(why, failure, retry_after, tuple(skipped), call.over_budget)

    def _finish(self, now: float) -> None:
        call = self._call
        for attempt in list(call.active.values()):
            abandon(call, attempt, now)
        for state in call.candidates:
            if state.pending_penalty is not None:
                settle(call, state, now)
        for probe in self._detached.values():
            probe.dropped()
        self._detached.clear()
        self._state = "done"

    # Helpers

    def _attempt(self, number: int | None) -> ActiveAttempt:
        call = self._call
        if number is None and len(call.active) == 1:
            return next(iter(call.active.values()))
        if number is None or number not in call.active:
            raise WrongOrder("no such attempt is under way")
        return call.active[number]

    def _expect(self, *states: str) -> None:
        if self._state not in states:
            raise WrongOrder(f"this event cannot come while the call is {self._state}")
