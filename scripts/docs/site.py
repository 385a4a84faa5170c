"""Hooks of mkdocs: other files of the repository become pages of the site, and drawings are inlined into pages."""

from __future__ import annotations

import json
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "benchmarks/*", "examples/*", "notebooks/*")
"""The files outside of docs/ to which pages may link."""
PLACE = "project"
"""The folder of the site for these files."""

_LINK = re.compile(r"\]\((?![a-z]+:|[#/])([^)#\s]+)")
_DRAWING = re.compile(r'<img [^>]*src="([^"]*/)?drawn/([a-z-]+)\.svg"[^>]*>')
_PICTURE = re.compile(r"<img [^>]*>")
_CELL = re.compile(r"<t[dh][^>]*>.*?</t[dh]>", re.DOTALL)
_DARK_SYSTEM = re.compile(r"@media\(prefers-color-scheme:dark\)\{svg(\{[^}]*\})\}")
_AS_IT_IS = {".md", ".png", ".svg"}
_NOT_SEARCHED = "---\nsearch: {exclude: true}\n---\n"
_LISTED = {".py": "python", ".yaml": "yaml", ".ipynb": "python", "": "text"}


def on_files(files: Files, *, config: MkDocsConfig, **kwargs: Any) -> Files:
    """Add the files outside of docs/: Markdown and pictures unchanged, code as a page with a listing."""
    for path in (path for pattern in BESIDE for path in sorted(ROOT.glob(pattern)) if path.is_file()):
        name = f"{PLACE}/{path.relative_to(ROOT).as_posix()}"
        if path.suffix in _AS_IT_IS:
            files.append(File.generated(config, name, content=path.read_bytes()))
        elif path.suffix in _LISTED:
            files.append(File.generated(config, f"{name}.md", content=_NOT_SEARCHED + _listing(path)))
    return files


def _listing(path: Path) -> str:
    """The page of a file. The page of a notebook has its texts, code and outputs in order."""
    text = path.read_text()
    if path.suffix != ".ipynb":
        return f"# {path.name}\n\n{_fenced(text, _LISTED[path.suffix])}"
    return "\n\n".join(part for cell in json.loads(text)["cells"] for part in _cell(cell))


def _cell(cell: dict[str, Any]) -> list[str]:
    source = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        return [source]
    return [_fenced(source, "python"), *map(_output, cell["outputs"])]


def _output(output: dict[str, Any]) -> str:
    """The output of a cell: printed text as text, a shown object in its richest form."""
    if output["output_type"] == "stream":
        return _fenced("".join(output["text"]), 'text title="output"')
    data = {kind: "".join(text) for kind, text in output["data"].items()}
    rich = data.get("text/html") or data.get("text/markdown")
    return rich or _fenced(data["text/plain"], 'text title="output"')


def _fenced(text: str, language: str) -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


def on_page_markdown(markdown: str, *, page: Page, files: Files, **kwargs: Any) -> str:
    """Replace links that are valid in the repository by links to the same files in the site."""
    here = page.file.src_uri
    source = here.removeprefix(f"{PLACE}/") if here.startswith(f"{PLACE}/") else f"docs/{here}"

    def led(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        inside = target.removeprefix("docs/")
        names = (inside,) if inside != target else (f"{PLACE}/{target}", f"{PLACE}/{target}.md")
        name = next((name for name in names if files.get_file_from_path(name)), None)
        return found[0] if name is None else f"]({posixpath.relpath(name, posixpath.dirname(here) or '.')}"

    return _LINK.sub(led, markdown)


def on_page_content(html: str, **kwargs: Any) -> str:
    """Inline the drawings, so that they have the page's colours, and their text can be read and searched.

    Pictures get a container that scrolls. A `|` of a regular expression in a table loses its escape.
    """
    html = _CELL.sub(lambda found: found[0].replace("\\|", "|"), html)
    html = _PICTURE.sub(lambda found: found[0] if _DRAWING.fullmatch(found[0]) else _scrolled(found[0]), html)
    return _DRAWING.sub(lambda found: _inlined((ROOT / "docs" / "drawn" / f"{found[2]}.svg").read_text()), html)


def _inlined(svg: str) -> str:
    # A reader may choose the site's scheme, whatever the system's is.
    return _scrolled(_DARK_SYSTEM.sub(r"[data-md-color-scheme=slate] svg\1", svg))


def _scrolled(picture: str) -> str:
    # tabindex: a picture that is too wide can be scrolled with the keyboard.
    return f'<span class="drawing" tabindex="0">{picture}</span>'
