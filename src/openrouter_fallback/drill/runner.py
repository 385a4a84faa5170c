"""Runs scenarios. Each run has its own emulator. Each scenario runs once without failover and once with failover."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import yaml

from .. import ConfigError, FallbackConfig
from .caller import Caller
from .records import Run
from .results import DrillResult, ScenarioResult
from .scenarios import HEALTHY, Scenario, SurfaceName, shipped
from .stage import DEADLINES, Stage, no_proxies
from .surfaces import SurfaceMissing, open_surface

EXAMPLE_CHAIN = ("anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct")
"""The chain that is drilled without a configuration."""

_BASELINE_CALLS = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a drill after a call. After the last call of a scenario, `result` is set.

    - `number`, `of`: the number of the scenario (0: without an outage), and the number of scenarios.
    - `done`, `answered`: the number of calls with failover so far, and how many of them were answered.
    - `serving`: the model that answered the last call.
    - `states`: the breaker state of each model.
    """

    scenario: Scenario
    number: int
    of: int
    done: int = 0
    answered: int = 0
    serving: str | None = None
    states: Mapping[str, str] | None = None
    result: ScenarioResult | None = None
    skipped: str | None = None


Watch = Callable[[Progress], object]
"""A function that receives the progress of a drill. It is called from any thread."""


def _ignore(progress: Progress) -> None:
    pass


def run_drill(
    config: FallbackConfig | None = None,
    scenarios: Sequence[Scenario] | None = None,
    *,
    task: str | None = None,
    surface: SurfaceName | None = None,
    watch: Watch | None = None,
) -> DrillResult:
    """Run a drill on loopback, without a real API key. Each scenario takes one or two seconds.

    - `config`: the configuration; None drills `EXAMPLE_CHAIN`.
    - `scenarios`: the scenarios to run; None runs all shipped scenarios.
    - `task`: drill the chain of this task instead of the default chain.
    - `surface`: replaces the surface of every scenario. A scenario is skipped if the extra of its surface is missing.
    - `watch`: a function that receives the progress, from any thread.

    Raises `ConfigError` for an unknown task or an invalid scenario.
    """
    config = config or FallbackConfig(default_chain=EXAMPLE_CHAIN)
    if task is not None and task not in config.task_chains:
        raise ConfigError(f"there is no task {task!r}; there are: {', '.join(config.task_chains) or 'none'}")
    chosen = shipped() if scenarios is None else scenarios
    if surface is not None:
        chosen = [_with_surface(surface, scenario) for scenario in chosen]
    drill = _Drill(config, task, watch or _ignore, len(chosen))
    started = time.monotonic()
    with no_proxies():
        healthy = drill.run(HEALTHY if surface is None else _with_surface(surface, HEALTHY), 0)
        if healthy is None:
            raise ConfigError(drill.skipped[0][1])
        results = [drill.run(scenario, number) for number, scenario in enumerate(chosen, 1)]
    stage = Stage(config, HEALTHY, task=task)
    return DrillResult(
        chain=stage.chain,
        healthy=healthy,
        scenarios=tuple(result for result in results if result is not None),
        deadlines=DEADLINES,
        seconds=time.monotonic() - started,
        config=_config_yaml(config, task),
        skipped=tuple(drill.skipped),
    )


def _with_surface(surface: SurfaceName, scenario: Scenario) -> Scenario:
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update={"surface": surface})})


