"""Play many worlds, and print the invariants that they break.

python -m tests.simulation [--worlds 1000] [--first 0] [--shape blip] [--show 3] [--fleets] [--jobs 1]
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from .fleet import LONGEST_SECONDS, fleet_of
from .invariants import REFERENCES, Judged, judge, outweighed
from .play import play
from .worlds import SHAPES, world


def judged_world(seed: int, shape: str | None, *, fleets: bool) -> Judged | None:
    """Play the world of a seed, and judge it; None for a world that is too long for a fleet."""
    here = world(seed, shape)
    if fleets and here.calls[-1].at > LONGEST_SECONDS:
        return None
    return judge(play(here, fleet_of(here) if fleets else None))


def judged_worlds(seeds: Iterable[int], shape: str | None, *, fleets: bool, jobs: int) -> Iterator[Judged]:
    """The verdicts on the worlds of some seeds, in their order, from as many processes as `jobs` says."""
    one = partial(judged_world, shape=shape, fleets=fleets)
    if jobs == 1:
        yield from filter(None, map(one, seeds))
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from filter(None, pool.map(one, seeds, chunksize=20))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--show", type=int, default=3, help="violations shown per invariant")
    parser.add_argument("--fleets", action="store_true", help="play only worlds of at most a minute, each by a fleet")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="processes; all processors if not given")
    options = parser.parse_args()
    begun, broken = time.perf_counter(), Counter[str]()
    answered, lost, won = Counter[str](), Counter[str](), Counter[str]()
    calls = 0
    seeds = range(options.first, options.first + options.worlds)
    for judged in judged_worlds(seeds, options.shape, fleets=options.fleets, jobs=options.jobs):
        calls += judged.calls
        answered += judged.answered
        lost += judged.lost
        won += judged.won
        for name, found in judged.violations.items():
            broken[name] += 1
            if broken[name] <= options.show:
                print(f"{name}: {found[0]} ({len(found)} in all)\n{judged.world.row()}\n", flush=True)
    print(f"{options.worlds} worlds, {calls} calls, {time.perf_counter() - begun:.1f} s")
    print(f"answered {dict(answered)}, lost to {dict(lost)}, won from {dict(won)}")
    print(f"worlds that break an invariant: {dict(sorted(broken.items()))}")
    worse = [name for name in REFERENCES if outweighed(lost[name], won[name])]
    if worse:
        print(f"worse in aggregate than {worse}")
    return 1 if broken or worse else 0


if __name__ == "__main__":
    sys.exit(main())
