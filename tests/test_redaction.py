"""What no message may hold: keys, literally, and quotes of the prompt, however long that is."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from openrouter_fallback import redaction
from openrouter_fallback.redaction import PROMPT_MASK, SLICE_CHARACTERS, Redactor

KEY = "a+very/Own=key_of:some.proxy"


def clean(message: str, *texts: str, keys: tuple[str, ...] = ()) -> str:
    return Redactor(keys, lambda: texts).clean(message)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (f"bad key {KEY}.", "bad key ***."),
        ("bad key a%2Bvery%2FOwn%3Dkey_of%3Asome.proxy", "bad key ***"),
        (f"a long message that was cut off in {KEY[:12]}…", "a long message that was cut off in ***…"),
        ("a very own key", "a very own key"),
        ("", ""),
    ],
    ids=["as it is", "in a URL", "cut off", "nothing of it", "no message"],
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


def test_a_long_prompt_is_read_in_bounded_steps() -> None:
    prompt = "".join(random.Random(0).choices("abcdefghij ", k=1_000_000))
    redactor = Redactor((), lambda: [prompt])
    steps = list(redactor.steps("An error that quotes nothing of it, as almost all of them do."))
    assert len(steps) == -(-len(prompt) // SLICE_CHARACTERS)
    assert steps[:-1] == [None] * (len(steps) - 1)


@pytest.mark.parametrize("size", [3_000, 200_000])
def test_a_prompt_that_repeats_itself_is_compared_in_bounded_steps(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One comparison for each pair of equal fingerprints took 1.4 s of a prompt of 1 MB."""
    dice = random.Random(size)
    prompt = "".join(dice.choices("ab ", k=size))
    compared = 0
    around = redaction._around

    def counted(one: bytes, at: int, other: bytes, place: int) -> tuple[int, int]:
        nonlocal compared
        compared += 1
        return around(one, at, other, place)

    monkeypatch.setattr(redaction, "_around", counted)
    quote = prompt[1_000:2_900].strip()
    most = 0
    for step in Redactor((), lambda: [prompt]).steps(f"<<<{quote}>>>"):
        most, compared = max(most, compared), 0
        assert step is None or step.strip("<>") == PROMPT_MASK
    assert 0 < most <= 500
