"""What a call costs beside the openai SDK: client CPU, import time, health and machine. See README.md.

python benchmarks/speed.py [name ...] [--blocks 15] [--server fixed|emulator] [--strict]
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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
KEY = "sk-or-v1-emulator"
PROMPT = [{"role": "user", "content": "Why do fallbacks need a budget?"}]
CLIENT_CORE, SERVER_CORE = 0, 1
ALL_ON = {"hedge": {"after": "p95"}, "retry_budget": 0.2, "mid_stream": "continue"}
BARE = {"retry_budget": None, "mid_stream": "raise"}
MODULES = ("openrouter_fallback", "openai")


@dataclass(frozen=True)
class Row:
    """One measurement; figures in microseconds of client CPU per call, or as `unit` says."""

    name: str
    ours: float
    theirs: float | None = None
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    target: float | None = None
    unit: str = "µs"

    @property
    def verdict(self) -> str:
        value = self.ours if self.ratio is None else self.ratio
        return "" if self.target is None else "met" if value <= self.target else "MISSED"


@dataclass(frozen=True)
class Case:
    """One pair of twins: `ours` and `theirs` make one call and return the number of characters that came."""

    name: str
    model: str
    ours: str
    theirs: str
    calls: int
    target: float | None = None
    at_a_time: int = 1


CASES = (
    Case("noise-async", "bench/20", "sdk_achat", "sdk_achat", 60),
    Case("noise-sync", "bench/20", "sdk_chat", "sdk_chat", 60),
    Case("achat-20", "bench/20", "achat", "sdk_achat", 60, 0.8),
    Case("achat-20-unstreamed", "bench/20", "achat_unstreamed", "sdk_achat", 60, 0.55),
    Case("chat-20", "bench/20", "chat", "sdk_chat", 60, 1.1),
    Case("chat-20-unstreamed", "bench/20", "chat_unstreamed", "sdk_chat", 60),
    Case("astream-500", "bench/500", "astream", "sdk_astream", 4, 0.3),
    Case("stream-500", "bench/500", "stream", "sdk_stream", 4, 0.3),
    Case("astream-500-paced", "bench/500-paced", "astream", "sdk_astream", 4),
    Case("stream-500-paced", "bench/500-paced", "stream", "sdk_stream", 4),
    Case("achat-64-at-a-time", "bench/20", "achat", "sdk_achat", 192, 0.7, at_a_time=64),
    Case("astream-500-all-on", "bench/500", "astream_all_on", "astream_bare", 4, 1.1),
    Case("achat-20-all-on", "bench/20", "achat_all_on", "achat_bare", 60),
    Case("achat-500", "bench/500", "achat", "sdk_achat", 12),
    Case("achat-500-unstreamed", "bench/500", "achat_unstreamed", "sdk_achat", 12),
)


class Twins:
    """Both clients on one server; each method makes one call."""

    def __init__(self, url: str, model: str) -> None:
        import openai

        from openrouter_fallback import FallbackClient

        self.model = model
        self._ours = FallbackClient([model], base_url=url, api_key=KEY)
        self._unstreamed = FallbackClient([model], base_url=url, api_key=KEY, settings={"stream_upstream": False})
        self._all_on = FallbackClient(
            [model, model.replace("bench", "other")], base_url=url, api_key=KEY, settings=ALL_ON
        )
        self._bare = FallbackClient([model, model.replace("bench", "other")], base_url=url, api_key=KEY, settings=BARE)
        self._sync = openai.OpenAI(base_url=url, api_key=KEY)
        self._async = openai.AsyncOpenAI(base_url=url, api_key=KEY)
        self._body: dict[str, Any] = {"model": model, "messages": PROMPT}
        self._streamed = {**self._body, "stream": True, "stream_options": {"include_usage": True}}

    async def achat(self) -> int:
        return len((await self._ours.achat(PROMPT)).text)

    async def achat_unstreamed(self) -> int:
        return len((await self._unstreamed.achat(PROMPT)).text)

    async def sdk_achat(self) -> int:
        return len((await self._async.chat.completions.create(**self._body)).choices[0].message.content)

    async def astream(self) -> int:
        return sum([len(piece.text) async for piece in self._ours.astream(PROMPT)])

    async def astream_all_on(self) -> int:
        return sum([len(piece.text) async for piece in self._all_on.astream(PROMPT)])

    async def astream_bare(self) -> int:
        return sum([len(piece.text) async for piece in self._bare.astream(PROMPT)])

    async def achat_all_on(self) -> int:
        return len((await self._all_on.achat(PROMPT)).text)

    async def achat_bare(self) -> int:
        return len((await self._bare.achat(PROMPT)).text)

    async def sdk_astream(self) -> int:
        stream = await self._async.chat.completions.create(**self._streamed)
        return sum([len(chunk.choices[0].delta.content or "") async for chunk in stream if chunk.choices])

    def chat(self) -> int:
        return len(self._ours.chat(PROMPT).text)

    def chat_unstreamed(self) -> int:
        return len(self._unstreamed.chat(PROMPT).text)

    def sdk_chat(self) -> int:
        return len(self._sync.chat.completions.create(**self._body).choices[0].message.content)

    def stream(self) -> int:
        return sum(len(piece.text) for piece in self._ours.stream(PROMPT))

    def sdk_stream(self) -> int:
        stream = self._sync.chat.completions.create(**self._streamed)
        return sum(len(chunk.choices[0].delta.content or "") for chunk in stream if chunk.choices)

    async def aclose(self) -> None:
        for client in (self._ours, self._unstreamed, self._all_on, self._bare):
            await client.aclose()
            client.close()
        await self._async.close()
        self._sync.close()


def pin(core: int) -> None:
    """Keep this process on one core, where the system can and there are two."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {core})


