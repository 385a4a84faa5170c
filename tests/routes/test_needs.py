"""Routing by need over real HTTP: who is skipped, what is said of it, and what becomes of the request on its way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest

from openrouter_fallback import AllModelsFailedError, ContextLengthError, FallbackClient, FallbackError
from openrouter_fallback.request.request import Request
from openrouter_fallback.routes.needs import SPECIAL, Needs, blamed, needs, own_providers, slow, undemanding, wants_json

from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

FIRST, SECOND, THIRD = "anthropic/first", "openai/second", "google/third"
CHAIN = [FIRST, SECOND, THIRD]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
Json = dict[str, Any]


def _says(*parts: Json) -> list[Json]:
    return [{"role": "user", "content": [{"type": "text", "text": "see"}, *parts]}]


IMAGE = {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}

# messages, parameters, the needs
DETECTED: list[tuple[str, Any, Json, set[str]]] = [
    ("nothing", "hi", {}, set()),
    ("tools", "hi", {"tools": [TOOL]}, {"tools"}),
    ("no tools", "hi", {"tools": []}, set()),
    ("functions", "hi", {"functions": [{"name": "f"}]}, {"tools"}),
    ("a schema", "hi", {"response_format": SCHEMA}, {"structured_outputs"}),
    ("a JSON object", "hi", {"response_format": {"type": "json_object"}}, set()),
    ("text", "hi", {"response_format": {"type": "text"}}, set()),
    ("an image", _says(IMAGE), {}, {"image"}),
    ("audio", _says(AUDIO), {}, {"audio"}),
    ("a file", _says({"type": "file", "file": {"filename": "a.pdf", "file_data": "x"}}), {}, {"file"}),
    ("video", _says({"type": "video_url", "video_url": {"url": "x"}}), {}, {"video"}),
    ("a part of tomorrow", _says({"type": "smell"}, {"type": None}, {}), {}, set()),
    ("an image in the past", [*_says(IMAGE), {"role": "user", "content": "and?"}], {}, {"image"}),
    ("an image as the answer", "draw", {"modalities": ["text", "image"]}, {"image_output"}),
    ("several", _says(IMAGE, AUDIO), {"tools": [TOOL]}, {"image", "audio", "tools"}),
    ("in extra_body", "hi", {"extra_body": {"tools": [TOOL]}}, {"tools"}),
    ("what is no list", "hi", {"modalities": 5, "plugins": 5}, set()),
]


class Looked(dict[str, Any]):
    """Parameters that note which of them are looked at."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        self.names.add(name)
        return default


def test_a_request_without_special_parameters_is_looked_at_no_further() -> None:
    looked = Looked()
    long = [{"role": "user", "content": "x" * 30_000}]
    assert not any(look(looked) for look in (wants_json, slow, own_providers))
    assert not needs(looked, long, 30_000).abilities
    assert looked.names == SPECIAL
    assert undemanding({"temperature": 1, "max_tokens": 5})
    assert not any(undemanding({name: None}) for name in SPECIAL)


# parameters -> whether the first token may take minutes
SLOW: list[tuple[Json, bool]] = [
    ({}, False),
    ({"reasoning": {"effort": "high"}}, True),
    ({"reasoning": {"max_tokens": 9}}, True),
    ({"reasoning": {"effort": "none"}}, False),
    ({"reasoning": {"enabled": False, "effort": "high"}}, False),
    ({"reasoning": {}}, False),
    ({"reasoning_effort": "low"}, True),
    ({"reasoning_effort": "none"}, False),
    ({"include_reasoning": True}, True),
    ({"modalities": ["text", "image"]}, True),
    ({"modalities": ["text"]}, False),
    ({"image_config": {"size": "1K"}}, True),
    ({"plugins": [{"id": "web"}]}, True),
    ({"web_search_options": {"search_context_size": "low"}}, True),
    ({"tools": [{"type": "openrouter:web_search"}]}, True),
    ({"tools": [TOOL]}, False),
]


