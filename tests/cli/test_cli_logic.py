"""What the commands know without asking anybody: successors, costs, purposes, searches, starters."""

from __future__ import annotations

import re
import resource
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from openrouter_fallback import ConfigError, FallbackConfig, ModelInfo, load_config
from openrouter_fallback.catalog.prices import tier
from openrouter_fallback.cli.analysis.audit import SOON_DAYS, Chain, chains, expiry, misfits, purpose
from openrouter_fallback.cli.analysis.costs import ChainCost, Load, chain_cost, per_thousand, usd
from openrouter_fallback.cli.analysis.listing import Wanted, provider, select
from openrouter_fallback.cli.analysis.starter import as_yaml, choose, write
from openrouter_fallback.cli.analysis.successors import meant, replacement, successor
from openrouter_fallback.cli.options import Sort
from openrouter_fallback.cli.output.views import tokens

TODAY = date(2026, 11, 22)


def model(id: str, prompt: float | None = 1.0, completion: float | None = 5.0, **facts: Any) -> ModelInfo:
    """A model; prices in USD per million tokens."""
    usual = ModelInfo(
        id,
        context_length=128_000,
        prompt_price=None if prompt is None else Decimal(str(prompt)) / 1_000_000,
        completion_price=None if completion is None else Decimal(str(completion)) / 1_000_000,
        input_modalities=frozenset({"text"}),
        parameters=frozenset({"tools", "max_tokens"}),
    )
    return replace(usual, **facts)


# Successors

LIVING = [
    "anthropic/claude-sonnet-4.5",
    "anthropic/claude-sonnet-4",
    "anthropic/claude-haiku-4.5",
    "anthropic/claude-opus-4.5",
    "anthropic/claude-opus-4.1",
    "openai/gpt-5",
    "openai/gpt-5.1",
    "openai/gpt-5.1-codex",
    "openai/gpt-5-mini",
    "openai/gpt-5-nano",
    "openai/gpt-5-pro",
    "openai/gpt-oss-120b",
    "openai/o3",
    "openai/o4-mini",
    "google/gemini-2.5-pro",
    "google/gemini-2.5-flash",
    "google/gemini-2.5-flash-lite",
    "meta-llama/llama-3.3-70b-instruct",
    "meta-llama/llama-3.3-70b-instruct:free",
    "meta-llama/llama-3.2-3b-instruct",
    "meta-llama/llama-4-maverick",
    "deepseek/deepseek-chat",
    "deepseek/deepseek-v3.2",
    "deepseek/deepseek-r1-0528",
    "mistralai/mistral-large-2411",
    "mistralai/mistral-large-2512",
    "qwen/qwen3-coder",
    "mistralai/mistral-small-3.2-24b-instruct",
    "qwen/qwen3-32b",
    "qwen/qwen3-235b-a22b-2507",
    "x-ai/grok-4",
    "x-ai/grok-code-fast-1",
]

SUCCESSORS: list[tuple[str, str | None]] = [
    ("anthropic/claude-3.5-sonnet", "anthropic/claude-sonnet-4.5"),
    ("anthropic/claude-3.5-sonnet-20240620", "anthropic/claude-sonnet-4.5"),
    ("anthropic/claude-3.5-sonnet:beta", "anthropic/claude-sonnet-4.5"),
    ("anthropic/claude-3-opus", "anthropic/claude-opus-4.5"),
    ("anthropic/claude-3-haiku", "anthropic/claude-haiku-4.5"),
    ("anthropic/claude-2.1", "anthropic/claude-sonnet-4.5"),
    ("openai/gpt-4", "openai/gpt-5.1"),
    ("openai/gpt-4-turbo", "openai/gpt-5.1"),
    ("openai/gpt-4o-2024-11-20", "openai/gpt-5.1"),
    ("openai/gpt-4o-mini", "openai/gpt-5-mini"),
    ("openai/gpt-3.5-turbo", "openai/gpt-5-mini"),
    ("openai/o1", "openai/o3"),
    ("openai/o1-mini", "openai/o4-mini"),
    ("google/gemini-flash-1.5", "google/gemini-2.5-flash"),
    ("google/gemini-2.0-flash-exp:free", "google/gemini-2.5-flash"),
    ("meta-llama/llama-3-70b-instruct", "meta-llama/llama-3.3-70b-instruct"),
    ("meta-llama/llama-3.1-8b-instruct", "meta-llama/llama-3.2-3b-instruct"),
    ("meta-llama/llama-3.1-70b-instruct:free", "meta-llama/llama-3.3-70b-instruct:free"),
    ("mistralai/mistral-large", "mistralai/mistral-large-2512"),
    ("mistralai/mixtral-8x7b-instruct", "mistralai/mistral-small-3.2-24b-instruct"),
    ("deepseek/deepseek-coder", "deepseek/deepseek-v3.2"),
    ("qwen/qwen-2.5-coder-32b-instruct", "qwen/qwen3-coder"),
    ("x-ai/grok-2", "x-ai/grok-4"),
    ("cohere/command-r-plus", None),
    ("openai/dall-e-3", None),
]


