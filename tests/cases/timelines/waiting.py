"""When all were asked, and none answered: later rounds, cooldowns, what is raised."""

from __future__ import annotations

from openrouter_fallback.decision.commands import Limits
from openrouter_fallback.routes.needs import RequestTraits

from ...support.timeline import fails, ok
from .words import (
    AFFORDS_900,
    E401,
    E402,
    E403,
    E404,
    E500,
    E500_NAMELESS,
    E503,
    EMPTY_ACCOUNT,
    HEALTHY,
    LIMITED,
    MODERATION,
    NO_FILES,
    NO_OPTIONS,
    NO_SUCH_PATH,
    NO_TOOLS,
    NOT_AGAIN,
    ONE_FAILED,
    OUR_BUG,
    REFUSED,
    REJECTED,
    TOO_LONG,
    TOOLS,
    TURNED_DOWN,
    Case,
    K,
    always,
    cooling,
    failure,
    left_out,
    limited,
)

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
        "a chain of one with 429 and Retry-After 400: asked once more all the same",
        "a", {"a": always(limited(400))}, "a@0 a@0.5", "RateLimitedError @0.5 retry 400", "0-0.5",
        health={"a": f"{HEALTHY} rate-limited 400s"},
    ),
    Case(
        "a chain of one with 429 and Retry-After 0: at once",
        "a", {"a": always(limited(0), ok())}, "a@0 a@0", "a @1",
    ),
    Case(
        "Retry-After 400 in a call that has the time: nobody waits for more than a minute",
        "a", {"a": always(limited(400), ok())}, "a@0 a@0.5", "a @1.5", "0-0.5", limits=Limits(total=500),
    ),
    Case(
        "Retry-After 60 in a call that has the time is waited for",
        "a", {"a": always(limited(60), ok())}, "a@0 a@60", "a @61", "0-60",
    ),
    Case(
        "429 without Retry-After: 1 s, then 2 s",
        "a", {"a": always(LIMITED)}, "a@0 a@1", "RateLimitedError @1 retry 2", "0-1",
        health={"a": f"{HEALTHY} rate-limited 2s"},
    ),
    Case(
        "cooling from an earlier call, beyond the deadline: asked all the same",
        "a", {}, "a@0", "a @1", limits=Limits(total=10), before=cooling("a", 20),
    ),
    Case(
        "an earlier call was told of 120 s, this one of 20 s: it waits for its own Retry-After",
        "a", {"a": always(limited(20), ok())}, "a@0 a@20", "a @21", "0-20", before=cooling("a", 120),
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
        "a@0 a@0.5-P b@0.5 c@0.5 b@1", "AllModelsFailedError @1 retry 400", "0-0.5 0.5-1",
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
        "a b", {"a": always(ok(0.2)), "b": always(fails(E503, after=0.8))}, "b@0 a!&@0.6", "a @0.8",
        before=left_out(a=-3), limits=Limits(total=1.2),
    ),
    Case(
        "a Retry-After that the call cannot wait for does not use up its attempts",
        "a", {"a": always(*[failure(K.OVERLOADED, 503, retry_after=120.0)] * 2, ok())},
        "a@0 a@0.5 a@1.5", "a @2.5", waits="0-0.5 0.5-1.5", limits=Limits(total=60), models={"a": {"attempts": 3}},
    ),
    Case(
        "half of the time is over: the next one beside it",
        "a b", {"a": always(fails(E500, after=0.5)), "b": always(ok(0.1))}, "a@0 b&@0.5", "b @0.6",
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
    Case(
        "an empty account: other endpoints",
        "a b groq:c", {"a": always(EMPTY_ACCOUNT)}, "a@0 groq:c@0", "groq:c @1", health={"a": HEALTHY},
    ),
    Case(
        "an empty account: a free model that could answer is asked",
        "a b c:free groq:d", {"a": always(EMPTY_ACCOUNT)}, "a@0 c:free@0", "c:free @1", health={"a": HEALTHY},
    ),
    Case(
        "an empty account and nobody else: one request",
        "a b c", {"a": always(EMPTY_ACCOUNT)}, "a@0", "InsufficientCreditsError @0",
    ),
    Case(
        "an account that is refused free models too: they are not all asked",
        "a b:free c:free", dict.fromkeys(("a", "b:free"), always(EMPTY_ACCOUNT)), "a@0 b:free@0",
        "InsufficientCreditsError @0",
    ),
    Case(
        "what is affordable is asked for once, as no attempt",
        "a b", {"a": always(AFFORDS_900)}, "a@0 a@0 b@0", "b @1", models={"a": {"attempts": 1}},
    ),
    Case(
        "not what is affordable, where the caller has set a limit",
        "a b", {"a": always(AFFORDS_900)}, "a@0 b@0", "b @1", facts=RequestTraits(bounded=True),
    ),
    Case(
        "nor where the model has one of its own",
        "a b", {"a": always(AFFORDS_900)}, "a@0 b@0", "b @1", models={"a": {"params": {"max_tokens": 5}}},
    ),
    Case(
        "a parameter of ours is refused: once more without, as no attempt",
        "a b", {"a": always(NO_OPTIONS, ok())}, "a@0 a@0", "a @1", models={"a": {"attempts": 1}},
        health={"a": "closed +1 -0"},
    ),
    Case(
        "refused all the same",
        "a b", {"a": always(NO_OPTIONS)}, "a@0 a@0 b@0", "b @1", health={"a": HEALTHY},
    ),
    Case(
        "a 404 that does not name the model leaves it in",
        "a b", {"a": always(NO_SUCH_PATH)}, "a@0 b@0", "b @1", health={"a": HEALTHY},
    ),
    Case(
        "a server that says not to try again is not asked again",
        "a", {"a": always(NOT_AGAIN)}, "a@0", "AllModelsFailedError @0", health={"a": ONE_FAILED},
    ),
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
        "a b", {"a": always(NO_FILES)}, "a@0 a@0.1 a@0.3 a@0.7", "LocalError @0.7", "0-0.1 0.1-0.3 0.3-0.7",
        limits=Limits(total=1), health={"a": HEALTHY},
    ),
    Case(
        "local, and then the attempts of the model",
        "a", {"a": always(NO_FILES, E503)}, "a@0 a@0.1 a@0.6", "AllModelsFailedError @0.6", "0-0.1 0.1-0.6",
    ),
    Case(
        "local at a model that is left out: as soon as it passes",
        "a", {"a": always(NO_FILES, ok())}, "a!@0 a!@0.1", "a @1.1", "0-0.1", before=left_out(a=-3),
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
        "a 404 to a request with a price cap means next and teaches nothing",
        "a b", {"a": always(E404)}, "a@0 b@0", "b @1", models={"a": {"max_price": {"prompt": "1"}}},
        health={"a": HEALTHY},
    ),
    Case(
        "the provider of a 503 is asked again",
        "a", {"a": always(failure(K.OVERLOADED, 503, provider="P"))}, "a@0 a@0.5", "AllModelsFailedError @0.5", "0-0.5",
    ),
    Case(
        "a model's own providers are not left out either",
        "a b", {"a": always(E500)}, "a@0 a@0.5 b@0.5", "b @1.5", "0-0.5",
        models={"a": {"params": {"provider": {"order": ["P"]}}}},
    ),
    Case(
        "no ignore where the caller chose the providers",
        "a b", {"a": always(E500, E404)}, "a@0 a@0.5 b@0.5", "b @1.5", "0-0.5", facts=RequestTraits(own_providers=True),
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
