"""Encodes and decodes the entries of the shared store. Every value read is checked."""

from __future__ import annotations

import hashlib
import hmac
import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import orjson

from .protocol import HealthEvent, ReceivedEvent, What

LONGEST_SECONDS = 7 * 86_400.0
MOST_COUNTED = 10**9
MOST_SCOPE_CHARACTERS = 512
_MOST_BYTES = 256 * 1024
MOST_NANO_DOLLARS = 10**15
"""The most that one process can have spent in a day: a million USD."""
_SUM_BYTES = 64
_WHATS = frozenset(get_args(What))


class BadValue(ValueError):
    """A value in the store that this library cannot have written."""


def news_json(news: Iterable[HealthEvent], by: str) -> bytes:
    """Encode one entry of the stream: the events of the process `by`."""
    told = [[one.what, one.scope, one.left, one.ago, one.trips, one.why] for one in news]
    return orjson.dumps({"by": by, "news": told})


def heard_of(fields: Mapping[Any, Any], at: float) -> tuple[str, list[ReceivedEvent]]:
    """Decode an entry: the process that wrote the entry, and its events. Raises `BadValue`."""
    text = fields.get(b"n")
    if not isinstance(text, bytes) or len(text) > _MOST_BYTES:
        raise BadValue("an entry of the stream holds no news")
    try:
        entry = orjson.loads(text)
        by, told = str(entry["by"]), entry["news"]
        return by, [ReceivedEvent(at, _news(*one), by) for one in told]
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError) as error:
        raise BadValue("an entry of the stream is not news") from error


def _news(what: Any, scope: Any, left: Any, ago: Any, trips: Any, why: Any) -> HealthEvent:
    if what not in _WHATS or not isinstance(scope, str) or not 0 < len(scope) <= MOST_SCOPE_CHARACTERS:
        raise BadValue("unknown news")
    expected = "model|" if what in ("opened", "closed") else f"{what}|"
    if not scope.startswith(expected) or not isinstance(why, str) or type(trips) is not int:
        raise BadValue("news of another form")
    return HealthEvent(what, scope, _bounded(left), _bounded(ago), max(0, min(trips, 40)), why[:100])


def _bounded(seconds: Any) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds) or seconds < 0:
        raise BadValue("a duration that is none")
    return min(float(seconds), LONGEST_SECONDS)


def counts_of(fields: Mapping[Any, Any]) -> tuple[dict[str, tuple[int, int]], list[BadValue]]:
    """Decode successes and failures by scope. Returns also one error for each invalid field."""
    counts: dict[str, tuple[int, int]] = {}
    bad: list[BadValue] = []
    for name, value in fields.items():
        try:
            scope, count = name.decode(), int(value)
            if scope[:1] not in ("+", "-") or len(scope) > MOST_SCOPE_CHARACTERS or abs(count) > MOST_COUNTED:
                raise ValueError
        except ValueError:
            bad.append(BadValue("a count that is none"))
            continue
        good, failed = counts.get(scope[1:], (0, 0))
        counts[scope[1:]] = (good + count, failed) if scope[0] == "+" else (good, failed + count)
    return counts, bad


def sum_text(key: str, process: str, spent: int, secret: bytes) -> str:
    """Encode what a process has spent (nano-dollars). Signed for `key`, so that only sums of this account count."""
    spent = min(spent, MOST_NANO_DOLLARS)
    return f"{spent}:{_signature(key, process, spent, secret)}"


def sums_of(fields: Mapping[Any, Any], key: str, secret: bytes) -> tuple[dict[str, int], list[BadValue]]:
    """Decode what each process has spent (nano-dollars). Returns also one error for each invalid field."""
    sums: dict[str, int] = {}
    bad: list[BadValue] = []
    for name, value in fields.items():
        try:
            process, (digits, _, signature) = name.decode(), value[:_SUM_BYTES].decode().partition(":")
            spent = int(digits)
            expected = _signature(key, process, spent, secret)
            if not 0 <= spent <= MOST_NANO_DOLLARS or not hmac.compare_digest(signature.encode(), expected.encode()):
                raise ValueError
        except (AttributeError, ValueError):
            bad.append(BadValue("an unsigned or impossible sum"))
            continue
        sums[process] = spent
    return sums, bad


def _signature(key: str, process: str, spent: int, secret: bytes) -> str:
    return hmac.new(secret, f"{key}|{process}|{spent}".encode(), hashlib.sha256).hexdigest()[:32]