@pytest.mark.parametrize(("gone", "newest"), SUCCESSORS, ids=[gone for gone, _ in SUCCESSORS])
def test_the_newest_of_the_family_takes_the_place_of_what_is_gone(gone: str, newest: str | None) -> None:
    assert successor(gone, LIVING) == newest
    assert meant(gone, LIVING) is None


MISSPELT = [
    ("anthropic/claude-sonet-4.5", "anthropic/claude-sonnet-4.5"),
    ("antropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.5"),
    ("anthropic/claude-4.5-sonnet", "anthropic/claude-sonnet-4.5"),
    ("Anthropic/Claude-Sonnet-4.5", "anthropic/claude-sonnet-4.5"),
    ("meta/llama-3.3-70b-instruct", "meta-llama/llama-3.3-70b-instruct"),
    ("openai/gpt5.1", "openai/gpt-5.1"),
    ("openai/gpt-51", "openai/gpt-5.1"),
    ("openai/gpt-5-1", "openai/gpt-5.1"),
    ("openai/gpt-5-minni", "openai/gpt-5-mini"),
    ("anthropic/claude-sonnet-4.6", None),
    ("meta-llama/llama-3.3-7b-instruct", None),
    ("someone/something", None),
]


@pytest.mark.parametrize(("written", "right"), MISSPELT, ids=[written for written, _ in MISSPELT])
def test_a_misspelling_is_told_from_another_version(written: str, right: str | None) -> None:
    assert meant(written, LIVING) == right


def test_what_to_do_about_a_model_that_is_gone() -> None:
    living = [model(id) for id in LIVING]
    newest = "The newest of its family: anthropic/claude-sonnet-4.5 ($1.00/$5.00 per 1M tokens)"
    assert replacement("openrouter", "anthropic/claude-3.5-sonnet", living) == newest
    assert replacement("openrouter", "anthropic/claude-sonet-4.5", living).startswith("Did you mean anthropic/claude-")
    both = replacement("openrouter", "openai/gpt5", living)
    assert "Did you mean openai/gpt-5 " in both
    assert "The newest of its family: openai/gpt-5.1 " in both
    assert replacement("openrouter", "openai/dall-e-3", living).endswith("see openrouter-fallback models openai")
    assert replacement("groq", "dall-e", living).endswith("see openrouter-fallback models --endpoint groq")


# Costs


def test_what_a_thousand_calls_cost() -> None:
    load = Load(prompt_tokens=1000, completion_tokens=300)
    assert per_thousand(model("a/a", 3, 15), load) == Decimal("7.5")
    assert per_thousand(model("a/a", 3, 15, request_price=Decimal("0.01")), load) == Decimal("17.5")
    assert per_thousand(model("a/a:free", 0, 0), load) == 0
    assert per_thousand(model("a/a", 3, None), load) is None
    assert per_thousand(None, load) is None


def test_what_a_chain_costs_depends_on_who_answers() -> None:
    known = {one.id: one for one in (model("a/a", 3, 15), model("b/b", 0.1, 0.4), model("c/c", 10, 50))}
    assert chain_cost(["a/a", "b/b", "gone/gone", "c/c"], known.get, Load()) == ChainCost(
        Decimal("7.5"), Decimal("0.22"), Decimal("25")
    )
    assert chain_cost(["gone/gone"], known.get, Load()) == ChainCost(None, None, None)


AMOUNTS = [
    (None, "?"),
    (0, "free"),
    (Decimal("1234.5"), "$1,234.50"),
    (Decimal(15), "$15.00"),
    (Decimal("0.4"), "$0.40"),
    (Decimal("0.075"), "$0.075"),
    (Decimal("0.0375"), "$0.038"),
    (0.00027, "$0.00027"),
    (Decimal("0.00004"), "<$0.0001"),
]


@pytest.mark.parametrize(("amount", "text"), AMOUNTS, ids=[text for _, text in AMOUNTS])
def test_amounts_as_people_write_them(amount: Decimal | float | None, text: str) -> None:
    assert usd(amount) == text


def test_token_counts_as_people_write_them() -> None:
    assert [tokens(count) for count in (None, 512, 8192, 128_000, 1_000_000, 1_048_576)] == [
        "?",
        "512",
        "8K",
        "128K",
        "1M",
        "1.05M",
    ]


# What a chain is for

