"""The plot of `docs/do-no-harm.md`: some worlds, simulated for us and computed for a plain SDK client and a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

from scripts.docs.drawing import drawing, text
from tests.simulation import references, targeted
from tests.simulation.invariants import REFERENCES
from tests.simulation.play import play
from tests.simulation.targeted import calls, model
from tests.simulation.worlds import Blip, CallSpec, Kind, World

POLICIES = {"us": "openrouter-fallback", "sdk": "plain SDK, first model", "loop": "plain loop over the chain"}
_COLOURS = {"us": "#2e9e5b", "sdk": "#b7791f", "loop": "#6b7fd7"}


@dataclass(frozen=True)
class Row:
    """Worlds with one name. Each has the (start, end) of the time in which the first model, or all models, fail."""

    name: tuple[str, str]
    worlds: tuple[tuple[World, tuple[float, float] | None], ...]


@dataclass(frozen=True)
class Figures:
    """The figures of one policy in some worlds; None if a figure does not exist.

    They are: the percentage of answered calls; the most seconds until the first model answers a call again after its
    outage; the requests to the failing first model per 100 calls during the outage.
    """

    answered: float
    home: float | None
    wasted: float | None


def rows() -> list[Row]:
    """The worlds of the plot. The second model, if there is one, is healthy."""
    reset = (Blip("openrouter", 0.6, 0.601, "reset"),)
    blip = targeted.world("blip", (model(0, first=1.0),), calls((0.0, 100, 0.005)), blips=reset)[0]
    brown = targeted.world("storm", (model(0, (0.0, "flaky", 0.5)),), calls((0.0, 1500, 0.02)))[0]
    dead = targeted.world("dead", (model(0, (0.0, "down")), model(1, (0.0, "down"))), calls((0.0, 300, 0.2)))[0]
    return [
        Row(("100 calls wait, all", "connections are reset"), ((blip, None),)),
        Row(("every second request fails,", "one model, 50 calls a second"), ((brown, None),)),
        Row(("first model down for 300 s,", "a call every 20 s"), _outages(20.0)),
        Row(("first model down for 300 s,", "a call a second"), _outages(1.0)),
        Row(("first model down for 300 s,", "10 calls a second"), _outages(0.1)),
        Row(("first model silent for 300 s,", "a call a second"), _outages(1.0, "silent")),
        Row(("both models down for 60 s,", "5 calls a second"), ((dead, (0.0, 60.0)),)),
    ]


def _outages(gap: float, kind: Kind = "down") -> tuple[tuple[World, tuple[float, float]], ...]:
    """Outages with different ends, because the remaining open time of a circuit depends on the end."""
    found = []
    for more in (0.3, 4.3, 8.3, 12.3, 16.3):
        start, end = 20.3, 20.3 + 300.0 + more
        times = calls((0.0, int((end + 80.0) / gap), gap))
        found.append((targeted.world("home", (model(0, (start, kind), (end, "up")), model(1)), times)[0], (start, end)))
    return tuple(found)


def figures(row: Row) -> dict[str, Figures]:
    """The figures of each policy in the worlds of a row."""
    several = {"us": [_ours(*one) for one in row.worlds]}
    for name, policy in REFERENCES.items():
        several[name] = [_theirs(*one, policy) for one in row.worlds]
    return {
        name: Figures(
            sum(one.answered for one in found) / len(found),
            max((one.home for one in found if one.home is not None), default=None),
            None if found[0].wasted is None else sum(one.wasted or 0.0 for one in found) / len(found),
        )
        for name, found in several.items()
    }


Down = tuple[float, float] | None


def _ours(world: World, down: Down) -> Figures:
    played, first = play(world), world.models[0].key
    answered = {one.call.number for one in played.results if one.answered}
    asked = [(one.at, one.reply.answered_after is not None) for one in played.requests if one.model == first]
    return _figures(world, down, answered, asked)


def _theirs(world: World, down: Down, policy: Callable[[World, CallSpec], float | None]) -> Figures:
    asked: list[tuple[float, bool]] = []
    real = references.request

    def noted(*given: Any, **named: Any) -> Any:
        reply = real(*given, **named)
        if given[1] is world.models[0]:
            asked.append((given[2], reply[0]))
        return reply

    with mock.patch.object(references, "request", noted):
        answered = {call.number for call in world.calls if policy(world, call) is not None}
    return _figures(world, down, answered, asked)


def _figures(world: World, down: Down, answered: set[int], asked: list[tuple[float, bool]]) -> Figures:
    share = 100.0 * len(answered) / len(world.calls)
    if down is None:
        return Figures(share, None, None)
    start, end = down
    during = sum(start <= call.at < end for call in world.calls)
    wasted = 100.0 * sum(start <= at < end and not good for at, good in asked) / during
    home = min((at - end for at, good in asked if at >= end and good), default=None)
    return Figures(share, home, wasted)


# The drawing

_WIDTH, _LABELS, _BAR, _ROW, _TOP = 760, 190, 9, 46, 74
_PANELS: dict[str, tuple[str, float, float, str]] = {
    "answered": ("calls answered, %", 195, 100.0, "{:.0f}"),
    "home": ("home after at most, s", 375, 40.0, "{:.0f}"),
    "wasted": ("requests to the dead / 100 calls", 550, 200.0, "{:.0f}"),
}
_WIDE = {"answered": 140, "home": 105, "wasted": 150}


def plot() -> str:
    """The SVG."""
    told = [(row, figures(row)) for row in rows()]
    parts = []
    for place, (policy, name) in enumerate(POLICIES.items()):
        parts += [_bar(14 + 220 * place, 16, 12, policy, 12), text(32 + 220 * place, 27, [name])]
    for name, x, _, _ in _PANELS.values():
        parts.append(text(x, 58, [name], "s"))
    for place, (row, by_policy) in enumerate(told):
        y = _TOP + place * _ROW
        parts.append(text(14, y + 12, row.name, "s"))
        for line, (policy, found) in enumerate(by_policy.items()):
            for panel, (_, x, most, form) in _PANELS.items():
                value = getattr(found, panel)
                if value is None:
                    continue
                wide = _WIDE[panel] * min(value, most) / most
                parts.append(_bar(x, y + line * (_BAR + 3), max(wide, 1.0), policy))
                parts.append(_value(x + wide + 5, y + line * (_BAR + 3) + _BAR - 0.5, form.format(value)))
    said = "; ".join(
        f"{' '.join(row.name)}: "
        + ", ".join(f"{POLICIES[policy]} {_said(found)}" for policy, found in by_policy.items())
        for row, by_policy in told
    )
    title = "What each policy makes of some worlds"
    return drawing("harm", _WIDTH, _TOP + len(told) * _ROW + 4, title, said, parts)


def _said(found: Figures) -> str:
    words = [f"answers {found.answered:.0f} %"]
    words += [] if found.home is None else [f"home after {found.home:.0f} s"]
    words += [] if found.wasted is None else [f"{found.wasted:.0f} requests to the dead per 100 calls"]
    return " and ".join(words)


def _bar(x: float, y: float, wide: float, policy: str, high: float = _BAR) -> str:
    style = f"fill:{_COLOURS[policy]};fill-opacity:1;stroke:none"
    return f'<rect x="{x:g}" y="{y:g}" width="{wide:.1f}" height="{high:g}" style="{style}"/>'


def _value(x: float, y: float, what: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" style="font-size:11px">{what}</text>'
