"""The fire drill: a chain of models is put through outages against the emulator, with failover and without it.

`run_drill()` runs it and returns what was measured; `drill.report` prints that (it needs the extra `cli`).
"""

from openrouter_fallback.drill.results import DrillResult, ScenarioResult, Tally
from openrouter_fallback.drill.runner import EXAMPLE_CHAIN, run_drill
from openrouter_fallback.drill.scenarios import HEALTHY, SCENARIOS, Scenario

__all__ = [
    "EXAMPLE_CHAIN",
    "HEALTHY",
    "SCENARIOS",
    "DrillResult",
    "Scenario",
    "ScenarioResult",
    "Tally",
    "run_drill",
]
