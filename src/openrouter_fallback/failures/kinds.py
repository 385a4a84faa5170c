"""What went wrong, as one value.

Everything that can go wrong on the wire becomes a frozen `Failure` here, and nothing behind this module looks at a
status code or an error body again. Here are the kinds and the tables that name them; `diagnosis.py` reads an error by
these tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


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


_K = FailureKind
_T = TransportFault

TRANSPORT: Final[Mapping[TransportFault, tuple[FailureKind, str]]] = {
    _T.REFUSED: (_K.CONNECTION, "connection refused"),
    _T.NOT_CONNECTED: (_K.CONNECTION, "no connection in time"),
    _T.DNS: (_K.CONNECTION, "host name not resolved"),
    _T.TLS: (_K.CONNECTION, "TLS failed"),
    _T.RESET_BEFORE_STATUS: (_K.CONNECTION, "connection lost before the status line"),
    _T.PROXY: (_K.CONNECTION, "the proxy failed"),
    _T.CUT_AFTER_STATUS: (_K.BAD_ANSWER, "the answer was cut off"),
    _T.UNDECODABLE: (_K.BAD_ANSWER, "the answer could not be decoded"),
    _T.OVERSIZED: (_K.BAD_ANSWER, "the answer is too large"),
    _T.NOT_JSON: (_K.BAD_ANSWER, "the answer is not JSON"),
    _T.NO_CHOICES: (_K.BAD_ANSWER, "the answer has no choices"),
    _T.EMPTY: (_K.BAD_ANSWER, "the answer is empty"),
    _T.NO_FINISH: (_K.BAD_ANSWER, "the answer stopped without a finish"),
    _T.WRONG_CONTENT_TYPE: (_K.BAD_ANSWER, "the answer has an unexpected content type"),
    _T.POOL_EXHAUSTED: (_K.LOCAL, "no free connection in the pool"),
    _T.NO_FILES: (_K.LOCAL, "too many open files"),
    _T.LOOP_CLOSED: (_K.LOCAL, "the event loop is closed"),
    _T.OUR_BUG: (_K.LOCAL, "internal error"),
}

AVAILABILITY: Final[Mapping[str, FailureKind]] = {
    "model_not_found": _K.NOT_FOUND,
    "wrong_endpoint": _K.NOT_FOUND,
    "no_endpoints": _K.NOT_FOUND,
    "model_deprecated": _K.NOT_FOUND,
    "model_unavailable_upstream": _K.NOT_FOUND,
    "free_variant_ended": _K.NOT_FOUND,
    "capacity_exhausted": _K.OVERLOADED,
    "temporarily_unavailable": _K.OVERLOADED,
    "region_restricted": _K.FORBIDDEN,
    "privacy_restricted": _K.FORBIDDEN,
    "constraint_filtered": _K.UNSUPPORTED,
}

# `unmapped` is left to the status.
ERROR_TYPES: Final[Mapping[str, FailureKind]] = {
    "context_length_exceeded": _K.CONTEXT_TOO_LONG,
    "max_tokens_exceeded": _K.CONTEXT_TOO_LONG,
    "token_limit_exceeded": _K.CONTEXT_TOO_LONG,
    "string_too_long": _K.CONTEXT_TOO_LONG,
    "authentication": _K.AUTH,
    "payment_required": _K.CREDITS,
    "permission_denied": _K.FORBIDDEN,
    "rate_limit_exceeded": _K.RATE_LIMITED,
    "provider_overloaded": _K.OVERLOADED,
    "provider_unavailable": _K.UNAVAILABLE,
    "server": _K.UNAVAILABLE,
    "timeout": _K.TIMED_OUT,
    "invalid_request": _K.INVALID_REQUEST,
    "invalid_prompt": _K.INVALID_REQUEST,
    "precondition_failed": _K.INVALID_REQUEST,
    "payload_too_large": _K.INVALID_REQUEST,
    "unprocessable": _K.INVALID_REQUEST,
    "not_found": _K.NOT_FOUND,
    "content_policy_violation": _K.CONTENT_POLICY,
    "refusal": _K.CONTENT_POLICY,
    "invalid_image": _K.UNSUPPORTED,
    "unsupported_image_format": _K.UNSUPPORTED,
}
IMAGE_TYPES: Final = "image_"

# What other OpenAI-compatible servers put into `code` or `type` and means more than the status beside it.
FOREIGN_CODES: Final[Mapping[str, FailureKind]] = {
    "invalid_api_key": _K.AUTH,
    "insufficient_quota": _K.CREDITS,
    "content_filter": _K.CONTENT_POLICY,
    "model_not_found": _K.NOT_FOUND,
}
# ... and what says no more than a status would: used where there is none.
FOREIGN_TYPES: Final[Mapping[str, FailureKind]] = {
    "invalid_request_error": _K.INVALID_REQUEST,
    "authentication_error": _K.AUTH,
    "billing_error": _K.CREDITS,
    "permission_error": _K.FORBIDDEN,
    "not_found_error": _K.NOT_FOUND,
    "rate_limit_error": _K.RATE_LIMITED,
    "timeout_error": _K.TIMED_OUT,
    "overloaded_error": _K.OVERLOADED,
    "api_error": _K.UNAVAILABLE,
    "server_error": _K.UNAVAILABLE,
}

# Every other 5xx is unavailable, every other 4xx and any 3xx invalid_request.
STATUSES: Final[Mapping[int, FailureKind]] = {
    401: _K.AUTH,
    402: _K.CREDITS,
    403: _K.FORBIDDEN,
    404: _K.NOT_FOUND,
    408: _K.TIMED_OUT,
    429: _K.RATE_LIMITED,
    503: _K.OVERLOADED,
    504: _K.TIMED_OUT,
    524: _K.TIMED_OUT,
    529: _K.OVERLOADED,
}
RETRYABLE: Final = frozenset({_K.RATE_LIMITED, _K.OVERLOADED, _K.UNAVAILABLE, _K.TIMED_OUT})

_CONTEXT: Final = (
    r"context (length|window|size|limit)|context_length|maximum context|too many (input |prompt )?tokens"
    r"|(prompt|input|message|request|string)s? (is|are|was|were)? ?too long|maximum number of tokens"
    r"|token limit (was |is )?(reached|exceeded)|exceeds? the (maximum |max )?(token|context)|reduce the length of"
    r"|max_tokens.{0,60}(exceed|too large|maximum allowed)"
)
_POLICY: Final = r"content (management |usage )?polic|content[ _]filter|safety system|usage polic"
_BAD_ID: Final = r"not a valid model\b|model\b.{0,160}?\b(not found|does not exist|is deprecated)|unknown model"
_NO_SUPPORT: Final = (
    r"(that|which) (support|can handle)|(does ?n.t|does not|not) support|not supported (by|with|for) this model"
    r"|no allowed providers|all providers have been ignored"
)
_PRIVACY: Final = r"data polic|privacy|paid model training"
_GUARDRAIL: Final = r"(?<!your )guardrail|prompt injection|request blocked"
_MODERATION: Final = r"moderation|\bflagged\b"


def _table(*rows: tuple[FailureKind, str]) -> tuple[tuple[FailureKind, str], ...]:
    return rows


# The first match in the message says what is meant within the kind that the status or the type named.
REFINEMENTS: Final[Mapping[FailureKind, tuple[tuple[FailureKind, str], ...]]] = {
    _K.NOT_FOUND: _table((_K.FORBIDDEN, _PRIVACY), (_K.UNSUPPORTED, _NO_SUPPORT)),
    _K.INVALID_REQUEST: _table(
        (_K.CONTEXT_TOO_LONG, _CONTEXT),
        (_K.NOT_FOUND, _BAD_ID),
        (_K.CONTENT_POLICY, _POLICY),
        (_K.UNSUPPORTED, _NO_SUPPORT),
    ),
    _K.FORBIDDEN: _table((_K.GUARDRAIL, _GUARDRAIL), (_K.MODERATION, _MODERATION), (_K.CREDITS, r"key limit exceeded")),
}

# The message alone, where nothing else says anything; the first match holds.
MESSAGES: Final = _table(
    (_K.MODERATION, _MODERATION),
    (_K.GUARDRAIL, _GUARDRAIL),
    (_K.RATE_LIMITED, r"rate[- ]?limit|too many requests|quota"),
    (_K.CREDITS, r"credits|key limit exceeded|payment required|monthly limit|billing"),
    (_K.CONTEXT_TOO_LONG, _CONTEXT),
    (_K.FORBIDDEN, _PRIVACY + r"|\bregion\b|country|terms of service"),
    (_K.CONTENT_POLICY, _POLICY + r"|refused to (answer|respond)|\brefusal\b"),
    (
        _K.AUTH,
        r"(auth|authentication) (credentials|header)|unauthori[sz]ed|user not found|invalid credentials"
        r"|(invalid|incorrect|missing|no|disabled) api[ -]?key|authentication (failed|required|error)",
    ),
    (_K.TIMED_OUT, r"timed? ?-?out|deadline exceeded"),
    (_K.UNSUPPORTED, _NO_SUPPORT + r"|constraint|(invalid|unsupported) image|image (is )?(too|format|could|not)"),
    (
        _K.NOT_FOUND,
        _BAD_ID + r"|no endpoints found|not found|deprecated|no longer available|wrong endpoint|period (has )?ended"
        r"|unavailable upstream",
    ),
    (_K.OVERLOADED, r"overload|at capacity|capacity exhausted|temporarily unavailable|no instances|try again later"),
    (_K.FORBIDDEN, r"forbidden|permission|not allowed|only management keys|access denied"),
    (_K.INVALID_REQUEST, r"invalid|bad request|unprocessable|too large|precondition|must (have|be|contain)|malformed"),
)

REFUSALS: Final = frozenset({_K.INVALID_REQUEST, _K.AUTH, _K.FORBIDDEN})
# What the words of a provider may still make of its refusal. That it lacks the model or a feature is its own affair.
STANDS: Final = frozenset({_K.CONTEXT_TOO_LONG, _K.CONTENT_POLICY, _K.MODERATION, _K.GUARDRAIL})
SILENT: Final = frozenset({_K.MODERATION, _K.GUARDRAIL})  # `raw` may quote the prompt here
