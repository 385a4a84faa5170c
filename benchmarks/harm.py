"""Do no harm, in numbers: simulates many worlds in virtual time, for us, a plain SDK client and a plain loop.

python benchmarks/harm.py [--worlds 10000] [--first 0] [--fleets] [--json FILE]
python benchmarks/harm.py --plot docs/drawn/harm.svg
python benchmarks/harm.py --losses                      # the table of the known losses

For each invariant the script prints the worst ten worlds, each as a row that reproduces it (`python -m
tests.simulation`). With `--fleets`, worlds of at most a minute are also played by a fleet of 2 to 5 processes (one in
ten: 20 or 50) with a simulated Redis. The exit status is 0 only if no invariant is broken and no reference answers more
calls than chance explains.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harm_losses import losses
from harm_plot import plot
from tests.simulation.fleet import LONGEST_SECONDS, fleet_of
from tests.simulation.invariants import INVARIANTS, REFERENCES, Judged, judge, outweighed
from tests.simulation.play import play
from tests.simulation.worlds import world

WORST = 10
FLEETS = "(fleets)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--fleets", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--losses", action="store_true")
    parser.add_argument("--plot", type=Path, metavar="SVG")
    options = parser.parse_args()
    if options.plot is not None:
        options.plot.write_text(plot())
        return 0
    if options.losses:
        print(losses())
        return 0
    shapes: dict[str, Counter[str]] = defaultdict(Counter)
    worst: dict[str, list[Judged]] = {name: [] for name in INVARIANTS}
    for seed in range(options.first, options.first + options.worlds):
        here = world(seed)
        count(here.shape, judge(play(here)), shapes, worst)
        if options.fleets and here.calls[-1].at <= LONGEST_SECONDS:
            count(FLEETS, judge(play(here, fleet_of(here))), shapes, worst)
    show(shapes, worst)
    if options.json is not None:
        options.json.write_text(json.dumps({shape: dict(counted) for shape, counted in shapes.items()}, indent=1))
    total = sum(shapes.values(), Counter[str]())
    worse = [name for name in REFERENCES if outweighed(total[f"-{name}"], total[f"+{name}"])]
    return 1 if worse or any(worst.values()) else 0


def count(shape: str, judged: Judged, shapes: dict[str, Counter[str]], worst: dict[str, list[Judged]]) -> None:
    """Add one world to the table and, if it breaks an invariant, to the worst worlds."""
    counted = shapes[shape]
    counted.update(worlds=1, calls=judged.calls, requests=judged.requests, us=judged.answered["us"])
    for name in REFERENCES:
        counted.update({name: judged.answered[name], f"-{name}": judged.lost[name], f"+{name}": judged.won[name]})
    for name in judged.violations:
        worst[name].append(judged)
        worst[name].sort(key=lambda one: -len(one.violations[name]))
        del worst[name][WORST:]
        counted[name] += 1


def show(shapes: dict[str, Counter[str]], worst: dict[str, list[Judged]]) -> None:
    """Print a row for each shape of world, then the worst worlds of each invariant."""
    references = [f"{sign}{name}" for sign in "-+" for name in REFERENCES]
    columns = ["worlds", "calls", "requests", "us", *REFERENCES, *references, *INVARIANTS]
    print(f"{'answered by':14}" + "".join(f"{column:>9}" for column in columns))
    for shape, counted in [*sorted(shapes.items()), ("all", sum(shapes.values(), Counter[str]()))]:
        print(f"{shape:14}" + "".join(f"{counted[column]:>9}" for column in columns))
    print("-sdk, -loop: calls that they answer and we do not; +: those that we do and they do not")
    print("I1 to I7: worlds in which the invariant is broken; their worst calls follow")
    for name, found in worst.items():
        for judged in found:
            print(
                f"\n{name}: {judged.violations[name][0]} ({len(judged.violations[name])} in all)\n{judged.world.row()}"
            )


if __name__ == "__main__":
    sys.exit(main())
