"""Play many worlds, and print the invariants that they break.

python -m tests.simulation [--worlds 1000] [--first 0] [--shape blip] [--show 3] [--fleets]
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter

from .fleet import LONGEST_SECONDS, fleet_of
from .invariants import REFERENCES, judge, outweighed
from .play import play
from .worlds import SHAPES, world


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--show", type=int, default=3, help="violations shown per invariant")
    parser.add_argument("--fleets", action="store_true", help="play only worlds of at most a minute, each by a fleet")
    options = parser.parse_args()
    begun, broken = time.perf_counter(), Counter[str]()
    answered, lost, won = Counter[str](), Counter[str](), Counter[str]()
    calls = 0
    for seed in range(options.first, options.first + options.worlds):
        here = world(seed, options.shape)
        if options.fleets and here.calls[-1].at > LONGEST_SECONDS:
            continue
        judged = judge(play(here, fleet_of(here) if options.fleets else None))
        calls += judged.calls
        answered += judged.answered
        lost += judged.lost
        won += judged.won
        for name, found in judged.violations.items():
            broken[name] += 1
            if broken[name] <= options.show:
                print(f"{name}: {found[0]} ({len(found)} in all)\n{judged.world.row()}\n")
    print(f"{options.worlds} worlds, {calls} calls, {time.perf_counter() - begun:.1f} s")
    print(f"answered {dict(answered)}, lost to {dict(lost)}, won from {dict(won)}")
    print(f"worlds that break an invariant: {dict(sorted(broken.items()))}")
    worse = [name for name in REFERENCES if outweighed(lost[name], won[name])]
    if worse:
        print(f"worse in aggregate than {worse}")
    return 1 if broken or worse else 0


if __name__ == "__main__":
    sys.exit(main())
