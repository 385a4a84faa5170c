"""Messages on their way out and answers on their way in: nothing of either is lost."""

from __future__ import annotations

import base64
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.core.prompts import PromptTemplate
from pydantic import BaseModel

from llamaindex_openrouter_fallback import OpenRouterFallback
from llamaindex_openrouter_fallback.messages import wire_messages
from openrouter_fallback import ConfigError
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.request.handover import History, Target, rule_for, translate

from ..call.test_wire_replay import ALL, Recording
from ..cases.matrix import FIRST, SECOND
from ..support.bodies import choice, delta
from ..support.rawserver import RawServer, Reply, sse
from .conftest import Make

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
WAV = b"RIFF$\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n"
MP4 = b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom"


def inline(mime: str, data: bytes) -> str:
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"


PNG_URL, PDF_URL, MP4_URL = inline("image/png", PNG), inline("application/pdf", PDF), inline("video/mp4", MP4)
HELLO = {"type": "text", "text": "Hello"}


def user(*blocks: Any) -> ChatMessage:
    return ChatMessage(role="user", blocks=[TextBlock(text="Hello"), *blocks])


def image(url: str, **more: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def call(id: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "look_up", "arguments": arguments}}


DETAILS = [{"type": "reasoning.text", "text": "Hm.", "signature": "c2ln", "format": "anthropic-claude-v1", "index": 0}]
POINT = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))
CACHED = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}

NOTES = [{"type": "url_citation", "url_citation": {"url": "https://example.com"}}]

