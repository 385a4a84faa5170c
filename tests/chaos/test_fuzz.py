"""Drives each parser with some hundred inputs, and with the inputs that once found an error.

`python -m tests.chaos.fuzz --inputs 1000000` tries more inputs, and prints the time per byte as a curve.
"""

from __future__ import annotations

from random import Random

import pytest

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


def test_the_fuzzer_finds_what_a_parser_may_not_raise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.chaos.fuzz.EventReader.finish", lambda self: [b"x"][len(self._line)])
    assert fuzz("sse", 50, seed=1).found
