"""OpenRouter's errors, one row each, and the four places of a response where an error can appear."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from ..answers import completion
from ..answers.chunks import COMMENT, DONE, Chunk, event, head
from .plan import JSON, Plan, Scene, Send, partly, sends, unstreamed

Details = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One error of OpenRouter.

    `error_type` is sent in `error.metadata`. `availability` (a code) and `retryable` are sent in `error.availability`.
    An `upstream` error has the provider in `metadata.provider_name` and the provider's message in `metadata.raw`.
    """

    status: int
    message: str
    error_type: str | None = None
    availability: str | None = None
    retryable: bool = False
    upstream: bool = False
    metadata: Mapping[str, Any] = field(default_factory=dict)


def _typed(status: int, error_type: str, message: str, *, upstream: bool = False) -> ErrorRow:
    return ErrorRow(status, message, error_type=error_type, upstream=upstream)


def _available(status: int, code: str, retryable: bool, message: str) -> ErrorRow:
    return ErrorRow(status, message, error_type=_TYPE_OF_STATUS[status], availability=code, retryable=retryable)


_TYPE_OF_STATUS = {
    400: "invalid_request",
    403: "permission_denied",
    404: "not_found",
    429: "rate_limit_exceeded",
    503: "provider_overloaded",
}

ERRORS: dict[str, ErrorRow] = {
    # Errors with `error.metadata.error_type`.
    "context_length_exceeded": _typed(
        400,
        "context_length_exceeded",
        "This endpoint's maximum context length is 8192 tokens. However, you requested about 9000 tokens "
        "(8000 of text input, 1000 in the output). Please reduce the length of either one.",
    ),
    "max_tokens_exceeded": _typed(400, "max_tokens_exceeded", "max_tokens is too large: the model allows 4096."),
    "token_limit_exceeded": _typed(400, "token_limit_exceeded", "Token limit reached", upstream=True),
    "string_too_long": _typed(400, "string_too_long", "Invalid 'messages[0].content': string too long."),
    "authentication": _typed(401, "authentication", "User not found."),
    "payment_required": _typed(
        402,
        "payment_required",
        "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
    ),
    "permission_denied": _typed(403, "permission_denied", "This key may not use this model."),
    "rate_limit_exceeded": _typed(429, "rate_limit_exceeded", "Provider returned error", upstream=True),
    "provider_overloaded": _typed(503, "provider_overloaded", "Provider is overloaded", upstream=True),
    "provider_unavailable": _typed(502, "provider_unavailable", "Provider returned error", upstream=True),
    "timeout": _typed(504, "timeout", "Provider timed out", upstream=True),
    "invalid_request": _typed(400, "invalid_request", "Input validation error"),
    "invalid_prompt": _typed(400, "invalid_prompt", "The prompt is not valid"),
    "not_found": _typed(404, "not_found", "No endpoints found for {model}."),
    "precondition_failed": _typed(412, "precondition_failed", "Precondition failed"),
    "payload_too_large": _typed(413, "payload_too_large", "Request entity too large"),
    "unprocessable": _typed(422, "unprocessable", "Unprocessable entity"),
    "content_policy_violation": _typed(
        400, "content_policy_violation", "The response was filtered: content policy", upstream=True
    ),
    "refusal": _typed(400, "refusal", "The model refused to answer", upstream=True),
    "invalid_image": _typed(400, "invalid_image", "Could not process image"),
    "image_too_large": _typed(400, "image_too_large", "The image is too large"),
    "image_too_small": _typed(400, "image_too_small", "The image is too small"),
    "unsupported_image_format": _typed(400, "unsupported_image_format", "Unsupported image format"),
    "image_not_found": _typed(404, "image_not_found", "The image was not found"),
    "image_download_failed": _typed(400, "image_download_failed", "The image could not be downloaded"),
    "server": _typed(500, "server", "Internal Server Error"),
    "unmapped": _typed(500, "unmapped", "Provider returned error", upstream=True),
    # Errors with a status only.
    "request_timeout": ErrorRow(408, "Request timed out"),
    "edge_timeout": ErrorRow(524, "A timeout occurred"),
    "overloaded": ErrorRow(529, "Overloaded", upstream=True),
    # Errors with `error.availability.code`.
    "model_not_found": _available(400, "model_not_found", False, "{model} is not a valid model ID"),
    "wrong_endpoint": _available(400, "wrong_endpoint", False, "{model} is not a chat model."),
    "no_endpoints": _available(404, "no_endpoints", False, "No endpoints found for {model}."),
    "model_deprecated": _available(404, "model_deprecated", False, "{model} is deprecated."),
    "model_unavailable_upstream": _available(
        404, "model_unavailable_upstream", False, "{model} is no longer served by its providers."
    ),
    "capacity_exhausted": _available(429, "capacity_exhausted", True, "No capacity left for {model}."),
    "temporarily_unavailable": _available(503, "temporarily_unavailable", True, "{model} is temporarily unavailable."),
    "region_restricted": _available(403, "region_restricted", False, "{model} is not available in your region."),
    "privacy_restricted": _available(
        404, "privacy_restricted", False, "No endpoints found matching your data policy for {model}."
    ),
    "constraint_filtered": _available(
        404, "constraint_filtered", False, "No endpoints for {model} can handle the requested parameters."
    ),
    "free_variant_ended": _available(404, "free_variant_ended", False, "The free period of {model} has ended."),
    # Errors that only other metadata or the message identify.
    "moderation": ErrorRow(
        403,
        "{model} requires moderation on {provider}. Your input was flagged.",
        metadata={
            "reasons": ["violence"],
            "flagged_input": "the flagged part of the prompt",
            "provider_name": "{provider}",
            "model_slug": "{model}",
        },
    ),
    "guardrail": ErrorRow(403, "Request blocked by a guardrail.", metadata={"patterns": ["credit-card-number"]}),
    "rejected": ErrorRow(400, "Provider returned error", upstream=True),
    "no_tool_support": ErrorRow(
        404,
        "No endpoints found that support tool use. To learn more about provider routing, visit: "
        "https://openrouter.ai/docs/provider-routing",
    ),
    "http": ErrorRow(500, "Internal Server Error"),
}

