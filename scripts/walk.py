"""Traces three calls through the core, and counts the functions, rooms, moves and returns.

    python scripts/walk.py            prints a table
    python scripts/walk.py --rooms    also prints the rooms of each call, with the functions entered in each

The calls are a healthy `achat`, a 503 followed by the second model, and a stream that is cut and continued.
A room is a folder of `openrouter_fallback`, or a module beside the folders. A move goes from a function of one room to
a function of another room. A return is a move to a room that the walk has already left. Each resumption of a coroutine
counts. The event loop waits until an answer has arrived completely, so that the counts do not depend on the speed of
the computer. Comprehensions and lambdas do not count. The emulator's own thread is not traced.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import selectors
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import FrameType
from typing import Any

import openrouter_fallback
from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

SOURCE = Path(openrouter_fallback.__file__).parent
_PATIENCE_SECONDS = 0.01
CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"]


class Walk:
    """The functions that one call enters, traced by `sys.setprofile`."""

    def __init__(self) -> None:
        self.functions: Counter[str] = Counter()
        self.rooms: Counter[str] = Counter()
        self.moves = self.returns = 0
        self._left: set[str] = set()
        self._last = ""

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(str(SOURCE)) or code.co_name.startswith("<"):
            return
        path = Path(code.co_filename).relative_to(SOURCE)
        room = path.parts[0] if len(path.parts) > 1 else path.stem
        if room == "emulator":
            return
        self.functions[f"{path}:{code.co_qualname}"] += 1
        self.rooms[room] += 1
        if room != self._last:
            self.moves += bool(self._last)
            self.returns += room in self._left
            self._left.add(self._last)
            self._last = room


async def healthy(client: FallbackClient, emulator: Emulator) -> None:
    """A call that the first model answers."""
    await client.achat("Say something.")


async def failover(client: FallbackClient, emulator: Emulator) -> None:
    """The first model fails with a 503, and the second model answers."""
    emulator.fault("overloaded", model=CHAIN[0])
    await client.achat("Say something.")


async def seam(client: FallbackClient, emulator: Emulator) -> None:
    """The first model's stream is cut in mid-answer, and the second model continues the answer."""
    emulator.fault("cut", model=CHAIN[0], after_tokens=3)
    async for _ in client.astream("Say something."):
        pass


CALLS: dict[str, Callable[[FallbackClient, Emulator], Awaitable[None]]] = {
    "healthy `achat`": healthy,
    "503, then the second model": failover,
    "stream cut in mid-answer, continued": seam,
}


class _Patient(selectors.DefaultSelector):
    """Reads data only after the emulator has sent everything, so that counts do not depend on the computer's speed."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        time.sleep(_PATIENCE_SECONDS)
        return super().select(timeout)


def walked(call: Callable[[FallbackClient, Emulator], Awaitable[None]]) -> Walk:
    """The walk of a call, on an event loop that reads the arrived data in as few reads as possible."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Patient())) as runner:
        return runner.run(_walked(call))


async def _walked(call: Callable[[FallbackClient, Emulator], Awaitable[None]]) -> Walk:
    """The walk of a client's second call: the first call also opens connections and reads the catalog."""
    with Emulator() as emulator:
        client = FallbackClient(
            CHAIN, base_url=emulator.base_url, api_key=emulator.api_key, settings={"catalog": "never"}
        )
        await client.achat("Warm up.")
        walk = Walk()
        sys.setprofile(walk)
        try:
            await call(client, emulator)
        finally:
            sys.setprofile(None)
        await client.aclose()
    return walk


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rooms", action="store_true", help="also print the rooms of each call")
    chosen = parser.parse_args()
    logging.getLogger("openrouter_fallback").addHandler(logging.NullHandler())
    walks = {name: walked(call) for name, call in CALLS.items()}
    print("| call | functions entered | rooms | moves between rooms | returns to a room |")
    print("|---|--:|--:|--:|--:|")
    for name, walk in walks.items():
        print(f"| {name} | {walk.functions.total()} | {len(walk.rooms)} | {walk.moves} | {walk.returns} |")
    if chosen.rooms:
        for name, walk in walks.items():
            print(f"\n{name}: " + ", ".join(f"{room} {count}" for room, count in walk.rooms.most_common()))


if __name__ == "__main__":
    main()
