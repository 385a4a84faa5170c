"""The invariants in some hundred worlds. `python -m tests.simulation` plays any number of worlds."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from . import targeted
from .fleet import LONGEST_SECONDS, Fleet, fleet_of
from .invariants import REFERENCES, Judged, judge, outweighed
from .loop import START, Stuck, VirtualLoop, run
from .mutants import IN_AGGREGATE, MUTANTS
from .play import play
from .worlds import World, world

WORLDS = 500
PART = 50
STORMS = range(40)
FLEETS = [seed for seed in range(60) if world(seed).calls[-1].at <= LONGEST_SECONDS][:12]


def check(judged: Judged) -> None:
    assert not judged.violations, f"{judged.violations}\n{judged.world.row()}"


@pytest.mark.parametrize("first", range(0, WORLDS, PART))
def test_no_world_breaks_an_invariant(first: int) -> None:
    lost, won = Counter[str](), Counter[str]()
    for seed in range(first, first + PART):
        judged = judge(play(world(seed)))
        check(judged)
        lost += judged.lost
        won += judged.won
    assert not [name for name in REFERENCES if outweighed(lost[name], won[name])]


@pytest.mark.parametrize("seed", FLEETS)
def test_no_fleet_loses_what_one_process_answers(seed: int) -> None:
    here = world(seed)
    fleet = fleet_of(here)
    judged = judge(play(here, fleet))
    assert not judged.violations, f"{judged.violations}\n{fleet}\n{here.row()}"


@pytest.mark.parametrize("name", targeted.KNOWN_LOSSES)
def test_no_more_is_lost_than_is_known(name: str) -> None:
    here, fleet = targeted.KNOWN_LOSSES[name]
    assert set(judge(play(here, fleet)).violations) <= targeted.BREAKS.get(name, set())


@pytest.mark.parametrize("name", targeted.HELD)
def test_what_was_lost_once_is_answered(name: str) -> None:
    (here, fleet), answered = targeted.HELD[name]
    judged = judge(play(here, fleet))
    check(judged)
    assert judged.answered["us"] >= answered


def storms() -> tuple[int, int]:
    """(calls that only the plain SDK answered, calls that only we answered), in worlds with random failures."""
    judged = [judge(play(world(seed, "storm"))) for seed in STORMS]
    return sum(one.lost["sdk"] for one in judged), sum(one.won["sdk"] for one in judged)


def test_a_brown_out_answers_as_many_calls_as_a_plain_client_has() -> None:
    assert not outweighed(*storms())


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_rule_that_is_switched_off_is_noticed(rule: str) -> None:
    mutant = MUTANTS[rule]
    for here, fleet in mutant.worlds:
        assert not _broken(here, fleet), "the world holds with the rule"
        with mutant.alive():
            assert mutant.invariant in _broken(here, fleet), here.row()


def _broken(here: World, fleet: Fleet | None) -> list[str]:
    judged = judge(play(here, fleet))
    worse = outweighed(judged.lost["sdk"], judged.won["sdk"])
    return [*judged.violations, *[IN_AGGREGATE for _ in range(worse)]]


def test_the_same_seed_is_the_same_world_and_the_same_end() -> None:
    ends = [[(r.ended, r.error, len(r.attempts)) for r in play(world(7)).results] for _ in range(2)]
    assert ends[0] == ends[1]
    assert world(7).row() == world(7).row() != world(8).row()


def test_virtual_time_moves_only_where_somebody_sleeps() -> None:
    async def sleeper(loop: VirtualLoop) -> tuple[float, float]:
        before = loop.time()
        await asyncio.sleep(3600.0)  # in virtual time: this test shows that it takes none
        return before, loop.time()

    assert run(sleeper) == (START, START + 3600.0)


def test_a_wait_for_nothing_is_an_error_and_no_hang() -> None:
    async def waiter(loop: VirtualLoop) -> None:
        await loop.create_future()

    with pytest.raises(Stuck):
        run(waiter)
