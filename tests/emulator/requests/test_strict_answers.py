"""Strict mode writes as each family does, and takes back what it wrote: to whom it belongs, and as it was."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest

from openrouter_fallback.emulator import Emulator

from ..helpers import Asker, Json, join

CLAUDE, CLAUDE_46, OPUS = "anthropic/claude-sonnet-4.5", "anthropic/claude-sonnet-4.6", "anthropic/claude-opus-4.5"
GPT, GEMINI_3 = "openai/gpt-5.1", "google/gemini-3-pro-preview"
FORMS = {
    CLAUDE: r"toolu_01[0-9A-Za-z]{22}",
    GPT: r"call_[0-9A-Za-z]{24}",
    GEMINI_3: r"|tool_0_look_up",
    "mistralai/mistral-large-2512": r"[0-9A-Za-z]{9}",
    "moonshotai/kimi-k2-0905": r"functions\.look_up:0",
    "deepseek/deepseek-v3.2": r"call_00_[0-9A-Za-z]{24}",
    "qwen/qwen3-max": r"call_[0-9a-z]{24}",
    "x-ai/grok-4": r"call_[0-9]{8}",
    "meta-llama/llama-3.3-70b-instruct": r"chatcmpl-tool-[0-9a-z]{32}",
    "cohere/command-a": r"look_up_[0-9a-z]{12}",
    "somebody/something": r"call_[0-9a-z]{24}",
}
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
REASON: Json = {"reasoning": {"effort": "high"}}
QUESTION = "Please look_up it."


@contextmanager
def strict(api_key: str = "sk-or-v1-mine") -> Iterator[Asker]:
    with Emulator(strict=True, api_key=api_key) as emulator:
        asker = Asker(emulator)
        with closing(asker.http):
            yield asker


@pytest.fixture
def asker() -> Iterator[Asker]:
    with strict() as asker:
        yield asker


def first(asker: Asker, model: str, **fields: Any) -> Json:
    found: Json = asker.body(QUESTION, model=model, tools=TOOLS, **fields)["choices"][0]["message"]
    return found


def back(message: Json) -> list[Json]:
    """The conversation with the model's own message, and the results of its calls."""
    results = [{"role": "tool", "tool_call_id": c["id"], "content": "42"} for c in message.get("tool_calls") or ()]
    kept = ("role", "content", "tool_calls", "reasoning", "reasoning_details")
    own = {key: message[key] for key in kept if message.get(key) is not None}
    return [{"role": "user", "content": QUESTION}, own, *results]


def words(asker: Asker, model: str, messages: list[Json], **fields: Any) -> str:
    """What the provider says of this history; "" where the model answers."""
    response = asker.post(model=model, messages=messages, tools=TOOLS, **fields)
    if response.status_code == 200:
        choice = response.json()["choices"][0]
        assert choice["message"]["content"] or choice["message"].get("tool_calls")
        return ""
    raw: str = response.json()["error"]["metadata"]["raw"]
    return raw


@pytest.mark.parametrize("model", FORMS)
def test_ids_have_the_family_s_form(asker: Asker, model: str) -> None:
    for _ in range(2):
        (call,) = first(asker, model)["tool_calls"]
        assert re.fullmatch(FORMS[model], call["id"]), call["id"]


def test_gemini_writes_ids_and_none(asker: Asker) -> None:
    assert {first(asker, GEMINI_3)["tool_calls"][0]["id"] for _ in range(4)} == {"", "tool_0_look_up"}


def test_an_id_of_the_script_stays() -> None:
    with Emulator(strict=True) as emulator, closing(Asker(emulator).http) as http:
        emulator.reply(tool_calls=[{"name": "look_up", "id": "mine"}, {"name": "look_up"}])
        body = {"model": CLAUDE, "messages": [{"role": "user", "content": "x"}]}
        mine, made = http.post("/chat/completions", json=body).json()["choices"][0]["message"]["tool_calls"]
        assert (mine["id"], made["id"][:6]) == ("mine", "toolu_")


@pytest.mark.parametrize("model", [*FORMS, CLAUDE_46, "moonshotai/kimi-k2-thinking"])
@pytest.mark.parametrize("fields", [{}, REASON], ids=["plain", "reasons"])
def test_a_model_takes_back_its_own_loop(asker: Asker, model: str, fields: Json) -> None:
    message = first(asker, model, **fields)
    streamed = join(asker.chunks(QUESTION, model=model, tools=TOOLS, **fields))["choices"][0]["message"]
    assert {d["type"] for d in streamed["reasoning_details"]} == {
        d["type"] for d in message.get("reasoning_details", ())
    }
    history = back(message)
    assert words(asker, model, history, **fields) == ""


