"""What a chat model is made of: its fields, the core behind them, and what becomes of both in copies and pickles."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError

from openrouter_fallback import EndpointConfig, FallbackClient, FallbackConfig, ModelConfig, current_routing

from .call_options import ROUTING, in_wire_form
from .constructor import checked, plain
from .errors import ConfigError, as_model_errors
from .existing_models import settings_of
from .profile import profile_of, take_schemas
from .responses import PROVIDER
from .shared_client import Core, Recipe
from .tools import Tool, tool_arguments

_CATEGORIES = "X-OpenRouter-Categories"


def _from_env(name: str) -> Callable[[], str | None]:
    return lambda: os.environ.get(name) or None


class Configured(BaseChatModel):
    """The part of `ChatOpenRouterFallback` that asks nothing."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True, defer_build=True)

    # Which models
    model: str | None = None
    """A chain of one; for a chain of more give `models`."""
    models: list[str | ModelConfig] | None = None
    """The chain, in order. Beside a `config`: the chain that this model asks unless a call says otherwise."""
    config: FallbackConfig | str | None = None
    """Chains, tiers, endpoints and settings: a `FallbackConfig`, the path of a YAML file, or a mapping."""
    endpoints: dict[str, EndpointConfig] | None = None
    """Other OpenAI-compatible servers by name, used as `name:model`."""
    settings: dict[str, Any] | None = None
    """Changes to the configuration's settings, such as `{"policy": "any_error"}`."""
    task: str | None = None
    """The task whose chain is asked."""
    max_cost_tier: str | None = None
    """The dearest tier that may be asked."""
    primary_provider: str | None = None
    """The provider whose models are asked first."""
    max_price: float | dict[str, float] | None = None
    """The most that a model may cost, in USD per million tokens, or apart as `{"prompt": ..., "completion": ...}`."""

    # How they are reached
    openrouter_api_key: SecretStr | Callable[[], Any] | None = Field(
        default_factory=secret_from_env("OPENROUTER_API_KEY", default=None), alias="api_key", repr=False
    )
    """OpenRouter's key, or a function that returns it; by default from `OPENROUTER_API_KEY`."""
    openrouter_api_base: str | None = Field(default=None, alias="base_url")
    """OpenRouter's URL; by default from `OPENROUTER_BASE_URL` or `OPENROUTER_API_BASE`, else OpenRouter itself."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """HTTP headers of every request."""
    app_url: str | None = Field(default_factory=_from_env("OPENROUTER_APP_URL"))
    """Attributes the traffic on OpenRouter; by default from `OPENROUTER_APP_URL`."""
    app_title: str | None = Field(default_factory=_from_env("OPENROUTER_APP_TITLE"))
    """Attributes the traffic on OpenRouter; by default from `OPENROUTER_APP_TITLE`."""
    app_categories: list[str] | None = None
    """Attributes the traffic on OpenRouter, as the header `X-OpenRouter-Categories`."""
    request_timeout: float | None = Field(default=None, alias="timeout", gt=0)
    """Seconds to the first token of one attempt; by default 30, or 120 for requests that are known to be slow."""
    max_retries: int | None = Field(default=None, ge=0)
    """Tries of the same model after the first, within a call; by default 1."""
    mid_stream: Literal["continue", "raise"] | None = None
    """Whether another model goes on when one dies in mid-stream; by default as configured."""

    # What they are asked
    temperature: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    seed: int | None = None
    n: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = None
    logit_bias: dict[int, int] | None = None
    stop: list[str] | str | None = Field(default=None, alias="stop_sequences")
    reasoning: dict[str, Any] | None = None
    """OpenRouter's reasoning parameter, such as `{"effort": "high"}`."""
    reasoning_effort: str | None = None
    verbosity: str | None = None
    service_tier: str | None = None
    openrouter_provider: dict[str, Any] | None = None
    """OpenRouter's provider preferences, such as `{"order": ["anthropic"], "data_collection": "deny"}`."""
    plugins: list[dict[str, Any]] | None = None
    route: str | None = None
    session_id: str | None = Field(default_factory=_from_env("OPENROUTER_SESSION_ID"))
    """Groups requests on OpenRouter; by default from `OPENROUTER_SESSION_ID`."""
    trace: dict[str, Any] | None = None
    model_kwargs: dict[str, Any] = Field(default_factory=dict)
    """Any other parameters of the request."""
    extra_body: dict[str, Any] | None = None
    """Parameters that are sent as they are."""
    streaming: bool | None = None
    """Whether `invoke` streams too, so that callbacks see tokens; False: nothing streams."""

    stream_usage: bool | None = None
    """False: the last chunk of a stream tells no tokens. They are asked for all the same, for the cost."""

    core: Core | None = Field(default=None, exclude=True, repr=False)
    """What stands behind: shared by all copies of this model, with its health and its connections."""

    _client: FallbackClient | None = PrivateAttr(default=None)

    def __init__(self, models: Sequence[Any] | None = None, /, **given: Any) -> None:
        if models is not None:
            given = {"models": models, **given}
        with as_model_errors():
            data = checked(type(self), given)
            try:
                super().__init__(**data)
            except ValidationError as error:
                told = "; ".join(f"{'.'.join(map(str, one['loc']))}=: {one['msg']}" for one in error.errors())
                raise ConfigError(f"{type(self).__name__}: {told}") from None
            self._client = self._routed_client()

    @classmethod
    def from_config(
        cls,
        path: FallbackConfig | str | os.PathLike[str] | Mapping[str, Any],
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        **arguments: Any,
    ) -> Self:
        """A chat model from a YAML file or a mapping; the routing given here holds for all its calls."""
        return cls(config=path, task=task, max_cost_tier=max_cost_tier, primary_provider=primary_provider, **arguments)

    @classmethod
    def from_chat_model(
        cls,
        llm: Runnable[LanguageModelInput, AIMessage],
        *,
        models: Sequence[str | ModelConfig | BaseChatModel] = (),
        **arguments: Any,
    ) -> Self:
        """A chat model with the settings of a `ChatOpenRouter` or `ChatOpenAI`; `models` stand behind its own.

        Of `a.with_fallbacks([b, c])` it becomes the chain of the three, with the settings of the first.
        """
        with as_model_errors():
            taken = settings_of(llm)
        return cls(**{**taken, **arguments, "models": [*taken["models"], *models]})

    @property
    def client(self) -> FallbackClient:
        """The core's client with this model's routing: `health()`, `route()`, `disable()`, `subscribe()` ..."""
        if self._client is None:
            with as_model_errors():
                self._client = self._routed_client()
        return self._client

    def with_routing(
        self,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        model: str | None = None,
        max_price: float | dict[str, float] | None = None,
    ) -> Self:
        """The same model (same health, same connections) with other routing as its default."""
        if model is not None:
            models = [model]
        given: dict[str, Any] = {
            "task": task,
            "max_cost_tier": max_cost_tier,
            "primary_provider": primary_provider,
            "max_price": max_price,
        }
        update = {key: value for key, value in given.items() if value is not None}
        if models is not None:
            update |= {"models": list(models), "model": None}
        elif task is not None and self.config is not None:
            update |= {"models": None, "model": None}  # without a configuration they are what the client is made of
        copy = self.model_copy(update=update)
        with as_model_errors():
            copy._client = copy._routed_client()
        if copy.core is not None and copy.profile in copy.core.profiles:
            copy.profile = copy._resolve_model_profile()
        return copy

    # What LangChain asks of every model

    def get_num_tokens(self, text: str) -> int:
        """About how many tokens; counted here, never over the network."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return count_tokens_approximately([HumanMessage(text)], extra_tokens_per_message=0, count_name=False)

    def get_token_ids(self, text: str) -> list[int]:
        """Raises NotImplementedError without a `custom_get_token_ids`: the models of a chain count differently."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        raise NotImplementedError(
            "a chain of models has no tokenizer; give custom_get_token_ids=, or use get_num_tokens"
        )

    def get_num_tokens_from_messages(self, messages: Sequence[BaseMessage], tools: Sequence[Tool] | None = None) -> int:
        """About how many tokens; counted here, never over the network."""
        if not tools:
            return count_tokens_approximately(messages)
        return count_tokens_approximately(messages, tools=[*tool_arguments(tools)["tools"]])

    @property
    def takes_schemas(self) -> bool:
        """Whether every model of the chain is known, by now or by a `profile` that was given, to answer by a schema."""
        made_here = self.core is not None and (self.profile is None or self.profile in self.core.profiles)
        return bool(take_schemas(self.client) if made_here else (self.profile or {}).get("structured_output"))

    @property
    def model_name(self) -> str:
        """For agents, which guess by a model's name what it can, against its profile too: no model's name."""
        return self._llm_type

    def _resolve_model_profile(self) -> ModelProfile | None:
        profile = profile_of(self.client)
        if self.core is not None and profile is not None and profile not in self.core.profiles:
            self.core.profiles.append(profile)
        return profile

    @property
    def _llm_type(self) -> str:
        return "openrouter-fallback"

    def _get_llm_string(self, stop: list[str] | None = None, **kwargs: Any) -> str:
        # The routing of the context is the only one that is not among the arguments: the cache has to know it too.
        # Tools and formats as they are sent: a class says no more than its name there.
        return super()._get_llm_string(stop=stop, **{**current_routing(), **in_wire_form(kwargs)})

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = (*ROUTING, "temperature", "max_tokens", "stop", "reasoning", "openrouter_provider", "model_kwargs")
        return {name: plain(value) for name in names if (value := getattr(self, name)) not in (None, {})}

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> LangSmithParams:
        chain = kwargs.get("models") or self._chain() or self.client.config.chain(kwargs.get("task") or self.task)
        name = kwargs.get("model") or next(iter(chain), "")
        params = LangSmithParams(
            ls_provider=PROVIDER,
            ls_model_name=name.id if isinstance(name, ModelConfig) else str(name),
            ls_model_type="chat",
        )
        temperature = kwargs.get("temperature", self.temperature)
        if temperature is not None:
            params["ls_temperature"] = temperature
        max_tokens = kwargs.get("max_tokens", self.max_tokens)
        if max_tokens is not None:
            params["ls_max_tokens"] = max_tokens
        stops = stop or kwargs.get("stop") or self.stop
        if stops:
            params["ls_stop"] = [stops] if isinstance(stops, str) else stops
        return params

    def _chain(self) -> list[str | ModelConfig] | None:
        return [self.model] if self.model is not None else self.models

    def _routed_client(self) -> FallbackClient:
        recipe = Recipe(
            config=self.config,
            endpoints=self.endpoints,
            settings=self.settings,
            timeout=self.request_timeout,
            max_retries=self.max_retries,
            base_url=self.openrouter_api_base,
            api_key=self.openrouter_api_key,
            headers=self._headers(),
            app_url=self.app_url,
            app_title=self.app_title,
        )
        chain = self._chain()
        if self.core is None or self.core.recipe != recipe:
            self.core = Core.made(recipe, chain)
        return self.core.routed(
            chain,
            task=self.task,
            max_cost_tier=self.max_cost_tier,
            primary_provider=self.primary_provider,
            max_price=self.max_price,
        )

    def _headers(self) -> Mapping[str, str] | None:
        """The headers of every request; the user's own go before what an argument makes."""
        given = self.default_headers
        if not self.app_categories or any(name.lower() == _CATEGORIES.lower() for name in given or ()):
            return given
        return {_CATEGORIES: ",".join(self.app_categories), **(given or {})}

    # Copies, pickles, JSON

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        copy = super().model_copy(update=update, deep=deep)
        if update:
            copy._changed()
        return copy

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name in type(self).model_fields and name != "core":
            self._changed()

    def _changed(self) -> None:
        """What was made of the fields as they were is made again when it is next needed."""
        self.__dict__.pop("_serialized", None)
        self._client = None

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for shared in (self._client, self.rate_limiter, self.cache, self.callbacks):
            memo[id(shared)] = shared
        return super().__deepcopy__(memo)

    def __reduce__(self) -> tuple[Any, ...]:
        dropped = ("core", "openrouter_api_key")
        given = {name: getattr(self, name) for name in type(self).model_fields if name not in dropped}
        if self.core is not None and self.profile in self.core.profiles:
            del given["profile"]
        return _rebuild, (type(self), given)

    @classmethod
    def is_lc_serializable(cls) -> bool:
        return True

    @property
    def lc_secrets(self) -> dict[str, str]:
        return {"openrouter_api_key": "OPENROUTER_API_KEY"}

    @property
    def lc_attributes(self) -> dict[str, Any]:
        names = ("models", "config", "endpoints", "settings")
        return {name: plain(value) for name in names if (value := getattr(self, name)) is not None}


def _rebuild(cls: type[Configured], given: dict[str, Any]) -> Configured:
    return cls(**given)
