"""What holds for any history of the frameworks' own messages, as their adapters write it and as any model reads it."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.base.llms.types import ChatMessage as LlamaMessage

from langchain_openrouter_fallback import messages as langchain
from llamaindex_openrouter_fallback import messages as llamaindex
from openrouter_fallback.request.handover import History, Target, translate

from ..request.handover.histories import TARGETS, encrypted, signed

Json = dict[str, Any]

_MANY = settings(max_examples=200, deadline=None)
_TEXTS = st.sampled_from(["", " ", "Hi", "What is it?"])
_IDS = st.sampled_from(["", "call_1", "call_2", "toolu_01A", "functions.get_weather:0", "abcdefghi", "x" * 41])
_NAMES = st.sampled_from(["get_weather", "mcp.server/tool", "x" * 70])
_SPEAKERS = st.sampled_from([None, "Research Agent", "me"])
_DETAILS: st.SearchStrategy[list[Any]] = st.lists(
    st.sampled_from(
        [
            signed(),
            {"type": "reasoning.text", "text": "Le", "format": "anthropic-claude-v1", "index": 0.0},
            encrypted("google-gemini-v1", id="call_1"),
            encrypted("openai-responses-v1", id="rs_1"),
            {"type": "reasoning.text", "text": "So", "format": None},
        ]
    ),
    max_size=2,
)
_WRITERS = st.sampled_from(["", "anthropic/claude-4.5-sonnet-20250929", "gpt-5.1-2025-11-13", "kimi-k2-thinking"])

# LangChain's

_BLOCKS = st.lists(
    st.sampled_from(
        [
            "bare",
            {"type": "text", "text": "one", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": ""},
            {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
            {"type": "image", "url": "https://example.com/a.png"},
            {"type": "media", "mime_type": "image/png", "data": "aWJt"},
            {"type": "input_text", "text": "three"},
        ]
    ),
    max_size=3,
)
_CONTENTS: st.SearchStrategy[Any] = st.one_of(_TEXTS, _BLOCKS)
_CALLS = st.lists(
    st.builds(lambda id, name: {"id": id, "name": name, "args": {"city": "Rome"}, "type": "tool_call"}, _IDS, _NAMES),
    max_size=2,
)


def _ai(content: Any, calls: list[Any], details: list[Any], writer: str, name: str | None) -> AIMessage:
    extra: Json = {"reasoning_details": details} if details else {"reasoning_content": "Hm."}
    return AIMessage(
        content,
        tool_calls=calls,
        additional_kwargs=extra if writer else {},
        response_metadata={"model_name": writer} if writer else {},
        name=name,
    )


LANGCHAIN: st.SearchStrategy[list[BaseMessage]] = st.lists(
    st.one_of(
        st.builds(HumanMessage, _CONTENTS, name=_SPEAKERS),
        st.builds(SystemMessage, _CONTENTS),
        st.builds(_ai, _CONTENTS, _CALLS, _DETAILS, _WRITERS, _SPEAKERS),
        st.builds(lambda content, id: ToolMessage(content, tool_call_id=id), _CONTENTS, _IDS),
        st.builds(lambda content, name: FunctionMessage(content=content, name=name), _TEXTS, _NAMES),
        st.builds(
            lambda content, role: ChatMessage(content=content, role=role),
            _TEXTS,
            st.sampled_from(["user", "developer"]),
        ),
    ),
    min_size=1,
    max_size=7,
)

# LlamaIndex's

_PARTS = st.lists(
    st.one_of(
        st.builds(TextBlock, text=_TEXTS),
        st.just(ImageBlock(url="https://example.com/a.png")),
        st.just(CachePoint(cache_control=CacheControl(type="ephemeral"))),
    ),
    max_size=3,
)
_THOUGHTS = st.builds(
    lambda details: ThinkingBlock(content="Hm.", additional_information={"reasoning_details": details}), _DETAILS
)
_TOOLS = st.lists(
    st.builds(
        lambda id, name: ToolCallBlock(tool_call_id=id or None, tool_name=name, tool_kwargs={"city": "Rome"}),
        _IDS,
        _NAMES,
    ),
    max_size=2,
)
LLAMAINDEX: st.SearchStrategy[list[LlamaMessage]] = st.lists(
    st.one_of(
        st.builds(
            lambda role, blocks: LlamaMessage(role=role, blocks=blocks), st.sampled_from(["user", "system"]), _PARTS
        ),
        st.builds(
            lambda thought, blocks, calls: LlamaMessage(role="assistant", blocks=[thought, *blocks, *calls]),
            _THOUGHTS,
            _PARTS,
            _TOOLS,
        ),
        st.builds(
            lambda blocks, id: LlamaMessage(role="tool", blocks=blocks, additional_kwargs={"tool_call_id": id}),
            _PARTS,
            _IDS,
        ),
        st.builds(lambda text: LlamaMessage(text, role="function", additional_kwargs={"name": "get_weather"}), _TEXTS),
    ),
    min_size=1,
    max_size=7,
)


def _holds(wire: list[Json], target: Target) -> None:
    """Translating is idempotent, ids are unique, and results stand behind their calls."""
    once = list(translate(History(wire), target).messages)
    assert list(translate(History(once), target).messages) == once
    expected: list[str] = []
    seen: set[str] = set()
    for message in once:
        if message["role"] == "tool":
            assert message["tool_call_id"] == expected.pop(0)
            continue
        assert not expected
        expected = [call["id"] for call in message.get("tool_calls") or ()]
        assert all(expected)
        assert seen.isdisjoint(expected)
        assert len(set(expected)) == len(expected)
        seen.update(expected)


def _same(before: Sequence[Any], after: Sequence[Any]) -> bool:
    return [one.model_dump() for one in before] == [one.model_dump() for one in after]


@_MANY
@given(LANGCHAIN, TARGETS)
def test_any_history_of_langchains_messages(messages: list[BaseMessage], target: Target) -> None:
    before = copy.deepcopy(messages)
    _holds(langchain.wire_messages(messages), target)
    assert _same(messages, before)


@_MANY
@given(LLAMAINDEX, TARGETS)
def test_any_history_of_llamaindexs_messages(messages: list[LlamaMessage], target: Target) -> None:
    before = copy.deepcopy(messages)
    _holds(llamaindex.wire_messages(messages), target)
    assert _same(messages, before)
