"""OpenRouter of llama-index-llms-openrouter: one model, with its own retries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.llms.openrouter import OpenRouter

from .llamaindex_chat import Llm


class Chain(Llm):
    def __init__(self, base_url: str, key: str, models: Sequence[str], timeout: float | None, **options: Any) -> None:
        if timeout is not None:
            options["timeout"] = timeout
        super().__init__(OpenRouter(model=models[0], api_base=base_url, api_key=key, **options))
