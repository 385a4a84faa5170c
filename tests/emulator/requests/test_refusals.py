"""What OpenRouter would refuse, so that no test passes on nonsense."""

from __future__ import annotations

from typing import Any

import pytest

from openrouter_fallback.emulator import Emulator

from ..helpers import MODEL, Asker, Json

CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
OTHER_CALL = {**CALL, "id": "call_2"}
TOOL = {"type": "function", "function": {"name": "f"}}
ASKED: Json = {"role": "user", "content": "Why?"}
CALLED: Json = {"role": "assistant", "content": None, "tool_calls": [CALL]}
ANSWERED: Json = {"role": "tool", "tool_call_id": "call_1", "content": "because"}


def user(*parts: Any) -> Json:
    return {"messages": [{"role": "user", "content": list(parts)}]}


def formatted(**wanted: Any) -> Json:
    return {"response_format": wanted}


# In OpenRouter's own name: no model was asked. What is sent -> where the mistake is, as the message says it.
OWN: list[tuple[Json, str]] = [
    ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"role": "function", "name": "f", "content": "x"}]}, "messages[0].role"),
    ({"messages": [{"content": "x"}]}, "messages[0].role"),
    ({"messages": [ASKED, {"role": "user"}]}, "messages[1].content"),
    ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"messages": [{"role": "user", "content": {"text": "x"}}]}, "messages[0].content"),
    ({"messages": ["Why?"]}, "messages"),
    (user("Why?"), "messages[0].content[0].type"),
    (user({"type": "image", "source": {}}), "messages[0].content[0].type"),
    (user({"text": "x"}), "messages[0].content[0].type"),
    (user({"type": "text"}), "messages[0].content[0].text"),
    (user({"type": "image_url", "image_url": "https://x.y/a.png"}), "content[0].image_url.url"),
    (user({"type": "image_url", "image_url": {"url": "/tmp/a.png"}}), "content[0].image_url.url"),
    (user({"type": "input_audio", "input_audio": {"data": "UklGRg=="}}), "content[0].input_audio.format"),
    (user({"type": "file", "file": {"filename": "a.pdf"}}), "content[0].file"),
    (
        {"messages": [{"role": "system", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]}]},
        "messages[0].content[0].type",
    ),
    ({"messages": [ASKED, CALLED, {"role": "tool", "content": "x"}]}, "messages[2].tool_call_id"),
    ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{**CALL, "id": 1}]}]}, "tool_calls[0].id"),
    ({"messages": [ASKED, {"role": "assistant", "tool_calls": [{"id": "1", "type": "tool"}]}]}, "tool_calls[0].type"),
    (
        {"messages": [ASKED, {**CALLED, "tool_calls": [{**CALL, "function": {"name": "f", "arguments": {}}}]}]},
        "tool_calls[0].function.arguments",
    ),
    ({"stream": "yes"}, "stream"),
    ({"temperature": 2.5}, "temperature"),
    ({"temperature": "hot"}, "temperature"),
    ({"temperature": True}, "temperature"),
    ({"top_p": -1}, "top_p"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"n": 0}, "n"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ({"stop": [1]}, "stop[0]"),
    ({"top_logprobs": 21}, "top_logprobs"),
    ({"session_id": "x" * 257}, "session_id"),
    ({"reasoning": "high"}, "reasoning"),
    ({"reasoning": {"effort": "huge"}}, "reasoning.effort"),
    ({"reasoning": {"effort": "low", "max_tokens": 5}}, "reasoning.max_tokens"),
    ({"reasoning_effort": "huge"}, "reasoning_effort"),
    ({"modalities": ["smell"]}, "modalities[0]"),
    ({"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
    ({"tools": [{"type": "function", "name": "f"}]}, "tools[0].function"),
    ({"tools": [{"type": "function", "function": {"name": "two words"}}]}, "tools[0].function.name"),
    ({"tools": [{"type": "function", "function": {"name": "f", "parameters": []}}]}, "tools[0].function.parameters"),
    ({"tools": [TOOL], "tool_choice": "any"}, "tool_choice"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "name": "f"}}, "tool_choice.function.name"),
    (formatted(type="json"), "response_format.type"),
    (formatted(type="json_schema"), "response_format.json_schema"),
    (formatted(type="json_schema", json_schema={"schema": {}}), "response_format.json_schema.name"),
    (formatted(type="json_schema", json_schema={"name": "x", "schema": []}), "response_format.json_schema.schema"),
    ({"provider": {"sorted": "price"}}, "provider"),
    ({"provider": {"order": "openai"}}, "provider.order"),
    ({"provider": {"data_collection": "maybe"}}, "provider.data_collection"),
    ({"provider": {"max_price": {"prompt": []}}}, "provider.max_price.prompt"),
    ({"provider": {"max_price": {"prompt": "cheap"}}}, "provider.max_price.prompt"),
    ({"models": [1]}, "models[0]"),
    ({"model": 5}, "model"),
]


