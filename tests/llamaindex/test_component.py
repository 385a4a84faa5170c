"""The LLM as a component: its settings and their mistakes, its metadata, copies of it, and that no key is in any."""

from __future__ import annotations

import asyncio
import copy
import importlib
import importlib.util
import json
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from llama_index.core import Settings
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.callbacks import CallbackManager
from llama_index.core.llms.utils import resolve_llm
from llama_index.core.rate_limiter import TokenBucketRateLimiter
from llama_index.core.tools import FunctionTool
from pydantic import BaseModel

import llamaindex_openrouter_fallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import (
    AuthenticationError,
    ConfigError,
    EndpointConfig,
    FailureKind,
    FallbackConfig,
    ModelConfig,
    load_config,
)
from openrouter_fallback import Settings as FallbackSettings
from openrouter_fallback.emulator import Emulator

from ..cases.matrix import FIRST, SECOND
from ..cases.settings import CHANGES, FILE
from ..support.clients import counted_clients
from ..support.rawserver import RawServer, Reply

KEY = "sk-or-v1-a-very-secret-key"
ASKED = [ChatMessage("Say something")]
Make = Callable[..., OpenRouterFallback]


def test_the_package_s_table_of_contents() -> None:
    assert set(llamaindex_openrouter_fallback.__all__) == {
        "LLMAttemptEndEvent",
        "LLMAttemptStartEvent",
        "LLMFailoverEvent",
        "OpenRouterFallback",
    }
    assert all(hasattr(llamaindex_openrouter_fallback, name) for name in llamaindex_openrouter_fallback.__all__)


def test_importing_it_brings_no_sdk() -> None:
    code = (
        "import sys; import llama_index.core; before = set(sys.modules); import llamaindex_openrouter_fallback;"
        "print(sorted({name.partition('.')[0] for name in set(sys.modules) - before}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    brought = set(json.loads(done.stdout.replace("'", '"')))
    assert not brought & {"openai", "langchain_core", "httpx2", "redis", "opentelemetry", "yaml"}


# Settings

WORDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    # LlamaIndex's words, the core's settings
    ({}, {"max_retries_per_model": 2, "first_token_timeout_seconds": None, "total_timeout_seconds": 300.0}),
    ({"max_retries": 0}, {"max_retries_per_model": 1}),
    ({"max_retries": 3}, {"max_retries_per_model": 4}),
    ({"timeout": 7, "total_timeout": 50}, {"first_token_timeout_seconds": 7.0, "total_timeout_seconds": 50.0}),
    (
        {"settings": {"policy": "any_error", "max_retries_per_model": 5}, "timeout": 7},
        {"policy": "any_error", "max_retries_per_model": 5, "first_token_timeout_seconds": 7.0},
    ),
    (
        {"settings": FallbackSettings(on_failure={FailureKind.CONTENT_POLICY: "next"}), "max_retries": 2},
        {"on_failure": {FailureKind.CONTENT_POLICY: "next"}, "max_retries_per_model": 3},
    ),
]


@pytest.mark.parametrize(("said", "settings"), WORDS)
def test_what_is_said_reaches_the_core(make: Make, said: dict[str, Any], settings: dict[str, Any]) -> None:
    found = make(**said).client.config.settings
    assert {name: getattr(found, name) for name in settings} == settings


def test_a_configuration_s_own_settings_stay(make: Make) -> None:
    config = {
        "default_chain": [FIRST],
        "models": {FIRST: {"timeout": 9}},
        "settings": {"policy": "any_error", "max_retries_per_model": 4},
    }
    found = make(None, config=config, timeout=7).client.config
    assert (found.settings.policy, found.settings.max_retries_per_model) == ("any_error", 4)
    assert (found.settings.first_token_timeout_seconds, found.models[FIRST].timeout) == (7.0, 9.0)


def test_headers(make: Make, emulator: Emulator) -> None:
    make(default_headers={"X-Title": "A test", "HTTP-Referer": "https://example.com"}).chat(ASKED)
    headers = emulator.log[-1].headers
    assert (headers["x-title"], headers["http-referer"]) == ("A test", "https://example.com")


