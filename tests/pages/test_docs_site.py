"""The documentation as a site: what is made from the code is up to date, it builds strictly, and it needs no network.

What a browser must say of it is asked of a real one; without a Chromium those tests are skipped.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from html import unescape
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from threading import Thread

import pytest
from scripts.docs import decisions, failures, machines
from scripts.docs.__main__ import COMMAND, stale

from openrouter_fallback import FailureKind
from openrouter_fallback.failures.policy import SMART, Action
from openrouter_fallback.health import breaker

from ..support.browser import MISSING, Tab, browser, chromium

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "openrouter_fallback",
    "openrouter_fallback.emulator",
    "openrouter_fallback.drill",
    "langchain_openrouter_fallback",
    "llamaindex_openrouter_fallback",
)
NOTEBOOK = "project/notebooks/langchain.ipynb"
PAGES = ("index", "how-it-decides", "configuration", "failures", "langchain", "reference/client", NOTEBOOK)
needs_browser = pytest.mark.skipif(chromium() is None, reason=MISSING)
needs_mkdocs = pytest.mark.skipif(find_spec("mkdocs") is None, reason="mkdocs is not installed (dependency group docs)")


def test_what_is_made_from_the_code_is_up_to_date() -> None:
    assert list(stale()) == [], f"run: {COMMAND}"


def test_another_verdict_makes_another_drawing_and_another_table(monkeypatch: pytest.MonkeyPatch) -> None:
    drawing, table = decisions.failures_drawing(), failures.made()
    changed = {**SMART, FailureKind.CREDITS: replace(SMART[FailureKind.CREDITS], action=Action.RAISE)}
    monkeypatch.setattr(decisions, "SMART", changed)
    monkeypatch.setattr(failures, "SMART", changed)
    assert decisions.failures_drawing() != drawing
    assert failures.made() != table


def test_the_breaker_is_drawn_as_it_behaves(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = decisions.breaker_drawing()
    assert drawn == decisions.breaker_drawing()
    monkeypatch.setattr(breaker.Breaker, "release", lambda self, held: self.close())
    said = "a call ends in a way that is not the model's fault"
    assert machines.Step("half_open", said, "closed") in list(machines.breaker_steps())
    assert decisions.breaker_drawing() != drawn


def test_a_way_of_a_call_that_has_no_place_in_the_drawing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [*machines.call_steps(), machines.Step("answered", "woke", "calling")]
    monkeypatch.setattr(decisions, "call_steps", lambda: steps)
    with pytest.raises(ValueError, match="answered"):
        decisions.call_drawing()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    # Not --quiet: what is not said is not counted either, and everything passes.
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(directory)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    return directory


@needs_mkdocs
def test_a_notebook_is_shown_with_its_outputs_and_pictures(site: Path) -> None:
    page = (site / f"{NOTEBOOK}.html").read_text()
    assert "The tool ran for ['Paris']" in unescape(page)
    assert re.search(r'<img alt="An agent, two calls, three models[^"]+" src="data:image/svg\+xml;base64,', page)


@needs_mkdocs
def test_every_public_name_is_in_the_reference_and_says_what_it_is(site: Path) -> None:
    pages = "".join(path.read_text() for path in (site / "reference").glob("*.html"))
    parts = re.split(r'<h\d id="([\w.]+)" class="doc doc-heading">', pages)
    told = dict(zip(parts[1::2], parts[2::2], strict=True))
    public = {f"{name}.{one}" for name in PACKAGES for one in import_module(name).__all__ if one != "__version__"}
    assert public - set(told) == set()
    assert [name for name, text in told.items() if "<p>" not in text.partition("doc-contents")[2]] == []
    assert [name for name in told if "._" in name] == []


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    with serving(site) as url:
        yield url


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


# The contrast of an element's text with the ground behind it, by WCAG 2.2.
CONTRAST = """(() => {
  const light = ([r, g, b]) => [r, g, b].map(c => c / 255)
    .map(c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const canvas = Object.assign(document.createElement("canvas"), {width: 1, height: 1}).getContext("2d",
    {willReadFrequently: true});
  const over = colors => {
    canvas.clearRect(0, 0, 1, 1);
    for (const color of colors) { canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const grounds = e => e ? [...grounds(e.parentElement), getComputedStyle(e).backgroundColor] : [];
  const least = {};
  const texts = "p, li, td, a, code, pre span, h1, h2, svg.drawn text".split(", ").map(one => "article " + one);
  for (const e of document.querySelectorAll(texts)) {
    const style = getComputedStyle(e), behind = grounds(e);
    const text = e.namespaceURI.endsWith("svg") ? style.fill : style.color;
    const [a, b] = [light(over([...behind, text])), light(over(behind))].sort((a, b) => b - a);
    const ratio = (a + 0.05) / (b + 0.05);
    if (e.textContent.trim() && !e.matches(".headerlink") && !(least[e.tagName] <= ratio)) least[e.tagName] = ratio;
  }
  return least;
})()"""


@needs_mkdocs
@needs_browser
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_readable_on_its_ground_and_asks_nobody_else(served: str, tab: Tab, page: str, dark: bool) -> None:
    tab.open(f"{served}{page}.html", dark=dark)
    assert tab.js("document.body.getAttribute('data-md-color-scheme')") == ("slate" if dark else "default")
    faint = {what: ratio for what, ratio in tab.js(CONTRAST).items() if ratio < 4.5}
    assert faint == {}
    assert [url for url in tab.asked if not url.startswith((served, "data:"))] == []
    assert tab.said == []


@needs_mkdocs
@needs_browser
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fits_a_phone(served: str, tab: Tab, page: str) -> None:
    tab.open(f"{served}{page}.html", width=390)
    assert tab.js("document.documentElement.scrollWidth") <= 390


@needs_mkdocs
@needs_browser
@pytest.mark.parametrize("page", ["index", "do-no-harm", "configuration", "project/benchmarks/peers"])
def test_what_is_wider_than_a_phone_scrolls_with_a_hint(served: str, tab: Tab, page: str) -> None:
    tab.open(f"{served}{page}.html", width=390)
    tab.wait("document.querySelector('.scrolls') !== null")
    hint = tab.js("getComputedStyle(document.querySelector('.scrolls'), '::before').content")
    assert "scroll sideways" in hint
    pictures = "[...document.querySelectorAll('article :is(svg[role=img], img)')].map(one => one.clientWidth)"
    assert [width for width in tab.js(pictures) if width < 600] == []


@needs_mkdocs
@needs_browser
def test_wide_code_has_a_shadow_where_it_continues(served: str, tab: Tab) -> None:
    tab.open(f"{served}index.html", width=390)
    code = "[...document.querySelectorAll('article pre > code')].find(one => one.scrollWidth > one.clientWidth)"
    assert tab.js(f"getComputedStyle({code}).backgroundAttachment").startswith("local, local, scroll, scroll")


@needs_mkdocs
@needs_browser
def test_a_picture_follows_the_scheme_that_the_reader_chooses(served: str, tab: Tab) -> None:
    tab.open(f"{served}index.html", dark=False)
    ground = "getComputedStyle(document.querySelector('.drawing rect')).fill"
    light = tab.js(ground)
    tab.js("document.body.setAttribute('data-md-color-scheme', 'slate')")
    assert tab.js(ground) != light


@needs_mkdocs
def test_an_expression_in_a_table_is_shown_as_it_is(site: Path) -> None:
    page = unescape((site / "failures.html").read_text())
    assert "time_?d?_?out|deadline</code>" in page
    assert r"<code>\bname['\"`]?: string does not match pattern</code>" in page


@needs_mkdocs
@needs_browser
def test_the_search_finds_the_breaker(served: str, tab: Tab) -> None:
    tab.open(f"{served}index.html")
    tab.js("document.querySelector('[data-md-toggle=search]').click()")
    tab.js("document.querySelector('.md-search__input').focus()")
    tab.do("Input.insertText", text="breaker")
    tab.wait("document.querySelector('.md-search-result__item a') !== null")
    found = tab.js("[...document.querySelectorAll('.md-search-result__item a')].map(a => a.getAttribute('href'))")
    assert any("how-it-decides.html" in link for link in found), found
    assert [url for url in tab.asked if not url.startswith((served, "data:", "blob:"))] == []


@needs_mkdocs
@needs_browser
def test_a_drawing_is_a_part_of_the_page_and_says_what_it_shows(served: str, tab: Tab) -> None:
    tab.open(f"{served}how-it-decides.html", dark=True)
    nodes = tab.do("Accessibility.getFullAXTree")["nodes"]
    said = " ".join(node["name"]["value"] for node in nodes if node["role"]["value"] in ("image", "img"))
    assert "The states of one call" in said
    assert "from closed to open: 3 calls in a row fail" in said
