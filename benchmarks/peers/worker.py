"""A process in a peer's environment that makes calls on command. It uses the standard library only.

python worker.py ADAPTER

Commands and answers are lines of JSON. A command has the name of a function of `COMMANDS`, and its arguments.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

ASYNC = ("acall", "astream")
AT_A_TIME = 48
"""The number of cells of the fault matrix that run at a time. They mostly wait."""
MOST_CHARACTERS = 3_000
"""The most characters of an error's text, and of an answer's beginning and end."""


class Worker:
    def __init__(self, adapter: str) -> None:
        self._make = import_module(f"benchmarks.peers.adapters.{adapter}").Chain
        self._loop = asyncio.Runner()
        self._chains: dict[str, Any] = {}

    def block(
        self, base_url: str, key: str, options: dict[str, Any], model: str, surface: str, calls: int, at_a_time: int
    ) -> dict[str, float]:
        """The CPU seconds of `calls` calls of one healthy chain, and the number of their characters."""
        name = f"{base_url} {model} {surface in ASYNC}"  # A peer's client may be bound to one event loop.
        chain = self._chains.get(name)
        if chain is None:
            models = [model, model.replace("bench", "other")]
            chain = self._chains[name] = self._make(base_url, key, models, None, **options)
        ask = getattr(chain, surface)
        characters = 0

        async def asked() -> int:
            if surface == "acall":
                return len(await ask())
            return sum([len(piece) async for piece in ask()])

        async def many() -> int:
            if at_a_time == 1:
                return sum([await asked() for _ in range(calls)])
            counts = [await asyncio.gather(*(asked() for _ in range(at_a_time))) for _ in range(calls // at_a_time)]
            return sum(sum(some) for some in counts)

        gc.collect()
        begun = time.process_time()
        if surface in ASYNC:
            characters = self._loop.run(many())
        else:
            for _ in range(calls):
                characters += len(ask()) if surface == "call" else sum(len(piece) for piece in ask())
        return {"cpu": (time.process_time() - begun) / calls, "characters": characters / calls}

    def paced(
        self, base_url: str, key: str, options: dict[str, Any], models: list[str], calls: int, gap: float
    ) -> dict[str, int]:
        """How many of `calls` calls were answered that start `gap` seconds apart, whatever the earlier ones do."""
        ask = self._make(base_url, key, models, None, **options).acall

        async def one(number: int) -> bool:
            await asyncio.sleep(number * gap)
            try:
                return bool(await ask())
            except Exception:
                return False

        async def all_of_them() -> list[bool]:
            return await asyncio.gather(*map(one, range(calls)))

        return {"answered": sum(self._loop.run(all_of_them()))}

    def outage(
        self,
        base_url: str,
        key: str,
        options: dict[str, Any],
        models: list[str],
        timeout: float,
        surface: str,
        calls: int,
        at_a_time: int,
        seconds: float,
        deadline: float,
    ) -> dict[str, Any]:
        """The outcomes of up to `calls` calls of one chain. After `seconds`, no further call starts."""
        chain = self._make(base_url, key, models, timeout, **options)
        left, outcomes = iter(range(calls)), []

        async def work() -> None:
            for _ in left:
                outcomes.append(await _asked(chain, surface, deadline))
                if time.perf_counter() - begun > seconds:
                    return

        async def many() -> None:
            await asyncio.gather(*(work() for _ in range(at_a_time)))

        begun = time.perf_counter()
        self._loop.run(many())
        return {"outcomes": outcomes}

    def cells(
        self, base_url: str, key: str, options: dict[str, Any], timeout: float, deadline: float, cells: list[Any]
    ) -> dict[str, Any]:
        """The outcomes of many calls, each with its own chain, made in waves. `cells` are [models, surface]."""
        outcomes = []

        async def ask(chain: Any, surface: str, threads: ThreadPoolExecutor) -> dict[str, Any]:
            if surface in ASYNC:
                return await _asked(chain, surface, deadline)
            return await asyncio.get_running_loop().run_in_executor(threads, _in_a_thread, chain, surface, deadline)

        async def wave(cells: list[Any]) -> list[dict[str, Any]]:
            # Chains are made before the measurement starts: some peers take long, and would block the other calls.
            chains = [self._make(base_url, key, models, timeout, **options) for models, _ in cells]
            with ThreadPoolExecutor(len(cells)) as threads:
                asked = (ask(chain, surface, threads) for chain, (_, surface) in zip(chains, cells, strict=True))
                return await asyncio.gather(*asked)

        for place in range(0, len(cells), AT_A_TIME):
            outcomes += self._loop.run(wave(cells[place : place + AT_A_TIME]))
        return {"outcomes": outcomes}


async def _asked(chain: Any, surface: str, deadline: float) -> dict[str, Any]:
    pieces: list[str] = []

    async def collect() -> None:
        if surface == "acall":
            pieces.append(await chain.acall())
        else:
            async for piece in chain.astream():
                pieces.append(piece)  # noqa: PERF401 - the pieces before an error count

    begun = time.perf_counter()
    try:
        async with asyncio.timeout(deadline) as limit:
            await collect()
    except BaseException as error:
        if _leaving():
            raise
        if limit.expired():
            return _outcome(pieces, begun, None, hung=True)
        return _outcome(pieces, begun, error)
    return _outcome(pieces, begun, None)


def _leaving() -> bool:
    """Whether this call is cancelled from outside (Ctrl-C), and not by the peer's library."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _in_a_thread(chain: Any, surface: str, deadline: float) -> dict[str, Any]:
    """Make a synchronous call in a thread. A call past its deadline cannot be cancelled, so its thread is abandoned."""
    pieces: list[str] = []
    raised: list[BaseException] = []

    def collect() -> None:
        try:
            if surface == "call":
                pieces.append(chain.call())
            else:
                for piece in chain.stream():
                    pieces.append(piece)  # noqa: PERF402
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=collect, daemon=True)
    begun = time.perf_counter()
    thread.start()
    thread.join(deadline)
    return _outcome(list(pieces), begun, raised[0] if raised else None, hung=thread.is_alive())


