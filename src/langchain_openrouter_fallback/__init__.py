"""A LangChain chat model that does not go down: `ChatOpenRouterFallback`, over `openrouter_fallback`."""

from .chat_model import ChatOpenRouterFallback
from .listening import ATTEMPT_FAILED

__all__ = ["ATTEMPT_FAILED", "ChatOpenRouterFallback"]
