"""Going on after text was delivered, without a wire: the seams, what the next model is asked, what it adds up to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from openrouter_fallback.answer.seam import (
    OVERLAP_CHARACTERS,
    ContinuationMode,
    SeamJoiner,
    SeamNotFound,
    only_by_prefill,
)
from openrouter_fallback.health import HealthScopes
from openrouter_fallback.request.continuation import INSTRUCTION, continued
from openrouter_fallback.request.request import Request
from openrouter_fallback.results import Usage, add_usage
from openrouter_fallback.routes.candidate import Candidate

from ..cases.seams import BEHAVIOURS, LOST, SEAMS, TEXTS, parts
from ..conftest import Seams

WHOLE = 10**6
CHUNKINGS = {"whole": (WHOLE, WHOLE), "by character": (1, 1), "by seven": (7, 7), "at random": (1, 9)}


def chunked(text: str, sizes: tuple[int, int], seed: int = 0) -> Iterator[str]:
    random, start = Random(seed), 0
    while start < len(text):
        end = start + random.randint(*sizes)
        yield text[start:end]
        start = end


def joined(splice: SeamJoiner, said: str, sizes: tuple[int, int], seed: int = 0) -> str:
    """All that the caller gets to see."""
    return splice.delivered + "".join([splice.feed(part) for part in chunked(said, sizes, seed)]) + splice.finish()


# The table


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize(("text", "behaviour"), SEAMS)
def test_a_seam(text: str, behaviour: str, chunking: str) -> None:
    delivered, missing = parts(text)
    said = BEHAVIOURS[behaviour](delivered, missing)
    if (text, behaviour) in LOST:
        with pytest.raises(SeamNotFound):
            joined(SeamJoiner(delivered), said, CHUNKINGS[chunking])
    else:
        assert joined(SeamJoiner(delivered), said, CHUNKINGS[chunking]) == delivered + missing


@pytest.mark.parametrize("chunking", CHUNKINGS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_model_that_is_known_to_go_on_loses_no_seam(text: str, chunking: str) -> None:
    delivered, missing = parts(text)
    splice = SeamJoiner(delivered, trusted=True)
    assert joined(splice, BEHAVIOURS["goes on"](delivered, missing), CHUNKINGS[chunking]) == delivered + missing
    assert splice.how == "went_on"


def test_the_table_is_large_enough() -> None:
    assert len(SEAMS) - len(LOST) >= 60
    assert set(SEAMS) >= LOST


@pytest.mark.parametrize(
    ("behaviour", "how"),
    [
        ("goes on", "went_on"),
        ("starts over", "restarted"),
        ("overlaps", "overlapped"),
        ("prefaces", "went_on"),
        ("prefaces and starts over", "restarted"),
    ],
)
@pytest.mark.parametrize("text", ["prose, in a word", "code, at an indentation", "Arabic"])
def test_what_was_done_and_dropped_is_told(text: str, behaviour: str, how: str) -> None:
    delivered, missing = parts(text)
    said = BEHAVIOURS[behaviour](delivered, missing)
    splice = SeamJoiner(delivered)
    joined(splice, said, (1, 9))
    assert (splice.how, splice.dropped, splice.joined) == (how, len(said) - len(missing), True)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("A circuit breaker opens after three errors in a row.", "other words"),
        ("Well, a breaker: A circuit breaker opens after three failures in", "may start over"),
        ("well, a breaker: A circuit breaker opens after three failures in", None),
        ("opens after three failu", "part of the answer"),
        ("A circuit breaker opens after ", "other words"),
        ("**A circuit** breaker opens after three failures in a row", "other words"),
        ('"a circuit breaker opens after three failures', "other words"),
        ("# Answer\n\nA circuit breaker opens after three failures in a row", "may start over"),
    ],
)
def test_what_is_neither_is_not_guessed(said: str, why: str | None) -> None:
    delivered = "A circuit breaker opens after three failures in"
    if why is None:
        assert joined(SeamJoiner(delivered), said, (1, 5)) == delivered + said, (
            "other words from the start cannot be told"
        )
        return
    with pytest.raises(SeamNotFound, match=why):
        joined(SeamJoiner(delivered), said, (1, 5))


REPEATS_ITSELF = {
    "begins as it ends": "The cat sat on the mat. A dog barked. The cat sat on the mat.",
    "over and over": "no no, no no, no no, no",
    "like a preface": "Sure, here is the rest of",
}


@pytest.mark.parametrize("delivered", REPEATS_ITSELF.values(), ids=REPEATS_ITSELF)
def test_a_text_that_repeats_itself_may_do_so_again(delivered: str) -> None:
    with pytest.raises(SeamNotFound, match="repeat the answer or continue"):
        joined(SeamJoiner(delivered), delivered + " it all.", (1, 9))
    with pytest.raises(SeamNotFound, match="repeat the end or continue"):
        joined(SeamJoiner("It was a long story. " + delivered), delivered + " it all.", (1, 9))


RULE = "    print('-' * 40)\n"
TWICE = f"def show():\n{RULE}    print('one')\n{RULE}"


@pytest.mark.parametrize("sizes", CHUNKINGS.values(), ids=CHUNKINGS)
@pytest.mark.parametrize("said", [RULE + "    print('two')\n", RULE + RULE])
def test_what_came_twice_may_be_meant_a_third_time(said: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(SeamNotFound, match="repeat the end or continue"):
        joined(SeamJoiner(TWICE), said, sizes)


def test_a_longer_end_that_came_once_is_a_repetition() -> None:
    assert (
        joined(SeamJoiner(TWICE), f"    print('one')\n{RULE}    print('two')\n", (1, 9)) == TWICE + "    print('two')\n"
    )


def test_a_short_line_that_came_twice_is_kept_a_third_time() -> None:
    line = "print('-' * 40)\n"
    twice = f"import sys\n{line}print('one')\n{line}"
    assert joined(SeamJoiner(twice), f"{line}print('two')\n", (1, 9)) == f"{twice}{line}print('two')\n"


OPENERS = (
    "I'm sorry for the inconvenience. Please go ahead and tell me what you need.",
    "I apologize for the confusion earlier, what would you like me to write about next?",
    "Apologies! The next model is called.",
    "Sure! The next model is called.",
    "Certainly. And then the next model is called, as the configuration says it should be called.",
    "Of course, and then the next one is called.",
    "Here is the continuation of my answer, which goes on with the next model.",
    "It seems your message was cut off. Could you tell me what you would like to know?",
    "As an AI, I go on with the next model.",
    "**Continuing** with the next model",
    "My apologies for the confusion.",
    "Oh, sorry, I was interrupted. Let me know how I can help.",
    "Oops, it looks like I got cut off.",
    "Hello! How can I help you today?",
    "Unfortunately, I cannot continue this text.",
    "I'd be happy to help! What do you need?",
    "I am unable to comply.",
    "The previous response was cut off. What would you like me to do?",
    "Your message seems to have been cut off.",
    "You didn't finish your message.",
    "Yes, of course. What would you like?",
    "Here is the full answer: it closes",
    "As I was saying, it closes.",
    "(continued) it closes.",
    "...continuing: it closes",
    "Lo siento, pero no puedo continuar.",
    "Je suis désolé pour l'interruption.",
    "Natürlich! Hier ist der Rest:",
    "申し訳ありませんが、続けられません。",
    "很抱歉，我无法继续。",
    "当然，以下是其余部分：",
    "Извините за прерывание.",
)


@pytest.mark.parametrize("sizes", CHUNKINGS.values(), ids=CHUNKINGS)
@pytest.mark.parametrize("delivered", ["Dear", "A circuit breaker opens after three failures in a row; then"])
@pytest.mark.parametrize("said", OPENERS)
def test_a_model_that_speaks_to_the_user_is_not_glued_in(delivered: str, said: str, sizes: tuple[int, int]) -> None:
    with pytest.raises(SeamNotFound, match="speaking to the user"):
        joined(SeamJoiner(delivered), said, sizes)


@pytest.mark.parametrize("sizes", CHUNKINGS.values(), ids=CHUNKINGS)
@pytest.mark.parametrize(
    "opener", ["Sure! ", "I'm sorry about that. ", "Sure, here is the continuation:\n\n", "Okay.\n\n"]
)
def test_a_start_from_the_beginning_behind_an_opener(opener: str, sizes: tuple[int, int]) -> None:
    delivered, missing = parts("prose, in a word")
    splice = SeamJoiner(delivered)
    assert joined(splice, opener + delivered + missing, sizes) == delivered + missing
    assert (splice.how, splice.dropped) == ("restarted", len(opener) + len(delivered))


@pytest.mark.parametrize(
    "said",
    [
        "This one is called.",
        "It is closed then.",
        "sure of that.",
        "I think so.",
        "Greater",
        "Clarity is",
        "当然也可以",
        "...and so on",
    ],
)
def test_what_only_begins_like_an_opener_goes_on(said: str) -> None:
    for sizes in CHUNKINGS.values():
        assert joined(SeamJoiner("The breaker is open. "), said, sizes) == "The breaker is open. " + said


@pytest.mark.parametrize("said", ["A circuit ", "three failures in", "Sure, here", "I'm"])
def test_a_continuation_that_its_length_cuts_off_before_it_is_clear(said: str) -> None:
    splice = SeamJoiner("A circuit breaker opens after three failures in a row and closes after three successes")
    assert splice.feed(said) == ""
    with pytest.raises(SeamNotFound, match="cut off"):
        splice.finish(cut_off=True)


@pytest.mark.parametrize("said", ["", " and", " and then some more"])
def test_a_continuation_that_its_length_cuts_off_when_it_is_clear(said: str) -> None:
    splice = SeamJoiner("A circuit breaker opens")
    assert splice.feed(said) + splice.finish(cut_off=True) == said


def test_nothing_is_held_back_for_long() -> None:
    splice = SeamJoiner("The quick brown fox jumps over the lazy dog ")
    assert splice.feed("an") == "an"
    assert splice.feed("The quick") == "The quick"


# Any answer, cut anywhere

_PARTS = (
    *("foo ", "bar", "ha ", "\n", "\n\n", "| a | b |\n", "12", "The cat sat on the mat. ", " ", "e\u0301", "---"),
    *("Sure, here is the rest:\n\n", "👩\u200d👩\u200d👧", "中文", "مرحبا ", '{"a": [1, ', "    ", "```\n", "\u00a0"),
)
_WORDS = (
    "the",
    "breaker,",
    "a model",
    "opens.",
    "closes",
    "after",
    "three",
    "failures",
    "in every",
    "call;",
    "12",
    "30",
)
ANSWERS = st.one_of(
    st.lists(st.sampled_from(_WORDS), min_size=5, max_size=60).map(" ".join),
    st.text(min_size=1, max_size=200),
    st.lists(st.sampled_from(_PARTS), min_size=1, max_size=40).map("".join),
)
PREFACE = "Sure, here is the rest:\n\n"


def _overlaps(delivered: str, rest: str, answer: str, random: Random) -> str:
    assume(len(delivered) >= OVERLAP_CHARACTERS)
    return delivered[-random.randint(OVERLAP_CHARACTERS, min(len(delivered), 60)) :] + answer[len(delivered) :]


MODELS: Mapping[str, Callable[[str, str, str, Random], str]] = {
    "goes on (continues: prefill)": lambda delivered, rest, answer, random: rest,
    "goes on": lambda delivered, rest, answer, random: _new(delivered, rest),
    "starts over": lambda delivered, rest, answer, random: answer,
    "overlaps": _overlaps,
    "prefaces": lambda delivered, rest, answer, random: PREFACE + _new(delivered, rest),
    "prefaces and starts over": lambda delivered, rest, answer, random: PREFACE + answer,
}


def _new(delivered: str, rest: str) -> str:
    """`rest`, unless it repeats the text by itself or opens like a preface: then nobody could tell."""
    text = delivered.strip()
    for said in (rest, rest.lstrip()):
        assume(not (text and said.startswith(text[:OVERLAP_CHARACTERS])))
        longest = min(len(said), len(delivered))
        assume(not any(delivered.rstrip().endswith(said[:n]) for n in range(OVERLAP_CHARACTERS, longest + 1)))
        assume(not any(delivered.endswith(said[:n]) for n in range(OVERLAP_CHARACTERS, longest + 1)))
        assume(not said.lstrip().startswith(("Sure", "here is", "the rest")))
    return rest


@pytest.mark.parametrize("model", MODELS)
@example(answer=f"000{PREFACE}000000000000", cut=29, seed=0)
@settings(max_examples=400, suppress_health_check=[HealthCheck.filter_too_much])
@given(answer=ANSWERS, cut=st.integers(0, 10**6), seed=st.integers(0, 10**6))
def test_the_whole_answer_or_none(lost_seams: Seams, model: str, answer: str, cut: int, seed: int) -> None:
    cut %= len(answer) + 1
    delivered = answer[:cut]
    assume(delivered.strip())
    rest = answer[len(delivered.rstrip()) :]
    random = Random(seed)
    said = MODELS[model](delivered, rest, answer, random)
    trusted = model.endswith(")")
    lost = lost_seams.setdefault(model, Counter())
    try:
        whole = joined(SeamJoiner(delivered, trusted=trusted), said, (1, 9), seed)
    except SeamNotFound:
        assert not trusted
        lost[True] += 1
    else:
        lost[False] += 1
        assert whole == answer


@given(delivered=ANSWERS, said=ANSWERS, seed=st.integers(0, 10**6))
@example(delivered="0" * 20, said=":" + "0" * 20, seed=0)
def test_what_is_delivered_does_not_depend_on_the_chunks(delivered: str, said: str, seed: int) -> None:
    outcomes = set()
    for sizes in ((WHOLE, WHOLE), (1, 1), (1, 9)):
        try:
            outcomes.add(joined(SeamJoiner(delivered), said, sizes, seed))
        except SeamNotFound:
            outcomes.add("lost")
    assert len(outcomes) == 1


# What the next model is asked

USER = {"role": "user", "content": "Count."}
SAID = {"role": "assistant", "content": "One", "name": "counter"}
PARTS = {"role": "assistant", "content": [{"type": "text", "text": "One"}]}
ASKED = {"role": "user", "content": INSTRUCTION}


@pytest.mark.parametrize(
    ("messages", "text", "way", "expected"),
    [
        ([USER], "One, two ", ContinuationMode.PREFILL, [USER, {"role": "assistant", "content": "One, two"}]),
        ([USER], "One,\n\n", ContinuationMode.INSTRUCT, [USER, {"role": "assistant", "content": "One,"}, ASKED]),
        ([USER, SAID], ", two\t", ContinuationMode.PREFILL, [USER, {**SAID, "content": "One, two"}]),
        ([USER, SAID], ", two", ContinuationMode.INSTRUCT, [USER, {**SAID, "content": "One, two"}, ASKED]),
        ([USER, PARTS], ", two", ContinuationMode.PREFILL, [USER, PARTS, {"role": "assistant", "content": ", two"}]),
    ],
)
def test_the_conversation_to_go_on_from(
    messages: list[Mapping[str, Any]], text: str, way: ContinuationMode, expected: Sequence[Mapping[str, Any]]
) -> None:
    before = orjson.dumps(messages)
    assert continued(messages, text, way) == expected
    assert orjson.dumps(messages) == before, "the caller's own messages stay as they are"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Plain text", False),
        ("Some `code` and {braces", False),
        ("```python\nx = 1", True),
        ("```python\nx = 1\n```\n", False),
        ("~~~\nx = 1\n", True),
        ("  ```\nx = 1\n  ```\nand\n```", True),
        ('{"a": 1', True),
        ('  [1, {"a": "]"}', True),
        ('{"a": "}"', True),
        ('{"a": "\\"}', True),
        ('{"a": 1}', False),
        ('{"a": 1} is the answer', False),
        ("[link", True),
    ],
)
def test_what_only_a_prefill_can_go_on_from(text: str, expected: bool) -> None:
    assert only_by_prefill(text) is expected


def test_the_request_keeps_all_but_the_tokens_that_are_spent() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    request = Request("Count.", {"tools": tools, "max_tokens": 100, "temperature": 0.5})
    candidate = Candidate("a", "a", HealthScopes("a", "openrouter", "key", 60.0), attempts=2)
    before = request.body(candidate)
    body = orjson.loads(request.continued("One, two", ContinuationMode.PREFILL, 30).body(candidate))
    assert request.body(candidate) == before
    assert body["messages"] == [USER, {"role": "assistant", "content": "One, two"}]
    assert (body["tools"], body["max_tokens"], body["temperature"]) == (tools, 70, 0.5)


@pytest.mark.parametrize(
    ("given_", "spent", "left"),
    [
        ({"max_tokens": 10}, 4, {"max_tokens": 6}),
        ({"max_completion_tokens": 10}, 4, {"max_completion_tokens": 6}),
        ({"max_tokens": 10}, 12, {"max_tokens": 1}),
        ({}, 12, {}),
    ],
)
def test_the_tokens_that_are_left(given_: dict[str, int], spent: int, left: dict[str, int]) -> None:
    candidate = Candidate("a", "a", HealthScopes("a", "openrouter", "key", 60.0), attempts=2)
    body = orjson.loads(Request("Count.", given_).continued("One", ContinuationMode.INSTRUCT, spent).body(candidate))
    assert {name: body[name] for name in ("max_tokens", "max_completion_tokens") if name in body} == left


@pytest.mark.parametrize(
    ("mid_stream", "params", "continues"),
    [
        ("continue", {}, True),
        ("raise", {}, False),
        ("continue", {"n": 1}, True),
        ("continue", {"n": 2}, False),
        ("continue", {"response_format": {"type": "text"}}, True),
        ("continue", {"response_format": {"type": "json_object"}}, False),
        ("continue", {"response_format": {"type": "json_schema", "json_schema": {}}}, False),
    ],
)
def test_which_requests_are_gone_on_with(mid_stream: str, params: dict[str, Any], continues: bool) -> None:
    assert Request("Count.", params, mid_stream=mid_stream).traits.continues is continues


# What it adds up to

REPORTED = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
LAST = {"prompt_tokens": 15, "completion_tokens": 6, "total_tokens": 21, "is_byok": False}


@pytest.mark.parametrize(
    ("last", "earlier", "expected"),
    [
        (LAST, [(REPORTED, 4)], (25, 10, 35, False)),
        (LAST, [(None, 5)], (25, 11, 36, True)),
        (LAST, [(None, 2), (REPORTED, 4)], (15 + 9 + 10, 6 + 2 + 4, 46, True)),
        (None, [(None, 5)], (0, 5, 5, True)),
        (None, [(REPORTED, 4)], (10, 4, 14, False)),
    ],
)
def test_usage_adds_up(
    last: dict[str, Any] | None, earlier: list[tuple[object, int]], expected: tuple[int, int, int, bool]
) -> None:
    usage = Usage.read(add_usage(last, earlier))
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.estimated) == expected
    assert LAST["prompt_tokens"] == 15


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        (None, (20 + 20 - 5, 5 + 7, 47, True)),
        ({}, (35, 12, 47, True)),
        ({"prompt_tokens": -1, "completion_tokens": "7"}, (35, 12, 47, True)),
        ({"prompt_tokens": 15}, (15 + 10, 12, 37, True)),
        (LAST, (25, 11, 36, True)),
    ],
)
def test_a_last_attempt_that_reports_nothing_counts_as_estimated(
    last: dict[str, Any] | None, expected: tuple[int, int, int, bool]
) -> None:
    usage = Usage.read(add_usage(last, [(None, 5)], (20, 7)))
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.estimated) == expected
    known = Usage.read(add_usage(LAST, [(REPORTED, 4)], (20, 7)))
    assert known is not None
    assert (known.prompt_tokens, known.completion_tokens, known.estimated) == (25, 10, False)
