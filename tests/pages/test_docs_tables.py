"""The tables on the pages agree with the code: nothing in them that is not there, nothing there that they leave out."""

from __future__ import annotations

import inspect
import re

import langchain_core.exceptions
from langchain_openrouter import ChatOpenRouter

import langchain_openrouter_fallback.errors
import openrouter_fallback
from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FailureKind, FallbackClient
from openrouter_fallback.config.sections import Settings
from openrouter_fallback.decision import beside, deadlines, failover, learning, rounds, starting, timeouts
from openrouter_fallback.drill import VERDICTS, Expect, Workload
from openrouter_fallback.emulator import FAULTS, MODELS
from openrouter_fallback.failures.policy import SMART, Action
from openrouter_fallback.health import accounts, breaker, budget, first_tokens, learnt, memory
from openrouter_fallback.health.shared.breaker import LEASE_SECONDS
from openrouter_fallback.http import socket

from ..cli.test_cli_terminal import COMMANDS
from ..support.pages import ROOT


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_failures_lead_to_what_the_page_says() -> None:
    rows = re.findall(
        r"^\| (`[a-z_]+`(?:, `[a-z_]+`)*) \| .+ \| (.+) \|$", page("docs/how-it-decides.md"), flags=re.MULTILINE
    )
    told = {FailureKind(kind): what for kinds, what in rows for kind in re.findall("[a-z_]+", kinds)}
    assert set(told) == set(FailureKind)
    starts: dict[Action, str] = {
        Action.NEXT: "next model",
        Action.RETRY: "the same model once more",
        Action.RECONNECT: "after a second the same model once more",
        Action.AFFORDABLE: "models that may cost less",
        Action.OTHER_ACCOUNT: "other endpoints",
        Action.QUEUE: "wait",
        Action.RAISE: "raise at once",
    }
    wrong = [
        (kind, what)
        for kind, what in told.items()
        if kind is not FailureKind.CANCELLED and not what.startswith(starts[SMART[kind].action])
    ]
    assert wrong == []


