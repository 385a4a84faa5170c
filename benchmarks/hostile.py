"""The cost of hostile bodies: seconds, CPU time of event-loop blocks, peak memory; and CPU per token. See README.md.

python benchmarks/hostile.py [name ...] [--deadline 30] [--quick]
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import gzip
import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import runner

EVENTS, BODY = "text/event-stream", "application/json"
SURFACES = ("achat", "astream")
LENGTHS = (200, 2_000, 20_000)
"""The lengths, in tokens, of the answers whose CPU per token is compared."""
TICK_SECONDS = 0.001


@dataclass(frozen=True)
class Hostile:
    """A hostile body. `make(part)` makes it at `part` (0 to 1) of its full size; it is gzipped `codings` times."""

    make: Callable[[float], bytes]
    kind: str = EVENTS
    codings: int = 0
    status: str = "200 OK"

    def answer(self, part: float) -> tuple[bytes, int]:
        """The whole response, and the size of its uncompressed body in bytes."""
        body = plain = self.make(part)
        for _ in range(self.codings):
            body = gzip.compress(body, 9)
        encoding = f"content-encoding: {', '.join(['gzip'] * self.codings)}\r\n" if self.codings else ""
        head = f"HTTP/1.1 {self.status}\r\ncontent-type: {self.kind}\r\n{encoding}content-length: {len(body)}\r\n\r\n"
        return head.encode() + body, len(plain)


def _times(text: bytes, count: float) -> bytes:
    return text * int(count)


def _event(chunk: Any) -> bytes:
    return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"


def _delta(finish: str | None = None, **delta: Any) -> bytes:
    return _event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})


def _arguments(text: str, **function: str) -> bytes:
    return _delta(tool_calls=[{"index": 0, "function": {**function, "arguments": text}}])


def _details(part: float) -> bytes:
    two = [[{"type": "reasoning.text", "index": index, "text": "x"}] for index in (0, 1)]
    return _times(b"".join(_delta(reasoning_details=one) for one in two), 150_000 * part)


def _honest(part: float) -> bytes:
    """A tool call with 1.6 MB of arguments, in deltas of 8 bytes."""
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"'}}
    deltas = _times(_arguments("12345678"), 200_000 * part)
    ends = _arguments('"}') + _delta("tool_calls") + b"data: [DONE]\n\n"
    return _delta(tool_calls=[call]) + deltas + ends


MB = 1_000_000
BODIES: dict[str, Hostile] = {
    "white space, gzip three times": Hostile(lambda part: _times(b" ", 256 * MB * part), BODY, 3),
    "white space, gzip": Hostile(lambda part: _times(b" ", 256 * MB * part), BODY, 1),
    "comments, gzip": Hostile(lambda part: _times(b": x\n", 16 * MB * part), EVENTS, 1),
    "deltas of one call, gzip": Hostile(lambda part: _times(_arguments("a"), 0.45 * MB * part), EVENTS, 1),
    "deltas of one call, its name in each, gzip": Hostile(
        lambda part: _times(_arguments("{1", name="f"), 0.4 * MB * part), EVENTS, 1
    ),
    "empty deltas of one call, its name in each, gzip": Hostile(
        lambda part: _times(_arguments("", name="f"), 0.4 * MB * part), EVENTS, 1
    ),
    "deltas of details in turn, gzip": Hostile(_details, EVENTS, 1),
    "empty events, gzip": Hostile(lambda part: _times(b"data: {}\n\n", 5 * MB * part), EVENTS, 1),
    "events without data, gzip": Hostile(lambda part: _times(b"data:\n\n", 9 * MB * part), EVENTS, 1),
    "empty events, ended by CR, gzip": Hostile(lambda part: _times(b"data:{}\r\r", 6 * MB * part), EVENTS, 1),
    "half characters, gzip": Hostile(
        lambda part: _times(_delta(content="\ud83d") + b"data:{}\n\n", 0.4 * MB * part), EVENTS, 1
    ),
    "empty tool calls, gzip": Hostile(lambda part: _times(_delta(tool_calls=[{}] * 30), 0.35 * MB * part), EVENTS, 1),
    "one event of `data: x` lines, gzip": Hostile(lambda part: _times(b"data: x\n", 4 * MB * part), EVENTS, 1),
    "one event of `[],[]`": Hostile(lambda part: b"data: [" + _times(b"[],", 10 * MB * part) + b"[]]\n\n"),
    "a body of `[],[]`": Hostile(lambda part: b"[" + _times(b"[],", 21 * MB * part) + b"[]]", BODY),
    "a body of `0,0`": Hostile(lambda part: b"[" + _times(b"0,", 31 * MB * part) + b"0]", BODY),
    "a body of white space, cut off, gzip": Hostile(
        lambda part: b'{"choices":[' + _times(b" ", 60 * MB * part), BODY, 1
    ),
    "a body of 2 million fields": Hostile(
        lambda part: b"{" + b",".join(b'"%d":1' % number for number in range(int(2 * MB * part) + 1)) + b"}", BODY
    ),
    "a body of `[[[`": Hostile(lambda part: _times(b"[", 30 * MB * part), BODY),
    "a body of nested objects": Hostile(lambda part: _times(b'{"a":', 100_000 * part) + b"1", BODY),
    "one event of lone surrogates": Hostile(
        lambda part: b'data: {"a":"' + _times(b"\\ud800", 5 * MB * part) + b'"}\n\n'
    ),
    "a number of many digits": Hostile(lambda part: b'{"a":' + _times(b"1", 30 * MB * part) + b"}", BODY),
    "the same beside a lone surrogate": Hostile(
        lambda part: b'{"b":"\\ud800","a":' + _times(b"1", 30 * MB * part) + b"}", BODY
    ),
    "an error of 60 MB": Hostile(
        lambda part: b'{"error":{"message":"' + _times(b"bad key ", 7.5 * MB * part) + b'"}}',
        BODY,
        0,
        "400 Bad Request",
    ),
    "honest: arguments of 1.6 MB in 8 bytes each": Hostile(_honest),
}


@contextmanager
def served(answer: bytes) -> Iterator[str]:
    """A server that answers every request with the same bytes; yields its base URL."""
    loop = asyncio.new_event_loop()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            writer.write(answer)
            await writer.drain()
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled only by `_end_all`
        finally:
            writer.close()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(asyncio.start_server(serve, "127.0.0.1", 0), loop).result()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/api/v1"
    finally:
        server.close()
        asyncio.run_coroutine_threadsafe(_end_all(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _end_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


# The client runs in its own process, so that the process's peak memory is that of the body.


def peak_mb() -> float:
    """The peak memory of this process in MB; 0 on systems without /proc."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ()
    return next((int(line.split()[1]) / 1000 for line in lines if line.startswith("VmHWM")), 0.0)


