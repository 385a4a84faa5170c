"""The registry of the emulated models: ids, providers, prices, limits, and the vocabulary of their makers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from .bundled import ALIASES, ROWS, Host, Row, slug


class Author(NamedTuple):
    """The maker of a model: its display name as a provider, its reasoning format, its finish reasons."""

    provider: str
    reasoning_format: str = "unknown"
    native: Mapping[str, str] = {}
    tokenizer: str = "Other"


AUTHORS: dict[str, Author] = {
    "anthropic": Author(
        "Anthropic",
        "anthropic-claude-v1",
        {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"},
        "Claude",
    ),
    "openai": Author(
        "OpenAI",
        "openai-responses-v1",
        {"stop": "completed", "length": "max_output_tokens", "tool_calls": "completed"},
        "GPT",
    ),
    "google": Author(
        "Google", "google-gemini-v1", {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP"}, "Gemini"
    ),
    "x-ai": Author("xAI", "xai-responses-v1", tokenizer="Grok"),
    "meta-llama": Author("Meta", tokenizer="Llama3"),
    "mistralai": Author("Mistral", tokenizer="Mistral"),
    "deepseek": Author("DeepSeek", tokenizer="DeepSeek"),
    "qwen": Author("Alibaba", tokenizer="Qwen3"),
    "cohere": Author("Cohere", tokenizer="Cohere"),
    "z-ai": Author("Z.AI"),
    "moonshotai": Author("Moonshot AI"),
    "minimax": Author("Minimax"),
}

MODELS: tuple[str, ...] = tuple(row.id for row in ROWS)
"""The ids of the bundled models: about 70 real ids, with prices, limits and providers."""

# Suffixes of an id that change the routing of a request but not the model. (`:free` is a separate model.)
VARIANTS = frozenset({"exacto", "extended", "floor", "nitro", "online", "thinking"})
AUTO = "openrouter/auto"
AUTO_PICKS = "anthropic/claude-sonnet-4.5"

_MILLION = Decimal(10**6)
_OTHER_PRICES = (("0.1", "0.4"), ("0.5", "2"), ("1", "5"), ("3", "15"))
_ALWAYS = ("frequency_penalty", "max_tokens", "presence_penalty", "seed", "stop", "temperature", "top_p")
_PARAMETERS = {
    "tools": ("parallel_tool_calls", "tool_choice", "tools"),
    "json": ("response_format", "structured_outputs"),
    "reasoning": ("include_reasoning", "reasoning", "reasoning_effort"),
    "must": ("include_reasoning", "reasoning", "reasoning_effort"),
    "logprobs": ("logprobs", "top_logprobs"),
    "searches": ("web_search_options",),
}
_INPUTS = ("text", "image", "file", "audio", "video")
_OUTPUTS = {"draws": "image", "speech": "audio"}
_MADE_UP = "tools json reasoning logprobs image file audio video draws speech"


@dataclass(frozen=True, slots=True)
class Model:
    """One model. `prices` are USD per token (`request`, `web_search`: USD each). A limit of None is unknown."""

    id: str
    slug: str
    released: date
    context: int | None
    max_output: int | None
    prices: Mapping[str, Decimal]
    hosts: tuple[Host, ...]
    parameters: frozenset[str]
    inputs: tuple[str, ...] = ("text",)
    outputs: tuple[str, ...] = ("text",)
    expires: date | None = None
    must_reason: bool = False
    entry: Mapping[str, Any] | None = field(default=None, compare=False)

    def prices_at(self, host: Host) -> Mapping[str, Decimal]:
        """The model's prices at one of its providers."""
        if host.factor == "1":
            return self.prices
        factor = Decimal(host.factor)
        return {key: amount * factor for key, amount in self.prices.items()}


def author(model: str) -> Author:
    """The maker of a model. An unknown maker gets its name from the prefix of the id."""
    name = model.lstrip("~").partition("/")[0]
    return AUTHORS.get(name) or Author(name.replace("-", " ").title() or "Emulated")


class Models:
    """The models of the emulator: the given ids or entries; with None the bundled models and any other `author/name`.

    A given list is `exact`: a request that needs an ability that its model lacks is refused.
    """

    def __init__(self, known: Sequence[str | Mapping[str, Any]] | None = None, today: date | None = None) -> None:
        self._today = today or datetime.now(UTC).date()
        self.exact = known is not None
        bundled = {row.id: _from_row(row, self._today) for row in ROWS}
        if known is None:
            self._models = bundled
        else:
            own = [entry if isinstance(entry, str) else _from_entry(entry, bundled) for entry in known]
            self._models = {
                model.id: model
                for model in (bundled.get(m) or _unknown_model(m) if isinstance(m, str) else m for m in own)
            }

    def __iter__(self) -> Iterator[Model]:
        return iter(self._models.values())

    def listed(self, name: str) -> bool:
        """Whether the model's abilities are known: the id is in the given list, or in the bundled list."""
        return name in self._models

    def providers(self, model: str | None = None) -> list[str]:
        """The names of all providers of a model, or of all models."""
        found = self.find(model) if model is not None else None
        hosts = found.hosts if found is not None else [host for one in self for host in one.hosts]
        return list(dict.fromkeys(host.name for host in hosts))

    def provider(self, name: str, model: str | None = None) -> str | None:
        """The name of the provider with this name or slug; None if no such provider serves the model."""
        return {slug(one): one for one in self.providers(model)}.get(slug(name))

    def _target(self, name: str) -> str:
        """The id that an alias or the auto router resolves to; any other id unchanged."""
        listed = self._models.get(name)
        alias = (listed.entry or {}).get("alias_target") if listed is not None else None
        if alias:
            return next((model.id for model in self if model.slug == alias.get("slug") and model.id != name), name)
        if name == AUTO and AUTO_PICKS not in self._models:
            real = (model.id for model in self if model.id != AUTO and not model.id.startswith("~"))
            return next(real, name) if listed is not None else name
        return AUTO_PICKS if name == AUTO else ALIASES.get(name, name)

    def find(self, name: str) -> Model | None:
        """The model of an id, an alias or a variant; None for an unknown id."""
        target = self._models.get(self._target(name))
        if target is not None or name == AUTO or name in ALIASES:
            return target
        base, _, variant = name.partition(":")
        if variant in VARIANTS and base in self._models:
            return self._models[base]
        if self.exact:
            return None
        prefix, slash, rest = base.partition("/")
        if not (prefix and slash and rest):
            return None
        if variant == "free" and base in self._models:
            known = self._models[base]
            return replace(known, id=name, prices=dict.fromkeys(known.prices, Decimal(0)))
        return _unknown_model(name)