def _outcome(pieces: list[Any], begun: float, error: BaseException | None, *, hung: bool = False) -> dict[str, Any]:
    text = "".join(piece if isinstance(piece, str) else "" for piece in pieces)
    known = [] if error is None else [*_tree(error)]
    return {
        "seconds": time.perf_counter() - begun,
        "length": len(text),
        "text": text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS],
        "hung": hung,
        "error": None if error is None else type(error).__name__,
        "message": " | ".join(f"{type(one).__name__}: {one}" for one in known)[:MOST_CHARACTERS],
        "statuses": sorted({status for one in known for status in _statuses(one)}),
    }


def _tree(error: BaseException) -> Iterator[BaseException]:
    """The error, the errors of its groups, and the causes of all of them."""
    seen: list[BaseException] = []
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop(0)
        if one is None or any(one is other for other in seen):
            continue
        seen.append(one)
        left += [*getattr(one, "exceptions", ()), one.__cause__, one.__context__]
        yield one


def _statuses(error: BaseException) -> Iterator[int]:
    for name in ("status_code", "status", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int):
            yield value


COMMANDS: dict[str, Callable[..., Any]] = {
    "block": Worker.block,
    "outage": Worker.outage,
    "paced": Worker.paced,
    "cells": Worker.cells,
}


def main() -> None:
    # The output of peers goes to stderr, because stdout carries the answers to the coordinator.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1])
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            answer = COMMANDS[arguments.pop("do")](worker, **arguments)
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"[:MOST_CHARACTERS]}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    os._exit(0)


if __name__ == "__main__":
    sys.path.append(__file__.rpartition("/benchmarks/")[0])
    main()
