"""Refusals in the words of many servers: what a message means, whoever passes it on.

A row: the server, the status it comes with, the message, its kind without `provider_name`, and with it where that is
another one.
"""

from __future__ import annotations

from openrouter_fallback.failures.kinds import FailureKind as K

Row = tuple[str, int, str, K]

IN_OTHER_WORDS = "in other words"

_TOO_LONG: dict[str, tuple[str, ...]] = {
    "OpenAI": (
        "This model's maximum context length is 8192 tokens. However, your messages resulted in 8545 tokens. Please "
        "reduce the length of the messages.",
        "This model's maximum context length is 4097 tokens, however you requested 4226 tokens (4012 in your "
        "prompt; 214 "
        "for the completion). Please reduce your prompt; or completion length.",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 300000 tokens.",
        "Invalid 'messages[1].content': string too long. Expected a string with maximum length 10485760, but got a "
        "string with length 10700000 instead.",
        "Invalid 'input[0].content[0].text': string too long. Expected a string with maximum length 10485760, but "
        "got a "
        "string with length 11000000 instead.",
    ),
    "Anthropic": (
        "prompt is too long: 213462 tokens > 200000 maximum",
        "input length and `max_tokens` exceed context limit: 199759 + 8192 > 200000, decrease input length or "
        "`max_tokens` and try again",
    ),
    "Bedrock": (
        "Input is too long for requested model.",
        "The model returned the following errors: Input is too long for requested model.",
        "Malformed input request: expected maxLength: 400000, actual: 512345, please reformat your input and try "
        "again.",
        "messages: too many total text bytes: 9500000 > 9000000",
    ),
    "Google": (
        "The input token count (1196265) exceeds the maximum number of tokens allowed (1048575).",
        "The input token count exceeds the maximum number of tokens allowed 1048576.",
        "Unable to submit request because the input token count is 1100000 but model only supports up to 1048576.",
    ),
    "Mistral": (
        "Prompt contains 50000 tokens and 0 draft tokens, too large for model with 32768 maximum context length",
    ),
    "Cohere": (
        "too many tokens: total number of tokens (prompt and prediction) cannot exceed 2048 - received 6354.",
        "too many tokens: size limit exceeded by 11326 tokens. Try using shorter or fewer inputs.",
    ),
    "xAI": ("This model's maximum prompt length is 131072 but the request contains 537812 tokens.",),
    "Moonshot": ("Invalid request: Your request exceeded model token limit: 262144 (requested: 287431)",),
    "DeepSeek": (
        "This model's maximum context length is 65536 tokens. However, you requested 69648 tokens (69648 in the "
        "messages, 0 in the completion).",
    ),
    "DashScope": ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 204800]",),
    "GLM": ("Prompt exceeds max length", "Prompt 超长", "输入内容超过模型最大长度"),
    "MiniMax": ("invalid params, context window exceeds limit (2013)",),
    "Groq": ("Please reduce the length of the messages or completion.",),
    "Cerebras": (
        "Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000",
    ),
    "Fireworks": ("The prompt is too long: 200000, model maximum context length: 131071",),
    "SambaNova": ("The maximum context length of Meta-Llama-3.1-8B is 8192. However, the request takes 9000 tokens.",),
    "TGI": (
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 8193. Given: 9000 `inputs` tokens "
        "and 200 "
        "`max_new_tokens`",
        "Input validation error: `inputs` must have less than 4095 tokens. Given: 5000",
    ),
    "DeepInfra": ("Requested input length 140000 exceeds maximum input length 131071",),
    "SiliconFlow": ("length of prompt_tokens (40000) must be less than max_seq_len (32768).",),
    "vLLM": (
        "Input prompt (9762 tokens) is too long and exceeds limit of 8192",
        "The prompt (total length 9000) is too long to fit into the model (context length 8192).",
        "The decoder prompt (length 33000) is longer than the maximum model length of 32768.",
        "You requested 128000 output tokens and your prompt contains at least 134145 input tokens, for a total of at "
        "least 262145 tokens.",
        "max_tokens must be at least 1, got -341.",
        "'max_tokens' or 'max_completion_tokens' is too large: 4096. This model's maximum context length is 4096 "
        "tokens "
        "and your request has 300 input tokens (4096 > 4096 - 300).",
    ),
    "SGLang": (
        "The input (61709 tokens) is longer than the model's context length (40960 tokens).",
        "Input length (160062 tokens) exceeds the maximum allowed length (59862 tokens).",
        "Requested token count exceeds the model's maximum context length of 32768 tokens.",
    ),
    "llama.cpp": (
        "the request exceeds the available context size. try increasing the context size or enable context shift",
        "request (14429 tokens) exceeds the available context size (8192 tokens), try increasing it",
        "input is too large to process. increase the physical batch size",
        "Requested tokens (768) exceed context window of 512",
    ),
    "Ollama": (
        "input length exceeds the context length",
        "prompt too long; exceeded max context length by 123 tokens",
    ),
    "LM Studio": (
        "Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context "
        "length of only 32768 tokens, which is not enough.",
        "The number of tokens to keep from the initial prompt is greater than the context length.",
        "Cannot truncate prompt with n_keep (15028) >= n_ctx (7424)",
        "Context size has been exceeded.",
        "Input length 6491 exceeds context length 1500",
    ),
    "TensorRT-LLM": (
        "Prompt length (1251) exceeds maximum input length (1000)",
        "Cannot process new request: Prompt length (5056) exceeds maximum sequence length (2048)",
        "The sum of prompt length (5000.0) and query length should not exceed max_num_tokens (4096)",
    ),
    "LMDeploy": ("input tokens 40000 exceeds session_len 32768",),
    "Replicate": ("E1002 PromptTooLong",),
    "GitHub Models": ("Request body too large for gpt-4o model. Max size: 8000 tokens.",),
    "GitHub Copilot": ("prompt token count of 138898 exceeds the limit of 64000",),
    "Cloudflare": (
        "AiError: 5021: The estimated number of input and maximum output tokens (9000) exceeded this model context "
        "window "
        "limit (8192).",
    ),
    "watsonx": ("the number of input tokens 9000 cannot exceed the total tokens limit 8192 for this model",),
    "Databricks": ("Your request exceeds the maximum allowed content length",),
    "Volcengine Ark": ("Total tokens of image and text exceed max message tokens",),
    "ERNIE": ("the max input characters is 11200", "the length of the messages exceeds 2000"),
    "TabbyAPI": ("Prompt length 9000 is greater than max_seq_len 8192",),
    "Lemonade": ("The request exceeds the model's maximum allowed prompt length",),
    "GPT4All": ("ERROR: The prompt size exceeds the context window size and cannot be processed.",),
    "LiteLLM": ("litellm.ContextWindowExceededError: too much",),
    IN_OTHER_WORDS: (
        "Request too large: 500000 tokens > 200000",
        "ctx-size exceeded: n_prompt=9000 n_ctx=8192",
        "the prompt exceeds n_ctx",
        "prompt length (9000) > max_model_len (8192)",
        "Prompt token length 9000 larger than the limit 8192",
        "messages token length must be in (0, 131072], but got 140000",
        "This model's max context is 8192",
        "Please shorten your prompt",
        "input_length exceeds limit: 9000 > 8192",
        "Exceeded the maximum prompt size",
        "The message you submitted was too long, please reload the conversation and submit something shorter.",
        "The token count (9000) exceeds 8192",
        "The context is too long",
        "Context too large",
        "Input sequence too long (9000 > 8192)",
        "validation error: length of input must be <= 8192 tokens",
        "prompt_tokens(9000)+max_tokens(100) > 8192",
        "your prompt is 9000 tokens long and the model supports 8192",
        "prompt_too_long",
        "This model only supports up to 8192 tokens of context",
        "too large for the model's context",
        "reduce the number of messages",
        "the slot's context is full",
        "上下文长度超限",
        "tokens数量超过",
        "messages: context window exceeded",
        "Requested 5000 tokens exceeds the model's context window",
        "prompt length 50000 exceeds context window 32768",
        "Total tokens exceed max context",
        "The number of tokens in your request (300000) exceeds the maximum",
        "Prompt is too long",
        "Prompt has 300000 tokens, which exceeds the maximum of 256000",
        "prompt too long; max 127072 tokens",
        "Too many tokens in the request. Max 32768",
        "the prompt is longer than the context window (num_ctx)",
        "request exceeds the maximum allowed tokens",
        "Input is longer than the model supports",
        "This request would exceed the model's maximum context",
        "input_tokens: 300000 > 200000",
        "Your messages are too long for this model (max 8k tokens)",
        "The input is too long. Reduce it",
        "conversation is too long",
        "Input text is too long: 9000 tokens, limit 8192",
        "Requested tokens (9000) exceed limit 8192",
        "The text is too long",
        "Number of tokens exceeds limit",
        "Input exceeds the token limit of this model",
        "total token count 5000 exceeds limit 4096",
        "max sequence length exceeded",
        "sequence length 9000 exceeds 8192",
        "Context overflow: prompt too large for the model.",
        "The request is too large for this model's context window",
        "Payload too large for the context",
        "请求的上下文长度超过模型限制",
        "maximum input length is 8192",
        "Input token limit exceeded",
        "Your prompt has 9000 tokens but the model only supports 8192",
        "prompt exceeds the model's limit of 8192 tokens",
        "tokens (9000) exceed the model limit of 8192",
        "tokens in request more than max tokens allowed",
        "prompt exceeds the length limit",
        "sent message larger than max (4345678 vs. 4194304)",
        "Requested 9000 tokens but the model's limit is 8192",
        "Please reduce the size of your prompt",
        "Your prompt is too big",
        "Cannot fit prompt into context",
        "not enough context space",
        "the KV cache is full",
        "failed to find free space in the KV cache",
        "单次输入 token 超限",
        "入力トークンが上限を超えています",
        "You passed 99073 input tokens and requested 32000 output tokens. However, the model's context length is only "
        "131072 tokens, resulting in a maximum input length of 99072 tokens.",
    ),
    "DS4": ("Prompt has 300,000 tokens, but the configured context size is 131,072 tokens",),
    "Poolside": (
        "Input length 131393 exceeds the maximum allowed input length of 131040 tokens.",
        "Input length (265330) exceeds model's maximum context length (262144).",
        "Your input exceeds the model's context window",
    ),
    "mlx-serve": ("Prompt exceeds maximum context length",),
}
# Too long, too many or too large, but not for the context.
_NOT_TOO_LONG: tuple[Row, ...] = (
    (
        "OpenAI",
        400,
        "Invalid 'messages[10].tool_calls[0].id': string too long. Expected a string with maximum length 40, but got a "
        "string with length 51 instead.",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "Invalid 'input[95].call_id': string too long. Expected a string with maximum length 64, but got a string with "
        "length 116 instead.",
        K.REJECTED,
    ),
    (
        "LiteLLM",
        400,
        "litellm.ContextWindowExceededError: OpenAIException - Invalid 'messages[3].tool_calls[0].id': string too "
        "long. "
        "Expected a string with maximum length 40, but got a string with length 41 instead.",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a string "
        "with length 81 instead.",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "Invalid 'metadata.trace': string too long. Expected a string with maximum length 512, but got a string with "
        "length 600 instead.",
        K.REJECTED,
    ),
    ("OpenAI", 400, "Invalid 'user': string too long. Expected a string with maximum length 64.", K.REJECTED),
    ("OpenAI", 400, "Invalid input[].call_id: string too long. Expected max length 64.", K.REJECTED),
    ("Anthropic", 400, "tools.0.custom.name: String should have at most 128 characters", K.REJECTED),
    ("OpenAI", 400, "Invalid 'tools': array too long. Expected an array with maximum length 128.", K.REJECTED),
    ("Copilot", 400, "You may not include more than 128 tools in your request.", K.REJECTED),
    (
        "Google",
        400,
        "function_declarations: [FIELD_INVALID] At most 512 function declarations can be specified.",
        K.REJECTED,
    ),
    ("Google", 400, "The specified schema produces a constraint that has too many states for serving.", K.REJECTED),
    ("one-api", 500, "too many images in the message, max allowed is 16", K.REJECTED),
    ("vLLM", 400, "At most 4 image(s) may be provided in one request.", K.REJECTED),
    ("vLLM", 400, "At most 0 image(s) may be provided in one request.", K.UNSUPPORTED),
    (
        "Anthropic",
        400,
        "messages.0.content.1.image.source.base64: image exceeds 5 MB maximum: 6000000 bytes",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "max_tokens is too large: 200000. This model supports at most 16384 completion tokens, whereas you provided "
        "200000.",
        K.REJECTED,
    ),
    (
        "Anthropic",
        400,
        "max_tokens: 64001 > 8192, which is the maximum allowed number of output tokens for claude-3-5-sonnet-20240620",
        K.REJECTED,
    ),
    (
        "Groq",
        400,
        "`max_tokens` must be less than or equal to `16384`, the maximum value for `max_tokens` is less than the "
        "`context_window` for this model",
        K.REJECTED,
    ),
    ("Groq", 400, "max_tokens for `llama-3.1-8b-instant` must be less than or equal to 8000", K.REJECTED),
    (
        "DashScope",
        400,
        "<400> InternalError.Algo.InvalidParameter: Range of max_tokens should be [1, 8192]",
        K.REJECTED,
    ),
    ("DeepSeek", 400, "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", K.REJECTED),
    ("Bedrock", 400, "The maximum tokens you requested exceeds the model limit of 8192.", K.REJECTED),
    (
        "Google",
        400,
        "Unable to submit request because it has a maxOutputTokens value of 100000 but the supported range is from 1 "
        "(inclusive) to 65537 (exclusive). Update the value and try again.",
        K.REJECTED,
    ),
    (
        "Google",
        400,
        "Unable to submit request because it has a stopSequences value of 10 but the supported range is from 1 "
        "(inclusive) "
        "to 6 (exclusive). Update the value and try again.",
        K.REJECTED,
    ),
    ("any", 400, "The number of stop sequences must be at most 4", K.REJECTED),
    ("Anthropic", 400, "temperature: range: 0..1, temperature must be less than or equal to 1", K.REJECTED),
    (
        "OpenAI",
        400,
        "Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is "
        "supported.",
        K.UNSUPPORTED,
    ),
    (
        "OpenAI",
        400,
        "Invalid schema for response_format 'x': 'additionalProperties' is required to be supplied and to be false.",
        K.REJECTED,
    ),
    ("SiliconFlow", 400, "Function call is not supported for this model.", K.UNSUPPORTED),
    ("Ollama", 400, "registry.ollama.ai/library/gemma:2b does not support tools", K.UNSUPPORTED),
    (
        "vLLM",
        400,
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        K.UNSUPPORTED,
    ),
    ("DeepSeek", 400, "unknown variant `image_url`, expected `text`", K.UNSUPPORTED),
    (
        "Groq",
        413,
        "Request too large for model `llama-3.3-70b` in organization `org_x` on tokens per minute (TPM): Limit 6000, "
        "Requested 9000, please reduce your message size and try again.",
        K.RATE_LIMITED,
    ),
    (
        "OpenAI",
        429,
        "Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 132819. "
        "The "
        "input or output tokens must be reduced in order to run successfully.",
        K.RATE_LIMITED,
    ),
)
_NOT_TOO_LONG += (
    ("Bedrock", 400, "Too many tokens, please wait before trying again.", K.RATE_LIMITED),
    ("OpenAI", 429, "This request exceeds the limit of 30000 tokens per minute", K.RATE_LIMITED),
    ("any", 400, "stop sequence too long", K.INVALID_REQUEST),
    ("any", 400, "The file name is too long", K.INVALID_REQUEST),
    ("any", 400, "The URL of the image is too long", K.INVALID_REQUEST),
    ("any", 400, "Output length exceeds limit of 4096 tokens", K.INVALID_REQUEST),
    (
        "OpenAI",
        400,
        "Invalid 'prompt_cache_key': string too long. Expected a string with maximum length 64.",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "Invalid 'tools[0].function.description': string too long. Expected a string with maximum length 1024, but got "
        "a string with length 2000 instead.",
        K.REJECTED,
    ),
)
_HISTORY: tuple[Row, ...] = (
    ("OpenAI", 404, "Item with id 'rs_68af4030' not found. Items are not persisted when `store` is false.", K.REJECTED),
    ("OpenAI", 400, "Item 'rs_123' of type 'reasoning' was provided without its required following item.", K.REJECTED),
    ("OpenAI", 404, "Previous response with id 'resp_1' not found.", K.REJECTED),
    ("OpenAI", 404, "No such File object: file-abc. File file-abc was not found", K.REJECTED),
    ("Google", 404, "Cached content cachedContents/x not found", K.REJECTED),
    ("OpenAI", 400, "The encrypted content gAAA could not be verified.", K.REJECTED),
    ("Google", 400, "Function call is missing a thought_signature in functionCall parts.", K.REJECTED),
    (
        "Anthropic",
        400,
        "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`.",
        K.REJECTED,
    ),
    ("Anthropic", 400, "messages.1.content.0: Invalid `signature` in `thinking` block", K.REJECTED),
    (
        "Moonshot",
        400,
        "thinking is enabled but reasoning_content is missing in assistant tool call message at index 2",
        K.REJECTED,
    ),
    ("Mistral", 400, "Tool call id was call_abc_123 but must be a-z, A-Z, 0-9, with a length of 9.", K.REJECTED),
    (
        "Anthropic",
        400,
        "messages.3: `tool_use` ids were found without `tool_result` blocks immediately after",
        K.REJECTED,
    ),
    (
        "Anthropic",
        400,
        "This model does not support assistant message prefill. The conversation must end with a user message.",
        K.REJECTED,
    ),
)
_OF_A_FAMILY: tuple[Row, ...] = (
    ("Google", 400, "Please ensure that function call turn comes immediately after a user turn.", K.REJECTED),
    (
        "Google",
        400,
        "Please ensure that the number of function response parts is equal to the number of function call parts.",
        K.REJECTED,
    ),
    ("Google", 400, "* GenerateContentRequest.contents: contents is not specified", K.REJECTED),
    ("Anthropic", 400, "messages: text content blocks must be non-empty", K.REJECTED),
    ("Anthropic", 400, "messages.1: all messages must have non-empty content except for the last one", K.REJECTED),
    ("Anthropic", 400, "messages: final assistant content cannot end with trailing whitespace", K.REJECTED),
    ("Anthropic", 400, "A maximum of 4 blocks with cache_control may be provided. Found 5.", K.REJECTED),
    ("Anthropic", 400, "`temperature` and `top_p` cannot both be specified for this model.", K.REJECTED),
    ("Anthropic", 400, "`temperature` may only be set to 1 when thinking is enabled.", K.REJECTED),
    ("Anthropic", 400, "Thinking may not be enabled when tool_choice forces tool use.", K.REJECTED),
    ("Mistral", 400, "Not the same number of function calls and responses", K.REJECTED),
    ("DashScope", 400, "Cannot have 2 or more assistant messages at the end of the list.", K.REJECTED),
    ("llama.cpp", 400, "Assistant response prefill is incompatible with enable_thinking.", K.REJECTED),
    ("llama.cpp", 500, "Jinja Exception: System message must be at the beginning", K.REJECTED),
    ("vLLM", 400, "Conversation roles must alternate user/assistant/user/assistant/...", K.REJECTED),
    ("vLLM", 400, "This model only supports single tool-calls at once!", K.REJECTED),
    ("Crucible", 400, "Model 'moonshotai/kimi-k2.6' supports at most 1 image per prompt.", K.REJECTED),
    ("llama.cpp", 400, "failed to parse grammar", K.REJECTED),
    (
        "OpenAI",
        400,
        "Invalid schema for function 'f': In context=('properties', 'a'), array schema missing items.",
        K.REJECTED,
    ),
    (
        "OpenAI",
        400,
        "Response input messages must contain the word 'json' in some form to use 'text.format'.",
        K.REJECTED,
    ),
    ("Anthropic", 400, "The PDF has too many pages (101 > 100)", K.REJECTED),
    ("any", 400, "File too large: 30 MB > 20 MB", K.REJECTED),
    ("any", 400, "You exceeded the maximum number of images", K.REJECTED),
    ("any", 400, "Unknown field: context_window", K.REJECTED),
    ("Google", 400, "Function calling is not enabled for models/gemma-3-27b-it", K.UNSUPPORTED),
    ("Google", 400, "Budget 0 is invalid. This model only works in thinking mode.", K.UNSUPPORTED),
    ("OpenRouter", 400, "Reasoning is mandatory for this endpoint and cannot be disabled.", K.UNSUPPORTED),
    ("Google", 400, "Tool use with function calling is unsupported", K.UNSUPPORTED),
)
_BROKEN: tuple[Row, ...] = (
    ("Groq", 400, "Failed to call a function. Please adjust your prompt. See 'failed_generation'.", K.BAD_ANSWER),
    ("Groq", 400, "tool call validation failed: attempted to call tool 'x' which was not in request", K.BAD_ANSWER),
    ("llama.cpp", 500, "Failed to parse tool call arguments as JSON: unexpected end of input", K.BAD_ANSWER),
    ("LM Studio", 400, "Model unloaded.", K.UNAVAILABLE),
    ("LM Studio", 400, "Failed to load model", K.UNAVAILABLE),
    ("NVIDIA", 502, "ResourceExhausted: Worker local total request limit reached (33/32)", K.RATE_LIMITED),
    ("any", 400, "Input text is flagged", K.CONTENT_POLICY),
)
_ABOUT_ONE_REQUEST: tuple[Row, ...] = (
    ("OpenRouter", 404, "No endpoints found that support the provided 'tool_choice' value.", K.UNSUPPORTED),
    ("OpenRouter", 404, "No endpoints found that can handle the requested parameters.", K.UNSUPPORTED),
    ("OpenAI", 400, "Unrecognized request argument supplied: stream_options", K.REJECTED),
    ("OpenAI", 400, "Unknown parameter: 'parallel_tool_calls'.", K.REJECTED),
    ("Mistral", 422, "stream_options: Extra inputs are not permitted", K.REJECTED),
    ("FastAPI", 422, "extra fields not permitted", K.REJECTED),
    ("Groq", 400, "property 'stream_options' is unsupported", K.REJECTED),
    ("JSON schema", 400, "Additional properties are not allowed ('usage' was unexpected)", K.REJECTED),
)
_POLICY: tuple[Row, ...] = (
    ("xAI", 403, "Content violates usage guidelines. Team: x, Failed check: SAFETY_CHECK_TYPE_BIO", K.CONTENT_POLICY),
    (
        "Azure",
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        K.CONTENT_POLICY,
    ),
    ("OpenAI", 400, "Your request was rejected as a result of our safety system.", K.CONTENT_POLICY),
    (
        "OpenAI",
        400,
        "Invalid prompt: your prompt was flagged as potentially violating our usage policy.",
        K.CONTENT_POLICY,
    ),
    ("Anthropic", 400, "Output blocked by content filtering policy", K.CONTENT_POLICY),
    ("Google", 400, "The prompt was blocked: block_reason: PROHIBITED_CONTENT", K.CONTENT_POLICY),
    ("DashScope", 400, "Input data may contain inappropriate content.", K.CONTENT_POLICY),
    ("DeepSeek", 400, "Content Exists Risk", K.CONTENT_POLICY),
    ("GLM", 400, "系统检测到输入或生成内容可能包含不安全或敏感内容", K.CONTENT_POLICY),
    ("Moonshot", 400, "The request was rejected because it was considered high risk", K.CONTENT_POLICY),
)
_OTHERS: tuple[Row, ...] = (
    ("Anthropic", 400, "Your credit balance is too low to access the Anthropic API.", K.CREDITS),
    ("xAI", 403, "Your team has either used all available credits or reached its monthly spending limit.", K.CREDITS),
    ("DeepSeek", 402, "Insufficient Balance", K.CREDITS),
    ("Google", 400, "API key not valid. Please pass a valid API key.", K.AUTH),
    ("Google", 400, "User location is not supported for the API use.", K.FORBIDDEN),
    (
        "Google",
        404,
        "models/gemini-foo is not found for API version v1beta, or is not supported for generateContent.",
        K.NOT_FOUND,
    ),
    ("OpenAI", 404, "The model `gpt-9` does not exist or you do not have access to it.", K.NOT_FOUND),
    ("Bedrock", 400, "The provided model identifier is invalid.", K.NOT_FOUND),
    ("Ollama", 404, 'model "llama9" not found, try pulling it first', K.NOT_FOUND),
    ("new-api", 500, "status code: 429, Too Many Requests", K.RATE_LIMITED),
    ("Anthropic by a proxy", 500, "Overloaded", K.OVERLOADED),
    ("envoy", 503, "upstream connect error or disconnect/reset before headers. reset reason: overflow", K.OVERLOADED),
)

