"""A drill's result as text of 80 columns, with and without colour. Needs rich (extra `cli`)."""

from __future__ import annotations

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Literal

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..records import Run
from ..results import DrillResult, ScenarioResult
from ..scenarios import Scenario

_COLUMNS = (
    ("outage of {A}", "left"),
    ("without", "right"),
    ("with", "right"),
    ("by", "left"),
    ("sent\n{A}+rest", "right"),
    ("median\nms", "right"),
    ("worst\nms", "right"),
    ("once\ndead", "right"),
    ("", "left"),
)
VERDICT = {"passed": ("PASS", "green"), "degraded": ("WARN", "yellow"), "failed": ("FAIL", "bold red")}
"""The word and the style of each verdict."""

_LEGEND = (
    ("without, with", "calls answered whole: by {A} alone with one request, and with failover"),
    ("by", "the models that answered with failover"),
    ("sent", "requests to {A} + to all others; ? if refused connections cannot be counted"),
    ("median, worst", "milliseconds of a call above the median without faults, {baseline} ms at first"),
    ("once dead", "requests to a model while it was known to be dead"),
)


def report(result: DrillResult, console: Console) -> None:
    """Print the chain, one row for each scenario, the meaning of the columns, and the problems."""
    letters = _letters(result.chain)
    for name, letter in letters.items():
        console.print(Text(f"{letter}  {name}{'  (taken down)' if name == result.primary else ''}"), soft_wrap=True)
    console.print()
    console.print(_table(result, letters))
    console.print()
    primary = letters[result.primary]
    for line in (*_legend(result, primary), "", *_notes(result, primary)):
        console.print(Text(line))


def listing(scenarios: Sequence[Scenario], console: Console) -> None:
    """Print the names and the descriptions of the scenarios."""
    table = Table.grid(padding=(0, 2))
    for scenario in scenarios:
        table.add_row(Text(scenario.name, style="bold"), Text(scenario.description))
    console.print(table)


def _letters(chain: Sequence[str]) -> dict[str, str]:
    return {name: ascii_uppercase[n] if n < len(ascii_uppercase) else f"#{n + 1}" for n, name in enumerate(chain)}


def _table(result: DrillResult, letters: dict[str, str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for title, justify in _COLUMNS:
        heading = title.replace("{A}", letters[result.primary])
        side: Literal["left", "right"] = "right" if justify == "right" else "left"
        table.add_column(heading, justify=side, no_wrap=title != "by")
    for scenario in result.results:
        table.add_row(*_row(scenario, result.primary, letters))
    return table


def _row(result: ScenarioResult, primary: str, letters: dict[str, str]) -> list[Text]:
    ours, plain, scenario = result.with_failover, result.without_failover, result.scenario
    asked = result.primary_requests
    others = sum(count for name, count in ours.requests.items() if name != primary)
    dead = ours.requests_to_dead
    return [
        Text(scenario.title),
        _share(plain, good=scenario.expect.without_failover != "none"),
        _share(ours, good=True),
        Text(_answered_by(ours, letters)),
        Text(f"{'?' if asked is None else asked}+{others}"),
        Text(_milliseconds(result.added_median)),
        Text(_milliseconds(result.added_worst)),
        Text("-" if dead is None else str(dead)),
        Text(*VERDICT[result.verdict]),
    ]


def _share(run: Run, *, good: bool) -> Text:
    style = "green" if good and run.complete else "red"
    return Text(f"{run.answered}/{len(run.calls)}", style=style)


def _answered_by(run: Run, letters: dict[str, str]) -> str:
    by = run.answered_by
    if len(by) == 1:
        return letters[next(iter(by))]
    return ", ".join(f"{letters[name]} {by[name]}" for name in letters if name in by) or "none"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{round(seconds * 1000) or 0:+d}"


def _legend(result: DrillResult, primary: str) -> list[str]:
    healthy = result.healthy.with_failover.median_seconds
    baseline = "-" if healthy is None else f"{healthy * 1000:.0f}"
    return [f"{column:<15}{meaning.format(A=primary, baseline=baseline)}" for column, meaning in _LEGEND]


def _notes(result: DrillResult, primary: str) -> list[str]:
    deadlines = result.deadlines
    notes = [
        "Counted at the server, from the emulator's log (refused connections: by their port). A call ends with the"
        " last byte of its answer there.",
        "Deadlines are shortened for the drill:"
        f" {deadlines['first_token_timeout_seconds']} s to the first token, {deadlines['stall_timeout_seconds']} s"
        f" between tokens, {deadlines['total_timeout_seconds']:.0f} s for a call.",
    ]
    notes += [
        f"{one.scenario.title}: after the open time of its circuit, the dead model was probed with"
        f" {one.with_failover.probes} request{'' if one.with_failover.probes == 1 else 's'}."
        for one in result.scenarios
        if one.with_failover.probes
    ]
    if len(result.chain) == 1:
        notes.append("The chain has one model: there is nothing to fail over to.")
    notes += [f"SKIPPED {scenario.title}: {reason}." for scenario, reason in result.skipped]
    for one in result.results:
        notes += [f"{problem.verdict.upper()} {one.scenario.title}: {problem.text}." for problem in one.problems]
    passed = sum(scenario.passed for scenario in result.scenarios)
    notes.append(f"{passed} of {len(result.scenarios)} scenarios passed, in {result.seconds:.1f} s.")
    return notes
