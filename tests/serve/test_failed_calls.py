"""The warnings of `serve` about calls that no model answered: what the operator reads, and how often."""

from __future__ import annotations

import logging
import signal
from typing import Any

import httpx2
import pytest

from openrouter_fallback import (
    AuthenticationError,
    CatalogError,
    ContentPolicyError,
    ContextLengthError,
    FallbackClient,
    FallbackError,
    InsufficientCreditsError,
    InvalidRequestError,
    SpendLimitError,
)
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve.errors import problem
from openrouter_fallback.serve.log import FailedCalls

from ..cases.matrix import FIRST, SECOND
from ..support.serving import PROMPT, post, process, serving

NOWHERE = "http://127.0.0.1:9/v1"
RENEW = "Set a new key there, then restart the server: it reads keys only when it starts."


def test_a_revoked_key_is_one_warning_and_not_one_for_each_call(emulator: Emulator) -> None:
    with process(emulator, OPENROUTER_API_KEY="sk-or-v1-revoked") as (child, url):
        for _ in range(3):
            assert post(url).status_code == 502
        child.send_signal(signal.SIGTERM)
        log = child.communicate(timeout=60)[1]
    (line,) = log.splitlines()
    assert f" WARNING a call failed (upstream_authentication): auth (401): User not found. Models: {FIRST} (" in line
    assert line.endswith(f"The key that was used came from the environment variable OPENROUTER_API_KEY. {RENEW}")
    assert "revoked" not in log
    assert PROMPT not in log


AUTH, DOWN = "upstream_authentication", "All models exhausted: "
OWN = f"own:{SECOND}"
LINES: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "key of the environment": (
        "authentication",
        {},
        (f"({AUTH}): auth (401): ", f"Models: {FIRST} (auth 401), {SECOND} (not called).", "api_key=. " + RENEW),
    ),
    "key of the configuration": (
        "authentication",
        {"openrouter": {"api_key": "hidden-key"}},
        ("came from endpoints.openrouter.api_key in the configuration and does not start with sk-or-. " + RENEW,),
    ),
    "keys of two endpoints": (
        "authentication",
        {"own": {"api_key_env": "OWN_KEY"}},
        (
            f"Models: {FIRST} (auth 401), {OWN} (auth 401).",
            f"Check the key of the endpoint own: the environment variable OWN_KEY. {RENEW}",
        ),
    ),
    "no key of the own endpoint": (
        "authentication",
        {"own": {}},
        (f"Check the key of the endpoint own: its api_key_env or api_key in the configuration. {RENEW}",),
    ),
    "no credits": (
        "payment_required",
        {},
        (
            "(insufficient_credits): credits (402): ",
            f"Models: {FIRST} (credits 402), {SECOND} (not called). Next step: Add credits at ",
        ),
    ),
    "outage": (
        "provider_overloaded",
        {},
        (
            f"(all_models_failed): {DOWN}",
            f"Models: {FIRST} (overloaded 503), {SECOND} (overloaded 503). The last failure: Provider is overloaded.",
            " Next step: The providers are overloaded;",
        ),
    ),
    "a server that is not there": (
        "empty",
        {"openrouter": {"base_url": NOWHERE}},
        (
            f"(all_models_failed): {DOWN}",
            f"Models: {FIRST} (connection), {SECOND} (connection). The last failure: connection refused: ",
            " Next step: Check the network, proxy, base_url",
        ),
    ),
    "ids that do not exist": (
        "model_not_found",
        {},
        (
            f"(model_not_found): {DOWN}",
            f"Models: {FIRST} (not_found 400), {SECOND} (not_found 400). The last failure: ",
        ),
    ),
}


@pytest.mark.parametrize("name", LINES)
def test_a_warning_names_the_models_and_the_next_step(
    name: str, emulator: Emulator, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault, endpoints, parts = LINES[name]
    monkeypatch.setenv("OWN_KEY", "hidden-own-key")
    emulator.fault(fault)
    chain = [FIRST, OWN if "own" in endpoints else SECOND]
    at = {where: {"base_url": emulator.base_url, **more} for where, more in {"openrouter": {}, **endpoints}.items()}
    key = None if "api_key" in at["openrouter"] else emulator.api_key
    config = {"default_chain": chain, "endpoints": at}
    with FallbackClient(config=config, api_key=key) as client, serving(client) as server:
        assert post(server.base_url).status_code >= 400
    (record,) = [one for one in caplog.records if one.name == "openrouter_fallback.serve"]
    line = record.getMessage()
    assert line.startswith("a call failed (")
    assert [part for part in parts if part not in line] == []
    assert (record.levelno, vars(record)["models"]) == (logging.WARNING, chain)
    assert "hidden" not in line
    assert emulator.api_key not in line
    assert "\n" not in line


def test_a_server_that_cannot_be_reached_opens_the_circuit_of_the_endpoint_only() -> None:
    settings = {"max_retries_per_model": 1}
    with (
        FallbackClient([FIRST, SECOND], base_url=NOWHERE, api_key="sk-or-v1-x", settings=settings) as client,
        serving(client) as server,
    ):
        assert [post(server.base_url).json()["error"]["code"] for _ in range(3)] == ["all_models_failed"] * 3
        numbers = httpx2.get(f"{server.origin}/metrics").text
    assert 'breaker_changes_total{name="openrouter",scope="endpoint",state="open"} 1.0' in numbers
    assert [f'breaker{{model="{model}",state="closed"}} 1.0' in numbers for model in (FIRST, SECOND)] == [True, True]
    assert 'attempts_total{kind="connection"' in numbers


FAILED_CALLS: list[tuple[list[tuple[float, type[FallbackError]]], list[str]]] = [
    ([(0.0, AuthenticationError), (59.0, AuthenticationError)], [f"a call failed ({AUTH}): a. {RENEW}"]),
    (
        [
            (0.0, AuthenticationError),
            (1.0, AuthenticationError),
            (2.0, AuthenticationError),
            (60.0, AuthenticationError),
        ],
        [f"a call failed ({AUTH}): a. {RENEW}", f"3 calls failed ({AUTH}): d. {RENEW}"],
    ),
    (
        [(0.0, SpendLimitError), (1.0, InsufficientCreditsError)],
        ["a call failed (spend_limit_exceeded): a.", "a call failed (insufficient_credits): b."],
    ),
    ([(0.0, InvalidRequestError), (0.0, ContentPolicyError), (0.0, ContextLengthError)], []),
]


@pytest.mark.parametrize(("calls", "lines"), FAILED_CALLS)
def test_failed_calls_are_warned_of_once_a_minute_for_each_code(
    calls: list[tuple[float, type[FallbackError]]], lines: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    failed = FailedCalls(lambda: now[0])
    for message, (at, error) in zip("abcd", calls, strict=False):
        now[0] = at
        failed.tell(error(message))
    assert caplog.messages == lines


def test_every_error_of_a_call_has_a_status() -> None:
    classes = [cls for cls in FallbackError.__subclasses__() if cls.__module__ == "openrouter_fallback.errors"]
    found = {cls.__name__: problem(cls("x")) for cls in classes if cls is not CatalogError}
    assert [name for name, said in found.items() if said.body["error"]["code"] == "server_error"] == ["LocalError"]
    unsure = problem(RuntimeError("a prompt"))
    assert (unsure.status, "prompt" in str(unsure.body)) == (500, False)
