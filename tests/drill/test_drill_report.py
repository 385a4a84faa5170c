"""The report: one file that needs nothing else, tells the truth, harms nobody, and can be read by everybody.

What a browser must say of it is asked of a real one; without a Chromium those tests are skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback import load_config
from openrouter_fallback.drill import DrillResult, Run, Scenario, ScenarioResult, Workload, run_drill, shipped
from openrouter_fallback.drill.page import page, write_page
from openrouter_fallback.emulator import Emulator

from ..support.browser import MISSING, Tab, browser, chromium
from .test_drill import few

EXAMPLE = Path(__file__).parents[2] / "examples" / "fallback.yaml"
NAMED = {scenario.name: scenario for scenario in shipped()}
HOSTILE = "</pre></details><script>document.title='owned'</script><img src=x onerror=alert(1)>\x1b[31m\u202e&amp;"
needs_browser = pytest.mark.skipif(chromium() is None, reason=MISSING)


@pytest.fixture(scope="module")
def drilled() -> DrillResult:
    """A stream with a seam, an agent, and an answer that says evil things in place of a body."""
    hostile = Scenario(
        name="hostile",
        title=f"hostile {HOSTILE}",
        description=HOSTILE,
        faults=[_fault(message=HOSTILE)],
        workload=Workload(calls=4),
    )
    chosen = [few(NAMED["stalled"]), few(NAMED["agent"]), few(NAMED["dead"]), hostile]
    result = run_drill(load_config(EXAMPLE), chosen)
    last = result.scenarios[-1]
    calls = tuple(replace(call, text=HOSTILE, message=HOSTILE) for call in last.with_failover.calls)
    return replace(
        result,
        scenarios=(*result.scenarios[:-1], replace(last, with_failover=replace(last.with_failover, calls=calls))),
    )


def _fault(**details: Any) -> Any:
    fault = NAMED["overloaded"].faults[0]
    return type(fault).model_validate({**fault.model_dump(exclude_unset=True), **details})


@pytest.fixture(scope="module")
def written(drilled: DrillResult, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "drill.html"
    return write_page(drilled, file, command=f"openrouter-fallback drill --config '{HOSTILE}'")


class Elements(HTMLParser):
    """All elements with their attributes, and all ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    handle_startendtag = handle_starttag

    def ids(self) -> list[str | None]:
        return [attrs["id"] for _, attrs in self.found if "id" in attrs]

    def links(self) -> set[str | None]:
        return {value for _, attrs in self.found for name, value in attrs.items() if name in ("href", "xlink:href")}


@pytest.fixture(scope="module")
def elements(written: Path) -> Elements:
    return Elements(written.read_text())


def test_it_needs_nothing_else(elements: Elements, written: Path) -> None:
    assert {tag for tag, _ in elements.found} & {"script", "img", "iframe", "link", "object", "embed", "form"} == set()
    assert [attrs for _, attrs in elements.found if any(name.startswith("on") or name == "src" for name in attrs)] == []
    assert all(str(link).startswith("#") for link in elements.links())
    namespaces = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert set(re.findall(r"https?://[^\s\"'<>]+", written.read_text())) <= namespaces