@pytest.mark.parametrize("model", [CLAUDE, CLAUDE_46])
def test_claude_s_signature_is_bound_to_the_model_and_the_text(asker: Asker, model: str) -> None:
    message = first(asker, model, **REASON)
    detail = message["reasoning_details"][0]
    assert (detail["type"], bool(detail["signature"])) == ("reasoning.text", True)
    invalid = "messages.1.content.0: Invalid `signature` in `thinking` block"
    assert invalid in words(asker, OPUS, back(message), **REASON)
    other = {**message, "reasoning_details": [{**detail, "text": "Something else."}]}
    assert invalid in words(asker, model, back(other), **REASON)


def test_newer_claude_s_signature_is_bound_to_what_stands_before_it(asker: Asker) -> None:
    system = {"role": "system", "content": "Be brief."}
    for model, said in ((CLAUDE, ""), (CLAUDE_46, "Invalid `signature`")):
        changed = [system, *back(first(asker, model, **REASON))]
        assert said in words(asker, model, changed, **REASON)
        assert bool(words(asker, model, changed, **REASON)) is bool(said)


def test_what_a_gateway_rewrites_anyway_keeps_the_signature(asker: Asker) -> None:
    question, own, answer = back(first(asker, CLAUDE_46, **REASON))
    marked = {"type": "text", "text": question["content"], "cache_control": {"type": "ephemeral"}}
    assert words(asker, CLAUDE_46, [{**question, "content": [marked]}, own, answer], **REASON) == ""


@pytest.mark.parametrize("model", [CLAUDE, GPT, GEMINI_3])
def test_another_process_of_the_same_account_takes_it_back(asker: Asker, model: str) -> None:
    message = first(asker, model, **REASON)
    with strict() as other:
        assert words(other, model, back(message), **REASON) == ""


def test_openai_s_reasoning_is_bound_to_the_account_and_the_provider(asker: Asker) -> None:
    message = first(asker, GPT, **REASON)
    assert [d["type"] for d in message["reasoning_details"]] == ["reasoning.summary", "reasoning.encrypted"]
    assert message["reasoning_details"][1]["id"].startswith("rs_")
    invalid = "invalid_encrypted_content"
    assert invalid in words(asker, GPT, back(message), provider={"only": ["azure"]})
    with strict("sk-or-v1-another") as other:
        assert invalid in words(other, GPT, back(message))


def test_gemini_signs_the_first_call_also_where_reasoning_is_left_out(asker: Asker) -> None:
    for fields in ({}, {"reasoning": {"effort": "high", "exclude": True}}):
        message = first(asker, GEMINI_3, **fields)
        assert message["reasoning_details"][-1]["type"] == "reasoning.encrypted"
        assert words(asker, GEMINI_3, back(message), **fields) == ""


def test_signatures_of_one_family_are_nothing_to_another(asker: Asker) -> None:
    written = {model: first(asker, model, **REASON) for model in (CLAUDE, GPT, GEMINI_3)}
    for writer, message in written.items():
        bare = {**message, "content": "Hm.", "tool_calls": None}
        for reader in written:
            history = [*back(bare), {"role": "user", "content": "Go on."}]
            assert bool(words(asker, reader, history)) is (reader != writer), (writer, reader)


def test_thought_that_was_cut_off_is_not_signed(asker: Asker) -> None:
    for model in (CLAUDE, GPT, GEMINI_3):
        message = asker.body("Why?", model=model, max_tokens=3, **REASON)["choices"][0]["message"]
        (detail,) = message["reasoning_details"]
        assert not detail.keys() & {"signature", "data"}


def test_a_model_that_cannot_reason_does_not(asker: Asker) -> None:
    for model in ("mistralai/mistral-large-2512", "moonshotai/kimi-k2-0905", "meta-llama/llama-3.3-70b-instruct"):
        assert first(asker, model, **REASON)["reasoning"] is None
    assert first(asker, "mistralai/magistral-medium-2506", **REASON)["reasoning"]


def test_claude_does_not_end_with_thinking(asker: Asker) -> None:
    message = first(asker, CLAUDE, **REASON)
    history = [*back({**message, "tool_calls": None, "content": ""}), {"role": "user", "content": "Go on."}]
    assert "The final block in an assistant message cannot be `thinking`." in words(asker, CLAUDE, history)
