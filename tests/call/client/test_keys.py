"""Where keys, headers and URLs come from, and that no key and no prompt is ever shown."""

from __future__ import annotations

import logging
import pickle
from typing import Any

import pytest

import openrouter_fallback as lib
from openrouter_fallback import FallbackClient, Settings
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import Event

from .conftest import PROMPT, SECRET, A, B


def test_headers_and_attribution(emulator: Emulator) -> None:
    client = FallbackClient(
        [A],
        base_url=emulator.base_url,
        api_key=SECRET,
        app_url="https://app.example",
        app_title="App",
        headers={"X-A": "1"},
    )
    client.chat("hi", headers={"X-B": "2"})
    sent = emulator.log[0].headers
    assert (sent["http-referer"], sent["x-title"], sent["x-a"], sent["x-b"]) == ("https://app.example", "App", "1", "2")
    assert sent["user-agent"].startswith("openrouter-fallback/")


def test_the_environment_gives_key_url_and_config(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    path = tmp_path / "fallback.yaml"
    path.write_text(f"fallback:\n  default_chain: [{B}]\n")
    monkeypatch.setenv("OPENROUTER_API_KEY", SECRET)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", str(path))
    assert FallbackClient().chat("hi").model == B


@pytest.mark.parametrize(
    ("name", "url", "said"),
    [
        (
            "OPENROUTER_BASE_URL",
            '"http://127.0.0.1:1/v1"',
            r"^OPENROUTER_BASE_URL: found .* Remove the quotation marks\.$",
        ),
        (
            "OPENROUTER_API_BASE",
            "http://127.0.0.1:1/v1/chat/completions",
            "^OPENROUTER_API_BASE: found a URL with /chat/",
        ),
        ("base_url=", "127.0.0.1:1/v1", "^base_url=: found '127.0.0.1:1/v1'; allowed is an http or https URL"),
    ],
)
def test_a_url_that_cannot_be_used_is_named_with_where_it_came_from(
    monkeypatch: pytest.MonkeyPatch, name: str, url: str, said: str
) -> None:
    if name.isupper():
        monkeypatch.setenv(name, url)
    with pytest.raises(lib.ConfigError, match=said):
        FallbackClient([A], base_url=None if name.isupper() else url)


def test_without_a_key_nothing_is_sent_and_the_error_says_where_it_was_looked_for(emulator: Emulator) -> None:
    client = FallbackClient([A], base_url=emulator.base_url)
    with pytest.raises(lib.AuthenticationError) as raised:
        client.chat("hi")
    assert "OPENROUTER_API_KEY" in str(raised.value)
    assert "sk-or-" in str(raised.value)
    assert emulator.log == []


def test_a_wrong_key_is_told_where_it_came_from(emulator: Emulator) -> None:
    client = FallbackClient([A, B], base_url=emulator.base_url, api_key="my-password-123")
    with pytest.raises(lib.AuthenticationError) as raised:
        client.chat("hi")
    said = str(raised.value)
    assert "api_key=" in said
    assert "does not start with sk-or-" in said
    assert "my-password-123" not in said
    assert len(emulator.log) == 1


@pytest.mark.parametrize("key", ["sk or v1", "sk-or\nv1-x", "schlüssel"])
def test_a_key_that_cannot_be_one_is_refused_without_being_shown(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    with pytest.raises(lib.ConfigError, match="It came from api_key=") as raised:
        FallbackClient([A], base_url=emulator.base_url, api_key=key).chat("hi")
    assert key not in str(raised.value)
    monkeypatch.setenv("OPENROUTER_API_KEY", key)
    with pytest.raises(lib.ConfigError, match="It came from the environment variable OPENROUTER_API_KEY") as raised:
        FallbackClient([A], base_url=emulator.base_url).chat("hi")
    assert key not in str(raised.value)


async def test_the_key_may_come_from_a_function(emulator: Emulator) -> None:
    async def fetch() -> str:
        return SECRET

    assert FallbackClient([A], base_url=emulator.base_url, api_key=lambda: SECRET).chat("hi").model == A
    client = FallbackClient([A], base_url=emulator.base_url, api_key=fetch)
    assert (await client.achat("hi")).model == A
    with pytest.raises(lib.ConfigError, match="coroutine"):
        client.chat("hi")
    await client.aclose()


def test_other_endpoints_get_their_own_key_and_none_of_openrouters(emulator: Emulator) -> None:
    with Emulator(api_key="other-key") as other:
        client = FallbackClient(
            config={
                "default_chain": [A, "local:meta/x"],
                "endpoints": {"local": {"base_url": other.base_url, "api_key": "other-key"}},
            },
            base_url=emulator.base_url,
            api_key=SECRET,
        )
        emulator.fault("provider_overloaded")
        completion = client.chat("hi")
        client.close()
        assert [attempt.model for attempt in completion.attempts] == [A, "local:meta/x"]
        assert other.log[0].model == "meta/x"
        assert "http-referer" not in other.log[0].headers


@pytest.mark.parametrize(
    ("fault", "details"),
    [
        ("invalid_request", {"message": f"bad input: {PROMPT}"}),
        ("moderation", {"metadata": {"reasons": ["violence"], "flagged_input": PROMPT, "provider_name": "X"}}),
        ("http", {"status": 500, "message": f"Bearer {SECRET} failed on {PROMPT[:40]}"}),
        ("http", {"status": 400, "message": "Provider returned error", "metadata": {"raw": f"echo {PROMPT}"}}),
        ("html", {"status": 502, "page": f"<html><title>{PROMPT}</title></html>"}),
    ],
)
def test_neither_key_nor_prompt_appears_anywhere(
    emulator: Emulator, caplog: pytest.LogCaptureFixture, fault: str, details: dict[str, Any]
) -> None:
    client = FallbackClient([A], base_url=emulator.base_url, api_key=SECRET, settings=Settings(max_retries_per_model=1))
    seen: list[Event] = []
    client.subscribe(seen.append)
    emulator.fault(fault, **details)
    with caplog.at_level(logging.DEBUG, "openrouter_fallback"), pytest.raises(lib.FallbackError) as raised:
        client.chat(PROMPT)
    error = raised.value
    said = "\n".join(
        map(
            repr,
            (
                str(error),
                error,
                error.attempts,
                seen,
                caplog.text,
                client,
                client.health(),
                client.__dict__,
                pickle.dumps(error),
            ),
        )
    )
    for secret in (SECRET, "swordfish", PROMPT[:30]):
        assert secret not in said
    client.close()


def test_no_key_in_the_client_even_when_looked_at_closely(emulator: Emulator) -> None:
    client = FallbackClient([A], base_url=emulator.base_url, api_key=SECRET)
    client.chat("hi")
    assert SECRET not in repr(client.__dict__)
    assert SECRET not in repr(client.config)
    client.close()
