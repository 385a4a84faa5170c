"""An outage of a fleet in virtual time: its cost with shared health, and with separate health. See README.md.

python benchmarks/fleet.py [--processes 100] [--rate 20] [--seconds 120] [--seed 1] [--plot benchmarks/fleet.png]

Every process runs the real machine (`Failover`, `SharedHealth`). The models, the clock and Redis are simulated, so the
figures do not depend on the computer. The plot needs matplotlib.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.support.fleet import Board, Member
from tests.support.timeline import START, Call, Reply, World, fails, ok

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.health import MemoryHealth, Rules
from openrouter_fallback.health.shared.fleet import SOON_SECONDS

MODELS = ("primary", "second")
OUTAGE = (30.0, 75.0)
"""The start and the end of the outage, in seconds."""
ANSWER_SECONDS = 0.5
FAILS_AFTER_SECONDS = 0.05
RECOVERED = 0.95
OVERLOADED = Failure(FailureKind.OVERLOADED, "", status=503)

Down = Callable[["Fleet", str], bool]


def _primary(fleet: Fleet, model: str) -> bool:
    return model == "primary"


def _all(fleet: Fleet, model: str) -> bool:
    return True


def _half(fleet: Fleet, model: str) -> bool:
    """Refuse half of the fleet's requests in each second."""
    second = int(fleet.now)
    fleet.served[second] += model == "primary"
    return model == "primary" and fleet.served[second] > fleet.capacity / 2


OUTAGES: dict[str, Down] = {"one model": _primary, "all models": _all, "half of its capacity": _half}


@dataclass
class Tally:
    """Counts by second of the timeline in which a call began or a request was sent."""

    calls: Counter[int] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    requests: dict[str, Counter[int]] = field(default_factory=lambda: {model: Counter() for model in MODELS})
    failed: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    def during(self, counted: Counter[int]) -> int:
        return sum(count for second, count in counted.items() if OUTAGE[0] <= second < OUTAGE[1])

    def recovered_after(self, last: int) -> int | None:
        """The seconds after the outage until the primary model permanently gets its share of the requests again."""
        well = [
            second
            for second in range(int(OUTAGE[1]), last)
            if self.requests["primary"][second] >= RECOVERED * self.calls[second]
        ]
        runs = (second for second in well if all(later in well for later in range(second, last)))
        first = next(runs, None)
        return None if first is None else first - int(OUTAGE[1])


class Fleet:
    """All processes of the fleet, with one clock."""

    def __init__(
        self,
        down: Down,
        *,
        processes: int,
        rate: float,
        seconds: float,
        shared: bool,
        retry_budget: float | None,
        seed: int,
    ) -> None:
        self.now = 0.0
        self.tally = Tally()
        self.capacity = processes * rate
        self.served: Counter[int] = Counter()
        self._down = down
        self._events: list[tuple[float, int, Callable[[], None], Callable[[], bool]]] = []
        self._order = itertools.count()
        self._dice = random.Random(seed)
        board = Board()
        for number in range(processes):
            process = Process(self, random.Random(f"{seed}/{number}"), retry_budget)
            if shared:
                member = Member(board, str(number), lambda: START + self.now, retry_budget=retry_budget)
                process.health, process.member = member.health, member
                self._every_second(member, process.random(), seconds)
            self._ask(process, rate, seconds)

    def at(self, time: float, event: Callable[[], None], unless: Callable[[], bool] = lambda: False) -> None:
        heapq.heappush(self._events, (time - START, next(self._order), event, unless))

    def run(self) -> Tally:
        while self._events:
            time, _, event, pointless = heapq.heappop(self._events)
            if not pointless():
                self.now = time
                event()
        return self.tally

    def reply(self, model: str) -> Reply:
        second = int(self.now)
        self.tally.requests[model][second] += 1
        if OUTAGE[0] <= self.now < OUTAGE[1] and self._down(self, model):
            self.tally.failed[second] += 1
            return fails(OVERLOADED, FAILS_AFTER_SECONDS)
        return ok(ANSWER_SECONDS)

    def _every_second(self, member: Member, offset: float, seconds: float) -> None:
        def step() -> None:
            member.step()
            if self.now < seconds:
                self.at(START + self.now + 0.9 + 0.1 * self._dice.random(), step)

        self.at(START + offset, step)
        hurries = False

        def soon() -> None:
            nonlocal hurries
            member.step()
            hurries = member.health.uneasy(START + self.now)
            if hurries:
                self.at(START + self.now + SOON_SECONDS, soon)

        def hurry() -> None:
            nonlocal hurries
            if not hurries:
                hurries = True
                self.at(START + self.now + SOON_SECONDS, soon)

        member.health.hurry = hurry

    def _ask(self, process: Process, rate: float, seconds: float) -> None:
        def call() -> None:
            began, second = self.now, int(self.now)
            self.tally.calls[second] += 1
            if process.member is not None:
                process.member.lease(candidate.target for candidate in process.candidates)
            Asked(process, lambda outcome: self._end(outcome, began))
            following = self.now + process.dice.expovariate(rate)
            if following < seconds:
                self.at(START + following, call)

        self.at(START + process.dice.expovariate(rate), call)

    def _end(self, outcome: str, began: float) -> None:
        if "Error" in outcome:
            self.tally.errors[int(began)] += 1
        elif OUTAGE[0] <= began < OUTAGE[1]:
            self.tally.seconds.append(self.now - began)


