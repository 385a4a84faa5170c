"""`Failure`: the value that describes one failed attempt.

Every error of a response or a connection becomes a frozen `Failure`. The code that handles a `Failure` never reads the
status code or the error body again. The tables of signs are in `signs.py` (codes, statuses) and `wordings.py`
(messages). `classifier.py` reads an error with these tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class FailureKind(StrEnum):
    """The kinds of failure. `policy.py` defines what the machine does after each kind."""

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

    - `retry_after`: the wait that the server asks for, in seconds from the time when the failure was read.
    - `provider`: the upstream provider that OpenRouter names.
    - `code`: OpenRouter's `error_type` or availability code, or another server's code.
    - `harmless`: the failure is not the model's fault (an answer that `accept=` refused, a 404 that does not name the
      model), so the model's health does not change.
    - `parameter`: the field of the request that the error names.
    - `affordable_tokens`: the number of completion tokens that the account can still pay for.
    - `scope`: set if the failure concerns more than the model. `account`: the account has no credits, so only free
      models may answer. `free`: all `:free` models of the API key share the limit.
    - `retry`: the header `x-should-retry`.
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
    """A fault that `http/` reports if there is no readable error."""

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
"""The `code` of a redirect: the endpoint has moved, so the request itself may be correct."""
