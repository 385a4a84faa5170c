"""What the timelines are told in: failures, what went before, one timeline.

The notation stands in `support/timeline.py`. Backoffs are half of their step here, a breaker opens for exactly 10 s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.failures.policy import Verdict, policy
from openrouter_fallback.routes.needs import RequestTraits

from ...support.timeline import START, Call, Reply, Script, Step, World, fails, ok

K = FailureKind


def failure(kind: FailureKind, status: int | None = None, message: str = "", **more: Any) -> Failure:
    return Failure(kind, message or f"this is {kind}", status, **more)


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
E404 = failure(K.NOT_FOUND, 404, code="model_not_found")
LOST_ITEM = failure(K.NOT_FOUND, 404, harmless=True)
NO_TOOLS = Failure(K.UNSUPPORTED, "No endpoints found that support tool use", 404)
E402 = failure(K.CREDITS, 402)
EMPTY_ACCOUNT = failure(K.CREDITS, 402, scope="account")
AFFORDS_900 = failure(K.CREDITS, 402, affordable_tokens=900)
NO_OPTIONS = failure(K.REJECTED, 400, parameter="stream_options")
NO_SUCH_PATH = failure(K.NOT_FOUND, 404, harmless=True)
NOT_AGAIN = failure(K.UNAVAILABLE, 500, retry=False)
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
    facts: RequestTraits | None = None
    streamed: bool = False
    leaves: float | None = None
    only_prefill: bool = False
    probed: Sequence[str] = ()
    """Whose probe's slot is taken at the end."""

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
    return lambda world: void(world.health.accounts.rate_limited(world.candidate(model).target, START, seconds))


def void(_: object) -> None:
    """For lambdas that must return None."""


HEALTHY = "closed +0 -0"
ONE_FAILED = "closed +0 -1"
TOOLS = RequestTraits(needs=frozenset({"tools"}))


NO_PREFILL = failure(K.REJECTED, 400)
BREAKS = always(((0.0, "status"), (1.0, "text"), (2.0, EMPTY)))
"""Text after one second, the end after two."""


def breaks(then: Failure) -> list[Reply]:
    return always(((0.0, "status"), (1.0, "text"), (2.0, then)))
