r"""The signs of each kind of failure in messages: tables of patterns with their sources.

Servers may change their messages at any time, so each row names its source. The first matching row decides. Every
pattern matches in linear time: no unbounded repetition is inside another repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .kinds import FailureKind
from .overflows import OVERFLOWS, OVERFLOWS_OF_ANY
from .signs import BEDROCK, DASHSCOPE, OPENAI, OPENROUTER, ZHIPU, Sign, words

_K = FailureKind

# A short field is too long (an id, a name, a tag), not the context. Another model may accept the field.
SHORT_FIELDS: Final = words(
    _K.REJECTED,
    (
        "OpenAI",
        r"(\b|_)(id|name|metadata|description|user|key|stop|identifier|url)s?[\w.\[\]]*['\"`]?:? string (is )?too long",
        "langmanus/langmanus#119",
    ),
    ("OpenAI", r"string too long\..{0,40}maximum length \d{1,4}\b", "vercel/ai#8132"),
    ("pydantic", r"string should have at most \d{1,4} characters", "https://docs.pydantic.dev/latest/errors"),
    ("any", r"tool[_ ]?call[_ ]?id.{0,60}(must|should|invalid|not match|expected|length)", "vercel/ai#5171"),
    (
        "Gemini, OpenAI",
        r"(function|tool) ?_?name.{0,60}(invalid|must (be|start|match)|pattern)",
        "langchain-ai/langgraph#248",
    ),
    ("any", r"\bname['\"`]?: string does not match pattern", "langchain-ai/langgraph#248"),
    ("any", r"\b(tool|function)( |s\b).{0,20}description (is )?too long", OPENAI),
)

# A limit of this model. Another model may not have the limit.
LIMITS: Final = (
    *words(
        _K.REJECTED,
        (
            "OpenAI",
            r"max_(completion_|output_|new_)?tokens['\"`]?( value)? is too large"
            r"|supports at most \d+ (completion|output)",
            "RooCodeInc/Roo-Code#5729",
        ),
        ("Anthropic", r"max_tokens: \d+ > \d+|maximum allowed number of output tokens", "RooCodeInc/Roo-Code#5729"),
        (
            "Groq",
            r"max_(completion_)?tokens.{0,60}must be (less than or equal to|<=|at most|between|in the range)",
            "anomalyco/opencode#1000",
        ),
        ("DashScope", r"range of max_(completion_)?tokens should be", DASHSCOPE),
        ("DeepSeek", r"valid range of max_tokens is", "https://api-docs.deepseek.com/quick_start/error_codes"),
        ("Google", r"\w+ value of -?[\d.]+ but the supported range is", "continuedev/continue#7849"),
        ("Bedrock", r"maximum tokens you requested exceeds the model limit", BEDROCK),
        (
            "any",
            r"(max_?(completion_?|output_?|new_?)?tokens|max ?tokens|output tokens).{0,60}"
            r"(exceed|larger|greater|too (large|high|big)|maximum (allowed|value)|cannot be|should be (less|at most))",
            "tashfeenahmed/freellmapi#980",
        ),
        ("OpenAI", r"\barray too long\b|must contain the word .?json", "reVrost/go-openrouter#21"),
        (
            "OpenAI, llama.cpp",
            r"invalid schema for (function|response_format|tool)"
            r"|(failed to \w+|invalid|unsupported) (the )?(grammar|samplers?)\b",
            "prism-php/prism#813",
        ),
        (
            "any",
            r"maximum number of (images|files|tools|documents|videos|pages)|too many pages"
            r"|\b(file|audio|video|pdf|document)( size)? (is )?too (large|long|big)",
            "https://docs.anthropic.com/en/docs/build-with-claude/pdf-support",
        ),
        (
            "vLLM",
            r"only supports? (a )?single tool|supports? at most \d+ (image|tool|file|audio|video)",
            "diegosouzapw/OmniRoute#3044",
        ),
        (
            "Anthropic",
            r"maximum of \d+ blocks with cache_control",
            "https://docs.anthropic.com/en/docs/build-with-claude/prompt-caching",
        ),
        (
            "Anthropic",
            r"`?temperature`? and `?top_p`? cannot both"
            r"|(temperature|top_p|top_k)['\"`]? (is deprecated|may only be set)"
            r"|thinking may not be enabled|greater than .{0,3}thinking\.budget",
            "https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking",
        ),
        (
            "any",
            r"tool[ _]?choice.{0,40}must be",
            "https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking",
        ),
        (
            "Google, Copilot",
            r"more than \d+ (tools|functions)|number of (tools|functions) exceeds"
            r"|at most \d+ (function|tool)"
            r"|maximum of \d+ (tools|functions|images|messages)|too many (tools|functions)|too many states for serving",
            "google-gemini/gemini-cli#19083",
        ),
        (
            "vLLM, Gemini",
            r"too many (images|image_urls|files|documents)|at most [1-9]\d* (image|audio|video|file)"
            r"|image exceeds \d"
            r"|image (count|dimensions?|size)s?.{0,60}(exceed|limit|max)"
            r"|(images|pages).{0,40}(max(imum)?( allowed)? (is|of)|exceeds? the)",
            "quantumnous/new-api#1233",
        ),
        (
            "any",
            r"(number of |too many )?stop (sequences|words).{0,60}(at most|exceed|maximum|no more|up to)"
            r"|too many stop sequences|at most \d+ (stop|items)",
            "continuedev/continue#7849",
        ),
        (
            "any",
            r"(temperature|top_p|top_k|penalty|seed|min_p|logprobs|reasoning_effort|\bn)['\"`]?\b.{0,60}"
            r"(must be|should be|range|between|less than|greater than|at most|not in)",
            OPENAI,
        ),
        (
            "Anthropic, OpenAI",
            r"(schema|tool schema|\$ref|oneof|anyof|additionalproperties|recursive).{0,80}"
            r"(too (deep|large|complex|many)|not permitted|is required to be|exceed|must be)",
            "https://platform.openai.com/docs/guides/structured-outputs",
        ),
    ),
    *words(
        _K.UNSUPPORTED,
        (
            "vLLM",
            r"at most 0 (image|audio|video|file)|is not a multimodal model",
            "https://docs.vllm.ai/en/latest/features/multimodal_inputs.html",
        ),
        (
            "vLLM",
            r"requires --enable-auto-tool-choice|--tool-call-parser to be set",
            "https://docs.vllm.ai/en/latest/features/tool_calling.html",
        ),
        (
            "llama.cpp",
            r"(tools|tool_choice) param requires --jinja|requires --jinja",
            "https://github.com/ggml-org/llama.cpp/blob/master/docs/function-calling.md",
        ),
        ("OpenAI", r"only the default \(.{0,10}\) value is supported|supported values are|only one choice", OPENAI),
        (
            "any",
            r"content\[?\]? ?type.{0,40}(must be|expected).{0,20}text|only text (content|input)",
            "https://api-docs.deepseek.com",
        ),
        ("serde", r"unknown variant .?(image_url|input_audio|file)", "https://serde.rs"),
        (
            "OpenRouter, Google",
            r"(reasoning|thinking) is (mandatory|required)|only works in thinking mode|budget -?\d+ is invalid",
            "https://openrouter.ai/docs/use-cases/reasoning-tokens",
        ),
    ),
)

MAX_TOKENS: Final = frozenset(sign.pattern for sign in LIMITS if "tokens" in sign.pattern)
"""The patterns of LIMITS that concern the longest answer: the model's own limit, not its context."""

