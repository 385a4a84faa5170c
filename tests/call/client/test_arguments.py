"""What a client and a call take, what they refuse, and what is sent."""

from __future__ import annotations

import copy
import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import openrouter_fallback as lib
from openrouter_fallback import FallbackClient, ModelConfig
from openrouter_fallback.argument_names import OF_A_CALL, OF_A_CLIENT
from openrouter_fallback.emulator import Emulator

from ...cases.headers import REFUSED
from ...cases.typed import ATTRIBUTES, CALL, CLIENT, COPY
from .conftest import SECRET, A, B

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
        "stream": client.stream("hi"),
        "async stream": client.astream("hi"),
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
