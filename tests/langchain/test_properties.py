"""Whatever a conversation holds and whatever a server sends: an answer or a `FallbackError`, no other error."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.messages import wire_messages
from openrouter_fallback import FallbackError
from openrouter_fallback.request.handover import History

from ..support.bodies import JSON
from ..support.rawserver import RawServer, Reply, sse

_MANY = settings(max_examples=300, deadline=None)
_FEW = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_SAYING = ["text", "text-plain", "output_text", "refusal", "search_result", "non_standard", "new"]
_SHOWING = ["image", "image_url", "audio", "video", "file", "document", "media"]
_OF_TOOLS = ["tool_use", "tool_call", "tool_result", "server_tool_use", "function_call"]
_THINKING = ["thinking", "redacted_thinking", "reasoning"]
_KINDS = st.sampled_from([*_SAYING, *_SHOWING, *_OF_TOOLS, *_THINKING])
_WHERE = ["url", "base64", "data", "mime_type", "source", "file", "file_id", "image_url", "title", "cache_control"]
_WHAT = ["text", "content", "value", "thinking", "reasoning", "summary", "signature", "input", "refusal"]
_KEYS = st.sampled_from([*_WHERE, *_WHAT, "extras", "metadata"])
_BLOCKS = st.one_of(
    st.text(max_size=5),
    st.builds(lambda kind, rest: {**rest, "type": kind}, _KINDS, st.dictionaries(_KEYS, JSON, min_size=2, max_size=8)),
)
_CONTENT = st.one_of(st.text(max_size=8), st.lists(_BLOCKS, max_size=4))
_EXTRA = st.dictionaries(
    st.sampled_from(["reasoning_details", "reasoning_content", "reasoning", "refusal", "tool_calls", "audio", "name"]),
    JSON,
    max_size=3,
)
_CALLS = st.lists(
    st.builds(
        lambda id, name, args: {"id": id, "name": name, "args": args, "type": "tool_call"},
        st.text(max_size=4),
        st.text(max_size=4),
        st.dictionaries(st.text(max_size=3), JSON, max_size=2),
    ),
    max_size=2,
)
_MESSAGES: st.SearchStrategy[BaseMessage] = st.one_of(
    st.builds(HumanMessage, _CONTENT, additional_kwargs=_EXTRA),
    st.builds(SystemMessage, _CONTENT),
    st.builds(ToolMessage, _CONTENT, tool_call_id=st.text(max_size=4)),
    st.builds(
        lambda content, calls, extra, told: AIMessage(
            content, tool_calls=calls, additional_kwargs=extra, response_metadata=told
        ),
        _CONTENT,
        _CALLS,
        st.dictionaries(
            st.sampled_from(["reasoning_details", "reasoning_content", "reasoning", "refusal"]), JSON, max_size=3
        ),
        st.dictionaries(st.sampled_from(["annotations", "model_name", "reasoning_details"]), JSON, max_size=2),
    ),
)


@_MANY
@given(st.lists(_MESSAGES, min_size=1, max_size=4))
def test_any_history_is_written_or_told(messages: list[BaseMessage]) -> None:
    """And what the caller holds stays as it is."""
    before = deepcopy(messages)
    try:
        wire = wire_messages(messages)
        History(wire)
    except FallbackError:
        pass
    else:
        assert [message["role"] for message in wire] == [_ROLES[message.type] for message in messages]
    assert messages == before


_ROLES = {"human": "user", "ai": "assistant", "system": "system", "tool": "tool"}


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


_FIELDS = st.sampled_from(
    ["content", "refusal", "annotations", "images", "audio", "reasoning", "reasoning_details", "tool_calls"]
)
_TOP = st.sampled_from(["usage", "service_tier", "provider", "id", "system_fingerprint"])
_ANSWERS = st.builds(
    lambda message, top, finish, logprobs: {
        "id": "gen-1",
        "model": "raw/model",
        **top,
        "choices": [
            {"index": 0, "delta": {"content": "Yes", **message}, "finish_reason": finish, "logprobs": logprobs}
        ],
    },
    st.dictionaries(_FIELDS, JSON, max_size=4),
    st.dictionaries(_TOP, JSON, max_size=3),
    st.one_of(st.just("stop"), JSON),
    JSON,
)


@_FEW
@given(_ANSWERS)
def test_any_answer_is_read_or_told(server: RawServer, chunk: dict[str, Any]) -> None:
    server.answer(Reply([sse(chunk, "[DONE]")]))
    llm = ChatOpenRouterFallback(
        models=["raw/model"],
        base_url=server.base_url,
        api_key="sk-or-x",
        settings={"max_retries_per_model": 1, "total_timeout_seconds": 5},
    )
    for ask in (lambda: llm.invoke("hi"), lambda: [*llm.stream("hi")]):
        try:
            got = ask()
        except FallbackError:
            continue
        assert got
        back = got if isinstance(got, AIMessage) else sum(got[1:], start=got[0])
        wire_messages([back])
