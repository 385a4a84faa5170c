"""What a configuration means, from a file or in Python, and that it keeps its keys to itself."""

from __future__ import annotations

import copy
import json
import operator
import pickle
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError

from openrouter_fallback.config.loading import load_config
from openrouter_fallback.config.models import (
    DEFAULT_BASE_URL,
    OPENROUTER,
    EndpointConfig,
    FallbackConfig,
    ModelConfig,
    Settings,
    SpendLimit,
)
from openrouter_fallback.errors import ConfigError, FallbackError
from openrouter_fallback.failures.kinds import FailureKind

from ..cases.headers import REFUSED
from ..cases.settings import CHANGES, FILE
from ..support.configs import FULL_FORM, KEY, OLDER_FORM, refused

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
        (lambda: EndpointConfig(base_url="http://h", headers={"a b": "c"}), ["headers", "it may hold letters"]),
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


@pytest.mark.parametrize("name", CHANGES)
def test_settings_are_changed_one_by_one(name: str) -> None:
    changes, other = CHANGES[name]
    config = load_config(FILE)
    changed = config.with_settings(changes)
    was, now = ({key: getattr(one.settings, key) for key in Settings.model_fields} for one in (config, changed))
    assert now == {**was, **other}
    assert changed.ids() == config.ids()
    assert (
        pickle.loads(pickle.dumps(changed.with_settings({"health_store": "memory"}))).settings.policy == now["policy"]
    )
    assert load_config(FILE) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"polcy": "smart"}, ["polcy", "Did you mean 'policy'?"]),
        ({"hedge": {"aftr": 1}}, ["hedge.aftr", "Did you mean 'after'?"]),
        ({"spend_limit_usd": 3}, ["spend_limit_usd", "a mapping"]),
        (3, ["settings", "found 3", "a mapping"]),
    ],
    ids=str,
)
def test_changes_of_settings_that_do_not_fit(changes: Any, words: list[str]) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(FILE).with_settings(changes)
    assert all(word in str(raised.value) for word in words), str(raised.value)


@pytest.mark.parametrize(("name", "value", "words"), [one for one in REFUSED if isinstance(one[1], str)], ids=str)
def test_headers_of_an_endpoint_that_cannot_be_sent(name: str, value: str, words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError) as raised:
        EndpointConfig("http://h", headers={name: value})
    assert all(word in str(raised.value) for word in ("headers", *words)), str(raised.value)
