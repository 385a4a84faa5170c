"""The four kinds of calls as one function: `ask(client, surface, prompt)` makes a call and collects its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from openrouter_fallback import Completion, FallbackClient, FallbackError, Piece
from openrouter_fallback.request.request import Messages

SURFACES = ("chat", "achat", "stream", "astream")
STREAMED = ("stream", "astream")


@dataclass
class Outcome:
    """The outcome of a call for its caller: the pieces, then a completion or an error."""

    pieces: list[Piece] = field(default_factory=list)
    completion: Completion | None = None
    error: FallbackError | None = None

    @property
    def delivered(self) -> str:
        """The streamed text of the first choice."""
        return "".join(piece.text for piece in self.pieces if piece.index == 0)

    @property
    def answer(self) -> Completion:
        """The completion. Raises AssertionError, with the error, if the call failed."""
        assert self.completion is not None, f"no answer but {self.error!r}"
        return self.completion

    @property
    def raised(self) -> FallbackError:
        """The error. Raises AssertionError, with the completion, if the call was answered."""
        assert self.error is not None, f"no error but {self.completion!r}"
        return self.error


def _chat(client: FallbackClient, messages: Messages, **params: Any) -> Outcome:
    outcome = Outcome()
    try:
        outcome.completion = client.chat(messages, **params)
    except FallbackError as error:
        outcome.error = error
    return outcome


def _achat(client: FallbackClient, messages: Messages, **params: Any) -> Outcome:
    async def run() -> Outcome:
        outcome = Outcome()
        try:
            outcome.completion = await client.achat(messages, **params)
        except FallbackError as error:
            outcome.error = error
        return outcome

    return asyncio.run(run())


def _stream(client: FallbackClient, messages: Messages, **params: Any) -> Outcome:
    outcome = Outcome()
    try:
        with client.stream(messages, **params) as stream:
            for piece in stream:
                outcome.pieces.append(piece)
            outcome.completion = stream.completion
    except FallbackError as error:
        outcome.error = error
    return outcome


def _astream(client: FallbackClient, messages: Messages, **params: Any) -> Outcome:
    async def run() -> Outcome:
        outcome = Outcome()
        try:
            async with client.astream(messages, **params) as stream:
                async for piece in stream:
                    outcome.pieces.append(piece)
                outcome.completion = stream.completion
        except FallbackError as error:
            outcome.error = error
        return outcome

    return asyncio.run(run())


_ASK: dict[str, Callable[..., Outcome]] = {"chat": _chat, "achat": _achat, "stream": _stream, "astream": _astream}


def ask(client: FallbackClient, surface: str, messages: Messages = "Say something", **params: Any) -> Outcome:
    """Make a call with one of `SURFACES` and read it to its end. A `FallbackError` is part of the outcome."""
    return _ASK[surface](client, messages, **params)
