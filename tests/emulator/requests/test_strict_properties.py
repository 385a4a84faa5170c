"""Strict mode says yes or no to whatever a request holds, and what it says is JSON."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback.emulator.models.registry import Models
from openrouter_fallback.emulator.requests import strict
from openrouter_fallback.emulator.requests.history import History
from openrouter_fallback.emulator.requests.refusal import Refused
from openrouter_fallback.emulator.requests.validation import checked, conversable

from ...cases.strict_histories import WRONG
from ..helpers import Json

TEXT = st.text(max_size=8)
IDS = st.sampled_from(["", "a", "functions.f:0", "functions.f:1", "abcdefghi", "x" * 41])
ODD = st.one_of(st.none(), st.integers(), TEXT, st.lists(TEXT, max_size=1))
DETAIL = st.dictionaries(
    st.sampled_from(["type", "text", "summary", "data", "signature", "id", "format"]), ODD, max_size=4
)
CALL = st.builds(
    lambda id, name, arguments: {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}},
    IDS,
    st.sampled_from(["f", "a.b", "1st", "", "x" * 129]),
    TEXT,
)
PART = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}, TEXT),
    st.just({"type": "image_url", "image_url": {"url": "data:,"}}),
)
CONTENT = st.one_of(TEXT, st.lists(PART, max_size=6))
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": CONTENT}, optional={"name": ODD}),
    st.fixed_dictionaries(
        {"role": st.just("assistant")},
        optional={
            "content": st.one_of(st.none(), CONTENT),
            "tool_calls": st.lists(CALL, max_size=2),
            "reasoning": ODD,
            "reasoning_details": st.lists(DETAIL, max_size=2),
            "name": ODD,
            "prefix": st.booleans(),
        },
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": IDS, "content": TEXT}),
)
REQUEST = st.fixed_dictionaries(
    {
        "model": st.sampled_from(sorted({row[1] for row in WRONG})),
        "messages": st.lists(MESSAGE, min_size=1, max_size=6),
    },
    optional={"reasoning": st.just({"effort": "low"})},
)


@settings(max_examples=300)
@given(REQUEST)
def test_any_request_is_taken_or_refused(body: Json) -> None:
    with suppress(Refused):
        request = checked(body)
        model = Models().find(request["model"])
        assert model is not None
        history = History(request, model, model.hosts[0], "sk-or-v1-mine")
        refused = strict.refusal(history)
        if refused is not None:
            json.loads(refused.body())
        strict.goes_silent(history)
        conversable(request, model.hosts[0].name)
