"""Parameters and settings: of the constructor, of a call; what is sent, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from openrouter_fallback import EndpointConfig, Settings, load_config
from openrouter_fallback.emulator import Emulator

from ..cases.settings import CHANGES, FILE
from ..support.clients import counted_clients
from .conftest import Make
from .schemas import body

PARAMS: dict[str, Any] = {
    "temperature": 0.2,
    "max_tokens": 50,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 2,
    "stop": ["END"],
    "reasoning": {"effort": "low"},
    "verbosity": "low",
    "plugins": [{"id": "web", "max_results": 2}],
    "session_id": "s-1",
}


@pytest.mark.parametrize("where", ["constructor", "call", "bind"])
def test_parameters(emulator: Emulator, make: Make, where: str) -> None:
    if where == "constructor":
        make(**PARAMS).invoke("hi")
    elif where == "call":
        make(**dict.fromkeys(PARAMS)).invoke("hi", **PARAMS)
    else:
        make(temperature=1.0, seed=1).bind(**PARAMS).invoke("hi")
    sent = body(emulator)
    assert {name: sent[name] for name in PARAMS} == PARAMS


def test_langchains_names_for_openrouters_parameters(emulator: Emulator, make: Make) -> None:
    """A number in `max_price` costs nothing: the whole object goes out."""
    provider = {"order": ["openai"], "data_collection": "deny", "max_price": {"prompt": 5}}
    make(openrouter_provider=provider, stop_sequences="END", model_kwargs={"top_k": 3}).invoke(
        "hi", extra_body={"new": True}, headers={"X-Mine": "1"}
    )
    sent = emulator.log[0]
    assert sent.body["provider"] == provider
    assert (sent.body["stop"], sent.body["top_k"], sent.body["new"]) == ("END", 3, True)
    assert sent.headers["x-mine"] == "1"


@pytest.mark.parametrize("name", ["app_categories", "api_key", "base_url", "max_retries", "endpoints", "app_title"])
def test_what_only_a_constructor_takes_is_refused_in_a_call(
    emulator: Emulator, llm: ChatOpenRouterFallback, name: str
) -> None:
    """It would go out in the body, a key too."""
    given: Any = {name: "sk-secret"}
    with pytest.raises(ConfigError, match=f"{name}= is an argument of ChatOpenRouterFallback itself") as raised:
        llm.invoke("hi", **given)
    assert "secret" not in str(raised.value)
    assert emulator.count() == 0


def test_what_is_meant_for_langchain_is_not_sent(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.invoke("hi", stream_usage=True)
    assert "stream_usage" not in body(emulator)


@pytest.mark.parametrize("name", CHANGES)
def test_settings_change_what_they_name(name: str) -> None:
    changes, other = CHANGES[name]
    settings = ChatOpenRouterFallback(config=FILE, settings=changes, api_key="x", max_retries=4).client.config.settings
    was = load_config(FILE).settings
    expected = {key: getattr(was, key) for key in Settings.model_fields} | other | {"max_retries_per_model": 5}
    assert {key: getattr(settings, key) for key in Settings.model_fields} == expected


@pytest.mark.parametrize(
    "chain", [{"models": ["a/b", "x:c"]}, {"config": FILE}, {}], ids=["models", "config", "environment"]
)
def test_one_client_whatever_is_changed(chain: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fallback.yaml").write_text("default_chain: [a/b]")
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", str(tmp_path / "fallback.yaml"))
    made = counted_clients(monkeypatch)
    endpoint = EndpointConfig("http://127.0.0.1:1/v1")
    llm = ChatOpenRouterFallback(
        **chain, endpoints={"x": endpoint}, settings={"policy": "any_error"}, timeout=3, max_retries=0, api_key="x"
    )
    assert len(made) == 1
    settings = llm.client.config.settings
    assert (settings.policy, settings.first_token_timeout_seconds, settings.max_retries_per_model) == (
        "any_error",
        3,
        1,
    )
    assert llm.client.config.endpoints["x"] == endpoint


@pytest.mark.parametrize(
    ("own", "call", "sent"),
    [
        ({"max_tokens": 1000}, {"max_completion_tokens": 10}, {"max_completion_tokens": 10}),
        ({"max_completion_tokens": 1000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 1000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 1000}, {"max_completion_tokens": None}, {"max_tokens": 1000}),
    ],
    ids=str,
)
def test_a_calls_token_limit_replaces_the_models(
    emulator: Emulator, make: Make, own: dict[str, Any], call: dict[str, Any], sent: dict[str, Any]
) -> None:
    make(**own).invoke("hi", **call)
    asked = body(emulator)
    assert {name: asked[name] for name in ("max_tokens", "max_completion_tokens") if name in asked} == sent


def test_attribution_and_headers(emulator: Emulator, make: Make) -> None:
    make(app_url="https://x.org", app_title="X", default_headers={"X-Mine": "1"}).invoke("hi")
    headers = emulator.log[0].headers
    assert (headers["http-referer"], headers["x-title"], headers["x-mine"]) == ("https://x.org", "X", "1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"max_cost_teir": "budget"}, "did you mean max_cost_tier=?"),
        ({"temprature": 1}, "did you mean temperature=?"),
        ({"frobnicate": 1}, "model_kwargs"),
        ({"model_name": "a/b"}, "did you mean model=?"),
        ({"fallbacks": ["a/b"]}, "did you mean models=?"),
        ({"total_timeout": 5}, "settings={'total_timeout_seconds': ...}"),
        ({"policy": "any_error"}, "settings={'policy': ...}"),
        ({"accept": bool}, ".bind(accept=...)"),
        ({"model": "a/b", "models": ["a/b"]}, "not both"),
        ({"models": "a/b"}, "['a/b']"),
        ({"models": [7]}, "int"),
        ({"models": ["a/b"], "mid_stream": "go"}, "mid_stream=: Input should be 'continue' or 'raise'"),
        ({"models": ["a/b"], "temperature": "hot"}, "temperature=: "),
        ({"model": ["a/b", "c/d"]}, "models=['a/b', 'c/d']"),
        ({"models": ["gpt-5.1"]}, "openai/gpt-5.1"),
        ({"models": ["a/b"], "settings": {"polcy": "smart"}}, "policy"),
        ({"models": ["a/b"], "default_headers": {"Host": "x"}}, "'Host'"),
        ({"models": ["a/b"], "app_title": "a\nb"}, "app_title="),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
        ({"models": ["a/b"], "endpoints": {"x": 1}}, "endpoints="),
        ({}, "OPENROUTER_FALLBACK_CONFIG"),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_a_wrong_constructor_is_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ChatOpenRouterFallback(**arguments)
    assert told in str(raised.value)


def test_no_type_error_shows_the_key() -> None:
    with pytest.raises(ValueError, match="temperature") as raised:
        ChatOpenRouterFallback(model="a/b", api_key="sk-or-v1-secret", temperature="hot")  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)
