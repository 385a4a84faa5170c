"""Draws boxes and arrows as SVG from a table of coordinates, without an external program.

On the site, `site.css` gives a drawing the colours of the surrounding text. As a separate file, for example on a forge,
a drawing has its own background, light or dark according to the system's setting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

LINE = 17
_STYLE = (
    ".drawn{color:#1f2328;font:13px system-ui,sans-serif}"
    ".drawn text{fill:currentColor}.drawn .b{font-weight:600;font-size:15px}.drawn .s{font-size:12px;opacity:.8}"
    ".drawn .m{font-family:ui-monospace,monospace;font-size:12.5px}"
    ".drawn rect{fill:currentColor;fill-opacity:.06;stroke:currentColor;stroke-width:1.5}"
    ".drawn .e{fill:none;stroke:currentColor;stroke-width:1.5}.drawn marker path{fill:currentColor}"
    ".drawn .good{stroke:#2e9e5b}.drawn .bad{stroke:#d1495b}.drawn .wary{stroke:#b7791f}"
    ".drawn .ground{fill:#fff;fill-opacity:1;stroke:none}"
    "@media(prefers-color-scheme:dark){.drawn{color:#e6edf3}.drawn .ground{fill:#0d1117}}"
)


@dataclass(frozen=True)
class Box:
    """A box with a title and smaller lines below. (x, y) is the upper left corner; `tone` is good, wary or bad."""

    x: float
    y: float
    width: float
    height: float
    title: str
    lines: Sequence[str] = ()
    tone: str = ""

    def svg(self) -> str:
        """The SVG elements of the box."""
        middle, first = self.x + self.width / 2, self.y + self.height / 2 + 5 - len(self.lines) * LINE / 2
        rows = [text(middle, first, [self.title], "b", middle=True)]
        rows.append(text(middle, first + LINE, self.lines, "s", middle=True))
        shape = f'<rect class="{self.tone}" x="{self.x:g}" y="{self.y:g}" width="{self.width:g}"'
        return "\n".join([f'{shape} height="{self.height:g}" rx="8"/>', *filter(None, rows)])


@dataclass(frozen=True)
class Arrow:
    """An arrow along an SVG path. (x, y) is the start of its label or, with `middle`, the middle of its label."""

    path: str
    x: float
    y: float
    middle: bool = False

    def svg(self, name: str, lines: Sequence[str]) -> str:
        """The SVG elements of the arrow and its label."""
        line = f'<path class="e" d="{self.path}" marker-end="url(#{name}-arrow)"/>'
        return "\n".join(filter(None, [line, text(self.x, self.y, lines, middle=self.middle)]))


def text(x: float, y: float, lines: Sequence[str], kind: str = "", *, middle: bool = False) -> str:
    """The SVG element of some lines of text, one below the other."""
    anchor = ' text-anchor="middle"' if middle else ""
    style = f' class="{kind}"' if kind else ""
    return "\n".join(
        f'<text{style} x="{x:g}" y="{y + number * LINE:g}"{anchor}>{escape(line)}</text>'
        for number, line in enumerate(lines)
    )


def drawing(name: str, width: float, height: float, title: str, description: str, parts: Sequence[str]) -> str:
    """The text of an SVG file. Screen readers read the title and the description."""
    head = (
        f'<svg class="drawn" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-labelledby="{name}-title {name}-said">'
    )
    marker = (
        f'<defs><marker id="{name}-arrow" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7"'
        ' orient="auto-start-reverse"><path d="M0 0 10 5 0 10z"/></marker></defs>'
    )
    ground = f'<rect class="ground" width="{width:g}" height="{height:g}"/>'
    named = f'<title id="{name}-title">{escape(title)}</title>\n<desc id="{name}-said">{escape(description)}</desc>'
    return "\n".join([head, named, f"<style>{_STYLE}</style>", marker, ground, *parts, "</svg>", ""])
