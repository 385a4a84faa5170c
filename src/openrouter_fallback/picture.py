"""Draws the requests of calls over time: a lane for each model, the outcomes, and the seams between models.

For notebooks; needs the extra `report`. Vega-Lite is rendered to SVG in this process: a viewer fetches nothing.
"""

from __future__ import annotations

import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import TYPE_CHECKING, Any, Protocol, Self

try:
    import vl_convert
except ImportError as missing:
    raise ImportError(
        'the picture needs vl-convert-python; install it with: pip install "openrouter-fallback[report]"',
        name=missing.name,
    ) from missing

from .events import AttemptEnded, AttemptStarted, CallEnded, Event
from .failures.kinds import FailureKind
from .results import Seam

if TYPE_CHECKING:
    from .client import FallbackClient

Row = dict[str, Any]

_VEGA_LITE = "v6.1"
_WIDTH = 620
_LANE = 46
_CHARACTER = 7.2
_SMALL_CHARACTER = 5.6
_TURNED = 0.75
_MOST_TOLD = 12
_INK, _MUTED, _LINE = "#1f2328", "#59636e", "#d1d9e0"

OUTCOMES = {
    "answered": ("circle", "#1a7f37"),
    "failed": ("cross", "#cf222e"),
    "abandoned": ("square", "#6e7781"),
    "goes on": ("diamond", "#8250df"),
}
"""The shape and colour of the mark for each outcome of a request, and for the start of a continuation."""


class Logged(Protocol):
    """A request in the emulator's log."""

    @property
    def model(self) -> str | None: ...
    @property
    def opened_at(self) -> float: ...
    @property
    def finished_at(self) -> float | None: ...
    @property
    def ended(self) -> str: ...
    @property
    def fault(self) -> str | None: ...
    @property
    def status(self) -> int | None: ...


@dataclass(frozen=True, slots=True)
class Bar:
    """One request. Times are seconds since the first request. `note` is the reason of a failure, `joined` the time of
    the first token, `seam` the place where this model continued another model's text."""

    call: int
    model: str
    start: float
    end: float
    outcome: str
    note: str = ""
    seam: Seam | None = None
    joined: float | None = None

    @property
    def said(self) -> str:
        """The request as one line of text."""
        went_on = f"went on at character {self.seam.offset} and " if self.seam is not None else ""
        why = f" ({self.note})" if self.note else ""
        return f"{self.model} {went_on}{self.outcome} after {self.end - self.start:.2f} s{why}"


