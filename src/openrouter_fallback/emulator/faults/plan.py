"""What goes over the wire in answer to one request, as steps: values that a player sends and a test can read.

`healthy` is the plan of a good answer; `faults.py` makes all others out of the same pieces.
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
    """Bytes of the body, of which `tokens` were generated; `usage` and `finish` are what they say of its end."""

    data: bytes
    tokens: int = 0
    usage: Body | None = None
    finish: tuple[str | None, str | None] | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing for some seconds, or with `data` these bytes every `interval` seconds."""

    seconds: float
    data: bytes = b""
    interval: float = 0.05


@dataclass(frozen=True, slots=True)
class Forever:
    """The same bytes every `interval` seconds until the client goes away; b"" sends none."""

    data: bytes
    interval: float


@dataclass(frozen=True, slots=True)
class HangUp:
    """The connection ends here without the proper end of the body; `reset` with an RST instead of a FIN."""

    reset: bool = False


Step = Send | Wait | Forever | HangUp


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer. `status` None sends no status line; `ended` is what the log will say of it."""

    steps: Sequence[Step]
    status: int | None = 200
    media_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    ended: str = "fault"


@dataclass(frozen=True, slots=True)
class Scene:
    """What an answer is made from: the request, the healthy body, who serves it, and the emulator's pace (seconds)."""

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
    """The good answer."""
    return Plan(whole(scene, scene.body), media_type=media_type(scene), ended="finished")


def media_type(scene: Scene) -> str:
    """What a 200 to this request announces."""
    return SSE if scene.stream else JSON


def opening(scene: Scene) -> list[Step]:
    """What precedes the first token of a stream: comments, then the latency."""
    steps: list[Step] = [Send(COMMENT)] * scene.comments
    if scene.latency:
        steps.append(Wait(scene.latency))
    return steps


def whole(scene: Scene, body: Body) -> list[Step]:
    """A body in full, streamed with `[DONE]` or not."""
    if scene.stream:
        return [*opening(scene), *sends(split(body)), Send(DONE)]
    return unstreamed(scene, body)


def unstreamed(scene: Scene, body: Body) -> list[Step]:
    """A JSON body in one piece, after as long as its tokens take."""
    tokens = (body.get("usage") or {}).get("completion_tokens") or 0
    seconds = scene.latency + tokens * scene.token_interval
    steps: list[Step] = [Wait(seconds)] if seconds else []
    return [*steps, Send(orjson.dumps(body), tokens, body.get("usage"), _finish(body))]


def sends(chunks: Sequence[Chunk]) -> list[Step]:
    """Chunks as steps."""
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
    """The chunks up to and with the given token, never the finish or the usage."""
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
    """The opening of a stream and its first tokens."""
    return [*opening(scene), *sends(until(split(scene.body), tokens))]
