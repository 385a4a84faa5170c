"""Many calls with random faults: memory must not grow, nothing may leak, and all counts must agree. See README.md.

python benchmarks/soak.py [--calls 10000] [--settle 2000] [--at-a-time 32]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import itertools
import json
import logging
import random
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from openrouter_fallback import FailureKind, FallbackClient, FallbackError
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event

MODELS = ("soak/one", "soak/two", "soak/three", "soak/four")
KEY = "sk-or-v1-emulator"
# (kind, probability, details) of the faults, each for every model.
FAULTS: tuple[tuple[str, float, dict[str, object]], ...] = (
    ("provider_overloaded", 0.04, {}),
    ("rate_limit_exceeded", 0.02, {"retry_after": 0}),
    ("server", 0.02, {}),
    ("server", 0.02, {"place": "body"}),
    ("provider_overloaded", 0.02, {"place": "sse", "after_tokens": 0}),
    ("provider_overloaded", 0.02, {"place": "sse", "after_tokens": 5}),
    ("empty", 0.02, {}),
    ("bad_json", 0.02, {"after_tokens": 0}),
    ("truncated", 0.02, {}),
    ("cut", 0.02, {}),
    ("reset_mid", 0.02, {}),
    ("reset", 0.003, {}),
)
LEAVING = 0.15
"""The share of streams that the caller abandons after the first piece."""
MOST_GROWTH = 5.0


def make_faulty(emulator: Emulator) -> None:
    """Set the faults of the emulator."""
    for kind, probability, details in FAULTS:
        for model in MODELS:
            emulator.fault(kind, model=model, probability=probability, **details)  # type: ignore[arg-type]


def serve(seed: int) -> None:
    """The server process: prints its URL, and for each line on stdin the number of its requests."""
    # asyncio warns about each write to a client that has just disconnected.
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    with Emulator(seed=seed, api_key=KEY) as emulator:
        make_faulty(emulator)
        print(emulator.base_url, flush=True)
        for _ in sys.stdin:
            print(json.dumps({model: emulator.count(model) for model in MODELS}), flush=True)


@dataclass
class Tally:
    """The counts of the callers and of the subscriber, collected from many threads."""

    made: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    attempts_said: int = 0
    by_model: Counter[str] = field(default_factory=Counter)
    unsent: Counter[str] = field(default_factory=Counter)
    resent: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    open_calls: set[int] = field(default_factory=set)
    open_attempts: set[tuple[int, int]] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def saw(self, outcome: str) -> None:
        with self._lock:
            self.made += 1
            self.seen[outcome] += 1

    def hear(self, event: Event) -> None:
        """Count an event of the client. This method is the client's subscriber."""
        with self._lock:
            self.told[type(event).__name__] += 1
            if isinstance(event, CallStarted):
                self.open_calls.add(event.call)
            elif isinstance(event, AttemptStarted):
                self.open_attempts.add((event.call, event.number))
                self.by_model[event.model] += 1
            elif isinstance(event, AttemptEnded):
                self.open_attempts.remove((event.call, event.number))
                self.resent[event.attempt.model] += event.attempt.resent
                self.kinds[str(event.attempt.kind or "answered")] += 1
                if event.attempt.kind is FailureKind.CANCELLED and event.attempt.status is None:
                    self.unsent[event.attempt.model] += 1
            elif isinstance(event, CallEnded):
                self.open_calls.remove(event.call)
                self.attempts_said += event.attempts
                self.told[event.outcome] += 1

    def _all_sent(self, model: str, requests: dict[str, int]) -> bool:
        """Whether the server has received one request for each attempt of a model.

        An attempt whose caller left may have sent no request. Of an attempt that was sent again, the server may have
        received both requests or only the second.
        """
        attempts = self.by_model[model]
        return attempts - self.unsent[model] <= requests.get(model, 0) <= attempts + self.resent[model]

    def check(self, requests: dict[str, int]) -> list[str]:
        """The counts that do not agree. `requests` are the emulator's own counts by model."""
        told, seen = self.told, self.seen
        sums = (
            ("calls begun", told["CallStarted"], self.made),
            ("calls ended", told["CallEnded"], self.made),
            # A stream that its caller left may already have ended in the data that was read ahead.
            ("calls told as failed", min(told["failed"], seen["failed"]), seen["failed"]),
            ("calls told as answered", min(told["answered"], seen["answered"]), seen["answered"]),
            ("calls with an outcome", told["answered"] + told["failed"] + told["cancelled"], sum(seen.values())),
            ("calls still open", len(self.open_calls), 0),
            ("attempts ended", told["AttemptEnded"], told["AttemptStarted"]),
            ("attempts in the calls' ends", self.attempts_said, told["AttemptEnded"]),
            ("attempts still open", len(self.open_attempts), 0),
            # An attempt whose caller left before it was sent is not in the server's count.
            *((f"requests to {model} for its attempts", self._all_sent(model, requests), True) for model in MODELS),
        )
        return self.wrong + [f"{what}: {found}, should be {due}" for what, found, due in sums if found != due]


