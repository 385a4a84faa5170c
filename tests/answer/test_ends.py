"""Where an answer ends: the states of the accumulator, and any answer split into any chunks with any finishes."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import Completion
from openrouter_fallback.answer.accumulator import MAX_CHOICES, Accumulator, End
from openrouter_fallback.answer.finishes import FINISHES, SIGNS, Finish, Meaning, known, looks_whole, read
from openrouter_fallback.answer.verdict import judge

from ..support.bodies import Json, delta, part

TEXT = delta(content="x")
FINISH = delta(finish="stop")
BOTH = delta(content="x", finish="stop")
USAGE: Json = {"choices": [], "usage": {"total_tokens": 1}}
CLEAN = "clean"

# chunks -> state, whether it has ended, whether it survives a cut
STATES: dict[str, tuple[list[Any], End, bool, bool]] = {
    "nothing": ([], End.OPEN, False, False),
    "text": ([TEXT], End.OPEN, False, False),
    "a finish alone": ([TEXT, FINISH], End.ENDED, True, True),
    "a finish with text": ([TEXT, BOTH], End.PROVISIONAL, False, True),
    "a finish with text, then usage": ([BOTH, USAGE], End.PROVISIONAL, True, True),
    "a finish with text, then one alone": ([BOTH, FINISH], End.ENDED, True, True),
    "a finish with text, then a clean end": ([BOTH, CLEAN], End.PROVISIONAL, True, True),
    "text behind a finish": ([FINISH, TEXT], End.CONTRADICTED, False, False),
    "text behind a finish with text": ([BOTH, TEXT], End.CONTRADICTED, False, False),
    "finishes with text": ([BOTH, BOTH], End.CONTRADICTED, False, False),
    "contradicted, then a finish alone": ([BOTH, BOTH, FINISH], End.CONTRADICTED, False, False),
    "contradicted, then usage": ([BOTH, BOTH, USAGE], End.CONTRADICTED, False, False),
    "contradicted, then a clean end": ([BOTH, BOTH, CLEAN], End.CONTRADICTED, True, True),
    "usage, then text": ([BOTH, USAGE, TEXT], End.CONTRADICTED, False, False),
    "a clean end without a finish": ([TEXT, CLEAN], End.OPEN, False, False),
    "empty deltas behind a finish": ([FINISH, delta(content="", tool_calls=[])], End.ENDED, True, True),
    "one choice of two": ([FINISH, delta(1, content="y")], End.OPEN, False, False),
    "two choices": ([FINISH, delta(1, "stop", content="y")], End.PROVISIONAL, False, True),
}


@pytest.mark.parametrize("name", STATES)
def test_the_end(name: str) -> None:
    chunks, end, ended, survives = STATES[name]
    assembler = Accumulator()
    for chunk in chunks:
        if chunk == CLEAN:
            assembler.ends_cleanly()
        else:
            assembler.add(chunk)
    assert (assembler.end, assembler.ended, assembler.survives_a_cut) == (end, ended, survives)


def test_choices_that_were_asked_for_are_waited_for() -> None:
    assembler = Accumulator(2)
    assembler.add(FINISH)
    assert not assembler.ended
    assert not assembler.survives_a_cut
    assembler.add(delta(1, "stop"))
    assert assembler.ended


def test_a_stream_of_many_choices_is_refused() -> None:
    assembler = Accumulator()
    for index in range(MAX_CHOICES):
        assembler.add(delta(index, content="x"))
    with pytest.raises(TypeError, match="too many choices"):
        assembler.add(delta(MAX_CHOICES, content="x"))


@st.composite
def answers(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[Json], bool]:
    """Calls, the chunks of them and of a text with finishes at any places, and whether the stream ends cleanly."""
    text = draw(st.text("ab .\n", max_size=30))
    calls = [(f"f{n}", f'{{"n": "{"x" * draw(st.integers(0, 12))}"}}') for n in range(draw(st.integers(0, 4)))]
    random = Random(draw(st.integers(0, 2**32)))
    pieces: list[dict[str, Any]] = [{"content": piece} for piece in _split(text, random)]
    for number, (name, arguments) in enumerate(calls):
        first, *rest = _split(arguments, random)
        pieces.append({"tool_calls": [part(number, f"id{number}", name, first)]})
        pieces += [{"tool_calls": [part(number, None, None, piece)]} for piece in rest]
    often = draw(st.sampled_from([0.0, 0.2, 1.0]))
    chunks = []
    for piece in pieces:
        chunks.append(delta(finish="stop" if random.random() < often else None, **piece))
        if random.random() < often / 2:
            chunks.append(delta(finish=random.choice(["stop", "tool_calls", None])))
        if random.random() < 0.1:
            chunks.append(USAGE)
    chunks.append(delta(finish="stop"))
    return calls, chunks[: draw(st.integers(0, len(chunks)))], draw(st.booleans())


def _split(text: str, random: Random) -> list[str]:
    pieces = []
    while text:
        size = random.randint(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@given(answers())
def test_all_text_and_calls_arrive_or_the_attempt_fails(
    made: tuple[list[tuple[str, str]], list[Json], bool],
) -> None:
    calls, chunks, clean = made
    assembler = Accumulator()
    for chunk in chunks:
        assembler.add(chunk)
    came = Completion(assembler.body()) if assembler.begun else None
    if clean:
        assembler.ends_cleanly()
    if not assembler.survives_a_cut:
        return
    body = assembler.body()
    assert came is not None
    failure, _ = judge(body, wants_json=False, now=0.0)
    if failure is not None:
        return
    # Whatever came is in the answer; it is whole unless it stopped right behind the first finish.
    answer = Completion(body)
    sent_text = "".join(c["delta"].get("content", "") for chunk in chunks for c in chunk["choices"])
    assert answer.text == sent_text
    named = [p for chunk in chunks for c in chunk["choices"] for p in c["delta"].get("tool_calls", ()) if p.get("id")]
    assert [(call.name, call.arguments_json) for call in answer.tool_calls] == calls[: len(named)]
    if not clean:
        behind = [n for n, chunk in enumerate(chunks) if any(c["finish_reason"] for c in chunk["choices"])]
        tokens = [n for n, chunk in enumerate(chunks) if any(len(c["delta"]) > 1 for c in chunk["choices"])]
        assert behind
        assert not tokens or tokens[-1] <= behind[0]


# Finish reasons


@pytest.mark.parametrize("row", FINISHES, ids=lambda row: row.name)
def test_a_row_of_the_table(row: Finish) -> None:
    assert row.source
    assert known(row.name) is row
    assert read(row.name.upper()) is row
    assert (row.kind is not None) is (row.meaning is Meaning.FAILED)


def test_names_are_unique() -> None:
    names = [row.name.lower().replace("_", "") for row in FINISHES]
    assert len(names) == len(set(names))
    assert {meaning for meaning, _, _ in SIGNS} == {Meaning.STOP, Meaning.FAILED, Meaning.FILTERED, Meaning.LENGTH}


@pytest.mark.parametrize(
    ("finish", "native", "meaning"),
    [
        ("stop", "STOP", Meaning.STOP),
        ("stop", "completed", Meaning.STOP),
        ("stop", "something_new", Meaning.STOP),
        ("stop", None, Meaning.STOP),
        ("stop", 5, Meaning.STOP),
        ("stop", "MALFORMED_FUNCTION_CALL", Meaning.FAILED),
        ("stop", "MAX_TOKENS", Meaning.LENGTH),
        ("stop", "refusal", Meaning.FILTERED),
        ("stop", "upstream_disconnected", Meaning.FAILED),
        ("stop", "", Meaning.STOP),
        ("stop", "tool_use", Meaning.CALLS),
        ("tool_calls", "STOP", Meaning.CALLS),
        ("length", "stop", Meaning.LENGTH),
        ("content_filter", "stop", Meaning.FILTERED),
        ("FINISH_REASON_STOP", None, Meaning.STOP),
        ("maxTokens", None, Meaning.LENGTH),
        ("tool-calls", None, Meaning.CALLS),
        ("worker_shutdown", None, Meaning.FAILED),
        ("output_budget_exceeded", None, Meaning.LENGTH),
        ("policy_violation", None, Meaning.FILTERED),
        ("ran_dry", None, Meaning.UNKNOWN),
        ("rate_limit", None, Meaning.FAILED),
        ("quota_exceeded", None, Meaning.FAILED),
        ("idle_timeout", None, Meaning.FAILED),
        ("DEADLINE_EXCEEDED", None, Meaning.FAILED),
        ("client_disconnected", None, Meaning.FAILED),
        ("terminated", None, Meaning.FAILED),
        ("partial", None, Meaning.FAILED),
        ("unexpected_end", None, Meaning.FAILED),
        ("stop_error", None, Meaning.FAILED),
        ("content_moderation", None, Meaning.FILTERED),
        ("unsafe_content", None, Meaning.FILTERED),
        ("max_context_length", None, Meaning.LENGTH),
        ("cutoff", None, Meaning.LENGTH),
        ("</s>", None, Meaning.STOP),
        ("<|endoftext|>", None, Meaning.STOP),
        ("<｜end▁of▁sentence｜>", None, Meaning.STOP),
        ("eos_found", None, Meaning.STOP),
        ("stop_word", None, Meaning.STOP),
        ("end_of_turn", None, Meaning.STOP),
        ("OTHER", None, Meaning.UNKNOWN),
    ],
)
def test_what_a_finish_reason_means(finish: str, native: object, meaning: Meaning) -> None:
    assert read(finish, native).meaning is meaning


@pytest.mark.parametrize(
    "text", ["It is whole.", "Is it?", "yes", "42", "```\nx\n```", '{"a": 1}', "好。", "Bye 👋", "(so)"]
)
def test_a_text_that_looks_whole(text: str) -> None:
    assert looks_whole(text)
    assert looks_whole(text + "\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is half",
        "It is,",
        "```\nx.",
        '{"a": "b.',
        "one -",
        "see (",
        "两个模型之间的一个长长的没有结束的句子里面的内容还没有说完呢",
    ],
)
def test_a_text_that_looks_unfinished(text: str) -> None:
    assert not looks_whole(text)
