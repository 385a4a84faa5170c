"""A candidate: a model that a call may use, with all data for its requests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ..answer.seam import ContinuationMode
from ..catalog.catalog import Catalog
from ..catalog.listing import ModelInfo
from ..catalog.prices import price
from ..config.models import OPENROUTER
from ..health import Availability, AvailabilityStatus, HealthScopes
from ..results import Skipped
from .needs import TOKEN_LIMITS, Needs, own_providers, slow

_OPENROUTER_HOST = "openrouter.ai"
_OPENAI_HOST = "api.openai.com"
NO_NEEDS = Needs()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a call may use: `key` is the configured id (also in health), `model` the name in requests.

    `attempts` per call, the first included; `attempts_set`: whether the user set them. `timeout`: the user's limit for
    the first token in seconds, or None. `streams`: whether requests ask for a stream. `continues`: how the model
    continues a text, if known. `host`: the endpoint's host. For one call: `unfit`, the need of the request that the
    model is known to lack, and `max_price`, the caller's cap as OpenRouter's `provider.max_price`.
    """

    key: str
    model: str
    target: HealthScopes
    attempts: int
    timeout: float | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    streams: bool = True
    continues: ContinuationMode | None = None
    host: str = ""
    catalog: Catalog | None = field(default=None, repr=False, compare=False)
    unfit: str = ""
    max_price: Mapping[str, str] | None = None
    attempts_set: bool = True
    # Every call reads these; they are computed once:
    on_openrouter: bool = field(init=False, repr=False, compare=False)
    """Whether the endpoint is OpenRouter and understands OpenRouter's own parameters."""
    taker: str = field(init=False, repr=False, compare=False)
    """The scope in which a parameter is supported or refused: the endpoint, but on OpenRouter the single model."""
    slow: bool = field(init=False, repr=False, compare=False)
    """Whether the model's variant or own parameters make it reason or search before it answers."""

    def __post_init__(self) -> None:
        on_openrouter = self.target.endpoint == OPENROUTER or self.host == _OPENROUTER_HOST
        object.__setattr__(self, "on_openrouter", on_openrouter)
        object.__setattr__(self, "taker", self.key if on_openrouter else self.target.endpoint)
        thinks = self.model.endswith((":thinking", ":online")) or bool(self.params and slow(self.params))
        object.__setattr__(self, "slow", thinks)

    @property
    def bounded(self) -> bool:
        """Whether the model's own parameters limit the length of an answer."""
        return any(name in self.params for name in TOKEN_LIMITS)

    @property
    def limit(self) -> str:
        """The endpoint's name for the token limit of an answer. OpenAI's newer models refuse the old name."""
        return "max_completion_tokens" if self.host == _OPENAI_HOST else "max_tokens"

    @property
    def own_providers(self) -> bool:
        """Whether the model's own parameters choose the providers."""
        return bool(self.params and own_providers(self.params))

    @property
    def info(self) -> ModelInfo | None:
        """The catalog's data on the model; None if unknown."""
        return self.catalog.listed(self.target.endpoint, self.model) if self.catalog is not None else None

    @property
    def slug(self) -> str | None:
        """The catalog's canonical slug of the model; None if unknown."""
        info = self.info
        return info.canonical_slug if info is not None else None

    @property
    def context(self) -> int | None:
        """The model's context length in tokens; None if unknown."""
        info = self.info
        return info.context_length if info is not None else None

    @property
    def price(self) -> Decimal | None:
        """USD per million tokens (see `prices`), 0 for a `:free` variant; None if unknown."""
        return Decimal(0) if self.model.endswith(":free") else price(self.info)

    @property
    def free(self) -> bool:
        """Whether the model's price is known to be 0."""
        return self.price == 0

    def affordable(self, other: Candidate) -> int:
        """The rank of `other` if this account cannot pay: 0 cheaper, 1 unknown price, 2 other account, 3 no cheaper."""
        mine, price = self.price, other.price
        if price == 0 or (mine is not None and price is not None and price < mine):
            return 0
        if other.target.account != self.target.account:
            return 2
        return 1 if mine is None or price is None else 3

    def fitting(self, status_of: AvailabilityStatus) -> AvailabilityStatus:
        """The availability for this request: UNFIT if the model lacks a need of the request."""
        if self.unfit and status_of.admits:
            return AvailabilityStatus(Availability.UNFIT, self.unfit)
        return status_of


@dataclass(slots=True)
class Plan:
    """The candidates of one call in order, regardless of their health; and the models that a routing rule excludes.

    `note` says why a candidate was moved to the front.
    """

    candidates: tuple[Candidate, ...]
    excluded: tuple[Skipped, ...] = ()
    note: str = ""
