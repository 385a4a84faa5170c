"""The cost of failures: hedging, a flaky model, an outage, a cold start, each with a reference. See README.md.

python benchmarks/resilience.py [name ...] [--calls 600] [--json FILE] [--strict]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from openrouter_fallback import AllModelsFailedError, FallbackClient
from openrouter_fallback.emulator import Emulator

KEY = "sk-or-v1-emulator"
FIRST, SECOND, THIRD = "bench/first", "bench/second", "bench/third"
HEALTHY_SECONDS = 0.05
AT_A_TIME = 16
PROMPT = "Why do fallbacks need a budget?"


@dataclass
class Run:
    """The results of many calls: seconds per answer (of a stream: to its first token), failures, requests."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0
    requests: int = 0

    @property
    def calls(self) -> int:
        return len(self.seconds) + self.failed

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.seconds, n=100)[98] if len(self.seconds) > 1 else float("nan")


@dataclass(frozen=True)
class Row:
    """One figure. `target` is its upper bound; `wanted` is its required exact value."""

    name: str
    value: float
    target: float | None = None
    wanted: float | None = None

    @property
    def bound(self) -> str:
        if self.target is not None:
            return f"<= {self.target:g}"
        return f"= {self.wanted:g}" if self.wanted is not None else ""

    @property
    def verdict(self) -> str:
        met = self.value <= self.target if self.target is not None else self.value == self.wanted
        return "" if not self.bound else "met" if met else "MISSED"


def client_for(emulator: Emulator, models: Sequence[str], **settings: Any) -> FallbackClient:
    return FallbackClient(models, base_url=emulator.base_url, api_key=KEY, settings=settings)


async def drive(
    emulator: Emulator, call: Callable[[], Awaitable[float | None]], calls: int, at_a_time: int = AT_A_TIME
) -> Run:
    """Make `calls` calls, `at_a_time` at a time. Each call returns its seconds, or None if it does not count."""
    run, left, before = Run(), iter(range(calls)), len(emulator.log)

    async def work() -> None:
        for _ in left:
            seconds = await call()
            if seconds is None:
                run.failed += 1
            else:
                run.seconds.append(seconds)

    await asyncio.gather(*(work() for _ in range(at_a_time)))
    run.requests = len(emulator.log) - before
    return run


def first_token_of(client: FallbackClient) -> Callable[[], Awaitable[float | None]]:
    async def call() -> float | None:
        begun, first = time.perf_counter(), None
        try:
            async for piece in client.astream(PROMPT):
                if first is None and piece.text:
                    first = time.perf_counter() - begun
        except AllModelsFailedError:
            return None
        return first

    return call


def answer_of(client: FallbackClient) -> Callable[[], Awaitable[float | None]]:
    async def call() -> float | None:
        begun = time.perf_counter()
        try:
            answer = await client.achat(PROMPT)
        except AllModelsFailedError:
            return None
        return time.perf_counter() - begun if answer.text else None

    return call


async def hedging(emulator: Emulator, calls: int) -> list[Row]:
    """5 % of the first model's calls take 2 s to the first token; the second model is healthy; hedging after 150 ms."""
    runs = []
    for settings in ({}, {"hedge": {"after": 0.15, "max_fraction": 0.1}}):
        emulator.clear_faults()
        emulator.fault("slow", model=FIRST, probability=0.05, delay=2.0)
        async with client_for(emulator, [FIRST, SECOND], **settings) as client:
            runs.append(await drive(emulator, first_token_of(client), calls))
    without, with_hedging = runs
    return [
        Row("p99 to the first token, s, without", without.p99),
        Row("p99 to the first token, s, hedged", with_hedging.p99),
        Row("ratio of the two", with_hedging.p99 / without.p99, target=0.3),
        Row("requests per call, hedged", with_hedging.requests / calls, target=1.1),
        Row("calls without an answer", with_hedging.failed, wanted=0),
    ]


async def flaky(emulator: Emulator, calls: int) -> list[Row]:
    """30 % of the first model's calls get a 503; all other calls of both models take 50 ms."""
    healthy, ours = Run(), Run()
    async with client_for(emulator, [FIRST, SECOND]) as client:
        healthy = await drive(emulator, answer_of(client), calls)
    emulator.fault("provider_overloaded", model=FIRST, probability=0.3)
    async with client_for(emulator, [FIRST, SECOND]) as client:
        ours = await drive(emulator, answer_of(client), calls)
    rows = [
        Row("answered, of all", len(ours.seconds) / calls, wanted=1.0),
        Row("requests per answer", ours.requests / len(ours.seconds), target=1.4),
        Row("p99 over the healthy p99", ours.p99 / healthy.p99),
    ]
    peer = with_fallbacks(emulator)
    if peer is not None:
        theirs = await drive(emulator, peer, calls)
        rows += [
            Row("with_fallbacks: answered, of all", len(theirs.seconds) / calls),
            Row("with_fallbacks: requests per answer", theirs.requests / max(1, len(theirs.seconds))),
            Row("with_fallbacks: p99 over the healthy p99", theirs.p99 / healthy.p99),
        ]
    return rows


