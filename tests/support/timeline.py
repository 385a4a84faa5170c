"""Calls in virtual time: models answer from a script, and `Failover` is driven as `run.py` drives it.

Nothing sleeps and nothing is measured: a heap of events is the clock. What happened is kept in a short notation:

    requests   "a@0 a@0.5-P b*@1 c!@1"    model @ seconds, -provider left out, * the one probe, ! forced
               "a@0 b+@1 c~@2"            + to go on from a prefill, ~ to go on by instruction
               "a@0 b&@0.5"               & at the side of one that is silent
    waits      "0-0.5 1-3"
    outcome    "b @2", "RateLimitedError @0 retry 400", "left @3"
    health     "open +0 -3 overloaded 10s"    breaker, successes, failures, why it is left out and for how long
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from openrouter_fallback.answer.accumulator import ERROR, REASONING, TEXT, TOKEN, Accumulator
from openrouter_fallback.answer.seam import ContinuationMode
from openrouter_fallback.answer.verdict import judge
from openrouter_fallback.call.error_messages import error_for
from openrouter_fallback.config.models import OPENROUTER
from openrouter_fallback.decision.commands import Command, Fail, KeepWaiting, Limits, SleepUntil, StartAttempt, Succeed
from openrouter_fallback.decision.failover import Failover
from openrouter_fallback.errors import FallbackError
from openrouter_fallback.failures.classifier import find_error, from_error, from_transport, timed_out
from openrouter_fallback.failures.kinds import Failure, FailureKind, TransportFault
from openrouter_fallback.failures.policy import Policy, policy
from openrouter_fallback.health import HealthScopes, MemoryHealth, Permit, Rules
from openrouter_fallback.results import Attempt
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

START = 1000.0
"""The clock's time at second 0 of every timeline."""

MOST_EVENTS = 100_000

Json = dict[str, Any]


@dataclass(frozen=True)
class Held:
    """The consumer holds a piece for so many seconds; what the model does afterwards is read that much later."""

    seconds: float


Step = Literal["status", "reasoning", "text", "restarted", "answer"] | Failure | Held | Json
Reply = tuple[tuple[float, Step], ...]
"""What a model does with one request: (seconds since its start, what). After the last step there is silence."""

Script = Mapping[str, Sequence[Reply] | Callable[[float], Reply]]
"""Replies per model, the last one repeated, or a function of the second in which the request comes."""

_NO_STATUS = (FailureKind.CONNECTION, FailureKind.LOCAL)


def ok(seconds: float = 1.0) -> Reply:
    """A whole answer after `seconds`."""
    return ((0.0, "status"), (seconds, "text"), (seconds, "answer"))


def fails(failure: Failure, after: float = 0.0) -> Reply:
    """No answer but a failure."""
    head: Reply = () if failure.kind in _NO_STATUS else ((after, "status"),)
    return (*head, (after, failure))


def chunks(*timed: tuple[float, Json]) -> Reply:
    """A stream of chunks that ends with the last one."""
    return ((0.0, "status"), *timed, (timed[-1][0], {}))


SILENT: Reply = ((0.0, "status"),)
"""Keep-alive comments and nothing else."""
MUTE: Reply = ()
"""A connection and nothing else, not even a status line."""


@dataclass(frozen=True)
class Sent:
    """One request: which call sent it, to whom, when (seconds of the timeline)."""

    call: int
    model: str
    at: float
    ignore: tuple[str, ...]
    probe: bool
    forced: bool
    way: ContinuationMode | None = None
    hedges: bool = False

    def __str__(self) -> str:
        mark = "*" if self.probe else "!" if self.forced else ""
        mark += "&" if self.hedges else ""
        mark += {
            None: "",
            ContinuationMode.PREFILL: "+",
            ContinuationMode.INSTRUCT: "~",
            ContinuationMode.NEVER: "never",
        }[self.way]
        return f"{self.model}{mark}@{_brief(self.at)}" + "".join(f"-{name}" for name in self.ignore)