def test_its_policy_forbids_everything_but_its_own_style(elements: Elements) -> None:
    (policy,) = (attrs["content"] for tag, attrs in elements.found if attrs.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy


def test_every_link_leads_somewhere_and_every_id_is_one(elements: Elements) -> None:
    ids = elements.ids()
    assert len(ids) == len(set(ids))
    assert {str(link)[1:] for link in elements.links()} <= set(ids)
    assert {f"s1-{n}" for n in range(1, 5)} <= set(ids)


def test_hostile_texts_are_texts(written: Path) -> None:
    said = written.read_text()
    assert "<script" not in said
    assert "&lt;script&gt;document.title" in said
    assert "onerror=alert(1)&gt;" in said
    assert "\x1b" not in said
    assert "&amp;amp;" in said


def test_a_long_text_is_bounded(drilled: DrillResult) -> None:
    first = drilled.scenarios[0]
    loud = replace(first.with_failover.calls[0], text="x" * 100_000, seams=())
    said = page(replace(drilled, scenarios=(replace(first, with_failover=Run((loud,))),)))
    assert "and 98000 characters more" in said
    assert "x" * 3000 not in said


def test_the_verdict_stands_first(drilled: DrillResult) -> None:
    body = page(drilled).partition("<body>")[2]
    assert body.index("Passed: every outage was survived") < body.index("At a glance")
    empty = Run(
        tuple(replace(call, outcome="unanswered", model=None) for call in drilled.scenarios[0].with_failover.calls)
    )
    failed = page(replace(drilled, scenarios=(replace(drilled.scenarios[0], with_failover=empty),)))
    assert "Failed: callers were left without an answer" in failed
    assert "4 of 4 calls got no answer" in failed


def test_it_holds_no_key_and_no_address(tmp_path: Path) -> None:
    secret = "sk-or-v1-secret-of-the-user"
    config = tmp_path / "own.yaml"
    config.write_text(
        "fallback:\n  default_chain: [vllm:llama, b/b]\n  endpoints:\n    vllm:\n"
        f"      base_url: https://vllm.example/v1\n      headers: {{X-Key: {secret}}}\n"
        f"  models:\n    b/b: {{max_retries: 1, params: {{user: {secret}}}}}\n  settings: {{min_samples: 2}}\n"
    )
    said = page(run_drill(load_config(config), [few(NAMED["rate-limited"])]))
    assert "min_samples: 2" in said
    assert "max_retries: 1" in said
    assert "secret" not in said
    assert "vllm.example" not in said
    assert Emulator().api_key not in said


def test_without_a_name_it_is_a_new_temporary_file(
    drilled: DrillResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    first, second = write_page(drilled), write_page(drilled)
    assert first.parent == second.parent == tmp_path
    assert first != second


def test_each_chart_stands_beside_its_tables(elements: Elements) -> None:
    charts = [attrs for _, attrs in elements.found if attrs.get("role") == "img"]
    assert len(charts) == 2 * (1 + 5)
    assert all("figures" in str(attrs["aria-label"]) for attrs in charts)
    svgs = [attrs for tag, attrs in elements.found if tag == "svg"]
    assert all(attrs.get("aria-hidden") == "true" for attrs in svgs)
    assert len(svgs) == len(charts)
    assert all(attrs.get("scope") for tag, attrs in elements.found if tag == "th")
    assert sum(tag == "caption" for tag, _ in elements.found) == sum(tag == "table" for tag, _ in elements.found)


# In a browser


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    if chromium() is None:
        pytest.skip(MISSING)
    with browser(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


def contrasts(tab: Tab) -> list[Any]:
    """Texts whose contrast to what is behind them is below 4.5 (WCAG 2, AA), with the figure."""
    found: list[Any] = tab.js("""(() => {
      const rgb = s => s.match(/[\\d.]+/g).map(Number);
      const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
        .reduce((sum, v, n) => sum + v * [.2126, .7152, .0722][n], 0);
      const behind = e => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
        if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
      const low = [];
      for (const e of document.querySelectorAll('body *')) {
        const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
        if (!own || !e.getClientRects().length) continue;
        const style = getComputedStyle(e), svg = e instanceof SVGElement;
        const [a, b] = [light(rgb(svg ? style.fill : style.color)), light(behind(e))].sort((x, y) => y - x);
        const ratio = (a + .05) / (b + .05);
        if (ratio < 4.5) low.push([e.tagName, e.className.baseVal ?? e.className, e.textContent.slice(0, 30), ratio]);
      }
      return low;
    })()""")
    return found


SCREENS = [(1100, False), (1100, True), (390, False), (390, True)]


@needs_browser
@pytest.mark.parametrize(("width", "dark"), SCREENS, ids=["wide", "wide dark", "phone", "phone dark"])
def test_a_browser_shows_it_whole_and_readable(tab: Tab, written: Path, width: int, dark: bool, tmp_path: Path) -> None:
    tab.open(written, width, dark=dark)
    assert tab.said == []
    assert tab.asked == [written.as_uri()]
    assert tab.js("document.documentElement.scrollWidth") <= width
    assert tab.js("document.title") == "Fire drill: passed"
    wide, narrow = tab.js("['.wide svg', '.narrow svg'].map(s => document.querySelector(s).getClientRects().length)")
    assert (bool(wide), bool(narrow)) == (width > 600, width < 600)
    hint = tab.js("getComputedStyle(document.querySelector('.scroll'), '::before').content")
    assert ("scroll sideways" in hint) == (width < 600)
    assert contrasts(tab) == []
    shot = tab.picture(tmp_path / "shot.png", height=900).read_bytes()
    tab.open(written, width, dark=not dark)
    assert tab.picture(tmp_path / "other.png", height=900).read_bytes() != shot


@needs_browser
def test_labels_of_charts_are_not_cut_off(tab: Tab, written: Path) -> None:
    for width in (1100, 390):
        tab.open(written, width)
        cut = tab.js("""[...document.querySelectorAll('svg')].filter(s => s.getClientRects().length).flatMap(svg => {
          const box = svg.getBoundingClientRect();
          return [...svg.querySelectorAll('text')].filter(t => { const r = t.getBoundingClientRect();
            return r.width && (r.left < box.left - 1 || r.right > box.right + 1); }).map(t => t.textContent); })""")
        assert cut == []


@needs_browser
def test_the_marks_of_a_chart_lead_to_their_call_which_opens(tab: Tab, written: Path) -> None:
    tab.open(written)
    seen = "document.querySelector('#s1-1').checkVisibility()"
    assert tab.js(seen) is False
    tab.js("document.querySelector('.wide a[href=\"#s1-1\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    assert tab.js("location.hash") == "#s1-1"
    assert tab.js(seen) is True


@needs_browser
def test_a_keyboard_reaches_the_attempts_of_a_call(tab: Tab, written: Path) -> None:
    tab.open(written)
    tab.press("Tab")
    assert tab.js("document.activeElement.className") == "skip"
    tab.press("Enter")
    assert tab.js("document.activeElement.id") == "scenarios"
    stops = []
    for _ in range(200):
        tab.press("Tab")
        stops.append(tab.js("document.activeElement.tagName"))
        if tab.js("document.activeElement.textContent").startswith("Call 1, stream"):
            break
        if stops[-1] == "SUMMARY" and "calls with failover" in tab.js("document.activeElement.textContent"):
            tab.press("Enter")
    assert "a" not in stops, "the marks of a chart are no stops: its list of calls is the way"
    tab.press("Enter")
    assert tab.js("document.activeElement.parentElement.open") is True
    outline = tab.js("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@needs_browser
def test_a_screen_reader_hears_names_tables_and_pictures(tab: Tab, written: Path) -> None:
    tab.open(written)
    nodes = [n for n in tab.do("Accessibility.getFullAXTree")["nodes"] if not n.get("ignored")]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "")) for node in nodes]
    roles = [role for role, _ in named]
    assert {"main", "banner", "contentinfo", "heading", "table", "figure"} <= set(roles)
    assert [name for role, name in named if role in ("region", "image", "img", "table", "link") and not name] == []
    levels = [
        next(prop["value"]["value"] for prop in node["properties"] if prop["name"] == "level")
        for node in nodes
        if node["role"]["value"] == "heading"
    ]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in pairwise(levels))


@needs_browser
def test_hostile_texts_run_nothing(tab: Tab, written: Path) -> None:
    tab.open(written)
    tab.js("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert tab.js("document.title") == "Fire drill: passed"
    assert tab.js("document.scripts.length + document.images.length") == 0
    assert tab.said == []
    assert "<script>document.title='owned'</script>" in tab.js("document.body.innerText")


def test_a_legend_has_what_is_in_its_chart_and_nothing_else(drilled: DrillResult) -> None:
    sections = re.findall(r'<section id="s\d+".*?</section>', page(drilled), re.DOTALL)
    legends = {
        one.scenario.name: re.findall(
            r"</span>([^<]+)</li>", section.partition('<ul class="key">')[2].partition("</ul>")[0]
        )
        for one, section in zip(drilled.results, sections, strict=True)
    }
    assert legends["healthy"] == ["answered"]
    assert "seam: continues another model’s text" in legends["stalled"]
    assert {"failed", "probe that failed", "circuit open"} <= set(legends["dead"])
    assert [name for name, said in legends.items() if "cooldown" in said] == []


def test_a_breaker_has_its_history(drilled: DrillResult) -> None:
    dead = next(one for one in drilled.scenarios if one.scenario.name == "dead").with_failover
    told = ", ".join(f"{change.state.replace('_', '-')} at {change.at:.2f} s" for change in dead.changes[3:])
    assert "open at" in told
    assert f"<td>closed, {told}</td>" in page(drilled)


def test_the_figures_are_those_of_the_result(drilled: DrillResult) -> None:
    one: ScenarioResult = drilled.scenarios[0]
    said = re.sub(r"<[^>]+>", " ", page(drilled))
    cells = " ".join(said.split())
    assert f"with failover {len(one.with_failover.calls)} {one.with_failover.answered} 0" in cells
    assert f"without {len(one.without_failover.calls)} 0 0" in cells
    assert all(f"Call {call.number}, {call.mode}: {call.outcome}" in cells for call in one.with_failover.calls)


def test_amounts_of_a_column_have_the_same_decimals(drilled: DrillResult) -> None:
    tables = re.findall(r"<table>.*?</table>", page(drilled), re.DOTALL)
    amounts = []
    for table in tables:
        heads = re.findall(r"<th scope=\"col\"[^>]*>([^<]*)</th>", table)
        if "USD" not in heads:
            continue
        rows = [
            re.findall(r"<t[hd]\b[^>]*>(.*?)</t[hd]>", row)
            for row in re.findall(r"<tr>(?!<th scope=.col)(.*?)</tr>", table)
        ]
        amounts += [row[heads.index("USD")] for row in rows if len(row) == len(heads)]
    assert len(amounts) > 20
    assert {len(amount.partition(".")[2]) for amount in amounts} == {6}
