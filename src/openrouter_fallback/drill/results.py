"""What a drill has measured, and what follows from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from openrouter_fallback.drill.scenarios import Scenario


@dataclass(frozen=True, slots=True)
class Tally:
    """One run of a scenario's calls, counted on the server's side.

    `answered` calls got exactly the whole answer that the server's log says one model finished; `answered_by` counts
    them per model, `requests` all requests that reached the server. `seconds` are the answered calls' durations,
    `errors` the exceptions of the others by class.
    """

    calls: int
    answered: int
    answered_by: Mapping[str, int]
    requests: Mapping[str, int]
    seconds: tuple[float, ...]
    errors: Mapping[str, int]

    @property
    def complete(self) -> bool:
        """Whether every call was answered."""
        return self.answered == self.calls

    @property
    def median_seconds(self) -> float | None:
        """The median duration of the answered calls."""
        return median(self.seconds) if self.seconds else None

    @property
    def worst_seconds(self) -> float | None:
        """The longest duration of an answered call."""
        return max(self.seconds, default=None)


@dataclass(frozen=True, slots=True)
class ScenarioResult:
    """One scenario, with failover and without.

    `primary_requests` is None where the server cannot count them: a refused connection leaves no trace.
    `requests_while_dead` counts requests to the primary while it was known to be dead (None: it never was known to be),
    `probes` those after that, when it was tried again, in `probed_calls` calls. `added_*` are seconds above the
    healthy median.
    """

    scenario: Scenario
    with_failover: Tally
    without_failover: Tally
    primary_requests: int | None
    requests_while_dead: int | None
    probes: int
    probed_calls: int
    added_median: float | None
    added_worst: float | None

    @property
    def problems(self) -> tuple[str, ...]:
        """Why the scenario has failed; empty if it has passed."""
        ours, plain, scenario = self.with_failover, self.without_failover, self.scenario
        found = []
        if not ours.complete:
            missing = ours.calls - ours.answered
            raised = ", ".join(f"{name} x{count}" for name, count in ours.errors.items())
            found.append(f"{missing} of {ours.calls} calls got no whole answer ({raised or 'a wrong text'})")
        if scenario.plain_fails and plain.answered:
            found.append(f"{plain.answered} calls were answered without failover: this outage is none")
        if not scenario.plain_fails and not plain.complete:
            found.append(f"{plain.calls - plain.answered} calls failed without any outage")
        if ours.complete:
            # Where nobody has answered, everyone is tried all the same.
            found += self._waste()
        return tuple(found)

    def _waste(self) -> list[str]:
        found = []
        if self.requests_while_dead:
            found.append(f"{self.requests_while_dead} requests went to the primary while it was known to be dead")
        if self.probes > self.probed_calls:
            found.append(f"{self.probes} requests probed the primary in {self.probed_calls} calls, one each is due")
        if self.scenario.calls_after and not self.probes:
            found.append("the primary was never probed after its time was over")
        return found

    @property
    def passed(self) -> bool:
        """All calls answered with failover, none without, and nothing wasted on a model known to be dead."""
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """For JSON. Seconds, and counts."""
        return {
            "scenario": self.scenario.name,
            "description": self.scenario.description,
            "passed": self.passed,
            "problems": list(self.problems),
            "with_failover": _tally(self.with_failover),
            "without_failover": _tally(self.without_failover),
            "primary_requests": self.primary_requests,
            "requests_while_known_dead": self.requests_while_dead,
            "probes": self.probes,
            "added_median_seconds": _rounded(self.added_median),
            "added_worst_seconds": _rounded(self.added_worst),
        }


@dataclass(frozen=True, slots=True)
class DrillResult:
    """A whole drill. `deadlines` are the shortened ones, in seconds, by the name of their setting."""

    chain: tuple[str, ...]
    healthy: ScenarioResult
    scenarios: tuple[ScenarioResult, ...]
    deadlines: Mapping[str, float]
    seconds: float

    @property
    def primary(self) -> str:
        """The model that was taken down."""
        return self.chain[0]

    @property
    def passed(self) -> bool:
        """Whether every scenario has passed, the healthy one too."""
        return self.healthy.passed and all(result.passed for result in self.scenarios)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "passed": self.passed,
            "chain": list(self.chain),
            "primary": self.primary,
            "seconds": _rounded(self.seconds),
            "shortened_deadlines": dict(self.deadlines),
            "healthy": self.healthy.as_dict(),
            "scenarios": [result.as_dict() for result in self.scenarios],
        }


def _tally(tally: Tally) -> dict[str, Any]:
    return {
        "calls": tally.calls,
        "answered": tally.answered,
        "answered_by": dict(tally.answered_by),
        "requests": dict(tally.requests),
        "median_seconds": _rounded(tally.median_seconds),
        "worst_seconds": _rounded(tally.worst_seconds),
        "errors": dict(tally.errors),
    }


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)
