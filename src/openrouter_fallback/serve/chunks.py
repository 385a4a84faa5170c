"""Converts pieces to OpenAI's chunks, and makes the field `openrouter_fallback` with the attempts of a call.

Every chunk of a stream has the same `id` and `created`. `model` names the model that wrote the chunk. The finish reason
is sent when the answer is complete, never before. The last chunk before `[DONE]` has the field `openrouter_fallback`. A
failed stream ends with an `error` chunk and without `[DONE]`.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import orjson

from .. import Completion, Piece
from .errors import Problem, attempt_object

DONE = b"data: [DONE]\n\n"


class Chunks:
    """The chunks of one stream, as server-sent events."""

    def __init__(self, wants_usage: bool) -> None:
        self._wants_usage = wants_usage
        self._head: dict[str, Any] = {}
        self._begun: set[int] = set()

    def piece(self, piece: Piece) -> bytes:
        """The server-sent event of a piece; b"" for a piece that only reports seams."""
        raw = piece.raw
        if raw is None:
            raw = {"choices": [{"delta": {"content": piece.text}}]}
            if not piece.text:
                return b""
        choice: dict[str, Any] = (raw.get("choices") or [{}])[0]
        delta = choice.get("delta") or {"content": piece.text}
        if piece.tool_calls and "tool_calls" in delta:
            delta = {**delta, "tool_calls": [{"index": n, **call} for n, call in enumerate(delta["tool_calls"])]}
        if piece.index not in self._begun:
            self._begun.add(piece.index)
            delta = {"role": "assistant", **delta}
        said = {"index": piece.index, "delta": delta, "finish_reason": None}
        if "logprobs" in choice:
            said["logprobs"] = choice["logprobs"]
        head = self._head or self._begin(raw)
        if model := raw.get("model"):
            head["model"] = model
        chunk = {**head, "choices": [said]}
        if piece.restarted:
            chunk["openrouter_fallback"] = {"restarted": True}
        return _event(chunk)

    def end(self, completion: Completion) -> bytes:
        """The last events: the finish reasons, the usage if the request wants it, and `[DONE]`."""
        raw = completion.raw
        head = {**(self._head or self._begin(raw)), "model": completion.model}
        choices = [
            {"index": choice.get("index") or n, "delta": {}, "finish_reason": choice.get("finish_reason")}
            for n, choice in enumerate(raw["choices"])
        ]
        last: dict[str, Any] = {**head, "choices": choices}
        events = b""
        if self._wants_usage:
            events = _event({**last, "usage": None})
            last = {**head, "choices": [], "usage": raw.get("usage")}
        return events + _event({**last, "openrouter_fallback": summary(completion)}) + DONE

    def error(self, problem: Problem) -> bytes:
        """The last event of a failed stream, in OpenRouter's form."""
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": "error"}
        return _event({**(self._head or self._begin({})), "choices": [choice], **problem.body})

    def _begin(self, raw: dict[str, Any]) -> dict[str, Any]:
        self._head = {
            "id": raw.get("id") or f"gen-{uuid4().hex}",
            "object": "chat.completion.chunk",
            "created": raw.get("created") or int(time.time()),
            "model": raw.get("model") or "",
        }
        return self._head


def body(completion: Completion) -> bytes:
    """The body of an answer that is not streamed."""
    return orjson.dumps({**completion.raw, "openrouter_fallback": summary(completion)})


def summary(completion: Completion) -> dict[str, Any]:
    """The field `openrouter_fallback`: the attempts in order (the last one answered), the seams, USD and seconds."""
    return {
        "model": completion.attempts[-1].model if completion.attempts else completion.model,
        "attempts": [attempt_object(attempt) for attempt in completion.attempts],
        "seams": [
            {"offset": s.offset, "before": s.before, "after": s.after, "how": s.how, "dropped": s.dropped}
            for s in completion.seams
        ],
        "cost": completion.cost,
        "estimated": completion.estimated,
        "seconds": round(completion.seconds, 3),
    }


def _event(chunk: dict[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(chunk) + b"\n\n"
