"""Calls in virtual time: the core of a real call (`call.steps`) is driven, and models answer from a script.

Nothing sleeps and nothing is measured; a heap of events is the clock. The results have a short notation:

    requests   "a@0 a@0.5-P b*@1 c!@1"    model @ seconds, - excluded provider, * probe, ! forced
               "a@0 b+@1 c~@2"            + continues by prefill, ~ continues by instruction
               "a@0 b&@0.5"               & beside a silent attempt
    waits      "0-0.5 1-3"
    outcome    "b @2", "RateLimitedError @0 retry 400", "left @3"
    health     "open +0 -3 overloaded 10s"    breaker, successes, failures, why the model is skipped and for how long
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal

import orjson

from openrouter_fallback.answer.decoder import AnswerDecoder, Ended, FirstToken, Pieces, Reasoning, State
from openrouter_fallback.answer.seam import ContinuationMode
from openrouter_fallback.call.error_messages import error_for
from openrouter_fallback.call.steps import OVERTAKEN, RUNS_ON, Delivery, Event, OutOfTime, ResponseStarted, Steps
from openrouter_fallback.config.models import OPENROUTER
from openrouter_fallback.decision.commands import Command, Fail, KeepWaiting, Limits, SleepUntil, StartAttempt, Succeed
from openrouter_fallback.decision.deadlines import Deadlines
from openrouter_fallback.decision.deadlines import OutOfTime as DeadlinePassed
from openrouter_fallback.decision.detached import DetachedProbe
from openrouter_fallback.decision.failover import Failover
from openrouter_fallback.errors import FallbackError
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import Policy, policy
from openrouter_fallback.health import HealthScopes, MemoryHealth, Permit, Rules
from openrouter_fallback.results import Attempt, Piece
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

START = 1000.0
"""The clock's time at second 0 of every timeline."""

MOST_EVENTS = 100_000

Json = dict[str, Any]


@dataclass(frozen=True)
class Held:
    """The consumer holds a piece for so many seconds, so that the following steps of the model are read later."""

    seconds: float


Step = Literal["status", "reasoning", "text", "restarted", "answer"] | Failure | Held | Json
Reply = tuple[tuple[float, Step], ...]
"""The reply of a model to one request: (seconds since its start, step). After the last step the model is silent."""

Script = Mapping[str, Sequence[Reply] | Callable[[float], Reply]]
"""The replies of each model: a sequence whose last reply is repeated, or a function of the request's second."""

_NO_STATUS = (FailureKind.CONNECTION, FailureKind.LOCAL)


def ok(seconds: float = 1.0) -> Reply:
    """A complete answer after `seconds`."""
    return ((0.0, "status"), (seconds, "text"), (seconds, "answer"))


def fails(failure: Failure, after: float = 0.0) -> Reply:
    """A failure after `after` seconds, without an answer."""
    head: Reply = () if failure.kind in _NO_STATUS else ((after, "status"),)
    return (*head, (after, failure))


def chunks(*timed: tuple[float, Json]) -> Reply:
    """A stream of chunks that ends with the last chunk."""
    return ((0.0, "status"), *timed, (timed[-1][0], {}))


SILENT: Reply = ((0.0, "status"),)
"""A status line, then only keep-alive comments."""
MUTE: Reply = ()
"""A connection without a status line."""


