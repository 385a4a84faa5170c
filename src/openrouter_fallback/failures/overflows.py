"""The words in which servers say that a request is longer than the model's context: tables of patterns with sources.

The rules of `wordings.py` hold: the first match counts, and every pattern reads a text in linear time.
"""

from __future__ import annotations

from typing import Final

from .kinds import FailureKind
from .signs import BAIDU, BEDROCK, OPENAI, OPENROUTER, TGI, ZHIPU, words

_K = FailureKind

# The request as a whole is longer than the model's context, prompt and answer together included.
OVERFLOWS: Final = words(
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
    ("DS4", r"but the configured context size is [\d,]+ tokens", "https://github.com/earendil-works/pi"),
    ("LiteLLM", r"contextwindowexceedederror", "https://docs.litellm.ai/docs/exception_mapping"),
    (
        "in Chinese",
        r"(上下文|输入|提示词?|prompt|消息).{0,12}(过长|超长|超出|超过)|超过.{0,10}(最大|模型).{0,10}(长度|上下文|token)",
        "baichuan-inc/baichuan-13b#38",
    ),
)
# What many write so, and what a limit of another field may be written like: tried after the limits.
OVERFLOWS_OF_ANY: Final = words(
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
    (
        "llama.cpp",
        r"context shift|context (is )?full|out of context"
        r"|kv[- _]cache.{0,20}(full|space)|(space|full).{0,20}kv[- _]cache",
        "ggml-org/llama.cpp#15780",
    ),
    (
        "gateways",
        r"more than max tokens allowed|exceeds? (the )?length limit|sent message larger than max|exceeds? model_len",
        "https://github.com/earendil-works/pi",
    ),
    (
        "any",
        r"requested \d+ tokens.{0,40}limit|tokens in (the )?prompt exceed|prompt is too big|fit (the )?prompt into"
        r"|(not enough|insufficient) context|reduce the size of (your|the) (prompt|input|messages)",
        OPENROUTER,
    ),
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
    ("in Chinese", r"(上下文|tokens? ?(总)?数量?|长度).{0,8}超|输入.{0,4}tokens?.{0,4}超", ZHIPU),
    ("in Japanese", r"(入力|プロンプト|トークン|コンテキスト).{0,12}(長すぎ|超え|超過)", OPENROUTER),
    ("any", r"messages?[\w.\[\]]*'?: string too long|\bstring too long\b(?!.{0,60}length \d{1,4}\b)", OPENROUTER),
)
