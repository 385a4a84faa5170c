"""The commands `models` and `init`: what exists, and a configuration to start from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from openrouter_fallback import load_config
from openrouter_fallback.cli.analysis.listing import provider
from openrouter_fallback.emulator import Emulator

from ..support.commands import KEY, run

EXISTING = (
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-opus-4.5",
    "openai/gpt-5.1",
    "openai/gpt-5-mini",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
    "deepseek/deepseek-chat",
    "meta-llama/llama-3.3-70b-instruct:free",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(EXISTING, api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    server.clear()
    monkeypatch.setenv("OPENROUTER_BASE_URL", server.base_url)
    monkeypatch.setenv("COLUMNS", "140")
    monkeypatch.chdir(tmp_path)
    return server


# models


def test_models_are_listed_cheapest_first_without_a_key(emulator: Emulator) -> None:
    done = run("models")
    head, *rows = [line.split() for line in done.stdout.splitlines()]
    assert done.exit_code == 0
    assert head == ["model", "context", "in", "out", "can"]
    assert rows[0][:4] == ["meta-llama/llama-3.3-70b-instruct:free", "131K", "free", "free"]
    dearest = next(row for row in rows if row[0] == "anthropic/claude-sonnet-4.5")
    assert dearest[:4] == ["anthropic/claude-sonnet-4.5", "1M", "$3.00", "$15.00"]
    assert {"tools", "schema", "image"} <= {*dearest[4:]}
    assert {row[0] for row in rows} >= {*EXISTING}
    assert done.stderr == f"{len(rows)} of {len(rows)} models; prices in USD per million tokens in and out.\n"


SEARCHES: list[tuple[tuple[str, ...], list[str]]] = [
    (("claude",), ["anthropic/claude-haiku-4.5", "anthropic/claude-sonnet-4.5", "anthropic/claude-opus-4.5"]),
    (("GPT", "mini"), ["openai/gpt-5-mini"]),
    (("--provider", "openai", "--sort", "id"), ["openai/gpt-5-mini", "openai/gpt-5.1"]),
    (("--free",), ["meta-llama/llama-3.3-70b-instruct:free"]),
    (("--can", "tools", "--can", "image", "--max-price", "2", "-p", "openai"), ["openai/gpt-5-mini"]),
    (("claude", "--min-context", "100k", "--limit", "1"), ["anthropic/claude-haiku-4.5"]),
]


@pytest.mark.parametrize(("args", "ids"), SEARCHES, ids=[" ".join(args) for args, _ in SEARCHES])
def test_a_search_in_json(emulator: Emulator, args: tuple[str, ...], ids: list[str]) -> None:
    done = run("models", *args, "--json")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [one["id"] for one in json.loads(done.stdout)["models"]] == ids


def test_what_json_says_of_a_model(emulator: Emulator) -> None:
    (one,) = json.loads(run("models", "sonnet", "--json").stdout)["models"]
    assert (one["prompt_price"], one["completion_price"], one["context_length"]) == (3.0, 15.0, 1_000_000)
    assert "tools" in one["parameters"]
    assert one["input_modalities"] == sorted(one["input_modalities"])
    assert one["expires"] is None


@pytest.mark.parametrize("args", [("nonesuch",), ("--min-context", "9M")])
def test_a_search_that_finds_nothing_ends_with_status_1(emulator: Emulator, args: tuple[str, ...]) -> None:
    done = run("models", *args)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("0 of ")
    assert json.loads(run("models", *args, "--json").stdout) == {"models": []}


MISTAKES: list[tuple[tuple[str, ...], str]] = [
    (("--can", "tols"), "did you mean 'tools'?"),
    (("--provider", "antropic"), "did you mean 'anthropic'?"),
    (("--min-context", "many"), "'many' is no number of tokens"),
    (("--endpoint", "groq"), "no endpoint 'groq' is configured; there are: openrouter"),
    (("--sort", "size"), "size"),
]


@pytest.mark.parametrize(("args", "said"), MISTAKES, ids=[" ".join(args) for args, _ in MISTAKES])
def test_a_search_that_cannot_be_made_says_why(emulator: Emulator, args: tuple[str, ...], said: str) -> None:
    done = run("models", *args)
    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    told = json.loads(run("models", *args, "--json").stdout)
    assert said in told["error"]["message"]


def test_without_a_network_the_list_of_before_serves(
    emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    Path("own.yaml").write_text("fallback: {default_chain: [a/a], settings: {catalog: always}}")
    assert run("models", "-c", "own.yaml").exit_code == 0
    emulator.stop()
    try:
        fresh, offline, nothing = (
            run("models", "-c", "own.yaml"),
            run("models", "--offline", "-c", "own.yaml"),
            run("models"),
        )
    finally:
        emulator.start()
    assert (fresh.exit_code, offline.exit_code, nothing.exit_code) == (0, 0, 1)
    assert fresh.stdout == offline.stdout
    assert nothing.stdout == ""
    assert "GET /models failed: refused" in nothing.stderr
    assert "Next step: Check the network" in nothing.stderr


# init


def test_init_writes_a_configuration_that_passes_the_check(emulator: Emulator) -> None:
    done = run("init")
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.startswith("fallback.yaml is written: 8 models of 4 providers.")
    config = load_config("fallback.yaml")
    assert config.default_chain == ("anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "google/gemini-2.5-pro")
    assert list(config.task_chains) == ["coding", "creative", "fast"]
    assert config.tiers() == ("budget", "standard", "premium")
    for chain in (config.default_chain, *config.task_chains.values()):
        assert len({provider(id) for id in chain}) == len(chain) == 3
    assert emulator.count() == 0
    checked = run("check", "--json", "--strict", env={"OPENROUTER_API_KEY": KEY})
    assert (checked.exit_code, json.loads(checked.stdout)["findings"]) == (0, [])


def test_init_overwrites_only_when_told_to(emulator: Emulator) -> None:
    Path("fallback.yaml").write_text("mine")
    refused = run("init", "--json")
    assert (refused.exit_code, Path("fallback.yaml").read_text()) == (2, "mine")
    assert "--force" in json.loads(refused.stdout)["error"]["message"]
    forced = run("init", "--force", "--json")
    said = json.loads(forced.stdout)
    assert (forced.exit_code, said["written"]) == (0, "fallback.yaml")
    assert said["chains"]["default"] == list(load_config("fallback.yaml").default_chain)
    assert list(said["cost_tiers"]) == ["budget", "standard", "premium"]


def test_init_without_a_list_of_models_writes_nothing(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = run("init", "--offline")
    assert offline.exit_code == 1
    assert "Next step: Run the command once without --offline." in offline.stderr
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.refused_url())
    assert run("init").exit_code == 1
    assert not Path("fallback.yaml").exists()
