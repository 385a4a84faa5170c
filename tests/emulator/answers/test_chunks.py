"""Whatever the pieces, a streamed body is the unstreamed one."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from openrouter_fallback.emulator.answers.chunks import event, pieces, split, tokens_in

from ..helpers import join

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.sampled_from(
    ["👩‍👩‍👧‍👦 family", "naïve Ω\n\n\tcode```", " ", "日本語のテキスト", "data: [DONE]\n\n: comment"]
)
RANDOM = st.none() | st.integers(0, 2**16).map(Random)
DETAILS = st.lists(
    st.builds(
        lambda kind, text, signed: {"type": kind, **_content(kind, text), **({"signature": "c2ln"} if signed else {})},
        st.sampled_from(["reasoning.text", "reasoning.summary", "reasoning.encrypted"]),
        TEXT,
        st.booleans(),
    ),
    max_size=3,
)


def _content(kind: str, text: str) -> dict[str, str]:
    return {{"reasoning.text": "text", "reasoning.summary": "summary"}.get(kind, "data"): text}


@st.composite
def messages(draw: st.DrawFn) -> dict[str, Any]:
    details = [{**detail, "index": index} for index, detail in enumerate(draw(DETAILS))]
    spoken = "".join(d.get("text") or d.get("summary") or "" for d in details)
    calls = [
        {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": "f", "arguments": arguments}}
        for index, arguments in enumerate(draw(st.lists(TEXT, max_size=2)))
    ]
    return {
        "role": "assistant",
        "content": draw(TEXT),
        "refusal": draw(TEXT | st.none()),
        "reasoning": draw(st.just(spoken) | TEXT),
        "reasoning_details": details,
        "tool_calls": calls,
        "images": draw(st.lists(st.just({"type": "image_url", "image_url": {"url": "data:,"}}), max_size=1)),
        "annotations": draw(st.lists(st.just({"type": "url_citation", "url_citation": {"url": "u"}}), max_size=2)),
    }


@given(TEXT, RANDOM)
def test_pieces_are_the_text(text: str, rng: Random | None) -> None:
    assert "".join(pieces(text, rng)) == text
    assert all(pieces(text, rng))


@settings(max_examples=150)
@given(st.lists(messages(), min_size=1, max_size=3), RANDOM, st.booleans())
def test_chunks_are_the_body(made: list[dict[str, Any]], rng: Random | None, finished: bool) -> None:
    finish = "stop" if finished else None
    choices = [
        {
            "index": index,
            "message": message,
            "finish_reason": finish,
            "native_finish_reason": finish,
            "logprobs": {"content": [{"token": token} for token in pieces(message["content"])]},
        }
        for index, message in enumerate(made)
    ]
    body = {"id": "gen-1", "created": 1, "model": "a/b", "choices": choices, "usage": {"total_tokens": 3}}
    chunks = split(body, rng)
    joined = join(chunks)
    assert joined["usage"] == body["usage"]
    for choice, found in zip(choices, joined["choices"], strict=True):
        message = found["message"]
        expected: Any = choice["message"]
        assert message["content"] == expected["content"]
        assert message["refusal"] == (expected["refusal"] or "")
        assert message["reasoning"] == expected["reasoning"]
        assert message["reasoning_details"] == expected["reasoning_details"]
        assert list(message["tool_calls"].values()) == expected["tool_calls"]
        assert (message["images"], message["annotations"]) == (expected["images"], expected["annotations"])
        assert found["finish_reason"] == finish
        assert found["logprobs"] == choice["logprobs"]["content"]  # type: ignore[index]
    for chunk in chunks:
        assert event(chunk).endswith(b"\n\n")


def test_a_choice_speaks_in_order() -> None:
    message = {
        "content": "the answer",
        "reasoning": "first thoughts",
        "reasoning_details": [{"type": "reasoning.text", "text": "first thoughts", "signature": "s", "index": 0}],
        "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": '{"a": 1}'}}],
    }
    chunks = split({"choices": [{"message": message, "finish_reason": "tool_calls"}], "usage": {}})
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert deltas[0] == {"role": "assistant", "content": ""}
    assert [d["reasoning"] for d in deltas if "reasoning" in d] == ["first", " thoughts", None]
    assert [d["content"] for d in deltas if d["content"]] == ["the", " answer"]
    calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
    assert calls[0] == {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert [call["function"]["arguments"] for call in calls[1:]] == ['{"a":', " 1}"]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[-2:-1]] == ["tool_calls"]
    assert chunks[-1]["choices"] == []
    assert sum(map(tokens_in, chunks)) == 6


def test_an_open_answer_has_no_finish_and_no_usage() -> None:
    chunks = split({"choices": [{"message": {"content": "half an"}, "finish_reason": None}]})
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    assert not any("usage" in chunk for chunk in chunks)


@pytest.mark.parametrize("seed", range(3))
def test_random_pieces_cut_inside_words(seed: int) -> None:
    found = pieces("extraordinarily", Random(seed))
    assert len(found) > 1
