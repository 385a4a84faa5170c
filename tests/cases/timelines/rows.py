"""Each row of the failure table as a timeline: by the smart policy, and by `any_error`."""

from __future__ import annotations

from collections.abc import Mapping

from openrouter_fallback.failures.kinds import FailureKind

from ...support.timeline import ok
from .words import (
    E400,
    E401,
    E402,
    E403,
    E404,
    E500,
    E500_NAMELESS,
    E503,
    E504,
    EMPTY,
    GUARDRAIL,
    HEALTHY,
    LIMITED,
    MODERATION,
    NO_FILES,
    NO_TOOLS,
    ONE_FAILED,
    POLICY,
    REFUSED,
    REJECTED,
    TOO_LONG,
    TOOLS,
    Case,
    K,
    always,
    limited,
)

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
        "a b", {"a": always(NO_FILES, NO_FILES, NO_FILES, ok())}, "a@0 a@0.1 a@0.3 a@0.7", "a @1.7",
        "0-0.1 0.1-0.3 0.3-0.7", health={"a": "closed +1 -0"},
    ),
}  # fmt: skip


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