def test_the_environment(emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "fallback.yaml"
    path.write_text(f"fallback:\n  default_chain: [{SECOND}]\n")
    monkeypatch.setenv("OPENROUTER_API_KEY", emulator.api_key)
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", str(path))

    assert OpenRouterFallback().chat(ASKED).additional_kwargs["model"] == SECOND
    assert OpenRouterFallback([FIRST]).chat(ASKED).additional_kwargs["model"] == FIRST
    assert OpenRouterFallback.from_config(path).chat(ASKED).additional_kwargs["model"] == SECOND


def test_from_config(make: Make, emulator: Emulator) -> None:
    config = {"default_chain": [FIRST], "task_chains": {"fast": [SECOND]}, "cost_tiers": {"budget": [FIRST]}}
    llm = OpenRouterFallback.from_config(
        config, task="fast", api_base=emulator.base_url, api_key=emulator.api_key, temperature=0.5
    )
    assert llm.chat(ASKED).additional_kwargs["model"] == SECOND
    assert (llm.task, llm.temperature) == ("fast", 0.5)
    assert llm.chat(ASKED, task="other", max_cost_tier="budget").additional_kwargs["model"] == FIRST


def test_a_key_may_be_a_function(make: Make, emulator: Emulator) -> None:
    llm = make(api_key=lambda: emulator.api_key)
    assert llm.chat(ASKED).message.content


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"modles": [FIRST]}, r"OpenRouterFallback takes no modles=; did you mean models=\?"),
    ({"max_tokns": 5}, r"did you mean max_tokens=\?"),
    ({"model": FIRST}, r"takes no model=; here that is models=\['\.\.\.'\]"),
    ({"base_url": "http://localhost"}, r"here that is api_base="),
    ({"num_output": 64}, r"here that is max_tokens="),
    ({"request_timeout": 60.0}, r"here that is timeout=, seconds to the first token, or total_timeout="),
    ({"is_chat_model": True}, r"not needed: every model is called as a chat model"),
    ({"top_p": 0.5}, r"request parameters go into additional_kwargs="),
    ({"models": FIRST}, r"models='openai/gpt-5.1' is a string; give a list"),
    ({"models": []}, r"models=\[\] is empty"),
    ({"models": ["gpt"]}, r"gpt"),
    ({"models": [{"id": FIRST, "tmeout": 3}]}, r"ModelConfig, tmeout: unknown key. Did you mean 'timeout'\?"),
    ({"models": [FIRST, 7]}, r"models"),
    ({"models": [FIRST], "temperature": "hot"}, r"OpenRouterFallback: temperature: Input should be a valid number"),
    ({"models": [FIRST], "max_tokens": 0}, r"max_tokens: Input should be greater than 0"),
    ({"models": [FIRST], "max_retries": -1}, r"max_retries: Input should be greater than or equal to 0"),
    ({"models": [FIRST], "timeout": 0}, r"timeout: Input should be greater than 0"),
    (
        {"models": [FIRST], "api_key": 7},
        r": api_key: Input should be a valid string, or Input should be callable$",
    ),
    ({"models": [FIRST], "settings": {"polic": 1}}, r"Settings, polic: unknown key. Did you mean 'policy'\?"),
    ({"models": [FIRST], "additional_kwargs": {"task": "fast"}}, r"additional_kwargs holds task: give it as task="),
    ({"models": [FIRST], "default_headers": {"Authorization": "x"}}, r"may not hold Authorization"),
    ({"models": [FIRST], "default_headers": {"Host": "x"}}, r"'Host'"),
    ({"models": [FIRST], "api_base": "not a URL"}, r"base_url"),
    ({"config": {"default_chian": [FIRST]}}, r"default_chain"),
    ({"config": "nowhere.yaml"}, r"nowhere.yaml"),
    ({}, r"no models: give models="),
]


