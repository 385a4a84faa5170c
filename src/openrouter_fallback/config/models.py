"""The whole configuration of a user: chains, tiers, endpoints and settings, immutable and validated together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, ModelWrapValidatorHandler, StrictStr, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from ..errors import ConfigError
from ..source import Path
from ..suggest import did_you_mean
from .checks import chains, plain, review
from .fields import AUTO, AutoTiers, CostTiers, Frozen, FrozenDict, Names
from .model_ids import OPENROUTER, STANDARD_TIERS, id_problem, split_id
from .problems import Place, again, listed, mistake, show
from .sections import EndpointConfig, HedgeConfig, ModelConfig, Settings, SpendLimit

__all__ = [
    "DEFAULT_BASE_URL",
    "OPENROUTER",
    "STANDARD_TIERS",
    "EndpointConfig",
    "FallbackConfig",
    "HedgeConfig",
    "ModelConfig",
    "Settings",
    "SpendLimit",
]

DEFAULT_BASE_URL = "https://openrouter.ai/api/v1"
DEFAULT_KEY_ENV = "OPENROUTER_API_KEY"


class FallbackConfig(Frozen):
    """The whole configuration. One of `default_chain`, `task_chains`, `cost_tiers` is needed.

    Chains may hold `ModelConfig` objects, whose settings go to `models`. Immutable. `ConfigError` names every mistake.
    """

    default_chain: Names = Field(default=(), description="Model ids in the order in which they are tried.")
    task_chains: Annotated[Mapping[StrictStr, Names], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict, description="A chain of model ids per task; an unknown task uses the default chain."
    )
    cost_tiers: CostTiers = Field(
        default_factory=FrozenDict,
        description="Model ids per cost tier: budget, standard, premium or as in tier_order; or auto: by their prices.",
    )
    tier_order: Names | None = Field(
        default=None,
        description="The tiers of cost_tiers, cheapest first; needed unless they are budget, standard and premium.",
    )
    providers: Annotated[Mapping[StrictStr, Names], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict, description="Model ids per provider; absent: derived from the ids' prefixes."
    )
    models: Annotated[Mapping[StrictStr, ModelConfig], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict, description="Settings of single models, by id."
    )
    endpoints: Annotated[Mapping[StrictStr, EndpointConfig], AfterValidator(FrozenDict)] = Field(
        description="OpenAI-compatible servers by name, used as `name:model`; openrouter is always there.",
        default_factory=FrozenDict,
    )
    settings: Settings = Field(default_factory=Settings, description="How calls are tried, timed and judged.")

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            default_chain: Sequence[str | ModelConfig] = ...,
            task_chains: Mapping[str, Sequence[str | ModelConfig]] = ...,
            cost_tiers: Mapping[str, Sequence[str | ModelConfig]] | Literal["auto"] = ...,
            tier_order: Sequence[str] | None = None,
            providers: Mapping[str, Sequence[str | ModelConfig]] = ...,
            models: Mapping[str, ModelConfig | Mapping[str, Any]] = ...,
            endpoints: Mapping[str, EndpointConfig | Mapping[str, Any]] = ...,
            settings: Settings | Mapping[str, Any] = ...,
        ) -> None: ...

    @model_validator(mode="wrap")
    @classmethod
    def _whole(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if not isinstance(data, Mapping):
            return handler(data)
        lines: list[InitErrorDetails] = []
        raw = _raw(data, lines)
        lines += review(raw)
        try:
            config = handler(raw)
        except ValidationError as error:
            lines += again(error, lambda loc: loc[:1] == ("models",) and loc[2:] == ("id",))
        else:
            if not lines:
                return config
        raise ValidationError.from_exception_data(cls.__name__, lines, hide_input=True)

    @classmethod
    def _place(cls, path: Path) -> Place:
        section = path[0] if path else ""
        if section == "settings" and len(path) > 1:
            return Settings._place(path[1:])
        if section in ("models", "endpoints") and len(path) > 2:
            place = (ModelConfig if section == "models" else EndpointConfig)._place(path[2:])
            return Place([name for name in place.known if name != "id"], place.meaning)
        return super()._place(path)

    def with_settings(self, changes: Settings | Mapping[str, Any]) -> Self:
        """A copy of the configuration with the settings that `changes` names. Other settings keep their values.

        The same holds inside `hedge`, `spend_limit_usd` and `on_failure`; None removes the whole setting. A `Settings`
        object changes only the settings that it was created with. Raises `ConfigError`.
        """
        settings = _changed(self.settings, changes)
        if not isinstance(settings, Mapping):
            raise ConfigError(f"settings: found {show(settings)}; allowed is a mapping, or a Settings object.")
        return self.model_copy(update={"settings": Settings(**settings)}) if settings else self

    def with_endpoints(self, endpoints: Mapping[str, EndpointConfig | Mapping[str, Any]]) -> Self:
        """A copy of the configuration with these endpoints added. An endpoint of the same name is replaced.

        Raises `ConfigError`.
        """
        whole = {name: getattr(self, name) for name in type(self).model_fields}
        return type(self)(**{**whole, "endpoints": {**self.endpoints, **endpoints}})

    def model(self, id: str) -> ModelConfig:
        """The settings of a model; the defaults for an id without settings."""
        return self.models.get(id) or ModelConfig(id)

    def split(self, id: str) -> tuple[str, str]:
        """The endpoint's name, and the model's name at that endpoint."""
        return split_id(id, self.endpoints)

    def id_problem(self, id: str) -> str | None:
        """The problem of a model id, as a sentence with a suggestion; None if valid."""
        return id_problem(id, self.endpoints, self.ids())

    def ids(self) -> tuple[str, ...]:
        """All model ids of the configuration, in the order of their first appearance."""
        lists = (self.default_chain, *self.task_chains.values(), *self.cost_tiers.values(), *self.providers.values())
        return tuple(dict.fromkeys([id for ids in lists for id in ids] + list(self.models)))

    def by_priority(self, ids: Iterable[str]) -> tuple[str, ...]:
        """The ids sorted by their models' priority, lower first. Equal priorities keep their order."""
        return tuple(sorted(ids, key=lambda id: self.models[id].priority if id in self.models else 0))

    def chain(self, task: str | None = None) -> tuple[str, ...]:
        """The models of a task in order. Without a task, or for an unknown task: the default chain.

        Without a `default_chain`: the task `default`, else the cost tiers, cheapest first, else the first task's chain.
        """
        if task is not None and task in self.task_chains:
            return self.by_priority(self.task_chains[task])
        if self.default_chain:
            return self.by_priority(self.default_chain)
        if "default" in self.task_chains:
            return self.by_priority(self.task_chains["default"])
        return self.tier_chain() or self.by_priority(next(iter(self.task_chains.values())))

    @property
    def derives_tiers(self) -> bool:
        """Whether tiers are derived from prices (`cost_tiers: auto`)."""
        return isinstance(self.cost_tiers, AutoTiers)

    def tiers(self) -> tuple[str, ...]:
        """The cost tiers, cheapest first."""
        if self.derives_tiers:
            return STANDARD_TIERS
        return self.tier_order or tuple(name for name in STANDARD_TIERS if name in self.cost_tiers)

    def tier_of(self, id: str) -> str | None:
        """The cheapest tier that lists the model."""
        return next((tier for tier in self.tiers() if id in self.cost_tiers.get(tier, ())), None)

    def tier_chain(self, max_cost_tier: str | None = None) -> tuple[str, ...]:
        """The models of the tiers up to `max_cost_tier` (all if None), cheapest tier first, by priority within a tier.

        Raises `ConfigError` for a tier that is not configured.
        """
        tiers = self.tiers()
        if max_cost_tier is not None:
            if max_cost_tier not in tiers:
                known = f"Configured: {listed(tiers)}." if tiers else "No `cost_tiers` are configured."
                meant = did_you_mean(max_cost_tier, tiers)
                raise ConfigError(f"unknown cost tier {show(max_cost_tier)}.{meant} {known}")
            tiers = tiers[: tiers.index(max_cost_tier) + 1]
        return tuple(dict.fromkeys(id for tier in tiers for id in self.by_priority(self.cost_tiers.get(tier, ()))))

    def provider_of(self, id: str) -> str:
        """The provider that lists the model, else the id's prefix, else (not on OpenRouter) the endpoint's name."""
        listing = next((name for name, ids in self.providers.items() if id in ids), None)
        return listing or self._prefix(id)

    def providers_map(self) -> dict[str, tuple[str, ...]]:
        """The models of each provider: the configured `providers`, then the other prefixes of the ids."""
        derived: dict[str, list[str]] = {}
        for id in self.ids():
            derived.setdefault(self._prefix(id), []).append(id)
        prefixes = {name: tuple(ids) for name, ids in derived.items() if name not in self.providers}
        return {**self.providers, **prefixes}

    def _prefix(self, id: str) -> str:
        endpoint, model = self.split(id)
        return model.partition("/")[0].lstrip("~") if endpoint == OPENROUTER else endpoint


