"""Generate the pages and drawings of docs/ from the code:

.venv/bin/python -m scripts.docs            # writes the files that differ from the code
.venv/bin/python -m scripts.docs --check    # only lists these files, and exits with 1 if there are any
"""

from __future__ import annotations

import sys
from pathlib import Path

from scripts.docs import configuration, decisions, emulator, failures

DOCS = Path(__file__).parents[2] / "docs"
COMMAND = "python -m scripts.docs"


def made() -> dict[str, str]:
    """The text of every generated file, by its path below docs/."""
    return {**configuration.made(), **failures.made(), **emulator.made(), **decisions.made(DOCS)}


def stale() -> dict[str, str]:
    """The generated files whose text on disk differs."""
    files = {DOCS / name: text for name, text in made().items()}
    return {
        path.relative_to(DOCS).as_posix(): text
        for path, text in files.items()
        if not path.exists() or path.read_text() != text
    }


if __name__ == "__main__":
    wrong = stale()
    for name, text in wrong.items():
        print(f"docs/{name}" + (" is stale" if "--check" in sys.argv else ""))
        if "--check" not in sys.argv:
            (DOCS / name).parent.mkdir(exist_ok=True)
            (DOCS / name).write_text(text)
    if wrong and "--check" in sys.argv:
        sys.exit(f"run: {COMMAND}")
