"""The design's rules as timelines of the machine: the exact requests, waits, outcome and health of each.

The notation stands in `support/timeline.py`. Full jitter is half of its range here, a breaker opens for exactly 10 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from openrouter_fallback.commands import Facts, Limits
from openrouter_fallback.continuation import Way
from openrouter_fallback.failures import Failure, FailureKind
from openrouter_fallback.policy import Verdict, policy

from ..support.timeline import MUTE, SILENT, START, Call, Held, Reply, Script, Step, World, chunks, fails, ok

K = FailureKind


def failure(kind: FailureKind, status: int | None = None, **more: Any) -> Failure:
    return Failure(kind, f"this is {kind}", status, **more)


LIMITED = failure(K.RATE_LIMITED, 429)
E503 = failure(K.OVERLOADED, 503)
E500 = failure(K.UNAVAILABLE, 500, provider="P")
E500_NAMELESS = failure(K.UNAVAILABLE, 500)
E504 = failure(K.TIMED_OUT, 504)
REFUSED = failure(K.CONNECTION, code="refused")
EMPTY = failure(K.BAD_ANSWER, code="empty")
TURNED_DOWN = failure(K.BAD_ANSWER, harmless=True)
TOO_LONG = failure(K.CONTEXT_TOO_LONG, 400)
REJECTED = failure(K.REJECTED, 400, provider="P")
MODERATION = failure(K.MODERATION, 403)
POLICY = failure(K.CONTENT_POLICY, 400)
E404 = failure(K.NOT_FOUND, 404)
NO_TOOLS = Failure(K.UNSUPPORTED, "No endpoints found that support tool use", 404)
E402 = failure(K.CREDITS, 402)
E401 = failure(K.AUTH, 401)
E403 = failure(K.FORBIDDEN, 403)
GUARDRAIL = failure(K.GUARDRAIL, 403)
E400 = failure(K.INVALID_REQUEST, 400)
NO_FILES = failure(K.LOCAL, code="no_files")
OUR_BUG = failure(K.LOCAL, code="our_bug")


def limited(seconds: float) -> Failure:
    return failure(K.RATE_LIMITED, 429, retry_after=seconds)


def always(*replies: Failure | Reply) -> list[Reply]:
    """Replies in turn, the last one for ever."""
    return [fails(reply) if isinstance(reply, Failure) else reply for reply in replies]


OK = always(ok())


@dataclass(frozen=True)
class Case:
    """One timeline. Models that the script leaves out answer after one second."""

    name: str
    chain: str
    script: Script
    requests: str
    outcome: str
    waits: str = ""
    health: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[World], None] | None = None
    policy: Literal["smart", "any_error"] = "smart"
    on_failure: Mapping[FailureKind, Verdict] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    limits: Limits | None = None
    facts: Facts | None = None
    streamed: bool = False
    leaves: float | None = None
    only_prefill: bool = False

    def world(self) -> World:
        script = {key: self.script.get(key, OK) for key in self.chain.split()}
        world = World(script, policy(self.policy, self.on_failure), models=self.models)
        if self.before is not None:
            self.before(world)
        return world

    def call(self, world: World) -> Call:
        return world.call(
            self.chain,
            limits=self.limits,
            facts=self.facts,
            streamed=self.streamed,
            leaves=self.leaves,
            only_prefill=self.only_prefill,
        )


def every(seconds: int, what: Step, then: Step | None = None) -> Reply:
    """`what` in each of so many seconds, then in the last one `then`."""
    last: Reply = () if then is None else ((float(seconds), then),)
    return ((0.0, "status"), *((float(second), what) for second in range(1, seconds + 1)), *last)


def left_out(**since: float) -> Callable[[World], None]:
    """Breakers that opened for 10 s at these seconds, -10: half-open at the call's beginning."""

    def before(world: World) -> None:
        for model, at in since.items():
            world.fail(model, at)

    return before


def cut_off(endpoint: str, at: float) -> Callable[[World], None]:
    return lambda world: world.cut_off(endpoint, at)


def disabled(*models: str) -> Callable[[World], None]:
    def before(world: World) -> None:
        for model in models:
            world.health.disable(world.candidate(model).target, START + 60)

    return before


def cooling(model: str, seconds: float) -> Callable[[World], None]:
    return lambda world: void(world.health.rate_limited(world.candidate(model).target, START, seconds))


def void(_: object) -> None:
    """For lambdas that must return None."""


HEALTHY = "closed +0 -0"
ONE_FAILED = "closed +0 -1"
TOOLS = Facts(needs=frozenset({"tools"}))

