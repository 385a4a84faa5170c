"""The access log: one line of JSON for each call, without prompt, answer and API key."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from typing import Any, TextIO

import orjson

from .. import Attempt, Completion

logger = logging.getLogger("openrouter_fallback.serve.access")
_SHOWN = 120


@dataclass(slots=True)
class Record:
    """The facts about one request that are known so far."""

    id: str
    key: str = "-"
    model: str = "-"
    chain: str = "-"
    """The request's `model` if that chain exists, else "-". So a metric label has only configured values."""
    status: int = 0
    stream: bool = False
    outcome: str = "refused"
    first_token: float | None = None
    attempts: list[Attempt] = field(default_factory=list)
    completion: Completion | None = None
    code: str | None = None

    def line(self, time: float, seconds: float) -> bytes:
        """The line. `time` is in epoch seconds; `seconds` is the duration of the request."""
        completion = self.completion
        usage = completion.usage if completion is not None else None
        said: dict[str, Any] = {
            "time": round(time, 3),
            "id": self.id,
            "key": self.key,
            "model": self.model[:_SHOWN],
            "status": self.status,
            "outcome": self.outcome,
            "code": self.code,
            "stream": self.stream,
            "seconds": round(seconds, 4),
            "first_token": None if self.first_token is None else round(self.first_token, 4),
            "attempts": [f"{attempt.model} {attempt.kind or 'answered'}" for attempt in self.attempts],
            "seams": len(completion.seams) if completion is not None else 0,
            "prompt_tokens": usage.prompt_tokens if usage is not None else None,
            "completion_tokens": usage.completion_tokens if usage is not None else None,
            "cost": completion.cost if completion is not None else None,
        }
        return orjson.dumps(said)


def write_to(stream: TextIO) -> None:
    """Write the access log to this stream only, line by line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