@pytest.mark.parametrize(("params", "expected"), SLOW, ids=str)
def test_what_takes_its_time(params: Json, expected: bool) -> None:
    assert slow(params) is expected


@pytest.mark.parametrize(
    ("params", "chosen"),
    [
        ({}, False),
        ({"provider": {"only": ["P"]}}, True),
        ({"provider": {"order": ["P"]}}, True),
        ({"provider": {"sort": "price", "order": []}}, False),
    ],
    ids=str,
)
def test_whose_providers_they_are(params: Json, chosen: bool) -> None:
    assert own_providers(params) is chosen


@pytest.mark.parametrize(("messages", "params", "abilities"), [d[1:] for d in DETECTED], ids=[d[0] for d in DETECTED])
def test_what_a_request_needs(messages: Any, params: Json, abilities: set[str]) -> None:
    assert Request(messages, params).needs == Needs(frozenset(abilities))


@pytest.mark.parametrize(
    ("messages", "tokens"),
    [
        ("x" * 19_000, 0),
        ("x" * 50_000, 10_000),
        # Tokenizers take a run of blanks as one: indented JSON, tables.
        ("x" * 30_000 + " " * 500_000, 6_000),
        ("\n                    x" * 10_000, 0),
        ("word " * 10_000, 10_000),
        ("文" * 50_000, 10_000),
        (_says({"type": "text", "text": "x" * 30_000}), 6_000),
        # An image's data are no text.
        (_says({"type": "image_url", "image_url": {"url": "data:" + "A" * 300_000}}), 0),
    ],
)
def test_a_long_prompt_needs_room_for_its_text(messages: Any, tokens: int) -> None:
    assert Request(messages, {}).needs.tokens == tokens


@pytest.mark.parametrize(
    ("params", "tokens"),
    [
        ({"transforms": ["middle-out"]}, 0),
        ({"extra_body": {"transforms": ["middle-out"]}}, 0),
        ({"plugins": [{"id": "context-compression"}]}, 0),
        ({"plugins": [{"id": "context-compression", "enabled": True}, {"id": "web"}]}, 0),
        ({"transforms": []}, 10_000),
        ({"plugins": [{"id": "context-compression", "enabled": False}]}, 10_000),
        ({"plugins": [{"id": "web"}, None]}, 10_000),
    ],
)
def test_what_openrouter_is_asked_to_shorten_fits_everywhere(params: Json, tokens: int) -> None:
    assert Request("x" * 50_000, params).needs.tokens == tokens


NOT_OF_TOOLS = (
    "This model does not support parallel function calling",
    "toolChoice.any is not supported by this model",
    "tool_choice: function is not supported",
    "`tool_choice` of type `function` is not supported",
    "Forced function calling is not supported",
    "function calling mode ANY is not supported",
    "Hosted tool 'web_search_preview' is not supported with this model",
    "Tool type 'code_interpreter' is not supported",
    "tools[0].type: 'computer_use' is not supported",
    "tools.0.function.strict is not supported",
    "Tools are not supported when streaming",
    "This model doesn't support tool use in streaming mode.",
    "function calling is not supported with thinking mode",
    "Thinking does not support function calling",
    "tools are not supported in JSON mode",
    "JSON mode is not supported when tools are given",
    "Function calling with a response mime type: 'application/json' is unsupported",
    "No endpoints found that support tool use with logprobs",
    "No endpoints found that support tools and reasoning",
    "No endpoints found that support the requested parameters: tools, seed",
    "The tool result format is not supported",
    "tool messages with image content are not supported",
    "strict mode is not supported for tools",
    "This model does not support function names with dots",
    "tool descriptions longer than 1024 are not supported",
    "tool_stream is not supported",
)
NOT_OF_OTHERS = (
    ("image", "Unsupported image format: image/webp"),
    ("image", "image/bmp images are not supported"),
    ("image", "base64 images are not supported"),
    ("image", "The image dimensions are not supported"),
    ("image", "image detail 'original' is not supported"),
    ("image", "Images in system messages are not supported"),
    ("image", "Multiple images are not supported"),
    ("file", "File type text/csv is not supported"),
    ("audio", "Audio format 'flac' is not supported"),
    ("structured_outputs", "schema keyword 'oneOf' is not supported"),
    ("structured_outputs", "response_format.json_schema.schema: 'minLength' is not supported"),
    ("structured_outputs", "JSON schema with recursive references is not supported"),
    ("structured_outputs", "response_format json_schema is not supported when streaming"),
)
"""A value, one kind of tool or image, a condition, or a second feature: the model may well support the need."""

