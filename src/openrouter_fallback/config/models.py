"""The user's configuration: chains, tiers, endpoints and settings, as immutable models that are validated together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ModelWrapValidatorHandler,
    SecretStr,
    StrictBool,
    StrictInt,
    StrictStr,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails

from ..errors import ConfigError
from ..source import Path
from ..suggest import did_you_mean
from .checks import chains, plain, review
from .fields import (
    AUTO,
    MEMORY,
    AutoTiers,
    BaseUrl,
    CostTiers,
    Delay,
    Dollars,
    EnvName,
    Fraction,
    Frozen,
    FrozenDict,
    Headers,
    HealthStoreUrl,
    Kind,
    ModelId,
    Names,
    Params,
    SealedHeaders,
    Seconds,
    Share,
    Verdict,
    without_password,
)
from .model_ids import OPENROUTER, STANDARD_TIERS, id_problem, split_id
from .problems import Place, again, listed, mistake, show

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


class ModelConfig(Frozen):
    """Settings of one model. `Settings` has the values of absent keys.

    Example: `ModelConfig("openai/gpt-5.1", priority=1)`. Raises `ConfigError` for an invalid value.
    """

    _by_position: ClassVar[str | None] = "id"

    id: ModelId = Field(description="The model's id, `author/model` on OpenRouter or `endpoint:model`.")
    priority: StrictInt = Field(
        default=0, description="Position in every chain, lower first; equal ones keep the chain's order."
    )
    max_retries: StrictInt | None = Field(
        default=None,
        ge=1,
        description="Attempts per call, the first included; default: settings.max_retries_per_model.",
    )
    timeout: Seconds | None = Field(
        default=None, description="Seconds to the first token; default: settings.first_token_timeout_seconds."
    )
    disable_duration: Seconds | None = Field(
        default=None,
        description="The longest its circuit stays open, in seconds; default: settings.disable_duration_seconds.",
    )
    params: Params = Field(
        default_factory=FrozenDict,
        description="Request parameters for this model; those of the call win, and null sends nothing.",
    )
    continues: Literal["prefill", "instruct", "never"] | None = Field(
        default=None,
        description="How the model continues an answer that broke off: from a prefill, by an instruction, or never.",
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            id: str,
            *,
            priority: int = 0,
            max_retries: int | None = None,
            timeout: float | None = None,
            disable_duration: float | None = None,
            params: Mapping[str, Any] = ...,
            continues: Literal["prefill", "instruct", "never"] | None = None,
        ) -> None: ...


class EndpointConfig(Frozen):
    """An OpenAI-compatible server.

    A pickle holds neither `api_key` nor the values of `headers`: use `api_key_env`, and give the headers again.
    """

    _by_position: ClassVar[str | None] = "base_url"

    base_url: BaseUrl = Field(
        description="The http or https URL before /chat/completions, without credentials and query."
    )
    api_key_env: EnvName | None = Field(
        default=None, description="The environment variable that holds the key; absent: no key is sent."
    )
    api_key: SecretStr | None = Field(
        default=None, description="The key itself, used before `api_key_env`; better kept in the environment."
    )
    headers: Headers = Field(
        default_factory=SealedHeaders, repr=False, description="Extra HTTP headers of every request to this endpoint."
    )
    stream_upstream: StrictBool = Field(
        default=True,
        description="Whether calls that are not streamed to the caller are still streamed from this endpoint.",
    )

    if TYPE_CHECKING:

        def __init__(
            self,
            base_url: str,
            *,
            api_key_env: str | None = None,
            api_key: SecretStr | str | None = None,
            headers: Mapping[str, str | SecretStr] = ...,
            stream_upstream: bool = True,
        ) -> None: ...

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        return {**state, "__dict__": {**state["__dict__"], "api_key": None}}


class HedgeConfig(Frozen):
    """When a second model is called beside a silent one. The first token wins; the other attempt is closed at once."""

    after: Delay = Field(
        default="p95",
        description="The wait for a first token, in seconds or as a quantile of the model's own times.",
    )
    max_fraction: Fraction = Field(
        default=0.05, description="Hedges per request over the last minute, 0 to 1; with little traffic one a minute."
    )
    max_parallel: StrictInt = Field(default=2, ge=2, description="Attempts of one call that may be under way at once.")

    if TYPE_CHECKING:

        def __init__(
            self,
            *,
            after: float | Literal["p50", "p95", "p99"] = "p95",
            max_fraction: float = 0.05,
            max_parallel: int = 2,
        ) -> None: ...


class SpendLimit(Frozen):
    """The spend limits, in USD. A request that could exceed a limit is not sent."""

    per_call: Dollars | None = Field(default=None, description="USD that one call may cost, all its attempts together.")
    per_day: Dollars | None = Field(
        default=None,
        description="USD that may be spent in a day (UTC): by this process, with a shared health_store by the fleet.",
    )

    if TYPE_CHECKING:

        def __init__(
            self, *, per_call: Decimal | float | str | None = None, per_day: Decimal | float | str | None = None
        ) -> None: ...


class Settings(Frozen):
    """How calls are tried, timed and judged. Times are in seconds, unless the name says minutes."""

    max_retries_per_model: StrictInt = Field(
        default=2,
        ge=1,
        description="Attempts per model and call, the first included; absent: 2, or 3 where the chain has one model.",
    )
    disable_duration_seconds: Seconds = Field(
        default=300.0,
        description=(
            "The longest a model's circuit stays open, in seconds. Under smart a circuit opens for 8 to 10 s, after a "
            "failed probe until 20 to 25 s from its start, if this is not shorter; exactly this long: models that do "
            "not exist, `any_error` and `disable()`."
        ),
    )
    health_window_minutes: Seconds = Field(default=10.0, description="How far back health looks, in minutes.")
    skip_threshold: Fraction = Field(
        default=0.3, description="The success rate, 0 to 1, below which a model's circuit opens."
    )
    min_samples: StrictInt = Field(default=3, ge=1, description="Calls before a model's health is judged.")
    policy: Literal["smart", "any_error"] = Field(
        default="smart",
        description="What follows a failure: decided by its kind (smart), or always the next model (any_error).",
    )
    on_failure: Annotated[Mapping[Kind, Verdict], AfterValidator(FrozenDict)] = Field(
        default_factory=FrozenDict, description="What follows single kinds of failure: next, raise or retry."
    )
    first_token_timeout_seconds: Seconds | None = Field(
        default=None,
        description=(
            "Seconds to the first token, after which the attempt ends, also of the last candidate. Absent: after 30, "
            "or 120 for slow requests (or as learnt) the next model is called beside the silent one; the last one may "
            "wait as long as the call."
        ),
    )
    stall_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds between two tokens; absent: 30, or 300 for slow requests; a set one always holds.",
    )
    total_timeout_seconds: Seconds = Field(
        default=300.0,
        description=(
            "Seconds that a whole call may wait for its answer; of a stream, until it delivers something, unless "
            "given for the call."
        ),
    )
    attempt_timeout_seconds: Seconds | None = Field(
        default=None, description="Seconds that one whole attempt may take; absent: no limit of its own."
    )
    order_by: Literal["priority", "health", "latency", "price"] = Field(
        default="priority",
        description="The order of healthy candidates: as in the chain, by success rate, latency or price.",
    )
    stream_upstream: StrictBool = Field(
        default=True, description="Whether calls that are not streamed to the caller are still streamed from the model."
    )
    mid_stream: Literal["continue", "raise"] = Field(
        default="continue",
        description="After a failure in mid-answer: the next model continues the delivered text, or the call raises.",
    )
    stick_to: Literal["session", "thread"] | None = Field(
        default=None,
        description="What stays with the model that it failed over to: a session_id, or a thread_id; absent: nothing.",
    )
    stick_seconds: Seconds = Field(
        default=300.0, description="How long stick_to holds, in seconds from the failover; calls do not renew it."
    )
    retry_budget: Share | None = Field(
        default=0.2,
        description=(
            "Extra requests per request over the last 10 s, ten at least. A call waits for room, 10 s in all and after "
            "a cooldown anew, then it raises. 0: none, null: no bound."
        ),
    )
    hedge: HedgeConfig | None = Field(
        default=None,
        description="A second attempt beside a model that is slow to begin, within the retry budget; absent: off.",
    )
    catalog: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether old lists of models are fetched in the background; auto: not from this machine.",
    )
    health_store: HealthStoreUrl = Field(
        default=MEMORY,
        description="Where health is shared with other processes: memory (nowhere), or the URL of a Redis server.",
    )
    spend_limit_usd: SpendLimit | None = Field(
        default=None, description="The most that may be spent, per call and per day; absent: no limit."
    )
    opentelemetry: StrictBool = Field(
        default=False, description="Whether calls become OpenTelemetry spans and metrics, with the global providers."
    )

    @classmethod
    def _place(cls, path: Path) -> Place:
        inner: Mapping[str, type[Frozen]] = {"hedge": HedgeConfig, "spend_limit_usd": SpendLimit}
        if len(path) > 1 and path[0] in inner:
            return inner[str(path[0])]._place(path[1:])
        return super()._place(path)

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        store = self.health_store
        if isinstance(store, str):
            return state
        store = SecretStr(without_password(store.get_secret_value()))
        return {**state, "__dict__": {**state["__dict__"], "health_store": store}}


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
        raw["endpoints"] = {OPENROUTER: _openrouter(endpoints.get(OPENROUTER, {})), **_without(endpoints, OPENROUTER)}
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


def _without(mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in mapping.items() if name != key}
