"""The models that the emulator pretends to have: ids, providers, prices, habits of their makers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple


class Author(NamedTuple):
    """What is the maker's own: the provider's display name, its reasoning format, its words for a finish."""

    provider: str
    reasoning_format: str = "unknown"
    native: dict[str, str] = {}  # noqa: RUF012 a constant of a NamedTuple


AUTHORS: dict[str, Author] = {
    "anthropic": Author(
        "Anthropic", "anthropic-claude-v1", {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
    ),
    "openai": Author(
        "OpenAI",
        "openai-responses-v1",
        {"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed"},
    ),
    "google": Author("Google", "google-gemini-v1", {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}),
    "x-ai": Author("xAI", "xai-responses-v1"),
    "meta-llama": Author("Meta"),
    "mistralai": Author("Mistral"),
    "deepseek": Author("DeepSeek"),
    "qwen": Author("Alibaba"),
    "z-ai": Author("Z.AI"),
    "moonshotai": Author("Moonshot AI"),
    "minimax": Author("Minimax"),
}

# USD per token: prompt, completion.
PRICES: dict[str, tuple[float, float]] = {
    "anthropic/claude-sonnet-4.5": (3e-6, 15e-6),
    "anthropic/claude-haiku-4.5": (1e-6, 5e-6),
    "openai/gpt-5.1": (1.25e-6, 10e-6),
    "openai/gpt-5-mini": (0.25e-6, 2e-6),
    "google/gemini-2.5-pro": (1.25e-6, 10e-6),
    "google/gemini-2.5-flash": (0.3e-6, 2.5e-6),
    "meta-llama/llama-3.3-70b-instruct": (0.13e-6, 0.4e-6),
    "deepseek/deepseek-chat": (0.3e-6, 1.2e-6),
    "mistralai/mistral-small": (0.1e-6, 0.3e-6),
}
_OTHER_PRICES = ((0.1e-6, 0.4e-6), (0.5e-6, 2e-6), (1e-6, 5e-6), (3e-6, 15e-6))
_PARAMETERS = (
    "include_reasoning",
    "logprobs",
    "max_tokens",
    "reasoning",
    "response_format",
    "seed",
    "stop",
    "structured_outputs",
    "temperature",
    "tool_choice",
    "tools",
    "top_p",
)


def author(model: str) -> Author:
    """The maker of a model; one nobody knows is named after its prefix."""
    name = model.lstrip("~").partition("/")[0]
    return AUTHORS.get(name) or Author(name.replace("-", " ").title() or "Emulated")


def price(model: str) -> tuple[float, float]:
    """USD per prompt and per completion token: fixed per model, nothing for `:free`."""
    base, _, variant = model.partition(":")
    if variant == "free":
        return 0.0, 0.0
    return PRICES.get(base) or _OTHER_PRICES[hashlib.sha256(base.encode()).digest()[0] % len(_OTHER_PRICES)]


def routable(model: str, known: Sequence[str] | None) -> bool:
    """Whether an id names a model: one of `known`, or with None any `author/name`."""
    if known is not None:
        return model in known
    prefix, slash, name = model.partition("/")
    return bool(prefix and slash and name)


def listing(known: Sequence[str] | None) -> dict[str, Any]:
    """The body of `GET /models`."""
    return {"data": [_entry(model) for model in (known if known is not None else PRICES)]}


def _entry(model: str) -> dict[str, Any]:
    prompt, completion = price(model)
    return {
        "id": model,
        "canonical_slug": model.partition(":")[0],
        "name": f"{author(model).provider}: {model.rpartition('/')[2]}",
        "created": 1750000000,
        "description": "A model of the emulator.",
        "context_length": 128_000,
        "architecture": {
            "modality": "text+image->text",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "tokenizer": "Other",
            "instruct_type": None,
        },
        "pricing": {"prompt": _usd(prompt), "completion": _usd(completion), "request": "0", "image": "0"},
        "top_provider": {"context_length": 128_000, "max_completion_tokens": 16_384, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": list(_PARAMETERS),
        "default_parameters": None,
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{model}/endpoints"},
    }


def _usd(amount: float) -> str:
    return f"{amount:.10f}".rstrip("0").rstrip(".") or "0"
