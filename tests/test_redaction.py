"""What no message may hold: keys, literally, and quotes of the prompt, however long that is."""

from __future__ import annotations

import gc
import inspect
import random
import sys
from collections.abc import Callable
from types import FrameType
from typing import NamedTuple, SupportsIndex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_fallback import AllModelsFailedError, FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.redaction import MOST_CHARACTERS, PROMPT_MASK, SLICE_CHARACTERS, Quoteless, Redactor

from .support.byteserver import ByteServer

KEY = "a+very/Own=key_of:some.proxy"


def clean(message: str, *texts: str, keys: tuple[str, ...] = ()) -> str:
    return Redactor(keys, lambda: texts).clean(message)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"bad key {KEY}.", "bad key ***."),
        ("bad key a%2Bvery%2FOwn%3Dkey_of%3Asome.proxy", "bad key ***"),
        (f"a long message that was cut off in {KEY[:12]}…", "a long message that was cut off in ***…"),
        ("the key …/Own=key_of:some.proxy is unknown", "the key …*** is unknown"),
        ("the key a+very/Own=key_of... is unknown", "the key ***... is unknown"),
        ("bad key a+very&#47;Own=key_of:some.proxy", "bad key a+very&#47;***"),
        ("bad key A+VERY/OWN=KEY_OF:SOME.PROXY", "bad key ***"),
        ("two of them: a+very/Own=key_o, Own=key_of:some.proxy", "two of them: ***, ***"),
        ("a very own key", "a very own key"),
        ("", ""),
    ],
    ids=[
        "as it is",
        "in a URL",
        "cut off",
        "its end",
        "its beginning",
        "a sign escaped",
        "other letters",
        "two parts",
        "nothing of it",
        "no message",
    ],
)
def test_a_key_of_any_form_is_taken_out(said: str, expected: str) -> None:
    assert clean(said, keys=(KEY, "another-one")) == expected


PROMPT = "name: Jane Miller\nborn:  1 May 1980\n\nIBAN: DE02 1203 0000\nsalary: 93,000"


@pytest.mark.parametrize(
    ("said", "prompt", "expected"),
    [
        (f"Invalid input: {PROMPT}", PROMPT, f"Invalid input: {PROMPT_MASK}"),
        (f"Invalid input: {' '.join(PROMPT.split())}, try again", PROMPT, f"Invalid input: {PROMPT_MASK}, try again"),
        (f"Invalid input: {PROMPT!r}", "name: John Miller, of old", f"Invalid input: {PROMPT!r}"),
        ('said {"content": "say \\"hello\\" to the cats"}', 'say "hello" to the cats', 'said {"content": "[prompt]"}'),
        ("you said hello!", "hello!", "you said [prompt]"),
        ("you said hello", "hi", "you said hello"),
        ("maximum context length exceeded", "What is the maximum context of it?", "maximum context length exceeded"),
        ("", PROMPT, ""),
    ],
    ids=["as it is", "in one line", "another one", "escaped", "short", "very short", "by chance", "no message"],
)
def test_what_is_quoted_of_a_prompt_is_taken_out(said: str, prompt: str, expected: str) -> None:
    assert clean(said, prompt) == expected


ALPHABETS = ("abcdefghijklmnopqrstuvwxyz .,\n", "ab ", "日本語のテキスト ", " \t\nx")


@example(ALPHABETS[2], 148357, 148357, False)  # a quote across two slices, by one character
@example(ALPHABETS[1], 109843, 6168, False)  # a prompt that repeats each fingerprint too often to compare all places
@given(st.sampled_from(ALPHABETS), st.integers(0, 3 * SLICE_CHARACTERS), st.integers(0, 10**9), st.booleans())
def test_any_quote_of_47_characters_is_found(alphabet: str, size: int, seed: int, squeezed: bool) -> None:
    dice = random.Random(seed)
    prompt = "".join(dice.choices(alphabet, k=60 + size))
    start = dice.randrange(len(prompt) - 59)
    quote = " ".join(prompt[start : start + 47].split()) if squeezed else prompt[start : start + 47]
    if len("".join(quote.split())) < 23:  # white space is nobody's secret
        return
    cleaned = clean(f"<<<{quote}>>>", prompt)  # of a prompt that repeats itself, more than the quote is taken out
    assert "".join(cleaned.split()).strip("<>") == PROMPT_MASK