@dataclass
class World:
    """Models, what they answer, and what has been learnt about them."""

    script: Script
    policy: Policy = field(default_factory=lambda: policy("smart"))
    rules: Rules = field(default_factory=Rules)
    random: Callable[[], float] = lambda: 0.5
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Fields of single candidates, by key."""
    start: float = START
    retry_budget: float | None = None
    hedge_share: float | None = None

    def __post_init__(self) -> None:
        self.now = self.start
        self.health = MemoryHealth(
            self.rules, lambda: 0.0, retry_budget=self.retry_budget, hedge_share=self.hedge_share
        )
        self.sent: list[Sent] = []
        self.calls: list[Call] = []
        self._asked: dict[str, int] = {}
        self._events: list[tuple[float, int, Callable[[], None], Callable[[], bool]]] = []
        self._order = itertools.count()

    def candidate(self, key: str, account: str = "key") -> Candidate:
        """The candidate `key`, `endpoint:model` or a model on OpenRouter."""
        endpoint, _, model = key.rpartition(":")
        if not endpoint or model == "free":
            endpoint, model = OPENROUTER, key
        target = HealthScopes(key, endpoint, f"{endpoint}#{account}", self.rules.longest_open)
        return replace(Candidate(key, model, target, attempts=2), **self.models.get(key, {}))

    def call(self, chain: str, at: float = 0.0, *, account: str = "key", **options: Any) -> Call:
        """A call that begins at second `at` with the models of `chain`."""
        candidates = [self.candidate(key, account) for key in chain.split()]
        call = Call(self, len(self.calls), candidates, self.start + at, **options)
        self.calls.append(call)
        return call

    def at(self, time: float, event: Callable[[], None], unless: Callable[[], bool] = lambda: False) -> None:
        """Do `event` at that time of the clock, unless it has become pointless."""
        heapq.heappush(self._events, (time, next(self._order), event, unless))

    def run(self) -> None:
        """Let everything happen."""
        for _ in range(MOST_EVENTS):
            if not self._events:
                return
            time, _, event, pointless = heapq.heappop(self._events)
            if not pointless():
                self.now = time
                event()
        raise AssertionError("it does not come to an end")

    def reply(self, model: str) -> Reply:
        """What `model` does with the request that it gets now."""
        replies = self.script[model]
        if callable(replies):
            return replies(self.now - self.start)
        number = self._asked.get(model, 0)
        self._asked[model] = number + 1
        return replies[min(number, len(replies) - 1)]

    def fail(self, model: str, at: float = 0.0, times: int = 3) -> None:
        """`times` calls fail at `model`, in second `at` of the timeline; three open its breaker for 10 s."""
        for _ in range(times):
            ticket = self._begun(self.candidate(model).target, at)
            self.health.model_failed(ticket, self.start + at)

    def cut_off(self, endpoint: str, at: float = 0.0, times: int = 3) -> None:
        """`times` calls do not reach `endpoint`; three open its breaker for 10 s."""
        for _ in range(times):
            ticket = self._begun(HealthScopes("another", endpoint, endpoint), at)
            self.health.endpoint_failed(ticket, self.start + at)
            self.health.release(ticket)

    def learn_speed(self, model: str, seconds: float, times: int = 100) -> None:
        """So many calls have had their first token after `seconds`."""
        for _ in range(times):
            ticket = self._begun(self.candidate(model).target, 0.0)
            self.health.first_token(ticket, self.start + seconds)

    def _begun(self, target: HealthScopes, at: float) -> Permit:
        ticket = self.health.begin(target, self.start + at)
        assert ticket is not None, "it is left out already"
        return ticket

    def requests(self, call: int | None = None) -> str:
        """What was sent, in order: of one call, or in all."""
        return " ".join(str(sent) for sent in self.sent if call is None or sent.call == call)

    def requests_to(self, model: str) -> list[float]:
        """The seconds of the timeline at which `model` was asked."""
        return [round(sent.at, 6) for sent in self.sent if sent.model == model]

    def state(self, model: str) -> str:
        """The health of a model as it stands."""
        seen = self.health.snapshot(self.candidate(model).target, self.now)
        text = f"{seen.state} +{seen.successes} -{seen.failures}"
        if seen.reason:
            text += f" {seen.reason}" + ("" if seen.seconds_left is None else f" {_brief(seen.seconds_left)}s")
        return text

    def endpoint_state(self, endpoint: str) -> str:
        """The health of an endpoint: the state of its breaker and the failed calls in a row."""
        breaker = self.health._endpoints[endpoint]
        return f"{breaker.state(self.now)} {breaker.failures_in_a_row}"

    def slots_taken(self) -> list[str]:
        """The models and endpoints whose probe's slot is taken."""
        breakers = {name: model.breaker for name, model in self.health._models.items()} | self.health._endpoints
        return [name for name, breaker in breakers.items() if breaker._probe is not None]


