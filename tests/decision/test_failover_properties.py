"""Any order of events: no dead end, one end per call, no wait past the deadline, no slot of a probe left taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openrouter_fallback.config.models import OPENROUTER
from openrouter_fallback.decision.commands import (
    Command,
    Fail,
    Hedging,
    KeepWaiting,
    Limits,
    SleepUntil,
    StartAttempt,
    Succeed,
)
from openrouter_fallback.decision.failover import Failover, WrongOrder
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import policy
from openrouter_fallback.health import Availability, HealthScopes, MemoryHealth, Rules
from openrouter_fallback.health.breaker import PROBE_SECONDS
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

from ..support.timeline import START, Held, Reply, Step, World

K = FailureKind
MODELS = ("a", "b", "c:free", "groq:d")
KINDS = sorted(set(K) - {K.CANCELLED})
VERDICTS = st.dictionaries(
    st.sampled_from([kind for kind in KINDS if kind is not K.LOCAL]),
    st.sampled_from(["next", "raise", "retry"]),
    max_size=2,
)
POLICIES = st.builds(policy, st.sampled_from(["smart", "any_error"]), VERDICTS)
SECONDS = st.one_of(st.sampled_from([0.0, 0.1, 1.0, 5.0, 10.0, 30.0, 100.0]), st.floats(0, 400))
SHARES = st.floats(0, 1, exclude_max=True)
WAITED_FOR = (K.UNAVAILABLE, K.CONNECTION, K.RATE_LIMITED, K.OVERLOADED, K.LOCAL)
FAILURES = st.builds(
    Failure,
    st.one_of(st.sampled_from(WAITED_FOR), st.sampled_from(KINDS)),
    st.sampled_from(["it failed", "no endpoints support tool use"]),
    st.sampled_from([None, 500]),
    retry_after=st.one_of(st.none(), st.sampled_from([0.0, 0.5, 20.0, 400.0])),
    provider=st.sampled_from([None, "P"]),
    code=st.sampled_from(["no_files", None]),
    harmless=st.sampled_from([False, False, True]),
)
LIMITS = st.builds(
    Limits,
    total=st.sampled_from([0.5, 2.0, 60.0, 300.0]),
    wall_clock=st.booleans(),
    first_token=st.sampled_from([None, 5.0, 100.0]),
    stall=st.sampled_from([None, 5.0]),
    attempt=st.sampled_from([None, 20.0]),
    hedge=st.one_of(
        st.none(), st.builds(Hedging, st.sampled_from([None, 0.1, 5.0]), max_parallel=st.sampled_from([2, 3]))
    ),
)
FACTS = st.builds(
    RequestTraits,
    slow=st.booleans(),
    needs=st.sampled_from([frozenset(), frozenset({"tools"})]),
    continues=st.booleans(),
    idempotent=st.sampled_from([True, True, False]),
)
BUDGETS = st.sampled_from([None, None, 0.2, 0.0])
CHAINS = st.lists(st.sampled_from(MODELS), min_size=1, max_size=4, unique=True)
RULES = st.builds(Rules, min_samples=st.integers(1, 3), longest_open=st.sampled_from([5.0, 300.0]))

NO_STATUS = (K.CONNECTION, K.LOCAL)


def taken(health: MemoryHealth) -> set[str]:
    """The models and endpoints whose probe is under way; the slot of one that lost a race is free by itself."""
    return {name for name, breaker in health.breakers.items() if breaker.probe is not None and not breaker.probe.ended}


def candidate(key: str, attempts: int, *, streams: bool, timeout: float | None, longest_open: float) -> Candidate:
    endpoint = "groq" if key.startswith("groq:") else OPENROUTER
    return Candidate(
        key,
        key,
        HealthScopes(key, endpoint, f"{endpoint}#key", longest_open),
        attempts=attempts,
        timeout=timeout,
        streams=streams,
    )


@dataclass
class Under:
    """A call under way, and what it has done."""

    machine: Failover
    candidates: dict[str, Candidate]
    deadline: float
    command: Command | None = None
    spent: dict[str, int] = field(default_factory=dict)
    """Attempts per model that count (a local failure uses up none)."""
    refused_accounts: set[str] = field(default_factory=set)
    stretched: bool = False
    left: bool = False
    asks: list[StartAttempt] = field(default_factory=list)
    """The attempts under way."""
    token: bool = False

    @property
    def asking(self) -> StartAttempt | None:
        """The attempt that was under way for the longest time."""
        return self.asks[0] if self.asks and not self.over else None

    @property
    def waiting(self) -> SleepUntil | None:
        return self.command if isinstance(self.command, SleepUntil) and not self.left else None

    @property
    def over(self) -> bool:
        return self.left or isinstance(self.command, Succeed | Fail)


class Machines(RuleBasedStateMachine):
    """Several calls over one health, driven by any legal events in any order."""

    calls: list[Under]

    @initialize(rules=RULES, jitter=SHARES, budget=BUDGETS)
    def start(self, rules: Rules, jitter: float, budget: float | None) -> None:
        self.now = START
        self.chosen = rules
        self.health = MemoryHealth(rules, lambda: jitter, retry_budget=budget, hedge_share=None)
        self.calls = []

    def get(self, data: st.DataObject, calls: list[Under]) -> Under:
        return calls[data.draw(st.integers(0, len(calls) - 1))]

    @property
    def asking(self) -> list[Under]:
        return [call for call in self.calls if call.asking]

    @property
    def waiting(self) -> list[Under]:
        return [call for call in self.calls if call.waiting]

    @property
    def under_way(self) -> list[StartAttempt]:
        return [ask for call in self.calls if not call.over for ask in call.asks]

    @precondition(lambda self: len(self.asking) + len(self.waiting) < 5)
    @rule(
        keys=CHAINS,
        attempts=st.integers(1, 3),
        table=POLICIES,
        limits=LIMITS,
        facts=FACTS,
        share=SHARES,
        streams=st.booleans(),
        timeout=st.sampled_from([None, 5.0, 100.0]),
    )
    def begin(
        self,
        keys: list[str],
        attempts: int,
        table: object,
        limits: Limits,
        facts: RequestTraits,
        share: float,
        streams: bool,
        timeout: float | None,
    ) -> None:
        longest = self.chosen.longest_open
        chain = [candidate(key, attempts, streams=streams, timeout=timeout, longest_open=longest) for key in keys]
        machine = Failover(chain, table, self.health, limits, facts, self.now, lambda: share)  # type: ignore[arg-type]
        call = Under(machine, {one.key: one for one in chain}, self.now + limits.total)
        call.stretched = not limits.wall_clock
        self.calls.append(call)
        self.obey(call, machine.begin(self.now))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(data=st.data(), model=st.sampled_from(MODELS), seconds=SECONDS)
    def by_hand(self, data: st.DataObject, model: str, seconds: float) -> None:
        endpoint = "groq" if model.startswith("groq:") else OPENROUTER
        target = HealthScopes(model, endpoint, f"{endpoint}#key", self.chosen.longest_open)
        deeds: list[Callable[[], None]] = [
            lambda: self.health.disable(target, self.now + seconds),
            lambda: self.health.enable(target),
            lambda: self.health.forget(target),
        ]
        data.draw(st.sampled_from(deeds))()

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), reasons=st.booleans(), delivers=st.sampled_from(["", "streamed", "delivered"]))
    def tokens(self, data: st.DataObject, reasons: bool, delivers: str) -> None:
        call = self.get(data, self.asking)
        ask = self.one_of(data, call)
        call.machine.first_token(self.now, ask.number)
        call.asks, call.token = [ask], True
        if reasons:
            call.machine.reasons(self.now, ask.number)
        if delivers:
            getattr(call.machine, delivers)()

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def another_is_due_beside(self, data: st.DataObject) -> None:
        call = self.get(data, self.asking)
        due = call.machine.beside_at
        if due is None or due >= call.deadline:
            return
        self.now = max(self.now, due)
        ask = call.machine.beside(self.now)
        assert call.machine.beside_at is None or call.machine.beside_at > self.now, "what is due has been done"
        if ask is not None:
            assert not call.token
            assert ask.hedges
            assert ask.candidate.key not in [other.candidate.key for other in call.asks]
            self.obey(call, ask)

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), seconds=st.sampled_from([1.0, 100.0]))
    def consumer_holds(self, data: st.DataObject, seconds: float) -> None:
        call = self.get(data, self.asking)
        self.now += seconds
        call.deadline += seconds
        call.machine.held(seconds)

    @precondition(lambda self: self.asking)
    @rule(data=st.data(), failure=FAILURES)
    def fails(self, data: st.DataObject, failure: Failure) -> None:
        call = self.get(data, self.asking)
        self.failed(call, failure, self.one_of(data, call))

    @precondition(lambda self: self.asking)
    @rule(data=st.data())
    def answers(self, data: st.DataObject) -> None:
        call = self.get(data, self.asking)
        ask = self.one_of(data, call)
        call.asks = []
        self.obey(call, call.machine.succeeded(self.now, ask.number))

    @precondition(lambda self: self.asking or self.waiting)
    @rule(data=st.data(), reached=st.booleans())
    def deadline_passes(self, data: st.DataObject, reached: bool) -> None:
        call = self.get(data, self.asking + self.waiting)
        if reached and call.asking:
            call.machine.reached(self.now, call.asking.number)
        call.asks = []
        self.obey(call, call.machine.out_of_time(self.now))

    @precondition(lambda self: self.asking or self.waiting)
    @rule(data=st.data(), reached=st.booleans())
    def caller_leaves(self, data: st.DataObject, reached: bool) -> None:
        call = self.get(data, self.asking + self.waiting)
        if reached and call.asking:
            call.machine.reached(self.now, call.asking.number)
        call.machine.left(self.now)
        call.left = True

    @precondition(lambda self: self.waiting)
    @rule(data=st.data(), late=st.sampled_from([0.0, 500.0, 0.01, 0.0]))
    def wakes(self, data: st.DataObject, late: float) -> None:
        self.wake(self.get(data, self.waiting), late)

    @precondition(lambda self: self.calls)
    @rule(data=st.data())
    def what_cannot_come(self, data: st.DataObject) -> None:
        call = self.get(data, self.calls)
        machine, now = call.machine, self.now
        illegal: list[Callable[[], object]] = [lambda: machine.begin(now)]
        if not call.asking:
            illegal += [
                lambda: machine.succeeded(now),
                lambda: machine.failed(Failure(K.OVERLOADED, "x"), now),
                lambda: machine.first_token(now),
            ]
        if not call.waiting:
            illegal.append(lambda: machine.woke(now))
        with pytest.raises(WrongOrder):
            data.draw(st.sampled_from(illegal))()

    # What follows from an event

    def one_of(self, data: st.DataObject, call: Under) -> StartAttempt:
        return call.asks[data.draw(st.integers(0, len(call.asks) - 1))]

    def failed(self, call: Under, failure: Failure, ask: StartAttempt) -> None:
        key = ask.candidate.key
        if failure.kind is not K.LOCAL:
            call.spent[key] = call.spent.get(key, 0) + 1
        if failure.kind is K.AUTH:
            call.refused_accounts.add(ask.candidate.target.account)
        if failure.kind not in NO_STATUS:
            call.machine.reached(self.now, ask.number)
        if call.stretched:
            call.deadline = max(call.deadline, self.now + 300.0)
        call.asks.remove(ask)
        call.token = False
        self.obey(call, call.machine.failed(failure, self.now, number=ask.number))

    def wake(self, call: Under, late: float = 0.0) -> None:
        wait = call.waiting
        assert wait is not None
        self.now = max(self.now, wait.until) + late
        self.obey(call, call.machine.woke(self.now))

    def obey(self, call: Under, command: Command) -> None:
        assert not call.over, "a call ends once"
        call.command = command
        if isinstance(command, SleepUntil):
            assert not call.asks
            assert self.now < command.until < call.deadline
        elif isinstance(command, KeepWaiting):
            assert call.asks
        elif isinstance(command, StartAttempt):
            one = command.candidate
            assert command.hedges == bool(call.asks)
            call.asks.append(command)
            assert call.spent.get(one.key, 0) < one.attempts
            assert command.total_by <= call.deadline
            assert self.now <= command.first_token_by <= command.total_by
            status_of = self.health.status_of(one.target, self.now)
            assert status_of.availability is not Availability.DISABLED
            assert not command.ignore or one.target.endpoint == OPENROUTER
        elif isinstance(command, Fail) and command.why == "exhausted":
            self.exhausted(call, over_budget=command.over_budget)

    def exhausted(self, call: Under, *, over_budget: bool) -> None:
        """Health alone refuses no call: whoever was not asked is disabled, cools for too long, or has a bad key.

        Only without a retry budget a call that has been refused elsewhere leaves those out that keep failing.
        """
        for one in call.candidates.values():
            if one.key not in call.spent:
                status_of = self.health.status_of(one.target, self.now)
                assert (
                    status_of.availability is Availability.DISABLED
                    or one.target.account in call.refused_accounts
                    or (over_budget and status_of.availability is Availability.CIRCUIT_OPEN and bool(call.spent))
                    or (status_of.availability is Availability.COOLING and (status_of.until or 0.0) >= call.deadline)
                    or (call.stretched and status_of.availability is Availability.COOLING)
                ), (one.key, status_of)

    @invariant()
    def one_probe_at_a_time(self) -> None:
        calls = getattr(self, "calls", [])
        for models in (True, False):
            probing = [
                ask.permit.target.model if models else ask.permit.target.endpoint
                for call in calls
                if not call.over
                for ask in call.asks
                if (ask.permit.model if models else ask.permit.endpoint) in self.probes()
            ]
            assert len(set(probing)) == len(probing)

    @invariant()
    def a_slot_belongs_to_an_attempt_under_way(self) -> None:
        asks = self.under_way if hasattr(self, "calls") else []
        held = {target for ask in asks for target in (ask.permit.model, ask.permit.endpoint)}
        assert self.probes() <= held

    def probes(self) -> set[object]:
        if not hasattr(self, "health"):
            return set()
        held = [breaker.probe for breaker in self.health.breakers.values() if breaker.probe is not None]
        return {probe for probe in held if not probe.ended}

    def teardown(self) -> None:
        """From wherever it is, a call that only fails comes to an end."""
        for call in getattr(self, "calls", []):
            for _ in range(40):
                if call.over:
                    break
                if call.waiting:
                    self.wake(call)
                else:
                    self.failed(call, Failure(K.UNAVAILABLE, "it fails", 500), call.asks[0])
            assert call.over
        if hasattr(self, "health"):
            assert taken(self.health) == set()


TestMachines = Machines.TestCase
TestMachines.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


# Whole calls in virtual time, many at once

STEPS: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(["status", "reasoning", "text", "answer"]), FAILURES, st.builds(Held, st.sampled_from([0.5, 60.0]))
)


def _reply(timed: list[tuple[float, Step]]) -> Reply:
    return tuple(sorted(timed, key=lambda step: step[0]))


REPLIES = st.lists(st.tuples(SECONDS, STEPS), max_size=5).map(_reply)
SCRIPTS = st.fixed_dictionaries({model: st.lists(REPLIES, min_size=1, max_size=4) for model in MODELS})


@dataclass(frozen=True)
class Plan:
    keys: list[str]
    at: float
    limits: Limits
    facts: RequestTraits
    streamed: bool
    leaves: float | None


PLANS = st.lists(
    st.builds(
        Plan,
        CHAINS,
        st.sampled_from([0.0, 1.0, 9.0, 10.0, 11.0, 40.0]),
        LIMITS,
        FACTS,
        st.booleans(),
        st.one_of(st.none(), st.floats(0, 100)),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=500, deadline=None)
@given(script=SCRIPTS, plans=PLANS, table=POLICIES, rules=RULES, share=SHARES, budget=BUDGETS)
@example(  # rounded, the hedge would come with the deadline
    script={"a": [((0.1, Failure(K.UNAVAILABLE, "it failed")),)], **{key: [()] for key in ("b", "c:free", "groq:d")}},
    plans=[
        Plan(
            list(MODELS),
            0.0,
            Limits(total=0.5, wall_clock=False, hedge=Hedging(after=0.1)),
            RequestTraits(),
            False,
            None,
        )
    ],
    table=policy("smart"),
    rules=Rules(min_samples=1, longest_open=5.0),
    share=0.0,
    budget=0.0,
)
@example(
    script={key: [((0.0, Failure(K.CONNECTION, "refused")),)] for key in MODELS},
    plans=[Plan(list(MODELS), at, Limits(), RequestTraits(), False, None) for at in (0.0, 10.0, 11.0)],
    table=policy("smart"),
    rules=Rules(min_samples=1),
    share=0.5,
    budget=None,
)
def test_every_call_ends_once_and_gives_everything_back(
    script: dict[str, list[Reply]],
    plans: list[Plan],
    table: object,
    rules: Rules,
    share: float,
    budget: float | None,
) -> None:
    models = {"b": {"streams": False}, "groq:d": {"attempts": 1, "timeout": 5.0}}
    world = World(script, table, rules, lambda: share, models, retry_budget=budget)  # type: ignore[arg-type]
    for plan in plans:
        leaves = None if plan.leaves is None else plan.at + plan.leaves
        world.call(
            " ".join(plan.keys),
            plan.at,
            limits=plan.limits,
            facts=plan.facts,
            streamed=plan.streamed,
            leaves=leaves,
        )
    world.run()
    for call in world.calls:
        assert call.outcome
        assert call.answers == (not call.outcome.startswith("left") and call.error is None)
        assert len(call.attempts) == len(call.asks)
        assert [ask.number for ask in call.asks] == list(range(1, len(call.asks) + 1))
        bound = {ask.candidate.key: ask.candidate.attempts for ask in call.asks}
        for key, most in bound.items():
            own = [one for one in call.attempts if one.model == key and not one.message.endswith("was faster")]
            counted = [one for one in own if one.kind not in (K.LOCAL, K.CANCELLED)]
            assert len(counted) <= most, "an attempt that was overtaken is none that failed"
    assert world.slots_taken(PROBE_SECONDS) == [], "the slot of a probe that lost a race is free by itself"
    assert world.under_way() == {}


@settings(max_examples=100, deadline=None)
@given(
    chain=CHAINS,
    table=POLICIES,
    failures=st.lists(FAILURES, max_size=8),
    share=SHARES,
    limits=LIMITS,
)
def test_one_outcome_per_model_and_call(
    chain: list[str], table: object, failures: list[Failure], share: float, limits: Limits
) -> None:
    replies: list[Reply] = [((0.0, "status"), (0.0, one)) for one in failures] or [((0.0, "answer"),)]
    world = World(dict.fromkeys(MODELS, replies), table, Rules(min_samples=9), lambda: share)  # type: ignore[arg-type]
    world.call(" ".join(chain), limits=limits)
    world.run()
    for model in chain:
        seen = world.health.snapshot(world.candidate(model).target, world.now)
        assert seen.successes + seen.failures <= 1
