"""The parameters of a request: the known ones, those set elsewhere, and those of OpenRouter alone."""

from __future__ import annotations

# Parameters that only OpenRouter knows; other servers may refuse them (OpenAI and Groq: with a 400).
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
