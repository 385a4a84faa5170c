"""`GET /models` and its like: what a client's catalog reads."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from openrouter_fallback.emulator import MODELS, Emulator

from ..helpers import MODEL, Asker, Json

CLAUDE = "anthropic/claude-sonnet-4.5"
SMALL = "microsoft/phi-4"
WORDLESS = {"model", "messages"}


@pytest.fixture
def exact() -> Iterator[Asker]:
    with Emulator(models=MODELS) as emulator:
        asker = Asker(emulator)
        yield asker
        asker.http.close()


def listed(ask: Asker, **query: Any) -> dict[str, Json]:
    return {entry["id"]: entry for entry in ask.http.get("/models", params=query).json()["data"]}


def test_the_bundled_list(ask: Asker) -> None:
    found = listed(ask)
    assert set(MODELS) < set(found)
    assert len(MODELS) >= 60
    today = datetime.now(UTC).date()
    expiring = [entry["expiration_date"] for entry in found.values() if entry["expiration_date"]]
    assert min(expiring) == (today + timedelta(days=7)).isoformat()
    assert len([name for name in MODELS if name.endswith(":free")]) >= 5
    claude = found[CLAUDE]
    assert claude["pricing"]["prompt"] == "0.000003"
    assert claude["pricing"]["input_cache_read"] == "0.0000003"
    assert claude["canonical_slug"] == "anthropic/claude-4.5-sonnet-20250929"
    assert claude["top_provider"]["max_completion_tokens"] == 64_000
    assert "file" in claude["architecture"]["input_modalities"]
    assert "tools" in claude["supported_parameters"]
    assert "tools" not in found[SMALL]["supported_parameters"]
    assert found["google/gemini-2.5-flash-image"]["architecture"]["output_modalities"] == ["text", "image"]
    assert found["deepseek/deepseek-r1-0528"]["reasoning"] == {"mandatory": True}


def test_routers_and_aliases_are_listed_too(ask: Asker) -> None:
    found = listed(ask)
    assert found["openrouter/auto"]["pricing"] == {"prompt": "-1", "completion": "-1"}
    alias = found["~anthropic/claude-sonnet-latest"]
    assert alias["alias_target"]["slug"] == "anthropic/claude-4.6-sonnet-20260217"


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"q": "GEMMA"}, lambda one: "gemma" in one["id"]),
        (
            {"supported_parameters": "tools,logprobs"},
            lambda one: {"tools", "logprobs"} <= set(one["supported_parameters"]),
        ),
        ({"input_modalities": "audio"}, lambda one: "audio" in one["architecture"]["input_modalities"]),
        ({"output_modalities": "image"}, lambda one: "image" in one["architecture"]["output_modalities"]),
        ({"context": 1_000_000}, lambda one: one["context_length"] >= 1_000_000),
        ({"max_price": "0"}, lambda one: one["pricing"]["prompt"] == "0"),
        ({"min_output_price": "75"}, lambda one: float(one["pricing"]["completion"]) >= 75e-6),
        ({"model_authors": "qwen,x-ai"}, lambda one: one["id"].partition("/")[0] in ("qwen", "x-ai")),
    ],
    ids=str,
)
def test_filters(ask: Asker, query: Json, holds: Any) -> None:
    everything = listed(ask)
    found = listed(ask, **query)
    assert found
    assert set(found) == {name for name, entry in everything.items() if holds(entry)}


def test_sorting(ask: Asker) -> None:
    contexts = [entry["context_length"] for entry in listed(ask, sort="context-high-to-low").values()]
    assert contexts == sorted(contexts, reverse=True)


def test_pages_of_the_list(ask: Asker) -> None:
    whole = list(listed(ask))
    path: str | None = "/api/v1/models?limit=30"
    seen: list[str] = []
    while path:
        body = ask.http.get(path.removeprefix("/api/v1")).json()
        assert body["total_count"] == len(whole)
        seen += [entry["id"] for entry in body["data"]]
        path = body["links"]["next"]
    assert seen == whole


@pytest.mark.parametrize("query", [{"limit": "0"}, {"offset": "x"}, {"max_price": "cheap"}], ids=str)
def test_bad_queries(ask: Asker, query: Json) -> None:
    response = ask.http.get("/models", params=query)
    assert response.status_code == 400
    assert next(iter(query)) in response.json()["error"]["message"]


def test_a_list_of_ones_own() -> None:
    entry = {
        "id": "house/parrot",
        "canonical_slug": "house/parrot-1",
        "pricing": {"prompt": "0.000002", "completion": "0.000004", "request": "0.001"},
        "context_length": 500,
        "supported_parameters": ["max_tokens"],
        "something_new": 1,
    }
    with Emulator(models=[entry, MODEL, "house/other"]) as emulator:
        ask = Asker(emulator)
        found = listed(ask, output_modalities="all")
        assert set(found) == {"house/parrot", MODEL, "house/other"}
        assert found["house/parrot"] == entry
        usage = ask.body("One two three", model="house/parrot")["usage"]
        assert usage["cost"] == pytest.approx(0.001 + usage["prompt_tokens"] * 2e-6 + 20 * 4e-6, abs=1e-12)
        tool = {"type": "function", "function": {"name": "f"}}
        assert ask.post(model="house/parrot", tools=[tool]).status_code == 404
        assert ask.post(model="house/parrot", max_tokens=600).status_code == 400
        assert ask.post(model=MODEL, tools=[tool]).status_code == 200
        ask.http.close()


def test_a_saved_list_comes_back_as_it_was(ask: Asker) -> None:
    saved = ask.http.get("/models", params={"output_modalities": "all"}).json()["data"]
    embedding = {
        "id": "house/embed",
        "architecture": {"input_modalities": ["text"], "output_modalities": ["embeddings"]},
    }
    with Emulator(models=[*saved, embedding]) as emulator:
        other = Asker(emulator)
        found = listed(other)
        assert [found[entry["id"]] for entry in saved] == saved
        assert "house/embed" not in found
        assert set(listed(other, output_modalities="embeddings")) == {"house/embed"}
        assert set(listed(other, input_modalities="text", output_modalities="all")) > {"house/embed"}
        assert other.body(model="openrouter/auto")["model"] == CLAUDE
        assert other.body(model="~anthropic/claude-sonnet-latest")["model"] == "anthropic/claude-sonnet-4.6"
        error = other.post(model="house/embed").json()["error"]
        assert (error["code"], error["availability"]["code"]) == (400, "wrong_endpoint")
        other.http.close()


def test_an_alias_and_a_router_of_ones_own() -> None:
    alias = {"id": "~house/parrot-latest", "alias_target": {"slug": "house/parrot-2", "name": "Parrot"}}
    auto = {"id": "openrouter/auto", "pricing": {"prompt": "-1", "completion": "-1"}}
    with Emulator(models=[auto, alias, {"id": "house/parrot", "canonical_slug": "house/parrot-2"}]) as emulator:
        ask = Asker(emulator)
        served = [ask.body(model=asked)["model"] for asked in ("~house/parrot-latest", "openrouter/auto")]
        assert served == ["house/parrot", "house/parrot"]
        ask.http.close()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"name": "x"}, "needs an id"),
        ({"id": 5}, "needs an id"),
        ({"id": "a/b", "pricing": {"prompt": "cheap"}}, "a/b: its pricing"),
        ({"id": "a/b", "expiration_date": "soon"}, "a/b: its pricing or its expiration_date"),
    ],
)
def test_entries_that_are_none(entry: Json, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Emulator(models=[entry])


@pytest.mark.parametrize(
    ("asked", "served"),
    [
        (MODEL, MODEL),
        (f"{MODEL}:nitro", f"{MODEL}:nitro"),
        ("~anthropic/claude-sonnet-latest", "anthropic/claude-sonnet-4.6"),
        ("openrouter/auto", CLAUDE),
    ],
)
def test_variants_and_aliases_route(exact: Asker, asked: str, served: str) -> None:
    assert exact.body(model=asked)["model"] == served


@pytest.mark.parametrize(
    ("asked", "status", "code", "hints"),
    [
        ("openai/gpt-51", 400, "model_not_found", None),
        ("gpt-5.1", 400, "model_not_found", None),
        (f"{MODEL}:free", 400, "model_not_found", None),
        ("anthropic/claude-3.5-sonnet", 404, "model_deprecated", ["anthropic/claude-sonnet-4.6"]),
    ],
)
def test_ids_that_do_not_route(exact: Asker, asked: str, status: int, code: str, hints: list[str] | None) -> None:
    response = exact.post(model=asked)
    assert response.status_code == status
    error = response.json()["error"]
    assert error["code"] == status
    assert asked in error["message"]
    assert error["availability"]["code"] == code
    assert error["availability"].get("fallback_models") == hints


def test_without_a_list_an_id_needs_an_author(ask: Asker) -> None:
    assert ask.body(model="nobody/knows-it")["model"] == "nobody/knows-it"
    assert ask.body(model=f"{MODEL}:free")["usage"]["cost"] == 0
    error = ask.post(model="foo").json()["error"]
    assert (error["code"], error["message"]) == (400, "foo is not a valid model ID")


def test_endpoints_tell_the_health_of_each_provider(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("provider_overloaded", provider="Anthropic", requests=1)
    ask.body(model=CLAUDE)
    ask.body(model=CLAUDE)
    endpoints = ask.http.get(f"/models/{CLAUDE}/endpoints").json()["data"]["endpoints"]
    uptimes = {one["provider_name"]: one["uptime_last_5m"] for one in endpoints}
    assert uptimes == {"Anthropic": 50.0, "Amazon Bedrock": 100.0, "Google": None}
    assert ask.http.get("/models/nobody/endpoints").status_code == 404
