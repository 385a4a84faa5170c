"""The results of a drill, and the problems and verdicts that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from .records import Call, Run
from .scenarios import Scenario

Verdict = Literal["passed", "degraded", "failed"]
"""The verdict on a scenario or a drill."""
VERDICTS: tuple[Verdict, ...] = ("passed", "degraded", "failed")
"""The verdicts, from best to worst."""


@dataclass(frozen=True, slots=True)
class Problem:
    """A result that was not as expected: `failed` if callers got no answer or a wrong answer, else `degraded`."""

    verdict: Verdict
    text: str


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """The result of one scenario, with failover and without.

    `baseline` is the median duration, in seconds, of a call of the same workload without faults.
    """

    scenario: Scenario
    primary: str
    with_failover: Run
    without_failover: Run
    baseline: float | None = None

    @property
    def added_median(self) -> float | None:
        """The median duration above the baseline, in seconds; 0 if it was below, which is noise."""
        return self._added(self.with_failover.median_seconds)

    @property
    def added_worst(self) -> float | None:
        """The longest duration above the baseline, in seconds; 0 if it was below, which is noise."""
        return self._added(self.with_failover.worst_seconds)

    @property
    def primary_requests(self) -> int | None:
        """The number of requests to the primary; None if its connections are refused, since no server sees those."""
        return None if self.with_failover.blind else self.with_failover.requests.get(self.primary, 0)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems; empty if the scenario has passed."""
        ours = self.with_failover
        expected, share = self.scenario.expect, ours.answered / len(ours.calls)
        missing = len(ours.calls) - ours.answered - ours.partial
        failed = []
        if share < expected.answered and missing:
            raised = ", ".join(f"{name} x{count}" for name, count in ours.errors.items())
            failed.append(f"{missing} of {len(ours.calls)} calls got no answer ({raised})")
        if ours.partial > expected.partial_answers:
            failed.append(f"{ours.partial} of {len(ours.calls)} calls got a wrong or partial answer as a whole one")
        found = [Problem("failed", text) for text in failed]
        # If no model answers, a call also tries skipped models. That is not a waste.
        degraded = [*self._without(), *([] if failed else [*self._waste(), *self._slow_or_dear()])]
        return tuple(found + [Problem("degraded", text) for text in degraded])

    def _without(self) -> list[str]:
        plain, expected = self.without_failover, self.scenario.expect.without_failover
        if expected == "none" and plain.answered:
            return [f"{plain.answered} calls were answered without failover: this scenario is no outage"]
        if expected == "all" and not plain.complete:
            return [f"{len(plain.calls) - plain.answered} calls failed without failover, where all should be answered"]
        return []

    def _waste(self) -> list[str]:
        ours, found = self.with_failover, []
        to_dead = ours.requests_to_dead or 0
        if to_dead > self.scenario.expect.requests_to_dead:
            found.append(f"{to_dead} requests went to a model while it was known to be dead")
        twice = sum(max(_probed(call).values(), default=0) > 1 for call in ours.calls)
        if twice:
            found.append(f"{twice} calls probed a dead model more than once")
        if self.scenario.workload.calls_after and ours.known_dead and not ours.probes:
            found.append("no dead model was probed after the open time of its circuit")
        last = max(ours.calls, key=lambda call: call.at)
        if self.scenario.expect.recovers and last.model != self.primary:
            found.append(f"the primary no longer answers: {last.model or 'no model'} answered the last call")
        return found

    def _slow_or_dear(self) -> list[str]:
        expected, ours = self.scenario.expect, self.with_failover
        cost = ours.cost / max(1, ours.answered)
        measured = (
            ("median call took {} s more than without faults", self.added_median, expected.added_median_seconds),
            ("slowest call took {} s more than without faults", self.added_worst, expected.added_worst_seconds),
            ("answered call cost {} USD", cost, expected.cost_usd_per_call),
        )
        return [
            f"the {words.format(f'{value:.4g}')}; expected are at most {most:g}"
            for words, value, most in measured
            if value is not None and most is not None and value > most
        ]

    def _added(self, seconds: float | None) -> float | None:
        return None if seconds is None or self.baseline is None else max(0.0, seconds - self.baseline)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of the problems."""
        return max((problem.verdict for problem in self.problems), key=VERDICTS.index, default="passed")

    @property
    def passed(self) -> bool:
        """Whether the scenario has no problems."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON: durations in seconds, counts, costs in USD."""
        return {
            "scenario": self.scenario.name,
            "description": self.scenario.description,
            "verdict": self.verdict,
            "passed": self.passed,
            "problems": [problem.text for problem in self.problems],
            "surface": self.scenario.workload.surface,
            "with_failover": _run(self.with_failover),
            "without_failover": _run(self.without_failover),
            "primary_requests": self.primary_requests,
            "requests_while_known_dead": self.with_failover.requests_to_dead,
            "probes": self.with_failover.probes,
            "added_median_seconds": _rounded(self.added_median),
            "added_worst_seconds": _rounded(self.added_worst),
        }