# A field that the server does not know. Another server may know the field.
UNKNOWN_FIELDS: Final = words(
    _K.REJECTED,
    ("OpenAI", r"(unrecognized|unknown|unexpected) (request )?(argument|parameter|field|key|property|name)", OPENAI),
    ("pydantic", r"extra (inputs|fields) (are )?not permitted|extra_forbidden", "avante-corp/avante.nvim#2347"),
    (
        "Groq, JSON schema",
        r"property '[\w.]+' is unsupported|additional propert(y|ies).{0,30}not allowed",
        "cline/cline#582",
    ),
    ("Bedrock", r"extraneous key|malformed input request", "anthropics/anthropic-sdk-python#739"),
    ("Python", r"unexpected keyword argument", "https://docs.python.org/3/library/exceptions.html#TypeError"),
)

# Parts of the history that this provider refuses because another provider wrote them.
HISTORIES: Final = words(
    _K.REJECTED,
    ("OpenAI", r"\bitem (with id )?['\"`]?(rs|msg|fc|ws|item)_\w*", "langchain-ai/langchain#37777"),
    ("OpenAI", r"encrypted[ _]content|invalid_encrypted_content", "openai/codex#3573"),
    ("Gemini", r"thought_?signature", "https://ai.google.dev/gemini-api/docs/thought-signatures"),
    (
        "Anthropic",
        r"expected .?(thinking|redacted_thinking)|invalid .?signature.? in .?thinking"
        r"|thinking.{0,30}blocks? (cannot|must)",
        "https://docs.anthropic.com/en/docs/build-with-claude/extended-thinking",
    ),
    (
        "Kimi, DeepSeek",
        r"reasoning_content.{0,60}(missing|must be|required|passed back|not allowed)",
        "gptme/gptme#1187",
    ),
    (
        "Anthropic, Mistral",
        r"tool_use.{0,60}without.{0,20}tool_result|unexpected .?tool_use_id|does not support assistant message prefill"
        r"|conversation must end with a user|roles must alternate|expected last role|unexpected role"
        r"|ending with an assistant message",
        "https://docs.anthropic.com/en/api/errors",
    ),
    (
        "Anthropic",
        r"(content blocks|messages?).{0,20}must (be|have) non-empty|cannot end with trailing whitespace",
        "https://docs.anthropic.com/en/api/errors",
    ),
    (
        "Google",
        r"function call turn|number of function response parts"
        r"|contents(\.parts)?:? (must not be empty|is not specified)",
        "https://ai.google.dev/gemini-api/docs/function-calling",
    ),
    (
        "Mistral, DashScope",
        r"same number of function calls and responses|assistant messages at the end of the list"
        r"|prefill is incompatible",
        "https://docs.mistral.ai",
    ),
    (
        "templates of local servers",
        r"jinja exception|system message must be (at|the) |only one system message|after the optional system message"
        r"|conversation roles must|only (system|user).{0,40}roles are supported"
        r"|error rendering (the )?(prompt|template)",
        "https://github.com/ggml-org/llama.cpp/blob/master/docs/function-calling.md",
    ),
)

