"""The client's own surface: what it is built from, what it passes on, what it can be told, and what it never says."""

from __future__ import annotations

import asyncio
import copy
import inspect
import json
import logging
import pickle
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import openrouter_fallback as lib
from openrouter_fallback import FallbackClient, ModelConfig, Settings
from openrouter_fallback.argument_names import OF_A_CALL, OF_A_CLIENT
from openrouter_fallback.emulator import MODELS, Emulator
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event, FailedOver

from ..cases.headers import REFUSED
from ..cases.settings import CHANGES, FILE
from ..cases.typed import ATTRIBUTES, CALL, CLIENT, COPY

A, B, C = "anthropic/a", "openai/b", "meta-llama/c:free"
SECRET = "sk-or-v1-0123456789abcdef0123456789abcdef"
PROMPT = "the launch code is swordfish-4711 and nobody may read it"


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=SECRET, strict=True) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    server.clear()
    return server


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL", "OPENROUTER_FALLBACK_CONFIG"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FallbackClient]:
    with FallbackClient([A, B, C], base_url=emulator.base_url, api_key=SECRET) as client:
        yield client


MISTAKES: list[tuple[str, Any, tuple[str, ...]]] = [
    ("nothing given", lambda: FallbackClient(), ("OPENROUTER_FALLBACK_CONFIG", "models=")),
    ("both given", lambda: FallbackClient([A], config={"default_chain": [A]}), ("not both",)),
    ("a string", lambda: FallbackClient("openai/b"), ("['openai/b']",)),
    ("no prefix", lambda: FallbackClient(["gpt-5.1"]), ("models[0]: found 'gpt-5.1'", "prefix")),
    ("no prefixes", lambda: FallbackClient(["x", "y"]), ("models= has 2 mistakes", "- models[0]", "- models[1]")),
    ("empty", lambda: FallbackClient([]), ("models=[] is empty",)),
    ("twice", lambda: FallbackClient([A, A]), (f"models[1]: found '{A}' again",)),
    ("authorization", lambda: FallbackClient([A], headers={"authorization": "x"}), ("api_key=",)),
    *(
        (f"header {name!r}", lambda name=name, value=value: FallbackClient([A], headers={name: value}), words)
        for name, value, words in REFUSED
    ),
    ("headers, no mapping", lambda: FallbackClient([A], headers="X-A: 1"), ("headers=", "a mapping")),  # type: ignore[arg-type]
    ("a title of two lines", lambda: FallbackClient([A], app_title="My\r\nHost: x"), ("app_title=", "one line")),
    ("a URL of two lines", lambda: FallbackClient([A], app_url="https://x\n"), ("app_url=", "one line")),
    ("a title, no text", lambda: FallbackClient([A], app_title=3), ("app_title=", "int")),  # type: ignore[arg-type]
    *(
        (f"{name}=", lambda name=name: FallbackClient([A], **dict[str, Any]({name: 1})), words)
        for name, words in CLIENT.items()
    ),
    ("from_config, timeout=", lambda: FallbackClient.from_config({"default_chain": [A]}, timeout=1), ("a call",)),
    *(
        (
            f"with_options, {name}=",
            lambda name=name: FallbackClient([A]).with_options(**dict[str, Any]({name: 1})),
            words,
        )
        for name, words in COPY.items()
    ),
    ("bad url", lambda: FallbackClient([A], base_url="ftp://host"), ("http",)),
    ("bad settings", lambda: FallbackClient([A], settings={"skip_treshold": 1}), ("skip_threshold",)),
]