# What LlamaIndex has, what goes on the wire.
MESSAGES: dict[str, tuple[ChatMessage, dict[str, Any]]] = {
    "text": (ChatMessage("Hello"), {"role": "user", "content": "Hello"}),
    "system": (ChatMessage("Be brief", role="system"), {"role": "system", "content": "Be brief"}),
    "developer": (ChatMessage("Be brief", role="developer"), {"role": "developer", "content": "Be brief"}),
    "chatbot": (ChatMessage("Hi", role=MessageRole.CHATBOT), {"role": "assistant", "content": "Hi"}),
    "model": (ChatMessage("Hi", role=MessageRole.MODEL), {"role": "assistant", "content": "Hi"}),
    "nothing": (ChatMessage(role="user"), {"role": "user", "content": ""}),
    "two texts": (user(TextBlock(text="there")), {"role": "user", "content": "Hello\nthere"}),
    "a name": (
        ChatMessage("Hello", additional_kwargs={"name": "ann", "ref_doc_id": "7"}),
        {"role": "user", "content": "Hello", "name": "ann"},
    ),
    "image": (user(ImageBlock(image=PNG)), {"role": "user", "content": [HELLO, image(PNG_URL)]}),
    "image, read": (user(ImageBlock(image=BytesIO(PNG))), {"role": "user", "content": [HELLO, image(PNG_URL)]}),
    "image by URL": (
        user(ImageBlock(url="https://example.com/a.png", detail="low")),
        {"role": "user", "content": [HELLO, image("https://example.com/a.png", detail="low")]},
    ),
    "image in a URL": (user(ImageBlock(url=PNG_URL)), {"role": "user", "content": [HELLO, image(PNG_URL)]}),
    "audio": (
        user(AudioBlock(audio=WAV)),
        {
            "role": "user",
            "content": [
                HELLO,
                {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}},
            ],
        },
    ),
    "video": (
        user(VideoBlock(video=MP4)),
        {"role": "user", "content": [HELLO, {"type": "video_url", "video_url": {"url": MP4_URL}}]},
    ),
    "video by URL": (
        user(VideoBlock(url="https://example.com/a.mp4")),
        {"role": "user", "content": [HELLO, {"type": "video_url", "video_url": {"url": "https://example.com/a.mp4"}}]},
    ),
    "document": (
        user(DocumentBlock(data=PDF, title="paper")),
        {
            "role": "user",
            "content": [HELLO, {"type": "file", "file": {"filename": "paper.pdf", "file_data": PDF_URL}}],
        },
    ),
    "document by URL": (
        user(DocumentBlock(url="https://example.com/a.pdf", title="a.pdf")),
        {
            "role": "user",
            "content": [
                HELLO,
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "https://example.com/a.pdf"}},
            ],
        },
    ),
    "cache point": (
        user(POINT, TextBlock(text="there")),
        {"role": "user", "content": [{**HELLO, **CACHED}, {"type": "text", "text": "there"}]},
    ),
    "cache point after an image": (
        user(ImageBlock(image=PNG), POINT),
        {"role": "user", "content": [HELLO, {**image(PNG_URL), **CACHED}]},
    ),
    "cache point after an image alone": (
        ChatMessage(role="user", blocks=[ImageBlock(image=PNG), POINT, TextBlock(text="Hello")]),
        {"role": "user", "content": [{**image(PNG_URL), **CACHED}, HELLO]},
    ),
    "cache point after a document": (
        user(DocumentBlock(url="https://example.com/a.pdf", title="a.pdf"), POINT),
        {
            "role": "user",
            "content": [
                HELLO,
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "https://example.com/a.pdf"},
                    **CACHED,
                },
            ],
        },
    ),
    "citable": (
        ChatMessage(blocks=[CitableBlock(title="Seams", source="a.txt", content=[TextBlock(text="They join.")])]),
        {"role": "user", "content": "[Seams, a.txt]\nThey join."},
    ),
    "citation": (
        ChatMessage(
            role="assistant",
            blocks=[
                CitationBlock(
                    title="Seams", source="a", cited_content=TextBlock(text="They join."), additional_location_info={}
                )
            ],
        ),
        {"role": "assistant", "content": "They join."},
    ),
    "thinking": (
        ChatMessage(role="assistant", blocks=[ThinkingBlock(content="Hm."), TextBlock(text="Yes")]),
        {"role": "assistant", "content": "Yes", "reasoning": "Hm."},
    ),
    "thinking, signed": (
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="Hm.", additional_information={"reasoning_details": DETAILS}),
                TextBlock(text="Yes"),
            ],
        ),
        {"role": "assistant", "content": "Yes", "reasoning": "Hm.", "reasoning_details": DETAILS},
    ),
    "thinking, signed, of the Anthropic integration": (
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="Hm.", additional_information={"signature": "c2ln", "type": "thinking"}),
                TextBlock(text="Hello"),
            ],
        ),
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}, HELLO]},
    ),
    "thinking, redacted, of the Anthropic integration": (
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(additional_information={"type": "redacted_thinking", "data": "eA=="}),
                ToolCallBlock(tool_call_id="1", tool_name="look_up"),
            ],
        ),
        {
            "role": "assistant",
            "content": [{"type": "redacted_thinking", "data": "eA=="}],
            "tool_calls": [call("1", "{}")],
        },
    ),
    "thinking, of the Responses integration": (
        ChatMessage(
            role="assistant",
            blocks=[
                ThinkingBlock(content="Hm.", additional_information={"id": "rs_1", "encrypted_content": "x"}),
                TextBlock(text="Hello"),
            ],
        ),
        {"role": "assistant", "content": "Hello", "reasoning": "Hm."},
    ),
    "tool calls": (
        ChatMessage(
            role="assistant",
            blocks=[
                ToolCallBlock(tool_call_id="1", tool_name="look_up", tool_kwargs={"query": "naïve"}),
                ToolCallBlock(tool_call_id="2", tool_name="look_up", tool_kwargs='{"query": "b"}'),
                ToolCallBlock(tool_name="look_up"),
            ],
        ),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [call("1", '{"query": "naïve"}'), call("2", '{"query": "b"}'), call("call_2", "{}")],
        },
    ),
    "tool calls of another integration": (
        ChatMessage(
            "Let me see",
            role="assistant",
            additional_kwargs={
                "tool_calls": [call("1", "{}"), SimpleNamespace(model_dump=lambda exclude_none: call("2", "{}"))]
            },
        ),
        {"role": "assistant", "content": "Let me see", "tool_calls": [call("1", "{}"), call("2", "{}")]},
    ),
    "tool result": (
        ChatMessage("found", role="tool", additional_kwargs={"tool_call_id": "1", "name": "look_up"}),
        {"role": "tool", "content": "found", "tool_call_id": "1", "name": "look_up"},
    ),
    "tool result of the Responses integration": (
        ChatMessage("found", role="tool", additional_kwargs={"call_id": "1"}),
        {"role": "tool", "content": "found", "tool_call_id": "1"},
    ),
    "annotations": (
        ChatMessage("See there", role="assistant", additional_kwargs={"annotations": NOTES}),
        {"role": "assistant", "content": "See there", "annotations": NOTES},
    ),
    "a function's result": (
        ChatMessage("found", role="function", additional_kwargs={"name": "look_up"}),
        {"role": "function", "content": "found", "name": "look_up"},
    ),
    "tool result with an image": (
        ChatMessage(
            role="tool",
            blocks=[TextBlock(text="Hello"), ImageBlock(image=PNG)],
            additional_kwargs={"tool_call_id": "1"},
        ),
        {"role": "tool", "content": [HELLO, image(PNG_URL)], "tool_call_id": "1"},
    ),
    "what an agent returns directly": (
        ChatMessage("found", role="assistant", additional_kwargs={"tool_call_id": "1"}),
        {"role": "assistant", "content": "found"},
    ),
    "an assistant's image": (
        ChatMessage(role="assistant", blocks=[TextBlock(text="Hello"), ImageBlock(image=PNG)]),
        {"role": "assistant", "content": "Hello", "images": [image(PNG_URL)]},
    ),
    "an assistant's speech": (
        ChatMessage(
            role="assistant",
            blocks=[TextBlock(text="Hello"), AudioBlock(audio=WAV)],
            additional_kwargs={"audio": {"id": "speech_1"}},
        ),
        {"role": "assistant", "content": "Hello", "audio": {"id": "speech_1"}},
    ),
}