# The model has written what its server cannot read: its own failure.
MALFORMED: Final = words(
    _K.BAD_ANSWER,
    (
        "Groq, llama.cpp",
        r"failed_generation|tool call validation failed|failed to (call a function|generate json|parse tool call)"
        r"|failed to parse input at pos",
        "https://console.groq.com/docs/tool-use",
    ),
)

# A refused item or value of the request. The refusal is not about the model.
ITEMS: Final = (
    *HISTORIES,
    *words(
        _K.REJECTED,
        (
            "OpenAI",
            r"\b(item|response|file|thread|conversation|vector[ _]store|assistant|container|run|batch|cached ?content"
            r"|prompt|message|image|document|tool|tool_?call)s?\b( object| template)?( with)?( id)?:? ?"
            r"['\"`]?[\w./:-]{0,100}"
            r"['\"`]? ?(is |was |has |could )?"
            r"(not found|do(es)? not exist|not be found|not exist|no longer exist|expired)",
            "langchain-ai/langchain#37777",
        ),
        ("any", r"no (such )?(tool|function|file|item|response|tool output|tool call)s? .{0,60}found", OPENAI),
    ),
)

POLICIES: Final = words(
    _K.CONTENT_POLICY,
    ("Azure", r"content management polic|responsibleaipolicy", "https://learn.microsoft.com/azure/ai-foundry/openai"),
    (
        "xAI",
        r"violat\w+ .{0,30}(guidelines|polic|terms of use)|policy violation|safety_check_type",
        "UKGovernmentBEIS/inspect_ai#2267",
    ),
    ("OpenAI", r"content polic|usage polic|safety system|content[ _]filter|limited access to this content", OPENAI),
    (
        "Anthropic",
        r"blocked by content filtering|acceptable use polic|violate our usage",
        "https://docs.anthropic.com/en/api/errors",
    ),
    (
        "Google",
        r"prohibited_content|(refused|blocked|stopped|rejected).{0,30}(safety|recitation)|block_?reason|prompt_blocked",
        "linyqh/NarratoAI#100",
    ),
    ("any", r"sensitive (content|words?|information)|unsafe content|high-risk (cyber|activity)", ZHIPU),
    ("DashScope", r"data_?inspection_?failed|inappropriate content", DASHSCOPE),
    ("DeepSeek", r"content exists? risk", "deepseek-ai/awesome-deepseek-integration#13"),
    ("MiniMax", r"\bnew_sensitive\b|(input|output) (content )?(is )?sensitive", "https://platform.minimax.io/docs"),
    ("Moonshot", r"request was rejected because it was considered high risk", "https://platform.moonshot.ai/docs"),
    ("GLM, in Chinese", r"敏感(内容|词|信息)|不安全|违规|内容审核|安全审核", ZHIPU),
    ("Bedrock", r"blocked by (the |our )?content filters|considered (unsafe|harmful)", BEDROCK),
)