@pytest.mark.parametrize(("said", "message"), MISTAKES)
def test_a_mistake_is_told(said: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        OpenRouterFallback(**{"api_key": KEY, **said})
    assert KEY not in f"{raised.value!r}{raised.value.__cause__!r}{raised.value.__context__!r}"


@pytest.mark.parametrize("name", CHANGES)
def test_settings_change_what_they_name(name: str) -> None:
    changes, other = CHANGES[name]
    settings = OpenRouterFallback(config=FILE, settings=changes, api_key=KEY, max_retries=4).client.config.settings
    was = load_config(FILE).settings
    expected = {key: getattr(was, key) for key in FallbackSettings.model_fields} | other | {"max_retries_per_model": 5}
    assert {key: getattr(settings, key) for key in FallbackSettings.model_fields} == expected


class Found(BaseModel):
    """What was found."""

    number: int


@pytest.mark.parametrize("where", ["call", "constructor"])
@pytest.mark.parametrize("form", [Found, Found.model_json_schema()], ids=["pydantic", "JSON schema"])
def test_a_response_format(make: Make, emulator: Emulator, form: Any, where: str) -> None:
    asked: dict[str, Any] = {"response_format": form}
    if where == "call":
        answer = make().chat([ChatMessage("It is 7")], **asked)
    else:
        answer = make(additional_kwargs=asked).chat([ChatMessage("It is 7")])
    assert Found.model_validate_json(answer.message.content or "") == Found(number=7)
    assert emulator.log[-1].body["response_format"]["json_schema"]["name"] == "Found"


def test_formats_and_tools_that_a_call_may_have(make: Make, emulator: Emulator) -> None:
    def look_up(query: str) -> str:
        """Look something up."""
        return query

    emulator.reply(text="{}")
    make().chat(ASKED, response_format={"type": "json_object"})
    assert emulator.log[-1].body["response_format"] == {"type": "json_object"}
    make().chat(ASKED, tools=[FunctionTool.from_defaults(look_up), {"type": "openrouter:web_search"}])
    first, second = emulator.log[-1].body["tools"]
    assert (first["function"]["name"], second["type"]) == ("look_up", "openrouter:web_search")
    with pytest.raises(ConfigError, match="int is no pydantic class"):
        make().chat(ASKED, response_format=int)


def test_the_environment_of_the_openrouter_integration(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_BASE", emulator.base_url)
    assert OpenRouterFallback([FIRST], api_key=emulator.api_key).chat(ASKED).message.content


def test_the_context_is_known_before_the_first_call(make: Make, emulator: Emulator) -> None:
    """Engines budget by it when they are made; 3,900 tokens, LlamaIndex's own default, would cut every prompt."""
    models = ["anthropic/claude-sonnet-4.5", "google/gemini-2.5-pro"]
    llm = make(models)
    assert llm.metadata.context_window == 1_000_000
    assert emulator.log == []
    assert llm.with_options(models=models[1:]).metadata.context_window == 1_048_576
    assert make(models, context_window=9_000).metadata.context_window == 9_000


def test_a_list_that_does_not_come_is_not_waited_for_again(make: Make) -> None:
    with RawServer() as server:
        server.answer(Reply([b"{}"], status=503, content_type="application/json"))
        llm = make(["anthropic/claude-sonnet-4.5"], api_base=server.base_url)
        assert {llm.metadata.context_window, llm.with_options(task=None).metadata.context_window} == {3_900}
        asked = len(server.requests)
        assert asked >= 1
        never = make(["anthropic/claude-sonnet-4.5"], api_base=server.base_url, settings={"catalog": "never"})
        assert never.metadata.context_window == 3_900
        assert len(server.requests) == asked


def test_one_client_whatever_is_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    made = counted_clients(monkeypatch)
    OpenRouterFallback([FIRST], settings={"policy": "any_error"}, timeout=3, max_retries=0, api_key=KEY)
    assert len(made) == 1
    settings = made[0].config.settings
    assert (settings.policy, settings.first_token_timeout_seconds, settings.max_retries_per_model) == (
        "any_error",
        3,
        1,
    )


@pytest.mark.parametrize("own", [{"max_tokens": 1000}, {"additional_kwargs": {"max_completion_tokens": 1000}}], ids=str)
@pytest.mark.parametrize("call", [{"max_completion_tokens": 10}, {"max_tokens": 10}], ids=str)
def test_a_calls_token_limit_replaces_the_models(
    make: Make, emulator: Emulator, own: dict[str, Any], call: dict[str, Any]
) -> None:
    make(**own).chat(ASKED, **call)
    body = emulator.log[-1].body
    assert {name: body[name] for name in ("max_tokens", "max_completion_tokens") if name in body} == call


def test_a_missing_key_is_told_with_the_call() -> None:
    llm = OpenRouterFallback([FIRST])
    with pytest.raises(AuthenticationError, match="OPENROUTER_API_KEY"):
        llm.chat(ASKED)


def test_what_may_change_afterwards(make: Make, emulator: Emulator) -> None:
    llm = make()
    llm.temperature = 0.5
    llm.additional_kwargs = {"top_p": 0.1}
    llm.chat(ASKED)
    assert (emulator.log[-1].body["temperature"], emulator.log[-1].body["top_p"]) == (0.5, 0.1)
    with pytest.raises(ValueError, match="frozen"):
        llm.models = [SECOND]


# Metadata


def test_metadata_of_what_is_not_known(make: Make) -> None:
    metadata = make(["unknown/model", "other/model"]).metadata
    assert metadata.context_window == 3900
    assert metadata.num_output == -1
    assert (metadata.is_chat_model, metadata.is_function_calling_model) == (True, True)
    assert metadata.model_name == "unknown/model"


def test_metadata_of_a_chain(make: Make, emulator: Emulator) -> None:
    llm = make(max_tokens=100)
    asyncio.run(llm.client.catalog.refresh())
    known: Any = [llm.client.catalog.get(model) for model in (FIRST, SECOND)]

    assert llm.metadata.context_window == min(info.context_length for info in known)
    assert llm.metadata.num_output == 100
    assert make(context_window=5000).metadata.context_window == 5000


TOOLS = [
    # the chain, the field, whether tools may be used
    (["no/tools"], None, False),
    (["no/tools", "some/tools"], None, True),
    (["no/tools", "un/known"], None, True),
    (["no/tools"], True, True),
    (["some/tools"], False, False),
]


@pytest.mark.parametrize(("chain", "field", "expected"), TOOLS)
def test_metadata_of_tools(
    make: Make, monkeypatch: pytest.MonkeyPatch, chain: list[str], field: bool | None, expected: bool
) -> None:
    known = {"no/tools": False, "some/tools": True}
    llm = make(chain, is_function_calling_model=field)
    monkeypatch.setattr(
        type(llm.client.catalog),
        "get",
        lambda self, id: SimpleNamespace(context_length=None, can=lambda need: known[id]) if id in known else None,
    )
    assert llm.metadata.is_function_calling_model is expected


# Copies


def full(**more: Any) -> OpenRouterFallback:
    config = FallbackConfig(
        default_chain=(ModelConfig(FIRST, timeout=9), "groq:x"),
        task_chains={"fast": (SECOND,)},
        endpoints={"groq": EndpointConfig("http://127.0.0.1:9/v1", api_key=KEY)},
        settings=FallbackSettings(on_failure={FailureKind.CONTENT_POLICY: "next"}),
    )
    said = {
        "config": config,
        "models": [ModelConfig(FIRST, timeout=3), SECOND],
        "task": "fast",
        "api_key": KEY,
        "temperature": 0.5,
        "max_price": {"prompt": 3.0},
        "additional_kwargs": {"top_p": 0.1},
        "default_headers": {"X-Title": "A test"},
        "max_retries": 3,
        "system_prompt": "Be brief.",
        **more,
    }
    return OpenRouterFallback(**said)


@pytest.mark.parametrize("price", [1000, {"prompt": 1}, MappingProxyType({"prompt": 1.5})], ids=str)
def test_a_copy_with_a_price_is_written_without_a_warning(price: Any) -> None:
    """LlamaIndex writes the LLM into an event of each call."""
    llm = OpenRouterFallback(["openai/gpt-5.1"], api_key="sk-1").with_options(max_price=price)
    assert llm.to_dict()["max_price"] == price
    assert json.loads(llm.to_json())["max_price"] == price


def test_to_dict_and_back() -> None:
    llm = full()

    data = json.loads(json.dumps(llm.to_dict()))
    back = OpenRouterFallback.from_dict(data, api_key=KEY)

    assert data["class_name"] == "OpenRouterFallback"
    assert "api_key" not in data
    assert back.to_dict() == llm.to_dict()
    assert back.models == llm.models
    assert back.client.chain() == llm.client.chain()
    assert back.client.config.settings == llm.client.config.settings
    assert OpenRouterFallback.from_json(llm.to_json()).to_dict() == llm.to_dict()


def test_pickled() -> None:
    llm = full()
    back = pickle.loads(pickle.dumps(llm))
    assert back.to_dict() == llm.to_dict()
    assert back.api_key is None
    assert back.client.chain() == llm.client.chain()


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(deep=True)])
def test_copied(make: Make, emulator: Emulator, duplicate: Callable[[Any], Any]) -> None:
    """With the same key, health and connections."""
    llm = make(additional_kwargs={"top_p": 0.1})
    back = duplicate(llm)
    back.temperature = 0.3

    llm.client.disable(FIRST, 60)

    assert back.chat(ASKED).additional_kwargs["model"] == SECOND
    assert (back.temperature, llm.temperature) == (0.3, None)
    assert back.to_dict() == {**llm.to_dict(), "temperature": 0.3}