@pytest.mark.parametrize(("build", "words"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_client_that_cannot_be_built_says_why(build: Any, words: tuple[str, ...]) -> None:
    with pytest.raises(lib.ConfigError) as raised:
        build()
    assert all(word in str(raised.value) for word in words), str(raised.value)


CALL_MISTAKES: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    ("empty messages", {"messages": []}, ("messages is empty",)),
    ("not messages", {"messages": {"role": "user"}}, ("messages is a dict",)),
    ("no role", {"messages": [{"content": "x"}]}, ("messages[0]", "role")),
    ("model=", {"model": A}, ("models=",)),
    ("stream=", {"stream": True}, ("client.stream",)),
    ("misspelt", {"max_cost_teir": "budget"}, ("max_cost_tier",)),
    ("fallbacks=", {"fallbacks": [B]}, ("models=",)),
    ("misspelt parameter", {"temprature": 1}, ("did you mean temperature=", "extra_body")),
    *((f"{name}=", {name: value}, words) for name, (value, words) in CALL.items()),
    ("models a string", {"models": B}, (f"[{B!r}]",)),
    ("models empty", {"models": []}, ("empty",)),
    ("models twice", {"models": [A, A]}, ("twice",)),
    ("models without prefix", {"models": ["b"]}, ("prefix",)),
    ("unknown tier", {"max_cost_tier": "cheap"}, ("max_cost_tier='cheap'",)),
    ("a task that is no string", {"task": 3}, ("task=3 is a int", "string")),
    ("timeout 0", {"timeout": 0}, ("timeout=0",)),
    ("total infinite", {"total_timeout": float("inf")}, ("total_timeout=inf",)),
    ("timeout text", {"timeout": "5"}, ("timeout='5'",)),
    ("accept", {"accept": True}, ("accept is a bool",)),
    ("not json", {"tools": [{"type": object()}]}, ("tools", "JSON")),
    ("extra_body", {"extra_body": [1]}, ("extra_body",)),
    ("header", {"headers": {"Authorization": "x"}}, ("api_key=",)),
    ("header's name", {"headers": {"bad name\n": "x"}}, ("'bad name\\n'", "name")),
    ("header's name a number", {"headers": {1: "x"}}, ("1 is not a header's name",)),
    *((f"header {name!r}", {"headers": {name: value}}, words) for name, value, words in REFUSED),
]


@pytest.mark.parametrize(("arguments", "words"), [m[1:] for m in CALL_MISTAKES], ids=[m[0] for m in CALL_MISTAKES])
@pytest.mark.parametrize("streamed", [False, True], ids=["chat", "stream"])
def test_a_mistaken_argument_is_named_and_nothing_is_sent(
    client: FallbackClient, emulator: Emulator, arguments: dict[str, Any], words: tuple[str, ...], streamed: bool
) -> None:
    arguments = {"messages": "hi", **arguments}
    with pytest.raises(lib.ConfigError) as raised:
        list(client.stream(**arguments)) if streamed else client.chat(**arguments)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert emulator.log == []


@pytest.mark.parametrize(("owner", "name", "words"), ATTRIBUTES)
def test_an_attribute_of_other_libraries_says_where_it_is_here(
    client: FallbackClient, owner: str, name: str, words: tuple[str, ...]
) -> None:
    of: dict[str, Any] = {
        "client": client,
        "client.chat": client.chat,
        "answer": client.chat("hi"),
        "piece": next(iter(client.stream("hi"))),
    }
    with pytest.raises(AttributeError) as raised:
        getattr(of[owner], name)
    assert all(word in str(raised.value) for word in words), str(raised.value)
    assert not hasattr(copy.copy(of["answer"]), name) or owner != "answer"


def test_the_call_is_a_method_like_any_other(client: FallbackClient) -> None:
    assert client.chat == client.chat
    assert len({client.chat, client.chat}) == 1
    assert client.chat.__name__ == "chat"
    assert client.chat.__self__ is client  # type: ignore[attr-defined]
    assert list(inspect.signature(client.chat).parameters)[:2] == ["messages", "task"]
    assert list(inspect.signature(FallbackClient.chat).parameters)[:2] == ["self", "messages"]
    assert FallbackClient.chat(client, "hi").model == A
    assert copy.copy(client.chat)("hi").model == A


def test_the_own_arguments_are_those_of_the_calls_and_of_the_constructor() -> None:
    calls = {
        name for call in (FallbackClient.chat, FallbackClient.stream) for name in inspect.signature(call).parameters
    }
    assert calls == {"self", "messages", "params", *OF_A_CALL}
    assert tuple(inspect.signature(FallbackClient).parameters) == OF_A_CLIENT


def test_every_parameter_goes_through_as_it_is(client: FallbackClient, emulator: Emulator) -> None:
    params: dict[str, Any] = {
        "temperature": 0.2,
        "max_tokens": 50,
        "seed": 7,
        "stop": ["END"],
        "logprobs": True,
        "provider": {"sort": "price", "max_price": {"prompt": 1.5, "completion": 2}, "data_collection": "deny"},
        "plugins": [{"id": "web"}],
        "reasoning": {"effort": "low"},
        "response_format": {"type": "text"},
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "top_p": None,
    }
    client.chat([{"role": "system", "content": "s"}, {"role": "user", "content": "u"}], **params)
    body = emulator.log[0].body
    del params["top_p"]
    assert {key: body.get(key) for key in params} == params
    assert "top_p" not in body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


USAGE = {"include_usage": True}
NULLS: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]] = [
    # the model's own parameters, the call's, what is sent of both
    ({"top_p": None}, {}, {"stream_options": USAGE}),
    ({"top_p": None}, {"top_p": 0.5}, {"top_p": 0.5, "stream_options": USAGE}),
    ({"top_p": 0.5}, {"top_p": None}, {"top_p": 0.5, "stream_options": USAGE}),
    ({"stream_options": None}, {}, {}),
    ({}, {"stream_options": None}, {}),
    ({"stream_options": None}, {"stream_options": None}, {}),
    ({"stream_options": None}, {"stream_options": USAGE}, {"stream_options": USAGE}),
    ({"stream_options": {"other": 1}}, {}, {"stream_options": {"other": 1}}),
    ({"stream_options": {"other": 1}}, {"stream_options": None}, {"stream_options": {"other": 1}}),
    ({"max_tokens": None}, {"max_completion_tokens": 9}, {"max_completion_tokens": 9, "stream_options": USAGE}),
    ({"provider": None}, {"provider": None}, {"stream_options": USAGE}),
]