ROWS: Mapping[FailureKind, Case] = {
    K.RATE_LIMITED: Case(
        "next at once, this one cools down",
        "a b", {"a": always(limited(20))}, "a@0 b@0", "b @1", health={"a": f"{HEALTHY} rate-limited 19s"},
    ),
    K.OVERLOADED: Case("next at once", "a b", {"a": always(E503)}, "a@0 b@0", "b @1", health={"a": ONE_FAILED}),
    K.UNAVAILABLE: Case(
        "same model once more without that provider, then next",
        "a b", {"a": always(E500)}, "a@0 a@0.5-P b@0.5", "b @1.5", "0-0.5", health={"a": ONE_FAILED},
    ),
    K.TIMED_OUT: Case("next at once", "a b", {"a": always(E504)}, "a@0 b@0", "b @1", health={"a": ONE_FAILED}),
    K.CONNECTION: Case(
        "1 s, same model once, then another endpoint first",
        "a b groq:c", {"a": always(REFUSED)}, "a@0 a@1 groq:c@1", "groq:c @2", "0-1",
        health={"a": HEALTHY, "b": HEALTHY}, endpoints={"openrouter": "closed 1"},
    ),
    K.BAD_ANSWER: Case("next", "a b", {"a": always(EMPTY)}, "a@0 b@0", "b @1", health={"a": ONE_FAILED}),
    K.CONTEXT_TOO_LONG: Case("next", "a b", {"a": always(TOO_LONG)}, "a@0 b@0", "b @1", health={"a": HEALTHY}),
    K.REJECTED: Case("next", "a b", {"a": always(REJECTED)}, "a@0 b@0", "b @1", health={"a": HEALTHY}),
    K.MODERATION: Case("next", "a b", {"a": always(MODERATION)}, "a@0 b@0", "b @1", health={"a": HEALTHY}),
    K.CONTENT_POLICY: Case(
        "raise", "a b", {"a": always(POLICY)}, "a@0", "ContentPolicyError @0", health={"a": HEALTHY}
    ),
    K.NOT_FOUND: Case(
        "next, left out for disable_duration",
        "a b", {"a": always(E404)}, "a@0 b@0", "b @1", health={"a": "open +0 -0 not_found 299s"},
    ),
    K.UNSUPPORTED: Case(
        "next", "a b", {"a": always(NO_TOOLS)}, "a@0 b@0", "b @1", health={"a": HEALTHY}, facts=TOOLS
    ),
    K.CREDITS: Case(
        "free models, models of unknown price, then other endpoints",
        "a b groq:c d:free", dict.fromkeys(("a", "b", "d:free"), always(E402)),
        "a@0 d:free@0 b@0 groq:c@0", "groq:c @1", health={"a": HEALTHY},
    ),
    K.AUTH: Case(
        "other endpoints only", "a b groq:c", {"a": always(E401)}, "a@0 groq:c@0", "groq:c @1", health={"a": HEALTHY}
    ),
    K.FORBIDDEN: Case("next", "a b", {"a": always(E403)}, "a@0 b@0", "b @1", health={"a": HEALTHY}),
    K.GUARDRAIL: Case(
        "raise", "a b", {"a": always(GUARDRAIL)}, "a@0", "PermissionDeniedError @0", health={"a": HEALTHY}
    ),
    K.INVALID_REQUEST: Case(
        "raise", "a b", {"a": always(E400)}, "a@0", "InvalidRequestError @0", health={"a": HEALTHY}
    ),
    K.LOCAL: Case(
        "queue, without using up an attempt",
        "a b", {"a": always(NO_FILES, NO_FILES, NO_FILES, ok())}, "a@0 a@0.15 a@0.45 a@1.05", "a @2.05",
        "0-0.15 0.15-0.45 0.45-1.05", health={"a": "closed +1 -0"},
    ),
}  # fmt: skip

