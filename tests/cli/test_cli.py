"""The commands, in process through typer's runner and for real as processes, against the emulator."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrouter_fallback import __version__
from openrouter_fallback.cli.commands.calls import CHAIN
from openrouter_fallback.emulator import MODELS, Emulator

from ..support.commands import KEY, command, process, run

A, B = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1"
EXAMPLE = Path(__file__).parents[2] / "examples" / "fallback.yaml"
ANSWER = "The tide comes in twice a day."


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    server.clear()
    server.reply(ANSWER)
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("OPENROUTER_FALLBACK_CONFIG", raising=False)
    return server


# chat


@pytest.mark.parametrize("how", [(), ("--no-stream",)], ids=["streamed", "whole"])
def test_chat_prints_the_answer_and_then_who_failed_and_who_answered(emulator: Emulator, how: tuple[str, ...]) -> None:
    emulator.fault("provider_overloaded", model=A)
    done = run("chat", "Hello", "--model", A, "--model", B, *how)
    assert done.exit_code == 0
    assert done.stdout == ANSWER + "\n"
    failed, answered = done.stderr.strip().splitlines()
    assert re.match(rf"failed +{A} +overloaded 503 +\d+\.\d\d s", failed)
    assert re.match(rf"answered +{B} +\d+ tokens in, \d+ out, \$0\.\d{{6}} +\d+\.\d\d s", answered)
    assert [request.model for request in emulator.log] == [A, B]


@pytest.mark.parametrize("environment", [{}, {"OPENROUTER_FALLBACK_CONFIG": ""}], ids=["unset", "empty"])
def test_chat_alone_asks_a_chain_of_well_known_models(emulator: Emulator, environment: dict[str, str]) -> None:
    emulator.fault("not_found", requests=1)
    done = run("chat", "Hello", env=environment)
    assert (done.exit_code, done.stdout) == (0, ANSWER + "\n")
    assert [request.model for request in emulator.log] == list(CHAIN[:2])


def test_chat_sends_prompt_and_system_prompt(emulator: Emulator) -> None:
    assert run("chat", "Hello", "-m", A, "--system", "Be brief.").exit_code == 0
    assert emulator.log[0].body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello"},
    ]


def test_chat_json_is_one_object_and_nothing_else(emulator: Emulator) -> None:
    emulator.fault("empty", model=A)
    done = run("chat", "Hello", "-m", A, "-m", B, "--json")
    said = json.loads(done.stdout)
    assert (done.exit_code, done.stderr) == (0, "")
    assert (said["text"], said["model"], said["finish_reason"]) == (ANSWER, B, "stop")
    assert said["usage"]["completion_tokens"] > 0
    assert said["cost"] == pytest.approx(sum(attempt["cost"] for attempt in said["attempts"]))
    assert said["seconds"] > 0
    assert [(one["model"], one["kind"], one["status"]) for one in said["attempts"]] == [
        (A, "bad_answer", 200),
        (B, None, 200),
    ]


def test_chat_json_of_a_failed_call(emulator: Emulator) -> None:
    emulator.fault("rate_limit_exceeded", retry_after=400)
    done = run("chat", "Hello", "-m", A, "--json")
    said = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (said["error"]["type"], said["error"]["retry_after"]) == ("RateLimitedError", pytest.approx(400, abs=5))
    assert [(one["model"], one["status"]) for one in said["attempts"]] == [(A, 429)] * 3


ROUTED: list[tuple[tuple[str, ...], str]] = [
    ((), A),
    (("--task", "fast"), "anthropic/claude-haiku-4.5"),
    (("--max-cost-tier", "budget"), "openai/gpt-5-mini"),
    (("--primary-provider", "openai"), B),
    (("--model", "deepseek/deepseek-chat"), "deepseek/deepseek-chat"),
    (("--max-price", "10"), B),
    (("--max-price", "0.5"), "meta-llama/llama-3.3-70b-instruct"),
]


@pytest.mark.parametrize(("how", "first"), ROUTED, ids=[" ".join(how) or "plain" for how, _ in ROUTED])
def test_chat_and_route_follow_the_same_options(emulator: Emulator, how: tuple[str, ...], first: str) -> None:
    routed = json.loads(run("route", "--config", EXAMPLE, *how, "--json").stdout)
    assert routed["candidates"][0] == first
    assert emulator.count() == 0
    assert json.loads(run("chat", "Hello", "--config", EXAMPLE, *how, "--json").stdout)["model"] == first


RESTS_ON_PRICES: list[tuple[str, tuple[str, ...], str]] = [
    ("cost_tiers: auto", ("--max-cost-tier", "budget"), "openai/gpt-5-mini"),
    ("settings: {order_by: price}", (), "openai/gpt-5-mini"),
    ("settings: {spend_limit_usd: {per_call: 0.1}}", (), A),
]


@pytest.mark.parametrize(("line", "how", "first"), RESTS_ON_PRICES, ids=[line for line, _, _ in RESTS_ON_PRICES])
def test_prices_are_fetched_where_the_configuration_rests_on_them(
    emulator: Emulator, tmp_path: Path, line: str, how: tuple[str, ...], first: str
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(f"fallback:\n  default_chain: [{A}, openai/gpt-5-mini]\n  {line}\n")
    assert json.loads(run("route", "-c", file, *how, "--json").stdout)["candidates"][0] == first
    assert json.loads(run("chat", "Hello", "-c", file, *how, "--json").stdout)["model"] == first


def test_a_price_that_cannot_be_had_is_told_and_the_call_goes_its_way(
    emulator: Emulator,
) -> None:
    emulator.stop()
    try:
        free = run("route", "-m", A, "-m", "openai/gpt-oss-20b:free", "--max-price", "1", "--json")
    finally:
        emulator.start()
    assert json.loads(free.stdout)["candidates"] == ["openai/gpt-oss-20b:free"]
    assert "GET /models failed" in free.stderr


def test_the_configuration_can_come_from_the_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", str(EXAMPLE))
    assert run("chat", "Hello").exit_code == 0
    assert emulator.log[0].model == A


def test_warnings_of_the_library_are_shown_but_failovers_only_once(emulator: Emulator) -> None:
    emulator.fault("provider_overloaded", model=A)
    done = run("chat", "Hello", "--config", EXAMPLE, "--task", "codign")
    assert done.exit_code == 0
    assert "Did you mean 'coding'?" in done.stderr
    assert done.stderr.count(A) == 1


def test_a_model_that_does_not_exist_is_told_once_with_who_knows_a_better_one(emulator: Emulator) -> None:
    emulator.fault("not_found", model=A)
    hint = f"openrouter-fallback check --no-ask -m {A}"
    answered = run("chat", "Hello", "-m", A, "-m", B)
    assert (answered.exit_code, answered.stderr.count(A), answered.stderr.count(hint)) == (0, 2, 1)
    failed = run("chat", "Hello", "-m", A)
    assert (failed.exit_code, failed.stderr.count(hint)) == (1, 1)


@pytest.mark.parametrize(
    ("misspelt", "said"),
    [
        ("anthropic/claude-sonet-4.5", "Did you mean anthropic/claude-sonnet-4.5 ($3.00/$15.00 per 1M tokens)?"),
        ("openai/gpt-51", "Did you mean openai/gpt-5.1 ($1.25/$10.00 per 1M tokens)?"),
        ("openai/gpt-4-turbo", "The newest of its family: openai/gpt-"),
    ],
)
def test_a_misspelt_model_is_named_with_the_right_one_also_where_another_one_answers(
    monkeypatch: pytest.MonkeyPatch, misspelt: str, said: str
) -> None:
    with Emulator(models=MODELS, api_key=KEY) as emulator:
        monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
        monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
        done = run("chat", "Hello", "-m", misspelt, "-m", B)
    assert done.exit_code == 0
    assert f"{misspelt} does not exist. {said}" in done.stderr
    assert "openrouter-fallback check" not in done.stderr


def test_a_cut_off_answer_and_a_refusal_are_told(emulator: Emulator) -> None:
    emulator.reply("Once upon a", finish_reason="length")
    done = run("chat", "Hello", "-m", A)
    assert (done.exit_code, done.stdout) == (0, "Once upon a\n")
    assert "limit of its length" in done.stderr
    emulator.reply("", refusal="I cannot help with that.")
    assert run("chat", "Hello", "-m", A).stdout == "I cannot help with that.\n"


BROKEN = """\
fallback:
  default_chain: [openai/gpt-5.1]
  setings: {min_samples: 3}
