"""Plans which models a call may use, in which order, and why others are skipped. Calls no model, reserves no probe."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import urlsplit

from ..answer.seam import ContinuationMode
from ..catalog.catalog import Catalog
from ..catalog.prices import PriceCap, tier
from ..config.models import STANDARD_TIERS, FallbackConfig, ModelConfig
from ..errors import ConfigError
from ..health import Availability, HealthScopes, MemoryHealth
from ..results import Route, Skipped
from ..suggest import did_you_mean
from .candidate import NO_NEEDS, Candidate, Plan
from .choice import Choice
from .model_families import same_model
from .needs import Needs

logger = logging.getLogger("openrouter_fallback")

_MOST_REMEMBERED = 1024


class First(NamedTuple):
    """A model to move to the front of a plan: its possible names, the most certain first, and the reason."""

    models: Sequence[str]
    why: str


class Router:
    """Plans calls from the configuration, the call's choice and the models' health."""

    def __init__(self, config: FallbackConfig, health: MemoryHealth, catalog: Catalog | None = None) -> None:
        self._config = config
        self._health = health
        self._catalog = catalog
        self._split = lru_cache(_MOST_REMEMBERED)(config.split)
        self._candidates: dict[tuple[str, str], Candidate] = {}
        self._warned: set[str] = set()
        self._seen: set[str] = set()

    def plan(self, choice: Choice, now: float, accounts: Mapping[str, str], needs: Needs = NO_NEEDS) -> Plan:
        """The candidates for `choice`, in the order of use if all are healthy and meet the needs.

        `accounts` holds the account of each endpoint's key for this call, `needs` the needs of its request.
        """
        own = {m.id: m for m in choice.models or () if isinstance(m, ModelConfig)}
        ids, excluded = self._select(choice)
        plan = [self._candidate(key, own.get(key), accounts) for key in ids]
        if choice.max_price is not None:
            plan, beyond = _within(choice.max_price, plan)
            excluded = (*excluded, *beyond)
        if needs:
            plan = [self._fitted(candidate, needs) for candidate in plan]
        order_by = self._config.settings.order_by
        if order_by == "price":
            plan.sort(key=_by_price)
        elif order_by == "health":
            plan.sort(key=lambda c: -self._health.success_rate(c.key, now))
        elif order_by == "latency":
            plan.sort(key=lambda c: self._health.first_token_quantile(c.key, 0.5) or 0.0)
        if self._health.accounts.any_refused:
            plan.sort(key=lambda c: self._account_rank(c, now))
        return Plan(tuple(plan), excluded)

    def with_first(
        self, plan: Plan, first: First, now: float, needs: Needs = NO_NEEDS, missing: Container[str] = ()
    ) -> Plan:
        """The plan with this model before the others, unless there is no key for its endpoint (it is `missing`).

        Only the order changes, and only if that model is READY (circuit closed, needs met) and its account not refused.
        """
        models, why = first
        allowed = [candidate for candidate in plan.candidates if candidate.target.endpoint not in missing]
        found = next((c for name in models if (c := _named(allowed, name)) is not None), None)
        if found is None or found is plan.candidates[0]:
            return plan
        status_of = found.fitting(self._health.status_of(found.target, now, needs.abilities))
        refused = self._health.accounts.status(found.target.account, now)
        if status_of.availability is not Availability.READY or refused is not None:
            return plan
        others = (candidate for candidate in plan.candidates if candidate is not found)
        return replace(plan, candidates=(found, *others), note=f"{found.key} goes first: {why}")

    def route(
        self,
        choice: Choice,
        now: float,
        accounts: Mapping[str, str],
        needs: Needs = NO_NEEDS,
        first: First | None = None,
        missing: Container[str] = (),
    ) -> Route:
        """The plan as it stands now, for people to read; `first` and `missing`: as in `with_first`."""
        plan = self.plan(choice, now, accounts, needs)
        if first is not None:
            plan = self.with_first(plan, first, now, needs, missing)
        asked: list[str] = []
        skipped = list(plan.excluded)
        for candidate in plan.candidates:
            status_of = candidate.fitting(self._health.status_of(candidate.target, now, needs.abilities))
            if status_of.admits:
                asked.append(candidate.key)
            else:
                left = max(0.0, status_of.until - now) if status_of.until is not None else None
                skipped.append(Skipped(candidate.key, status_of.reason, left))
        scopes = {scope for one in plan.candidates for scope in (one.key, one.target.endpoint)}
        return Route(
            tuple(asked), tuple(skipped), self._health.facts.about(scopes, now), (plan.note,) if plan.note else ()
        )

    def candidate(self, key: str, accounts: Mapping[str, str]) -> Candidate:
        """The candidate of a model id."""
        return self._candidate(key, None, accounts)

    def has_seen(self, key: str) -> bool:
        """Whether any call named the model in its `models`."""
        return key in self._seen

    def _candidate(self, key: str, own: ModelConfig | None, accounts: Mapping[str, str]) -> Candidate:
        endpoint, model = self._split(key)
        account = accounts[endpoint]
        cached = None if own else self._candidates.get((key, account))
        if cached is not None:
            return cached
        chosen = own or self._config.model(key)
        settings = self._config.settings
        candidate = Candidate(
            key=key,
            model=model,
            target=HealthScopes(key, endpoint, account, chosen.disable_duration or settings.disable_duration_seconds),
            attempts=chosen.max_retries or settings.max_retries_per_model,
            attempts_set=bool(chosen.max_retries) or "max_retries_per_model" in settings.model_fields_set,
            timeout=chosen.timeout if chosen.timeout is not None else settings.first_token_timeout_seconds,
            params=chosen.params,
            continues=ContinuationMode(chosen.continues) if chosen.continues is not None else None,
            host=urlsplit(self._config.endpoints[endpoint].base_url).hostname or "",
            streams=settings.stream_upstream and self._config.endpoints[endpoint].stream_upstream,
            catalog=self._catalog,
        )
        if own is None:
            if len(self._candidates) > _MOST_REMEMBERED:
                self._candidates.clear()
            self._candidates[key, account] = candidate
        return candidate

    def _select(self, choice: Choice) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
        config = self._config
        cap = choice.max_cost_tier
        if cap is not None and cap not in config.tiers():
            derive = "" if config.tiers() else " `cost_tiers: auto` would derive them from prices."
            raise ConfigError(_unknown("max_cost_tier", cap, config.tiers()) + derive)
        excluded: tuple[Skipped, ...] = ()
        provider = choice.primary_provider
        if choice.models is not None:
            ids = _given(choice.models, config)
            if len(self._seen) < _MOST_REMEMBERED:
                self._seen.update(ids)
        elif choice.task is not None:
            tasks = (*config.task_chains, "default")
            if choice.task not in tasks:
                said = _unknown("task", choice.task, _unique(tasks))
                self._warn_once(f"task={choice.task}", said, "The default chain is used.")
            ids = config.chain(choice.task)
        elif cap is not None and not config.derives_tiers:
            return self._prefer(provider, config.tier_chain(cap)), ()
        elif cap is not None:
            ids = tuple(sorted(config.by_priority(config.ids()), key=self._tier_rank))
        elif provider is not None and config.providers:
            ids = _unique(key for keys in config.providers.values() for key in keys)
        else:
            ids = config.chain(None)
        if cap is not None:
            kept, excluded = [], ()
            for key in ids:
                reason = self._beyond(key, cap)
                if reason is None:
                    kept.append(key)
                else:
                    excluded = (*excluded, Skipped(key, reason))
            ids = tuple(kept)
        return self._prefer(provider, ids), excluded

    def _prefer(self, provider: str | None, ids: tuple[str, ...]) -> tuple[str, ...]:
        if provider is None:
            return ids
        config = self._config
        providers = config.providers_map()
        models = set(providers.get(provider, ()))
        first = {key for key in ids if key in models or config.provider_of(key) == provider}
        if not first and ids:
            known = provider in providers
            self._warn_once(
                f"primary_provider={provider}",
                f"primary_provider={provider!r} has none of the models {', '.join(ids)}."
                if known
                else _unknown("primary_provider", provider, _unique((*providers, *map(config.provider_of, ids)))),
                "The order stays as it is.",
            )
        return tuple(sorted(ids, key=lambda key: key not in first))

    def _beyond(self, key: str, cap: str) -> str | None:
        name = self._tier(key)
        if name is None:
            return f"its cost tier and price are unknown, and max_cost_tier is {cap}"
        order = self._tier_order()
        return f"cost tier {name} is above {cap}" if order.index(name) > order.index(cap) else None

    def _tier(self, key: str) -> str | None:
        """The tier that lists the model, else the tier derived from its price, if such a tier is configured."""
        listed = self._config.tier_of(key)
        if listed is not None:
            return listed
        if self._split(key)[1].endswith(":free"):
            derived: str | None = "budget"
        else:
            derived = tier(self._catalog.get(key) if self._catalog is not None else None)
        return derived if derived in self._tier_order() else None

    def _tier_order(self) -> tuple[str, ...]:
        """The tiers, cheapest first. All standard tiers if the configuration uses only standard tiers."""
        tiers = self._config.tiers()
        return STANDARD_TIERS if set(tiers) <= set(STANDARD_TIERS) else tiers

    def _tier_rank(self, key: str) -> int:
        name = self._tier(key)
        return STANDARD_TIERS.index(name) if name is not None else len(STANDARD_TIERS)

    def _fitted(self, candidate: Candidate, needs: Needs) -> Candidate:
        """The candidate, marked unfit if the model is known to lack a need. An unknown ability counts as present."""
        info = candidate.info
        if info is None:
            return candidate
        for need in sorted(needs.abilities):
            # OpenRouter parses files for models without file input.
            if info.can(need) is False and not (need == "file" and candidate.on_openrouter):
                return replace(candidate, unfit=f"does not support {need}")
        if info.context_length is not None and info.context_length < needs.tokens:
            return replace(candidate, unfit=f"its context of {info.context_length} tokens is too small")
        return candidate

    def _account_rank(self, candidate: Candidate, now: float) -> int:
        refused = self._health.accounts.status(candidate.target.account, now)
        if refused is None or (refused == "credits" and candidate.free):
            return 0
        return 1 if refused == "credits" else 2

    def _warn_once(self, key: str, said: str, so: str) -> None:
        if key not in self._warned and len(self._warned) <= _MOST_REMEMBERED:
            self._warned.add(key)
            logger.warning("%s %s", said, so)


def _within(cap: PriceCap, plan: list[Candidate]) -> tuple[list[Candidate], list[Skipped]]:
    kept, beyond = [], []
    for candidate in plan:
        reason = None if candidate.model.endswith(":free") else cap.beyond(candidate.info)
        if reason is not None:
            beyond.append(Skipped(candidate.key, reason))
        else:
            kept.append(replace(candidate, max_price=cap.wire()) if candidate.on_openrouter else candidate)
    return kept, beyond


def _named(candidates: Iterable[Candidate], name: str) -> Candidate | None:
    """The candidate with the key `name`, else the candidate whose answers use that name."""
    known = [candidate for candidate in candidates if candidate.key == name]
    if known:
        return known[0]
    for candidate in candidates:
        slug = candidate.slug
        if same_model(name, candidate.model) or (slug is not None and same_model(name, slug)):
            return candidate
    return None


def _by_price(candidate: Candidate) -> Decimal:
    known = candidate.price
    return known if known is not None else Decimal("Infinity")


def _unknown(what: str, found: str, allowed: Sequence[str]) -> str:
    there = ", ".join(allowed) or "none"
    return f"{what}={found!r} is not configured; there are: {there}.{did_you_mean(found, allowed)}"


def _unique(ids: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(ids))


def _given(models: Sequence[str | ModelConfig], config: FallbackConfig) -> tuple[str, ...]:
    if not models:
        raise ConfigError("models=[] is empty; name at least one model, such as 'openai/gpt-5.1'")
    ids = [model if isinstance(model, str) else model.id for model in models]
    if len(set(ids)) < len(ids):
        raise ConfigError(f"models= names a model twice: {', '.join(sorted({i for i in ids if ids.count(i) > 1}))}")
    for key in ids:
        problem = config.id_problem(key)
        if problem is not None:
            raise ConfigError(f"models=: {problem}")
    priority = {model.id: model.priority for model in models if isinstance(model, ModelConfig)}
    return tuple(sorted(ids, key=lambda key: priority.get(key, config.model(key).priority)))
