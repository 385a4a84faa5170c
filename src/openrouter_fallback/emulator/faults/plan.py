"""The plan of the response to one request: steps as plain values that the player sends and a test can read.

`healthy` is the plan of a good answer. The other modules of this package build the plans of faults from the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from ..answers.chunks import COMMENT, DONE, Body, Chunk, event, split, tokens_in
from ..models.money import Served

SSE = "text/event-stream"
JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Send:
    """Send bytes of the body. `tokens` counts the generated tokens in them; `usage` and `finish` are their content."""

    data: bytes
    tokens: int = 0
    usage: Body | None = None
    finish: tuple[str | None, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for some seconds. With `data`, send these bytes every `interval` seconds."""

    seconds: float
    data: bytes = b""
    interval: float = 0.05


@dataclass(frozen=True, slots=True)
class Forever:
    """Send the same bytes every `interval` seconds until the client disconnects; b"" sends nothing."""

    data: bytes
    interval: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """Close the connection before the body is complete: with a FIN, or with an RST if `reset`."""

    reset: bool = False


Step = Send | Wait | Forever | HangUp


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one response. `status` None sends no status line. `ended` is the value for the request log."""

    steps: Sequence[Step]
    status: int | None = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    ended: str = "fault"


@dataclass(frozen=True, slots=True)
class Scene:
    """The input of a plan: the request, the healthy body, the model and provider, and the pace (seconds)."""

    request: Body
    body: dict[str, Any]
    served: Served
    latency: float = 0.0
    token_interval: float = 0.0
    comments: int = 1

    @property
    def stream(self) -> bool:
        return bool(self.request.get("stream"))


def healthy(scene: Scene) -> Plan:
    """The plan of a good answer."""
    return Plan(whole(scene, scene.body), media_type=media_type(scene), ended="finished")


def media_type(scene: Scene) -> str:
    """The media type of a 200 response to this request."""
    return SSE if scene.stream else JSON


def opening(scene: Scene) -> list[Step]:
    """The steps before the first token of a stream: comments, then the latency."""
    steps: list[Step] = [Send(COMMENT)] * scene.comments
    if scene.latency:
        steps.append(Wait(scene.latency))
    return steps


def whole(scene: Scene, body: Body) -> list[Step]:
    """The steps of a whole body: a stream with `[DONE]`, or one JSON body, as the request demands."""
    if scene.stream:
        return [*opening(scene), *sends(split(body)), Send(DONE)]
    return unstreamed(scene, body)


def unstreamed(scene: Scene, body: Body) -> list[Step]:
    """The steps of one JSON body, after the time that its tokens take."""
    tokens = (body.get("usage") or {}).get("completion_tokens") or 0
    seconds = scene.latency + tokens * scene.token_interval
    steps: list[Step] = [Wait(seconds)] if seconds else []
    return [*steps, Send(orjson.dumps(body), tokens, body.get("usage"), _finish(body))]


def sends(chunks: Sequence[Chunk]) -> list[Step]:
    """The steps that send these chunks."""
    return [
        Send(event(chunk), 1) if tokens_in(chunk) else Send(event(chunk), 0, chunk.get("usage"), _finish(chunk))
        for chunk in chunks
    ]


def _finish(part: Body) -> tuple[str | None, str | None] | None:
    for choice in part.get("choices") or ():
        if choice.get("finish_reason") is not None:
            return choice["finish_reason"], choice.get("native_finish_reason")
    return None


def until(chunks: Sequence[Chunk], tokens: int) -> list[Chunk]:
    """The chunks up to and including the given token, without finish and usage."""
    kept = []
    for chunk in chunks:
        choices = chunk.get("choices")
        if not choices or choices[0].get("finish_reason") is not None:
            break
        tokens -= tokens_in(chunk)
        if tokens < 0:
            break
        kept.append(chunk)
    return kept


def partly(scene: Scene, tokens: int) -> list[Step]:
    """The steps before the first token of a stream, and its first tokens."""
    return [*opening(scene), *sends(until(split(scene.body), tokens))]
