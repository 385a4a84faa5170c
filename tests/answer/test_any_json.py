"""Arbitrary JSON in an answer: through the core client over real HTTP, and through what both frameworks make of it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from langchain_openrouter_fallback.responses import chat_result, last_chunk
from llamaindex_openrouter_fallback.responses import chat_response, completion_response
from openrouter_fallback import Completion, FallbackClient
from openrouter_fallback.answer.verdict import judge

from ..support.bodies import Json, choice, delta
from ..support.clients import client_for
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

DEEP: Any = []
for _ in range(700):
    DEEP = [DEEP]
ODD = st.sampled_from([-1, 1e300, 10**400, math.inf, math.nan, "12", "\ud83d", "", [], {}, [None], DEEP, True, None])
JSON = st.recursive(
    ODD | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
FIELDS = (
    *("content", "reasoning", "reasoning_content", "reasoning_details", "refusal", "images", "annotations", "audio"),
    *("tool_calls", "function_call", "role", "other"),
)
IMAGE = st.just("data:image/png;base64,AA==")
ITEMS = st.lists(
    JSON
    | st.fixed_dictionaries(
        {},
        optional={
            "id": JSON,
            "type": st.sampled_from(["text", "image_url", "reasoning.text", "function"]) | JSON,
            "text": JSON,
            "index": JSON,
            "function": st.fixed_dictionaries({}, optional={"name": st.just("f") | JSON, "arguments": JSON}) | JSON,
            "image_url": st.fixed_dictionaries({}, optional={"url": st.just("data:image/png;base64,AA==") | JSON})
            | JSON,
            "url_citation": JSON,
        },
    ),
    max_size=2,
)
AUDIO = st.fixed_dictionaries(
    {}, optional={"id": JSON, "data": st.just("AAAA") | JSON, "format": JSON, "transcript": JSON}
)
MESSAGES = st.dictionaries(st.sampled_from(FIELDS), JSON | ITEMS | AUDIO, max_size=4)
USAGES = JSON | st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens", "cost", "is_byok", "cost_details"]), JSON
)
LOGPROBS = JSON | st.fixed_dictionaries(
    {"content": JSON | st.lists(st.fixed_dictionaries({}, optional={"token": JSON, "logprob": JSON, "bytes": JSON}))}
)
TOP = st.dictionaries(st.sampled_from(["id", "model", "provider", "created", "system_fingerprint"]), JSON, max_size=2)


@st.composite
def bodies(draw: st.DrawFn) -> Json:
    message = {"role": "assistant", "content": "Hi.", **draw(MESSAGES)}
    one = {**choice(draw(st.sampled_from(["stop", "tool_calls", "length", "ran_dry"]))), "message": message}
    one |= draw(
        st.dictionaries(st.sampled_from(["logprobs", "native_finish_reason", "index"]), JSON | LOGPROBS, max_size=1)
    )
    return {**draw(TOP), "choices": [one], "usage": draw(USAGES)}


@settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(bodies())
def test_the_frameworks_take_what_the_core_takes(body: Json) -> None:
    try:
        failure, invalid = judge(body, wants_json=False, now=0.0)
    except (AttributeError, TypeError, KeyError, ValueError, RecursionError):
        return  # read as a failure by the reader of the attempt
    if failure is not None:
        return
    completion = Completion(body, invalid=invalid)
    chat_result(completion)
    last_chunk(completion)
    chat_response(completion)
    completion_response(completion)
    assert repr(completion)


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


@pytest.fixture(scope="module")
def client(raw: RawServer) -> Iterator[FallbackClient]:
    with client_for(raw.base_url, ["some/model"], max_retries_per_model=1) as client:
        yield client


@pytest.mark.parametrize("surface", SURFACES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(body=bodies(), streamed=st.booleans())
@example(
    body={"choices": [choice(content="Hi.")], "usage": {"cost": 10**400, "prompt_tokens": math.inf}}, streamed=True
)
def test_only_our_errors_leave(
    raw: RawServer, client: FallbackClient, surface: str, body: Json, streamed: bool
) -> None:
    client.reset()
    if streamed:
        message = body["choices"][0]["message"]
        head = {**delta(**message), **{key: body[key] for key in body if key != "choices"}}
        raw.answer(Reply([sse(head, delta(finish="stop"), {"choices": [], "usage": body["usage"]}, "[DONE]")]))
    else:
        raw.answer(Reply([json.dumps(body).encode()], content_type="application/json"))
    outcome = ask(client, surface)  # anything but a FallbackError leaves it
    if outcome.completion is not None:
        orjson.dumps(outcome.completion.raw)
        deepcopy(outcome.completion.raw)
        assert outcome.completion.cost is None or outcome.completion.cost >= 0
