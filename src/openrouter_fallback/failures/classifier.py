"""The classifier: turns status, headers, body or event of an error into one `Failure`.

`shapes.py` extracts the codes and texts of an error of any shape. `signs.py` and `wordings.py` have the tables of
codes and messages. The classifier determines the kind in this order; the first source with a known value decides:

1. `availability`
2. the metadata of moderation and guardrails
3. `error_type`, and OpenRouter's codes
4. codes and numbers of other servers, first the error's own, then those of a quoted upstream error
5. the HTTP status
6. types of other servers
7. the message

Then the message may refine the kind, and `metadata.provider_name` changes a refusal to `rejected`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from ..redaction import visible, without_keys
from .kinds import REDIRECT, Failure, FailureKind, TransportFault
from .shapes import (
    MAX_READ,
    Report,
    codes,
    decode,
    error_status,
    find_error,
    numbers,
    parameter_of,
    report,
    status_of,
)
from .signs import (
    AVAILABILITY,
    ERROR_TYPES,
    FOREIGN_CODES,
    FOREIGN_TYPES,
    IMAGE_TYPES,
    NOT_FINAL,
    NUMBERS,
    REFUSALS,
    RETRYABLE,
    SILENT,
    STANDS,
    STATUSES,
    TRANSPORT,
    UPSTREAMS,
    Sign,
)
from .waits import retry_after
from .wordings import ACCOUNT_EMPTY, AFFORDABLE, BAD_IDS, FREE_MODELS, MAX_TOKENS, MESSAGES, REFINEMENTS

__all__ = [
    "find_error",
    "from_error",
    "from_event",
    "from_response",
    "from_transport",
    "parse_retry_after",
    "refused_parameter",
    "timed_out",
]

_K = FailureKind

_MAX_MESSAGE: Final = 300
_MAX_SPOKEN: Final = 1_000  # the patterns search only so many characters of a message
_MAX_NAME: Final = 80
_MAX_RAW: Final = 600  # a raw text with more characters is not a message
_MIN_PROMPT: Final = 4
_MIN_ID: Final = 4

OPTIONAL_PARAMETERS: Final = ("stream_options", "parallel_tool_calls", "usage")
"""Request parameters without which an answer is still complete. If an endpoint refuses one, the request is sent again
without the parameter."""
_SAME_PARAMETER: Final = {"include_usage": "stream_options"}
_REFUSED: Final = (
    r"unsupported|not (be )?(supported|permitted|allowed|recogni[sz]ed|accepted|valid)|unrecogni[sz]ed|unknown"
    r"|unexpected"
    r"|extra |extraneous|forbidden|invalid|cannot find|can ?not|only (allowed|supported|valid)|does(n.t| not) support"
    r"|must not"
)
_REFUSING: Final = frozenset({_K.INVALID_REQUEST, _K.REJECTED, _K.UNSUPPORTED, _K.NOT_FOUND, _K.UNAVAILABLE})

_NAMED: Final = re.compile(
    r"['\"`][\w./:@-]+['\"`]|\b(?:for|models?|model:) [\w.@-]*[-/:\d][\w./:@-]*|\b(?:get|post)[ :]/"
    r"|(?<![:/\w.-])(?!and/or)/?[\w.-]+/[\w./:@-]+",
    re.IGNORECASE,
)
"""An id of whatever does not exist."""
_OF_MODEL: Final = (
    r"(?<!\bmodel )(?<!\bmodels )(?:not found|not exist|n't exist) (?:for|in|on|with|by|at) (?:the )?(?:model )?"
    r"['\"`]?(?:[\w.-]+/)*"
)
"""What stands before the id of a model whose voice, file or adapter does not exist."""

_MARKUP: Final = re.compile(r"\A\s*<[a-z!?/]|<(?:!doctype|html|head|body|title)\b", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{0,400})", re.IGNORECASE)
_APART: Final = re.compile(r"([a-z])(?=[A-Z])|[_.-]")
_VAGUE: Final = re.compile(
    r"(provider returned( an)? error|(upstream|provider|unknown|internal)( server)? error|error|bad request"
    r"|upstream request failed)?[.: ]*",
    re.IGNORECASE,
)


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    # Compiled on first use: compiling all patterns would slow down every import, and they exceed the cache of `re`.
    return re.compile(pattern, re.IGNORECASE)


def _says(pattern: str, text: str) -> bool:
    return _pattern(pattern).search(text) is not None


def _first(signs: Iterable[Sign], text: str) -> Sign | None:
    """The first row whose pattern matches in the text, or None."""
    return next((sign for sign in signs if _says(sign.pattern, text)), None) if text else None


def from_response(status: int, headers: Mapping[str, str], body: bytes, *, now: float, model: str = "") -> Failure:
    """The `Failure` of an HTTP response with an error status. Never raises, whatever the body is.

    `headers` have lower-case names. `now` is the wall clock in epoch seconds. `model` is the id of the called model.
    """
    if 300 <= status < 400:
        return Failure(_K.INVALID_REQUEST, _redirected(headers.get("location", "")), status=status, code=REDIRECT)
    return from_error(decode(body), status=status, headers=headers, now=now, model=model)


def _redirected(location: str) -> str:
    """The message for a redirect, with the target URL without user info, query and fragment, which may be secret.

    A redirect is never followed, because the API key would be sent to the new host.
    """
    try:
        url = urlsplit(location[:MAX_READ])
        place = unquote(url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl())
    except ValueError:
        place = ""
    return _clean(f"redirected to {place or 'nowhere: it has no Location'}")


def from_error(
    error: object,
    *,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    now: float,
    model: str = "",
) -> Failure:
    """The `Failure` of an error from a body, a choice or an SSE chunk.

    `status` is the status of the HTTP response, `now` the wall clock in epoch seconds, `model` the id of the called
    model. Never raises, whatever the error is.
    """
    said = report(error)
    headers = headers or {}
    metadata, availability = said.metadata, said.availability
    status = error_status(status) or status_of(said)
    provider = _name(metadata.get("provider_name"))

    prompt = metadata.get("flagged_input")
    prompt = _line(prompt) if isinstance(prompt, str) else ""
    message = _clean(said.words, prompt)
    raw = _raw_words(metadata.get("raw"), said, prompt)
    spoken = _spoken(said)
    base, listed = _kind(said, metadata, availability, status, spoken, headers)
    refined = None if listed else _first(REFINEMENTS.get(base, ()), spoken)
    kind = refined.kind if refined is not None else base
    if kind is _K.CREDITS and base is not kind and provider:
        kind = base  # the upstream's account has no credits, not the caller's account
    if provider and (base in REFUSALS or kind in REFUSALS) and kind not in STANDS:
        kind = _K.REJECTED
    retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    if retry and kind in NOT_FINAL:
        kind = _K.UNAVAILABLE

    names = (
        availability.get("code"),
        metadata.get("error_type"),
        *(layer.get("error_type") for layer in said.everything),
    )
    failure = Failure(
        kind,
        _message(message, "" if kind in SILENT else raw, status, kind),
        status=status,
        retry_after=retry_after(
            headers,
            said.everything,
            (said.words, said.upstream_words),
            limited=status == 429 or kind is _K.RATE_LIMITED,
            passing=kind in RETRYABLE,
            now=now,
        ),
        provider=provider,
        code=next(
            (name for value in (*names, said.fields.get("code")) if (name := _name(value)) and not name.isdigit()),
            None,
        ),
        parameter=_parameter(said),
        retry=retry,
    )
    return _meant(failure, spoken, listed=listed, refined=refined, model=model, page=_is_page(said))


def _meant(failure: Failure, spoken: str, *, listed: bool, refined: Sign | None, model: str, page: bool) -> Failure:
    """The failure with `scope`, `affordable_tokens`, `harmless` and `code`, as far as the message reveals them."""
    match failure.kind:
        case _K.CREDITS:
            afford = _pattern(AFFORDABLE).search(spoken)
            tokens = int((afford[1] or afford[2]).replace(",", "")) if afford else None
            scope: Literal["account", "free"] | None = None
            if tokens is None and _says(ACCOUNT_EMPTY, spoken):
                scope = "account"
            return replace(failure, affordable_tokens=tokens, scope=scope)
        case _K.RATE_LIMITED if failure.provider is None and _says(FREE_MODELS, spoken):
            return replace(failure, scope="free")
        case _K.NOT_FOUND if not listed:
            says_so = refined is not None and refined in BAD_IDS and (not model or not _NAMED.search(spoken))
            about_model = (says_so or _names_model(spoken, model)) and not page
            return replace(failure, harmless=not about_model)
        case _K.REJECTED if failure.code is None and refined is not None and refined.pattern in MAX_TOKENS:
            return replace(failure, code="max_tokens_exceeded")
    return failure


def _names_model(spoken: str, model: str) -> bool:
    """Whether the message contains the model's id, with or without the author, as what does not exist.

    "gpt-5-mini not found" is not about gpt-5, and "voice x not found for model gpt-5" is about a voice.
    """
    said, own = spoken.lower(), model.lower()
    tail = own.rpartition("/")[2]
    for one in filter(None, {own, tail, tail.partition(":")[0]}):
        whole = rf"(?<![\w.:-]){re.escape(one)}(?:-\d{{4}}-?\d\d-?\d\d)?(?![\w:-]|[./]\w)"
        sure = whole if len(one) >= _MIN_ID else rf"(?<=['\"`])(?:{whole})(?=['\"`])"
        if re.search(sure, said) and not re.search(rf"{_OF_MODEL}{whole}", said):
            return True
    return False


def _is_page(said: Report) -> bool:
    """Whether the response is not from an API: a web page of a proxy, or an empty body."""
    return not said.layers and (not said.words or _MARKUP.search(said.words[:MAX_READ]) is not None)


def from_event(event: bytes, *, now: float) -> Failure:
    """The `Failure` of a stream event that is not a chunk: the error that the event contains, else a broken event."""
    broken = from_transport(TransportFault.NOT_JSON, "an event of the stream is not what it should be")
    payload = decode(event)
    if isinstance(payload, str) and (event.lstrip()[:1] in (b"{", b"[") or len(event) > _MAX_MESSAGE):
        return broken
    if find_error(payload) is None or (isinstance(payload, str) and _first(MESSAGES, _line(payload)) is None):
        return broken
    return from_error(payload, now=now)


def refused_parameter(failure: Failure, without: Iterable[str] = ()) -> str | None:
    """The parameter of `OPTIONAL_PARAMETERS` that the endpoint refuses, or None.

    `without` are parameters that the request did not contain; they are never returned.
    """
    if failure.kind not in _REFUSING or failure.status not in (None, 400, 404, 415, 422, 500, 501):
        return None
    named = (failure.parameter or "").replace("[", ".").split(".", 1)[0]
    gone = set(without)
    for name in (*OPTIONAL_PARAMETERS, *_SAME_PARAMETER):
        own = _SAME_PARAMETER.get(name, name)
        if own in gone:
            continue
        if named == name:
            return own
        quoted = rf"['\"`]{name}['\"`]|\b{name}:" if name == "usage" else rf"\b{name}\b"
        if _says(quoted, failure.message) and _says(_REFUSED, failure.message):
            return own
    return None


def from_transport(fault: TransportFault, detail: str) -> Failure:
    """The `Failure` of a transport fault: a broken connection, or a body that cannot be read."""
    kind, words = TRANSPORT[fault]
    detail = _clean(detail)
    return Failure(kind, _bounded(f"{words}: {detail}" if detail not in ("", words) else words), code=fault.value)


def timed_out(what: str, seconds: float) -> Failure:
    """The `Failure` of a passed deadline: `what` is "first token", "stall" or "attempt", `seconds` its length."""
    return Failure(_K.TIMED_OUT, _bounded(f"{what} deadline of {seconds:g} s passed"))


def dripped(characters: int, seconds: float) -> Failure:
    """The `Failure` of a stream that has brought so few `characters` in `seconds` that it will not end in time."""
    return Failure(_K.TIMED_OUT, _bounded(f"the stream dripped: {characters} characters in {seconds:.1f} s"))


def parse_retry_after(
    headers: Mapping[str, str], error: Mapping[str, object] | None = None, *, limited: bool, now: float
) -> float | None:
    """The seconds to wait, from the headers or the error's fields; None if neither has a readable time."""
    return retry_after(headers, (error or {},), (), limited=limited, passing=False, now=now)


