"""A conversation as a program holds it: OpenAI-shaped messages, LangChain's, LlamaIndex's; one way to lead each."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from llama_index.core.base.llms.types import (
    CacheControl,
    CachePoint,
    ChatMessage,
    ContentBlock,
    ImageBlock,
    TextBlock,
    ToolCallBlock,
)

from langchain_openrouter_fallback import ChatOpenRouterFallback
from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator

Json = dict[str, Any]

SETTINGS: Json = {"retry_budget": None, "min_samples": 1000, "catalog": "never"}
MARK: Json = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer says: its text; the ids, names and arguments of its calls; the models that were asked, with their
    failures; and in how many places another model goes on."""

    text: str
    calls: tuple[tuple[str, str, Json], ...]
    asked: tuple[tuple[str, str | None], ...]
    seams: int


class Talk(ABC):
    """A conversation and the chain of models that leads it."""

    @abstractmethod
    def __init__(self, emulator: Emulator, models: Sequence[str]) -> None: ...

    @property
    @abstractmethod
    def client(self) -> FallbackClient:
        """The core behind it."""

    @abstractmethod
    def begin(self) -> None:
        """Forget the messages."""

    @abstractmethod
    def says(self, role: str, text: str, *, image: str = "", marked: bool = False) -> None:
        """Add a message of the user or the system."""

    @abstractmethod
    def ask(self, params: Mapping[str, Any], *, streamed: bool) -> Heard:
        """Ask, add the answer to the messages, and say what it was."""

    @abstractmethod
    def result(self, id: str, name: str, text: str, *, image: str = "") -> None:
        """Add the result of a call."""


def _blocks(text: str, image: str, *, marked: bool) -> str | list[Json]:
    if not image and not marked:
        return text
    block: Json = {"type": "text", "text": text, **({"cache_control": MARK} if marked else {})}
    return [block, {"type": "image_url", "image_url": {"url": image}}] if image else [block]


class Plain(Talk):
    """OpenAI-shaped messages; an answer's message goes back as it came."""

    def __init__(self, emulator: Emulator, models: Sequence[str]) -> None:
        self._client = FallbackClient(
            list(models), base_url=emulator.base_url, api_key=emulator.api_key, settings=SETTINGS
        )
        self.messages: list[Json] = []

    @property
    def client(self) -> FallbackClient:
        return self._client

    def begin(self) -> None:
        self.messages = []

    def says(self, role: str, text: str, *, image: str = "", marked: bool = False) -> None:
        self.messages.append({"role": role, "content": _blocks(text, image, marked=marked)})

    def ask(self, params: Mapping[str, Any], *, streamed: bool) -> Heard:
        if streamed:
            with self._client.stream(self.messages, **params) as stream:
                for _ in stream:
                    pass
                answer = stream.completion
        else:
            answer = self._client.chat(self.messages, **params)
        self.messages.append(dict(answer.message))
        calls = tuple((call.id or "", call.name, call.arguments) for call in answer.tool_calls)
        asked = tuple((one.model, None if one.kind is None else str(one.kind)) for one in answer.attempts)
        return Heard(answer.text or answer.message.get("refusal") or "", calls, asked, len(answer.seams))

    def result(self, id: str, name: str, text: str, *, image: str = "") -> None:
        content = _blocks(text, image, marked=False)
        self.messages.append({"role": "tool", "tool_call_id": id, "content": content})


class LangChain(Talk):
    """LangChain's messages."""

    def __init__(self, emulator: Emulator, models: Sequence[str]) -> None:
        self._llm = ChatOpenRouterFallback(
            models=list(models), base_url=emulator.base_url, api_key=emulator.api_key, settings=SETTINGS
        )
        self.messages: list[BaseMessage] = []

    @property
    def client(self) -> FallbackClient:
        return self._llm.client

    def begin(self) -> None:
        self.messages = []

    def says(self, role: str, text: str, *, image: str = "", marked: bool = False) -> None:
        content: Any = _blocks(text, image, marked=marked)
        self.messages.append(SystemMessage(content) if role == "system" else HumanMessage(content))

    def ask(self, params: Mapping[str, Any], *, streamed: bool) -> Heard:
        answer: AIMessage
        if streamed:
            answer = reduce(add, self._llm.stream(self.messages, **params))
        else:
            answer = self._llm.invoke(self.messages, **params)
        self.messages.append(answer)
        calls = tuple((call["id"] or "", call["name"], call["args"]) for call in answer.tool_calls)
        asked = tuple((one["model"], one.get("kind")) for one in answer.response_metadata["attempts"])
        text = answer.text or answer.additional_kwargs.get("refusal") or str(answer.content or "")
        return Heard(text, calls, asked, len(answer.response_metadata.get("seams", ())))

    def result(self, id: str, name: str, text: str, *, image: str = "") -> None:
        content: Any = _blocks(text, image, marked=False)
        self.messages.append(ToolMessage(content, tool_call_id=id, name=name))


class LlamaIndex(Talk):
    """LlamaIndex's messages."""

    def __init__(self, emulator: Emulator, models: Sequence[str]) -> None:
        self._llm = OpenRouterFallback(
            list(models), api_base=emulator.base_url, api_key=emulator.api_key, settings=SETTINGS
        )
        self.messages: list[ChatMessage] = []

    @property
    def client(self) -> FallbackClient:
        return self._llm.client

    def begin(self) -> None:
        self.messages = []

    def says(self, role: str, text: str, *, image: str = "", marked: bool = False) -> None:
        blocks: list[ContentBlock] = [TextBlock(text=text)]
        if image:
            blocks.append(ImageBlock(url=image))
        if marked:
            blocks.append(CachePoint(cache_control=CacheControl(type="ephemeral")))
        self.messages.append(ChatMessage(role=role, blocks=blocks))

    def ask(self, params: Mapping[str, Any], *, streamed: bool) -> Heard:
        if streamed:
            *_, response = self._llm.stream_chat(self.messages, **params)
        else:
            response = self._llm.chat(self.messages, **params)
        self.messages.append(response.message)
        blocks = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
        calls = tuple((block.tool_call_id or "", block.tool_name, _read(block.tool_kwargs)) for block in blocks)
        asked = tuple((one["model"], one["kind"]) for one in response.additional_kwargs["attempts"])
        return Heard(response.message.content or "", calls, asked, len(response.additional_kwargs.get("seams", ())))

    def result(self, id: str, name: str, text: str, *, image: str = "") -> None:
        blocks: list[ContentBlock] = [TextBlock(text=text)]
        if image:
            blocks.append(ImageBlock(url=image))
        extra = {"tool_call_id": id, "name": name}
        self.messages.append(ChatMessage(role="tool", blocks=blocks, additional_kwargs=extra))


def _read(arguments: Any) -> Json:
    read: Json = json.loads(arguments) if isinstance(arguments, str) else arguments
    return read


TALKS: Mapping[str, type[Talk]] = {"plain": Plain, "LangChain": LangChain, "LlamaIndex": LlamaIndex}
