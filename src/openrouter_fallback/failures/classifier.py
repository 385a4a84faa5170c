"""Reading an error: status, headers, body or event become one `Failure`, by the tables in `failures.py`.

What an error says is read in this order: `availability`, the moderation and guardrail metadata, `error_type`, the
status, the message; then the message may refine the kind, and `metadata.provider_name` turns a refusal into `rejected`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC
from http import HTTPStatus
from typing import Final

import orjson

from ..redaction import visible, without_keys
from .kinds import (
    AVAILABILITY,
    ERROR_TYPES,
    FOREIGN_CODES,
    FOREIGN_TYPES,
    IMAGE_TYPES,
    MESSAGES,
    REFINEMENTS,
    REFUSALS,
    RETRYABLE,
    SILENT,
    STANDS,
    STATUSES,
    TRANSPORT,
    Failure,
    FailureKind,
    TransportFault,
)

_K = FailureKind

_MAX_MESSAGE: Final = 300
_MAX_NAME: Final = 80
_MAX_READ: Final = 4_000  # characters of any one text that are looked at
_MAX_RAW: Final = 600  # a longer raw text is not a message
_MIN_PROMPT: Final = 4
_MAX_BODY: Final = 1 << 20
_MAX_DEPTH: Final = 5

_MARKUP: Final = re.compile(r"\A\s*<|<(?:!doctype|html|head|body|title)\b", re.IGNORECASE)
_TITLE: Final = re.compile(r"<title[^>]{0,200}>([^<]{0,400})", re.IGNORECASE)
_VAGUE: Final = re.compile(
    r"(provider returned( an)? error|(upstream|provider|unknown|internal)( server)? error|error|bad request"
    r"|upstream request failed)?[.: ]*",
    re.IGNORECASE,
)
_TEXT_KEYS: Final = ("message", "detail", "msg", "error_message", "error", "title", "description")


def _says(pattern: str, text: str) -> bool:
    # Compiled by `re` when first asked: all of them would be a part of each import.
    return re.search(pattern, text, re.IGNORECASE) is not None


def from_response(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Failure:
    """Read an HTTP answer that is an error.

    `headers` have lower-case names, `now` is the wall clock in epoch seconds. The body may be anything.
    """
    return from_error(_decode(body), status=status, headers=headers, now=now)


def from_error(
    error: object, *, status: int | None = None, headers: Mapping[str, str] | None = None, now: float
) -> Failure:
    """Read an `error` as it turns up in a body, a choice or an SSE chunk; `status` is that of the HTTP answer."""
    fields, words = _unwrap(error)
    metadata = _mapping(fields.get("metadata"))
    availability = _mapping(fields.get("availability")) or _mapping(metadata.get("availability"))
    status = _error_status(status) or next(
        (found for name in ("code", "http_status", "status") if (found := _error_status(fields.get(name)))), None
    )
    provider = _name(metadata.get("provider_name"))

    prompt = metadata.get("flagged_input")
    prompt = _line(prompt) if isinstance(prompt, str) else ""
    message = _clean(words, prompt)
    raw = _raw_words(metadata.get("raw"), prompt)
    spoken = f"{message} {raw}".strip()
    base = _kind(fields, metadata, availability, status, spoken)
    kind = next((to for to, pattern in REFINEMENTS.get(base, ()) if _says(pattern, spoken)), base)
    if provider and (base in REFUSALS or kind in REFUSALS) and kind not in STANDS:
        kind = _K.REJECTED

    names = (availability.get("code"), metadata.get("error_type"), fields.get("error_type"), fields.get("code"))
    return Failure(
        kind,
        _message(message, "" if kind in SILENT else raw, status, kind),
        status=status,
        retry_after=parse_retry_after(headers or {}, fields, limited=status == 429 or kind is _K.RATE_LIMITED, now=now),
        provider=provider,
        code=next((name for value in names if (name := _name(value)) and not name.isdigit()), None),
    )


def find_error(payload: Mapping[str, object]) -> object | None:
    """Return the error that a decoded body or SSE chunk carries, at the top or in a choice, else None."""
    error = payload.get("error")
    if error is not None:
        return error
    choices = payload.get("choices")
    if isinstance(choices, list):
        for choice in choices:
            if isinstance(choice, dict):
                own: object = choice.get("error")
                if own is not None:
                    return own
                if choice.get("finish_reason") == "error":
                    return {"message": "the answer ended in an error (finish_reason: error)"}
    return None


def from_transport(fault: TransportFault, detail: str) -> Failure:
    """Name what went wrong below or instead of a readable answer."""
    kind, words = TRANSPORT[fault]
    detail = _clean(detail)
    return Failure(kind, _clean(f"{words}: {detail}" if detail not in ("", words) else words), code=fault.value)


def timed_out(what: str, seconds: float) -> Failure:
    """One of our own deadlines passed: `what` is "first token", "stall" or "attempt"."""
    return Failure(_K.TIMED_OUT, _clean(f"{what} deadline of {seconds:g} s passed"))


def parse_retry_after(
    headers: Mapping[str, str], error: Mapping[str, object] | None = None, *, limited: bool, now: float
) -> float | None:
    """Seconds to wait as the server says them, finite and >= 0; None where nothing readable says so.

    Read in this order: `Retry-After` (seconds or HTTP date, RFC 9110 10.2.3), `availability.retry_after`,
    `metadata.retry_after_seconds`, and, where the failure is a rate limit, `X-RateLimit-Reset` (epoch milliseconds).
    OpenRouter repeats headers in `metadata.headers`.
    """
    error = error or {}
    metadata = _mapping(error.get("metadata"))
    availability = _mapping(error.get("availability")) or _mapping(metadata.get("availability"))
    repeated = {str(name).lower(): value for name, value in _mapping(metadata.get("headers")).items()}
    waits = (
        headers.get("retry-after"),
        availability.get("retry_after"),
        metadata.get("retry_after_seconds_raw"),
        metadata.get("retry_after_seconds"),
        repeated.get("retry-after"),
    )
    for value in waits:
        if (seconds := _seconds(value, now)) is not None:
            return seconds
    if limited:
        for value in (headers.get("x-ratelimit-reset"), repeated.get("x-ratelimit-reset")):
            reset = _number(value)
            if reset is not None and reset >= 1e11:  # less is no epoch in milliseconds
                return max(0.0, reset / 1000 - now)
    return None


def _kind(
    fields: Mapping[str, object],
    metadata: Mapping[str, object],
    availability: Mapping[str, object],
    status: int | None,
    spoken: str,
) -> FailureKind:
    """The kind as the first of the sources names it that says anything."""
    by_status = _by_status(status)
    listed = _lookup(AVAILABILITY, availability.get("code"))
    if listed:
        return listed
    if availability.get("retryable") is True:
        return by_status if by_status in RETRYABLE else _K.OVERLOADED
    if availability.get("retryable") is False:
        return _K.NOT_FOUND

    if status in (None, 400, 403):
        if metadata.get("reasons") or metadata.get("flagged_input"):
            return _K.MODERATION
        if metadata.get("patterns"):
            return _K.GUARDRAIL

    for value in (metadata.get("error_type"), fields.get("error_type"), fields.get("code")):
        if isinstance(value, str) and value.startswith(IMAGE_TYPES):
            return _K.UNSUPPORTED
        if kind := _lookup(ERROR_TYPES, value):
            return kind
    foreign = (fields.get("code"), fields.get("type"))
    return (
        next((kind for value in foreign if (kind := _lookup(FOREIGN_CODES, value))), None)
        or by_status
        or next((kind for value in foreign if (kind := _lookup(FOREIGN_TYPES, value))), None)
        or next((kind for kind, pattern in MESSAGES if _says(pattern, spoken)), None)
        or _K.UNAVAILABLE
    )


def _by_status(status: int | None) -> FailureKind | None:
    if status is None:
        return None
    return STATUSES.get(status) or (_K.UNAVAILABLE if status >= 500 else _K.INVALID_REQUEST)


def _lookup(table: Mapping[str, FailureKind], name: object) -> FailureKind | None:
    return table.get(name.strip().lower()) if isinstance(name, str) else None


def _error_status(value: object) -> int | None:
    """A status that means an error, also from "429" or 429.0; None for anything else."""
    number = _number(value)
    return int(number) if number is not None and 300 <= number < 600 else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _seconds(value: object, now: float) -> float | None:
    number = _number(value.split(",", 1)[0] if isinstance(value, str) else value)
    if number is not None:
        return max(0.0, number)
    if not isinstance(value, str):
        return None
    from email.utils import parsedate_to_datetime  # Seldom needed, and a tenth of what importing the core takes.

    try:
        date = parsedate_to_datetime(value[:100])
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return max(0.0, wait)


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _decode(body: bytes) -> object:
    """The body as JSON, also out of a single SSE event; else as text, but never as broken JSON."""
    text = body[:_MAX_BODY].removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith(b"data:"):
        text = text.removeprefix(b"data:").split(b"\n", 1)[0].strip()
    try:
        return orjson.loads(text if text.isascii() else text.decode("utf-8", "replace"))
    except orjson.JSONDecodeError:
        if text[:1] in (b"{", b"["):
            return f"an unreadable body of {len(body)} bytes"
        return text[: _MAX_READ * 4].decode("utf-8", "replace")


def _unwrap(error: object) -> tuple[Mapping[str, object], str]:
    """The innermost object that describes the error, and its words."""
    fields: Mapping[str, object] = {}
    for _ in range(_MAX_DEPTH):
        if isinstance(error, list):
            error = next((item for item in error if isinstance(item, dict | str)), None)
        if isinstance(error, str):
            error = _json_in(error)
        if not isinstance(error, dict):
            break
        fields = error
        inner = error.get("error")
        if inner is None or (not isinstance(inner, dict | list) and isinstance(error.get("message"), str)):
            break
        error = inner
    return fields, error if isinstance(error, str) else _text(fields)


def _json_in(text: str) -> object:
    """The object or list that a text is, or the text."""
    if text[:200].lstrip()[:1] in ("{", "[") and len(text) <= _MAX_BODY:
        try:
            return orjson.loads(text.encode("utf-8", "replace"))
        except orjson.JSONDecodeError:
            return text
    return text


def _text(value: object, depth: int = 0) -> str:
    """The first words in a value that are meant for people; never `input` or the like."""
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, str):
        inner = _json_in(value)
        return value if isinstance(inner, str) else _text(inner, depth + 1)
    if isinstance(value, list):
        return next((text for item in value[:3] if (text := _text(item, depth + 1))), "")
    if isinstance(value, dict):
        return next((text for key in _TEXT_KEYS if (text := _text(value.get(key), depth + 1))), "")
    return ""


def _line(text: str) -> str:
    """One bounded line without control characters."""
    return " ".join(visible(text[:_MAX_READ]).split())


def _clean(text: str, prompt: str = "") -> str:
    """A line of at most 300 characters, without markup, keys or the prompt."""
    if _MARKUP.search(text[:_MAX_READ]):
        from html import unescape

        title = _TITLE.search(text[: _MAX_READ * 4])
        words = unescape(title[1]).translate({60: None, 62: None}) if title else ""
        text = words if words.strip() else "an HTML page"
    text = _line(text)
    if len(prompt) >= _MIN_PROMPT:
        text = text.replace(prompt, "***")
    text = without_keys(text)
    return text if len(text) <= _MAX_MESSAGE else text[: _MAX_MESSAGE - 1].rstrip() + "…"


def _name(value: object) -> str | None:
    return _clean(value)[:_MAX_NAME].strip() or None if isinstance(value, str) else None


def _raw_words(raw: object, prompt: str) -> str:
    """The upstream's own words, where they are short or have a message in them; no JSON."""
    words = _text(raw)
    if words.lstrip()[:1] in ("{", "["):
        return ""
    return _clean(words, prompt) if len(words) <= _MAX_RAW or _MARKUP.search(words[:_MAX_READ]) else ""


def _message(message: str, raw: str, status: int | None, kind: FailureKind) -> str:
    if raw and raw not in message and _VAGUE.fullmatch(message):
        message = f"{message.rstrip('.: ')}: {raw}" if message else raw
    return _clean(message or _phrase(status) or kind.value.replace("_", " "))


def _phrase(status: int | None) -> str:
    if status is None:
        return ""
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
