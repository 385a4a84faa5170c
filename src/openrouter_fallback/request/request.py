"""The caller's request: checked once, encoded once, and adapted to each candidate."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from operator import itemgetter
from typing import Any

import orjson

from ..answer.demands import Demands
from ..answer.seam import ContinuationMode
from ..argument_names import PARAMETERS, refusal
from ..catalog.prices import lower
from ..errors import ConfigError
from ..failures.kinds import Failure
from ..results import Json, text_of
from ..routes.candidate import NO_NEEDS, Candidate
from ..routes.needs import (
    CHARACTERS_PER_TOKEN,
    TOKEN_LIMITS,
    RequestTraits,
    may_be_long,
    most_tokens,
    needs,
    own_providers,
    slow,
    token_limits,
    undemanding,
    wants_json,
)
from ..suggest import meant
from .continuation import continued
from .handover import (
    Delivered,
    Form,
    Handover,
    Histories,
    History,
    Target,
    asks_for_thinking,
    deliver,
    marks_beside,
    name_callers,
    name_signers,
    needs_strict,
    rule_for,
    tool_names,
    translate,
    translated_params,
    unsendable,
    with_tool_marks,
)
from .parameters import OPENROUTER_ONLY

Messages = str | Sequence[Mapping[str, Any]]
"""A prompt, or messages in OpenAI's shape."""

LONG_PROMPT_BYTES = 200_000
"""Bytes of a long prompt: about 50,000 tokens."""
PROMPT_CLASSES = (16_000, 128_000, 512_000)
"""Bytes at which the prompt classes for times to first token begin: about 4,000, 32,000 and 128,000 tokens."""


_STREAM_OPTIONS: Json = {"include_usage": True}
_DEMANDING = frozenset({"function_call", "response_format", "tool_choice"})
_NOTHING_MORE, _AFTER_RESULT = Demands(), Demands(after_result=True)
_CALLS = frozenset({"function_call", "tool_calls"})
_DICTS = frozenset({dict})
_ROLE = itemgetter("role")
_REASONING = frozenset({"include_reasoning", "reasoning", "reasoning_effort"})


