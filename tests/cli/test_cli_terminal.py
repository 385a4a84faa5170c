"""What all commands have in common: pages of help, JSON, colour, completion, how they end, how soon they begin."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrouter_fallback.emulator import Emulator

from ..support.commands import KEY, command, process, run

COMMANDS = ("init", "check", "models", "chat", "route", "drill", "emulate", "serve", "status", "spend", "schema")
A = "anthropic/claude-sonnet-4.5"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    server.clear()
    for name, value in {"OPENROUTER_API_KEY": KEY, "OPENROUTER_BASE_URL": server.base_url, "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return server


# Help


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_a_page_with_examples_and_the_exit_status(name: str) -> None:
    said = run(name, "--help").stdout
    assert said == run(name, "-h").stdout
    assert f"openrouter-fallback {name}" in said
    assert "Exit status: 0" in said
    assert "--json" in said
    assert [line for line in said.splitlines() if len(line) > 80] == []


def test_every_option_in_the_examples_of_the_help_exists() -> None:
    for name in COMMANDS:
        said = run(name, "--help").stdout
        examples = [line for line in said.splitlines() if re.match(r"    .*openrouter-fallback \w+", line)]
        options = said.partition("Options:")[2]
        for option in {option for line in examples for option in re.findall(r"(?<= )--?[a-z][a-z-]*", line)}:
            assert re.search(rf"(^|[ ,]){option}\b", options, re.MULTILINE), f"{name} {option}"


def test_the_first_page_names_every_command_and_says_how_to_begin() -> None:
    said = run("--help").stdout
    assert [line for line in said.splitlines() if len(line) > 80] == []
    assert re.findall(r"^  (\w+) +[A-Z]", said.partition("Commands:")[2], re.MULTILINE) == list(COMMANDS)
    assert said.index("openrouter-fallback init") < said.index("openrouter-fallback check")


# JSON


@pytest.mark.parametrize(
    "args",
    [
        ("init",),
        ("init", "nowhere/fallback.yaml"),
        ("check",),
        ("check", "-m", A),
        ("models", "claude"),
        ("models", "--can", "tols"),
        ("chat", "Hello"),
        ("chat", "Hello", "-m", "claude"),
        ("chat",),
        ("route",),
        ("route", "--max-cost-tier", "low"),
        ("drill", "--list"),
        ("drill", "--scenario", "nonesuch"),
        ("drill", "--nonesuch"),
        ("emulate", "--port", "-1"),
        ("emulate", "--script", "nowhere.yaml"),
        ("emulate", "--models", "nowhere.json"),
        ("serve",),
        ("serve", "-m", A, "--host", "0.0.0.0"),
        ("nonesuch",),
    ],
    ids=" ".join,
)
def test_json_is_one_document_and_nothing_else_also_of_an_error(emulator: Emulator, args: tuple[str, ...]) -> None:
    done = run(*args, "--json")
    said = json.loads(done.stdout)
    assert isinstance(said, dict)
    assert ("error" in said) is (done.exit_code != 0)
    assert ("Traceback" in done.stderr, "{" in done.stderr) == (False, False)


def test_a_mistake_in_the_command_line_without_json_is_for_people() -> None:
    done = run("drill", "--nonesuch")
    assert (done.exit_code, done.stdout) == (2, "")
    assert re.search("No such option.*--nonesuch", done.stderr)
    assert "--help" in done.stderr


# Colour

COLOURED = b"\x1b["
COLOURS: list[tuple[dict[str, str], bool, bool]] = [
    ({}, True, True),
    ({}, False, False),
    ({"NO_COLOR": "1"}, True, False),
    ({"FORCE_COLOR": "1"}, False, True),
    ({"TERM": "dumb"}, True, False),
]


@pytest.mark.parametrize(("environment", "terminal", "coloured"), COLOURS)
def test_colour_is_for_terminals_unless_the_environment_says_otherwise(
    emulator: Emulator, environment: dict[str, str], terminal: bool, coloured: bool
) -> None:
    settings = {**os.environ, **environment}
    asked = command("check", "-m", A, "--no-ask")
    if not terminal:
        seen = subprocess.run(asked, stdout=subprocess.PIPE, timeout=60, env=settings, check=True).stdout
    else:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            subprocess.run(asked, stdout=theirs, stderr=subprocess.DEVNULL, timeout=60, env=settings, check=True)
            os.close(theirs)
            seen = screen.read(10_000)
    assert b"accepted" in seen
    # Bold is no colour: NO_COLOR leaves it.
    colours = {code for codes in re.findall(rb"\x1b\[([\d;]+)m", seen) for code in codes.split(b";")}
    assert bool(colours & {b"31", b"32", b"33"}) is coloured
    assert (COLOURED in seen) is (coloured or (terminal and "TERM" not in environment))


def test_piped_tables_are_not_folded(emulator: Emulator) -> None:
    # Without `env` a child gets the COLUMNS that readline, where it is loaded, sets behind Python's back.
    done = process("models", "llama", env=dict(os.environ))
    rows = done.stdout.splitlines()[1:]
    assert all("/" in row.split()[0] for row in rows)
    assert any("meta-llama/llama-3.3-70b-instruct" in row.split() for row in rows)


# Completion

COMPLETIONS = [
    ("openrouter-fallback ", "1", {*COMMANDS}),
    ("openrouter-fallback ch", "1", {"check", "chat"}),
    ("openrouter-fallback models --so", "2", {"--sort"}),
    ("openrouter-fallback models --sort ", "3", {"price", "context", "id"}),
]


@pytest.mark.parametrize(("words", "at", "offered"), COMPLETIONS, ids=[words for words, _, _ in COMPLETIONS])
def test_the_shell_completes_commands_options_and_values(words: str, at: str, offered: set[str]) -> None:
    asked = {"_OPENROUTER_FALLBACK_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": at}
    named = "import sys; sys.argv[0] = 'openrouter-fallback'"
    done = process(before=named, env={**os.environ, **asked})
    assert set(done.stdout.split()) == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_for_the_shell_can_be_shown(shell: str) -> None:
    named = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = process("--show-completion", shell, env=named)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete" in done.stdout


# Beginning and ending


def test_help_imports_nothing_that_it_does_not_show() -> None:
    check = (
        "import sys; from typer.testing import CliRunner; from openrouter_fallback.cli.app import app;"
        "assert CliRunner().invoke(app, ['check', '--help']).exit_code == 0;"
        "heavy = {'asyncio', 'httpcore2', 'rich.table', 'rich.console', 'rapidfuzz', 'openrouter_fallback.client'};"
        "print(heavy & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert (done.stdout.strip(), done.stderr) == ("set()", "")


@pytest.mark.parametrize("args", [("models",), ("init",), ("check", "-m", A)], ids=" ".join)
def test_an_interrupt_while_the_list_is_fetched_ends_quietly(emulator: Emulator, args: tuple[str, ...]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        asked = command(*args, "--base-url", f"http://127.0.0.1:{silent.getsockname()[1]}/api/v1")
        with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            connection, _ = silent.accept()
            child.send_signal(signal.SIGINT)
            out, err = child.communicate(timeout=30)
            connection.close()
    assert (child.returncode, out, err) == (130, "", "")
    assert not Path("fallback.yaml").exists()


def test_an_interrupt_before_the_command_begins_ends_quietly() -> None:
    interrupted = "import typer.main; typer.main.get_command = lambda _: (_ for _ in ()).throw(KeyboardInterrupt)"
    done = process("models", before=interrupted)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_a_reader_that_leaves_early_is_no_error(emulator: Emulator) -> None:
    with subprocess.Popen(command("models"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        child.wait(60)
        assert b"Traceback" not in child.stderr.read()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("args", [("models",), ("models", "--json"), ("chat", "Hello"), ("check", "--no-ask", "-m", A)])
def test_an_output_that_cannot_be_written_is_one_line(emulator: Emulator, args: tuple[str, ...]) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(command(*args), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("args", [("models",), ("chat", "Hello")], ids=" ".join)
def test_without_an_output_nothing_is_said(emulator: Emulator, args: tuple[str, ...]) -> None:
    closed = ["/bin/sh", "-c", '"$@" >&-', "sh", *command(*args)]
    done = subprocess.run(closed, stderr=subprocess.PIPE, text=True, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_check_can_be_read_in_a_narrow_terminal(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    said = run("check", "-m", "anthropic/claude-sonnet-4.5", "-m", "deepseek/deepseek-chat").stdout
    assert [line for line in said.splitlines()[2:] if len(line.rstrip()) > columns] == []
    assert len(said.splitlines()) < 20
    assert re.search("anthropic/claude-sonnet-4.5 .* answered", said)
