"""The surface of the LangChain chat model, with an agent loop of LangChain's parts. Needs the extra `langchain`."""

from __future__ import annotations

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.tools import tool

from langchain_openrouter_fallback import ChatOpenRouterFallback

from ... import FallbackClient, FallbackConfig
from . import FOUND, MOST_TURNS, SurfaceAnswer


class LangChainSurface:
    """`ChatOpenRouterFallback`."""

    def __init__(self, config: FallbackConfig) -> None:
        self._llm = ChatOpenRouterFallback(config=config)

    @property
    def client(self) -> FallbackClient:
        """The core's client of the chat model."""
        return self._llm.client

    def chat(self, prompt: str) -> SurfaceAnswer:
        """`invoke`."""
        return SurfaceAnswer(str(self._llm.invoke(prompt).text))

    def stream(self, prompt: str) -> SurfaceAnswer:
        """`stream`."""
        return SurfaceAnswer("".join(str(chunk.text) for chunk in self._llm.stream(prompt)))

    def agent(self, prompt: str) -> SurfaceAnswer:
        """Bind a tool, and run the tool calls of the model until the model answers with a text."""
        looked_up: list[str] = []

        @tool
        def look_up(word: str) -> str:
            """Find what a word means."""
            looked_up.append(word)
            return FOUND

        bound = self._llm.bind_tools([look_up])
        messages: list[BaseMessage] = [HumanMessage(prompt)]
        for _ in range(MOST_TURNS):
            answer = bound.invoke(messages)
            messages.append(answer)
            if not (isinstance(answer, AIMessage) and answer.tool_calls):
                return SurfaceAnswer(str(answer.text), tuple(looked_up))
            messages += [look_up.invoke(call) for call in answer.tool_calls]
        return SurfaceAnswer("", tuple(looked_up))

    def close(self) -> None:
        """Close idle connections."""
        self.client.close()


def open_surface(config: FallbackConfig) -> LangChainSurface:
    """A new surface with this configuration."""
    return LangChainSurface(config)
