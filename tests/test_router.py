"""Which models a call may ask and in which order; nothing is called and no probe's slot is taken."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest

from openrouter_fallback import Catalog, ConfigError, FallbackConfig, ModelConfig, load_config, routing
from openrouter_fallback.health import MemoryHealth, Rules, Target
from openrouter_fallback.params import Needs
from openrouter_fallback.router import NO_NEEDS, Candidate, Choice, Plan, Route, Router, in_context

CHAINS: Mapping[str, Any] = {
    "default_chain": ["anthropic/sonnet", "openai/gpt", "meta/llama"],
    "task_chains": {
        "coding": ["anthropic/sonnet", "deepseek/chat"],
        "fast": ["anthropic/haiku", "openai/mini"],
    },
    "cost_tiers": {
        "premium": ["anthropic/opus"],
        "budget": ["anthropic/haiku", "openai/mini"],
        "standard": ["anthropic/sonnet", "openai/gpt"],
    },
}


Json = dict[str, Any]


def _catalog(config: FallbackConfig, listed: Sequence[Json]) -> Catalog:
    """What OpenRouter is said to list."""

    async def fetch(endpoint: str) -> bytes:
        return json.dumps({"data": listed if endpoint == "openrouter" else []}).encode()

    catalog = Catalog({"openrouter": ""}, config.split, fetch)
    if listed:
        asyncio.run(catalog.refresh())
    return catalog


class Bench:
    """A router over a configuration, with a health of its own."""

    def __init__(
        self, config: Mapping[str, Any] | FallbackConfig = CHAINS, listed: Sequence[Json] = (), **settings: Any
    ) -> None:
        given = config if isinstance(config, FallbackConfig) else load_config({**config, "settings": settings})
        self.health = MemoryHealth(Rules(), lambda: 0.0)
        self._router = Router(given, self.health, _catalog(given, listed))
        self._endpoints = tuple(given.endpoints)

    def plan(self, choice: Choice | None = None, now: float = 0.0, key: str = "key", needs: Needs = NO_NEEDS) -> Plan:
        return self._router.plan(choice or Choice(), now, self._accounts(key), needs)

    def route(self, choice: Choice | None = None, now: float = 0.0, needs: Needs = NO_NEEDS) -> Route:
        return self._router.route(choice or Choice(), now, self._accounts("key"), needs)

    def candidate(self, id: str) -> Candidate:
        return self._router.candidate(id, self._accounts("key"))

    def target(self, id: str) -> Target:
        return self.candidate(id).target

    def _accounts(self, key: str) -> dict[str, str]:
        return {name: f"{name}#{key}" for name in self._endpoints}

    def ids(self, *, now: float = 0.0, **choice: Any) -> list[str]:
        return [candidate.key for candidate in self.plan(Choice.of(**choice), now).candidates]

    def excluded(self, **choice: Any) -> dict[str, str]:
        return {skip.model: skip.reason for skip in self.plan(Choice.of(**choice)).excluded}

    def outcome(self, model: str, good: bool, first_token: float | None = None) -> None:
        ticket = self.health.begin(self.target(model), 0.0, forced=True)
        assert ticket is not None
        if first_token is not None:
            self.health.first_token(ticket, first_token)
        if good:
            self.health.success(ticket, 0.0)
        else:
            self.health.model_failed(ticket, 0.0)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        ({"task": "coding"}, ["anthropic/sonnet", "deepseek/chat"]),
        ({"task": "default"}, ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        ({"max_cost_tier": "budget"}, ["anthropic/haiku", "openai/mini"]),
        ({"max_cost_tier": "standard"}, ["anthropic/haiku", "openai/mini", "anthropic/sonnet", "openai/gpt"]),
        (
            {"max_cost_tier": "premium"},
            ["anthropic/haiku", "openai/mini", "anthropic/sonnet", "openai/gpt", "anthropic/opus"],
        ),
        ({"task": "fast", "max_cost_tier": "budget"}, ["anthropic/haiku", "openai/mini"]),
        ({"task": "coding", "max_cost_tier": "standard"}, ["anthropic/sonnet"]),
        ({"task": "coding", "max_cost_tier": "budget"}, []),
        ({"primary_provider": "meta"}, ["meta/llama", "anthropic/sonnet", "openai/gpt"]),
        ({"primary_provider": "openai", "task": "fast"}, ["openai/mini", "anthropic/haiku"]),
        (
            {"primary_provider": "openai", "max_cost_tier": "standard"},
            ["openai/mini", "openai/gpt", "anthropic/haiku", "anthropic/sonnet"],
        ),
        ({"models": ("x/y", "anthropic/opus")}, ["x/y", "anthropic/opus"]),
        ({"models": ("x/y", "anthropic/haiku"), "task": "coding"}, ["x/y", "anthropic/haiku"]),
        ({"models": ("x/y", "anthropic/haiku"), "max_cost_tier": "standard"}, ["anthropic/haiku"]),
        ({"models": ("x/y", "anthropic/haiku"), "primary_provider": "anthropic"}, ["anthropic/haiku", "x/y"]),
    ],
    ids=str,
)
def test_a_choice_picks_the_models_and_their_order(choice: dict[str, Any], expected: list[str]) -> None:
    assert Bench().ids(**choice) == expected


def test_a_cap_says_whom_it_leaves_out() -> None:
    assert Bench().excluded(task="coding", max_cost_tier="budget") == {
        "anthropic/sonnet": "cost tier standard is above budget",
        "deepseek/chat": "its cost tier and price are unknown, and max_cost_tier is budget",
    }


def test_a_cap_that_is_not_configured_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match=r"'standart' is not configured.*Did you mean 'standard'"):
        Bench().ids(max_cost_tier="standart")
    with pytest.raises(ConfigError, match=r"there are: none.*`cost_tiers: auto`"):
        Bench({"default_chain": ["a/b"]}).ids(max_cost_tier="budget")


def test_tiers_with_names_of_their_own() -> None:
    config = {"cost_tiers": {"gold": ["a/3"], "tin": ["a/1"], "iron": ["a/2"]}, "tier_order": ["tin", "iron", "gold"]}
    assert Bench(config).ids(max_cost_tier="iron") == ["a/1", "a/2"]
    assert Bench(config).ids() == ["a/1", "a/2", "a/3"]


@pytest.mark.parametrize(
    ("what", "found", "says"),
    [
        ("task", "codign", "task='codign' is not configured; there are: coding, fast, default. Did you mean 'coding'?"),
        ("primary_provider", "opnai", "Did you mean 'openai'?"),
    ],
)
def test_an_unknown_name_is_said_once(what: str, found: str, says: str, caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level(logging.WARNING, logger="openrouter_fallback"):
        for _ in range(3):
            choice: dict[str, Any] = {what: found}
            assert bench.ids(**choice) == ["anthropic/sonnet", "openai/gpt", "meta/llama"]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert says in caplog.text


def test_known_names_are_not_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench()
    with caplog.at_level(logging.WARNING, logger="openrouter_fallback"):
        bench.ids(task="coding")
        bench.ids(task="default")
        bench.ids(primary_provider="meta")
        bench.ids(models=("x/y",), primary_provider="x")
    assert not caplog.records


def test_providers_as_configured_make_the_chain_of_the_recipes() -> None:
    config = {
        "default_chain": ["openai/gpt"],
        "providers": {"anthropic": ["anthropic/sonnet", "anthropic/haiku"], "openai": ["openai/gpt", "openai/mini"]},
    }
    bench = Bench(config)
    assert bench.ids(primary_provider="openai") == ["openai/gpt", "openai/mini", "anthropic/sonnet", "anthropic/haiku"]
    assert bench.ids(primary_provider="anthropic")[0] == "anthropic/sonnet"
    assert bench.ids() == ["openai/gpt"]


def test_a_provider_may_be_given_models_of_any_prefix() -> None:
    config = {"default_chain": ["a/x", "b/y", "c/z"], "providers": {"mine": ["c/z", "b/y"]}}
    assert Bench(config).ids(primary_provider="mine", models=("a/x", "b/y", "c/z")) == ["b/y", "c/z", "a/x"]


def test_priorities_order_every_chain() -> None:
    config = {**CHAINS, "models": {"meta/llama": {"priority": -1}, "deepseek/chat": {"priority": -2}}}
    bench = Bench(config)
    assert bench.ids() == ["meta/llama", "anthropic/sonnet", "openai/gpt"]
    assert bench.ids(task="coding") == ["deepseek/chat", "anthropic/sonnet"]


def test_models_of_a_call_come_by_their_own_priorities_else_the_configured_ones() -> None:
    bench = Bench({**CHAINS, "models": {"openai/gpt": {"priority": 2}}})
    models = (
        ModelConfig("x/third", priority=3),
        "openai/gpt",
        ModelConfig("x/first", priority=1),
        ModelConfig("meta/llama", priority=0),
    )
    assert bench.ids(models=models) == ["meta/llama", "x/first", "openai/gpt", "x/third"]


def test_models_of_a_call_bring_their_own_settings_for_that_call_only() -> None:
    bench = Bench({"default_chain": ["a/b"], "models": {"a/b": {"timeout": 5, "max_retries": 4}}})
    own = ModelConfig("a/b", max_retries=3, timeout=7, disable_duration=11, params={"seed": 1})
    [mine] = bench.plan(Choice(models=(own,)), 0.0).candidates
    assert (mine.attempts, mine.timeout, mine.target.longest_open, dict(mine.params)) == (3, 7, 11, {"seed": 1})
    [theirs] = bench.plan().candidates
    assert (theirs.attempts, theirs.timeout, theirs.target.longest_open, dict(theirs.params)) == (4, 5, 300, {})


def test_settings_hold_where_the_model_says_nothing() -> None:
    settings: dict[str, Any] = {
        "max_retries_per_model": 5,
        "disable_duration_seconds": 60,
        "first_token_timeout_seconds": 9,
    }
    [one] = Bench({"default_chain": ["a/b"]}, **settings).plan().candidates
    assert (one.attempts, one.target.longest_open, one.timeout) == (5, 60, 9)
    [default] = Bench({"default_chain": ["a/b"]}).plan().candidates
    assert (default.attempts, default.target.longest_open, default.timeout) == (2, 300, None)


@pytest.mark.parametrize(
    ("models", "says"),
    [
        ((), r"models=\[\] is empty"),
        (("a/b", "c/d", "a/b"), "names a model twice: a/b"),
        (("a/b", ModelConfig("a/b")), "names a model twice: a/b"),
        (("gpt-5.1",), "provider prefix"),
        (("grok:x",), "models="),
        ((7,), "models= holds a int; for a call it may hold ids and ModelConfig"),
    ],
)
def test_models_of_a_call_are_checked(models: tuple[Any, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Bench().ids(models=models)


ENDPOINTS: Mapping[str, Any] = {
    "default_chain": ["openai/gpt", "groq:llama-70b", "local:llama3:8b", "meta/llama:free"],
    "endpoints": {
        "groq": {"base_url": "https://groq.example/v1"},
        "local": {"base_url": "http://127.0.0.1:11434/v1", "stream_upstream": False},
    },
}


def test_openrouter_is_known_by_its_url_too() -> None:
    urls = {"second": "https://openrouter.ai/api/v1", "groq": "https://api.groq.com/openai/v1"}
    endpoints = {name: {"base_url": url} for name, url in urls.items()}
    plan = Bench({"default_chain": ["second:a/b", "groq:c"], "endpoints": endpoints}).plan()
    assert [one.on_openrouter for one in plan.candidates] == [True, False]


def test_models_of_other_endpoints() -> None:
    plan = Bench(ENDPOINTS).plan()
    seen = [(one.target.endpoint, one.model, one.on_openrouter, one.streams, one.free) for one in plan.candidates]
    assert seen == [
        ("openrouter", "openai/gpt", True, True, False),
        ("groq", "llama-70b", False, True, False),
        ("local", "llama3:8b", False, False, False),
        ("openrouter", "meta/llama:free", True, True, True),
    ]
    assert [one.target.account for one in plan.candidates] == [
        "openrouter#key", "groq#key", "local#key", "openrouter#key",
    ]  # fmt: skip


def test_the_provider_of_another_endpoints_model_is_the_endpoint() -> None:
    assert Bench(ENDPOINTS).ids(primary_provider="groq")[0] == "groq:llama-70b"


def test_stream_upstream_off_for_all() -> None:
    plan = Bench(ENDPOINTS, stream_upstream=False).plan()
    assert not any(one.streams for one in plan.candidates)


@pytest.mark.parametrize(
    ("id", "slow"), [("a/b:thinking", True), ("a/b:online", True), ("a/b", False), ("a/thinking", False)]
)
def test_variants_known_to_be_slow(id: str, slow: bool) -> None:
    assert Bench({"default_chain": [id]}).candidate(id).slow is slow


def test_each_key_is_an_account() -> None:
    bench = Bench()
    plan = bench.plan(key="tenant")
    assert {one.target.account for one in plan.candidates} == {"openrouter#tenant"}
    assert {one.target.account for one in bench.plan().candidates} == {"openrouter#key"}


# The order


def degraded(order_by: Literal["priority", "health", "latency"]) -> Bench:
    bench = Bench(order_by=order_by)
    for good in (True, False):
        bench.outcome("anthropic/sonnet", good, first_token=0.9)
    bench.outcome("openai/gpt", good=True, first_token=2.0)
    bench.outcome("meta/llama", good=True, first_token=0.1)
    return bench


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("priority", ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        ("health", ["openai/gpt", "meta/llama", "anthropic/sonnet"]),
        ("latency", ["meta/llama", "anthropic/sonnet", "openai/gpt"]),
    ],
)
def test_order_by(order_by: Literal["priority", "health", "latency"], expected: list[str]) -> None:
    assert degraded(order_by).ids() == expected


@pytest.mark.parametrize("order_by", ["health", "latency"])
def test_without_data_the_chain_orders(order_by: str) -> None:
    assert Bench(order_by=order_by).ids() == ["anthropic/sonnet", "openai/gpt", "meta/llama"]


@pytest.mark.parametrize(
    ("learn", "expected"),
    [
        (
            lambda health, target: health.unauthorized(target, 0.0),
            ["groq:llama-70b", "local:llama3:8b", "openai/gpt", "meta/llama:free"],
        ),
        (
            lambda health, target: health.out_of_credits(target, 0.0, None),
            ["groq:llama-70b", "local:llama3:8b", "meta/llama:free", "openai/gpt"],
        ),
    ],
    ids=["auth", "credits"],
)
def test_refused_accounts_go_last_for_a_minute(
    learn: Callable[[MemoryHealth, object], None], expected: list[str]
) -> None:
    bench = Bench(ENDPOINTS)
    learn(bench.health, bench.target("openai/gpt"))
    assert bench.ids(now=59.9) == expected
    assert bench.ids(now=60.0) == list(ENDPOINTS["default_chain"])


def test_no_key_is_worse_than_no_credits() -> None:
    bench = Bench(ENDPOINTS)
    bench.health.unauthorized(bench.target("openai/gpt"), 0.0)
    bench.health.out_of_credits(bench.target("groq:llama-70b"), 0.0, None)
    assert bench.ids() == ["local:llama3:8b", "groq:llama-70b", "openai/gpt", "meta/llama:free"]


# Prices


def priced(id: str, prompt: float | None, completion: float | None, **more: Any) -> Json:
    """An entry, its prices in USD per million tokens."""
    prices = {"prompt": prompt, "completion": completion}
    return {"id": id, "pricing": {name: _usd(usd) for name, usd in prices.items() if usd is not None}, **more}


def _usd(per_million: float) -> str:
    return f"{per_million / 1e6:.12f}"


PRICED = [
    priced("anthropic/sonnet", 3, 15),
    priced("openai/gpt", 1.25, 10),
    priced("meta/llama", 0.1, 0.4),
    priced("anthropic/haiku", 1, 5),
    priced("anthropic/opus", 5, 25),
    priced("openai/mini", 0.25, 2),
    priced("openrouter/auto", -1e6, -1e6),
]


def test_order_by_price_puts_unknown_prices_last_and_free_variants_first() -> None:
    config = {"default_chain": ["x/unknown", "openrouter/auto", "openai/gpt:nitro", "meta/llama", "x/y:free"]}
    ordered = Bench(config, PRICED, order_by="price").ids()
    assert ordered == ["x/y:free", "meta/llama", "openai/gpt:nitro", "x/unknown", "openrouter/auto"]
    assert Bench(config, order_by="price").ids() == ["x/y:free", *config["default_chain"][:4]]


def test_a_price_per_request_counts_as_if_a_request_had_a_thousand_tokens() -> None:
    fee = {"prompt": "0.000001", "completion": "0.000001", "request": "0.005"}
    only_fee = {"prompt": "0", "completion": "0", "request": "0.005"}
    listed = [*PRICED, {"id": "a/searches", "pricing": fee}, {"id": "a/only", "pricing": only_fee}]
    config = {"default_chain": ["a/searches", "a/only", "openai/gpt", "anthropic/haiku"], "cost_tiers": "auto"}
    bench = Bench(config, listed, order_by="price")
    assert bench.ids() == ["anthropic/haiku", "openai/gpt", "a/only", "a/searches"]
    assert bench.ids(max_cost_tier="budget") == ["anthropic/haiku"]


# USD per million prompt and completion tokens -> the tier that follows: 3 parts prompt, 1 part completion
TIERS: list[tuple[float, float, str]] = [
    (0, 0, "budget"),
    (0.25, 2, "budget"),
    (1, 5, "budget"),
    (1, 5.01, "standard"),
    (3, 15, "standard"),
    (4, 20, "standard"),
    (4, 20.01, "premium"),
    (5, 25, "premium"),
]


@pytest.mark.parametrize(("prompt", "completion", "tier"), TIERS)
def test_a_tier_follows_from_the_price(prompt: float, completion: float, tier: str) -> None:
    bench = Bench({"default_chain": ["a/b"], "cost_tiers": "auto"}, [priced("a/b", prompt, completion)])
    passes = [cap for cap in ("budget", "standard", "premium") if bench.ids(max_cost_tier=cap)]
    assert passes[0] == tier
    assert passes == ["budget", "standard", "premium"][-len(passes) :]


AUTO = {**CHAINS, "cost_tiers": "auto"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ({}, ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        ({"max_cost_tier": "budget"}, ["meta/llama", "anthropic/haiku", "openai/mini"]),
        (
            {"max_cost_tier": "premium"},
            ["meta/llama", "anthropic/haiku", "openai/mini", "anthropic/sonnet", "openai/gpt"],
        ),
        ({"task": "coding", "max_cost_tier": "standard"}, ["anthropic/sonnet"]),
        ({"models": ("anthropic/opus", "x/y:free"), "max_cost_tier": "standard"}, ["x/y:free"]),
        ({"max_cost_tier": "budget", "primary_provider": "openai"}, ["openai/mini", "meta/llama", "anthropic/haiku"]),
    ],
    ids=str,
)  # fmt: skip
def test_automatic_tiers(choice: dict[str, Any], expected: list[str]) -> None:
    assert Bench(AUTO, PRICED).ids(**choice) == expected


def test_without_prices_no_model_passes_an_automatic_tier_but_free_ones() -> None:
    bench = Bench({**AUTO, "default_chain": ["openai/gpt", "x/y:free"]})
    assert bench.ids(max_cost_tier="premium") == ["x/y:free"]
    assert bench.excluded(max_cost_tier="premium")["openai/gpt"] == (
        "its cost tier and price are unknown, and max_cost_tier is premium"
    )


def test_a_listed_tier_goes_before_the_price_and_the_price_stands_in_where_none_lists_the_model() -> None:
    bench = Bench(CHAINS, [*PRICED, priced("deepseek/chat", 0.3, 1.2), priced("anthropic/sonnet", 0, 0)])
    assert bench.ids(task="coding", max_cost_tier="budget") == ["deepseek/chat"]
    assert bench.excluded(task="coding", max_cost_tier="budget") == {
        "anthropic/sonnet": "cost tier standard is above budget"
    }


def test_a_derived_tier_is_compared_also_where_it_lists_no_model() -> None:
    config = {"default_chain": ["openai/gpt", "meta/llama"], "cost_tiers": {"budget": ["a/b"], "premium": ["c/d"]}}
    bench = Bench(config, PRICED)
    assert bench.ids(models=("openai/gpt", "meta/llama"), max_cost_tier="budget") == ["meta/llama"]
    assert bench.ids(models=("openai/gpt", "meta/llama"), max_cost_tier="premium") == ["openai/gpt", "meta/llama"]


def test_tiers_with_names_of_their_own_derive_nothing() -> None:
    config = {
        "default_chain": ["meta/llama"],
        "cost_tiers": {"tin": ["a/1"], "gold": ["a/2"]},
        "tier_order": ["tin", "gold"],
    }
    assert Bench(config, PRICED).ids(models=("meta/llama", "a/1"), max_cost_tier="gold") == ["a/1"]


@pytest.mark.parametrize(
    ("cap", "expected"),
    [
        (20, ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        (10, ["openai/gpt", "meta/llama"]),
        (9.99, ["meta/llama"]),
        (0.39, []),
        ({"prompt": 3}, ["anthropic/sonnet", "openai/gpt", "meta/llama"]),
        ({"prompt": "1.25", "completion": "10"}, ["openai/gpt", "meta/llama"]),
        ({"completion": 0.4}, ["meta/llama"]),
        ({"prompt": 2, "request": 0}, ["openai/gpt", "meta/llama"]),
    ],
)
def test_a_price_cap_filters(cap: Any, expected: list[str]) -> None:
    assert Bench(listed=PRICED).ids(max_price=cap) == expected


def test_a_price_cap_says_whom_it_leaves_out_and_free_variants_pass() -> None:
    config = {"default_chain": ["openai/gpt", "openrouter/auto", "x/unknown", "x/y:free", "a/fee"]}
    fee = {"id": "a/fee", "pricing": {"prompt": "0", "completion": "0", "request": "0.005"}}
    bench = Bench(config, [*PRICED, fee])
    assert bench.ids(max_price={"prompt": 1, "completion": 1, "request": 0.001}) == ["x/y:free"]
    assert bench.excluded(max_price={"prompt": 1, "request": 0.001}) == {
        "openai/gpt": "1.25 USD per million prompt tokens is above max_price 1",
        "openrouter/auto": "its prompt price is unknown, and max_price is 1 USD per million prompt tokens",
        "x/unknown": "its prompt price is unknown, and max_price is 1 USD per million prompt tokens",
        "a/fee": "0.005 USD per request is above max_price 0.001",
    }


@pytest.mark.parametrize(
    "cap", [-1, "cheap", True, float("nan"), float("inf"), {}, {"prompt": None}, {"tokens": 1}, {"prompt": -1}, [1]]
)
def test_a_price_cap_that_is_none_is_a_mistake(cap: Any) -> None:
    with pytest.raises(ConfigError, match="max_price"):
        Choice.of(max_price=cap)


def test_a_price_cap_holds_in_its_context_and_below_a_calls_own() -> None:
    with routing(max_price=1):
        assert in_context(Choice()).max_price == Choice.of(max_price=1).max_price
        assert in_context(Choice.of(max_price={"prompt": 5})).max_price == Choice.of(max_price={"prompt": 5}).max_price


# What a request needs


def able(id: str, *parameters: str, context: int = 100_000, inputs: Sequence[str] = ("text",)) -> Json:
    """An entry that lists these parameters (`max_tokens` beside them, so that it lists some)."""
    architecture = {"input_modalities": list(inputs), "output_modalities": ["text"]}
    listed = [*parameters, "max_tokens"]
    return {"id": id, "context_length": context, "supported_parameters": listed, "architecture": architecture}


ABLE = [
    able("a/tools", "tools"),
    able("a/all", "tools", "structured_outputs", inputs=("text", "image", "file"), context=1_000_000),
    able("a/none"),
    {"id": "a/silent"},
]
NEEDING = [
    (Needs(), {}),
    (Needs(frozenset({"tools"})), {"a/none": "does not support tools"}),
    (Needs(frozenset({"image"})), dict.fromkeys(["a/tools", "a/none"], "does not support image")),
    (
        Needs(frozenset({"structured_outputs", "tools"})),
        dict.fromkeys(["a/tools", "a/none"], "does not support structured_outputs"),
    ),
    (Needs(tokens=100_000), {}),
    (Needs(tokens=100_001), dict.fromkeys(["a/tools", "a/none"], "its context of 100000 tokens is too small")),
    # OpenRouter reads files for models that cannot.
    (Needs(frozenset({"file"})), {}),
]


@pytest.mark.parametrize(("needs", "skipped"), NEEDING)
def test_a_need_skips_who_is_known_to_lack_it_and_unknown_means_try(needs: Needs, skipped: dict[str, str]) -> None:
    chain = ["a/tools", "a/all", "a/none", "a/silent", "a/unlisted"]
    route = Bench({"default_chain": chain}, ABLE).route(needs=needs)
    assert {one.model: one.reason for one in route.skipped} == skipped
    assert list(route.candidates) == [id for id in chain if id not in skipped]


def test_what_an_answer_taught_counts_like_the_catalog() -> None:
    bench = Bench({"default_chain": ["a/all", "a/silent"]}, ABLE)
    bench.health.learn_lack(bench.target("a/all"), "tools", 0.0)
    tools = Needs(frozenset({"tools"}))
    assert bench.route(needs=tools).candidates == ("a/silent",)
    assert bench.route().candidates == ("a/all", "a/silent")
    assert bench.route(needs=tools, now=3600.0).candidates == ("a/all", "a/silent")


# The route, for people


def test_a_route_shows_candidates_and_each_skipped_model_with_its_reason() -> None:
    config = {"default_chain": ["a/ok", "a/broken", "a/off", "a/limited"], "cost_tiers": {"budget": ["b/x"]}}
    bench = Bench(config)
    for _ in range(3):
        bench.outcome("a/broken", good=False)
    bench.health.disable(bench.target("a/off"), 60.0)
    bench.health.rate_limited(bench.target("a/limited"), 0.0, 20.0)
    route = bench.route(now=1.0)
    assert route.candidates == ("a/ok",)
    assert [(skip.model, skip.reason, skip.seconds_left) for skip in route.skipped] == [
        ("a/broken", "failing", 9.0),
        ("a/off", "disabled by hand", 59.0),
        ("a/limited", "rate-limited", 19.0),
    ]
    assert [skip.model for skip in bench.route(Choice(task="x", max_cost_tier="budget")).skipped] == list(
        config["default_chain"]
    )


def test_a_route_takes_no_probes_slot() -> None:
    bench = Bench()
    for _ in range(3):
        bench.outcome("openai/gpt", good=False)
    for _ in range(3):
        assert "openai/gpt" in bench.route(now=10.0).candidates
    ticket = bench.health.begin(bench.target("openai/gpt"), 10.0)
    assert ticket is not None
    assert ticket.probe
    assert "openai/gpt" not in bench.route(now=10.0).candidates


# routing(...)


def test_routing_sets_what_a_call_leaves_open() -> None:
    bench = Bench()

    def asked(**choice: Any) -> list[str]:
        return [one.key for one in bench.plan(in_context(Choice(**choice)), 0.0).candidates]

    default = asked()
    with routing(task="fast"):
        assert asked() == ["anthropic/haiku", "openai/mini"]
        assert asked(task="coding") == ["anthropic/sonnet", "deepseek/chat"]
        with routing(primary_provider="openai"):
            assert asked() == ["openai/mini", "anthropic/haiku"]
            with routing(task="coding", primary_provider="deepseek"):
                assert asked() == ["deepseek/chat", "anthropic/sonnet"]
            with routing(models=["x/y"]):
                assert asked() == ["x/y"]
        assert asked() == ["anthropic/haiku", "openai/mini"]
    assert asked() == default


def test_routing_ends_with_an_error_too() -> None:
    with pytest.raises(ZeroDivisionError), routing(task="fast"):
        raise ZeroDivisionError
    assert in_context(Choice()) == Choice()


def test_routing_does_not_reach_other_threads() -> None:
    seen: list[Choice] = []
    with routing(task="fast"):
        thread = threading.Thread(target=lambda: seen.append(in_context(Choice())))
        thread.start()
        thread.join()
    assert seen == [Choice()]


async def test_routing_holds_for_a_task_and_those_it_starts() -> None:
    seen: dict[str, Choice] = {}
    both_in = asyncio.Barrier(2)

    async def child(name: str) -> None:
        seen[name] = in_context(Choice())

    async def call(task: str) -> None:
        with routing(task=task):
            await both_in.wait()
            await asyncio.create_task(child(f"{task}'s child"))
            seen[task] = in_context(Choice())
            await both_in.wait()

    await asyncio.gather(call("fast"), call("coding"))
    assert seen == {
        "fast": Choice(task="fast"),
        "fast's child": Choice(task="fast"),
        "coding": Choice(task="coding"),
        "coding's child": Choice(task="coding"),
    }
    assert in_context(Choice()) == Choice()


def test_models_that_come_and_go_take_no_memory() -> None:
    bench = Bench()
    for number in range(3000):
        bench.ids(models=(f"x/{number}",))
    assert len(bench._router._candidates) <= 1025