def make_client(base_url: str, tally: Tally) -> FallbackClient:
    """A client without backoff delays, whose events are counted."""
    client = FallbackClient(list(MODELS), base_url=base_url, api_key=KEY)
    parts_of(client).runtime.random = lambda: 0.0
    client.subscribe(tally.hear)
    return client


async def run(client: FallbackClient, tally: Tally, calls: int, at_a_time: int, seed: int) -> None:
    """Make `calls` calls. Half of the callers are async, half are threads; each call is randomly a chat or a stream."""
    numbers = itertools.count()
    loop = asyncio.get_running_loop()
    threads = at_a_time // 2

    def shares(caller: int) -> Iterator[tuple[int, random.Random]]:
        chance = random.Random(seed * 1000 + caller)
        while (number := next(numbers)) < calls:
            yield number, chance

    def whole(text: str, finish: str) -> None:
        if not text or finish != "stop":
            tally.wrong.append(f"a wrong answer was returned as good: {text!r}, {finish}")

    async def async_caller(caller: int) -> None:
        for number, chance in shares(caller):
            try:
                if chance.random() < 0.5:
                    answer = await client.achat(f"call {number}")
                    whole(answer.text, answer.finish_reason)
                    tally.saw("answered")
                    continue
                leaving = chance.random() < LEAVING
                async with client.astream(f"call {number}") as stream:
                    async for _ in stream:
                        if leaving:
                            break
                    else:
                        whole(stream.completion.text, stream.completion.finish_reason)
                tally.saw("left" if leaving else "answered")
            except FallbackError:
                tally.saw("failed")

    def sync_caller(caller: int) -> None:
        for number, chance in shares(caller):
            try:
                if chance.random() < 0.5:
                    answer = client.chat(f"call {number}")
                    whole(answer.text, answer.finish_reason)
                    tally.saw("answered")
                    continue
                leaving = chance.random() < LEAVING
                with client.stream(f"call {number}") as stream:
                    for _ in stream:
                        if leaving:
                            break
                    else:
                        whole(stream.completion.text, stream.completion.finish_reason)
                tally.saw("left" if leaving else "answered")
            except FallbackError:
                tally.saw("failed")

    with ThreadPoolExecutor(threads) as pool:
        await asyncio.gather(
            *(async_caller(caller) for caller in range(at_a_time - threads)),
            *(loop.run_in_executor(pool, sync_caller, at_a_time + caller) for caller in range(threads)),
        )


@dataclass(frozen=True)
class Held:
    """The resources of the process: tasks of the running event loop, threads, open files."""

    tasks: int
    threads: int
    files: int

    @classmethod
    def now(cls) -> Held:
        gc.collect()
        return cls(len(asyncio.all_tasks()), threading.active_count(), psutil.Process().num_fds())


def resident() -> float:
    """The resident memory of this process, in MiB."""
    gc.collect()
    return float(psutil.Process().memory_info().rss) / 2**20


async def soak(base_url: str, tally: Tally, calls: int, settle: int, at_a_time: int) -> tuple[float, float, Held, Held]:
    """Make all calls. Returns the memory after `settle` calls and at the end, and the resources before and after."""
    client = make_client(base_url, tally)
    await run(client, tally, 2 * at_a_time, at_a_time, seed=1)
    await _let_go(client)
    before = Held.now()
    await run(client, tally, settle, at_a_time, seed=2)
    first = resident()
    await run(client, tally, calls - settle, at_a_time, seed=3)
    last = resident()
    await _let_go(client)
    return first, last, before, Held.now()


async def _let_go(client: FallbackClient) -> None:
    await client.aclose()
    client.close()
    # The event loop removes closed sockets in its next iterations.
    for _ in range(10):
        await asyncio.sleep(0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=10_000)
    parser.add_argument("--settle", type=int, default=2_000, help="calls before the first measurement of memory")
    parser.add_argument("--at-a-time", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0, help="seed of the faults")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.serve:
        serve(chosen.seed)
        return 0
    logging.getLogger("openrouter_fallback").setLevel(logging.ERROR)
    command = [sys.executable, str(Path(__file__)), "--serve", "--seed", str(chosen.seed)]
    tally = Tally()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        first, last, before, after = asyncio.run(soak(url, tally, chosen.calls, chosen.settle, chosen.at_a_time))
        print("requests?", file=server.stdin, flush=True)
        requests = json.loads(server.stdout.readline())
        server.stdin.close()
    wrong = tally.check(requests)
    if last - first > MOST_GROWTH:
        wrong.append(f"memory grew by {last - first:.1f} MiB, should be at most {MOST_GROWTH}")
    if (after.tasks, after.threads, after.files) > (before.tasks, before.threads, before.files):
        wrong.append(f"held before: {before}, after: {after}")
    print(f"calls      {tally.made:,}: {dict(tally.seen)}")
    print(f"attempts   {tally.told['AttemptEnded']:,}: {dict(tally.kinds.most_common())}")
    print(f"requests   {sum(requests.values()):,}: {requests}")
    print(f"memory     {first:.1f} MiB after {chosen.settle:,} calls, {last:.1f} MiB at the end: {last - first:+.1f}")
    print(f"held       before: {before}, after: {after}")
    print("\n".join(f"WRONG: {line}" for line in wrong) or "all accounted for")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