@pytest.mark.parametrize(("fields", "where"), OWN, ids=[str(fields)[:60] for fields, _ in OWN])
def test_refused_by_openrouter(emulator: Emulator, ask: Asker, fields: Json, where: str) -> None:
    response = ask.post(**fields)
    error = response.json()["error"]
    assert (response.status_code, error["code"]) == (400, 400)
    assert where in error["message"]
    assert "metadata" not in error
    assert (emulator.log[0].status, emulator.log[0].ended) == (400, "fault")
    assert emulator.spent == 0


# In a provider's name: its words are in `metadata.raw`.
THEIRS: list[tuple[Json, str]] = [
    ({"messages": [ASKED, ANSWERED]}, "must be a response to a preceeding message with 'tool_calls'"),
    ({"messages": [ASKED, CALLED, {**ANSWERED, "tool_call_id": "call_9"}]}, "must be a response"),
    ({"messages": [ASKED, CALLED, ANSWERED, ANSWERED]}, "must be a response"),
    ({"messages": [ASKED, CALLED]}, "did not have response messages: call_1"),
    ({"messages": [ASKED, CALLED, ASKED]}, "did not have response messages: call_1"),
    (
        {"messages": [ASKED, {**CALLED, "tool_calls": [CALL, OTHER_CALL]}, ANSWERED]},
        "did not have response messages: call_2",
    ),
    ({"messages": [ASKED, {"role": "assistant"}, ASKED]}, "expected a string, got null"),
    ({"messages": [{"role": "user", "content": []}]}, "non-empty content"),
    ({"tools": [TOOL, TOOL]}, "names must be unique"),
    ({"tool_choice": "required"}, "only allowed when 'tools' are specified"),
    ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "g"}}}, "'g' not found"),
]


def test_an_empty_text_of_the_user_is_refused_but_not_by_openai(ask: Asker) -> None:
    """autogen#6083: of four clients those of Anthropic's models failed."""
    empty = [{"role": "user", "content": ""}]
    assert ask.post(messages=empty).status_code == 200
    refused = ask.post(messages=empty, model="anthropic/claude-sonnet-4.5")
    assert "non-empty content" in refused.json()["error"]["metadata"]["raw"]


@pytest.mark.parametrize(("fields", "words"), THEIRS, ids=[words for _, words in THEIRS])
def test_refused_by_a_provider(ask: Asker, fields: Json, words: str) -> None:
    response = ask.post(**fields)
    error = response.json()["error"]
    assert (response.status_code, error["message"]) == (400, "Provider returned error")
    assert error["metadata"]["provider_name"] == "OpenAI"
    assert words in error["metadata"]["raw"]


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [ASKED, CALLED, ANSWERED]},
        {
            "messages": [
                ASKED,
                {**CALLED, "tool_calls": [CALL, OTHER_CALL]},
                {**ANSWERED, "tool_call_id": "call_2"},
                ANSWERED,
            ]
        },
        {"messages": [ASKED, CALLED, {**ANSWERED, "content": ""}]},
        {"messages": [ASKED, {"role": "assistant", "content": ""}, ASKED]},
        {"messages": [ASKED, {"role": "assistant", "content": "As I"}]},
        {"messages": [{"role": "developer", "content": "Be brief."}, ASKED]},
        user(
            {"type": "text", "text": "What?"}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,aa"}}
        ),
        user({"type": "file", "file": {"file_id": "file-1"}}),
        {"temperature": None, "stop": None, "tools": [], "provider": None, "reasoning": None},
        {"something_new": {"not": "known"}},
        {"tools": [{"type": "openrouter:web_search"}], "tool_choice": {"type": "openrouter:web_search"}},
        {"provider": {"max_price": {"prompt": 100, "completion": "100"}}},
        {"stop": "END", "seed": -1, "logit_bias": {"5": 1}},
    ],
    ids=lambda fields: str(fields)[:60],
)
def test_what_is_right_is_answered(ask: Asker, fields: Json) -> None:
    assert ask.body(**fields)["model"] == MODEL


@pytest.mark.parametrize("raw", [b"", b"[]", b'"x"', b'{"model": "a/b"', b"\xff"])
def test_what_is_no_json_object(ask: Asker, raw: bytes) -> None:
    response = ask.http.post("/chat/completions", content=raw)
    assert (response.status_code, response.json()["error"]["message"]) == (400, "Invalid JSON in request body")