def aliases(models: Models) -> list[tuple[str, Model]]:
    """The aliases whose target exists, with the target."""
    return [(name, target) for name in ALIASES if (target := models.find(name)) is not None]


def _from_row(row: Row, today: date) -> Model:
    can = row.can.split()
    prices = {"prompt": row.prompt, "completion": row.completion}
    prices |= {key: value for key, value in zip(_CACHE_PRICES, row.cache, strict=True) if value}
    return Model(
        id=row.id,
        slug=_slug(row),
        released=date.fromisoformat(row.released),
        context=row.context,
        max_output=row.max_output,
        prices=_prices({key: Decimal(value) / _MILLION for key, value in prices.items()}, Decimal(row.request), can),
        hosts=row.hosts,
        parameters=frozenset(_ALWAYS).union(*(_PARAMETERS.get(word, ()) for word in can)),
        inputs=tuple(word for word in _INPUTS if word == "text" or word in can),
        outputs=("text", *(_OUTPUTS[word] for word in can if word in _OUTPUTS)),
        expires=None if row.expires is None else today + timedelta(days=row.expires),
        must_reason="must" in can,
    )


_CACHE_PRICES = ("input_cache_read", "input_cache_write")


def _prices(prices: dict[str, Decimal], request: Decimal, can: Sequence[str]) -> dict[str, Decimal]:
    free = not prices["completion"]
    drawn = {"image_output": Decimal("0.00003")} if "draws" in can else {}
    return {**prices, "request": request, "web_search": Decimal(0 if free else "0.01"), **drawn}


def _slug(row: Row) -> str:
    """OpenRouter's canonical slug: with the release date, and for Anthropic with the version before the family."""
    base = re.sub(r"claude-([a-z]+)-([\d.]+)", r"claude-\2-\1", row.id.partition(":")[0])
    return f"{base}-{row.released.replace('-', '')}"


@lru_cache(maxsize=1024)
def _unknown_model(name: str) -> Model:
    """The model of an unknown id: it can do everything, and its prices are derived from the id."""
    base, _, variant = name.partition(":")
    drawn = _OTHER_PRICES[hashlib.sha256(base.encode()).digest()[0] % len(_OTHER_PRICES)]
    prompt, completion = ("0", "0") if variant == "free" else drawn
    hosts = (Host(author(name).provider), Host("FakeProvider"))
    row = Row(name, "2025-06-15", 128_000, 16_384, prompt, completion, hosts, _MADE_UP)
    return replace(_from_row(row, date.min), slug=base, context=None, max_output=None)


def _from_entry(entry: Mapping[str, Any], bundled: Mapping[str, Model]) -> Model:
    """The model of an entry of `GET /models`. Raises ValueError for an invalid entry."""
    name = entry.get("id")
    if not isinstance(name, str) or not name:
        raise ValueError(f"a model needs an id, as in GET /models; found {str(dict(entry))[:80]}")
    base = bundled.get(name) or _unknown_model(name)
    architecture = entry.get("architecture") or {}
    expires = entry.get("expiration_date")
    try:
        # The price of a router is -1, because it depends on the model that the router chooses.
        prices = {
            key: max(Decimal(str(amount)), Decimal(0))
            for key, amount in (entry.get("pricing") or {}).items()
            if key in _PRICED
        }
        gone = date.fromisoformat(expires[:10]) if expires else None
    except (ArithmeticError, TypeError, ValueError):
        raise ValueError(f"{name}: its pricing or its expiration_date cannot be read") from None
    return replace(
        base,
        slug=str(entry.get("canonical_slug") or base.slug),
        context=entry.get("context_length"),
        max_output=(entry.get("top_provider") or {}).get("max_completion_tokens"),
        prices={**dict.fromkeys(("prompt", "completion"), Decimal(0)), **prices} if prices else base.prices,
        parameters=frozenset(entry.get("supported_parameters") or base.parameters),
        inputs=tuple(architecture.get("input_modalities") or base.inputs),
        outputs=tuple(architecture.get("output_modalities") or base.outputs),
        expires=gone,
        entry=dict(entry),
    )


_PRICED = frozenset({"prompt", "completion", "request", "web_search", "image_output", *_CACHE_PRICES})