class _Drill:
    def __init__(self, config: FallbackConfig, task: str | None, watch: Watch, of: int) -> None:
        self._config = config
        self._task = task
        self._watch = watch
        self._of = of
        self._baselines: dict[str, float | None] = {}
        self.skipped: list[tuple[Scenario, str]] = []

    def run(self, scenario: Scenario, number: int) -> ScenarioResult | None:
        """Run a scenario without failover and with failover; None if its surface is not installed."""
        self._watch(Progress(scenario, number, self._of))
        try:
            plain, ours = self._run_both(scenario, number)
            baseline = self._baseline(scenario) if number else ours.median_seconds
        except SurfaceMissing as missing:
            self.skipped.append((scenario, str(missing)))
            self._watch(Progress(scenario, number, self._of, skipped=str(missing)))
            return None
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError(f"scenario {scenario.name}: {error}") from None
        primary = Stage(self._config, HEALTHY, task=self._task).primary
        result = ScenarioResult(scenario, primary, ours, plain, baseline)
        if not number:
            self._baselines[_workload_key(scenario)] = baseline
        self._watch(Progress(scenario, number, self._of, result=result))
        return result

    def _run_both(self, scenario: Scenario, number: int) -> tuple[Run, Run]:
        """Run both variants at the same time, because a drill mostly waits: (without failover, with failover)."""
        stopped = threading.Event()
        with ThreadPoolExecutor(1) as pool:
            plain = pool.submit(self._run, scenario, number, stopped, failover=False)
            try:
                ours = self._run(scenario, number, stopped, failover=True)
                return plain.result(), ours
            except BaseException:
                stopped.set()
                raise

    def _baseline(self, scenario: Scenario) -> float | None:
        """The median duration in seconds of a call of the same workload at the same pace, without faults."""
        kind = _workload_key(scenario)
        if kind not in self._baselines:
            workload = scenario.workload.model_copy(
                update={"calls": _BASELINE_CALLS * scenario.workload.concurrency, "seconds": None, "calls_after": 0}
            )
            calm = HEALTHY.model_copy(update={"workload": workload, "pace": scenario.pace})
            self._baselines[kind] = self._run(calm, 0, threading.Event(), failover=True, quiet=True).median_seconds
        return self._baselines[kind]

    def _run(
        self, scenario: Scenario, number: int, stopped: threading.Event, *, failover: bool, quiet: bool = False
    ) -> Run:
        workload = scenario.workload
        with Stage(self._config, scenario, task=self._task) as stage:
            config = stage.with_failover() if failover else stage.without_failover()
            surface = open_surface(workload.surface, config)
            watch = self._watch if failover and not quiet else _ignore
            reporter = _ProgressReporter(watch, Progress(scenario, number, self._of))
            try:
                caller = Caller(stage, scenario, surface, failover=failover, stopped=stopped, on_call=reporter)
                reporter.caller = caller
                with stage.faults():
                    caller.make(workload.calls, workload.seconds)
                    if workload.calls_after and not caller.gave_up:
                        if failover:
                            caller.wait_for_primary()
                        caller.make(workload.calls_after)  # also without failover: both runs make the same calls
            finally:
                surface.close()
            return caller.run()


class _ProgressReporter:
    """Counts calls, and reports each call to `watch` as a `Progress`."""

    def __init__(self, watch: Watch, start: Progress) -> None:
        self._watch = watch
        self._start = start
        self._done = self._answered = 0
        self.caller: Caller | None = None

    def __call__(self, number: int, good: bool, model: str | None) -> None:
        self._done += 1
        self._answered += good
        one = self._start
        states = self.caller.states if self.caller is not None else {}
        self._watch(Progress(one.scenario, one.number, one.of, self._done, self._answered, model, states))


def _workload_key(scenario: Scenario) -> str:
    """A key that two scenarios share if their calls take the same time without faults."""
    counts = {"calls", "seconds", "calls_after", "pause"}
    pace = [one.model_dump() for one in scenario.pace]
    return repr((scenario.workload.model_dump(exclude=counts), pace))


def _config_yaml(config: FallbackConfig, task: str | None) -> str:
    """The part of a configuration that a drill uses, as YAML, without URLs, headers, API keys and parameters."""
    chain = config.chain(task)
    kept = ("priority", "max_retries")
    models = {key: config.model(key).model_dump(include=set(kept), exclude_none=True) for key in chain}
    settings: Mapping[str, Any] = config.settings.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    shown = {
        "chain" if task is None else f"task_chains.{task}": list(chain),
        "models": {key: given for key, given in models.items() if given},
        "settings": {name: value for name, value in settings.items() if name != "health_store"},
    }
    return yaml.safe_dump({name: part for name, part in shown.items() if part}, sort_keys=False, allow_unicode=True)
