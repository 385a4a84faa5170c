"""What a call returns: a completion, the pieces of a stream, and the attempts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from . import figures
from .failures.kinds import FailureKind
from .health import Learnt
from .suggest import no_attribute

Json = dict[str, Any]
"""A JSON object as sent or received."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a call.

    `model` is the candidate (the key of its health), `kind` the kind of the failure (None: answered), `seconds` the
    duration, `first_token` the seconds to the first token, `cost` the reported cost in USD. Without a reported cost,
    `cost` is `estimated` from the tokens and the catalog's prices. `notes` list the parts of the history that could not
    be sent to the model, such as another model's signed reasoning. `resent` counts how often the request was sent again
    because a reused connection was lost (RFC 9112, section 9.3.1).
    """

    model: str
    endpoint: str
    kind: FailureKind | None
    seconds: float
    first_token: float | None = None
    status: int | None = None
    message: str = ""
    provider: str | None = None
    generation_id: str | None = None
    cost: float | None = None
    probe: bool = False
    estimated: bool = False
    notes: tuple[str, ...] = ()
    resent: int = 0

    @property
    def answered(self) -> bool:
        """Whether this attempt returned the answer."""
        return self.kind is None

    def as_dict(self) -> Json:
        """The attempt as plain JSON: all fields by their names, times in seconds to the millisecond."""
        return {
            "model": self.model,
            "endpoint": self.endpoint,
            "kind": None if self.kind is None else str(self.kind),
            "seconds": round(self.seconds, 3),
            "first_token": None if self.first_token is None else round(self.first_token, 3),
            "status": self.status,
            "message": self.message,
            "provider": self.provider,
            "generation_id": self.generation_id,
            "cost": self.cost,
            "probe": self.probe,
            "estimated": self.estimated,
            "notes": list(self.notes),
            "resent": self.resent,
        }


@dataclass(frozen=True, slots=True)
class Seam:
    """Where one model continued another model's text, after `offset` characters. `how`: the model `went_on`,
    `restarted`, `overlapped`, or added nothing to a complete text (`completed`). `dropped` is the number of repeated
    characters that were removed.
    """

    offset: int
    before: str
    after: str
    how: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the answer, and its cost in USD if the endpoint reports one.

    With a provider key of the caller's own (`is_byok`), `cost` includes the provider's charge. `estimated`: an attempt
    that failed in mid-answer reported no usage, so its tokens are estimated from its pieces and its length.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    cost: float | None = None
    estimated: bool = False

    @classmethod
    def read(cls, usage: object) -> Usage | None:
        """Read the `usage` object of a body; None if there is none.

        `input_tokens` and `output_tokens` are read too, and cached tokens in DeepSeek's, Moonshot's and Anthropic's
        places. Impossible figures (see `figures.py`) count as missing.
        """
        if not isinstance(usage, dict):
            return None
        prompt = usage.get("prompt_tokens_details") or usage.get("input_tokens_details")
        prompt_tokens = figures.tokens(usage, "prompt_tokens", "input_tokens")
        completion_tokens = figures.tokens(usage, "completion_tokens", "output_tokens")
        return cls(
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
            total_tokens=figures.tokens(usage, "total_tokens") or prompt_tokens + completion_tokens,
            cached_tokens=figures.tokens(prompt, "cached_tokens")
            or figures.tokens(usage, "cached_tokens", "prompt_cache_hit_tokens", "cache_read_input_tokens"),
            cache_write_tokens=figures.tokens(prompt, "cache_write_tokens")
            or figures.tokens(usage, "cache_creation_input_tokens"),
            reasoning_tokens=figures.reasoning_tokens(usage),
            cost=figures.cost(usage),
            estimated=usage.get("estimated") is True,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call. `arguments` is the parsed JSON object, `arguments_json` the text that the model wrote."""

    id: str
    name: str
    arguments: Json
    arguments_json: str
    index: int = 0

    @classmethod
    def read(cls, call: Json, position: int) -> ToolCall | None:
        """Read one entry of `tool_calls`; None if its arguments are not a complete JSON object.

        A missing `arguments` key means no arguments: recorded models omit the key.
        """
        function = call.get("function")
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            return None
        text = function.get("arguments")
        if text is None or text == "":
            text = "{}"
        try:
            arguments = orjson.loads(text)
            figures.check_depth(arguments)
        except (ValueError, TypeError):
            return None
        if not isinstance(arguments, dict):
            return None
        call_id = call.get("id")
        return cls(str(call_id) if isinstance(call_id, str | int) else "", function["name"], arguments, text, position)


