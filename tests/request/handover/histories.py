"""Histories for the tests, and hypothesis strategies of them."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

from openrouter_fallback.request.handover import Form, Handover, History, Target, rule_for, translate

Json = dict[str, Any]

MODELS = (
    "anthropic/claude-sonnet-4.5",
    "openai/gpt-5.1",
    "openai/gpt-oss-120b",
    "google/gemini-3-pro-preview",
    "google/gemini-2.5-flash",
    "google/gemma-3-27b-it",
    "mistralai/mistral-large-2512",
    "moonshotai/kimi-k2-thinking",
    "moonshotai/kimi-k3",
    "deepseek/deepseek-v4",
    "deepseek/deepseek-r1",
    "qwen/qwen3.6-27b",
    "x-ai/grok-4.1-fast",
    "meta-llama/llama-3.3-70b-instruct",
    "cohere/command-a",
    "perplexity/sonar-pro",
    "z-ai/glm-4.6",
)


def target(model: str, **changes: Any) -> Target:
    return Target(rule_for(model), model, **changes)


def sent(messages: list[Json], model: str, **changes: Any) -> list[Any]:
    """The messages that a model would get."""
    return list(handed(messages, model, **changes).messages)


def handed(messages: list[Json], model: str, **changes: Any) -> Handover:
    return translate(History(messages), target(model, **changes))


def user(text: str = "What is the weather?") -> Json:
    return {"role": "user", "content": text}


def call(id: str | None, name: str = "get_weather", **arguments: Any) -> Json:
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"id": id, "type": "function", "function": function}


def calling(*calls: Json, **more: Any) -> Json:
    return {"role": "assistant", "content": None, "tool_calls": list(calls), **more}


def result(id: str | None, content: str = "sunny") -> Json:
    return {"role": "tool", "tool_call_id": id, "content": content}


def signed(text: str = "Hm.", signature: str = "c2ln") -> Json:
    return {"type": "reasoning.text", "text": text, "signature": signature, "format": "anthropic-claude-v1", "index": 0}


def encrypted(format: str, data: str = "gAAA", **more: Any) -> Json:
    return {"type": "reasoning.encrypted", "data": data, "format": format, "index": 0, **more}


# Any history of OpenAI-shaped messages: also what no model has written, and what a program has cut.

_TEXTS = st.sampled_from(["", " ", "Hi", "What is it?", "{}", "a\nb"])
_IDS = st.sampled_from(
    [None, "", "call_1", "call_2", "toolu_01A", "functions.get_weather:0", "abcdefghi", "x" * 41, "rs_1", "é"]
)
_NAMES = st.sampled_from(["get_weather", "mcp.server/tool", "x" * 70, "1st", "", "tool two"])
_DETAILS = st.lists(
    st.sampled_from(
        [
            signed(),
            {"type": "reasoning.text", "text": "Le", "format": "anthropic-claude-v1", "index": 0.0},
            {"type": "reasoning.text", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0.0},
            encrypted("google-gemini-v1", id="call_1"),
            encrypted("openai-responses-v1", id="rs_1"),
            encrypted("xai-responses-v1"),
            {"type": "reasoning.summary", "summary": "So", "format": "openai-responses-v1"},
            {"type": "reasoning.text", "text": "So", "format": None},
            {"type": "reasoning.server_tool_call", "id": "1"},
            "nonsense",
        ]
    ),
    max_size=3,
)
_BLOCKS = st.lists(
    st.sampled_from(
        [
            {"type": "text", "text": "one"},
            {"type": "text", "text": "", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}},
            {"text": "untyped"},
            "bare",
            {"type": "input_text", "text": "three"},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "input_image", "image_url": "https://example.com/a.png"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aWJt"}},
            {"type": "media", "mime_type": "audio/wav", "data": "aWJt"},
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "tool_use", "id": "toolu_1", "name": "get_weather", "input": {"city": "Rome"}},
            {"type": "something_new", "value": 1},
        ]
    ),
    max_size=4,
)
_CONTENTS = st.one_of(_TEXTS, st.none(), _BLOCKS)
_ARGUMENTS = st.sampled_from(
    ["{}", '{"city": "Bern"}', "", "null", "[1]", '{"city": "Be', '{"city": }', None, {"city": "Bern"}]
)


def _called(id: str | None, name: str, arguments: Any) -> Json:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


_CALLS = st.lists(st.builds(_called, _IDS, _NAMES, _ARGUMENTS), max_size=3)


def _message(
    role: str, content: Any, calls: list[Json], id: str | None, name: str, details: list[Any], text: str, keys: int
) -> Json:
    message: Json = {"role": role, "content": content}
    if role == "tool":
        message["tool_call_id"] = id
    if role == "assistant" and calls:
        message["tool_calls"] = calls
    if role == "assistant" and keys & 1:
        message["reasoning_details"] = details
    if role == "assistant" and keys & 2:
        message["reasoning"] = text
    if keys & 4:
        message["name"] = name
    if role == "assistant" and keys & 8:
        message["model"] = "anthropic/claude-sonnet-4.5"
    if keys & 16:
        message["cache_control"] = {"type": "ephemeral"}
    return message


MESSAGES = st.builds(
    _message,
    st.sampled_from(["system", "developer", "user", "assistant", "assistant", "tool", "tool", "function"]),
    _CONTENTS,
    _CALLS,
    _IDS,
    _NAMES,
    _DETAILS,
    _TEXTS,
    st.integers(0, 31),
)
HISTORIES = st.lists(MESSAGES, min_size=1, max_size=8)
TARGETS = st.builds(
    lambda model, form, elsewhere, thinking: target(model, form=form, on_openrouter=not elsewhere, thinking=thinking),
    st.sampled_from(MODELS),
    st.sampled_from(list(Form)),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
