"""How far a reader has to go: rooms and moves between rooms of three calls, as `scripts/walk.py` counts them."""

from __future__ import annotations

import asyncio

import pytest
from scripts import walk

# the call -> the most rooms, and the most moves between them
GOALS = {
    "healthy `achat`": (16, 130),
    "503, then the second model": (17, 200),
    "stream cut in mid-answer, continued": (18, 260),
}
TRIES = 5
"""An answer that comes in more reads resumes more coroutines, and each counts: the shortest of some walks holds."""


@pytest.mark.parametrize("call", GOALS)
def test_a_call_crosses_few_rooms(call: str) -> None:
    rooms, moves = GOALS[call]
    for _ in range(TRIES):
        walked = asyncio.run(walk.walked(walk.CALLS[call]))
        if len(walked.rooms) <= rooms and walked.moves <= moves:
            return
    pytest.fail(f"{len(walked.rooms)} rooms and {walked.moves} moves; python scripts/walk.py --rooms shows them")


def test_each_call_has_a_goal() -> None:
    assert walk.CALLS.keys() == GOALS.keys()
