"""The alert rules that users copy: their names are those that `serve` exports, and the runbook has each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from openrouter_fallback import Attempt, FailureKind, FallbackClient
from openrouter_fallback.events import AttemptEnded, BreakerOpened, CallEnded, FailedOver
from openrouter_fallback.results import Seam
from openrouter_fallback.serve.metrics import Metrics

ROOT = Path(__file__).parents[2]
RULES: list[dict[str, Any]] = yaml.safe_load((ROOT / "examples/alerts.yaml").read_text())["groups"][0]["rules"]
RUNBOOK = (ROOT / "docs/runbook.md").read_text()
A, B = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5"


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Each series that a server exports, with its labels."""
    with FallbackClient([A, B]) as client:
        metrics = Metrics(client)
        metrics.calls.labels("-", "default", 200, "failed").inc()
        metrics.first_token.labels("default").observe(0.1)
        metrics.seconds.labels("default").observe(0.1)
        metrics(AttemptEnded(1, 1, Attempt(A, "openrouter", FailureKind.RATE_LIMITED, 0.1, cost=0.1)))
        metrics(FailedOver(1, A, B, FailureKind.RATE_LIMITED, 429, 0.1))
        metrics(BreakerOpened(1, A, "model", "overloaded", 3))
        metrics(CallEnded(1, "answered", B, 2, 0.2, seams=(Seam(10, A, B, "went_on"),)))
        page = metrics.page().decode()
    return {
        sample.name: set(sample.labels) for family in text_string_to_metric_families(page) for sample in family.samples
    }


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: str(rule["alert"]))
def test_a_rule_names_what_is_exported(rule: dict[str, Any], exported: dict[str, set[str]]) -> None:
    used = re.findall(r"(openrouter_fallback_\w+)(?:\{([^}]*)\})?", rule["expr"])
    assert used
    labels: set[str] = set()
    for name, selector in used:
        assert set(re.findall(r"(\w+)=", selector)) <= exported[name], name
        labels |= exported[name]
    grouped = {one.strip() for by in re.findall(r"by \(([^)]*)\)", rule["expr"]) for one in by.split(",")}
    assert grouped <= labels
    assert set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"])) <= grouped


def test_the_kinds_and_outcomes_of_the_rules_exist() -> None:
    expressions = " ".join(rule["expr"] for rule in RULES)
    kinds = {kind for found in re.findall(r'kind=~?"([^"]+)"', expressions) for kind in found.split("|")}
    assert kinds <= {*map(str, FailureKind), "answered"}
    assert set(re.findall(r'outcome="(\w+)"', expressions)) <= {"answered", "cancelled", "drained", "failed", "refused"}
    assert set(re.findall(r'state="(\w+)"', expressions)) <= {"closed", "half_open", "open"}


def test_the_runbook_has_each_alert() -> None:
    assert [rule["alert"] for rule in RULES if f"`{rule['alert']}`" not in RUNBOOK] == []