class Request:
    """One request, independent of the model that answers."""

    __slots__ = (
        "_as_it_is",
        "_common",
        "_handed",
        "_joined",
        "_opening",
        "_stream_options",
        "_tools",
        "delivered",
        "history",
        "max_tokens",
        "needs",
        "params",
        "thread",
        "traits",
        "wants_json",
    )

    def __init__(
        self,
        messages: Messages,
        params: Mapping[str, Any],
        *,
        mid_stream: str = "continue",
        idempotent: bool = True,
        thread_id: str | None = None,
        histories: Histories | None = None,
    ) -> None:
        """`histories` are those that the client remembers."""
        self.history, written = (histories or Histories()).read(*_checked_messages(messages))
        unsent = unsendable(self.messages) if self.history.lists else ""
        if unsent:
            raise ConfigError(unsent)
        extra = params.get("extra_body") or {}
        if not isinstance(extra, (dict, Mapping)):
            raise ConfigError(f"extra_body is a {type(extra).__name__}; it must be a mapping")
        given = {key: value for key, value in params.items() if value is not None and key != "extra_body"}
        if thread_id is not None and not isinstance(thread_id, str):
            raise ConfigError(f"thread_id is a {type(thread_id).__name__}; it must be a string")
        self.thread = thread_id
        for key in given:
            if key not in PARAMETERS and (problem := refusal(key)) is not None:
                del given[key]
                if isinstance(params, dict):
                    del params[key]  # it may hold a secret, and the error leads to the frames that share it
                raise ConfigError(problem)
        for name in ("model", "messages", "stream"):
            if name in extra:
                raise ConfigError(f"extra_body may not hold {name}: {meant('call', name)}")
        self.params: Json = {**given, **extra}
        """The caller's arguments beside the messages."""
        self._as_it_is = frozenset(extra)
        self._stream_options = params.get("stream_options", _STREAM_OPTIONS)
        self._common = self._written(written)
        self._tools = tool_names(self.params)
        self._joined = False
        self.delivered: Delivered | None = None
        self._handed: dict[tuple[str, Form], Handover] = {}
        self._opening = Handover(self.history) if not self._tools and self.history.opening else None
        size, special = sum(map(len, self._common)) + 1, not undemanding(self.params)
        self.wants_json = special and wants_json(self.params)
        looked_at = special or self.history.lists or may_be_long(size)
        self.needs = needs(self.params, self.history.seen, size) if looked_at else NO_NEEDS
        self.max_tokens = most_tokens(self.params, {}) if self.params else None
        """The caller's limit of the answer's tokens."""
        self.traits = RequestTraits(
            slow=(special and slow(self.params)) or size > LONG_PROMPT_BYTES,
            needs=self.needs.abilities,
            own_providers=special and own_providers(self.params),
            continues=mid_stream == "continue" and not self.wants_json and self.params.get("n") in (None, 1),
            idempotent=idempotent,
            bounded=self.max_tokens is not None,
            size=bisect_right(PROMPT_CLASSES, size),
        )

    def _written(self, messages: tuple[bytes, ...] = ()) -> tuple[bytes, ...]:
        """The JSON of messages and parameters in parts, without the opening brace; `messages` are theirs if known."""
        if not messages:
            return (_encode({"messages": self.messages, **self.params})[1:],)
        return b'"messages":', *messages, b"," if self.params else b"", _encode(self.params)[1:]

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The messages, as they are sent where nothing changes."""
        return self.history.messages

    def session(self, stick_to: str | None) -> str | None:
        """The session of the request for `stick_to`: its `session_id`, or its `thread_id`, which is not sent."""
        if stick_to is None:
            return None
        found = self.params.get("session_id") if stick_to == "session" else self.thread
        return found if isinstance(found, str) and found else None

    def continued(self, text: str, way: ContinuationMode, tokens: int) -> Request:
        """The request to continue the delivered `text`; its approximate `tokens` reduce the limits of the answer."""
        other = object.__new__(Request)
        other.history = History(continued(self.messages, text, way))
        other.history.writers.update(self.history.writers)
        other._tools, other._handed, other._opening = self._tools, {}, None
        other._joined = True
        other.delivered = self.delivered
        other.wants_json = False
        other.traits, other.needs, other.thread = self.traits, self.needs, self.thread
        other._as_it_is, other._stream_options = self._as_it_is, self._stream_options
        other.params = dict(self.params)
        for name in TOKEN_LIMITS:
            if isinstance(other.params.get(name), int):
                other.params[name] = max(1, other.params[name] - tokens)
        other.max_tokens = None if self.max_tokens is None else max(1, self.max_tokens - tokens)
        other._common = other._written()
        return other

    def handed(self, candidate: Candidate, form: Form = Form.NORMAL) -> Handover:
        """The history in the form for this candidate."""
        if self._opening is not None:
            return self._opening
        known = self._handed.get((candidate.key, form))
        if known is None:
            if self.delivered is not None and self.delivered.signed_elsewhere(candidate.model):
                name_signers(self.history, self.delivered)
            slug = candidate.slug
            thinking = asks_for_thinking(self.params, candidate.params)
            if thinking is None and candidate.model.endswith(":thinking"):
                thinking = True
            rule = rule_for(candidate.model, slug, candidate.host)
            if thinking and rule.thinking_first and self.delivered is not None:
                name_callers(self.history, self.delivered)
            prefills = candidate.continues is ContinuationMode.PREFILL
            target = Target(
                rule, candidate.model, slug, candidate.on_openrouter, candidate.host, thinking, form, prefills
            )
            marks = marks_beside(self.params) if rule.most_marks else (0, False)
            known = self._handed[candidate.key, form] = translate(self.history, target, self._tools, marks)
        return known

    def stricter(self, candidate: Candidate, form: Form, failure: Failure) -> Form | None:
        """The form of history that the candidate may accept after this refusal; None if no form changes the history."""
        wanted = needs_strict(failure)
        if wanted is Form.UNSIGNED and form is not Form.NORMAL:
            wanted = Form.STRICT
        if wanted is None or wanted is form or form is Form.REASONED:
            return None
        if wanted in (Form.TOLD, Form.SINGLE) and form not in (Form.NORMAL, Form.UNSIGNED):
            return None
        then, now = self.handed(candidate, wanted), self.handed(candidate, form)
        same = list(then.messages) == list(now.messages) and then.without_reasoning == now.without_reasoning
        return None if same else wanted

    def demands(self, candidate: Candidate) -> Demands:
        """The request's demands on this candidate's answer."""
        if _DEMANDING.isdisjoint(self.params) and _DEMANDING.isdisjoint(candidate.params):
            return _AFTER_RESULT if self.history.roles[-1] == "tool" else _NOTHING_MORE
        return Demands.of({**candidate.params, **self.params}, self.history.roles[-1])

    def offered(self, candidate: Candidate, form: Form) -> frozenset[str]:
        """The functions that this candidate may call, by the names that were sent to it."""
        functions = self.handed(candidate, form).functions
        return frozenset(functions.get(name, name) for name in self._tools)

    def deliver(self, body: Json, candidate: Candidate, form: Form) -> None:
        """Restore the caller's function names in an answer, and give its calls ids that are new to the history.

        Removes signatures from a continuation: they bind it to this request, whose instruction is not part of the
        caller's history.
        """
        choices = body.get("choices")
        unsigned = self._joined and self.handed(candidate, form).binds
        if not isinstance(choices, list) or not (unsigned or any(map(_calls, choices))):
            return
        functions = self.handed(candidate, form).functions
        deliver(
            body,
            set(self.history.ids),
            {written: given for given, written in functions.items() if given},
            unsigned=unsigned,
        )

    def body(
        self,
        candidate: Candidate,
        ignore: Sequence[str] = (),
        max_tokens: int | None = None,
        without: frozenset[str] = frozenset(),
        form: Form = Form.NORMAL,
    ) -> bytes:
        """The JSON body for one candidate. The caller's parameters override the model's; `null` omits a parameter.

        OpenRouter's own parameters go to other servers only from `extra_body` or the model's parameters. `max_tokens`:
        the affordable limit, used if neither the caller nor the model sets one. `without`: parameters that the endpoint
        refuses. `form`: the form of the history.
        """
        params, own = self.params, candidate.params
        handed = self.handed(candidate, form)
        if not candidate.on_openrouter:
            params = self._elsewhere(candidate)
        if handed.tool_marks is not None and "tools" in params:
            params = dict(kept) if (kept := with_tool_marks(params, handed.tool_marks)) is not params else params
        if handed.functions:
            params = dict(translated_params(params, handed.functions))
        if handed.without_reasoning:
            own = {key: value for key, value in own.items() if key not in _REASONING}
            if not _REASONING.isdisjoint(params):
                params = {key: value for key, value in params.items() if key not in _REASONING}
        if without and not without.isdisjoint(params):
            params = {key: value for key, value in params.items() if key not in without}
        head: Json = {"model": candidate.model}
        if max_tokens is not None:
            head[candidate.limit] = max_tokens
        if candidate.streams:
            head["stream"] = True
            if "stream_options" not in params and "stream_options" not in without:
                head["stream_options"] = self._stream_options
        if own:
            limits = token_limits(params, own)
            for key, value in own.items():
                if key not in params and key not in without and (key in limits or key not in TOKEN_LIMITS):
                    head[key] = value
        if None in head.values():  # null parameters are not sent
            head = {key: value for key, value in head.items() if value is not None}
        if ignore or candidate.max_price:
            provider = dict(params.get("provider") or own.get("provider") or {})
            if ignore:
                provider["ignore"] = [*(provider.get("ignore") or ()), *ignore]
            if candidate.max_price:
                provider["max_price"] = lower(provider.get("max_price"), candidate.max_price)
            # Reuse the encoded part, unless the caller's own preferences are in it.
            if "provider" in params:
                params = {**params, "provider": provider}
            else:
                head["provider"] = provider
        unchanged = params is self.params and handed.changed is None
        common = self._common if unchanged else (_encode({"messages": handed.messages, **params})[1:],)
        return b"".join((orjson.dumps(head)[:-1], b",", *common))

    def _elsewhere(self, candidate: Candidate) -> Json:
        """The parameters for a server other than OpenRouter."""
        kept = {key: value for key, value in self.params.items() if key not in OPENROUTER_ONLY - self._as_it_is}
        if candidate.limit not in kept and "max_tokens" in kept and "max_tokens" not in self._as_it_is:
            kept[candidate.limit] = kept.pop("max_tokens")
        return self.params if kept == self.params else kept

    def tokens(self) -> int:
        """The approximate number of tokens of the request's text."""
        return sum(len(text_of(message.get("content"))) for message in self.messages) // CHARACTERS_PER_TOKEN

    def texts(self) -> Iterator[str]:
        """The texts of the prompt, which no error message may quote."""
        return (text for message in self.messages if (text := text_of(message.get("content"))))


