"""The command `check`: what it finds, what it advises, and how it ends, against the emulator with today's models."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback.emulator import MODELS, Emulator

from ..support.commands import KEY, command, run
from ..support.redis_server import free_port

TODAY_S = (
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-opus-4.5",
    "openai/gpt-5.1",
    "openai/gpt-5-mini",
    "google/gemini-2.5-pro",
    "meta-llama/llama-3.3-70b-instruct",
    "meta-llama/llama-3.2-3b-instruct",
    "mistralai/mistral-large-2512",
    "deepseek/deepseek-chat",
)

# The chains of 2024, and what stands in their place.
OF_2024 = """\
fallback:
  default_chain:
    - anthropic/claude-3.5-sonnet
    - openai/gpt-4-turbo
    - meta-llama/llama-3.1-70b-instruct
    - mistralai/mistral-large
  task_chains:
    coding: [anthropic/claude-3.5-sonnet, deepseek/deepseek-coder]
    creative: [anthropic/claude-3-opus, openai/gpt-4]
    fast: [anthropic/claude-3-haiku, openai/gpt-3.5-turbo, meta-llama/llama-3.1-8b-instruct]
  settings: {max_retries_per_model: 2, disable_duration_seconds: 300, health_window_minutes: 10, skip_threshold: 0.3}
