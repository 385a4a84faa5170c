"""The decision of one call, as a pure state machine: events in, commands out, the time as an argument.

    begin ──> Ask ──┬─ first_token, delivered ──> succeeded ──> Done
                    ├─ beside ──> Ask (beside those that are silent; whose first token comes later is overtaken)
                    └─ failed ──> Ask | Stay | Wait | GiveUp      Wait ── woke ──> Ask | Wait | GiveUp

It does no I/O and knows no clock; `run.py` carries its commands out. What each kind of failure leads to stands in
`policy.py`; which model may be asked now, `health` knows. One call makes one outcome per model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from ..answer.seam import ContinuationMode
from ..failures.classifier import refused_parameter
from ..failures.kinds import Failure, FailureKind
from ..failures.policy import Action, Policy, Rule
from ..health import Availability, AvailabilityStatus, MemoryHealth, Permit
from ..health.memory import FREE
from ..request.handover import Form
from ..results import Skipped
from ..routes.candidate import Candidate
from ..routes.needs import RequestTraits, blamed
from ..spending.quotes import LEAST_TOKENS
from .candidates import ActiveAttempt, CandidateState, turn
from .commands import Command, Fail, KeepWaiting, Limits, SleepUntil, StartAttempt, Succeed
from .timeouts import SLOW_STALL_SECONDS, Timeouts

RECONNECT_SECONDS = 1.0
BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 4.0
ATTEMPTS_OF_ONE = 3
"""Attempts at the only model of a chain, where the user has set no number of them."""
LONGEST_COOLDOWN_SECONDS = 60.0
"""A longer cooldown is not waited for where every model cools down: they are asked all the same."""
BUDGET_WAIT_SECONDS = 10.0
"""How long a request waits for the retry budget before the call fails."""
BUDGET_LOOK_SECONDS = 0.5
MOST_BESIDE = 3
"""Attempts of one call under way at a time, where first tokens are overdue."""
NO_PLACE_SECONDS = 0.5
UNSIGNED_SECONDS = 600.0
"""A signature that was not verified is a matter of one conversation; other forms are the model's rule."""

_SAME_MODEL = frozenset({Action.RETRY, Action.RECONNECT, Action.USE_UP})
_REFUSALS = frozenset({FailureKind.REJECTED, FailureKind.INVALID_REQUEST, FailureKind.UNSUPPORTED})
"""What the refusal of a prefill may be taken for: which words a provider finds for it cannot be known."""


_AUTH_SERVICE = Rule(Action.RETRY, again=True)


def names_model(failure: Failure) -> bool:
    """Whether a 404 is about the model, and not about an item, a value or the URL of the request."""
    return not failure.harmless


class WrongOrder(RuntimeError):
    """An event that cannot come in this state: a bug in whoever drives the machine."""


