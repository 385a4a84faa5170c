"""Chunks become the body that the unstreamed request would have given, and a body is judged."""

from __future__ import annotations

import json
from copy import deepcopy
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_fallback import Completion, Failure, FailureKind
from openrouter_fallback.answer.accumulator import (
    ERROR,
    FINISH,
    MORE_TEXT,
    REASONING,
    TEXT,
    TOOL,
    USAGE,
    Accumulator,
)
from openrouter_fallback.answer.verdict import judge
from openrouter_fallback.emulator.answers.chunks import split
from openrouter_fallback.emulator.answers.completion import Script, Stamp, answer

from ..support.bodies import JSON, Json, call, choice, delta, part

K = FailureKind

# Words as people write them: emoji with joiners, combining marks, right-to-left, line ends of all sorts.
TEXTS = st.lists(
    st.sampled_from(["a word", " ", "\n\n", "👩‍🚀", "e\u0301", "שלום", "東京", "\u2028", "\x00", '"', "\\", "x" * 40])
    | st.text(st.characters(blacklist_categories=["Cs"]), max_size=8),
    max_size=8,
).map("".join)
SOME_TEXT = TEXTS.filter(bool)
CALLS = st.lists(
    st.builds(
        lambda name, arguments, number: {"name": name, "arguments": arguments, "id": f"call_{number}"},
        st.sampled_from(["look_up", "divide", "é"]),
        st.dictionaries(SOME_TEXT, JSON, max_size=3),
        st.uuids(),
    ),
    max_size=3,
)
SCRIPTS = st.builds(
    Script,
    text=st.none() | TEXTS,
    reasoning=st.none() | TEXTS,
    tool_calls=CALLS,
    refusal=st.none() | SOME_TEXT,
    images=st.none() | st.just([{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}] * 2),
    audio=st.none() | st.just({"id": "audio_1", "data": "UklGRg==", "transcript": "hello", "expires_at": 1}),
    annotations=st.none() | st.just([{"type": "url_citation", "url_citation": {"url": u}} for u in ("a", "b")]),
    finish_reason=st.none() | st.sampled_from(["stop", "length"]),
    logprobs=st.booleans(),
)
REASONING_DETAILS = st.lists(
    st.one_of(
        st.builds(lambda text: {"type": "reasoning.summary", "summary": text}, SOME_TEXT),
        st.builds(lambda text: {"type": "reasoning.text", "text": text, "signature": "c2ln"}, SOME_TEXT),
        st.builds(lambda text: {"type": "reasoning.encrypted", "data": text, "id": "rs_1"}, SOME_TEXT),
    ),
    max_size=4,
)


@st.composite
def bodies(draw: st.DrawFn) -> Json:
    """An unstreamed body, every choice of `n` different."""
    request = {"model": "anthropic/claude-sonnet-4.5", "messages": [{"role": "user", "content": "Hello"}]}
    answers = [answer(request, Stamp(1, 1_700_000_000), draw(SCRIPTS)) for _ in range(draw(st.integers(1, 3)))]
    body = answers[0]
    body["choices"] = [{**one["choices"][0], "index": index} for index, one in enumerate(answers)]
    for one in body["choices"]:
        details = draw(REASONING_DETAILS)
        if details:
            numbered = [{**detail, "format": "unknown", "index": index} for index, detail in enumerate(details)]
            one["message"]["reasoning_details"] = numbered
    return body


def told(body: Json) -> Json:
    """What the wire can tell of a body: an absent field of a message is the same as null, "" and []."""
    choices = []
    for one in body["choices"]:
        message = {key: value for key, value in one["message"].items() if value not in (None, "", [])}
        logprobs = one["logprobs"] if (one["logprobs"] or {}).get("content") else None
        choices.append({**one, "message": message, "logprobs": logprobs})
    # A stream has no place for the fingerprint.
    head = {key: value for key, value in body.items() if key != "system_fingerprint"}
    return {**head, "choices": choices}


def assemble(chunks: list[Json]) -> Accumulator:
    assembler = Accumulator()
    for chunk in chunks:
        assembler.add(orjson.loads(orjson.dumps(chunk)))
    return assembler