def _changed(known: object, changes: object) -> Any:
    """`known` merged with `changes`, level by level. A value that is not a mapping replaces the known value."""
    if not isinstance(changes, Settings | HedgeConfig | SpendLimit | Mapping):
        return changes
    old, new = (_named(one) for one in (known, changes))
    return {**old, **{name: _changed(old.get(name), value) for name, value in new.items()}}


def _named(settings: object) -> dict[str, Any]:
    """The explicitly given fields of a settings object, or the items of a mapping."""
    if isinstance(settings, Settings | HedgeConfig | SpendLimit):
        return {name: getattr(settings, name) for name in settings.model_fields_set}
    return dict(settings) if isinstance(settings, Mapping) else {}


def _raw(data: Mapping[str, Any], lines: list[InitErrorDetails]) -> dict[str, Any]:
    """Plain data in the form of the models: ids in chains, an id in each model, the built-in endpoint added."""
    # `model_dump` writes () for a default chain that was not given.
    given = {
        key: AUTO if isinstance(value, AutoTiers) else value
        for key, value in data.items()
        if not (key == "default_chain" and value == ())
    }
    raw: dict[str, Any] = plain(given, (), lines)  # type: ignore[assignment]
    models = raw.get("models", {})
    if isinstance(models, dict):
        raw["models"] = models = {id: _with_id(id, value, lines) for id, value in models.items()}
        for path, chain in chains(raw):
            for index, entry in enumerate(chain):
                if isinstance(entry, ModelConfig):
                    chain[index] = entry.id
                    if models.setdefault(entry.id, entry) != entry:
                        text = f"{show(entry.id)} has other settings elsewhere in the configuration; give them once."
                        lines.append(mistake((*path, index), text))
    endpoints = raw.get("endpoints", {})
    if isinstance(endpoints, dict):
        raw["endpoints"] = {OPENROUTER: _openrouter(endpoints.get(OPENROUTER, {})), **without(endpoints, OPENROUTER)}
    return raw


def _with_id(id: str, value: object, lines: list[InitErrorDetails]) -> object:
    own = value.get("id", id) if isinstance(value, dict) else value.id if isinstance(value, ModelConfig) else id
    if own != id:
        lines.append(mistake(("models", id, "id"), f"found {show(own)}; the key above is the id: remove this one."))
    return {**value, "id": id} if isinstance(value, dict) else value


def _openrouter(given: object) -> object:
    if isinstance(given, EndpointConfig):
        named = {"api_key", "api_key_env"} & given.model_fields_set
        return given if named else given.model_copy(update={"api_key_env": DEFAULT_KEY_ENV})
    if not isinstance(given, dict):
        return given
    return {"base_url": DEFAULT_BASE_URL} | ({} if "api_key" in given else {"api_key_env": DEFAULT_KEY_ENV}) | given


def without(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping without one key."""
    return {name: value for name, value in mapping.items() if name != key}