"""

MISTAKES: list[tuple[str, tuple[str, ...], dict[str, str], int, tuple[str, ...]]] = [
    ("misspelt model", ("-m", "gpt-5.1"), {}, 2, ("'gpt-5.1'", "openai/gpt-5.1")),
    ("wrong key", ("-m", A), {"OPENROUTER_API_KEY": "sk-or-v1-wrong"}, 1, ("401", "sk-or-", "OPENROUTER_API_KEY")),
    ("no key", ("-m", A), {"OPENROUTER_API_KEY": ""}, 2, ("sk-or-", "OPENROUTER_API_KEY")),
    ("no such file", ("-c", "nowhere.yaml"), {}, 2, ("nowhere.yaml", "no such file")),
    ("broken YAML", ("-c", "broken.yaml"), {}, 2, ("broken.yaml", "line 3", "setings", "'settings'")),
    ("unknown tier", ("-c", str(EXAMPLE), "--max-cost-tier", "premum"), {}, 2, ("'premium'",)),
]


@pytest.mark.parametrize(
    ("args", "environment", "status", "words"), [row[1:] for row in MISTAKES], ids=[row[0] for row in MISTAKES]
)
def test_a_mistake_is_told_in_one_screen(
    emulator: Emulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    args: tuple[str, ...],
    environment: dict[str, str],
    status: int,
    words: tuple[str, ...],
) -> None:
    (tmp_path / "broken.yaml").write_text(BROKEN)
    monkeypatch.chdir(tmp_path)
    done = run("chat", "Hello", *args, env=environment)
    assert (done.exit_code, done.stdout) == (status, "")
    assert [word for word in words if word not in done.stderr] == []
    assert done.stderr.count("\n") < 20
    assert "Traceback" not in done.stderr
    assert KEY not in done.stderr


def test_an_empty_prompt_asks_nobody(emulator: Emulator) -> None:
    done = run("chat", "-", "-m", A, input=" \n")
    assert (done.exit_code, emulator.count()) == (2, 0)
    assert "prompt is empty" in done.stderr


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8:surrogateescape"])
def test_a_prompt_in_another_encoding_is_one_line(emulator: Emulator, encoding: str) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(
        command("chat", "-", "-m", A), input="Schlüssel".encode("latin1"), env=environment, capture_output=True
    )
    assert (done.returncode, emulator.count()) == (2, 0)
    assert done.stderr.decode().splitlines() == [
        "ConfigError: the prompt is not UTF-8; convert it, as with: iconv -f LATIN1 -t UTF-8 FILE"
    ]


def test_an_upstream_that_is_gone(emulator: Emulator) -> None:
    done = run("chat", "Hello", "-m", A, "--base-url", emulator.refused_url())
    assert (done.exit_code, done.stdout, emulator.count()) == (1, "", 0)
    assert "connection refused" in done.stderr
    assert "base_url" in done.stderr


def test_a_stream_that_breaks_off_ends_in_an_error_after_the_text(emulator: Emulator) -> None:
    emulator.fault("truncated", after_tokens=3)
    done = run("chat", "Hello", "-m", A)
    assert done.exit_code == 1
    assert ANSWER.startswith(done.stdout.rstrip("\n"))
    assert done.stdout.endswith("\n")
    assert done.stderr.startswith("StreamInterruptedError")


def test_version_and_help() -> None:
    assert run("--version").stdout.strip() == __version__
    said = run("--help").stdout
    assert all(name in said for name in ("init", "check", "models", "chat", "route", "drill", "emulate", "serve"))


# route


def test_route_needs_no_key_and_names_each_skipped_model(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY")
    done = run("route", "-c", EXAMPLE, "--task", "coding", "--max-cost-tier", "standard")
    assert (done.exit_code, done.stderr, emulator.count()) == (0, f"Configuration: {EXAMPLE} (as given)\n", 0)
    assert [line.split()[:2] for line in done.stdout.splitlines()] == [
        ["1", B],
        ["2", "deepseek/deepseek-chat"],
        ["-", A],
    ]
    assert "cost tier premium is above standard" in done.stdout


def test_route_json(emulator: Emulator) -> None:
    done = run("route", "-c", EXAMPLE, "--task", "fast", "--max-cost-tier", "budget", "--json")
    assert json.loads(done.stdout) == {
        "candidates": ["openai/gpt-5-mini"],
        "skipped": [
            {
                "model": "anthropic/claude-haiku-4.5",
                "reason": "cost tier standard is above budget",
                "seconds_left": None,
            }
        ],
    }


# As processes


def test_the_prompt_can_come_from_stdin(emulator: Emulator) -> None:
    done = process("chat", "-", "-m", A, input="What is the time?\n")
    assert (done.returncode, done.stdout) == (0, ANSWER + "\n")
    assert emulator.log[0].body["messages"] == [{"role": "user", "content": "What is the time?\n"}]


def test_the_answer_streams_and_an_interrupt_ends_it_quietly(emulator: Emulator) -> None:
    emulator.fault("stall", after_tokens=2)
    with subprocess.Popen(
        command("chat", "Hello", "-m", A), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert child.stdout.read(3) == ANSWER[:3]
        assert emulator.log[0].ended == "open"
        child.send_signal(signal.SIGINT)
        assert child.wait(30) == 130
        assert ANSWER.startswith((ANSWER[:3] + child.stdout.read()).rstrip("\n"))
        assert child.stderr.read() == ""
    emulator.wait_for(lambda log: log[0].ended == "gone")


def test_an_interrupt_while_waiting_for_a_silent_model(emulator: Emulator) -> None:
    emulator.fault("silence")
    with subprocess.Popen(
        command("chat", "Hello", "-m", A, "--json"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as child:
        emulator.wait_for(lambda log: log, timeout=30)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, "", "")
    emulator.wait_for(lambda log: log[0].ended == "gone")


def test_a_terminal_gets_no_control_characters(emulator: Emulator) -> None:
    emulator.reply("safe \x1b]0;title\x07 [bold]text[/bold]")
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        done = subprocess.run(command("chat", "Hello", "-m", A), stdout=theirs, stderr=subprocess.PIPE, timeout=60)
        os.close(theirs)
        seen = screen.read(1000)
    assert done.returncode == 0
    assert b"safe" in seen
    assert b"[bold]text[/bold]" in seen
    assert b"\x1b]" not in seen
    assert b"\x07" not in seen


@pytest.mark.parametrize("missing", ["typer", "rich", "rapidfuzz"])
def test_without_the_extra_one_line_says_what_to_install(missing: str) -> None:
    done = process("chat", "Hello", before=f"import sys; sys.modules['{missing}'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert 'pip install "openrouter-fallback[cli]"' in done.stderr


def test_the_drill_without_the_emulator_says_what_to_install() -> None:
    done = process("drill", before="import sys; sys.modules['starlette'] = None")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert "openrouter-fallback[emulator]" in done.stderr


def test_neither_the_core_nor_the_entry_point_imports_typer() -> None:
    check = "import sys, openrouter_fallback, openrouter_fallback.cli; print({'typer', 'rich'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "set()"