class Picture:
    """Draws the calls that `client` (and its copies) make within a `with` block, for a notebook.

        with Picture(llm.client) as picture:
            agent.invoke(...)
        picture

    `str(picture)` returns the same as text, `picture.svg()` the drawing. Raises ImportError without the extra.
    """

    def __init__(self, client: FallbackClient | None = None, title: str = "") -> None:
        self._client = client
        self._title = title
        self._unit = "call"
        self._panels: dict[str, list[Bar]] = {"": []}
        self._started: dict[tuple[int, int], float] = {}
        self._calls: dict[int, int] = {}
        self._begun: float | None = None
        self._end: Callable[[], None] | None = None

    @classmethod
    def of_logs(cls, logs: Mapping[str, Iterable[Logged]], title: str = "") -> Self:
        """Draws logs of the emulator, one panel for each log. The times of a panel start at its first request."""
        picture = cls(title=title)
        picture._unit = "request"
        picture._panels = {name: list(_logged(log)) for name, log in logs.items()}
        return picture

    def __enter__(self) -> Self:
        if self._client is not None:
            self._end = self._client.subscribe(self._see)
        return self

    def __exit__(self, *raised: object) -> None:
        if self._end is not None:
            self._end()

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All requests."""
        return tuple(bar for bars in self._panels.values() for bar in bars)

    def __str__(self) -> str:
        return "\n".join(self._lines()) or "No request was made."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/plain": str(self), "text/html": self._html()} if self.bars else {"text/plain": str(self)}

    def svg(self) -> str:
        """The drawing; "" if no request was made."""
        if not self.bars:
            return ""
        end = max(bar.end for bar in self.bars) or 0.001
        models = list(dict.fromkeys(bar.model for bar in self.bars))
        # Labels beside the marks; a legend instead if the labels would overlap.
        crowded = any(_crowded(bars, end) for bars in self._panels.values())
        told = {bar.outcome for bar in self.bars} | {"goes on" for bar in self.bars if bar.seam is not None}
        legend = [outcome for outcome in OUTCOMES if outcome in told] if crowded else None
        panels = [_panel(name, bars, models, end, legend) for name, bars in self._panels.items()]
        spec = {"vconcat": panels, "spacing": 22, "config": _CONFIG, "background": "white", "padding": 10}
        if self._title:
            spec["title"] = {"text": self._title, "anchor": "start", "color": _INK, "fontSize": 14, "offset": 12}
        # The specification contains all data, so no URL may be fetched.
        return vl_convert.vegalite_to_svg(spec, vl_version=_VEGA_LITE, allowed_base_urls=[])

    def _html(self) -> str:
        drawn = b64encode(self.svg().encode()).decode()
        alt = escape(" ".join(self._lines(_MOST_TOLD)), quote=True)
        named = not self._panels.keys() <= {""}
        heads = [*(["of"] if named else []), self._unit, "model", "at (s)", "took (s)", "outcome", "why"]
        rows = [
            [name] * named
            + [str(bar.call), bar.model, f"{bar.start:.2f}", f"{bar.end - bar.start:.2f}", bar.outcome, _note(bar)]
            for name, bars in self._panels.items()
            for bar in bars
        ]
        head = "".join(f'<th scope="col">{text}</th>' for text in heads)
        body = "".join(f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows)
        return (
            f'<figure style="margin:0"><img alt="{alt}" src="data:image/svg+xml;base64,{drawn}" '
            'style="max-width:100%;background:#fff;border-radius:6px"></figure>'
            f"<details><summary>The same as a table</summary><table><thead><tr>{head}</tr></thead>"
            f"<tbody>{body}</tbody></table></details>"
        )

    def _lines(self, most: int | None = None) -> Iterator[str]:
        if self._title:
            yield f"{self._title}."
        for name, bars in self._panels.items():
            if name:
                yield f"{name}: {'; '.join(_summed(bars)) or 'no request'}."
                continue
            calls: dict[int, list[str]] = {}
            for bar in bars:
                calls.setdefault(bar.call, []).append(bar.said)
            for number, told in list(calls.items())[:most]:
                yield f"Call {number}: {'; '.join(told)}."
            if most is not None and len(calls) > most:
                yield f"And {len(calls) - most} more."

    def _see(self, event: Event) -> None:
        now = time.monotonic()
        self._begun = now if self._begun is None else self._begun
        bars = self._panels[""]
        if isinstance(event, AttemptStarted):
            self._calls.setdefault(event.call, len(self._calls) + 1)
            self._started[event.call, event.number] = now - self._begun
        elif isinstance(event, AttemptEnded) and (event.call, event.number) in self._started:
            attempt = event.attempt
            start = self._started.pop((event.call, event.number))
            outcome = "answered" if attempt.kind is None else "failed"
            if attempt.kind is FailureKind.CANCELLED:
                outcome = "abandoned"
            status = f" {attempt.status}" if attempt.status not in (None, 200) else ""
            bars.append(
                Bar(
                    self._calls[event.call],
                    attempt.model,
                    start,
                    min(start + attempt.seconds, now - self._begun),
                    outcome,
                    f"{attempt.kind}{status}" if attempt.kind is not None else "",
                    joined=None if attempt.first_token is None else start + attempt.first_token,
                )
            )
        elif isinstance(event, CallEnded) and event.seams:
            own = [n for n, bar in enumerate(bars) if bar.call == self._calls.get(event.call)]
            for seam in event.seams:
                begun = next((n for n in own if bars[n].model == seam.before and bars[n].joined is not None), own[0])
                for n in own:
                    bar = bars[n]
                    if n > begun and bar.model == seam.after and bar.joined is not None and bar.seam is None:
                        bars[n] = replace(bar, seam=seam)
                        break


def _logged(log: Iterable[Logged]) -> Iterator[Bar]:
    requests = list(log)
    begun = min((one.opened_at for one in requests), default=0.0)
    for number, one in enumerate(requests, start=1):
        end = one.opened_at if one.finished_at is None else one.finished_at
        outcome = {"finished": "answered", "fault": "failed"}.get(one.ended, "abandoned")
        note = one.fault or (str(one.status) if outcome == "failed" and one.status else "")
        yield Bar(number, one.model or "", one.opened_at - begun, end - begun, outcome, note)


def _summed(bars: Iterable[Bar]) -> Iterator[str]:
    for (model, outcome, note), times in Counter((bar.model, bar.outcome, bar.note) for bar in bars).items():
        yield f"{model} {outcome} {times} {'time' if times == 1 else 'times'}{f' ({note})' if note else ''}"


def _note(bar: Bar) -> str:
    return f"went on at character {bar.seam.offset}" if bar.seam is not None else bar.note


# The drawing

_CONFIG: Row = {
    "font": "sans-serif",
    "view": {"stroke": None},
    "axis": {"gridColor": _LINE, "domainColor": _LINE, "tickColor": _LINE, "labelColor": _INK, "titleColor": _MUTED}
    | {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "labelLimit": 0},
    "title": {"fontSize": 13, "color": _INK, "anchor": "start"},
    "legend": {"labelFontSize": 12, "labelColor": _INK},
}


def _panel(name: str, bars: Sequence[Bar], models: Sequence[str], end: float, told: Sequence[str] | None) -> Row:
    extent = round(max(map(len, models)) * _CHARACTER) + 10
    y: Row = {"field": "model", "type": "nominal", "scale": {"domain": models}, "title": None}
    y |= {"axis": {"minExtent": extent, "maxExtent": extent, "grid": True, "tickBand": "extent", "ticks": False}}
    x: Row = {"type": "quantitative", "scale": {"domain": [0, end], "nice": False}}
    x |= {"axis": {"tickCount": 7, "grid": False}}
    legend = {"orient": "top", "direction": "horizontal", "title": None, "values": told} if told else None
    style = {
        "color": {"field": "outcome", "type": "nominal", "scale": _scale(1), "legend": legend},
        "shape": {"field": "outcome", "type": "nominal", "scale": _scale(0), "legend": legend},
    }
    rows = [{"model": b.model, "start": b.start, "end": b.end, "outcome": b.outcome} for b in bars]
    words = [{"model": bar.model, "at": bar.end, "outcome": bar.outcome, "words": _word(bar)} for bar in bars]
    seams = [
        {"model": bar.model, "from": bar.seam.before, "at": bar.joined, "outcome": "goes on"}
        | {"words": f"goes on at character {bar.seam.offset}"}
        for bar in bars
        if bar.seam is not None
    ]
    layers: list[Row] = [
        {
            "data": {"values": rows},
            "mark": {"type": "bar", "height": 9, "opacity": 0.45, "cornerRadius": 2},
            "encoding": {"y": y, "x": {**x, "field": "start", "title": "seconds"}, "x2": {"field": "end"}}
            | {"color": style["color"]},
        },
        {
            "data": {"values": seams},
            "mark": {"type": "rule", "strokeDash": [4, 3], "strokeWidth": 1.5, "color": OUTCOMES["goes on"][1]},
            "encoding": {"x": {**x, "field": "at"}, "y": {**y, "field": "from"}, "y2": {"field": "model"}},
        },
        {
            "data": {"values": [{**row, "at": row["end"]} for row in rows] + seams},
            "mark": {"type": "point", "filled": True, "size": 95, "opacity": 1},
            "encoding": {"y": y, "x": {**x, "field": "at"}, **style},
        },
    ]
    if legend is None:
        # The label of an answer is above its bar. The label of a failure is right of its bar, where the lane is free.
        answers = [row for row in words if row["outcome"] == "answered"]
        others = [row for row in words if row["outcome"] != "answered"]
        layers += _words(answers, y, x, -8, {"dy": -13}, turned=0.0)
        layers += _words(others, y, x, 0, {"dy": -13}, turned=_TURNED * end)
        layers += _words(seams, y, x, -5, {"dy": 14, "color": OUTCOMES["goes on"][1]}, turned=0.6 * end)
        layers += _calls(bars, x)
    panel: Row = {"width": _WIDTH, "height": {"step": _LANE}, "layer": layers}
    return panel | ({"title": name} if name else {})


def _word(bar: Bar) -> str:
    return bar.note or bar.outcome


def _crowded(bars: Sequence[Bar], end: float) -> bool:
    """Whether labels beside the marks would overlap."""
    taken: dict[str, list[tuple[float, float]]] = {}
    for bar in bars:
        at, wide = bar.end / end * _WIDTH, len(_word(bar)) * _SMALL_CHARACTER
        left = bar.outcome == "answered" or bar.end >= _TURNED * end
        span = (at - 8 - wide, at - 8) if left else (at, at + wide)
        others = taken.setdefault(bar.model, [])
        if any(span[0] < other[1] and other[0] < span[1] for other in others):
            return True
        others.append(span)
    return False


def _words(rows: Sequence[Row], y: Row, x: Row, dx: int, style: Row, *, turned: float) -> Iterator[Row]:
    """Labels beside marks; left of marks at or after the time `turned`, so that no label leaves the picture."""
    encoding = {"y": y, "x": {**x, "field": "at"}, "text": {"field": "words"}}
    for side, shift in (("left", dx), ("right", dx or 5)):
        found = [row for row in rows if (row["at"] >= turned) == (side == "right")]
        mark = {"type": "text", "fontSize": 11, "color": _INK, "align": side, "dx": shift, **style}
        yield {"data": {"values": found}, "mark": mark, "encoding": encoding}


def _calls(bars: Sequence[Bar], x: Row) -> list[Row]:
    """A mark at the start of each call, if there are several calls."""
    begun: dict[int, float] = {}
    for bar in bars:
        begun.setdefault(bar.call, bar.start)
    if len(begun) < 2 or len(begun) == len(bars):
        return []
    rows = [{"at": at, "words": f"call {number}"} for number, at in begun.items()]
    shared: Row = {"data": {"values": rows}, "encoding": {"x": {**x, "field": "at"}}}
    rule = {"type": "rule", "color": _MUTED, "strokeDash": [1, 3]}
    text = {"type": "text", "align": "left", "baseline": "bottom", "dx": 2, "dy": -3, "fontSize": 11, "color": _MUTED}
    named = {"encoding": {**shared["encoding"], "y": {"value": 0}, "text": {"field": "words"}}}
    return [{**shared, "mark": rule}, {**shared, "mark": text, **named}]


def _scale(part: int) -> Row:
    return {"domain": list(OUTCOMES), "range": [style[part] for style in OUTCOMES.values()]}
