"""Several providers behind one model, and what requests may say of them; the request's own list of models."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from openrouter_fallback.emulator import MODELS, Emulator

from ..helpers import MODEL, Asker, Json

CLAUDE = "anthropic/claude-sonnet-4.5"
LLAMA = "meta-llama/llama-3.3-70b-instruct"
TOOL = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"type": "object"}}}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(models=MODELS) as emulator:
        yield emulator


# The providers of LLAMA, in order: DeepInfra (fp8), Together (fp8, twice the price), Groq (three times, no schemas),
# Chutes (fp8, 0.8 of the price, keeps data, no tools).
@pytest.mark.parametrize(
    ("provider", "fields", "served"),
    [
        ({}, {}, "DeepInfra"),
        ({"order": ["together", "groq"]}, {}, "Together"),
        ({"order": ["Groq"]}, {}, "Groq"),
        ({"order": ["groq"]}, {"response_format": SCHEMA}, "DeepInfra"),
        ({"only": ["chutes", "groq"]}, {}, "Groq"),
        ({"only": ["chutes"]}, {}, "Chutes"),
        ({"only": ["deepinfra/fp8"]}, {}, "DeepInfra"),
        ({"ignore": ["deepinfra"]}, {}, "Together"),
        ({"ignore": ["DeepInfra", "together"]}, {}, "Groq"),
        ({"sort": "price"}, {}, "Chutes"),
        ({"sort": "price", "data_collection": "deny"}, {}, "DeepInfra"),
        ({"sort": {"by": "throughput"}}, {}, "Groq"),
        ({"sort": "price"}, {"tools": [TOOL]}, "DeepInfra"),
        ({"zdr": True, "ignore": ["deepinfra"]}, {}, "Groq"),
        ({"max_price": {"prompt": 0.11}}, {}, "Chutes"),
        ({"max_price": {"completion": "0.4"}}, {}, "DeepInfra"),
        ({"quantizations": ["unknown"]}, {}, "Groq"),
        ({"require_parameters": True, "order": ["groq"]}, {"logprobs": True}, "DeepInfra"),
        ({"order": ["groq"]}, {"logprobs": True}, "Groq"),
        ({}, {"model": f"{LLAMA}:nitro"}, "Groq"),
        ({}, {"model": f"{LLAMA}:floor"}, "Chutes"),
    ],
    ids=str,
)
def test_preferences(emulator: Emulator, ask: Asker, provider: Json, fields: Json, served: str) -> None:
    asked = {"model": LLAMA, "provider": provider, **fields}
    assert ask.body(**asked)["provider"] == served
    assert emulator.log[0].provider == served


@pytest.mark.parametrize(
    ("fields", "code", "said"),
    [
        ({"provider": {"only": ["anthropic"]}}, "constraint_filtered", "No allowed providers"),
        ({"provider": {"order": ["nobody"], "allow_fallbacks": False}}, "constraint_filtered", "No allowed providers"),
        ({"provider": {"max_price": {"prompt": 0.01}}}, "constraint_filtered", "max price"),
        ({"provider": {"data_collection": "deny", "only": ["chutes"]}}, "constraint_filtered", "No allowed providers"),
        ({"provider": {"zdr": True}, "model": "qwen/qwen3-max"}, "privacy_restricted", "data policy"),
        ({"provider": {"quantizations": ["fp4"]}}, "constraint_filtered", "quantizations"),
        ({"model": "microsoft/phi-4", "tools": [TOOL]}, "constraint_filtered", "support tool use"),
        ({"model": "x-ai/grok-4", "provider": {"ignore": ["xai"]}}, "constraint_filtered", "No allowed providers"),
        ({"modalities": ["image"]}, "constraint_filtered", "output modalities: image"),
        (
            {"provider": {"require_parameters": True}, "reasoning": {"effort": "low"}},
            "constraint_filtered",
            "requested parameters",
        ),
    ],
    ids=str,
)
def test_nobody_is_left(ask: Asker, fields: Json, code: str, said: str) -> None:
    response = ask.post(**{"model": LLAMA, **fields})
    error = response.json()["error"]
    assert response.status_code == 404
    assert said in error["message"]
    assert (error["availability"]["code"], error["availability"]["retryable"]) == (code, False)


@pytest.mark.parametrize("kind", ["image_url", "input_audio"])
def test_what_a_model_cannot_see_or_hear(ask: Asker, kind: str) -> None:
    parts: dict[str, Json] = {
        "image_url": {"url": "https://example.com/a.png"},
        "input_audio": {"data": "UklGRg==", "format": "wav"},
    }
    messages = [{"role": "user", "content": [{"type": kind, kind: parts[kind]}]}]
    assert ask.post(model=LLAMA, messages=messages).status_code == 404
    assert ask.post(model="google/gemini-2.5-pro", messages=messages).status_code == 200


def test_a_prompt_that_is_too_long(ask: Asker) -> None:
    long = "word " * 16_000
    response = ask.post(long, model="microsoft/phi-4", max_tokens=1000)
    error = response.json()["error"]
    assert (response.status_code, error["metadata"]["error_type"]) == (400, "context_length_exceeded")
    assert "maximum context length is 16384 tokens" in error["message"]
    assert ask.post(long, model=MODEL).status_code == 200


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"transforms": ["middle-out"]}, 200),
        ({"plugins": [{"id": "context-compression"}]}, 200),
        ({"plugins": [{"id": "context-compression", "enabled": False}, {"id": "web"}]}, 400),
        ({"transforms": []}, 400),
    ],
)
def test_a_long_prompt_that_may_be_shortened_fits(ask: Asker, wish: Json, status: int) -> None:
    assert ask.post("word " * 16_000, model="microsoft/phi-4", max_tokens=1000, **wish).status_code == status


def test_reasoning_that_cannot_be_switched_off(ask: Asker) -> None:
    model = "deepseek/deepseek-r1-0528"
    assert ask.body(model=model)["choices"][0]["message"]["reasoning"]
    assert ask.post(model=model, reasoning={"effort": "none"}).status_code == 400
    assert ask.body(model=MODEL, reasoning={"effort": "none"})["choices"][0]["message"]["reasoning"] is None


@pytest.mark.parametrize("kind", ["provider_overloaded", "rate_limit_exceeded", "reset"])
def test_the_next_provider_answers(emulator: Emulator, ask: Asker, kind: str) -> None:
    emulator.fault(kind, provider="Anthropic")
    ask.http.headers["X-OpenRouter-Metadata"] = "enabled"
    body = ask.body(model=CLAUDE)
    assert body["provider"] == "Amazon Bedrock"
    assert emulator.log[0].fault is None
    told = body["openrouter_metadata"]
    assert told["attempt"] == 2
    assert [one["provider"] for one in told["attempts"]] == ["Anthropic", "Amazon Bedrock"]
    assert [one["provider"] for one in told["endpoints"]["available"] if one["selected"]] == ["Amazon Bedrock"]


def test_a_providers_fault_counts_its_own_requests(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("provider_overloaded", provider="anthropic", model=CLAUDE, requests=(2, 2))
    served = [ask.body(model=CLAUDE)["provider"] for _ in range(3)]
    assert served == ["Anthropic", "Amazon Bedrock", "Anthropic"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("provider_overloaded", {"provider": {"allow_fallbacks": False}}),
        ("provider_overloaded", {"provider": {"only": ["anthropic"]}}),
        ("rejected", {}),
    ],
    ids=str,
)
def test_no_other_provider_may_answer(emulator: Emulator, ask: Asker, kind: str, fields: Json) -> None:
    emulator.fault(kind, provider="Anthropic")
    response = ask.post(model=CLAUDE, **fields)
    assert response.status_code >= 400
    assert response.json()["error"]["metadata"]["provider_name"] == "Anthropic"
    assert (emulator.log[0].fault, emulator.log[0].provider) == (kind, "Anthropic")


def test_silence_of_a_provider_reaches_the_client(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("truncated", provider="Anthropic", after_tokens=2)
    text = ask.post(model=CLAUDE, stream=True).text
    assert "[DONE]" not in text
    assert emulator.log[0].fault == "truncated"


def test_all_providers_fail(emulator: Emulator, ask: Asker) -> None:
    for name in ("Anthropic", "Amazon Bedrock", "Google"):
        emulator.fault("provider_overloaded", provider=name)
    response = ask.post(model=CLAUDE)
    assert response.status_code == 503
    assert response.json()["error"]["metadata"]["provider_name"] == "Google"


def test_unknown_providers_are_told(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match=r"no provider 'Antropic'.*Did you mean 'Anthropic'"):
        emulator.fault("server", provider="Antropic", model=CLAUDE)
    with pytest.raises(ValueError, match="no provider 'Groq' of anthropic"):
        emulator.fault("server", provider="Groq", model=CLAUDE)


@pytest.mark.parametrize("kind", ["server", "rate_limit_exceeded", "moderation", "context_length_exceeded"])
def test_models_of_the_request(emulator: Emulator, ask: Asker, kind: str) -> None:
    emulator.fault(kind, model=MODEL)
    ask.http.headers["X-OpenRouter-Metadata"] = "enabled"
    body = ask.body(models=[CLAUDE, LLAMA])
    assert body["model"] == CLAUDE
    assert body["openrouter_metadata"]["strategy"] == "fallback"
    (entry,) = emulator.log
    assert (entry.model, entry.served_by, entry.fault) == (MODEL, CLAUDE, None)
    assert entry.cost == body["usage"]["cost"]


def test_models_of_the_request_that_lack_something_are_passed_over(ask: Asker) -> None:
    assert ask.body(model="microsoft/phi-4", models=[CLAUDE], tools=[TOOL])["model"] == CLAUDE


def test_all_models_of_the_request_fail(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("server", model=MODEL)
    emulator.fault("moderation", model=CLAUDE)
    response = ask.post(models=[CLAUDE])
    assert response.status_code == 403
    assert response.json()["error"]["metadata"]["model_slug"] == CLAUDE


def test_models_of_the_request_do_not_help_against_silence(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("truncated", model=MODEL, after_tokens=0)
    assert "[DONE]" not in ask.post(models=[CLAUDE], stream=True).text
    assert emulator.log[0].served_by == MODEL


def test_models_alone_name_the_model(ask: Asker) -> None:
    assert ask.body(model=None, models=[CLAUDE])["model"] == CLAUDE