def with_fallbacks(emulator: Emulator) -> Callable[[], Awaitable[float | None]] | None:
    """LangChain's `with_fallbacks` of two models with its defaults; None if langchain-openai is not installed."""
    try:
        from langchain_openai import ChatOpenAI
    except ImportError:
        return None
    models = [ChatOpenAI(model=model, base_url=emulator.base_url, api_key=KEY) for model in (FIRST, SECOND)]
    chain = models[0].with_fallbacks(models[1:])

    async def call() -> float | None:
        begun = time.perf_counter()
        try:
            answer = await chain.ainvoke(PROMPT)
        except Exception:
            return None
        return time.perf_counter() - begun if answer.content else None

    return call


async def outage(emulator: Emulator, calls: int) -> list[Row]:
    """All three models fail at a constant load of 40 calls per second; measured after all breakers have opened."""
    for model in (FIRST, SECOND, THIRD):
        emulator.fault("provider_overloaded", model=model)

    async def offered(call: Callable[[], Awaitable[object]], seconds: float) -> float:
        """The number of requests per call at a constant load."""
        loop, tasks, before = asyncio.get_running_loop(), [], len(emulator.log)
        begun = loop.time()
        for number in range(int(40 * seconds)):
            await asyncio.sleep(max(0.0, begun + number / 40 - loop.time()))
            tasks.append(asyncio.ensure_future(call()))
        await asyncio.gather(*tasks)
        return (len(emulator.log) - before) / len(tasks)

    async with client_for(emulator, [FIRST, SECOND, THIRD]) as client:
        await drive(emulator, answer_of(client), 30)
        await offered(answer_of(client), 3.0)
        ours = await offered(answer_of(client), calls / 40)
    # The budget, and 10 requests in 10 s beside it (docs/do-no-harm.md): 10 for 400 calls.
    rows = [Row("requests per call, retry_budget 0.2", ours, target=1.2 + 10 / 400)]
    async with client_for(emulator, [FIRST, SECOND, THIRD], retry_budget=None) as client:
        await drive(emulator, answer_of(client), 30)
        rows.append(Row("requests per call, without a budget", await offered(answer_of(client), 5.0)))
    rows.append(Row("requests per call, a plain retry loop", await offered(plain_loop(emulator), 5.0)))
    return rows


def plain_loop(emulator: Emulator) -> Callable[[], Awaitable[object]]:
    """The usual loop of tutorials: each model in turn, with the SDK's own two retries."""
    import openai

    client = openai.AsyncOpenAI(base_url=emulator.base_url, api_key=KEY)

    async def call() -> object:
        for model in (FIRST, SECOND, THIRD):
            try:
                return await client.chat.completions.create(model=model, messages=[{"role": "user", "content": PROMPT}])
            except openai.APIError:
                continue
        return None

    return call


async def cold_start(emulator: Emulator, calls: int) -> list[Row]:
    """Three failing models and then a healthy one, 64 calls at a time, without learned health and retry budget."""
    dead = [f"bench/dead-{number}" for number in range(3)]
    for model in dead:
        emulator.fault("provider_overloaded", model=model)
    async with client_for(emulator, [*dead, FIRST], retry_budget=0.0) as client:
        run = await drive(emulator, answer_of(client), 64, at_a_time=64)
    return [Row("answered, of all", len(run.seconds) / 64, wanted=1.0), Row("requests per answer", run.requests / 64)]


SCENARIOS = {"hedging": hedging, "flaky": flaky, "outage": outage, "cold-start": cold_start}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[*SCENARIOS, []], metavar="name", help=", ".join(SCENARIOS))
    parser.add_argument("--calls", type=int, default=600)
    parser.add_argument("--json", metavar="FILE", help="also write the figures to this file")
    parser.add_argument("--strict", action="store_true", help="exit with 1 if a target is missed")
    chosen = parser.parse_args()
    logging.getLogger("openrouter_fallback").setLevel(logging.ERROR)  # one line per failover otherwise
    found: dict[str, list[Row]] = {}
    for name in chosen.names or SCENARIOS:
        with Emulator(api_key=KEY) as emulator:
            emulator.pace(latency=HEALTHY_SECONDS)
            scenario = SCENARIOS[name]
            found[name] = asyncio.run(scenario(emulator, chosen.calls))
        print(f"\n{name}: {' '.join((scenario.__doc__ or '').split())}")
        for row in found[name]:
            bound = (
                f"<= {row.target:g}"
                if row.target is not None
                else f"= {row.wanted:g}"
                if row.wanted is not None
                else ""
            )
            print(f"  {row.name:46}{row.value:10.3f}  {bound:8}{row.verdict}")
    if chosen.json:
        with open(chosen.json, "w", encoding="utf-8") as file:
            json.dump({name: [asdict(row) for row in rows] for name, rows in found.items()}, file, indent=2)
    missed = [row for rows in found.values() for row in rows if row.verdict == "MISSED"]
    return 1 if chosen.strict and missed else 0


if __name__ == "__main__":
    raise SystemExit(main())
