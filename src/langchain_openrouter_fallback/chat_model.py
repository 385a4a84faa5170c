"""`ChatOpenRouterFallback`: a LangChain chat model. It translates between LangChain and the core; the core decides."""

from __future__ import annotations

import inspect
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

from langchain_core.caches import BaseCache
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun, Callbacks
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.rate_limiters import BaseRateLimiter
from langchain_core.runnables import Runnable, RunnableConfig
from pydantic import SecretStr

from openrouter_fallback import EndpointConfig, FallbackConfig, ModelConfig, Settings
from openrouter_fallback.signatures import DeclaredSignature, declares

from . import responses as answers
from .attempt_events import Listening
from .base import Configured
from .call_options import ROUTING, options, routed
from .errors import as_model_errors
from .messages import wire_messages
from .tools import Tool, tool_arguments


class ChatOpenRouterFallback(Configured):
    """A chat model that calls a chain of models, and answers as long as one of the models answers.

    ```python
    llm = ChatOpenRouterFallback(models=["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"])  # or config="fallback.yaml"
    llm.invoke("Why do fallbacks need a budget?").response_metadata["model_name"]
    ```

    Give one of these arguments:

    - `models`: the chain in order: ids, `ModelConfig` or `ChatOpenAI` objects;
    - `model`: the only model of the chain;
    - `config`: a `FallbackConfig`, a YAML path or a mapping.

    Without any of them, the configuration is the file that `OPENROUTER_FALLBACK_CONFIG` names. A call may also set
    `task`, `max_cost_tier`, `primary_provider` and `models`. Raises `ConfigError`.
    """

    __signature__ = DeclaredSignature()

    @declares(Configured.__init__)
    def __init__(
        self,
        models: Sequence[str | ModelConfig | BaseChatModel | Mapping[str, Any]] | None = None,
        *,
        model: str | None = None,
        config: FallbackConfig | str | os.PathLike[str] | Mapping[str, Any] | None = None,
        endpoints: Mapping[str, EndpointConfig | Mapping[str, Any]] | None = None,
        settings: Settings | Mapping[str, Any] | None = None,
        task: str | None = None,
        max_cost_tier: str | None = None,
        primary_provider: str | None = None,
        max_price: float | Mapping[str, float] | None = None,
        api_key: str | SecretStr | Callable[[], Any] | None = None,
        base_url: str | None = None,
        default_headers: Mapping[str, str] | None = None,
        app_url: str | None = None,
        app_title: str | None = None,
        app_categories: Sequence[str] | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        mid_stream: Literal["continue", "raise"] | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        max_completion_tokens: int | None = None,
        top_p: float | None = None,
        frequency_penalty: float | None = None,
        presence_penalty: float | None = None,
        seed: int | None = None,
        n: int | None = None,
        logprobs: bool | None = None,
        top_logprobs: int | None = None,
        logit_bias: Mapping[int, int] | None = None,
        stop: list[str] | str | None = None,
        reasoning: Mapping[str, Any] | None = None,
        reasoning_effort: str | None = None,
        verbosity: str | None = None,
        service_tier: str | None = None,
        openrouter_provider: Mapping[str, Any] | None = None,
        plugins: Sequence[Mapping[str, Any]] | None = None,
        route: str | None = None,
        session_id: str | None = None,
        trace: Mapping[str, Any] | None = None,
        model_kwargs: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        streaming: bool | None = None,
        stream_usage: bool | None = None,
        # Other names: the fields of `api_key`, `base_url` and `timeout`, and the second name of `stop`.
        openrouter_api_key: str | SecretStr | Callable[[], Any] | None = None,
        openrouter_api_base: str | None = None,
        request_timeout: float | None = None,
        stop_sequences: list[str] | str | None = None,
        # Arguments of every LangChain chat model.
        name: str | None = None,
        cache: BaseCache | bool | None = None,
        verbose: bool | None = None,
        callbacks: Callbacks = None,
        tags: list[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        custom_get_token_ids: Callable[[str], list[int]] | None = None,
        rate_limiter: BaseRateLimiter | None = None,
        disable_streaming: bool | Literal["tool_calling"] = False,
        output_version: str | None = None,
        profile: ModelProfile | None = None,
    ) -> None: ...

    # Calls

    def _wire(self, messages: Sequence[BaseMessage]) -> list[dict[str, Any]]:
        return wire_messages(messages) if self.core is None else wire_messages(messages, self.core.left_out)

    def _calling(self, listening: Listening | None, *request: Any) -> AbstractContextManager[None]:
        client = self.client
        if listening is None or self.core is None:
            return as_model_errors()
        return self.core.failed.calling(listening.run, client, *request)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        listening = Listening.here()
        with self._calling(listening, messages, stop, kwargs):
            client = listening.to(self.client) if listening else self.client
            return answers.chat_result(client.chat(self._wire(messages), **options(self, stop, kwargs)))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        listening = Listening.here()
        with self._calling(listening, messages, stop, kwargs):
            client = listening.ato(self.client) if listening else self.client
            async with listening or nullcontext():
                return answers.chat_result(await client.achat(self._wire(messages), **options(self, stop, kwargs)))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        listening = Listening.here()
        with self._calling(listening, messages, stop, kwargs):
            client = listening.to(self.client) if listening else self.client
            asked = options(self, stop, kwargs, streamed=True)
            usage = kwargs.get("stream_usage", self.stream_usage) is not False
            with client.stream(self._wire(messages), **asked) as stream:
                for piece in stream:
                    if piece.text or piece.reasoning:
                        yield answers.chunk(piece)
                    elif piece.tool_calls:
                        yield answers.call_chunk(piece)
                yield answers.last_chunk(stream.completion, usage=usage)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        listening = Listening.here()
        with self._calling(listening, messages, stop, kwargs):
            asked = options(self, stop, kwargs, streamed=True)
            usage = kwargs.get("stream_usage", self.stream_usage) is not False
            client = listening.ato(self.client) if listening else self.client
            async with listening or nullcontext(), client.astream(self._wire(messages), **asked) as stream:
                async for piece in stream:
                    if piece.text or piece.reasoning:
                        yield answers.chunk(piece)
                    elif piece.tool_calls:
                        yield answers.call_chunk(piece)
                yield answers.last_chunk(stream.completion, usage=usage)

    # The methods below put the routing of the config and the context into the keyword arguments of the call. There
    # callbacks, tracers and the cache's key see it. They return the base class's result, so no chunk becomes slower.

    def invoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AIMessage:
        return super().invoke(input, config, stop=stop, **routed(self, config, kwargs))

    def ainvoke(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Coroutine[Any, Any, AIMessage]:
        return super().ainvoke(input, config, stop=stop, **routed(self, config, kwargs))

    def stream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> Iterator[AIMessageChunk]:
        return super().stream(input, config, stop=stop, **routed(self, config, kwargs))

    def astream(
        self,
        input: LanguageModelInput,
        config: RunnableConfig | None = None,
        *,
        stop: list[str] | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        return super().astream(input, config, stop=stop, **routed(self, config, kwargs))

    def stream_events(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return super().stream_events(input, config, **routed(self, config, kwargs))

    def astream_events(self, input: LanguageModelInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        return super().astream_events(input, config, **routed(self, config, kwargs))

    def bind(self, **kwargs: Any) -> Runnable[LanguageModelInput, AIMessage]:  # type: ignore[override]
        """The chat model with arguments for each call.

        Routing arguments make a copy of the chat model instead of a binding. `bind_tools` and agents look through a
        binding to the model, so a binding would lose the routing.
        """
        routing = {key: kwargs.pop(key) for key in ROUTING if key in kwargs}
        model = self.with_routing(**routing) if routing else self
        if routing and not kwargs:
            return model
        return super(ChatOpenRouterFallback, model).bind(**kwargs)

    def bind_tools(
        self,
        tools: Sequence[Tool],
        *,
        tool_choice: str | bool | dict[str, Any] | None = None,
        strict: bool | None = None,
        parallel_tool_calls: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The chat model with tools. Raises `ConfigError` for an invalid tool or choice.

        `tool_choice` is a tool's name, `auto`, `none`, `any`, `required`, True for the only tool, or OpenAI's form.
        """
        with as_model_errors():
            bound = tool_arguments(tools, tool_choice, strict, parallel_tool_calls)
        return self.bind(**bound, **kwargs)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type | None = None,
        *,
        method: Literal["json_schema", "function_calling", "json_mode"] | None = None,
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, Any]:
        """The chat model with a parser for answers of this schema: a pydantic class, a TypedDict or a JSON schema.

        The default `method` is `json_schema` if all models of the chain are known to support it, else
        `function_calling`. With `include_raw` the result is a dict with `raw`, `parsed` and `parsing_error`.
        """
        from .structured import structured

        return structured(self, schema, method, include_raw=include_raw, strict=strict, arguments=kwargs)


# LangChain reads the signature of one of these methods in each call. Computing it takes longer than encoding a request.
_method: Any
for _method in (ChatOpenRouterFallback._generate, ChatOpenRouterFallback._agenerate):
    _method.__signature__ = inspect.signature(_method)
