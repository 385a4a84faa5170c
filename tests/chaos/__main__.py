"""`python -m tests.chaos --calls 50000`: run the chaos suite with any number of calls, and print the results."""

from __future__ import annotations

import argparse
import sys
import time

from .suite import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=4)
    given = parser.parse_args()
    wrong = 0
    for number, first in enumerate(range(0, given.calls, 5000)):
        begun = time.monotonic()
        calls = min(5000, given.calls - first)
        findings, used = run(calls, given.seed + number, threads=given.threads)
        failed = sum(findings.failed.values())
        print(f"seed {given.seed + number}: {calls} calls in {time.monotonic() - begun:.0f} s,", end=" ")
        print(f"{findings.answered} answered, {failed} raised {dict(findings.failed)},", end=" ")
        seconds, which = findings.longest
        print(f"the longest call {seconds:.1f} s ({which}), {sum(used.values())} requests, {findings.events} events")
        for line in findings.wrong[:20]:
            print("  WRONG:", line)
        wrong += len(findings.wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
