"""The fire drill: every scenario passes with failover, fails without, and a drill that should fail does."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from openrouter_fallback import Completion, FallbackClient, FallbackConfig, FallbackError, load_config
from openrouter_fallback.decision.commands import Fail, Limits, StartAttempt
from openrouter_fallback.decision.failover import Failover
from openrouter_fallback.drill import (
    HEALTHY,
    Asked,
    Call,
    DrillResult,
    Run,
    Scenario,
    ScenarioResult,
    Workload,
    run_drill,
    shipped,
)
from openrouter_fallback.drill.reporting.report import report
from openrouter_fallback.drill.stage import DEADLINES, RefusingPort, Stage
from openrouter_fallback.drill.surfaces import core
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import policy
from openrouter_fallback.health import HealthScopes, MemoryHealth, Rules
from openrouter_fallback.routes.candidate import Candidate
from openrouter_fallback.routes.needs import RequestTraits

CALLS = 5
EXAMPLE = Path(__file__).parents[2] / "examples" / "fallback.yaml"
SCENARIOS = shipped()
NAMED = {scenario.name: scenario for scenario in SCENARIOS}

# Requests to the primary until it is known to be dead: min_samples calls (each of them twice after a 502),
# one after a Retry-After or a 404. Refused ones cannot be counted. Two scenarios are not about that.
UNTIL_KNOWN: Mapping[str, int | None] = {
    "overloaded": 3,
    "rate-limited": 1,
    "refused": None,
    "silent": 3,
    "error-body": 6,
    "cut-off": 3,
    "empty": 3,
    "dead": 1,
    "stalled": 3,
    "two-down": 3,
    "agent": 3,
    "long": 3,
}
OTHERS = ("flaky", "recovery", "crowd")


def few(scenario: Scenario, calls: int = CALLS, **more: Any) -> Scenario:
    workload = scenario.workload
    after = min(workload.calls_after, 2)
    return with_workload(scenario, calls=min(workload.calls, calls), calls_after=after, **more)


def with_workload(scenario: Scenario, **changes: Any) -> Scenario:
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=changes)})


def with_expect(scenario: Scenario, **changes: Any) -> Scenario:
    return scenario.model_copy(update={"expect": scenario.expect.model_copy(update=changes)})


@pytest.fixture(scope="module")
def drilled() -> DrillResult:
    return run_drill(load_config(EXAMPLE), [few(scenario) for scenario in SCENARIOS])


@pytest.mark.parametrize("name", list(UNTIL_KNOWN))
def test_each_outage_is_survived_with_failover_and_only_with_it(drilled: DrillResult, name: str) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == name)
    ours, plain, workload = result.with_failover, result.without_failover, result.scenario.workload
    assert result.problems == ()
    made = workload.calls + workload.calls_after
    assert ours.answered == len(ours.calls) == made
    assert drilled.primary not in ours.answered_by
    assert (plain.answered, len(plain.calls), sum(plain.errors.values())) == (0, made, made)
    assert plain.requests == ({} if result.scenario.refused else {drilled.primary: made})
    assert ours.requests_to_dead == 0
    until_known = UNTIL_KNOWN[name]
    assert result.primary_requests == (None if until_known is None else until_known + ours.probes)
    assert bool(ours.probes) == bool(workload.calls_after)


def test_the_table_of_scenarios_is_the_one_that_is_promised() -> None:
    assert sorted(NAMED) == sorted([*UNTIL_KNOWN, *OTHERS])
    assert all(scenario.title and scenario.description.endswith(".") for scenario in SCENARIOS)


def test_a_flaky_model_goes_on_serving(drilled: DrillResult) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == "flaky")
    assert result.problems == ()
    assert drilled.primary in result.with_failover.answered_by


def test_an_outage_that_ends_leaves_its_trace(drilled: DrillResult) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == "recovery")
    states = [change.state for change in result.with_failover.changes if change.model == drilled.primary]
    assert result.problems == ()
    assert (states[0], states[-1]) == ("closed", "closed")
    assert {"open", "half_open"} <= set(states)
    assert result.with_failover.answered_by.keys() == {drilled.primary, drilled.chain[1]}
    assert result.with_failover.calls[-1].model == drilled.primary


def test_callers_side_by_side_are_told_apart() -> None:
    result = run_drill(None, [few(NAMED["crowd"], 16)]).scenarios[0]
    assert result.problems == ()
    assert sorted(call.number for call in result.with_failover.calls) == list(range(1, 17))
    assert all(len(call.asked) in (1, 2) for call in result.with_failover.calls)


def test_a_stream_that_goes_on_says_where(drilled: DrillResult) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == "stalled")
    first = result.with_failover.calls[0]
    (seam,) = first.seams
    assert (seam.before, seam.after) == drilled.chain[:2]
    assert first.text[: seam.offset].startswith(drilled.primary)
    assert [(one.model, one.ended) for one in first.asked] == [
        (drilled.primary, "gone"),
        (drilled.chain[1], "finished"),
    ]


def test_a_call_knows_its_requests_and_attempts(drilled: DrillResult) -> None:
    result = next(one for one in drilled.scenarios if one.scenario.name == "error-body")
    first = result.with_failover.calls[0]
    assert [(one.model, one.fault) for one in first.asked] == [
        (drilled.primary, "provider_unavailable"),
        (drilled.primary, "provider_unavailable"),
        (drilled.chain[1], None),
    ]
    assert [attempt.model for attempt in first.attempts] == [one.model for one in first.asked]
    assert first.at <= first.asked[0].at <= first.asked[0].until <= first.asked[1].at
    assert sum(one.cost for one in first.asked) > 0


def test_the_healthy_run_is_answered_either_way(drilled: DrillResult) -> None:
    healthy = drilled.healthy
    assert healthy.passed
    assert healthy.with_failover.answered_by == {drilled.primary: HEALTHY.workload.calls}
    assert healthy.without_failover.answered == HEALTHY.workload.calls


def test_added_latency_is_measured_against_the_same_workload_when_all_is_well(drilled: DrillResult) -> None:
    silent = next(one for one in drilled.scenarios if one.scenario.name == "silent")
    assert silent.baseline == drilled.healthy.with_failover.median_seconds
    assert silent.baseline is not None
    assert silent.with_failover.worst_seconds is not None
    assert silent.with_failover.worst_seconds >= DEADLINES["first_token_timeout_seconds"]
    assert silent.added_worst == pytest.approx(silent.with_failover.worst_seconds - silent.baseline)
    agent = next(one for one in drilled.scenarios if one.scenario.name == "agent")
    assert agent.baseline is not None
    assert agent.baseline != silent.baseline


@pytest.mark.parametrize("width", [80, 120])
def test_the_report_fits_and_says_all(drilled: DrillResult, width: int) -> None:
    said = printed(drilled, width)
    lines = said.splitlines()
    assert "\x1b" not in said
    assert "…" not in said
    assert max(map(len, lines)) <= width
    for scenario in SCENARIOS:
        assert any(line.startswith(scenario.title) and line.rstrip().endswith("PASS") for line in lines)
    assert f"{len(SCENARIOS)} of {len(SCENARIOS)} scenarios passed" in said
    assert "Deadlines are shortened for the drill: 0.4 s to the first token" in " ".join(said.split())


def test_a_mixed_row_fits_too(drilled: DrillResult) -> None:
    first = drilled.scenarios[0]
    chain = (*drilled.chain, "deepseek/deepseek-chat", "qwen/qwen3")
    calls = tuple(replace(first.with_failover.calls[0], model=chain[1 + n % 4], seconds=1.234) for n in range(16))
    mixed = replace(first.with_failover, calls=calls)
    titled = first.scenario.model_copy(update={"title": "connection refused"})
    odd = replace(first, with_failover=mixed, scenario=titled, baseline=0.0)
    said = printed(replace(drilled, scenarios=(odd,), chain=chain), 80)
    assert "…" not in said
    assert max(map(len, said.splitlines())) <= 80
    (row,) = (line for line in said.splitlines() if line.startswith("connection refused"))
    assert row.split()[2:4] + row.split()[-4:] == ["0/5", "16/16", "+1234", "+1234", "0", "PASS"]
    assert [share for share in ("B 4", "C 4", "D 4", "E 4") if share not in said] == []


def printed(result: DrillResult, width: int) -> str:
    out = io.StringIO()
    report(result, Console(file=out, width=width))
    return out.getvalue()


# What makes a drill fail


def fails(config: FallbackConfig | None, scenario: Scenario) -> str:
    result = run_drill(config, [scenario])
    assert not result.passed
    assert result.verdict.upper() in printed(result, 100)
    return " ".join(problem.text for problem in result.scenarios[0].problems)


def test_a_chain_of_one_fails() -> None:
    config = FallbackConfig(default_chain=["openai/gpt-5.1"])
    assert "3 of 3 calls got no answer (RateLimitedError x3)" in fails(config, few(NAMED["rate-limited"]))


def test_a_policy_that_raises_fails() -> None:
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"on_failure": {"overloaded": "raise"}})
    assert "got no answer" in fails(config, few(NAMED["overloaded"]))


def test_calls_go_on_where_an_outage_may_end() -> None:
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"on_failure": {"overloaded": "raise"}})
    ours = run_drill(config, [few(NAMED["recovery"], 12)]).scenarios[0].with_failover
    assert len(ours.calls) == 12 + 2
    assert 0 < ours.answered < len(ours.calls)


def test_an_outage_that_is_none_fails() -> None:
    slow = Scenario(name="slow", title="slow", workload=Workload(calls=2))
    assert "this scenario is no outage" in fails(None, slow)


class Careless(FallbackClient):
    """Asks the primary first, whatever is known of it."""

    def chat(self, *args: Any, **options: Any) -> Completion:
        try:
            return super().chat(*args, **options, models=self.config.chain()[:1])
        except FallbackError:
            return super().chat(*args, **options)


def test_requests_to_a_model_known_to_be_dead_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FallbackClient", Careless)
    scenario = few(NAMED["overloaded"], modes=["chat"])
    assert "while it was known to be dead" in fails(None, scenario)


def test_connections_to_a_port_known_to_refuse_them_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FallbackClient", Careless)
    config = FallbackConfig(default_chain=["a/a", "b/b"], settings={"max_retries_per_model": 1})
    scenario = few(NAMED["refused"], modes=["chat"])
    assert "while it was known to be dead" in fails(config, scenario)


class Half(FallbackClient):
    """Returns half of every answer."""

    def chat(self, *args: Any, **options: Any) -> Completion:
        completion = super().chat(*args, **options)
        message = completion.raw["choices"][0]["message"]
        message["content"] = message["content"][:9]
        return completion


def test_half_an_answer_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core, "FallbackClient", Half)
    assert "5 of 5 calls got a wrong or partial answer" in fails(None, few(NAMED["empty"], modes=["chat"]))


def called(number: int, model: str | None = "b/b", **more: Any) -> Call:
    outcome: Any = more.pop("outcome", "answered" if model else "unanswered")
    asked = more.pop("asked", (Asked(model, 0.0, 0.1),) if model else ())
    error = more.pop("error", "" if outcome == "answered" else "AllModelsFailedError")
    return Call(number, "chat", float(number), more.pop("seconds", 0.1), outcome, model, error, asked=asked, **more)


PLAIN = Run(tuple(called(n, None) for n in range(5)))
PROBED = called(6, asked=(Asked("a/a", 6.0, 6.0, ended="fault", probe=True), Asked("b/b", 6.0, 6.1)))
OURS = Run((*(called(n) for n in range(5)), PROBED), known_dead=True)
TWICE = replace(PROBED, asked=PROBED.asked[:1] * 2)
TO_DEAD = replace(PROBED, asked=(Asked("a/a", 6.0, 6.0, ended="fault", known_dead=True), *PROBED.asked))
WRONG = called(7, None, outcome="partial", error="a wrong text")
PROBLEMS: list[tuple[str, dict[str, Any], dict[str, Any], str, str]] = [
    ("unanswered", {"with_failover": PLAIN}, {}, "failed", "5 of 5 calls got no answer (AllModelsFailedError x5)"),
    ("partial", {"with_failover": Run((*OURS.calls, WRONG))}, {}, "failed", "1 of 7 calls got a wrong or partial"),
    ("probed twice at a time", {"with_failover": replace(OURS, calls=(TWICE,))}, {}, "degraded", "more than once"),
    ("never probed", {"with_failover": replace(OURS, calls=OURS.calls[:5])}, {}, "degraded", "was probed after"),
    ("asked while dead", {"with_failover": replace(OURS, calls=(TO_DEAD,))}, {}, "degraded", "1 requests went to"),
    ("answered without", {"without_failover": OURS}, {}, "degraded", "6 calls were answered without"),
    ("all expected without", {}, {"without_failover": "all"}, "degraded", "5 calls failed without failover"),
    ("slow", {"baseline": 0.01}, {"added_median_seconds": 0.05}, "degraded", "median call took 0.09 s more"),
    ("slowest", {"baseline": 0.01}, {"added_worst_seconds": 0.05}, "degraded", "slowest call took 0.09 s more"),
    (
        "dear",
        {"with_failover": Run((PROBED, called(7, asked=(Asked("b/b", 0, 1, cost=0.5),))))},
        {"cost_usd_per_call": 0.2},
        "degraded",
        "cost 0.25 USD; expected are at most 0.2",
    ),
    ("not back", {}, {"recovers": True}, "degraded", "b/b answered the last call"),
]


@pytest.mark.parametrize(
    ("change", "expect", "verdict", "words"), [row[1:] for row in PROBLEMS], ids=[row[0] for row in PROBLEMS]
)
def test_each_figure_counts_for_the_verdict(
    change: dict[str, Any], expect: dict[str, Any], verdict: str, words: str
) -> None:
    scenario = few(NAMED["dead"])
    good = ScenarioResult(scenario, "a/a", OURS, PLAIN, 0.1)
    assert (good.passed, good.verdict) == (True, "passed")
    (problem,) = replace(good, **change, scenario=with_expect(scenario, **expect)).problems
    assert problem.verdict == verdict
    assert words in problem.text


def test_expectations_can_allow_what_is_a_failure_else() -> None:
    half = Run((called(1), called(2, None), WRONG))
    lenient = with_expect(NAMED["overloaded"], answered=0.3, partial_answers=1)
    assert ScenarioResult(lenient, "a/a", half, PLAIN).passed


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

    with Stage(config, HEALTHY) as stage:
        for staged in (stage.with_failover(), stage.without_failover()):
            for endpoint in staged.endpoints.values():
                assert endpoint.base_url == stage.emulator.base_url
                assert endpoint.api_key is not None
                assert endpoint.api_key.get_secret_value() == stage.emulator.api_key
                assert (endpoint.api_key_env in (None, "OPENROUTER_API_KEY"), dict(endpoint.headers)) == (True, {})
        staged = stage.with_failover()
        assert (staged.settings.min_samples, staged.settings.first_token_timeout_seconds) == (2, 0.4)
        assert staged.models["vllm:vllm:llama"].max_retries == 3
        assert staged.models["vllm:vllm:llama"].timeout is None


def test_a_proxy_of_the_environment_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(RefusingPort()) as port:
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
    ours = result.with_failover
    assert ours.probes == sum(any(one.probe for one in call.asked) for call in ours.calls) > 0
    assert result.primary_requests == 2 + ours.probes


# A machine's clock may read anything when a drill, or a program, is started.


@pytest.mark.parametrize("now", [0.0, 300.0, 5000.0, 70_000.0, 1.2e6, 2.0e7])
def test_a_silence_up_to_the_models_own_deadline_counts_whatever_the_clock_reads(now: float) -> None:
    health = MemoryHealth(Rules(min_samples=1), lambda: 0.0)
    target = HealthScopes("a/a", "openrouter", "openrouter#")
    candidate = Candidate("a/a", "a/a", target, attempts=1, timeout=0.4)
    machine = Failover([candidate], policy("smart"), health, Limits(), RequestTraits(), now, lambda: 0.0)
    asked = machine.begin(now)
    assert isinstance(asked, StartAttempt)
    silence = Failure(FailureKind.TIMED_OUT, "no token in time")
    assert isinstance(machine.failed(silence, asked.first_token_by), Fail)
    assert health.snapshot(target, asked.first_token_by).failures == 1
