"""The pages keep their word: every block of code on them is executed, every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.llamaindex import left_as_it_was
from ..support.pages import ROOT, Reader, pages

PAGES = pages()
WITHOUT_OUTPUT: set[str] = set()
"""A screen and a half. `docs/index.md` and the Quickstart have its snippets with their output."""


@pytest.fixture
def frameworks_as_they_were() -> Iterator[None]:
    with left_as_it_was():
        yield


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("frameworks_as_they_were")
@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
def test_every_block_of_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader = Reader(page, tmp_path, monkeypatch, capsys)
    reader.read()
    assert page in WITHOUT_OUTPUT or reader.shown_nowhere == [], "these lines' blocks print, and no output is below"


@pytest.mark.parametrize("page", PAGES)
def test_every_row_stands_in_its_table(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    assert re.findall(r"\n\n(\|[^\n]*)\n(?!\|[-:| ]+\|\n)", text) == []


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_points_to_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    prose = re.sub(r"`[^`\n]+`", "", text)  # a pattern in code may look like a link
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)[^)]*\)", prose)
    files = re.findall(r"`((?:benchmarks|examples|docs|tests|scripts|notebooks)/[\w./-]+|constraints\.txt)`", text)
    places = [(ROOT / page).parent / link for link in links] + [ROOT / file for file in files]
    assert [str(place) for place in places if not place.exists()] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```\nx = 1\n```", "nothing executes a block of no language"),
        ("```rust\nfn main() {}\n```", "nothing executes a block of rust"),
        ("Text.\n\n    x = 1\n", "an indented block"),
        ("```python\nassert 1 > 2\n```", "page.md:1: AssertionError"),
        ("```python\nprint(1)\n```\n\n```text\none\n```", "printed was\n1"),
        ("```text\nnobody said this\n```", "that prints nothing"),
        ("```yaml\nsettings: {min_sample: 3}\n```", "Did you mean 'min_samples'?"),
        ("```yaml\nfaults:\n  - kind: nothing\n```", "ScriptError"),
        ("```bash\nopenrouter-fallback route --taks coding\n```", "No such option"),
        ("```bash\nwget http://localhost\n```", "nothing checks the command"),
        ('```bash\npip install "openrouter-fallback[nothing]"\n```', "nothing"),
        ("```console\n$ openrouter-fallback models claude\nno such line\n```", "printed was"),
        ("<!-- not run: a reason -->\n\nText.", "right before its block"),
        ("<!-- not run: a reason -->\n```python\nx = (\n```", "was never closed"),
        ("<!-- not run: a reason -->\n```bash\nopenrouter-fallback chatt\n```", "page.md:2"),
    ],
)
def test_a_page_that_does_not_keep_its_word_is_found(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.md"
    page.write_text(text + "\n")
    with pytest.raises(AssertionError) as caught:
        Reader(str(page), tmp_path, monkeypatch, capsys).read()
    assert said in str(caught.value)