class Completion:
    """One complete answer.

    `raw` is the whole OpenAI-shaped body: all choices, reasoning details, annotations, images, logprobs. The other
    attributes read its first choice. `usage` counts the tokens of the answer, `cost` is the sum of all attempts (USD),
    `seconds` the duration of the call. `attempts` lists every attempt, the answering one last; `seams` are the places
    where another model continued delivered text.
    """

    __slots__ = ("_invalid", "attempts", "raw", "seams", "seconds")

    def __init__(
        self, raw: Json, attempts: tuple[Attempt, ...] = (), seconds: float = 0.0, invalid: tuple[Json, ...] = ()
    ) -> None:
        self.raw = raw
        self.seams: tuple[Seam, ...] = ()
        self.attempts = attempts
        self.seconds = seconds
        self._invalid = invalid

    @property
    def choice(self) -> Json:
        """The first choice."""
        choices: list[Json] = self.raw["choices"]
        return choices[0]

    @property
    def message(self) -> Json:
        """The assistant message, ready to append to the conversation."""
        message: Json = self.choice["message"]
        return message

    @property
    def text(self) -> str:
        """The text of the answer; "" if there is none."""
        return text_of(self.message.get("content"))

    @property
    def reasoning(self) -> str:
        """The reasoning as text; "" if there is none."""
        return text_of(self.message.get("reasoning") or self.message.get("reasoning_content"))

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The complete tool calls."""
        calls = self.message.get("tool_calls")
        if not calls:
            return ()
        return tuple(call for n, item in enumerate(calls) if (call := ToolCall.read(item, n)) is not None)

    @property
    def invalid_tool_calls(self) -> tuple[Json, ...]:
        """Incomplete tool calls, cut off by `finish_reason: length`, as received. Never run them."""
        return self._invalid

    @property
    def model(self) -> str:
        """The model that wrote the answer, as the endpoint names it."""
        return figures.name(self.raw.get("model")) or (self.attempts[-1].model if self.attempts else "")

    @property
    def provider(self) -> str | None:
        """The provider, if OpenRouter names one."""
        return figures.name(self.raw.get("provider"))

    @property
    def finish_reason(self) -> str | None:
        """`stop`, `length`, `tool_calls`, ...; None if the server gave none and the text looks complete."""
        reason: str | None = self.choice["finish_reason"]
        return reason

    @property
    def usage(self) -> Usage | None:
        """Tokens of the answer; None if the endpoint reports none."""
        return Usage.read(self.raw.get("usage"))

    @property
    def cost(self) -> float | None:
        """USD of all attempts of this call, reported or `estimated`; None if no cost is known."""
        if not self.attempts:
            return self.usage.cost if self.usage is not None else None
        costs = [attempt.cost for attempt in self.attempts if attempt.cost is not None]
        return sum(costs) if costs else None

    @property
    def estimated(self) -> bool:
        """Whether `usage` or `cost` holds an estimate, or lacks the cost of an attempt that reported none."""
        usage = self.raw.get("usage")
        if isinstance(usage, dict) and usage.get("estimated") is True:
            return True
        known = lacking = False
        for attempt in self.attempts:
            if attempt.estimated:
                return True
            known |= attempt.cost is not None
            lacking |= attempt.cost is None and attempt.first_token is not None
        return known and lacking

    if not TYPE_CHECKING:  # a type checker must not see this method

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("a Completion", "answer", name, dir(type(self)), "the body is `.raw`")

    def __repr__(self) -> str:
        return (
            f"<Completion model={self.model!r} finish_reason={self.finish_reason!r} "
            f"characters={len(self.text)} tool_calls={len(self.tool_calls)} attempts={len(self.attempts)}>"
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of a stream.

    `text` and `reasoning` hold only new text. `tool_calls` holds complete calls, all in one piece, after the stream
    finished without error. `index` is the choice. `restarted`: a new attempt started over; discard the reasoning
    delivered before (no text was). `raw` is the received chunk without unfinished tool calls. `seams` is set on the
    last piece of an answer that more than one model wrote.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    index: int = 0
    restarted: bool = False
    raw: Json | None = None
    seams: tuple[Seam, ...] = ()

    if not TYPE_CHECKING:  # a type checker must not see this method

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("a Piece", "piece", name, type(self).__slots__)


def add_usage(last: Json | None, earlier: list[tuple[object, int]], supposed: tuple[int, int] = (0, 0)) -> Json:
    """The usage of an answer that several attempts wrote.

    `earlier` holds the reported usage and the estimated completion tokens of each attempt that failed in mid-answer.
    Without reported usage the estimate counts, and the prompt is as long as the last one minus all estimates.
    `supposed`: estimated prompt and completion tokens of the last attempt, used if it reported none. The caller adds
    the cost of the whole call. The cost breakdown of the last attempt is removed.
    """
    total: Json = {key: value for key, value in (last or {}).items() if key not in ("cost_details", "is_byok")}
    final = Usage.read(last) or Usage()
    prompt_tokens, completion_tokens = final.prompt_tokens, final.completion_tokens
    if not (prompt_tokens and completion_tokens) and any(supposed):
        prompt_tokens, completion_tokens = prompt_tokens or supposed[0], completion_tokens or supposed[1]
        final, total["estimated"] = replace(final, prompt_tokens=prompt_tokens), True
    all_written = sum(written for _, written in earlier)
    for reported, written in earlier:
        known = Usage.read(reported)
        prompt_tokens += known.prompt_tokens if known else max(0, final.prompt_tokens - all_written)
        completion_tokens += known.completion_tokens if known else written
        if known is None:
            total["estimated"] = True
    total["prompt_tokens"], total["completion_tokens"] = prompt_tokens, completion_tokens
    total["total_tokens"] = prompt_tokens + completion_tokens
    return total


def text_of(content: object) -> str:
    """The text of a message's `content`: a string, a list of parts, or nothing."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str))
    return ""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A skipped model and the reason. `seconds_left`: seconds until it is used again; None: no time changes that."""

    model: str
    reason: str
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """The models that a call made now would try, in order, and every skipped model with its reason.

    `learnt` are facts about these models and their endpoints that decide what is sent to them; `notes` say why a model
    goes before its turn. `first_token_overdue`: by candidate, the seconds after which this request's first token is
    overdue, so that another model is called beside it; only those that were learnt and hold now.
    """

    candidates: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    learnt: tuple[Learnt, ...] = ()
    notes: tuple[str, ...] = ()
    first_token_overdue: Mapping[str, float] = field(default_factory=dict, hash=False)
