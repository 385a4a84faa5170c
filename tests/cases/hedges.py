"""Attempts side by side, as timelines of the machine; the notation stands in `support/timeline.py`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from openrouter_fallback.decision.commands import Hedging, Limits
from openrouter_fallback.routes.needs import RequestTraits

from ..support.timeline import MUTE, SILENT, START, Script, World, fails, ok
from .timelines.words import (
    BREAKS,
    E400,
    E401,
    E500,
    E503,
    HEALTHY,
    LIMITED,
    NO_FILES,
    NO_PREFILL,
    ONE_FAILED,
    POLICY,
    REFUSED,
    Case,
    always,
    left_out,
)

AFTER_2 = Limits(hedge=Hedging(after=2.0))
AFTER_P95 = Limits(hedge=Hedging(quantile=0.95))
THREE = Limits(hedge=Hedging(after=2.0, max_parallel=3))
STREAMED = replace(AFTER_2, wall_clock=False)


def fast(model: str, seconds: float, times: int = 100) -> Callable[[World], None]:
    """A model whose first tokens are known to take so long."""
    return lambda world: world.learn_speed(model, seconds, times)


def row(name: str, chain: str, script: Script, requests: str, outcome: str, **more: Any) -> Case:
    return Case(name, chain, script, requests, outcome, **{"limits": AFTER_2, **more})


SLOW = always(ok(7))
SLOWER = always(ok(20))
HOLDS_ON: Mapping[str, str] = {"a": HEALTHY}

HEDGES = [
    row("in time: nobody else is asked", "a b", {"a": always(ok(1.9))}, "a@0", "a @1.9"),
    row("the first token of the second wins", "a b", {"a": SLOW}, "a@0 b&@2", "b @3", health=HOLDS_ON),
    row("the first token of the first still wins", "a b", {"a": always(ok(2.5))}, "a@0 b&@2", "a @2.5"),
    row(
        "a token is enough: whoever has begun is not overtaken", "a b",
        {"a": always(((0, "status"), (1, "reasoning"), (9, "text"), (9, "answer")))}, "a@0", "a @9",
    ),
    row("no more than two side by side", "a b c", {"a": SLOW, "b": SLOW}, "a@0 b&@2", "a @7"),
    row("three where three are allowed", "a b c d", {"a": SLOW, "b": SLOW}, "a@0 b&@2 c&@4", "c @5", limits=THREE),
    row(
        "the delay is the model's own p95", "a b", {"a": SLOW}, "a@0 b&@0.591", "b @1.591", limits=AFTER_P95,
        before=fast("a", 0.5),
    ),
    row(
        "2 s where fewer than 20 times are known", "a b", {"a": SLOW}, "a@0 b&@2", "b @3", limits=AFTER_P95,
        before=fast("a", 0.5, times=19),
    ),
    row("nobody else is there", "a", {"a": SLOW}, "a@0", "a @7"),
    row("not to a model that is left out", "a b", {"a": SLOW}, "a@0", "a @7", before=left_out(b=0)),
    row("not to a probe", "a b c", {"a": SLOW}, "a@0 c&@2", "c @3", before=left_out(b=-9)),
    row("not where the call may be made only once", "a b", {"a": SLOW}, "a@0", "a @7",
        facts=RequestTraits(idempotent=False)),
    row("off by default", "a b", {"a": SLOW}, "a@0", "a @7", limits=None),
    # Failures beside one another
    row("the second fails: the first is waited for", "a b", {"a": SLOW, "b": always(E503)}, "a@0 b&@2", "a @7"),
    row(
        "the second fails: the third is asked at once", "a b c", {"a": SLOW, "b": always(E503)}, "a@0 b&@2 c&@2",
        "c @3", health={"b": ONE_FAILED},
    ),
    row(
        "the first fails later: the second is waited for", "a b",
        {"a": always(((0, "status"), (5, E500))), "b": SLOW}, "a@0 b&@2", "b @9", health={"a": ONE_FAILED},
    ),
    row(
        "the first fails before the delay: failover as usual", "a b", {"a": always(((0, "status"), (1, E503)))},
        "a@0 b@1", "b @2", health={"a": ONE_FAILED},
    ),
    row(
        "both fail: later rounds as usual", "a b", {"a": [((0, "status"), (3, E503)), ok()], "b": always(E503)},
        "a@0 b&@2 b@3 a@3.5", "a @4.5", waits="3-3.5", health={"a": "closed +1 -0", "b": ONE_FAILED},
    ),
    row(
        "a wrong request is believed only where nobody else is under way", "a b c", {"a": SLOW, "b": always(E400)},
        "a@0 b&@2", "a @7",
    ),
    row(
        "a wrong request is raised when the other has failed too", "a b c",
        {"a": always(((0, "status"), (5, E503))), "b": always(E400)}, "a@0 b&@2", "InvalidRequestError @5",
    ),
    row(
        "a refused content is raised at once", "a b", {"a": SLOW, "b": always(POLICY)}, "a@0 b&@2",
        "ContentPolicyError @2",
    ),
    row(
        "a wrong request is forgotten when the other has a token", "a b",
        {"a": [((0, "status"), (5, "reasoning"), (6, E503)), ok()], "b": always(E400)}, "a@0 b&@2 a@6.5", "a @7.5",
        waits="6-6.5",
    ),
    row("a refused key of one is not the other's end", "a b", {"a": SLOW, "b": always(E401)}, "a@0 b&@2", "a @7"),
    row("a rate limit is none either", "a b", {"a": SLOW, "b": always(LIMITED)}, "a@0 b&@2", "a @7"),
    row(
        "an endpoint that is gone", "a groq:b", {"a": always(((6, REFUSED),))}, "a@0 groq:b&@2", "groq:b @3",
    ),
    row(
        "one that could not even be sent is asked when nobody is under way, and has lost no attempt", "a b",
        {"a": always(((0, "status"), (5, E503))), "b": always(NO_FILES, ok())}, "a@0 b&@2 b@5", "b @6",
        health={"b": "closed +1 -0"},
    ),
    row(
        "any_error uses up the attempts of both", "a b",
        {"a": always(((0, "status"), (5, E503))), "b": always(E503, ok())}, "a@0 b&@2 a@5 b@10", "b @11",
        policy="any_error", health={"b": "closed +1 -0"},
    ),
    row(
        "an endpoint that cannot be reached twice is one failure of the call, whoever was asked meanwhile", "a b",
        {"a": [((5, REFUSED),), ((0, REFUSED),)], "b": [fails(E503), MUTE]}, "a@0 b&@2 a@6 b@6",
        "DeadlineExceededError @20", waits="5-6", endpoints={"openrouter": "closed 1"},
        limits=replace(AFTER_2, total=20.0),
    ),
    row(
        "an endpoint that does not stream: its own times are not known", "a b", {"a": SLOW}, "a@0", "a @7",
        limits=AFTER_P95, models={"a": {"streams": False}},
    ),
    row(
        "an endpoint that does not stream: after so many seconds", "a b", {"a": SLOW}, "a@0 b&@2", "b @3",
        models={"a": {"streams": False}},
    ),
    # Silence
    row(
        "both silent: each has its deadline, then the third", "a b c", {"a": always(SILENT), "b": always(SILENT)},
        "a@0 b&@2 c&@30", "c @31", health={"a": ONE_FAILED, "b": "closed +0 -1"},
    ),
    row(
        "an abandoned silence of more than 10 s is learnt", "a b", {"a": always(SILENT), "b": always(ok(9))},
        "a@0 b&@2", "b @11", health={"a": ONE_FAILED},
    ),
    row(
        "one of less is not", "a b", {"a": always(SILENT), "b": always(ok(7))}, "a@0 b&@2", "b @9", health=HOLDS_ON,
    ),
    row(
        "the call's deadline ends all", "a b", {"a": always(SILENT), "b": always(MUTE)}, "a@0 b&@2",
        "DeadlineExceededError @8", limits=replace(AFTER_2, total=8.0),
    ),
    row("the caller leaves both", "a b", {"a": SLOWER, "b": SLOWER}, "a@0 b&@2", "left @3", leaves=3),
    # Streams
    row(
        "the winner breaks off: the loser goes on from its text", "a b",
        {"a": [ok(9), ok()], "b": always(((0, "status"), (1, "text"), (2, E503)))}, "a@0 b&@2 a+@4", "a @5",
        limits=STREAMED, streamed=True, facts=RequestTraits(continues=True),
    ),
    row(
        "side by side at a seam", "a b c", {"a": always(((0, "status"), (1, "text"), (2, E503))), "b": SLOW},
        "a@0 b+@2 c&+@4", "c @5", limits=STREAMED, streamed=True, facts=RequestTraits(continues=True),
    ),
    row(
        "a refused prefill at the side: asked once more at once", "a b c",
        {"a": BREAKS, "b": always(ok(10)), "c": always(NO_PREFILL, ok())}, "a@0 b+@2 c&+@4 c&~@4", "c @5",
        limits=STREAMED, streamed=True, facts=RequestTraits(continues=True),
    ),
    row(
        "one of a code block: the other is waited for", "a b c",
        {"a": BREAKS, "b": always(ok(10)), "c": always(NO_PREFILL)}, "a@0 b+@2 c&+@4", "b @12",
        limits=STREAMED, streamed=True, facts=RequestTraits(continues=True), only_prefill=True, health={"c": HEALTHY},
    ),
    row(
        "one of a model that others have found failing meanwhile: too", "a b c",
        {"a": BREAKS, "b": always(ok(10)), "c": always(fails(NO_PREFILL, 1.0))}, "a@0 b+@2 c&+@4", "b @12",
        limits=STREAMED, streamed=True, facts=RequestTraits(continues=True),
        before=lambda world: world.at(START + 4.5, lambda: world.fail("c", 4.5)),
    ),
]  # fmt: skip