# In words that no row has been made for: what matters is that the next model is asked, or that none is.
LIMITS: tuple[str, ...] = (
    "max_tokens must be <= 8192",
    "max_completion_tokens is too large: 999999",
    "Requested max_tokens 100000 exceeds the model's maximum of 8192",
    "The requested number of output tokens exceeds the maximum of 4096",
    "max_output_tokens cannot exceed 8192",
    "maxOutputTokens exceeds limit",
    "Value error, max_tokens: Input should be less than or equal to 8192",
    "max_tokens parameter exceeds maximum allowed value of 4096",
    "max_tokens 20000 is greater than the maximum 16384",
    "Too many images: at most 10 images",
    "This model supports at most 5 images per request",
    "image count exceeds the limit of 20",
    "messages.0.content.5: at least one of the image dimensions exceed max allowed size: 8000 pixels",
    "number of stop sequences exceeds 4",
    "'stop' must have at most 4 items",
    "temperature: Input should be less than or equal to 1",
    "top_logprobs must be between 0 and 5",
    "n must be 1 for this model",
    "Only one choice is supported",
    "tools: maximum of 64 tools",
    "Too many tools provided: 200, max 128",
    "reasoning_effort 'xhigh' is not supported",
    "Invalid value: 'minimal'. Supported values are: 'low', 'medium', and 'high'.",
    "response_format json_schema is not supported by this model",
    "This model does not support image input",
    "Image input is not supported",
    "JSON schema contains unsupported keyword 'minLength'",
    "tool schema: $ref is not supported",
    "Schema nesting too deep",
    "audio input is not supported",
)
POLICIES: tuple[str, ...] = (
    "Your request was flagged by our content filter",
    "The content you provided violates our terms of use",
    "Content blocked by safety filters",
    "The model refused due to safety",
    "prompt_blocked: SAFETY",
    "Request blocked by Gemini: PROHIBITED_CONTENT",
    "Sensitive content detected",
    "blocked by Anthropic's usage policies",
    "I can't process this content: policy violation",
    "This request has been flagged for potentially high-risk cyber activity",
    "Your prompt may contain unsafe content",
    "input content violates policy",
    "Content policy violation",
    "Risk control: sensitive words",
    "The response was blocked due to RECITATION",
)
MISSING: tuple[str, ...] = (
    "The model `x` does not exist",
    "model not found: x",
    "Model 'x' is not available",
    "No such model: x",
    "The model x has been deprecated",
    "Unknown model x",
    "model_not_found",
    "Invalid model name passed in model=x",
    "x is not a valid model ID",
    "Model x is not supported",
    "Unsupported model: x",
    "There is no model x",
    "could not find model x",
    "The requested model is no longer available",
)
ABOUT_IT: tuple[tuple[str, str], ...] = (
    ("openai/gpt-5.1", "No endpoints found for openai/gpt-5.1."),
    ("openai/gpt-5.1", "The model `gpt-5.1` does not exist"),
    ("openai/gpt-5.1", "Model not found: openai/gpt-5.1. See https://openrouter.ai/models"),
    ("openai/gpt-5.1", "No such model"),
    ("openai/gpt-5.1", "The model gpt-5.1 has been deprecated, use gpt-5.2 instead"),
    ("openai/o1", "The model `o1` does not exist"),
    ("acme/nope-1:free", "No endpoints found for acme/nope-1:free."),
    ("llama3:8b", 'model "llama3:8b" not found, try pulling it first'),
    ("anthropic/claude-3", "model: claude-3-20240229"),
    ("gemini-foo", "models/gemini-foo is not found for API version v1beta"),
    ("accounts/fireworks/models/x-1", "Model not found, inaccessible, and/or not deployed"),
    ("Meta-Llama-3.1", "The model `meta-llama-3.1` does not exist."),
)
ABOUT_ANOTHER: tuple[tuple[str, str], ...] = (
    ("openai/gpt-5.1", "Model openai/gpt-4o-mini not found"),
    ("openai/gpt-5.1", "No endpoints found for openai/gpt-5.1-mini"),
    ("openai/gpt-5.1", "The model `gpt-5` does not exist"),
    ("openai/gpt-5.1", "The speech model 'whisper-1' does not exist"),
    ("openai/gpt-5.1", "The embedding model text-embedding-3 was not found"),
    ("openai/o1", "The model `o3` does not exist"),
    ("llama3:8b", 'model "llama3:70b" not found, try pulling it first'),
    ("acme/nope-1", "No endpoints found for acme/nope-1:free."),
    ("openai/gpt-5.1", "Voice x not found for openai/gpt-5.1"),
    ("openai/gpt-5.1", "adapter foo does not exist for the model `openai/gpt-5.1`"),
    ("openai/gpt-5.1", "picture at https://example.com/gpt-5.1.png not found"),
    ("openai/gpt-5.1", "Model parameter 'foo' not found"),
    ("openai/gpt-5.1", "Route POST:/api/v1/model not found"),
)
"""The id of the called model, and what does not exist: the model itself, or something else."""
ITEMS: tuple[str, ...] = (
    "Item with id 'msg_1' not found.",
    "File not found: file-123",
    "Thread thread_1 does not exist",
    "image not found at url",
    "No tool output found for function call call_1",
    "No tool call found for function call output with call_id call_1",
    "Conversation conv_1 not found",
    "prompt with id pmpt_1 not found",
    "vector_store vs_1 not found",
    "Tool 'search' not found",
    "Container cntr_1 has expired",
)
WRONG: tuple[str, ...] = (
    "Invalid value for 'temperature'",
    "messages must not be empty",
    "Invalid 'messages[0].role'",
    "Input must have at least 1 token.",
    "Missing required parameter: 'messages'",
    "Invalid JSON body",
    "messages: at least one message is required",
    "model is required",
    "Invalid type for 'messages': expected array",
    "'messages' is a required property",
    "Bad Request",
    "Request body is not valid JSON",
    "The messages array is too short",
)

OVERFLOWS: tuple[Row, ...] = tuple(
    (who, 400, says, K.CONTEXT_TOO_LONG) for who, rows in _TOO_LONG.items() for says in rows
)
OTHERS: tuple[Row, ...] = (
    *_NOT_TOO_LONG,
    *_HISTORY,
    *_OF_A_FAMILY,
    *_BROKEN,
    *_ABOUT_ONE_REQUEST,
    *_POLICY,
    *_OTHERS,
)

# The kind where `metadata.provider_name` names whose words they are, if not as above: its own affair.
_OF_A_PROVIDER: dict[K, K] = {
    K.INVALID_REQUEST: K.REJECTED,
    K.UNSUPPORTED: K.REJECTED,
    K.AUTH: K.REJECTED,
    K.CREDITS: K.REJECTED,
    K.FORBIDDEN: K.REJECTED,
    K.NOT_FOUND: K.REJECTED,
}


def of_a_provider(status: int, kind: K) -> K:
    """What a refusal becomes when OpenRouter says which provider made it."""
    return _OF_A_PROVIDER.get(kind, kind) if status in (400, 401, 403, 413, 422) else kind
