"""The report's charts: Vega-Lite specifications, rendered to SVG when the report is written. The page needs no script.

Colours are variables of the page's style sheet, light and dark. Each chart is rendered twice, for a screen and a phone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import vl_convert

from ..records import Asked, Call, Change, Run
from ..results import DrillResult, ScenarioResult
from .texts import label

Row = dict[str, Any]

_VEGA_LITE = "v6.1"
# Vega prepends this URL to a link within the page.
_BASE = "https://vega.github.io/vega-datasets/#"
_LANE = 34
_CHARACTER = 7.4

OUTCOMES = {
    "answered": ("circle", "var(--good)"),
    "failed": ("cross", "var(--bad)"),
    "probe": ("triangle-up", "var(--probe)"),
    "seam": ("diamond", "var(--seam)"),
}
"""The outcomes of a request, each with the shape and the colour of its mark."""

STATES = {"open": "var(--bad)", "half_open": "var(--probe)", "cooldown": "var(--warn)"}
"""The states of a breaker that is not closed, and their colours."""

KEY = {
    "answered": ("good", "●", "answered"),
    "failed": ("bad", "✚", "failed"),
    "probe": ("probe", "▲", "probe that failed"),
    "seam": ("seam", "◆", "seam: continues another model’s text"),
    "open": ("bad", "▒", "circuit open"),
    "half_open": ("probe", "▒", "circuit half-open"),
    "cooldown": ("warn", "▒", "cooldown"),
}
"""The legend of each outcome and state: the name of its colour, its sign, and what it means."""

RUNS = {"with failover": ("circle", "var(--good)"), "without": ("cross", "var(--bad)")}


@dataclass(frozen=True, slots=True)
class Drawing:
    """One chart in both widths, as SVG."""

    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class _Size:
    """The width of a chart in pixels, and the number of ticks of its time axis."""

    width: int
    ticks: int
    whole_names: bool
    longest_label: int

    def beside(self, labels: Iterable[str]) -> tuple[Row, int]:
        """The settings of a left axis with room for its labels in any font, and the remaining width in pixels."""
        extent = max(40, round(max(map(len, labels)) * _CHARACTER) + 12)
        return {"minExtent": extent, "maxExtent": extent}, self.width - extent - 24


_SIZES = (_Size(920, 9, True, 44), _Size(350, 4, False, 20))


def overview(result: DrillResult) -> Drawing:
    """The chart of the share of answered calls, with failover and without, by scenario."""
    titles = [one.scenario.title for one in result.results]
    rows = [
        {"scenario": n, "run": run, "share": tally.answered / max(1, len(tally.calls))}
        for n, one in enumerate(result.results)
        for run, tally in (("without", one.without_failover), ("with failover", one.with_failover))
    ]

    def spec(size: _Size) -> Row:
        shown = [label(title, size.longest_label) for title in titles]
        axis, width = size.beside(shown)
        # The axis uses numbers, because two scenarios may have the same title.
        axis["labelExpr"] = f"{json.dumps(shown)}[datum.value]"
        return {
            "width": width,
            "height": {"step": 20},
            "data": {"values": rows},
            "encoding": {
                "y": {"field": "scenario", "type": "nominal", "title": None} | {"axis": axis},
                "x": {
                    "field": "share",
                    "type": "quantitative",
                    "scale": {"domain": [0, 1]},
                    "axis": {"format": "%", "tickCount": 5},
                    "title": "calls answered whole",
                },
            },
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 2, "stroke": "var(--line)"},
                    "encoding": {
                        "x": {"field": "share", "aggregate": "min", "type": "quantitative"},
                        "x2": {"field": "share", "aggregate": "max"},
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                    "encoding": _styled("run", RUNS),
                },
            ],
        }

    return _draw(spec)


def timeline(result: ScenarioResult, chain: Sequence[str], letters: Mapping[str, str], anchor: str) -> Drawing:
    """The chart of one scenario: a lane for each model with requests, breaker and seams; below, the durations."""
    ours, plain = result.with_failover, result.without_failover
    end = max(ours.seconds, *(call.at + call.seconds for call in (*ours.calls, *plain.calls)), 0.001)

    def spec(size: _Size) -> Row:
        labels = {
            name: label(f"{letters[name]}  {name}", size.longest_label) if size.whole_names else letters[name]
            for name in chain
        }
        axis, width = size.beside(labels.values())
        x = {"type": "quantitative", "scale": {"domain": [0, end], "nice": False}}
        lane: Row = {"field": "model", "type": "nominal", "sort": list(labels.values()), "title": None}
        lane |= {"scale": {"domain": list(labels.values())}, "axis": axis}
        link = {"href": {"field": "link"}}
        bare = {"labels": False, "ticks": False}
        lanes: Row = {
            "width": width,
            "height": {"step": _LANE},
            "resolve": {"scale": {"color": "independent", "shape": "independent"}},
            "layer": [
                {
                    "data": {"values": list(_bands(ours.changes, labels, end))},
                    "mark": {"type": "rect", "opacity": 0.22},
                    "encoding": {
                        "y": lane,
                        "x": {
                            **x,
                            "field": "at",
                            "title": None,
                            "axis": {**bare, "tickCount": size.ticks},
                        },
                        "x2": {"field": "until"},
                        "color": _scale("state", STATES),
                    },
                },
                {
                    "data": {"values": list(_requests(ours, labels, anchor))},
                    "encoding": {"y": lane, "x": {**x, "field": "at"}, **link},
                    "layer": [
                        {
                            "mark": {"type": "bar", "height": 7, "opacity": 0.55},
                            "encoding": {"x2": {"field": "until"}, "color": _styled("outcome", OUTCOMES)["color"]},
                        },
                        {
                            "mark": {"type": "point", "filled": True, "size": 75, "opacity": 1},
                            "encoding": {"x": {**x, "field": "until"}, **_styled("outcome", OUTCOMES)},
                        },
                    ],
                },
            ],
        }
        point = {"type": "point", "size": 55, "strokeWidth": 1.6}
        latencies: Row = {
            "width": width,
            "height": 110,
            "encoding": {
                "x": {**x, "field": "at", "title": "seconds since the first call"}
                | {"axis": {"tickCount": size.ticks}},
                "y": {
                    "field": "seconds",
                    "type": "quantitative",
                    "title": ["seconds", "of a call"] if size.whole_names else None,
                    "axis": {**axis, "tickCount": 4},
                },
                **_styled("run", RUNS),
            },
            "layer": [
                {"data": {"values": list(_calls(plain, "without"))}, "mark": point},
                {"data": {"values": list(_calls(ours, "with failover", anchor))}, "mark": point, "encoding": link},
            ],
        }
        return {
            "vconcat": [lanes, latencies],
            "spacing": 8,
            "resolve": {"scale": {"color": "independent", "shape": "independent"}},
        }

    return _draw(spec)


def key(run: Run) -> list[tuple[str, str, str]]:
    """The rows of `KEY` that a run's chart shows."""
    seen = {row["outcome"] for row in _requests(run, {}, "")} | {change.state for change in run.changes}
    return [row for what, row in KEY.items() if what in seen]


