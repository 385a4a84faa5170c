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

from .. import Attempt, AuthenticationError, Completion, FallbackError
from .errors import OF_THE_REQUEST, problem

logger = logging.getLogger("openrouter_fallback.serve.access")
_service = logging.getLogger("openrouter_fallback.serve")
_QUIET_SECONDS = 60.0
_SHOWN = 120
_MODELS = 6
"""How many models a line names."""
_STEP = "Next step: "
_RESTART = "Set a new key there, then restart the server: it reads keys only when it starts."


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

    A failure that only the request causes is no warning. A line names the models with their kinds of failure, and the
    next step: for a refused key, the variable or the setting that the key came from. `clock` counts seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, tuple[float, int]] = {}
        """By code: when its last line was written, and how many calls have failed since."""

    def tell(self, error: FallbackError) -> None:
        """A call has failed with this error."""
        found = problem(error)
        code = found.body["error"]["code"]
        if code in OF_THE_REQUEST:
            return
        now = self._clock()
        begun, unsaid = self._told.get(code, (now - _QUIET_SECONDS, 0))
        if now - begun < _QUIET_SECONDS:
            self._told[code] = begun, unsaid + 1
            return
        count = unsaid + 1
        calls = f"{count} calls" if count > 1 else "a call"
        facts = {"code": code, "count": count, "status": found.status, "models": [*_tried(error)]}
        _service.warning("%s failed (%s): %s", calls, code, _one_line(error), extra=facts)
        self._told[code] = now, 0


def _tried(error: FallbackError) -> dict[str, str]:
    """By model: the kind and the status of its last attempt, or why it was skipped."""
    found: dict[str, str] = {}
    for attempt in error.attempts:
        status = "" if attempt.status is None or attempt.kind is None else f" {attempt.status}"
        found[attempt.model] = f"{attempt.kind or 'answered'}{status}"
    skipped = {one.model: one.reason for one in error.skipped if one.model not in found}
    return found | skipped


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _one_line(error: FallbackError) -> str:
    """What happened, the models and the next steps, without the error's table of attempts."""
    first, *rest = str(error).split("\n")
    said = [_sentence(first)]
    if tried := _tried(error):
        models = ", ".join(f"{model} ({what})" for model, what in [*tried.items()][:_MODELS])
        more = f" and {len(tried) - _MODELS} more" if len(tried) > _MODELS else ""
        said.append(f"Models: {models}{more}.")
    last = next((one.message for one in reversed(error.attempts) if one.kind is not None and one.message), "")
    if last and last not in first:
        said.append(f"The last failure: {_sentence(last[:_SHOWN])}")
    said += [line for line in rest if line.startswith(_STEP)]
    if isinstance(error, AuthenticationError):
        said.append(_RESTART)
    return " ".join(said)


def write_to(stream: TextIO) -> None:
    """Write the access log to this stream only, line by line."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