PURPOSES = [
    ("coding", {"tools"}),
    ("my-agent", {"tools"}),
    ("json_extraction", {"structured_outputs"}),
    ("vision", {"image"}),
    ("transcripts", {"audio"}),
    ("deep-thinking", {"reasoning"}),
    ("Vision+JSON", {"image", "structured_outputs"}),
    ("decoder", set()),
    ("images", set()),
    ("default", set()),
    ("fast", set()),
    ("creative", set()),
    ("premium", set()),
]


@pytest.mark.parametrize(("name", "needs"), PURPOSES, ids=[name for name, _ in PURPOSES])
def test_a_chains_name_says_what_it_is_for(name: str, needs: set[str]) -> None:
    assert purpose(name) == needs


def test_models_that_cannot_do_what_is_asked_of_them() -> None:
    known = [Chain("task_chains", "vision", ("a/a",)), Chain("task_chains", "coding", ("b/b",))]
    found = list(misfits("a/a", model("a/a"), known, ["audio", "tools"], {"reasoning": {"effort": "low"}}))
    assert [(one.level, one.text) for one in found] == [
        ("problem", "cannot take audio input"),
        ("problem", "cannot reason"),
        ("warning", "cannot take image input, which the name of the chain 'vision' suggests"),
    ]
    assert found[0].step == "Models that can: openrouter-fallback models --can audio"
    params = {"temprature": 1, "top_p": 1, "made_up": 1}
    (misspelt,) = misfits("a/a", ModelInfo("a/a", parameters=frozenset({"temperature", "top_k"})), (), (), params)
    assert (misspelt.level, misspelt.text) == ("warning", "does not list the parameter 'temprature'")
    assert misspelt.step == "Did you mean 'temperature'?"
    unknown = ModelInfo("a/a")
    assert list(misfits("a/a", unknown, known, ["audio"], {})) == []


def test_all_chains_of_a_configuration() -> None:
    config = FallbackConfig(
        default_chain=["a/a", "b/b"],
        task_chains={"coding": ["b/b"]},
        cost_tiers={"premium": ["a/a"], "budget": ["b/b"]},
        models={"b/b": {"priority": -1}},
    )
    assert chains(config) == (
        Chain("default_chain", "default", ("b/b", "a/a")),
        Chain("task_chains", "coding", ("b/b",)),
        Chain("cost_tiers", "budget", ("b/b",)),
        Chain("cost_tiers", "premium", ("a/a",)),
    )


def test_tiers_that_follow_from_prices_are_no_chains_of_their_own() -> None:
    assert [one.name for one in chains(FallbackConfig(default_chain=["a/a"], cost_tiers="auto"))] == ["default"]


EXPIRIES = [(-1, "problem"), (0, "warning"), (SOON_DAYS, "warning"), (SOON_DAYS + 1, None)]


@pytest.mark.parametrize(("days", "level"), EXPIRIES)
def test_expiry(days: int, level: str | None) -> None:
    going = expiry(model("a/a", expires=TODAY + timedelta(days=days)), TODAY)
    assert (going and going[0]) == level
    assert expiry(model("a/a"), TODAY) is None


# Searching

SHELF = [
    model("anthropic/claude-sonnet-4.5", 3, 15, context_length=1_000_000, name="Anthropic: Claude Sonnet 4.5"),
    model("deepseek/deepseek-chat", 0.3, 1.2),
    model("meta-llama/llama-3.3-70b-instruct:free", 0, 0, parameters=frozenset({"max_tokens"})),
    model("openai/gpt-5.1", 1.25, 10, input_modalities=frozenset({"text", "image"})),
    model("openrouter/auto", None, None, context_length=None, parameters=None),
]
SEARCHES: list[tuple[Wanted, Sort, list[str]]] = [
    (Wanted(), Sort.PRICE, ["meta-llama", "deepseek", "openai", "anthropic", "openrouter"]),
    (Wanted(), Sort.CONTEXT, ["anthropic", "deepseek", "meta-llama", "openai", "openrouter"]),
    (Wanted(), Sort.ID, ["anthropic", "deepseek", "meta-llama", "openai", "openrouter"]),
    (Wanted(words=("CLAUDE", "4.5")), Sort.ID, ["anthropic"]),
    (Wanted(words=("claude", "gpt")), Sort.ID, []),
    (Wanted(providers=("openai", "deepseek")), Sort.ID, ["deepseek", "openai"]),
    (Wanted(can=("tools",)), Sort.ID, ["anthropic", "deepseek", "openai"]),
    (Wanted(can=("tools", "image")), Sort.ID, ["openai"]),
    (Wanted(min_context=200_000), Sort.ID, ["anthropic"]),
    (Wanted(max_price=10), Sort.ID, ["deepseek", "meta-llama", "openai"]),
    (Wanted(max_price=1.2), Sort.ID, ["deepseek", "meta-llama"]),
    (Wanted(free=True), Sort.ID, ["meta-llama"]),
]


