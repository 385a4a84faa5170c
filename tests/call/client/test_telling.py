"""What a client tells of its calls: events, lines of the log, errors and attempts."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from dataclasses import fields
from urllib.parse import urlsplit

import pytest

import openrouter_fallback as lib
from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import MODELS, Emulator
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, FailedOver

from .conftest import SECRET, A, B


def test_events_account_for_every_call_and_attempt(client: FallbackClient, emulator: Emulator) -> None:
    seen: list[Event] = []
    unsubscribe = client.subscribe(seen.append)
    emulator.fault("provider_overloaded", model=A, requests=1)
    client.chat("hi")
    kinds = [type(event) for event in seen]
    assert kinds == [CallStarted, AttemptStarted, AttemptEnded, FailedOver, AttemptStarted, AttemptEnded, CallEnded]
    unsubscribe()
    client.chat("hi")
    assert len(seen) == len(kinds)


def test_one_line_is_logged_for_each_failover(
    client: FallbackClient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.fault("rate_limit_exceeded", model=A)
    with caplog.at_level(logging.INFO, "openrouter_fallback"):
        client.chat("hi")
    lines = [record.getMessage() for record in caplog.records if record.name == "openrouter_fallback"]
    assert len(lines) == 1
    assert lines[0].startswith(f"{A} failed (rate_limited 429, ")
    assert lines[0].endswith(f"going on with {B}")


def test_an_id_that_does_not_exist_is_warned_of_once_with_what_may_have_been_meant(
    emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    wrong, right = "openai/gpt-5.1-mni", "openai/gpt-5.1-mini"
    client = FallbackClient([wrong, right], base_url=emulator.base_url, api_key=SECRET)
    emulator.fault("not_found", model=wrong)
    for _ in range(2):
        assert client.chat("hi").model == right
    client.enable(wrong)
    client.chat("hi")
    assert emulator.count(wrong) == 2
    said = [record.getMessage() for record in caplog.records if "does not exist" in record.getMessage()]
    assert said == [f"{wrong} does not exist: circuit open, next probe in 5 min. Did you mean {right!r}?"]
    client.enable(wrong)
    with pytest.raises(lib.AllModelsFailedError, match=f"Next step: Did you mean {right!r} by {wrong!r}?"):
        client.chat("hi", models=[wrong])
    client.close()


def test_what_may_have_been_meant_is_also_looked_for_in_the_list_of_models() -> None:
    with (
        Emulator(models=MODELS, strict=True) as emulator,
        FallbackClient(["anthropic/claude-sonet-4.5"], base_url=emulator.base_url, api_key=emulator.api_key) as client,
    ):
        client.refresh_catalog()
        with pytest.raises(lib.AllModelsFailedError, match="Did you mean 'anthropic/claude-sonnet"):
            client.chat("hi")


@pytest.mark.parametrize(
    ("wrong", "right"),
    [("openai/gpt-51", "openai/gpt-5.1"), ("anthropic/claude-sonet-4.5", "anthropic/claude-sonnet-4.5")],
)
def test_a_lone_misspelt_id_is_answered_without_a_list_of_models(emulator: Emulator, wrong: str, right: str) -> None:
    emulator.fault("not_found")
    with FallbackClient([wrong], base_url=emulator.base_url, api_key=SECRET) as client:
        with pytest.raises(lib.AllModelsFailedError, match=f"Did you mean {right!r} by {wrong!r}?"):
            client.chat("hi")
        assert client.catalog.models() == ()


def test_equal_failures_of_a_model_are_one_line_with_their_number(emulator: Emulator) -> None:
    emulator.fault("server")
    with (
        FallbackClient([A, B], base_url=emulator.base_url, api_key=SECRET) as client,
        pytest.raises(lib.AllModelsFailedError) as failed,
    ):
        client.chat("hi")
    lines = [line for line in str(failed.value).splitlines() if line.startswith("  ")]
    assert [line.partition(": unavailable 500 after ")[0].strip() for line in lines] == [A, B]
    assert all(" s, 2 times: " in line for line in lines)


def test_an_endpoint_that_cannot_be_reached_is_one_line_for_all_its_models(emulator: Emulator) -> None:
    models = [f"author/model-{number}" for number in range(5)]
    with (
        FallbackClient(models, base_url=emulator.refused_url(), api_key=SECRET) as client,
        pytest.raises(lib.AllModelsFailedError) as failed,
    ):
        client.chat("hi")
    (line,) = [line for line in str(failed.value).splitlines() if line.startswith("  ")]
    assert len(failed.value.attempts) > 5
    assert line.startswith("  author/model-0, author/model-1, author/model-2 and 2 more: connection after ")
    assert f", {len(failed.value.attempts)} times: connection refused" in line


def test_a_refused_connection_says_where(emulator: Emulator) -> None:
    url = emulator.refused_url()
    with FallbackClient([A], base_url=url, api_key=SECRET) as client, pytest.raises(lib.FallbackError) as raised:
        client.chat("hi", total_timeout=0.5)
    assert f"({urlsplit(url).netloc})" in str(raised.value)


@pytest.mark.parametrize("name", [n for n in lib.__all__ if n.endswith("Error")])
def test_errors_survive_pickling_and_copying(name: str) -> None:
    attempt = lib.Attempt(A, "openrouter", lib.FailureKind.OVERLOADED, 0.5)
    error = getattr(lib, name)("what", attempts=(attempt,), retry_after=3.0, partial="half")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.attempts, twin.retry_after, twin.partial) == ("what", (attempt,), 3.0, "half")


def test_an_attempt_as_json_has_every_field() -> None:
    attempt = lib.Attempt(A, "openrouter", lib.FailureKind.OVERLOADED, 0.12345, status=503, notes=("a note",))
    values = attempt.as_dict()
    assert values.keys() == {field.name for field in fields(lib.Attempt)}
    assert (values["kind"], values["seconds"], values["notes"]) == ("overloaded", 0.123, ["a note"])
    assert json.loads(json.dumps(values)) == values
