"""What the breakers leave out and what is tried all the same; the user's verdicts; the recipes' manager."""

from __future__ import annotations

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.routes.needs import RequestTraits

from ...support.timeline import MUTE, SILENT, World, fails, ok
from .words import (
    E401,
    E404,
    E500,
    E503,
    EMPTY,
    HEALTHY,
    LOST_ITEM,
    ONE_FAILED,
    POLICY,
    REFUSED,
    TOO_LONG,
    TURNED_DOWN,
    Case,
    K,
    always,
    cut_off,
    disabled,
    failure,
    left_out,
    limited,
)


def recovered_alone(world: World) -> None:
    world.recover("a", busy=2)
    disabled("b")(world)


BREAKERS = [
    Case(
        "one event is one observation: what was under way at the first reset opens nothing",
        "a", {"a": always(ok())}, "a@0", "a @1", before=lambda world: world.reset_connections(40),
        endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "the open circuit of the only endpoint keeps nobody out, and its models go in their order",
        "a b", {"a": always(ok())}, "a!@0", "a @1", before=cut_off("openrouter", -3),
        endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "the open circuit of an endpoint orders where another one may be asked",
        "a groq:b", {}, "groq:b@0", "groq:b @1", before=cut_off("openrouter", -3),
        endpoints={"openrouter": "open 0"},
    ),
    Case(
        "a model that has just recovered is spared while two calls are with it and another is ready",
        "a b", {}, "b@0", "b @1", before=lambda world: world.recover("a", busy=2),
    ),
    Case(
        "a model that has just recovered is asked where no other is ready",
        "a b", {}, "a@0", "a @1", before=recovered_alone,
    ),
    Case(
        "a 404 about an item of the request is that request's",
        "a b", {"a": always(LOST_ITEM)}, "a@0 b@0", "b @1", health={"a": HEALTHY},
    ),
    Case(
        "a 404 that names the model is the model's",
        "lab/a b", {"lab/a": always(failure(K.NOT_FOUND, 404, message="No endpoints found for lab/a."))},
        "lab/a@0 b@0", "b @1", health={"lab/a": "open +0 -0 not_found 299s"},
    ),
    Case(
        "a 401 on a key that was accepted within the hour is the service's: once more",
        "a", {"a": always(E401, ok())}, "a@0 a@0.5", "a @1.5", "0-0.5",
        before=lambda world: world.accept("a", -3000.0),
    ),
    Case(
        "a 401 on a key that was accepted long ago is the key's",
        "a", {"a": always(E401)}, "a@0", "AuthenticationError @0", before=lambda world: world.accept("a", -3601.0),
    ),
    Case(
        "half-open: one probe, its answer closes and clears",
        "a b", {}, "a*@0 b&@0.5", "a @1", before=left_out(a=-10), health={"a": HEALTHY},
    ),
    Case(
        "a failed probe: 25 s from its begin, and it is not retried",
        "a b", {"a": always(E500)}, "a*@0 b@0", "b @1", before=left_out(a=-10),
        health={"a": "open +0 -3 unavailable 24s"},
    ),
    Case(
        "a probe with the first token and 5 s without failure has succeeded",
        "a b", {"a": always(((1, "text"), (7, EMPTY)))}, "a*@0 b&@0.5 b@7", "b @8", before=left_out(a=-10),
        health={"a": ONE_FAILED},
    ),
    Case(
        "a probe that fails before that has failed",
        "a b", {"a": always(((1, "text"), (5, EMPTY)))}, "a*@0 b&@0.5 b@5", "b @6", before=left_out(a=-10),
        health={"a": "open +0 -3 bad_answer 19s"},
    ),
    Case(
        "a probe that is rate-limited gives its slot back",
        "a b", {"a": always(limited(20))}, "a*@0 b@0", "b @1", before=left_out(a=-10),
        health={"a": "half_open +0 -3 rate-limited 19s"},
    ),
    Case(
        "a probe that is cancelled gives its slot back",
        "a b", dict.fromkeys("ab", always(SILENT)), "a*@0 b&@0.5", "left @3", leaves=3, before=left_out(a=-10),
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
        health={"a": "open +0 -3 overloaded 12.5s"},
    ),
    Case(
        "the probe of an endpoint that is silent before the status has failed",
        "a groq:b", {"a": always(MUTE)}, "a*@0 groq:b&@0.5", "groq:b @1.5", before=cut_off("openrouter", -10),
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
        "all left out, one attempt each: in the order of the chain, as a plain loop",
        "a b", {"a": always(E503)}, "a!@0 b!@0", "b @1", before=left_out(a=-1, b=-3),
        models={"a": {"attempts": 1}, "b": {"attempts": 1}},
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

BESIDE_PROBES = [
    Case(
        "a probe that answers within half a second is the only request",
        "a b", {"a": always(ok(0.4))}, "a*@0", "a @0.4", before=left_out(a=-10), health={"a": HEALTHY},
    ),
    Case(
        "a silent probe costs its caller half a second",
        "a b", {"a": always(SILENT)}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10),
        health={"a": "half_open +0 -3 half-open"},
    ),
    Case(
        "a probe runs on when it is overtaken: its first token after 3 s brings the model home",
        "a b", {"a": always(ok(3.0))}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10), health={"a": HEALTHY},
    ),
    Case(
        "an overtaken probe that fails has failed",
        "a b", {"a": always(fails(E503, after=3.0))}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10),
        health={"a": "open +0 -3 overloaded 22s"},
    ),
    Case(
        "an overtaken probe that is rate-limited gives its slot back",
        "a b", {"a": always(fails(limited(20), after=3.0))}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10),
        health={"a": "half_open +0 -3 rate-limited 20s"},
    ),
    Case(
        "an overtaken probe of an endpoint has shown enough with its status",
        "a groq:b", {"a": always(((3.0, "status"), (60.0, "text")))}, "a*@0 groq:b&@0.5", "groq:b @1.5",
        before=cut_off("openrouter", -10), endpoints={"openrouter": "closed 0"},
    ),
    Case(
        "a probe that fails beside a young attempt starts no third one",
        "a b c", {"a": always(fails(E503, after=0.7))}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10),
        health={"a": "open +0 -3 overloaded 23.5s"},
    ),
    Case(
        "a model that fails beside a probe is followed by the next one",
        "a b c", {"a": always(SILENT), "b": always(E503)}, "a*@0 b&@0.5 c&@0.5", "c @1.5", before=left_out(a=-10),
    ),
    Case(
        "two probes, and a model that is ready: half a second for each",
        "a b c", dict.fromkeys("ab", always(SILENT)), "a*@0 b*&@0.5 c&@1", "c @2", before=left_out(a=-10, b=-10),
    ),
    Case(
        "a probe goes alone where no other model is ready",
        "a b", {"a": always(ok(3.0))}, "a*@0", "a @3", before=left_out(a=-10, b=-3), health={"a": HEALTHY},
    ),
    Case(
        "a probe goes alone where the request must not run twice",
        "a b", {"a": always(ok(3.0))}, "a*@0", "a @3", before=left_out(a=-10), health={"a": HEALTHY},
        facts=RequestTraits(idempotent=False),
    ),
    Case(
        "a probe goes alone under any_error",
        "a b", {"a": always(ok(3.0))}, "a*@0", "a @3", before=left_out(a=-10), health={"a": HEALTHY},
        policy="any_error",
    ),
    Case(
        "an overtaken probe of a slow model has as long as its class",
        "a b", {"a": always(ok(60.0))}, "a*@0 b&@0.5", "b @1.5", before=left_out(a=-10), health={"a": HEALTHY},
        facts=RequestTraits(slow=True),
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
