"""Reads how long a server asks to wait, in all known forms. An unreadable or absurd value counts as missing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final

from .shapes import MAX_READ, mapping, number

LONGEST_SECONDS: Final = 32 * 86_400.0
"""The longest wait that is accepted: known quotas last at most a month."""

_EPOCH_MILLISECONDS: Final = 1e11
_EPOCH_SECONDS: Final = 1e9
_UNITS: Final = {"ms": 0.001, "m": 60.0, "h": 3600.0, "d": 86_400.0, "s": 1.0, "": 1.0}
_UNIT: Final = r"ms|milliseconds?|days?|d|hours?|hrs?|h|minutes?|mins?|m|seconds?|secs?|s"
_PART: Final = rf"(\d{{1,12}}(?:\.\d{{1,9}})?)\s{{0,2}}({_UNIT})?(?![a-z])"
_DURATION: Final = re.compile(
    rf"\s*(?:P(?:\d{{1,9}}D)?T?)?(?:(\d{{1,12}}(?:\.\d{{1,9}})?)\s?({_UNIT})[\s,]?)+\s*", re.IGNORECASE
)  # 1m30s, 20 seconds, and ISO 8601's PT1M30S
_PARTS: Final = re.compile(rf"(\d{{1,12}}(?:\.\d{{1,9}})?)\s?({_UNIT})", re.IGNORECASE)
_CLOCK: Final = re.compile(r"(\d{1,3}):([0-5]\d)(?::([0-5]\d)(?:\.\d{1,9})?)?(?![\d:])")
"""Hours, minutes and seconds, or minutes and seconds."""
_SAID: Final = re.compile(
    r"\b(?:(?:re)?try(?:ing)?(?: (?:your|the) requests?| again| later| it)?|wait(?:ing)?|available(?: again)?|allowed"
    r"|resets?|back|cool-?down|next request|retry_?delay)(?:[ _-]after| in| for| at least| about| again in)*[\"']?"
    r"(?::\s{0,3}|=|\s{1,3})[\"']?(?:\{\s{0,3}seconds:\s{0,3})?"
    rf"(\d{{1,3}}(?::[0-5]\d){{1,2}}|(?:{_PART}[\s,]{{0,2}}(?:and )?){{1,4}})",
    re.IGNORECASE,
)
_SAID_AT: Final = re.compile(
    r"\b(?:again|retry|resets?|available|until|back)(?: (?:at|on|after|in))?:?\s{1,3}"
    r"((?:[A-Z][a-z]{2}, )?\d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)",
    re.IGNORECASE,
)
_SAID_IN_CHINESE: Final = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)\s?(毫秒|秒钟?|分钟?|小时|s)\s?(?:之?后|内)?")
_CHINESE: Final = {"毫": 0.001, "秒": 1.0, "s": 1.0, "分": 60.0, "小": 3600.0}
_STRUCTURED: Final = re.compile(r"(?:\breset=|;\s?t=)(\d{1,9})", re.IGNORECASE)  # drafts of RateLimit, RFC 9651
_WORDED: Final = re.compile(_PART, re.IGNORECASE)
_MOMENTS: Final = (
    "resets_at",
    "reset_at",
    "resetAt",
    "reset_time",
    "resetTime",
    "retry_at",
    "quotaResetTimeStamp",
    "next_retry_at",
    "reset",
)
"""Fields with a point in time: a date, epoch seconds or epoch milliseconds."""
# Fields of a body with a duration, and how many of the field's units are one second.
_FIELDS: Final[Mapping[str, float]] = {
    "retry_after": 1.0,
    "retry-after": 1.0,
    "retryAfter": 1.0,
    "retry_after_seconds_raw": 1.0,
    "retry_after_seconds": 1.0,
    "retryAfterSeconds": 1.0,
    "retryAfterSec": 1.0,
    "retry_after_secs": 1.0,
    "retry_after_s": 1.0,
    "retry_in": 1.0,
    "wait": 1.0,
    "quotaResetDelay": 1.0,
    "retryDelay": 1.0,
    "retry_delay": 1.0,
    "retry_after_ms": 0.001,
    "retryAfterMs": 0.001,
    "cooldown_seconds": 1.0,
    "wait_seconds": 1.0,
    "reset_after": 1.0,
    "resets_in_seconds": 1.0,
    "resets_in": 1.0,
    "estimated_time": 1.0,
}


def retry_after(
    headers: Mapping[str, str],
    fields: Iterable[Mapping[str, object]],
    words: Iterable[str],
    *,
    limited: bool,
    passing: bool,
    now: float,
) -> float | None:
    """The seconds to wait, finite and >= 0; None if there is no readable value.

    The first readable source decides:

    1. the headers `retry-after-ms` and `Retry-After` (seconds or an HTTP date, RFC 9110 section 10.2.3);
    2. fields of the body, among them Google's `RetryInfo`;
    3. the same headers as OpenRouter repeats them in `metadata.headers`;
    4. if the failure is a rate limit (`limited`): the reset headers;
    5. if the failure is temporary (`passing`): the message.

    `now` is the wall clock in epoch seconds.
    """
    for given in (headers, *_repeated(fields)):
        found = _header(given, now)
        if found is None and given is headers:
            found = next((wait for one in fields if (wait := _field(one, now)) is not None), None)
        if found is not None:
            return found
    if limited:
        for given in (headers, *_repeated(fields)):
            if (found := _reset(given, now)) is not None:
                return found
    if passing:
        return next((wait for text in words if (wait := _said(text, now)) is not None), None)
    return None


def seconds(value: object, now: float, unit: float = 1.0) -> float | None:
    """The seconds that a value means: a number, a duration like "1m30s", or a date; None for any other value.

    A number as large as a date is a date: epoch seconds or milliseconds.
    """
    if isinstance(value, str):
        value = value.strip().strip("\"'")
    found = number(value.split(",", 1)[0] if isinstance(value, str) else value)
    if found is not None:
        return _bounded(found * unit) if found < _EPOCH_SECONDS else _moment(found, now)
    if isinstance(value, dict):  # google.protobuf.Duration
        parts = (number(value.get("seconds", 0)), number(value.get("nanos", 0)))
        return (
            None if None in parts or "seconds" not in value else _bounded((parts[0] or 0.0) + (parts[1] or 0.0) / 1e9)
        )
    if not isinstance(value, str):
        return None
    text = value[:100]
    if _DURATION.fullmatch(text):
        return _bounded(_sum(_PARTS.findall(text)))
    if match := _CLOCK.fullmatch(text):
        return _bounded(_on_a_clock(match))
    return _date(text, now)


def _repeated(fields: Iterable[Mapping[str, object]]) -> list[Mapping[str, str]]:
    """The HTTP headers that an error repeats in its body."""
    found: list[Mapping[str, str]] = []
    for one in fields:
        for source in (mapping(one.get("metadata")), one):
            headers = list(mapping(source.get("headers")).items())[:64]
            found += [{str(name).lower(): _plain(value) for name, value in headers}] if headers else []
    return found


def _plain(value: object) -> str:
    if isinstance(value, list) and value:
        value = value[0]
    return str(value)[:100] if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _header(headers: Mapping[str, str], now: float) -> float | None:
    found = seconds(headers.get("retry-after-ms"), now, 0.001) if "retry-after-ms" in headers else None
    if found is None and "x-ms-retry-after-ms" in headers:
        found = seconds(headers["x-ms-retry-after-ms"], now, 0.001)
    return seconds(headers.get("retry-after", headers.get("x-retry-after")), now) if found is None else found


def _field(fields: Mapping[str, object], now: float) -> float | None:
    details = fields.get("details")
    places = [
        mapping(fields.get("availability")),
        mapping(fields.get("metadata")),
        mapping(mapping(fields.get("metadata")).get("availability")),
        fields,
        *(mapping(detail) for detail in (details[:8] if isinstance(details, list) else (details,))),
        *(mapping(detail.get("metadata")) for detail in map(mapping, details[:8] if isinstance(details, list) else ())),
        *(mapping(fields.get(name)) for name in ("parameters", "data", "rate_limit")),
    ]
    for place in places:
        for name, unit in _FIELDS.items():
            if name in place and (found := seconds(place[name], now, unit)) is not None:
                return found
        for name in _MOMENTS:
            if name in place and (found := _moment(place[name], now)) is not None:
                return found
    return None


def _reset(headers: Mapping[str, str], now: float) -> float | None:
    """The seconds until a limit resets: the latest reset of the exhausted limits, else the earliest reset."""
    used_up: list[float] = []
    others: list[float] = []
    for name, value in headers.items():
        if name == "ratelimit" and (structured := _STRUCTURED.search(value[:200])):
            others.append(float(structured[1]))
        if "ratelimit" not in name.replace("-limit", "limit") or "reset" not in name:
            continue
        wait = _moment(value, now)
        if wait is not None and name.endswith("-ms") and (number(value) or 0.0) < _EPOCH_SECONDS:
            wait /= 1000
        if wait is not None:
            left = number(headers.get(name.replace("reset", "remaining")))
            (used_up if left is not None and left <= 0 else others).append(wait)
    return max(used_up) if used_up else min(others, default=None)


def _moment(value: object, now: float) -> float | None:
    """The seconds until a moment: epoch milliseconds, epoch seconds, seconds, a duration or a date."""
    found = number(value)
    if found is None:
        return seconds(value, now)
    if found >= _EPOCH_MILLISECONDS:
        return _bounded(found / 1000 - now)
    return _bounded(found - now if found >= _EPOCH_SECONDS else found)


def _said(text: str, now: float) -> float | None:
    """The wait in a message like "try again in 1m30s", "retry after 20 seconds", "resets at 2026-08-06T07:07Z"."""
    text = text[:MAX_READ]
    if match := _SAID_AT.search(text):
        return _date(match[1], now)
    if match := _SAID.search(text):
        if clock := _CLOCK.match(match[1]):
            return _bounded(_on_a_clock(clock))
        return _bounded(_sum(_WORDED.findall(match[1])))
    if "重试" in text and (match := _SAID_IN_CHINESE.search(text)):
        return _bounded(float(match[1]) * _CHINESE[match[2][0]])
    return None


def _sum(parts: Iterable[tuple[str, str]]) -> float:
    return sum(float(count) * _unit(unit.lower()) for count, unit in parts)


def _on_a_clock(match: re.Match[str]) -> float:
    parts = [float(part) for part in match.groups() if part is not None]
    return parts[0] * 60 + parts[1] if len(parts) == 2 else parts[0] * 3600 + parts[1] * 60 + parts[2]


def _unit(unit: str) -> float:
    return _UNITS["ms" if unit.startswith(("ms", "milli")) else unit[:1]]


def _date(text: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime  # Rarely needed; costs a tenth of the core's import time.

    try:
        date = (
            datetime.fromisoformat(text.strip()) if text[:4].isdigit() and "-" in text else parsedate_to_datetime(text)
        )
        return _bounded((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _bounded(wait: float) -> float | None:
    return max(0.0, wait) if wait <= LONGEST_SECONDS else None
