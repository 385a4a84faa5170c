r"""The signs of each kind of failure in messages: tables of patterns with their sources.

Servers may change their messages at any time, so each row names its source. The first matching row decides. Every
pattern matches in linear time: no unbounded repetition is inside another repetition.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from .kinds import FailureKind
from .signs import BAIDU, BEDROCK, DASHSCOPE, OPENAI, OPENROUTER, TGI, ZHIPU, Sign

_K = FailureKind


def _words(kind: FailureKind, *rows: tuple[str, str, str]) -> tuple[Sign, ...]:
    """The signs of one kind. Each row is (server, pattern, source)."""
    return tuple(Sign(kind, pattern, server, source) for server, pattern, source in rows)


# The request is longer than the model's context: the prompt, or prompt and answer together.
OVERFLOWS: Final = _words(
    _K.CONTEXT_TOO_LONG,
    ("OpenAI, DeepSeek, Azure", r"maximum context length (is|of) ", "chanzhaoyu/chatgpt-web#372"),
    ("OpenAI", r"exceeds? (the |this )?(model'?s )?context window", "code-yeongyu/senpi#1466"),
    (
        "Poolside",
        r"exceeds? the maximum allowed input length|exceeds? (the )?model'?s maximum context length",
        "earendil-works/pi#4943",
    ),
    ("OpenAI", r"input tokens exceed", OPENAI),
    ("OpenAI", r"'(messages|input)[\w.\[\]]*\.(content|text)[\w.\[\]]*': string too long", OPENAI),
    ("Anthropic", r"prompt is too long: \d", "stackblitz/bolt.new#2520"),
    ("Anthropic", r"input length and .?max_tokens.? exceed context", "continuedev/continue#6080"),
    ("Bedrock", r"input is too long( for requested model)?|too many total text bytes", "aws-samples/bedrock-chat#95"),
    ("Bedrock", r"expected maxlength: \d+, actual", BEDROCK),
    (
        "Google",
        r"token count .{0,60}exceeds the maximum number of tokens|token count is \d+ but .{0,20}only supports",
        "google-gemini/gemini-cli#6678",
    ),
    ("Mistral", r"too large for model with \d+ maximum context", "https://docs.mistral.ai"),
    ("Cohere", r"too many tokens: (total|size)", "cohere-ai/sandbox-topically#4"),
    ("xAI", r"maximum prompt length is \d", "grok2api#693"),
    ("Moonshot", r"exceeded model token limit", "bigpizzav3/codexplusplus#1803"),
    ("DashScope", r"range of input length should be", "qwenlm/qwen-code#98"),
    ("GLM", r"prompt exceeds max(imum)? (context )?length", ZHIPU),
    ("MiniMax", r"context window exceeds limit", "https://platform.minimax.io/docs/api-reference/errorcode"),
    ("Groq, Cerebras", r"reduce the length of (the|your|either)", "cline/cline#5140"),
    ("OpenAI", r"reduce your (prompt|input)", "tatsu-lab/stanford_alpaca#47"),
    ("Cerebras", r"current length is \d+ while limit is", "ellipticmarketing/modelrelay#73"),
    ("Fireworks", r"model maximum context length: ?\d", "anomalyco/models.dev#6508"),
    ("SambaNova", r"maximum context length of .{0,80} is \d", "https://docs.sambanova.ai"),
    ("Together, TGI", r"inputs.? tokens \+ .?max_new_tokens.? must be", "barun-saha/slide-deck-ai#44"),
    ("TGI", r"inputs.? must have less than \d+ tokens", TGI),
    ("DeepInfra", r"input length \d+ exceeds (maximum |the )", "https://deepinfra.com/docs"),
    ("SiliconFlow", r"length of prompt_tokens .{0,40}must be less than max_seq_len", "https://docs.siliconflow.com"),
    ("vLLM", r"is too long and exceeds limit of|too long to fit into the model", "vllm-project/vllm#7048"),
    (
        "vLLM, Novita, Hyperbolic",
        r"prompt .{0,40}is longer than the maximum model length|at least \d+ input tokens, for a total",
        "vllm-project/vllm#33418",
    ),
    ("vLLM", r"max_(completion_)?tokens must be at least 1, got -", "vllm-project/vllm#20409"),
    ("SGLang", r"is longer than the model.?s context length", "qwenlm/qwen3#1321"),
    (
        "SGLang",
        r"input length \(\d+ tokens\) exceeds the maximum|requested token count exceeds",
        "sgl-project/sglang#4048",
    ),
    ("llama.cpp", r"exceeds? the available context size|input is too large to process", "ggml-org/llama.cpp#15780"),
    ("llama-cpp-python", r"exceed context window of \d", "abetlen/llama-cpp-python#416"),
    (
        "Ollama",
        r"(input|prompt) (length )?(exceeds|too long; exceeded) (the |max )?context length",
        "https://github.com/ollama/ollama",
    ),
    (
        "LM Studio",
        r"tokens when context the overflows|greater than the context length|n_keep .{0,20}>= n_ctx"
        r"|context size has been exceeded|exceeds context length \d",
        "lmstudio-ai/lmstudio-bug-tracker#546",
    ),
    (
        "TensorRT-LLM",
        r"prompt length .{0,20}exceeds? (the )?max(imum)? ?_?(input|sequence|seq)"
        r"|should not exceed max_(seq_len|num_tokens)",
        "triton-inference-server/tensorrtllm_backend#565",
    ),
    ("LMDeploy", r"exceeds? (the )?(max_)?session[_-]len", "https://github.com/InternLM/lmdeploy"),
    ("Replicate", r"prompttoolong|E1002\b", "https://replicate.com/docs/reference/error-codes"),
    ("GitHub Models", r"max size: \d+ tokens", "cline/cline#995"),
    ("GitHub Copilot", r"token count of \d+ exceeds the limit of", "microsoft/copilot-intellij-feedback#94"),
    ("Cloudflare Workers AI", r"exceeded this model context window", "UKGovernmentBEIS/inspect_ai#1665"),
    ("watsonx", r"input tokens .{0,20}cannot exceed the total tokens limit", "https://www.ibm.com/docs/watsonx"),
    ("Databricks", r"exceeds? (the )?maximum allowed content length", "https://docs.databricks.com/machine-learning"),
    ("Volcengine Ark", r"exceed max message tokens", "https://www.volcengine.com/docs/82379/1299023"),
    ("ERNIE", r"max input characters is|the length of the (prompt|messages) exceeds", BAIDU),
    ("TabbyAPI", r"prompt length \d+ is greater than max_seq_len", "https://github.com/theroyallab/tabbyAPI"),
    ("Lemonade", r"maximum allowed prompt length", "lemonade-sdk/lemonade#133"),
    ("GPT4All", r"prompt size exceeds the context window", "nomic-ai/gpt4all#664"),
    ("LiteLLM", r"contextwindowexceedederror", "https://docs.litellm.ai/docs/exception_mapping"),
    (
        "in Chinese",
        r"(上下文|输入|提示词?|prompt|消息).{0,12}(过长|超长|超出|超过)|超过.{0,10}(最大|模型).{0,10}(长度|上下文|token)",
        "baichuan-inc/baichuan-13b#38",
    ),
)
# Common wordings of a context overflow. A limit of another field may be worded like this, so LIMITS are tried first.
OVERFLOWS_OF_ANY: Final = _words(
    _K.CONTEXT_TOO_LONG,
    ("any", r"context[ _]?(length|window|size|limit)|maximum context", OPENROUTER),
    ("any", r"too many (input |prompt )?tokens|maximum number of tokens|input_tokens: \d+ > \d", OPENROUTER),
    ("any", r"\btokens?\b.{0,60}\bexceeds? (the |a )?(model'?s? )?(max|limit|token)", OPENROUTER),
    ("any", r"(number of|total|input|prompt|requested)\W?_?(input |prompt )?tokens?\b.{0,40}\bexceed", OPENROUTER),
    ("any", r"\b(prompt|input)\b.{0,20}\d+ tokens.{0,40}(only supports|limit|max|exceed)", OPENROUTER),
    (
        "any",
        r"\b(prompt|text|conversation)\b.{0,30}(too (long|large)|longer than|exceeds? (the )?(model|limit|max))",
        OPENROUTER,
    ),
    (
        "any",
        r"\binput( text)? (is )?(too (long|large)|longer than)|large for (the|this) context|context overflow",
        OPENROUTER,
    ),
    ("any", r"sequence length.{0,30}exceed|max(imum)? (input|sequence) length", OPENROUTER),
    (
        "any",
        r"\b(prompt|input|message|request)s? (is |are |was |were )?too long|token limit (was |is )?(reached|exceeded)",
        OPENROUTER,
    ),
    ("any", r"exceeds? (the )?(model'?s )?(maximum |max )?(allowed )?(input |prompt )?(token|context)", OPENROUTER),
    (
        "vLLM, llama.cpp, TabbyAPI",
        r"\b(max_model_len|max_seq_len|max_position_embeddings|max_context_len\w*|n_ctx|num_ctx|ctx[_-]size)\b",
        "https://docs.vllm.ai/en/latest/configuration/engine_args.html",
    ),
    ("llama.cpp", r"context shift|context (is )?full|out of context", "ggml-org/llama.cpp#15780"),
    ("Lucebox", r"prompt \+ max_tokens exceeds", "Luce-Org/lucebox#423"),
    (
        "TGI",
        r"(inputs?|tokens).? \+ .?max_(new_)?tokens.? must be|length of (the )?(input|prompt|messages?) must",
        TGI,
    ),
    (
        "any",
        r"\b(prompt|context|conversation|chat|input sequence|messages?)\b.{0,30}\b(too (long|large)\b)|prompt_too_long",
        OPENROUTER,
    ),
    (
        "any",
        r"\b(input|prompt|prefill|messages?)[_ ](token[_ ])?(length|size|count)\b.{0,30}(exceed|larger|greater"
        r"|longer|must be|> ?\d)",
        "earendil-works/pi#4943",
    ),
    (
        "any",
        r"\d+ tokens (> ?\d|long\b.{0,40}supports)|token count\b.{0,20}exceed"
        r"|supports? .{0,20}tokens of context|prompt[_ ]tokens.{0,40}> ?\d",
        "earendil-works/pi#5677",
    ),
    (
        "any",
        r"(shorten|reduce) (your|the) (prompt|input|messages?|conversation|context|number of messages)"
        r"|max(imum)? (prompt|context)\b|for (the|this) (model'?s )?context",
        OPENROUTER,
    ),
    ("in Chinese", r"(上下文|tokens? ?(总)?数量?|长度).{0,8}超", ZHIPU),
    ("any", r"messages?[\w.\[\]]*'?: string too long|\bstring too long\b(?!.{0,60}length \d{1,4}\b)", OPENROUTER),
)

# A short field is too long (an id, a name, a tag), not the context. Another model may accept the field.
SHORT_FIELDS: Final = _words(
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
)

# A limit of this model. Another model may not have the limit.
LIMITS: Final = (
    *_words(
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
        ("OpenAI", r"array too long\. expected an array", OPENAI),
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
    *_words(
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
    ),
)

MAX_TOKENS: Final = frozenset(sign.pattern for sign in LIMITS if "tokens" in sign.pattern)
"""The patterns of LIMITS that concern the longest answer: the model's own limit, not its context."""

