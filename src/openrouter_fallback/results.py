"""What a call returns: a completion, the pieces of a stream, and what was tried for it."""

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
"""Free-form JSON of the wire."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request of a call.

    `model` is the candidate that was asked (the key of its health), `kind` what went wrong (None: it answered),
    `seconds` how long it took, `first_token` the seconds to its first token, `cost` what it reported in USD; where it
    reported none, it is `estimated` from its tokens and the catalog's prices. `notes` say what of the history the model
    could not be sent, such as another model's signed reasoning. `resent`: how many times the request was sent again,
    since the kept connection that it was written to was lost (RFC 9112, section 9.3.1).
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
        """Whether this attempt gave the answer."""
        return self.kind is None


@dataclass(frozen=True, slots=True)
class Seam:
    """Where one model went on from another's text: after `offset` characters, with `how` it `went_on`, `restarted` or
    `overlapped`, or had nothing to add to a whole text (`completed`), and `dropped` the number of characters that it
    repeated and that were not passed on.
    """

    offset: int
    before: str
    after: str
    how: str
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of the answer, and its cost in USD where the endpoint reports one.

    `cost` includes what the provider charges where the key is the caller's own (`is_byok`). `estimated`: an attempt
    that broke off in mid-answer reported nothing, so its tokens are estimated from its pieces and its length.
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

        `input_tokens` and `output_tokens` are read too. Figures that cannot be (see `figures.py`) count as not told.
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
            cached_tokens=figures.tokens(prompt, "cached_tokens"),
            cache_write_tokens=figures.tokens(prompt, "cache_write_tokens"),
            reasoning_tokens=figures.reasoning_tokens(usage),
            cost=figures.cost(usage),
            estimated=usage.get("estimated") is True,
        )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A complete tool call. `arguments` is the parsed JSON object, `arguments_json` its text as the model wrote it."""

    id: str
    name: str
    arguments: Json
    arguments_json: str
    index: int = 0

    @classmethod
    def read(cls, call: Json, position: int) -> ToolCall | None:
        """Read one entry of `tool_calls`; None if its arguments are not a complete JSON object.

        No arguments at all is a call without any: recorded models leave the key out.
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
    """One whole answer.

    `raw` is the OpenAI-shaped body, complete: all choices, reasoning details, annotations, images, logprobs. The other
    attributes read its first choice. `usage` is the answer's, `cost` the call's (all attempts that reported one, USD),
    `seconds` the duration of the call, `attempts` what was tried, the answering attempt last; `seams` where another
    model went on from text that had been delivered.
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
        """The assistant message, ready to be appended to the conversation."""
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
        calls = self.message.get("tool_calls") or ()
        return tuple(call for n, item in enumerate(calls) if (call := ToolCall.read(item, n)) is not None)

    @property
    def invalid_tool_calls(self) -> tuple[Json, ...]:
        """Tool calls that `finish_reason: length` cut off, as received. Never run them."""
        return self._invalid

    @property
    def model(self) -> str:
        """The model that really served."""
        return figures.name(self.raw.get("model")) or (self.attempts[-1].model if self.attempts else "")

    @property
    def provider(self) -> str | None:
        """The provider that OpenRouter names."""
        return figures.name(self.raw.get("provider"))

    @property
    def finish_reason(self) -> str:
        """`stop`, `length`, `tool_calls`, ..."""
        reason: str = self.choice["finish_reason"]
        return reason

    @property
    def usage(self) -> Usage | None:
        """Tokens of the answer; None where the endpoint reports none."""
        return Usage.read(self.raw.get("usage"))

    @property
    def cost(self) -> float | None:
        """USD of all attempts of this call, as they reported it or `estimated`; None if nothing is known of any."""
        if not self.attempts:
            return self.usage.cost if self.usage is not None else None
        costs = [attempt.cost for attempt in self.attempts if attempt.cost is not None]
        return sum(costs) if costs else None

    @property
    def estimated(self) -> bool:
        """Whether `usage` or `cost` holds an estimate, or lacks what an attempt has cost that reported nothing."""
        usage, lacks = self.usage, self.cost is not None
        return (usage is not None and usage.estimated) or any(
            attempt.estimated or (lacks and attempt.cost is None and attempt.first_token is not None)
            for attempt in self.attempts
        )

    if not TYPE_CHECKING:  # to a type checker there is none

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

    `text` and `reasoning` are what is new, `tool_calls` complete calls (they come in one piece, once the stream has
    finished properly), `index` the choice. `restarted`: another attempt has started over, what was delivered before
    was reasoning only and is void. `raw` is the chunk as received, without unfinished tool calls. `seams`: on the
    last piece of an answer that more than one model has written.
    """

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    index: int = 0
    restarted: bool = False
    raw: Json | None = None
    seams: tuple[Seam, ...] = ()

    if not TYPE_CHECKING:  # to a type checker there is none

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("a Piece", "piece", name, type(self).__slots__)


def add_usage(last: Json | None, earlier: list[tuple[object, int]], supposed: tuple[int, int] = (0, 0)) -> Json:
    """The usage of an answer that several attempts have written.

    `earlier` holds, for each attempt that broke off, the usage that it reported and about how many tokens it has
    written. Where it reported none, those count, for a prompt as long as the last one without them. `supposed`: the
    tokens of the last attempt's prompt and of what it has written, used where it reported none. The caller adds the
    cost of the whole call; the last attempt's own breakdown is left out.
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
    """A model that is left out, and why. `seconds_left`: when that ends by itself, None if it does not."""

    model: str
    reason: str
    seconds_left: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """What a call would do now: the models it would ask, in order, and every skipped one with its reason.

    `learnt` are facts about these models and their endpoints that decide what is sent to them; `notes` say why a model
    goes before its turn. `first_token_overdue`: by candidate, the seconds after which this request's first token is
    overdue, so that another model is called beside it; only those that were learnt and hold now.
    """

    candidates: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    learnt: tuple[Learnt, ...] = ()
    notes: tuple[str, ...] = ()
    first_token_overdue: Mapping[str, float] = field(default_factory=dict, hash=False)