async def call(url: str, surface: str, deadline: float) -> dict[str, Any]:
    """Make one call; return its outcome and its cost."""
    from openrouter_fallback import FallbackClient, FallbackError

    settings: dict[str, Any] = {"max_retries_per_model": 1, "retry_budget": None, "catalog": "never"}
    client = FallbackClient(["hostile/one"], base_url=url, api_key="sk-or-v1-none", settings=settings)
    held = 0.0

    async def tick() -> None:
        nonlocal held
        while True:
            begun = time.thread_time()
            await asyncio.sleep(TICK_SECONDS)
            held = max(held, time.thread_time() - begun)

    before, begun, cpu = peak_mb(), time.monotonic(), time.process_time()
    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0)
    try:
        if surface == "achat":
            await client.achat("Hello", total_timeout=deadline)
        else:
            async with client.astream("Hello", total_timeout=deadline) as stream:
                async for _ in stream:
                    pass
        outcome = "answered"
    except FallbackError as error:
        kinds = [str(attempt.kind) for attempt in getattr(error, "attempts", ())]
        outcome = kinds[-1] if kinds else type(error).__name__
    seconds, cpu = time.monotonic() - begun, time.process_time() - cpu
    await asyncio.sleep(2 * TICK_SECONDS)
    ticking.cancel()
    await client.aclose()
    return {"outcome": outcome, "seconds": seconds, "cpu": cpu, "held": held, "mb": peak_mb() - before}