@pytest.mark.parametrize("name", MESSAGES)
async def test_a_message_goes_out(make: Any, name: str) -> None:
    """To a server that takes everything: the emulator, as OpenRouter, would refuse some of these alone."""
    message, wire = MESSAGES[name]
    before = message.model_dump()
    with RawServer() as server:
        server.answer(Reply([sse(delta(content="Yes", finish="stop"))]))
        llm = make(["anthropic/claude-sonnet-4.5"], api_base=server.base_url)

        llm.chat([message])
        await llm.achat([message])

        assert wire_messages([message]) == [wire]
        claude = Target(rule_for("anthropic/claude-sonnet-4.5"), "anthropic/claude-sonnet-4.5")
        sent = list(translate(History([wire]), claude).messages)
        assert [request.body["messages"] for request in server.requests] == [sent, sent]
    assert message.model_dump() == before


@pytest.mark.parametrize(
    ("block", "name", "data"), [(ImageBlock, "a.png", PNG), (DocumentBlock, "a.pdf", PDF), (ImageBlock, "picture", PNG)]
)
def test_a_file_goes_out(
    llm: OpenRouterFallback, emulator: Emulator, tmp_path: Path, block: Any, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    llm.chat([ChatMessage(blocks=[block(path=path)])])

    (part,) = emulator.log[-1].body["messages"][0]["content"]
    if block is ImageBlock:
        assert part == image(PNG_URL)
    else:
        assert part["file"] == {"filename": name, "file_data": PDF_URL}


@pytest.mark.parametrize("data", [WAV, b"only ascii"])
def test_speech_from_an_open_file_goes_out(make: Make, emulator: Emulator, data: bytes) -> None:
    """Twice, as a conversation does."""
    llm = make(["google/gemini-2.5-pro"])
    message = user(AudioBlock(audio=BytesIO(data), format="wav"))

    llm.chat([message])
    llm.chat([message])

    for request in emulator.log:
        assert (
            base64.b64decode(request.body["messages"][0]["content"][-1]["input_audio"]["data"], validate=True) == data
        )


def test_a_block_that_cannot_be_sent(llm: OpenRouterFallback, emulator: Emulator, tmp_path: Path) -> None:
    gone = tmp_path / "gone.png"
    gone.write_bytes(PNG)
    block = ImageBlock(path=gone)
    gone.unlink()

    with pytest.raises(ConfigError, match=r"block 1 of message 0 \(ImageBlock\) cannot be sent: .*gone.png"):
        llm.chat([user(block)])
    assert emulator.log == []


def test_a_call_that_cannot_be_sent(llm: OpenRouterFallback, emulator: Emulator) -> None:
    block = ToolCallBlock(tool_call_id="1", tool_name="look_up", tool_kwargs={"until": object()})
    with pytest.raises(ConfigError, match=r"arguments of a call to look_up in message 1 cannot be sent: .*object"):
        llm.chat([user(), ChatMessage(role="assistant", blocks=[block])])
    assert emulator.log == []


class Answer(BaseModel):
    """An answer."""

    number: int


def blocks(response: ChatResponse) -> list[str]:
    return [block.block_type for block in response.message.blocks]


def test_everything_comes_in(make: Make, emulator: Emulator) -> None:
    llm = make([SECOND])
    emulator.reply(
        text="Yes",
        reasoning="Hm.",
        tool_calls=[{"name": "look_up", "arguments": {"query": "a"}, "id": "1"}],
        images=[image(PNG_URL), image("https://example.com/b.png")],
        annotations=[{"type": "url_citation", "url_citation": {"url": "https://example.com"}}],
    )

    whole = llm.chat([ChatMessage("Hello")])
    streamed = list(llm.stream_chat([ChatMessage("Hello")]))[-1]

    for response in (whole, streamed):
        assert isinstance(response.raw, dict)
        assert blocks(response) == ["thinking", "text", "image", "image", "tool_call"]
        thinking, text, first, second, tool = response.message.blocks
        assert isinstance(thinking, ThinkingBlock)
        assert thinking.content == "Hm."
        assert thinking.num_tokens == response.raw["usage"]["completion_tokens_details"]["reasoning_tokens"]
        (detail,) = thinking.additional_information["reasoning_details"]
        assert (detail["text"], bool(detail["signature"])) == ("Hm.", True)
        assert text == TextBlock(text="Yes")
        assert isinstance(first, ImageBlock)
        assert first.resolve_image().read() == PNG
        assert isinstance(second, ImageBlock)
        assert str(second.url) == "https://example.com/b.png"
        assert tool == ToolCallBlock(tool_call_id="1", tool_name="look_up", tool_kwargs={"query": "a"})
        assert [one["id"] for one in response.message.additional_kwargs["tool_calls"]] == ["1"]
        assert response.message.additional_kwargs["annotations"][0]["type"] == "url_citation"
        assert response.message.role == MessageRole.ASSISTANT


async def test_what_openrouter_tells_of_an_answer(make: Any) -> None:
    usage = {
        "prompt_tokens": 5,
        "completion_tokens": 2,
        "cost": 0.25,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.5},
    }
    chunk = {**delta(content="Yes", finish="stop"), "service_tier": "priority", "usage": usage}
    with RawServer() as server:
        server.answer(Reply([sse(chunk, "[DONE]")]))
        llm = make(["raw/model"], api_base=server.base_url)
        asked = [ChatMessage("Hello")]
        told = [
            llm.chat(asked),
            list(llm.stream_chat(asked))[-1],
            await llm.achat(asked),
            [response async for response in await llm.astream_chat(asked)][-1],
            llm.complete("Hello"),
        ]
    for response in told:
        expected = {"service_tier": "priority", "is_byok": True, "cost": 0.75, "cost_details": usage["cost_details"]}
        assert {name: response.additional_kwargs[name] for name in expected} == expected
        assert "estimated" not in response.additional_kwargs


