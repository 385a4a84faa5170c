"""The LlamaIndex adapter of `openrouter_fallback`: the LLM `OpenRouterFallback`, a chain of models."""

try:
    import llama_index.core as _llama_index_core  # noqa: F401
except ImportError as error:
    raise ImportError('LlamaIndex is missing: pip install "openrouter-fallback[llamaindex]"') from error

from .instrumentation import LLMAttemptEndEvent, LLMAttemptStartEvent, LLMFailoverEvent
from .llm import OpenRouterFallback

__all__ = ["LLMAttemptEndEvent", "LLMAttemptStartEvent", "LLMFailoverEvent", "OpenRouterFallback"]
