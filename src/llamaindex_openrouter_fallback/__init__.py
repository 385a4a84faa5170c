"""An LLM for LlamaIndex that keeps answering: a chain of models on OpenRouter, routed by task, price and health."""

from .instrumentation import LLMAttemptEndEvent, LLMAttemptStartEvent, LLMFailoverEvent
from .llm import OpenRouterFallback

__all__ = ["LLMAttemptEndEvent", "LLMAttemptStartEvent", "LLMFailoverEvent", "OpenRouterFallback"]