@dataclass(frozen=True, slots=True)
class DrillResult:
    """The result of a whole drill.

    - `deadlines`: the shortened deadlines in seconds, by the name of the setting.
    - `config`: the drilled part of the configuration, as YAML without API keys.
    - `skipped`: the scenarios that could not run, each with the reason.
    """

    chain: tuple[str, ...]
    healthy: ScenarioResult
    scenarios: tuple[ScenarioResult, ...]
    deadlines: Mapping[str, float]
    seconds: float
    config: str = ""
    skipped: tuple[tuple[Scenario, str], ...] = ()
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def primary(self) -> str:
        """The first model of the chain."""
        return self.chain[0]

    @property
    def results(self) -> tuple[ScenarioResult, ...]:
        """The result without an outage, then the results of the scenarios."""
        return (self.healthy, *self.scenarios)

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of all results."""
        return max((result.verdict for result in self.results), key=VERDICTS.index)

    @property
    def passed(self) -> bool:
        """Whether every scenario has passed, including the one without an outage."""
        return self.verdict == "passed"

    def as_dict(self) -> dict[str, Any]:
        """The result for JSON."""
        return {
            "verdict": self.verdict,
            "passed": self.passed,
            "chain": list(self.chain),
            "primary": self.primary,
            "seconds": _rounded(self.seconds),
            "shortened_deadlines": dict(self.deadlines),
            "healthy": self.healthy.as_dict(),
            "scenarios": [result.as_dict() for result in self.scenarios],
            "skipped": [{"scenario": scenario.name, "reason": reason} for scenario, reason in self.skipped],
        }


def _probed(call: Call) -> Counter[str]:
    return Counter(one.model for one in call.asked if one.probe)


def _run(run: Run) -> dict[str, Any]:
    return {
        "calls": len(run.calls),
        "answered": run.answered,
        "partial": run.partial,
        "answered_by": run.answered_by,
        "requests": run.requests,
        "median_seconds": _rounded(run.median_seconds),
        "worst_seconds": _rounded(run.worst_seconds),
        "cost_usd": round(run.cost, 8),
        "errors": run.errors,
        "log": [_call(call) for call in run.calls],
    }


def _call(call: Call) -> dict[str, Any]:
    return {
        "number": call.number,
        "mode": call.mode,
        "at": _rounded(call.at),
        "seconds": _rounded(call.seconds),
        "outcome": call.outcome,
        "model": call.model,
        "error": call.error or None,
        "seams": [asdict(seam) for seam in call.seams],
        "requests": [
            {**asdict(one), "at": _rounded(one.at), "until": _rounded(one.until)}
            | {"first_token": _rounded(one.first_token), "cost": round(one.cost, 8)}
            for one in call.asked
        ],
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
