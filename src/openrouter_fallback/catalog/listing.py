"""One endpoint's list of models: reads prices, context length, capabilities and expiry of each entry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

import orjson

from .families import FAMILIES

MAX_MODELS = 20_000


_MOST_PER_TOKEN, _MOST_PER_REQUEST = Decimal(1), Decimal(1000)
"""USD. A higher value is not a price, and counts as unknown."""

_INPUTS = frozenset({"text", "image", "audio", "file", "video"})
_OUTPUT = "_output"
# OpenRouter's key first, then the keys of other servers: Groq, Mistral, vLLM.
_CONTEXT = ("context_length", "context_window", "max_context_length", "max_model_len")
_OUTPUTS = ("max_completion_tokens",)
_USED = ("id", "name", "canonical_slug", "supported_parameters", "expiration_date", *_CONTEXT, *_OUTPUTS)
_USED_INSIDE = {
    "architecture": ("input_modalities", "output_modalities"),
    "pricing": ("prompt", "completion", "request"),
    "top_provider": _OUTPUTS,
}
_FREE = ":free"
_MOST_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """One model as its endpoint lists it. None means unknown.

    `id` is the listed id, without the endpoint's name. `context_length` and `max_output` are in tokens, prices in USD
    per token and per request. `parameters` are the supported request parameters. After `expires` the model may be gone.
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
        """Whether the model supports a need; None if unknown.

        A need is an input (`image`, `audio`, `file`, `video`), an output (`image_output` ...), or a request parameter:
        `tools`, `structured_outputs`, `response_format`, `reasoning` ...
        """
        if need in _INPUTS:
            return None if self.input_modalities is None else need in self.input_modalities
        if need.endswith(_OUTPUT):
            return None if self.output_modalities is None else need.removesuffix(_OUTPUT) in self.output_modalities
        return None if self.parameters is None else need in self.parameters


Entry = Mapping[str, Any]
"""One entry of a list of models, as received."""


class Listing:
    """The models of one endpoint. An entry is parsed at its first lookup; most entries never are."""

    def __init__(self, entries: Iterable[Entry], fetched: float | None = None) -> None:
        self.entries: dict[str, Entry] = {entry["id"]: entry for entry in entries}
        self.fetched = fetched
        self._slugs: dict[str, str] | None = None
        self._known: dict[str, ModelInfo] = {}
        self._found: dict[str, ModelInfo | None] = {}

    def get(self, model: str) -> ModelInfo | None:
        """The model of an id, a slug or a variant. An unlisted variant has its base model's data; `:free` costs 0."""
        if model not in self._found:
            if len(self._found) >= _MOST_REMEMBERED:
                self._found.clear()
            self._found[model] = self._find(model)
        return self._found.get(model)

    def _find(self, model: str) -> ModelInfo | None:
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
        """All models, in the endpoint's order."""
        return tuple(self._read(id) for id in self.entries)

    def _listed(self, model: str) -> str | None:
        if model in self.entries:
            return model
        if self._slugs is None:
            slugs = ((entry.get("canonical_slug"), id) for id, entry in self.entries.items())
            # The first entry of a slug wins: variants share the slug of the base model, which is listed before them.
            self._slugs = {slug: id for slug, id in reversed([*slugs]) if isinstance(slug, str)}
        return self._slugs.get(model)

    def _read(self, id: str) -> ModelInfo:
        known = self._known.get(id)
        if known is None:
            known = self._known[id] = _info(self.entries[id])
        return known


class Families(Listing):
    """The listing before the first fetch: lists no models, but finds the models of well-known families.

    Holds only parameters that affect routing: tools, structured_outputs, response_format and reasoning.
    """

    def __init__(self) -> None:
        super().__init__(())

    def _find(self, model: str) -> ModelInfo | None:
        family = model.partition(":")[0].lstrip("~")
        while family not in FAMILIES:
            family, dash, _ = family.rpartition("-")
            if not dash:
                return None
        context, inputs, parameters = FAMILIES[family]
        return ModelInfo(
            model,
            context_length=context,
            input_modalities=frozenset(inputs.split()),
            parameters=frozenset(parameters.split()),
        )


def read_listing(body: bytes) -> list[Entry]:
    """The used fields of the body of `GET /models`. Raises ValueError if the body is not a list of models."""
    decoded = orjson.loads(body)
    return [_used(entry) for entry in entries_of(decoded.get("data") if isinstance(decoded, dict) else decoded)]


def entries_of(listed: object) -> list[Entry]:
    """The entries with an id, without duplicates. Raises ValueError for no entries or more than `MAX_MODELS`."""
    entries = listed if isinstance(listed, list) else ()
    found = {entry["id"]: entry for entry in entries if isinstance(entry, dict) and _text(entry.get("id"))}
    if not 0 < len(found) <= MAX_MODELS:
        raise ValueError(f"it lists more than {MAX_MODELS}" if found else "it lists none")
    return list(found.values())


def _used(entry: Entry) -> Entry:
    used = {key: entry[key] for key in _USED if key in entry}
    for key, inner in _USED_INSIDE.items():
        value = _mapping(entry.get(key))
        used[key] = {name: value[name] for name in inner if name in value}
    return used


def _info(entry: Entry) -> ModelInfo:
    """Parse an entry. A field of the wrong type counts as unknown; other fields are ignored."""
    pricing, architecture, provider = (_mapping(entry.get(key)) for key in ("pricing", "architecture", "top_provider"))
    outputs = [place.get(key) for place in (provider, entry) for key in _OUTPUTS]
    return ModelInfo(
        id=entry["id"],
        name=_text(entry.get("name")) or "",
        canonical_slug=_text(entry.get("canonical_slug")),
        context_length=next((count for key in _CONTEXT if (count := _count(entry.get(key)))), None),
        max_output=next((count for value in outputs if (count := _count(value))), None),
        prompt_price=_price(pricing.get("prompt")),
        completion_price=_price(pricing.get("completion")),
        request_price=_price(pricing.get("request"), _MOST_PER_REQUEST),
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


def _price(value: object, most: Decimal = _MOST_PER_TOKEN) -> Decimal | None:
    """A price in USD; None for any other value, such as the -1 of models that route to other models."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        price = Decimal(str(value))
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price <= most else None


def _names(value: object) -> frozenset[str] | None:
    names = frozenset([name for name in value if isinstance(name, str)]) if isinstance(value, list) else None
    return names or None


def _date(value: object) -> date | None:
    try:
        return date.fromisoformat(value[:10]) if isinstance(value, str) else None
    except ValueError:
        return None
