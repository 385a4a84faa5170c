"""Deadlines, and who is left when."""

from __future__ import annotations

from collections.abc import Callable

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.routes.needs import RequestTraits

from ...support.timeline import MUTE, SILENT, START, Held, World, fails, ok
from .words import (
    E400,
    E500,
    E503,
    EMPTY,
    HEALTHY,
    ONE_FAILED,
    Case,
    always,
    cooling,
    cut_off,
    every,
    left_out,
    limited,
)

WHOLE = Limits(total=6.0, whole=True)


def quick(*models: str, late: str = "") -> Callable[[World], None]:
    """Models whose first tokens are known to come within half a second; `late`: first tokens of another are overdue."""

    def before(world: World) -> None:
        for model in models:
            world.learn_speed(model, 0.5, times=200)
        if late:
            world.health.late(late, START - 10.0)

    return before


OVERDUE = [
    Case("a slow answer is not lost", "a b", {"a": always(ok(40)), "b": always(ok(20))}, "a@0 b&@30", "a @40"),
    Case(
        "a silent model and a failing one: its second round beside the silence",
        "a b", {"a": always(SILENT), "b": always(E503, ok())}, "a@0 b&@30 b&@30.5", "b @31.5",
        health={"a": ONE_FAILED, "b": "closed +1 -0"},
    ),
    Case(
        "a silent last model and one that broke off: called again when half of the time is over",
        "a b", {"a": always(EMPTY, ok()), "b": always(SILENT)}, "a@0 b@0 a&@150", "a @151",
        health={"a": "closed +1 -0"},
    ),
    Case(
        "a slow last model and one that broke off: called again after three quarters of a short time",
        "a b", {"a": always(EMPTY), "b": always(ok(100))}, "a@0 b@0 a&@97.5", "b @100", limits=Limits(total=130.0),
    ),
    Case(
        "three at a time, and no more", "a b c d", dict.fromkeys("abc", always(SILENT)), "a@0 b&@30 c&@60",
        "DeadlineExceededError @300",
    ),
    Case(
        "a silent model whose first tokens are known costs 5 s",
        "a b", {"a": always(SILENT)}, "a@0 b&@5", "b @6", before=quick("a"), health={"a": ONE_FAILED},
    ),
    Case(
        "199 first tokens are not enough to know them",
        "a b", {"a": always(SILENT)}, "a@0 b&@30", "b @31", before=lambda world: world.learn_speed("a", 0.5, times=199),
    ),
    Case(
        "everybody slow is not everybody dead: where another model is late, nothing learnt holds",
        "a b", {"a": always(SILENT)}, "a@0 b&@30", "b @31", before=quick("a", late="c"),
    ),
    Case(
        "the user's own deadline ends the attempt, whatever is known",
        "a b", {"a": always(SILENT)}, "a@0 b@9", "b @10", before=quick("a"), models={"a": {"timeout": 9.0}},
    ),
    Case(
        "the last candidate's first token may take all the time",
        "a", {"a": always(SILENT)}, "a@0", "DeadlineExceededError @300", before=quick("a"),
    ),
    Case(
        "a call that may be made only once: the first one is ended before the next",
        "a b", {"a": always(SILENT)}, "a@0 b@30", "b @31", facts=RequestTraits(idempotent=False),
    ),
    Case(
        "silence proves nothing where the model has answered somebody since",
        "a b", {"a": always(SILENT)}, "a@0 b&@30", "b @31", health={"a": HEALTHY},
        before=lambda world: world.at(START + 20.0, lambda: world.learn_speed("a", 0.5, times=1, at=20.0)),
    ),
    Case(
        "a drip: half of the call's time, then the next beside it; the first whole answer wins",
        "a b", {"a": always(every(100, "text"))}, "a@0 b&@3", "b @4", limits=WHOLE, health={"a": ONE_FAILED},
    ),
    Case(
        "a slow answer beside which another breaks off is not lost",
        "a b", {"a": always(ok(40)), "b": always(((3, "text"), (4, EMPTY)))}, "a@0 b&@30", "a @40",
        limits=Limits(total=300.0, whole=True), models={"a": {"attempts": 1}, "b": {"attempts": 1}},
    ),
    Case(
        "the first whole answer wins, though the other has begun later",
        "a b", {"a": always(ok(34)), "b": always(((3, "text"), (9, "answer")))}, "a@0 b&@30", "a @34",
        limits=Limits(total=300.0, whole=True),
    ),
    Case(
        "a drip that is whole before the other wins",
        "a b", {"a": always(every(4, "text", "answer")), "b": always(ok(2))}, "a@0 b&@3", "a @4", limits=WHOLE,
    ),
    Case(
        "a drip beside which one fails is waited for",
        "a b", {"a": always(every(5, "text", "answer")), "b": always(E400)}, "a@0 b&@3", "a @5", limits=WHOLE,
    ),
    Case(
        "the last candidate is silent: at half of the time those that failed are called again beside it",
        "a b", {"a": always(E503, ok()), "b": always(SILENT)}, "a@0 b@0 a&@3", "a @4", limits=WHOLE,
        health={"a": "closed +1 -0"},
    ),
    Case(
        "the last candidate is silent in a stream: one that has refused is called again beside it",
        "a b", {"a": always(E503, ok()), "b": always(SILENT)}, "a@0 b@0 a&@30", "a @31", streamed=True,
        health={"a": "closed +1 -0"},
    ),
    Case(
        "so is one that has cooled down meanwhile",
        "a b", {"a": always(limited(5), ok()), "b": always(SILENT)}, "a@0 b@0 a&@30", "a @31", streamed=True,
    ),
    Case(
        "one that has stalled is not: its first token could overtake a slow answer",
        "a b", {"a": always(((1, "reasoning"),)), "b": always(ok(70))}, "a@0 b@31", "b @101", streamed=True,
    ),
    Case(
        "a drip, and the others have failed: the model once more beside itself, since it may have recovered",
        "a b", {"a": [every(100, "text"), ok()], "b": always(E500)}, "a@0 b&@3 a&@3", "a @4", limits=WHOLE,
        health={"a": "closed +1 -0"},
    ),
    Case(
        "silence, and the others have failed: the model once more beside itself",
        "a b", {"a": [SILENT, ok()], "b": always(E500)}, "a@0 b&@3 a&@3", "a @4", limits=WHOLE,
        facts=RequestTraits(slow=True),
    ),
    Case(
        "a model that may be called once is not called beside itself",
        "a b", {"a": always(every(5, "text", "answer")), "b": always(E500)}, "a@0 b&@3", "a @5", limits=WHOLE,
        models={"a": {"attempts": 1}, "b": {"attempts": 1}},
    ),
    Case(
        "a drip and nobody else", "a", {"a": always(every(100, "text"))}, "a@0", "DeadlineExceededError @6",
        limits=WHOLE,
    ),
]  # fmt: skip