def test_a_deep_copy_shares_no_parameters(make: Make) -> None:
    llm = make(additional_kwargs={"provider": {"order": ["Groq"]}})
    copy.deepcopy(llm).additional_kwargs["provider"]["order"].append("Cerebras")
    assert llm.additional_kwargs == {"provider": {"order": ["Groq"]}}


def test_a_model_that_holds_one(make: Make) -> None:
    """What LlamaIndex adds to a dump, `class_name`, is no parameter."""

    class Holder(BaseModel):
        llm: OpenRouterFallback

    holder = Holder(llm=make(temperature=0.5))
    back = Holder.model_validate(holder.model_dump())
    assert back.llm.to_dict() == holder.llm.to_dict()


def test_no_key_anywhere(make: Make) -> None:
    llm = full(api_key=KEY)
    shown = [
        repr(llm),
        str(llm),
        str(llm.to_dict()),
        llm.to_json(),
        str(getattr(llm, "to_payload", llm.to_dict)()),
        str(llm.model_dump()),
    ]
    shown += [llm.model_dump_json(), str(pickle.dumps(llm)), repr(llm.client), repr(llm.__dict__)]
    assert [text for text in shown if KEY in text] == []


def test_a_schema_can_be_made() -> None:
    properties = OpenRouterFallback.model_json_schema()["properties"]
    assert properties["class_name"]["default"] == "OpenRouterFallback"
    assert "temperature" in properties


