"""The bundled models: `GET /models` lists these unless the emulator gets a list of models.

Ids, limits and prices resemble OpenRouter's list but are not kept up to date.
"""

from __future__ import annotations

from typing import NamedTuple


def slug(provider: str) -> str:
    """The slug that requests use for a provider: "amazon-bedrock" for "Amazon Bedrock"."""
    return provider.lower().replace(".", "-").replace(" ", "-")


class Host(NamedTuple):
    """One provider of a model. `factor` is the ratio of its prices to the first provider's prices."""

    name: str
    factor: str = "1"
    quantization: str = "unknown"
    collects: bool = False
    zdr: bool = False
    tokens_per_second: int = 60
    lacks: str = ""

    @property
    def tag(self) -> str:
        """The provider's slug."""
        return slug(self.name)


class Row(NamedTuple):
    """One model. Prices are USD per million tokens (`request`: USD per request). Limits are tokens.

    `can` names the abilities beside text (`must`: the model always reasons). `cache` holds the prices of reading and
    writing the prompt cache. `expires` counts days from the start of the emulator.
    """

    id: str
    released: str
    context: int
    max_output: int | None
    prompt: str
    completion: str
    hosts: tuple[Host, ...]
    can: str = "tools json"
    cache: tuple[str, str] = ("", "")
    expires: int | None = None
    request: str = "0"


_CLAUDE = (
    Host("Anthropic", zdr=True),
    Host("Amazon Bedrock", zdr=True, tokens_per_second=55),
    Host("Google", zdr=True, tokens_per_second=65),
)
_OPENAI = (Host("OpenAI", tokens_per_second=70), Host("Azure", zdr=True))
_ONLY_OPENAI = (Host("OpenAI", tokens_per_second=40),)
_GOOGLE = (Host("Google", zdr=True, tokens_per_second=90), Host("Google AI Studio", tokens_per_second=100))
_STUDIO_FREE = (Host("Google AI Studio", collects=True),)
_XAI = (Host("xAI", zdr=True),)
_MISTRAL = (Host("Mistral"),)
_OPEN = (
    Host("DeepInfra", quantization="fp8", zdr=True, tokens_per_second=40),
    Host("Together", "2", quantization="fp8", tokens_per_second=90),
    Host("Groq", "3", zdr=True, tokens_per_second=400, lacks="structured_outputs logprobs"),
    Host("Chutes", "0.8", quantization="fp8", collects=True, tokens_per_second=30, lacks="tools tool_choice"),
)
_DEEPSEEK = (
    Host("DeepInfra", quantization="fp4", zdr=True, tokens_per_second=30),
    Host("DeepSeek", collects=True, tokens_per_second=35),
    Host("Fireworks", "2", zdr=True, tokens_per_second=120),
)
_QWEN = (Host("Alibaba", collects=True), Host("DeepInfra", quantization="fp8", zdr=True), Host("Novita", "1.2"))
_ALIBABA = (Host("Alibaba", collects=True),)
_MOONSHOT = (Host("Moonshot AI", collects=True), Host("Together", "1.5", zdr=True, tokens_per_second=100))
_ZAI = (Host("Z.AI", collects=True), Host("Parasail", "1.1", quantization="fp8", zdr=True))
_MINIMAX = (Host("Minimax", collects=True), Host("Fireworks", "1.2", zdr=True))
_FREE = (Host("Chutes", collects=True, tokens_per_second=20),)

_SEES = "tools json reasoning image file"
_CHAT_GPT = "tools json logprobs image file"
_GEMINI = "tools json reasoning image file audio video"
_OPEN_CHAT = "tools json logprobs"

