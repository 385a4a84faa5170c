"""Lists of models in OpenRouter's form, and clients that read these lists."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import Any

from openrouter_fallback import Catalog, FallbackClient, ModelInfo
from openrouter_fallback.emulator import Emulator

from .rawserver import RawServer, Reply

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
SONNET = "anthropic/claude-sonnet-4.5"

ENTRY: dict[str, Any] = {
    "id": SONNET,
    "canonical_slug": "anthropic/claude-4.5-sonnet-20250929",
    "name": "Anthropic: Claude Sonnet 4.5",
    "created": 1759161676,
    "context_length": 1_000_000,
    "architecture": {"input_modalities": ["text", "image", "file"], "output_modalities": ["text"], "tokenizer": "x"},
    "pricing": {"prompt": "0.000003", "completion": "0.000015", "request": "0", "image": "0.0048", "discount": 0},
    "top_provider": {"context_length": 1_000_000, "max_completion_tokens": 64_000, "is_moderated": False},
    "supported_parameters": ["tools", "structured_outputs", "reasoning", "max_tokens"],
    "expiration_date": "2027-05-01",
    "a_field_of_tomorrow": {"nobody": ["knows"]},
}
INFO = ModelInfo(
    id=SONNET,
    name="Anthropic: Claude Sonnet 4.5",
    canonical_slug="anthropic/claude-4.5-sonnet-20250929",
    context_length=1_000_000,
    max_output=64_000,
    prompt_price=Decimal("0.000003"),
    completion_price=Decimal("0.000015"),
    request_price=Decimal(0),
    input_modalities=frozenset({"text", "image", "file"}),
    output_modalities=frozenset({"text"}),
    parameters=frozenset({"tools", "structured_outputs", "reasoning", "max_tokens"}),
    expires=date(2027, 5, 1),
)


def listing(*entries: object) -> Reply:
    return Reply([json.dumps({"data": entries}).encode()], content_type="application/json")


def client_of(raw: RawServer | Emulator, catalog: str = "auto", **endpoints: dict[str, Any]) -> FallbackClient:
    config: dict[str, Any] = {"default_chain": [SONNET], "endpoints": endpoints, "settings": {"catalog": catalog}}
    return FallbackClient(config=config, base_url=raw.base_url, api_key=KEY)


async def read_from(raw: RawServer, *entries: object) -> Catalog:
    raw.answer(listing(*entries))
    client = client_of(raw)
    await client.catalog.refresh()
    return client.catalog


FREE = {**ENTRY, "id": "meta-llama/llama-3.3-70b-instruct:free", "canonical_slug": "meta-llama/llama-3.3-70b-instruct"}
LLAMA = {**ENTRY, "id": "meta-llama/llama-3.3-70b-instruct", "canonical_slug": "meta-llama/llama-3.3-70b-instruct"}
LATEST = {**ENTRY, "id": "~anthropic/claude-sonnet-latest", "alias_target": {"slug": SONNET, "name": "x"}}
