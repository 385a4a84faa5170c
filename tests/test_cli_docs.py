"""The page about the command line keeps its word: its commands run, its script loads, its tables are complete."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from openrouter_fallback.emulator import MODELS, Emulator
from tests.support.commands import KEY, command, run
from tests.test_cli_terminal import COMMANDS

PAGE = (Path(__file__).parents[1] / "docs" / "cli.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL)
LINES = [shlex.split(line) for language, text in BLOCKS if language == "bash" for line in text.splitlines()]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a reader of the page stands: `init` has been typed, and the script is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outage.yaml").write_text(next(text for language, text in BLOCKS if language == "yaml"))
    return tmp_path


@pytest.mark.parametrize("line", LINES, ids=shlex.join)
def test_every_command_on_the_page_runs(line: list[str], directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *args = line
    if program == "export":
        assert args == ["OPENROUTER_API_KEY=sk-or-..."]
        return
    assert program == "openrouter-fallback"
    if args[0] == "emulate":
        emulated(args)
        return
    with Emulator(MODELS, api_key=KEY) as emulator:
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
        if args[0] != "init":
            assert run("init").exit_code == 0
        done = run(*args)
    assert done.exit_code == 0, done.stderr
    assert done.stdout


def emulated(args: list[str]) -> None:
    with subprocess.Popen(
        command(*args, "--port", "0"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("export OPENROUTER_BASE_URL=")
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=30)
    assert child.returncode == 0


def test_the_table_names_every_command() -> None:
    assert re.findall(r"^\| `(\w+)`", PAGE, re.MULTILINE) == list(COMMANDS)