ROWS: tuple[Row, ...] = (
    Row("anthropic/claude-sonnet-4.5", "2025-09-29", 1_000_000, 64_000, "3", "15", _CLAUDE, _SEES, ("0.3", "3.75")),
    Row("anthropic/claude-sonnet-4.6", "2026-02-17", 1_000_000, 128_000, "3", "15", _CLAUDE, _SEES, ("0.3", "3.75")),
    Row("anthropic/claude-opus-4.6", "2026-02-04", 1_000_000, 128_000, "5", "25", _CLAUDE, _SEES, ("0.5", "6.25")),
    Row("anthropic/claude-opus-4.5", "2025-11-24", 200_000, 64_000, "5", "25", _CLAUDE, _SEES, ("0.5", "6.25")),
    Row("anthropic/claude-haiku-4.5", "2025-10-15", 200_000, 64_000, "1", "5", _CLAUDE, _SEES, ("0.1", "1.25")),
    Row("anthropic/claude-opus-4.1", "2025-08-05", 200_000, 32_000, "15", "75", _CLAUDE, _SEES, ("1.5", "18.75")),
    Row("anthropic/claude-sonnet-4", "2025-05-22", 1_000_000, 64_000, "3", "15", _CLAUDE, _SEES, ("0.3", "3.75"), 45),
    Row("anthropic/claude-3.7-sonnet", "2025-02-24", 200_000, 64_000, "3", "15", _CLAUDE, _SEES, ("0.3", "3.75"), 12),
    Row("openai/gpt-5.1", "2025-11-13", 400_000, 128_000, "1.25", "10", _OPENAI, _SEES, ("0.125", "")),
    Row("openai/gpt-5.2", "2025-12-11", 400_000, 128_000, "1.75", "14", _OPENAI, _SEES, ("0.175", "")),
    Row("openai/gpt-5.1-codex", "2025-11-13", 400_000, 128_000, "1.25", "10", _OPENAI, _SEES, ("0.125", "")),
    Row("openai/gpt-5", "2025-08-07", 400_000, 128_000, "1.25", "10", _OPENAI, _SEES, ("0.125", "")),
    Row("openai/gpt-5-pro", "2025-10-06", 400_000, 128_000, "15", "120", _ONLY_OPENAI, _SEES + " must"),
    Row("openai/gpt-5-mini", "2025-08-07", 400_000, 128_000, "0.25", "2", _OPENAI, _SEES, ("0.025", "")),
    Row("openai/gpt-5-nano", "2025-08-07", 400_000, 128_000, "0.05", "0.4", _OPENAI, _SEES, ("0.005", "")),
    Row("openai/gpt-4.1", "2025-04-14", 1_047_576, 32_768, "2", "8", _OPENAI, _CHAT_GPT, ("0.5", "")),
    Row("openai/gpt-4.1-mini", "2025-04-14", 1_047_576, 32_768, "0.4", "1.6", _OPENAI, _CHAT_GPT, ("0.1", "")),
    Row("openai/gpt-4o", "2024-05-13", 128_000, 16_384, "2.5", "10", _OPENAI, _CHAT_GPT, ("1.25", "")),
    Row("openai/gpt-4o-mini", "2024-07-18", 128_000, 16_384, "0.15", "0.6", _OPENAI, _CHAT_GPT, ("0.075", "")),
    Row("openai/gpt-4o-audio-preview", "2025-08-15", 128_000, 16_384, "2.5", "10", _ONLY_OPENAI, "tools audio speech"),
    Row("openai/o4-mini", "2025-04-16", 200_000, 100_000, "1.1", "4.4", _OPENAI, _SEES + " must", ("0.275", ""), 60),
    Row("openai/gpt-oss-120b", "2025-08-05", 131_072, None, "0.04", "0.19", _OPEN, "tools json reasoning must"),
    Row("openai/gpt-oss-20b", "2025-08-05", 131_072, None, "0.03", "0.14", _OPEN, "tools json reasoning must"),
    Row("openai/gpt-oss-20b:free", "2025-08-05", 131_072, 131_072, "0", "0", _FREE, "tools reasoning must"),
    Row("google/gemini-3-pro-preview", "2025-11-18", 1_048_576, 65_536, "2", "12", _GOOGLE, _GEMINI, ("0.2", "")),
    Row("google/gemini-3-flash-preview", "2025-12-17", 1_048_576, 65_536, "0.5", "3", _GOOGLE, _GEMINI, ("0.05", "")),
    Row("google/gemini-2.5-pro", "2025-06-17", 1_048_576, 65_536, "1.25", "10", _GOOGLE, _GEMINI, ("0.125", "")),
    Row("google/gemini-2.5-flash", "2025-06-17", 1_048_576, 65_535, "0.3", "2.5", _GOOGLE, _GEMINI, ("0.03", "")),
    Row("google/gemini-2.5-flash-lite", "2025-07-22", 1_048_576, 65_535, "0.1", "0.4", _GOOGLE, _GEMINI, ("0.01", "")),
    Row("google/gemini-2.5-flash-image", "2025-10-07", 32_768, 32_768, "0.3", "2.5", _GOOGLE, "json image draws"),
    Row(
        "google/gemini-2.0-flash-001", "2025-02-05", 1_048_576, 8_192, "0.1", "0.4", _GOOGLE, _GEMINI, ("0.025", ""), 30
    ),
    Row("google/gemma-3-27b-it", "2025-03-12", 131_072, 16_384, "0.04", "0.15", _OPEN, "json image"),
    Row("google/gemma-3-27b-it:free", "2025-03-12", 131_072, 8_192, "0", "0", _STUDIO_FREE, "image"),
    Row("meta-llama/llama-3.3-70b-instruct", "2024-12-06", 131_072, 16_384, "0.13", "0.4", _OPEN, _OPEN_CHAT),
    Row("meta-llama/llama-3.3-70b-instruct:free", "2024-12-06", 131_072, None, "0", "0", _FREE, "tools"),
    Row("meta-llama/llama-4-maverick", "2025-04-05", 1_048_576, 16_384, "0.15", "0.6", _OPEN, _OPEN_CHAT + " image"),
    Row("meta-llama/llama-4-scout", "2025-04-05", 327_680, 16_384, "0.08", "0.3", _OPEN, _OPEN_CHAT + " image"),
    Row("meta-llama/llama-3.2-3b-instruct", "2024-09-25", 131_072, 16_384, "0.02", "0.02", _OPEN, ""),
    Row("meta-llama/llama-guard-4-12b", "2025-04-30", 163_840, None, "0.18", "0.18", _OPEN[:2], "image"),
    Row("mistralai/mistral-small", "2024-01-10", 32_768, None, "0.1", "0.3", _MISTRAL),
    Row("mistralai/mistral-medium-3.1", "2025-08-13", 131_072, None, "0.4", "2", _MISTRAL, "tools json image"),
    Row("mistralai/mistral-large-2512", "2025-12-02", 262_144, None, "0.5", "1.5", _MISTRAL, "tools json image"),
    Row("mistralai/devstral-2512", "2025-12-09", 262_144, None, "0.05", "0.22", _MISTRAL),
    Row("mistralai/codestral-2508", "2025-08-01", 256_000, None, "0.3", "0.9", _MISTRAL),
    Row("mistralai/mistral-nemo", "2024-07-19", 131_072, 16_384, "0.02", "0.04", _OPEN[:2], _OPEN_CHAT),
    Row("deepseek/deepseek-chat", "2024-12-26", 163_840, 163_840, "0.3", "1.2", _DEEPSEEK, _OPEN_CHAT),
    Row("deepseek/deepseek-chat-v3.1", "2025-08-21", 32_768, 7_168, "0.15", "0.75", _DEEPSEEK, "tools json reasoning"),
    Row("deepseek/deepseek-v3.2", "2025-12-01", 163_840, 65_536, "0.26", "0.38", _DEEPSEEK, "tools json reasoning"),
    Row("deepseek/deepseek-r1-0528", "2025-05-28", 163_840, 65_536, "0.4", "1.75", _DEEPSEEK, "json reasoning must"),
    Row("deepseek/deepseek-r1-0528:free", "2025-05-28", 163_840, None, "0", "0", _FREE, "reasoning must", expires=7),
    Row("qwen/qwen3-max", "2025-09-23", 256_000, 32_768, "1.2", "6", _ALIBABA, "tools json logprobs", ("0.24", "")),
    Row("qwen/qwen3-235b-a22b-2507", "2025-07-21", 262_144, None, "0.071", "0.463", _QWEN, _OPEN_CHAT),
    Row("qwen/qwen3-coder", "2025-07-23", 262_144, 65_536, "0.22", "0.95", _QWEN, _OPEN_CHAT),
    Row("qwen/qwen3-coder:free", "2025-07-23", 262_000, 262_000, "0", "0", _FREE, "tools"),
    Row("qwen/qwen3-vl-235b-a22b-instruct", "2025-09-23", 262_144, None, "0.2", "1.2", _QWEN, "tools json image"),
    Row("qwen/qwen-2.5-72b-instruct", "2024-09-19", 32_768, 16_384, "0.12", "0.39", _QWEN, "tools json", expires=90),
    Row(
        "x-ai/grok-4", "2025-07-09", 256_000, None, "3", "15", _XAI, "tools json reasoning logprobs image", ("0.75", "")
    ),
    Row(
        "x-ai/grok-4.1-fast",
        "2025-11-19",
        2_000_000,
        30_000,
        "0.2",
        "0.5",
        _XAI,
        "tools json reasoning image",
        ("0.05", ""),
    ),
    Row(
        "x-ai/grok-code-fast-1", "2025-08-26", 256_000, 10_000, "0.2", "1.5", _XAI, "tools json reasoning", ("0.02", "")
    ),
    Row("moonshotai/kimi-k2-0905", "2025-09-04", 262_144, None, "0.39", "1.9", _MOONSHOT),
    Row(
        "moonshotai/kimi-k2-thinking",
        "2025-11-06",
        262_144,
        None,
        "0.4",
        "1.75",
        _MOONSHOT,
        "tools json reasoning must",
    ),
    Row("z-ai/glm-4.6", "2025-09-30", 202_752, 65_536, "0.39", "1.9", _ZAI, "tools json reasoning"),
    Row("z-ai/glm-4.5-air", "2025-07-25", 131_072, 98_304, "0.13", "0.85", _ZAI, "tools json reasoning"),
    Row("z-ai/glm-4.5-air:free", "2025-07-25", 131_072, 96_000, "0", "0", _FREE, "tools reasoning"),
    Row("minimax/minimax-m2", "2025-10-23", 196_608, 65_536, "0.2", "1", _MINIMAX, "tools json reasoning must"),
    Row("cohere/command-a", "2025-03-13", 256_000, 8_192, "2.5", "10", (Host("Cohere"),), "json"),
    Row("amazon/nova-pro-v1", "2024-12-05", 300_000, 5_120, "0.8", "3.2", _CLAUDE[1:2], "tools image"),
    Row("nvidia/nemotron-nano-9b-v2:free", "2025-09-05", 128_000, None, "0", "0", _FREE, "tools"),
    Row("microsoft/phi-4", "2025-01-10", 16_384, None, "0.06", "0.14", _OPEN[:1], "json"),
    Row(
        "perplexity/sonar",
        "2025-01-27",
        127_072,
        None,
        "1",
        "1",
        (Host("Perplexity"),),
        "image searches",
        request="0.005",
    ),
)

