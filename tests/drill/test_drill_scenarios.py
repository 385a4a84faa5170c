"""Scenarios: their YAML, who stands in for whom, who calls, and every shipped one through every surface."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest

from openrouter_fallback import ConfigError, FallbackConfig, FallbackError
from openrouter_fallback.drill import (
    EXAMPLE_CHAIN,
    HEALTHY,
    Progress,
    Scenario,
    read_scenario,
    run_drill,
    shipped,
)
from openrouter_fallback.drill.stage import Stage
from openrouter_fallback.drill.surfaces import SURFACES, SurfaceMissing, open_surface

from .test_drill import few, with_workload

NAMED = {scenario.name: scenario for scenario in shipped()}
MODELS = FallbackConfig(default_chain=EXAMPLE_CHAIN)


def read(tmp_path: Path, text: str) -> Scenario:
    file = tmp_path / "outage.yaml"
    file.write_text(text)
    return read_scenario(file)


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    scenario = read(
        tmp_path,
        """
faults:
  - {kind: stall, model: primary, after_tokens: 4, seconds: [0, 5]}
  - {kind: provider_overloaded, model: others, probability: 0.2}
pace: {model: last, latency: 0.05}
workload: {surface: langchain, modes: [agent, chat], concurrency: 4}
expect: {answered: 0.95, added_worst_seconds: 2}
settings: {min_samples: 5}
""",
    )
    assert (scenario.name, scenario.title) == ("outage", "outage")
    assert scenario.workload.modes == ["agent", "chat"]
    assert scenario.expect.answered == 0.95
    assert scenario.faults[0].given()["seconds"] == (0, 5)


MISTAKES = [
    (
        "faults: [{kind: provider_overlaoded}]",
        "line 1, faults[0].kind: there is no fault 'provider_overlaoded'; did you",
    ),
    ("workload: {modus: [chat]}", "line 1, workload.modus: unknown key. Did you mean 'modes'? Known here: surface"),
    ("expect: {answred: 1}", "line 1, expect.answred: unknown key. Did you mean 'answered'?"),
    ("workloads: {}", "line 1, workloads: unknown key. Did you mean 'workload'?"),
    ("workload: {modes: [chatt]}", "line 1, workload.modes[0]: found 'chatt'"),
    ("workload: {calls: 0}", "line 1, workload.calls: found 0; allowed is a number not below 1"),
    ("expect: {answered: 2}", "line 1, expect.answered: found 2; allowed is a number not above 1"),
    ("faults: [{kind: stall, model: primery}]", "there is no model 'primery'. Did you mean 'primary'?"),
    ("models: [a/a]", "models: a scenario has the models of the chain that is drilled"),
    ("{refused: true, workload: {concurrency: 2}}", "refused: refused connections need concurrency 1"),
    ("settings: {min_sample: 5}", "settings"),
    ("a: b: c", "line 1: YAML syntax"),
]


@pytest.mark.parametrize(("text", "words"), MISTAKES, ids=[row[0] for row in MISTAKES])
def test_a_mistake_is_told_with_file_line_and_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert words in str(caught.value)
    assert "outage.yaml" in str(caught.value)


STAND_INS = [
    ("primary", 3, (1, 0, 0)),
    ("second", 3, (0, 1, 0)),
    ("third", 3, (0, 0, 1)),
    ("last", 3, (0, 0, 1)),
    ("others", 3, (0, 1, 1)),
    ("third", 2, (0, 0)),
    ("last", 1, (1,)),
    ("openai/gpt-5.1", 3, (0, 1, 0)),
    ("not/drilled", 3, (0, 0, 0)),
]


@pytest.mark.parametrize(("name", "models", "faulty"), STAND_INS)
def test_a_stand_in_is_a_place_in_the_chain(tmp_path: Path, name: str, models: int, faulty: tuple[int, ...]) -> None:
    scenario = read(tmp_path, f"faults: [{{kind: empty, model: {name}}}]")
    config = FallbackConfig(default_chain=EXAMPLE_CHAIN[:models])
    with Stage(config, scenario) as stage, stage.faults():
        surface = open_surface("core", stage.with_failover())
        for model in stage.chain:
            with suppress(FallbackError):
                surface.client.chat("Are you there?", models=[model])
        surface.close()
        met = {entry.model for entry in stage.emulator.log if entry.fault == "empty"}
    assert tuple(int(model in met) for model in stage.chain) == faulty


def test_a_pace_is_the_scenarios_and_its_baselines(tmp_path: Path) -> None:
    scenario = read(tmp_path, "pace: {latency: 0.15}\nworkload: {calls: 2}\nexpect: {without_failover: all}")
    result = run_drill(MODELS, [scenario]).scenarios[0]
    assert result.problems == ()
    assert result.baseline is not None
    assert result.baseline >= 0.15


def test_settings_of_a_scenario_replace_the_users_but_share_nothing(tmp_path: Path) -> None:
    config = FallbackConfig(
        default_chain=EXAMPLE_CHAIN,
        settings={"min_samples": 3, "spend_limit_usd": {"per_day": 1e-9}, "health_store": "redis://127.0.0.1:1"},
    )
    scenario = read(tmp_path, "settings: {min_samples: 7, health_store: 'redis://127.0.0.1:2'}")
    with Stage(config, scenario) as stage:
        staged = stage.with_failover().settings
        assert (staged.min_samples, str(staged.health_store), staged.spend_limit_usd) == (7, "memory", None)


FRAMEWORKS = {"langchain": "langchain_openrouter_fallback", "llamaindex": "llamaindex_openrouter_fallback"}


@pytest.mark.parametrize("name", ["cut-off", "stalled", "agent", "crowd"])
@pytest.mark.parametrize("surface", [name for name in SURFACES if name != "core"])
def test_frameworks_survive_as_the_core_does(surface: str, name: str) -> None:
    pytest.importorskip(FRAMEWORKS[surface], reason=f"{surface} is not installed", exc_type=ImportError)
    scenario = few(with_workload(NAMED[name], surface=surface), 16 if name == "crowd" else 4)
    result = run_drill(MODELS, [scenario]).scenarios[0]
    assert result.problems == ()
    assert EXAMPLE_CHAIN[0] not in result.with_failover.answered_by
    for call in result.with_failover.calls:
        assert [attempt.model for attempt in call.attempts] == [one.model for one in call.asked]


@pytest.mark.parametrize("surface", list(FRAMEWORKS))
def test_a_surface_that_is_not_installed_is_skipped_and_named(surface: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(__import__("sys").modules, f"openrouter_fallback.drill.surfaces.{surface}", raising=False)
    monkeypatch.setitem(__import__("sys").modules, FRAMEWORKS[surface], None)
    with pytest.raises(SurfaceMissing):
        open_surface(surface, MODELS)
    scenario = few(with_workload(NAMED["overloaded"], surface=surface))
    result = run_drill(MODELS, [scenario, few(NAMED["empty"])])
    assert [one.scenario.name for one in result.scenarios] == ["empty"]
    ((skipped, reason),) = result.skipped
    assert skipped.name == "overloaded"
    assert reason == f'{surface} is not installed: pip install "openrouter-fallback[{surface}]"'
    assert result.passed


def test_a_drill_tells_how_far_it_is() -> None:
    told: list[Progress] = []
    run_drill(MODELS, [few(NAMED["overloaded"], 4)], watch=told.append)
    counted = [(one.scenario.name, one.done, one.serving) for one in told if one.number and one.states]
    assert counted == [("overloaded", n, EXAMPLE_CHAIN[1]) for n in range(1, 5)]
    assert told[-1].states is None
    assert [one.scenario.name for one in told if one.result is not None] == [HEALTHY.name, "overloaded"]
    states = [one.states[EXAMPLE_CHAIN[0]] for one in told if one.number and one.states]
    assert (states[0], states[-1]) == ("closed", "open")


def test_an_interrupt_ends_a_drill_with_many_callers() -> None:
    def interrupt(progress: object) -> None:
        if getattr(progress, "done", 0) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_drill(MODELS, [few(NAMED["overloaded"], 100)], watch=interrupt)