# What one step may cost, in characters of the prompt that are read and functions that are called


class _Prompt(str):
    """A text of a prompt that notes how much of it is read."""

    read = 0

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        part = super().__getitem__(key)
        _Prompt.read += len(part) if part.isascii() else 3 * len(part)
        return part


class _Step(NamedTuple):
    """The bytes of the prompt that one step of a search reads, and the functions that it calls."""

    read: int
    calls: int


def _steps(redactor: Redactor, message: str) -> tuple[str, list[_Step]]:
    """The clean message, and what each step has cost."""
    steps: list[_Step] = []
    cleaned, calls = "", 0

    def entered(frame: FrameType, event: str, _: object) -> None:
        nonlocal calls
        calls += event == "call" and not frame.f_code.co_flags & inspect.CO_GENERATOR

    search = redactor.steps(message)
    while not cleaned:
        calls = _Prompt.read = 0
        sys.setprofile(entered)
        try:
            cleaned = next(search) or ""
        finally:
            sys.setprofile(None)
        steps.append(_Step(_Prompt.read, calls))
    return cleaned, steps


def _chance(alphabet: str, size: int) -> _Prompt:
    return _Prompt("".join(random.Random(size).choices(alphabet, k=size)))


LETTERS = "abcdefghij "
LONG: dict[str, list[_Prompt]] = {
    "one text": [_chance(LETTERS, 1_000_000)],
    "two letters": [_chance("ab ", 300_000)],
    "one letter": [_Prompt("a" * 300_000)],
    "not ASCII": [_chance("日本語のテキスト ", 300_000)],
    "a short text that repeats itself": [_chance("ab ", 3_000)],
    "many short texts": [_chance(LETTERS, 900 + number) for number in range(500)],
    "many texts of a word": [_chance(LETTERS, 15) for _ in range(5_000)],
}
SAID: dict[str, Callable[[list[_Prompt]], str]] = {
    "no quote": lambda texts: "An error that quotes nothing of it, as almost all of them do.",
    "a long quote": lambda texts: f"<<<{''.join(texts)[500:2400].strip()}>>>",
    "many quotes": lambda texts: " | ".join("".join(texts)[at : at + 50] for at in range(0, 3_000, 100)),
    "the same letters": lambda texts: "".join(random.Random(1).choices("".join(texts)[:1000], k=2_000)),
    "white space": lambda texts: f"{''.join(texts)[:60]}{' ' * 1_800}{''.join(texts)[60:120]}",
}


@pytest.mark.parametrize("said", list(SAID))
@pytest.mark.parametrize("prompt", list(LONG))
def test_no_step_reads_or_compares_more_than_so_much(prompt: str, said: str) -> None:
    """A prompt of a thousand messages was read in one step of 98 ms, a long white space took 1.8 s."""
    texts = LONG[prompt]
    message = SAID[said](texts)
    cleaned, steps = _steps(Redactor((), lambda: texts), message)
    assert max(step.read for step in steps) <= SLICE_CHARACTERS
    quick = message.isascii() and prompt != "many texts of a word"
    assert max(step.calls for step in steps) <= (150 if quick else MOST_CHARACTERS + 100)
    if said == "no quote" and "word" not in prompt:
        assert cleaned == message
    elif said == "a long quote" and "word" not in prompt:
        assert cleaned.strip("<>") == PROMPT_MASK


def test_a_prompt_is_read_once_in_a_call() -> None:
    redactor = Redactor((), lambda: [_chance(LETTERS, 200_000)])
    message, other = "the model is overloaded, please try again", "the model is still overloaded, please try again"
    assert sum(step.read for step in _steps(redactor, message)[1]) == 200_000
    assert len(_steps(redactor, message)[1]) == 1, "the same words are known already"
    assert sum(step.read for step in _steps(redactor, other)[1]) == 0


