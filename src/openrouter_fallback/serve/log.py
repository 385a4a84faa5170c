"""The access log: one line of JSON for each call, without prompt, answer and API key.

The service's own log has one line for each kind of failed call, and not one for each call.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO

import orjson

from .. import Attempt, Completion
from .errors import OF_THE_REQUEST, Problem

logger = logging.getLogger("openrouter_fallback.serve.access")
_service = logging.getLogger("openrouter_fallback.serve")
_QUIET_SECONDS = 60.0
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


class FailedCalls:
    """Warns of calls that no model answered: at the first of a `code`, then at most once a minute, with their number.

    A failure that only the request causes is no warning. `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}
        """By code: when its last line was written, and how many calls have failed since."""

    def tell(self, found: Problem) -> None:
        """A call has failed."""
        error = found.body["error"]
        code = error["code"]
        if code in OF_THE_REQUEST:
            return
        now = self._clock()
        begun, unsaid = self._told.get(code, (now - _QUIET_SECONDS, 0))
        if now - begun < _QUIET_SECONDS:
            self._told[code] = begun, unsaid + 1
            return
        count = unsaid + 1
        calls = f"{count} calls" if count > 1 else "a call"
        facts = {"code": code, "count": count, "status": found.status}
        _service.warning("%s failed (%s): %s", calls, code, error["message"], extra=facts)
        self._told[code] = now, 0


def write_to(stream: TextIO) -> None:
    """Write the access log to this stream only, line by line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
