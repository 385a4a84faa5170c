"""Refusals and errors in the wordings and shapes of many servers. Another model would answer most of the requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from ..answers.chunks import event
from .errors import Details
from .kind import Kind
from .plan import JSON, SSE, Plan, Scene, Send, healthy, partly

_JSON = dict[str, Any]


def _plan(status: int, body: Any, headers: Mapping[str, str] | None = None, media_type: str = JSON) -> Plan:
    raw = body.encode() if isinstance(body, str) else orjson.dumps(body)
    return Plan([Send(raw)], status=status, headers=headers or {}, media_type=media_type)


def _openrouter(status: int, message: str, metadata: _JSON | None = None) -> _JSON:
    error: _JSON = {"code": status, "message": message}
    return {"error": {**error, "metadata": metadata} if metadata else error}


def _raw(scene: Scene, status: int, raw: Any) -> _JSON:
    """OpenRouter's error with a provider's own body in `metadata.raw`."""
    text = raw if isinstance(raw, str) else orjson.dumps(raw).decode()
    metadata = {"raw": text, "provider_name": scene.served.host.name}
    return _openrouter(status, "Provider returned error", metadata)


def _provider(status: int, raw: Any) -> Callable[[Scene, Details], Plan]:
    return lambda scene, details: _plan(status, _raw(scene, status, raw))


def _overflow(status: int, raw: Any) -> Callable[[Scene, Details], Plan]:
    """A context overflow as OpenRouter passes it on; with the detail `direct`, as the server itself sends it."""

    def plan(scene: Scene, details: Details) -> Plan:
        return _plan(status, raw if details["direct"] else _raw(scene, status, raw))

    return plan


def _openais(message: str, code: str | None = None, param: str | None = None) -> _JSON:
    return {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


_OVERFLOWS: Mapping[str, tuple[int, Any, str]] = {
    "anthropic": (
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "prompt is too long: 208310 tokens > 200000 maximum",
            },
        },
        "Anthropic's API",
    ),
    "google": (
        400,
        {
            "error": {
                "code": 400,
                "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).",
                "status": "INVALID_ARGUMENT",
            }
        },
        "Google's API",
    ),
    "llama_cpp": (
        400,
        {
            "error": {
                "code": 400,
                "message": "the request exceeds the available context size, try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 9000,
                "n_ctx": 8192,
            }
        },
        "llama.cpp, server",
    ),
    "mistral": (
        400,
        {
            "object": "error",
            "message": "Prompt contains 140000 tokens and 0 draft tokens, too large for model with 131072 maximum "
            "context length",
            "type": "invalid_request_error",
            "param": None,
            "code": "3051",
        },
        "Mistral's API",
    ),
    "moonshot": (
        400,
        _openais("Invalid request: Your request exceeded model token limit: 262144 (requested: 270000)"),
        "kimi-code#207",
    ),
    "openai": (
        400,
        _openais(
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130000 tokens. "
            "Please reduce the length of the messages.",
            "context_length_exceeded",
            "messages",
        ),
        "OpenAI's API",
    ),
    "vllm": (
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 8192 tokens. However, you requested 9000 tokens in the "
            "messages, Please reduce the length of the messages.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        "vLLM, server",
    ),
    "xai": (
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "This model's maximum prompt length is 131072 but the request contains 140000 tokens.",
        },
        "grok2api#693",
    ),
}


def _parameter_refused(scene: Scene, details: Details) -> Plan:
    name = details["parameter"]
    if scene.request.get(name) is None:
        return healthy(scene)
    what = {"type": "extra_forbidden", "loc": ["body", name], "msg": "Extra inputs are not permitted"}
    return _plan(details["status"], {"detail": [{**what, "input": scene.request[name]}]})


def _tool_choice_refused(scene: Scene, details: Details) -> Plan:
    if scene.request.get("tool_choice") in (None, "auto"):
        return healthy(scene)
    message = (
        "No endpoints found that support the provided 'tool_choice' value. To learn more about provider routing, "
        "visit: https://openrouter.ai/docs/provider-routing"
    )
    return _plan(404, _openrouter(404, message))


def _max_tokens_too_large(scene: Scene, details: Details) -> Plan:
    wanted = scene.request.get("max_completion_tokens") or scene.request.get("max_tokens")
    if wanted is None or wanted <= details["most"]:
        return healthy(scene)
    words = f"max_tokens is too large: {wanted}. This model supports at most {details['most']} completion tokens"
    return _plan(
        400, _raw(scene, 400, _openais(f"{words}, whereas you provided {wanted}.", "invalid_value", "max_tokens"))
    )


def _cannot_afford(scene: Scene, details: Details) -> Plan:
    wanted = scene.request.get("max_completion_tokens") or scene.request.get("max_tokens") or details["requested"]
    if wanted <= details["affordable"]:
        return healthy(scene)
    message = (
        f"This request requires more credits, or fewer max_tokens. You requested up to {wanted} tokens, but can only "
        f"afford {details['affordable']}. To increase, visit https://openrouter.ai/settings/credits and upgrade to a "
        "paid account"
    )
    return _plan(402, _openrouter(402, message, {"provider_name": None}))


def _free_limit(scene: Scene, details: Details) -> Plan:
    if not scene.request["model"].endswith(":free"):
        return healthy(scene)
    headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(details["reset_ms"])}
    message = "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"
    return _plan(429, _openrouter(429, message, {"headers": headers, "provider_name": None}), headers)


def _google_429(seconds: float) -> _JSON:
    retry = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:g}s"}
    message = "You exceeded your current quota, please check your plan and billing details."
    return {"error": {"code": 429, "message": message, "status": "RESOURCE_EXHAUSTED", "details": [retry]}}


def _retry_info(scene: Scene, details: Details) -> Plan:
    return _plan(429, _raw(scene, 429, _google_429(details["wait"])))


def _retry_after_ms(scene: Scene, details: Details) -> Plan:
    body = _openrouter(429, "Rate limit exceeded")
    return _plan(429, body, {"retry-after-ms": str(round(details["wait"] * 1000))})


def _retry_in_words(scene: Scene, details: Details) -> Plan:
    words = f"Rate limit reached for tokens per min. Please try again in {details['wait']:g}s."
    return _plan(429, _raw(scene, 429, _openais(words, "rate_limit_exceeded")))


def _odd(body: Callable[[Details], Any], *, named: bool = False) -> Callable[[Scene, Details], Plan]:
    """An error without OpenRouter's `error`: as a status, or (`place`) as an event after some tokens."""

    def plan(scene: Scene, details: Details) -> Plan:
        found = body(details)
        if details["place"] == "status" or not scene.stream:
            return _plan(details["status"], found)
        data = (b"event: error\n" if named else b"") + event(found)
        return Plan([*partly(scene, details["after_tokens"]), Send(data)], media_type=SSE)

    return plan