NONE_LEFT = [
    Case(
        "a chain of one with 503 is asked twice",
        "a", {"a": always(E503)}, "a@0 a@0.5", "AllModelsFailedError @0.5", "0-0.5", health={"a": ONE_FAILED},
    ),
    Case(
        "a chain of one with 503 and then an answer: one outcome of the call",
        "a", {"a": always(E503, ok())}, "a@0 a@0.5", "a @1.5", "0-0.5", health={"a": "closed +1 -0"},
    ),
    Case(
        "later rounds wait a jittered 1, 2, 4, 4 s",
        "a", {"a": always(E503)}, "a@0 a@0.5 a@1.5 a@3.5 a@5.5", "AllModelsFailedError @5.5",
        "0-0.5 0.5-1.5 1.5-3.5 3.5-5.5", models={"a": {"attempts": 5}},
    ),
    Case(
        "a chain of one with 429 and Retry-After 2 is waited for",
        "a", {"a": always(limited(2), ok())}, "a@0 a@2", "a @3", "0-2", health={"a": "closed +1 -0"},
    ),
    Case(
        "a chain of one with 429 and Retry-After 2, twice",
        "a", {"a": always(limited(2))}, "a@0 a@2", "RateLimitedError @2 retry 2", "0-2",
        health={"a": f"{HEALTHY} rate-limited 2s"},
    ),
    Case(
        "a chain of one with 429 and Retry-After 400: raised, for the call has 300 s",
        "a", {"a": always(limited(400))}, "a@0", "RateLimitedError @0 retry 400",
        health={"a": f"{HEALTHY} rate-limited 400s"},
    ),
    Case(
        "a chain of one with 429 and Retry-After 0: at once",
        "a", {"a": always(limited(0), ok())}, "a@0 a@0", "a @1",
    ),
    Case(
        "Retry-After 400 in a call that has the time",
        "a", {"a": always(limited(400), ok())}, "a@0 a@400", "a @401", "0-400", limits=Limits(total=500),
    ),
    Case(
        "429 without Retry-After: 1 s, then 2 s",
        "a", {"a": always(LIMITED)}, "a@0 a@1", "RateLimitedError @1 retry 2", "0-1",
        health={"a": f"{HEALTHY} rate-limited 2s"},
    ),
    Case(
        "cooling from an earlier call, beyond the deadline: nobody is asked",
        "a", {}, "", "RateLimitedError @0 retry 20", limits=Limits(total=10), before=cooling("a", 20),
    ),
    Case(
        "500 twice, then 429, then context too long: the rate-limited one is waited for",
        "a b c", {"a": always(E500), "b": always(limited(20), ok()), "c": always(TOO_LONG)},
        "a@0 a@0.5-P b@0.5 c@0.5 b@20.5", "b @21.5", "0-0.5 0.5-20.5",
        health={"a": ONE_FAILED, "b": "closed +1 -0", "c": HEALTHY},
    ),
    Case(
        "500 twice, then 429, then context too long: all exhausted",
        "a b c", {"a": always(E500), "b": always(limited(400)), "c": always(TOO_LONG)},
        "a@0 a@0.5-P b@0.5 c@0.5", "AllModelsFailedError @0.5 retry 400", "0-0.5",
    ),
    Case(
        "500 twice, then 429, then context too long, all of one model",
        "a", {"a": always(E500, E500, LIMITED, TOO_LONG)}, "a@0 a@0.5-P a@1.5-P a@2.5",
        "AllModelsFailedError @2.5", "0-0.5 0.5-1.5 1.5-2.5", models={"a": {"attempts": 5}},
        health={"a": ONE_FAILED},
    ),
    Case(
        "the second round goes in the order of readiness",
        "a b", dict.fromkeys("ab", always(E503)), "a@0 b@0 a@0.5 b@0.5", "AllModelsFailedError @0.5", "0-0.5",
        health=dict.fromkeys("ab", ONE_FAILED),
    ),
    Case(
        "a cooldown that ends before a backoff comes first",
        "a b", {"a": always(limited(0.2), ok()), "b": always(E503)}, "a@0 b@0 a@0.2", "a @1.2", "0-0.2",
    ),
    Case(
        "an untried model whose cooldown ends before a backoff comes first",
        "a b", {"b": always(E503)}, "b@0 a@0.2", "a @1.2", "0-0.2", before=cooling("a", 0.2),
    ),
    Case(
        "a backoff that ends before a cooldown comes first",
        "a b", {"a": always(limited(20), ok()), "b": always(E503)}, "a@0 b@0 b@0.5 a@20", "a @21", "0-0.5 0.5-20",
    ),
    Case(
        "a backoff that does not fit is no reason to forget the left-out model",
        "a b", {"a": always(ok(0.2)), "b": always(fails(E503, after=0.8))}, "b@0 a!@0.8", "a @1", before=left_out(a=-3),
        limits=Limits(total=1.2),
    ),
    Case(
        "the retry of a 500 does not fit: next at once",
        "a b", {"a": always(fails(E500, after=0.5)), "b": always(ok(0.1))}, "a@0 b@0.5", "b @0.6",
        limits=Limits(total=1),
    ),
    Case(
        "only a second attempt that is in the budget of the model",
        "a b", {"a": always(E500)}, "a@0 b@0", "b @1", models={"a": {"attempts": 1}},
    ),
    Case(
        "context too long everywhere",
        "a b", dict.fromkeys("ab", always(TOO_LONG)), "a@0 b@0", "ContextLengthError @0",
    ),
    Case("rejected everywhere", "a b", dict.fromkeys("ab", always(REJECTED)), "a@0 b@0", "InvalidRequestError @0"),
    Case("forbidden everywhere", "a b", dict.fromkeys("ab", always(E403)), "a@0 b@0", "PermissionDeniedError @0"),
    Case("moderation everywhere", "a b", dict.fromkeys("ab", always(MODERATION)), "a@0 b@0", "ContentPolicyError @0"),
    Case("no credits anywhere", "a b", dict.fromkeys("ab", always(E402)), "a@0 b@0", "InsufficientCreditsError @0"),
    Case("401 with one endpoint", "a b", {"a": always(E401)}, "a@0", "AuthenticationError @0"),
    Case(
        "401 on one of two endpoints, in the middle: its other models are not asked again",
        "a groq:b c", {"a": always(E503), "groq:b": always(E503), "c": always(E401)},
        "a@0 groq:b@0 c@0 groq:b@0.5", "AllModelsFailedError @0.5", "0-0.5",
    ),
    Case("not found anywhere", "a b", dict.fromkeys("ab", always(E404)), "a@0 b@0", "AllModelsFailedError @0"),
    Case(
        "OpenRouter refuses connections, another endpoint behind it",
        "a b groq:c", dict.fromkeys("ab", always(REFUSED)), "a@0 a@1 groq:c@1", "groq:c @2", "0-1",
    ),
    Case(
        "every endpoint refuses: one call is one failure of the endpoint",
        "a b c", dict.fromkeys("abc", always(REFUSED)), "a@0 a@1 b@1 b@2 c@2 c@3", "AllModelsFailedError @3",
        "0-1 1-2 2-3", endpoints={"openrouter": "closed 1"},
    ),
    Case(
        "connected at the second try: a success of the endpoint",
        "a", {"a": always(REFUSED, ok())}, "a@0 a@1", "a @2", "0-1", endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "any HTTP status is a success for the endpoint",
        "a b", {"a": always(E503), "b": always(E503)}, "a@0 b@0 a@0.5 b@0.5", "AllModelsFailedError @0.5", "0-0.5",
        before=lambda world: world.cut_off("openrouter", times=2), endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "local: until the deadline, then raised as such",
        "a b", {"a": always(NO_FILES)}, "a@0 a@0.15 a@0.45", "LocalError @0.45", "0-0.15 0.15-0.45",
        limits=Limits(total=1), health={"a": HEALTHY},
    ),
    Case(
        "local, and then the attempts of the model",
        "a", {"a": always(NO_FILES, E503)}, "a@0 a@0.15 a@0.65", "AllModelsFailedError @0.65", "0-0.15 0.15-0.65",
    ),
    Case(
        "local at a model that is left out: as soon as it passes",
        "a", {"a": always(NO_FILES, ok())}, "a!@0 a!@0.15", "a @1.15", "0-0.15", before=left_out(a=-3),
    ),
    Case(
        "local after a token is nothing that passes by itself",
        "a b", {"a": always(((1, "reasoning"), (2, NO_FILES)))}, "a@0", "LocalError @2", streamed=True,
        limits=Limits(wall_clock=False),
    ),
    Case("our bug is raised at once", "a b", {"a": always(OUR_BUG)}, "a@0", "LocalError @0", health={"a": HEALTHY}),
    Case(
        "turned down by accept= harms nobody",
        "a b", {"a": always(fails(TURNED_DOWN, after=1))}, "a@0 b@1", "b @2", health={"a": HEALTHY},
    ),
    Case(
        "accept= takes nothing: each is asked again",
        "a", {"a": always(TURNED_DOWN)}, "a@0 a@0.5", "AllModelsFailedError @0.5", "0-0.5", health={"a": HEALTHY},
    ),
    Case(
        "a 404 to our own ignore means next and teaches nothing",
        "a b", {"a": always(E500, E404)}, "a@0 a@0.5-P b@0.5", "b @1.5", "0-0.5", health={"a": ONE_FAILED},
    ),
    Case(
        "nothing that supports tools but the provider that failed",
        "a b", {"a": always(E500, NO_TOOLS)}, "a@0 a@0.5-P b@0.5", "b @1.5", "0-0.5", facts=TOOLS,
    ),
    Case(
        "no ignore where the caller chose the providers",
        "a b", {"a": always(E500, E404)}, "a@0 a@0.5 b@0.5", "b @1.5", "0-0.5", facts=Facts(own_providers=True),
        health={"a": "open +0 -0 not_found 299s"},
    ),
    Case(
        "no ignore where nobody was named",
        "a b", {"a": always(E500_NAMELESS, ok())}, "a@0 a@0.5", "a @1.5", "0-0.5",
    ),
    Case(
        "no ignore on another endpoint",
        "groq:a", {"groq:a": always(E500, ok())}, "groq:a@0 groq:a@0.5", "groq:a @1.5", "0-0.5",
    ),
]  # fmt: skip

