"""The known losses in numbers: the worlds of `tests/simulation/targeted.py`, for the table of the documentation."""

from __future__ import annotations

from statistics import median

from tests.simulation.invariants import REFERENCES, judge
from tests.simulation.play import play
from tests.simulation.targeted import KNOWN_LOSSES


def losses() -> str:
    """A row for each world: calls, answers by policy, seconds until our errors (median, maximum), broken invariants."""
    names = ["calls", "us", *REFERENCES]
    rows = [f"{'':75}" + "".join(f"{name:>6}" for name in names) + "   seconds until an error   breaks"]
    for name, (world, fleet) in KNOWN_LOSSES.items():
        played = play(world, fleet)
        judged = judge(played)
        figures = [judged.calls, *(judged.answered[policy] for policy in ("us", *REFERENCES))]
        failed = [one.ended - one.call.at for one in played.results if one.error is not None]
        late = f"{median(failed):.1f}, at most {max(failed):.1f}" if failed else ""
        rows.append(
            f"{name:75}"
            + "".join(f"{figure:>6}" for figure in figures)
            + f"   {late:22}   {' '.join(judged.violations)}"
        )
    return "\n".join(rows)