ERROR_DETAILS: dict[str, Any] = {
    "place": "status",
    "after_tokens": 0,
    "status": None,
    "message": None,
    "error_type": None,
    "code": None,
    "metadata": None,
    "headers": None,
    "retry_after": None,
    "body": None,
    "availability": None,
    "direct": False,
    "choices_null": False,
    "done": False,
}


def error_plan(row: ErrorRow) -> Callable[[Scene, Details], Plan]:
    """The function that makes the plan of one error."""

    def plan(scene: Scene, details: Details) -> Plan:
        status = details["status"] or row.status
        headers = dict(details["headers"] or {})
        if details["retry_after"] is not None:
            headers.setdefault("Retry-After", str(details["retry_after"]))
        error = error_object(row, scene.request["model"], scene.served.host.name, details)
        made = _PLACES[details["place"]](scene, error, status, details)
        return replace(made, headers={**made.headers, **headers})

    return plan


def error_object(row: ErrorRow, model: str, provider: str, details: Details) -> dict[str, Any]:
    """The `error` of a body or chunk.

    With the detail `direct`, `error_type` and `http_status` are fields of `error` itself, and `code` is missing.
    """
    status = details["status"] or row.status

    def worded(value: Any) -> Any:
        return value.replace("{model}", model).replace("{provider}", provider) if isinstance(value, str) else value

    error_type = details["error_type"] or row.error_type
    metadata = {key: worded(value) for key, value in row.metadata.items()}
    if row.upstream:
        metadata |= {"provider_name": provider, "raw": f"{model}: {row.message}"}
    metadata |= details["metadata"] or {}
    error: dict[str, Any] = {"code": details["code"] or status, "message": worded(details["message"] or row.message)}
    if details["direct"]:
        del error["code"]
        error |= {"http_status": status, "error_type": error_type}
    elif error_type:
        metadata = {"error_type": error_type, **metadata}
    if metadata:
        error["metadata"] = metadata
    if row.availability:
        error["availability"] = {
            "code": row.availability,
            "retryable": row.retryable,
            **({} if details["retry_after"] is None else {"retry_after": details["retry_after"]}),
            "requested_models": [model],
            **(details["availability"] or {}),
        }
    return error


def error_chunk(scene: Scene, error: Mapping[str, Any]) -> Chunk:
    """The chunk with a top-level error that ends a stream."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": "error"}
    return {**head(scene.body), "error": error, "choices": [{**choice, "native_finish_reason": "error"}]}


def error_body(scene: Scene, error: Mapping[str, Any], details: Details) -> bytes:
    """The JSON body of an error, or the fault's own `body`."""
    raw = details["body"]
    if isinstance(raw, str | bytes):
        return raw.encode() if isinstance(raw, str) else raw
    extra: dict[str, Any] = {"choices": None} if details["choices_null"] else {}
    if "openrouter_metadata" in scene.body:
        extra["openrouter_metadata"] = scene.body["openrouter_metadata"]
    return orjson.dumps(raw if raw is not None else {"error": error, **extra})


def _as_status(scene: Scene, error: Mapping[str, Any], status: int, details: Details) -> Plan:
    return Plan([Send(error_body(scene, error, details))], status=status)


def _as_body(scene: Scene, error: Mapping[str, Any], status: int, details: Details) -> Plan:
    return Plan([Send(error_body(scene, error, details))], media_type=JSON)


def _as_sse(scene: Scene, error: Mapping[str, Any], status: int, details: Details) -> Plan:
    if not scene.stream:
        return _as_body(scene, error, status, details)
    before = partly(scene, details["after_tokens"]) if details["after_tokens"] else [Send(COMMENT)] * scene.comments
    end = [Send(DONE)] if details["done"] else []
    return Plan([*before, Send(event(error_chunk(scene, error))), *end], media_type="text/event-stream")


def _as_choice(scene: Scene, error: Mapping[str, Any], status: int, details: Details) -> Plan:
    body = deepcopy(scene.body)
    choice = body["choices"][0]
    completion.shorten(choice["message"], details["after_tokens"])
    choice |= {"finish_reason": "error", "native_finish_reason": "error", "error": error}
    body["choices"] = [choice]
    if not scene.stream:
        return Plan(unstreamed(scene, body))
    last = {"index": 0, "delta": {"role": "assistant", "content": ""}, **_without(choice, "index", "message")}
    chunk = {**head(body), "choices": [last]}
    usage = {**head(body), "choices": [], "usage": body["usage"]}
    steps = [*partly(scene, details["after_tokens"]), *sends([chunk, usage]), Send(DONE)]
    return Plan(steps, media_type="text/event-stream")


def _without(choice: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in choice.items() if key not in keys}


_PLACES = {"status": _as_status, "body": _as_body, "choice": _as_choice, "sse": _as_sse}
PLACES = tuple(_PLACES)
