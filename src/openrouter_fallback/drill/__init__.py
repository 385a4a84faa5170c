"""The fire drill: runs a chain of models through outages against the emulator, with failover and without failover.

`run_drill()` runs the drill and returns a `DrillResult`. `drill.reporting.report` prints the result (extra `cli`).
`drill.page` writes the result as one HTML file (extra `report`).
"""

from .records import Asked, Call, Change, Run
from .results import VERDICTS, DrillResult, Problem, ScenarioResult, Verdict
from .runner import EXAMPLE_CHAIN, Progress, run_drill
from .scenarios import HEALTHY, Expect, Scenario, Workload, read_scenario, shipped

__all__ = [
    "EXAMPLE_CHAIN",
    "HEALTHY",
    "VERDICTS",
    "Asked",
    "Call",
    "Change",
    "DrillResult",
    "Expect",
    "Problem",
    "Progress",
    "Run",
    "Scenario",
    "ScenarioResult",
    "Verdict",
    "Workload",
    "read_scenario",
    "run_drill",
    "shipped",
]