def measure(hostile: Hostile, surface: str, part: float, deadline: float) -> dict[str, Any]:
    """The outcome and the cost of one body on one surface."""
    answer, plain = hostile.answer(part)
    with served(answer) as url:
        command = [sys.executable, __file__, "--client", url, surface, str(deadline)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {"sent": len(answer), "plain": plain, **json.loads(done.stdout)}


# CPU per token


async def per_token(url: str, tokens: int, surface: str, runs: int) -> float:
    """The client's CPU time per token of an answer in microseconds: the median of some calls."""
    from openrouter_fallback import FallbackClient

    async with FallbackClient([f"bench/{tokens}"], base_url=url, api_key=runner.KEY) as client:

        async def once() -> None:
            if surface == "achat":
                await client.achat("Hello")
                return
            async with client.astream("Hello") as stream:
                async for _ in stream:
                    pass

        spent = []
        for _ in range(runs + 1):  # the first warms up
            gc.collect()
            begun = time.process_time()
            await once()
            spent.append(time.process_time() - begun)
    return statistics.median(spent[1:]) / tokens * 1e6


def show_bodies(names: list[str], part: float, deadline: float) -> None:
    print("| body | sent, kB | plain, kB | call | outcome | seconds | CPU, s | CPU of one turn, s | memory, MB |")
    print("|---|--:|--:|---|---|--:|--:|--:|--:|")
    for name in names:
        for surface in SURFACES:
            row = measure(BODIES[name], surface, part, deadline)
            sizes = f"{row['sent'] / 1000:,.1f} | {row['plain'] / 1000:,.0f}"
            figures = f"{row['seconds']:.2f} | {row['cpu']:.2f} | {row['held']:.2f} | {row['mb']:,.0f}"
            print(f"| {name} | {sizes} | {surface} | {row['outcome']} | {figures} |", flush=True)


def show_tokens(runs: int) -> None:
    lengths = " | ".join(f"{length:,} tokens" for length in LENGTHS)
    more = " | ".join(f"one more, {short:,} to {long:,}" for short, long in pairwise(LENGTHS))
    print(f"\n| CPU per token, us | {lengths} | fixed, us | {more} | slopes |")
    print("|---|" + "--:|" * (2 * len(LENGTHS) + 1))
    with runner.served("fixed") as url:
        for surface in SURFACES:
            figures = [asyncio.run(per_token(url, length, surface, runs)) for length in LENGTHS]
            whole = [figure * length for figure, length in zip(figures, LENGTHS, strict=True)]
            calls = zip(pairwise(whole), pairwise(LENGTHS), strict=True)
            slopes = [(costs[1] - costs[0]) / (lengths[1] - lengths[0]) for costs, lengths in calls]
            cells = [f"{figure:.2f}" for figure in figures]
            cells += [f"{whole[0] - slopes[0] * LENGTHS[0]:,.0f}", *(f"{slope:.2f}" for slope in slopes)]
            print(f"| {surface} | {' | '.join(cells)} | {slopes[-1] / slopes[0]:.2f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "names", nargs="*", metavar="name", help="parts of the bodies' names, or `tokens` (default: all)"
    )
    parser.add_argument("--deadline", type=float, default=30.0, help="total_timeout of each call, in seconds")
    parser.add_argument("--quick", action="store_true", help="a hundredth of each body, few calls")
    parser.add_argument("--client", nargs=3, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.client:
        url, surface, deadline = given.client
        print(json.dumps(asyncio.run(call(url, surface, float(deadline)))))
        return
    names = [name for name in BODIES if not given.names or any(word in name for word in given.names)]
    if not names and "tokens" not in given.names:
        parser.error(f"no body is called that; there are: {', '.join(BODIES)}")
    if names:
        show_bodies(names, 0.01 if given.quick else 1.0, given.deadline)
    if not given.names or "tokens" in given.names:
        runner.pin(runner.CLIENT_CORE)
        show_tokens(2 if given.quick else 9)


if __name__ == "__main__":
    main()