# The endpoint does not have the model.
BAD_IDS: Final = words(
    _K.NOT_FOUND,
    ("OpenRouter", r"not a valid model\b|no endpoints found for|unknown model", OPENROUTER),
    (
        "OpenAI, vLLM",
        r"(?<!this )\bmodels?\b[^,;]{0,100}?\b(not found|does not exist|doesn't exist|is deprecated|not exist\b"
        r"|decommissioned"
        r"|no longer available|has been (removed|retired|deprecated|shut down))",
        OPENAI,
    ),
    ("Google", r"models/[\w.-]+ is not found|publisher model .{0,120}not found", "https://ai.google.dev/api/models"),
    ("Bedrock", r"(model identifier|modelid).{0,40}(is )?invalid|resolve the foundation model", BEDROCK),
    ("Azure", r"deployment for this resource does not exist", "https://learn.microsoft.com/azure/ai-foundry/openai"),
    (
        "any",
        r"\bmodel ['\"`]?[\w./:@-]{1,100}['\"`]? is not (available|supported)|unsupported model\b|model_not_found"
        r"|(could not find|there is no|cannot find) (the )?model\b",
        OPENAI,
    ),
    (
        "any",
        r"no such model|model not (supported|available|loaded)\b|invalid model( name| id)?\b",
        "https://github.com/ollama/ollama",
    ),
    ("Ollama", r"try pulling it first", "https://github.com/ollama/ollama"),
    ("in Chinese", r"模型.{0,10}不存在", ZHIPU),
)

