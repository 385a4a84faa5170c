"""Generates `failures.md`: the table of failures."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stderr
from typing import Final, Protocol

import typer

from openrouter_fallback.answer.finishes import FINISHES, SIGNS, Meaning
from openrouter_fallback.call.error_messages import NEXT_STEP, OWN_CLASS
from openrouter_fallback.cli.output.terminal import failures as as_exit_status
from openrouter_fallback.config.fields import OVERRIDABLE
from openrouter_fallback.errors import AllModelsFailedError, FallbackError
from openrouter_fallback.failures.kinds import FailureKind
from openrouter_fallback.failures.overflows import OVERFLOWS, OVERFLOWS_OF_ANY
from openrouter_fallback.failures.policy import ANY_ERROR, SMART, Action
from openrouter_fallback.failures.signs import (
    AVAILABILITY,
    ERROR_TYPES,
    FOREIGN_CODE_SIGNS,
    FOREIGN_TYPE_SIGNS,
    IMAGE_TYPES,
    NUMBER_SIGNS,
    REFUSALS,
    STATUSES,
    TRANSPORT,
)
from openrouter_fallback.failures.wordings import (
    BAD_IDS,
    HISTORIES,
    ITEMS,
    LIMITS,
    MALFORMED,
    NO_SUPPORT,
    POLICIES,
    SHORT_FIELDS,
    UNKNOWN_FIELDS,
)
from openrouter_fallback.results import Attempt
from scripts.docs.decisions import DONE_NEXT, whose
from scripts.docs.machines import rehearsed

_K = FailureKind
_ATTEMPTED: Final = (Attempt("a/b", "openrouter", _K.UNAVAILABLE, 0.0),)

TYPICAL: Final[Mapping[FailureKind, str]] = {
    _K.RATE_LIMITED: "too many requests for this key, or for this model",
    _K.OVERLOADED: "the providers of the model have no capacity left",
    _K.UNAVAILABLE: "the provider, or OpenRouter, fails",
    _K.TIMED_OUT: "no token in time, or none after the last one",
    _K.CONNECTION: "the server could not be reached, or the connection was lost before an answer began",
    _K.BAD_ANSWER: "the answer is unusable: empty, cut off, not JSON, or refused by `accept=`",
    _K.CONTEXT_TOO_LONG: "the request is longer than the model's context",
    _K.REJECTED: "a provider refused what another one may take",
    _K.MODERATION: "this model's moderation flagged the input",
    _K.CONTENT_POLICY: "the content was refused",
    _K.NOT_FOUND: "a wrong id, or a model that no longer exists",
    _K.UNSUPPORTED: "the model cannot do what the request needs: tools, images, a JSON schema",
    _K.CREDITS: "the account is empty, or a key has reached its limit",
    _K.AUTH: "the key was not accepted",
    _K.FORBIDDEN: "a rule of region, privacy or permission",
    _K.GUARDRAIL: "a guardrail of the account",
    _K.INVALID_REQUEST: "the request itself is wrong",
    _K.LOCAL: "the cause is on this machine",
    _K.CANCELLED: "the caller left: it cancelled the call, closed the stream, or stopped reading",
}
# The signs of kinds that do not come from the fields of an error, so that no table of the code has them.
_ELSEWHERE: Final[Mapping[FailureKind, str]] = {
    _K.TIMED_OUT: "a deadline of ours: first token, stall, attempt",
    _K.BAD_ANSWER: "`accept=` returned false (counts against nothing)",
    _K.CREDITS: "an empty account (`Insufficient credits`): then free models, and models that are called with another"
    " key; `can only afford N`: then once more for N tokens, unless `max_tokens` is set",
    _K.RATE_LIMITED: "the limit of free models (`free-models-per-day`): all `:free` models of the key wait for its"
    " reset",
    _K.NOT_FOUND: "a 404 that does not name the model counts against nothing; a 404 about an item of the request is"
    " `rejected`, a 404 about a parameter's value `unsupported`",
    _K.MODERATION: "`metadata.reasons` or `metadata.flagged_input`",
    _K.GUARDRAIL: "`metadata.patterns`",
    _K.REJECTED: f"{', '.join(f'`{kind}`' for kind in sorted(REFUSALS))} with `metadata.provider_name`; a limit or a"
    " field of this endpoint (a range of values, how many tools or images, a parameter that it does not know). Another"
    " model may take it, so a value that all models refuse costs one request per model before the call raises",
    _K.UNAVAILABLE: "any other status of 500 and above, and every failure that no table knows",
    _K.INVALID_REQUEST: "any other status of 300 to 499",
}
_HEAD: Final = """# Failures

Every failure has one of these kinds, and the kind decides what happens next. `Attempt.kind` and the log name it. This
page is made from the code's tables (`failures/`, `call/error_messages.py`). A test fails when the page is stale.

An error is recognised in many shapes: OpenRouter's, Google's, Anthropic's, FastAPI's, Bedrock's, a text, a page of a
proxy, JSON inside `metadata.raw`. It is recognised with any status, 200 too, in a whole body and in a stream. The first
of these that is present decides the kind:

