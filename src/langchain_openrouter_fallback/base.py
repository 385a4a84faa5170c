"""The base of the chat model: its fields, the shared client, and their behaviour in copies and pickles."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Self

from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.language_models.base import LangSmithParams
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.utils import count_tokens_approximately
from langchain_core.runnables import Runnable
from langchain_core.utils import secret_from_env
from pydantic import ConfigDict, Field, SecretStr, ValidationError

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
    """The base class of `ChatOpenRouterFallback`: everything but the calls."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, hide_input_in_errors=True, defer_build=True)

    # The chain and its configuration
    model: str | None = None
    """The only model of the chain; for several models use `models`."""
    models: list[str | ModelConfig] | None = None
    """The chain, in order. With a `config`, this is the default chain of this chat model's calls."""
    config: FallbackConfig | str | None = None
    """Chains, tiers, endpoints and settings: a `FallbackConfig`, the path of a YAML file, or a mapping."""
    endpoints: dict[str, EndpointConfig] | None = None
    """Other OpenAI-compatible servers by name. The id of a model there is `name:model`."""
    settings: dict[str, Any] | None = None
    """Changes to the configuration's settings, such as `{"policy": "any_error"}`."""
    task: str | None = None
    """The task whose chain is called."""
    max_cost_tier: str | None = None
    """The most expensive tier whose models may be called."""
    primary_provider: str | None = None
    """The provider whose models are called first."""
    max_price: float | dict[str, float] | None = None
    """The highest price of a model, in USD per million tokens: a number, or `{"prompt": ..., "completion": ...}`."""

    # The connection
    openrouter_api_key: SecretStr | Callable[[], Any] | None = Field(
        default_factory=secret_from_env("OPENROUTER_API_KEY", default=None), alias="api_key", repr=False
    )
    """OpenRouter's API key, or a function that returns the key; by default from `OPENROUTER_API_KEY`."""
    openrouter_api_base: str | None = Field(default=None, alias="base_url")
    """OpenRouter's base URL; by default from `OPENROUTER_BASE_URL` or `OPENROUTER_API_BASE`, else OpenRouter's own."""
    default_headers: Mapping[str, str] | None = Field(default=None, exclude=True, repr=False)
    """HTTP headers for every request."""
    app_url: str | None = Field(default_factory=_from_env("OPENROUTER_APP_URL"))
    """The URL of the application, for OpenRouter's app attribution; by default from `OPENROUTER_APP_URL`."""
    app_title: str | None = Field(default_factory=_from_env("OPENROUTER_APP_TITLE"))
    """The title of the application, for OpenRouter's app attribution; by default from `OPENROUTER_APP_TITLE`."""
    app_categories: list[str] | None = None
    """The categories of the application, for OpenRouter's app attribution (header `X-OpenRouter-Categories`)."""
    request_timeout: float | None = Field(default=None, alias="timeout", gt=0)
    """The longest time to the first token of one attempt, in seconds; by default 30, or 120 for slow requests."""
    max_retries: int | None = Field(default=None, ge=0)
    """The number of retries of the same model within a call; by default 1."""
    mid_stream: Literal["continue", "raise"] | None = None
    """Whether another model continues a stream that has broken off; by default as configured."""

    # Parameters of the request
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
    """OpenRouter's parameter `reasoning`, such as `{"effort": "high"}`."""
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
    """Other parameters of the request."""
    extra_body: dict[str, Any] | None = None
    """Parameters that are added to the request's body unchanged."""
    streaming: bool | None = None
    """True: `invoke` also streams, so that callbacks see tokens. False: no method streams."""

    stream_usage: bool | None = None
    """False: the last chunk of a stream has no token counts. OpenRouter still reports them, for the cost."""

    core: Core | None = Field(default=None, exclude=True, repr=False)
    """The client of this chat model. All copies of the chat model share the client, its health and its connections."""

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
            self.client = self._routed_client()

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
        """A chat model from a configuration: a YAML path, a mapping or a `FallbackConfig`.

        The routing arguments are the defaults of all its calls. Raises `ConfigError`.
        """
        return cls(config=path, task=task, max_cost_tier=max_cost_tier, primary_provider=primary_provider, **arguments)

    @classmethod
    def from_chat_model(
        cls,
        llm: Runnable[LanguageModelInput, AIMessage],
        *,
        models: Sequence[str | ModelConfig | BaseChatModel] = (),
        **arguments: Any,
    ) -> Self:
        """A chat model with the model and the settings of a `ChatOpenRouter` or `ChatOpenAI`, followed by `models`.

        `a.with_fallbacks([b, c])` becomes the chain a, b, c, each with its own parameters, timeout and retries; the
        other settings are those of a. `arguments` replace the settings. Raises `ConfigError` for any other object.
        """
        with as_model_errors():
            taken = settings_of(llm)
        return cls(**{**taken, **arguments, "models": [*taken["models"], *models]})

    @cached_property  # not a private attribute: reading one of pydantic's takes 2 µs
    def client(self) -> FallbackClient:
        """The core's client with this chat model's routing: `health()`, `route()`, `disable()`, `subscribe()` ..."""
        with as_model_errors():
            return self._routed_client()

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
        """A copy of the chat model with other default routing. The copy shares health and connections."""
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
            update |= {"models": None, "model": None}  # without a configuration the client is built from `models`
        copy = self.model_copy(update=update)
        with as_model_errors():
            copy.client = copy._routed_client()
        if copy.core is not None and copy.profile in copy.core.profiles:
            copy.profile = copy._resolve_model_profile()
        return copy

    # LangChain's interface of every model

    def get_num_tokens(self, text: str) -> int:
        """The approximate number of tokens of a text. It is counted locally, never over the network."""
        if self.custom_get_token_ids is not None:
            return len(self.custom_get_token_ids(text))
        return count_tokens_approximately([HumanMessage(text)], extra_tokens_per_message=0, count_name=False)

    def get_token_ids(self, text: str) -> list[int]:
        """The token ids of `custom_get_token_ids`; NotImplementedError without it, as tokenizers differ by model."""
        if self.custom_get_token_ids is not None:
            return self.custom_get_token_ids(text)
        raise NotImplementedError(
            "a chain of models has no tokenizer; give custom_get_token_ids=, or use get_num_tokens"
        )

    def get_num_tokens_from_messages(self, messages: Sequence[BaseMessage], tools: Sequence[Tool] | None = None) -> int:
        """The approximate number of tokens of messages and tools, counted locally, never over the network."""
        if not tools:
            return count_tokens_approximately(messages)
        return count_tokens_approximately(messages, tools=[*tool_arguments(tools)["tools"]])

    @property
    def takes_schemas(self) -> bool:
        """Whether every model of the chain supports JSON schemas, according to the user's `profile` or the catalog."""
        made_here = self.core is not None and (self.profile is None or self.profile in self.core.profiles)
        return bool(take_schemas(self.client) if made_here else (self.profile or {}).get("structured_output"))

    @property
    def model_name(self) -> str:
        """Not the name of a model: agents would derive abilities from such a name, even against the profile."""
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
        # The key of LangChain's cache needs the routing of the context, which is not among the arguments. It also needs
        # tools and formats in the form in which they are sent, because a class would only contribute its name.
        return super()._get_llm_string(stop=stop, **{**current_routing(), **in_wire_form(kwargs)})

    @property
    def _identifying_params(self) -> dict[str, Any]:
        names = (*ROUTING, "temperature", "max_tokens", "stop", "reasoning", "openrouter_provider", "model_kwargs")
        fields = self.__dict__
        return {name: plain(value) for name in names if (value := fields[name]) is not None and value != {}}

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
        """The headers of every request. `default_headers` override the headers of `app_categories`."""
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
        """Discard the values that are derived from the fields. They are computed again when they are next needed."""
        for name in ("_serialized", "client"):
            self.__dict__.pop(name, None)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        memo = {} if memo is None else memo
        for shared in (self.__dict__.get("client"), self.rate_limiter, self.cache, self.callbacks):
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