def outcome(one: Asked) -> str:
    """The outcome of a request: a key of `OUTCOMES`."""
    if one.ended == "finished":
        return "answered"
    return "probe" if one.probe else "failed"


def _requests(run: Run, labels: Mapping[str, str], anchor: str) -> Iterator[Row]:
    for call in run.calls:
        for one in call.asked:
            yield _marked(one, outcome(one), labels, _link(call, anchor))
        if call.seams and call.asked:
            seam = call.seams[-1]
            joined = next((one for one in reversed(call.asked) if one.model == seam.after), call.asked[-1])
            row = _marked(joined, "seam", labels, _link(call, anchor))
            yield {**row, "until": row["at"]}


def _marked(one: Asked, what: str, labels: Mapping[str, str], link: str) -> Row:
    return {
        "model": labels.get(one.model, one.model),
        "at": one.at,
        "until": one.until,
        "outcome": what,
        "link": link,
    }


def _calls(run: Run, name: str, anchor: str = "") -> Iterator[Row]:
    for call in run.calls:
        yield {"at": call.at, "seconds": call.seconds, "run": name, "link": _link(call, anchor)}


def _link(call: Call, anchor: str) -> str:
    return f"#{anchor}-{call.number}"


def _bands(changes: Sequence[Change], labels: Mapping[str, str], end: float) -> Iterator[Row]:
    for n, change in enumerate(changes):
        if change.state in STATES:
            later = (other.at for other in changes[n + 1 :] if other.model == change.model)
            band = {"model": labels.get(change.model, change.model), "state": change.state}
            yield {**band, "at": change.at, "until": min(next(later, end), end)}


def _styled(field: str, styles: Mapping[str, tuple[str, str]]) -> Row:
    shapes = {name: shape for name, (shape, _) in styles.items()}
    colours = {name: colour for name, (_, colour) in styles.items()}
    return {"shape": _scale(field, shapes), "color": _scale(field, colours)}


def _scale(field: str, values: Mapping[str, str]) -> Row:
    scale = {"domain": list(values), "range": list(values.values())}
    return {"field": field, "type": "nominal", "scale": scale, "legend": None}


def _draw(spec: Any) -> Drawing:
    wide, narrow = (_svg(spec(size), size) for size in _SIZES)
    return Drawing(wide, narrow)


def _svg(spec: Row, size: _Size) -> str:
    axis = dict.fromkeys(("gridColor", "domainColor", "tickColor"), "var(--line)")
    config = {
        "font": "sans-serif",
        "background": None,
        "aria": False,
        "padding": 2,
        "view": {"stroke": None},
        "axis": {**axis, "labelColor": "var(--ink)", "titleColor": "var(--muted)", "labelFontSize": 12}
        | {"titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 0},
    }
    # The specification contains all data, so no data is fetched.
    svg = vl_convert.vegalite_to_svg({**spec, "config": config}, vl_version=_VEGA_LITE, allowed_base_urls=[])
    # Keyboards and screen readers use the list of calls below a chart. A chart would add dozens of tab stops.
    svg = svg.replace(f'<a xlink:href="{_BASE}', '<a tabindex="-1" href="#')
    return svg.replace("<svg ", '<svg aria-hidden="true" focusable="false" ', 1)
