"""The command `emulate`: an OpenRouter that the user starts, scripts and stops."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from openrouter_fallback import FallbackClient, FallbackError
from openrouter_fallback.emulator import MODELS, Emulator

from ..support.commands import command, run

A, B = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1"
QUICK = ("--latency", "0", "--token-interval", "0")


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@contextmanager
def emulating(*args: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """The process, and the variables that it prints."""
    started = command("emulate", "--port", "0", *QUICK, *args)
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        try:
            lines = [child.stdout.readline() for _ in range(2)]
            yield child, dict(line.removeprefix("export ").rstrip("\n").split("=", 1) for line in lines)
        finally:
            child.kill()


def client(variables: dict[str, str], *models: str) -> FallbackClient:
    return FallbackClient(models, base_url=variables["OPENROUTER_BASE_URL"], api_key=variables["OPENROUTER_API_KEY"])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_prints_two_variables_answers_and_stops_cleanly(number: signal.Signals) -> None:
    with emulating() as (child, variables):
        assert set(variables) == {"OPENROUTER_BASE_URL", "OPENROUTER_API_KEY"}
        assert client(variables, "someone/something").chat("Hello").text
        child.send_signal(number)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out) == (0, "")
    assert err.endswith("\nStopped after 1 request.\n")
    assert "Traceback" not in err


def test_it_stops_although_somebody_still_listens() -> None:
    Path("silent.yaml").write_text("faults: [{kind: stall, after_tokens: 1}]")
    with (
        emulating("--script", "silent.yaml") as (child, variables),
        client(variables, A).stream("Hello", mid_stream="raise") as pieces,
    ):
        assert next(iter(pieces)).text
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
        with pytest.raises(FallbackError):
            list(pieces)
    assert child.returncode == 0
    assert "of which with a fault: stall 1." in err


def test_a_script_sets_the_faults_and_the_end_counts_them() -> None:
    Path("outage.yaml").write_text(
        f"faults:\n  - {{kind: rate_limit_exceeded, model: {A}, retry_after: 60}}\n"
        f"replies:\n  - {{model: {B}, text: Forty-two.}}\n"
    )
    with emulating("--script", "outage.yaml") as (child, variables):
        assert client(variables, A, B).chat("Hello").text == "Forty-two."
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=30)
    assert "Stopped after 2 requests, of which with a fault: rate_limit_exceeded 1." in err


def test_json_is_one_document() -> None:
    started = command("emulate", "--port", "0", "--json", "--api-key", "sk-or-v1-mine")
    with subprocess.Popen(started, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        lines = [child.stdout.readline() for _ in range(4)]
        child.send_signal(signal.SIGINT)
        rest, _ = child.communicate(timeout=30)
    said = json.loads("".join(lines))
    assert (child.returncode, rest, said["api_key"]) == (0, "", "sk-or-v1-mine")
    assert said["base_url"].startswith("http://127.0.0.1:")


KNOWN: list[tuple[tuple[str, ...], set[str]]] = [
    (("-m", A, "-m", "own/model"), {A, "own/model"}),
    (("--models", "bundled"), {*MODELS}),
    (("--models", "list.json"), {"listed/model"}),
    (("--models", "list.json", "-m", B), {"listed/model", B}),
]


@pytest.mark.parametrize(("args", "ids"), KNOWN, ids=[" ".join(args) for args, _ in KNOWN])
def test_which_models_exist(args: tuple[str, ...], ids: set[str]) -> None:
    Path("list.json").write_text(json.dumps({"data": [{"id": "listed/model"}]}))
    with emulating(*args) as (_, variables):
        listed = run("models", "--json", "--base-url", variables["OPENROUTER_BASE_URL"])
        assert {one["id"] for one in json.loads(listed.stdout)["models"]} >= ids
        with pytest.raises(FallbackError, match="not_found"):
            client(variables, "someone/something").chat("Hello")


MISTAKES: list[tuple[str, tuple[str, ...], str]] = [
    ("no script", ("--script", "nowhere.yaml"), "'nowhere.yaml': there is no such file"),
    ("broken script", ("--script", "broken.yaml"), "broken.yaml, line 2"),
    ("no such list", ("--models", "nowhere.json"), "--models nowhere.json: No such file or directory"),
    ("no JSON", ("--models", "broken.yaml"), "this is no JSON"),
    ("no list", ("--models", "other.json"), "expected what GET /models answers"),
]


@pytest.mark.parametrize(("args", "said"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES])
def test_what_cannot_be_started_says_why(args: tuple[str, ...], said: str) -> None:
    Path("broken.yaml").write_text("faults:\n  - {kind: stal}\n")
    Path("other.json").write_text('{"data": [{"name": "without an id"}]}')
    done = run("emulate", "--port", "0", *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr


def test_a_port_that_is_taken_is_told() -> None:
    with Emulator() as other:
        port = other.base_url.rpartition(":")[2].partition("/")[0]
        done = run("emulate", "--port", port)
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"port {port} is in use; choose another with --port" in done.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    started = command("emulate", before="import sys; sys.modules['starlette'] = None")
    done = subprocess.run(started, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "openrouter-fallback[emulator]" in done.stderr
