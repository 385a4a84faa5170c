"""An outage of the first model over real HTTP, at a call a second: answers, time back home, requests to the dead.

The figures of `docs/do-no-harm.md` for LiteLLM, whose Router does not run in virtual time; ours and the SDK's beside.
Each peer has an emulator and a process of its own, in its own environment (`benchmarks/.peers/`, made once).

python benchmarks/home.py [--outage 60] [--gap 1]
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.peers import environments
from benchmarks.peers.crew import Member
from benchmarks.peers.table import PEERS, Peer

from openrouter_fallback.emulator import Emulator

NAMES = ("ours: FallbackClient", "openai SDK", "LiteLLM Router", "LiteLLM Router, tuned")
FIRST, SECOND = "bench/first", "bench/second"
BEFORE, AFTER = 10.5, 45.0


def measure(peer: Peer, outage: float, gap: float) -> str:
    """The row of one peer."""
    calls = int((BEFORE + outage + AFTER) / gap)
    with Emulator() as emulator, Member(peer, here=False) as member, ThreadPoolExecutor(1) as thread:
        arguments = {"base_url": emulator.base_url, "key": emulator.api_key, "models": [FIRST, SECOND]}
        member.tell("paced", patience=300.0, **arguments, calls=1, gap=gap)
        emulator.clear()
        paced = thread.submit(member.tell, "paced", patience=900.0, **arguments, calls=calls, gap=gap)
        emulator.wait_for(lambda log: len(log) > 0)
        time.sleep(BEFORE)
        down = emulator.fault("provider_overloaded", model=FIRST)
        began = len(emulator.log)
        time.sleep(outage)
        ended, up = len(emulator.log), time.monotonic()
        dead = sum(request.model == FIRST for request in emulator.log[began:ended])
        down.clear()
        emulator.wait_for(lambda log: any(request.model == FIRST for request in log[ended:]), timeout=AFTER)
        home = time.monotonic() - up
        answered = paced.result()["answered"]
    return f"| {peer.name} | {100 * answered / calls:.0f} % | {home:.0f} s | {100 * dead * gap / outage:.0f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--outage", type=float, default=60.0, help="seconds")
    parser.add_argument("--gap", type=float, default=1.0, help="seconds between two calls")
    options = parser.parse_args()
    peers = [peer for peer in PEERS if peer.name in NAMES]
    environments.prepare(peer.environment for peer in peers)
    print("|  | answered | home after | requests to the dead model, per 100 calls |\n|---|--:|--:|--:|")
    with ThreadPoolExecutor(len(peers)) as pool:
        for row in pool.map(lambda peer: measure(peer, options.outage, options.gap), peers):
            print(row)


if __name__ == "__main__":
    main()