# `~author/family-latest` is an alias of the newest model of the family.
ALIASES = {
    "~anthropic/claude-sonnet-latest": "anthropic/claude-sonnet-4.6",
    "~anthropic/claude-opus-latest": "anthropic/claude-opus-4.6",
    "~openai/gpt-latest": "openai/gpt-5.2",
    "~google/gemini-flash-latest": "google/gemini-3-flash-preview",
}

# Ids of retired models, and their successors.
RETIRED = {
    "anthropic/claude-3-haiku": "anthropic/claude-haiku-4.5",
    "anthropic/claude-3-opus": "anthropic/claude-opus-4.6",
    "anthropic/claude-3.5-haiku": "anthropic/claude-haiku-4.5",
    "anthropic/claude-3.5-sonnet": "anthropic/claude-sonnet-4.6",
    "deepseek/deepseek-coder": "deepseek/deepseek-v3.2",
    "google/gemini-pro-1.5": "google/gemini-2.5-pro",
    "meta-llama/llama-3.1-70b-instruct": "meta-llama/llama-3.3-70b-instruct",
    "meta-llama/llama-3.1-8b-instruct": "meta-llama/llama-4-scout",
    "mistralai/mistral-large": "mistralai/mistral-large-2512",
    "openai/gpt-3.5-turbo": "openai/gpt-5-nano",
    "openai/gpt-4": "openai/gpt-5.1",
    "openai/gpt-4-turbo": "openai/gpt-5.1",
}