BLAMED: list[tuple[str, list[str], list[str]]] = [
    ("No endpoints found that support tool use", ["tools", "image"], ["tools"]),
    ("function calling is not supported", ["tools", "image"], ["tools"]),
    ("response_format is not supported by this model", ["structured_outputs", "image"], ["structured_outputs"]),
    ("No endpoints found that support image input", ["image", "tools"], ["image"]),
    ("this model has no vision", ["image", "tools"], ["image"]),
    ("No endpoints found that support input audio", ["audio", "image"], ["audio"]),
    ("all providers have been ignored", ["tools"], []),
    ("it cannot", ["tools"], []),
    ("No endpoints found that can handle the requested parameters.", ["tools"], []),
    ("No endpoints found that support the provided 'tool_choice' value.", ["tools"], []),
    ("parallel_tool_calls is not supported by this model", ["tools"], []),
    ("this model does not support the provided logprobs", ["tools"], []),
    ("tools cannot be combined with a JSON schema", ["tools", "structured_outputs"], []),
    ("tools are not supported together with streaming", ["tools"], []),
    ("openai/gpt-5.1: tool use is not supported. Use tool_choice none.", ["tools"], ["tools"]),
    ("registry.ollama.ai/library/gemma:2b does not support tools", ["tools"], ["tools"]),
    ("This model doesn’t support tool calling.", ["tools"], ["tools"]),
    ("Model 'phi' does not support tools", ["tools"], ["tools"]),
    ("Function calling is not enabled for models/gemma-3-27b-it", ["tools"], ["tools"]),
    ("Unsupported parameter: 'tools' is not supported with this model.", ["tools"], ["tools"]),
    ("image input is not supported - hint: you may need to provide the mmproj", ["image"], ["image"]),
    (
        "No endpoints found that support the requested output modalities: text, image",
        ["image_output"],
        ["image_output"],
    ),
    ("No endpoints found that support image output", ["image"], []),
    ("This model does not support response format `json_schema`", ["structured_outputs"], ["structured_outputs"]),
    *((says, ["tools"], []) for says in NOT_OF_TOOLS),
    *((says, [need], []) for need, says in NOT_OF_OTHERS),
    ("Image too large", ["image"], []),
    ("Invalid image", ["image"], []),
    ("The image could not be downloaded", ["image"], []),
    ("it cannot", ["tools", "image"], []),
    ("it cannot", [], []),
]


@pytest.mark.parametrize(("message", "asked", "lacking"), BLAMED)
def test_which_need_a_message_blames(message: str, asked: list[str], lacking: list[str]) -> None:
    assert blamed(message, asked) == lacking


def test_needs_are_looked_for_once_and_cheaply() -> None:
    class Counted(list[Any]):
        looked = 0

        def __iter__(self) -> Iterator[Any]:
            Counted.looked += 1
            return super().__iter__()

    needs({}, [{"role": "user", "content": Counted([IMAGE])}], 100)
    assert Counted.looked == 1


# Over HTTP

ANSWER = [sse({"choices": [{"delta": {"content": "hi"}, "finish_reason": "stop"}]}, "[DONE]")]
NO_TOOLS = Reply(
    [json.dumps({"error": {"code": 404, "message": "No endpoints found that support tool use"}}).encode()], status=404
)
TOO_LONG = Reply(
    [
        json.dumps(
            {"error": {"code": 400, "message": "x", "metadata": {"error_type": "context_length_exceeded"}}}
        ).encode()
    ],
    status=400,
)