class Process(World):
    """One process of the fleet: the world of a timeline with the clock and the models of the fleet."""

    def __init__(self, fleet: Fleet, dice: random.Random, retry_budget: float | None) -> None:
        self.fleet, self.dice = fleet, dice
        super().__init__(script={}, random=dice.random)
        self.health = MemoryHealth(Rules(), dice.random, retry_budget=retry_budget)
        self.member: Member | None = None
        self.candidates = [self.candidate(model) for model in MODELS]

    @property
    def now(self) -> float:  # type: ignore[override]
        return START + self.fleet.now

    @now.setter
    def now(self, value: float) -> None:
        pass

    def at(self, time: float, event: Callable[[], None], unless: Callable[[], bool] = lambda: False) -> None:
        self.fleet.at(time, event, unless)

    def reply(self, model: str) -> Reply:
        self.sent.clear()
        return self.fleet.reply(model)


class Asked(Call):
    """One call that keeps only its outcome."""

    def __init__(self, process: Process, ended: Callable[[str], None]) -> None:
        self._ended = ended
        super().__init__(process, 0, process.candidates, process.now, limits=Limits(total=30.0))

    def _end(self, outcome: str) -> None:
        super()._end(outcome)
        self._ended(outcome)


SHARED = {"each for itself": False, "shared": True}
BUDGETS = {"none": None, "0.2": 0.2}


def runs(options: argparse.Namespace) -> Iterator[tuple[str, str, str, Tally]]:
    """The result of each outage: with separate and with shared health, with and without the retry budget."""
    for (name, down), (label, shared), (bound, budget) in itertools.product(
        OUTAGES.items(), SHARED.items(), BUDGETS.items()
    ):
        fleet = Fleet(
            down,
            processes=options.processes,
            rate=options.rate,
            seconds=options.seconds,
            shared=shared,
            retry_budget=budget,
            seed=options.seed,
        )
        yield name, label, bound, fleet.run()


HEAD = (
    "outage of",
    "health",
    "retry budget",
    "calls",
    "answered",
    "errors",
    "failed requests in vain",
    "requests per call",
    "p99 s",
    "back after s",
)


def row(name: str, label: str, bound: str, tally: Tally, last: int) -> tuple[str, ...]:
    """One row of the table. All columns but the last one count only the time of the outage."""
    calls, errors = tally.during(tally.calls), tally.during(tally.errors)
    requests = sum(tally.during(counted) for counted in tally.requests.values())
    back = tally.recovered_after(last)
    p99 = statistics.quantiles(tally.seconds, n=100)[98] if len(tally.seconds) > 1 else 0.0
    return (
        name,
        label,
        bound,
        f"{calls:,}",
        f"{1 - errors / calls:.2%}",
        f"{errors:,}",
        f"{tally.during(tally.failed):,}",
        f"{requests / calls:.3f}",
        f"{p99:.2f}",
        "never" if back is None else str(back),
    )


def plot(found: list[tuple[str, str, str, Tally]], path: Path, seconds: int) -> None:
    """Draw the failed requests and the errors of each second."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(OUTAGES), figsize=(13, 6), sharex=True)
    for column, name in enumerate(OUTAGES):
        for outage, label, bound, tally in found:
            if outage == name:
                look = {"color": "#0f766e" if SHARED[label] else "#c2410c", "linestyle": "-" if BUDGETS[bound] else ":"}
                for axis, counted in zip(axes[:, column], (tally.failed, tally.errors), strict=True):
                    line = [counted[second] for second in range(seconds)]
                    axis.plot(range(seconds), line, label=f"{label}, budget {bound}", **look)
        axes[0][column].set_title(f"outage of {name}")
        axes[1][column].set_xlabel("second")
        for axis in axes[:, column]:
            axis.axvspan(*OUTAGE, color="0.93", zorder=0)
            axis.set_yscale("symlog")
            axis.set_ylim(0, 20_000)
    axes[0][0].set_ylabel("requests in vain, per second")
    axes[1][0].set_ylabel("calls that failed, per second")
    axes[1][0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=100)
    parser.add_argument("--rate", type=float, default=20.0, help="calls per second of one process")
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    found = []
    print("| " + " | ".join(HEAD) + " |")
    print("|" + "---|" * len(HEAD))
    for name, label, bound, tally in runs(options):
        found.append((name, label, bound, tally))
        print("| " + " | ".join(row(name, label, bound, tally, int(options.seconds) - 1)) + " |", flush=True)
    if options.plot is not None:
        plot(found, options.plot, int(options.seconds))


if __name__ == "__main__":
    main()
