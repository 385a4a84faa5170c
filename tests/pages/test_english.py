"""Pages, help texts and messages say what happens in the field's own words.

A model is called, not asked; its circuit is open, or it is skipped; it fails, and the next one continues. Names of
classes that no longer exist, and turns of phrase that need a second reading, appear nowhere.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..support.pages import ROOT, pages

SAY_INSTEAD: dict[str, str] = {
    # Models and calls.
    r"nobody|whoever|somebody(?! else's)": "name the model, the caller or the process",
    r"(?:is|are|was|were|be|been|may be|not) asked\b(?! for)": "called",
    r"asks? (?:a|the|each|no|real|which|another|the next) models?": "call",
    r"(?:is|are|was|were|be|been) left out|leaves? (?:a |the )?models? out": "its circuit is open, it is skipped",
    r"goes on (?:from|with|where|in mid|[.;:])|gone on with|go on from": "continues",
    r"(?:is|are|was|were) (?:not )?waited for": "the call waits for",
    r"who (?:answered|served)": "the model that answered",
    r"\w+ (?:sees|see) to\b": "name the object that does it",
    r"dies in (?:mid|the middle)|has died|dead one|models? dies?": "fails",
    r"keeps failing and": "its circuit is open",
    r"by itself|by themselves": "alone, or nothing",
    r"takes? over when": "is called when",
    # Where something is.
    r"stands? (?:in|for|first|left|on|one|behind|before|where|there|once|at)\b|there stands?": "is",
    r"here stands": "puts",
    # Who says what.
    r"is told|are told|it tells\b|that tells\b|tells? no\b": "is reported, is known",
    r"the nearest (?:one|word) (?:holds|wins)": "an ordered list: the first of these",
    r"what (?:one has learnt|came of|has passed|is told|comes back|is said of)": "name the object",
    r"all the same for\b|as it is asked|whatever can be given": "name the object",
    # Money.
    r"too dear|dearer": "more expensive",
    # Left columns of the style guide.
    r"another attempt was faster: what has passed": "record the time waited so far as a lower bound",
    r"it is open still if": "keeps the connection if",
    r"of what several tell": "if several processes report one breaker, the last report wins",
    r"nothing waits while there is a candidate": "a call moves to the next untried model immediately",
    r"chain of models behind one object\. the": "openrouter-fallback puts a chain of models behind one object",
}
"""A pattern, compared without case, and what to write instead."""

OLD_NAMES = (
    *("Asked", "Inline", "Mailbox", "Flights", "Alarm", "GiveUp", "Ticket", "Standing", "SeamLost", "Splice"),
    *("Purse", "Till", "News", "Heard", "Outbox", "Inbox"),
)
"""Classes that were renamed: as code on a page they lead nowhere."""

OTHERS_WORDS = re.compile(
    r"^```.*?^```|`[^`\n]+`|\]\([^)]*\)|<!--.*?-->|<a id=.*?>|^\| .*\(https://github.*$", re.MULTILINE | re.DOTALL
)
"""Code, links, and the words of other servers."""

SOURCES = sorted(path.name for path in (ROOT / "src").iterdir() if (path / "__init__.py").exists())
"""The packages; beside their texts the help of every command is read."""

HOUSE_SENTENCES = (
    "Another attempt was faster: what has passed is the least",
    "It is open still if that was read to its end",
    "Of what several tell of one breaker, the store's order",
    "Nothing waits while there is a candidate that was not tried",
    "Here stands a chain of models",
)
"""Sentences that were written anew. They are nowhere: not in docstrings and comments either."""


def found(text: str) -> list[str]:
    """The turns of phrase in a text, with what to say instead."""
    plain = re.sub(r"\s+", " ", text)
    return [
        f"{match[0]!r}: say {instead!r} in ...{plain[max(0, match.start() - 40) : match.end() + 40]}..."
        for pattern, instead in SAY_INSTEAD.items()
        for match in re.finditer(rf"\b(?:{pattern})", plain, re.IGNORECASE)
    ]


def prose(page: str) -> str:
    """The page without code, links, anchors and the words of other servers."""
    return OTHERS_WORDS.sub("`x`", (ROOT / page).read_text(encoding="utf-8"))


REFERENCE = sorted(page.relative_to(ROOT).as_posix() for page in (ROOT / "docs" / "reference").glob("*.md"))
ALL_PAGES = [*pages(), *REFERENCE, "SECURITY.md", "CHANGELOG.md", "benchmarks/README.md"]


@pytest.mark.parametrize("page", ALL_PAGES)
def test_a_page_is_plain_english(page: str) -> None:
    assert found(prose(page)) == []


EXAMPLES = sorted([*(ROOT / "examples").glob("*.py"), *(ROOT / "examples").glob("*.yaml")])


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_plain_english(example: Path) -> None:
    assert found(example.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("notebook", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_is_plain_english(notebook: Path) -> None:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert len(text) > 2000
    assert found(OTHERS_WORDS.sub("`x`", text)) == []
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert found("\n".join([*code, *("".join(output.get("text", ())) for output in outputs)])) == []


def test_no_page_names_a_class_that_was_renamed() -> None:
    named = re.compile(rf"`(?:\w+\.)*({'|'.join(OLD_NAMES)})(?:\(\))?`")
    assert [(page, match[0]) for page in ALL_PAGES for match in named.finditer((ROOT / page).read_text())] == []


def texts(path: Path) -> Iterator[str]:
    """The texts in a file: literals with a blank in them, without docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(text)) if " " in text and id(node) not in docstrings:
                yield text