# In LlamaIndex


def test_it_goes_into_the_settings(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Settings, "_llm", None)
    manager = CallbackManager()
    monkeypatch.setattr(Settings, "_callback_manager", manager)
    llm = make()

    Settings.llm = llm

    assert Settings.llm is llm
    assert resolve_llm(llm, callback_manager=manager).callback_manager is manager


async def test_a_rate_limiter_is_asked(make: Make, emulator: Emulator) -> None:
    class Counting(TokenBucketRateLimiter):
        asked: int = 0

        def acquire(self, num_tokens: int = 0) -> None:
            self.asked += 1

        async def async_acquire(self, num_tokens: int = 0) -> None:
            self.asked += 1

    limiter = Counting(requests_per_minute=1000)
    llm = make(rate_limiter=limiter)

    llm.chat(ASKED)
    list(llm.stream_chat(ASKED))
    await llm.achat(ASKED)
    async for _ in await llm.astream_complete("Say something"):
        pass

    assert limiter.asked == 4


# From another LLM


def openrouter(**more: Any) -> SimpleNamespace:
    """What an `OpenRouter` has."""
    fields = {
        "model": FIRST,
        "temperature": 0.1,
        "max_tokens": 256,
        "api_key": KEY,
        "api_base": "https://openrouter.ai/api/v1",
        "additional_kwargs": {},
        "default_headers": None,
        "context_window": 3900,
        "is_chat_model": True,
        "max_retries": 5,
        "timeout": 60.0,
        "system_prompt": None,
    }
    return SimpleNamespace(**{**fields, **more})


