"""The picture of calls: every request is in it, in words as in the drawing, and nothing in it is foreign code."""

from __future__ import annotations

import base64
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.picture import Picture

from ..support.browser import MISSING, browser, chromium

ALPHA, BETA, GAMMA = "demo/alpha", "demo/beta", "demo/gamma"


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(token_interval=0.005) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FallbackClient]:
    with FallbackClient([ALPHA, BETA, GAMMA], base_url=emulator.base_url, api_key=emulator.api_key) as made:
        yield made


class Seen(HTMLParser):
    """What a browser and a screen reader get."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.image: dict[str, str | None] = {}
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.image = dict(attrs)

    def handle_data(self, data: str) -> None:
        self.text += f" {data}"

    @property
    def drawn(self) -> str:
        """The texts of the drawing."""
        kind, _, data = str(self.image["src"]).partition(";base64,")
        assert kind == "data:image/svg+xml"
        root = ET.fromstring(base64.b64decode(data))
        assert not [one.tag for one in root.iter() if one.tag.endswith(("script", "image", "a"))]
        return " ".join("".join(one.itertext()) for one in root.iter() if one.tag.endswith("text"))


def shown(picture: Picture) -> Seen:
    return Seen(picture._repr_mimebundle_()["text/html"])


def without_seconds(picture: Picture) -> list[str]:
    return re.sub(r" after \d+\.\d\d s", "", str(picture)).splitlines()


def test_it_says_who_failed_who_went_on_where_and_who_answered(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("provider_overloaded", model=ALPHA, requests=(2, None))
    emulator.fault("cut", model=BETA, after_tokens=6)
    with Picture(client, "Two calls") as picture:
        client.chat("Hello")
        with client.stream("Hello again") as stream:
            text = "".join(piece.text for piece in stream)
        (seam,) = stream.completion.seams
    client.chat("After the block")

    assert without_seconds(picture) == [
        "Two calls.",
        f"Call 1: {ALPHA} answered.",
        f"Call 2: {ALPHA} failed (overloaded 503); {BETA} failed (bad_answer); "
        f"{GAMMA} went on at character {seam.offset} and answered.",
    ]
    assert 0 < seam.offset < len(text)
    assert [bar.outcome for bar in picture.bars] == ["answered", "failed", "failed", "answered"]
    assert all(0 <= bar.start <= bar.end for bar in picture.bars)
    last = picture.bars[-1]
    assert last.joined is not None
    assert last.start <= last.joined <= last.end

    seen = shown(picture)
    assert seen.image["alt"] == " ".join(str(picture).splitlines())
    for told in (ALPHA, BETA, GAMMA, "overloaded 503", "bad_answer", f"goes on at character {seam.offset}", "call 2"):
        assert told in seen.drawn
    assert seen.tags.count("tr") == 1 + len(picture.bars)
    assert f"went on at character {seam.offset}" in seen.text


def test_the_seam_is_at_the_request_that_went_on_not_at_one_of_the_same_model_that_failed_before(
    emulator: Emulator, client: FallbackClient
) -> None:
    emulator.fault("provider_overloaded", model=ALPHA)
    emulator.fault("provider_overloaded", model=BETA, requests=1)
    emulator.fault("cut", model=GAMMA, after_tokens=6)
    with Picture(client) as picture, client.stream("Hello") as stream:
        assert [*stream]
    # Whether alpha is asked once more before beta is the dice's.
    assert [bar.model for bar in picture.bars[:3]] == [ALPHA, BETA, GAMMA]
    assert (picture.bars[-1].model, picture.bars[-1].outcome) == (BETA, "answered")
    assert picture.bars[-1].seam is not None
    assert not any(bar.seam for bar in picture.bars[:-1])


async def test_of_asynchronous_calls_and_of_copies_of_the_client(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("provider_overloaded", model=BETA)
    copy = client.with_options(models=[BETA, GAMMA])
    with Picture(client) as picture:
        await copy.achat("Hello")
    await copy.aclose()
    assert without_seconds(picture) == [f"Call 1: {BETA} failed (overloaded 503); {GAMMA} answered."]


def test_a_call_that_fails_is_in_it_too(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("authentication")
    with Picture(client) as picture, pytest.raises(FallbackError):
        client.chat("Hello")
    assert without_seconds(picture) == [f"Call 1: {ALPHA} failed (auth 401)."]


def test_without_a_request_it_says_so(client: FallbackClient) -> None:
    with Picture(client) as picture:
        pass
    assert picture._repr_mimebundle_() == {"text/plain": "No request was made."}
    assert picture.svg() == ""


def test_of_the_emulators_logs_side_by_side(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("provider_overloaded", model=ALPHA)
    client.chat("Hello")
    emulator.wait_for(lambda log: log[-1].ended == "finished")
    first = emulator.log
    client.chat("Hello")
    emulator.wait_for(lambda log: log[-1].ended == "finished")
    picture = Picture.of_logs({"one": first, "two": emulator.log})
    assert str(picture).splitlines() == [
        f"one: {ALPHA} failed 1 time (provider_overloaded); {BETA} answered 1 time.",
        f"two: {ALPHA} failed 2 times (provider_overloaded); {BETA} answered 2 times.",
    ]
    assert [bar.call for bar in picture.bars] == [1, 2, 1, 2, 3, 4]
    assert "one" in shown(picture).drawn


def test_many_requests_have_a_legend_in_place_of_labels_and_a_bounded_alternative_text(client: FallbackClient) -> None:
    with Picture(client) as picture:
        for _ in range(30):
            client.chat("Hello")
    seen = shown(picture)
    assert seen.drawn.count("answered") == 1
    assert str(seen.image["alt"]).endswith("And 18 more.")
    assert seen.tags.count("tr") == 31


def test_hostile_names_are_names(emulator: Emulator, client: FallbackClient) -> None:
    hostile = "\"><img src=x onerror=alert(1)> & '"
    client.chat("Hello")
    (request,) = emulator.log
    seen = shown(Picture.of_logs({hostile: [replace(request, model=hostile, fault=hostile)]}, title=hostile))
    assert seen.tags.count("img") == 1
    assert str(seen.image["alt"]).count(hostile) == 4
    assert seen.drawn.count(hostile) == 4


@pytest.mark.skipif(chromium() is None, reason=MISSING)
def test_a_browser_shows_it_whole_and_asks_for_nothing(
    emulator: Emulator, client: FallbackClient, tmp_path: Path
) -> None:
    emulator.fault("cut", model=ALPHA, after_tokens=12)
    with Picture(client, "A stream") as picture, client.stream("Hello") as stream:
        assert [*stream]
    page = tmp_path / "page.html"
    html = picture._repr_mimebundle_()["text/html"]
    head = '<!doctype html><meta name="viewport" content="width=device-width">'
    page.write_text(f'{head}{html}<div style="overflow:auto">{picture.svg()}</div>')
    with browser(tmp_path / "chromium") as tab:
        for width in (1000, 390):
            tab.open(page, width)
            assert tab.said == []
            assert {url.partition(":")[0] for url in tab.asked} == {"file", "data"}
            assert tab.js("document.querySelector('img').naturalWidth") > 600
            assert tab.js("document.documentElement.scrollWidth") <= width
            cut_off = tab.js("""(() => {
              const box = document.querySelector('svg').getBoundingClientRect();
              return [...document.querySelectorAll('svg text')].filter(text => {
                const at = text.getBoundingClientRect(); return at.left < box.left || at.right > box.right;
              }).map(text => text.textContent); })()""")
            assert cut_off == []


def test_the_code_of_its_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = Path(__file__).parents[2] / "docs" / "notebooks.md"
    (block,) = re.findall(r"^```python\n(.*?)^```$", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    exec(compile(block, page.name, "exec"), {})
    printed = capsys.readouterr().out
    assert "A model fails in mid-stream.\nCall 1: anthropic/claude-sonnet-4.5 failed" in printed
    assert "openai/gpt-5.1 went on at character" in printed
    assert "what the server saw: anthropic/claude-sonnet-4.5 failed 1 time (cut); openai/gpt-5.1" in printed


def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "openrouter_fallback.picture")
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with pytest.raises(ImportError, match=r"openrouter-fallback\[report\]"):
        import openrouter_fallback.picture  # noqa: F401
