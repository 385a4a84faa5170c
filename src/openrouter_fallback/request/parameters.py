"""The request parameters that only OpenRouter knows."""

from __future__ import annotations

OPENROUTER_ONLY = frozenset(
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
"""Other servers may refuse these (OpenAI and Groq: with a 400), so that only OpenRouter is sent them."""