def _entry(id: str, *parameters: str, context: int | None = 100_000, inputs: Sequence[str] = ("text",)) -> Json:
    return {
        "id": id,
        "context_length": context,
        "supported_parameters": [*parameters, "max_tokens"],
        "architecture": {"input_modalities": list(inputs), "output_modalities": ["text"]},
        "pricing": {"prompt": "0.000001", "completion": "0.000002"},
    }


class Lab:
    """A client whose catalog holds these entries, and the server behind it."""

    def __init__(self, raw: RawServer, *entries: Json, chain: Sequence[str] = CHAIN, **settings: Any) -> None:
        raw.listing = Reply([json.dumps({"data": entries}).encode()])
        self.raw = raw
        config = {"default_chain": list(chain), "settings": settings}
        self.client = FallbackClient(config=config, base_url=raw.base_url, api_key="sk-or-x")
        asyncio.run(self.client.catalog.refresh())

    def answer(self, *replies: Reply) -> None:
        self.raw.answer(*replies, Reply(ANSWER))

    @property
    def asked(self) -> list[str]:
        return [request.body["model"] for request in self.raw.requests]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("params", "first", "reason"),
    [
        ({"tools": [TOOL]}, _entry(FIRST, "logprobs"), "does not support tools"),
        ({"response_format": SCHEMA}, _entry(FIRST, "tools"), "does not support structured_outputs"),
        ({"messages": _says(IMAGE)}, _entry(FIRST, "tools"), "does not support image"),
        ({"messages": "x" * 60_000}, _entry(FIRST, context=8_000), "its context of 8000 tokens is too small"),
    ],
    ids=["tools", "schema", "image", "long"],
)
def test_who_is_known_to_lack_what_is_needed_is_skipped(
    raw: RawServer, surface: str, params: Json, first: Json, reason: str
) -> None:
    lab = Lab(raw, first)
    lab.answer(Reply([sse({"choices": [{"delta": {"content": "{}"}, "finish_reason": "stop"}]}, "[DONE]")]))
    call = {"messages": "hi", **params}
    assert ask(lab.client, surface, **call).answer.text == "{}"
    assert lab.asked == [SECOND]
    route = lab.client.route(**call)
    assert route.candidates == (SECOND, THIRD)
    assert [(skip.model, skip.reason) for skip in route.skipped] == [(FIRST, reason)]
    assert lab.client.available(**call) == (SECOND, THIRD)
    assert lab.client.route().candidates == tuple(CHAIN)


@pytest.mark.parametrize("surface", SURFACES)
def test_where_all_are_known_to_lack_it_they_are_asked_all_the_same(raw: RawServer, surface: str) -> None:
    lab = Lab(raw, *[_entry(model) for model in CHAIN])
    lab.answer(NO_TOOLS)
    assert ask(lab.client, surface, tools=[TOOL]).answer.text == "hi"
    assert lab.asked == [FIRST, SECOND]


def test_a_call_that_fails_says_why_others_were_not_asked(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST))
    lab.answer(Reply([b"{}"], status=400))
    with pytest.raises(FallbackError, match="does not support tools") as raised:
        lab.client.chat("hi", tools=[TOOL], models=[FIRST, SECOND])
    assert lab.asked == [SECOND]
    assert [(skip.model, skip.reason) for skip in raised.value.skipped] == [(FIRST, "does not support tools")]


def test_who_lacks_it_is_asked_when_nobody_else_is_left(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST))
    lab.answer(Reply([b"{}"], status=403))
    lab.client.chat("hi", tools=[TOOL], models=[FIRST, SECOND])
    assert lab.asked == [SECOND, FIRST]