"""
SUCCESSORS = {
    "anthropic/claude-3.5-sonnet": "anthropic/claude-sonnet-4.5",
    "openai/gpt-4-turbo": "openai/gpt-5.1",
    "meta-llama/llama-3.1-70b-instruct": "meta-llama/llama-3.3-70b-instruct",
    "mistralai/mistral-large": "mistralai/mistral-large-2512",
    "deepseek/deepseek-coder": "deepseek/deepseek-chat",
    "anthropic/claude-3-opus": "anthropic/claude-opus-4.5",
    "openai/gpt-4": "openai/gpt-5.1",
    "anthropic/claude-3-haiku": "anthropic/claude-haiku-4.5",
    "openai/gpt-3.5-turbo": "openai/gpt-5-mini",
    "meta-llama/llama-3.1-8b-instruct": "meta-llama/llama-3.2-3b-instruct",
}
GOOD = """\
fallback:
  default_chain: [anthropic/claude-sonnet-4.5, openai/gpt-5.1]
  task_chains:
    coding: [anthropic/claude-sonnet-4.5, deepseek/deepseek-chat]
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(TODAY_S, api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    server.clear()
    monkeypatch.setenv("OPENROUTER_API_KEY", KEY)
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
    monkeypatch.chdir(tmp_path)
    return server


def checked(text: str, *args: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The exit status of a check of this configuration, and what it says in JSON."""
    Path("fallback.yaml").write_text(text)
    done = run("check", "--json", *args, **options)
    assert done.stderr == "Configuration: fallback.yaml (in this directory)\n"
    return done.exit_code, json.loads(done.stdout)


def found(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(one["level"], one["about"]) for one in report["findings"]]


# Models


@pytest.mark.parametrize("how", [(), ("--no-ask",)], ids=["asked", "not asked"])
def test_every_dead_id_of_an_old_configuration_is_found_with_its_successor(
    emulator: Emulator, how: tuple[str, ...]
) -> None:
    status, report = checked(OF_2024, *how)
    assert (status, report["passed"]) == (1, False)
    assert sorted(found(report)) == sorted(("problem", id) for id in SUCCESSORS)
    for finding in report["findings"]:
        assert f"The newest of its family: {SUCCESSORS[finding['about']]} ($" in finding["step"]
    assert {model["id"]: model["listed"] for model in report["models"]} == dict.fromkeys(SUCCESSORS, False)


def test_a_good_configuration_passes_and_every_model_has_answered(emulator: Emulator) -> None:
    status, report = checked(GOOD)
    assert (status, report["passed"], report["findings"]) == (0, True, [])
    assert report["keys"] == [
        {"endpoint": "openrouter", "source": "OPENROUTER_API_KEY", "present": True, "accepted": True}
        | {"limit_remaining": None}
    ]
    assert [(model["id"], model["chains"], model["listed"]) for model in report["models"]] == [
        ("anthropic/claude-sonnet-4.5", ["default", "coding"], True),
        ("openai/gpt-5.1", ["default"], True),
        ("deepseek/deepseek-chat", ["coding"], True),
    ]
    for model in report["models"]:
        assert model["answer"]["error"] is None
        assert model["answer"]["seconds"] > 0
        assert model["answer"]["cost"] > 0
    assert sorted(str(request.model) for request in emulator.log) == sorted(one["id"] for one in report["models"])
    assert {request.body["max_tokens"] for request in emulator.log} == {16}


def test_what_is_shown_to_people(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    Path("fallback.yaml").write_text(GOOD.replace("openai/gpt-5.1", "openai/gpt-4-turbo"))
    done = run("check")
    assert (done.exit_code, done.stderr) == (1, "Configuration: fallback.yaml (in this directory)\n")
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert lines[0] == "key of openrouter from OPENROUTER_API_KEY: accepted"
    row = next(line.split() for line in lines if line.startswith("anthropic/claude-sonnet-4.5"))
    assert row[1:5] == ["default,", "coding", "1M", "answered"]
    assert any(
        line.split()[:2] == ["openai/gpt-4-turbo", "default"] and line.endswith("does not exist") for line in lines
    )
    assert any(line.split() == ["default", "2", "$7.50", "$7.50"] for line in lines)
    assert any(line.split() == ["coding", "2", "$7.50", "$0.66", "to", "$7.50"] for line in lines)
    assert "Assumed: 1,000 tokens in and 300 out per call." in lines
    assert any(line.startswith("problem  openai/gpt-4-turbo: does not exist (not_found 404)") for line in lines)
    assert any("-> The newest of its family: openai/gpt-5.1 ($1.25/$10.00 per 1M tokens)" in at for at in lines)
    assert lines[-1] == "1 problem"
    assert len(lines) < 25


def test_an_endpoint_that_answers_nothing_is_one_problem(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", "http://127.0.0.1:9/v1")
    Path("fallback.yaml").write_text(GOOD)
    for options in ((), ("--no-ask",)):
        lines = [line.rstrip() for line in run("check", *options).stdout.splitlines()]
        [problem] = [line for line in lines if line.startswith("problem  ")]
        assert problem.startswith("problem  openrouter: the endpoint does not answer: ")
        assert "refused" in problem
        assert lines[-1] == "1 problem"


def test_a_model_that_fails_beside_one_that_answers_is_its_own_problem(emulator: Emulator) -> None:
    emulator.fault("provider_unavailable", model="openai/gpt-5.1")
    status, report = checked(GOOD)
    assert (status, found(report)) == (1, [("problem", "openai/gpt-5.1")])


def test_the_costs_follow_the_assumed_size_of_a_call(emulator: Emulator) -> None:
    status, report = checked(GOOD, "--no-ask", "--prompt-tokens", "10000", "--completion-tokens", "1000")
    assert (status, report["load"]) == (0, {"prompt_tokens": 10000, "completion_tokens": 1000})
    assert [(one["name"], one["first"], one["cheapest"], one["dearest"]) for one in report["chains"]] == [
        ("default", 45.0, 22.5, 45.0),
        ("coding", 45.0, 4.2, 45.0),
    ]


def test_a_misspelt_model_is_asked_back(emulator: Emulator) -> None:
    status, report = checked(GOOD.replace("claude-sonnet-4.5", "claude-sonet-4.5"))
    assert status == 1
    assert report["findings"][0]["step"].startswith("Did you mean anthropic/claude-sonnet-4.5 ($3.00/$15.00")


def test_models_that_fail_are_told_with_the_next_step(emulator: Emulator) -> None:
    emulator.fault("provider_overloaded", model="openai/gpt-5.1")
    emulator.fault("payment_required", model="deepseek/deepseek-chat")
    status, report = checked(GOOD, "--timeout", "1")
    assert status == 1
    assert sorted(found(report)) == [("problem", "deepseek/deepseek-chat"), ("problem", "openai/gpt-5.1")]
    told = {one["about"]: (one["text"], one["step"]) for one in report["findings"]}
    assert told["openai/gpt-5.1"][0].startswith("overloaded 503: ")
    assert told["deepseek/deepseek-chat"][0].startswith("credits 402: ")
    assert "https://openrouter.ai/settings/credits" in told["deepseek/deepseek-chat"][1]


def test_one_failure_is_tried_again_as_a_call_would(emulator: Emulator) -> None:
    emulator.fault("provider_unavailable", model="openai/gpt-5.1", requests=1)
    assert checked(GOOD)[0] == 0
    assert emulator.count("openai/gpt-5.1") == 2


def test_models_alone_can_be_checked_with_what_they_need(emulator: Emulator) -> None:
    done = run("check", "-m", "openai/gpt-5.1", "--needs", "tools", "--needs", "audio", "--no-ask", "--json")
    report = json.loads(done.stdout)
    assert done.exit_code == 1
    assert [(one["about"], one["text"]) for one in report["findings"]] == [
        ("openai/gpt-5.1", "cannot take audio input")
    ]
    assert report["findings"][0]["step"] == "Models that can: openrouter-fallback models --can audio"


def test_a_warning_fails_only_a_strict_check(emulator: Emulator) -> None:
    spoken = GOOD.replace("coding:", "transcribe:")
    assert checked(spoken, "--no-ask")[0] == 0
    status, report = checked(spoken, "--no-ask", "--strict")
    assert (status, report["passed"]) == (1, False)
    assert {one["level"] for one in report["findings"]} == {"warning"}


@pytest.mark.parametrize(("days", "status", "level"), [(-1, 1, "problem"), (10, 0, "warning"), (200, 0, None)])
def test_a_model_that_goes_is_told_with_the_one_that_stays(days: int, status: int, level: str | None) -> None:
    until = (datetime.now(UTC) + timedelta(days=days)).date()
    going = {"id": "openai/gpt-4o", "expiration_date": until.isoformat()}
    with Emulator([going, *TODAY_S], api_key=KEY) as emulator:
        done = run("check", "-m", "openai/gpt-4o", "--no-ask", "--json", "--base-url", emulator.base_url)
    report = json.loads(done.stdout)
    # The key that is missing is a note of its own.
    told = [one for one in report["findings"] if one["about"] == "openai/gpt-4o"]
    assert (done.exit_code, [one["level"] for one in told]) == (status, [level] if level else [])
    assert all(str(until) in one["text"] and "openai/gpt-5.1" in one["step"] for one in told)


def test_a_model_that_answers_unlisted_is_only_a_warning(emulator: Emulator) -> None:
    # `:online` and its like are variants of what is listed; this one is not listed at all, as private models are not.
    with Emulator(api_key=KEY) as lenient:
        done = run("check", "-m", "someone/private", "--json", "--base-url", lenient.base_url)
    report = json.loads(done.stdout)
    assert (done.exit_code, found(report)) == (0, [("warning", "someone/private")])
    assert "it answers, although openrouter does not list it" in report["findings"][0]["text"]


def test_variants_and_aliases_are_as_good_as_ids(emulator: Emulator) -> None:
    named = ("openai/gpt-5.1:online", "openai/gpt-5.1:nitro", "~anthropic/claude-sonnet-latest")
    with Emulator(MODELS, api_key=KEY) as whole:
        models = [arg for id in named for arg in ("-m", id)]
        done = run("check", *models, "--json", "--base-url", whole.base_url)
    assert (done.exit_code, json.loads(done.stdout)["findings"]) == (0, [])


def test_named_models_are_checked_with_the_configurations_endpoints(emulator: Emulator) -> None:
    Path("own.yaml").write_text(
        f"fallback:\n  default_chain: [gone/gone]\n  endpoints: {{near: {{base_url: '{emulator.base_url}'}}}}\n"
    )
    done = run("check", "-c", "own.yaml", "-m", "near:openai/gpt-5.1", "--json", "--no-ask")
    report = json.loads(done.stdout)
    assert (done.exit_code, [one["id"] for one in report["models"]]) == (0, ["near:openai/gpt-5.1"])
    assert report["keys"] == [
        {"endpoint": "near", "source": None, "present": False, "accepted": None, "limit_remaining": None}
    ]


# Keys


def test_a_key_that_is_not_accepted_asks_no_model(emulator: Emulator) -> None:
    status, report = checked(GOOD, env={"OPENROUTER_API_KEY": "sk-or-v1-wrong"})
    assert (status, emulator.count()) == (1, 0)
    assert (report["keys"][0]["accepted"], found(report)) == (False, [("problem", "key of openrouter")])
    assert "401" in report["findings"][0]["text"]
    assert "https://openrouter.ai/settings/keys" in report["findings"][0]["step"]
    assert [model["answer"] for model in report["models"]] == [None, None, None]


VENDORS = [("sk-ant-api03-abc", "Anthropic"), ("sk-proj-abc", "OpenAI"), ("gsk_abc", "Groq"), ("hello", "")]


@pytest.mark.parametrize(("key", "vendor"), VENDORS, ids=[key for key, _ in VENDORS])
def test_a_key_of_another_vendor_is_recognized(emulator: Emulator, key: str, vendor: str) -> None:
    status, report = checked(GOOD, env={"OPENROUTER_API_KEY": key})
    looks = report["findings"][1]
    assert (status, looks["level"]) == (1, "warning")
    assert "does not begin with sk-or-" in looks["text"]
    assert ("it looks like a key of" in looks["text"]) is bool(vendor)
    assert vendor in looks["text"]
    assert key not in json.dumps(report)


MISSING = [
    ((), 1, "problem"),
    (("--no-ask",), 0, "note"),
    (("--no-ask", "--strict"), 0, "note"),
    (("--offline", "--strict"), 0, "note"),
]


@pytest.mark.parametrize(("how", "status", "level"), MISSING)
def test_a_missing_key_is_a_problem_only_where_it_is_needed(
    emulator: Emulator, how: tuple[str, ...], status: int, level: str
) -> None:
    ended, report = checked(GOOD, *how, env={"OPENROUTER_API_KEY": ""})
    assert (ended, emulator.count()) == (status, 0)
    finding = report["findings"][0]
    assert (finding["level"], finding["text"]) == (level, "OPENROUTER_API_KEY is not set")
    assert finding["step"].startswith("export OPENROUTER_API_KEY=")


@pytest.mark.parametrize(("env", "said"), [({"OPENROUTER_API_KEY": ""}, "that was looked at is"), ({}, "is")])
def test_the_verdict_claims_no_more_than_was_looked_at(emulator: Emulator, env: dict[str, str], said: str) -> None:
    Path("fallback.yaml").write_text(GOOD)
    done = run("check", "--no-ask", env=env)
    assert done.stdout.splitlines()[-1] == f"Everything {said} as it should be."


def test_an_endpoint_without_its_key_is_told_once(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEAR_KEY", raising=False)
    endpoints = f"{{near: {{base_url: '{emulator.base_url}', api_key_env: NEAR_KEY}}}}"
    Path("own.yaml").write_text(f"fallback:\n  default_chain: ['near:a/b']\n  endpoints: {endpoints}\n")
    report = json.loads(run("check", "-c", "own.yaml", "--json", "--no-ask").stdout)
    assert [one["text"] for one in report["findings"]] == ["NEAR_KEY is not set"]


# Where it stands


def test_a_finding_names_file_line_and_key(emulator: Emulator) -> None:
    text = GOOD.replace("deepseek/deepseek-chat", "openai/gpt-51")
    status, report = checked(text, "--no-ask")
    assert (status, found(report)) == (1, [("problem", "openai/gpt-51")])
    [finding] = report["findings"]
    at = [finding[name] for name in ("file", "line", "key")]
    assert at == ["fallback.yaml", 4, "fallback.task_chains.coding[1]"]
    assert finding["step"].startswith("Did you mean openai/gpt-5.1 (")


def test_a_workflow_of_github_gets_annotations(emulator: Emulator) -> None:
    Path("fallback.yaml").write_text(GOOD.replace("deepseek/deepseek-chat", "openai/gpt-51"))
    done = run("check", "--no-ask", "--format", "github")
    assert done.exit_code == 1
    [line] = done.stdout.splitlines()
    head = "::error file=fallback.yaml,line=4,title=fallback.task_chains.coding[1]::"
    assert line.startswith(f"{head}openai/gpt-51: does not exist%0ADid you mean openai/gpt-5.1 (")
    assert done.stderr.splitlines()[-1] == "1 problem"


BROKEN = "fallback:\n  default_chain: [openai/gpt-5.1]\n  settings: {timeout: 3, min_samples: three}\n"


def test_mistakes_of_a_file_are_annotations_too(emulator: Emulator) -> None:
    Path("fallback.yaml").write_text(BROKEN)
    done = run("check", "--format", "github")
    assert done.exit_code == 2
    first, second = sorted(done.stdout.splitlines())
    assert first.startswith("::error file=fallback.yaml,line=3,title=fallback.settings.min_samples::found 'three'")
    assert second.startswith("::error file=fallback.yaml,line=3,title=fallback.settings.timeout::unknown key. Here it")
    Path("fallback.yaml").write_text("fallback: [")
    assert run("check", "--format", "github").stdout.startswith("::error file=fallback.yaml,line=1::fallback.yaml")


def test_mistakes_of_a_file_are_in_the_json(emulator: Emulator) -> None:
    Path("fallback.yaml").write_text(BROKEN)
    told = json.loads(run("check", "--format", "json").stdout)["mistakes"]
    assert {(one["file"], one["line"], one["key"]) for one in told} == {
        ("fallback.yaml", 3, "fallback.settings.timeout"),
        ("fallback.yaml", 3, "fallback.settings.min_samples"),
    }
    Path("fallback.yaml").write_text("fallback:\n  default_chain: [")
    [syntax] = json.loads(run("check", "--format", "json").stdout)["mistakes"]
    assert (syntax["file"], syntax["line"], syntax["key"]) == ("fallback.yaml", 2, "")
    assert "YAML syntax" in syntax["text"]


def test_the_redis_server_is_tried(emulator: Emulator) -> None:
    pytest.importorskip("redis")
    port = free_port()
    text = f"{GOOD}  settings: {{health_store: 'redis://:hunter2@127.0.0.1:{port}'}}\n"
    status, report = checked(text, "--no-ask")
    assert (status, found(report)) == (1, [("problem", "health store")])
    finding = report["findings"][0]
    assert (finding["line"], finding["key"]) == (5, "fallback.settings.health_store")
    assert finding["text"] == f"does not answer: Redis at 127.0.0.1:{port}. Each process would use its own health only"
    assert "hunter2" not in str(report)
    assert checked(text, "--offline", "--strict", env={"OPENROUTER_API_KEY": ""})[0] == 0


def test_warnings_are_not_green(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    green, yellow = "\x1b[32m", "\x1b[33m"
    for text, colour in ((GOOD, green), (GOOD.replace("coding", "vision"), yellow)):
        Path("fallback.yaml").write_text(text)
        done = run("check", "--no-ask")
        assert (done.exit_code, done.stdout.splitlines()[-1].startswith(colour)) == (0, True)


# Ends


def test_without_a_network_one_screen_says_so(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.refused_url())
    Path("fallback.yaml").write_text(GOOD)
    done = run("check", "--timeout", "1")
    assert done.exit_code == 1
    assert done.stdout.count("refused") == done.stdout.count("Check the network") == 1
    assert len(done.stdout.splitlines()) < 20


def test_offline_asks_nobody_and_says_what_it_does_not_know(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.refused_url())
    status, report = checked(GOOD.replace("openai/gpt-5.1", "someone/unheard-of"), "--offline")
    assert (status, found(report)) == (0, [("note", "models of openrouter")])
    assert report["lists"] == [{"endpoint": "openrouter", "models": 0, "fetched": None}]
    assert {model["listed"] for model in report["models"]} == {None}
    step = report["findings"][0]["step"]
    assert step.startswith("Run the command once without --offline.")
    assert step.endswith("of a server on this machine is stored only with settings.catalog: always.")  # as this one's


def test_offline_goes_by_the_list_that_was_kept(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    # A server on this machine is only remembered where that is asked for.
    kept = OF_2024.replace("{max_retries", "{catalog: always, max_retries")
    assert checked(kept, "--no-ask")[0] == 1
    listens = emulator.base_url
    emulator.stop()
    try:
        status, report = checked(kept, "--offline")
    finally:
        emulator.start()
    assert emulator.base_url == listens
    assert (status, sorted(found(report))) == (1, sorted(("problem", id) for id in SUCCESSORS))
    assert report["lists"][0]["models"] >= len(TODAY_S)


UNCHECKABLE: list[tuple[str, str | None, tuple[str, ...], str]] = [
    ("broken YAML", "fallback: [", (), "fallback.yaml"),
    ("unknown key", "fallback: {default_chain: [a/a], setings: {}}", (), "'settings'"),
    ("no file", None, (), "openrouter-fallback init"),
    ("another file", None, ("--config", "other.yaml"), "other.yaml"),
    ("unknown need", GOOD, ("--needs", "telepathy"), "telepathy"),
    ("no provider", None, ("--model", "gpt-5.1"), "'openai/gpt-5.1'"),
]


@pytest.mark.parametrize(
    ("text", "args", "said"), [row[1:] for row in UNCHECKABLE], ids=[row[0] for row in UNCHECKABLE]
)
def test_what_cannot_be_checked_ends_with_status_2(
    emulator: Emulator, text: str | None, args: tuple[str, ...], said: str
) -> None:
    if text is not None:
        Path("fallback.yaml").write_text(text)
    done = run("check", *args, "--json")
    assert (done.exit_code, emulator.count()) == (2, 0)
    assert json.loads(done.stdout)["error"]["type"] == "ConfigError"
    assert said in done.stderr
    assert done.stderr.count("\n") < 10


def test_an_interrupt_ends_a_check_quietly(emulator: Emulator) -> None:
    emulator.fault("silence")
    Path("fallback.yaml").write_text(GOOD)
    with subprocess.Popen(command("check"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        emulator.wait_for(lambda log: len(log) == 3, timeout=30)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    assert (child.returncode, out, err) == (130, "", "Configuration: fallback.yaml (in this directory)\n")
    emulator.wait_for(lambda log: all(request.ended == "gone" for request in log))
