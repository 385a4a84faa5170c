"""The signs of each kind of failure: statuses, codes, types and transport faults. Tables only.

A row names the server that sends the sign, and the source: documentation, or a public thread (`owner/repo#n`).
The patterns for messages are in `wordings.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from .kinds import FailureKind, TransportFault

_K = FailureKind
_T = TransportFault


@dataclass(frozen=True, slots=True)
class Sign:
    """One row: from `server`, `pattern` (a code in lower case, or a regular expression) means `kind`."""

    kind: FailureKind
    pattern: str
    server: str
    source: str


OPENROUTER: Final = "https://openrouter.ai/docs/api-reference/errors"
OPENAI: Final = "https://platform.openai.com/docs/guides/error-codes"
AZURE: Final = "https://learn.microsoft.com/azure/ai-foundry/openai/concepts/content-filter"
ANTHROPIC: Final = "https://docs.anthropic.com/en/api/errors"
BEDROCK: Final = (
    "https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModelWithResponseStream.html"
)
GOOGLE: Final = "https://cloud.google.com/apis/design/errors"
DASHSCOPE: Final = "https://www.alibabacloud.com/help/en/model-studio/error-code"
MOONSHOT: Final = "https://platform.moonshot.ai/docs/api/errors"
ZHIPU: Final = "https://docs.z.ai/api-reference/api-code"
MINIMAX: Final = "https://platform.minimax.io/docs/api-reference/errorcode"
BAIDU: Final = "https://cloud.baidu.com/doc/WENXINWORKSHOP/s/tlmyncueh"
GROQ: Final = "https://console.groq.com/docs/errors"
TGI: Final = "https://huggingface.co/docs/text-generation-inference/messages_api"


def _signs(server: str, source: str, rows: Mapping[FailureKind, Iterable[str]]) -> tuple[Sign, ...]:
    return tuple(Sign(kind, name, server, source) for kind, names in rows.items() for name in names)


def words(kind: FailureKind, *rows: tuple[str, str, str]) -> tuple[Sign, ...]:
    """Rows of one kind: server, pattern, source."""
    return tuple(Sign(kind, pattern, server, source) for server, pattern, source in rows)


def _lookup(signs: Iterable[Sign]) -> Mapping[str, FailureKind]:
    return {sign.pattern: sign.kind for sign in signs}


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
    _T.NO_FINISH: (_K.BAD_ANSWER, "the answer stopped without a finish reason"),
    _T.WRONG_CONTENT_TYPE: (_K.BAD_ANSWER, "the answer has an unexpected content type"),
    _T.POOL_EXHAUSTED: (_K.LOCAL, "no free connection in the pool"),
    _T.NO_FILES: (_K.LOCAL, "too many open files"),
    _T.LOOP_CLOSED: (_K.LOCAL, "the event loop is closed"),
    _T.OUR_BUG: (_K.LOCAL, "internal error"),
}

AVAILABILITY_SIGNS: Final = _signs(
    "OpenRouter, `error.availability.code`",
    OPENROUTER,
    {
        _K.NOT_FOUND: (
            "model_not_found",
            "wrong_endpoint",
            "no_endpoints",
            "model_deprecated",
            "model_unavailable_upstream",
            "free_variant_ended",
        ),
        _K.OVERLOADED: ("capacity_exhausted", "temporarily_unavailable"),
        _K.FORBIDDEN: ("region_restricted", "privacy_restricted"),
        _K.UNSUPPORTED: ("constraint_filtered",),
    },
)
AVAILABILITY: Final = _lookup(AVAILABILITY_SIGNS)

# `unmapped` is not in the table: the status decides.
ERROR_TYPE_SIGNS: Final = _signs(
    "OpenRouter, `error_type`",
    OPENROUTER,
    {
        _K.CONTEXT_TOO_LONG: (
            "context_length_exceeded",
            "max_tokens_exceeded",
            "token_limit_exceeded",
            "string_too_long",
        ),
        _K.AUTH: ("authentication",),
        _K.CREDITS: ("payment_required",),
        _K.FORBIDDEN: ("permission_denied",),
        _K.RATE_LIMITED: ("rate_limit_exceeded",),
        _K.OVERLOADED: ("provider_overloaded",),
        _K.UNAVAILABLE: ("provider_unavailable", "server"),
        _K.TIMED_OUT: ("timeout",),
        _K.INVALID_REQUEST: (
            "invalid_request",
            "invalid_prompt",
            "precondition_failed",
            "payload_too_large",
            "unprocessable",
        ),
        _K.NOT_FOUND: ("not_found",),
        _K.CONTENT_POLICY: ("content_policy_violation", "refusal"),
        _K.UNSUPPORTED: ("invalid_image", "unsupported_image_format"),
    },
)
ERROR_TYPES: Final = _lookup(ERROR_TYPE_SIGNS)
IMAGE_TYPES: Final = "image_"

# Values of `code` or `type` of other servers that are more specific than the status.
FOREIGN_CODE_SIGNS: Final = (
    *_signs(
        "OpenAI",
        OPENAI,
        {
            _K.AUTH: ("invalid_api_key", "incorrect_api_key"),
            _K.CREDITS: ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active"),
            _K.CONTENT_POLICY: ("content_filter", "moderation_blocked", "cyber_policy_violation"),
            _K.NOT_FOUND: ("model_not_found",),
            _K.FORBIDDEN: ("unsupported_country_region_territory",),
            _K.REJECTED: (
                "string_above_max_length",
                "array_above_max_length",
                "integer_above_max_value",
                "integer_below_min_value",
                "decimal_above_max_value",
                "decimal_below_min_value",
                "unknown_parameter",
                "invalid_encrypted_content",
                "previous_response_not_found",
            ),
            _K.UNSUPPORTED: (
                "unsupported_value",
                "unsupported_parameter",
                "unsupported_file",
                "image_parse_error",
                "invalid_image_format",
            ),
        },
    ),
    *_signs(
        "Azure",
        AZURE,
        {
            _K.CONTENT_POLICY: ("responsibleaipolicyviolation", "content_management_policy"),
            _K.NOT_FOUND: ("deploymentnotfound", "unknown_model", "unavailable_model"),
            _K.OVERLOADED: ("nocapacity", "servicenotready"),
        },
    ),
    *_signs("GitHub Models", "aider-ai/aider#2296", {_K.CONTEXT_TOO_LONG: ("tokens_limit_reached",)}),
    *_signs(
        "GitHub Copilot",
        "microsoft/copilot-intellij-feedback#94",
        {_K.CONTEXT_TOO_LONG: ("model_max_prompt_tokens_exceeded",)},
    ),
    *_signs("llama.cpp", "ggml-org/llama.cpp#15780", {_K.CONTEXT_TOO_LONG: ("exceed_context_size_error",)}),
    *_signs(
        "LiteLLM",
        "https://docs.litellm.ai/docs/exception_mapping",
        {
            _K.CONTEXT_TOO_LONG: ("contextwindowexceedederror", "context_window_exceeded"),
            _K.CONTENT_POLICY: ("contentpolicyviolationerror",),
        },
    ),
    *_signs("Replicate", "https://replicate.com/docs/reference/error-codes", {_K.CONTEXT_TOO_LONG: ("prompttoolong",)}),
    *_signs(
        "Bedrock",
        BEDROCK,
        {
            _K.RATE_LIMITED: ("throttlingexception", "toomanyrequestsexception", "servicequotaexceededexception"),
            _K.OVERLOADED: ("modelnotreadyexception", "serviceunavailableexception"),
            _K.TIMED_OUT: ("modeltimeoutexception",),
            _K.UNAVAILABLE: (
                "modelerrorexception",
                "modelstreamerrorexception",
                "internalserverexception",
                "internalfailure",
            ),
            _K.AUTH: (
                "expiredtokenexception",
                "unrecognizedclientexception",
                "invalidsignatureexception",
                "missingauthenticationtokenexception",
            ),
        },
    ),
    *_signs(
        "Google",
        GOOGLE,
        {
            _K.AUTH: ("api_key_invalid", "api_key_expired", "access_token_expired"),
            _K.CONTENT_POLICY: ("prohibited_content", "blocklist", "image_safety"),
        },
    ),
    *_signs(
        "DashScope",
        DASHSCOPE,
        {
            _K.CONTENT_POLICY: ("data_inspection_failed", "datainspectionfailed"),
            _K.RATE_LIMITED: (
                "throttling",
                "throttling.ratequota",
                "throttling.allocationquota",
                "limitrequests",
                "limit_requests",
                "limit_burst_rate",
            ),
            _K.CREDITS: ("arrearage", "allocationquota.freetieronly"),
            _K.AUTH: ("invalidapikey",),
            _K.NOT_FOUND: ("modelnotfound", "model_not_exist"),
            _K.OVERLOADED: ("modelservingerror",),
        },
    ),
    *_signs(
        "Moonshot",
        MOONSHOT,
        {
            _K.AUTH: ("invalid_authentication_error", "incorrect_api_key_error"),
            _K.CREDITS: ("exceeded_current_quota_error",),
            _K.RATE_LIMITED: ("rate_limit_reached_error",),
            _K.OVERLOADED: ("engine_overloaded_error",),
        },
    ),
    *_signs(
        "MiniMax",
        MINIMAX,
        {_K.CONTENT_POLICY: ("new_sensitive", "input_new_sensitive", "output_new_sensitive")},
    ),
    *_signs(
        "Volcengine Ark",
        "https://www.volcengine.com/docs/82379/1299023",
        {
            _K.CONTENT_POLICY: ("sensitivecontentdetected", "inputtextsensitivecontentdetected"),
            _K.RATE_LIMITED: ("ratelimitexceeded.endpointrpmexceeded", "ratelimitexceeded.endpointtpmexceeded"),
            _K.OVERLOADED: ("serveroverloaded",),
            _K.CREDITS: ("accountoverdueerror",),
            _K.NOT_FOUND: ("invalidendpointormodel.notfound",),
        },
    ),
    *_signs(
        "Groq",
        GROQ,
        {
            _K.BAD_ANSWER: ("tool_use_failed", "json_validate_failed", "output_parse_failed"),
            _K.OVERLOADED: ("capacity_exceeded",),
            _K.NOT_FOUND: ("model_decommissioned",),
        },
    ),
    *_signs(
        "TGI",
        TGI,
        {_K.OVERLOADED: ("overloaded",), _K.UNAVAILABLE: ("generation", "incomplete_generation")},
    ),
    *_signs(
        "Cerebras, Together, Fireworks",
        "https://docs.together.ai/docs/error-codes",
        {
            _K.RATE_LIMITED: ("too_many_requests_error", "token_quota_exceeded", "request_quota_exceeded"),
            _K.OVERLOADED: ("queue_exceeded", "engine_overloaded"),
        },
    ),
    *_signs(
        "any",
        "https://api-docs.deepseek.com/quick_start/error_codes",
        {_K.CREDITS: ("insufficient_balance", "insufficient_credits", "insufficient_funds")},
    ),
)
FOREIGN_CODES: Final = _lookup(FOREIGN_CODE_SIGNS)

# Values of `code` or `type` of other servers that are no more specific than a status. Used if there is no status.
FOREIGN_TYPE_SIGNS: Final = (
    *_signs(
        "Anthropic, OpenAI",
        ANTHROPIC,
        {
            _K.INVALID_REQUEST: ("invalid_request_error", "request_too_large"),
            _K.AUTH: ("authentication_error",),
            _K.CREDITS: ("billing_error",),
            _K.FORBIDDEN: ("permission_error",),
            _K.NOT_FOUND: ("not_found_error",),
            _K.RATE_LIMITED: ("rate_limit_error", "too_many_requests", "requests", "tokens"),
            _K.TIMED_OUT: ("timeout_error",),
            _K.OVERLOADED: ("overloaded_error",),
            _K.UNAVAILABLE: ("api_error", "server_error", "internal_error", "internal_server_error", "upstream_error"),
        },
    ),
    *_signs(
        "Google",
        GOOGLE,
        {
            _K.INVALID_REQUEST: ("invalid_argument", "failed_precondition", "out_of_range"),
            _K.AUTH: ("unauthenticated",),
            _K.RATE_LIMITED: ("resource_exhausted",),
            _K.UNAVAILABLE: ("internal", "aborted", "cancelled", "data_loss", "unknown"),
            _K.OVERLOADED: ("unavailable",),
            _K.TIMED_OUT: ("deadline_exceeded",),
        },
    ),
    *_signs(
        "Bedrock",
        BEDROCK,
        {
            _K.INVALID_REQUEST: ("validationexception",),
            _K.FORBIDDEN: ("accessdeniedexception",),
            _K.NOT_FOUND: ("resourcenotfoundexception",),
        },
    ),
    *_signs(
        "vLLM, SGLang, LM Studio",
        "vllm-project/vllm#36197",
        {
            _K.INVALID_REQUEST: ("badrequesterror", "bad_request", "validation"),
            _K.NOT_FOUND: ("notfounderror",),
            _K.AUTH: ("unauthorized", "unauthorizederror"),
            _K.UNAVAILABLE: ("internalservererror", "internalerror"),
            _K.OVERLOADED: ("service_unavailable", "serviceunavailableerror"),
            _K.TIMED_OUT: ("gateway_timeout",),
        },
    ),
    *_signs(
        "OAuth 2.0",
        "https://www.rfc-editor.org/rfc/rfc6750#section-3.1",
        {_K.AUTH: ("invalid_token", "invalid_client", "unauthorized_client", "expired_token")},
    ),
)
FOREIGN_TYPES: Final = _lookup(FOREIGN_TYPE_SIGNS)

# Numeric codes of servers with their own numbering, by the field that contains them. `code` is a string here.
NUMBER_SIGNS: Final[Mapping[str, tuple[Sign, ...]]] = {
    "code": _signs(
        "SiliconFlow",
        "https://docs.siliconflow.com/en/faqs/error-code",
        {_K.CREDITS: ("30001",), _K.OVERLOADED: ("50505",), _K.UNSUPPORTED: ("20037",), _K.NOT_FOUND: ("20012",)},
    )
    + _signs(
        "GLM",
        ZHIPU,
        {
            _K.AUTH: ("1000", "1001", "1002", "1003", "1004"),
            _K.CREDITS: ("1110", "1111", "1112", "1113"),
            _K.NOT_FOUND: ("1211",),
            _K.CONTEXT_TOO_LONG: ("1261",),
            _K.CONTENT_POLICY: ("1301",),
            _K.RATE_LIMITED: ("1302", "1303", "1304", "1308", "1313"),
            _K.OVERLOADED: ("1305", "1312"),
        },
    ),
    "base_resp": _signs(
        "MiniMax",
        MINIMAX,
        {
            _K.UNAVAILABLE: ("1000", "1013", "1024", "1033"),
            _K.TIMED_OUT: ("1001",),
            _K.RATE_LIMITED: ("1002", "1039", "1041", "2045", "2056"),
            _K.AUTH: ("1004", "2049"),
            _K.CREDITS: ("1008",),
            _K.CONTENT_POLICY: ("1026", "1027", "1042"),
            _K.INVALID_REQUEST: ("2013",),
        },
    ),
    "error_code": _signs(
        "ERNIE",
        BAIDU,
        {
            _K.RATE_LIMITED: ("4", "18", "336501", "336502"),
            _K.CREDITS: ("17", "19"),
            _K.AUTH: ("13", "14", "15", "110", "111"),
            _K.OVERLOADED: ("336100",),
            _K.UNAVAILABLE: ("1", "2", "336000"),
            _K.CONTEXT_TOO_LONG: ("336007", "336103", "336104"),
        },
    ),
}
NUMBERS: Final = {place: _lookup(signs) for place, signs in NUMBER_SIGNS.items()}

# Every other 5xx is unavailable, every other 4xx and any 3xx invalid_request.
STATUSES: Final[Mapping[int, FailureKind]] = {
    401: _K.AUTH,
    402: _K.CREDITS,
    403: _K.FORBIDDEN,
    404: _K.NOT_FOUND,
    408: _K.TIMED_OUT,
    409: _K.UNAVAILABLE,  # as in the openai SDK: a conflict is temporary
    410: _K.NOT_FOUND,
    420: _K.RATE_LIMITED,
    424: _K.UNAVAILABLE,  # Bedrock's and TGI's: the model failed
    425: _K.UNAVAILABLE,
    429: _K.RATE_LIMITED,
    498: _K.OVERLOADED,  # Groq's flex tier
    499: _K.UNAVAILABLE,  # the upstream's own client disconnected
    503: _K.OVERLOADED,
    504: _K.TIMED_OUT,
    524: _K.TIMED_OUT,
    529: _K.OVERLOADED,
}
RETRYABLE: Final = frozenset({_K.RATE_LIMITED, _K.OVERLOADED, _K.UNAVAILABLE, _K.TIMED_OUT})

REFUSALS: Final = frozenset({_K.INVALID_REQUEST, _K.AUTH, _K.FORBIDDEN})
# Kinds that a provider's message may give to its refusal. A missing model or feature is not among them: it concerns
# only this provider, so the refusal becomes `rejected`.
STANDS: Final = frozenset(
    {_K.CONTEXT_TOO_LONG, _K.CONTENT_POLICY, _K.MODERATION, _K.GUARDRAIL, _K.BAD_ANSWER} | RETRYABLE
)
# Kinds that an upstream's own code may give to an error that OpenRouter, or a proxy, has passed on.
UPSTREAMS: Final = frozenset({_K.CONTEXT_TOO_LONG, _K.CONTENT_POLICY, _K.BAD_ANSWER} | RETRYABLE - {_K.UNAVAILABLE})
# Kinds that `x-should-retry: true` changes to `unavailable`.
NOT_FINAL: Final = frozenset({_K.INVALID_REQUEST, _K.REJECTED, _K.AUTH, _K.FORBIDDEN, _K.NOT_FOUND})
SILENT: Final = frozenset({_K.MODERATION, _K.GUARDRAIL})  # kinds whose `raw` may quote the prompt
