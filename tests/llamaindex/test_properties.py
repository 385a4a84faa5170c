"""Whatever a conversation holds and whatever a server sends: an answer or a `FallbackError`, no other error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from llamaindex_openrouter_fallback import OpenRouterFallback
from llamaindex_openrouter_fallback.messages import wire_messages
from openrouter_fallback import FallbackError
from openrouter_fallback.request.handover import History

from ..support.bodies import JSON
from ..support.rawserver import RawServer, Reply, sse

_MANY = settings(max_examples=200, deadline=None)
_FEW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_TOLD = st.dictionaries(st.sampled_from(["signature", "type", "data", "reasoning_details", "id"]), JSON, max_size=3)
_BLOCKS = st.one_of(
    st.builds(TextBlock, text=st.text(max_size=5)),
    st.builds(ThinkingBlock, content=st.one_of(st.none(), st.text(max_size=5)), additional_information=_TOLD),
    st.builds(
        ToolCallBlock,
        tool_call_id=st.one_of(st.none(), st.text(max_size=4)),
        tool_name=st.text(max_size=4),
        tool_kwargs=st.one_of(st.text(max_size=4), st.dictionaries(st.text(max_size=3), JSON, max_size=2)),
    ),
    st.builds(CachePoint, cache_control=st.just(CacheControl(type="ephemeral"))),
    st.builds(ImageBlock, image=st.binary(min_size=1, max_size=4)),
    st.builds(DocumentBlock, data=st.binary(min_size=1, max_size=4), title=st.text(max_size=4)),
    st.builds(AudioBlock, audio=st.binary(min_size=1, max_size=4), format=st.just("wav")),
    st.builds(
        CitableBlock, title=st.text(max_size=3), source=st.text(max_size=3), content=st.just([TextBlock(text="x")])
    ),
)
_EXTRA = st.dictionaries(
    st.sampled_from(["tool_calls", "tool_call_id", "call_id", "name", "audio", "annotations", "refusal"]),
    JSON,
    max_size=3,
)
_MESSAGES = st.builds(
    ChatMessage,
    role=st.sampled_from(["system", "user", "assistant", "tool", "developer", "model", "chatbot"]),
    blocks=st.lists(_BLOCKS, max_size=4),
    additional_kwargs=_EXTRA,
)


@_MANY
@given(st.lists(_MESSAGES, min_size=1, max_size=4))
def test_any_history_is_written_or_told(messages: list[ChatMessage]) -> None:
    """And what the caller holds stays as it is."""
    before = deepcopy(messages)
    try:
        wire = wire_messages(messages)
        History(wire)
    except FallbackError:
        pass
    else:
        assert len(wire) == len(messages)
    assert [message.model_dump() for message in messages] == [message.model_dump() for message in before]


@pytest.fixture(scope="module")
def server() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


_FIELDS = st.sampled_from(
    ["content", "refusal", "annotations", "images", "audio", "reasoning", "reasoning_details", "tool_calls"]
)
_TOP = st.sampled_from(["usage", "service_tier", "provider", "id", "system_fingerprint"])
_TOKEN = st.dictionaries(st.sampled_from(["token", "logprob", "bytes", "top_logprobs"]), JSON, max_size=4)
_LOGPROBS = st.one_of(
    JSON, st.builds(lambda tokens: {"content": tokens}, st.lists(st.one_of(_TOKEN, JSON), max_size=2))
)


@_FEW
@given(
    st.dictionaries(_FIELDS, JSON, max_size=4),
    st.dictionaries(_TOP, JSON, max_size=3),
    st.one_of(st.just("stop"), JSON),
    _LOGPROBS,
)
def test_any_answer_is_read_or_told(
    server: RawServer, message: dict[str, Any], top: dict[str, Any], finish: Any, logprobs: Any
) -> None:
    first = {"index": 0, "delta": {"content": "Yes", **message}, "finish_reason": finish, "logprobs": logprobs}
    server.answer(Reply([sse({"id": "gen-1", "model": "raw/model", **top, "choices": [first]}, "[DONE]")]))
    llm = OpenRouterFallback(
        ["raw/model"],
        api_base=server.base_url,
        api_key="sk-or-x",
        settings={"max_retries_per_model": 1, "total_timeout_seconds": 5, "catalog": "never"},
    )
    asked = [ChatMessage("hi")]
    ways: list[Callable[[], Any]] = [
        lambda: llm.chat(asked).message,
        lambda: [*llm.stream_chat(asked)][-1].message,
        lambda: llm.complete("hi").text,
    ]
    for ask in ways:
        try:
            got = ask()
        except FallbackError:
            continue
        wire_messages([got] if isinstance(got, ChatMessage) else asked)