@contextmanager
def served(kind: str, tokens: int = 20) -> Iterator[str]:
    """A server process on its own core; gives its base URL."""
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


def compare(case: Case, url: str, blocks: int, make: Callable[[str, str], Any] = Twins) -> Row:
    """Alternate blocks of both twins, as `make` makes them; the ratio of each pair of blocks, and their median."""
    twins = make(url, case.model)
    ours, theirs = getattr(twins, case.ours), getattr(twins, case.theirs)
    if asyncio.iscoroutinefunction(ours):
        pairs = asyncio.run(_async_blocks(case, twins, ours, theirs, blocks))
    else:
        pairs = _sync_blocks(case, ours, theirs, blocks)
        asyncio.run(twins.aclose())
    ratios = [mine / other for mine, other in pairs]
    mine, other = (statistics.median(side) for side in zip(*pairs, strict=True))
    quartiles = statistics.quantiles(ratios, n=4)
    return Row(case.name, mine * 1e6, other * 1e6, statistics.median(ratios), (quartiles[0], quartiles[2]), case.target)


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
        if block >= 0:
            pairs.append((mine, other))
    await twins.aclose()
    return pairs


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
        if block >= 0:
            pairs.append((mine, other))
    return pairs


_TAKE = {"openrouter_fallback": "openrouter_fallback.FallbackClient", "openai": "openai.OpenAI"}
"""The client's class: with ours, names are looked up at their first use."""
_MAKE = {
    "openrouter_fallback": "openrouter_fallback.FallbackClient(['a/b'], api_key='sk-or-v1-x')",
    "openai": "openai.OpenAI(api_key='x')",
}


