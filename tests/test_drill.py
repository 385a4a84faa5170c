"""The fire drill: every scenario passes with failover, fails without, and a drill that should fail does."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from openrouter_fallback import Completion, FallbackClient, FallbackConfig, FallbackError, load_config
from openrouter_fallback.cli.app import app
from openrouter_fallback.commands import Ask, Facts, GiveUp, Limits
from openrouter_fallback.drill import HEALTHY, SCENARIOS, DrillResult, Scenario, ScenarioResult, Tally, run_drill
from openrouter_fallback.drill import runner as drill_runner
from openrouter_fallback.drill.report import report
from openrouter_fallback.drill.stage import DEADLINES, RefusingPort, Stage
from openrouter_fallback.failover import Failover
from openrouter_fallback.failures import Failure, FailureKind
from openrouter_fallback.health import MemoryHealth, Rules, Target
from openrouter_fallback.policy import policy
from openrouter_fallback.router import Candidate

CALLS = 5
EXAMPLE = Path(__file__).parents[1] / "examples" / "fallback.yaml"
NAMED = {scenario.name: scenario for scenario in SCENARIOS}

# Requests to the primary until it is known to be dead: min_samples calls (each of them twice after a 502),
# one after a Retry-After or a 404. Refused ones cannot be counted.
UNTIL_KNOWN: Mapping[str, int | None] = {
    "overloaded": 3,
    "rate-limited": 1,
    "refused": None,
    "silent": 3,
    "error-body": 6,
    "cut-off": 3,
    "empty": 3,
    "dead": 1,
}


def few(scenario: Scenario, calls: int = CALLS) -> Scenario:
    return replace(scenario, calls=calls, calls_after=min(scenario.calls_after, 2))


@pytest.fixture(scope="module")
def drilled() -> DrillResult:
    return run_drill(load_config(EXAMPLE), [few(scenario) for scenario in SCENARIOS])


@pytest.mark.parametrize("name", list(NAMED))
def test_each_outage_is_survived_with_failover_and_only_with_it(drilled: DrillResult, name: str) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == name)
    ours, plain = result.with_failover, result.without_failover
    assert result.problems == ()
    assert ours.answered == ours.calls == CALLS + result.scenario.calls_after
    assert drilled.primary not in ours.answered_by
    assert (plain.answered, plain.calls, sum(plain.errors.values())) == (0, CALLS, CALLS)
    assert plain.requests == ({} if result.scenario.refused else {drilled.primary: CALLS})
    assert result.requests_while_dead == 0
    until_known = UNTIL_KNOWN[name]
    assert result.primary_requests == (None if until_known is None else until_known + result.probes)
    assert bool(result.probes) == bool(result.scenario.calls_after)


def test_the_table_of_scenarios_is_the_one_that_is_promised() -> None:
    assert list(NAMED) == list(UNTIL_KNOWN)
    assert all(scenario.modes == ("chat", "stream") for scenario in SCENARIOS)


def test_the_healthy_run_is_answered_either_way(drilled: DrillResult) -> None:
    healthy = drilled.healthy
    assert healthy.passed
    assert healthy.with_failover.answered_by == {drilled.primary: HEALTHY.calls}
    assert healthy.without_failover.answered == HEALTHY.calls


def test_added_latency_is_measured_against_the_healthy_run(drilled: DrillResult) -> None:
    silent = next(one for one in drilled.scenarios if one.scenario.name == "silent")
    healthy = drilled.healthy.with_failover.median_seconds
    assert healthy is not None
    assert silent.with_failover.worst_seconds is not None
    assert silent.with_failover.worst_seconds >= DEADLINES["first_token_timeout_seconds"]
    assert silent.added_worst == pytest.approx(silent.with_failover.worst_seconds - healthy)


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_and_says_all(drilled: DrillResult, width: int) -> None:
    said = printed(drilled, width)
    lines = said.splitlines()
    assert "\x1b" not in said
    assert "…" not in said
    assert max(map(len, lines)) <= width
    for scenario in SCENARIOS:
        assert any(line.startswith(scenario.title) and line.rstrip().endswith("PASS") for line in lines)
    assert "8 of 8 scenarios passed" in said
    assert "Deadlines are shortened for the drill: 0.4 s to the first token" in " ".join(said.split())


def test_a_mixed_row_fits_too(drilled: DrillResult) -> None:
    first = drilled.scenarios[0]
    chain = (*drilled.chain, "deepseek/deepseek-chat", "qwen/qwen3")
    mixed = replace(first.with_failover, calls=16, answered=16, answered_by=dict.fromkeys(chain[1:], 4))
    titled = replace(first.scenario, title="connection refused")
    odd = replace(first, with_failover=mixed, scenario=titled, added_median=1.234, added_worst=4.321)
    said = printed(replace(drilled, scenarios=(odd,), chain=chain), 80)
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    (row,) = (line for line in said.splitlines() if line.startswith("connection refused"))
    assert row.split()[2:4] + row.split()[-4:] == ["0/5", "16/16", "+1234", "+4321", "0", "PASS"]
    assert [share for share in ("B 4", "C 4", "D 4", "E 4") if share not in said] == []


def printed(result: DrillResult, width: int) -> str:
    out = io.StringIO()
    report(result, Console(file=out, width=width))
    return out.getvalue()


# What makes a drill fail


def fails(config: FallbackConfig | None, scenario: Scenario) -> str:
    result = run_drill(config, [scenario])
    assert not result.passed
    assert "FAIL" in printed(result, 100)
    return " ".join(result.scenarios[0].problems)


def test_a_chain_of_one_fails() -> None:
    config = FallbackConfig(default_chain=["openai/gpt-5.1"])
    assert "3 of 3 calls got no whole answer (RateLimitedError x3)" in fails(config, few(NAMED["rate-limited"]))


def test_a_policy_that_raises_fails() -> None:
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"on_failure": {"overloaded": "raise"}})
    assert "got no whole answer" in fails(config, few(NAMED["overloaded"]))


def test_an_outage_that_is_none_fails() -> None:
    slow = Scenario("slow", "slow", "Nothing really.", "slow", {"delay": 0.0}, calls=2)
    assert "this outage is none" in fails(None, slow)


class Careless(FallbackClient):
    """Asks the primary first, whatever is known of it."""

    def chat(self, *args: Any, **options: Any) -> Completion:
        try:
            return super().chat(*args, **options, models=self.config.chain()[:1])
        except FallbackError:
            return super().chat(*args, **options)


def test_requests_to_a_model_known_to_be_dead_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_runner, "FallbackClient", Careless)
    scenario = replace(few(NAMED["overloaded"]), modes=("chat",))
    assert "while it was known to be dead" in fails(None, scenario)


def test_connections_to_a_port_known_to_refuse_them_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_runner, "FallbackClient", Careless)
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"max_retries_per_model": 1})
    scenario = replace(few(NAMED["refused"]), modes=("chat",))
    assert "while it was known to be dead" in fails(config, scenario)


class Half(FallbackClient):
    """Returns half of every answer."""

    def chat(self, *args: Any, **options: Any) -> Completion:
        completion = super().chat(*args, **options)
        message = completion.raw["choices"][0]["message"]
        message["content"] = message["content"][:9]
        return completion


def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill_runner, "FallbackClient", Half)
    assert "a wrong text" in fails(None, replace(few(NAMED["empty"]), modes=("chat",)))


PROBLEMS: list[tuple[str, dict[str, Any], str]] = [
    ("probed twice at a time", {"probes": 2}, "2 requests probed the primary"),
    ("never probed", {"probes": 0}, "never probed"),
    ("asked while dead", {"requests_while_dead": 4}, "4 requests went to the primary"),
    ("answered without", {"without_failover": Tally(5, 2, {"a/a": 2}, {"a/a": 5}, (), {})}, "2 calls were answered"),
]


@pytest.mark.parametrize(("change", "words"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS])
def test_each_figure_counts_for_the_verdict(change: dict[str, Any], words: str) -> None:
    ours = Tally(7, 7, {"b/b": 7}, {"a/a": 2, "b/b": 7}, (0.1,) * 7, {})
    plain = Tally(5, 0, {}, {"a/a": 5}, (), {"AllModelsFailedError": 5})
    good = ScenarioResult(few(NAMED["dead"]), ours, plain, 2, 0, 1, 1, 0.0, 0.0)
    assert good.passed
    (problem,) = replace(good, **change).problems
    assert words in problem


# The user's configuration on the stage


def test_every_endpoint_is_the_emulator_and_no_key_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "sk-secret-of-the-user"
    monkeypatch.setenv("OPENROUTER_API_KEY", secret)
    config = FallbackConfig(
        default_chain=["vllm:llama", "other:llama", "openai/gpt-5.1"],
        endpoints={
            "vllm": {"base_url": "https://vllm.example/v1", "api_key": secret, "headers": {"X-Key": secret}},
            "other": {"base_url": "https://other.example/v1", "api_key_env": "OPENROUTER_API_KEY"},
        },
        models={"vllm:llama": {"timeout": 60, "max_retries": 3, "params": {"max_tokens": 1}}},
        settings={"first_token_timeout_seconds": 90, "min_samples": 2, "attempt_timeout_seconds": 0.001},
    )
    result = run_drill(config, [few(NAMED["rate-limited"])])
    assert [one.problems for one in (result.healthy, *result.scenarios)] == [(), ()]
    assert result.chain == ("vllm:llama", "other:llama", "openai/gpt-5.1")
    assert result.scenarios[0].with_failover.answered_by == {"other:llama": CALLS}

    stage = Stage(config)
    with stage.emulator:
        for staged in (stage.with_failover(None, None), stage.without_failover(None)):
            for endpoint in staged.endpoints.values():
                assert endpoint.base_url == stage.emulator.base_url
                assert endpoint.api_key is not None
                assert endpoint.api_key.get_secret_value() == stage.emulator.api_key
                assert (endpoint.api_key_env in (None, "OPENROUTER_API_KEY"), dict(endpoint.headers)) == (True, {})
        staged = stage.with_failover(None, None)
        assert (staged.settings.min_samples, staged.settings.first_token_timeout_seconds) == (2, 0.4)
        assert staged.models["vllm:vllm:llama"].max_retries == 3
        assert staged.models["vllm:vllm:llama"].timeout is None


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with RefusingPort() as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, port.url.removesuffix("/api/v1"))
        monkeypatch.setenv("NO_PROXY", "inside.example")
        monkeypatch.delenv("no_proxy", raising=False)
        assert run_drill(None, [few(NAMED["rate-limited"])]).passed
    assert os.environ["NO_PROXY"] == "inside.example"
    assert "no_proxy" not in os.environ


def test_any_error_uses_up_its_attempts_but_probes_once() -> None:
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"policy": "any_error"})
    result = run_drill(config, [few(NAMED["dead"])]).scenarios[0]
    assert result.problems == ()
    assert result.probes == result.probed_calls > 0
    assert result.primary_requests == 2 + result.probes


# The command


def drill(*args: str) -> Any:
    return CliRunner().invoke(app, ["drill", *args], env={"COLUMNS": "80", "OPENROUTER_FALLBACK_CONFIG": ""})


def test_the_command_prints_the_table_and_what_to_type_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(EXAMPLE.parents[1])
    done = drill("--scenario", "rate-limited", "--config", "examples/fallback.yaml")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "429 Retry-After" in done.stdout
    assert "1 of 1 scenarios passed" in done.stdout
    assert "export OPENROUTER_API_KEY=sk-or-" in done.stdout
    assert "--config examples/fallback.yaml" in done.stdout


def test_the_command_as_json() -> None:
    done = drill("--json", "-s", "rate-limited")
    said = json.loads(done.stdout)
    assert (done.exit_code, done.stderr, said["passed"]) == (0, "", True)
    (limited,) = said["scenarios"]
    assert (limited["scenario"], limited["passed"], limited["problems"]) == ("rate-limited", True, [])
    assert limited["with_failover"]["answered"] == limited["with_failover"]["calls"] == 12
    assert limited["without_failover"]["answered"] == 0
    assert limited["requests_while_known_dead"] == 0
    assert said["shortened_deadlines"] == DEADLINES


def test_the_command_exits_with_1_when_a_scenario_fails(tmp_path: Path) -> None:
    lonely = tmp_path / "one.yaml"
    lonely.write_text("fallback: {default_chain: [openai/gpt-5.1]}\n")
    done = drill("--scenario", "rate-limited", "--config", str(lonely))
    assert done.exit_code == 1
    assert "FAIL" in done.stdout
    assert "nothing to fail over to" in done.stdout


def test_the_command_lists_its_scenarios_and_knows_no_others() -> None:
    said = drill("--list").stdout
    assert [name for name in NAMED if name not in said] == []
    wrong = drill("--scenario", "overloded")
    assert wrong.exit_code == 2
    assert "overloaded?" in wrong.stderr


# A machine's clock may read anything when a drill, or a program, is started.


@pytest.mark.parametrize("now", [0.0, 300.0, 5000.0, 70_000.0, 1.2e6, 2.0e7])
def test_a_silence_up_to_the_models_own_deadline_counts_whatever_the_clock_reads(now: float) -> None:
    health = MemoryHealth(Rules(min_samples=1), lambda: 0.0)
    target = Target("a/a", "openrouter", "openrouter#")
    candidate = Candidate("a/a", "a/a", target, attempts=1, timeout=0.4)
    machine = Failover([candidate], policy("smart"), health, Limits(), Facts(), now, lambda: 0.0)
    asked = machine.begin(now)
    assert isinstance(asked, Ask)
    silence = Failure(FailureKind.TIMED_OUT, "no token in time")
    assert isinstance(machine.failed(silence, asked.first_token_by), GiveUp)
    assert health.snapshot(target, asked.first_token_by).failures == 1
