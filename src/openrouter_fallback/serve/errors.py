"""HTTP errors: the status, OpenAI's error object with OpenRouter's `metadata`, and the headers for client retries.

An error has `x-should-retry: false` if a retry would only repeat a failed chain. Else the openai clients would multiply
the load of an outage. A 429, and the 503 of a busy server, may be retried.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .. import (
    AllModelsFailedError,
    Attempt,
    AuthenticationError,
    ConfigError,
    ContentPolicyError,
    ContextLengthError,
    DeadlineExceededError,
    FailureKind,
    FallbackError,
    InsufficientCreditsError,
    InvalidRequestError,
    LocalError,
    PermissionDeniedError,
    RateLimitedError,
    SpendLimitError,
    StreamInterruptedError,
)

Headers = list[tuple[bytes, bytes]]
NO_RETRY = (b"x-should-retry", b"false")
CLOSE = (b"connection", b"close")
OF_THE_REQUEST = frozenset({"invalid_request", "context_length_exceeded", "content_policy_violation", "unsupported"})
"""The codes of calls that fail because of the request. The client gets the error; the operator has nothing to do."""
_OF_AN_ATTEMPT = ("model", "kind", "status", "seconds", "provider", "cost", "message")


class Refused(Exception):
    """A request that is refused without a call. `close`: the server closes the connection after the error."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str,
        type: str = "invalid_request_error",
        param: str | None = None,
        retry_after: int | None = None,
        close: bool = False,
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(message)
        error_type = _ERROR_TYPES.get(status, "invalid_request")
        self.problem = Problem(status, error_object(message, type, code, error_type, param), [*headers])
        if retry_after is not None:
            self.problem.headers.append((b"retry-after", b"%d" % retry_after))
        if close:
            self.problem.headers.append(CLOSE)


@dataclass(frozen=True, slots=True)
class Problem:
    """An error response: status, body, headers."""

    status: int
    body: dict[str, Any]
    headers: Headers


@dataclass(frozen=True, slots=True)
class _Row:
    status: int
    type: str
    code: str
    error_type: str


# OpenRouter's `metadata.error_type` of a refused request, by status.
_ERROR_TYPES = {
    401: "authentication",
    403: "permission_denied",
    404: "not_found",
    413: "payload_too_large",
    429: "rate_limit_exceeded",
    500: "server",
    503: "provider_overloaded",
}
_EXHAUSTED = _Row(503, "server_error", "all_models_failed", "provider_unavailable")
# An endpoint refused the operator's API key. The status is not 401, because the caller's key is correct.
_UPSTREAM_KEY = _Row(502, "server_error", "upstream_authentication", "provider_unavailable")
_ROWS: Mapping[type[FallbackError], _Row] = {
    AllModelsFailedError: _EXHAUSTED,
    AuthenticationError: _UPSTREAM_KEY,
    ConfigError: _Row(400, "invalid_request_error", "invalid_request", "invalid_request"),
    ContentPolicyError: _Row(400, "invalid_request_error", "content_policy_violation", "content_policy_violation"),
    ContextLengthError: _Row(400, "invalid_request_error", "context_length_exceeded", "context_length_exceeded"),
    DeadlineExceededError: _Row(504, "server_error", "timeout", "timeout"),
    InsufficientCreditsError: _Row(402, "insufficient_quota", "insufficient_credits", "payment_required"),
    InvalidRequestError: _Row(400, "invalid_request_error", "invalid_request", "invalid_request"),
    LocalError: _Row(500, "server_error", "server_error", "server"),
    PermissionDeniedError: _Row(403, "permission_error", "permission_denied", "permission_denied"),
    RateLimitedError: _Row(429, "rate_limit_error", "rate_limit_exceeded", "rate_limit_exceeded"),
    SpendLimitError: _Row(402, "insufficient_quota", "spend_limit_exceeded", "payment_required"),
    StreamInterruptedError: _Row(502, "server_error", "stream_interrupted", "provider_unavailable"),
}
# The errors for an AllModelsFailedError of which every attempt failed with the same kind.
_ALL_ALIKE: Mapping[FailureKind, _Row] = {
    FailureKind.NOT_FOUND: _Row(404, "invalid_request_error", "model_not_found", "not_found"),
    FailureKind.TIMED_OUT: _Row(504, "server_error", "timeout", "timeout"),
    FailureKind.UNSUPPORTED: _Row(404, "invalid_request_error", "unsupported", "not_found"),
}
_CALLERS_STATUSES = frozenset({400, 404, 412, 413, 415, 422})
_UNKNOWN = _Row(500, "server_error", "server_error", "server")


def error_object(
    message: str, type: str, code: str, error_type: str, param: str | None = None, **metadata: Any
) -> dict[str, Any]:
    """An error body with OpenAI's `message`, `type`, `param` and `code`, and OpenRouter's `metadata.error_type`."""
    metadata = {"error_type": error_type, **metadata}
    return {"error": {"message": message, "type": type, "param": param, "code": code, "metadata": metadata}}


def problem(error: BaseException) -> Problem:
    """The error response for the exception of a call."""
    if isinstance(error, Refused):
        return error.problem
    if not isinstance(error, FallbackError):
        row, message = _UNKNOWN, "The server failed; its log says why."
        return Problem(row.status, error_object(message, row.type, row.code, row.error_type), [NO_RETRY])
    row = _row(error)
    message = str(error).partition("\n")[0]
    attempts = [attempt_object(attempt, told=True) for attempt in error.attempts]
    status = row.status
    if isinstance(error, InvalidRequestError):
        status = next((a.status for a in error.attempts[-1:] if a.status in _CALLERS_STATUSES), row.status) or status
    headers: Headers = []
    if error.retry_after is not None:
        headers.append((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))))
    elif status == 429:
        headers.append((b"retry-after", b"1"))
    if status != 429:
        headers.append(NO_RETRY)
    return Problem(status, error_object(message, row.type, row.code, row.error_type, attempts=attempts), headers)


def _row(error: FallbackError) -> _Row:
    row = next((_ROWS[cls] for cls in type(error).__mro__ if cls in _ROWS), _UNKNOWN)
    kinds = {attempt.kind for attempt in error.attempts}
    if row is _EXHAUSTED and len(kinds) == 1:
        kind = kinds.pop()
        row = _ALL_ALIKE.get(kind, row) if kind is not None else row
    return row


def attempt_object(attempt: Attempt, *, told: bool = False) -> dict[str, Any]:
    """An attempt as JSON. With `told`, the endpoint's message is included."""
    values = attempt.as_dict()
    return {key: values[key] for key in _OF_AN_ATTEMPT if told or key != "message"}
