"""The matrix of a conversation that changes hands: who wrote it, who reads it, what stands in it, who holds it, when.

A cell leads one conversation against the strict emulator. The writer answers, dies, the reader answers; the writer is
back and answers the next turn, dies again, and the reader goes on: A, B, A, B. The emulator checks each request as the
servers of its model do, by rules of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations, groupby, product
from typing import Any, NamedTuple

import pytest

from openrouter_fallback import FallbackError
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.models import registry
from openrouter_fallback.emulator.requests import strict
from openrouter_fallback.emulator.requests.history import History
from openrouter_fallback.emulator.requests.refusal import Refused

from .talks import TALKS, Heard, Json, Talk

# Family -> its models: the first writes and reads, the second reads what the first wrote.
FAMILIES: Mapping[str, tuple[str, str]] = {
    "Anthropic": ("anthropic/claude-sonnet-4.6", "anthropic/claude-opus-4.5"),
    "OpenAI": ("openai/gpt-5.1", "openai/o4-mini"),
    "Google": ("google/gemini-3-pro-preview", "google/gemini-2.5-flash"),
    "Mistral": ("mistralai/mistral-large-2512", "mistralai/mistral-medium-3.1"),
    "Moonshot": ("moonshotai/kimi-k2-thinking", "moonshotai/kimi-k2-0905"),
    "DeepSeek": ("deepseek/deepseek-v3.2", "deepseek/deepseek-chat-v3.1"),
    "Qwen": ("qwen/qwen3-vl-235b-a22b-instruct", "qwen/qwen3-vl-30b-a3b-instruct"),
    "xAI": ("x-ai/grok-4", "x-ai/grok-4.1-fast"),
    "Meta": ("meta-llama/llama-4-maverick", "meta-llama/llama-4-scout"),
    "Cohere": ("cohere/command-a", "cohere/command-r-plus-08-2024"),
}
SCENES = ("text", "tool loop", "two calls", "thinking", "image", "refusal", "cache marks")
MOMENTS = ("before", "in", "after")
"""When the writer dies: before its stream, in it, or behind it (the history was streamed, the request is not)."""

BLIND = frozenset({"Moonshot", "DeepSeek", "Cohere"})
"""Families without a model that takes images here."""
IMAGE = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
TOOL: Json = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
CITIES = ("Rome", "Oslo")
_SECONDS = 0.004
_ANSWER = "It is sunny in the whole of the country today, and warm, and it will be so until the end of the week."
_CUT = (4, 16)
"""After how many tokens a stream dies: behind some text, where it thinks first too."""
_THINKS = frozenset({"moonshotai/kimi-k2-thinking"})
_REFUSED = frozenset({400, 404, 422})
_TOOLED = frozenset({"tool loop", "two calls", "thinking", "image", "cache marks"})


class Cell(NamedTuple):
    """One cell; `writer` and `reader` are families."""

    writer: str
    reader: str
    scene: str
    talk: str
    moment: str

    @property
    def models(self) -> tuple[str, str]:
        """The writer's model and the reader's."""
        return FAMILIES[self.writer][0], FAMILIES[self.reader][self.writer == self.reader]

    @property
    def void(self) -> bool:
        """Whether it means nothing: an image that one of the two does not take."""
        return self.scene == "image" and not BLIND.isdisjoint((self.writer, self.reader))


def cells() -> list[Cell]:
    """All that mean something."""
    every = product(FAMILIES, FAMILIES, SCENES, TALKS, MOMENTS)
    return [cell for cell in map(Cell._make, every) if not cell.void]


def sample() -> list[Cell]:
    """Cells in which each two words of two columns stand together once at least; the same in each run."""
    chosen: list[Cell] = []
    left = {pair for cell in cells() for pair in _pairs(cell)}
    for _, group in groupby(cells(), key=lambda cell: cell[:2]):
        best = max(group, key=lambda cell: len(left & _pairs(cell)))
        chosen.append(best)
        left -= _pairs(best)
    for pair in sorted(left):
        if pair in left:
            best = max((cell for cell in cells() if pair in _pairs(cell)), key=lambda cell: len(left & _pairs(cell)))
            chosen.append(best)
            left -= _pairs(best)
    return chosen


def _pairs(cell: Cell) -> set[tuple[int, str, int, str]]:
    return {(n, cell[n], m, cell[m]) for n, m in combinations(range(len(cell)), 2)}


@contextmanager
def served() -> Iterator[Emulator]:
    """The strict emulator; a token that comes is seen before the next one, so that a stream can die behind it."""
    with Emulator(strict=True, comments=0) as emulator, pytest.MonkeyPatch.context() as patch:
        patch.setattr("openrouter_fallback.http.chunks.Chunks.joined", lambda _, data: data)
        yield emulator


class Hands:
    """Runs cells against one emulator; talks of the same models are used again."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._talks: dict[tuple[str, str, str], Talk] = {}

    def run(self, cell: Cell) -> str:
        """Lead the conversation of a cell; what went wrong, or an empty text."""
        writer, reader = cell.models
        key = (cell.talk, writer, reader)
        if key not in self._talks:
            self._talks[key] = TALKS[cell.talk](self._emulator, [writer, reader])
        talk = self._talks[key]
        talk.client.reset()
        talk.begin()
        self._emulator.clear()
        self._emulator.pace(token_interval=0.0)
        self._emulator.pace(model=writer, token_interval=_SECONDS if cell.moment == "in" else 0.0)
        play = _Play(self._emulator, talk, cell)
        try:
            play.run()
        except (FallbackError, _Wrong) as error:
            return self._refusal() or f"{type(error).__name__}: {error}"
        finally:
            self._emulator.pace(model=writer, token_interval=0.0)
        return self._refusal()

    def _refusal(self) -> str:
        """The first request that the emulator has refused, in its words."""
        for request in self._emulator.log:
            if request.status in _REFUSED or (request.fault is None and not request.tokens_sent):
                return f"{request.model}: {_words(request.body, self._emulator.api_key) or request.status}"
        return ""

    def close(self) -> None:
        """Close the clients."""
        for talk in self._talks.values():
            talk.client.close()


