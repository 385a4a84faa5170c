"""What the catalog reads, and what routing by need takes for granted, against OpenRouter's published description."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from openrouter_fallback import FallbackClient, ModelInfo
from openrouter_fallback.catalog.prices import PriceCap
from openrouter_fallback.request.handover import History, translate
from openrouter_fallback.request.handover.rules import FORMATS
from openrouter_fallback.routes.needs import needs

from ..request.handover.histories import target
from ..support.rawserver import RawServer, Reply

DESCRIPTION = Path(__file__).parents[3] / "shared" / "openrouter" / "openapi-subset.yaml"
pytestmark = pytest.mark.skipif(
    not DESCRIPTION.is_file(), reason="no API description beside the repository (shared/openrouter)"
)


@pytest.fixture(scope="module")
def schemas() -> dict[str, Any]:
    found: dict[str, Any] = yaml.load(DESCRIPTION.read_bytes(), yaml.CSafeLoader)["components"]["schemas"]
    return found


async def test_the_descriptions_own_example_is_read_whole(schemas: dict[str, Any]) -> None:
    with RawServer() as server:
        server.answer(Reply([json.dumps(schemas["ModelsListResponse"]["example"]).encode()]))
        client = FallbackClient(["openai/gpt-4"], base_url=server.base_url, api_key="sk-or-x")
        await client.catalog.refresh()
    assert client.catalog.get("openai/gpt-4") == ModelInfo(
        id="openai/gpt-4",
        name="GPT-4",
        canonical_slug="openai/gpt-4",
        context_length=8192,
        max_output=4096,
        prompt_price=Decimal("0.00003"),
        completion_price=Decimal("0.00006"),
        request_price=Decimal(0),
        input_modalities=frozenset({"text"}),
        output_modalities=frozenset({"text"}),
        parameters=frozenset({"temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty"}),
        expires=None,
    )
    assert date.fromisoformat(schemas["Model"]["properties"]["expiration_date"]["example"])


# Schema, property, the types that it may have
FIELDS: list[tuple[str, str, set[str]]] = [
    ("Model", "id", {"string"}),
    ("Model", "name", {"string"}),
    ("Model", "canonical_slug", {"string"}),
    ("Model", "context_length", {"integer", "null"}),
    ("Model", "expiration_date", {"string", "null"}),
    ("Model", "supported_parameters", {"array"}),
    ("ModelArchitecture", "input_modalities", {"array"}),
    ("ModelArchitecture", "output_modalities", {"array"}),
    ("PublicPricing", "prompt", {"string"}),
    ("PublicPricing", "completion", {"string"}),
    ("PublicPricing", "request", {"string"}),
    ("TopProviderInfo", "max_completion_tokens", {"integer", "null"}),
]


@pytest.mark.parametrize(("schema", "name", "types"), FIELDS)
def test_each_field_that_is_read_is_described_so(
    schemas: dict[str, Any], schema: str, name: str, types: set[str]
) -> None:
    described = schemas[schema]["properties"][name]["type"]
    assert set([described] if isinstance(described, str) else described) == types


def test_the_words_for_needs_are_the_descriptions(schemas: dict[str, Any]) -> None:
    parts = schemas["ChatContentItems"]["discriminator"]["mapping"].keys() - {"text"}
    found = [needs({}, [{"role": "user", "content": [{"type": part}]}], 100).abilities for part in sorted(parts)]
    assert all(len(one) == 1 for one in found), "each part is one need"
    assert frozenset().union(*found) == set(schemas["InputModality"]["enum"]) - {"text"}
    assert {"tools", "reasoning", "structured_outputs"} <= set(schemas["Parameter"]["enum"])


def test_every_format_of_reasoning_has_a_maker(schemas: dict[str, Any]) -> None:
    formats = set(schemas["ReasoningFormat"]["enum"]) - {None, "unknown"}
    assert formats == FORMATS.keys()
    kinds = schemas["ReasoningDetailUnion"]["discriminator"]["mapping"]
    details = [
        {"type": kind, "format": "anthropic-claude-v1", "data": "x", "text": "x", "signature": "x"} for kind in kinds
    ]
    said = {"role": "assistant", "content": "Hello", "reasoning_details": details}
    history = History([{"role": "user", "content": "Hi"}, said, {"role": "user", "content": "Hi"}])
    sent = translate(history, target("openai/gpt-5.1")).messages[1]["reasoning_details"]
    assert [detail["type"] for detail in sent] == ["reasoning.server_tool_call"], "the one that any model may read"


def test_a_price_cap_is_sent_as_described(schemas: dict[str, Any]) -> None:
    described = schemas["ProviderPreferences"]["properties"]["max_price"]["properties"]
    cap = PriceCap.read({"prompt": 1e-7, "completion": Decimal("2.50"), "request": 0})
    assert cap is not None
    sent = cap.wire()
    assert sent == {"prompt": "0.0000001", "completion": "2.50", "request": "0"}
    assert {described[name]["type"] for name in sent} == {"string"}
