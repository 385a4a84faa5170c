"""What mkdocs is told beyond `mkdocs.yml`: the repository's other files are pages, drawings a part of theirs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "benchmarks/*", "examples/*")
"""What pages may link to outside of docs/."""
PLACE = "project"

_OUTSIDE = re.compile(r"\]\(\.\./((?:\.\./)*)([^)#\s]+)")
_INSIDE = re.compile(r"\]\((?![a-z]+:|#)docs/")
_DRAWING = re.compile(r'<img [^>]*src="([^"]*/)?drawn/([a-z-]+)\.svg"[^>]*>')
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".ipynb": "json", "": "text"}


def on_files(files: Files, *, config: MkDocsConfig, **kwargs: Any) -> Files:
    """Put what stands beside docs/ below `project/`: Markdown and pictures as they are, anything else as a listing."""
    for pattern in BESIDE:
        for path in sorted(ROOT.glob(pattern)):
            name = f"{PLACE}/{path.relative_to(ROOT).as_posix()}"
            if path.suffix in (".md", ".png", ".svg"):
                content = path.read_bytes()
                if path.suffix == ".md":
                    content = _INSIDE.sub("](../" * (name.count("/") - 1) + "](../", content.decode()).encode()
                files.append(File.generated(config, name, content=content))
            elif path.suffix in _LANGUAGES:
                text = f"# {path.name}\n\n```{_LANGUAGES[path.suffix]}\n{path.read_text().rstrip()}\n```\n"
                files.append(File.generated(config, f"{name}.md", content=text))
    return files


def on_page_markdown(markdown: str, *, files: Files, page: Any, **kwargs: Any) -> str:
    """Lead `../examples/x.py` to where that file is put."""
    return _OUTSIDE.sub(lambda found: f"]({found[1]}{_placed(found[2], files)}", markdown)


def _placed(path: str, files: Files) -> str:
    names = (f"{PLACE}/{path}", f"{PLACE}/{path}.md")
    return next((name for name in names if files.get_file_from_path(name)), f"../{path}")


def on_page_content(html: str, **kwargs: Any) -> str:
    """Drawings stand in the page itself: so they have its colours, and their text can be read and found."""
    return _DRAWING.sub(lambda found: _inlined((ROOT / "docs" / "drawn" / f"{found[2]}.svg").read_text()), html)


def _inlined(svg: str) -> str:
    # Scrolled by keyboard too, where it does not fit.
    return f'<span class="drawing" tabindex="0">{svg}</span>'