def test_an_estimate_is_marked(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(tokens=30)
    emulator.fault("cut", model=FIRST, after_tokens=5)
    last = list(llm.stream_chat([ChatMessage("Hello")]))[-1]
    assert last.additional_kwargs["seams"]
    assert last.additional_kwargs["estimated"] is True


def test_speech_comes_in(llm: OpenRouterFallback, emulator: Emulator) -> None:
    data = base64.b64encode(WAV).decode()
    emulator.reply(audio={"id": "speech_1", "data": data, "transcript": "Hello", "format": "wav"})

    response = llm.chat([ChatMessage("Hello")])

    (speech,) = response.message.blocks
    assert isinstance(speech, AudioBlock)
    assert speech.resolve_audio().read() == WAV
    assert response.message.additional_kwargs["audio"] == {"id": "speech_1"}


def test_a_refusal_is_an_answer(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(refusal="I would rather not.")

    for response in (llm.chat([ChatMessage("Hello")]), *llm.stream_chat([ChatMessage("Hello")])):
        assert response.message.content == "I would rather not."
    assert "".join(response.delta or "" for response in llm.stream_chat([ChatMessage("Hi")])) == "I would rather not."
    assert llm.complete("Hello").text == "I would rather not."


def test_a_refusal_in_place_of_a_call_is_told(make: Any) -> None:
    with RawServer() as server:
        server.answer(Reply([sse(delta(refusal="I would rather not.", finish="stop"), "[DONE]")]))
        llm = make(["raw/model"], api_base=server.base_url)
        with pytest.raises(ValueError, match="the model refused: I would rather not"):
            llm.structured_predict(Answer, PromptTemplate("Hello"))


def test_an_answer_goes_back_as_it_came(make: Make, emulator: Emulator) -> None:
    """Signed reasoning and tool calls: providers compare what they get back with what they have sent."""
    llm = make([SECOND])
    call = {"name": "look_up", "arguments": '{"query":  "naïve"}', "id": "1"}
    emulator.reply(text="Let me see", reasoning="Hm.", tool_calls=[call])
    came = llm.chat([ChatMessage("Hello")])

    restored = ChatMessage.model_validate_json(came.message.model_dump_json())  # as a saved Context has it
    found = ChatMessage("found", role="tool", additional_kwargs={"tool_call_id": "1"})
    for message in (came.message, restored):
        llm.chat([ChatMessage("Hello"), message, found])

    for request in emulator.log[1:]:
        sent = request.body["messages"][1]
        assert sent["content"] == "Let me see"
        assert sent["reasoning"] == "Hm."
        assert sent["reasoning_details"] == came.message.blocks[0].additional_information["reasoning_details"]
        (back,) = sent["tool_calls"]
        assert back["id"] == "1"
        assert back["function"] == {"name": "look_up", "arguments": '{"query": "naïve"}'}


RAW: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a call without arguments": (
        choice("tool_calls", tool_calls=[{"id": "1", "type": "function", "function": {"name": "now"}}]),
        ["tool_call"],
    ),
    "an image that is none": (choice(content="See", images=[image("data:image/png;base64,%%%")]), ["text", "image"]),
    "an image whose URL is none": (choice(content="See", images=[image("not a URL")]), ["text"]),
    "speech that is none": (choice(content="Hear", audio={"data": 7}), ["text"]),
    "cut off by its length": (choice("length", content="To"), ["text"]),
}


