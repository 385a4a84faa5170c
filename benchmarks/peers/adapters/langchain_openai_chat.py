"""ChatOpenAI, alone or with LangChain's `with_fallbacks`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_openai import ChatOpenAI

from .langchain_chat import Runnable


class Chain(Runnable):
    def __init__(
        self,
        base_url: str,
        key: str,
        models: Sequence[str],
        timeout: float | None,
        *,
        fallbacks: bool = False,
        deadlines: bool = False,
        **options: Any,
    ) -> None:
        if timeout is not None and deadlines:
            options["stream_chunk_timeout"] = timeout
        made = [
            ChatOpenAI(model=model, base_url=base_url, api_key=key, timeout=timeout, stream_usage=True, **options)
            for model in (models if fallbacks else models[:1])
        ]
        super().__init__(made[0].with_fallbacks(made[1:]) if fallbacks else made[0])
