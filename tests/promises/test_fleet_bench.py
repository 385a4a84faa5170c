"""The fleet in virtual time, small: what sharing and the retry budget are for shows in its figures."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "fleet.py"
HEARD, END = 33, 75
"""Seconds of the timeline: the outage begins in second 30; three failures and two exchanges later all know of it."""
PROBE_EVERY = 20


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("fleet_bench", BENCH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fleet_bench", module)  # Its dataclasses look themselves up.
    spec.loader.exec_module(module)
    return module


def test_sharing_spares_a_dead_model_and_the_budget_a_dead_service(bench: ModuleType) -> None:
    options = argparse.Namespace(processes=6, rate=2.0, seconds=110.0, seed=3)
    found = {(name, label, bound): tally for name, label, bound, tally in bench.runs(options)}
    vain = {key: tally.during(tally.failed) for key, tally in found.items()}
    errors = {key: tally.during(tally.errors) for key, tally in found.items()}
    for bound in ("none", "0.2"):
        assert vain["one model", "shared", bound] < vain["one model", "each for itself", bound] / 2
        # Once it has heard of the outage the fleet as a whole probes every 20 s.
        failed = found["one model", "shared", bound].failed
        assert sum(failed[second] for second in range(HEARD, END)) <= 1 + (END - HEARD) // PROBE_EVERY
        for outage in ("one model", "half of its capacity"):
            assert errors[outage, "shared", bound] == errors[outage, "each for itself", bound] == 0
    for label in ("each for itself", "shared"):
        # The budget delays requests and refuses none for good; ten in 10 s are free for each process.
        assert vain["all models", label, "0.2"] < vain["all models", label, "none"] / 1.2
        assert found["all models", label, "0.2"].recovered_after(109) is not None