@pytest.mark.parametrize("name", RAW)
def test_what_servers_send(make: Any, name: str) -> None:
    first, expected = RAW[name]
    body = {"id": "gen", "model": "raw/model", "object": "chat.completion", "choices": [first]}
    with RawServer() as server:
        server.answer(Reply([sse({**body, "choices": [{**first, "delta": first["message"]}]})]))
        llm = make(["raw/model"], api_base=server.base_url)

        response = llm.chat([ChatMessage("Hello")])

    assert blocks(response) == expected
    if expected == ["tool_call"]:
        (selection,) = llm.get_tool_calls_from_response(response)
        assert (selection.tool_name, selection.tool_kwargs) == ("now", {})


async def test_calls_without_ids_are_answered_all_the_same(make: Any) -> None:
    """Some servers send none; the tool's result names the call that it answers."""
    calls = [{"type": "function", "function": {"name": "now", "arguments": "{}"}}] * 2
    with RawServer() as server:
        streamed = [{**one, "index": number} for number, one in enumerate(calls)]
        server.answer(Reply([sse(delta(tool_calls=streamed, finish="tool_calls"))]))
        llm = make(["raw/model"], api_base=server.base_url)

        responses = [llm.chat([ChatMessage("Hello")]), list(llm.stream_chat([ChatMessage("Hello")]))[-1]]

        for response in responses:
            ids = [selection.tool_id for selection in llm.get_tool_calls_from_response(response)]
            assert len({*ids, ""}) == 3
            results = [ChatMessage("noon", role="tool", additional_kwargs={"tool_call_id": id}) for id in ids]
            llm.chat([ChatMessage("Hello"), response.message, *results])
            said, *answered = server.requests[-1].body["messages"][1:]
            assert [one["id"] for one in said["tool_calls"]] == [one["tool_call_id"] for one in answered] == ids


GOOD = [one for one in ALL if one.status == 200 and not one.name.startswith("stream_error")]


@pytest.mark.skipif(not ALL, reason="no recordings beside the repository (shared/openrouter)")
@pytest.mark.parametrize("recording", GOOD, ids=lambda recording: recording.name)
def test_a_recording_comes_in(make: Any, recording: Recording) -> None:
    """What the core reads from real traffic is what LlamaIndex gets."""
    streams = recording.events is not None
    reply = Reply([recording.content], content_type="text/event-stream" if streams else "application/json")
    with RawServer() as server:
        server.answer(reply)
        llm = make(["raw/model"], api_base=server.base_url)
        completion = llm.client.chat("Hello")
        responses = [llm.chat([ChatMessage("Hello")])]
        if streams:
            responses += list(llm.stream_chat([ChatMessage("Hello")]))[-1:]

    for response in responses:
        assert (response.message.content or "") == completion.text
        calls = llm.get_tool_calls_from_response(response, error_on_no_tool_call=False)
        assert [(one.tool_id, one.tool_name, one.tool_kwargs) for one in calls] == [
            (one.id, one.name, one.arguments) for one in completion.tool_calls
        ]
        thinking = [block for block in response.message.blocks if isinstance(block, ThinkingBlock)]
        assert "".join(block.content or "" for block in thinking) == completion.reasoning
        assert response.raw == completion.raw
