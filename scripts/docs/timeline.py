"""Draw docs/drawn/timeline.svg, the picture of README and the landing page: one outage of the fire drill.

.venv/bin/python -m scripts.docs.timeline

The script runs the drill on loopback, in a few seconds. The times differ from run to run, so `scripts.docs --check`
does not compare the picture.
"""

from __future__ import annotations

import re
from pathlib import Path

from openrouter_fallback.drill import run_drill, shipped
from openrouter_fallback.drill.reporting import charts

SCENARIO = "recovery"
FILE = Path(__file__).parents[2] / "docs" / "drawn" / "timeline.svg"
LETTERS = "ABC"
LEGEND = (
    ("good", "●", "request answered; below: call with failover"),
    ("bad", "✚", "request failed; below: call without failover"),
)
BANDS = (("bad", "circuit open"), ("probe", "half-open"))

_SHEET = (Path(charts.__file__).parents[1] / "html" / "report.css").read_text(encoding="utf-8")


def colours(dark: bool) -> dict[str, str]:
    """The colours of the report's style sheet, by name."""
    light, _, rest = _SHEET.partition("prefers-color-scheme")
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", rest.partition("@media")[0] if dark else light))


def drawn(svg: str) -> str:
    """The chart with a legend, a background and its own colours, because a forge shows it as a separate file."""
    width, height = (float(one) for one in re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)[0])
    inside = re.sub(r"</?a\b[^>]*>", "", svg[svg.index(">") + 1 : svg.rindex("</svg>")])
    light, dark = colours(dark=False), colours(dark=True)
    style = "".join(f"--{name}:{value};" for name, value in light.items())
    other = "".join(f"--{name}:{value};" for name, value in dark.items())
    key = [f'<tspan fill="var(--{name})">{sign}</tspan> {said}' for name, sign, said in LEGEND]
    key += [f'<tspan fill="var(--{name})" fill-opacity=".4">█</tspan> {said}' for name, said in BANDS]
    legend = "&#160;&#160;&#160; ".join(key)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + 34:g}" role="img"'
        ' aria-labelledby="timeline-title timeline-said">\n'
        '<title id="timeline-title">An outage that ends</title>\n'
        '<desc id="timeline-said">The first model answers with 503. The second model answers every call meanwhile. '
        "One probe closes the circuit, and the first model serves again. No call with failover was lost.</desc>\n"
        f"<style>svg{{{style}}}@media(prefers-color-scheme:dark){{svg{{{other}}}}}</style>\n"
        f'<rect width="{width:g}" height="{height + 34:g}" rx="8" fill="var(--bg)"/>\n'
        f'<g fill="none">{inside}</g>\n'
        f'<text x="16" y="{height + 20:g}" font-family="system-ui, sans-serif" font-size="13" fill="var(--muted)">'
        f"{legend}</text>\n</svg>\n"
    )


def main() -> None:
    """Run the scenario and write the file."""
    result = run_drill(scenarios=[one for one in shipped() if one.name == SCENARIO])
    letters = dict(zip(result.chain, LETTERS, strict=False))
    chart = charts.timeline(result.scenarios[0], result.chain, letters, "")
    FILE.write_text(drawn(chart.wide), encoding="utf-8")
    print(FILE.relative_to(FILE.parents[2]))


if __name__ == "__main__":
    main()
