"""Messages and content blocks on the wire, each as OpenRouter takes them."""

from __future__ import annotations

from typing import Any

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

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from langchain_openrouter_fallback.messages import content, wire_messages
from openrouter_fallback.emulator import Emulator

from .conftest import CLAUDE, Make
from .schemas import body

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
