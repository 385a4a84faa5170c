"""This project's LangChain class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_openrouter_fallback import ChatOpenRouterFallback

from .langchain_chat import Runnable
from .ours_core import settings


class Chain(Runnable):
    def __init__(self, base_url: str, key: str, models: Sequence[str], timeout: float | None, **options: Any) -> None:
        chosen = settings(timeout, options)
        super().__init__(ChatOpenRouterFallback(models=list(models), base_url=base_url, api_key=key, settings=chosen))
