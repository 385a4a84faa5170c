"""Run the notebooks without an API key, against the emulator, and store their outputs:

.venv/bin/python -m scripts.docs.notebooks              # all of notebooks/
.venv/bin/python -m scripts.docs.notebooks langchain    # one notebook

Execution counts and metadata are not stored, because they would change with every run.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

ROOT = Path(__file__).parents[2]
RUNNER = ROOT / "tests" / "support" / "notebook.py"


def main(*names: str) -> None:
    """Write each notebook's outputs into its file."""
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        if not names or path.stem in names:
            keep_outputs(path)


def keep_outputs(path: Path) -> None:
    """Run one notebook in a kernel of this interpreter. Raises `CalledProcessError` if a cell raises."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENROUTER_")}
    with tempfile.TemporaryDirectory(prefix="nb") as folder:
        subprocess.run([sys.executable, str(RUNNER), str(path), folder], env=environment, check=True)
        ran = nbformat.read(Path(folder, "ran.ipynb"), as_version=4)
    notebook = nbformat.read(path, as_version=4)
    outputs = {cell.id: cell.outputs for cell in ran.cells if cell.cell_type == "code"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = outputs[cell.id]
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    nbformat.write(notebook, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
