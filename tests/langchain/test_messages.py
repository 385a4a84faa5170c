"""What goes over the wire: messages, content blocks, tools and parameters, each as OpenRouter takes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Generic, Literal, TypedDict, TypeVar

import pytest
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from langchain_openrouter_fallback.messages import content, wire_messages
from openrouter_fallback import EndpointConfig, FallbackClient, Settings, load_config
from openrouter_fallback.emulator import Emulator

from ..cases.settings import CHANGES, FILE
from .conftest import CLAUDE, Make

CACHED = {"type": "ephemeral"}
DETAILS = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}]
CALL = {"name": "f", "args": {"a": "ä"}, "id": "1", "type": "tool_call"}
WIRE_CALL = {"type": "function", "id": "1", "function": {"name": "f", "arguments": '{"a": "ä"}'}}

ANNOTATIONS = [{"type": "file", "file": {"hash": "h", "name": "a.pdf", "content": [{"type": "text", "text": "read"}]}}]
SAID = {"role": "assistant", "content": [{"type": "text", "text": "hi"}]}

MESSAGES: list[tuple[BaseMessage, dict[str, Any]]] = [
    (HumanMessage("hi", name="ann"), {"role": "user", "content": "hi", "name": "ann"}),
    (SystemMessage("be brief"), {"role": "system", "content": "be brief"}),
    (
        SystemMessage("be brief", additional_kwargs={"__openai_role__": "developer"}),
        {"role": "developer", "content": "be brief"},
    ),
    (ChatMessage(content="hi", role="critic"), {"role": "critic", "content": "hi"}),
    # OpenRouter has no functions any more, but tools.
    (FunctionMessage(content="1", name="f"), {"role": "tool", "content": "1", "tool_call_id": "f"}),
    (
        AIMessage("", additional_kwargs={"function_call": {"name": "f", "arguments": "{}"}}),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "id": "f", "function": {"name": "f", "arguments": "{}"}}],
        },
    ),
    (AIMessage("hi"), {"role": "assistant", "content": "hi"}),
    (AIMessage("", tool_calls=[CALL]), {"role": "assistant", "content": None, "tool_calls": [WIRE_CALL]}),
    (
        AIMessage(
            "", invalid_tool_calls=[{"name": "f", "args": "{", "id": "2", "error": "", "type": "invalid_tool_call"}]
        ),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"type": "function", "id": "2", "function": {"name": "f", "arguments": "{"}}],
        },
    ),
    (ToolMessage("4", tool_call_id="1", name="f"), {"role": "tool", "content": "4", "tool_call_id": "1"}),
    (
        AIMessage("hi", additional_kwargs={"reasoning_content": "Hm.", "reasoning_details": DETAILS}),
        {"role": "assistant", "content": "hi", "reasoning_details": DETAILS},
    ),
    (
        AIMessage("hi", additional_kwargs={"reasoning_content": "Hm."}),
        {"role": "assistant", "content": "hi", "reasoning": "Hm."},
    ),
    (
        AIMessage([{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "hi"}, "there"]),
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "hi"}, {"type": "text", "text": "there"}],
            "reasoning": "Hm.",
        },
    ),
    (
        AIMessage([{"type": "text", "text": "hi", "cache_control": CACHED}, {"type": "text-plain", "text": "there"}]),
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "hi", "cache_control": CACHED}, {"type": "text", "text": "there"}],
        },
    ),
    # What other providers' models leave in their messages.
    (
        AIMessage(
            [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "tool_use", "id": "1", "name": "f", "input": {"a": "ä"}},
            ],
            tool_calls=[CALL],
        ),
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}],
            "tool_calls": [WIRE_CALL],
        },
    ),
    # Without a message's own calls those of its blocks are.
    (
        AIMessage([{"type": "tool_use", "id": "1", "name": "f", "input": {"a": "ä"}}]),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": "ä"}}]},
    ),
    (AIMessage([{"type": "thinking", "thinking": "Hm."}, "hi"]), {**SAID, "reasoning": "Hm."}),
    (
        AIMessage([{"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]}, "hi"]),
        {**SAID, "reasoning": "Hm."},
    ),
    (
        AIMessage("hi", additional_kwargs={"reasoning": {"id": "rs_1", "summary": [{"text": "Hm."}]}}),
        {"role": "assistant", "content": "hi", "reasoning": "Hm."},
    ),
    (
        AIMessage([{"type": "non_standard", "value": {"type": "redacted_thinking", "data": "eA=="}}, "hi"]),
        {
            "role": "assistant",
            "content": [{"type": "redacted_thinking", "data": "eA=="}, {"type": "text", "text": "hi"}],
        },
    ),
    (
        AIMessage([{"type": "thinking", "signature": "x"}, "hi"], additional_kwargs={"reasoning_details": DETAILS}),
        {**SAID, "reasoning_details": DETAILS},
    ),
    (AIMessage([{"type": "output_text", "text": "hi"}]), {**SAID, "content": [{"type": "output_text", "text": "hi"}]}),
    (AIMessage([{"text": "hi"}]), {**SAID, "content": [{"text": "hi"}]}),
    (
        AIMessage([{"type": "refusal", "refusal": "No."}]),
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ),
    (AIMessage("", additional_kwargs={"refusal": "No."}), {"role": "assistant", "content": "No."}),
    (
        AIMessage("hi", response_metadata={"annotations": ANNOTATIONS, "model_name": CLAUDE}),
        {"role": "assistant", "content": "hi", "annotations": ANNOTATIONS, "model": CLAUDE},
    ),
    # A picture of the Responses API, and one of which only the id is left.
    (
        AIMessage([{"type": "image_generation_call", "id": "ig_1", "result": "QQ=="}, "hi"]),
        {**SAID, "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}]},
    ),
    (AIMessage([{"type": "image_generation_call", "id": "ig_1"}, "hi"]), SAID),
    # The record of a search that ran at the provider.
    (
        AIMessage([{"type": "server_tool_use", "id": "1"}, {"type": "web_search_tool_result", "content": []}, "hi"]),
        SAID,
    ),
    (AIMessage([{"type": "web_search_call", "id": "ws_1"}, {"type": "text", "text": "hi"}]), SAID),
    (
        AIMessage([{"type": "text", "text": "Look:"}, {"type": "image", "base64": "QQ==", "mime_type": "image/webp"}]),
        {
            "role": "assistant",
            "content": [{"type": "text", "text": "Look:"}],
            "images": [{"type": "image_url", "image_url": {"url": "data:image/webp;base64,QQ=="}}],
        },
    ),
]

BLOCKS: dict[str, tuple[Any, dict[str, Any]]] = {
    "a string": ("hi", {"type": "text", "text": "hi"}),
    "text, with marks of ours": (
        {"type": "text", "text": "hi", "id": "lc_1", "annotations": [], "index": 0},
        {"type": "text", "text": "hi"},
    ),
    "text, cached": (
        {"type": "text", "text": "hi", "cache_control": CACHED},
        {"type": "text", "text": "hi", "cache_control": CACHED},
    ),
    "text, cached in extras": (
        {"type": "text", "text": "hi", "extras": {"cache_control": CACHED}},
        {"type": "text", "text": "hi", "cache_control": CACHED},
    ),
    "plain text": ({"type": "text-plain", "text": "hi", "mime_type": "text/plain"}, {"type": "text", "text": "hi"}),
    "plain text, base64": (
        {"type": "text-plain", "base64": "aGk=", "mime_type": "text/plain"},
        {"type": "file", "file": {"file_data": "data:text/plain;base64,aGk="}},
    ),
    "plain text, of the generation before": (
        {"type": "file", "source_type": "text", "text": "hi", "mime_type": "text/plain"},
        {"type": "text", "text": "hi"},
    ),
    "document of text, Anthropic's": (
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hi"}},
        {"type": "text", "text": "hi"},
    ),
    "image, URL": (
        {"type": "image", "url": "https://x.org/a.png", "extras": {"detail": "low"}},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "low"}},
    ),
    "image, base64": (
        {"type": "image", "base64": "QQ==", "mime_type": "image/jpeg"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QQ=="}},
    ),
    "image, of the generation before": (
        {"type": "image", "source_type": "base64", "data": "QQ==", "mime_type": "image/jpeg"},
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,QQ=="}},
    ),
    "image, Anthropic's": (
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "QQ=="}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}},
    ),
    "image, OpenAI's": (
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "high"}},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png", "detail": "high"}},
    ),
    "image, OpenAI's, short": (
        {"type": "image_url", "image_url": "https://x.org/a.png"},
        {"type": "image_url", "image_url": {"url": "https://x.org/a.png"}},
    ),
    "audio": (
        {"type": "audio", "base64": "QQ==", "mime_type": "audio/mpeg"},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
    ),
    "audio, OpenAI's": (
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
    ),
    "video, URL": (
        {"type": "video", "url": "https://x.org/a.mp4"},
        {"type": "video_url", "video_url": {"url": "https://x.org/a.mp4"}},
    ),
    "video, base64": (
        {"type": "video", "base64": "QQ==", "mime_type": "video/webm"},
        {"type": "video_url", "video_url": {"url": "data:video/webm;base64,QQ=="}},
    ),
    "file, base64": (
        {"type": "file", "base64": "QQ==", "mime_type": "application/pdf", "filename": "a.pdf"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ==", "filename": "a.pdf"}},
    ),
    "file, URL": (
        {"type": "file", "url": "https://x.org/a.pdf"},
        {"type": "file", "file": {"file_data": "https://x.org/a.pdf"}},
    ),
    "file, id": ({"type": "file", "file_id": "f-1"}, {"type": "file", "file": {"file_id": "f-1"}}),
    "file, OpenAI's": (
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}},
    ),
    "document, Anthropic's": (
        {"type": "document", "source": {"type": "url", "url": "https://x.org/a.pdf"}, "title": "a.pdf"},
        {"type": "file", "file": {"file_data": "https://x.org/a.pdf", "filename": "a.pdf"}},
    ),
    "document of blocks, Anthropic's": (
        {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "hi"}]}},
        {"type": "text", "text": "hi"},
    ),
    "document of content, Anthropic's": (
        {"type": "document", "source": {"type": "content", "content": "hi"}},
        {"type": "text", "text": "hi"},
    ),
    "search result, Anthropic's": (
        {
            "type": "search_result",
            "title": "Whales",
            "source": "a.txt",
            "content": [{"type": "text", "text": "They sing."}, {"type": "text", "text": "Some."}],
        },
        {"type": "text", "text": "[Whales, a.txt]\nThey sing.\nSome."},
    ),
    "non-standard": ({"type": "non_standard", "value": {"type": "new", "x": 1}}, {"type": "new", "x": 1}),
    "unknown": ({"type": "new", "x": 1}, {"type": "new", "x": 1}),
}


@pytest.mark.parametrize(("message", "wire"), MESSAGES, ids=lambda value: getattr(value, "type", ""))
def test_a_message(message: BaseMessage, wire: dict[str, Any]) -> None:
    assert wire_messages([message]) == [wire]


@pytest.mark.parametrize("name", BLOCKS)
def test_a_content_block(name: str) -> None:
    block, wire = BLOCKS[name]
    assert content([block]) == [wire]


# Of Anthropic's API, Google's, the Responses form, and LangChain's names for them.
ALIEN = [
    "tool_result",
    "tool_use",
    "server_tool_use",
    "mcp_tool_use",
    "web_search_tool_result",
    "container_upload",
    "thinking",
    "executable_code",
    "code_execution_result",
    "function_call",
    "function_call_output",
    "web_search_call",
    "image_generation_call",
    "mcp_approval_request",
    "mcp_list_tools",
    "reasoning",
    "server_tool_call",
    "tool_call_chunk",
]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (RemoveMessage(id="1"), "RemoveMessage"),
        (HumanMessage([{"type": "image"}]), "messages[1] (human): a block of type 'image' needs a url"),
        (HumanMessage([{"type": "audio", "url": "https://x.org/a.wav"}]), "an audio block needs its data"),
        (HumanMessage([{"type": "non_standard"}]), "a non_standard block needs its value"),
        (
            HumanMessage([{"type": "search_result", "content": [{"type": "image"}]}]),
            "a block of type 'search_result' may hold text only",
        ),
        *(
            (HumanMessage([{"type": kind}]), f"a block of type {kind!r} is known to its maker's API only")
            for kind in ALIEN
        ),
        (ToolMessage([{"type": "tool_result"}], tool_call_id="1"), "a tool's result as a ToolMessage"),
        (SystemMessage([{"type": "non_standard", "value": {"type": "thinking"}}]), "type 'thinking'"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else value.type,
)
def test_what_cannot_be_sent_is_told_with_its_place(message: BaseMessage, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        wire_messages([HumanMessage("hi"), message])
    assert told in str(raised.value)
    assert "messages[1]" in str(raised.value)


def test_what_a_conversation_goes_on_without_is_told_once(
    emulator: Emulator, llm: ChatOpenRouterFallback, caplog: pytest.LogCaptureFixture
) -> None:
    told = "a block of type 'server_tool_use' of an AI message is not sent"
    history = [HumanMessage("hi"), AIMessage([{"type": "server_tool_use", "id": "1"}, "hi"]), HumanMessage("And?")]
    for model in (llm, llm, llm.with_routing(models=[CLAUDE])):
        model.invoke(history)
    assert [told in record.getMessage() for record in caplog.records] == [True]
    assert body(emulator)["messages"][1] == SAID


def test_the_thoughts_of_a_chat_mistral_are_plain_reasoning() -> None:
    thought = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}, {"type": "text", "text": "Yes."}]}
    (wire,) = wire_messages([AIMessage([thought, {"type": "text", "text": "Hi"}])])
    assert (wire["reasoning"], wire["content"]) == ("Hm.\nYes.", [{"type": "text", "text": "Hi"}])


SIGNED = {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1"}
WRITER = {"model_name": "claude-sonnet-4-5-20250929", "model_provider": "anthropic"}
THOUGHTS: list[tuple[list[Any], list[dict[str, Any]]]] = [
    ([{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}], [SIGNED]),
    ([{"type": "reasoning", "reasoning": "Hm.", "extras": {"signature": "c2ln"}}], [SIGNED]),
    (
        [{"type": "redacted_thinking", "data": "eA=="}],
        [{"type": "reasoning.encrypted", "data": "eA==", "format": "anthropic-claude-v1"}],
    ),
    (
        [{"type": "reasoning_content", "reasoning_content": {"text": "Hm.", "signature": "c2ln"}}],
        [SIGNED],
    ),
]


@pytest.mark.parametrize(("thoughts", "details"), THOUGHTS, ids=["Anthropic's", "standard", "redacted", "Bedrock's"])
def test_the_thoughts_of_a_chat_anthropic_go_on_with_their_model_alone(
    make: Make, thoughts: list[Any], details: list[dict[str, Any]]
) -> None:
    """Claude refuses a tool loop that began with thinking whose beginning is gone. The signature is made up."""
    asked = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}
    call = {"name": "f", "args": {}, "id": "toolu_1"}
    history = [
        HumanMessage("hi"),
        AIMessage([*thoughts, asked], tool_calls=[call], response_metadata=WRITER),
        ToolMessage("4", tool_call_id="toolu_1"),
    ]
    with Emulator(strict=False) as emulator:
        for model in (CLAUDE, "openai/gpt-5.1"):
            make(models=[model], base_url=emulator.base_url, api_key=emulator.api_key).invoke(history)
    assert [request.body["messages"][1].get("reasoning_details") for request in emulator.log] == [details, None]


def test_blocks_arrive_through_langchain(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    """LangChain rewrites some of them before the model sees them."""
    asked = [block for name, (block, _) in BLOCKS.items() if "image" in name or name == "file, OpenAI's"]
    expected = [wire for name, (_, wire) in BLOCKS.items() if "image" in name or name == "file, OpenAI's"]
    llm.invoke([HumanMessage(asked)])
    assert emulator.log[0].body["messages"] == [{"role": "user", "content": expected}]


URL = "data:image/png;base64,QQ=="
# Of Google's API and the Responses form: LangChain rewrites some of them, the core the others.
FOREIGN: dict[str, tuple[Any, dict[str, Any]]] = {
    "Google's text": ({"text": "hi"}, {"type": "text", "text": "hi"}),
    "Google's media": (
        {"type": "media", "mime_type": "image/png", "data": "QQ=="},
        {"type": "image_url", "image_url": {"url": URL}},
    ),
    "Google's inline data": (
        {"inline_data": {"mime_type": "image/png", "data": "QQ=="}},
        {"type": "image_url", "image_url": {"url": URL}},
    ),
    "Responses, text": ({"type": "input_text", "text": "hi"}, {"type": "text", "text": "hi"}),
    "Responses, image": ({"type": "input_image", "image_url": URL}, {"type": "image_url", "image_url": {"url": URL}}),
    "Responses, file": (
        {"type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="}},
    ),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_block_of_another_api_arrives_in_openais_form(
    emulator: Emulator, llm: ChatOpenRouterFallback, name: str
) -> None:
    block, wire = FOREIGN[name]
    llm.invoke([HumanMessage([{"type": "text", "text": "Look:"}, block])])
    assert emulator.log[0].body["messages"][0]["content"] == [{"type": "text", "text": "Look:"}, wire]


@tool
def find(query: str, limit: int = 3) -> str:
    """Find something."""
    return query


T = TypeVar("T")


class Found(BaseModel):
    """What was found."""

    number: int


class Typed(TypedDict):
    """What was found."""

    number: int


def body(emulator: Emulator) -> dict[str, Any]:
    return dict(emulator.log[-1].body)


CHOICES: list[tuple[Any, Any]] = [
    ("find", {"type": "function", "function": {"name": "find"}}),
    ("any", "required"),
    ("required", "required"),
    ("auto", "auto"),
    ("none", "none"),
    (True, {"type": "function", "function": {"name": "find"}}),
    ({"type": "tool", "name": "find"}, {"type": "function", "function": {"name": "find"}}),
    (
        {"type": "function", "function": {"name": "find"}},
        {"type": "function", "function": {"name": "find"}},
    ),
]


@pytest.mark.parametrize(("choice", "wire"), CHOICES, ids=lambda value: str(value)[:20])
def test_tools_and_their_choice(emulator: Emulator, llm: ChatOpenRouterFallback, choice: Any, wire: Any) -> None:
    llm.bind_tools([find], tool_choice=choice, strict=True, parallel_tool_calls=False).invoke("hi")

    sent = body(emulator)
    assert sent["tool_choice"] == wire
    assert sent["parallel_tool_calls"] is False
    (function,) = [entry["function"] for entry in sent["tools"]]
    assert (function["name"], function["strict"], function["parameters"]["additionalProperties"]) == (
        "find",
        True,
        False,
    )


@pytest.mark.parametrize(("choice", "told"), [("fnid", "['find', 'Found']"), (True, "there are 2")])
def test_a_choice_that_is_none_is_told(llm: ChatOpenRouterFallback, choice: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        llm.bind_tools([find, Found], tool_choice=choice)
    assert told in str(raised.value)


def test_openrouters_own_tools_can_be_bound(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    search = {"type": "openrouter:web_search", "parameters": {"max_results": 2}}
    llm.bind_tools([search, find]).invoke("hi")
    assert body(emulator)["tools"][0] == search
    assert body(emulator)["tools"][1]["function"]["name"] == "find"


def test_no_tools_are_none(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.bind_tools([], tool_choice="any").invoke("hi")
    assert {"tools", "tool_choice"}.isdisjoint(body(emulator))


@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize(
    "schema", [Found, Typed, Found.model_json_schema()], ids=["pydantic", "TypedDict", "JSON schema"]
)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode", None])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_structured_output(
    emulator: Emulator,
    llm: ChatOpenRouterFallback,
    method: Literal["json_schema", "function_calling", "json_mode"] | None,
    schema: Any,
    include_raw: bool,
    asynchronous: bool,
) -> None:
    if method == "json_mode":
        emulator.reply(text='{"number": 7}')
    model = llm.with_structured_output(schema, method=method, include_raw=include_raw)

    answer = await model.ainvoke("The number is 7") if asynchronous else model.invoke("The number is 7")

    parsed = answer["parsed"] if include_raw else answer
    assert parsed == (Found(number=7) if schema is Found else {"number": 7})
    if include_raw:
        assert answer["parsing_error"] is None
        assert isinstance(answer["raw"], AIMessage)
    sent = body(emulator)
    expected = {"json_mode": "json_object", "function_calling": None}.get(method or "", "json_schema")
    assert sent.get("response_format", {}).get("type") == expected
    assert (sent.get("tool_choice") is None) == (method != "function_calling")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_schema_in_openais_wrapping(
    emulator: Emulator,
    llm: ChatOpenRouterFallback,
    wrapped: bool,
    method: Literal["json_schema", "function_calling"],
) -> None:
    inner = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    schema: dict[str, Any] = {"name": "Found", "description": "What was found.", "schema": inner, "strict": True}
    model = llm.with_structured_output(
        {"type": "json_schema", "json_schema": schema} if wrapped else schema, method=method
    )
    assert model.invoke("It is 7") == {"number": 7}
    sent = body(emulator)
    named = sent["tools"][0]["function"] if method == "function_calling" else sent["response_format"]["json_schema"]
    assert (named["name"], named["strict"]) == ("Found", True)


class Pair(BaseModel, Generic[T]):
    """Two of a kind, the second one optional."""

    first: T
    second: T | None = None


def test_a_strict_schema_is_one_that_openai_takes(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    """A name of ASCII letters, digits, _ and -; no additional properties, at any depth."""
    llm.with_structured_output(Pair[Found], method="json_schema", strict=True).invoke("It is 7")
    sent = body(emulator)["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Pair_Found_", True)
    assert sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"]["first"]["additionalProperties"] is False


def test_an_answer_that_is_no_json_goes_to_the_next_model(emulator: Emulator, make: Make) -> None:
    emulator.reply(text="no JSON", model="openai/gpt-5.1")
    assert make().with_structured_output(Found, method="json_schema").invoke("It is 7") == Found(number=7)
    assert emulator.count(CLAUDE) == 1


def test_a_parsing_error_is_kept_with_the_raw_answer(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    emulator.reply(text='{"other": 1}')
    answer = llm.with_structured_output(Found, method="json_mode", include_raw=True).invoke("hi")
    assert (answer["parsed"], answer["raw"].text) == (None, '{"other": 1}')
    assert answer["parsing_error"] is not None


PARAMS: dict[str, Any] = {
    "temperature": 0.2,
    "max_tokens": 50,
    "top_p": 0.9,
    "frequency_penalty": 0.1,
    "presence_penalty": 0.1,
    "seed": 7,
    "logprobs": True,
    "top_logprobs": 2,
    "stop": ["END"],
    "reasoning": {"effort": "low"},
    "verbosity": "low",
    "plugins": [{"id": "web", "max_results": 2}],
    "session_id": "s-1",
}


@pytest.mark.parametrize("where", ["constructor", "call", "bind"])
def test_parameters(emulator: Emulator, make: Make, where: str) -> None:
    if where == "constructor":
        make(**PARAMS).invoke("hi")
    elif where == "call":
        make(**dict.fromkeys(PARAMS)).invoke("hi", **PARAMS)
    else:
        make(temperature=1.0, seed=1).bind(**PARAMS).invoke("hi")
    sent = body(emulator)
    assert {name: sent[name] for name in PARAMS} == PARAMS


def test_langchains_names_for_openrouters_parameters(emulator: Emulator, make: Make) -> None:
    """A number in `max_price` costs nothing: the whole object goes out."""
    provider = {"order": ["openai"], "data_collection": "deny", "max_price": {"prompt": 5}}
    make(openrouter_provider=provider, stop_sequences="END", model_kwargs={"top_k": 3}).invoke(
        "hi", extra_body={"new": True}, headers={"X-Mine": "1"}
    )
    sent = emulator.log[0]
    assert sent.body["provider"] == provider
    assert (sent.body["stop"], sent.body["top_k"], sent.body["new"]) == ("END", 3, True)
    assert sent.headers["x-mine"] == "1"


@pytest.mark.parametrize("name", ["app_categories", "api_key", "base_url", "max_retries", "endpoints", "app_title"])
def test_what_only_a_constructor_takes_is_refused_in_a_call(
    emulator: Emulator, llm: ChatOpenRouterFallback, name: str
) -> None:
    """It would go out in the body, a key too."""
    given: Any = {name: "sk-secret"}
    with pytest.raises(ConfigError, match=f"{name}= is an argument of ChatOpenRouterFallback itself") as raised:
        llm.invoke("hi", **given)
    assert "secret" not in str(raised.value)
    assert emulator.count() == 0


def test_what_is_meant_for_langchain_is_not_sent(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.invoke("hi", stream_usage=True)
    assert "stream_usage" not in body(emulator)


@pytest.mark.parametrize("name", CHANGES)
def test_settings_change_what_they_name(name: str) -> None:
    changes, other = CHANGES[name]
    settings = ChatOpenRouterFallback(config=FILE, settings=changes, api_key="x", max_retries=4).client.config.settings
    was = load_config(FILE).settings
    expected = {key: getattr(was, key) for key in Settings.model_fields} | other | {"max_retries_per_model": 5}
    assert {key: getattr(settings, key) for key in Settings.model_fields} == expected


@pytest.mark.parametrize(
    "chain", [{"models": ["a/b", "x:c"]}, {"config": FILE}, {}], ids=["models", "config", "environment"]
)
def test_one_client_whatever_is_changed(chain: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "fallback.yaml").write_text("default_chain: [a/b]")
    monkeypatch.setenv("OPENROUTER_FALLBACK_CONFIG", str(tmp_path / "fallback.yaml"))
    made: list[FallbackClient] = []
    init = FallbackClient.__init__

    def counted(self: FallbackClient, *args: Any, **given: Any) -> None:
        made.append(self)
        init(self, *args, **given)

    monkeypatch.setattr(FallbackClient, "__init__", counted)
    endpoint = EndpointConfig("http://127.0.0.1:1/v1")
    llm = ChatOpenRouterFallback(
        **chain, endpoints={"x": endpoint}, settings={"policy": "any_error"}, timeout=3, max_retries=0, api_key="x"
    )
    assert len(made) == 1
    settings = llm.client.config.settings
    assert (settings.policy, settings.first_token_timeout_seconds, settings.max_retries_per_model) == (
        "any_error",
        3,
        1,
    )
    assert llm.client.config.endpoints["x"] == endpoint


@pytest.mark.parametrize(
    ("own", "call", "sent"),
    [
        ({"max_tokens": 1000}, {"max_completion_tokens": 10}, {"max_completion_tokens": 10}),
        ({"max_completion_tokens": 1000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 1000}, {"max_tokens": 10}, {"max_tokens": 10}),
        ({"max_tokens": 1000}, {"max_completion_tokens": None}, {"max_tokens": 1000}),
    ],
    ids=str,
)
def test_a_calls_token_limit_replaces_the_models(
    emulator: Emulator, make: Make, own: dict[str, Any], call: dict[str, Any], sent: dict[str, Any]
) -> None:
    make(**own).invoke("hi", **call)
    asked = body(emulator)
    assert {name: asked[name] for name in ("max_tokens", "max_completion_tokens") if name in asked} == sent


def test_attribution_and_headers(emulator: Emulator, make: Make) -> None:
    make(app_url="https://x.org", app_title="X", default_headers={"X-Mine": "1"}).invoke("hi")
    headers = emulator.log[0].headers
    assert (headers["http-referer"], headers["x-title"], headers["x-mine"]) == ("https://x.org", "X", "1")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"max_cost_teir": "budget"}, "did you mean max_cost_tier=?"),
        ({"temprature": 1}, "did you mean temperature=?"),
        ({"frobnicate": 1}, "model_kwargs"),
        ({"model_name": "a/b"}, "did you mean model=?"),
        ({"fallbacks": ["a/b"]}, "did you mean models=?"),
        ({"total_timeout": 5}, "settings={'total_timeout_seconds': ...}"),
        ({"policy": "any_error"}, "settings={'policy': ...}"),
        ({"accept": bool}, ".bind(accept=...)"),
        ({"model": "a/b", "models": ["a/b"]}, "not both"),
        ({"models": "a/b"}, "['a/b']"),
        ({"models": [7]}, "int"),
        ({"models": ["a/b"], "mid_stream": "go"}, "mid_stream=: Input should be 'continue' or 'raise'"),
        ({"models": ["a/b"], "temperature": "hot"}, "temperature=: "),
        ({"model": ["a/b", "c/d"]}, "models=['a/b', 'c/d']"),
        ({"models": ["gpt-5.1"]}, "openai/gpt-5.1"),
        ({"models": ["a/b"], "settings": {"polcy": "smart"}}, "policy"),
        ({"models": ["a/b"], "default_headers": {"Host": "x"}}, "'Host'"),
        ({"models": ["a/b"], "app_title": "a\nb"}, "app_title="),
        ({"config": "nowhere.yaml"}, "nowhere.yaml"),
        ({"models": ["a/b"], "endpoints": {"x": 1}}, "endpoints="),
        ({}, "OPENROUTER_FALLBACK_CONFIG"),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_a_wrong_constructor_is_told(arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        ChatOpenRouterFallback(**arguments)
    assert told in str(raised.value)


def test_no_type_error_shows_the_key() -> None:
    with pytest.raises(ValueError, match="temperature") as raised:
        ChatOpenRouterFallback(model="a/b", api_key="sk-or-v1-secret", temperature="hot")  # type: ignore[arg-type]
    assert "secret" not in str(raised.value)