TIMES = [
    Case("the first token has 30 s", "a b", {"a": always(SILENT)}, "a@0 b&@30", "b @31", health={"a": ONE_FAILED}),
    Case(
        "120 s for a slow request",
        "a b", {"a": always(SILENT)}, "a@0 b&@120", "b @121", facts=RequestTraits(slow=True), health={"a": ONE_FAILED},
    ),
    Case(
        "at most half of the time left while others are untried; 10 s of silence are not enough to learn from",
        "a b", {"a": always(SILENT), "b": always(ok(0))}, "a@0 b&@10", "b @10", limits=Limits(total=20),
        health={"a": HEALTHY},
    ),
    Case(
        "a shortened deadline counts when the silence was long",
        "a b", {"a": always(SILENT)}, "a@0 b&@11", "b @12", limits=Limits(total=22), health={"a": ONE_FAILED},
    ),
    Case(
        "a shortened deadline counts when the model is known to be quicker",
        "a b", {"a": always(SILENT)}, "a@0 b&@2", "b @3", limits=Limits(total=4),
        before=lambda world: world.learn_speed("a", 0.5), health={"a": ONE_FAILED},
    ),
    Case(
        "halves of halves, and all the rest for the last",
        "a b c", dict.fromkeys("abc", always(SILENT)), "a@0 b&@8 c&@12", "DeadlineExceededError @16",
        limits=Limits(total=16), health={"a": ONE_FAILED, "b": HEALTHY, "c": HEALTHY},
    ),
    Case(
        "a model whose cooldown ends in time is one that remains",
        "a b", {"a": always(SILENT)}, "a@0 b&@30", "b @31", before=cooling("b", 5), health={"a": ONE_FAILED},
    ),
    Case(
        "a model whose cooldown does not end in time is none",
        "a b", {"a": always(ok(140))}, "a@0", "a @140", before=cooling("b", 400),
    ),
    Case(
        "a model that is left out is called beside a silent one",
        "a b", {"a": always(SILENT)}, "a@0 b*&@30", "b @31", before=left_out(b=0),
    ),
    Case(
        "the last one whose circuit is closed keeps it closed, and loses no answer",
        "a b", {"a": always(ok(140)), "b": always(E503)}, "a@0 b*&@30 b*&@55", "a @140", before=left_out(b=0),
        health={"a": "closed +1 -0"},
    ),
    Case(
        "at half of a whole call's time also a model that is left out is called beside the last one",
        "a b", {"a": always(every(250, "text"))}, "a@0 b*&@150", "b @151", before=left_out(b=0),
        limits=Limits(whole=True),
    ),
    Case(
        "a stream's stall leaves half of the call's own time to the others",
        "a b", {"a": always(((0.0, "status"), (1.0, "text")))}, "a@0 b+@11", "b @12", streamed=True,
        limits=Limits(total=20), facts=RequestTraits(continues=True),
    ),
    Case(
        "a stream that drips leaves half of the call's own time to the others",
        "a b", {"a": always(every(100, "text"))}, "a@0 b+@20", "b @21", streamed=True,
        limits=Limits(total=40), facts=RequestTraits(continues=True), health={"a": ONE_FAILED},
    ),
    Case(
        "one that has begun late gets 10 s",
        "a b", {"a": always(((15, "text"), *((15 + n, "text") for n in range(1, 100))))}, "a@0 b+@25", "b @26",
        streamed=True, limits=Limits(total=40), facts=RequestTraits(continues=True),
    ),
    Case(
        "some text and then a pause is no drip: an image may follow",
        "a b", {"a": always((*((n, "text") for n in range(1, 6)), (29, "answer")))}, "a@0", "a @29",
        streamed=True, limits=Limits(total=60), facts=RequestTraits(continues=True),
    ),
    Case(
        "no other can continue it: a drip is read to its end",
        "a", {"a": always(every(30, "text", "answer"))}, "a@0", "a @30", streamed=True, limits=Limits(total=40),
        facts=RequestTraits(continues=True),
    ),
    Case(
        "without a time of the call's own, a drip is read to its end",
        "a b", {"a": always(every(170, "text", "answer"))}, "a@0", "a @170", streamed=True,
        limits=Limits(wall_clock=False), facts=RequestTraits(continues=True),
    ),
    Case(
        "a model that has reasoned does not drip: it may pause between its texts",
        "a b", {"a": always(((1, "reasoning"), *((n, "text") for n in range(2, 30)), (30, "answer")))}, "a@0", "a @30",
        streamed=True, limits=Limits(total=40), facts=RequestTraits(continues=True),
    ),
    Case("the last one may use all the time", "a", {"a": always(ok(290))}, "a@0", "a @290"),
    Case(
        "the call's deadline: the silence before it is learnt",
        "a", {"a": always(SILENT)}, "a@0", "DeadlineExceededError @300", health={"a": ONE_FAILED},
    ),
    Case(
        "the user's timeout holds against the half",
        "a b", {"a": always(SILENT)}, "a@0 b@50", "b @51", limits=Limits(total=60), models={"a": {"timeout": 50.0}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "the user's timeout holds for the last one",
        "a", {"a": always(SILENT)}, "a@0 a@7.5", "AllModelsFailedError @14.5", "7-7.5",
        models={"a": {"timeout": 7.0}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "the user's timeout of the call goes before the model's",
        "a b", {"a": always(SILENT)}, "a@0 b@5", "b @6", limits=Limits(first_token=5), models={"a": {"timeout": 50.0}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "a timeout beyond the call's time leaves half for the next",
        "a b", {"a": always(SILENT)}, "a@0 b&@10", "b @11", limits=Limits(total=20), models={"a": {"timeout": 50.0}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "the attempt's own deadline",
        "a b", {"a": always(every(20, "text", "answer"))}, "a@0 b@4", "b @5", limits=Limits(attempt=4),
        health={"a": ONE_FAILED},
    ),
    Case(
        "an endpoint that does not stream: the attempt's deadline teaches",
        "a b", {"a": always(SILENT)}, "a@0 b@20", "b @21", limits=Limits(attempt=20), models={"a": {"streams": False}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "an endpoint that does not stream: half of the call's time teaches nothing",
        "a b", {"a": always(SILENT)}, "a@0 b&@150", "b @151", models={"a": {"streams": False}}, health={"a": HEALTHY},
    ),
    Case(
        "an endpoint that does not stream: a shortened timeout teaches nothing",
        "a b", {"a": always(SILENT)}, "a@0 b&@20", "b @21", limits=Limits(total=40),
        models={"a": {"streams": False, "timeout": 60.0}}, health={"a": HEALTHY},
    ),
    Case(
        "a probe in a call with 2 s left: a quarter, and the next probe comes in its time",
        "a b", {"a": always(SILENT)}, "a*@0 b&@0.5", "b @1.5", limits=Limits(total=2), before=left_out(a=-10),
        health={"a": "half_open +0 -3 failing, a probe is under way 0s"}, probed=["a"],
    ),
    Case(
        "left out and silent: the next left-out one is still reached",
        "a b", {"b": always(SILENT)}, "b!@0 a*&@30", "a @31", before=left_out(a=-3, b=-5),
        health={"b": "half_open +0 -3 half-open"},
    ),
    Case(
        "a stall between tokens",
        "a b", {"a": always(((0, "status"), (2, "text")))}, "a@0 b@32", "b @33", health={"a": ONE_FAILED},
    ),
    Case(
        "300 s of stall for a slow request",
        "a b", {"a": always(((0, "status"), (2, "text")))}, "a@0 b@302", "b @303", facts=RequestTraits(slow=True),
        limits=Limits(total=1000),
    ),
    Case(
        "the user's stall deadline",
        "a b", {"a": always(((0, "status"), (2, "text")))}, "a@0 b@9", "b @10", limits=Limits(stall=7),
    ),
    Case(
        "60 s of reasoning and a stall: nobody has committed, and the deadline starts anew at the seam",
        "a b", {"a": always(every(60, "reasoning")), "b": always(ok(60))}, "a@0 b@90", "b @150", streamed=True,
        limits=Limits(total=70, wall_clock=False), health={"a": ONE_FAILED},
    ),
    Case(
        "a wall-clock total does not start anew",
        "a b", {"a": always(((1, "reasoning"), (2, EMPTY))), "b": always(SILENT)}, "a@0 b@2 a&@8",
        "DeadlineExceededError @10", streamed=True, limits=Limits(total=10),
    ),
    Case(
        "the deadline starts anew at a seam, not at each failure after it",
        "a b c", {"a": always(((1, "reasoning"), (2, EMPTY))), "b": always(fails(E503, after=4)), "c": always(SILENT)},
        "a@0 b@2 c@6 a&@10.5 c@12.5", "DeadlineExceededError @22.5",
        streamed=True, limits=Limits(total=10, wall_clock=False),
        models={"b": {"attempts": 1}},
    ),
    Case(
        "without a token nothing starts anew",
        "a b", {"a": always(fails(E503, after=2)), "b": always(SILENT)}, "a@0 b@2 a&@6", "DeadlineExceededError @10",
        streamed=True, limits=Limits(total=10, wall_clock=False),
    ),
    Case(
        "60 s of reasoning and a stall, not streamed: wall-clock",
        "a b", {"a": always(every(60, "reasoning"))}, "a@0", "DeadlineExceededError @80", limits=Limits(total=80),
        health={"a": HEALTHY},
    ),
    Case(
        "once tokens flow only the stall deadline holds",
        "a b", {"a": always(every(40, "text", "answer"))}, "a@0", "a @40", streamed=True,
        limits=Limits(total=10, wall_clock=False),
    ),
    Case(
        "a total given per call is wall-clock, also for a stream",
        "a b", {"a": always(every(40, "text", "answer"))}, "a@0", "DeadlineExceededError @10", streamed=True,
        limits=Limits(total=10),
    ),
    Case(
        "no clock runs while the consumer holds a piece",
        "a", {"a": always(((1, "text"), (1, Held(100)), (29, "text"), (30, "answer")))}, "a@0", "a @130",
        streamed=True, limits=Limits(total=40),
    ),
    Case(
        "an abandoned silence counts after 10 s",
        "a b", {"a": always(SILENT)}, "a@0", "left @11", leaves=11, health={"a": ONE_FAILED},
    ),
    Case(
        "a short silence does not",
        "a b", {"a": always(SILENT)}, "a@0", "left @9", leaves=9, health={"a": HEALTHY},
    ),
    Case(
        "after the model's own p99 where it is known",
        "a b", {"a": always(SILENT)}, "a@0", "left @1", leaves=1, health={"a": ONE_FAILED},
        before=lambda world: world.learn_speed("a", 0.5),
    ),
    Case(
        "99 samples are not enough to know it",
        "a b", {"a": always(SILENT)}, "a@0", "left @1", leaves=1, health={"a": HEALTHY},
        before=lambda world: world.learn_speed("a", 0.5, times=99),
    ),
    Case(
        "leaving after a token is nobody's fault",
        "a b", {"a": always(((1, "text"),))}, "a@0", "left @20", leaves=20, health={"a": HEALTHY},
    ),
    Case(
        "leaving during a wait: what was learnt stays",
        "a", {"a": always(E503)}, "a@0", "left @0.2", "0-0.5", leaves=0.2, health={"a": ONE_FAILED},
    ),
    Case(
        "leaving before there is a status says nothing about the endpoint",
        "a", {"a": always(MUTE)}, "a*@0", "left @2", leaves=2, before=cut_off("openrouter", -10),
        endpoints={"openrouter": "half_open 0"},
    ),
    Case(
        "leaving after a status does",
        "a", {"a": always(SILENT)}, "a*@0", "left @2", leaves=2, before=cut_off("openrouter", -10),
        endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "an answer that comes whole is not silent, however long it was waited for",
        "a", {"a": always(SILENT)}, "a@0", "left @15", leaves=15.0, models={"a": {"streams": False}},
        health={"a": HEALTHY},
    ),
    Case(
        "left after the status line: a success of the endpoint",
        "a", {"a": always(((0.0, "status"),))}, "a@0", "left @1", leaves=1.0,
        before=lambda world: world.cut_off("openrouter", times=2), endpoints={"openrouter": "closed 0"},
    ),
]  # fmt: skip