@dataclass(frozen=True)
class Sent:
    """One request: its call, its model, its time in seconds of the timeline."""

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
    """The models, their replies, and their health."""

    script: Script
    policy: Policy = field(default_factory=lambda: policy("smart"))
    rules: Rules = field(default_factory=Rules)
    random: Callable[[], float] = lambda: 0.0
    """The dice. With the default, backoffs are half of their step: 0.5, 1, 2, 2 s."""
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
        """Call `event` at this time of the clock, unless `unless()` is true then."""
        heapq.heappush(self._events, (time, next(self._order), event, unless))

    def run(self) -> None:
        """Run all events."""
        for _ in range(MOST_EVENTS):
            if not self._events:
                return
            time, _, event, pointless = heapq.heappop(self._events)
            if not pointless():
                self.now = time
                event()
        raise AssertionError("it does not come to an end")

    def reply(self, model: str) -> Reply:
        """The reply of `model` to a request now."""
        replies = self.script[model]
        if callable(replies):
            return replies(self.now - self.start)
        number = self._asked.get(model, 0)
        self._asked[model] = number + 1
        return replies[min(number, len(replies) - 1)]

    def fail(self, model: str, at: float = 0.0, times: int = 3) -> None:
        """Let `times` calls of `model` fail at second `at` of the timeline. Three open its breaker for 10 s."""
        for _ in range(times):
            permit = self._begun(self.candidate(model).target, at)
            self.health.model_failed(permit, self.start + at)

    def cut_off(self, endpoint: str, at: float = 0.0, times: int = 3) -> None:
        """Let `times` calls not reach `endpoint`. Three open its breaker for 10 s."""
        for _ in range(times):
            permit = self._begun(HealthScopes("another", endpoint, endpoint), at)
            self.health.endpoint_failed(permit, self.start + at)
            self.health.release(permit)

    def reset_connections(self, number: int, endpoint: str = "openrouter", at: float = -0.5) -> None:
        """Let `number` active attempts at `endpoint` lose their connections at second `at`."""
        permits = [self._begun(HealthScopes("another", endpoint, endpoint), at - 1.0) for _ in range(number)]
        for one, permit in enumerate(permits):
            self.health.endpoint_failed(permit, self.start + at + 0.01 * one)
            self.health.release(permit)

    def recover(self, model: str, busy: int) -> None:
        """Let the breaker of `model` have just closed, with `busy` active calls of the model."""
        self.fail(model, -20.0)
        self.health.random = lambda: 0.9
        target = self.candidate(model).target
        self.health.success(self._begun(target, -1.0), self.start - 1.0)
        for _ in range(busy):
            self.at(self.start + 1.0, partial(self.health.release, self._begun(target, -1.0)))

    def learn_speed(self, model: str, seconds: float, times: int = 100, at: float = 0.0) -> None:
        """Record `times` calls at second `at` of the timeline whose first token arrived after `seconds`."""
        for _ in range(times):
            permit = self._begun(self.candidate(model).target, at - seconds)
            self.health.first_token(permit, self.start + at)
            self.health.ended(permit)

    def accept(self, model: str, at: float = 0.0) -> None:
        """Let `model` answer a call at second `at` of the timeline, so that its API key is known to be accepted."""
        self.health.success(self._begun(self.candidate(model).target, at), self.start + at)

    def _begun(self, target: HealthScopes, at: float) -> Permit:
        permit = self.health.begin(target, self.start + at)
        assert permit is not None, "it is left out already"
        return permit

    def requests(self, call: int | None = None) -> str:
        """The requests in order, of one call or of all calls."""
        return " ".join(str(sent) for sent in self.sent if call is None or sent.call == call)

    def requests_to(self, model: str) -> list[float]:
        """The seconds of the timeline at which requests were sent to `model`."""
        return [round(sent.at, 6) for sent in self.sent if sent.model == model]

    def state(self, model: str) -> str:
        """The current health of a model."""
        seen = self.health.snapshot(self.candidate(model).target, self.now)
        text = f"{seen.state} +{seen.successes} -{seen.failures}"
        if seen.reason:
            text += f" {seen.reason}" + ("" if seen.seconds_left is None else f" {_brief(seen.seconds_left)}s")
        return text

    def endpoint_state(self, endpoint: str) -> str:
        """The health of an endpoint: the state of its breaker and the number of consecutive failures."""
        breaker = self.health.breakers[endpoint]
        return f"{breaker.state(self.now)} {breaker.failures_in_a_row}"

    def slots_taken(self, later: float = 0.0) -> list[str]:
        """The models and endpoints whose probe slot is still taken in `later` seconds."""
        breakers = self.health.breakers
        return [name for name, breaker in breakers.items() if breaker.probe_holds(self.now + later)]

    def under_way(self) -> dict[str, int]:
        """The number of active attempts of each model and endpoint that has any."""
        breakers = self.health.breakers
        return {name: breaker.in_flight for name, breaker in breakers.items() if breaker.in_flight}


@dataclass(eq=False)
class _Try:
    """One active attempt."""

    ask: StartAttempt
    steps: list[tuple[float, Step]]
    times: Deadlines
    decoder: AnswerDecoder
    reasoned: bool = False
    joined: str = ""
    texts: list[str] = field(default_factory=list)


