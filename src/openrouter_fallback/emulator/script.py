"""Reads faults, answers and paces from a YAML file. An error message names the file, the line and the key.

models: [anthropic/claude-sonnet-4.5, openai/gpt-5.1]     # optional: the only models of the emulator
seed: 7                                                   # seed of all random decisions
strict: true                                              # check each history by the rules of the model's provider
pace: {latency: 0.2, token_interval: 0.01, jitter: 0.3}   # or a list of paces, each with its `model`
replies:
  - {model: openai/gpt-5.1, text: Forty-two.}
faults:
  - {kind: rate_limit_exceeded, model: anthropic/claude-sonnet-4.5, seconds: [5, 20], retry_after: 3}
  - {kind: stall, model: openai/gpt-5.1, after_tokens: 12, probability: 0.3}
  - {kind: provider_overloaded, provider: Amazon Bedrock, requests: [10, 30]}
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError
from pydantic import Field as Bounded

from ..source import Path
from ..yaml_reader import read_yaml
from .faults.kinds import FAULTS, unknown
from .faults.schedule import check, window
from .models.registry import MODELS, Models

_Seconds = Annotated[float, Bounded(ge=0)]
_Bundled = BeforeValidator(lambda value: list(MODELS) if value == "bundled" else value)
_Listed = BeforeValidator(lambda value: [value] if isinstance(value, Mapping) else value)


class ScriptError(ValueError):
    """An invalid script. The message gives the place, the error, and the allowed values."""


class Part(BaseModel):
    """A mapping in a script."""

    model_config = ConfigDict(extra="forbid", strict=True, protected_namespaces=())


class _Pace(Part):
    model: str | None = None
    latency: _Seconds | None = None
    token_interval: _Seconds | None = None
    jitter: Annotated[float, Bounded(ge=0, le=1)] | None = None


class _Reply(Part):
    model: str | None = None
    text: str | None = None
    tokens: Annotated[int, Bounded(ge=1)] | None = None
    reasoning: str | bool | None = None
    tool_calls: list[dict[str, Any]] | None = None
    images: list[Any] | None = None
    audio: dict[str, Any] | None = None
    annotations: list[dict[str, Any]] | None = None
    finish_reason: str | None = None
    refusal: str | None = None
    logprobs: bool | None = None
    usage: dict[str, Any] | None = None
    served_as: str | None = None
    prefill: Literal["continue", "restart", "overlap", "preface", "refuse"] = "continue"
    instruct: Literal["continue", "restart", "overlap", "preface"] = "continue"


class _Fault(Part):
    model_config = ConfigDict(extra="allow")

    kind: str
    model: str | None = None
    provider: str | None = None
    requests: int | list[int | None] | None = None
    seconds: list[_Seconds | None] | None = None
    probability: Annotated[float, Bounded(ge=0, le=1)] = 1.0

    def given(self) -> dict[str, Any]:
        """The arguments of `Emulator.fault`."""
        requests = [1, self.requests] if isinstance(self.requests, int) else self.requests
        windows = {"requests": window(requests, 1), "seconds": window(self.seconds, 0)}
        return {**self.model_dump(exclude_unset=True), **windows}


class Faults(Part):
    """The keys of every script. `stand_ins` are names for models that are known only when the script is played."""

    stand_ins: ClassVar[Sequence[str]] = ()
    parts: ClassVar[Mapping[str, type[Part]]] = {"pace": _Pace, "replies": _Reply}

    models: Annotated[list[str] | None, _Bundled] = None
    seed: int | None = None
    pace: Annotated[list[_Pace], _Listed] = []
    faults: list[_Fault] = []


class ScriptFile(Faults):
    """The keys of a script of the emulator."""

    replies: list[_Reply] = []
    strict: bool = False


_Kind = TypeVar("_Kind", bound=Faults)


def read_script(path: str | os.PathLike[str], kind: type[_Kind]) -> _Kind:
    """Read a script from a file. Raises `ScriptError` with all errors of the file."""
    read = read_yaml(path, ScriptError, purpose="script")
    try:
        script = kind.model_validate({} if read.data is None else read.data)
    except ValidationError as error:
        mistakes = [_mistake(dict(one), kind) for one in error.errors(include_url=False)]
    else:
        mistakes = list(_checks(script))
        if not mistakes and not read.mistakes:
            return script
    unread = {mistake.path for mistake in read.mistakes}
    mistakes = [*read.mistakes, *(one for one in mistakes if one[0] not in unread)]
    lined = sorted(((read.line(path) or 1, _where(path), text) for path, text in mistakes), key=lambda one: one[0])
    lines = [f"line {line}, {where}: {text}" for line, where, text in lined]
    if len(lines) == 1:
        raise ScriptError(f"{read.name}, {lines[0]}")
    raise ScriptError("\n  - ".join([f"{read.name} has {len(lines)} mistakes:", *lines]))


def near(word: str, options: Iterable[str]) -> str:
    """The question "Did you mean ...?" with a leading blank, or "" if no option is similar to the word."""
    found = difflib.get_close_matches(word, list(options), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def _checks(script: Faults) -> Iterator[tuple[Path, str]]:
    """The errors that only the emulator's tables reveal: unknown models, providers, faults and details."""
    models = Models(script.models)
    for part in ("pace", "replies", "faults"):
        for index, one in enumerate(getattr(script, part, ())):
            if one.model not in (None, *script.stand_ins) and models.find(one.model) is None:
                ids = [*script.stand_ins, *(model.id for model in models)]
                yield (part, index, "model"), f"there is no model {one.model!r}.{near(one.model, ids)}"
    for index, reply in enumerate(script.replies if isinstance(script, ScriptFile) else ()):
        for place, call in enumerate(reply.tool_calls or ()):
            if not isinstance(call.get("name"), str):
                yield ("replies", index, "tool_calls", place), "a tool call has a name: {name: ..., arguments: ...}."
    for index, fault in enumerate(script.faults):
        named = fault.model if fault.model not in script.stand_ins else None
        yield from _fault_checks(("faults", index), fault, models, named)


