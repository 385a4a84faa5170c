"""Drives each parser with some hundred inputs, and with the inputs that once found an error.

`python -m tests.chaos.fuzz --inputs 1000000` tries more inputs, and prints the time per byte as a curve.
"""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest

from openrouter_fallback.answer import repeats
from openrouter_fallback.answer.sse import EventReader

from .fuzz import PARSERS, attempt, fuzz, kept

INPUTS = 600


@pytest.mark.parametrize("name", list(PARSERS))
def test_any_bytes_are_read_or_refused(name: str) -> None:
    report = fuzz(name, INPUTS, seed=3)
    assert [found.why for found in report.found] == []
    assert report.inputs == INPUTS


@pytest.mark.parametrize("name", list(PARSERS))
def test_what_once_found_something_finds_nothing(name: str) -> None:
    for data in kept(name):
        assert attempt(name, data, Random(1)) is None


def test_the_fuzzer_reaches_chunks_that_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    read, seen = repeats.texts_like, Counter[bool]()

    def seen_too(*given: Any) -> list[str]:
        texts = read(*given)
        seen[bool(texts)] += 1
        return texts

    monkeypatch.setattr("openrouter_fallback.answer.decoder.texts_like", seen_too)
    fuzz("answers", 300, seed=3)
    assert min(seen[True], seen[False]) > 20, "of both: those that are alike, and those that only seem so"


def test_the_fuzzer_finds_what_a_parser_may_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    finish = EventReader.finish
    monkeypatch.setattr("tests.chaos.fuzz.EventReader.finish", lambda self: [b"x"][len(finish(self))])
    assert fuzz("sse", 50, seed=1).found