# The kind


def _kind(
    said: Report,
    metadata: Mapping[str, object],
    availability: Mapping[str, object],
    status: int | None,
    spoken: str,
    headers: Mapping[str, str],
) -> tuple[FailureKind, bool]:
    """The kind from the first source that has one, and whether the source is a code that the message cannot refine."""
    by_status = _by_status(status)
    known = _lookup(AVAILABILITY, availability.get("code"))
    if known:
        return known, True
    if availability.get("retryable") is True:
        return (by_status if by_status in RETRYABLE and by_status is not None else _K.OVERLOADED), False
    if availability.get("retryable") is False:
        return _K.NOT_FOUND, True

    if status in (None, 400, 403):
        if metadata.get("reasons") or metadata.get("flagged_input"):
            return _K.MODERATION, False
        if metadata.get("patterns"):
            return _K.GUARDRAIL, False

    own = tuple(reversed(said.layers))
    for value in (metadata.get("error_type"), *(layer.get(name) for layer in own for name in ("error_type", "code"))):
        if isinstance(value, str) and value.startswith(IMAGE_TYPES):
            return _K.UNSUPPORTED, False
        if kind := _lookup(ERROR_TYPES, value):
            return kind, False
    names = [*codes(own), _amazons(headers)]
    if kind := _named(FOREIGN_CODES, names):
        return kind, kind is _K.NOT_FOUND
    if kind := next((found for place, name in numbers(said) if (found := NUMBERS[place].get(name))), None):
        return kind, kind is _K.NOT_FOUND
    if by_status is None or by_status in REFUSALS or by_status is _K.UNAVAILABLE:
        upstreams = list(codes(said.upstream))
        found = _named(FOREIGN_CODES, upstreams) or _named(ERROR_TYPES, upstreams) or _named(FOREIGN_TYPES, upstreams)
        if found in UPSTREAMS and found is not None:
            return found, False
    if by_status is not None:
        return by_status, False
    if kind := _named(FOREIGN_TYPES, names):
        return kind, False
    sign = _first(MESSAGES, spoken) or _first(MESSAGES, " ".join(_APART.sub(r"\1 ", name) for name in _names(own)))
    return (sign.kind if sign is not None else _K.UNAVAILABLE), False


