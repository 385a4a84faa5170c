"""The parameters of a request: which are known, which belong elsewhere, which only OpenRouter takes."""

from __future__ import annotations

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
