"""ChatOpenRouter, alone, with OpenRouter's own `models`, or with LangChain's `with_fallbacks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_openrouter import ChatOpenRouter

from .langchain_chat import Runnable


class Chain(Runnable):
    def __init__(
        self,
        base_url: str,
        key: str,
        models: Sequence[str],
        timeout: float | None,
        *,
        routed: bool = False,
        fallbacks: bool = False,
        **options: Any,
    ) -> None:
        if timeout is not None:
            options["timeout"] = round(1000 * timeout)
        if routed:
            options["model_kwargs"] = {"models": list(models)}
        made = [
            ChatOpenRouter(model=model, base_url=base_url, api_key=key, **options)
            for model in (models if fallbacks else models[:1])
        ]
        super().__init__(made[0].with_fallbacks(made[1:]) if fallbacks else made[0])
