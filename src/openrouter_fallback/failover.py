"""The decision of one call, as a pure state machine: events in, commands out, the time as an argument.

    begin ──> Ask ──┬─ first_token, delivered ──> succeeded ──> Done
                    └─ failed ──> Ask | Wait | GiveUp      Wait ── woke ──> Ask | Wait | GiveUp

It does no I/O and knows no clock; `engine.py` carries its commands out. What each kind of failure leads to stands in
`policy.py`; which model may be asked now, `health` knows. One call makes one outcome per model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal

from .commands import Ask, Command, Done, Facts, GiveUp, Limits, Wait
from .continuation import Way
from .failures import Failure, FailureKind
from .health import Gate, MemoryHealth, Standing, Ticket
from .policy import Action, Policy, Rule
from .router import Candidate, Skipped

FIRST_TOKEN_SECONDS = 30.0
SLOW_FIRST_TOKEN_SECONDS = 120.0
STALL_SECONDS = 30.0
SLOW_STALL_SECONDS = 300.0
RECONNECT_SECONDS = 1.0
BACKOFF_SECONDS = 1.0
LONGEST_BACKOFF_SECONDS = 4.0

_SAME_MODEL = frozenset({Action.RETRY, Action.RECONNECT, Action.USE_UP})
_REFUSALS = frozenset({FailureKind.REJECTED, FailureKind.INVALID_REQUEST, FailureKind.UNSUPPORTED})
"""What the refusal of a prefill may be taken for: which words a provider finds for it cannot be known."""


class WrongOrder(RuntimeError):
    """An event that cannot come in this state: a bug in whoever drives the machine."""


class _Slot:
    """A candidate within one call."""

    __slots__ = (
        "attempts",
        "broke_off",
        "candidate",
        "dropped",
        "failure",
        "hurt",
        "ready_at",
        "retried",
        "ticket",
        "way",
    )

    def __init__(self, candidate: Candidate) -> None:
        self.candidate = candidate
        self.attempts = 0
        self.failure: Failure | None = None
        self.ready_at = 0.0
        self.retried = False
        self.dropped = False
        self.hurt: Rule | None = None
        self.ticket: Ticket | None = None
        self.way: Way | None = None
        self.broke_off = False

    @property
    def spent(self) -> bool:
        return self.dropped or self.attempts >= self.candidate.attempts


class Failover:
    """One call. Drive it with `begin`, then one of the events for each command, until `Done` or `GiveUp`."""

    def __init__(
        self,
        candidates: Sequence[Candidate],
        policy: Policy,
        health: MemoryHealth,
        limits: Limits,
        facts: Facts,
        now: float,
        random: Callable[[], float],
    ) -> None:
        self._slots = [_Slot(candidate) for candidate in candidates]
        self._policy = policy
        self._health = health
        self._limits = limits
        self._facts = facts
        self._random = random
        self._deadline = now + limits.total
        self._state: Literal["new", "asking", "waiting", "done"] = "new"
        self._current: _Slot | None = None
        self._resume: _Slot | None = None
        self._ask_sent: Ask | None = None
        self._tickets: dict[str, Ticket] = {}
        self._asked = 0
        self._queued = 0
        self._token = False
        self._streamed = False
        self._delivered = False
        self._only_prefill = False
        self._last_failure: Failure | None = None
        self.opened: list[str] = []
        """Models and endpoints whose breaker this call has opened."""

    # Events

    def begin(self, now: float) -> Command:
        """The call starts."""
        self._expect("new")
        return self._next(now)

    def reached(self, now: float) -> None:
        """The endpoint has given an HTTP status, whatever it is: a probe of the endpoint has succeeded."""
        if self._state != "asking":
            return  # the caller has left meanwhile
        ticket = self._ticket(self._asking())
        if ticket.endpoint.probe or ticket.endpoint.forced:
            self._health.endpoint_answered(ticket, now)

    def first_token(self, now: float) -> None:
        """The attempt has produced its first token: content, reasoning or a tool call."""
        self._expect("asking")
        if not self._token and self._ask_sent is not None:
            self._token = True
            self._health.first_token(self._ask_sent.ticket, now)

    def reasons(self) -> None:
        """The model has begun to reason; if nobody asked it to, that is remembered."""
        if not self._facts.slow:
            self._health.learn_reasons(self._asking().candidate.target)

    def streamed(self) -> None:
        """Something has been delivered to the caller, be it reasoning only."""
        self._streamed = True

    def delivered(self) -> None:
        """Text has been delivered to the caller: nobody can start over now."""
        self._streamed = self._delivered = True

    def held(self, seconds: float) -> None:
        """The consumer held a piece for so long; the call's time does not include that."""
        self._deadline += seconds

    def succeeded(self, now: float) -> Done:
        """The attempt gave a whole answer."""
        self._expect("asking")
        slot = self._asking()
        slot.hurt = None
        self._health.success(self._ticket(slot), now)
        self._finish(now)
        return Done()

    def joined(self, how: str) -> None:
        """A continuation has joined the delivered text; what the model did is remembered."""
        ask = self._ask_sent
        if ask is not None and ask.way is Way.PREFILL:
            way = Way.INSTRUCT if how == "restarted" else Way.PREFILL
            self._health.learn_way(ask.candidate.target, way)

    def failed(self, failure: Failure, now: float, *, reached: bool = True, only_prefill: bool = False) -> Command:
        """The attempt failed. `reached`: the endpoint gave an HTTP status, whatever it was.

        `only_prefill`: the delivered text stops where an instruction would break its form.
        """
        self._expect("asking")
        slot = self._asking()
        self._only_prefill = only_prefill
        if self.prefill_refused(failure):
            return self._ask_otherwise(slot, now)
        slot.attempts += 1
        slot.failure = self._last_failure = failure
        rule = self._learn(slot, failure, now, reached=reached)
        self._resume = None
        if self._streamed and self._token and not self._limits.wall_clock:
            self._deadline = max(self._deadline, now + self._limits.total)
        if self._delivered:
            if failure.kind is FailureKind.CONTENT_POLICY:
                return self._give_up("raised", failure, now)
            ours = failure.kind is FailureKind.INVALID_REQUEST and self._ask_sent is not None and self._ask_sent.way
            if not self._facts.continues or (rule.action is Action.RAISE and not ours):
                return self._give_up("interrupted", failure, now)
            # Whoever broke off is asked again only when nobody else is left, and not at once.
            slot.broke_off = True
            rule = Rule(Action.NEXT, again=rule.again) if ours or rule.action in _SAME_MODEL else rule
        return self._react(slot, rule, failure, now)

    def out_of_time(self, now: float, *, reached: bool = True) -> GiveUp:
        """The call's own deadline has passed, during an attempt or a wait."""
        self._expect("asking", "waiting")
        if self._state == "asking":
            self._abandon(now, reached=reached)
        return self._give_up("deadline", None, now)

    def woke(self, now: float) -> Command:
        """A wait is over."""
        self._expect("waiting")
        slot, self._resume = self._resume, None
        in_time = now < self._deadline
        if slot is not None and in_time and self._standing(slot, now).gate in (Gate.READY, Gate.PROBE):
            return self._ask(slot, now)
        return self._next(now)

    def left(self, now: float, *, reached: bool = False) -> None:
        """The caller has gone: cancelled, closed, or broken off. `reached`: as in `failed`."""
        if self._state == "asking":
            self._abandon(now, reached=reached)
        if self._state != "done":
            self._finish(now)

    # Going on from delivered text

    def prefill_refused(self, failure: Failure) -> bool:
        """Whether the attempt failed only because it was to go on from a prefill."""
        ask = self._ask_sent
        if ask is None or ask.way is not Way.PREFILL or self._token:
            return False
        return failure.status == 400 and failure.kind in _REFUSALS

    def _ask_otherwise(self, slot: _Slot, now: float) -> Command:
        """A prefill that was refused: no failure, no attempt; the same model at once with an instruction."""
        ticket = self._ticket(slot)
        self._health.endpoint_answered(ticket, now)
        self._health.release(ticket)
        self._health.learn_way(slot.candidate.target, Way.INSTRUCT)
        slot.way = Way.INSTRUCT
        return self._next(now) if self._only_prefill else self._ask(slot, now)

    def _way(self, slot: _Slot) -> Way | None:
        """How this model would go on from the delivered text; None: not at all."""
        way = slot.way or slot.candidate.continues or Way(self._health.way(slot.candidate.key) or Way.PREFILL)
        if way is Way.NEVER or (way is Way.INSTRUCT and self._only_prefill):
            return None
        return way

    # What a failure teaches

    def _learn(self, slot: _Slot, failure: Failure, now: float, *, reached: bool) -> Rule:
        rule = self._policy.rule(failure)
        health, target, ticket = self._health, slot.candidate.target, self._ticket(slot)
        kind = failure.kind
        if kind is FailureKind.CONNECTION:
            if health.endpoint_failed(ticket, now):
                self.opened.append(target.endpoint)
        elif reached:
            health.endpoint_answered(ticket, now)
        ours = self._ask_sent is not None and self._ask_sent.ignore
        if kind in (FailureKind.NOT_FOUND, FailureKind.UNSUPPORTED) and ours:
            slot.dropped = True
            health.release(ticket)
            return Rule(Action.NEXT)
        if kind is FailureKind.RATE_LIMITED and not self._policy.any_error:
            slot.ready_at = health.rate_limited(target, now, failure.retry_after)
        else:
            backoff = self._random() * min(BACKOFF_SECONDS * 2 ** min(slot.attempts - 1, 9), LONGEST_BACKOFF_SECONDS)
            slot.ready_at = now + max(backoff, failure.retry_after or 0.0)
        if kind is FailureKind.CREDITS:
            health.out_of_credits(target, now, failure.retry_after)
        elif kind is FailureKind.AUTH:
            health.unauthorized(target, now)
        elif kind is FailureKind.UNSUPPORTED:
            for need in _blamed(failure, self._facts.needs):
                health.learn_lack(target, need, now)
        if self._hurts(failure, now) if rule.hurts == "model" else rule.disables:
            slot.hurt = rule
            if ticket.probe:
                self._settle(slot, now)
        else:
            health.release(ticket)
        return rule

    def _hurts(self, failure: Failure, now: float) -> bool:
        """A deadline that the call made shorter than the model's own is no sign of bad health, unless it was long."""
        ask = self._ask_sent
        if failure.kind is not FailureKind.TIMED_OUT or failure.status is not None or self._token or ask is None:
            return True
        usual = self._own_first_token(ask.candidate)[0]
        own_deadline = ask.attempt_by is not None and now >= ask.attempt_by
        if own_deadline or ask.first_token_by >= ask.ticket.started + usual:
            return True
        return ask.candidate.streams and now - ask.ticket.started > self._health.patience(ask.candidate.key)

    def _abandon(self, now: float, *, reached: bool) -> None:
        slot = self._asking()
        ticket = self._ticket(slot)
        if reached:
            self._health.endpoint_answered(ticket, now)
        silent = slot.candidate.streams and not self._token
        if silent and now - ticket.started > self._health.patience(slot.candidate.key):
            if self._health.model_failed(ticket, now, reason=str(FailureKind.TIMED_OUT)):
                self.opened.append(slot.candidate.key)
        else:
            self._health.release(ticket)

    def _settle(self, slot: _Slot, now: float) -> None:
        """Record the call's one outcome for a model that it is leaving."""
        rule, slot.hurt = slot.hurt, None
        if rule is None or slot.ticket is None:
            return
        at_once = rule.disables and (slot.spent or rule.hurts is None or slot.ticket.model.probe)
        open_for = slot.candidate.target.longest_open if at_once else None
        counts, reason = rule.hurts is not None, str(slot.failure.kind) if slot.failure else ""
        if self._health.model_failed(slot.ticket, now, open_for=open_for, counts=counts, reason=reason):
            self.opened.append(slot.candidate.key)

    # What comes next

    def _react(self, slot: _Slot, rule: Rule, failure: Failure, now: float) -> Command:
        action = rule.action
        if action is Action.RAISE or (action is Action.QUEUE and self._token):
            return self._give_up("raised", failure, now)
        if action is Action.QUEUE:
            slot.attempts -= 1
            self._queued += 1
            slot.ready_at = now + (0.5 + 0.5 * self._random()) * min(0.1 * 2 ** min(self._queued, 9), 5.0)
            return self._pause(slot, slot.ready_at, now) or self._give_up("raised", failure, now)
        if action is Action.USE_UP and not slot.spent and now < self._deadline:
            gate = self._standing(slot, now).gate
            refused = gate is Gate.LEFT_OUT and self._ticket(slot).probe
            if gate is not Gate.DISABLED and not refused:
                return self._ask(slot, now, forced=gate is Gate.LEFT_OUT)
        if action in (Action.RETRY, Action.RECONNECT) and not slot.retried and not slot.spent:
            slot.retried = True
            wait = RECONNECT_SECONDS if action is Action.RECONNECT else self._random() * BACKOFF_SECONDS
            gate = self._standing(slot, now).gate
            if gate in (Gate.READY, Gate.COOLING):
                paused = self._pause(slot, max(now + wait, slot.ready_at if gate is Gate.COOLING else 0.0), now)
                if paused is not None:
                    return paused
        if action is Action.OTHER_ACCOUNT:
            for other in self._slots:
                other.dropped = other.dropped or other.candidate.target.account == slot.candidate.target.account
        elif action is Action.RECONNECT:
            self._reorder(lambda c: c.target.endpoint == slot.candidate.target.endpoint)
        elif action is Action.AFFORDABLE:
            account = slot.candidate.target.account
            self._reorder(lambda c: 0 if c.free else 1 if c.target.account == account else 2)
        if not rule.again:
            slot.dropped = True
        return self._next(now)

    def _reorder(self, rank: Callable[[Candidate], int]) -> None:
        self._slots.sort(key=lambda slot: (slot.attempts > 0, rank(slot.candidate)))

    def _pause(self, slot: _Slot, until: float, now: float) -> Command | None:
        """Wait for one slot; None if the call has not that much time."""
        if until >= self._deadline:
            return None
        self._resume = slot
        wait = self._wait(until)
        return self.woke(now) if until <= now else wait

    def _next(self, now: float) -> Command:
        if now >= self._deadline:
            return self._give_up("deadline", None, now)
        open_to = [(slot, self._standing(slot, now)) for slot in self._slots if self._open(slot)]
        for slot, standing in open_to:
            if slot.attempts == 0 and standing.gate in (Gate.READY, Gate.PROBE):
                return self._ask(slot, now)
        # Everything that may be asked was asked: later rounds, then candidates that are left out, then cooldowns.
        rounds = [slot for slot, at in open_to if slot.attempts and at.gate in (Gate.READY, Gate.PROBE)]
        forced = [(slot, at) for slot, at in open_to if at.gate in (Gate.LEFT_OUT, Gate.UNFIT)]
        cooling = [at.until for _, at in open_to if at.gate is Gate.COOLING and at.until is not None]
        later = min(rounds, key=lambda slot: (slot.broke_off, slot.ready_at), default=None)
        if later is not None:
            if later.ready_at <= now:
                return self._ask(later, now)
            soonest = min([later.ready_at, *cooling])
            if soonest < self._deadline:
                return self._wait(soonest)
        for slot, _ in sorted(forced, key=_turn):
            if slot.ready_at <= now:
                return self._ask(slot, now, forced=True)
        soonest = min([*(slot.ready_at for slot, _ in forced), *cooling], default=now)
        return self._wait(soonest) if now < soonest < self._deadline else self._give_up("exhausted", None, now)

    def _open(self, slot: _Slot) -> bool:
        return not slot.spent and (not self._delivered or self._way(slot) is not None)

    def _wait(self, until: float) -> Wait:
        self._state = "waiting"
        return Wait(until)

    def _ask(self, slot: _Slot, now: float, *, forced: bool = False) -> Command:
        target, previous = slot.candidate.target, self._current
        if previous is not None and previous is not slot:
            self._settle(previous, now)
        ticket = self._health.begin(target, now, forced=forced)
        if ticket is None:
            return self._next(now)
        for earlier in (slot.ticket, self._tickets.get(target.endpoint)):
            if earlier is not None:
                ticket.continue_from(earlier)
        slot.ticket = self._tickets[target.endpoint] = ticket
        self._current = slot
        self._state = "asking"
        self._token = False
        self._asked += 1
        self._ask_sent = self._with_deadlines(slot, ticket, now, forced=forced)
        return self._ask_sent

    def _with_deadlines(self, slot: _Slot, ticket: Ticket, now: float, *, forced: bool) -> Ask:
        candidate, limits = slot.candidate, self._limits
        remaining = self._deadline - now
        usual, user_set = self._own_first_token(candidate)
        others = any(self._still_to_come(other, now, forced=forced) for other in self._slots if other is not slot)
        share = remaining / 4 if ticket.probe else remaining / 2
        if user_set:
            first_token = usual if usual < remaining else (share if others else remaining)
        else:
            first_token = min(usual, share) if others else remaining
        slow = self._slow(candidate)
        return Ask(
            candidate=candidate,
            number=self._asked,
            ticket=ticket,
            first_token_by=self._deadline if first_token >= remaining else now + first_token,
            total_by=self._deadline,
            attempt_by=now + limits.attempt if limits.attempt is not None else None,
            stall=limits.stall or (SLOW_STALL_SECONDS if slow else STALL_SECONDS),
            tool_stall=limits.stall or SLOW_STALL_SECONDS,
            ignore=self._ignored(slot),
            way=self._way(slot) if self._delivered else None,
        )

    def _still_to_come(self, slot: _Slot, now: float, *, forced: bool) -> bool:
        """Whether this untried candidate is one that the call can go on to."""
        if slot.attempts or not self._open(slot):
            return False
        at = self._standing(slot, now)
        if at.gate is Gate.COOLING:
            return at.until is not None and at.until < self._deadline
        return at.gate in (Gate.READY, Gate.PROBE) or (forced and at.gate is Gate.LEFT_OUT)

    def _own_first_token(self, candidate: Candidate) -> tuple[float, bool]:
        chosen = self._limits.first_token if self._limits.first_token is not None else candidate.timeout
        if chosen is not None:
            return chosen, True
        if not candidate.streams:
            return float("inf"), False
        return SLOW_FIRST_TOKEN_SECONDS if self._slow(candidate) else FIRST_TOKEN_SECONDS, False

    def _slow(self, candidate: Candidate) -> bool:
        return self._facts.slow or candidate.slow or self._health.reasons_unasked(candidate.key)

    def _ignored(self, slot: _Slot) -> tuple[str, ...]:
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
    ) -> GiveUp:
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
            if slot.attempts == 0 and slot is not self._current:
                left = max(0.0, standing.until - now) if standing.until is not None else None
                if standing.gate is Gate.COOLING and standing.until is not None:
                    ready.append(standing.until)
                skipped.append(Skipped(slot.candidate.key, standing.reason or "not asked", left))
        self._finish(now)
        retry_after = max(0.0, min(ready) - now) if ready else None
        return GiveUp(why, failure, retry_after, tuple(skipped))

    def _finish(self, now: float) -> None:
        for slot in self._slots:
            if slot.hurt is not None:
                self._settle(slot, now)
        self._state = "done"

    # Small things

    def _standing(self, slot: _Slot, now: float) -> Standing:
        return self._health.standing(slot.candidate.target, now, self._facts.needs)

    def _asking(self) -> _Slot:
        if self._current is None:
            raise WrongOrder("no attempt is under way")
        return self._current

    def _ticket(self, slot: _Slot) -> Ticket:
        if slot.ticket is None:
            raise WrongOrder("the attempt has no ticket")
        return slot.ticket

    def _expect(self, *states: str) -> None:
        if self._state not in states:
            raise WrongOrder(f"this event cannot come while the call is {self._state}")


def _turn(left_out: tuple[_Slot, Standing]) -> tuple[bool, int, int, float]:
    """The order of those that are left out: rotating, soonest to recover first, and last who cannot do it."""
    slot, at = left_out
    return at.gate is Gate.UNFIT, slot.attempts, at.forced, at.until or 0.0


def _blamed(failure: Failure, needs: Iterable[str]) -> list[str]:
    """Which of the request's needs the endpoint says it lacks; an only need is blamed without being named."""
    asked = list(needs)
    message = failure.message.lower()
    named = [need for need in asked if need.split("_")[0].rstrip("s") in message]
    return named or (asked if len(asked) == 1 and "providers" not in message else [])
