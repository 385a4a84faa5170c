"""The parameters of a request: which are known, which belong elsewhere, which only OpenRouter takes."""

from __future__ import annotations

from functools import lru_cache

from ..errors import ConfigError
from ..suggest import VERY_CLOSE, nearest

_OWN = (
    "task",
    "max_cost_tier",
    "max_price",
    "primary_provider",
    "models",
    "accept",
    "headers",
    "timeout",
    "total_timeout",
    "mid_stream",
)
_KNOWN = frozenset(
    {
        "audio",
        "cache_control",
        "debug",
        "frequency_penalty",
        "function_call",
        "functions",
        "image_config",
        "include_reasoning",
        "logit_bias",
        "logprobs",
        "max_completion_tokens",
        "max_tokens",
        "metadata",
        "min_p",
        "modalities",
        "n",
        "parallel_tool_calls",
        "plugins",
        "prediction",
        "presence_penalty",
        "prompt_cache_key",
        "prompt_cache_options",
        "provider",
        "reasoning",
        "reasoning_effort",
        "repetition_penalty",
        "response_format",
        "route",
        "seed",
        "service_tier",
        "session_id",
        "stop",
        "stop_server_tools_when",
        "store",
        "stream_options",
        "temperature",
        "tool_choice",
        "tools",
        "top_a",
        "top_k",
        "top_logprobs",
        "top_p",
        "trace",
        "transforms",
        "usage",
        "user",
        "verbosity",
        "web_search_options",
    }
)
_MISPLACED = {
    "fallbacks": "name the models in order: models=['openai/gpt-5.1', ...]",
    "model": "name the models in order: models=['openai/gpt-5.1', ...]",
    "stream": "use client.stream(...) or client.astream(...)",
    "messages": "the messages are the first argument",
    "mid_stream": "it is one of stream and astream; a call that is not streamed starts over",
}
# What no other server knows; some refuse what they do not know (OpenAI and Groq: with a 400).
_OPENROUTERS = frozenset(
    {
        "cache_control",
        "debug",
        "image_config",
        "include_reasoning",
        "plugins",
        "provider",
        "reasoning",
        "route",
        "session_id",
        "stop_server_tools_when",
        "trace",
        "transforms",
        "usage",
    }
)
_OPENROUTERS_IN_MESSAGES = frozenset({"images", "reasoning", "reasoning_details"})


def _refuse_mistake(key: str) -> None:
    if key in _MISPLACED:
        raise ConfigError(f"{key}= is not an argument here; {_MISPLACED[key]}")
    near = _near(key)
    if near is not None:
        raise ConfigError(f"{key}= is not an argument; did you mean {near}=? (extra_body={{...}} sends it as it is)")


@lru_cache(maxsize=256)
def _near(key: str) -> str | None:
    """What may have been meant. A parameter must look very much alike: new ones of OpenRouter resemble the known."""
    return nearest(key, _OWN, VERY_CLOSE) or nearest(key, sorted(_KNOWN), 0.9)
