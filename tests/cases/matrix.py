"""The fault matrix: every way in which the first model of a chain can fail while the second is healthy.

A row says what the emulator does, and what must come of it on every surface. With `text_first` a stream has delivered
text when the fault strikes and is interrupted; a call that is not streamed starts over with the second model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from openrouter_fallback import (
    AllModelsFailedError,
    AuthenticationError,
    ContentPolicyError,
    ContextLengthError,
    FallbackError,
    InsufficientCreditsError,
    InvalidRequestError,
    PermissionDeniedError,
    RateLimitedError,
    StreamInterruptedError,
)
from openrouter_fallback.failures.kinds import FailureKind as K

FIRST = "openai/gpt-5.1"
SECOND = "anthropic/claude-sonnet-4.5"
ELSEWHERE = f"elsewhere:{SECOND}"
"""The second model behind another endpoint with another key."""
NOWHERE = f"nowhere:{FIRST}"
"""The first model behind an endpoint that refuses connections."""

FIRST_TEXT = "The first model has begun to say something that nobody may ever hear as an answer."
SECOND_TEXT = "Whole, from the second: “naïve” 東京 👩‍🚀 e\u0301 — one two three four five six seven."
SECOND_CALL = {"name": "look_up", "arguments": {"query": "the second's own"}, "id": "call_second"}
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}


@dataclass(frozen=True, slots=True)
class Case:
    """One row.

    `kind` is that of the first model's attempts (None: it answers, after attempts of the kinds `before`), `asked` how
    many requests it gets; one that it refuses for a parameter of ours is sent again without, and is no attempt.
    `params` are the call's. `raises` instead
    of the second's answer. `text_first`: text may reach a streaming caller before the fault; then `interrupted` is
    raised. `everywhere`: the second has the same fault and gets `asked_second` requests. `hasty`: deadlines are short.
    `only_streamed`: the row means something else where the model is not asked to stream. `answer`: fields of the
    first's own answer where that is good. `no_arguments`: its call says that it has none; a tool that needs one is not
    run, and the model is told so.
    """

    fault: str
    kind: K | None
    asked: int = 1
    details: Mapping[str, Any] = field(default_factory=dict)
    raises: type[FallbackError] | None = None
    text_first: bool = False
    interrupted: type[FallbackError] = StreamInterruptedError
    everywhere: bool = False
    asked_second: int = 1
    hasty: bool = False
    only_streamed: bool = False
    tools: bool = False
    first: str = FIRST
    second: str = SECOND
    answer: Mapping[str, Any] = field(default_factory=dict)
    no_arguments: bool = False
    params: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[K, ...] = ()

    @property
    def id(self) -> str:
        details = ",".join(f"{key}={value}" for key, value in self.details.items())
        where = f"@{self.first.partition(':')[0]}" if ":" in self.first else ""
        behind = f"+{self.second.partition(':')[0]}" if ":" in self.second else ""
        everyone = "-for-all" if self.everywhere else ""
        given = "".join(f"-{name}={value}" for name, value in self.params.items())
        return f"{self.fault}{where}{behind}{everyone}{given}{f'[{details}]' if details else ''}"


# fault, kind, requests to the first model, what is raised (None: the second answers)
_ERRORS: tuple[tuple[str, K, int, type[FallbackError] | None], ...] = (
    ("context_length_exceeded", K.CONTEXT_TOO_LONG, 1, None),
    ("max_tokens_exceeded", K.CONTEXT_TOO_LONG, 1, None),
    ("token_limit_exceeded", K.CONTEXT_TOO_LONG, 1, None),
    ("string_too_long", K.CONTEXT_TOO_LONG, 1, None),
    ("authentication", K.AUTH, 1, AuthenticationError),
    ("payment_required", K.CREDITS, 1, InsufficientCreditsError),
    ("permission_denied", K.FORBIDDEN, 1, None),
    ("rate_limit_exceeded", K.RATE_LIMITED, 1, None),
    ("provider_overloaded", K.OVERLOADED, 1, None),
    ("provider_unavailable", K.UNAVAILABLE, 2, None),
    ("timeout", K.TIMED_OUT, 1, None),
    ("invalid_request", K.INVALID_REQUEST, 1, InvalidRequestError),
    ("invalid_prompt", K.INVALID_REQUEST, 1, InvalidRequestError),
    ("not_found", K.NOT_FOUND, 1, None),
    ("precondition_failed", K.INVALID_REQUEST, 1, InvalidRequestError),
    ("payload_too_large", K.INVALID_REQUEST, 1, InvalidRequestError),
    ("unprocessable", K.INVALID_REQUEST, 1, InvalidRequestError),
    ("content_policy_violation", K.CONTENT_POLICY, 1, ContentPolicyError),
    ("refusal", K.CONTENT_POLICY, 1, ContentPolicyError),
    ("invalid_image", K.UNSUPPORTED, 1, None),
    ("image_too_large", K.UNSUPPORTED, 1, None),
    ("image_too_small", K.UNSUPPORTED, 1, None),
    ("unsupported_image_format", K.UNSUPPORTED, 1, None),
    ("image_not_found", K.UNSUPPORTED, 1, None),
    ("image_download_failed", K.UNSUPPORTED, 1, None),
    ("server", K.UNAVAILABLE, 2, None),
    ("unmapped", K.UNAVAILABLE, 2, None),
    ("request_timeout", K.TIMED_OUT, 1, None),
    ("edge_timeout", K.TIMED_OUT, 1, None),
    ("overloaded", K.OVERLOADED, 1, None),
    ("model_not_found", K.NOT_FOUND, 1, None),
    ("wrong_endpoint", K.NOT_FOUND, 1, None),
    ("no_endpoints", K.NOT_FOUND, 1, None),
    ("model_deprecated", K.NOT_FOUND, 1, None),
    ("model_unavailable_upstream", K.NOT_FOUND, 1, None),
    ("capacity_exhausted", K.OVERLOADED, 1, None),
    ("temporarily_unavailable", K.OVERLOADED, 1, None),
    ("region_restricted", K.FORBIDDEN, 1, None),
    ("privacy_restricted", K.FORBIDDEN, 1, None),
    ("constraint_filtered", K.UNSUPPORTED, 1, None),
    ("free_variant_ended", K.NOT_FOUND, 1, None),
    ("moderation", K.MODERATION, 1, None),
    ("guardrail", K.GUARDRAIL, 1, PermissionDeniedError),
    ("rejected", K.REJECTED, 1, None),
    ("no_tool_support", K.UNSUPPORTED, 1, None),
    ("http", K.UNAVAILABLE, 2, None),
)
_ROWS = {fault: (kind, asked, raises) for fault, kind, asked, raises in _ERRORS}

# Those whose every place on the wire is a row of its own.
_EVERYWHERE_ON_THE_WIRE = (
    "authentication",
    "capacity_exhausted",
    "content_policy_violation",
    "context_length_exceeded",
    "guardrail",
    "invalid_request",
    "model_not_found",
    "moderation",
    "payment_required",
    "provider_unavailable",
    "rate_limit_exceeded",
    "rejected",
    "server",
    "timeout",
)
# Text has been delivered, so nothing may start over; who forbids the content keeps its own class.
_KEEPS_ITS_CLASS = {K.CONTENT_POLICY: ContentPolicyError}


def _error(fault: str, **details: Any) -> Case:
    kind, asked, raises = _ROWS[fault]
    return Case(
        fault,
        kind,
        asked,
        details,
        raises,
        text_first=bool(details.get("after_tokens")),
        interrupted=_KEEPS_ITS_CLASS.get(kind, StreamInterruptedError),
    )


_IN_OTHER_PLACES = (
    *(_error(fault, place=place) for fault in _EVERYWHERE_ON_THE_WIRE for place in ("body", "choice", "sse")),
    *(_error(fault, place=place, after_tokens=4) for fault in _EVERYWHERE_ON_THE_WIRE for place in ("choice", "sse")),
    _error("provider_overloaded", place="body", choices_null=True),
    _error("server", place="sse", done=True),
    _error("model_deprecated", direct=True),
    Case("http", K.OVERLOADED, details={"status": 599, "message": "Overloaded", "error_type": "provider_overloaded"}),
    Case("http", K.UNAVAILABLE, 2, {"status": 500, "body": "<html>not JSON at all"}),
    Case("http", K.RATE_LIMITED, details={"status": 429, "body": ""}),
)

_LATE = {"after_tokens": 5}
_AT_ONCE = {"after_tokens": 0}
_NASTY = (
    Case("silence", K.TIMED_OUT, hasty=True),
    Case("no_response", K.TIMED_OUT, hasty=True),
    Case("stall", K.TIMED_OUT, details=_AT_ONCE, hasty=True),
    Case("stall", K.TIMED_OUT, details=_LATE, hasty=True, text_first=True),
    Case("stall_dead", K.TIMED_OUT, details=_LATE, hasty=True, text_first=True),
    Case("slow", K.TIMED_OUT, details={"delay": 30.0}, hasty=True),
    Case("truncated", K.BAD_ANSWER, details=_AT_ONCE),
    Case("truncated", K.BAD_ANSWER, details=_LATE, text_first=True),
    Case("cut", K.BAD_ANSWER, details=_AT_ONCE),
    Case("cut", K.BAD_ANSWER, details=_LATE, text_first=True),
    Case("reset", K.CONNECTION, 2),
    Case("reset_mid", K.BAD_ANSWER, details=_LATE, text_first=True),
    Case("empty", K.BAD_ANSWER),
    Case("empty", K.BAD_ANSWER, details={"content": None}),
    Case("reasoning_only", K.BAD_ANSWER),
    Case("no_choices", K.BAD_ANSWER),
    Case("no_choices", K.BAD_ANSWER, details={"choices": []}),
    Case("bad_json", K.BAD_ANSWER, details=_AT_ONCE),
    Case("bad_json", K.BAD_ANSWER, details=_LATE, text_first=True),
    Case("bad_json", K.BAD_ANSWER, details={"data": "[1, 2]", "after_tokens": 0}),
    Case("html", K.BAD_ANSWER),
    Case("html", K.UNAVAILABLE, 2, {"status": 502}),
    Case("oversized", K.BAD_ANSWER, details={"size": 33 * 2**20}, only_streamed=True),
    Case("content_filter", K.CONTENT_POLICY, details=_AT_ONCE, raises=ContentPolicyError),
    Case(
        "content_filter",
        K.CONTENT_POLICY,
        details=_LATE,
        raises=ContentPolicyError,
        text_first=True,
        interrupted=ContentPolicyError,
    ),
    Case("redirect", K.INVALID_REQUEST, raises=InvalidRequestError),
    Case("cut_tool_call", K.BAD_ANSWER, details={"end": "silent"}, tools=True),
    Case("cut_tool_call", K.BAD_ANSWER, details={"end": "finish"}, tools=True),
    Case("tool_call_no_finish", K.BAD_ANSWER, tools=True),
    Case("no_tool_support", K.UNSUPPORTED, tools=True),
)

_GOOD_AFTER_ALL = (
    Case("cut_tool_call", None, details={"end": "length"}, tools=True, answer={"text": "", "finish_reason": "length"}),
    Case("whitespace", None, details={"seconds_before": 0.05}),
    Case("slow", None, details={"delay": 0.02}),
    Case("no_done", None),
    Case("silence_after_finish", None, only_streamed=True),
    Case("error_after_finish", None, answer={"finish_reason": "length"}),
    Case("error_after_finish", None, details={"finish": "stop"}),
    Case("oversized", None, answer={"text": "x" * 2**21}),
)

_ELSEWHERE = (
    Case("authentication", K.AUTH, second=ELSEWHERE),
    Case("payment_required", K.CREDITS, second=ELSEWHERE),
    Case("refused", K.CONNECTION, 0, first=NOWHERE),
)

_NEEDS_MORE = "This request requires more credits, or fewer max_tokens. It needs 900 tokens, but can only afford 9."
_FOR_ALL = (
    Case("authentication", K.AUTH, raises=AuthenticationError, everywhere=True, asked_second=0),
    Case("payment_required", K.CREDITS, raises=InsufficientCreditsError, everywhere=True, asked_second=0),
    Case(
        "payment_required",
        K.CREDITS,
        details={"message": _NEEDS_MORE},
        raises=InsufficientCreditsError,
        everywhere=True,
    ),
    Case(
        "rate_limit_exceeded",
        K.RATE_LIMITED,
        2,
        details={"retry_after": 400},
        raises=RateLimitedError,
        everywhere=True,
        asked_second=2,
    ),
    Case("context_length_exceeded", K.CONTEXT_TOO_LONG, raises=ContextLengthError, everywhere=True),
    Case("rejected", K.REJECTED, raises=InvalidRequestError, everywhere=True),
    Case("moderation", K.MODERATION, raises=ContentPolicyError, everywhere=True),
    Case("region_restricted", K.FORBIDDEN, raises=PermissionDeniedError, everywhere=True),
    Case("not_found", K.NOT_FOUND, raises=AllModelsFailedError, everywhere=True),
    Case("server", K.UNAVAILABLE, 2, raises=AllModelsFailedError, everywhere=True, asked_second=2),
    Case("provider_overloaded", K.OVERLOADED, 2, raises=AllModelsFailedError, everywhere=True, asked_second=2),
    Case("empty", K.BAD_ANSWER, 2, raises=AllModelsFailedError, everywhere=True, asked_second=2),
)

# As the world sends them: good answers oddly told, bad ones that look good, refusals in many servers' words.
_ODDLY_TOLD = (
    *("finish_in_every_chunk", "finish_in_each_call", "names_repeated"),
    *("name_grows", "empty_arguments_first", "arguments_repeated"),
    *("object_arguments", "usage_null", "usage_absurd", "usage_other_names", "byok"),
    # These refuse only what the request does not have.
    *("max_tokens_too_large", "tool_choice_refused", "free_limit"),
)
_WORLD = (
    *(Case(fault, None) for fault in _ODDLY_TOLD),
    Case("finish_abort", K.UNAVAILABLE, 2, details=_AT_ONCE),
    *(Case(fault, K.BAD_ANSWER) for fault in ("malformed_function_call", "calls_without_call")),
    *(
        Case(f"overflow_{server}", K.CONTEXT_TOO_LONG)
        for server in ("anthropic", "google", "llama_cpp", "mistral", "openai", "vllm")
    ),
    *(
        Case(fault, K.RATE_LIMITED)
        for fault in (
            "retry_info",
            "retry_after_ms",
            "retry_in_words",
            "error_without_key",
            "errors_list",
            "google_error",
        )
    ),
    *(Case(fault, None) for fault in ("malformed_delta", "logprobs_number", "comment_as_data")),
    Case("name_in_two_parts", None),  # agents: their tool runs once
    Case("null_arguments", None, no_arguments=True),
    Case("finish_abort", K.UNAVAILABLE, 2, details=_LATE, text_first=True),
    Case("length_empty", K.BAD_ANSWER),
    Case("white_space_only", K.BAD_ANSWER),
    Case("finish_null", None, params={"max_tokens": 4000}, answer={"finish_reason": "length"}),
    Case("finish_null", K.BAD_ANSWER, details=_LATE, text_first=True),
    Case("cannot_afford", None, 2, before=(K.CREDITS,)),
    Case("cannot_afford", K.CREDITS, params={"max_tokens": 4000}),
    Case("stream_options_refused", None, 2, only_streamed=True),
    Case("choice_error_beside_stop", K.UNAVAILABLE, 2, _AT_ONCE),
    Case("choice_error_beside_stop", K.UNAVAILABLE, 2, _LATE, text_first=True),
    *(Case(f"overflow_{server}", K.CONTEXT_TOO_LONG) for server in ("moonshot", "xai")),
    *(Case(fault, K.REJECTED) for fault in ("id_too_long", "item_not_found")),
    Case("usage_guidelines", K.CONTENT_POLICY, raises=ContentPolicyError),
    Case("error_string", K.OVERLOADED),
    Case("detail_error", K.OVERLOADED),
    Case("cloudflare_error", K.UNAVAILABLE, 2),
)

CASES = (
    *(_error(fault) for fault in _ROWS),
    *_IN_OTHER_PLACES,
    *_NASTY,
    *_GOOD_AFTER_ALL,
    *_WORLD,
    *_ELSEWHERE,
    *_FOR_ALL,
)