def test_from_openrouter() -> None:
    provider = {"provider": {"order": ["Groq"], "allow_fallbacks": False}}
    theirs = openrouter(
        system_prompt="Be brief.",
        additional_kwargs={"extra_body": provider, "extra_headers": {"X-Title": "A test"}},
        default_headers={"HTTP-Referer": "https://example.com"},
        reasoning_effort="low",
        logprobs=True,
        top_logprobs=2,
    )

    llm = OpenRouterFallback.from_openrouter(theirs, [SECOND, FIRST], max_tokens=50)

    assert llm.models == [FIRST, SECOND]
    assert (llm.temperature, llm.max_tokens, llm.system_prompt) == (0.1, 50, "Be brief.")
    assert llm.api_base == "https://openrouter.ai/api/v1"
    assert llm.api_key.get_secret_value() == KEY  # type: ignore[union-attr]
    assert llm.additional_kwargs == {
        "extra_body": provider,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 2,
    }
    assert llm.default_headers == {"HTTP-Referer": "https://example.com", "X-Title": "A test"}


def test_one_more_model_is_a_list_too() -> None:
    with pytest.raises(ConfigError, match=rf"models='{SECOND}' is a string; give a list"):
        OpenRouterFallback.from_openrouter(openrouter(), SECOND)


def test_what_has_no_model_is_no_llm_to_take_over() -> None:
    with pytest.raises(ConfigError, match="a SimpleNamespace has no `model`"):
        OpenRouterFallback.from_openrouter(SimpleNamespace())


def test_prompts_of_a_model_that_completes_are_left() -> None:
    """What formats a prompt for a completion endpoint would spoil it for a chat."""
    llama = openrouter(is_chat_model=False, completion_to_prompt=lambda prompt: f"[INST]{prompt}[/INST]")
    chat = openrouter(completion_to_prompt=lambda prompt: f"<{prompt}>")
    assert OpenRouterFallback.from_openrouter(llama).completion_to_prompt("a") == "a"  # type: ignore[misc]
    assert OpenRouterFallback.from_openrouter(chat).completion_to_prompt("a") == "<a>"  # type: ignore[misc]


@pytest.mark.skipif(
    importlib.util.find_spec("llama_index.llms") is None
    or importlib.util.find_spec("llama_index.llms.openrouter") is None,
    reason="llama-index-llms-openrouter (which needs openai<3) is not installed",
)
def test_from_the_real_one(emulator: Emulator) -> None:
    OpenRouter: Any = importlib.import_module("llama_index.llms.openrouter").OpenRouter
    theirs = OpenRouter(model=FIRST, api_base=emulator.base_url, api_key=emulator.api_key, order=["Groq"])

    llm = OpenRouterFallback.from_openrouter(theirs, [SECOND])

    # Its retries, timeout and window are that class's defaults, which say nothing.
    assert (llm.max_retries, llm.timeout, llm.context_window, llm.is_function_calling_model) == (None, None, None, None)
    assert (llm.temperature, llm.max_tokens) == (0.1, 256)
    emulator.fault("overloaded", model=FIRST)
    assert llm.chat(ASKED).additional_kwargs["model"] == SECOND
    assert emulator.log[-1].body["provider"]["order"] == ["Groq"]
    changed = OpenRouter(model=FIRST, api_key=KEY, timeout=5.0, max_retries=1, context_window=9000)
    llm = OpenRouterFallback.from_openrouter(changed)
    assert (llm.max_retries, llm.timeout, llm.context_window) == (1, 5.0, 9000)
