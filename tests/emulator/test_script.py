"""Faults, answers and paces from a YAML file."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from textwrap import dedent

import httpx2
import pytest

from openrouter_fallback.emulator import FAULTS, Emulator, ScriptError

from .helpers import MODEL, Asker, request

CLAUDE = "anthropic/claude-sonnet-4.5"


class Clock:
    """Time that only a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "faults.yaml"
    path.write_text(dedent(text))
    return path


def test_over_time(tmp_path: Path) -> None:
    script = """
        faults:
          - {kind: rate_limit_exceeded, model: anthropic/claude-sonnet-4.5, seconds: [5, 20], retry_after: 3}
          - {kind: provider_overloaded, seconds: [30, null]}
    """
    clock = Clock()
    emulator = Emulator(script=written(tmp_path, script), clock=clock)
    clock.now = 200.0
    with emulator:
        ask = Asker(emulator)
        seen = {}
        for second in (0, 4.9, 5, 20, 20.1, 30, 1e6):
            clock.now = 200.0 + second
            seen[second] = (ask.post(model=CLAUDE).status_code, ask.post(model=MODEL).status_code)
        ask.http.close()
    fine, limited, down = (200, 200), (429, 200), (503, 503)
    assert seen == {0: fine, 4.9: fine, 5: limited, 20: limited, 20.1: fine, 30: down, 1e6: down}


def test_over_requests_and_providers(tmp_path: Path) -> None:
    script = """
        faults:
          - {kind: server, model: openai/gpt-5.1, requests: 1}
          - {kind: empty, model: openai/gpt-5.1, requests: [3, 4]}
          - {kind: provider_overloaded, provider: amazon-bedrock}
          - {kind: provider_overloaded, provider: Anthropic, requests: [2, null]}
    """
    with Emulator(script=written(tmp_path, script)) as emulator:
        ask = Asker(emulator)
        for _ in range(5):
            ask.post(model=MODEL)
        assert [entry.fault for entry in emulator.log] == ["server", None, "empty", "empty", None]
        assert [ask.body(model=CLAUDE)["provider"] for _ in range(3)] == ["Anthropic", "Google", "Google"]
        ask.http.close()


def faults_of(path: Path, seed: int) -> list[str | None]:
    with Emulator(script=path, seed=seed) as emulator:
        ask = Asker(emulator)
        for _ in range(60):
            ask.post()
        ask.http.close()
        return [entry.fault for entry in emulator.log]


def test_probability_is_a_seeded_dice(tmp_path: Path) -> None:
    path = written(tmp_path, "faults: [{kind: server, probability: 0.3}]")
    first, again, other = faults_of(path, 1), faults_of(path, 1), faults_of(path, 2)
    assert first == again != other
    assert 5 < Counter(first)["server"] < 35
    path = written(tmp_path, "seed: 1\nfaults: [{kind: server, probability: 0.3}]")
    assert faults_of(path, 2) == first


def test_models_paces_and_replies(tmp_path: Path) -> None:
    script = """
        models: [openai/gpt-5.1, anthropic/claude-sonnet-4.5]
        pace:
          - {latency: 0.001, jitter: 0.5}
          - {model: openai/gpt-5.1, token_interval: 0.0001}
        replies:
          - {model: openai/gpt-5.1, text: Forty-two., reasoning: Hm.}
          - {tokens: 3}
    """
    with Emulator(script=written(tmp_path, script)) as emulator:
        ask = Asker(emulator)
        message = ask.body()["choices"][0]["message"]
        assert (message["content"], message["reasoning"]) == ("Forty-two.", "Hm.")
        assert ask.body(model=CLAUDE)["usage"]["completion_tokens"] == 3
        assert ask.post(model="a/b").status_code == 400
        ask.http.close()


def test_the_bundled_models(tmp_path: Path) -> None:
    with Emulator(script=written(tmp_path, "models: bundled")) as emulator:
        ask = Asker(emulator)
        assert (ask.post().status_code, ask.post(model="a/b").status_code) == (200, 400)
        ask.http.close()


def test_it_comes_into_force_once(tmp_path: Path) -> None:
    emulator = Emulator(script=written(tmp_path, "faults: [{kind: server}]"))
    with emulator:
        emulator.clear_faults()
    with emulator:
        ask = Asker(emulator)
        assert ask.post().status_code == 200
        ask.http.close()


def test_an_empty_script_changes_nothing(tmp_path: Path) -> None:
    with Emulator(script=written(tmp_path, "# nothing yet\n")) as emulator:
        ask = Asker(emulator)
        assert ask.post().status_code == 200
        ask.http.close()


