"""`OpenRouterFallback`: the LLM for LlamaIndex's `Settings.llm`."""

from __future__ import annotations

import asyncio
import copy
import json
import os
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Self

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    LLMMetadata,
    MessageRole,
    ToolCallBlock,
)
from llama_index.core.constants import DEFAULT_CONTEXT_WINDOW
from llama_index.core.llms.callbacks import llm_chat_callback, llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection
from llama_index.core.prompts import PromptTemplate
from llama_index.core.types import PydanticProgramMode
from pydantic import ConfigDict, Field, PrivateAttr, SecretStr, ValidationError, WithJsonSchema, field_serializer

from openrouter_fallback import ConfigError, FallbackConfig, ModelConfig, Settings
from openrouter_fallback.signatures import DeclaredSignature, declares

from .constructor import checked, client, mistakes, taken_over
from .contexts import Contexts
from .instrumentation import Observer
from .messages import Json, reads_files, wire_messages
from .responses import chat_response, completion_response, first_call_only
from .streaming import StreamedCall
from .structured import afilled, filled, filling, in_wire_form

if TYPE_CHECKING:
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.prompts import BasePromptTemplate
    from llama_index.core.tools.types import BaseTool
    from llama_index.core.types import BaseOutputParser

    from openrouter_fallback import FallbackClient, ModelInfo

# Fields that a pickle does not contain: they are secret, or useless in another process.
_NOT_PICKLED = {"api_key", "callback_manager", "rate_limiter"}
_TOKEN_LIMITS = ("max_tokens", "max_completion_tokens")  # two names of one limit: a call's limit replaces both
_BY_TOOLS = (PydanticProgramMode.DEFAULT, PydanticProgramMode.FUNCTION)


