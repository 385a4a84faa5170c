"""`benchmarks/hostile.py`, as small as it can be: it makes its bodies, and tells what came of them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HOSTILE = Path(__file__).parents[2] / "benchmarks" / "hostile.py"


def test_it_measures_bodies_and_tokens() -> None:
    command = [sys.executable, "-W", "error", str(HOSTILE), "--quick", "[[[", "honest", "tokens"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in done.stdout.splitlines() if line]
    came = {(row[0], row[3]): row[4] for row in rows if len(row) == 9 and row[3] in ("achat", "astream")}
    assert set(came.values()) == {"bad_answer", "answered"}
    assert len(came) == 4
    for name, *figures in (row for row in rows if row[0] in ("achat", "astream")):
        assert all(float(figure.replace(",", "")) > 0 for figure in figures), name
    assert [row[0] for row in rows][-2:] == ["achat", "astream"]
