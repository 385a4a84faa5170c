"""The bodies of `GET /models` and `GET /models/{author}/{slug}/endpoints`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from ..requests.refusal import Refused
from .bundled import Host
from .registry import AUTO, Model, Models, aliases, author

Entry = dict[str, Any]
Query = Mapping[str, str]
Health = Callable[[str, str], tuple[int, int]]

_MILLION = 10**6


def listing(models: Models, query: Query) -> Entry:
    """The body of `GET /models`, filtered, sorted and paged by the query. Raises `Refused` for an invalid query."""
    found = [entry(model) for model in models]
    listed = {one["id"] for one in found}
    found += [entry(target) | _renamed(name, target) for name, target in aliases(models) if name not in listed]
    if models.find(AUTO) is not None and AUTO not in listed:
        found.append(_auto())
    for name, keep in _FILTERS.items():
        if query.get(name):
            try:
                found = [one for one in found if keep(one, query[name])]
            except InvalidOperation:
                raise Refused(400, f"Invalid input: expected a number at {name}") from None
    if "output_modalities" not in query:
        found = [one for one in found if _has(one, "output_modalities", "text")]
    if query.get("sort") in _SORTS:
        found.sort(key=_SORTS[query["sort"]])
    total = len(found)
    links: dict[str, str | None] = {"next": None}
    if "offset" in query or "limit" in query:
        offset, limit = _whole(query, "offset", 0, 0), _whole(query, "limit", 500, 1)
        found = found[offset : offset + limit]
        if offset + limit < total:
            links = {"next": f"/api/v1/models?offset={offset + limit}&limit={limit}"}
    return {"data": found, "total_count": total, "links": links}


def entry(model: Model) -> Entry:
    """The entry of one model in `GET /models`."""
    if model.entry is not None:
        return dict(model.entry)
    provider = author(model.id).provider
    return {
        "id": model.id,
        "canonical_slug": model.slug,
        "hugging_face_id": None,
        "name": f"{provider}: {model.id.rpartition('/')[2]}",
        "created": _timestamp(model),
        "description": "A model of the emulator.",
        "context_length": 128_000 if model.context is None else model.context,
        "architecture": _architecture(model),
        "pricing": {key: usd(amount) for key, amount in model.prices.items()},
        "top_provider": {
            "context_length": 128_000 if model.context is None else model.context,
            "max_completion_tokens": model.max_output,
            "is_moderated": provider == "OpenAI",
        },
        "per_request_limits": None,
        "supported_parameters": sorted(model.parameters),
        "default_parameters": None,
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None if model.expires is None else model.expires.isoformat(),
        "links": {"details": f"/api/v1/models/{model.slug}/endpoints"},
        **_reasoning(model),
    }


def endpoints(model: Model, health: Health) -> Entry:
    """The body of a model's `/endpoints`. `health` maps (model id, provider) to (requests, failed requests)."""
    found = entry(model)
    shared = {key: found.get(key) for key in ("id", "name", "created", "description")}
    hosts = [_endpoint(model, host, found, *health(model.id, host.name)) for host in model.hosts]
    return {"data": {**shared, "architecture": {"instruct_type": None, **_architecture(model)}, "endpoints": hosts}}


def usd(amount: Decimal) -> str:
    """A price in OpenRouter's notation: plain digits, no exponent."""
    return f"{amount:f}".rstrip("0").rstrip(".") if "." in f"{amount:f}" else f"{amount:f}"


def _architecture(model: Model) -> Entry:
    return {
        "modality": f"{'+'.join(model.inputs)}->{'+'.join(model.outputs)}",
        "input_modalities": list(model.inputs),
        "output_modalities": list(model.outputs),
        "tokenizer": author(model.id).tokenizer,
        "instruct_type": None,
    }


def _reasoning(model: Model) -> Entry:
    return {"reasoning": {"mandatory": model.must_reason}} if "reasoning" in model.parameters else {}


def _renamed(name: str, target: Model) -> Entry:
    target_name = entry(target)["name"]
    return {
        "id": name,
        "canonical_slug": name,
        "name": f"{author(name).provider}: {name.rpartition('/')[2]}",
        "links": {"details": f"/api/v1/models/{name}/endpoints"},
        "alias_target": {"slug": target.slug, "name": target_name},
    }


