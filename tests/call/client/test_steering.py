"""Health, routes and settings of a client, and the models that are switched off and on by hand."""

from __future__ import annotations

import asyncio

import pytest

import openrouter_fallback as lib
from openrouter_fallback import FallbackClient, ModelConfig, Settings
from openrouter_fallback.emulator import Emulator

from ...cases.settings import CHANGES, FILE
from .conftest import SECRET, A, B, C


def test_from_config_and_with_options_share_health(emulator: Emulator) -> None:
    config = {"default_chain": [A], "task_chains": {"coding": [B, A]}}
    client = FallbackClient.from_config(config, task="coding", base_url=emulator.base_url, api_key=SECRET)
    assert client.chat("hi").model == B
    assert client.chat("hi", task="default").model == A
    with lib.routing(task="default"):
        assert client.chat("hi").model == A
        assert client.chat("hi", task="coding").model == B
    other = client.with_options(models=[A])
    other.disable(A, 60)
    assert client.available(task="default") == ()


def test_disable_enable_reset_available(client: FallbackClient, emulator: Emulator) -> None:
    client.disable(A, 60)
    assert client.available() == (B, C)
    skipped = client.route().skipped[0]
    assert (skipped.model, skipped.reason) == (A, "disabled by hand")
    assert skipped.seconds_left is not None
    assert 50 < skipped.seconds_left <= 60
    assert client.chat("hi").model == B
    client.enable(A)
    assert client.chat("hi").model == A
    for model in (A, B, C):
        client.disable(model)
    with pytest.raises(lib.AllModelsFailedError) as raised:
        client.chat("hi")
    assert "disabled by hand" in str(raised.value)
    client.reset(A)
    assert client.available() == (A,)
    client.reset()
    assert client.available() == (A, B, C)
    with pytest.raises(lib.ConfigError):
        client.disable("nonsense")


@pytest.mark.parametrize("way", ["disable", "enable", "reset"])
def test_a_model_that_no_chain_has_is_not_steered(client: FallbackClient, way: str) -> None:
    steer = getattr(client, way)
    with pytest.raises(lib.ConfigError, match=r"openai/d.*Did you mean 'openai/b'\?"):
        steer("openai/d")
    with pytest.raises(lib.ConfigError, match="in no chain of this client"):
        steer("x/y")
    steer(B)
    client.with_options(models=["x/y"]).disable("x/y")  # a copy knows its own


def test_a_model_that_calls_have_brought_can_be_steered(client: FallbackClient) -> None:
    client.chat("hi", models=["x/y"])
    client.disable("x/y", 60)
    assert client.available(models=["x/y"]) == ()
    client.reset("x/y")
    assert client.available(models=["x/y"]) == ("x/y",)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_left_out_is_seen_with_a_key_from_a_function(emulator: Emulator, *, asynchronous: bool) -> None:
    async def fetch() -> str:
        return SECRET

    emulator.fault("rate_limit_exceeded", model=A, retry_after=30)
    key = fetch if asynchronous else lambda: SECRET
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=key) as client:

        async def ask() -> None:
            await client.achat("hi")
            await client.aclose()

        asyncio.run(ask()) if asynchronous else client.chat("hi")
        assert client.available() == (B,)
        assert client.route().skipped[0].reason == "rate-limited"
        assert client.health()[A].seconds_left is not None
        client.enable(A)
        assert client.available() == (A, B)


@pytest.mark.parametrize("name", CHANGES)
def test_settings_beside_a_config_change_what_they_name(name: str) -> None:
    changes, other = CHANGES[name]
    config = {**FILE, "settings": {**FILE["settings"], "health_store": "memory"}}
    settings = FallbackClient(config=config, settings=changes).config.settings
    was = lib.load_config(config).settings
    expected = {**{key: getattr(was, key) for key in Settings.model_fields}, **other}
    assert {key: getattr(settings, key) for key in Settings.model_fields} == expected


def test_health_is_a_plain_snapshot(client: FallbackClient, emulator: Emulator) -> None:
    emulator.fault("provider_overloaded", model=A)
    for _ in range(3):
        assert client.chat("hi").model == B
    health = client.health()
    assert (health[A].state, health[A].failures) == ("open", 3)
    assert health[A].seconds_left is not None
    assert (health[B].state, health[B].successes, health[B].success_rate) == ("closed", 3, 1.0)
    assert health[B].first_token_p50 is not None


def test_route_calls_nothing_and_names_reasons(client: FallbackClient, emulator: Emulator) -> None:
    route = client.route(models=[C, A])
    assert route.candidates == (C, A)
    assert emulator.log == []


def test_models_per_call_and_priority(client: FallbackClient) -> None:
    assert client.chat("hi", models=[C]).model == C
    chain = [ModelConfig(A, priority=2), ModelConfig(B, priority=1)]
    assert client.chat("hi", models=chain).model == B


def test_an_unknown_task_uses_the_default_chain_and_says_so_once(
    client: FallbackClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert client.chat("hi", task="codign").model == A
    assert [record.getMessage() for record in caplog.records if "codign" in record.getMessage()] == [
        "task='codign' is not configured; there are: default. The default chain is used."
    ]
