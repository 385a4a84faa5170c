"""A candidate: a model that a call may use, with everything that its requests need."""

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
from .needs import Needs, own_providers, slow

_OPENROUTER_HOST = "openrouter.ai"
_OPENAI_HOST = "api.openai.com"
NO_NEEDS = Needs()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that a call may ask: `key` as configured (and in health), `model` as it goes on the wire.

    `attempts` per call, the first included, and whether the user has set them (`attempts_set`); `timeout` seconds to
    the first token as the user set it, or None; `streams`: whether the endpoint is asked to stream; `continues`: how it
    is known to go on from a text; `host`: the endpoint's. For one call: `unfit`, what it is known to lack for the
    request, and `max_price`, the caller's cap as OpenRouter takes it.
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
    # Asked for in every call, and known with the candidate:
    on_openrouter: bool = field(init=False, repr=False, compare=False)
    """Whether OpenRouter's own parameters mean something to its endpoint."""
    taker: str = field(init=False, repr=False, compare=False)
    """Whoever takes or refuses a parameter: the endpoint; on OpenRouter, behind which many stand, the model."""
    slow: bool = field(init=False, repr=False, compare=False)
    """Whether it is known to think or search before it answers, by its variant or its own parameters."""

    def __post_init__(self) -> None:
        on_openrouter = self.target.endpoint == OPENROUTER or self.host == _OPENROUTER_HOST
        object.__setattr__(self, "on_openrouter", on_openrouter)
        object.__setattr__(self, "taker", self.key if on_openrouter else self.target.endpoint)
        thinks = self.model.endswith((":thinking", ":online")) or bool(self.params and slow(self.params))
        object.__setattr__(self, "slow", thinks)

    @property
    def bounded(self) -> bool:
        """Whether its own parameters say how long an answer may be."""
        return "max_tokens" in self.params or "max_completion_tokens" in self.params

    @property
    def limit(self) -> str:
        """What its endpoint calls the most tokens to answer with; OpenAI's newer models refuse the old name."""
        return "max_completion_tokens" if self.host == _OPENAI_HOST else "max_tokens"

    @property
    def own_providers(self) -> bool:
        """Whether its own parameters choose the providers."""
        return bool(self.params and own_providers(self.params))

    @property
    def info(self) -> ModelInfo | None:
        """What the catalog knows of it."""
        return self.catalog.listed(self.target.endpoint, self.model) if self.catalog is not None else None

    @property
    def context(self) -> int | None:
        """Its context in tokens, where that is known."""
        info = self.info
        return info.context_length if info is not None else None

    @property
    def price(self) -> Decimal | None:
        """USD per million tokens (see `prices`), where that is known; a `:free` variant costs nothing."""
        return Decimal(0) if self.model.endswith(":free") else price(self.info)

    @property
    def free(self) -> bool:
        """Whether it is known to cost nothing."""
        return self.price == 0

    def affordable(self, other: Candidate) -> int:
        """The rank of `other` where this one's account could not pay: cheaper, of unknown price, paid by another."""
        mine, price = self.price, other.price
        if price == 0 or (mine is not None and price is not None and price < mine):
            return 0
        if other.target.account != self.target.account:
            return 2
        return 1 if mine is None or price is None else 3

    def fitting(self, standing: AvailabilityStatus) -> AvailabilityStatus:
        """How it stands for a request that needs what it may lack."""
        if self.unfit and standing.gate in (Availability.READY, Availability.PROBE):
            return AvailabilityStatus(Availability.UNFIT, self.unfit)
        return standing


@dataclass(frozen=True, slots=True)
class Plan:
    """The candidates allowed for one call, in order, whatever their health; and those a rule excludes.

    `note` says why a candidate goes before its turn.
    """

    candidates: tuple[Candidate, ...]
    excluded: tuple[Skipped, ...] = ()
    note: str = ""