def test_the_defaults_that_do_no_harm_are_the_codes() -> None:
    """Each row of the table of defaults, with its figures taken from the code."""
    settings = {name: field.default for name, field in Settings.model_fields.items()}
    told = dict(re.findall(r"^\| ([a-z][^|]+) \| ([^|]+) \|$", page("docs/do-no-harm.md"), flags=re.MULTILINE))
    spread = 1 - breaker.JITTER
    wanted = {
        "attempts": f"{settings['max_retries_per_model']} per model and call; {failover.ATTEMPTS_OF_ONE} where",
        "pause before a retry": f"half to all of {learning.BACKOFF_SECONDS:g}, {2 * learning.BACKOFF_SECONDS:g}, "
        f"{learning.LONGEST_BACKOFF_SECONDS:g} s; {rounds.RECONNECT_SECONDS:g} s after",
        "retry budget": f"{settings['retry_budget']} extra requests per request within {budget.BUDGET_SECONDS:g} s, "
        f"{budget.BUDGET_FLOOR} at least; {memory.EARNED_PER_SUCCESS} more for each success of the model, "
        f"{memory.MOST_EARNED} at most. Without room a call waits, {rounds.BUDGET_WAIT_SECONDS:g} s in all",
        "circuit": f"after {settings['min_samples']} failures in a row, or below a success rate of "
        f"{settings['skip_threshold']} in {settings['health_window_minutes']:g} minutes; "
        f"{breaker.OPEN_SECONDS * spread:g} to {breaker.OPEN_SECONDS:g} s, then {breaker.PROBE_SECONDS * spread:g} to "
        f"{breaker.PROBE_SECONDS:g} s",
        "slow start": f"{breaker.SLOW_START_SECONDS:g} s: two calls",
        "first token": f"overdue after {timeouts.FIRST_TOKEN_SECONDS:g} s ({timeouts.SLOW_FIRST_TOKEN_SECONDS:g} s"
        f".*all of the call's time, {settings['total_timeout_seconds']:g} s.*half of the time, "
        f"{timeouts.SLOW_FIRST_TOKEN_SECONDS:g} s at least",
        "the learnt time": f"{first_tokens.LEARNT_TIMES_P99:g} times the 99th percentile of "
        f"{first_tokens.LEARNT_SAMPLES} or more .*, {first_tokens.SHORTEST_LEARNT_SECONDS:g} s at least",
        "a probe": f"{starting.PROBE_ALONE_SECONDS:g} s.* {timeouts.PROOF_SECONDS:g} s",
        "stall": f"{timeouts.STALL_SECONDS:g} s between two tokens ({timeouts.SLOW_STALL_SECONDS:g} s where",
        "a drip": f"less than {deadlines.DRIP_RATE:g} characters a second for {deadlines.DRIP_SECONDS:g} s or more",
        "attempts at the same time": f"{beside.MOST_BESIDE} at most",
        "a kept connection that acknowledges nothing": f"after {socket.UNACKNOWLEDGED_SECONDS:g} s on Linux",
        "a limit without Retry-After": f"1, 2, 4, 8, {accounts.LONGEST_GUESS_SECONDS:g} s",
        "a lease": f"{LEASE_SECONDS:g} s",
    }
    for row, figures in wanted.items():
        pattern = re.escape(figures).replace(r"\.\*", ".*").replace(r"\ ", " ")
        assert re.search(pattern, told[row]), f"{row}: {figures!r} is not in {told[row]!r}"
    assert any(f"Retry-After of more than {learning.LONGEST_COOLDOWN_SECONDS:g} s" in row for row in told)
    assert breaker.SLOW_START_ATTEMPTS == 2
    assert {settings[name] for name in ("first_token_timeout_seconds", "stall_timeout_seconds")} == {None}


def test_the_figures_of_how_it_decides_are_the_codes() -> None:
    """Sentences of the page, with their figures taken from the code."""
    said = " ".join(page("docs/how-it-decides.md").split())
    words = {2: "two", 3: "three", 4: "four", 10: "ten"}
    lacks_seconds = learnt.SECONDS[learnt.Fact.LACKS]
    assert lacks_seconds is not None
    wanted = [
        f"half to all of {learning.BACKOFF_SECONDS:g}, {2 * learning.BACKOFF_SECONDS:g}, "
        f"{learning.LONGEST_BACKOFF_SECONDS:g} s",
        f"the only model of a chain gets {words[failover.ATTEMPTS_OF_ONE]}",
        f"each success allows {words[memory.EARNED_PER_SUCCESS]} more requests",
        f"The call has waited {words[round(rounds.BUDGET_WAIT_SECONDS)]} seconds",
        f"A probe holds its permit for {LEASE_SECONDS:g} to {breaker.PROBE_SECONDS:g} s from its start",
        f"If it has no first token after {starting.PROBE_ALONE_SECONDS:g} s and another candidate is ready",
        f"until the deadline for it (below; at least {timeouts.PROOF_SECONDS:g} s)",
        f"For {words[round(breaker.SLOW_START_SECONDS)]} seconds after a circuit has closed",
        f"the model gets {words[breaker.SLOW_START_ATTEMPTS]} calls at a time",
        f"is remembered for {words[round(lacks_seconds / 60)]} minutes",
        f"If {first_tokens.LEARNT_SAMPLES} first tokens of a model are known from the last hour",
        f"after {words[round(first_tokens.LEARNT_TIMES_P99)]} times their 99th percentile, at least "
        f"{first_tokens.SHORTEST_LEARNT_SECONDS:g} s",
        f"at most {words[beside.MOST_BESIDE]} at a time",
        f"but not before {timeouts.SLOW_FIRST_TOKEN_SECONDS:g} s",
    ]
    assert [sentence for sentence in wanted if sentence not in said] == []
    assert (breaker.SAME_EVENT_SECONDS, accounts.ACCEPTED_SECONDS, accounts.REFUSED_SECONDS) == (1.0, 3600.0, 60.0)
    assert (learning.LONGEST_COOLDOWN_SECONDS, first_tokens.LEARNT_SECONDS) == (60.0, 3600.0)