@pytest.mark.parametrize(("own", "call", "sent"), NULLS, ids=str)
@pytest.mark.parametrize("file", [False, True], ids=["objects", "YAML"])
def test_null_sends_nothing(
    emulator: Emulator, tmp_path: Path, own: dict[str, Any], call: dict[str, Any], sent: dict[str, Any], *, file: bool
) -> None:
    (tmp_path / "f.yaml").write_text(json.dumps({"default_chain": [A], "models": {A: {"params": own}}}))
    given: dict[str, Any] = {"config": tmp_path / "f.yaml"} if file else {"models": [ModelConfig(A, params=own)]}
    FallbackClient(**given, base_url=emulator.base_url, api_key=SECRET).chat("hi", **call)
    assert {k: v for k, v in emulator.log[0].body.items() if k not in ("model", "messages", "stream")} == sent


def test_extra_body_and_models_of_the_server(client: FallbackClient, emulator: Emulator) -> None:
    client.chat("hi", extra_body={"models": [B], "something_new": 1})
    assert emulator.log[0].body["models"] == [B]
    assert emulator.log[0].body["something_new"] == 1


def test_a_models_own_params_give_way_to_the_callers(emulator: Emulator) -> None:
    chain = [ModelConfig(A, params={"temperature": 0.1, "top_p": 0.5})]
    client = FallbackClient(chain, base_url=emulator.base_url, api_key=SECRET)
    client.chat("hi", temperature=0.9)
    assert (emulator.log[0].body["temperature"], emulator.log[0].body["top_p"]) == (0.9, 0.5)


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


def test_an_unknown_task_uses_the_default_chain_and_says_so_once(
    client: FallbackClient, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert client.chat("hi", task="codign").model == A
    assert [record.getMessage() for record in caplog.records if "codign" in record.getMessage()] == [
        "task='codign' is not configured; there are: default. The default chain is used."
    ]


@pytest.mark.parametrize("name", [n for n in lib.__all__ if n.endswith("Error")])
def test_errors_survive_pickling_and_copying(name: str) -> None:
    attempt = lib.Attempt(A, "openrouter", lib.FailureKind.OVERLOADED, 0.5)
    error = getattr(lib, name)("what", attempts=(attempt,), retry_after=3.0, partial="half")
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(twin) is type(error)
        assert (str(twin), twin.attempts, twin.retry_after, twin.partial) == ("what", (attempt,), 3.0, "half")


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


def test_an_attempt_as_json_has_every_field() -> None:
    attempt = lib.Attempt(A, "openrouter", lib.FailureKind.OVERLOADED, 0.12345, status=503, notes=("a note",))
    values = attempt.as_dict()
    assert values.keys() == {field.name for field in fields(lib.Attempt)}
    assert (values["kind"], values["seconds"], values["notes"]) == ("overloaded", 0.123, ["a note"])
    assert json.loads(json.dumps(values)) == values
