"""The catalog: what is read from a listing, what is known before one was read, what is said when none can be had."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import CatalogError, ConfigError, FallbackClient, ModelInfo
from openrouter_fallback.catalog.families import DATE, FAMILIES, IDS
from openrouter_fallback.catalog.listing import Listing, entries_of, read_listing
from openrouter_fallback.catalog.prices import PriceCap
from openrouter_fallback.emulator import Emulator

from ..support.catalogs import ENTRY, FREE, INFO, KEY, LATEST, LLAMA, SONNET, client_of, listing, read_from
from ..support.rawserver import RawServer, Reply


async def test_an_entry_is_read_whole(raw: RawServer) -> None:
    catalog = await read_from(raw, ENTRY)
    assert catalog.get(SONNET) == INFO
    assert catalog.models() == (INFO,)
    (request,) = raw.requests
    assert request.line == "GET /api/v1/models"
    assert request.headers["authorization"] == f"Bearer {KEY}"


# What has not the form we know is unknown; the rest of the entry stays.
ODD: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("nothing but an id", {key: None for key in ENTRY if key != "id"}, {}),
    ("a price of -1: it routes to others", {"pricing": {"prompt": "-1", "completion": "-1"}}, {"prompt_price": None}),
    ("prices as numbers", {"pricing": {"prompt": 0.5e-6, "completion": 0}}, {"prompt_price": Decimal("5E-7")}),
    ("a price per million", {"pricing": {"prompt": "3.0"}}, {"prompt_price": None}),
    ("a price that is no number", {"pricing": {"prompt": "free"}}, {"prompt_price": None}),
    ("a price that is true", {"pricing": {"prompt": True}}, {"prompt_price": None}),
    ("a price of nan", {"pricing": {"prompt": "NaN", "completion": "Infinity"}}, {"completion_price": None}),
    ("pricing of another shape", {"pricing": ["0.1"]}, {"prompt_price": None}),
    ("a context in words", {"context_length": "128k"}, {"context_length": None}),
    ("a context of true", {"context_length": True}, {"context_length": None}),
    ("a context of 0", {"context_length": 0}, {"context_length": None}),
    ("no capabilities listed", {"supported_parameters": []}, {"parameters": None}),
    ("capabilities as a text", {"supported_parameters": "tools"}, {"parameters": None}),
    ("a capability that is no text", {"supported_parameters": ["tools", 1]}, {"parameters": frozenset({"tools"})}),
    ("an architecture of another shape", {"architecture": "text->text"}, {"input_modalities": None}),
    ("an expiry with a time", {"expiration_date": "2026-12-24T10:00:00Z"}, {"expires": date(2026, 12, 24)}),
    ("an expiry in words", {"expiration_date": "soon"}, {"expires": None}),
    ("a name with control characters", {"name": "a\x1b[31m"}, {"name": ""}),
]


@pytest.mark.parametrize(("changed", "read"), [odd[1:] for odd in ODD], ids=[odd[0] for odd in ODD])
async def test_what_has_not_its_form_is_unknown(raw: RawServer, changed: dict[str, Any], read: dict[str, Any]) -> None:
    info = (await read_from(raw, {**ENTRY, **changed})).get(SONNET)
    assert info is not None
    assert {name: getattr(info, name) for name in read} == read
    if not read:
        assert info == ModelInfo(SONNET)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
PRICE = st.one_of(JSON, st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,30})?([eE]-?[0-9]{1,9})?", fullmatch=True))
ENTRIES = st.fixed_dictionaries(
    {"id": st.sampled_from(["a/b", "c/d:free"]) | JSON},
    optional={
        **{key: JSON for key in ENTRY if key not in ("id", "pricing")},
        "architecture": JSON | st.fixed_dictionaries({"input_modalities": JSON, "output_modalities": JSON}),
        "pricing": JSON | st.fixed_dictionaries({"prompt": PRICE, "completion": PRICE, "request": PRICE}),
    },
)


@given(st.lists(ENTRIES | JSON, max_size=4) | JSON)
def test_any_list_is_read_or_refused_and_can_be_kept(listed: Any) -> None:
    try:
        entries = read_listing(orjson.dumps({"data": listed}))
    except ValueError:
        return
    models = Listing(entries_of(orjson.loads(orjson.dumps(entries)))).models()
    assert models == Listing(entries).models()
    for info in models:
        known = [info.prompt_price, info.completion_price, info.request_price]
        assert all(price is None or 0 <= price <= 1000 for price in known)
        assert info.context_length is None or info.context_length > 0
        assert len(PriceCap.read(1e-12).beyond(info) or "") < 200  # type: ignore[union-attr]
        assert info.can("tools") in (True, False, None)


async def test_entries_without_an_id_are_left_out(raw: RawServer) -> None:
    catalog = await read_from(raw, {"id": 7}, "gpt", None, {"name": "x"}, {"id": ""}, ENTRY, ENTRY)
    assert catalog.models() == (INFO,)


CAN: list[tuple[str, dict[str, Any], bool | None]] = [
    ("tools", {}, True),
    ("logprobs", {}, False),
    ("tools", {"supported_parameters": None}, None),
    ("image", {}, True),
    ("audio", {}, False),
    ("video", {"architecture": None}, None),
    ("text_output", {}, True),
    ("image_output", {}, False),
    ("image_output", {"architecture": {"input_modalities": ["text"]}}, None),
    ("reasoning", {}, True),
]


@pytest.mark.parametrize(("need", "changed", "answer"), CAN)
async def test_what_a_model_can(raw: RawServer, need: str, changed: dict[str, Any], answer: bool | None) -> None:
    info = (await read_from(raw, {**ENTRY, **changed})).get(SONNET)
    assert info is not None
    assert info.can(need) is answer


FOUND = [
    (SONNET, SONNET),
    ("anthropic/claude-4.5-sonnet-20250929", SONNET),
    (f"{SONNET}:nitro", SONNET),
    (f"{SONNET}:online", SONNET),
    (f"{SONNET}:free", SONNET),
    ("anthropic/claude-4.5-sonnet-20250929:floor", SONNET),
    ("~anthropic/claude-sonnet-latest", LATEST["id"]),
    (LLAMA["id"], LLAMA["id"]),
    (FREE["id"], FREE["id"]),
    (f"{LLAMA['id']}:nitro", LLAMA["id"]),
    ("anthropic/claude-sonnet", None),
    ("unknown/model", None),
]


@pytest.mark.parametrize(("asked", "listed"), FOUND)
async def test_variants_and_aliases_resolve(raw: RawServer, asked: str, listed: str | None) -> None:
    info = (await read_from(raw, FREE, LLAMA, ENTRY, LATEST)).get(asked)
    assert (info.id if info is not None else None) == listed


async def test_a_free_variant_that_is_not_listed_costs_nothing(raw: RawServer) -> None:
    info = (await read_from(raw, ENTRY)).get(f"{SONNET}:free")
    assert info is not None
    assert [info.prompt_price, info.completion_price, info.request_price] == [Decimal(0)] * 3
    assert info.context_length == INFO.context_length


async def test_each_endpoint_has_its_own_models(raw: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_KEY", "gsk_abcdefghijklmnop")
    client = client_of(raw, groq={"base_url": raw.base_url.replace("/api", "/groq"), "api_key_env": "GROQ_KEY"})
    raw.answer(listing(ENTRY), listing({"id": "llama-3.3-70b-versatile", "context_window": 131_072}))
    await client.catalog.refresh()
    assert client.catalog.get("groq:llama-3.3-70b-versatile") == ModelInfo(
        "llama-3.3-70b-versatile", context_length=131_072
    )
    assert client.catalog.get("llama-3.3-70b-versatile") is None
    assert client.catalog.get(f"groq:{SONNET}") is None
    assert [info.id for info in client.catalog.models("groq")] == ["llama-3.3-70b-versatile"]
    assert client.catalog.models("nobody") == ()
    sent = {request.line: request.headers["authorization"] for request in raw.requests}
    assert sent == {"GET /api/v1/models": f"Bearer {KEY}", "GET /groq/v1/models": "Bearer gsk_abcdefghijklmnop"}


REFUSED: list[tuple[str, Reply, str]] = [
    ("no json", Reply([b"<html>"]), "no list of models"),
    ("half", Reply([b'{"data": [{"id": "a/b"}'], ending="cut"), "cut after status"),
    ("no data", Reply([b'{"models": []}']), "lists none"),
    ("empty", Reply([b'{"data": []}']), "lists none"),
    ("refused", Reply([b'{"error": {"message": "Nobody home"}}'], status=503), "503, Nobody home"),
    ("a key in the answer", Reply([f'{{"error": {{"message": "bad {KEY}"}}}}'.encode()], status=401), "401, bad ***"),
]


@pytest.mark.parametrize(("reply", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
async def test_a_listing_that_cannot_be_had_is_named_and_changes_nothing(
    raw: RawServer, reply: Reply, words: str
) -> None:
    raw.answer(listing(ENTRY))
    client = client_of(raw)
    await client.catalog.refresh()
    raw.answer(reply)
    with pytest.raises(CatalogError, match="openrouter: ") as raised:
        await client.catalog.refresh()
    assert words in str(raised.value)
    assert KEY not in str(raised.value)
    assert client.catalog.get(SONNET) == INFO


async def test_a_listing_that_is_too_long_is_not_read_to_its_end(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrouter_fallback.endpoints.api.MAX_LISTING_BYTES", 1000)
    raw.answer(Reply([b"[" * 1000, b"[", raw.gate()]))
    with pytest.raises(CatalogError, match="openrouter: GET /models failed: it is longer than 1000 bytes"):
        await client_of(raw).catalog.refresh()


async def test_a_listing_that_does_not_come_is_not_waited_for_longer(
    raw: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("openrouter_fallback.endpoints.api.FETCH_SECONDS", 0.05)
    raw.answer(Reply([raw.gate()]))
    with pytest.raises(CatalogError, match=r"openrouter: GET /models failed: no answer within 0\.05 s"):
        await client_of(raw).catalog.refresh()


async def test_an_unknown_endpoint_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="'groc'; configured: openrouter"):
        await FallbackClient([SONNET], api_key=KEY).catalog.refresh("groc")


async def test_an_endpoint_without_a_key_is_not_asked(raw: RawServer) -> None:
    client = client_of(raw, other={"base_url": raw.base_url, "api_key_env": "NOBODY_SET_THIS"})
    raw.answer(listing(ENTRY))
    with pytest.raises(CatalogError, match="NOBODY_SET_THIS"):
        await client.catalog.refresh()
    assert len(raw.requests) == 1
    assert client.catalog.get(SONNET) == INFO


async def test_a_server_that_is_gone_is_named() -> None:
    client = FallbackClient([SONNET], base_url="http://127.0.0.1:9/api/v1", api_key=KEY)
    with pytest.raises(CatalogError, match="openrouter: GET /models failed: "):
        await client.catalog.refresh()
    assert client.catalog.models() == ()


def test_a_synchronous_caller_fetches_the_lists() -> None:
    with Emulator() as emulator, client_of(emulator) as client:
        client.refresh_catalog()
        info = client.catalog.get(SONNET)
    assert info is not None
    assert info.prompt_price == Decimal("0.000003")
    emulator.stop()
    with pytest.raises(CatalogError, match="openrouter"):
        client.refresh_catalog()


async def test_the_emulators_own_listing() -> None:
    with Emulator() as emulator:
        client = client_of(emulator)
        await client.catalog.refresh()
    info = client.catalog.get(SONNET)
    assert info is not None
    assert info.can("tools") is True
    assert info.prompt_price == Decimal("0.000003")
    unpriced = [model.id for model in client.catalog.models() if model.completion_price is None]
    assert unpriced == ["openrouter/auto"]
    assert all(model.context_length and model.parameters for model in client.catalog.models())
    alias = client.catalog.get("~anthropic/claude-sonnet-latest")
    assert alias is not None
    assert alias.can("image") is True
    assert emulator.log == []


# Until a list has been fetched

KNOWN: list[tuple[str, str, bool | None]] = [
    ("meta-llama/llama-3.3-70b-instruct", "image", False),
    ("meta-llama/llama-3.3-70b-instruct:free", "tools", True),
    ("openai/gpt-5-mini", "image", True),
    ("openai/gpt-5.1", "audio", False),
    ("~anthropic/claude-sonnet-latest", "tools", True),
    ("anthropic/claude-sonnet-4.5", "image_output", None),
    ("openai/gpt-5000", "tools", None),
    ("openai/gpt", "tools", None),
    ("somebody/else", "tools", None),
    ("gpt", "tools", None),
]


@pytest.mark.parametrize(("id", "need", "answer"), KNOWN)
def test_families_stand_in_until_a_list_is_fetched(id: str, need: str, answer: bool | None) -> None:
    catalog = FallbackClient([SONNET], api_key=KEY).catalog
    info = catalog.get(id)
    assert (info.can(need) if info is not None else None) is answer
    assert info is None or (info.id, info.prompt_price) == (id, None)
    assert (catalog.models(), catalog.fetched()) == ((), None)


async def test_a_fetched_list_takes_the_families_place(raw: RawServer) -> None:
    catalog = await read_from(raw, ENTRY)
    assert catalog.get("openai/gpt-5.1") is None


def test_families_are_openrouters_only() -> None:
    endpoints = {"other": {"base_url": "https://other.example/v1"}}
    catalog = FallbackClient(config={"default_chain": [SONNET], "endpoints": endpoints}, api_key=KEY).catalog
    assert catalog.get("openai/gpt-5.1") is not None
    assert catalog.get("other:openai/gpt-5.1") is None


def test_the_families_are_what_the_script_makes_of_a_list(tmp_path: Path) -> None:
    mixed = [
        {**ENTRY, "id": f"{family}{end}", "context_length": context, "supported_parameters": [ability, "seed"]}
        for family in FAMILIES
        for end, context, ability in (("", 8_000, "tools"), (":free", 8_000, "reasoning"), ("5", 9_000, "logprobs"))
    ]
    mixed.append({**ENTRY, "id": "openai/gpt-4o-mini", "context_length": 16_000, "supported_parameters": []})
    (tmp_path / "models.json").write_text(json.dumps({"data": mixed}))
    script = Path(__file__).parents[2] / "scripts" / "families.py"
    command = [sys.executable, str(script), str(tmp_path / "models.json"), "2026-01-31"]
    made: dict[str, Any] = {}
    exec(subprocess.run(command, capture_output=True, text=True, check=True).stdout, made)
    assert made["DATE"] == "2026-01-31"
    assert list(made["FAMILIES"]) == list(FAMILIES)
    assert made["FAMILIES"]["openai/gpt-5"] == (8_000, "file image text", "reasoning tools")
    assert made["FAMILIES"]["openai/gpt-4o"] == (None, "file image text", "reasoning tools")
    assert {"openai/gpt-5", "openai/gpt-4o-mini", "openai/o4:free"} <= set(made["IDS"])
    assert "openai/gpt-4o5" not in made["IDS"]  # of no family
    assert [family for family in FAMILIES if not any(id.startswith(family) for id in IDS)] == []
    assert date.fromisoformat(DATE) <= datetime.now(UTC).date()