@pytest.mark.parametrize("said", ["Rate limit exceeded", "Overloaded", "HTTP 429"])
def test_words_too_few_for_a_quote_are_not_looked_for_in_a_long_prompt(said: str) -> None:
    cleaned, steps = _steps(Redactor((), lambda: [_Prompt(f"{said} " * 10_000)]), said)
    assert cleaned == said
    assert sum(step.read for step in steps) == 0


# What a client remembers of its calls


def test_words_that_quoted_nothing_are_not_searched_again_in_a_later_call() -> None:
    known = Quoteless()
    message = "the model is overloaded, please try again in a while"
    for number, read in enumerate((1_000_000, 0, 0)):
        prompt = [_chance(LETTERS, 1_000_000 + number)]
        cleaned, steps = _steps(Redactor((), prompt.copy, known), message)
        assert cleaned == message
        assert sum(step.read for step in steps) == read
    assert not any(message in repr(one) for one in gc.get_referents(known)), "only a digest is kept"


def test_words_that_quote_are_searched_in_each_call() -> None:
    known, prompt = Quoteless(), _chance(LETTERS, 100_000)
    quote = prompt[500:600].strip()
    for _ in range(3):
        assert Redactor((), lambda: [prompt], known).clean(f"<{quote}>") == f"<{PROMPT_MASK}>"
        assert Redactor((KEY,), lambda: [prompt], known).clean(f"bad {KEY} in a call") == "bad *** in a call"


def test_a_search_that_was_left_says_nothing_of_its_message() -> None:
    known, prompt = Quoteless(), _chance(LETTERS, 1_000_000)
    message = f"<{prompt[-60:].strip()}>"
    left = Redactor((), lambda: [prompt], known).steps(message)
    assert [next(left), next(left)] == [None, None]
    del left
    assert Redactor((), lambda: [prompt], known).clean(message) == f"<{PROMPT_MASK}>"


def test_a_client_remembers_a_bounded_number_of_messages() -> None:
    known = Quoteless()
    for number in range(10_000):
        known.add(f"request {number} failed")
    digests = next(one for one in gc.get_referents(known) if isinstance(one, set))
    assert 0 < len(digests) <= 5_000
    assert "request 9999 failed" in known


async def test_a_second_call_of_a_client_does_not_search_its_prompt_for_the_same_words() -> None:
    said = "The model is overloaded at this moment, please try again later"
    with Emulator(api_key=KEY) as emulator:
        emulator.fault("provider_overloaded", message=said, requests=None)
        settings = {"catalog": "never", "max_retries_per_model": 1}
        async with FallbackClient(["a/a"], base_url=emulator.base_url, api_key=KEY, settings=settings) as client:
            read = []
            for number in range(2):
                _Prompt.read = 0
                with pytest.raises(AllModelsFailedError, match=said):
                    await client.achat(_chance(LETTERS, 200_000 + number))
                read.append(_Prompt.read)
    assert read == [200_000, 0]


def test_two_searches_of_a_call_may_take_turns() -> None:
    """Two attempts at a time fail together."""
    prompt = _chance(LETTERS, 300_000)
    redactor = Redactor((), lambda: [prompt, "hello!"])
    searches = [redactor.steps(f"<{prompt[at : at + 60].strip()}> hello!") for at in (1_000, 200_000)]
    found: list[str] = []
    while len(found) < 2:
        found += [step for search in searches if (step := next(search, None)) is not None]
    assert found == [f"<{PROMPT_MASK}> {PROMPT_MASK}"] * 2


async def test_a_missed_deadline_is_told_in_our_words_and_looks_for_nothing() -> None:
    _Prompt.read = 0
    with ByteServer(lambda _: []) as server:
        settings = {"catalog": "never", "max_retries_per_model": 1, "first_token_timeout_seconds": 0.05}
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY, settings=settings) as client:
            with pytest.raises(AllModelsFailedError) as caught:
                await client.achat(_chance(LETTERS, 200_000))
    assert {attempt.kind for attempt in caught.value.attempts} == {"timed_out"}
    assert _Prompt.read == 0
