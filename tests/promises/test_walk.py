"""How far a reader has to go: rooms and moves between rooms of three calls, as `scripts/walk.py` counts them."""

from __future__ import annotations

import pytest
from scripts import walk

# the call -> the most rooms, and the most moves between them
GOALS = {
    "healthy `achat`": (16, 130),
    "503, then the second model": (17, 200),
    "stream cut in mid-answer, continued": (18, 260),
}


@pytest.mark.parametrize("call", GOALS)
def test_a_call_crosses_few_rooms(call: str) -> None:
    rooms, moves = GOALS[call]
    # On a busy machine an answer comes in more reads, and each is some moves more: the shortest of a few walks counts.
    walked = min((walk.walked(walk.CALLS[call]) for _ in range(5)), key=lambda one: one.moves)
    said = f"{len(walked.rooms)} rooms and {walked.moves} moves; python scripts/walk.py --rooms shows them"
    assert (len(walked.rooms) <= rooms, walked.moves <= moves) == (True, True), said


def test_each_call_has_a_goal() -> None:
    assert walk.CALLS.keys() == GOALS.keys()
