"""A conversation as a provider's server sees it. The rules of strict mode read this view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from ..answers import signatures
from ..models import families
from ..models.bundled import Host
from ..models.registry import Model

Json = Mapping[str, Any]


class Complaint(NamedTuple):
    """A provider's error about a request: the message, the place in the request, the machine-readable code."""

    words: str
    param: str | None = None
    code: str | None = None
    status: int = 400


class Block(NamedTuple):
    """A content block, in Anthropic's sense, of one message. `value` is the content part, tool call or detail."""

    kind: str
    value: Json
    message: int


@dataclass(slots=True)
class Turn:
    """Adjacent messages of one side (user or assistant). Anthropic's and Google's servers count them as one turn."""

    role: str
    blocks: list[Block] = field(default_factory=list)


@dataclass(frozen=True)
class History:
    """A checked request, the model and provider that are to answer it, and the account that sent it."""

    request: Json
    model: Model
    host: Host
    account: str

    @property
    def messages(self) -> Sequence[Json]:
        return self.request["messages"]  # type: ignore[no-any-return]

    @property
    def family(self) -> families.Family:
        return families.family(self.model.id)

    @property
    def version(self) -> tuple[int, int]:
        return families.version(self.model.id)

    @property
    def thinks(self) -> bool:
        """Whether the model reasons for this request."""
        return families.thinks(
            self.request, self.model.id, able="reasoning" in self.model.parameters, must=self.model.must_reason
        )

    @cached_property
    def turn_start(self) -> int:
        """The index of the first message after the last user message."""
        return max((index for index, m in enumerate(self.messages) if m["role"] == "user"), default=-1) + 1

    @cached_property
    def contexts(self) -> Sequence[bytes]:
        """The digests of the conversation before each message, as `signatures.contexts` returns them."""
        return list(signatures.contexts(self.request))

    def calls(self, start: int = 0) -> Iterator[tuple[int, int, Json]]:
        """Each tool call from message `start` on: (index of the message, position in the message, the call)."""
        for index, message in enumerate(self.messages[start:], start):
            for position, call in enumerate(message.get("tool_calls") or ()):
                yield index, position, call

    def details(self, start: int = 0) -> Iterator[tuple[int, Json]]:
        """Each of the `reasoning_details` from message `start` on: (index of the message, the detail)."""
        for index, message in enumerate(self.messages[start:], start):
            if message["role"] == "assistant":
                for detail in message.get("reasoning_details") or ():
                    yield index, detail

    @cached_property
    def turns(self) -> Sequence[Turn]:
        """The turns of the conversation, without system messages."""
        found: list[Turn] = []
        for index, message in enumerate(self.messages):
            if message["role"] in ("system", "developer"):
                continue
            role = "assistant" if message["role"] == "assistant" else "user"
            if not found or found[-1].role != role:
                found.append(Turn(role))
            found[-1].blocks.extend(_blocks(message, index))
        return found


def has_reasoning(message: Json) -> bool:
    """Whether a message contains readable reasoning."""
    read = (detail.get("text") or detail.get("summary") for detail in message.get("reasoning_details") or ())
    return bool(message.get("reasoning") or message.get("reasoning_content") or any(read))


def _blocks(message: Json, index: int) -> Iterator[Block]:
    if message["role"] == "tool":
        yield Block("tool_result", message, index)
        return
    for detail in message.get("reasoning_details") or ():
        yield Block("redacted_thinking" if "data" in detail else "thinking", detail, index)
    content = message.get("content")
    parts = content if isinstance(content, list) else [{"type": "text", "text": content}] if content else []
    for part in parts:
        yield Block("text" if part["type"] == "text" else "image", part, index)
    for call in message.get("tool_calls") or ():
        yield Block("tool_use", call, index)
