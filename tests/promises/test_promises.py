"""What other people's code, files and dashboards hold on to, besides the core's own names (`test_packaging.py`).

A change of a row here is a change of the interface: `docs/versioning.md` says what it takes. What metrics and spans
carry is pinned where it is measured, in `test_otel.py`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import get_args

import pytest
import typer
from pydantic import BaseModel

from openrouter_fallback import (
    EndpointConfig,
    FailureKind,
    FallbackConfig,
    HedgeConfig,
    ModelConfig,
    Settings,
    SpendLimit,
)
from openrouter_fallback.cli.app import app
from openrouter_fallback.events import Event
from openrouter_fallback.telemetry import otel

EVENTS = {
    "CallStarted": "call models",
    "AttemptStarted": "call model number probe",
    "AttemptEnded": "call number attempt",
    "FailedOver": "call failed next kind status seconds",
    "Hedged": "call silent next seconds",
    "BreakerOpened": "call name scope cause count seconds next_probe again",
    "BreakerHalfOpened": "call name scope cause count seconds",
    "BreakerClosed": "call name scope cause count seconds",
    "CallEnded": "call outcome model attempts seconds error seams",
}
KINDS = (
    "rate_limited overloaded unavailable timed_out connection bad_answer context_too_long rejected moderation"
    " content_policy not_found unsupported credits auth forbidden guardrail invalid_request local cancelled"
)
KEYS: Mapping[type[BaseModel], str] = {
    FallbackConfig: "default_chain task_chains cost_tiers tier_order providers models endpoints settings",
    ModelConfig: "id priority max_retries timeout disable_duration params continues",
    EndpointConfig: "base_url api_key_env api_key headers stream_upstream",
    HedgeConfig: "after max_fraction max_parallel",
    SpendLimit: "per_call per_day",
    Settings: (
        "max_retries_per_model disable_duration_seconds health_window_minutes skip_threshold min_samples policy"
        " on_failure first_token_timeout_seconds stall_timeout_seconds total_timeout_seconds attempt_timeout_seconds"
        " order_by stream_upstream mid_stream stick_to stick_seconds"
        " retry_budget hedge catalog health_store spend_limit_usd opentelemetry"
    ),
}
# Arguments and options, then what the exit status may be.
COMMANDS = {
    "init": ("file --force --offline --base-url --json", "012"),
    "check": (
        "file --config -c --model -m --needs --no-ask --offline --strict --prompt-tokens --completion-tokens --timeout"
        " --format --base-url --json",
        "012",
    ),
    "models": (
        "words --provider -p --can --min-context --max-price --free --sort --limit --endpoint --config -c --offline"
        " --base-url --json",
        "012",
    ),
    "chat": (
        "prompt --model -m --config -c --task --max-cost-tier --max-price --primary-provider --base-url --system --json"
        " --no-stream",
        "012",
    ),
    "route": (
        "--model -m --config -c --task --max-cost-tier --max-price --primary-provider --base-url --json",
        "02",
    ),
    "drill": (
        "--config -c --model -m --scenario -s --task --surface --fail-on --report --no-report --list --json",
        "012",
    ),
    "serve": (
        "--config -c --model -m --host --port --api-keys-file --cors-origin --drain-seconds --max-calls --max-body "
        "--workers --no-access-log --base-url --json",
        "02",
    ),
    "emulate": (
        "--port --script -s --model -m --models --api-key --strict --latency --token-interval --jitter --credits "
        "--seed --json",
        "02",
    ),
    "status": ("--config -c --model -m --redis --base-url --json", "012"),
    "spend": ("--config -c --redis --base-url --json", "012"),
    "schema": ("--json", "0"),
}
METRICS = (
    "gen_ai.client.operation.duration gen_ai.client.operation.time_to_first_chunk gen_ai.client.token.usage"
    " openrouter_fallback.cost openrouter_fallback.attempts openrouter_fallback.failovers openrouter_fallback.hedges"
    " openrouter_fallback.breaker.changes openrouter_fallback.resends openrouter_fallback.breaker.state"
)
NAMES = {
    "openrouter_fallback.drill": (
        "EXAMPLE_CHAIN HEALTHY VERDICTS Asked Call Change DrillResult Expect Problem Progress Run Scenario"
        " ScenarioResult Verdict Workload read_scenario run_drill shipped"
    ),
    "openrouter_fallback.emulator": "FAULTS MODELS Emulator FaultHandle Kind Request ScriptError",
    "langchain_openrouter_fallback": "ATTEMPT_FAILED ChatOpenRouterFallback",
    "llamaindex_openrouter_fallback": "LLMAttemptEndEvent LLMAttemptStartEvent LLMFailoverEvent OpenRouterFallback",
}


def test_events_and_their_fields() -> None:
    assert {event.__name__: " ".join(field.name for field in fields(event)) for event in get_args(Event)} == EVENTS


def test_failure_kinds() -> None:
    assert " ".join(FailureKind) == KINDS


@pytest.mark.parametrize("model", KEYS, ids=lambda model: model.__name__)
def test_configuration_keys(model: type[BaseModel]) -> None:
    assert " ".join(model.model_fields) == KEYS[model]


def test_commands_with_their_options_and_exit_statuses() -> None:
    group = typer.main.get_group(app)
    found = {
        name: (
            " ".join(
                " ".join(one.opts if one.param_type_name == "option" else [one.name or ""]) for one in command.params
            ),
            "".join(re.findall(r"(?:^|, )(\d) ", (command.help or "").partition("Exit status: ")[2])),
        )
        for name, command in group.commands.items()
    }
    assert found == COMMANDS


def test_metrics() -> None:
    assert " ".join(re.findall(r'create_\w+\(\s*"([\w.]+)"', inspect.getsource(otel))) == METRICS


@pytest.mark.parametrize("module", NAMES)
def test_names_of_the_other_packages(module: str) -> None:
    pytest.importorskip(module, reason=f"{module} needs an extra that is not installed", exc_type=ImportError)
    assert " ".join(import_module(module).__all__) == NAMES[module]
