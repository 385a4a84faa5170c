"""What went wrong, as one value.

Everything that can go wrong on the wire becomes a frozen `Failure`, and nothing behind it looks at a status code or an
error body again. The signs by which a kind is recognised stand in `failure_signs.py` (codes, statuses) and
`failure_wordings.py` (messages); `diagnosis.py` reads an error by these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


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
    the model (an answer that `accept=` turned down, a 404 that does not name the model).

    `parameter` is the field of the request that the error names. `affordable_tokens` is how many tokens of an answer
    the account can still pay for. `scope` is wider than the model: `account`, the account is empty (only its free
    models may answer); `free`, all `:free` models of the key share the limit. `retry` is the header `x-should-retry`.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry_after: float | None = None
    provider: str | None = None
    code: str | None = None
    harmless: bool = False
    parameter: str | None = None
    affordable_tokens: int | None = None
    scope: Literal["account", "free"] | None = None
    retry: bool | None = None


class TransportFault(StrEnum):
    """What `http/` saw where no readable error came."""

    REFUSED = "refused"
    NOT_CONNECTED = "not_connected"
    DNS = "dns"
    TLS = "tls"
    RESET_BEFORE_STATUS = "reset_before_status"
    PROXY = "proxy"
    CUT_AFTER_STATUS = "cut_after_status"
    UNDECODABLE = "undecodable"
    OVERSIZED = "oversized"
    NOT_JSON = "not_json"
    NO_CHOICES = "no_choices"
    EMPTY = "empty"
    NO_FINISH = "no_finish"
    WRONG_CONTENT_TYPE = "wrong_content_type"
    POOL_EXHAUSTED = "pool_exhausted"
    NO_FILES = "no_files"
    LOOP_CLOSED = "loop_closed"
    OUR_BUG = "our_bug"


REDIRECT: Final = "redirect"
"""The `code` of a redirect, which says that the endpoint has moved and nothing of the request."""