1. `availability`
2. the metadata of moderation and guardrails
3. `error_type`
4. codes of other servers
5. the status
6. the message

Then the message may refine the kind.

"""
_AFTER: Final = """
- **Counts against**: the [breaker](how-it-decides.md#4-circuit-breakers) that counts this failure: of the model, of its
  endpoint, or none.
- **Alone, it raises**: the exception of a call that raises at once because of this kind, or in which no other kind
  occurred. After several kinds it is `AllModelsFailedError`. When the call's own time is over it is
  `DeadlineExceededError`. After delivered text it is `StreamInterruptedError`, but content policy and deadlines keep
  their own class. All derive from [`FallbackError`](reference/errors.md).
- `openrouter-fallback chat` exits with {exits} and if there is no key.

`on_failure: {{content_policy: next}}` in `settings` changes what follows: `next`, `raise`, or `retry` (the same model
once more, then the next). With `policy: any_error` every kind except {kept} uses up its model's attempts, and then the
next model is called. The circuit of the failed model then opens for `disable_duration_seconds`, but not after
{harmless}.

"""


def made() -> dict[str, str]:
    """The text of the page, by its name."""
    kept = [kind for kind in _K if ANY_ERROR[kind].action is not Action.USE_UP]
    harmless = [kind for kind in _K if kind not in kept and not ANY_ERROR[kind].disables]
    statuses = _exit_statuses()
    (usual, _), *others = sorted(statuses.items(), key=lambda item: -len(item[1]))
    exits = f"{usual} for all of them, " + ", ".join(f"{status} for {_list(names)}" for status, names in others)
    after = _AFTER.format(exits=exits, kept=_list(kept), harmless=_list(harmless))
    kinds = "\n".join(_section(kind) for kind in _K)
    return {"failures.md": f"{_HEAD}{_overview()}{after}{kinds}\n{_finishes()}\n{_sources()}"}


def _exit_statuses() -> dict[int, list[str]]:
    """The exit statuses of the command, each with its exceptions, taken from the command's own code."""
    statuses: dict[int, list[str]] = {}
    for cls in sorted(FallbackError.__subclasses__(), key=lambda cls: cls.__name__):
        try:
            with redirect_stderr(io.StringIO()), as_exit_status(as_json=False, warnings=False):
                raise cls("", attempts=_ATTEMPTED)
        except typer.Exit as exit:
            statuses.setdefault(exit.exit_code, []).append(cls.__name__)
    return statuses


def _list(kinds: Sequence[str]) -> str:
    names = [f"`{kind}`" for kind in kinds]
    return ", ".join(names[:-1]) + f" and {names[-1]}" if len(names) > 1 else names[0]


def _overview() -> str:
    rows = ["| kind | what it is | then | counts against | alone, it raises |", "|---|---|---|---|---|"]
    for kind in _K:
        cells = (f"[`{kind}`](#{kind})", TYPICAL[kind], _then(kind), whose(SMART[kind]), _raised(kind))
        rows += [f"| {' | '.join(cells)} |"]
    return "\n".join(rows) + "\n"


def _raised(kind: FailureKind) -> str:
    if kind is _K.CANCELLED:
        return "no exception of this library"
    name = OWN_CLASS.get(kind, AllModelsFailedError).__name__
    return f"[`{name}`](reference/errors.md#openrouter_fallback.{name})"


def _section(kind: FailureKind) -> str:
    rule = SMART[kind]
    said = [f"## {kind}\n", f"{TYPICAL[kind][0].upper()}{TYPICAL[kind][1:]}.\n"]
    said += [f"- {what}: {', '.join(values)}" for what, values in _recognised(kind).items() if values]
    again = f"; when all models were tried, the model is {'' if rule.again else 'not '}called again"
    said.append(f"- **then** {_then(kind)}{'' if rule.action is Action.RAISE else again}")
    if kind not in (_K.LOCAL, _K.CANCELLED):
        said.append(f"- if `a`, `b` and, on another endpoint, `c` all fail like this: {rehearsed(kind)}")
    said.append(f"- counts against {whose(rule)}")
    if kind not in OVERRIDABLE:
        said.append("- `on_failure` cannot change it")
    if kind in NEXT_STEP:
        said.append(f"- the error says: *{NEXT_STEP[kind]}*")
    return "\n".join(said) + "\n"


def _then(kind: FailureKind) -> str:
    if kind is _K.CANCELLED:
        return "stop: the connections of the call are closed"
    return ", ".join(DONE_NEXT[SMART[kind].action])


def _recognised(kind: FailureKind) -> dict[str, list[str]]:
    """The signs of a kind from the tables of the classifier."""
    tables: dict[str, Mapping[str, FailureKind]] = {"`availability.code`": AVAILABILITY, "`error_type`": ERROR_TYPES}
    found = {"status": [str(status) for status, to in STATUSES.items() if to is kind]}
    for what, table in tables.items():
        found[what] = [f"`{name}`" for name, to in table.items() if to is kind]
    if kind is _K.UNSUPPORTED:
        found["`error_type`"].append(f"`{IMAGE_TYPES}*`")
    found["on the wire"] = [words for to, words in TRANSPORT.values() if to is kind]
    codes, words = f"[codes](#codes-of-{kind})", f"[words](#words-of-{kind})"
    found["other servers"] = [
        link for link, signs in ((codes, _CODES), (words, _WORDS)) if any(sign.kind is kind for sign in signs)
    ]
    found["also"] = [_ELSEWHERE[kind]] if kind in _ELSEWHERE else []
    return found


_FINISHES: Final = """## Finish reasons

This table says what each finish reason means. Names are compared without case, underscores and other signs.
OpenRouter passes the provider's own finish reason on as `native_finish_reason`. If that is a failure, a filter or a
limit, it takes precedence over a good `finish_reason`. `null`, `""`, `"null"` and `"none"` count as no finish reason.

"""
_MEANINGS: Final[Mapping[Meaning, str]] = {
    Meaning.STOP: "the answer is whole: `stop`",
    Meaning.LENGTH: "a token limit has cut the answer off: `length`",
    Meaning.CALLS: "the answer calls tools: `tool_calls`; without a call `bad_answer`",
    Meaning.FILTERED: "a filter has stopped the answer: `content_policy`",
    Meaning.FAILED: "the answer has failed",
    Meaning.UNKNOWN: "no meaning: the content decides",
}
_UNKNOWN: Final = """
A name that is not in this table is judged by its parts; the first match in the table below decides. Without a match the
content decides. Tool calls are an answer. A text is an answer if it ends as whole answers do: after a sentence, a
closed bracket or block, or as one short word. Half a text is `bad_answer`.

"""


def _finishes() -> str:
    """The tables of finish reasons."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in FINISHES:
        means = _MEANINGS[row.meaning] + (f": `{row.kind}`" if row.kind is not None else "")
        grouped.setdefault((means, row.source), []).append(_code(row.name))
    known = ["| means | finish reasons | source |", "|---|---|---|"]
    known += [f"| {means} | {', '.join(names)} | {source} |" for (means, source), names in grouped.items()]
    parts = ["| in the name | means |", "|---|---|"]
    for meaning, kind, pattern in SIGNS:
        parts.append(f"| {_code(pattern)} | {_MEANINGS[meaning]}{f': `{kind}`' if kind is not None else ''} |")
    return _FINISHES + "\n".join(known) + "\n" + _UNKNOWN + "\n".join(parts) + "\n"


class Row(Protocol):
    """A row of a table with sources: the pattern, the server that sends it, and the source."""

    @property
    def pattern(self) -> str: ...
    @property
    def server(self) -> str: ...
    @property
    def source(self) -> str: ...


_CODES: Final = (*FOREIGN_CODE_SIGNS, *(sign for signs in NUMBER_SIGNS.values() for sign in signs), *FOREIGN_TYPE_SIGNS)
_WORDS: Final = tuple(
    dict.fromkeys(
        (
            *SHORT_FIELDS,
            *OVERFLOWS,
            *OVERFLOWS_OF_ANY,
            *LIMITS,
            *HISTORIES,
            *ITEMS,
            *UNKNOWN_FIELDS,
            *POLICIES,
            *BAD_IDS,
            *NO_SUPPORT,
            *MALFORMED,
        )
    )
)
_SOURCES: Final = """## Codes and words of other servers

These rows give an error of another server its kind. The source of each row is a documentation page or a public
thread (`owner/repository#number`). Codes are compared in lower case. Words are regular expressions that ignore case.
For one status the first match decides. Wordings about other lengths (a name, an id, a list of tools) are compared
before those about the model's context.
"""


def sourced(rows: Iterable[Row]) -> list[str]:
    """A Markdown table of the rows, with one line for each server and source."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        grouped.setdefault((row.server, row.source), []).append(_code(row.pattern))
    lines = ["| server | matched | source |", "|---|---|---|"]
    return lines + [f"| {who} | {', '.join(matched)} | {_link(where)} |" for (who, where), matched in grouped.items()]


def _code(text: str) -> str:
    """The text as code in a cell of a table."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}".replace("|", "\\|")


def _link(source: str) -> str:
    """A link to a page or a thread. A thread without an owner is not linked."""
    if source.startswith("https://"):
        return f"[{source.removeprefix('https://').partition('/')[0]}]({source})"
    repository, _, number = source.partition("#")
    return f"[{source}](https://github.com/{repository}/issues/{number})" if "/" in repository else f"`{source}`"


def _sources() -> str:
    said = [_SOURCES]
    for kind in _K:
        for name, signs in (("codes", _CODES), ("words", _WORDS)):
            rows = [sign for sign in signs if sign.kind is kind]
            if rows:
                said += [f"### {name.capitalize()} of {kind}\n", *sourced(rows), ""]
    return "\n".join(said).rstrip() + "\n"
