"""The configuration: what loads, what it means, and every mistake told with its line, its key and what is allowed."""

from __future__ import annotations

import contextlib
import copy
import json
import operator
import pickle
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from openrouter_fallback.config import (
    DEFAULT_BASE_URL,
    OPENROUTER,
    EndpointConfig,
    FallbackConfig,
    ModelConfig,
    Settings,
    SpendLimit,
    config_schema,
    load_config,
)
from openrouter_fallback.errors import ConfigError, FallbackError
from openrouter_fallback.failures import FailureKind

KEY = "sk-or-v1-0123456789abcdef"

OLDER_FORM = """\
# the older form: two kinds of chain and four settings
fallback:
  default_chain:
    - anthropic/claude-3.5-sonnet
    - openai/gpt-4-turbo
    - meta-llama/llama-3.1-70b-instruct

  task_chains:
    coding:
      - anthropic/claude-3.5-sonnet
      - deepseek/deepseek-coder
    fast:
      - anthropic/claude-3-haiku
      - openai/gpt-3.5-turbo

  settings:
    max_retries_per_model: 2
    disable_duration_seconds: 300
    health_window_minutes: 10
    skip_threshold: 0.3
"""

FULL_FORM = """\
fallback:
  default_chain: [anthropic/claude-sonnet-4.5, openai/gpt-5.1, groq:llama-3.3-70b-versatile]
  task_chains:
    coding: &coding [anthropic/claude-sonnet-4.5, deepseek/deepseek-chat]
    review: *coding
  cost_tiers:
    premium: [anthropic/claude-opus-4.1]
    budget: [anthropic/claude-haiku-4.5, openai/gpt-oss-120b:free]
    standard: [anthropic/claude-sonnet-4.5]
  providers: {anthropic: [anthropic/claude-sonnet-4.5], meta: [groq:llama-3.3-70b-versatile]}
  models:
    openai/gpt-5.1: &own
      {priority: 2, max_retries: 1, timeout: 20, disable_duration: 60, params: {temperature: 0.2, stop: [a, b]}}
    deepseek/deepseek-chat:
      <<: *own
      priority: -1
  endpoints:
    groq: {base_url: https://api.groq.example/openai/v1/, api_key_env: GROQ_API_KEY, stream_upstream: false}
  settings:
    policy: any_error
    on_failure: {content_policy: next, unavailable: raise}
    first_token_timeout_seconds: 12
    stall_timeout_seconds: 7.5
    total_timeout_seconds: 60
    attempt_timeout_seconds: 50
    order_by: latency
    min_samples: 5
    stream_upstream: false
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def to_file(content: str | bytes) -> Path:
        path = tmp_path / "fallback.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return to_file


def refused(source: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    assert caught.value.__context__ is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    return str(caught.value)


# --- what loads -----------------------------------------------------------------------------------------------------


def test_older_form_means_what_it_says(write: Callable[[str], Path]) -> None:
    config = load_config(write(OLDER_FORM))
    default = ("anthropic/claude-3.5-sonnet", "openai/gpt-4-turbo", "meta-llama/llama-3.1-70b-instruct")
    assert config.chain() == config.chain("unheard of") == config.default_chain == default
    assert config.chain("coding") == ("anthropic/claude-3.5-sonnet", "deepseek/deepseek-coder")
    assert config.chain("fast") == ("anthropic/claude-3-haiku", "openai/gpt-3.5-turbo")
    assert config.settings == Settings()
    assert (config.settings.max_retries_per_model, config.settings.disable_duration_seconds) == (2, 300)
    assert (config.settings.health_window_minutes, config.settings.skip_threshold) == (10, 0.3)
    assert config.endpoints == {OPENROUTER: EndpointConfig(base_url=DEFAULT_BASE_URL, api_key_env="OPENROUTER_API_KEY")}


def test_full_form_means_what_it_says(write: Callable[[str], Path]) -> None:
    config = load_config(write(FULL_FORM))
    assert config.chain() == ("anthropic/claude-sonnet-4.5", "groq:llama-3.3-70b-versatile", "openai/gpt-5.1")
    assert config.chain("review") == ("deepseek/deepseek-chat", "anthropic/claude-sonnet-4.5")
    assert config.tiers() == ("budget", "standard", "premium")
    own = ModelConfig(
        "openai/gpt-5.1",
        priority=2,
        max_retries=1,
        timeout=20,
        disable_duration=60,
        params={"temperature": 0.2, "stop": ["a", "b"]},
    )
    assert config.model("openai/gpt-5.1") == own
    assert config.model("deepseek/deepseek-chat") == own.model_copy(
        update={"id": "deepseek/deepseek-chat", "priority": -1}
    )
    assert config.model("anthropic/claude-sonnet-4.5") == ModelConfig("anthropic/claude-sonnet-4.5")
    assert config.endpoints["groq"].base_url == "https://api.groq.example/openai/v1"
    assert config.settings == Settings(
        policy="any_error",
        on_failure={FailureKind.CONTENT_POLICY: "next", FailureKind.UNAVAILABLE: "raise"},
        first_token_timeout_seconds=12,
        stall_timeout_seconds=7.5,
        total_timeout_seconds=60,
        attempt_timeout_seconds=50,
        order_by="latency",
        min_samples=5,
        stream_upstream=False,
    )
    assert all(isinstance(kind, FailureKind) for kind in config.settings.on_failure)


def test_mapping_path_string_byte_order_mark_and_missing_wrapper_load_the_same(write: Callable[[Any], Path]) -> None:
    import yaml

    plain = yaml.safe_load(FULL_FORM)
    expected = load_config(plain)
    assert load_config(plain["fallback"]) == expected
    assert load_config(MappingProxyType({"fallback": MappingProxyType(plain["fallback"])})) == expected
    assert load_config(str(write(b"\xef\xbb\xbf" + FULL_FORM.encode()))) == expected
    assert load_config(write(FULL_FORM.replace("\n", "\r\n"))) == expected
    assert load_config(write(json.dumps(plain))) == expected
    inner = "\n".join(line[2:] for line in FULL_FORM.splitlines()[1:])
    assert load_config(write(inner)) == expected


def test_environment_is_not_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHERE", "elsewhere")
    config = load_config({"default_chain": ["a/b"], "models": {"a/b": {"params": {"user": "${WHERE}"}}}})
    assert config.model("a/b").params == {"user": "${WHERE}"}


@pytest.mark.parametrize(
    ("given_parts", "default", "named_default", "unknown"),
    [
        ({"default_chain": ["a/a"], "task_chains": {"default": ["b/b"]}}, "a/a", "b/b", "a/a"),
        ({"task_chains": {"fast": ["c/c"], "default": ["b/b"]}}, "b/b", "b/b", "b/b"),
        ({"task_chains": {"fast": ["c/c"]}, "cost_tiers": {"budget": ["d/d"]}}, "d/d", "d/d", "d/d"),
        ({"task_chains": {"fast": ["c/c"], "slow": ["e/e"]}}, "c/c", "c/c", "c/c"),
        ({"cost_tiers": {"premium": ["f/f"], "budget": ["d/d"]}}, "d/d", "d/d", "d/d"),
    ],
)
def test_default_chain_and_what_stands_in_for_it(
    given_parts: dict[str, Any], default: str, named_default: str, unknown: str
) -> None:
    config = load_config(given_parts)
    assert (config.chain()[0], config.chain("default")[0], config.chain("?")[0]) == (default, named_default, unknown)


def test_priorities_sort_chains_and_keep_the_order_of_equals() -> None:
    config = FallbackConfig(
        default_chain=[ModelConfig("a/3", priority=3), "b/0", ModelConfig("c/1", priority=1), "d/0"],
        cost_tiers={"premium": ["e/0"], "budget": ["a/3", "b/0"]},
    )
    assert config.chain() == ("b/0", "d/0", "c/1", "a/3")
    assert config.tier_chain() == ("b/0", "a/3", "e/0")
    assert config.default_chain == ("a/3", "b/0", "c/1", "d/0")


def test_tiers_in_cost_order() -> None:
    config = load_config({"cost_tiers": {"premium": ["a/p"], "standard": ["a/s"], "budget": ["a/b", "c/b"]}})
    assert config.tiers() == ("budget", "standard", "premium")
    assert config.tier_chain("standard") == ("a/b", "c/b", "a/s")
    assert [config.tier_of(id) for id in ("c/b", "a/p", "x/y")] == ["budget", "premium", None]
    with pytest.raises(ConfigError, match=r"unknown cost tier 'premum'. Did you mean 'premium'\?"):
        config.tier_chain("premum")
    own = load_config({"cost_tiers": {"dear": ["a/p"], "cheap": ["a/b"]}, "tier_order": ["cheap", "dear"]})
    assert own.tiers() == ("cheap", "dear")
    assert own.chain() == ("a/b", "a/p")
    with pytest.raises(ConfigError, match="No `cost_tiers`"):
        load_config({"default_chain": ["a/b"]}).tier_chain("budget")


def test_ids_are_split_by_configured_endpoints_only() -> None:
    config = load_config(
        {"default_chain": ["openai/gpt-5:free"], "endpoints": {"groq": {"base_url": "http://localhost:1"}}}
    )
    assert config.split("groq:llama-3.3-70b") == ("groq", "llama-3.3-70b")
    assert config.split("groq:meta/llama:x") == ("groq", "meta/llama:x")
    assert config.split("openai/gpt-5:free") == (OPENROUTER, "openai/gpt-5:free")
    assert config.split("openrouter:openai/gpt-5") == (OPENROUTER, "openai/gpt-5")
    assert list(config.endpoints) == [OPENROUTER, "groq"]


def test_providers_configured_and_derived() -> None:
    derived = load_config(
        {
            "default_chain": ["b/1", "~a/latest", "x:1"],
            "task_chains": {"t": ["a/2", "b/1"]},
            "endpoints": {"x": {"base_url": "http://h"}},
        }
    )
    assert list(derived.providers_map().items()) == [("b", ("b/1",)), ("a", ("~a/latest", "a/2")), ("x", ("x:1",))]
    config = load_config(
        {"default_chain": ["meta-llama/a", "c/d"], "providers": {"meta": ["meta-llama/a"], "c": ["c/e"]}}
    )
    assert list(config.providers_map()) == ["meta", "c", "meta-llama"]
    assert config.providers_map()["c"] == ("c/e",)
    assert [config.provider_of(id) for id in ("meta-llama/a", "meta-llama/b", "c/d")] == ["meta", "meta-llama", "c"]
    assert config.ids() == ("meta-llama/a", "c/d", "c/e")


@pytest.mark.parametrize(
    ("given_endpoint", "base_url", "api_key_env"),
    [
        ({"base_url": "http://127.0.0.1:8080/api/v1"}, "http://127.0.0.1:8080/api/v1", "OPENROUTER_API_KEY"),
        ({"api_key_env": "MINE"}, DEFAULT_BASE_URL, "MINE"),
        ({"api_key": KEY}, DEFAULT_BASE_URL, None),
        (EndpointConfig(base_url="http://h"), "http://h", "OPENROUTER_API_KEY"),
        (EndpointConfig(base_url="http://h", api_key_env=None), "http://h", None),
    ],
)
def test_built_in_endpoint_overridden(given_endpoint: Any, base_url: str, api_key_env: str | None) -> None:
    endpoint = load_config({"default_chain": ["a/b"], "endpoints": {"openrouter": given_endpoint}}).endpoints[
        OPENROUTER
    ]
    assert (endpoint.base_url, endpoint.api_key_env) == (base_url, api_key_env)


@pytest.mark.parametrize(
    "id",
    [
        "openai/gpt-5.1",
        "openai/gpt-oss-120b:free",
        "~anthropic/claude-sonnet-latest",
        "openrouter/auto",
        "openai/gpt-5@preset/mine",
        "@preset/mine",
        "groq:llama-3.3-70b",
        "groq:openai/gpt-oss:x",
        "nousresearch/hermes-3-llama-3.1-405b:free",
    ],
)
def test_good_ids(id: str) -> None:
    config = load_config({"default_chain": [id], "endpoints": {"groq": {"base_url": "http://localhost"}}})
    assert config.chain() == (id,)
    assert config.id_problem(id) is None


# --- in Python ------------------------------------------------------------------------------------------------------


def test_model_configs_in_chains() -> None:
    first = ModelConfig("a/b", priority=1, timeout=3)
    config = FallbackConfig(
        default_chain=[first, "c/d"], task_chains={"t": ("c/d", first)}, models={"e/f": {"timeout": 9}}
    )
    assert config.default_chain == ("a/b", "c/d")
    assert config.model("a/b") is first
    assert config.model("e/f").timeout == 9
    assert ModelConfig(id="a/b", priority=1, timeout=3.0) == first
    with pytest.raises(ConfigError, match=r"^FallbackConfig, task_chains\.t\[0\]: 'a/b' has other settings elsewhere"):
        FallbackConfig(default_chain=[first], task_chains={"t": [ModelConfig("a/b")]})
    with pytest.raises(ConfigError, match=r"models\['c/d'\]\.id: found 'a/b'; the key above is the id"):
        FallbackConfig(default_chain=["c/d"], models={"c/d": first})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ModelConfig("a b/c"), ["ModelConfig, id", "'a b/c'", "white space"]),
        (lambda: ModelConfig(""), ["id", "''"]),
        (lambda: ModelConfig("a/b", priority=True), ["priority", "True", "a whole number"]),
        (lambda: ModelConfig("a/b", timeout="3"), ["timeout", "'3' (a string)", "a number", "Seconds to the first"]),  # type: ignore[arg-type]
        (lambda: ModelConfig("a/b", timeout=float("nan")), ["timeout", "nan", "finite"]),
        (lambda: ModelConfig("a/b", max_retries=0), ["max_retries", "0", "not below 1", "first included"]),
        (lambda: ModelConfig("a/b", tiemout=3), ["tiemout", "unknown key", "Did you mean 'timeout'?"]),  # type: ignore[call-arg]
        (lambda: ModelConfig("a/b", params={"stream": True}), ["params", "'stream'", "remove it"]),
        (lambda: ModelConfig("a/b", params={"x": {"y": [1, float("inf")]}}), ["params.x.y[1]", "inf", "finite"]),
        (lambda: ModelConfig("a/b", params={"x": object()}), ["params.x", "JSON"]),
        (lambda: ModelConfig("a/b", params={"x": {1: 2}}), ["key 1", "quote it"]),
        (lambda: ModelConfig("a/b", params={"seed": 2**64}), ["params.seed", "JSON"]),
        (lambda: ModelConfig("a/b", params={"seed": 10**99}), ["a very large number", "JSON"]),
        (lambda: ModelConfig("a/b", params=[]), ["params", "an empty list", "a mapping of request parameters"]),  # type: ignore[arg-type]
        (lambda: ModelConfig(), ["ModelConfig, id: is missing", "author/model"]),  # type: ignore[call-arg]
        (lambda: Settings(skip_threshold=1.01), ["Settings, skip_threshold", "1.01", "not above 1"]),
        (lambda: Settings(min_samples=2.0), ["min_samples", "2.0 (a number)", "a whole number"]),  # type: ignore[arg-type]
        (lambda: Settings(total_timeout_seconds=0), ["total_timeout_seconds", "0", "above 0", "seconds"]),
        (lambda: Settings(on_failure={FailureKind.LOCAL: "next"}), ["on_failure.local", "cannot be overridden"]),
        (lambda: Settings(order_by="cost"), ["order_by", "'cost'", "'priority', 'health', 'latency' or 'price'"]),  # type: ignore[arg-type]
        (lambda: EndpointConfig(base_url="ftp://h"), ["EndpointConfig, base_url", "'ftp://h'", "http or https"]),
        (lambda: EndpointConfig(base_url="http://h:99999"), ["base_url", "http or https"]),
        (lambda: EndpointConfig(base_url="http://"), ["base_url", "http or https"]),
        (lambda: EndpointConfig(base_url="http://h", headers={"Authorization": KEY}), ["headers", "api_key_env"]),
        (lambda: EndpointConfig(base_url="http://h", headers={"X": "a\nb"}), ["headers", "'X'", "one line"]),
        (lambda: EndpointConfig(base_url="http://h", headers={"a b": "c"}), ["headers", "HTTP does not allow"]),
        (lambda: FallbackConfig(), ["FallbackConfig: no models are given", "`default_chain`"]),
        (lambda: FallbackConfig(default_chain="a/b"), ["default_chain", "'a/b'", "a list", "in brackets"]),
    ],
)
def test_mistakes_in_python(make: Callable[[], object], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        make()
    assert isinstance(caught.value, FallbackError)
    assert isinstance(caught.value, ValueError)
    assert caught.value.__context__ is None
    assert [word for word in words if word not in str(caught.value)] == []


def test_positions() -> None:
    with pytest.raises(TypeError, match="ModelConfig takes id once by position"):
        ModelConfig("a/b", "c/d")  # type: ignore[call-arg,arg-type]
    with pytest.raises(TypeError, match="Settings takes nothing by position"):
        Settings(1)  # type: ignore[call-arg]


def test_nothing_can_be_changed() -> None:
    config = load_config(
        {
            "default_chain": ["a/b"],
            "task_chains": {"t": ["a/b"]},
            "models": {"a/b": {"params": {"provider": {"order": ["x"]}}}},
            "settings": {"on_failure": {"auth": "next"}},
        }
    )
    params: Any = config.model("a/b").params
    tasks: Any = config.task_chains
    attempts: list[Callable[[], object]] = [
        lambda: params.update(x=1),
        lambda: params["provider"].pop("order"),
        lambda: params["provider"]["order"].append("y"),
        lambda: operator.setitem(tasks, "u", ()),
        lambda: config.models.clear(),  # type: ignore[attr-defined]
        lambda: config.endpoints.__delitem__(OPENROUTER),  # type: ignore[attr-defined]
        lambda: config.settings.on_failure.setdefault(FailureKind.LOCAL, "next"),  # type: ignore[attr-defined]
    ]
    for attempt in attempts:
        with pytest.raises(TypeError, match="read-only"):
            attempt()
    with pytest.raises(ValidationError, match="frozen"):
        config.settings.policy = "any_error"
    assert isinstance(config.default_chain, tuple)
    assert json.loads(json.dumps(params)) == {"provider": {"order": ["x"]}}


def test_the_callers_objects_are_not_shared() -> None:
    params: dict[str, Any] = {"stop": ["a"]}
    chain = ["a/b"]
    config = FallbackConfig(default_chain=chain, models={"a/b": {"params": params}})
    params["stop"].append("b")
    chain.append("c/d")
    assert config.model("a/b").params == {"stop": ["a"]}
    assert config.default_chain == ("a/b",)


def test_pickle_and_copies_are_equal(write: Callable[[str], Path]) -> None:
    config = load_config(write(FULL_FORM))
    for twin in (pickle.loads(pickle.dumps(config)), copy.deepcopy(config), copy.copy(config)):
        assert twin == config
        assert twin.chain() == config.chain()
        with pytest.raises(TypeError, match="read-only"):
            operator.delitem(twin.endpoints, OPENROUTER)  # type: ignore[arg-type]
    assert FallbackConfig.model_validate(config.model_dump()) == config
    assert FallbackConfig.model_validate(config) is config
    bare = load_config({"task_chains": {"t": ["a/b"]}})
    assert FallbackConfig.model_validate(bare.model_dump()) == bare


def test_money_goes_to_json_and_back() -> None:
    limits = SpendLimit(per_call=Decimal("0.05"), per_day=20)
    dumped = limits.model_dump(mode="json")
    assert dumped == {"per_call": "0.05", "per_day": "20"}
    assert SpendLimit.model_validate(dumped) == limits
    assert SpendLimit().model_dump(mode="json") == {"per_call": None, "per_day": None}


# --- keys -----------------------------------------------------------------------------------------------------------


def test_no_key_in_repr_dump_or_pickle() -> None:
    endpoint = EndpointConfig(base_url="https://h/v1", api_key=KEY, headers={"X-Api-Key": KEY})
    config = FallbackConfig(default_chain=["x:m"], endpoints={"x": endpoint})
    assert isinstance(endpoint.api_key, SecretStr)
    assert endpoint.api_key.get_secret_value() == KEY
    for text in (repr(config), str(config), repr(endpoint), str(config.model_dump()["endpoints"]["x"]["api_key"])):
        assert KEY not in text
    without = EndpointConfig(base_url="https://h/v1", api_key=KEY)
    assert KEY.encode() not in pickle.dumps(without)
    assert pickle.loads(pickle.dumps(without)).api_key is None
    kept = copy.deepcopy(without).api_key
    assert kept is not None
    assert kept.get_secret_value() == KEY


@pytest.mark.parametrize(
    "endpoints",
    [
        {"x": {"base_url": f"https://user:{KEY}@h/v1"}},
        {"x": {"base_url": f"https://h/v1?key={KEY}"}},
        {"x": {"base_url": f"h {KEY}"}},
        {"x": {"base_url": "https://h", "api_key_env": KEY}},
        {"x": {"base_url": "https://h", "api_key": 12345678}},
        {"x": {"base_url": "https://h", "api_key": [KEY]}},
        {"x": {"base_url": "https://h", "apikey": KEY}},
        {"x": {"base_url": "https://h", "headers": {"X-Key": [KEY]}}},
        {"x": {"base_url": "https://h", "headers": KEY}},
        {"x": {"base_url": "https://h", "headers": {"X-Key": KEY + "\n"}}},
        {"x": KEY},
        KEY,
        {KEY: {"base_url": "https://h"}, "y": 1},
        {KEY: KEY},
    ],
)
def test_no_key_in_errors(endpoints: Any, write: Callable[[str], Path]) -> None:
    content = {"fallback": {"default_chain": ["a/b"], "endpoints": endpoints}}
    for source in (content, write(json.dumps(content)), write(json.dumps(content)[:-2])):
        with pytest.raises(ConfigError) as caught:
            load_config(source)
        assert KEY not in str(caught.value)
        assert "12345678" not in str(caught.value)


def test_no_key_in_errors_of_a_bare_number(write: Callable[[str], Path]) -> None:
    said = refused(write("default_chain: [a/b]\nendpoints:\n  x: {base_url: 'http://h', api_key: 12345678}\n"))
    assert "12345678" not in said
    assert "found '***'; allowed is a string" in said


# --- mistakes -------------------------------------------------------------------------------------------------------

CHAIN = "fallback:\n  default_chain: [anthropic/claude-sonnet-4.5, openai/gpt-5.1]\n"  # lines 1 and 2
SETTINGS = CHAIN + "  settings:\n"  # line 3

# name: (text, line, key path, words)
BROKEN: dict[str, tuple[str, int | None, str, list[str]]] = {
    # YAML itself
    "empty file": ("", None, "", ["is empty", "`fallback`"]),
    "only a comment": ("# later\n", None, "", ["is empty"]),
    "a list": ("- openai/gpt-5.1\n", 1, "", ["found a list", "a mapping with the key `fallback`"]),
    "a text": ("openai/gpt-5.1\n", 1, "", ["found a single value", "a mapping"]),
    "tab": ("fallback:\n\tdefault_chain: [a/b]\n", 2, "", ["tab", "indented with spaces"]),
    "unclosed bracket": ("fallback:\n  default_chain: [a/b\n", 3, "", ["YAML syntax", "bracket"]),
    "unclosed quote": ("fallback:\n  default_chain: ['a/b]\n", 3, "", ["YAML syntax", "quotation mark is closed"]),
    "two colons": ("fallback:\n  default_chain: a: b\n", 2, "", ["mapping values are not allowed", "Quote"]),
    "wrong indent": ("fallback:\n    default_chain: [a/b]\n  settings: {}\n", 3, "", ["YAML syntax", "indentation"]),
    "unquoted at-sign": ("fallback:\n  default_chain: [@preset/x]\n", 2, "", ["cannot start any token", "quoted"]),
    "unknown alias": ("fallback:\n  default_chain: *coding\n", 2, "", ["undefined alias 'coding'"]),
    "two documents": (CHAIN + "---\n" + CHAIN, 3, "", ["Only one document is allowed"]),
    "control character": (CHAIN + "  # \x07\n", 3, "", ["U+0007", "not allowed in YAML"]),
    "tag": ("fallback:\n  default_chain: !env CHAIN\n", 2, "fallback.default_chain", ["tag '!env'", "without it"]),
    "python tag": ("fallback: !!python/object:os.system {}\n", 1, "fallback", ["python/object:os.system"]),
    "duplicate section": (
        CHAIN + "  default_chain: [a/b]\n",
        3,
        "fallback.default_chain",
        ["given twice", "lines 2 and 3", "Remove one"],
    ),
    "duplicate setting": (
        SETTINGS + "    min_samples: 3\n    policy: smart\n    min_samples: 4\n",
        6,
        "fallback.settings.min_samples",
        ["given twice", "lines 4 and 6"],
    ),
    "impossible date": ("fallback:\n  default_chain:\n  - 2024-13-45\n", 3, "fallback.default_chain[0]", ["quote it"]),
    # YAML 1.1's booleans, numbers and dates where a text is meant
    "task named off": (
        CHAIN + "  task_chains:\n    off: [a/b]\n",
        4,
        "fallback.task_chains.off",
        ["found the key off", "a boolean", "quote it, 'off'"],
    ),
    "task named On, alone": (
        "fallback:\n  task_chains:\n    On: [a/b]\n",
        3,
        "fallback.task_chains.On",
        ["found the key On", "'On'"],
    ),
    "tier named no": (
        CHAIN + "  cost_tiers: {no: [a/b]}\n  tier_order: ['no']\n",
        3,
        "fallback.cost_tiers.no",
        ["the key no", "'no'"],
    ),
    "tier named yes in the order": (
        CHAIN + "  cost_tiers: {'yes': [a/b]}\n  tier_order: [yes]\n",
        4,
        "fallback.tier_order[0]",
        ["found yes", "a boolean", "quote it, 'yes'"],
    ),
    "boolean as id": ("fallback:\n  default_chain: [off]\n", 2, "fallback.default_chain[0]", ["found off", "'off'"]),
    "number as id": ("fallback:\n  default_chain:\n  - a/b\n  - 4\n", 4, "fallback.default_chain[1]", ["'4'"]),
    "date as id": (
        "fallback:\n  default_chain:\n  - 2024-01-01\n",
        3,
        "fallback.default_chain[0]",
        ["found 2024-01-01, which YAML reads as a date", "quote it, '2024-01-01'"],
    ),
    "nothing as id": ("fallback:\n  default_chain:\n  - a/b\n  -\n", 4, "fallback.default_chain[1]", ["nothing"]),
    "policy off": (
        SETTINGS + "    policy: off\n",
        4,
        "fallback.settings.policy",
        ["found off", "'smart' or 'any_error'"],
    ),
    "verdict no": (
        SETTINGS + "    on_failure: {auth: no}\n",
        4,
        "fallback.settings.on_failure.auth",
        ["found no", "'next', 'raise' or 'retry'"],
    ),
    "kind on": (
        SETTINGS + "    on_failure: {on: next}\n",
        4,
        "fallback.settings.on_failure.on",
        ["key on", "quote it"],
    ),
    # keys
    "no wrapper, near": ("falback:\n  default_chain: [a/b]\n", 1, "falback", ["Did you mean 'fallback'?"]),
    "beside the wrapper": (CHAIN + "settings: {}\n", 3, "settings", ["beside `fallback`", "Indent it"]),
    "wrapper empty": ("fallback:\n", 1, "fallback", ["found nothing", "at least one chain"]),
    "section misspelt": (CHAIN + "  setings: {}\n", 3, "fallback.setings", ["Did you mean 'settings'?", "Known here"]),
    "setting misspelt": (
        SETTINGS + "    min_samples: 3\n    skip_treshold: 0.3\n",
        5,
        "fallback.settings.skip_treshold",
        ["unknown key", "Did you mean 'skip_threshold'?"],
    ),
    "model setting misspelt": (
        CHAIN + "  models:\n    openai/gpt-5.1:\n      max_retrys: 2\n",
        5,
        "fallback.models['openai/gpt-5.1'].max_retrys",
        ["Did you mean 'max_retries'?"],
    ),
    "endpoint key misspelt": (
        CHAIN + "  endpoints:\n    groq: {base_ulr: 'http://h'}\n",
        4,
        "fallback.endpoints.groq.base_ulr",
        ["Did you mean 'base_url'?"],
    ),
    "hedge key misspelt": (
        SETTINGS + "    hedge:\n      after: p95\n      max_paralel: 3\n",
        6,
        "fallback.settings.hedge.max_paralel",
        ["Did you mean 'max_parallel'?"],
    ),
    "hedge after another quantile": (
        SETTINGS + "    hedge: {after: p97}\n",
        4,
        "fallback.settings.hedge.after",
        ["found 'p97'", "p95"],
    ),
    "hedge is no mapping": (SETTINGS + "    hedge: p95\n", 4, "fallback.settings.hedge", ["found 'p95'"]),
    "one attempt side by side": (
        SETTINGS + "    hedge: {max_parallel: 1}\n",
        4,
        "fallback.settings.hedge.max_parallel",
        ["found 1"],
    ),
    "retry budget below none": (
        SETTINGS + "    retry_budget: -0.2\n",
        4,
        "fallback.settings.retry_budget",
        ["found -0.2"],
    ),
    "retry budget is a switch": (
        SETTINGS + "    retry_budget: true\n",
        4,
        "fallback.settings.retry_budget",
        ["found true"],
    ),
    "mid_stream": (SETTINGS + "    mid_stream: restart\n", 4, "fallback.settings.mid_stream", ["continue", "raise"]),
    **{
        f"health store {store}": (
            SETTINGS + f"    health_store: {store}\n",
            4,
            "fallback.settings.health_store",
            ["rediss://host:6379/0"],
        )
        for store in ("disk", "https://host/0", "'redis://'", "redis://:hunter2@host:99999", "7", "'redis://ho st'")
    },
    **{
        f"spend limit {amount}": (
            SETTINGS + f"    spend_limit_usd: {{per_day: {amount}}}\n",
            4,
            "fallback.settings.spend_limit_usd.per_day",
            ["an amount of USD above 0"],
        )
        for amount in ("0", "-1", "lots", "true", ".nan", "[1]")
    },
    "spend limit per week": (
        SETTINGS + "    spend_limit_usd: {per_week: 1}\n",
        4,
        "fallback.settings.spend_limit_usd.per_week",
        ["unknown key", "per_day"],
    ),
    "base_url missing": (
        CHAIN + "  endpoints:\n    groq: {api_key_env: X}\n",
        4,
        "fallback.endpoints.groq.base_url",
        ["is missing", "URL"],
    ),
    # types and ranges
    "chain is a text": (
        "fallback:\n  default_chain: openai/gpt-5.1\n",
        2,
        "fallback.default_chain",
        ["found 'openai/gpt-5.1'", "a list", "in brackets"],
    ),
    "chain is a mapping": (
        "fallback:\n  default_chain: {a/b: 1}\n",
        2,
        "fallback.default_chain",
        ["a mapping", "a list"],
    ),
    "chain of mappings": (
        "fallback:\n  default_chain:\n  - id: a/b\n",
        3,
        "fallback.default_chain[0]",
        ["found a mapping", "a string"],
    ),
    "settings is a list": (CHAIN + "  settings: [1]\n", 3, "fallback.settings", ["found a list", "a mapping"]),
    "settings is empty": (SETTINGS, 3, "fallback.settings", ["found nothing", "a mapping"]),
    "threshold too large": (
        SETTINGS + "    min_samples: 3\n    skip_threshold: 30\n",
        5,
        "fallback.settings.skip_threshold",
        ["found 30", "not above 1", "0 to 1"],
    ),
    "threshold in quotes": (
        SETTINGS + "    skip_threshold: '0.3'\n",
        4,
        "fallback.settings.skip_threshold",
        ["found '0.3' (a string)", "a number", "without quotes"],
    ),
    "exponent that YAML takes for a text": (
        SETTINGS + "    total_timeout_seconds: 3e2\n",
        4,
        "fallback.settings.total_timeout_seconds",
        ["'3e2'", "plain digits"],
    ),
    "infinite": (
        SETTINGS + "    total_timeout_seconds: .inf\n",
        4,
        "fallback.settings.total_timeout_seconds",
        ["found .inf", "finite"],
    ),
    "boolean as number": (
        SETTINGS + "    min_samples: yes\n",
        4,
        "fallback.settings.min_samples",
        ["found yes", "whole"],
    ),
    "zero attempts": (
        SETTINGS + "    max_retries_per_model: 0\n",
        4,
        "fallback.settings.max_retries_per_model",
        ["not below 1", "first included"],
    ),
    "number as switch": (
        SETTINGS + "    stream_upstream: 1\n",
        4,
        "fallback.settings.stream_upstream",
        ["true or false"],
    ),
    "order by cost": (SETTINGS + "    order_by: cost\n", 4, "fallback.settings.order_by", ["'latency'", "'price'"]),
    "catalog off": (SETTINGS + "    catalog: off\n", 4, "fallback.settings.catalog", ["'never'"]),
    "tiers by themselves": (
        CHAIN + "  cost_tiers: automatic\n",
        3,
        "fallback.cost_tiers",
        ["found 'automatic'", "'auto'", "a list of models for each tier"],
    ),
    "tiers as a list": (CHAIN + "  cost_tiers: [a/b]\n", 3, "fallback.cost_tiers", ["a list", "a mapping"]),
    "an order for automatic tiers": (
        CHAIN + "  cost_tiers: auto\n  tier_order: [budget]\n",
        4,
        "fallback.tier_order[0]",
        ["`cost_tiers` has none"],
    ),
    "automatic tiers of nothing": ("fallback:\n  cost_tiers: auto\n", 1, "fallback", ["no models are given"]),
    "policy misspelt": (
        SETTINGS + "    policy: any-error\n",
        4,
        "fallback.settings.policy",
        ["found 'any-error'", "Did you mean 'any_error'?"],
    ),
    "kind misspelt": (
        SETTINGS + "    on_failure: {contentpolicy: next}\n",
        4,
        "fallback.settings.on_failure.contentpolicy",
        ["Did you mean 'content_policy'?"],
    ),
    "kind that is nobody's fault": (
        SETTINGS + "    on_failure: {cancelled: next}\n",
        4,
        "fallback.settings.on_failure.cancelled",
        ["cannot be overridden"],
    ),
    "verdict misspelt": (
        SETTINGS + "    on_failure:\n      auth: nxt\n",
        5,
        "fallback.settings.on_failure.auth",
        ["Did you mean 'next'?"],
    ),
    "parameters hold the model": (
        CHAIN + "  models:\n    openai/gpt-5.1: {params: {model: x}}\n",
        4,
        "fallback.models['openai/gpt-5.1'].params",
        ["'model'", "remove it"],
    ),
    "parameters hold a date": (
        CHAIN + "  models:\n    openai/gpt-5.1: {params: {user: 2024-01-01}}\n",
        4,
        "fallback.models['openai/gpt-5.1'].params",
        ["params.user", "'2024-01-01'", "quoted"],
    ),
    "endpoint URL": (
        CHAIN + "  endpoints:\n    groq: {base_url: api.groq.com}\n",
        4,
        "fallback.endpoints.groq.base_url",
        ["'api.groq.com'", "http or https"],
    ),
    "endpoint name": (
        CHAIN + "  endpoints:\n    my server: {base_url: 'http://h'}\n",
        4,
        "fallback.endpoints['my server']",
        ["letters"],
    ),
    # ids and tiers
    "no models": ("fallback:\n  settings: {}\n", 1, "fallback", ["no models are given", "`default_chain`"]),
    "empty default chain": ("fallback:\n  default_chain: []\n", 2, "fallback.default_chain", ["empty", "at least one"]),
    "empty task chain": (
        CHAIN + "  task_chains:\n    x: []\n",
        4,
        "fallback.task_chains.x",
        ["empty list", "at least one"],
    ),
    "empty tier": (CHAIN + "  cost_tiers:\n    budget:\n", 4, "fallback.cost_tiers.budget", ["nothing", "a list"]),
    "duplicate id": (
        "fallback:\n  default_chain:\n    - a/b\n    - c/d\n    - a/b\n",
        5,
        "fallback.default_chain[2]",
        ["found 'a/b' again", "position 1"],
    ),
    "no prefix, known elsewhere": (
        "fallback:\n  default_chain: [mine/gpt-5.1]\n  task_chains:\n    fast:\n    - gpt-5.1\n",
        5,
        "fallback.task_chains.fast[0]",
        ["no provider prefix", "author/model", "Did you mean 'mine/gpt-5.1'?"],
    ),
    "no prefix, of a known family": (
        "fallback:\n  default_chain:\n  - gpt-4-turbo\n",
        3,
        "fallback.default_chain[0]",
        ["found 'gpt-4-turbo', which has no provider prefix", "Did you mean 'openai/gpt-4-turbo'?"],
    ),
    "no prefix, with a variant": (
        "default_chain: ['gemma-3:free']\n",
        1,
        "default_chain[0]",
        ["'google/gemma-3:free'?"],
    ),
    "unknown endpoint": (
        CHAIN + "  endpoints: {groq: {base_url: 'http://h'}}\n  task_chains:\n    fast: ['grok:llama']\n",
        5,
        "fallback.task_chains.fast[0]",
        ["'grok' is not an endpoint", "openrouter, groq", "Did you mean 'groq'?"],
    ),
    "endpoint without a model": (
        "fallback:\n  default_chain: ['groq:']\n  endpoints: {groq: {base_url: 'http://h'}}\n",
        2,
        "fallback.default_chain[0]",
        ["'groq:'", "a model's name after the endpoint's"],
    ),
    "white space in an id": (
        "default_chain: [openai/gpt 5]\n",
        1,
        "default_chain[0]",
        ["'openai/gpt 5'", "white space"],
    ),
    "too many slashes": ("default_chain: [a/b/c]\n", 1, "default_chain[0]", ["'a/b/c'", "author/model"]),
    "malformed id in models": (
        CHAIN + "  models:\n    gpt-5.1: {}\n",
        4,
        "fallback.models['gpt-5.1']",
        ["no provider prefix"],
    ),
    "settings of a misspelt model": (
        CHAIN + "  models:\n    openai/gpt-5-1: {priority: 1}\n",
        4,
        "fallback.models['openai/gpt-5-1']",
        ["no chain uses", "Did you mean 'openai/gpt-5.1'?"],
    ),
    "other id inside": (
        CHAIN + "  models:\n    openai/gpt-5.1: {id: a/b}\n",
        4,
        "fallback.models['openai/gpt-5.1'].id",
        ["'a/b'", "the key above is the id"],
    ),
    "tier misspelt": (
        CHAIN + "  cost_tiers:\n    premum: [a/b]\n",
        4,
        "fallback.cost_tiers.premum",
        ["unknown tier 'premum'", "Did you mean 'premium'?", "tier_order"],
    ),
    "own tiers without order": (
        CHAIN + "  cost_tiers: {gold: [a/b], budget: [c/d]}\n",
        3,
        "fallback.cost_tiers.gold",
        ["budget, standard, premium", "`tier_order`"],
    ),
    "order of unknown tier": (
        CHAIN + "  cost_tiers: {gold: [a/b]}\n  tier_order: [goldd]\n",
        4,
        "fallback.tier_order[0]",
        ["Did you mean 'gold'?"],
    ),
    "order lacks a tier": (
        CHAIN + "  cost_tiers: {gold: [a/b], tin: [c/d]}\n  tier_order: [tin]\n",
        4,
        "fallback.tier_order",
        ["'gold' is missing", "every tier"],
    ),
    "order repeats a tier": (
        CHAIN + "  cost_tiers: {gold: [a/b]}\n  tier_order: [gold, gold]\n",
        4,
        "fallback.tier_order[1]",
        ["'gold' again"],
    ),
    "order against the names": (
        CHAIN + "  cost_tiers: {budget: [a/b], premium: [c/d]}\n  tier_order: [premium, budget]\n",
        4,
        "fallback.tier_order",
        ["cheapest first"],
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file(name: str, write: Callable[[str], Path]) -> None:
    text, line, path, words = BROKEN[name]
    file = write(text)
    said = refused(file)
    start = str(file) + (f", line {line}" if line else "") + (f", {path}: " if path else "")
    mistakes = [m.partition(" - ")[2] for m in said.splitlines()[1:]]
    matching = [said] if not mistakes else [f"{file}, {m}" for m in mistakes if f"{file}, {m}".startswith(start)]
    assert matching, said
    assert matching[0].startswith(start), said
    assert [word for word in words if word not in matching[0]] == []


ONE_MISTAKE = set(BROKEN) - {"python tag", "kind on"}


@pytest.mark.parametrize("name", sorted(ONE_MISTAKE))
def test_one_mistake_is_told_once(name: str, write: Callable[[str], Path]) -> None:
    assert "mistakes:" not in refused(write(BROKEN[name][0]))


def test_all_mistakes_in_one_error_in_the_order_of_the_file(write: Callable[[str], Path]) -> None:
    said = refused(write(SETTINGS + "    min_samples: 0\n    skip_treshold: 1\n  task_chains:\n    off: [gpt-5]\n"))
    head, *lines = said.splitlines()
    assert head.endswith("fallback.yaml has 4 mistakes:")
    assert [line.split(",")[0].strip() for line in lines] == ["- line 4", "- line 5", "- line 7", "- line 7"]


def test_at_most_ten_are_listed() -> None:
    said = refused({"default_chain": [f"m{n}" for n in range(30)]})
    assert said.startswith("<mapping> has 30 mistakes:")
    assert said.endswith("and 20 more")
    assert len(said.splitlines()) == 12


def test_long_values_are_cut() -> None:
    said = refused({"default_chain": ["x" * 100_000], "y" * 100_000: 1})
    assert len(said) < 1_000


@pytest.mark.parametrize(
    ("other", "mistyped"),
    [
        ("openai/gpt-5-1", True),
        ("openia/gpt-5.1", True),
        ("openai/gpt-5", False),
        ("openai/gpt-5.2", False),
        ("openai/gpt-5.1-mini", False),
        ("openai/gpt-5.1:free", False),
        ("google/gemini-2.5-flash", False),
    ],
)
def test_unused_model_settings_are_allowed_unless_misspelt(other: str, mistyped: bool) -> None:
    content = {"default_chain": ["openai/gpt-5.1", "google/gemini-2.5-pro"], "models": {other: {"timeout": 5}}}
    if mistyped:
        assert "Did you mean 'openai/gpt-5.1'?" in refused(content)
    else:
        assert load_config(content).model(other).timeout == 5


def test_files_that_cannot_be_read(tmp_path: Path, write: Callable[[bytes], Path]) -> None:
    assert "no such file" in refused(tmp_path / "nothing.yaml")
    assert "is a directory" in refused(tmp_path)
    assert "cannot be read" in refused("a\0b")
    assert "line 2: not UTF-8" in refused(write(b"a: b\nc: \xff\n"))
    assert "not UTF-8" in refused(write(FULL_FORM.encode("utf-16")))
    assert "larger than 1 MiB" in refused(write(b"#" * (2 << 20)))


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(*args: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", no)
    with pytest.raises(ConfigError, match="may not be read; check its permissions"):
        load_config("fallback.yaml")


@pytest.mark.parametrize("source", [3, None, [], b"x", "fallback:\n  default_chain: [a/b]"])
def test_not_a_source(source: Any) -> None:
    assert "takes the path of a YAML file or a mapping" in refused(source)


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [*a, *a]",
        "a: &a {b: *a}",
        "a: &a {<<: *a}",
        "\n".join(
            ["a0: &a0 [x,x,x,x,x,x,x,x]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 30))]
        ),
        "\n".join(["a0: &a0 {}", *(f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 8)}]}}" for n in range(1, 30))]),
        "[" * 10_000,
        "a: " + "[" * 300 + "]" * 300,
        "? [a]\n: b",
        "a: {<<: 3}",
        "= : 1",
        "a: =",
        "!!int x: !!int x",
        "a: !!bool x\nb: !!float x\nc: !!timestamp x\nd: !!binary x\ne: 0b_\nf: !!null x",
        "&a a: *a",
        "%YAML 9.9\n---\na",
    ],
)
def test_hostile_yaml_is_refused(text: str, write: Callable[[str], Path]) -> None:
    assert len(refused(write(text))) < 5_000


def test_hostile_mappings_are_refused() -> None:
    loop: dict[str, Any] = {}
    loop["default_chain"] = [loop, loop]
    assert "nested more than" in refused(loop)
    nested: Any = []
    nested.append(nested)
    with pytest.raises(ConfigError, match="nested more than"):
        ModelConfig("a/b", params={"x": nested})
    assert "lone surrogate" in refused({"default_chain": ["a/\ud800"]})
    assert "quote it" in refused({"default_chain": ["a/b"], "task_chains": {False: ["a/b"]}})


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["a/b", "next", "gpt-5"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(max_size=4) | st.sampled_from(["a/b", "id", "auth", "on_failure", "params"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)
SECTIONS = st.dictionaries(st.sampled_from([*FallbackConfig.model_fields, "other"]), JSON, max_size=5)
FIELDS = st.fixed_dictionaries(
    {"default_chain": st.just(["a/b"])},
    optional={
        "settings": st.dictionaries(st.sampled_from(list(Settings.model_fields)), JSON, max_size=4),
        "models": st.dictionaries(
            st.text(max_size=5), st.dictionaries(st.sampled_from(list(ModelConfig.model_fields)), JSON), max_size=2
        ),
        "endpoints": st.dictionaries(
            st.text(max_size=5), st.dictionaries(st.sampled_from(list(EndpointConfig.model_fields)), JSON), max_size=2
        ),
        "cost_tiers": st.dictionaries(st.text(max_size=5), st.lists(st.sampled_from(["a/b", "c/d", "e"])), max_size=2),
        "tier_order": st.lists(st.text(max_size=5), max_size=2) | JSON,
    },
)


@given(st.dictionaries(st.text(max_size=4) | st.just("fallback"), JSON | SECTIONS, max_size=2) | SECTIONS | FIELDS)
@settings(max_examples=400, deadline=None)
def test_any_mapping_loads_or_is_refused(content: dict[str, Any]) -> None:
    try:
        config = load_config(content)
    except ConfigError:
        return
    assert config.chain()
    assert pickle.loads(pickle.dumps(config)).ids() == config.ids()


YAMLISH = st.text(alphabet="ab/:-[]{}&*!|>'\"#%@`,?<= \n\t019.~eynof\u0085\ufeff\x00", max_size=40)


@given(text=YAMLISH | SECTIONS.map(json.dumps))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_loads_or_is_refused(text: str, write: Callable[[str], Path]) -> None:
    file = write(text)
    with contextlib.suppress(ConfigError):
        assert load_config(file).chain()


def test_automatic_tiers_stay_automatic_however_the_config_travels() -> None:
    config = load_config({"default_chain": ["a/b"], "cost_tiers": "auto"})
    assert (config.derives_tiers, config.tiers(), config.tier_of("a/b")) == (
        True,
        ("budget", "standard", "premium"),
        None,
    )
    assert config.chain() == ("a/b",)
    assert config != load_config({"default_chain": ["a/b"]})
    dumped = config.model_dump()
    assert dumped["cost_tiers"] == "auto"
    assert "cost_tiers=auto" in repr(config)
    whole = {name: getattr(config, name) for name in FallbackConfig.model_fields}
    for same in (
        pickle.loads(pickle.dumps(config)),
        copy.deepcopy(config),
        FallbackConfig(**whole),
        FallbackConfig(**dumped),
    ):
        assert same == config
        assert same.derives_tiers


# --- for editors ----------------------------------------------------------------------------------------------------


def test_json_schema_describes_every_key() -> None:
    schema = config_schema()
    json.dumps(schema)
    inner = schema["properties"]["fallback"]
    assert schema["required"] == ["fallback"]
    assert list(inner["properties"]) == list(FallbackConfig.model_fields)
    parts = [inner, *(schema["$defs"][name] for name in ("Settings", "ModelConfig", "EndpointConfig"))]
    for part in parts:
        assert part["additionalProperties"] is False
        for name, field in part["properties"].items():
            assert field.get("description", "").endswith("."), name
    assert "id" not in schema["$defs"]["ModelConfig"]["properties"]
    assert "required" not in schema["$defs"]["ModelConfig"]
    assert schema["$defs"]["EndpointConfig"]["required"] == ["base_url"]
    assert "required" not in inner["properties"]["endpoints"]["properties"]["openrouter"]
    assert {tuple(one["required"]) for one in inner["anyOf"]} == {("default_chain",), ("task_chains",), ("cost_tiers",)}


def test_json_schema_agrees_with_the_loader() -> None:
    schema = config_schema()
    defs, inner = schema["$defs"], schema["properties"]["fallback"]["properties"]
    assert inner["default_chain"]["type"] == "array"
    assert inner["default_chain"]["minItems"] == 1
    assert inner["task_chains"]["additionalProperties"]["items"] == {"type": "string"}
    threshold = defs["Settings"]["properties"]["skip_threshold"]
    assert (threshold["type"], threshold["minimum"], threshold["maximum"], threshold["default"]) == (
        "number",
        0,
        1,
        0.3,
    )
    assert defs["Settings"]["properties"]["total_timeout_seconds"]["exclusiveMinimum"] == 0
    assert defs["Settings"]["properties"]["policy"]["enum"] == ["smart", "any_error"]
    kinds = defs["Settings"]["properties"]["on_failure"]["propertyNames"]["enum"]
    assert set(kinds) == {str(kind) for kind in FailureKind} - {"local", "cancelled"}
    assert defs["ModelConfig"]["properties"]["params"]["type"] == "object"


def test_import_reads_no_yaml() -> None:
    code = "import sys, openrouter_fallback.config; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
