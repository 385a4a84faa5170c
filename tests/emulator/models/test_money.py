"""What answers cost, to the micro-dollar, and who is told."""

from __future__ import annotations

from decimal import Decimal

import pytest

from openrouter_fallback.emulator import Emulator

from ..helpers import MODEL, Asker, Json, request

CLAUDE = "anthropic/claude-sonnet-4.5"
CHEAP = "meta-llama/llama-3.3-70b-instruct"
LONG = "word " * 2000


def bill(ask: Asker, name: str) -> Json:
    response = ask.http.get("/generation", params={"id": name})
    assert response.status_code == 200, response.text
    found: Json = response.json()["data"]
    return found


def prices(ask: Asker, model: str) -> dict[str, Decimal]:
    listed = {one["id"]: one["pricing"] for one in ask.http.get("/models").json()["data"]}
    return {key: Decimal(str(value)) for key, value in listed[model].items()}


@pytest.mark.parametrize("fields", [{}, {"reasoning": {"effort": "low"}}, {"n": 2}, {"max_tokens": 3}], ids=str)
@pytest.mark.parametrize("model", [MODEL, CLAUDE, "deepseek/deepseek-chat", "perplexity/sonar", f"{MODEL}:free"])
def test_costs_follow_the_listed_prices(ask: Asker, model: str, fields: Json) -> None:
    usage = ask.body(model=model, **fields)["usage"]
    if model.endswith(":free"):
        assert usage["cost"] == 0
        return
    price = prices(ask, model)
    searches = usage.get("server_tool_use_details", {}).get("web_search_requests", 0)
    prompt = usage["prompt_tokens"] * price["prompt"] + price["request"] + searches * price["web_search"]
    completion = usage["completion_tokens"] * price["completion"]
    assert Decimal(str(usage["cost"])) == prompt + completion
    details = usage["cost_details"]
    assert Decimal(str(details["upstream_inference_prompt_cost"])) == prompt
    assert Decimal(str(details["upstream_inference_completions_cost"])) == completion


def test_another_provider_has_its_own_price(ask: Asker) -> None:
    usual = ask.body(model=CHEAP)
    other = ask.body(model=CHEAP, provider={"only": ["together"]})
    assert (usual["provider"], other["provider"]) == ("DeepInfra", "Together")
    assert other["usage"]["cost"] == pytest.approx(2 * usual["usage"]["cost"], rel=1e-12)


def test_the_prompt_cache_with_breakpoints(ask: Asker) -> None:
    system = {"role": "system", "content": [{"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]}
    usages = [
        ask.body(model=CLAUDE, messages=[system, {"role": "user", "content": prompt}])["usage"] for prompt in "ab"
    ]
    first, second = (usage["prompt_tokens_details"] for usage in usages)
    assert (first["cached_tokens"], first["cache_write_tokens"]) == (0, 2004)
    assert (second["cached_tokens"], second["cache_write_tokens"]) == (2004, 0)
    price = prices(ask, CLAUDE)
    plain = usages[1]["prompt_tokens"] - 2004
    told = Decimal(str(usages[1]["cost_details"]["upstream_inference_prompt_cost"]))
    assert told == 2004 * price["input_cache_read"] + plain * price["prompt"]
    assert ask.body(model=MODEL, messages=[system])["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_the_prompt_cache_by_itself(ask: Asker) -> None:
    cached = [ask.body(LONG + end)["usage"]["prompt_tokens_details"]["cached_tokens"] for end in ("a", "b", "")]
    assert cached == [0, 1920, 1920]
    assert ask.body("short")["usage"]["prompt_tokens_details"]["cached_tokens"] == 0
    assert ask.body("x" + LONG)["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


def test_a_prompt_that_failed_is_not_in_the_cache(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("server", requests=1)
    assert ask.post(LONG).status_code == 500
    cached = [ask.body(LONG)["usage"]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)]
    assert cached == [0, 1920]


@pytest.mark.parametrize("stream", [False, True])
def test_every_generation_has_its_bill(emulator: Emulator, ask: Asker, stream: bool) -> None:
    response = ask.post(stream=stream, reasoning={"enabled": True})
    (entry,) = emulator.log
    found = bill(ask, response.headers["x-generation-id"])
    assert found["id"] == entry.generation_id
    assert found["total_cost"] == entry.cost == float(emulator.spent) > 0
    assert (found["provider_name"], found["model"]) == ("OpenAI", "openai/gpt-5.1-20251113")
    assert (found["streamed"], found["cancelled"], found["finish_reason"]) == (stream, False, "stop")
    assert found["native_tokens_reasoning"] > 0
    assert found["tokens_completion"] == entry.tokens_sent


def test_what_was_cut_off_is_paid_as_far_as_it_came(emulator: Emulator, ask: Asker) -> None:
    emulator.fault("stall", after_tokens=3)
    with ask.http.stream("POST", "/chat/completions", json=request(stream=True)) as response:
        emulator.wait_for(lambda log: log[0].tokens_sent == 3)
        name = response.headers["x-generation-id"]
    (entry,) = emulator.wait_for(lambda log: log[0].ended == "gone")
    found = bill(ask, name)
    assert (found["cancelled"], found["tokens_completion"], found["finish_reason"]) == (True, 3, None)
    price = prices(ask, MODEL)
    assert Decimal(str(found["total_cost"])) == found["tokens_prompt"] * price["prompt"] + 3 * price["completion"]
    assert entry.cost == found["total_cost"]


@pytest.mark.parametrize("kind", ["empty", "server"])
def test_no_tokens_cost_nothing(emulator: Emulator, ask: Asker, kind: str) -> None:
    emulator.fault(kind)
    response = ask.post(stream=True)
    assert emulator.spent == 0
    asked = ask.http.get("/generation", params={"id": response.headers["x-generation-id"]})
    assert asked.status_code == (404 if kind == "server" else 200)


def test_unknown_bills(ask: Asker) -> None:
    assert ask.http.get("/generation", params={"id": "gen-none"}).status_code == 404
    assert ask.http.get("/generation").status_code == 400


def test_the_account() -> None:
    with Emulator(credits=0.0004) as emulator:
        ask = Asker(emulator)
        cost = Decimal(str(ask.body()["usage"]["cost"]))
        key = ask.http.get("/key").json()["data"]
        assert Decimal(str(key["usage"])) == cost == emulator.spent
        assert Decimal(str(key["limit_remaining"])) == Decimal("0.0004") - cost
        assert ask.http.get("/credits").json()["data"] == {"total_credits": 0.0004, "total_usage": float(cost)}
        ask.body()
        refused = ask.post()
        assert (refused.status_code, refused.json()["error"]["metadata"]["error_type"]) == (402, "payment_required")
        assert ask.post(model=f"{MODEL}:free").status_code == 200
        ask.http.close()


def test_an_account_without_a_limit(ask: Asker) -> None:
    assert ask.http.get("/key").json()["data"]["limit_remaining"] is None
    assert ask.http.get("/credits").json()["data"] == {"total_credits": 100.0, "total_usage": 0.0}
