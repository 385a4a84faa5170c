"""Runs scenarios: each against an emulator of its own, once without failover and once with it."""

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
"""What is drilled where there is no configuration."""

_BASELINE_CALLS = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a drill is: after each call, and with its `result` after each scenario.

    `number` of `of` scenarios (the healthy one is 0); `answered` of `done` calls so far with failover, the last by
    `serving`; `states` of the breakers by model.
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
"""A function that is told where a drill is, from any thread."""


def _unseen(progress: Progress) -> None:
    pass


def run_drill(
    config: FallbackConfig | None = None,
    scenarios: Sequence[Scenario] | None = None,
    *,
    task: str | None = None,
    surface: SurfaceName | None = None,
    watch: Watch | None = None,
) -> DrillResult:
    """Put a chain of `config` (the default one or a task's; None: `EXAMPLE_CHAIN`) through scenarios (None: all
    shipped ones); takes a second or two for each.

    Everything happens on loopback, without a real key. `surface` replaces that of the scenarios; one whose extra is not
    installed is skipped. `watch` is called as things happen, from any thread. Raises `ConfigError` for a scenario that
    does not fit.
    """
    config = config or FallbackConfig(default_chain=EXAMPLE_CHAIN)
    if task is not None and task not in config.task_chains:
        raise ConfigError(f"there is no task {task!r}; there are: {', '.join(config.task_chains) or 'none'}")
    chosen = shipped() if scenarios is None else scenarios
    if surface is not None:
        chosen = [_through(surface, scenario) for scenario in chosen]
    drill = _Drill(config, task, watch or _unseen, len(chosen))
    begun = time.monotonic()
    with no_proxies():
        healthy = drill.run(HEALTHY if surface is None else _through(surface, HEALTHY), 0)
        if healthy is None:
            raise ConfigError(drill.skipped[0][1])
        results = [drill.run(scenario, number) for number, scenario in enumerate(chosen, 1)]
    stage = Stage(config, HEALTHY, task=task)
    return DrillResult(
        chain=stage.chain,
        healthy=healthy,
        scenarios=tuple(result for result in results if result is not None),
        deadlines=DEADLINES,
        seconds=time.monotonic() - begun,
        config=_drilled(config, task),
        skipped=tuple(drill.skipped),
    )


def _through(surface: SurfaceName, scenario: Scenario) -> Scenario:
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
        """A scenario, without failover and with it; None where its surface is not installed."""
        self._watch(Progress(scenario, number, self._of))
        try:
            plain, ours = self._both(scenario, number)
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
            self._baselines[_kind(scenario)] = baseline
        self._watch(Progress(scenario, number, self._of, result=result))
        return result

    def _both(self, scenario: Scenario, number: int) -> tuple[Run, Run]:
        """Without failover and with it, at the same time: most of a drill is waiting."""
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
        """Seconds of a usual call of the same workload at the same pace, when all is well."""
        kind = _kind(scenario)
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
            told = _Told(self._watch if failover and not quiet else _unseen, Progress(scenario, number, self._of))
            try:
                caller = Caller(stage, scenario, surface, remembers=failover, stopped=stopped, told=told)
                told.caller = caller
                with stage.faults():
                    caller.make(workload.calls, workload.seconds)
                    if workload.calls_after and not caller.gave_up:
                        if failover:
                            caller.wait_for_primary()
                        caller.make(workload.calls_after)  # without failover too: both runs make as many calls
            finally:
                surface.close()
            return caller.run()


class _Told:
    """Counts calls into `Progress`."""

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


def _kind(scenario: Scenario) -> str:
    """What makes two workloads take the same time when all is well."""
    counts = {"calls", "seconds", "calls_after", "pause"}
    pace = [one.model_dump() for one in scenario.pace]
    return repr((scenario.workload.model_dump(exclude=counts), pace))


def _drilled(config: FallbackConfig, task: str | None) -> str:
    """The part of a configuration that a drill takes, as YAML. URLs, headers, keys and parameters are not in it."""
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