class Failover:
    """One call. Drive it with `begin`, then one of the events for each command, until `Succeed` or `Fail`.

    An event of an attempt names it by its `number`; without one, the only attempt under way is meant.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        policy: Policy,
        health: MemoryHealth,
        limits: Limits,
        facts: RequestTraits,
        now: float,
        random: Callable[[], float],
    ) -> None:
        if len(candidates) == 1 and not candidates[0].attempts_set:
            candidates = [replace(candidates[0], attempts=max(ATTEMPTS_OF_ONE, candidates[0].attempts))]
        self._slots = [CandidateState(candidate) for candidate in candidates]
        self._policy = policy
        self._health = health
        self._limits = limits
        self._facts = facts
        self._timing = Timeouts(limits, facts, health)
        self._random = random
        self._deadline = now + limits.total
        self._state: Literal["new", "asking", "waiting", "done"] = "new"
        self._flights: dict[int, ActiveAttempt] = {}
        self._last: CandidateState | None = None
        self._resume: CandidateState | None = None
        self._tickets: dict[str, Permit] = {}
        self._asked = 0
        self._queued = 0
        self._streamed = False
        self._delivered = False
        self._only_prefill = False
        self._over_budget = False
        self._unpaid_since: float | None = None
        self._doubtful = False
        self._to_the_end = False
        self._later_at: float | None = None
        self._last_failure: Failure | None = None
        self._refused: Failure | None = None
        self.opened: list[str] = []
        """Models and endpoints whose breaker this call has opened."""

    # Events

    def begin(self, now: float) -> Command:
        """The call starts."""
        self._expect("new")
        return self._next(now)

    def reached(self, now: float, number: int | None = None) -> None:
        """The endpoint has given an HTTP status, whatever it is: a probe of the endpoint has succeeded."""
        if self._state != "asking" or (number is not None and number not in self._flights):
            return  # the caller has left meanwhile, or another attempt was faster
        flight = self._flight(number)
        flight.reached = True
        if flight.ticket.endpoint.probe or flight.ticket.endpoint.forced:
            self._health.endpoint_answered(flight.ticket, now)

    def first_token(self, now: float, number: int | None = None) -> None:
        """The attempt has produced its first token: content, reasoning or a tool call. All others are overtaken."""
        self._expect("asking")
        if number is not None and number not in self._flights:
            return
        flight = self._flight(number)
        self._refused = None
        if not flight.token:
            flight.token = True
            self._health.first_token(flight.ticket, now)
        if len(self._flights) > 1 and not self._to_the_end:
            self._overtake(flight, now)

    def chosen(self, now: float, number: int) -> None:
        """The call goes on with this attempt: all others are overtaken, also where its answer came whole."""
        self._expect("asking")
        self._overtake(self._flight(number), now)

    def reasons(self, number: int | None = None) -> None:
        """The model has begun to reason; if nobody asked it to, that is remembered."""
        if not self._facts.slow and (number is None or number in self._flights):
            self._health.learn_reasons(self._flight(number).slot.candidate.target)

    def streamed(self) -> None:
        """Something has been delivered to the caller, be it reasoning only."""
        self._streamed = True

    def delivered(self) -> None:
        """Text has been delivered to the caller: nobody can start over now."""
        self._streamed = self._delivered = True

    def held(self, seconds: float) -> None:
        """The consumer held a piece for so long; the call's time does not include that."""
        self._deadline += seconds

    def succeeded(self, now: float, number: int | None = None) -> Succeed:
        """The attempt gave a whole answer."""
        self._expect("asking")
        flight = self._flight(number)
        self._overtake(flight, now)
        self._land(flight)
        flight.slot.pending_penalty = None
        self._health.success(flight.ticket, now, self._facts.needs)
        if flight.slot.form is not None:
            lasting = UNSIGNED_SECONDS if flight.slot.form is Form.UNSIGNED else None
            self._health.learn_form(flight.slot.candidate.target, flight.slot.form, now, lasting)
        self._finish(now)
        return Succeed()

    def joined(self, how: str) -> None:
        """A continuation has joined the delivered text; what the model did is remembered."""
        ask = self._flight(None).ask
        if ask.way is ContinuationMode.PREFILL:
            way = ContinuationMode.INSTRUCT if how == "restarted" else ContinuationMode.PREFILL
            self._health.learn_way(ask.candidate.target, way)

    def failed(
        self,
        failure: Failure,
        now: float,
        *,
        number: int | None = None,
        only_prefill: bool = False,
        stricter: Form | None = None,
    ) -> Command:
        """The attempt failed. `only_prefill`: the delivered text stops where an instruction would break its form.

        `stricter`: the form in which the model may take the history, after a refusal that names what stands in it.
        """
        self._expect("asking")
        flight = self._flight(number)
        slot = flight.slot
        self._only_prefill = only_prefill
        refused = self.prefill_refused(failure, flight.ask.number)
        parameter = None if refused else self._refused_parameter(failure, flight)
        otherwise = refused or (parameter is None and self.form_refused(stricter, flight.ask.number))
        self._land(flight)
        self._last = slot
        if otherwise:
            return self._ask_otherwise(flight, now, None if refused else stricter)
        if parameter is not None:
            return self._ask_without(flight, parameter, now)
        if self._affordable(failure, slot):
            return self._ask_for_less(flight, failure, now)
        slot.attempts += 1
        slot.failure = self._last_failure = failure
        rule = self._learn(flight, failure, now)
        self._resume = None
        if self._streamed and flight.token and not self._limits.wall_clock:
            self._deadline = max(self._deadline, now + self._limits.total)
        if self._delivered:
            if failure.kind is FailureKind.CONTENT_POLICY:
                return self._give_up("raised", failure, now)
            ours = failure.kind is FailureKind.INVALID_REQUEST and flight.ask.way is not None
            if not self._facts.continues or (rule.action is Action.RAISE and not ours):
                return self._give_up("interrupted", failure, now)
            # Whoever broke off is asked again only when nobody else is left, and not at once.
            slot.failed_mid_stream = True
            rule = Rule(Action.NEXT, again=rule.again) if ours or rule.action in _SAME_MODEL else rule
        return self._react(flight, rule, failure, now)

    def withheld(self, why: str, now: float, number: int) -> Command:
        """The request was not sent, since the call may not pay for it: another model may be cheaper."""
        self._expect("asking")
        flight = self._flight(number)
        self._land(flight)
        self._health.release(flight.ticket)
        slot = self._last = flight.slot
        slot.excluded, slot.why = True, why
        if not slot.attempts:
            slot.ticket = None
        return KeepWaiting() if self._flights else self._next(now)

    @property
    def beside_at(self) -> float | None:
        """When `beside` is to be called, as things stand; None: not while the attempts under way go on like this."""
        flights = self._flights
        if not flights:
            return None
        if self._begun:
            times = [flight.half_at for flight in flights.values() if flight.half_at is not None]
        else:
            dues = [at for one in flights.values() for at in (one.hedge_at, one.doubt_at, one.half_at)]
            times = [at for at in dues if at is not None]
        if self._later_at is not None and (self._to_the_end or not self._begun):
            times.append(self._later_at)
        return min(times, default=None)

    @property
    def _begun(self) -> bool:
        """Whether an attempt under way has its first token."""
        return any(flight.token for flight in self._flights.values())

    @property
    def _committed(self) -> bool:
        """Whether the call has chosen an attempt: none is called beside it, but where its answer takes too long."""
        return self._begun and not self._to_the_end

    def beside(self, now: float, *, place: bool = True) -> StartAttempt | None:
        """`beside_at` has come: the next candidate beside those that are silent or slow, if one may be asked.

        `place`: whether there is a place for one more request; if not, this is looked at again soon.
        """
        if self._state != "asking":
            return None
        hedges = False
        for flight in list(self._flights.values()):
            if flight.doubt_at is not None and flight.doubt_at <= now:
                flight.doubt_at, self._doubtful = None, True
                if not flight.token:
                    self._overdue(flight, now)
            if flight.half_at is not None and flight.half_at <= now:
                flight.half_at, flight.late, self._doubtful, self._to_the_end = None, True, True, True
            if flight.hedge_at is not None and flight.hedge_at <= now:
                flight.hedge_at, hedges = None, True
        if not place:
            self._later_at = now + NO_PLACE_SECONDS
            return None
        if self._later_at is not None and self._later_at <= now:
            self._later_at = None
        command = self._next(now) if self._doubtful else self._hedge(now, charged=True) if hedges else None
        return command if isinstance(command, StartAttempt) else None

    def _overdue(self, flight: ActiveAttempt, now: float) -> None:
        """The first token should have come. The attempt goes on, but others need not wait for it."""
        health, ticket, candidate = self._health, flight.ticket, flight.slot.candidate
        health.late(candidate.key, now)
        if not candidate.streams or health.spoke_since(ticket):
            return
        waited = now - ticket.started
        ill = waited >= self._timing.usual_first_token(candidate)[0] or waited > health.patience(candidate.key)
        if ill and health.model_failed(ticket, now, reason=str(FailureKind.TIMED_OUT)):
            self.opened.append(candidate.key)

    def out_of_time(self, now: float) -> Fail:
        """The call's own deadline has passed, during an attempt or a wait."""
        self._expect("asking", "waiting")
        return self._give_up("deadline", None, now)

    def woke(self, now: float) -> Command:
        """A wait is over."""
        self._expect("waiting")
        slot, self._resume = self._resume, None
        if slot is not None and now < self._deadline:
            at = self._standing(slot, now)
            if at.gate in (Availability.READY, Availability.PROBE) and (not slot.attempts or self._affords(slot, now)):
                return self._ask(slot, now, forced=at.unreachable, extra=slot.attempts > 0)
        return self._next(now)

    def left(self, now: float) -> None:
        """The caller has gone: cancelled, closed, or broken off."""
        if self._state != "done":
            self._finish(now)

    def under_way(self, number: int) -> bool:
        """Whether the attempt has neither ended nor been overtaken."""
        return number in self._flights

    # Attempts side by side

    def _hedge(self, now: float, *, charged: bool) -> StartAttempt | None:
        """One more attempt as the user's `hedge` allows it: a hedge is `charged`, going on from a failed one is not."""
        hedging = self._limits.hedge
        if hedging is None or not self._facts.idempotent or self._state != "asking" or now >= self._deadline:
            return None
        if len(self._flights) >= hedging.max_parallel or self._committed:
            return None
        slot = next((slot for slot in self._slots if self._fresh(slot, now)), None)
        if slot is None:
            return None
        extra = charged and not self._policy.any_error
        pace = self._timing.pace(slot.candidate)
        ticket = self._health.begin(slot.candidate.target, now, extra=extra, hedge=charged, pace=pace)
        return None if ticket is None else self._send(slot, ticket, now)

    def _overtake(self, winner: ActiveAttempt, now: float) -> None:
        """The others' first tokens come later: how much later is not known, but it is at least what has passed."""
        for flight in list(self._flights.values()):
            if flight is not winner:
                self._abandon(flight, now, overtaken=True)
                if flight.slot.candidate.streams:
                    self._health.outlasted(flight.ticket, now)

    def _abandon(self, flight: ActiveAttempt, now: float, *, overtaken: bool = False) -> None:
        self._land(flight)
        health, ticket, key = self._health, flight.ticket, flight.slot.candidate.key
        if flight.reached:
            health.endpoint_answered(ticket, now)
        silent = flight.slot.candidate.streams and not flight.token
        ill = silent and now - ticket.started > health.patience(key) and not health.spoke_since(ticket)
        if ill or (overtaken and flight.late and flight.token):
            if health.model_failed(ticket, now, reason=str(FailureKind.TIMED_OUT)):
                self.opened.append(key)
        elif overtaken:
            health.ended(ticket)
        else:
            health.release(ticket)

    def _land(self, flight: ActiveAttempt) -> None:
        flight.slot.flying = False
        del self._flights[flight.ask.number]

    def _fresh(self, slot: CandidateState, now: float) -> bool:
        """Whether it was not tried yet and nothing speaks against it."""
        if slot.failure is not None or slot.flying or not self._open(slot):
            return False
        at = self._standing(slot, now)
        return at.gate is Availability.READY and not at.unreachable

    # Going on from delivered text

    def prefill_refused(self, failure: Failure, number: int | None = None) -> bool:
        """Whether the attempt failed only because it was to go on from a prefill."""
        flight = self._flight(number)
        if flight.ask.way is not ContinuationMode.PREFILL or flight.token:
            return False
        return failure.status == 400 and failure.kind in _REFUSALS

    def form_refused(self, stricter: Form | None, number: int | None = None) -> bool:
        """Whether the attempt failed only because of the history's form: there is a `stricter` one."""
        return stricter is not None and not self._flight(number).token

    def _ask_otherwise(self, flight: ActiveAttempt, now: float, form: Form | None) -> Command:
        """A refused prefill or form: no failure, no attempt; the same model at once by instruction, or in `form`."""
        slot, ticket = flight.slot, flight.ticket
        self._health.endpoint_answered(ticket, now)
        self._health.release(ticket)
        if form is not None:
            slot.form = form
            return self._ask(slot, now)
        self._health.learn_way(slot.candidate.target, ContinuationMode.INSTRUCT)
        slot.way = ContinuationMode.INSTRUCT
        return self._next(now) if self._only_prefill else self._ask(slot, now)

    # A request that the endpoint takes in another form

    def corrects(self, failure: Failure, number: int | None = None) -> bool:
        """Whether only what this library had added was refused: it is sent again without, and no attempt is counted."""
        flight = self._flight(number)
        return self.prefill_refused(failure, number) or self._refused_parameter(failure, flight) is not None

    def _refused_parameter(self, failure: Failure, flight: ActiveAttempt) -> str | None:
        return None if flight.token or self._delivered else refused_parameter(failure, flight.ask.without)

    def _ask_without(self, flight: ActiveAttempt, parameter: str, now: float) -> Command:
        """Send the same request again at once, without a parameter that the endpoint refuses; remember that."""
        slot, ticket = flight.slot, flight.ticket
        self._health.endpoint_answered(ticket, now)
        self._health.release(ticket)
        self._health.learn_refusal(slot.candidate.taker, parameter, now)
        return self._ask(slot, now)

    def _affordable(self, failure: Failure, slot: CandidateState) -> bool:
        """Whether the account can pay for a shorter answer of this model, and nobody has said how long it must be."""
        return (
            (failure.affordable_tokens or 0) >= LEAST_TOKENS
            and slot.max_tokens is None
            and not self._facts.bounded
            and not slot.candidate.bounded
            and self._policy.rule(failure).action is Action.AFFORDABLE
        )

    def _ask_for_less(self, flight: ActiveAttempt, failure: Failure, now: float) -> Command:
        """Send the request again at once, for no more tokens than the account can pay for. It is not charged."""
        slot, ticket = flight.slot, flight.ticket
        self._health.endpoint_answered(ticket, now)
        self._health.release(ticket)
        slot.max_tokens = failure.affordable_tokens
        return self._ask(slot, now)

    def _way(self, slot: CandidateState) -> ContinuationMode | None:
        """How this model would go on from the delivered text; None: not at all."""
        way = (
            slot.way
            or slot.candidate.continues
            or ContinuationMode(self._health.way(slot.candidate.key) or ContinuationMode.PREFILL)
        )
        if way is ContinuationMode.NEVER or (way is ContinuationMode.INSTRUCT and self._only_prefill):
            return None
        return way

    # What a failure teaches

    def _learn(self, flight: ActiveAttempt, failure: Failure, now: float) -> Rule:
        rule = self._policy.rule(failure)
        slot, ticket, kind = flight.slot, flight.ticket, failure.kind
        health, target = self._health, slot.candidate.target
        if kind is FailureKind.CONNECTION:
            if health.endpoint_failed(ticket, now):
                self.opened.append(target.endpoint)
            for other in (self._tickets[target.endpoint], *(other.ticket for other in self._flights.values())):
                other.continue_from(ticket)
        elif flight.reached:
            health.endpoint_answered(ticket, now)
        if kind in (FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED) and (flight.ask.ignore or slot.candidate.max_price):
            slot.excluded = True
            health.release(ticket)
            return Rule(Action.NEXT)
        slot.backoff_until = now + self._backoff(slot.attempts)
        if kind is FailureKind.RATE_LIMITED and not self._policy.any_error:
            free = failure.scope == "free"
            slot.ready_at = health.rate_limited(target, now, failure.retry_after, free=free)
            for sibling in self._slots if free else ():  # one limit for all of them: none is called to hear it again
                if sibling.candidate.target.account == target.account and sibling.candidate.model.endswith(FREE):
                    sibling.excluded, sibling.why = True, "the free models of this API key are used up"
        else:
            slot.ready_at = max(slot.backoff_until, now + (failure.retry_after or 0.0))
        if kind is FailureKind.CREDITS:
            health.out_of_credits(target, now, failure.retry_after)
        elif kind is FailureKind.AUTH:
            if rule.action is Action.OTHER_ACCOUNT and health.accepted(target, now):
                rule = _AUTH_SERVICE  # the key is good: whoever checks keys is not
            else:
                health.unauthorized(target, now)
        elif kind is FailureKind.UNSUPPORTED:
            for need in blamed(failure.message, self._facts.needs):
                health.learn_lack(target, need, now)
        elif kind is FailureKind.NOT_FOUND and not self._policy.any_error and not names_model(failure):
            rule = replace(rule, disables=False)
        if self._hurts(flight, failure, now) if rule.hurts == "model" else rule.disables:
            slot.pending_penalty = rule
            health.ended(ticket)
            if ticket.probe:
                self._settle(slot, now)
        elif kind is FailureKind.TIMED_OUT and failure.status is None:
            health.ended(ticket)  # silence that proves nothing, but a probe was made
        else:
            health.release(ticket)
        if kind is FailureKind.TIMED_OUT and failure.status is None and not flight.token and slot.candidate.streams:
            health.outlasted(ticket, now)
        return rule

    def _backoff(self, attempts: int) -> float:
        """Seconds before the next attempt at a model that has failed so often: half of its step to all of it."""
        step = min(BACKOFF_SECONDS * 2.0 ** min(attempts - 1, 9), LONGEST_BACKOFF_SECONDS)
        return (0.5 + 0.5 * self._random()) * step

    def _hurts(self, flight: ActiveAttempt, failure: Failure, now: float) -> bool:
        """A deadline that the call made shorter than the model's own is no sign of bad health, unless it was long."""
        ask = flight.ask
        if failure.kind is not FailureKind.TIMED_OUT or failure.status is not None or flight.token:
            return True
        usual = self._timing.usual_first_token(ask.candidate)[0]
        own_deadline = ask.attempt_by is not None and now >= ask.attempt_by
        if ask.candidate.streams and not own_deadline and self._health.spoke_since(ask.ticket):
            return False  # everybody waits longer, nobody in vain
        if own_deadline or ask.first_token_by >= ask.ticket.started + usual:
            return True
        return ask.candidate.streams and now - ask.ticket.started > self._health.patience(ask.candidate.key)

    def _settle(self, slot: CandidateState, now: float) -> None:
        """Record the call's one outcome for a model that it is leaving."""
        rule, slot.pending_penalty = slot.pending_penalty, None
        if rule is None or slot.ticket is None:
            return
        at_once = rule.disables and (slot.exhausted or rule.hurts is None or slot.ticket.model.probe)
        open_for = slot.candidate.target.longest_open if at_once else None
        counts, reason = rule.hurts is not None, str(slot.failure.kind) if slot.failure else ""
        if self._health.model_failed(slot.ticket, now, open_for=open_for, counts=counts, reason=reason):
            self.opened.append(slot.candidate.key)

    # What comes next

    def _react(self, flight: ActiveAttempt, rule: Rule, failure: Failure, now: float) -> Command:
        slot, action = flight.slot, rule.action
        if failure.kind is FailureKind.INVALID_REQUEST and action is Action.RAISE and self._flights:
            # Whoever is under way may show that another model does take it.
            self._refused, slot.excluded = failure, True
            return KeepWaiting()
        if action is Action.RAISE or (action is Action.QUEUE and flight.token):
            return self._give_up("raised", failure, now)
        if self._refused is not None and not self._flights:
            return self._give_up("raised", self._refused, now)
        if self._flights:
            if action is Action.QUEUE:
                slot.attempts -= 1
            elif slot.exhausted or action is not Action.USE_UP:
                self._put_aside(slot, rule)
            self._settle(slot, now)
            return KeepWaiting() if action is Action.QUEUE else self._next(now)
        again = self._same_again(slot, action, failure, now)
        if again is not None:
            return again
        self._put_aside(slot, rule)
        return self._next(now)

    def _same_again(self, slot: CandidateState, action: Action, failure: Failure, now: float) -> Command | None:
        """The rules that ask the same model before any other; None where they do not hold."""
        if action is Action.QUEUE:
            slot.attempts -= 1
            self._queued += 1
            slot.ready_at = now + (0.5 + 0.5 * self._random()) * min(0.1 * 2 ** min(self._queued, 9), 5.0)
            return self._pause(slot, slot.ready_at, now) or self._give_up("raised", failure, now)
        if slot.exhausted or action not in _SAME_MODEL or not self._affords(slot, now):
            return None
        gate = self._standing(slot, now).gate
        if action is Action.USE_UP:
            refused = gate is Availability.LEFT_OUT and slot.ticket is not None and slot.ticket.probe
            if now < self._deadline and gate is not Availability.DISABLED and not refused:
                return self._ask(slot, now, forced=gate is Availability.LEFT_OUT, extra=True)
            return None
        if slot.retried:
            return None
        slot.retried = True
        wait = RECONNECT_SECONDS if action is Action.RECONNECT else self._backoff(1)
        if gate not in (Availability.READY, Availability.COOLING):
            return None
        return self._pause(slot, max(now + wait, slot.ready_at if gate is Availability.COOLING else 0.0), now)

    def _put_aside(self, slot: CandidateState, rule: Rule) -> None:
        """What the failure means for the call's other candidates, and for this one in later rounds."""
        target = slot.candidate.target
        if rule.action is Action.OTHER_ACCOUNT:
            for other in self._slots:
                other.excluded = other.excluded or other.candidate.target.account == target.account
        elif rule.action is Action.RECONNECT:
            self._reorder(lambda c: c.target.endpoint == target.endpoint)
        elif rule.action is Action.AFFORDABLE:
            self._reorder(slot.candidate.affordable)
        elif slot.failure is not None and slot.failure.kind is FailureKind.CONTEXT_TOO_LONG:
            self._only_larger(slot, slot.failure)
        if not rule.again:
            slot.excluded = True

    def _only_larger(self, slot: CandidateState, failure: Failure) -> None:
        """What is known to hold no more than the model that found the request too long is not asked."""
        held = slot.candidate.context
        if held is None or failure.code == "max_tokens_exceeded" or self._policy.any_error:
            return
        for other in self._slots:
            context = other.candidate.context if not (other.attempts or other.flying) else None
            if context is not None and context <= held:
                other.excluded, other.why = True, f"its context of {context} tokens is no larger"

    def _reorder(self, rank: Callable[[Candidate], int]) -> None:
        self._slots.sort(key=lambda slot: (slot.attempts > 0, rank(slot.candidate)))

    def _pause(self, slot: CandidateState, until: float, now: float) -> Command | None:
        """Wait for one slot; None if the call has not that much time."""
        if until >= self._deadline:
            return None
        self._resume = slot
        wait = self._wait(until)
        return self.woke(now) if until <= now else wait

    def _next(self, now: float) -> Command:
        self._over_budget = False
        if self._flights and not self._doubtful:
            return self._hedge(now, charged=False) or KeepWaiting()
        if self._flights and (len(self._flights) >= MOST_BESIDE or self._committed or now >= self._deadline):
            return KeepWaiting()
        if now >= self._deadline:
            return self._give_up("deadline", None, now)
        slots = [slot for slot in self._slots if self._open(slot) and not slot.flying]
        open_to = [(slot, self._standing(slot, now)) for slot in slots]
        ready = [
            (slot, at)
            for slot, at in open_to
            if not slot.attempts and at.gate in (Availability.READY, Availability.PROBE)
        ]
        if not ready:
            return self._again(open_to, now)
        slot, at = ready[0]
        if len(ready) > 1:
            slot, at = next((one for one in ready if not self._holds_back(*one, ready, now)), ready[0])
        return self._ask(slot, now, forced=at.unreachable)

    def _holds_back(
        self,
        slot: CandidateState,
        at: AvailabilityStatus,
        ready: list[tuple[CandidateState, AvailabilityStatus]],
        now: float,
    ) -> bool:
        """Whether this call spares a model that has only just recovered; decided once."""
        if slot.held_back is None:
            target = slot.candidate.target
            elsewhere = any(other.candidate.target.endpoint != target.endpoint for other, _ in ready)
            slot.held_back = at.gate is Availability.READY and self._health.holds_back(target, now, elsewhere=elsewhere)
        return slot.held_back

    def _again(self, open_to: list[tuple[CandidateState, AvailabilityStatus]], now: float) -> Command:
        """Everything that may be asked was asked: later rounds, then candidates that are left out, then cooldowns."""
        unpaid = False
        rounds = [
            (slot, at) for slot, at in open_to if slot.attempts and at.gate in (Availability.READY, Availability.PROBE)
        ]
        forced = [(slot, at) for slot, at in open_to if at.gate in (Availability.LEFT_OUT, Availability.UNFIT)]
        cooling = [at.until for _, at in open_to if at.gate is Availability.COOLING and at.until is not None]
        rounds.sort(key=lambda one: (one[0].failed_mid_stream, one[0].ready_at))
        if rounds and self._health.retries_forbidden and not self._policy.any_error:
            rounds, unpaid = [], True
        if rounds and rounds[0][0].ready_at > now:
            soonest = min([rounds[0][0].ready_at, *cooling])
            if soonest < self._deadline:
                return self._wait(soonest)
        for slot, at in rounds:
            if slot.ready_at <= now and self._affords(slot, now):
                return self._ask(slot, now, forced=at.unreachable, extra=True)
            unpaid = unpaid or slot.ready_at <= now
        everything = self._everything_left_out(now)
        for slot, _ in sorted(forced, key=turn):
            extra = slot.attempts > 0 or everything
            if slot.ready_at <= now and (not extra or self._affords(slot, now)):
                return self._ask(slot, now, forced=True, extra=extra)
            unpaid = unpaid or slot.ready_at <= now
        if unpaid:
            return self._await_budget(cooling, now)
        soonest = min([*(slot.ready_at for slot, _ in forced), *cooling], default=now)
        if now < soonest < self._deadline and (forced or soonest - now <= LONGEST_COOLDOWN_SECONDS):
            return self._wait(soonest)
        return self._ask_cooling(open_to, now) or self._exhausted(now)

    def _exhausted(self, now: float) -> Command:
        """Nobody is left to ask; who is under way may still answer."""
        return KeepWaiting() if self._flights else self._give_up("exhausted", None, now)

    def _everything_left_out(self, now: float) -> bool:
        """Whether the circuit of every model of the chain is open: nobody is believed to answer."""
        return all(self._standing(slot, now).gate is Availability.LEFT_OUT for slot in self._slots if not slot.excluded)

    def _ask_cooling(self, open_to: list[tuple[CandidateState, AvailabilityStatus]], now: float) -> Command | None:
        """All that are left cool down for longer than the call can wait: ask them all the same, after a backoff."""
        cooling = [slot for slot, at in open_to if at.gate is Availability.COOLING]
        if not cooling or self._policy.any_error:
            return None
        slot = min(cooling, key=lambda slot: (slot.attempts, slot.backoff_until))
        if slot.backoff_until > now:
            return self._wait(slot.backoff_until) if slot.backoff_until < self._deadline else None
        if slot.attempts and not self._affords(slot, now):
            return self._await_budget([], now)
        return self._ask(slot, now, forced=True, extra=slot.attempts > 0)

    def _await_budget(self, cooling: Sequence[float], now: float) -> Command:
        """Wait until the retry budget has room, or one of the candidates has answered somebody; not for ever."""
        self._over_budget = True
        if self._unpaid_since is None:
            self._unpaid_since = now
        until = self._unpaid_since + BUDGET_WAIT_SECONDS
        if self._health.retries_forbidden or now >= until:
            soonest = min(cooling, default=now)
            return self._wait(soonest) if now < soonest < self._deadline else self._exhausted(now)
        look = now + (0.5 + 0.5 * self._random()) * BUDGET_LOOK_SECONDS
        soonest = min([look, until, *cooling])
        return self._wait(soonest) if soonest < self._deadline else self._exhausted(now)

    def _open(self, slot: CandidateState) -> bool:
        return not slot.exhausted and (not self._delivered or self._way(slot) is not None)

    def _wait(self, until: float) -> SleepUntil | KeepWaiting:
        if self._flights:
            self._later_at = until
            return KeepWaiting()
        self._state = "waiting"
        return SleepUntil(until, self._deadline)

    def _affords(self, slot: CandidateState, now: float) -> bool:
        """Whether a request that is charged may be sent; a call's first one never is, whatever never left is none."""
        free = self._asked <= self._queued or self._policy.any_error
        return free or self._health.affords(now, (slot.candidate.key,))

    def _ask(self, slot: CandidateState, now: float, *, forced: bool = False, extra: bool = False) -> Command:
        """Ask it; `extra`: the request is charged to the retry budget."""
        target, previous = slot.candidate.target, self._last
        if previous is not None and previous is not slot:
            self._settle(previous, now)
        charged = extra and self._asked > self._queued and not self._policy.any_error
        ticket = self._health.begin(target, now, forced=forced, extra=charged, pace=self._timing.pace(slot.candidate))
        if ticket is None:
            return self._next(now)
        return self._send(slot, ticket, now, forced=forced)

    def _send(self, slot: CandidateState, ticket: Permit, now: float, *, forced: bool = False) -> StartAttempt:
        endpoint = slot.candidate.target.endpoint
        for earlier in (slot.ticket, self._tickets.get(endpoint)):
            if earlier is not None:
                ticket.continue_from(earlier)
        slot.ticket = self._tickets[endpoint] = ticket
        slot.flying = True
        self._last = slot
        self._state = "asking"
        self._unpaid_since = None
        self._asked += 1
        self._later_at = None
        ask, flight = self._with_deadlines(slot, ticket, now, forced=forced)
        self._flights[ask.number] = flight
        return ask

    def _with_deadlines(
        self, slot: CandidateState, ticket: Permit, now: float, *, forced: bool
    ) -> tuple[StartAttempt, ActiveAttempt]:
        candidate, limits, timing = slot.candidate, self._limits, self._timing
        remaining = self._deadline - now
        others = any(self._still_to_come(other, now, forced=forced) for other in self._slots if other is not slot)
        first_token, ends = timing.first_token(candidate, remaining, others=others, probe=ticket.probe)
        ends = ends or self._policy.any_error
        first_token_by = now + first_token if ends and first_token < remaining else self._deadline
        hedge_at = now + timing.hedge_after(candidate) if others and limits.hedge is not None else first_token_by
        doubt_at, half_at = first_token_by, None
        if not ends and others:
            doubt_at = now + min(first_token, timing.learnt(candidate, now))
        rest = others or any(not other.exhausted for other in self._slots if other is not slot)
        if limits.whole and rest and self._facts.idempotent and not self._policy.any_error:
            half_at = now + remaining / 2
        ask = StartAttempt(
            candidate=candidate,
            number=self._asked,
            ticket=ticket,
            first_token_by=first_token_by,
            total_by=self._deadline,
            attempt_by=now + limits.attempt if limits.attempt is not None else None,
            stall=timing.stall(candidate),
            tool_stall=limits.stall or SLOW_STALL_SECONDS,
            ignore=self._ignored(slot),
            way=self._way(slot) if self._delivered else None,
            hedges=bool(self._flights),
            without=self._health.refusals(candidate.taker, now),
            max_tokens=slot.max_tokens,
            form=slot.form or Form(self._health.form(candidate.key, now) or Form.NORMAL),
        )
        return ask, ActiveAttempt(
            slot,
            ask,
            hedge_at=hedge_at if hedge_at < first_token_by else None,
            doubt_at=doubt_at if doubt_at < first_token_by else None,
            half_at=half_at,
        )

    def _still_to_come(self, slot: CandidateState, now: float, *, forced: bool) -> bool:
        """Whether this untried candidate is one that the call can go on to."""
        if slot.attempts or slot.flying or not self._open(slot):
            return False
        at = self._standing(slot, now)
        if at.gate is Availability.COOLING:
            return at.until is not None and at.until < self._deadline
        return at.gate in (Availability.READY, Availability.PROBE) or (forced and at.gate is Availability.LEFT_OUT)

    def _ignored(self, slot: CandidateState) -> tuple[str, ...]:
        """On a retry of the same model: the provider that has just failed, where OpenRouter names one."""
        failure = slot.failure
        if (
            failure is None
            or failure.kind is not FailureKind.UNAVAILABLE
            or failure.provider is None
            or self._facts.own_providers
            or slot.candidate.own_providers
            or not slot.candidate.on_openrouter
        ):
            return ()
        return (failure.provider,)

    # The end

    def _give_up(
        self, why: Literal["raised", "exhausted", "interrupted", "deadline"], failure: Failure | None, now: float
    ) -> Fail:
        if why == "exhausted" and self._delivered:
            why, failure = "interrupted", self._last_failure
        skipped = []
        ready: list[float] = []
        for slot in self._slots:
            standing = self._standing(slot, now)
            if slot.failure is not None and (
                slot.failure.kind is FailureKind.RATE_LIMITED or slot.failure.retry_after is not None
            ):
                ready.append(slot.ready_at)
            if slot.ticket is None:
                left = max(0.0, standing.until - now) if standing.until is not None else None
                if standing.gate is Availability.COOLING and standing.until is not None:
                    ready.append(standing.until)
                skipped.append(Skipped(slot.candidate.key, slot.why or standing.reason or "not asked", left))
        self._finish(now)
        retry_after = max(0.0, min(ready) - now) if ready else None
        return Fail(why, failure, retry_after, tuple(skipped), self._over_budget)

    def _finish(self, now: float) -> None:
        for flight in list(self._flights.values()):
            self._abandon(flight, now)
        for slot in self._slots:
            if slot.pending_penalty is not None:
                self._settle(slot, now)
        self._state = "done"

    # Small things

    def _standing(self, slot: CandidateState, now: float) -> AvailabilityStatus:
        """How a candidate stands. The open circuit of an endpoint only orders: alone it keeps nobody out."""
        at = slot.candidate.fitting(self._health.standing(slot.candidate.target, now, self._facts.needs))
        if at.unreachable and not self._reachable_elsewhere(slot, now):
            return AvailabilityStatus(Availability.READY, unreachable=True)
        return at

    def _reachable_elsewhere(self, slot: CandidateState, now: float) -> bool:
        """Whether another candidate, of another endpoint, may be asked."""
        endpoint = slot.candidate.target.endpoint
        return any(
            other.candidate.target.endpoint != endpoint
            and self._open(other)
            and self._health.standing(other.candidate.target, now).gate in (Availability.READY, Availability.PROBE)
            for other in self._slots
        )

    def _flight(self, number: int | None) -> ActiveAttempt:
        if number is None and len(self._flights) == 1:
            return next(iter(self._flights.values()))
        if number is None or number not in self._flights:
            raise WrongOrder("no such attempt is under way")
        return self._flights[number]

    def _expect(self, *states: str) -> None:
        if self._state not in states:
            raise WrongOrder(f"this event cannot come while the call is {self._state}")