class OpenRouterFallback(FunctionCallingLLM):
    """An LLM that calls a chain of models on OpenRouter, and answers as long as one of the models answers.

    - `models`: the chain in order, as ids or `ModelConfig`.
    - `config`: a `FallbackConfig`, a YAML path or a mapping. With a `config`, `models` is the chain to use from it.

    Without both, the configuration is the file that `OPENROUTER_FALLBACK_CONFIG` names. Raises `ConfigError` for an
    invalid argument. A call raises a `FallbackError` if no model has answered.

        llm = OpenRouterFallback(["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"])   # key from OPENROUTER_API_KEY
    """

    # The pydantic model is built with the first instance, so that the import stays fast.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, defer_build=True)

    models: list[str | ModelConfig] | None = Field(default=None, frozen=True, description="The chain, in order.")
    config: FallbackConfig | None = Field(default=None, frozen=True, description="Chains, tiers, endpoints, settings.")
    settings: Settings | None = Field(
        default=None, frozen=True, description="How calls are tried, timed and judged: changes to those of `config`."
    )
    task: str | None = Field(default=None, frozen=True, description="The task whose chain is used.")
    max_cost_tier: str | None = Field(default=None, frozen=True, description="No model above this cost tier.")
    primary_provider: str | None = Field(default=None, frozen=True, description="This provider's models come first.")
    max_price: float | dict[str, float] | None = Field(
        default=None,
        frozen=True,
        description="The most a model may cost, in USD per million tokens; prompt and completion apart: a mapping.",
    )
    api_key: Annotated[SecretStr | Callable[[], Any] | None, WithJsonSchema({"type": "string"})] = Field(
        default=None,
        frozen=True,
        exclude=True,
        repr=False,
        description="The key, or a function that returns it; OPENROUTER_API_KEY by default.",
    )
    api_base: str | None = Field(
        default=None, frozen=True, description="The URL before /chat/completions; OPENROUTER_BASE_URL, then OpenRouter."
    )
    temperature: float | None = Field(default=None, ge=0.0, le=2.0, description="None: each model's own.")
    max_tokens: int | None = Field(default=None, gt=0, description="The most tokens of an answer; None: no limit.")
    context_window: int | None = Field(
        default=None, gt=0, description="Tokens to budget prompts with; None: the smallest of the chain."
    )
    is_function_calling_model: bool | None = Field(
        default=None, description="Whether tools may be used; None: if any model of the chain can."
    )
    additional_kwargs: dict[str, Any] = Field(
        default_factory=dict, description="More parameters of every request: reasoning, provider, top_p ..."
    )
    default_headers: dict[str, str] | None = Field(
        default=None, frozen=True, repr=False, description="More HTTP headers of every request."
    )
    timeout: float | None = Field(
        default=None, frozen=True, gt=0, description="Seconds to the first token of one attempt."
    )
    total_timeout: float | None = Field(
        default=None, frozen=True, gt=0, description="Seconds that a call may wait for its answer in all."
    )
    max_retries: int | None = Field(
        default=None, frozen=True, ge=0, description="Tries of the same model after its first one."
    )

    _observer: Observer = PrivateAttr()
    _contexts: Contexts = PrivateAttr()

    def _construct(self, models: Sequence[str | ModelConfig] | None = None, **options: Any) -> None:
        if models is not None:
            options["models"] = models
        name, failed = type(self).__name__, None
        options = checked(name, options, type(self).model_fields)
        try:
            FunctionCallingLLM.__init__(self, **options)
        except ValidationError as error:
            failed = mistakes(name, error)
        if failed is not None:
            raise failed  # outside the except block: the pydantic error contains the input, which may be an API key
        self.client = self._made_client()
        self._observer = Observer()
        self._contexts = Contexts()

    __signature__ = DeclaredSignature()

    @declares(_construct)
    def __init__(
        self,
        models: Sequence[str | ModelConfig | Mapping[str, Any]] | None = None,
        *,
        config: FallbackConfig | str | os.PathLike[str] | Mapping[str, Any] | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        max_price: float | Mapping[str, float] | None = None,
        api_key: str | SecretStr | Callable[[], Any] | None = None,
        api_base: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        context_window: int | None = None,
        is_function_calling_model: bool | None = None,
        additional_kwargs: Mapping[str, Any] | None = None,
        default_headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        total_timeout: float | None = None,
        max_retries: int | None = None,
        # Arguments of every LlamaIndex LLM.
        callback_manager: CallbackManager | None = None,
        rate_limiter: Any = None,
        system_prompt: str | None = None,
        messages_to_prompt: Callable[[Sequence[ChatMessage]], str] | None = None,
        completion_to_prompt: Callable[[str], str] | None = None,
        output_parser: BaseOutputParser | None = None,
        pydantic_program_mode: PydanticProgramMode = PydanticProgramMode.DEFAULT,
        query_wrapper_prompt: BasePromptTemplate | None = None,
    ) -> None: ...

    @classmethod
    def class_name(cls) -> str:
        """The name in serialized components."""
        return "OpenRouterFallback"

    @classmethod
    def from_config(
        cls,
        path: str | os.PathLike[str] | Mapping[str, Any] | FallbackConfig,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        max_price: float | Mapping[str, float] | None = None,
        **options: Any,
    ) -> Self:
        """An LLM from a configuration: a YAML path, a mapping or a `FallbackConfig`.

        The routing arguments are the defaults of all its calls. Raises `ConfigError`.
        """
        routing = {
            "task": task,
            "max_cost_tier": max_cost_tier,
            "primary_provider": primary_provider,
            "max_price": max_price,
        }
        options |= {key: value for key, value in routing.items() if value is not None}
        return cls(config=path, **options)

    @classmethod
    def from_openrouter(cls, llm: Any, models: Sequence[str | ModelConfig] = (), **options: Any) -> Self:
        """An LLM with the model and the settings of an `OpenRouter` or `OpenAILike` LLM, followed by `models`.

        `options` override the settings. Retries, timeout and context window are taken over only if they differ from the
        defaults of that class. Raises `ConfigError` for an object without `model`.
        """
        model = getattr(llm, "model", None)
        if not isinstance(model, str):
            raise ConfigError(f"a {type(llm).__name__} has no `model`: give an OpenRouter or OpenAILike instance")
        if not isinstance(models, str):  # the constructor refuses a string
            models = [model, *(one for one in models if one != model)]
        return cls(**{"models": models, **taken_over(llm), **options})

    def with_options(
        self,
        *,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        models: Sequence[str | ModelConfig] | None = None,
        max_price: float | Mapping[str, float] | None = None,
    ) -> Self:
        """A copy with other default routing. The copy shares health and connections."""
        given: Json = {
            "task": task,
            "max_cost_tier": max_cost_tier,
            "primary_provider": primary_provider,
            "max_price": max_price,
        }
        update = {key: value for key, value in given.items() if value is not None}
        if models is not None:
            update["models"] = list(models)
        elif task is not None and self.config is not None:
            update["models"] = None  # without a configuration the client is built from `models`
        made = self.model_copy(update=update)
        made.client = self.client.with_options(**given, models=models)
        return made

    @cached_property  # not a private attribute: reading one of pydantic's takes 1 µs
    def client(self) -> FallbackClient:
        """The core's client of this LLM: `health()`, `route()`, `disable()`, `subscribe()` ..."""
        return self._made_client()

    @property
    def metadata(self) -> LLMMetadata:
        """The metadata of the chain: the smallest context window, and whether any of its models can call tools.

        If the context length of a model is unknown, this property fetches the lists of models and waits up to 5 s.
        """
        chain = self.client.chain()
        if self.context_window is None and not all(info and info.context_length for info in self._known(chain)):
            self._contexts.fetch(self.client)
        return self._metadata(chain)

    def to_payload(self) -> Json:
        """The description of this LLM in the event of each call. Never waits for a list of models."""
        return {"class_name": self.class_name(), **self._metadata(self.client.chain()).model_dump()}

    def _metadata(self, chain: Sequence[str]) -> LLMMetadata:
        known = self._known(chain)
        windows = [info.context_length for info in known if info is not None and info.context_length is not None]
        tools = self.is_function_calling_model
        if tools is None:
            tools = any(info is None or info.can("tools") is not False for info in known)
        return LLMMetadata(
            context_window=self.context_window or min(windows, default=DEFAULT_CONTEXT_WINDOW),
            num_output=self.max_tokens or -1,
            is_chat_model=True,
            is_function_calling_model=tools,
            model_name=chain[0] if chain else "unknown",
        )

    def _known(self, chain: Sequence[str]) -> list[ModelInfo | None]:
        return [self.client.catalog.get(key) for key in chain]

    # Calls

    @llm_chat_callback()
    def chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """Call the chain, and return the whole answer. `kwargs` are request parameters and the routing of this call.

        Raises `FallbackError` if no model has answered.
        """
        return chat_response(self.client.chat(self._messages(messages), **self._params(kwargs)))

    @llm_chat_callback()
    async def achat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> ChatResponse:
        """`chat` for async callers."""
        return chat_response(await self.client.achat(await self._amessages(messages), **self._params(kwargs)))

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`chat` with the prompt as one message."""
        return completion_response(self.client.chat(self._prompt(prompt, formatted), **self._params(kwargs)))

    @llm_completion_callback()
    async def acomplete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """`complete` for async callers."""
        return completion_response(await self.client.achat(self._prompt(prompt, formatted), **self._params(kwargs)))

    def stream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> Generator[ChatResponse, None, None]:
        """Call the chain, and yield the growing answer. Closing the generator closes the upstream connection.

        Raises `FallbackError` if no model has answered.
        """
        call = StreamedCall(self)
        return call.closing(call.stream_chat(messages, **kwargs))

    async def astream_chat(self, messages: Sequence[ChatMessage], **kwargs: Any) -> AsyncGenerator[ChatResponse, None]:
        """`stream_chat` for async callers."""
        call = StreamedCall(self)
        return call.aclosing(await call.astream_chat(messages, **kwargs))

    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> Generator[CompletionResponse, None, None]:
        """`stream_chat` with the prompt as one message."""
        call = StreamedCall(self)
        return call.closing(call.stream_complete(prompt, formatted=formatted, **kwargs))

    async def astream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> AsyncGenerator[CompletionResponse, None]:
        """`stream_complete` for async callers."""
        call = StreamedCall(self)
        return call.aclosing(await call.astream_complete(prompt, formatted=formatted, **kwargs))

    # Tools

    def _prepare_chat_with_tools(
        self,
        tools: Sequence[BaseTool],
        user_msg: str | ChatMessage | None = None,
        chat_history: list[ChatMessage] | None = None,
        verbose: bool = False,
        allow_parallel_tool_calls: bool = False,
        tool_required: bool = False,
        tool_choice: str | Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> Json:
        messages = list(chat_history or ())
        if user_msg is not None:
            user = ChatMessage(role=MessageRole.USER, content=user_msg) if isinstance(user_msg, str) else user_msg
            messages.append(user)
        request: Json = {"messages": messages, **kwargs}
        if tools:
            request["tools"] = [tool.metadata.to_openai_tool(skip_length_check=True) for tool in tools]
            request["tool_choice"] = _tool_choice(tool_choice, tool_required)
            if not allow_parallel_tool_calls:
                request["parallel_tool_calls"] = False
        return request

    def _validate_chat_with_tools_response(
        self,
        response: ChatResponse,
        tools: Sequence[BaseTool],
        allow_parallel_tool_calls: bool = False,
        **kwargs: Any,
    ) -> ChatResponse:
        return response if allow_parallel_tool_calls else first_call_only(response)

    def get_tool_calls_from_response(
        self, response: ChatResponse, error_on_no_tool_call: bool = True, **kwargs: Any
    ) -> list[ToolSelection]:
        """The complete tool calls of an answer. Without any, raises ValueError if `error_on_no_tool_call`."""
        calls = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        if not calls and error_on_no_tool_call:
            if response.additional_kwargs.get("invalid_tool_calls"):
                raise ValueError("The model's tool call was cut off at the length limit; give more max_tokens.")
            if refusal := response.message.additional_kwargs.get("refusal"):
                raise ValueError(f"Expected at least one tool call, but the model refused: {refusal}")
            raise ValueError("Expected at least one tool call, but the model called no tool.")
        return [
            ToolSelection(tool_id=call.tool_call_id or "", tool_name=call.tool_name, tool_kwargs=_arguments(call))
            for call in calls
        ]

    def _structured_stream_call(
        self, output_cls: type[Any], prompt: PromptTemplate, llm_kwargs: Json | None = None, **prompt_args: Any
    ) -> Generator[Any, None, None]:
        if self._fills_by_tools:
            return filled(self, output_cls, filling(self, output_cls, prompt, llm_kwargs, prompt_args))
        return super()._structured_stream_call(output_cls, prompt, llm_kwargs, **prompt_args)

    async def _structured_astream_call(
        self, output_cls: type[Any], prompt: PromptTemplate, llm_kwargs: Json | None = None, **prompt_args: Any
    ) -> AsyncGenerator[Any, None]:
        if self._fills_by_tools:
            return afilled(self, output_cls, filling(self, output_cls, prompt, llm_kwargs, prompt_args))
        return await super()._structured_astream_call(output_cls, prompt, llm_kwargs, **prompt_args)

    @property
    def _fills_by_tools(self) -> bool:
        return self.pydantic_program_mode in _BY_TOOLS and self.metadata.is_function_calling_model

    # Copies

    @field_serializer("config")
    def _dump_config(self, config: FallbackConfig | None) -> Json | None:
        if config is None:
            return None
        return config.model_dump(mode="json", exclude_defaults=True, exclude={"endpoints": {"__all__": {"api_key"}}})

    @field_serializer("models")
    def _dump_models(self, models: list[str | ModelConfig] | None) -> list[str | Json] | None:
        if models is None:
            return None
        return [one if isinstance(one, str) else one.model_dump(mode="json", exclude_defaults=True) for one in models]

    @field_serializer("max_price")
    def _dump_max_price(self, price: Any) -> Any:
        """As it was given: a copy may hold an int or any mapping, of which pydantic's own serializer warns."""
        return dict(price) if isinstance(price, Mapping) else price

    @field_serializer("settings")
    def _dump_settings(self, settings: Settings | None) -> Json | None:
        return None if settings is None else settings.model_dump(mode="json", exclude_unset=True)

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        return self.model_copy(update={"additional_kwargs": copy.deepcopy(self.additional_kwargs, memo)})

    def __reduce__(self) -> tuple[Any, ...]:
        state = {name: getattr(self, name) for name in self.model_fields_set - _NOT_PICKLED}
        return _rebuilt, (type(self), state)

    # Inside

    def _made_client(self) -> FallbackClient:
        changes = {
            "max_retries_per_model": None if self.max_retries is None else self.max_retries + 1,
            "first_token_timeout_seconds": self.timeout,
            "total_timeout_seconds": self.total_timeout,
        }
        made = client(
            self.models,
            self.config,
            self.settings,
            {key: value for key, value in changes.items() if value is not None},
            base_url=self.api_base,
            api_key=self.api_key,
            headers=self.default_headers,
        )
        return made.with_options(
            task=self.task,
            max_cost_tier=self.max_cost_tier,
            primary_provider=self.primary_provider,
            models=self.models if self.config is not None else None,
            max_price=self.max_price,
        )

    def _messages(self, messages: Sequence[ChatMessage]) -> list[Json]:
        return wire_messages(messages)

    async def _amessages(self, messages: Sequence[ChatMessage]) -> list[Json]:
        if reads_files(messages):
            return await asyncio.to_thread(wire_messages, messages)
        return wire_messages(messages)

    def _prompt(self, prompt: str, formatted: bool) -> list[Json]:
        convert = None if formatted else self.completion_to_prompt
        return [{"role": "user", "content": prompt if convert is None else convert(prompt)}]

    def _params(self, kwargs: Json) -> Json:
        """The request's parameters. `kwargs` override `additional_kwargs`, which override the fields."""
        self._observer.watch(self.client)
        own = {"temperature": self.temperature, "max_tokens": self.max_tokens, **self.additional_kwargs}
        if kwargs and any(kwargs.get(name) is not None for name in _TOKEN_LIMITS):
            own = {name: value for name, value in own.items() if name not in _TOKEN_LIMITS}
        return in_wire_form({**own, **kwargs})


def _tool_choice(choice: str | Mapping[str, Any] | None, required: bool) -> str | Json:
    """OpenRouter's `tool_choice` for LlamaIndex's: a mode, or the name of a tool."""
    if choice is None:
        return "required" if required else "auto"
    if isinstance(choice, Mapping):
        return dict(choice)
    if choice in ("none", "auto", "required"):
        return choice
    return "required" if choice == "any" else {"type": "function", "function": {"name": choice}}


def _arguments(call: ToolCallBlock) -> Json:
    """The arguments of a tool call as a mapping. Another integration may have stored them as text.

    Raises ValueError for incomplete JSON, or for JSON that is not an object.
    """
    arguments = json.loads(call.tool_kwargs or "{}") if isinstance(call.tool_kwargs, str) else call.tool_kwargs
    if not isinstance(arguments, dict):
        raise ValueError(f"The arguments of the call to {call.tool_name} are not a JSON object.")  # noqa: TRY004
    return arguments


def _rebuilt(cls: type[OpenRouterFallback], state: Json) -> OpenRouterFallback:
    return cls(**state)
