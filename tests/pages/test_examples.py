"""Every example runs against the emulator, as it stands, and prints what it is there to show."""

from __future__ import annotations

import runpy
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.pytest_plugin import openrouter_emulator

from ..support.llamaindex import left_as_it_was

__all__ = ["openrouter_emulator"]

EXAMPLES = Path(__file__).parents[2] / "examples"
CLAUDE, GPT, LLAMA = "anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"
HAIKU, MINI = "anthropic/claude-haiku-4.5", "openai/gpt-5-mini"
DOWN = {"kind": "temporarily_unavailable"}
FIVE_MINUTES: Mapping[str | None, Mapping[str, Any]] = {
    CLAUDE: {"kind": "provider_overloaded"},
    GPT: {"kind": "reset_mid", "after_tokens": 5},
}
"""The outage of docs/getting-started.md: who has just read that page runs the examples in it."""


@dataclass(frozen=True)
class Case:
    """An example, the fault of each model (None: of all), what it must print, and the requests to each model."""

    name: str
    faults: Mapping[str | None, Mapping[str, Any]]
    prints: tuple[str, ...]
    asked: Mapping[str, int] = field(default_factory=dict)
    says: str = "healthy"

    @property
    def id(self) -> str:
        return f"{self.name}-{self.says}"


CASES = [
    Case("ordered_chain", {}, (f"{CLAUDE}: answered", f"{CLAUDE} says: {CLAUDE} answers"), {CLAUDE: 1}),
    Case(
        "ordered_chain",
        {CLAUDE: DOWN, GPT: {"kind": "empty"}},
        (f"{CLAUDE}: overloaded", f"{GPT}: bad_answer", f"{LLAMA}: answered", f"{LLAMA} says: {LLAMA} answers"),
        {CLAUDE: 1, GPT: 1, LLAMA: 1},
        "two down",
    ),
    Case(
        "manager",
        {CLAUDE: DOWN},
        (
            f"in order of priority: {CLAUDE}, {GPT}, {LLAMA}\n",
            f"{GPT} answered, after 2 failed attempts\n",
            f"after the call: available 2, left out: {CLAUDE} (overloaded, 5 min)\n",
            f"after disable(): available 1, left out: {CLAUDE} (overloaded, 5 min), {GPT} (disabled by hand, 1 min)\n",
            "after enable() and reset(): available 3, left out: none\n",
        ),
        {CLAUDE: 2, GPT: 1, LLAMA: 0},
        "first down",
    ),
    Case(
        "by_task",
        {CLAUDE: DOWN, HAIKU: DOWN},
        (
            f"coding: {CLAUDE} > {GPT} answered",
            f"creative: {GPT} answered",
            f"translation: {CLAUDE} > {GPT} answered",
            f"fast: {MINI} answered",
        ),
        {CLAUDE: 2, HAIKU: 1, MINI: 1, GPT: 3},
        "anthropic down",
    ),
    Case(
        "by_cost_tier",
        {MINI: DOWN},
        (
            f"budget: {MINI}, {LLAMA}\n",
            f"standard: {MINI}, {LLAMA}, {CLAUDE}, {GPT}\n",
            f"premium: {MINI}, {LLAMA}, {CLAUDE}, {GPT}, anthropic/claude-opus-4.5\n",
            "coding leaves out anthropic/claude-opus-4.5: cost tier premium is above standard\n",
            f"{LLAMA} answered for 0.00",
        ),
        {MINI: 1, LLAMA: 1, CLAUDE: 0},
        "cheapest down",
    ),
    Case(
        "by_error_type",
        {CLAUDE: {"kind": "rate_limit_exceeded"}},
        (f"as it is:  {GPT} answered, after ['rate_limited']", f"lenient:  {GPT} answered"),
        {CLAUDE: 2, GPT: 2},
        "rate-limited",
    ),
    Case(
        "by_error_type",
        {None: {"kind": "rate_limit_exceeded", "retry_after": 400}},
        ("as it is:  every model is rate-limited; again in ",),
        {CLAUDE: 4, GPT: 4},
        "all rate-limited",
    ),
    Case(
        "by_error_type",
        {CLAUDE: {"kind": "content_policy_violation"}},
        ("as it is:  ContentPolicyError, after 1 attempt", f"lenient:  {GPT} answered, after ['content_policy']"),
        {CLAUDE: 2, GPT: 1},
        "content policy",
    ),
    Case(
        "by_error_type",
        {CLAUDE: {"kind": "authentication"}},
        ("as it is:  AuthenticationError, after 1 attempt", "starts with sk-or-", "variable OPENROUTER_API_KEY"),
        {CLAUDE: 2, GPT: 0},
        "wrong key",
    ),
    Case(
        "by_error_type",
        {CLAUDE: {"kind": "invalid_request"}},
        ("as it is:  InvalidRequestError, after 1 attempt", "correct it as the message says"),
        {CLAUDE: 2, GPT: 0},
        "wrong request",
    ),
    Case(
        "cross_provider",
        {CLAUDE: DOWN, HAIKU: DOWN},
        (
            f"openai first: {GPT}, {MINI}, {CLAUDE}, {HAIKU}, {LLAMA}\n",
            f"meta first: {LLAMA}, {CLAUDE}, {HAIKU}, {GPT}, {MINI}\n",
            f"{CLAUDE}: overloaded\n{HAIKU}: overloaded\n{GPT}: answered\n",
        ),
        {CLAUDE: 1, HAIKU: 1, GPT: 1},
        "anthropic down",
    ),
    Case(
        "health_aware",
        {CLAUDE: DOWN},
        (
            f"call 1: called {CLAUDE}, {GPT}\n",
            f"call 4: called {GPT}\n",
            f"{CLAUDE}: closed, success rate 0%; tracker: 0%, skip: True\n",
            f"{GPT}: closed, success rate 100%; tracker: 100%, skip: False\n",
        ),
        {CLAUDE: 1, GPT: 4},
        "first down",
    ),
    Case("from_yaml", {}, ("default: ", " answered: ")),
    Case("sync_streaming", {}, (f"{CLAUDE} answers: ", f"{CLAUDE} answered in 1 attempt(s)")),
    Case(
        "sync_streaming",
        {CLAUDE: DOWN},
        (f"{GPT} answers: ", f"{GPT} answered in 2 attempt(s)"),
        {CLAUDE: 1, GPT: 1},
        "first down",
    ),
    Case(
        "sync_streaming",
        {CLAUDE: {"kind": "cut", "after_tokens": 3}},
        (f"{CLAUDE} answers: ", f"{GPT} answered in 2 attempt(s)"),
        {CLAUDE: 1, GPT: 1},
        "cut off",
    ),
    Case(
        "sync_streaming",
        {CLAUDE: {"kind": "cut", "after_tokens": 3}, GPT: DOWN, LLAMA: DOWN},
        (f"{CLAUDE} answers: ", "\nbroken off after "),
        {CLAUDE: 2},
        "all cut off",
    ),
    Case(
        "async_streaming",
        {CLAUDE: DOWN},
        (f"What is a hedge? {GPT}, attempts: 2: {GPT} answers", "What is a budget?", f"{GPT} answered: {GPT} answers"),
        {GPT: 4},
        "first down",
    ),
    Case(
        "langchain_agent",
        {CLAUDE: {"kind": "cut", "after_tokens": 3, "requests": (2, 2)}},
        (
            "[the tool runs: Paris]\n",
            f"{CLAUDE} answers: ",
            f"{CLAUDE}: answered\n{CLAUDE}: bad_answer\n{GPT}: answered\n",
        ),
        {CLAUDE: 2, GPT: 1},
        "cut off",
    ),
    Case(
        "langchain_agent",
        {CLAUDE: {"kind": "cut", "after_tokens": 3}},
        ("[the tool runs: Paris]\n", f"{CLAUDE}: bad_answer\n{GPT}: answered\n{GPT}: answered\n"),
        {CLAUDE: 1, GPT: 2},
        "the tool call cut, so that the loop stays with the second model",
    ),
    Case(
        "langchain_rag",
        {CLAUDE: {"kind": "cut", "after_tokens": 3}},
        (f"{CLAUDE} answers: ", f"{GPT} answers: ", f"{GPT}, after 1 attempt(s)"),
        {CLAUDE: 1, GPT: 2},
        "cut off",
    ),
    Case("llamaindex_rag", {}, (f"{CLAUDE} answers", f" [{CLAUDE}: answered] \n(", " passages read)"), {CLAUDE: 1}),
    Case(
        "llamaindex_rag",
        {CLAUDE: {"kind": "cut", "after_tokens": 6}},
        (f"{CLAUDE} answers", f" [{CLAUDE}: bad_answer] ", f" [{GPT}: answered] \n("),
        {CLAUDE: 1, GPT: 1},
        "cut off",
    ),
    Case("llamaindex_rag", FIVE_MINUTES, (f"{GPT} answers", f" [{LLAMA}: answered] \n("), {LLAMA: 1}, "both cut off"),
    Case(
        "llamaindex_agent",
        {},
        ("check_stock{'item': 'bolts'}: There are 12 bolts.\n", f"{CLAUDE} answers: ", f"{CLAUDE} had the last word"),
        {CLAUDE: 2},
    ),
    Case(
        "llamaindex_agent",
        {CLAUDE: {"kind": "cut", "after_tokens": 6, "requests": (2, 2)}},
        ("check_stock{'item': 'bolts'}: There are 12 bolts.\n", f"{CLAUDE} answers: ", f"{GPT} had the last word"),
        {CLAUDE: 2, GPT: 1},
        "cut off",
    ),
    Case(
        "llamaindex_agent",
        {CLAUDE: {"kind": "cut", "after_tokens": 6}},
        ("check_stock{'item': 'bolts'}: There are 12 bolts.\n", f"{GPT} had the last word"),
        {CLAUDE: 1, GPT: 2},
        "the tool call cut, so that the loop stays with the second model",
    ),
    Case("llamaindex_agent", FIVE_MINUTES, (f"{LLAMA} had the last word",), {LLAMA: 2}, "both cut off"),
    Case(
        "llamaindex_agent",
        {None: {"kind": "authentication"}},
        ("no model answered: ", "starts with sk-or-"),
        {CLAUDE: 1, GPT: 0},
        "wrong key",
    ),
]


