"""The sections of a configuration: one model, one endpoint, hedging, spend limits and the settings of all calls."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, SecretStr, StrictBool, StrictInt

from ..source import Path
from .fields import (
    MEMORY,
    BaseUrl,
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
    Params,
    SealedHeaders,
    Seconds,
    Share,
    Verdict,
    without_password,
)
from .problems import Place


class ModelConfig(Frozen):
    """Settings of one model. `Settings` has the values of absent keys.

    Example: `ModelConfig("openai/gpt-5.1", priority=1)`. Raises `ConfigError` for an invalid value.
    """

    _by_position: ClassVar[str | None] = "id"

    id: ModelId = Field(description="The model's id, `author/model` on OpenRouter or `endpoint:model`.")
    priority: StrictInt = Field(
        default=0,
        description="Position in every chain, the lowest number first; models of equal priority keep their order.",
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
        description="Request parameters for this model. Parameters of the call come first; null removes a parameter.",
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
            "The longest time that a model's circuit stays open, in seconds. With policy smart a circuit opens for 8 "
            "to 10 s; after a failed probe, until 20 to 25 s from the start of that probe; never longer than this. "
            "Exactly this long: for a model that does not exist, with policy any_error, and after `disable()`."
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
            "Seconds to the first token. Then the attempt ends, even that of the last candidate. Absent: after 30 s, "
            "120 s for slow requests, or a time learnt from the model, the next model is called beside the silent "
            "model; the attempt of the last candidate may last as long as the call."
        ),
    )
    stall_timeout_seconds: Seconds | None = Field(
        default=None,
        description="Seconds between two tokens. Absent: 30, or 300 for slow requests. A set value holds for all.",
    )
    total_timeout_seconds: Seconds = Field(
        default=300.0,
        description=(
            "Seconds that a call may wait for its whole answer. A stream may wait so long for its first piece; "
            "`total_timeout` of the call bounds the whole stream."
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
        description="Calls of one session_id, or of one thread_id, stay with the model that they failed over to.",
    )
    stick_seconds: Seconds = Field(
        default=300.0, description="How long stick_to holds, in seconds from the failover; calls do not renew it."
    )
    retry_budget: Share | None = Field(
        default=0.2,
        description=(
            "Extra requests (retries, further models) per request of the last 10 s; ten are always allowed. If none "
            "is left, the call waits, at most 10 s in all, then it raises. The 10 s start again after a cooldown, and "
            "once if one of its models answers another call. 0: no extra requests; null: no limit."
        ),
    )
    hedge: HedgeConfig | None = Field(
        default=None,
        description="A second attempt beside a model that is slow to begin, within the retry budget; absent: off.",
    )
    catalog: Literal["auto", "always", "never"] = Field(
        default="auto",
        description="Whether an old list of models is fetched again in the background; auto: not from this machine.",
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
