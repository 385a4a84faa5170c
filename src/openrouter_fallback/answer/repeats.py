"""Reads together the chunks of a stream that differ only in their text, as most of an answer's do.

Decoding each chunk costs four times as much as this. Callers that get every chunk need each of them decoded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import orjson

from ..results import Json
from .bounds import DEEP_FROM

_BETWEEN: Final = b'",\n"'
"""Stands between two texts. No JSON string holds a line break, so that no text can run into the next one."""


def texts_like(chunk: Json, payload: bytes, following: Iterable[bytes]) -> list[str]:
    """The texts of the first of the `following` payloads that differ from `payload` only in the text of its `chunk`.

    Empty if there are none, or if one of them is not what it seems: then each has to be decoded.
    """
    text = chunk["choices"][0]["delta"]["content"]
    before, found, after = payload.partition(b'"content":' + orjson.dumps(text))
    if not found:
        return []
    head, tail = before + b'"content":"', b'"' + after
    start, end = len(head), len(tail)
    written: list[bytes] = []
    for one in following:
        if not start + end < len(one) <= DEEP_FROM or not one.startswith(head) or not one.endswith(tail):
            break
        written.append(one[start:-end])
    if not written:
        return []
    try:
        if not _holds_the_text(head, tail, chunk, text):
            return []
        texts = orjson.loads(b'["' + _BETWEEN.join(written) + b'"]')
        "".join(texts)  # a TypeError if one is not a string
    except (orjson.JSONDecodeError, AttributeError, IndexError, KeyError, TypeError):
        return []
    return texts if len(texts) == len(written) else []


def _holds_the_text(head: bytes, tail: bytes, chunk: Json, text: str) -> bool:
    """Whether the text of the chunk is what stands between `head` and `tail`, and not the same bytes elsewhere."""
    other = orjson.loads(head + b"?" + tail)
    delta = other["choices"][0]["delta"]
    if delta["content"] != "?":
        return False
    delta["content"] = text
    return bool(other == chunk)
