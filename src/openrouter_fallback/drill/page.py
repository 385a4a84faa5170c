"""A drill's result as one self-contained HTML file, without scripts and without network access. Extra `report`.

Texts of models and servers are escaped by the template. The page's content security policy also forbids scripts.
"""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import tempfile
from collections.abc import Mapping
from pathlib import Path
from string import ascii_uppercase
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from .. import __version__
from .records import Call, Run
from .reporting import charts
from .reporting.texts import tame
from .results import DrillResult
from .scenarios import Scenario

_TEMPLATES = Path(__file__).parent / "html"

# The headline of each verdict: a sign that does not depend on colour, and a sentence.
_HEADLINES = {
    "passed": ("✓", "Passed: every outage was survived as expected"),
    "degraded": ("!", "Degraded: callers were answered, but not everything was as expected"),
    "failed": ("✗", "Failed: callers were left without an answer, or got a wrong one"),
}


def write_page(result: DrillResult, path: str | os.PathLike[str] | None = None, *, command: str = "") -> Path:
    """Write the report as an HTML file; return the absolute path. Without `path`, create a temporary file.

    `command` is the command line that repeats the drill; the page shows it. Raises `OSError`.
    """
    content = page(result, command=command).encode("utf-8", "replace")
    if path is None:
        handle, name = tempfile.mkstemp(prefix="openrouter-fallback-drill-", suffix=".html")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        return Path(name)
    target = Path(path)
    target.write_bytes(content)
    return target.resolve()


def page(result: DrillResult, *, command: str = "") -> str:
    """The report as HTML."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"ms": _ms, "usd": _usd, "tame": tame, "parts": _parts}
    style = (_TEMPLATES / "report.css").read_text(encoding="utf-8")
    letters = {
        name: ascii_uppercase[n] if n < len(ascii_uppercase) else f"#{n + 1}" for n, name in enumerate(result.chain)
    }
    sign, headline = _HEADLINES[result.verdict]
    return environment.get_template("report.html.j2").render(
        result=result,
        sign=sign,
        headline=headline,
        letters=letters,
        style=Markup(style),  # noqa: S704 - the package's own file
        policy=_policy(style),
        overview=_drawn(charts.overview(result)),
        scenarios=[
            {
                "result": one,
                "anchor": f"s{n}",
                "chart": _drawn(charts.timeline(one, result.chain, letters, f"s{n}")),
                "key": charts.key(one.with_failover),
                "yaml": _yaml(one.scenario),
            }
            for n, one in enumerate(result.results)
        ],
        outcome=charts.outcome,
        who=lambda run: _who(run, letters),
        breaker=_breaker,
        totals=_totals(result),
        command=command,
        version=__version__,
        python=platform.python_version(),
    )


def _policy(style: str) -> str:
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def _drawn(drawing: charts.Drawing) -> Mapping[str, Markup]:
    # Vega escapes what it draws.
    return {"wide": Markup(drawing.wide), "narrow": Markup(drawing.narrow)}  # noqa: S704


def _totals(result: DrillResult) -> Mapping[str, Any]:
    ours = [one.with_failover for one in result.scenarios]
    plain = [one.without_failover for one in result.scenarios]
    return {
        "passed": sum(one.passed for one in result.scenarios),
        "answered": sum(run.answered for run in ours),
        "calls": sum(len(run.calls) for run in ours),
        "plain_answered": sum(run.answered for run in plain),
        "plain_calls": sum(len(run.calls) for run in plain),
        "cost": sum(run.cost for run in ours),
        "partial": sum(run.partial for run in ours),
        "to_dead": sum(run.requests_to_dead or 0 for run in ours),
    }


def _who(run: Run, letters: Mapping[str, str]) -> str:
    by = run.answered_by
    return ", ".join(f"{letters[name]} {by[name]}" for name in letters if name in by) or "none"


def _breaker(run: Run, model: str) -> str:
    """The states of a model's breaker in order. Every state but the first has its time."""
    states = [change for change in run.changes if change.model == model]
    shown = [f"{change.state.replace('_', '-')} at {change.at:.2f} s" for change in states[1:]]
    return ", ".join(["closed" if not states else states[0].state.replace("_", "-"), *shown])


def _yaml(scenario: Scenario) -> str:
    given = scenario.model_dump(mode="json", exclude_unset=True)
    return yaml.safe_dump(given, sort_keys=False, allow_unicode=True, width=100)


def _ms(seconds: float | None) -> str:
    # The server's and the caller's clock may differ, so a time may be slightly below 0.
    return "–" if seconds is None else f"{max(0, round(seconds * 1000)):,}"


def _usd(amount: float) -> str:
    return f"{amount:.6f}"


def _parts(call: Call) -> list[tuple[str, str]]:
    """The answer's text, cut at the seams: (model, text) for each part."""
    if not call.seams:
        return [(call.model or "", call.text)]
    ends = [*(seam.offset for seam in call.seams), len(call.text)]
    writers = [call.seams[0].before, *(seam.after for seam in call.seams)]
    starts = [0, *ends[:-1]]
    return [(who, call.text[begin:end]) for who, begin, end in zip(writers, starts, ends, strict=True)]