class Call:
    """One active call. It drives the core of a real call; its attempts follow a script."""

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
        self.first_token: float | None = None
        self._world = world
        self._number = number
        self._streamed = streamed
        self._limits = limits or Limits(wall_clock=not streamed, whole=not streamed)
        self._facts = facts or RequestTraits()
        self._candidates = candidates
        self._on_ask = on_ask
        self._only_prefill = only_prefill
        self._tries: dict[int, _Try] = {}
        self._round = 0
        self._beside_at: float | None = None
        world.at(begins, self._begin)
        if leaves is not None:
            world.at(world.start + leaves, self._leave, lambda: bool(self.outcome))

    @property
    def machine(self) -> Failover:
        """The machine of the call."""
        return self._core.machine

    @property
    def delivered(self) -> bool:
        """Whether text was delivered to the caller."""
        return self._core.delivery is Delivery.TEXT

    def waited(self) -> str:
        """The waits of the call: "from-to" in seconds of the timeline."""
        start = self._world.start
        return " ".join(f"{_brief(since - start)}-{_brief(until - start)}" for since, until in self.waits)

    def _begin(self) -> None:
        world = self._world
        machine = Failover(
            self._candidates, world.policy, world.health, self._limits, self._facts, world.now, world.random
        )
        self._core = Steps(machine, self._note, lambda: self._only_prefill)
        self._obey(self._core.begin(world.now))

    def _obey(self, command: Command) -> None:
        world = self._world
        self._round += 1
        if isinstance(command, StartAttempt):
            self._send(command)
        elif isinstance(command, SleepUntil):
            assert not self._tries, "nobody waits beside an attempt"
            assert world.now < command.until < world.now + self._limits.total
            self.waits.append((world.now, command.until))
            self._later(command.until, lambda: self._obey(self._core.woke(world.now)))
        elif isinstance(command, KeepWaiting):
            assert self._tries, "somebody is under way"
        elif isinstance(command, Succeed):
            self.answers += 1
            self._end(f"{self.attempts[-1].model} @{_brief(world.now - world.start)}")
        else:
            self._give_up(command)
        if not self.outcome:
            self._look_beside()

    def _give_up(self, command: Fail) -> None:
        world = self._world
        self._core.rest(Failure(FailureKind.CANCELLED, "the call is over"), world.now)
        self.given_up = command
        self.error = error_for(command, self.attempts, (), seconds=0.0, key_hint=lambda endpoint: "")
        retry = "" if command.retry_after is None else f" retry {_brief(command.retry_after)}"
        self._end(f"{type(self.error).__name__} @{_brief(world.now - world.start)}{retry}")

    def _leave(self) -> None:
        world = self._world
        self._core.left(Failure(FailureKind.CANCELLED, "the caller left"), world.now)
        self._end(f"left @{_brief(world.now - world.start)}")

    def _end(self, outcome: str) -> None:
        assert not self.outcome, "a call ends once"
        assert not self._tries, "nobody is left under way"
        assert not self._core.active, "nobody is left under way"
        self.outcome = outcome

    def _later(self, time: float, event: Callable[[], None]) -> None:
        """Call `event` at this time, unless the call has ended or received another command."""
        expected = self._round
        self._world.at(time, event, lambda: bool(self.outcome) or self._round != expected)

    # One attempt

    def _send(self, ask: StartAttempt) -> None:
        delivered = self._core.delivery is Delivery.TEXT
        assert delivered == (ask.way is not None), "after text was delivered there is no other way than to go on"
        assert ask.hedges == bool(self._tries)
        world = self._world
        permit = ask.permit
        forced = permit.model.forced or permit.endpoint.forced
        at = world.now - world.start
        key = ask.candidate.key
        world.sent.append(Sent(self._number, key, at, ask.ignore, permit.probe, forced, ask.way, ask.hedges))
        self.asks.append(ask)
        steps = [(world.now + after, step) for after, step in world.reply(key)]
        times = Deadlines(ask, total_counts=self._limits.wall_clock)
        one = _Try(ask, steps, times, AnswerDecoder({}, deliver=self._streamed))
        self._tries[ask.number] = one
        if self._on_ask is not None:
            self._on_ask(ask)
        self._go_on(one)

    def _look_beside(self) -> None:
        """Schedule the time at which the machine may start another attempt beside the active attempts."""
        at = self._core.machine.beside_at
        if at is not None and at != self._beside_at:
            assert self._world.now < at, "what is due has been done"
            self._world.at(at, self._beside, lambda: bool(self.outcome) or self._core.machine.beside_at != at)
        self._beside_at = at

    def _beside(self) -> None:
        self._beside_at = None
        ask = self._core.beside(self._world.now)
        if ask is not None:
            self._send(ask)
        self._look_beside()

    def _at(self, one: _Try, time: float, event: Callable[[_Try], None]) -> None:
        """Call `event` at this time, unless the attempt has ended or another step came first."""
        left = len(one.steps)
        self._world.at(time, lambda: event(one), lambda: self._over(one) or len(one.steps) != left)

    def _over(self, one: _Try) -> bool:
        return self._tries.get(one.ask.number) is not one

    def _go_on(self, one: _Try) -> None:
        due = one.times.due()
        if one.steps and one.steps[0][0] <= due:
            self._at(one, one.steps[0][0], self._step)
        else:
            self._at(one, due, self._ring)

    def _step(self, one: _Try) -> None:
        _, step = one.steps.pop(0)
        if isinstance(step, Failure):
            self._tell(one, Ended(step, joined=one.joined))
        elif step == "answer":
            self._tell(one, Ended(joined=one.joined))
        elif step == "status":
            self._tell(one, ResponseStarted(200))
        elif isinstance(step, Held):
            self._hold(one, step.seconds if one.times.first_token_at is not None else 0.0)
        elif isinstance(step, dict):
            self._read(one, step)
        else:
            self._token(one, step)
        if not self._over(one):
            self._go_on(one)

    def _tell(self, one: _Try, event: Event) -> None:
        """Pass an event of the attempt to the core, and close the attempts that this event has overtaken."""
        core, now, number = self._core, self._world.now, one.ask.number
        if isinstance(event, FirstToken):
            one.times.first_token(now)
            self.first_token = now if self.first_token is None else self.first_token
        if isinstance(event, Pieces):
            one.times.delivered = True
            one.texts += [piece.text for piece in event.pieces if piece.text]
            if one.times.text_at is None and one.texts:
                one.times.text_at = now
            one.times.text(len(one.texts), len("".join(one.texts)), reasoned=one.reasoned)
        answered = isinstance(event, Ended) and event.failure is None
        if answered:
            core.choose(number, now)
            self._close_overtaken()
        command = core.took(number, event, now)
        self._close_overtaken()
        if not isinstance(command, KeepWaiting) or self._over(one):
            self._obey(command)
        else:
            self._look_beside()

    def _close_overtaken(self) -> None:
        for number in self._core.overtaken():
            probe, one = self._core.machine.detached(number), self._tries[number]
            self._core.drop(number, OVERTAKEN if probe is None else RUNS_ON, self._world.now)
            if probe is not None:
                self._run_on(one, probe)

    def _run_on(self, one: _Try, probe: DetachedProbe) -> None:
        """Schedule the rest of an overtaken probe, for which its call does not wait."""
        world = self._world
        ends = min(probe.until, one.ask.total_by)
        for at, step in one.steps:
            if at <= ends and not isinstance(step, Held):
                world.at(at, partial(_told, probe, step, world), lambda: probe.over)
        world.at(
            ends, lambda: probe.expired(world.now) if ends == probe.until else probe.undecided(), lambda: probe.over
        )

    def _token(self, one: _Try, step: object) -> None:
        """Handle a token of an answer without bytes."""
        one.times.enter(State.ANSWERING, self._world.now)
        if one.times.first_token_at is None:
            self._tell(one, FirstToken())
        one.times.token(self._world.now)
        if step == "reasoning" and not one.reasoned:
            one.reasoned = True
            self._tell(one, Reasoning())
        if self._streamed:
            self._tell(one, Pieces([Piece(reasoning="hm") if step == "reasoning" else Piece(text="x")]))
        if one.ask.way is not None and step != "reasoning":
            one.joined = "restarted" if step == "restarted" else "went_on"

    def _read(self, one: _Try, chunk: Json) -> None:
        """Handle a chunk of a stream, or the end of the stream ({})."""
        now, tokens = self._world.now, one.decoder.tokens
        events = one.decoder.feed(b"data: %b\n\n" % orjson.dumps(chunk), now) if chunk else one.decoder.end(now)
        if one.decoder.state is not one.times.state:
            one.times.enter(one.decoder.state, now)
        for event in events:
            self._tell(one, event)
        if one.decoder.tokens != tokens:
            one.times.token(now)

    def _hold(self, one: _Try, seconds: float) -> None:
        self._core.paused(seconds)
        one.times.paused(seconds)
        one.steps = [(at + seconds, step) for at, step in one.steps]

    def _ring(self, one: _Try) -> None:
        try:
            failure = one.times.missed(self._world.now)
        except DeadlinePassed:
            self._tell(one, OutOfTime())
        else:
            self._tell(one, Ended(failure, joined=one.joined))

    def _note(self, number: int, failure: Failure | None, now: float, *, counts: bool = True) -> None:
        """Record the end of an attempt."""
        ask = self._tries.pop(number).ask
        if not counts:
            return
        self.attempts.append(
            Attempt(
                model=ask.candidate.key,
                endpoint=ask.candidate.target.endpoint,
                kind=None if failure is None else failure.kind,
                seconds=now - ask.permit.started,
                status=None if failure is None else failure.status,
                message="" if failure is None else failure.message,
                probe=ask.permit.probe,
            )
        )


def _told(probe: DetachedProbe, step: Step, world: World) -> None:
    if isinstance(step, Failure):
        probe.failed(step, world.now)
    elif step == "status":
        probe.reached(world.now)
    else:
        probe.answered(world.now)


def _brief(seconds: float) -> str:
    return f"{round(seconds, 3):g}"
