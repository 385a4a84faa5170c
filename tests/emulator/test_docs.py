"""The page on testing one's own app keeps its word: its Python runs, its tests pass, its YAML loads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from openrouter_fallback.emulator import FAULTS, MODELS, Emulator

PAGE = (Path(__file__).parents[2] / "docs" / "testing-your-app.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r'^```(\w+)(?: title="([\w.]+)")?\n(.*?)^```$', PAGE, flags=re.MULTILINE | re.DOTALL)
FILES = {title: text for _, title, text in BLOCKS if title}
PYTHON = [text for language, title, text in BLOCKS if language == "python" and not title]
COMMANDS = [line for language, _, text in BLOCKS if language == "bash" for line in text.splitlines()]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for title, text in FILES.items():
        (tmp_path / title).write_text(text, encoding="utf-8")
    return tmp_path


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, cwd=project, input="", capture_output=True, text=True, check=False, timeout=100)


def test_the_tests_on_the_page_pass(project: Path) -> None:
    done = run(project, "pytest", "-q", "-p", "no:cacheprovider", "--strict-markers")
    assert done.returncode == 0, done.stdout
    assert f"{FILES['test_app.py'].count('def test_')} passed" in done.stdout


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_runs(number: int) -> None:
    exec(compile(PYTHON[number], f"testing-your-app.md, block {number + 1}", "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("command", [line for line in COMMANDS if line.startswith("python -m ")])
def test_the_command_serves(project: Path, command: str) -> None:
    done = run(project, *command.split()[2:])
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/api/v1\n", done.stdout)


def test_the_script_loads(project: Path) -> None:
    with Emulator(script=project / "outage.yaml") as emulator:
        assert emulator.count() == 0


def test_the_table_names_every_fault() -> None:
    cells = re.findall(r"^\| (`.*?) \|", PAGE, flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(FAULTS)


def test_the_number_of_models() -> None:
    assert "some 70 models" in PAGE
    assert 65 <= len(MODELS) <= 75