@pytest.mark.parametrize(("wanted", "sort", "found"), SEARCHES)
def test_a_search_shows_what_is_wanted_in_order(wanted: Wanted, sort: Sort, found: list[str]) -> None:
    assert [provider(one.id) for one in select(SHELF, wanted, sort)] == found


# Starting

MARKET = [
    model("anthropic/claude-sonnet-4", 3, 15),
    model("anthropic/claude-sonnet-4.5", 3, 15),
    model("anthropic/claude-haiku-4.5", 1, 5),
    model("anthropic/claude-opus-4.5", 5, 25),
    model("openai/gpt-5.1", 1.25, 10),
    model("openai/gpt-5-mini", 0.25, 2),
    model("google/gemini-2.5-pro", 1.25, 10),
    model("google/gemini-2.5-flash", 0.3, 2.5),
    model("deepseek/deepseek-v3.2", 0.3, 1.2),
    model("moonshotai/kimi-k2", 0.6, 2.5),
]
UNSOUND = [
    model("anthropic/claude-sonnet-5", 3, 15, expires=TODAY + timedelta(days=20)),
    model("anthropic/claude-sonnet-6", 100, 500),
    model("anthropic/claude-sonnet-7-preview", 3, 15),
    model("anthropic/claude-sonnet-8", None, None),
    model("anthropic/claude-sonnet-9:free", 0, 0),
    model("openai/gpt-6", 1.25, 10, parameters=frozenset({"max_tokens"})),
    model("google/gemini-3-pro", 1.25, 10, context_length=8192),
    model("~anthropic/claude-sonnet-latest", 3, 15),
    model("openrouter/auto", None, None),
]


def test_a_starter_has_the_newest_sound_model_of_each_family_and_one_per_provider() -> None:
    starter = choose([*UNSOUND, *MARKET], TODAY)
    ids = {task: [one.id for one in chain] for task, chain in starter.tasks.items()}
    assert ids == {
        "default": ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "google/gemini-2.5-pro"],
        "coding": ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "deepseek/deepseek-v3.2"],
        "creative": ["anthropic/claude-opus-4.5", "moonshotai/kimi-k2", "openai/gpt-5.1"],
        "fast": ["google/gemini-2.5-flash", "openai/gpt-5-mini", "anthropic/claude-haiku-4.5"],
    }
    for chain in starter.tasks.values():
        assert len({provider(one.id) for one in chain}) == len(chain)
    assert list(starter.tiers) == ["budget", "standard", "premium"]
    assert {one.id for chain in starter.tiers.values() for one in chain} == {one.id for one in starter.models}
    for name, chain in starter.tiers.items():
        assert {tier(one) for one in chain} == {name}


def test_where_the_families_are_not_there_price_and_provider_choose() -> None:
    strangers = [model("a/cheap", 0.2, 0.8), model("b/middle", 2, 8), model("b/other", 3, 9), model("c/dear", 9, 30)]
    starter = choose(strangers, TODAY)
    assert [one.id for one in starter.tasks["default"]] == ["b/middle", "a/cheap", "c/dear"]
    assert [one.id for one in starter.tasks["fast"]] == ["a/cheap", "b/middle", "c/dear"]


def test_without_any_sound_model_there_is_no_starter() -> None:
    with pytest.raises(ConfigError, match="the list has no model"):
        choose(UNSOUND[1:], TODAY)


@pytest.mark.parametrize("uncommented", [False, True])
def test_the_starter_loads_with_its_commented_lines_and_without(tmp_path: Path, uncommented: bool) -> None:
    starter, file = choose(MARKET, TODAY), tmp_path / "fallback.yaml"
    head, key, body = as_yaml(starter, file, TODAY).partition("fallback:\n")
    file.write_text(head + key + (re.sub(r"(?m)^( *)# ", r"\1", body) if uncommented else body))
    config = load_config(file)
    assert config.chain("fast") == tuple(one.id for one in starter.tasks["fast"])
    assert config.tiers() == ("budget", "standard", "premium")
    assert (config.settings.order_by == "health") is uncommented
    assert ("groq" in config.endpoints) is uncommented


def test_a_file_is_written_whole_and_never_over_another(tmp_path: Path) -> None:
    file = tmp_path / "fallback.yaml"
    write(file, "first", force=False)
    with pytest.raises(ConfigError, match=r"fallback\.yaml exists already; --force"):
        write(file, "second", force=False)
    assert file.read_text() == "first"
    write(file, "third", force=True)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("fallback.yaml", "third")]
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write(tmp_path / "nowhere" / "fallback.yaml", "text", force=False)


@pytest.mark.parametrize("force", [False, True])
def test_nothing_stays_of_a_file_that_cannot_be_written_whole(tmp_path: Path, force: bool) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(ConfigError, match="cannot be written: File too large"):
            write(tmp_path / "fallback.yaml", "#" * 5000, force=force)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert list(tmp_path.iterdir()) == []