NO_SUPPORT: Final = words(
    _K.UNSUPPORTED,
    (
        "OpenRouter",
        r"(that|which) (support|can handle)|no allowed providers|all providers have been ignored",
        OPENROUTER,
    ),
    (
        "any",
        r"(does ?n.t|does not|do not|not) support|(is|are)? ?not supported"
        r"|unsupported (value|parameter|image|content|feature|keyword)",
        "zed-industries/zed#36094",
    ),
    ("Google", r"\b(is|are) (not enabled|unsupported)\b", "https://ai.google.dev/gemini-api/docs/models"),
)
_PRIVACY: Final = r"data polic|privacy|paid model training"
_REGION: Final = r"user location is not supported|not (available|supported) in your (country|region)|country, region"
_GUARDRAIL: Final = r"(?<!your )guardrail|prompt injection|request blocked"
_MODERATION: Final = r"moderation|\bflagged\b"
_PER_TIME: Final = (
    r"too many tokens,? (please )?wait|tokens per (min|day|hour|second)|\bTP[MD]\b|requests per (min|day)"
)
_LIMITED: Final = (
    r"rate[- _]?limit|too many requests|quota|\bthrottl|resource (has been |is )?exhausted|(concurrency|usage) limit"
)
_EMPTY: Final = (
    r"insufficient (account )?(balance|credits?|funds)|credit balance is too low|used all available credits"
    r"|(monthly )?spending limit|insufficient_quota|account is not active"
    r"|account .{0,40}(suspended|overdue|in arrears)|out of credits|余额不足|欠费"
)
_KEY: Final = (
    r"api[ -_]?key (is )?(not valid|invalid|expired|missing|not found|incorrect)|invalid (authentication|token)"
    r"|(invalid|incorrect|missing|no|disabled|expired) (auth )?api[ -]?key"
)
_FULL: Final = (
    r"overload|at capacity|capacity exhausted|temporarily unavailable|no instances|try again later|no healthy upstream"
    r"|no available (server|channel|worker|replica|instance)|model is (currently )?(loading|starting|busy|warming)"
    r"|server (is )?busy|high (demand|traffic|load)|insufficient capacity|engine is (busy|not ready)|系统繁忙|负载"
)
_UNLOADED: Final = (
    r"model (was |is |has been )?(unloaded|crashed)|(failed|unable) to load( the)? model|model has crashed"
)
_SLOW: Final = r"timed? ?-?out|deadline exceeded|took too long"


def _any(kind: FailureKind, pattern: str) -> tuple[Sign, ...]:
    return words(kind, ("any", pattern, OPENROUTER))


# By the kind from the status or the code: the patterns that refine the kind. The first match decides.
REFINEMENTS: Final[Mapping[FailureKind, tuple[Sign, ...]]] = {
    _K.NOT_FOUND: (*_any(_K.FORBIDDEN, f"{_PRIVACY}|{_REGION}"), *OVERFLOWS, *ITEMS, *BAD_IDS, *NO_SUPPORT),
    _K.INVALID_REQUEST: (
        *_any(_K.RATE_LIMITED, _PER_TIME),
        *SHORT_FIELDS,
        *OVERFLOWS,
        *MALFORMED,
        *LIMITS,
        *HISTORIES,
        *UNKNOWN_FIELDS,
        *OVERFLOWS_OF_ANY,
        *ITEMS,
        *POLICIES,
        *_any(_K.CONTENT_POLICY, r"\b(input|prompt|content|text|request)\b.{0,20}\bflagged\b"),
        *BAD_IDS,
        *_any(_K.CREDITS, _EMPTY),
        *_any(_K.AUTH, _KEY),
        *_any(_K.FORBIDDEN, _REGION),
        *NO_SUPPORT,
        *_any(_K.UNAVAILABLE, _UNLOADED),
        *_any(_K.OVERLOADED, r"overloaded|at capacity|no healthy upstream"),
        *_any(_K.RATE_LIMITED, r"rate[- _]?limit (reached|exceeded)|too many requests"),
    ),
    _K.UNAVAILABLE: (
        *OVERFLOWS,
        *MALFORMED,
        *LIMITS[:1],
        *HISTORIES,
        *_any(_K.REJECTED, r"too many (images|files|tools)"),
        *_any(_K.CONTENT_POLICY, r"content management polic|prohibited_content|data_?inspection_?failed"),
        *_any(
            _K.RATE_LIMITED,
            r"too many requests|rate[- _]?limit (reached|exceeded)|\bstatus( code)?:? 429|request limit reached"
            r"|resource ?exhausted",
        ),
        *_any(_K.OVERLOADED, r"overloaded|at capacity|no healthy upstream|no available (server|channel|worker)"),
        *_any(_K.REJECTED, r"unexpected keyword argument"),
    ),
    _K.FORBIDDEN: (
        *POLICIES,
        *_any(_K.GUARDRAIL, _GUARDRAIL),
        *_any(_K.MODERATION, _MODERATION),
        *_any(_K.CREDITS, r"key limit exceeded|" + _EMPTY),
        *_any(_K.AUTH, _KEY),
        *_any(_K.RATE_LIMITED, r"rate[- _]?limit|too many requests|error code: 1015"),
        *_any(_K.NOT_FOUND, r"does not have access to model"),
    ),
    _K.AUTH: (*_any(_K.CREDITS, r"insufficient (balance|credits?)|out of credits"),),
    _K.RATE_LIMITED: (
        *_any(_K.CREDITS, _EMPTY),
        *_any(_K.OVERLOADED, r"model is (currently )?overloaded|engine.{0,20}overloaded"),
    ),
    _K.CONTEXT_TOO_LONG: SHORT_FIELDS,
    _K.REJECTED: OVERFLOWS,
    _K.UNSUPPORTED: tuple(sign for sign in OVERFLOWS if "string too long" in sign.pattern),
}

