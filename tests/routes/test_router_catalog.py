"""What the catalog's prices and abilities make of the order, the tiers, caps and needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from openrouter_fallback import ConfigError, routing
from openrouter_fallback.health import Fact
from openrouter_fallback.routes.choice import Choice, in_context
from openrouter_fallback.routes.needs import Needs

from ..support.router import CHAINS, Bench, Json

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


def test_a_price_cap_is_told_to_openrouter_only() -> None:
    config = {"default_chain": ["groq:a:free", "a/b:free"], "endpoints": {"groq": {"base_url": "https://groq.example"}}}
    plan = Bench(config).plan(Choice.of(max_price=5))
    assert [one.max_price is None for one in plan.candidates] == [True, False]


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


def test_who_lacks_a_need_is_no_probe_either() -> None:
    bench = Bench({"default_chain": ["a/none"]}, ABLE)
    for _ in range(3):
        bench.outcome("a/none", good=False)
    needs = Needs(frozenset({"tools"}))
    assert bench.route(now=10.0).candidates == ("a/none",)
    assert [skip.reason for skip in bench.route(now=10.0, needs=needs).skipped] == ["does not support tools"]


def test_what_an_answer_taught_counts_like_the_catalog() -> None:
    bench = Bench({"default_chain": ["a/all", "a/silent"]}, ABLE)
    bench.health.facts.learn("a/all", Fact.LACKS, 0.0, subject="tools")
    tools = Needs(frozenset({"tools"}))
    assert bench.route(needs=tools).candidates == ("a/silent",)
    assert bench.route().candidates == ("a/all", "a/silent")
    assert bench.route(needs=tools, now=3600.0).candidates == ("a/all", "a/silent")