@pytest.mark.parametrize("package", SOURCES)
def test_a_message_is_plain_english(package: str) -> None:
    said = [text for file in sorted((ROOT / "src" / package).rglob("*.py")) for text in texts(file)]
    assert said
    assert [hit for text in said for hit in found(text)] == []


def _documented(name: str) -> Iterator[tuple[str, str]]:
    """The docstrings of the public names of a package, which the reference shows."""
    package = importlib.import_module(name)
    for public in package.__all__:
        one = getattr(package, public)
        parts = [(public, one)]
        if isinstance(one, type) and one.__module__.partition(".")[0] in SOURCES:
            parts += [(f"{public}.{part}", value) for part, value in vars(one).items() if not part.startswith("_")]
        yield from ((where, text) for where, value in parts if (text := inspect.getdoc(value)))


@pytest.mark.parametrize("package", [*SOURCES, "openrouter_fallback.emulator", "openrouter_fallback.drill"])
def test_a_public_docstring_is_plain_english(package: str) -> None:
    said = list(_documented(package))
    assert said
    assert [(where, hit) for where, text in said for hit in found(text)] == []


def test_sentences_that_were_written_anew_are_nowhere() -> None:
    files = [path for folder in ("src", "docs", "examples", "scripts") for path in (ROOT / folder).rglob("*")]
    read = [path for path in [*files, *ROOT.glob("*.md")] if path.suffix in {".py", ".md", ".yaml", ".j2", ".js"}]
    assert len(read) > 300
    plain = {path: re.sub(r"[\s#]+", " ", path.read_text(encoding="utf-8")).lower() for path in read}
    assert [(path, one) for path, text in plain.items() for one in HOUSE_SENTENCES if one.lower() in text] == []


def test_the_help_of_every_command_is_plain_english() -> None:
    main = pytest.importorskip("typer.main", reason="the command line needs typer")
    from openrouter_fallback.cli.app import app

    group = main.get_command(app)
    commands = [group, *group.commands.values()]
    said = [text for one in commands for text in (one.help, one.short_help) if text]
    said += [option.help for one in commands for option in one.params if getattr(option, "help", None)]
    assert len(said) > 40
    assert [hit for text in said for hit in found(text)] == []


@pytest.mark.parametrize("text", ["The dead one is asked first.", "Nobody answers.", "Where it stands in\nthe chain"])
def test_a_turn_of_phrase_is_found(text: str) -> None:
    assert found(text) != []