# Used if only the message reveals the kind. The first match decides.
MESSAGES: Final = (
    *_any(_K.MODERATION, _MODERATION),
    *_any(_K.GUARDRAIL, _GUARDRAIL),
    *SHORT_FIELDS,
    *_any(_K.RATE_LIMITED, rf"{_LIMITED}|{_PER_TIME}|error code: 1015"),
    *_any(_K.CREDITS, rf"credits|key limit exceeded|payment required|monthly limit|billing|{_EMPTY}"),
    *OVERFLOWS,
    *MALFORMED,
    *LIMITS,
    *HISTORIES,
    *UNKNOWN_FIELDS,
    *OVERFLOWS_OF_ANY,
    *_any(_K.FORBIDDEN, _PRIVACY + r"|\bregion\b|country|terms of service|error code: 10(06|07|08|09|20)"),
    *POLICIES,
    *_any(_K.CONTENT_POLICY, r"refused to (answer|respond)|\brefusal\b"),
    *_any(
        _K.AUTH,
        r"(auth|authentication) (credentials|header)|unauthori[sz]ed|user not found|invalid credentials"
        rf"|authentication (failed|required|error)|{_KEY}",
    ),
    *_any(_K.TIMED_OUT, _SLOW),
    *_any(_K.UNSUPPORTED, r"constraint|(invalid|unsupported) image|image (is )?(too|format|could|not)"),
    *ITEMS,
    *NO_SUPPORT,
    *BAD_IDS,
    *_any(
        _K.NOT_FOUND,
        r"no endpoints found|not found|deprecated|no longer available|wrong endpoint|period (has )?ended"
        r"|unavailable upstream",
    ),
    *_any(_K.OVERLOADED, _FULL),
    *_any(_K.FORBIDDEN, r"forbidden|permission|not allowed|only management keys|access denied"),
    *_any(
        _K.INVALID_REQUEST, r"invalid|bad request|unprocessable|too large|precondition|must (have|be|contain)|malformed"
    ),
)

# The scope of a failure: the credits of the whole account, or the rate limit of all free models.
ACCOUNT_EMPTY: Final = rf"insufficient credits|negative .{{0,10}}balance|no credits|{_EMPTY}"
FREE_MODELS: Final = r"free-models-per-|free model requests"
AFFORDABLE: Final = r"can only afford (\d[\d,]{0,11})|token capacity required, (\d[\d,]{0,11}) available"