def _calls(choice: object) -> bool:
    """Whether a choice of an answer may hold tool calls."""
    message = choice.get("message") if isinstance(choice, dict) else None
    return isinstance(message, dict) and not _CALLS.isdisjoint(message)


def _checked_messages(messages: Messages) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The messages, and their roles."""
    if isinstance(messages, str):
        return [{"role": "user", "content": messages}], ["user"]
    if not isinstance(messages, list | tuple):
        raise ConfigError(f"messages is a {type(messages).__name__}; it must be a string or a list of messages")
    if not messages:
        raise ConfigError("messages is empty; give a string or at least one message, {'role': 'user', 'content': ...}")
    checked: list[Mapping[str, Any]] = list(messages)
    try:
        roles = list(map(_ROLE, checked))
        "".join(roles)  # a TypeError if one is not a string
        if _DICTS.issuperset(map(type, checked)):
            return checked, roles
    except (KeyError, TypeError):
        pass
    for position, message in enumerate(checked):
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            raise ConfigError(
                f"messages[{position}] is not a message: it must be a mapping with a role, "
                "such as {'role': 'user', 'content': ...}"
            )
    return checked, list(map(_ROLE, checked))


def _encode(value: Json) -> bytes:
    for option in (None, orjson.OPT_NON_STR_KEYS):  # the first takes two thirds of the time
        try:
            return orjson.dumps(value, default=_plain, option=option)
        except (TypeError, RecursionError):
            pass
    for key, part in value.items():
        try:
            orjson.dumps(part, default=_plain, option=orjson.OPT_NON_STR_KEYS)
        except (TypeError, RecursionError) as error:
            raise ConfigError(f"{key} cannot be sent as JSON: {error}") from None
    raise ConfigError("the request cannot be sent as JSON")


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        return dump(exclude_none=True)
    raise TypeError(f"a {type(value).__name__} is not JSON")