# A field that the server does not know. Another server may know the field.
UNKNOWN_FIELDS: Final = _words(
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
HISTORIES: Final = _words(
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
        r"|conversation must end with a user|roles must alternate|expected last role|unexpected role",
        "https://docs.anthropic.com/en/api/errors",
    ),
)

# A refused item or value of the request. The refusal is not about the model.
ITEMS: Final = (
    *HISTORIES,
    *_words(
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

POLICIES: Final = _words(
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
BAD_IDS: Final = _words(
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

NO_SUPPORT: Final = _words(
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
    r"|(monthly )?spending limit|account .{0,40}(suspended|overdue|in arrears)|out of credits|余额不足|欠费"
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
_SLOW: Final = r"timed? ?-?out|deadline exceeded|took too long"


def _any(kind: FailureKind, pattern: str) -> tuple[Sign, ...]:
    return _words(kind, ("any", pattern, OPENROUTER))


# By the kind from the status or the code: the patterns that refine the kind. The first match decides.
REFINEMENTS: Final[Mapping[FailureKind, tuple[Sign, ...]]] = {
    _K.NOT_FOUND: (*_any(_K.FORBIDDEN, f"{_PRIVACY}|{_REGION}"), *ITEMS, *BAD_IDS, *NO_SUPPORT),
    _K.INVALID_REQUEST: (
        *_any(_K.RATE_LIMITED, _PER_TIME),
        *SHORT_FIELDS,
        *OVERFLOWS,
        *LIMITS,
        *HISTORIES,
        *OVERFLOWS_OF_ANY,
        *ITEMS,
        *POLICIES,
        *BAD_IDS,
        *_any(_K.CREDITS, _EMPTY),
        *_any(_K.AUTH, _KEY),
        *_any(_K.FORBIDDEN, _REGION),
        *NO_SUPPORT,
        *UNKNOWN_FIELDS,
        *_any(_K.OVERLOADED, r"overloaded|at capacity|no healthy upstream"),
        *_any(_K.RATE_LIMITED, r"rate[- _]?limit (reached|exceeded)|too many requests"),
    ),
    _K.UNAVAILABLE: (
        *OVERFLOWS,
        *LIMITS[:1],
        *_any(_K.REJECTED, r"too many (images|files|tools)"),
        *_any(_K.CONTENT_POLICY, r"content management polic|prohibited_content|data_?inspection_?failed"),
        *_any(_K.RATE_LIMITED, r"too many requests|rate[- _]?limit (reached|exceeded)|\bstatus( code)?:? 429"),
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
    *LIMITS,
    *HISTORIES,
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
    *UNKNOWN_FIELDS,
    *_any(
        _K.INVALID_REQUEST, r"invalid|bad request|unprocessable|too large|precondition|must (have|be|contain)|malformed"
    ),
)

# The scope of a failure: the credits of the whole account, or the rate limit of all free models.
ACCOUNT_EMPTY: Final = rf"insufficient credits|negative .{{0,10}}balance|no credits|{_EMPTY}"
FREE_MODELS: Final = r"free-models-per-|free model requests"
AFFORDABLE: Final = r"can only afford (\d[\d,]{0,11})|token capacity required, (\d[\d,]{0,11}) available"
