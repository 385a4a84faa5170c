"""Well-known families, from a list of models of 2026-02-28. Made by scripts/families.py: do not edit."""

from __future__ import annotations

from typing import Final

DATE: Final = "2026-02-28"
FAMILIES: Final[dict[str, tuple[int | None, str, str]]] = {
    "anthropic/claude": (None, "file image text", "reasoning response_format structured_outputs tools"),
    "deepseek/deepseek-chat": (None, "text", "reasoning response_format structured_outputs tools"),
    "deepseek/deepseek-v3.2": (163840, "text", "reasoning response_format structured_outputs tools"),
    "google/gemini": (None, "audio file image text video", "reasoning response_format structured_outputs tools"),
    "meta-llama/llama-3.3": (131072, "text", "response_format structured_outputs tools"),
    "meta-llama/llama-4": (None, "image text", "response_format structured_outputs tools"),
    "minimax/minimax-m2": (196608, "text", "reasoning response_format structured_outputs tools"),
    "mistralai/mistral-nemo": (131072, "text", "response_format structured_outputs tools"),
    "moonshotai/kimi-k2": (262144, "text", "reasoning response_format structured_outputs tools"),
    "openai/gpt-4.1": (1047576, "file image text", "response_format structured_outputs tools"),
    "openai/gpt-4o": (128000, "audio file image text", "response_format structured_outputs tools"),
    "openai/gpt-5": (400000, "file image text", "reasoning response_format structured_outputs tools"),
    "openai/gpt-5.1": (400000, "file image text", "reasoning response_format structured_outputs tools"),
    "openai/gpt-5.2": (400000, "file image text", "reasoning response_format structured_outputs tools"),
    "openai/gpt-oss": (131072, "text", "reasoning response_format structured_outputs tools"),
    "openai/o4": (200000, "file image text", "reasoning response_format structured_outputs tools"),
    "qwen/qwen3-235b": (262144, "text", "response_format structured_outputs tools"),
    "x-ai/grok-4.1": (2000000, "image text", "reasoning response_format structured_outputs tools"),
    "z-ai/glm-4.5": (131072, "text", "reasoning response_format structured_outputs tools"),
    "z-ai/glm-4.6": (202752, "text", "reasoning response_format structured_outputs tools"),
}