def _auto() -> Entry:
    """The entry of the auto router. Its prices are -1, as on OpenRouter, because they depend on the chosen model."""
    return {
        "id": AUTO,
        "canonical_slug": AUTO,
        "hugging_face_id": None,
        "name": "Auto Router",
        "created": 1699401600,
        "description": "Picks a model.",
        "context_length": 2_000_000,
        "architecture": {
            "modality": "text+image->text",
            "input_modalities": ["text", "image"],
            "output_modalities": ["text"],
            "tokenizer": "Router",
            "instruct_type": None,
        },
        "pricing": {"prompt": "-1", "completion": "-1"},
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": False},
        "per_request_limits": None,
        "supported_parameters": ["max_tokens", "temperature", "tool_choice", "tools"],
        "default_parameters": None,
        "supported_voices": None,
        "knowledge_cutoff": None,
        "expiration_date": None,
        "links": {"details": f"/api/v1/models/{AUTO}/endpoints"},
    }


def _endpoint(model: Model, host: Host, found: Entry, asked: int, failed: int) -> Entry:
    uptime = round(100 * (asked - failed) / asked, 2) if asked else None
    speed = float(host.tokens_per_second)
    return {
        "name": f"{host.name} | {model.slug}",
        "model_id": model.id,
        "model_name": found.get("name"),
        "context_length": found.get("context_length") or 128_000,
        "pricing": {**{key: usd(amount) for key, amount in model.prices_at(host).items()}, "discount": 0},
        "provider_name": host.name,
        "tag": host.tag if host.quantization == "unknown" else f"{host.tag}/{host.quantization}",
        "quantization": host.quantization,
        "max_completion_tokens": model.max_output,
        "max_prompt_tokens": None,
        "supported_parameters": sorted(model.parameters - set(host.lacks.split())),
        "status": 0 if not failed or failed < asked else -2,
        "uptime_last_5m": uptime,
        "uptime_last_30m": uptime,
        "uptime_last_1d": uptime,
        "supports_implicit_caching": "input_cache_read" in model.prices and "input_cache_write" not in model.prices,
        "supports_voice_cloning": False,
        "latency_last_30m": {"p50": 0.3, "p75": 0.4, "p90": 0.6, "p99": 1.5},
        "throughput_last_30m": {"p50": speed, "p75": speed * 0.9, "p90": speed * 0.7, "p99": speed * 0.4},
    }


def _timestamp(model: Model) -> int:
    return int(datetime.combine(model.released, datetime.min.time(), UTC).timestamp())


def _whole(query: Query, name: str, default: int, least: int) -> int:
    text = query.get(name, str(default))
    if not text.isdecimal() or int(text) < least:
        raise Refused(400, f"Invalid input: expected a whole number from {least} at {name}")
    return int(text)


def _price(one: Entry, key: str) -> Decimal:
    return Decimal((one.get("pricing") or {}).get(key) or 0) * _MILLION


def _has(one: Entry, key: str, wanted: str) -> bool:
    return wanted == "all" or bool(set(wanted.split(",")) & _modalities(one, key))


def _modalities(one: Entry, key: str) -> set[str]:
    return set((one.get("architecture") or {}).get(key) or ("text",))


def _tools_of(one: Entry) -> set[str]:
    return set(one.get("supported_parameters") or ())


_FILTERS: dict[str, Callable[[Entry, str], bool]] = {
    "q": lambda one, text: text.lower() in f"{one['id']} {one.get('name')}".lower(),
    "supported_parameters": lambda one, names: set(names.split(",")) <= _tools_of(one),
    "input_modalities": lambda one, names: set(names.split(",")) <= _modalities(one, "input_modalities"),
    "output_modalities": lambda one, names: _has(one, "output_modalities", names),
    "context": lambda one, least: (one.get("context_length") or 0) >= Decimal(least),
    "min_price": lambda one, least: _price(one, "prompt") >= Decimal(least),
    "max_price": lambda one, most: 0 <= _price(one, "prompt") <= Decimal(most),
    "min_output_price": lambda one, least: _price(one, "completion") >= Decimal(least),
    "max_output_price": lambda one, most: 0 <= _price(one, "completion") <= Decimal(most),
    "model_authors": lambda one, names: one["id"].lstrip("~").partition("/")[0] in names.split(","),
}
_SORTS: dict[str, Callable[[Entry], Any]] = {
    "pricing-low-to-high": lambda one: _price(one, "prompt") + _price(one, "completion"),
    "pricing-high-to-low": lambda one: -(_price(one, "prompt") + _price(one, "completion")),
    "context-high-to-low": lambda one: -(one.get("context_length") or 0),
    "newest": lambda one: -(one.get("created") or 0),
}