def _names(layers: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """The codes of an error that are in no table."""
    for layer in layers:
        for name in ("code", "type", "error_code", "errorCode"):
            if isinstance(value := layer.get(name), str):
                yield value[:_MAX_NAME]


def _by_status(status: int | None) -> FailureKind | None:
    if status is None:
        return None
    return STATUSES.get(status) or (_K.UNAVAILABLE if status >= 500 else _K.INVALID_REQUEST)


def _lookup(table: Mapping[str, FailureKind], name: object) -> FailureKind | None:
    return table.get(name.strip().lower()) if isinstance(name, str) else None


def _named(table: Mapping[str, FailureKind], names: Iterable[str]) -> FailureKind | None:
    return next((kind for name in names if (kind := table.get(name))), None)


def _amazons(headers: Mapping[str, str]) -> str:
    return headers.get("x-amzn-errortype", "").partition(":")[0].strip().lower()


# The words


def _spoken(said: Report) -> str:
    """The text that the patterns search: the error's own message and the upstream's message."""
    own, upstream = said.words[: MAX_READ * 4], said.upstream_words[:MAX_READ]
    if _MARKUP.search(own[:MAX_READ]):
        own = _clean(own)
    return f"{_line(own)[:_MAX_SPOKEN]} {_line(upstream)[:_MAX_SPOKEN]}".strip()


def _parameter(said: Report) -> str | None:
    name = parameter_of(said)
    return _clean(name)[:_MAX_NAME] or None if name else None


def _line(text: str) -> str:
    """The text as one line of bounded length, without control characters."""
    text = text[:MAX_READ]
    return " ".join((text if text.isprintable() else visible(text)).split())


def _clean(text: str, prompt: str = "") -> str:
    """The text as a line of at most 300 characters, without markup, API keys and the prompt."""
    if _MARKUP.search(text[:MAX_READ]):
        from html import unescape

        title = _TITLE.search(text[: MAX_READ * 4])
        words = unescape(title[1]).translate({60: None, 62: None}) if title else ""
        text = words if words.strip() else "an HTML page"
    text = _line(text)
    if len(prompt) >= _MIN_PROMPT:
        text = text.replace(prompt, "***")
    return _bounded(without_keys(text) if text else "")


def _bounded(text: str) -> str:
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1].rstrip() + "…"


def _name(value: object) -> str | None:
    return _clean(value)[:_MAX_NAME].strip() or None if isinstance(value, str) else None


def _raw_words(raw: object, said: Report, prompt: str) -> str:
    """The upstream's own message, if the raw text is short or contains a message; never JSON."""
    words = said.upstream_words if raw else ""
    if words.lstrip()[:1] in ("{", "["):
        return ""
    return _clean(words, prompt) if len(words) <= _MAX_RAW or _MARKUP.search(words[:MAX_READ]) else ""


def _message(message: str, raw: str, status: int | None, kind: FailureKind) -> str:
    """The message of the failure: one of the two cleaned texts, or both, else the phrase of the status."""
    if raw and raw not in message and _VAGUE.fullmatch(message):
        message = f"{message.rstrip('.: ')}: {raw}" if message else raw
    return _bounded(message or _phrase(status) or kind.value.replace("_", " "))


def _phrase(status: int | None) -> str:
    if status is None:
        return ""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
