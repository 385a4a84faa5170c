"""The LangChain adapter of `openrouter_fallback`: the chat model `ChatOpenRouterFallback`, a chain of models."""

try:
    import langchain_core as _langchain_core  # noqa: F401
except ImportError as error:
    raise ImportError('LangChain is missing: pip install "openrouter-fallback[langchain]"') from error

from .attempt_events import ATTEMPT_FAILED
from .chat_model import ChatOpenRouterFallback

__all__ = ["ATTEMPT_FAILED", "ChatOpenRouterFallback"]
