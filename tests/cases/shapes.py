"""Errors in every shape: whole HTTP answers, with the bytes as they come. Rows are `Case`s as in `failures.py`."""

from __future__ import annotations

from typing import Any

import orjson

from openrouter_fallback.failures.kinds import FailureKind as K

from .failures import IN_30_SECONDS, NOW, Case, error


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


_GOOGLE: dict[str, Any] = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota, please check your plan and billing details.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaValue": "25"}]},
            {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Learn more"}]},
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "20s"},
        ],
    }
}
_FLAGS: tuple[object, ...] = (True, False, 1, "", {}, [])
_SLOW = {"error": {"code": 429, "message": "slow down", "retry_after": 7}}
_OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_1"}
_EXTRA = {
    "type": "extra_forbidden",
    "loc": ["body", "stream_options"],
    "msg": "Extra inputs are not permitted",
    "input": "p",
}
_FILTERED = {
    "error": {
        "message": "The response was filtered.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    }
}
_NGINX = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body>\r\n</html>"
_CLOUDFLARE = (
    b"<!DOCTYPE html><html><head><title>openrouter.ai | 521: Web server is down</title></head><body></body></html>"
)
_RAW_429 = {"retry_after": 20.0, "provider": "Google"}


def _raw(status: int, raw: Any, provider: str = "Google") -> dict[str, Any]:
    return error("Provider returned error", status, raw=raw, provider_name=provider)


GOOGLES: list[Case] = [
    Case("google", 429, _GOOGLE, K.RATE_LIMITED, extras={"retry_after": 20.0}),
    Case("google in a list", 429, orjson.dumps([_GOOGLE]), K.RATE_LIMITED, extras={"retry_after": 20.0}),
    Case("google in a list, status 200", 200, orjson.dumps([_GOOGLE]), K.RATE_LIMITED, extras={"retry_after": 20.0}),
    Case("google in its own message", 429, error(_text(_GOOGLE), 429), K.RATE_LIMITED, extras={"retry_after": 20.0}),
    Case("google in raw", 429, _raw(429, _text(_GOOGLE)), K.RATE_LIMITED, extras=_RAW_429),
    Case("google in raw, as an object", 429, _raw(429, _GOOGLE), K.RATE_LIMITED, extras=_RAW_429),
    Case("google in raw, in a list", 429, _raw(429, _text([_GOOGLE])), K.RATE_LIMITED, extras=_RAW_429),
    Case("google in raw, encoded twice", 429, _raw(429, _text(_text(_GOOGLE))), K.RATE_LIMITED, extras=_RAW_429),
    Case(
        "google behind words",
        429,
        error(f"got status: 429 Too Many Requests. {_text(_GOOGLE)}", 429),
        K.RATE_LIMITED,
        extras={"retry_after": 20.0},
    ),
    Case("google's status alone", 200, {"error": {"status": "UNAVAILABLE", "message": "?"}}, K.OVERLOADED),
    Case("google's deadline", 200, {"error": {"status": "DEADLINE_EXCEEDED", "message": "?"}}, K.TIMED_OUT),
    Case(
        "google's key",
        400,
        {
            "error": {
                "code": 400,
                "message": "Bad.",
                "status": "INVALID_ARGUMENT",
                "details": [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}],
            }
        },
        K.AUTH,
    ),
]