TIMES = [
    Case("the first token has 30 s", "a b", {"a": always(SILENT)}, "a@0 b@30", "b @31", health={"a": ONE_FAILED}),
    Case(
        "120 s for a slow request",
        "a b", {"a": always(SILENT)}, "a@0 b@120", "b @121", facts=Facts(slow=True), health={"a": ONE_FAILED},
    ),
    Case(
        "at most half of the time left while others are untried; 10 s of silence are not enough to learn from",
        "a b", {"a": always(SILENT)}, "a@0 b@10", "b @11", limits=Limits(total=20), health={"a": HEALTHY},
    ),
    Case(
        "a shortened deadline counts when the silence was long",
        "a b", {"a": always(SILENT)}, "a@0 b@11", "b @12", limits=Limits(total=22), health={"a": ONE_FAILED},
    ),
    Case(
        "a shortened deadline counts when the model is known to be quicker",
        "a b", {"a": always(SILENT)}, "a@0 b@2", "b @3", limits=Limits(total=4),
        before=lambda world: world.learn_speed("a", 0.5), health={"a": ONE_FAILED},
    ),
    Case(
        "halves of halves, and all the rest for the last",
        "a b c", dict.fromkeys("abc", always(SILENT)), "a@0 b@8 c@12", "DeadlineExceededError @16",
        limits=Limits(total=16), health=dict.fromkeys("abc", HEALTHY),
    ),
    Case(
        "a model whose cooldown ends in time is one that remains",
        "a b", {"a": always(SILENT)}, "a@0 b@30", "b @31", before=cooling("b", 5), health={"a": ONE_FAILED},
    ),
    Case(
        "a model whose cooldown does not end in time is none",
        "a b", {"a": always(ok(200))}, "a@0", "a @200", before=cooling("b", 400),
    ),
    Case(
        "a model that is left out is none",
        "a b", {"a": always(ok(200))}, "a@0", "a @200", before=left_out(b=0),
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
        "a b", {"a": always(SILENT)}, "a@0 b@10", "b @11", limits=Limits(total=20), models={"a": {"timeout": 50.0}},
        health={"a": HEALTHY},
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
        "a b", {"a": always(SILENT)}, "a@0 b@150", "b @151", models={"a": {"streams": False}}, health={"a": HEALTHY},
    ),
    Case(
        "an endpoint that does not stream: a shortened timeout teaches nothing",
        "a b", {"a": always(SILENT)}, "a@0 b@20", "b @21", limits=Limits(total=40),
        models={"a": {"streams": False, "timeout": 60.0}}, health={"a": HEALTHY},
    ),
    Case(
        "a probe in a call with 2 s left: a quarter, and the slot is given back",
        "a b", {"a": always(SILENT)}, "a*@0 b@0.5", "b @1.5", limits=Limits(total=2), before=left_out(a=-10),
        health={"a": "half_open +0 -3 half-open"},
    ),
    Case(
        "left out and silent: the next left-out one is still reached",
        "a b", {"b": always(SILENT)}, "b!@0 a*@30", "a @31", before=left_out(a=-3, b=-5),
        health={"b": "half_open +0 -3 half-open"},
    ),
    Case(
        "a stall between tokens",
        "a b", {"a": always(((0, "status"), (2, "text")))}, "a@0 b@32", "b @33", health={"a": ONE_FAILED},
    ),
    Case(
        "300 s of stall for a slow request",
        "a b", {"a": always(((0, "status"), (2, "text")))}, "a@0 b@302", "b @303", facts=Facts(slow=True),
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
        "a b", {"a": always(((1, "reasoning"), (2, EMPTY))), "b": always(SILENT)}, "a@0 b@2",
        "DeadlineExceededError @10", streamed=True, limits=Limits(total=10),
    ),
    Case(
        "the deadline starts anew at a seam, not at each failure after it",
        "a b c", {"a": always(((1, "reasoning"), (2, EMPTY))), "b": always(fails(E503, after=4)), "c": always(SILENT)},
        "a@0 b@2 c@6", "DeadlineExceededError @12", streamed=True, limits=Limits(total=10, wall_clock=False),
    ),
    Case(
        "without a token nothing starts anew",
        "a b", {"a": always(fails(E503, after=2)), "b": always(SILENT)}, "a@0 b@2", "DeadlineExceededError @10",
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
]  # fmt: skip

BREAKERS = [
    Case(
        "half-open: one probe, its answer closes and clears",
        "a b", {}, "a*@0", "a @1", before=left_out(a=-10), health={"a": HEALTHY},
    ),
    Case(
        "a failed probe doubles the time, and is not retried",
        "a b", {"a": always(E500)}, "a*@0 b@0", "b @1", before=left_out(a=-10),
        health={"a": "open +0 -3 unavailable 19s"},
    ),
    Case(
        "a probe with the first token and 5 s without failure has succeeded",
        "a b", {"a": always(((1, "text"), (7, EMPTY)))}, "a*@0 b@7", "b @8", before=left_out(a=-10),
        health={"a": ONE_FAILED},
    ),
    Case(
        "a probe that fails before that has failed",
        "a b", {"a": always(((1, "text"), (5, EMPTY)))}, "a*@0 b@5", "b @6", before=left_out(a=-10),
        health={"a": "open +0 -3 bad_answer 19s"},
    ),
    Case(
        "a probe that is rate-limited gives its slot back",
        "a b", {"a": always(limited(20))}, "a*@0 b@0", "b @1", before=left_out(a=-10),
        health={"a": "half_open +0 -3 rate-limited 19s"},
    ),
    Case(
        "a probe that is cancelled gives its slot back",
        "a b", {"a": always(SILENT)}, "a*@0", "left @3", leaves=3, before=left_out(a=-10),
        health={"a": "half_open +0 -3 half-open"},
    ),
    Case(
        "a probe that is not found is left out for disable_duration",
        "a b", {"a": always(E404)}, "a*@0 b@0", "b @1", before=left_out(a=-10),
        health={"a": "open +0 -3 not_found 299s"},
    ),
    Case(
        "a probe in the second round of the call that opened the breaker",
        "a b", {"a": always(E503), "b": always(fails(E503, after=12))}, "a@0 b@0 a*@12 b@12.5",
        "AllModelsFailedError @24.5", "12-12.5", before=lambda world: world.fail("a", times=2),
        health={"a": "open +0 -3 overloaded 7.5s"},
    ),
    Case(
        "the probe of an endpoint that is silent before the status gives its slot back",
        "a groq:b", {"a": always(MUTE)}, "a*@0 groq:b@30", "groq:b @31", before=cut_off("openrouter", -10),
        health={"a": "closed +0 -1 half-open"}, endpoints={"openrouter": "half_open 0"},
    ),
    Case(
        "the probe of an endpoint that is abandoned in silence before the status gives its slot back",
        "a", {"a": always(MUTE)}, "a*@0", "left @11", leaves=11, before=cut_off("openrouter", -10),
        health={"a": "closed +0 -1 half-open"}, endpoints={"openrouter": "half_open 0"},
    ),
    Case(
        "the probe of an endpoint that is refused re-opens and is not repeated",
        "a groq:b", {"a": always(REFUSED)}, "a*@0 groq:b@0", "groq:b @1", before=cut_off("openrouter", -10),
        endpoints={"openrouter": "open 0"},
    ),
    Case(
        "the probe of an endpoint that has any status closes",
        "a b", {"a": always(E503)}, "a*@0 b@0", "b @1", before=cut_off("openrouter", -10),
        endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "all left out: tried all the same, soonest to recover first, a success closes",
        "a b", {}, "b!@0", "b @1", before=left_out(a=-3, b=-5),
        health={"a": "open +0 -3 failing 6s", "b": HEALTHY},
    ),
    Case(
        "all left out: failures change nothing",
        "a b", dict.fromkeys("ab", always(E503)), "b!@0 a!@0 b!@0.5 a!@0.5", "AllModelsFailedError @0.5", "0-0.5",
        before=left_out(a=-3, b=-5), health={"a": "open +0 -3 failing 6.5s", "b": "open +0 -3 failing 4.5s"},
    ),
    Case(
        "all left out: not even a 404 changes anything",
        "a", {"a": always(E404)}, "a!@0", "AllModelsFailedError @0", before=left_out(a=-3),
        health={"a": "open +0 -3 failing 7s"},
    ),
    Case(
        "an endpoint left out: tried all the same, any status closes",
        "a b", {"a": always(E503)}, "a!@0 b@0", "b @1", before=cut_off("openrouter", -3),
        endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "one left out, the other fails: its second round, then the one left out",
        "a b", {"b": always(E503)}, "b@0 b@0.5 a!@0.5", "a @1.5", "0-0.5", before=left_out(a=-3),
        health={"a": HEALTHY},
    ),
    Case(
        "disabled by hand is never overridden",
        "a b", {"b": always(E503)}, "b@0 b@0.5", "AllModelsFailedError @0.5", "0-0.5", before=disabled("a"),
    ),
    Case("all disabled by hand", "a b", {}, "", "AllModelsFailedError @0", before=disabled("a", "b")),
    Case(
        "min_samples failed calls in a row open it",
        "a b", {"a": always(E503)}, "a@0 b@0", "b @1", before=lambda world: world.fail("a", times=2),
        health={"a": "open +0 -3 overloaded 9s"},
    ),
    Case(
        "one call with several attempts is one failure",
        "a b", {"a": always(E503), "b": always(E503)}, "a@0 b@0 a@0.5 b@0.5 a@1.5 b@1.5",
        "AllModelsFailedError @1.5", "0-0.5 0.5-1.5", models={"a": {"attempts": 3}, "b": {"attempts": 3}},
        health=dict.fromkeys("ab", ONE_FAILED),
    ),
]  # fmt: skip

VERDICTS = [
    Case(
        "going round a content policy",
        "a b", {"a": always(POLICY)}, "a@0 b@0", "b @1", on_failure={K.CONTENT_POLICY: "next"}, health={"a": HEALTHY},
    ),
    Case(
        "raised although another might do, and still learnt",
        "a b", {"a": always(E503)}, "a@0", "AllModelsFailedError @0", on_failure={K.OVERLOADED: "raise"},
        health={"a": ONE_FAILED},
    ),
    Case(
        "the same model once more, then the next",
        "a b", {"a": always(E503)}, "a@0 a@0.5 b@0.5", "b @1.5", "0-0.5", on_failure={K.OVERLOADED: "retry"},
        health={"a": ONE_FAILED},
    ),
    Case(
        "retry of a rate limit waits for the cooldown",
        "a b", {"a": always(limited(2), ok())}, "a@0 a@2", "a @3", "0-2", on_failure={K.RATE_LIMITED: "retry"},
    ),
    Case(
        "retry of what is else not asked again: once",
        "a b", {"a": always(TOO_LONG)}, "a@0 a@0.5 b@0.5", "b @1.5", "0-0.5", on_failure={K.CONTEXT_TOO_LONG: "retry"},
        models={"a": {"attempts": 5}},
    ),
    Case(
        "next instead of the retry",
        "a b", {"a": always(E500)}, "a@0 b@0", "b @1", on_failure={K.UNAVAILABLE: "next"},
    ),
    Case(
        "not found is left out also where it is raised",
        "a b", {"a": always(E404)}, "a@0", "AllModelsFailedError @0", on_failure={K.NOT_FOUND: "raise"},
        health={"a": "open +0 -0 not_found 300s"},
    ),
    Case(
        "raise holds under any_error",
        "a b", {"a": always(E503)}, "a@0", "AllModelsFailedError @0", policy="any_error",
        on_failure={K.OVERLOADED: "raise"},
    ),
    Case(
        "next holds under any_error, and the model is disabled",
        "a b", {"a": always(E503)}, "a@0 b@0", "b @1", policy="any_error", on_failure={K.OVERLOADED: "next"},
        health={"a": "open +0 -1 overloaded 299s"},
    ),
]  # fmt: skip

RECIPES_MANAGER = [
    Case(
        "an answer at the second attempt",
        "a b", {"a": always(E503, ok())}, "a@0 a@0", "a @1", policy="any_error", health={"a": "closed +1 -0"},
    ),
    Case(
        "all disabled: all are tried again",
        "a b", {"b": always(E503)}, "b!@0 b!@0 a!@0", "a @1", policy="any_error", before=left_out(a=-3, b=-5),
        health={"a": HEALTHY, "b": "open +0 -3 failing 4s"},
    ),
    Case(
        "all models exhausted",
        "a b", dict.fromkeys("ab", always(E503)), "a@0 a@0 b@0 b@0", "AllModelsFailedError @0", policy="any_error",
        health=dict.fromkeys("ab", "open +0 -1 overloaded 300s"),
    ),
    Case(
        "a rate limit is not waited for, but its figure is told",
        "a", {"a": always(limited(20))}, "a@0 a@0", "RateLimitedError @0 retry 20", policy="any_error",
    ),
    Case(
        "a failed probe: disable_duration at once",
        "a b", {"a": always(E503)}, "a*@0 b@0", "b @1", policy="any_error", before=left_out(a=-10),
        health={"a": "open +0 -3 overloaded 299s"},
    ),
    Case(
        "turned down by accept= disables nobody",
        "a b", {"a": always(TURNED_DOWN)}, "a@0 a@0 b@0", "b @1", policy="any_error", health={"a": HEALTHY},
    ),
    Case(
        "a deadline that the call has shortened disables nobody",
        "a b", {"a": always(SILENT)}, "a@0 a@4 b@6", "b @7", policy="any_error", limits=Limits(total=8),
        health={"a": HEALTHY},
    ),
    Case(
        "disabled by hand is not overridden",
        "a b", {"b": always(E503)}, "b@0 b@0", "AllModelsFailedError @0", policy="any_error", before=disabled("a"),
    ),
]  # fmt: skip


def call(name: str, arguments: str) -> dict[str, Any]:
    return {"index": 0, "id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}


def chunk(index: int = 0, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"id": "g", "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


TOOL_END = chunk(tool_calls=[{"index": 0, "function": {"arguments": "{}"}}], finish="tool_calls")
CHOICE_ERROR = {
    "id": "g",
    "choices": [{"index": 1, "delta": {}, "finish_reason": "error", "error": {"code": 503, "message": "overloaded"}}],
}
STREAMS = [
    Case(
        "finish_reason length with half a tool call: an answer",
        "a b", {"a": always(chunks((1, chunk(tool_calls=[call("f", '{"x": ')])), (2, chunk(finish="length"))))},
        "a@0", "a @2", streamed=True, health={"a": "closed +1 -0"},
    ),
    Case(
        "finish_reason length and then an error: an answer",
        "a b", {"a": always(chunks((1, chunk(content="x")), (2, chunk(finish="length"))))},
        "a@0", "a @2", streamed=True, health={"a": "closed +1 -0"},
    ),
    Case(
        "a complete tool call and no finish: nothing was delivered, so the next one answers",
        "a b", {"a": always(chunks((1, chunk(tool_calls=[call("f", "{}")]))))},
        "a@0 b@1", "b @2", streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "a tool call's arguments have 300 s",
        "a b", {"a": always(((0, "status"), (1, chunk(tool_calls=[call("f", "")])), *chunks((200, TOOL_END))))},
        "a@0", "a @200", streamed=True, limits=Limits(total=60, wall_clock=False),
    ),
    Case(
        "one choice of two in error before any text",
        "a b", {"a": always(chunks((1, chunk(0, role="assistant")), (1, CHOICE_ERROR)))}, "a@0 b@1", "b @2",
        streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "one choice of two in error after the other's text",
        "a b", {"a": always(chunks((1, chunk(0, content="x")), (2, CHOICE_ERROR)))}, "a@0",
        "StreamInterruptedError @2", streamed=True, health={"a": ONE_FAILED},
    ),
    Case(
        "one choice of two in error, not streamed: starts over",
        "a b", {"a": always(chunks((1, chunk(0, content="x")), (2, CHOICE_ERROR)))}, "a@0 b@2", "b @3",
        health={"a": ONE_FAILED},
    ),
    Case(
        "cut off after text",
        "a b", {"a": always(((1, "text"), (2, EMPTY)))}, "a@0", "StreamInterruptedError @2", streamed=True,
        health={"a": ONE_FAILED},
    ),
    Case(
        "a stall after text",
        "a b", {"a": always(((1, "text"),))}, "a@0", "StreamInterruptedError @31", streamed=True,
        health={"a": ONE_FAILED},
    ),
    Case(
        "content policy after text keeps its class",
        "a b", {"a": always(((1, "text"), (2, POLICY)))}, "a@0", "ContentPolicyError @2", streamed=True,
    ),
    Case(
        "cut off after reasoning: the next one starts over",
        "a b", {"a": always(((1, "reasoning"), (2, EMPTY)))}, "a@0 b@2", "b @3", streamed=True,
        health={"a": ONE_FAILED},
    ),
]  # fmt: skip

GOES_ON = Facts(continues=True)
NO_PREFILL = failure(K.REJECTED, 400)
BREAKS = always(((0.0, "status"), (1.0, "text"), (2.0, EMPTY)))
"""Text after one second, the end after two."""


def breaks(then: Failure) -> list[Reply]:
    return always(((0.0, "status"), (1.0, "text"), (2.0, then)))


def goes_on(name: str, chain: str, script: Script, requests: str, outcome: str, waits: str = "", **more: Any) -> Case:
    """A streamed call that may go on from delivered text."""
    return Case(f"going on: {name}", chain, script, requests, outcome, waits, facts=GOES_ON, streamed=True, **more)


GOING_ON = [
    goes_on("the next model", "a b", {"a": BREAKS}, "a@0 b+@2", "b @3", health={"a": ONE_FAILED, "b": "closed +1 -0"}),
    goes_on("three models", "a b c", {"a": BREAKS, "b": BREAKS}, "a@0 b+@2 c+@4", "c @5"),
    goes_on(
        "who died is asked again only when nobody is left, not at once", "a b",
        {"a": [*BREAKS, *OK], "b": always(E503)}, "a@0 b+@2 a+@2.5", "a @3.5", "2-2.5",
    ),
    goes_on("an only model goes on itself", "a", {"a": [*BREAKS, *OK]}, "a@0 a+@2.5", "a @3.5", "2-2.5"),
    goes_on(
        "a reconnect is no reason to wait for who died", "a b", {"a": breaks(REFUSED)}, "a@0 b+@2", "b @3",
    ),
    goes_on(
        "a refused prefill is asked once more at once, costs no attempt and no health", "a b",
        {"a": BREAKS, "b": [fails(NO_PREFILL), *OK]}, "a@0 b+@2 b~@2", "b @3", health={"b": "closed +1 -0"},
    ),
    goes_on(
        "both attempts are left after a refused prefill", "a b",
        {"a": [*BREAKS, fails(E404)], "b": always(NO_PREFILL, E503, ok())}, "a@0 b+@2 b~@2 a+@2.5 b~@2.5", "b @3.5",
        "2-2.5",
    ),
    goes_on(
        "an instruction that is refused as well is a failure", "a b c", {"a": BREAKS, "b": always(NO_PREFILL)},
        "a@0 b+@2 b~@2 c+@2", "c @3",
    ),
    goes_on(
        "an invalid request may be our own doing", "a b c", {"a": BREAKS, "b": always(E400)},
        "a@0 b+@2 b~@2 c+@2", "c @3",
    ),
    goes_on("a prompt that is too long is no refused prefill", "a b c", {"a": BREAKS, "b": always(TOO_LONG)},
            "a@0 b+@2 c+@2", "c @3"),
    goes_on("the content policy of the next is final", "a b c", {"a": BREAKS, "b": always(POLICY)},
            "a@0 b+@2", "ContentPolicyError @2"),
    goes_on("the content policy of the first is final", "a b", {"a": breaks(POLICY)}, "a@0", "ContentPolicyError @2"),
    goes_on("an invalid request of the first is final", "a b", {"a": breaks(E400)}, "a@0", "StreamInterruptedError @2"),
    goes_on("never", "a b c", {"a": BREAKS}, "a@0 c+@2", "c @3", models={"b": {"continues": Way.NEVER}}),
    goes_on("nobody ever", "a b", {"a": BREAKS}, "a@0", "StreamInterruptedError @2",
            models={"a": {"continues": Way.NEVER}, "b": {"continues": Way.NEVER}}),
    goes_on("never goes on but begins", "b a", {"b": always(E503)}, "b@0 a@0", "a @1",
            models={"b": {"continues": Way.NEVER}}),
    goes_on("by instruction", "a b", {"a": BREAKS}, "a@0 b~@2", "b @3", models={"b": {"continues": Way.INSTRUCT}}),
    goes_on("a code block only by prefill", "a b c", {"a": BREAKS}, "a@0 c+@2", "c @3", only_prefill=True,
            models={"b": {"continues": Way.INSTRUCT}}),
    goes_on("a refused prefill of a code block", "a b c", {"a": BREAKS, "b": always(NO_PREFILL)}, "a@0 b+@2 c+@2",
            "c @3", only_prefill=True, health={"b": "closed +0 -0"}),
    goes_on("text that was held back when it died is nobody's", "a b c",
            {"a": BREAKS, "b": always(((0.0, "status"), (1.0, TURNED_DOWN)))}, "a@0 b+@2 c+@3", "c @4",
            health={"b": "closed +0 -0"}),
    goes_on("everybody breaks off", "a b", {"a": BREAKS, "b": BREAKS}, "a@0 b+@2 a+@4 b+@6",
            "StreamInterruptedError @8", health={"a": ONE_FAILED, "b": ONE_FAILED}),
    goes_on("reasoning before the text", "a b",
            {"a": BREAKS, "b": always(((1, "reasoning"), (2, "text"), (2, "answer")))},
            "a@0 b+@2", "b @4"),
    goes_on("died while reasoning: that starts over", "a b c",
            {"a": always(((1, "reasoning"), (2, EMPTY))), "b": BREAKS},
            "a@0 b@2 c+@4", "c @5"),
    goes_on("the deadline is anew at a seam", "a b", {"a": always(every(9, "text", EMPTY)), "b": always(ok(8))},
            "a@0 b+@9", "b @17", limits=Limits(total=10, wall_clock=False)),
    goes_on("the caller's own deadline is not", "a b", {"a": always(every(9, "text", EMPTY)), "b": always(ok(8))},
            "a@0 b+@9", "DeadlineExceededError @10", limits=Limits(total=10, wall_clock=True)),
    goes_on("leaving it", "a b", {"a": BREAKS, "b": always(SILENT)}, "a@0 b+@2", "left @3", leaves=3.0,
            health={"b": "closed +0 -0"}),
]  # fmt: skip

FAILURES = {
    K.RATE_LIMITED: LIMITED, K.OVERLOADED: E503, K.UNAVAILABLE: E500_NAMELESS, K.TIMED_OUT: E504,
    K.CONNECTION: REFUSED, K.BAD_ANSWER: EMPTY, K.CONTEXT_TOO_LONG: TOO_LONG, K.REJECTED: REJECTED,
    K.MODERATION: MODERATION, K.CONTENT_POLICY: POLICY, K.NOT_FOUND: E404, K.UNSUPPORTED: NO_TOOLS, K.CREDITS: E402,
    K.AUTH: E401, K.FORBIDDEN: E403, K.GUARDRAIL: GUARDRAIL, K.INVALID_REQUEST: E400,
}  # fmt: skip
DISABLE_NOTHING = {K.INVALID_REQUEST, K.AUTH, K.CREDITS, K.CONTENT_POLICY, K.CONTEXT_TOO_LONG}
ANY_ERROR_ROWS = {
    kind: Case(
        f"any_error: {kind}",
        "a b",
        {"a": always(one)},
        "a@0 a@0 b@0",
        "b @1",
        policy="any_error",
        health={"a": HEALTHY if kind in DISABLE_NOTHING else f"open +0 -1 {kind} 299s"},
    )
    for kind, one in FAILURES.items()
}

TABLE = [*NONE_LEFT, *TIMES, *BREAKERS, *VERDICTS, *RECIPES_MANAGER, *STREAMS, *GOING_ON]
