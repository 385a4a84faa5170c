"""`python -m tests.hands`: each family writes a conversation, each other one reads it; what came of it, as a table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections import Counter

from .matrix import FAMILIES, MOMENTS, SCENES, Hands, cells, served
from .talks import TALKS


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.hands", description=__doc__)
    for name, words in (("writer", FAMILIES), ("reader", FAMILIES), ("scene", SCENES), ("talk", TALKS)):
        parser.add_argument(f"--{name}", choices=list(words))
    parser.add_argument("--moment", choices=MOMENTS)
    parser.add_argument("--wrong", type=int, default=40, help="how many wrong cells are told (default 40)")
    given = parser.parse_args()
    only = {name: word for name, word in vars(given).items() if name != "wrong" and word is not None}
    chosen = [cell for cell in cells() if all(getattr(cell, name) == word for name, word in only.items())]
    logging.disable(logging.WARNING)
    begun, held, tried, wrong = time.monotonic(), Counter[tuple[str, str]](), Counter[tuple[str, str]](), []
    asyncio.set_event_loop(asyncio.new_event_loop())  # LlamaIndex keeps one for its synchronous callers
    with served() as emulator:
        hands = Hands(emulator)
        for cell in chosen:
            said = hands.run(cell)
            pair = cell.writer, cell.reader
            tried[pair] += 1
            held[pair] += not said
            if said:
                wrong.append(f"{' | '.join(cell)}: {said}")
        hands.close()
    print("A conversation that changes hands. Row: who wrote it; column: who reads it; cells that held.")
    width = max(map(len, FAMILIES)) + 1
    print(" " * width + "".join(name.rjust(width) for name in FAMILIES))
    for writer in FAMILIES:
        pairs = [(writer, reader) for reader in FAMILIES]
        print(writer.ljust(width) + "".join(f"{held[p]}/{tried[p]}".rjust(width) for p in pairs))
    print(f"{sum(held.values())} of {len(chosen)} cells held, in {time.monotonic() - begun:.0f} s")
    for line in wrong[: given.wrong]:
        print("WRONG", line[:600])
    return 1 if wrong or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
