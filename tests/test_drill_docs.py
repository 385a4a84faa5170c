"""The page about drills keeps its word: its commands and its Python run, its scenario loads, its keys are all told."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from openrouter_fallback.drill import VERDICTS, Expect, Workload, read_scenario
from tests.support.commands import run

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "drills.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
QUICK = ["--scenario", "overloaded"]


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the page stands."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    (tmp_path / "fallback.yaml").write_text((ROOT / "examples" / "fallback.yaml").read_text())
    (tmp_path / "evening-rush.yaml").write_text(next(text for language, text in BLOCKS if language == "yaml"))
    return tmp_path


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_on_the_page_runs(line: str, directory: Path) -> None:
    program, *args = shlex.split(line)
    if program == "pip":
        assert args == ["install", "openrouter-fallback[cli,emulator,report]"]
        return
    assert program == "openrouter-fallback"
    # Whole drills are run by other tests; here it is the options that must be right.
    done = run(*args, *([] if "--scenario" in args or "--list" in args else QUICK))
    assert done.exit_code == 0, done.stdout + done.stderr
    for report in re.findall(r"--report (\S+)", line):
        assert (directory / report).read_text().startswith("<!DOCTYPE html>")


def test_its_python_runs(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (text for language, text in BLOCKS if language == "python")
    exec(compile(code, "drills.md", "exec"), {})
    said = capsys.readouterr().out
    assert said.startswith("passed [('overloaded', ")
    assert said.strip().endswith("drill.html")


def test_every_key_of_a_scenario_is_told(directory: Path) -> None:
    scenario = read_scenario("evening-rush.yaml")
    assert scenario.workload.surface == "core"
    keys = {*Workload.model_fields, *Expect.model_fields}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", PAGE)] == []
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(VERDICTS)