@given(bodies(), st.none() | st.integers(0, 2**32))
def test_a_streamed_body_assembles_to_the_unstreamed_one(body: Json, seed: int | None) -> None:
    chunks = split(body, None if seed is None else Random(seed))
    assembler = assemble(chunks)
    assert assembler.finished
    assert not assembler.open_tool_call
    assert told(assembler.body()) == told(body)
    assert assembler.text == (body["choices"][0]["message"]["content"] or "")
    assert assembler.usage == body["usage"]
    assert assembler.generation_id == body["id"]


@given(bodies(), st.integers(0, 2**32))
def test_assembling_leaves_the_chunks_alone(body: Json, seed: int) -> None:
    chunks = orjson.loads(orjson.dumps(split(body, Random(seed))))
    untouched = deepcopy(chunks)
    assembler = Accumulator()
    for chunk in chunks:
        assembler.add(chunk)
    judge(assembler.body(), wants_json=False, now=0.0)
    assert chunks == untouched


@given(bodies(), st.integers(0, 2**32), st.data())
def test_a_stream_cut_anywhere_before_its_last_finish_is_not_finished(
    body: Json, seed: int, data: st.DataObject
) -> None:
    chunks = split(body, Random(seed))
    last = max(n for n, chunk in enumerate(chunks) if any(c["finish_reason"] for c in chunk["choices"]))
    kept = assemble(chunks[: data.draw(st.integers(0, last))])
    begun = {choice["index"] for choice in kept.body()["choices"]}
    complete = {choice["index"] for choice in kept.body()["choices"] if choice["finish_reason"]}
    assert kept.finished is (bool(begun) and begun == complete)


ODD_DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "content": st.sampled_from(["a", "b", "", None, [{"type": "text", "text": "c"}]]),
        "role": st.just("assistant"),
        "refusal": st.sampled_from([None, "", "no"]),
        "reasoning": st.sampled_from(["", "r"]),
        "tool_calls": st.just([{"index": 0, "id": "call_1", "function": {"name": "f", "arguments": "{}"}}]),
    },
)
ODD_CHOICES = st.fixed_dictionaries(
    {"delta": ODD_DELTAS},
    optional={
        "index": st.sampled_from([0, 1]),
        "finish_reason": st.sampled_from([None, "", "stop"]),
        "native_finish_reason": st.sampled_from([None, "end"]),
        "logprobs": st.sampled_from([None, {"content": [{"token": "a", "logprob": -1.0}]}]),
        "error": st.sampled_from([None, {"code": 500}]),
    },
)
ODD_CHUNKS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("gen-1"),
        "choices": st.lists(ODD_CHOICES, max_size=2),
        "usage": st.sampled_from([None, {"completion_tokens": 1}]),
        "error": st.sampled_from([None, {"code": 500}]),
    },
)


@example([({"choices": [{"delta": {"content": "a"}}]}, 2)])
@given(st.lists(st.tuples(ODD_CHUNKS, st.integers(1, 3)), max_size=6))
def test_a_chunk_means_the_same_behind_one_that_is_like_it(chunks: list[tuple[Json, int]]) -> None:
    alike, apart = Accumulator(), Accumulator()
    for chunk, times in chunks:
        for _ in range(times):
            apart.add({})  # what comes next is like nothing that came before
            try:
                flags = alike.add(deepcopy(chunk))
            except ValueError:  # a call that repeats its name too often, for example
                with pytest.raises(ValueError):
                    apart.add(deepcopy(chunk))
                return
            assert apart.add(deepcopy(chunk)) == (TEXT if flags == MORE_TEXT else flags)
            assert (alike.end, alike.ended, alike.open_tool_call) == (apart.end, apart.ended, apart.open_tool_call)
    assert alike.body() == apart.body()


def test_the_flags_say_what_a_chunk_carried() -> None:
    assembler = Accumulator()
    call = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    assert assembler.add(delta(content="")) == 0
    assert assembler.add(delta(content=None, reasoning=None, tool_calls=[])) == 0
    assert assembler.add(delta(reasoning="hm")) & REASONING
    assert assembler.add(delta(content="a")) == TEXT
    assert assembler.add(delta(tool_calls=[call])) == TOOL
    assert assembler.open_tool_call
    assert assembler.add(delta(finish="tool_calls")) == FINISH
    assert not assembler.open_tool_call
    assert assembler.add({**delta(), "error": {"code": 502, "message": "late"}}) & ERROR
    assert assembler.add({"choices": [], "usage": {"total_tokens": 1}}) == USAGE