def test_what_an_answer_taught_counts_for_the_next_request_with_that_need(raw: RawServer) -> None:
    lab = Lab(raw, _entry(SECOND, "tools"))
    lab.answer(NO_TOOLS)
    lab.client.chat("hi", tools=[TOOL])
    assert lab.asked == [FIRST, SECOND]
    route = lab.client.route(tools=[TOOL])
    assert [(skip.model, skip.reason) for skip in route.skipped] == [(FIRST, "does not support tools")]
    lab.answer()
    lab.client.chat("hi", tools=[TOOL])
    lab.client.chat("hi")
    assert lab.asked == [SECOND, FIRST]


# Contexts of the three, whom a request asks that each finds too long, and what is said of the others
LONG: list[tuple[list[int | None], list[str], dict[str, str]]] = [
    ([8_000, 32_000, 100_000], CHAIN, {}),
    ([32_000, 8_000, 100_000], [FIRST, THIRD], {SECOND: "its context of 8000 tokens is no larger"}),
    ([32_000, 32_000, 100_000], [FIRST, THIRD], {SECOND: "its context of 32000 tokens is no larger"}),
    ([32_000, None, 16_000], [FIRST, SECOND], {THIRD: "its context of 16000 tokens is no larger"}),
    ([None, 8_000, 16_000], CHAIN, {}),
    (
        [32_000, 8_000, 16_000],
        [FIRST],
        {SECOND: "its context of 8000 tokens is no larger", THIRD: "its context of 16000 tokens is no larger"},
    ),
]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("contexts", "asked", "skipped"), LONG)
def test_a_request_that_is_too_long_goes_to_a_larger_context(
    raw: RawServer, surface: str, contexts: list[int | None], asked: list[str], skipped: Mapping[str, str]
) -> None:
    lab = Lab(raw, *[_entry(model, context=size) for model, size in zip(CHAIN, contexts, strict=True)])
    raw.answer(TOO_LONG)
    error = ask(lab.client, surface).raised
    assert isinstance(error, ContextLengthError)
    assert lab.asked == asked
    assert {skip.model: skip.reason for skip in error.skipped} == skipped


def test_too_many_tokens_for_an_answer_say_nothing_of_the_context(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST), _entry(SECOND, context=8_000))
    error = {"code": 400, "message": "x", "metadata": {"error_type": "max_tokens_exceeded"}}
    lab.answer(Reply([json.dumps({"error": error}).encode()], status=400))
    lab.client.chat("hi", max_tokens=90_000)
    assert lab.asked == [FIRST, SECOND]


# Money


@pytest.mark.parametrize("surface", SURFACES)
def test_a_price_cap_skips_who_is_beyond_it_and_holds_for_each_provider(raw: RawServer, surface: str) -> None:
    lab = Lab(raw, {**_entry(FIRST), "pricing": {"prompt": "0.000009", "completion": "0.00002"}}, _entry(SECOND))
    lab.answer()
    ask(lab.client, surface, max_price=5, provider={"sort": "latency"})
    (request,) = raw.requests
    assert request.body["model"] == SECOND
    assert request.body["provider"] == {"sort": "latency", "max_price": {"prompt": "5", "completion": "5"}}
    route = lab.client.route(max_price=5)
    assert {skip.model: skip.reason for skip in route.skipped} == {
        FIRST: "9 USD per million prompt tokens is above max_price 5",
        THIRD: "its prompt price is unknown, and max_price is 5 USD per million prompt tokens",
    }