WITHOUT_ERROR: list[Case] = [
    Case("a code alone", 200, {"code": 429}, K.RATE_LIMITED, extras={"status": 429}),
    Case("a code alone, as text", 200, {"code": "503"}, K.OVERLOADED),
    Case("a code and a message", 200, {"code": 429, "message": "Too many requests"}, K.RATE_LIMITED),
    Case("detail alone", 200, {"detail": "Rate limit exceeded"}, K.RATE_LIMITED),
    Case("detail, status", 503, {"detail": "The model is loading"}, K.OVERLOADED, says="The model is loading"),
    Case(
        "detail is an object",
        429,
        {"detail": {"error": "slow down", "retry_after": 7}},
        K.RATE_LIMITED,
        extras={"retry_after": 7.0},
    ),
    Case(
        "detail is a list",
        422,
        {"detail": [_EXTRA]},
        K.REJECTED,
        says="stream_options: Extra inputs",
        extras={"parameter": "stream_options"},
    ),
    Case("detail of texts", 429, {"detail": ["slow down"]}, K.RATE_LIMITED, says="slow down"),
    Case(
        "errors",
        200,
        {"errors": [{"code": 10000, "message": "Authentication error"}], "success": False, "result": None},
        K.AUTH,
    ),
    Case("errors of texts", 200, {"errors": ["Rate limit reached"]}, K.RATE_LIMITED),
    Case("errors is an object", 400, {"errors": {"model": "is overloaded"}}, K.INVALID_REQUEST),
    Case(
        "vllm",
        200,
        {"object": "error", "message": "maximum context length is 10", "type": "BadRequestError", "code": 400},
        K.CONTEXT_TOO_LONG,
    ),
    Case(
        "vllm, nested",
        400,
        {"error": {"message": "x", "type": "BadRequestError", "param": None, "code": 400}},
        K.INVALID_REQUEST,
    ),
    Case("a list", 200, orjson.dumps([{"message": "Overloaded", "type": "error"}]), K.OVERLOADED),
    Case("a text", 200, orjson.dumps("Rate limit exceeded"), K.RATE_LIMITED),
    Case("encoded twice", 200, orjson.dumps(_text(_OVERLOADED)), K.OVERLOADED),
    Case("an event", 429, b'event: error\ndata: {"code": 429, "message": "slow"}\n\n', K.RATE_LIMITED, says="slow"),
    Case(
        "a problem",
        503,
        {"type": "about:blank", "title": "Service Unavailable", "status": 503},
        K.OVERLOADED,
        says="Service Unavailable",
    ),
    Case("statusCode", 200, {"statusCode": 502, "message": "Bad gateway"}, K.UNAVAILABLE, extras={"status": 502}),
    Case("lambda", 200, {"errorType": "ThrottlingException", "errorMessage": "Too many"}, K.RATE_LIMITED),
    Case("ollama", 200, {"error": "model requires more system memory"}, K.UNAVAILABLE),
    Case(
        "ollama's missing model",
        404,
        {"error": 'model "x:1" not found, try pulling it first'},
        K.NOT_FOUND,
        extras={"harmless": False},
    ),
    Case(
        "xai",
        403,
        {"code": "The caller does not have permission", "error": "Content violates usage guidelines."},
        K.CONTENT_POLICY,
    ),
    Case("xai under 200", 200, {"code": "x", "error": "Content violates usage guidelines."}, K.CONTENT_POLICY),
    Case(
        "a text and a code",
        200,
        {"error": "slow down", "code": 429, "retry_after": 3},
        K.RATE_LIMITED,
        extras={"retry_after": 3.0},
    ),
    Case(
        "twice",
        402,
        {"error": {"error": {"message": "Insufficient credits", "code": 402}, "code": 402}},
        K.CREDITS,
        extras={"scope": "account"},
    ),
    Case("hf", 200, {"error": "Model is overloaded", "error_type": "overloaded"}, K.OVERLOADED),
    Case("tgi", 424, {"error": "Request failed during generation", "error_type": "generation"}, K.UNAVAILABLE),
    Case("tgi, full", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, K.OVERLOADED),
    Case(
        "llama.cpp",
        500,
        {"error": {"code": 500, "message": "?", "type": "exceed_context_size_error", "n_ctx": 256}},
        K.CONTEXT_TOO_LONG,
    ),
    Case(
        "llama.cpp loads",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        K.OVERLOADED,
    ),
    Case("cohere", 429, {"message": "You are using a Trial key"}, K.RATE_LIMITED),
    Case("siliconflow", 200, {"code": 50505, "message": "Model service overloaded.", "data": None}, K.OVERLOADED),
    Case(
        "minimax",
        200,
        {"base_resp": {"status_code": 1002, "status_msg": "rate limit"}, "choices": None},
        K.RATE_LIMITED,
    ),
    Case(
        "minimax, balance", 200, {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}, K.CREDITS
    ),
    Case(
        "minimax, sensitive",
        200,
        {"base_resp": {"status_code": 1026, "status_msg": "input new_sensitive"}},
        K.CONTENT_POLICY,
    ),
    Case(
        "minimax, context",
        200,
        {"base_resp": {"status_code": 2013, "status_msg": "invalid params, context window exceeds limit"}},
        K.CONTEXT_TOO_LONG,
    ),
    Case("glm", 429, {"error": {"code": "1302", "message": "您的账户已达到速率限制"}}, K.RATE_LIMITED),
    Case(
        "glm, balance",
        429,
        {"error": {"code": "1113", "message": "Insufficient balance or no resource package. Please recharge."}},
        K.CREDITS,
        extras={"scope": "account"},
    ),
    Case("glm, full", 429, {"error": {"code": "1305", "message": "?"}}, K.OVERLOADED),
    Case("ernie", 200, {"error_code": 336103, "error_msg": "prompt tokens too long"}, K.CONTEXT_TOO_LONG),
    Case("ernie, limit", 200, {"error_code": 18, "error_msg": "Open api qps request limit reached"}, K.RATE_LIMITED),
    Case(
        "dashscope",
        400,
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content.", "request_id": "1"},
        K.CONTENT_POLICY,
    ),
    Case(
        "dashscope, openai's form",
        400,
        {"error": {"code": "data_inspection_failed", "message": "?", "type": "data_inspection_failed"}},
        K.CONTENT_POLICY,
    ),
    Case("dashscope, throttled", 429, {"code": "Throttling.RateQuota", "message": "?"}, K.RATE_LIMITED),
    Case(
        "dashscope, arrears",
        400,
        {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."},
        K.CREDITS,
    ),
    Case(
        "moonshot",
        429,
        {"error": {"type": "engine_overloaded_error", "message": "The engine is currently overloaded"}},
        K.OVERLOADED,
    ),
    Case(
        "moonshot, balance", 429, {"error": {"type": "exceeded_current_quota_error", "message": "suspended"}}, K.CREDITS
    ),
    Case(
        "groq's tool call",
        400,
        {
            "error": {
                "code": "tool_use_failed",
                "message": "Failed to call a function.",
                "type": "invalid_request_error",
            }
        },
        K.BAD_ANSWER,
    ),
    Case(
        "groq's tokens",
        413,
        {"error": {"code": "rate_limit_exceeded", "type": "tokens", "message": "Request too large ... TPM"}},
        K.RATE_LIMITED,
    ),
    *(
        Case(
            f"an error under {place}",
            200,
            {place: _SLOW},
            K.RATE_LIMITED,
            says="slow down",
            extras={"retry_after": 7.0},
        )
        for place in ("response", "data", "result", "body", "output", "meta")
    ),
    *(
        Case(
            f"under {place}",
            200,
            {place: _SLOW["error"]},
            K.RATE_LIMITED,
            says="slow down",
            extras={"retry_after": 7.0},
        )
        for place in ("err", "Error", "fault", "errors", "detail", "exception")
    ),
    Case(
        "under a response's event",
        200,
        {"type": "response.failed", "response": {"status": "failed", **_SLOW}},
        K.RATE_LIMITED,
    ),
    Case("in an envelope with a code", 200, {"code": 0, "data": _SLOW}, K.RATE_LIMITED),
    Case("in two envelopes", 200, {"result": {"data": _SLOW}}, K.RATE_LIMITED),
    Case("in an envelope, with its status", 503, {"data": {"error": {"message": "full"}}}, K.OVERLOADED, says="full"),
    Case("within the error", 200, {"error": {"data": {"message": "overloaded", "code": 503}}}, K.OVERLOADED),
    Case("a fault of a gateway", 200, {"fault": {"faultstring": "Rate limit quota violation"}}, K.RATE_LIMITED),
    *(
        Case(
            f"error is {flag!r}, words beside it",
            200,
            {"error": flag, "message": "Rate limit exceeded"},
            K.RATE_LIMITED,
        )
        for flag in _FLAGS
    ),
    Case("error is a status", 200, {"error": 429}, K.RATE_LIMITED),
    Case("a code and no choices", 200, {"object": "chat.completion", "choices": [], "code": 429}, K.RATE_LIMITED),
    Case("a code's name alone", 200, {"code": "RateLimitExceeded", "message": "?"}, K.RATE_LIMITED),
    Case("a number that is also GLM's", 200, {"code": 1001, "msg": "Internal error", "data": None}, K.UNAVAILABLE),
    Case("oauth", 200, {"error": "invalid_token", "error_description": "The access token expired"}, K.AUTH),
    Case(
        "fault",
        429,
        {
            "fault": {
                "faultstring": "Rate limit quota violation",
                "detail": {"errorcode": "policies.ratelimit.QuotaViolation"},
            }
        },
        K.RATE_LIMITED,
    ),
]

ANTHROPICS: list[Case] = [
    Case("anthropic overloaded", 529, _OVERLOADED, K.OVERLOADED),
    Case("anthropic overloaded under 200", 200, _OVERLOADED, K.OVERLOADED, says="Overloaded"),
    Case(
        "anthropic in raw",
        502,
        _raw(502, _text(_OVERLOADED), "Anthropic"),
        K.OVERLOADED,
        extras={"provider": "Anthropic"},
    ),
    Case("azure", 400, _FILTERED, K.CONTENT_POLICY, extras={"code": "content_filter"}),
    Case("azure in raw", 400, _raw(400, _text(_FILTERED), "Azure"), K.CONTENT_POLICY),
    Case(
        "azure's deployment",
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist"}},
        K.NOT_FOUND,
        extras={"harmless": False},
    ),
    Case(
        "azure waits",
        429,
        {"error": {"code": "429", "message": "Please retry after 26 seconds."}},
        K.RATE_LIMITED,
        extras={"retry_after": 26.0},
    ),
]

BEDROCKS: list[Case] = [
    Case(
        "bedrock",
        429,
        {"__type": "ThrottlingException", "message": "Too many tokens, please wait before trying again."},
        K.RATE_LIMITED,
    ),
    Case(
        "bedrock under 200",
        200,
        {"__type": "com.amazon.coral.service#ThrottlingException", "message": "x"},
        K.RATE_LIMITED,
    ),
    Case(
        "bedrock in a stream",
        200,
        {"modelStreamErrorException": {"message": "died", "originalStatusCode": 500}},
        K.UNAVAILABLE,
    ),
    Case(
        "bedrock throttled in a stream", 200, {"throttlingException": {"message": "slow"}}, K.RATE_LIMITED, says="slow"
    ),
    Case(
        "bedrock invalid in a stream",
        200,
        {"validationException": {"message": "Input is too long for requested model."}},
        K.CONTEXT_TOO_LONG,
    ),
    Case(
        "bedrock's header",
        400,
        {"message": "x"},
        K.RATE_LIMITED,
        headers={"x-amzn-errortype": "ThrottlingException:http://internal.amazon.com/"},
    ),
    Case("bedrock's model failed", 424, {"message": "The model failed"}, K.UNAVAILABLE),
    Case("bedrock not ready", 429, {"__type": "ModelNotReadyException", "message": "not ready"}, K.OVERLOADED),
    Case(
        "bedrock in raw",
        500,
        _raw(500, _text({"__type": "ThrottlingException", "message": "x"}), "Amazon"),
        K.RATE_LIMITED,
    ),
]

PAGES: list[Case] = [
    Case("nginx", 502, _NGINX, K.UNAVAILABLE, says="502 Bad Gateway"),
    Case("cloudflare 521", 521, _CLOUDFLARE, K.UNAVAILABLE, says="521: Web server is down"),
    Case("cloudflare 524", 524, b"error code: 524", K.TIMED_OUT, says="error code: 524"),
    Case("cloudflare 1015", 429, b"error code: 1015", K.RATE_LIMITED),
    Case("cloudflare 1015 as 403", 403, b"error code: 1015", K.RATE_LIMITED),
    Case("cloudflare 1020", 403, b"error code: 1020", K.FORBIDDEN),
    Case(
        "aws load balancer",
        503,
        b"<html><head><title>503 Service Temporarily Unavailable</title></head></html>",
        K.OVERLOADED,
    ),
    Case(
        "envoy",
        503,
        b"upstream connect error or disconnect/reset before headers. reset reason: connection failure",
        K.OVERLOADED,
    ),
    Case("envoy, nobody", 503, b"no healthy upstream", K.OVERLOADED),
    Case(
        "vercel",
        504,
        b"An error occurred with your deployment\n\nFUNCTION_INVOCATION_TIMEOUT\n\nfra1::x",
        K.TIMED_OUT,
        says="FUNCTION_INVOCATION_TIMEOUT",
    ),
    Case("vercel's object", 402, {"error": {"code": "402", "message": "DEPLOYMENT_DISABLED"}}, K.CREDITS),
    Case(
        "a wrong base_url",
        404,
        b"<html><head><title>404 Not Found</title></head></html>",
        K.NOT_FOUND,
        extras={"harmless": True},
    ),
    Case("a wrong base_url, text", 404, b"404 page not found", K.NOT_FOUND, extras={"harmless": True}),
    Case("a wrong base_url, fastapi", 404, {"detail": "Not Found"}, K.NOT_FOUND, extras={"harmless": True}),
    Case("a wrong base_url, nothing", 404, b"", K.NOT_FOUND, extras={"harmless": True}),
    Case(
        "a wrong base_url, anthropic's",
        404,
        {"type": "error", "error": {"type": "not_found_error", "message": "Not found"}},
        K.NOT_FOUND,
        extras={"harmless": True},
    ),
    Case(
        "a model",
        404,
        {"error": {"message": "The model `x` does not exist", "code": "model_not_found"}},
        K.NOT_FOUND,
        extras={"harmless": False},
    ),
    Case(
        "a model in words",
        404,
        error("No endpoints found for acme/nope-1.", 404),
        K.NOT_FOUND,
        extras={"harmless": False},
    ),
]

_FREE = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
_AFFORD = "This request requires more credits, or fewer max_tokens. You want {} tokens, but can only afford {}."
CREDITS: list[Case] = [
    Case(
        "an empty account",
        402,
        error("Insufficient credits. Add more using https://openrouter.ai/credits", 402),
        K.CREDITS,
        extras={"scope": "account", "affordable_tokens": None},
    ),
    Case(
        "an account that was stopped",
        429,
        error("Your account is not active, please check your billing", 429),
        K.CREDITS,
    ),
    Case(
        "affordable",
        402,
        error(_AFFORD.format(65536, 3919), 402, provider_name=None),
        K.CREDITS,
        extras={"scope": None, "affordable_tokens": 3919},
    ),
    Case("affordable, none", 402, error(_AFFORD.format(32000, 0), 402), K.CREDITS, extras={"affordable_tokens": 0}),
    Case(
        "affordable, older words",
        402,
        error("More credits are required to run this request. 128000 token capacity required, 19484 available.", 402),
        K.CREDITS,
        extras={"affordable_tokens": 19484},
    ),
    Case(
        "the prompt alone",
        402,
        error("Prompt tokens limit exceeded: 230799 > 91442.", 402),
        K.CREDITS,
        extras={"scope": None, "affordable_tokens": None},
    ),
    Case(
        "free",
        429,
        error(_FREE, 429, headers={"X-RateLimit-Reset": str(int((NOW + 3600) * 1000)), "X-RateLimit-Remaining": "0"}),
        K.RATE_LIMITED,
        extras={"scope": "free", "retry_after": 3600.0},
    ),
    Case(
        "free per minute",
        429,
        error("Rate limit exceeded: free-models-per-min.", 429),
        K.RATE_LIMITED,
        extras={"scope": "free"},
    ),
    Case(
        "free of a provider",
        429,
        error("x is temporarily rate-limited upstream", 429, provider_name="V"),
        K.RATE_LIMITED,
        extras={"scope": None},
    ),
]

WAITS: list[Case] = [
    Case(
        "retry-after-ms",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"retry-after-ms": "1500", "retry-after": "2"},
        extras={"retry_after": 1.5},
    ),
    Case(
        "retry-after as a duration",
        503,
        b"",
        K.OVERLOADED,
        headers={"retry-after": "1m30s"},
        extras={"retry_after": 90.0},
    ),
    Case(
        "openai's resets",
        429,
        b"",
        K.RATE_LIMITED,
        headers={
            "x-ratelimit-reset-requests": "1s",
            "x-ratelimit-remaining-requests": "9",
            "x-ratelimit-reset-tokens": "6m0s",
            "x-ratelimit-remaining-tokens": "0",
        },
        extras={"retry_after": 360.0},
    ),
    Case(
        "anthropic's reset",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"anthropic-ratelimit-requests-reset": "2026-08-06T07:07:10Z"},
        extras={"retry_after": 30.0},
    ),
    Case(
        "ietf's draft",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"ratelimit": "limit=10, remaining=0, reset=30"},
        extras={"retry_after": 30.0},
    ),
    Case(
        "ietf's later draft",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"ratelimit": '"default";r=0;t=30'},
        extras={"retry_after": 30.0},
    ),
    Case("x-retry-after", 429, b"", K.RATE_LIMITED, headers={"x-retry-after": "9"}, extras={"retry_after": 9.0}),
    *(
        Case(f"the body says: {orjson.dumps(body).decode()}", 429, body, K.RATE_LIMITED, extras={"retry_after": wait})
        for body, wait in (
            ({"error": {"message": "x", "details": {"retry_after": 4}}}, 4.0),
            ({"error": "x", "parameters": {"retry_after": 2}}, 2.0),
            ({"error": "loading", "estimated_time": 20.5}, 20.5),
            ({"error": {"message": "x", "data": {"retryAfter": 6}}}, 6.0),
            ({"error": {"message": "x", "resets_at": NOW + 50}}, 50.0),
            ({"error": {"message": "x", "retryAfterSec": 8}}, 8.0),
            ({"error": {"message": "x", "retry_after_secs": "9s"}}, 9.0),
            ({"error": {"message": "x", "rate_limit": {"reset": NOW + 40}}}, 40.0),
            ({"error": {"message": "x", "details": [{"metadata": {"quotaResetDelay": "1h2m3s"}}]}}, 3723.0),
            ({"error": {"message": "x", "next_retry_at": "2026-08-06T07:07:10Z"}}, 30.0),
            ({"error": {"message": "x", "reset_at": "2026-08-06T07:07:10Z"}}, 30.0),
            (
                {"error": {"message": "x", "details": [{"metadata": {"quotaResetTimeStamp": "2026-08-06T07:07:10Z"}}]}},
                30.0,
            ),
        )
    ),
    Case("ietf's reset", 429, b"", K.RATE_LIMITED, headers={"ratelimit-reset": "30"}, extras={"retry_after": 30.0}),
    Case(
        "github's reset",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"x-rate-limit-reset": str(int(NOW + 30))},
        extras={"retry_after": 30.0},
    ),
    *(
        Case(
            f"retry-after: {given}",
            429,
            b"",
            K.RATE_LIMITED,
            headers={"retry-after": given},
            extras={"retry_after": wait},
        )
        for given, wait in {
            "7.5": 7.5,
            " 7 ": 7.0,
            '"7"': 7.0,
            "7 seconds": 7.0,
            "2 minutes": 120.0,
            "PT1M30S": 90.0,
            "P1DT1H": 90_000.0,
            "00:00:30": 30.0,
            "7, 7": 7.0,
            "-1": 0.0,
            str(int(NOW + 30)): 30.0,
            str(int((NOW + 30) * 1000)): 30.0,
            "2026-08-06T07:07:10Z": 30.0,
            "Thu Aug 06 2026 07:07:10 GMT+0000 (Coordinated Universal Time)": 30.0,
            "Thu, 06 Aug 2026 07:00:00 GMT": 0.0,
            "0x10": None,
            "inf": None,
            "nan": None,
        }.items()
    ),
    Case(
        "a reset in milliseconds",
        429,
        b"",
        K.RATE_LIMITED,
        headers={"x-rate-limit-reset-ms": "500"},
        extras={"retry_after": 0.5},
    ),
    Case(
        "cerebras",
        429,
        b"",
        K.RATE_LIMITED,
        headers={
            "x-ratelimit-reset-requests-day": "33011.5",
            "x-ratelimit-remaining-requests-day": "0",
            "x-ratelimit-reset-tokens-minute": "11.5",
            "x-ratelimit-remaining-tokens-minute": "100",
        },
        extras={"retry_after": 33011.5},
    ),
    Case("absurd", 429, b"", K.RATE_LIMITED, headers={"retry-after": "99999999999"}, extras={"retry_after": None}),
    Case(
        "unreadable, then the body",
        429,
        {"error": {"message": "x", "retry_after": 4}},
        K.RATE_LIMITED,
        headers={"retry-after": "soon"},
        extras={"retry_after": 4.0},
    ),
    Case(
        "a date",
        503,
        {"error": {"message": "x"}},
        K.OVERLOADED,
        headers={"retry-after": IN_30_SECONDS},
        extras={"retry_after": 30.0},
    ),
    *(
        Case(f"says: {says}", 429, error(says, 429), K.RATE_LIMITED, extras={"retry_after": wait})
        for says, wait in {
            "Rate limit reached. Please try again in 20s.": 20.0,
            "Please try again in 1m30s. Visit https://platform.openai.com": 90.0,
            "Please try again in 6m0s": 360.0,
            "Please try again in 7.66s. Need more tokens?": 7.66,
            "Please try again in 250ms.": 0.25,
            "Please retry after 26 seconds.": 26.0,
            "Please retry after 26": 26.0,
            "Try again in 20 seconds": 20.0,
            "Please retry in 38.540s.": 38.54,
            "Please wait 2 minutes and try again": 120.0,
            "Try again in 1 hour and 5 minutes": 3900.0,
            "Your limit resets in 2h": 7200.0,
            "Try again at 2026-08-06T07:07:10Z": 30.0,
            "Your quota will reset at 2026-08-06 07:07:10": 30.0,
            "retry_after: 20": 20.0,
            "slow down (retry-after=20)": 20.0,
            "Please slow down; next request allowed in 3 seconds": 3.0,
            "Please retry your requests after 60 seconds": 60.0,
            "请求过于频繁，请在 20 秒后重试": 20.0,
            "请 2 分钟后重试": 120.0,
            "请在60s后重试": 60.0,
            "Please try again in 00:00:30": 30.0,
            "cooldown: 10s": 10.0,
            "retry_delay { seconds: 38 }": 38.0,
            'got "retryDelay": "38s"': 38.0,
            "Next request in 5 seconds": 5.0,
            "Try again at Thu, 06 Aug 2026 07:07:10 GMT": 30.0,
            "Request was throttled. Expected available in 57 seconds.": 57.0,
            "Rate limit of 10 per 60 seconds exceeded": None,
            "Too many requests: 60 requests per minute": None,
            "Model gpt-2024-01-01 is limited": None,
            "Please try again later": None,
            "Limit 30000, Requested 132819": None,
        }.items()
    ),
]

SHOULD_RETRY: list[Case] = [
    Case(
        "should retry a conflict", 409, b"", K.UNAVAILABLE, headers={"x-should-retry": "true"}, extras={"retry": True}
    ),
    Case("should retry a refusal", 400, error("no", 400), K.UNAVAILABLE, headers={"x-should-retry": "true"}),
    Case(
        "should not retry",
        500,
        error("no", 500),
        K.UNAVAILABLE,
        headers={"x-should-retry": "false"},
        extras={"retry": False},
    ),
]

SHAPES = [*GOOGLES, *WITHOUT_ERROR, *ANTHROPICS, *BEDROCKS, *PAGES, *CREDITS, *WAITS, *SHOULD_RETRY]