def _cloudflare(scene: Scene, details: Details) -> Plan:
    return _plan(details["status"], f"error code: {details['status']}", media_type="text/plain; charset=UTF-8")


def _odd_details(status: int, message: str) -> _JSON:
    return {"status": status, "message": message, "place": "status", "after_tokens": 0}


_PLACES = {"place": ("status", "sse")}

REFUSALS: dict[str, Kind] = {
    **{
        f"overflow_{name}": Kind(
            "The context overflows, in these words" + (" (`direct`: without OpenRouter around them)."),
            _overflow(status, raw),
            {"direct": False},
            source=source,
        )
        for name, (status, raw, source) in _OVERFLOWS.items()
    },
    "id_too_long": Kind(
        "400: a tool call's id is too long. (The message resembles a context overflow.)",
        _provider(
            400,
            _openais(
                "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40, "
                "but got a string with length 46 instead.",
                "string_above_max_length",
                "messages[1].tool_calls[0].id",
            ),
        ),
        source="litellm#17343",
    ),
    "max_tokens_too_large": Kind(
        "400 if `max_tokens` is above `most`, the model's own limit; else healthy.",
        _max_tokens_too_large,
        {"most": 4096},
        source="Roo-Code#5729, freellmapi#980",
    ),
    "stream_options_refused": Kind(
        "422 if the request has the `parameter`; else healthy.",
        _parameter_refused,
        {"parameter": "stream_options", "status": 422},
        source="avante.nvim#2347, cline#582",
    ),
    "tool_choice_refused": Kind(
        "404 if the request has a `tool_choice` other than `auto`; else healthy.",
        _tool_choice_refused,
        source="zed#36094",
    ),
    "item_not_found": Kind(
        "404 about an item of the request (`rs_...`), not about the model.",
        _provider(
            404,
            _openais(
                "Item with id 'rs_0f' not found. Items are not persisted when `store` is set to false. Try again with "
                "`store` set to true, or remove this item from your input.",
                None,
                "input",
            ),
        ),
        source="langchain#37777",
    ),
    "usage_guidelines": Kind(
        "403: the content violates usage guidelines.",
        _provider(
            403,
            {
                "code": "The caller does not have permission to execute the specified operation",
                "error": "Content violates usage guidelines.",
            },
        ),
        source="recordings of xAI",
    ),
    "cannot_afford": Kind(
        "402 if the request wants more than `affordable` tokens (without `max_tokens`: `requested`); else healthy.",
        _cannot_afford,
        {"affordable": 2666, "requested": 64_000},
        source="openclaude#1263, gsd-2#4092",
    ),
    "free_limit": Kind(
        "429 at every `:free` model: the account's free requests of the day are used up; other models are healthy.",
        _free_limit,
        {"reset_ms": 4_102_444_800_000},
        source="cline#5301, openclaude#936",
    ),
    "retry_info": Kind(
        "429 with the time to wait in `metadata.raw`: Google's `RetryInfo.retryDelay`.",
        _retry_info,
        {"wait": 20},
        source="Roo-Code#2118, langchain-google#946",
    ),
    "retry_after_ms": Kind(
        "429 with the time to wait in the header `retry-after-ms`.",
        _retry_after_ms,
        {"wait": 20},
        source="openai-python's clients",
    ),
    "retry_in_words": Kind(
        "429 with the time to wait in its message: `try again in 20s`.",
        _retry_in_words,
        {"wait": 20},
        source="langchain-google#946",
    ),
    "error_without_key": Kind(
        "An error without `error`: `{code, message}`; in a stream as `event: error`.",
        _odd(lambda details: {"code": details["status"], "message": details["message"]}, named=True),
        _odd_details(429, "Too many requests"),
        _PLACES,
        source="llm-gateway#2053",
    ),
    "error_string": Kind(
        "An error that is a string: `{error: ...}`.",
        _odd(lambda details: {"error": details["message"]}),
        _odd_details(503, "The server is overloaded"),
        _PLACES,
        source="proxies and local servers",
    ),
    "detail_error": Kind(
        "An error of FastAPI: `{detail: ...}`.",
        _odd(lambda details: {"detail": details["message"]}),
        _odd_details(503, "Service Unavailable"),
        _PLACES,
        source="FastAPI's servers",
    ),
    "errors_list": Kind(
        "A list of errors: `{success, errors: [{code, message}]}`.",
        _odd(
            lambda details: {
                "success": False,
                "errors": [{"code": details["status"], "message": details["message"]}],
                "result": None,
            }
        ),
        _odd_details(429, "Capacity temporarily exceeded, please try again."),
        _PLACES,
        source="Cloudflare's API",
    ),
    "google_error": Kind(
        "Google's error as a list: `[{error: {code, message, status, details}}]`.",
        _odd(lambda details: [_google_429(details["wait"])]),
        {**_odd_details(429, ""), "wait": 20},
        _PLACES,
        source="gemini-cli#17208",
    ),
    "cloudflare_error": Kind(
        "An error of Cloudflare's edge: `error code: 520` as plain text.",
        _cloudflare,
        {"status": 520},
        source="Cloudflare, 5xx errors",
    ),
}
"""Refusals by their names."""
