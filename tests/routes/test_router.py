"""Which models a call may ask and in which order; nothing is called and no probe's slot is taken."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Literal

import pytest

from openrouter_fallback import ConfigError, ModelConfig
from openrouter_fallback.health import MemoryHealth
from openrouter_fallback.routes.choice import Choice

from ..support.leaks import largest_collection
from ..support.router import CHAINS, Bench


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


def test_a_providers_models_are_those_listed_and_those_of_its_prefix() -> None:
    bench = Bench({**CHAINS, "providers": {"meta": ["x/y"]}})
    assert bench.ids(models=("openai/gpt", "meta/llama"), primary_provider="meta") == ["meta/llama", "openai/gpt"]


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
    bench.plan()
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


def test_openai_has_a_name_of_its_own_for_the_most_tokens() -> None:
    endpoints = {"direct": {"base_url": "https://api.openai.com/v1"}}
    plan = Bench({"default_chain": ["direct:gpt-5.1", "openai/gpt"], "endpoints": endpoints}).plan()
    assert [one.limit for one in plan.candidates] == ["max_completion_tokens", "max_tokens"]


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


def test_who_was_never_timed_counts_as_quick() -> None:
    bench = Bench(order_by="latency")
    bench.outcome("anthropic/sonnet", good=True, first_token=0.9)
    assert bench.ids() == ["openai/gpt", "meta/llama", "anthropic/sonnet"]


@pytest.mark.parametrize("order_by", ["health", "latency"])
def test_without_data_the_chain_orders(order_by: str) -> None:
    assert Bench(order_by=order_by).ids() == ["anthropic/sonnet", "openai/gpt", "meta/llama"]


@pytest.mark.parametrize(
    ("learn", "expected"),
    [
        (
            lambda health, target: health.accounts.unauthorized(target, 0.0),
            ["groq:llama-70b", "local:llama3:8b", "openai/gpt", "meta/llama:free"],
        ),
        (
            lambda health, target: health.accounts.out_of_credits(target, 0.0, None),
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
    bench.health.accounts.unauthorized(bench.target("openai/gpt"), 0.0)
    bench.health.accounts.out_of_credits(bench.target("groq:llama-70b"), 0.0, None)
    assert bench.ids() == ["local:llama3:8b", "groq:llama-70b", "openai/gpt", "meta/llama:free"]


# The route, for people


def test_a_route_shows_candidates_and_each_skipped_model_with_its_reason() -> None:
    config = {"default_chain": ["a/ok", "a/broken", "a/off", "a/limited"], "cost_tiers": {"budget": ["b/x"]}}
    bench = Bench(config)
    for _ in range(3):
        bench.outcome("a/broken", good=False)
    bench.health.disable(bench.target("a/off"), 60.0)
    bench.health.accounts.rate_limited(bench.target("a/limited"), 0.0, 20.0)
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
    permit = bench.health.begin(bench.target("openai/gpt"), 10.0)
    assert permit is not None
    assert permit.probe
    assert "openai/gpt" not in bench.route(now=10.0).candidates


def test_models_that_come_and_go_take_no_memory() -> None:
    bench = Bench()
    for number in range(3000):
        bench.ids(models=(f"x/{number}",), task=f"unknown {number}")
        bench.ids(task=f"unknown {number}")
    assert largest_collection(bench.router) <= 1025
