"""One way to find a configuration, for every command."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrouter_fallback import config_schema
from openrouter_fallback.cli.commands.calls import CHAIN
from openrouter_fallback.emulator import Emulator

from ..support.commands import KEY, run

A, B, C, D = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5", "deepseek/deepseek-chat", "own/model"
ENV = "OPENROUTER_FALLBACK_CONFIG"
HERE = "Configuration: fallback.yaml (in this directory)"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """With one configuration in the working directory, one for the variable and one for the option."""
    server.clear()
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
    monkeypatch.delenv(ENV, raising=False)
    monkeypatch.chdir(tmp_path)
    for file, model in (("fallback.yaml", A), ("variable.yaml", B), ("option.yaml", C)):
        Path(file).write_text(f"fallback: {{default_chain: [{model}]}}\n")
    return server


# The variable, the options -> the chain, and what stderr says.
FOUND = (
    (None, (), A, HERE),
    ("", (), A, HERE),
    ("variable.yaml", (), B, f"Configuration: variable.yaml ({ENV})"),
    ("variable.yaml", ("-c", "option.yaml"), C, "Configuration: option.yaml (as given)"),
    (None, ("-m", D), D, HERE),
)


@pytest.mark.parametrize(("variable", "options", "model", "said"), FOUND)
def test_the_first_that_is_there_is_taken_and_named(
    emulator: Emulator, variable: str | None, options: tuple[str, ...], model: str, said: str
) -> None:
    done = run("route", *options, "--json", env={ENV: variable})
    assert json.loads(done.stdout)["candidates"] == [model]
    assert done.stderr.splitlines() == [said]


COMMANDS = (
    ("check", "--offline"),
    ("models", "--json"),
    ("chat", "Hello"),
    ("route",),
    ("drill", "-s", "overloaded", "--no-report", "--fail-on", "failed"),
    ("status",),
    ("spend",),
)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_every_command_finds_it(emulator: Emulator, command: tuple[str, ...]) -> None:
    assert HERE in run(*command).stderr.splitlines()


def test_serve_finds_it(emulator: Emulator) -> None:
    done = run("serve", "--host", "0.0.0.0")
    assert "can be reached from other machines" in " ".join(done.stderr.split())


def test_check_takes_the_file_as_its_argument(emulator: Emulator) -> None:
    done = run("check", "option.yaml", "--no-ask", "--json")
    assert [model["id"] for model in json.loads(done.stdout)["models"]] == [C]
    assert run("check", "option.yaml", "-c", "variable.yaml").exit_code == 2


def test_without_any_the_models_are_named(emulator: Emulator) -> None:
    Path("fallback.yaml").unlink()
    said = run("route").stderr
    assert said == f"No configuration here: the models are {', '.join(CHAIN)}.\n"
    assert run("route", "-m", A).stderr == ""
    assert run("check").exit_code == 2


def test_a_drill_of_models(emulator: Emulator) -> None:
    Path("fallback.yaml").unlink()
    done = run("drill", "-m", A, "-m", B, "-s", "overloaded", "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["chain"] == [A, B]


def test_the_schema(emulator: Emulator) -> None:
    assert json.loads(run("schema").stdout) == config_schema()


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_package_is_the_command(option: str) -> None:
    command = [sys.executable, "-m", "openrouter_fallback", option]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == run(option).stdout
