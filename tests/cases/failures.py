"""Error answers as they come over the wire, and what each must become.

`WIRE_CASES` are whole HTTP answers. A row with status 200 is an error in a 200 body. `MESSAGES` are bare messages, as
an `error` without a status. Retry times are measured at `NOW`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from openrouter_fallback.failures.kinds import FailureKind as K

NOW = 1_786_000_000.0  # Thu, 06 Aug 2026 07:06:40 GMT
IN_30_SECONDS = "Thu, 06 Aug 2026 07:07:10 GMT"


@dataclass(frozen=True, slots=True)
class Case:
    """One answer; `extras` are fields of the `Failure` beside its kind, `says` a part of its message."""

    name: str
    status: int
    body: dict[str, Any] | bytes
    kind: K
    headers: Mapping[str, str] = field(default_factory=dict)
    extras: Mapping[str, object] = field(default_factory=dict)
    says: str = ""

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


def error(message: str, code: object = None, **metadata: object) -> dict[str, Any]:
    body: dict[str, Any] = {"message": message}
    if code is not None:
        body["code"] = code
    if metadata:
        body["metadata"] = metadata
    return {"error": body}


# error_type, status, kind, a natural message
TYPES: list[tuple[str, int, K, str]] = [
    ("context_length_exceeded", 400, K.CONTEXT_TOO_LONG, "This endpoint's maximum context length is 131072 tokens."),
    ("max_tokens_exceeded", 400, K.CONTEXT_TOO_LONG, "max_tokens is too large: 200000"),
    ("token_limit_exceeded", 400, K.CONTEXT_TOO_LONG, "Token limit exceeded"),
    ("string_too_long", 400, K.CONTEXT_TOO_LONG, "Invalid 'messages[0].content': string too long."),
    ("authentication", 401, K.AUTH, "Missing Authentication header"),
    ("payment_required", 402, K.CREDITS, "Insufficient credits. Add more using https://openrouter.ai/credits"),
    ("permission_denied", 403, K.FORBIDDEN, "Only management keys can perform this operation"),
    ("rate_limit_exceeded", 429, K.RATE_LIMITED, "Rate limit exceeded"),
    ("provider_overloaded", 503, K.OVERLOADED, "The provider is overloaded"),
    ("provider_unavailable", 502, K.UNAVAILABLE, "Provider returned error"),
    ("timeout", 504, K.TIMED_OUT, "Operation timed out. Please try again later."),
    ("invalid_request", 400, K.INVALID_REQUEST, "Invalid request parameters"),
    ("invalid_prompt", 400, K.INVALID_REQUEST, "Invalid prompt"),
    ("not_found", 404, K.NOT_FOUND, "Resource not found"),
    ("precondition_failed", 412, K.INVALID_REQUEST, "Precondition failed"),
    ("payload_too_large", 413, K.INVALID_REQUEST, "Request payload too large"),
    ("unprocessable", 422, K.INVALID_REQUEST, "Unprocessable entity"),
    ("content_policy_violation", 400, K.CONTENT_POLICY, "The request violates our content policy"),
    ("refusal", 400, K.CONTENT_POLICY, "The model refused to answer"),
    ("invalid_image", 400, K.UNSUPPORTED, "Invalid image"),
    ("image_too_large", 400, K.UNSUPPORTED, "Image too large"),
    ("image_too_small", 400, K.UNSUPPORTED, "Image too small"),
    ("image_not_found", 404, K.UNSUPPORTED, "Image not found"),
    ("image_download_failed", 400, K.UNSUPPORTED, "The image could not be downloaded"),
    ("image_of_tomorrow", 400, K.UNSUPPORTED, "Unsupported image"),
    ("unsupported_image_format", 400, K.UNSUPPORTED, "Unsupported image format"),
    ("server", 500, K.UNAVAILABLE, "Internal Server Error"),
    ("unmapped", 500, K.UNAVAILABLE, "Something went wrong"),
]

# availability code, status, retryable, kind, a natural message
AVAILABILITY: list[tuple[str, int, bool, K, str]] = [
    ("model_not_found", 400, False, K.NOT_FOUND, "acme/nope-1 is not a valid model ID"),
    ("wrong_endpoint", 400, False, K.NOT_FOUND, "Wrong endpoint for this model: use /embeddings"),
    ("no_endpoints", 404, False, K.NOT_FOUND, "No endpoints found for acme/nope-1."),
    ("model_deprecated", 404, False, K.NOT_FOUND, "acme/old-1 has been deprecated"),
    ("model_unavailable_upstream", 404, False, K.NOT_FOUND, "acme/old-1 is unavailable upstream"),
    ("free_variant_ended", 404, False, K.NOT_FOUND, "The free period has ended for acme/old-1:free"),
    ("capacity_exhausted", 429, True, K.OVERLOADED, "All providers are at capacity"),
    ("temporarily_unavailable", 503, True, K.OVERLOADED, "Service temporarily unavailable"),
    ("region_restricted", 403, False, K.FORBIDDEN, "This model is not available in your region"),
    ("privacy_restricted", 404, False, K.FORBIDDEN, "No endpoints found matching your data policy"),
    ("constraint_filtered", 404, False, K.UNSUPPORTED, "No endpoints found that can handle the requested parameters"),
]

# What a status says by itself.
STATUSES: dict[int, K] = {
    **dict.fromkeys((302, 304, 308, 400, 405, 412, 413, 418, 422), K.INVALID_REQUEST),
    **dict.fromkeys((409, 424, 425, 499, 500, 502, 505, 520, 521, 522, 523, 525, 526, 530, 599), K.UNAVAILABLE),
    **dict.fromkeys((408, 504, 524), K.TIMED_OUT),
    **dict.fromkeys((498, 503, 529), K.OVERLOADED),
    401: K.AUTH,
    402: K.CREDITS,
    403: K.FORBIDDEN,
    404: K.NOT_FOUND,
    410: K.NOT_FOUND,
    420: K.RATE_LIMITED,
    429: K.RATE_LIMITED,
}


def _availability(code: str, status: int, retryable: bool, message: str, **more: object) -> dict[str, Any]:
    about = {"code": code, "retryable": retryable, "requested_models": ["acme/nope-1"], **more}
    return {"error": {"message": message, "error_type": "not_found", "http_status": status, "availability": about}}


_TOO_LONG = (
    "This endpoint's maximum context length is 131072 tokens. However, you requested about 140000 tokens. "
    'Please reduce the length of either one, or use the "middle-out" transform to compress your prompt automatically.'
)
_ANTHROPIC = (
    '{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 208310 tokens > 200000 '
    'maximum"}}'
)
_SUPPORT = "No endpoints found that support {}. To learn more about provider routing, visit: https://openrouter.ai/docs"
_CREDITS = (
    "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 9."
)
_FREE = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
_LIMITED = "acme/a:free is temporarily rate-limited upstream. Please retry shortly"
_POLICY = "No endpoints {} your {}. Configure: https://openrouter.ai/settings/privacy"
_FLAGGED = 'openai/gpt-4 requires moderation on OpenAI. Your input was flagged for "violence". No credits were charged.'
_RESET = str(int((NOW + 90) * 1000))

_REAL: list[Case] = [
    Case("no tool use", 404, error(_SUPPORT.format("tool use"), 404), K.UNSUPPORTED),
    Case("no tool_choice", 404, error(_SUPPORT.format("the provided 'tool_choice' value"), 404), K.UNSUPPORTED),
    Case("no image input", 404, error("No endpoints found that support image input", 404), K.UNSUPPORTED),
    Case(
        "provider settings leave none",
        404,
        error(
            "No allowed providers are available for the selected model.",
            404,
            available_providers=["z-ai"],
            requested_providers=["anthropic"],
        ),
        K.UNSUPPORTED,
    ),
    Case("all ignored", 404, error("All providers have been ignored. To change your default", 404), K.UNSUPPORTED),
    Case("data policy", 404, error(_POLICY.format("found matching", "data policy"), 404), K.FORBIDDEN),
    Case(
        "data policy and guardrails",
        404,
        error(_POLICY.format("available matching", "guardrail restrictions and data policy"), 404),
        K.FORBIDDEN,
    ),
    Case("no endpoints", 404, error("No endpoints found for acme/nope-1:free.", 404), K.NOT_FOUND),
    Case("max_tokens over the credits", 402, error(_CREDITS, 402, provider_name=None), K.CREDITS),
    Case("prompt over the credits", 402, error("Prompt tokens limit exceeded: 230799 > 91442.", 402), K.CREDITS),
    Case("key limit", 403, error("Key limit exceeded (total limit). Manage it using ...", 403), K.CREDITS),
    Case("wrong id", 400, error("google/gemini-nope is not a valid model ID", 400), K.NOT_FOUND),
    Case("empty prompt", 400, error("Input must have at least 1 token.", 400), K.INVALID_REQUEST),
    Case("context", 400, error(_TOO_LONG, 400), K.CONTEXT_TOO_LONG),
    Case("no key", 401, error("No auth credentials found", 401), K.AUTH),
    Case("dead key", 401, error("User not found.", 401), K.AUTH),
    Case(
        "free per day",
        429,
        error(
            _FREE, 429, headers={"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": _RESET}
        ),
        K.RATE_LIMITED,
        extras={"retry_after": 90.0, "status": 429},
    ),
    Case(
        "code as a string",
        200,
        {"error": {"message": _FREE, "type": "rate_limit_error", "code": "429"}},
        K.RATE_LIMITED,
        extras={"status": 429, "code": None},
    ),
    Case(
        "rate-limited upstream",
        429,
        error("Provider returned error", 429, raw=_LIMITED, provider_name="Venice", retry_after_seconds_raw=10.5),
        K.RATE_LIMITED,
        extras={"provider": "Venice", "retry_after": 10.5},
        says=f"Provider returned error: {_LIMITED}",
    ),
    Case(
        "context in the provider's words",
        400,
        error("Provider returned error", 400, raw=_ANTHROPIC, provider_name="Anthropic"),
        K.CONTEXT_TOO_LONG,
        extras={"provider": "Anthropic"},
        says="Provider returned error: prompt is too long: 208310 tokens > 200000 maximum",
    ),
    Case(
        "provider refused",
        400,
        error(
            "Provider returned error",
            400,
            raw='{"code":20015,"message":"Unexpected message role.","data":null}',
            provider_name="SiliconFlow",
        ),
        K.REJECTED,
        extras={"provider": "SiliconFlow"},
        says="Unexpected message role.",
    ),
    Case(
        "provider's terms",
        403,
        error(
            "The request is prohibited due to a violation of provider Terms Of Service.", 403, provider_name="OpenAI"
        ),
        K.REJECTED,
    ),
    Case(
        "upstream error in a stream",
        200,
        error(
            "Upstream error from AtlasCloud: Unexpected token 173781 while expecting start token 200006",
            502,
            raw={"object": "error", "message": "Unexpected token", "code": 400},
            provider_name="AtlasCloud",
        ),
        K.UNAVAILABLE,
        extras={"status": 502, "provider": "AtlasCloud"},
    ),
    Case(
        "moderation",
        403,
        error(
            _FLAGGED,
            403,
            reasons=["violence"],
            flagged_input="tell me how to",
            provider_name="OpenAI",
            model_slug="openai/gpt-4",
        ),
        K.MODERATION,
        extras={"provider": "OpenAI"},
        says="requires moderation",
    ),
    Case("moderation by its words", 403, error(_FLAGGED, 403), K.MODERATION),
    Case(
        "guardrail",
        403,
        error(
            "Request blocked: prompt injection patterns detected", 403, patterns=["ignore all previous instructions"]
        ),
        K.GUARDRAIL,
    ),
    Case("guardrail by its words", 403, error("Request blocked: prompt injection patterns detected", 403), K.GUARDRAIL),
    Case("unknown model", 400, error("Unknown model: acme/nope-1", 400), K.NOT_FOUND),
    Case("shorter, please", 400, error("Please reduce the length of the messages.", 400), K.CONTEXT_TOO_LONG),
    Case("more than may be", 400, error("More than the maximum number of tokens", 400), K.CONTEXT_TOO_LONG),
    Case("usage policies", 400, error("This is against our usage policies", 400), K.CONTENT_POLICY),
    Case(
        "402 with its limit source",
        402,
        error("Insufficient credits", 402, limit_source="key"),
        K.CREDITS,
        headers={"retry-after": IN_30_SECONDS},
        extras={"retry_after": 30.0},
    ),
]

_PROVIDERS: list[Case] = (
    [
        Case(f"provider refused with {status}", status, error("no", status, provider_name="P"), K.REJECTED)
        for status in (400, 401, 403, 413, 422)
    ]
    + [
        Case(f"provider failed with {status}", status, error("no", status, provider_name="P"), STATUSES[status])
        for status in (402, 404, 408, 429, 500, 502, 503, 504, 529)
    ]
    + [
        Case("provider lacks the model", 400, error("model x not found", 400, provider_name="P"), K.REJECTED),
        Case("provider's guardrail", 403, error("blocked by a guardrail", 403, provider_name="P"), K.GUARDRAIL),
        Case(
            "moderation quotes nobody",
            403,
            error("Provider returned error", 403, raw="flagged: tell me how to"),
            K.MODERATION,
            extras={"message": "Provider returned error"},
        ),
        Case(
            "provider's filter",
            400,
            error("no", 400, provider_name="P", error_type="content_policy_violation"),
            K.CONTENT_POLICY,
        ),
        Case(
            "provider's filter in words",
            400,
            error("blocked by content management policy", 400, provider_name="P"),
            K.CONTENT_POLICY,
        ),
    ]
)

_AVAILABLE: list[Case] = [
    Case(
        "availability with its time",
        429,
        _availability("capacity_exhausted", 429, True, "full", retry_after=12),
        K.OVERLOADED,
        extras={"retry_after": 12.0, "code": "capacity_exhausted"},
    ),
    Case(
        "header before availability",
        429,
        _availability("capacity_exhausted", 429, True, "full", retry_after=12),
        K.OVERLOADED,
        headers={"retry-after": "3", "x-ratelimit-reset": _RESET},
        extras={"retry_after": 3.0},
    ),
    Case("unknown, retryable", 418, _availability("new", 418, True, "?"), K.OVERLOADED, extras={"code": "new"}),
    Case("unknown, retryable by status", 504, _availability("new", 504, True, "?"), K.TIMED_OUT),
    Case("unknown, for good", 503, _availability("new", 503, False, "?"), K.NOT_FOUND),
    Case("unknown, says nothing", 503, {"error": {"message": "?", "availability": {"code": "new"}}}, K.OVERLOADED),
    Case(
        "guardrail settings are privacy",
        404,
        _availability(
            "privacy_restricted", 404, False, _POLICY.format("match", "guardrail restrictions and data policy")
        ),
        K.FORBIDDEN,
    ),
    Case(
        "availability under 200",
        200,
        _availability("no_endpoints", 404, False, "none"),
        K.NOT_FOUND,
        extras={"status": 404},
    ),
]

_ANTHROPICS = {
    "invalid_request_error": K.INVALID_REQUEST,
    "authentication_error": K.AUTH,
    "billing_error": K.CREDITS,
    "permission_error": K.FORBIDDEN,
    "not_found_error": K.NOT_FOUND,
    "rate_limit_error": K.RATE_LIMITED,
    "timeout_error": K.TIMED_OUT,
    "overloaded_error": K.OVERLOADED,
    "api_error": K.UNAVAILABLE,
    "server_error": K.UNAVAILABLE,
}

_FOREIGN: list[Case] = [
    Case(
        "openai key",
        401,
        {
            "error": {
                "message": "Incorrect API key provided: sk-proj-abc123def456.",
                "type": "invalid_request_error",
                "code": "invalid_api_key",
            }
        },
        K.AUTH,
        says="provided: ***",
    ),
    Case(
        "openai quota",
        429,
        {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}},
        K.CREDITS,
    ),
    Case("openai context", 400, {"error": {"message": "long", "code": "context_length_exceeded"}}, K.CONTEXT_TOO_LONG),
    Case(
        "filter",
        400,
        {"error": {"code": "421", "message": "Moderation Block", "type": "content_filter"}},
        K.CONTENT_POLICY,
    ),
    Case(
        "overloaded",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        K.OVERLOADED,
    ),
    *(
        Case(f"{name} under 200", 200, {"type": "error", "error": {"type": name, "message": "x"}}, kind)
        for name, kind in _ANTHROPICS.items()
    ),
    Case(
        "top-level message",
        404,
        {"object": "error", "message": "No such model", "code": 404},
        K.NOT_FOUND,
        says="No such model",
    ),
    Case(
        "detail",
        422,
        {"detail": [{"loc": ["body"], "msg": "field required", "input": "the prompt"}]},
        K.INVALID_REQUEST,
        says="field required",
    ),
    Case("list", 429, orjson.dumps([error("Resource has been exhausted", 429)]), K.RATE_LIMITED, says="exhausted"),
    Case(
        "error as a word",
        404,
        {"error": "Not Found", "message": "No route", "status": 404},
        K.NOT_FOUND,
        says="No route",
    ),
    Case("nested", 400, {"error": error("a/b is not a valid model ID", 400)}, K.NOT_FOUND),
    Case(
        "nested as text",
        400,
        {"error": orjson.dumps(error("a/b is not a valid model ID", 400)).decode()},
        K.NOT_FOUND,
        says="a/b is not a valid model ID",
    ),
]

_PAGE = b"<!DOCTYPE html>\n<html><head><title>acme.example | 502: Bad\n gateway</title></head><body>x</body></html>"

_MALFORMED: list[Case] = [
    Case("empty", 502, b"", K.UNAVAILABLE, says="HTTP 502 Bad Gateway"),
    Case("unknown status", 529, b"", K.OVERLOADED, says="HTTP 529"),
    Case("page", 502, _PAGE, K.UNAVAILABLE, says="acme.example | 502: Bad gateway"),
    Case("page without a title", 403, b"<html><body>blocked</body></html>", K.FORBIDDEN, says="an HTML page"),
    Case("page in a message", 500, error("<html><title>&lt;oops&gt;</title>", 500), K.UNAVAILABLE, says="oops"),
    Case(
        "text", 503, b"upstream connect error\r\n\x1b[31mreset", K.OVERLOADED, says="upstream connect error [31mreset"
    ),
    Case("broken JSON", 500, b'{"error": {"message": "the pro', K.UNAVAILABLE, says="an unreadable body of 30 bytes"),
    Case("broken UTF-8", 429, b'{"error": {"message": "slow \xff down"}}', K.RATE_LIMITED, says="slow \ufffd down"),
    Case("byte order mark", 404, b'\xef\xbb\xbf{"error": {"message": "gone"}}', K.NOT_FOUND, says="gone"),
    Case("event", 400, b'data: {"error":{"message":"bad","code":400}}\n\n', K.INVALID_REQUEST, says="bad"),
    Case("oversized", 500, b'{"error":{"message":"' + b"x" * (2 << 20) + b'"}}', K.UNAVAILABLE, says="unreadable body"),
    Case("long", 500, error("x" * 10_000), K.UNAVAILABLE, says="xxx…"),
    Case("deep", 500, b"[" * 900 + b"]" * 900, K.UNAVAILABLE, says="HTTP 500 Internal Server Error"),
    Case("nothing", 500, b"null", K.UNAVAILABLE),
    Case("a number", 429, b"42", K.RATE_LIMITED),
    Case("error is null", 503, {"error": None}, K.OVERLOADED),
    Case("error is true", 503, {"error": True}, K.OVERLOADED),
    Case("message is an object", 500, {"error": {"message": {"message": "inside"}}}, K.UNAVAILABLE, says="inside"),
    Case(
        "metadata is a text", 400, {"error": {"message": "x", "metadata": "y", "availability": []}}, K.INVALID_REQUEST
    ),
    Case("status wins over the code", 503, error("x", 400), K.OVERLOADED, extras={"status": 503}),
    Case("code of a 200", 200, error("x", 402), K.CREDITS, extras={"status": 402}),
    Case("code of a 200 as a float", 200, error("x", 402.0), K.CREDITS, extras={"status": 402}),
    Case("senseless code", 200, error("x", 7), K.UNAVAILABLE, extras={"status": None}),
    Case("unmapped under 200", 200, error("x", None, error_type="unmapped"), K.UNAVAILABLE),
    Case("unmapped with a status", 429, error("x", 429, error_type="unmapped"), K.RATE_LIMITED),
    Case("unknown type", 504, error("x", 504, error_type="brand_new"), K.TIMED_OUT, extras={"code": "brand_new"}),
]

WIRE_CASES: list[Case] = [
    *(Case(f"type {name}", status, error(says, status, error_type=name), kind, extras={"code": name, "status": status})
      for name, status, kind, says in TYPES),
    *(Case(f"type {name} under 200", 200, error("?", status, error_type=name), kind, extras={"status": status})
      for name, status, kind, _ in TYPES),
    *(Case(f"type {name} with no code", 200, {"error": {"message": "?", "error_type": name}}, kind)
      for name, _, kind, _ in TYPES),
    *(Case(f"availability {code}", status, _availability(code, status, retry, says), kind,
           extras={"code": code, "status": status})
      for code, status, retry, kind, says in AVAILABILITY),
    *(Case(f"bare {status}", status, {}, kind, extras={"status": status}) for status, kind in STATUSES.items()),
    *(Case(f"empty {status}", status, b"", kind, extras={"status": status}) for status, kind in STATUSES.items()),
    *(Case(f"code {status} under 200", 200, error("?", status), kind, extras={"status": status})
      for status, kind in STATUSES.items()),
    *_REAL, *_PROVIDERS, *_AVAILABLE, *_FOREIGN, *_MALFORMED,
]  # fmt: skip

# A message and nothing else.
MESSAGES: list[tuple[str, K]] = [
    *((says, kind) for name, _, kind, says in TYPES if name != "max_tokens_exceeded"),
    ("max_tokens is too large: 200000", K.REJECTED),
    *((says, kind) for _, _, _, kind, says in AVAILABILITY),
    *((case.body["error"]["message"], case.kind)
      for case in _REAL
      if isinstance(case.body, dict) and case.name not in {
          "rate-limited upstream", "context in the provider's words", "provider refused", "provider's terms",
          "max_tokens over the credits", "prompt over the credits"}),
    (_CREDITS, K.CREDITS),
    ("Prompt tokens limit exceeded: 230799 > 91442. To increase, create a key with a higher monthly limit", K.CREDITS),
    ("The request is prohibited due to a violation of provider Terms Of Service.", K.FORBIDDEN),
    ("Request timed out. Please try again later.", K.TIMED_OUT),
    ("Token limit reached", K.CONTEXT_TOO_LONG),
    ("Deadline exceeded", K.TIMED_OUT),
    ("The model is starting, try again later", K.OVERLOADED),
    ("Authentication failed", K.AUTH),
    ("", K.UNAVAILABLE),
    ("something odd", K.UNAVAILABLE),
]  # fmt: skip
