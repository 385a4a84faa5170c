"""The ways to ask a chat model or an agent, behind one function each: whatever comes of it is an `Outcome`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import Runnable

from openrouter_fallback import FallbackError

SURFACES = ("invoke", "ainvoke", "stream", "astream")
STREAMED = ("stream", "astream")


@dataclass
class Outcome:
    """Chunks as they came, then a message or an error."""

    chunks: list[AIMessageChunk] = field(default_factory=list)
    message: AIMessage | None = None
    error: FallbackError | None = None

    @property
    def delivered(self) -> str:
        """The text that was streamed."""
        return "".join(chunk.text for chunk in self.chunks)

    @property
    def answer(self) -> AIMessage:
        """The message; AssertionError with the error if there is none."""
        assert self.message is not None, f"no answer but {self.error!r}"
        return self.message

    @property
    def raised(self) -> FallbackError:
        """The error; AssertionError with the message if there is none."""
        assert self.error is not None, f"no error but {self.message!r}"
        return self.error

    @property
    def kinds(self) -> list[str | None]:
        """What went wrong with each attempt, None with the one that answered."""
        attempts = self.answer.response_metadata["attempts"]
        return [attempt.get("kind") for attempt in attempts]

    def collect(self) -> None:
        """The message that the chunks add up to."""
        self.message = reduce(add, self.chunks)


Model = Runnable[LanguageModelInput, AIMessage]


async def _invoke(model: Model, prompt: Any, outcome: Outcome, arguments: dict[str, Any]) -> None:
    outcome.message = await asyncio.to_thread(model.invoke, prompt, **arguments)


async def _ainvoke(model: Model, prompt: Any, outcome: Outcome, arguments: dict[str, Any]) -> None:
    outcome.message = await model.ainvoke(prompt, **arguments)


async def _stream(model: Model, prompt: Any, outcome: Outcome, arguments: dict[str, Any]) -> None:
    def run() -> None:
        for chunk in model.stream(prompt, **arguments):
            assert isinstance(chunk, AIMessageChunk)
            outcome.chunks.append(chunk)

    await asyncio.to_thread(run)
    outcome.collect()


async def _astream(model: Model, prompt: Any, outcome: Outcome, arguments: dict[str, Any]) -> None:
    async for chunk in model.astream(prompt, **arguments):
        assert isinstance(chunk, AIMessageChunk)
        outcome.chunks.append(chunk)
    outcome.collect()


_Ask = Callable[[Model, Any, Outcome, dict[str, Any]], Coroutine[Any, Any, None]]
_ASK: dict[str, _Ask] = {"invoke": _invoke, "ainvoke": _ainvoke, "stream": _stream, "astream": _astream}


async def aask(model: Model, surface: str, prompt: Any = "Say something", /, **arguments: Any) -> Outcome:
    """Ask on one of `SURFACES`, to the end; every `FallbackError` ends up in the outcome."""
    outcome = Outcome()
    try:
        await _ASK[surface](model, prompt, outcome, arguments)
    except FallbackError as error:
        outcome.error = error
    return outcome


def ask(model: Model, surface: str, prompt: Any = "Say something", /, **arguments: Any) -> Outcome:
    """`aask` in a loop of its own."""
    return asyncio.run(aask(model, surface, prompt, **arguments))
