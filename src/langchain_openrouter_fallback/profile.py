"""What every model of a chain can, as LangChain's profile: agents choose by it, and requests that need more still go
to those candidates that can."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import ModelProfile

from openrouter_fallback import FallbackClient, ModelInfo

# LangChain's word -> the catalog's.
_NEEDS: Mapping[str, str] = {
    "tool_calling": "tools",
    "reasoning_output": "reasoning",
    "image_inputs": "image",
    "image_url_inputs": "image",
    "audio_inputs": "audio",
    "pdf_inputs": "file",
    "video_inputs": "video",
    "text_inputs": "text",
    "image_outputs": "image_output",
    "audio_outputs": "audio_output",
    "text_outputs": "text_output",
}

_NOT_BESIDE_TOOLS = re.compile(r"gemini-(1|2)\b", re.IGNORECASE)
"""Models that refuse a JSON schema and tools in one request: Gemini before its third series, as LangChain knows too."""


def take_schemas(client: FallbackClient) -> bool | None:
    """Whether every candidate answers by a JSON schema; None if that is not known of one."""
    return _all_can([client.catalog.get(model) for model in _chain(client)], "structured_outputs")


def profile_of(client: FallbackClient) -> ModelProfile | None:
    """The intersection of what the candidates can, and their smallest limits; unknown words are left out.

    `structured_output` is what agents read in it: an answer by a JSON schema beside tools.
    """
    chain = _chain(client)
    infos = [client.catalog.get(model) for model in chain]
    known = [info for info in infos if info is not None]
    profile: dict[str, Any] = {}
    for word, need in _NEEDS.items():
        can = _all_can(infos, need)
        if can is not None:
            profile[word] = can
    schemas = _all_can(infos, "structured_outputs")
    if schemas is not None:
        profile["structured_output"] = schemas and not any(map(_NOT_BESIDE_TOOLS.search, chain))
    for word, limits in (
        ("max_input_tokens", [info.context_length for info in known if info.context_length]),
        ("max_output_tokens", [info.max_output for info in known if info.max_output]),
    ):
        if limits:
            profile[word] = min(limits)
    words = ModelProfile.__annotations__
    return ModelProfile(**{word: value for word, value in profile.items() if word in words}) or None  # type: ignore[typeddict-item]


def _chain(client: FallbackClient) -> tuple[str, ...]:
    route = client.route()
    # Those that health leaves out for a while are candidates all the same.
    return (*route.candidates, *(skip.model for skip in route.skipped if skip.seconds_left is not None))


def _all_can(infos: Sequence[ModelInfo | None], need: str) -> bool | None:
    """False if one cannot, None if that is not known of one, else True."""
    answers = [None if info is None else info.can(need) for info in infos]
    return False if False in answers else None if None in answers else True