@dataclass(eq=False)
class _Try:
    """One attempt under way."""

    ask: StartAttempt
    steps: list[tuple[float, Step]]
    token_at: float | None = None
    reasoned: bool = False
    assembler: Accumulator = field(default_factory=Accumulator)


class Call:
    """One call under way; drives its machine exactly as `run.Run` and `exchange.Reading` do."""

    def __init__(
        self,
        world: World,
        number: int,
        candidates: Sequence[Candidate],
        begins: float,
        *,
        limits: Limits | None = None,
        facts: RequestTraits | None = None,
        streamed: bool = False,
        leaves: float | None = None,
        on_ask: Callable[[StartAttempt], None] | None = None,
        only_prefill: bool = False,
    ) -> None:
        self.outcome = ""
        self.error: FallbackError | None = None
        self.given_up: Fail | None = None
        self.answers = 0
        self.waits: list[tuple[float, float]] = []
        self.asks: list[StartAttempt] = []
        self.attempts: list[Attempt] = []
        self.delivered = False
        self.first_token: float | None = None
        self._world = world
        self._number = number
        self._streamed = streamed
        self._limits = limits or Limits(wall_clock=not streamed)
        self._facts = facts or RequestTraits()
        self._candidates = candidates
        self._on_ask = on_ask
        self._only_prefill = only_prefill
        self._tries: list[_Try] = []
        self._round = 0
        world.at(begins, self._begin)
        if leaves is not None:
            world.at(world.start + leaves, self._leave, lambda: bool(self.outcome))

    @property
    def machine(self) -> Failover:
        """The machine of a call that has begun."""
        return self._machine

    def waited(self) -> str:
        """Its waits: "from-to" in seconds of the timeline."""
        start = self._world.start
        return " ".join(f"{_brief(since - start)}-{_brief(until - start)}" for since, until in self.waits)

    def _begin(self) -> None:
        world = self._world
        self._machine = Failover(
            self._candidates, world.policy, world.health, self._limits, self._facts, world.now, world.random
        )
        self._obey(self._machine.begin(world.now))

    def _obey(self, command: Command) -> None:
        world = self._world
        self._round += 1
        if isinstance(command, StartAttempt):
            self._send(command)
        elif isinstance(command, SleepUntil):
            assert not self._tries, "nobody waits beside an attempt"
            assert world.now < command.until < world.now + self._limits.total
            self.waits.append((world.now, command.until))
            self._later(command.until, lambda: self._obey(self._machine.woke(world.now)))
        elif isinstance(command, KeepWaiting):
            assert self._tries, "somebody is under way"
        elif isinstance(command, Succeed):
            self.answers += 1
            self._end(f"{self.attempts[-1].model} @{_brief(world.now - world.start)}")
        else:
            self._give_up(command)

    def _give_up(self, command: Fail) -> None:
        world = self._world
        self._break_off("the call is over")
        self.given_up = command
        self.error = error_for(command, self.attempts, (), seconds=0.0, key_hint="")
        retry = "" if command.retry_after is None else f" retry {_brief(command.retry_after)}"
        self._end(f"{type(self.error).__name__} @{_brief(world.now - world.start)}{retry}")

    def _leave(self) -> None:
        world = self._world
        self._break_off("the caller left")
        self._machine.left(world.now)
        self._end(f"left @{_brief(world.now - world.start)}")

    def _break_off(self, why: str) -> None:
        """Close every attempt under way, at once."""
        for one in list(self._tries):
            self._note(one, Failure(FailureKind.CANCELLED, why))

    def _end(self, outcome: str) -> None:
        assert not self.outcome, "a call ends once"
        assert not self._tries, "nobody is left under way"
        self.outcome = outcome

    def _later(self, time: float, event: Callable[[], None]) -> None:
        """Do `event` then, unless the call has gone on by itself."""
        expected = self._round
        self._world.at(time, event, lambda: bool(self.outcome) or self._round != expected)

    # One attempt

    def _send(self, ask: StartAttempt) -> None:
        assert self.delivered == (ask.way is not None), "after text was delivered there is no other way than to go on"
        assert ask.hedges == bool(self._tries)
        world = self._world
        ticket = ask.ticket
        forced = ticket.model.forced or ticket.endpoint.forced
        at = world.now - world.start
        key = ask.candidate.key
        world.sent.append(Sent(self._number, key, at, ask.ignore, ticket.probe, forced, ask.way, ask.hedges))
        self.asks.append(ask)
        one = _Try(ask, [(world.now + after, step) for after, step in world.reply(key)])
        self._tries.append(one)
        if self._on_ask is not None:
            self._on_ask(ask)
        if ask.hedge_at is not None:
            assert world.now < ask.hedge_at < ask.first_token_by
            world.at(ask.hedge_at, self._hedge, lambda: one not in self._tries or one is not self._tries[-1])
        self._go_on(one)

    def _hedge(self) -> None:
        ask = self._machine.hedge(self._world.now)
        if ask is not None:
            self._send(ask)

    def _at(self, one: _Try, time: float, event: Callable[[_Try], None]) -> None:
        """Do `event` then, unless the attempt is over or has been told to do something else."""
        left = len(one.steps)
        self._world.at(time, lambda: event(one), lambda: one not in self._tries or len(one.steps) != left)

    def _go_on(self, one: _Try) -> None:
        due = self._due(one)
        if one.steps and one.steps[0][0] <= due:
            self._at(one, one.steps[0][0], self._step)
        else:
            self._at(one, due, self._ring)

    def _step(self, one: _Try) -> None:
        _, step = one.steps.pop(0)
        if isinstance(step, Failure):
            self._fail(one, step)
            return
        if step == "answer":
            self._answer(one)
            return
        if step == "status":
            self._machine.reached(self._world.now, one.ask.number)
        elif isinstance(step, Held):
            self._hold(one, step.seconds if one.token_at is not None else 0.0)
        elif isinstance(step, dict):
            failure, answered = self._read(one, step)
            if failure is not None:
                self._fail(one, failure)
                return
            if answered:
                self._answer(one)
                return
        else:
            self._token(one, text=step in ("text", "restarted"), reasoning=step == "reasoning")
            if one.ask.way is not None and step != "reasoning":
                self._machine.joined("restarted" if step == "restarted" else "went_on")
        self._go_on(one)

    def _token(self, one: _Try, *, text: bool, reasoning: bool) -> None:
        machine, now, number = self._machine, self._world.now, one.ask.number
        if one.token_at is None:
            machine.first_token(now, number)
            self._overtake(one)
        one.token_at = now
        if reasoning and not one.reasoned:
            one.reasoned = True
            machine.reasons(number)
        if self._streamed and text:
            self.delivered = True
            machine.delivered()
        elif self._streamed and reasoning:
            machine.streamed()

    def _overtake(self, one: _Try) -> None:
        """The first token wins; whoever has lost is closed at this very event."""
        self.first_token = self._world.now if self.first_token is None else self.first_token
        for other in [other for other in self._tries if other is not one]:
            assert not self._machine.under_way(other.ask.number)
            self._note(other, Failure(FailureKind.CANCELLED, "another model was faster"))

    def _read(self, one: _Try, chunk: Json) -> tuple[Failure | None, bool]:
        """A chunk of a stream, or its end ({})."""
        now = self._world.now
        if chunk:
            flags = one.assembler.add(chunk)
            if flags & ERROR and not one.assembler.ended:
                return from_error(find_error(chunk), now=now), False
            if flags & TOKEN:
                self._token(one, text=bool(flags & TEXT), reasoning=bool(flags & REASONING))
            return None, False
        if not one.assembler.finished:
            return from_transport(TransportFault.NO_FINISH, ""), False
        failure, _ = judge(one.assembler.body(), wants_json=False, now=now)
        return failure, failure is None

    def _hold(self, one: _Try, seconds: float) -> None:
        self._machine.held(seconds)
        one.ask = one.ask.later(seconds)
        one.token_at = None if one.token_at is None else one.token_at + seconds
        one.steps = [(at + seconds, step) for at, step in one.steps]

    def _due(self, one: _Try) -> float:
        ask = one.ask
        if one.token_at is None:
            due = min(ask.first_token_by, ask.total_by)
        else:
            due = one.token_at + (ask.tool_stall if one.assembler.open_tool_call else ask.stall)
            if self._limits.wall_clock:
                due = min(due, ask.total_by)
        return due if ask.attempt_by is None else min(due, ask.attempt_by)

    def _ring(self, one: _Try) -> None:
        ask, now = one.ask, self._world.now
        if now >= ask.total_by and (self._limits.wall_clock or one.token_at is None):
            failure = Failure(FailureKind.TIMED_OUT, "the call's deadline has passed")
            for other in list(self._tries):
                self._note(other, failure)
            self._give_up(self._machine.out_of_time(now))
        elif ask.attempt_by is not None and now >= ask.attempt_by:
            self._fail(one, timed_out("attempt", ask.attempt_by - ask.ticket.started))
        elif one.token_at is None:
            self._fail(one, timed_out("first token", ask.first_token_by - ask.ticket.started))
        else:
            self._fail(one, timed_out("stall", ask.stall))

    def _fail(self, one: _Try, failure: Failure) -> None:
        number = one.ask.number
        self._note(one, failure, counts=not self._machine.prefill_refused(failure, number))
        only_prefill = self.delivered and self._only_prefill
        self._obey(self._machine.failed(failure, self._world.now, number=number, only_prefill=only_prefill))

    def _answer(self, one: _Try) -> None:
        for other in [other for other in self._tries if other is not one]:
            self._note(other, Failure(FailureKind.CANCELLED, "another model was faster"))
        self._note(one, None)
        self._obey(self._machine.succeeded(self._world.now, one.ask.number))

    def _note(self, one: _Try, failure: Failure | None, *, counts: bool = True) -> None:
        """The attempt is over."""
        self._tries.remove(one)
        if not counts:
            return
        ask = one.ask
        self.attempts.append(
            Attempt(
                model=ask.candidate.key,
                endpoint=ask.candidate.target.endpoint,
                kind=None if failure is None else failure.kind,
                seconds=self._world.now - ask.ticket.started,
                status=None if failure is None else failure.status,
                message="" if failure is None else failure.message,
                probe=ask.ticket.probe,
            )
        )


def _brief(seconds: float) -> str:
    return f"{round(seconds, 3):g}"