MISTAKES = {
    "replies:\n  - tool_calls: [{nme: x}]": ["line 2, replies[0].tool_calls[0]: a tool call has a name"],
    "faults: [{kind: http, status: 9999}]": ["line 1, faults[0]: status of fault 'http' is a status from 200 to 599"],
    "faults: [{kind: rate_limited}]": [
        "line 1, faults[0].kind: there is no fault 'rate_limited'; did you mean 'rate_limit_exceeded'",
    ],
    "faults:\n  - kind: stall\n    after_token: 5": ["line 3, faults[0].after_token: unknown key.", "'after_tokens'"],
    "faults:\n  - {kind: stall, retry_after: 5}": ["faults[0].retry_after: unknown key.", "Known for 'stall'"],
    "fault: []": ["line 1, fault: unknown key. Did you mean 'faults'?"],
    "faults: [{model: a/b}]": ["faults[0].kind: is missing."],
    "faults: {kind: stall}": ["line 1, faults: found a mapping; allowed is a list"],
    "faults: [stall]": ["faults[0]: found 'stall'; allowed is a mapping."],
    "faults: [{kind: stall, probability: 30}]": ["faults[0].probability: found 30; allowed is a number not above 1."],
    "faults: [{kind: stall, probability: '1'}]": ["found '1'; allowed is a number."],
    "faults: [{kind: stall, seconds: 5}]": ["faults[0].seconds: found 5; allowed is a list"],
    "faults: [{kind: stall, seconds: [20, 5]}]": ["faults[0]: ", "(20.0, 5.0)"],
    "faults: [{kind: stall, seconds: [5]}]": ["faults[0]: a window has two ends"],
    "faults: [{kind: stall, requests: [0, 5]}]": ["faults[0]: ", "(0, 5)"],
    "faults: [{kind: server, place: nowhere}]": ["faults[0]: place of fault 'server' is one of"],
    "faults: [{kind: server, provider: OpenIA}]": ["faults[0].provider: no provider 'OpenIA'. Did you mean 'OpenAI'?"],
    "models: [openai/gpt-5.1]\nfaults:\n  - kind: stall\n    model: openai/gpt5.1": [
        "line 4, faults[0].model: there is no model 'openai/gpt5.1'. Did you mean 'openai/gpt-5.1'?"
    ],
    "replies:\n  - txt: x": ["line 2, replies[0].txt: unknown key. Did you mean 'text'?"],
    "replies: [{prefill: sometimes}]": ["replies[0].prefill: found 'sometimes'; allowed is 'continue'"],
    "pace: {latency: -1}": ["pace[0].latency: found -1; allowed is a number not below 0."],
    "pace: {jitter: 2}": ["pace[0].jitter: found 2; allowed is a number not above 1."],
    "seed: x": ["line 1, seed: found 'x'; allowed is a whole number."],
    "seed: 1\nseed: 2": ["line 2, seed: the key is given twice, on lines 1 and 2"],
    "- kind: stall": ["the script: found a list; allowed is a mapping."],
    "faults: [{kind: stall": ["line 1", "YAML syntax"],
    "faults: [{kind: stall, no: 1}]": ["found the key no, which YAML reads as a boolean", "quote it, 'no'"],
    "faults: !!python/object:os.system []": ["the YAML tag 'python/object:os.system' is not supported"],
}


@pytest.mark.parametrize(("text", "told"), MISTAKES.items(), ids=list(MISTAKES))
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: list[str]) -> None:
    path = tmp_path / "faults.yaml"
    path.write_text(text)
    with pytest.raises(ScriptError) as caught:
        Emulator(script=path)
    message = str(caught.value)
    assert message.startswith(str(path))
    for part in told:
        assert part in message


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    path = written(tmp_path, "seed: x\nfaults:\n  - {kind: stall, probability: 2}\n  - {}\n")
    with pytest.raises(ScriptError) as caught:
        Emulator(script=path)
    first, *rest = str(caught.value).splitlines()
    assert first == f"{path} has 3 mistakes:"
    assert [line.partition(",")[0] for line in rest] == ["  - line 1", "  - line 3", "  - line 4"]


def test_there_is_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(ScriptError, match=r"there is no such file"):
        Emulator(script=tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_can_be_scripted(tmp_path: Path, kind: str) -> None:
    with Emulator(script=written(tmp_path, f"faults: [{{kind: {kind}, probability: 0.0}}]")) as emulator:
        assert emulator.count() == 0


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "openrouter_fallback.emulator", *arguments]
    return subprocess.run(command, input="", capture_output=True, text=True, check=False, timeout=60)


def test_from_the_command_line(tmp_path: Path) -> None:
    path = written(tmp_path, "faults: [{kind: server}]")
    command = [sys.executable, "-m", "openrouter_fallback.emulator", "--script", str(path), "--models", "bundled"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url, key = (process.stdout.readline().strip() for _ in range(2))
        headers = {"Authorization": f"Bearer {key}"}
        asked = [
            httpx2.post(f"{url}/chat/completions", json={**request(), "model": model}, headers=headers).status_code
            for model in (MODEL, "a/b")
        ]
        assert asked == [500, 400]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(10) == 0


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with Emulator() as emulator:
        done = run("--port", emulator.base_url.split(":")[2].partition("/")[0])
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--script", "{}"], "line 1, faults[0].kind: there is no fault"),
        (["--models", "{}"], "is not JSON"),
        (["--models", "nowhere.json"], "nowhere.json"),
        (["--jitter", "4"], "jitter is a share from 0 to 1"),
    ],
)
def test_mistakes_on_the_command_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    path = written(tmp_path, "faults: [{kind: sever}]")
    done = run(*(one.format(path) for one in arguments))
    assert done.returncode == 1
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_strict_script(tmp_path: Path) -> None:
    call = {"id": "not nine", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    history = [
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "not nine", "content": "x"},
    ]
    statuses = []
    for text in ("strict: true", "strict: false", "seed: 1"):
        with Emulator(script=written(tmp_path, text)) as emulator:
            ask = Asker(emulator)
            statuses.append(ask.post(model="mistralai/mistral-large-2512", messages=history).status_code)
            ask.http.close()
    assert statuses == [400, 200, 200]