@pytest.fixture(autouse=True)
def llamaindex_as_it_was() -> Iterator[None]:
    """Its examples set what holds for the whole process."""
    with left_as_it_was():
        yield


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_example(
    case: Case,
    openrouter_emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if "cut off" in case.says:
        openrouter_emulator.pace(token_interval=0.02)  # so that the text before the cut is delivered
    for model, fault in case.faults.items():
        openrouter_emulator.fault(**{"model": model, **fault})
    monkeypatch.setenv("OPENROUTER_BASE_URL", openrouter_emulator.base_url)
    monkeypatch.setenv("OPENROUTER_API_KEY", openrouter_emulator.api_key)
    path = EXAMPLES / f"{case.name}.py"
    monkeypatch.setattr(sys, "argv", [str(path)])

    runpy.run_path(str(path), run_name="__main__")

    printed = capsys.readouterr().out
    for expected in case.prints:
        assert expected in printed
    assert {model: openrouter_emulator.count(model) for model in case.asked} == case.asked


def test_every_example_has_a_case() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {case.name for case in CASES}


def test_from_yaml_says_what_is_wrong_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "broken.yaml"
    broken.write_text("fallback:\n  default_chian: [openai/gpt-5.1]\n")
    monkeypatch.setattr(sys, "argv", ["from_yaml.py", str(broken)])

    with pytest.raises(SystemExit) as exit:
        runpy.run_path(str(EXAMPLES / "from_yaml.py"), run_name="__main__")

    assert "default_chain" in str(exit.value)
    assert "line 2" in str(exit.value)