def test_a_price_cap_goes_with_what_a_models_own_parameters_prefer(raw: RawServer) -> None:
    raw.listing = Reply([json.dumps({"data": [_entry(FIRST)]}).encode()])
    config = {"default_chain": [FIRST], "models": {FIRST: {"params": {"provider": {"sort": "price"}, "top_p": 0.5}}}}
    client = FallbackClient(config=config, base_url=raw.base_url, api_key="sk-or-x")
    asyncio.run(client.catalog.refresh())
    raw.answer(Reply(ANSWER))
    client.chat("hi", max_price={"completion": 2})
    body = raw.requests[-1].body
    assert body["provider"] == {"sort": "price", "max_price": {"completion": "2"}}
    assert body["top_p"] == 0.5
    assert body["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("cap", "own", "sent"),
    [
        ({"completion": 3}, {"prompt": "1"}, {"prompt": "1", "completion": "3"}),
        (3, {"prompt": "100", "completion": 100, "image": "1"}, {"prompt": "3", "completion": "3", "image": "1"}),
        (3, {"prompt": "1e-1", "completion": 0.5}, {"prompt": "1e-1", "completion": 0.5}),
        (3, {"prompt": None, "completion": "cheap"}, {"prompt": "3", "completion": "3"}),
        (3, "cheap", {"prompt": "3", "completion": "3"}),
    ],
)
def test_of_a_price_cap_and_a_callers_own_the_lower_holds_and_teaches_nothing(
    raw: RawServer, cap: Any, own: Any, sent: Json, caplog: pytest.LogCaptureFixture
) -> None:
    lab = Lab(raw, _entry(FIRST), _entry(SECOND))
    lab.answer(Reply([b'{"error": {"code": 404, "message": "No endpoints found for anthropic/first"}}'], status=404))
    lab.client.with_options(max_price=cap).chat("hi", provider={"max_price": own})
    assert [request.body["provider"] for request in raw.requests] == [{"max_price": sent}] * 2
    assert lab.client.health()[FIRST].state == "closed"
    assert "does not exist" not in caplog.text


def test_no_model_within_the_cap_says_what_to_do(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST), _entry(SECOND))
    with pytest.raises(AllModelsFailedError, match="max_price") as raised:
        lab.client.chat("hi", max_price=0.01)
    assert "client.refresh_catalog()" in str(raised.value)
    assert len(raised.value.skipped) == 3
    assert raw.requests == [] or {request.line for request in raw.requests} == {"GET /api/v1/models"}


def _prices(id: str, prompt: str, completion: str) -> Json:
    return {"id": id, "pricing": {"prompt": prompt, "completion": completion}}


def test_without_credits_cheaper_models_come_before_dearer_ones(raw: RawServer) -> None:
    cheap, free = _prices("a/cheap", "0.0000001", "0.0000001"), _prices("a/none", "0", "0")
    chain = [FIRST, "a/dear", "a/unknown", "a/cheap", "a/none"]
    entries = [_prices(FIRST, "0.000001", "0.000001"), _prices("a/dear", "0.001", "0.001"), cheap, free]
    lab = Lab(raw, *entries, chain=chain)
    raw.answer(Reply([b'{"error": {"code": 402, "message": "Prompt tokens limit exceeded: 9 > 5."}}'], status=402))
    with pytest.raises(FallbackError):
        lab.client.chat("hi")
    assert lab.asked == [FIRST, "a/cheap", "a/none", "a/unknown", "a/dear"]


CUT = Reply(
    [sse({"choices": [{"delta": {"content": "He"}}]}, {"choices": [{"delta": {"content": "llo"}}]})], ending="cut"
)
USED: Json = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


def _end(**usage: Any) -> Reply:
    chunk = {"choices": [{"delta": {"content": " there"}, "finish_reason": "stop"}], "usage": {**USED, **usage}}
    return Reply([sse(chunk, "[DONE]")])


@pytest.mark.parametrize("surface", SURFACES)
def test_the_cost_of_an_attempt_that_was_cut_off_is_estimated_from_prices(raw: RawServer, surface: str) -> None:
    lab = Lab(raw, _entry(FIRST))
    raw.answer(CUT, _end(cost=0.5))
    completion = ask(lab.client, surface, "x" * 50).answer
    cut, whole = completion.attempts
    assert (whole.cost, whole.estimated) == (0.5, False)
    assert cut.estimated
    # 50 characters of prompt and 2 pieces (5 characters) of answer, at 1 and 2 USD per million tokens
    assert cut.cost in (pytest.approx(12e-6), pytest.approx(14e-6))
    assert completion.cost == pytest.approx(0.5 + (cut.cost or 0))
    assert completion.estimated