def test_the_rooms_that_contributing_names_are_there() -> None:
    files = set(
        re.findall(
            r"`([a-z_]+(?:\.py|/))`", page("CONTRIBUTING.md").partition("### Where things are")[2].partition("## ")[0]
        )
    )
    assert files
    assert [name for name in files if not (ROOT / "src" / "openrouter_fallback" / name).exists()] == []


def test_every_command_has_its_row() -> None:
    assert re.findall(r"^\| `(\w+)`", page("docs/cli.md"), re.MULTILINE) == list(COMMANDS)


def test_every_key_of_a_scenario_and_every_verdict_is_told() -> None:
    text = page("docs/drills.md")
    keys = {*Workload.model_fields, *Expect.model_fields}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(VERDICTS)


def test_every_fault_of_the_emulator_is_told() -> None:
    text = page("docs/testing-your-app.md")
    cells = re.findall(r"^\| (`.*?) \|", text, flags=re.MULTILINE)
    assert sorted(re.findall(r"`(\w+)`", " ".join(cells))) == sorted(FAULTS)
    assert "some 70 models" in text
    assert 65 <= len(MODELS) <= 75


def test_every_field_of_chat_openrouter_is_told() -> None:
    cells = re.findall(r"^\| (`.*?) \|", page("docs/migrating-from-chatopenrouter.md"), flags=re.MULTILINE)
    told = set(re.findall(r"`(\w+)", " ".join(cells)))
    named = {"stop_sequences": "stop"}  # its alias is the rarer word
    fields = {field.alias or name for name, field in ChatOpenRouter.model_fields.items()}
    assert [field for field in sorted(fields) if named.get(field, field) not in told] == []


def test_errors_are_langchains_too() -> None:
    rows = re.findall(r"^\| ((?:`\w+Error`(?:, )?)+) \| `(\w+)`", page("docs/langchain.md"), flags=re.MULTILINE)
    told = {name: theirs for names, theirs in rows for name in re.findall(r"\w+Error", names)}
    errors = langchain_openrouter_fallback.errors
    for name, theirs in told.items():
        twin = errors.twin_of(getattr(openrouter_fallback, name)("x"))
        assert isinstance(twin, getattr(langchain_core.exceptions, theirs)), name
    assert set(told) == {cls.__name__ for cls in errors.FallbackError.__subclasses__()}


def test_the_arguments_of_the_chat_model_exist() -> None:
    table = page("docs/langchain.md").partition("## Arguments")[2].partition("## ")[0]
    told = {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.partition(" | ")[0])}
    fields = ChatOpenRouterFallback.model_fields
    assert told - set(fields) - {field.alias for field in fields.values()} == set()


def test_the_arguments_of_a_call_exist() -> None:
    table = page("docs/langchain.md").partition("## Arguments of a call")[2].partition("## ")[0]
    rows = re.findall(r"^\| .*? \|", table, flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert {"accept", "stall_timeout"} <= told <= set(inspect.signature(FallbackClient.chat).parameters)


def test_the_arguments_of_the_llm_are_all_told() -> None:
    rows = re.findall(r"^\| (`[a-z_]+`[^|]*) \|", page("docs/llamaindex.md"), flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    fields = set(OpenRouterFallback.model_fields)
    assert told <= fields
    assert fields - set(OpenRouterFallback.__mro__[1].model_fields) <= told  # type: ignore[attr-defined]


def test_the_readme_is_a_screen_and_a_half() -> None:
    assert len(page("README.md").splitlines()) <= 120