# name: the chunks' tool-call deltas -> (id, name, arguments) of each call
TOOL_STREAMS: dict[str, tuple[list[list[Json]], list[tuple[str, str, Json]]]] = {
    "one after the other": (
        [[part(0, "a", "f", '{"x":')], [part(0, None, None, "1}")], [part(1, "b", "g", "{}")]],
        [("a", "f", {"x": 1}), ("b", "g", {})],
    ),
    "interleaved": (
        [
            [part(0, "a", "f", "")],
            [part(1, "b", "g", '{"y"')],
            [part(0, None, None, '{"x":1')],
            [part(1, None, None, ":2}")],
            [part(0, None, None, "}")],
        ],
        [("a", "f", {"x": 1}), ("b", "g", {"y": 2})],
    ),
    "two in one chunk": (
        [[part(0, "a", "f", '{"x":1}'), part(1, "b", "g", '{"y":')], [part(1, None, None, "2}")]],
        [("a", "f", {"x": 1}), ("b", "g", {"y": 2})],
    ),
    "always index 0, new ids": (
        [[part(0, "a", "f", '{"x":1}')], [part(0, "b", "f", '{"x":')], [part(0, None, None, "2}")]],
        [("a", "f", {"x": 1}), ("b", "f", {"x": 2})],
    ),
    "always index 0, in one chunk": (
        [[part(0, "a", "f", '{"x":1}'), part(0, "b", "g", "{}")]],
        [("a", "f", {"x": 1}), ("b", "g", {})],
    ),
    "id and name in every delta": (
        [[part(0, "a", "f", '{"x":')], [part(0, "a", "f", "1}")]],
        [("a", "f", {"x": 1})],
    ),
    "the id comes late": (
        [[part(0, None, "f", '{"x":')], [part(0, "a", None, "1}")]],
        [("a", "f", {"x": 1})],
    ),
    "no index at all": (
        [[part(None, "a", "f", '{"x":')], [part(None, None, None, "1}")], [part(None, "b", "g", "{}")]],
        [("a", "f", {"x": 1}), ("b", "g", {})],
    ),
    "indexes that do not begin at 0": (
        [[part(3, "a", "f", "{}")], [part(1, "b", "g", "{}")]],
        [("a", "f", {}), ("b", "g", {})],
    ),
    "no arguments at all": ([[part(0, "a", "f", None)]], [("a", "f", {})]),
    "empty arguments": ([[part(0, "a", "f", "")]], [("a", "f", {})]),
}


@pytest.mark.parametrize("name", TOOL_STREAMS)
def test_tool_calls_out_of_deltas(name: str) -> None:
    chunks, calls = TOOL_STREAMS[name]
    body = assemble([*(delta(tool_calls=parts) for parts in chunks), delta(finish="tool_calls")]).body()
    failure, invalid = judge(body, wants_json=False, now=0.0)
    assert (failure, invalid) == (None, ())
    found = Completion(body).tool_calls
    assert [(call.id, call.name, call.arguments) for call in found] == calls
    assert [call.index for call in found] == list(range(len(calls)))
    for one in body["choices"][0]["message"]["tool_calls"]:
        json.loads(one["function"]["arguments"])


HALF = call('{"x": ')
NO_KEY: Json = {"id": "c", "type": "function", "function": {"name": "f"}}
IN_ERROR = {**choice("error", 1), "error": {"code": 503, "message": "overloaded"}}