def test_where_no_price_is_known_the_cost_is_what_was_reported_and_marked_as_incomplete(raw: RawServer) -> None:
    lab = Lab(raw, _entry(THIRD))
    raw.answer(CUT, _end(cost=0.5))
    completion = lab.client.chat("hi")
    assert (completion.cost, completion.estimated, completion.attempts[0].cost) == (0.5, True, None)


def test_an_answer_without_a_cost_is_estimated_from_its_usage(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST))
    raw.answer(_end())
    completion = lab.client.chat("hi")
    assert completion.cost == pytest.approx(10e-6 + 8e-6)
    assert completion.estimated


# Reasoning of others


def _thought(format: str | None, kind: str = "reasoning.text", **more: Any) -> Json:
    return {"type": kind, "format": format, "index": 0, **more}


SIGNED = _thought("anthropic-claude-v1", text="hm", signature="sig")
ENCRYPTED = _thought("openai-responses-v1", "reasoning.encrypted", data="gAAA")
OPEN = _thought("unknown", text="hm")
NAMELESS = {"type": "reasoning.text", "text": "hm"}
SERVERS = _thought("openai-responses-v1", "reasoning.server_tool_call", tool_name="t", arguments="{}", result="{}")
ALL = [SIGNED, ENCRYPTED, OPEN, NAMELESS, SERVERS]

# Plain text goes to families that take any; Claude's thinking needs a signature, and others refuse all reasoning.
GOES: list[tuple[str, list[Json], Json]] = [
    ("anthropic/claude-sonnet-4.5", [SIGNED, SERVERS], {"reasoning": "hm"}),
    ("~anthropic/claude-sonnet-latest", [SIGNED, SERVERS], {"reasoning": "hm"}),
    ("openai/gpt-5.1:nitro", [ENCRYPTED, SERVERS], {"reasoning": "hm"}),
    ("z-ai/glm-4.6", [OPEN, NAMELESS, SERVERS], {"reasoning": "hm"}),
    ("meta-llama/llama-3.3-70b-instruct", [SERVERS], {}),
]


@pytest.mark.parametrize(("model", "kept", "plain"), GOES)
def test_reasoning_goes_only_to_the_family_that_made_it(
    raw: RawServer, model: str, kept: list[Json], plain: Json
) -> None:
    lab = Lab(raw, _entry(FIRST), chain=[model])
    lab.answer()
    said: Json = {"role": "assistant", "content": "4", "reasoning": "hm", "reasoning_details": ALL}
    messages: list[Json] = [{"role": "user", "content": "2+2?"}, said, {"role": "user", "content": "sure?"}]
    lab.client.chat(messages)
    (request,) = [request for request in raw.requests if request.body]
    wanted = {"role": "assistant", "content": "4", **plain, "reasoning_details": kept}
    assert request.body["messages"] == [messages[0], wanted, messages[2]]
    assert said["reasoning_details"] is ALL


def test_a_failover_drops_the_reasoning_that_the_next_model_cannot_read(raw: RawServer) -> None:
    lab = Lab(raw, _entry(FIRST))
    lab.answer(Reply([b"{}"], status=503))
    said: Json = {"role": "assistant", "content": "4", "reasoning_details": [SIGNED]}
    lab.client.chat([{"role": "user", "content": "2 + 2?"}, said, {"role": "user", "content": "sure?"}])
    first, second = [request.body["messages"][1] for request in raw.requests if request.body]
    assert first == said
    assert second == {"role": "assistant", "content": "4"}


@pytest.mark.parametrize("details", [None, [], "hm", 7, [None, 3], {"type": "reasoning.text"}, [{"format": 5}]])
def test_reasoning_of_an_odd_form_goes_through_as_it_is(raw: RawServer, details: Any) -> None:
    lab = Lab(raw, _entry(FIRST))
    lab.answer()
    said: Json = {"role": "assistant", "content": "4", "reasoning_details": details}
    lab.client.chat([{"role": "user", "content": "2 + 2?"}, said, {"role": "user", "content": "sure?"}])
    assert raw.requests[-1].body["messages"][1] == said
