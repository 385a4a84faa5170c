"""The README keeps its word: its Python runs, its YAML loads, its commands exist, its tables agree with the code."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback import FailureKind, load_config
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.pytest_plugin import openrouter_emulator
from openrouter_fallback.policy import SMART, Action

__all__ = ["openrouter_emulator"]

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)
PYTHON = [text for language, text in BLOCKS if language == "python"]
YAML = [text for language, text in BLOCKS if language == "yaml"]
COMMANDS = [
    shlex.split(line, comments=True) for language, text in BLOCKS if language == "bash" for line in text.splitlines()
]
COMMAND = Path(sys.executable).with_name("openrouter-fallback")
LINKS = re.findall(r"\]\((?!https?://)([^)]+)\)", README)


@pytest.fixture
def environment(openrouter_emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A user's: the key and the address of OpenRouter in it."""
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_emulator.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_emulator.base_url)
    return dict(os.environ)


@pytest.mark.parametrize("number", range(len(PYTHON)))
@pytest.mark.usefixtures("environment")
def test_python_runs(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fallback.yaml").write_text(YAML[0])
    monkeypatch.chdir(tmp_path)

    exec(compile(PYTHON[number], f"README.md, Python block {number + 1}", "exec"), {"__name__": "__main__"})

    assert capsys.readouterr().out or "assert" in PYTHON[number]


def test_the_configuration_loads(tmp_path: Path) -> None:
    assert len(YAML) == 1
    path = tmp_path / "fallback.yaml"
    path.write_text(YAML[0])

    config = load_config(path)

    assert config.default_chain[0] == "anthropic/claude-sonnet-4.5"
    assert config.settings.on_failure == {FailureKind.CONTENT_POLICY: "next"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_is_there(command: list[str], environment: dict[str, str]) -> None:
    program, *arguments = command
    match Path(program).name, arguments:
        case "export", [assignment]:
            assert assignment.startswith("OPENROUTER_API_KEY=sk-or-")
        case "make", [target]:
            # Not asked of make itself: CI has none.
            assert re.search(rf"^{target}:.* ## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        case "python", ["-m", "pytest", path]:
            assert (ROOT / path).is_file()
        case "python", [_]:
            assert " answered" in run([sys.executable, *arguments], environment)
        case "openrouter-fallback", ["chat", *_]:
            assert " answers: " in run([str(COMMAND), *arguments], environment)
        case "openrouter-fallback", _:
            assert "claude" in run([str(COMMAND), *arguments], environment)
        case _:
            pytest.fail("nothing checks this command")


def test_the_table_of_failures_agrees_with_the_policy() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| .+ \| (.+) \|$", README, flags=re.MULTILINE)
    told = {FailureKind(kind): what for kinds, what in rows for kind in re.findall("[a-z_]+", kinds)}
    assert set(told) == set(FailureKind)
    starts: dict[Action, str] = {
        Action.NEXT: "next model",
        Action.RETRY: "the same model once more",
        Action.RECONNECT: "after a second the same model once more",
        Action.AFFORDABLE: "models that may cost less",
        Action.OTHER_ACCOUNT: "other endpoints",
        Action.QUEUE: "wait",
        Action.RAISE: "raise at once",
    }
    wrong: list[Any] = [
        (kind, what)
        for kind, what in told.items()
        if kind is not FailureKind.CANCELLED and not what.startswith(starts[SMART[kind].action])
    ]
    assert wrong == []


def test_what_the_readme_points_to_is_there() -> None:
    files = {name for name in re.findall(r"`([a-z_]+(?:\.py|/))`", README) if name != "fallback.yaml"}
    missing = [name for name in files if not (ROOT / "src" / "openrouter_fallback" / name).exists()]
    assert missing + [link for link in LINKS if not (ROOT / link).exists()] == []


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