def imports(blocks: int) -> list[Row]:
    """CPU of importing each package in a fresh interpreter with compiled bytecode, alone and with a client made."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        env = {**os.environ, "PYTHONPYCACHEPREFIX": cache, "PYTHONDONTWRITEBYTECODE": ""}

        def once(module: str, then: str) -> float:
            code = (
                f"import time; begun = time.process_time(); import {module}; {then}; print(time.process_time() - begun)"
            )
            done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
            return float(done.stdout)

        for name, then, target in (
            ("import", _TAKE, 0.33),
            ("import-and-client", _MAKE, None),
        ):
            for module in MODULES:
                once(module, then[module])
            pairs = [tuple(once(module, then[module]) for module in MODULES) for _ in range(max(blocks, 5))]
            ratios = [ours / theirs for ours, theirs in pairs]
            ours, theirs = (statistics.median(side) * 1e3 for side in zip(*pairs, strict=True))
            quartiles = statistics.quantiles(ratios, n=4)
            spread = (quartiles[0], quartiles[2])
            rows.append(Row(name, ours, theirs, statistics.median(ratios), spread, target, "ms"))
    return rows


def _per_call(work: Callable[[], object], times: int = 20_000, blocks: int = 9) -> float:
    """Microseconds of one call, the median of several blocks."""
    seconds = []
    for _ in range(blocks):
        gc.collect()
        begun = time.process_time()
        for _ in range(times):
            work()
        seconds.append((time.process_time() - begun) / times)
    return statistics.median(seconds) * 1e6


def health() -> list[Row]:
    """One record, one query; and what an attempt takes of the store that decides."""
    from openrouter_fallback import HealthTracker
    from openrouter_fallback.health import MemoryHealth, Rules, Target

    tracker = HealthTracker()
    store = MemoryHealth(Rules(), lambda: 0.5)
    target = Target("bench/20", "openrouter", "openrouter#")
    ticket = store.begin(target, 0.0)
    assert ticket is not None
    store.success(ticket, 0.0)
    return [
        Row("health-record", _per_call(lambda: tracker.record_success("bench/20")), target=2.0),
        Row("health-query", _per_call(lambda: tracker.should_skip("bench/20")), target=2.0),
        Row("health-standing", _per_call(lambda: store.standing(target, 2.0)), target=2.0),
        Row("health-begin", _per_call(lambda: store.begin(target, 2.0))),
        Row("health-success", _per_call(lambda: store.success(ticket, 2.0))),
    ]


def machine() -> list[Row]:
    """The decision of one call: a chain of three, the first answers; and one failover before that."""
    from openrouter_fallback.commands import Facts, Limits
    from openrouter_fallback.config import FallbackConfig
    from openrouter_fallback.failover import Failover
    from openrouter_fallback.failures import Failure, FailureKind
    from openrouter_fallback.health import MemoryHealth, Rules
    from openrouter_fallback.policy import policy
    from openrouter_fallback.router import Choice, Router

    store = MemoryHealth(Rules(), lambda: 0.5)
    router = Router(FallbackConfig(default_chain=("a/a", "b/b", "c/c")), store)
    accounts = {"openrouter": "openrouter#"}
    rules, limits, facts, choice = policy("smart", {}), Limits(), Facts(), Choice()
    full = Failure(FailureKind.RATE_LIMITED, "slow down", status=429)

    def decide(*, failing: bool) -> None:
        plan = router.plan(choice, 0.0, accounts)
        call = Failover(plan.candidates, rules, store, limits, facts, 0.0, lambda: 0.5)
        call.begin(0.0)
        if failing:
            call.failed(full, 0.0)
            store.enable(plan.candidates[0].target)
        call.first_token(0.0)
        call.succeeded(0.0)

    return [
        Row("machine-answered", _per_call(lambda: decide(failing=False), 2_000)),
        Row("machine-failover", _per_call(lambda: decide(failing=True), 2_000)),
    ]


def show(row: Row) -> None:
    """One line of the table."""
    theirs = "" if row.theirs is None else f"{row.theirs:10,.1f}"
    ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
    spread = "" if row.spread is None else f"{row.spread[0]:.3f}-{row.spread[1]:.3f}"
    target = "" if row.target is None else f"<= {row.target:g}"
    print(
        f"{row.name:22}{row.ours:10,.1f} {theirs:>10} {row.unit:3}{ratio:>7}  {spread:13}{target:8}{row.verdict}",
        flush=True,
    )


GROUPS: dict[str, Callable[[int], list[Row]]] = {
    "import": imports,
    "health": lambda blocks: health(),
    "machine": lambda blocks: machine(),
}


def main() -> int:
    names = [case.name for case in CASES] + list(GROUPS)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"of: {', '.join(names)}; all by default")
    parser.add_argument("--blocks", type=int, default=15, help="pairs of blocks for each row")
    parser.add_argument("--server", choices=("fixed", "emulator"), default="fixed")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    chosen = parser.parse_args()
    unknown = set(chosen.names) - set(names)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    pin(CLIENT_CORE)
    wanted = chosen.names or names
    print(f"{'':22}{'ours':>10} {'SDK':>10} {'':3}{'ratio':>7}  {'quartiles':13}{'target':8}")
    rows = []
    for case in CASES:
        if case.name in wanted:
            tokens = int(case.model.partition("/")[2].partition("-")[0])
            with served(chosen.server, tokens) as url:
                rows.append(compare(case, url, chosen.blocks))
            show(rows[-1])
    for name, group in GROUPS.items():
        if name in wanted:
            for row in group(chosen.blocks):
                rows.append(row)
                show(row)
    return int(chosen.strict and any(row.verdict == "MISSED" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
