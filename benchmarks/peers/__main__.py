"""Compares this project with its peers: overhead, outages, the fault matrix. See benchmarks/README.md.

python benchmarks/peers [--quick] [--only NAME ...] [--parts overhead outages faults] [--faults typical|all]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
if __package__ in (None, ""):  # Run by its path: the relative imports need the package's name.
    sys.path[0] = str(ROOT)

from benchmarks.peers import environments, faults, outages, overhead, report  # noqa: E402
from benchmarks.peers.table import PEERS, Peer  # noqa: E402

from openrouter_fallback._version import __version__  # noqa: E402

FOLDER = Path(__file__).resolve().parent.parent


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = "; ".join(peer.name for peer in PEERS)
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"rows whose name contains one of these, of: {names}")
    parser.add_argument(
        "--parts",
        nargs="*",
        metavar="PART",
        default=PARTS,
        choices=PARTS,
        help=f"of: {', '.join(PARTS)}; all by default",
    )
    parser.add_argument("--keep", metavar="FILE", type=Path, help="take the parts not measured now from this file")
    parser.add_argument("--quick", action="store_true", help="fewer calls and rows, two minutes; figures mean little")
    parser.add_argument("--faults", choices=("typical", "all"), default="typical", help="rows of the fault matrix")
    scenarios = [scenario.name for scenario in outages.SCENARIOS]
    parser.add_argument(
        "--scenarios",
        nargs="+",
        choices=scenarios,
        default=scenarios,
        metavar="NAME",
        help=f"outages, of: {', '.join(scenarios)}",
    )
    parser.add_argument(
        "--classes",
        nargs="+",
        choices=faults.CLASSES,
        default=faults.CLASSES,
        metavar="NAME",
        help=f"kinds of faults, of: {', '.join(faults.CLASSES)}",
    )
    parser.add_argument("--here", action="store_true", help="measure the peers that are installed in this environment")
    parser.add_argument("--calls", type=int, help="calls in an outage (default: 40)")
    parser.add_argument("--rounds", type=int, help="blocks for each row of the overhead (default: 11)")
    parser.add_argument("--jobs", type=int, default=4, help="peers to measure at a time (not for the overhead)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures to this file after each part")
    parser.add_argument("--write", action="store_true", help="write peers.md and peers.png beside README.md")
    chosen = parser.parse_args(argv)
    if chosen.only and not _selected(chosen.only):
        parser.error(f"no row is named like {' or '.join(chosen.only)}; there are: {names}")
    if chosen.write and importlib.util.find_spec("matplotlib") is None:
        parser.error("--write draws a picture: pip install matplotlib, or the dependency group bench")
    return chosen


def _selected(only: Sequence[str] | None) -> list[Peer]:
    return [peer for peer in PEERS if not only or any(word.lower() in peer.name.lower() for word in only)]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print and write the figures. The exit status is 1 if a measurement of a peer failed."""
    chosen = arguments(argv)
    begun = time.perf_counter()
    peers = _selected(chosen.only)
    if chosen.here:
        peers = environments.installed(peers)
    else:
        environments.prepare(peer.environment for peer in peers)
    if not peers:
        raise SystemExit("no selected peer is installed here; without --here each peer gets its own environment")

    def say(what: str) -> None:
        print(f"{time.perf_counter() - begun:6.0f} s  {what}", file=sys.stderr, flush=True)

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # no warnings about clients that disconnected
    kept = json.loads(chosen.keep.read_text(encoding="utf-8")) if chosen.keep else {}
    found: dict[str, Any] = {"seconds": 0, **kept, **_about(peers, chosen)}
    for part in PARTS:
        if part in chosen.parts:
            found[part] = _MEASURES[part](peers, chosen, say)
            found["seconds"] = kept.get("seconds", 0) + round(time.perf_counter() - begun)
            if chosen.json:
                chosen.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(report.terminal(found))
    if chosen.write:
        (FOLDER / "peers.md").write_text(report.markdown(found), encoding="utf-8")
        report.plot(found, FOLDER / "peers.png")
    return int(report.broken(found))


def _about(peers: Sequence[Peer], chosen: argparse.Namespace) -> dict[str, Any]:
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "quick": chosen.quick,
        "peers": {
            peer.name: {
                "settings": peer.settings,
                "source": peer.source,
                "versions": environments.versions(peer, here=chosen.here),
                "ours": peer.ours,
            }
            for peer in peers
        },
    }


def _overhead(peers: Sequence[Peer], chosen: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    return overhead.measure(
        [peer for peer in peers if peer.overhead],
        rounds=chosen.rounds or (2 if chosen.quick else 11),
        cold_rounds=1 if chosen.quick else 3,
        hasty=chosen.quick,
        here=chosen.here,
        say=say,
    )


def _outages(peers: Sequence[Peer], chosen: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    return outages.measure(
        [peer for peer in peers if peer.outages],
        calls=chosen.calls or (4 if chosen.quick else 40),
        scenarios=[scenario for scenario in outages.SCENARIOS if scenario.name in chosen.scenarios],
        seconds=4.0 if chosen.quick else 15.0,
        here=chosen.here,
        jobs=chosen.jobs,
        say=say,
    )


def _faults(peers: Sequence[Peer], chosen: argparse.Namespace, say: Callable[[str], None]) -> dict[str, Any]:
    return faults.measure(
        [peer for peer in peers if peer.outages],
        rows=faults.rows("quick" if chosen.quick else chosen.faults, chosen.classes),
        here=chosen.here,
        jobs=chosen.jobs,
        say=say,
    )


_MEASURES: Mapping[str, Callable[[Sequence[Peer], argparse.Namespace, Callable[[str], None]], dict[str, Any]]] = {
    "overhead": _overhead,
    "outages": _outages,
    "faults": _faults,
}
PARTS = tuple(_MEASURES)

if __name__ == "__main__":
    sys.exit(main())