# name: choices, whether JSON was asked for -> the failure's kind (None: an answer) and whether it is harmless
JUDGED: dict[str, tuple[Any, bool, K | None, bool]] = {
    "text": ([choice(content="hello")], False, None, False),
    "text in parts": ([choice(content=[{"type": "text", "text": "hello"}])], False, None, False),
    "no finish": ([choice(None, content="hello")], False, K.BAD_ANSWER, False),
    "empty": ([choice()], False, K.BAD_ANSWER, False),
    "null": ([choice(content=None)], False, K.BAD_ANSWER, False),
    "reasoning only": ([choice(reasoning="hm", reasoning_details=[{}])], False, K.BAD_ANSWER, False),
    "no parts": ([choice(content=[])], False, K.BAD_ANSWER, False),
    "refusal": ([choice(content=None, refusal="No.")], False, None, False),
    "an image": ([choice(images=[{"type": "image_url"}])], False, None, False),
    "audio": ([choice(audio={"data": "AA=="})], False, None, False),
    "a tool call": ([choice("tool_calls", tool_calls=[call()])], False, None, False),
    "a tool call and stop": ([choice("stop", tool_calls=[call()])], False, None, False),
    "a tool call without the arguments' key": ([choice("tool_calls", tool_calls=[NO_KEY])], False, None, False),
    "half a tool call": ([choice("tool_calls", tool_calls=[call(), HALF])], False, K.BAD_ANSWER, False),
    "half a tool call beside text": ([choice(content="hello", tool_calls=[HALF])], False, K.BAD_ANSWER, False),
    "a complete tool call, no finish": ([choice(None, tool_calls=[call()])], False, K.BAD_ANSWER, False),
    "arguments that are no object": ([choice("tool_calls", tool_calls=[call("[1]")])], False, K.BAD_ANSWER, False),
    "a tool call without a name": ([choice("tool_calls", tool_calls=[call(name="")])], False, K.BAD_ANSWER, False),
    "length": ([choice("length", content="hel")], False, None, False),
    "length and nothing": ([choice("length", reasoning="hm")], False, K.BAD_ANSWER, True),
    "length and half a tool call": ([choice("length", tool_calls=[HALF])], False, None, False),
    "one choice of two in error": ([choice(content="hello"), IN_ERROR], False, K.OVERLOADED, False),
    "one choice of two empty": ([choice(content="hello"), choice(index=1)], False, K.BAD_ANSWER, False),
    "one choice of two open": ([choice(content="a"), choice(None, 1, content="b")], False, K.BAD_ANSWER, False),
    "content filter": ([choice("content_filter", content="hel")], False, K.CONTENT_POLICY, False),
    "no choices": ([], False, K.BAD_ANSWER, False),
    "choices null": (None, False, K.BAD_ANSWER, False),
    "choices no list": ({"0": choice(content="hello")}, False, K.BAD_ANSWER, False),
    "a choice that is none": (["hello"], False, K.BAD_ANSWER, False),
    "JSON": ([choice(content='{"a": [1]}')], True, None, False),
    "JSON asked for and prose": ([choice(content="Sure! {}")], True, K.BAD_ANSWER, True),
    "JSON asked for and half of it": ([choice(content='{"a": ')], True, K.BAD_ANSWER, True),
    "JSON asked for and cut by length": ([choice("length", content='{"a": ')], True, None, False),
    "JSON asked for and refused": ([choice(content=None, refusal="No.")], True, None, False),
    "JSON asked for, a tool called": ([choice("tool_calls", content="ok", tool_calls=[call()])], True, None, False),
    "JSON in one of two": ([choice(content="{}"), choice(index=1, content="no")], True, K.BAD_ANSWER, True),
}


@pytest.mark.parametrize("name", JUDGED)
def test_judged(name: str) -> None:
    choices, wants_json, kind, harmless = JUDGED[name]
    failure, _ = judge({"choices": deepcopy(choices)}, wants_json=wants_json, now=0.0)
    assert (failure and (failure.kind, failure.harmless)) == (kind and (kind, harmless))


def test_an_error_in_place_of_choices_is_read() -> None:
    failure, _ = judge({"error": {"code": 429, "message": "slow down"}, "choices": None}, wants_json=False, now=0.0)
    assert isinstance(failure, Failure)
    assert failure.kind is K.RATE_LIMITED


@pytest.mark.parametrize(
    ("calls", "good", "invalid"),
    [
        ([HALF], [], [HALF]),
        ([call(), HALF], [call()], [HALF]),
        ([call(), call("")], [call()], [call("")]),
        ([NO_KEY], [], [NO_KEY]),
        ([NO_KEY, HALF], [call("{}")], [HALF]),
        ([call()], [call()], []),
    ],
)
def test_what_length_cut_off_is_never_a_tool_call(calls: list[Json], good: list[Json], invalid: list[Json]) -> None:
    body = {"choices": [choice("length", tool_calls=deepcopy(calls))]}
    failure, found = judge(body, wants_json=False, now=0.0)
    assert failure is None
    assert list(found) == invalid
    completion = Completion(body, invalid=found)
    assert completion.message.get("tool_calls", []) == good
    assert len(completion.tool_calls) == len(good)
    assert list(completion.invalid_tool_calls) == invalid