def _fault_checks(at: Path, fault: _Fault, models: Models, model: str | None) -> Iterator[tuple[Path, str]]:
    details = dict(fault.model_extra or {})
    if fault.kind not in FAULTS:
        yield (*at, "kind"), unknown(fault.kind)
        return
    known = [*_Fault.model_fields, *FAULTS[fault.kind].details]
    strange = sorted(set(details) - set(known))
    for name in strange:
        yield (*at, name), f"unknown key.{near(name, known)} Known for {fault.kind!r}: {', '.join(known)}."
    try:
        fault.given()
        check(fault.kind, {} if strange else details)
    except (TypeError, ValueError) as error:
        yield at, str(error)
    if fault.provider is not None and models.provider(fault.provider, model) is None:
        names = models.providers(model)
        missing = f"no provider {fault.provider!r}" + (f" of {model}" if model else "")
        yield (*at, "provider"), f"{missing}.{near(fault.provider, names)} There are: {', '.join(names)}."


def _mistake(error: dict[str, Any], kind: type[Faults]) -> tuple[Path, str]:
    path: Path = error["loc"]
    if error["type"] == "extra_forbidden":
        known = list(kind.parts.get(str(path[0]), kind).model_fields)
        return path, f"unknown key.{near(str(path[-1]), known)} Known here: {', '.join(known)}."
    if error["type"] == "missing":
        return path, "is missing."
    if error["type"] == "invalid_key":
        return path, f"found the key {error['input']!r}, which is no text to YAML; quote it."
    allowed = _ALLOWED.get(error["type"]) or str(error["msg"]).removeprefix("Input should be ")
    return path, f"found {_shown(error['input'])}; allowed is {allowed.format(**error.get('ctx', {}))}."


_ALLOWED = {
    "model_type": "a mapping",
    "list_type": "a list, as in [a, b]",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "greater_than_equal": "a number not below {ge:g}",
    "less_than_equal": "a number not above {le:g}",
}


def _shown(value: Any) -> str:
    if isinstance(value, Mapping | list):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    return "nothing" if value is None else repr(value)[:60]


def _where(path: Path) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else str(part)
    return out or "the script"
