"""The models that exist: what each endpoint's `GET /models` says of prices, context, capabilities and expiry.

Looking up costs no I/O but the first time, never asks a server, and knows no more than it was told: None is unknown.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from .errors import CatalogError

MAX_MODELS = 20_000
_MOST_PER_TOKEN = Decimal(1)
"""USD. Above this a price is not one per token, whatever its place says."""

_INPUTS = frozenset({"text", "image", "audio", "file", "video"})
_OUTPUT = "_output"
# OpenRouter's name first, then those of other servers: Groq, Mistral, vLLM.
_CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len")
_FREE = ":free"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as its endpoint lists it; None is unknown.

    `id` as it is listed there, without the endpoint's name. `context_length` and `max_output` in tokens, prices in USD
    per token and per request, `parameters` the request parameters it supports. It may be gone after `expires`.
    """

    id: str
    name: str = ""
    canonical_slug: str | None = None
    context_length: int | None = None
    max_output: int | None = None
    prompt_price: Decimal | None = None
    completion_price: Decimal | None = None
    request_price: Decimal | None = None
    input_modalities: frozenset[str] | None = None
    output_modalities: frozenset[str] | None = None
    parameters: frozenset[str] | None = None
    expires: date | None = None

    def can(self, need: str) -> bool | None:
        """Whether the model does what is needed; None if that is unknown.

        An input (`image`, `audio`, `file`, `video`), an output (`image_output` ...), else a request parameter: `tools`,
        `structured_outputs`, `response_format`, `reasoning` ...
        """
        if need in _INPUTS:
            return None if self.input_modalities is None else need in self.input_modalities
        if need.endswith(_OUTPUT):
            return None if self.output_modalities is None else need.removesuffix(_OUTPUT) in self.output_modalities
        return None if self.parameters is None else need in self.parameters


Entry = Mapping[str, Any]
"""One entry of a listing, as on the wire."""


class Listing:
    """The models of one endpoint. An entry is read when it is first asked for: most never are."""

    def __init__(self, entries: Iterable[Entry], endpoint: str = "") -> None:
        self.entries: dict[str, Entry] = {entry["id"]: entry for entry in entries}
        self.endpoint = endpoint
        self._slugs: dict[str, str] | None = None
        self._known: dict[str, ModelInfo] = {}

    def get(self, model: str) -> ModelInfo | None:
        """The model behind an id, a slug or a variant of one; a `:free` one that is not listed has its base's facts."""
        listed = self._listed(model)
        if listed is not None:
            return self._read(listed)
        base, colon, variant = model.rpartition(":")
        listed = self._listed(base) if colon else None
        if listed is None:
            return None
        info = self._read(listed)
        free = Decimal(0)
        if f":{variant}" == _FREE:
            return replace(info, prompt_price=free, completion_price=free, request_price=free)
        return info

    def models(self) -> tuple[ModelInfo, ...]:
        """All of them, in the endpoint's order."""
        return tuple(self._read(id) for id in self.entries)

    def _listed(self, model: str) -> str | None:
        if model in self.entries:
            return model
        if self._slugs is None:
            slugs = ((entry.get("canonical_slug"), id) for id, entry in self.entries.items())
            # The first one wins: variants share the slug of the model that is listed before them.
            self._slugs = {slug: id for slug, id in reversed([*slugs]) if isinstance(slug, str)}
        return self._slugs.get(model)

    def _read(self, id: str) -> ModelInfo:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _info(self.entries[id])
        return known


def read_listing(body: bytes) -> list[Entry]:
    """The entries in the body of `GET /models`: those with an id, each once. Raises ValueError if it is no listing."""
    decoded = orjson.loads(body)
    entries = decoded.get("data") if isinstance(decoded, dict) else decoded
    listed = entries if isinstance(entries, list) else ()
    found = {entry["id"]: entry for entry in listed if isinstance(entry, dict) and _text(entry.get("id"))}
    if not found:
        raise ValueError("it lists none")
    if len(found) > MAX_MODELS:
        raise ValueError(f"it lists more than {MAX_MODELS} models")
    return list(found.values())


def _info(entry: Entry) -> ModelInfo:
    """Strict about each field that is used: what has not its type is unknown. Other fields may be there."""
    pricing, architecture, provider = (_mapping(entry.get(key)) for key in ("pricing", "architecture", "top_provider"))
    outputs = (provider.get("max_completion_tokens"), entry.get("max_completion_tokens"))
    return ModelInfo(
        id=entry["id"],
        name=_text(entry.get("name")) or "",
        canonical_slug=_text(entry.get("canonical_slug")),
        context_length=next((count for key in _CONTEXT if (count := _count(entry.get(key)))), None),
        max_output=next((count for value in outputs if (count := _count(value))), None),
        prompt_price=_price(pricing.get("prompt")),
        completion_price=_price(pricing.get("completion")),
        request_price=_price(pricing.get("request"), most=None),
        input_modalities=_names(architecture.get("input_modalities")),
        output_modalities=_names(architecture.get("output_modalities")),
        parameters=_names(entry.get("supported_parameters")),
        expires=_date(entry.get("expiration_date")),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value and value.isprintable() else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _price(value: object, most: Decimal | None = _MOST_PER_TOKEN) -> Decimal | None:
    """USD; None for what is no price, such as the -1 of models that route to others."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and price >= 0 and (most is None or price <= most) else None


def _names(value: object) -> frozenset[str] | None:
    names = frozenset(name for name in value if isinstance(name, str)) if isinstance(value, list) else None
    return names or None


def _date(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None


Fetch = Callable[[str], Awaitable[bytes]]
"""Gets the body of an endpoint's `GET /models`. Raises `CatalogError`."""


class Catalog:
    """What is known of the models of a client's endpoints. Safe to use from several threads and event loops."""

    def __init__(self, endpoints: Iterable[str], split: Callable[[str], tuple[str, str]], fetch: Fetch) -> None:
        self._endpoints = tuple(endpoints)
        self._split = split
        self._fetch = fetch
        self._listings: dict[str, Listing] = {}

    def get(self, id: str) -> ModelInfo | None:
        """The model behind an id as one configures it (`endpoint:model` on another endpoint), a variant, an alias."""
        endpoint, model = self._split(id)
        listing = self._listings.get(endpoint)
        return listing.get(model) if listing is not None else None

    def models(self, endpoint: str = "openrouter") -> tuple[ModelInfo, ...]:
        """All models that an endpoint lists, in its order."""
        listing = self._listings.get(endpoint)
        return listing.models() if listing is not None else ()

    async def refresh(self, *endpoints: str) -> None:
        """Get the listings of these endpoints now, by default of all. `CatalogError` names each that gave none."""
        failed = []
        for endpoint in endpoints or self._endpoints:
            try:
                body = await self._fetch(endpoint)
                self._listings[endpoint] = Listing(read_listing(body), endpoint)
            except CatalogError as error:
                failed.append(str(error))
            except ValueError as error:
                failed.append(f"{endpoint}: the answer to GET /models is no list of models: {error}")
        if failed:
            raise CatalogError("\n".join(failed))