class _Wrong(Exception):
    """What a conversation should not have come to."""


@dataclass(slots=True)
class _Play:
    emulator: Emulator
    talk: Talk
    cell: Cell

    def run(self) -> None:
        cell = self.cell
        if cell.scene in ("cache marks", "text"):
            self.talk.says("system", "You are brief.", marked=cell.scene == "cache marks")
        for turn in range(2):
            ran = self._turn(turn)
            wanted = {} if cell.scene not in _TOOLED else dict.fromkeys(self._cities(turn), 1)
            if dict(ran) != wanted:
                raise _Wrong(f"turn {turn}: the tool ran {dict(ran)}, not {wanted}")

    def _turn(self, turn: int) -> Counter[str]:
        """The writer's turn, its death, and the reader's answer; how often the tool ran for each city."""
        cell, talk = self.cell, self.talk
        writer, reader = cell.models
        ran: Counter[str] = Counter()
        talk.says("user", "First things first.", image=IMAGE * (cell.scene == "image"), marked=self._marked)
        calls = self._first(writer, turn)
        for id, name, arguments in calls:
            ran[arguments["city"]] += 1
            talk.result(id, name, "It is sunny.", image=IMAGE * (cell.scene == "image"))
        if not calls:
            talk.says("user", "Now this.", marked=self._marked)
        self.emulator.clear_replies()
        self.emulator.reply(text=_ANSWER)
        if cell.moment == "in":
            cut = _CUT[cell.scene == "thinking" or writer in _THINKS]
            fault = self.emulator.fault("cut", model=writer, after_tokens=cut)
        else:
            fault = self.emulator.fault("provider_overloaded", model=writer)
        heard = self._ask(streamed=cell.moment != "after")
        fault.clear()
        if not heard.text or heard.calls:
            raise _Wrong(f"the answer is {heard}")
        if heard.asked[-1] != (reader, None):
            raise _Wrong(f"the reader does not answer: {heard.asked}")
        if heard.seams != (cell.moment == "in"):
            raise _Wrong(f"{heard.seams} seams in an answer of {heard.asked}")
        learnt = talk.client.route().learnt
        facts = [str(fact) for fact in learnt if fact.fact != "reasons" and fact.value != "prefill"]
        if facts:
            raise _Wrong(f"learnt: {', '.join(facts)}")
        talk.client.reset()
        return ran

    def _first(self, writer: str, turn: int) -> tuple[tuple[str, str, Json], ...]:
        """The writer's answer, with what the scene is about."""
        scene = self.cell.scene
        self.emulator.clear_replies()
        if scene in _TOOLED:
            calls = [{"name": "get_weather", "arguments": {"city": city}} for city in self._cities(turn)]
            self.emulator.reply(tool_calls=calls, model=writer)
        elif scene == "refusal":
            self.emulator.reply(refusal="I would rather not say.", model=writer)
        heard = self._ask(streamed=self.cell.moment == "after")
        if heard.asked != ((writer, None),):
            raise _Wrong(f"the writer does not answer: {heard.asked}")
        if bool(heard.calls) is not (scene in _TOOLED):
            raise _Wrong(f"the writer says {heard}")
        return heard.calls

    def _ask(self, *, streamed: bool) -> Heard:
        tools: Json = {"tools": [TOOL]} if self.cell.scene in _TOOLED else {}
        thinking: Json = {"reasoning": {"effort": "low"}} if self.cell.scene == "thinking" else {}
        return self.talk.ask({**tools, **thinking}, streamed=streamed)

    def _cities(self, turn: int) -> tuple[str, ...]:
        return CITIES if self.cell.scene == "two calls" else (CITIES[turn],)

    @property
    def _marked(self) -> bool:
        return self.cell.scene == "cache marks"


def _words(body: Mapping[str, Any], account: str) -> str:
    """What the model's servers say of a request."""
    model = registry.Models().find(body["model"])
    if model is None:
        return "no such model"
    for host in model.hosts:
        history = History(dict(body), model, host, account)
        refused = strict.refusal(history)
        if isinstance(refused, Refused):
            return str(refused.error.get("metadata", {}).get("raw"))
        if strict.goes_silent(history):
            return "silence"
    return ""
