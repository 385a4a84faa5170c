"""What went wrong, as one value.

Everything that can go wrong on the wire becomes a frozen `Failure` here, and nothing behind this module looks at a
status code or an error body again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class FailureKind(StrEnum):
    """The kinds of failure the policy tells apart; `policy.py` says what each leads to."""

    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    UNAVAILABLE = "unavailable"
    TIMED_OUT = "timed_out"
    CONNECTION = "connection"
    BAD_ANSWER = "bad_answer"
    CONTEXT_TOO_LONG = "context_too_long"
    REJECTED = "rejected"
    MODERATION = "moderation"
    CONTENT_POLICY = "content_policy"
    NOT_FOUND = "not_found"
    UNSUPPORTED = "unsupported"
    CREDITS = "credits"
    AUTH = "auth"
    FORBIDDEN = "forbidden"
    GUARDRAIL = "guardrail"
    INVALID_REQUEST = "invalid_request"
    LOCAL = "local"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt.

    `retry_after` is the server's own figure in seconds from the moment the failure was read, `provider` the upstream
    that OpenRouter names, `code` its `error_type` or availability code, `harmless` a failure that says nothing about
    the model's health (an answer that `accept=` turned down).
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    provider: str | None = None
    code: str | None = None
    harmless: bool = False
