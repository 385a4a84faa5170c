"""A pairwise sample of the matrix; `python -m tests.hands` runs the whole, and `.ci/nightly` does every night."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import pytest

from ..support.llamaindex import left_as_it_was
from .matrix import Cell, Hands, cells, sample, served


@pytest.fixture(scope="module")
def hands() -> Iterator[Hands]:
    with left_as_it_was(), served() as emulator:
        found = Hands(emulator)
        yield found
        found.close()


def test_each_pair_of_words_is_in_the_sample() -> None:
    def pairs(chosen: list[Cell]) -> set[tuple[int, str, int, str]]:
        return {(n, cell[n], m, cell[m]) for cell in chosen for n, m in combinations(range(len(cell)), 2)}

    assert pairs(sample()) == pairs(cells())
    assert len(sample()) < 130


@pytest.mark.parametrize("cell", sample(), ids=" | ".join)
def test_the_second_model_reads_what_the_first_has_written(hands: Hands, cell: Cell) -> None:
    assert hands.run(cell) == ""
