"""The surface of the LlamaIndex LLM, with a `FunctionAgent`. Needs the extra `llamaindex`."""

from __future__ import annotations

import asyncio

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.llms import ChatMessage
from llama_index.core.tools import FunctionTool

from llamaindex_openrouter_fallback import OpenRouterFallback

from ... import FallbackClient, FallbackConfig
from . import FOUND, SurfaceAnswer


class LlamaIndexSurface:
    """`OpenRouterFallback`."""

    def __init__(self, config: FallbackConfig) -> None:
        self._llm = OpenRouterFallback(config=config)

    @property
    def client(self) -> FallbackClient:
        """The core's client of the LLM."""
        return self._llm.client

    def chat(self, prompt: str) -> SurfaceAnswer:
        """`chat`."""
        return SurfaceAnswer(self._llm.chat([ChatMessage(prompt)]).message.content or "")

    def stream(self, prompt: str) -> SurfaceAnswer:
        """`stream_chat`."""
        return SurfaceAnswer("".join(part.delta or "" for part in self._llm.stream_chat([ChatMessage(prompt)])))

    def agent(self, prompt: str) -> SurfaceAnswer:
        """A `FunctionAgent`."""
        looked_up: list[str] = []

        def look_up(word: str) -> str:
            """Find what a word means."""
            looked_up.append(word)
            return FOUND

        async def run() -> str:
            agent = FunctionAgent(tools=[FunctionTool.from_defaults(look_up)], llm=self._llm)
            return str(await agent.run(prompt))

        return SurfaceAnswer(asyncio.run(run()), tuple(looked_up))

    def close(self) -> None:
        """Close idle connections."""
        self.client.close()


def open_surface(config: FallbackConfig) -> LlamaIndexSurface:
    """A new surface with this configuration."""
    return LlamaIndexSurface(config)
