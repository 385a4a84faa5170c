"""The fire drill: a chain of models is put through outages against the emulator, with failover and without it.

`run_drill()` runs it and returns what was measured; `drill.report` prints that (extra `cli`), `drill.page` writes it as
one HTML file (extra `report`).
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
