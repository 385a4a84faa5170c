"""What holds for any history of the frameworks' own messages, as their adapters write it and as any model reads it."""

from __future__ import annotations

import copy
import json
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
from openrouter_fallback.emulator.models import registry
from openrouter_fallback.emulator.requests import strict, validation
from openrouter_fallback.emulator.requests.history import History as Seen
from openrouter_fallback.emulator.requests.refusal import Refused
from openrouter_fallback.request.handover import (
    Form,
    History,
    Target,
    rule_for,
    tool_names,
    translate,
    translated_params,
)

from ..request.handover.histories import TARGETS, encrypted, signed
from .matrix import TOOL

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


# Any history of a stranger, and what the strict emulator says of it

_STRANGER = "z-ai/glm-4.6"
_READERS = registry.Models()


def _block(kind: str, **more: Any) -> Json:
    return {"type": kind, **more}


_SEEN = st.lists(
    st.sampled_from(
        [
            _block("text", text="one"),
            _block("text", text="", cache_control={"type": "ephemeral"}),
            _block("text", text="two", cache_control={"type": "ephemeral"}),
            {"text": "untyped"},
            "bare",
            _block("input_text", text="three"),
            _block("input_image", image_url="https://example.com/a.png"),
        ]
    ),
    max_size=3,
)
_SAID = st.lists(
    st.sampled_from(
        [
            _block("text", text="one"),
            _block("text", text=""),
            _block("thinking", thinking="Hm", signature="c2ln"),
            _block("tool_use", id="toolu_1", name="get_weather", input={"city": "Rome"}),
            _block("refusal", refusal="No."),
            _block("image_url", image_url={"url": "https://example.com/a.png"}),
        ]
    ),
    max_size=3,
)
_WORDS = st.sampled_from([None, "", " ", "Hi", "What is it?", "a\nb"])
# Keys that say nothing, as SDKs write them.
_UNSAID = st.sampled_from([{}, {"tool_calls": []}, {"tool_calls": None, "function_call": None, "refusal": None}])
_ANY_ID = st.one_of(_IDS, st.sampled_from([None, "rs_1", "\u00e9"]))
_ANY_CALLS = st.lists(
    st.builds(
        lambda id, name, arguments, kind: {**kind, "id": id, "function": {"name": name, "arguments": arguments}},
        _ANY_ID,
        st.sampled_from(["get_weather", "mcp.server/tool", "x" * 70, "1st", "", None]),
        st.sampled_from(["{}", '{"city": "Bern"}', "", "null", "[1]", '{"city": "Be', None, {"city": "Bern"}]),
        st.sampled_from([{"type": "function"}, {}]),
    ),
    max_size=3,
)
_PLAIN_DETAILS = st.lists(
    st.sampled_from([encrypted("meta-responses-v1"), _block("reasoning.text", text="So", format=None)]), max_size=2
)
_FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "name": st.sampled_from(["", "Research Agent", "x" * 70]),
        "cache_control": st.just({"type": "ephemeral"}),
    },
)


def _with(message: Json, more: Json, extra: Json) -> Json:
    return {**message, **more, **{key: value for key, value in extra.items() if value}}


HISTORIES: st.SearchStrategy[list[Json]] = st.lists(
    st.one_of(
        st.builds(
            lambda content, more: {"role": "user", "content": content, **more}, st.one_of(_WORDS, _SEEN), _FIELDS
        ),
        st.builds(
            lambda role, content, more: {"role": role, "content": content, **more},
            st.sampled_from(["system", "developer"]),
            st.one_of(_WORDS, _SEEN),
            _FIELDS,
        ),
        st.builds(
            lambda content, unsaid, more, calls, details, text: _with(
                {"role": "assistant", "content": content, "model": _STRANGER, **unsaid},
                more,
                {"tool_calls": calls, "reasoning_details": details, "reasoning": text},
            ),
            st.one_of(_WORDS, _SAID),
            _UNSAID,
            _FIELDS,
            _ANY_CALLS,
            _PLAIN_DETAILS,
            st.sampled_from(["", "Hm."]),
        ),
        st.builds(
            lambda content, id, more: {"role": "tool", "content": content, "tool_call_id": id, **more},
            st.one_of(_WORDS, _SEEN),
            _ANY_ID,
            _FIELDS,
        ),
        st.builds(lambda content: {"role": "function", "name": "get_weather", "content": content}, _WORDS),
    ),
    min_size=1,
    max_size=7,
)


def _complaint(body: Json) -> str:
    """What the servers of the body's model say of it; empty if they accept it."""
    model = _READERS.find(body["model"])
    assert model is not None
    try:
        request = validation.checked(body)
        validation.conversable(request, model.hosts[0].name)
    except Refused as error:
        return str(error.error)
    for host in model.hosts:
        seen = Seen(request, model, host, "sk-or-x")
        refused = strict.refusal(seen)
        if isinstance(refused, Refused):
            return str(refused.error)
        if strict.goes_silent(seen):
            return "silence"
    return ""


@settings(max_examples=600, deadline=None)
@given(
    HISTORIES,
    st.sampled_from(registry.MODELS),
    st.sampled_from([Form.NORMAL, Form.NORMAL, Form.UNSIGNED, Form.STRICT]),
    st.booleans(),
)
def test_each_family_accepts_any_history_of_a_stranger(
    messages: list[Json], model: str, form: Form, thinking: bool
) -> None:
    """The strict emulator's rules know nothing of the table, and the table nothing of them."""
    params: Json = {"tools": [TOOL], **({"reasoning": {"effort": "high"}} if thinking else {})}
    target = Target(rule_for(model), model, form=form, thinking=thinking or None)
    handed = translate(History(messages), target, tool_names(params))
    if handed.without_reasoning:
        params.pop("reasoning", None)
    body = {"model": model, "messages": list(handed.messages), **translated_params(params, handed.functions)}
    said = _complaint(json.loads(json.dumps(body)))
    later = form is Form.STRICT and "reasoning_content" in said  # the next form has it
    assert not said or later
