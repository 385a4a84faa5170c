"""This project's LlamaIndex class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llamaindex_openrouter_fallback import OpenRouterFallback

from .llamaindex_chat import Llm
from .ours_core import settings


class Chain(Llm):
    def __init__(self, base_url: str, key: str, models: Sequence[str], timeout: float | None, **options: Any) -> None:
        chosen = settings(timeout, options)
        super().__init__(OpenRouterFallback(list(models), api_base=base_url, api_key=key, settings=chosen))
