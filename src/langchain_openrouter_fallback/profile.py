"""The abilities that all models of a chain share, as LangChain's model profile. Agents read the profile.

A request that needs more is still sent, to the models of the chain that have the ability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.language_models import ModelProfile

from openrouter_fallback import FallbackClient, ModelInfo

# The name of an ability in LangChain's profile -> its name in the catalog.
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
"""Models that refuse a JSON schema and tools in one request: Gemini before version 3, as in LangChain's own package."""


def take_schemas(client: FallbackClient) -> bool | None:
    """Whether every model of the chain supports JSON schemas; None if this is unknown for a model."""
    return _all_can([client.catalog.get(model) for model in _chain(client)], "structured_outputs")


def profile_of(client: FallbackClient) -> ModelProfile | None:
    """The abilities that all models of the chain have, and their smallest limits. Unknown abilities are omitted.

    `structured_output` has the meaning that agents give it: a JSON schema and tools in the same request.
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
    # A model in a cooldown, or with an open circuit, is still a model of the chain.
    return (*route.candidates, *(skip.model for skip in route.skipped if skip.seconds_left is not None))


def _all_can(infos: Sequence[ModelInfo | None], need: str) -> bool | None:
    """False if one model lacks the ability, None if it is unknown for a model, else True."""
    answers = [None if info is None else info.can(need) for info in infos]
    return False if False in answers else None if None in answers else True
