"""`benchmarks/peers`, as small as it can be, with peers that this environment has: it works, and tells what it saw."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("openai")
pytest.importorskip("langchain_openai")

pytestmark = pytest.mark.timeout(300)  # A dozen processes, each of which imports a peer.

ROOT = Path(__file__).parents[2]
OURS, SDK, CHAIN = "ours: FallbackClient", "openai SDK", "ChatOpenAI.with_fallbacks, tuned"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = tmp_path_factory.mktemp("peers") / "found.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "peers"), "--here", "--quick", "--calls", "2", "--rounds", "1"]
    command += [
        "--only",
        OURS,
        SDK,
        CHAIN,
        "--jobs",
        "2",
        "--scenarios",
        "healthy",
        "dead",
        "--classes",
        "empty answers",
    ]
    done = subprocess.run(
        [*command, "--json", str(file)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    assert all(name in done.stdout for name in written["peers"])
    return written


def test_a_healthy_model_costs_something(found: dict[str, Any]) -> None:
    for rows in found["overhead"].values():
        assert rows.keys() == {OURS, SDK, f"{SDK}, again"}
        assert all(row["median"] > 0 and row["ratio"] > 0 for row in rows.values())


def test_who_has_a_second_model_answers(found: dict[str, Any]) -> None:
    assert {name: row["answered"] for name, row in found["outages"]["dead"].items()} == {OURS: 1, CHAIN: 1, SDK: 0}


def test_cells_are_judged(found: dict[str, Any]) -> None:
    notes = {name: {cell["note"] for cell in rows["cells"]} for name, rows in found["faults"].items()}
    assert notes == {
        OURS: {"whole"},
        SDK: {"nothing, passed as an answer"},
        CHAIN: {"nothing, passed as an answer"},
    }


def test_the_pages_rows_are_the_measured_ones(found: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.peers import report

    page = report.markdown(found)
    assert all(f"\n| {name} |" in page for name in found["peers"])
    assert "failed" not in page
