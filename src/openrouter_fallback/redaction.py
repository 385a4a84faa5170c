"""Removes API keys, prompts and control characters from messages. Every failure's message passes here once.

A message is short, a prompt may be long. So the loops over a prompt run in C: its bytes are folded (white space,
quotes and backslashes removed, because endpoints change them when they quote), an 8-byte fingerprint is taken at every
16th byte, and these are looked up among the message's fingerprints. Every quote of 47 characters contains one
fingerprint. The prompt is read in slices, so that an event loop can run between two slices.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

KEY_MASK: Final = "***"
PROMPT_MASK: Final = "[prompt]"

SLICE_CHARACTERS: Final = 64 * 1024
"""Characters of the prompt that are read in one step: about 0.3 ms."""
MOST_CHARACTERS: Final = 4_000
"""A longer message is cut to this length."""
NAMES: Final = ("id", "model", "provider")
"""The fields of an answer that name the answer, the model and the provider."""
SHORTEST_QUOTE: Final = 20
"""An equal stretch of this many folded bytes counts as a quote of the prompt."""

_MARK: Final = 8  # bytes of a fingerprint: one integer of an array
_STRIDE: Final = 2  # only every second of the prompt's adjacent fingerprints is looked up
_DENSE: Final = 4_000  # a prompt of at most this many bytes has a fingerprint at each of its bytes
_WIDE: Final = 47  # an equal stretch this long is no chance; masked around a fingerprint that repeats too often
_MOST_PLACES: Final = 16  # occurrences of one fingerprint in one slice that are compared
_MOST_COMPARED: Final = 200  # places of one slice that are compared, of all fingerprints together
_MOST_COMPARED_DENSE: Final = 500  # of a short prompt, which is one slice
_STEPS: Final = (512, 64, 8, 1)  # bytes that are compared at once
_SHORTEST_TEXT: Final = 6
_SHORTEST_KEY: Final = 6
_FOLDED: Final = b" \t\n\r\v\f\"'\\"

_BORDERS: Final = re.compile(r"[\s;,=]")
_WORD: Final = re.compile(r"[^\s;,=]{12,}")

_INVISIBLE: Final = re.compile(
    r"[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ud800-\udfff]"
)
_KEY: Final = re.compile(
    r"sk-(?=[\w*.-]*\d)[\w*.-]{16,}|sk-or-v\d[\w*.-]*|(?<![A-Za-z])sk-[\w*.-]{3,}"
    r"|(?<![A-Za-z])(?:gsk_|xai-|hf_|AIza)[\w-]{12,}|\bbearer[ :=]+[\"']?[^\s\"',;]{6,}",
    re.IGNORECASE,
)


def visible(text: str) -> str:
    """`text` without control characters, directional marks and lone surrogates."""
    return _INVISIBLE.sub("", text)


def without_keys(text: str) -> str:
    """`text` without anything that looks like an API key."""
    return _KEY.sub(KEY_MASK, text)


class Secrets:
    """All secrets of a call, for the code that takes them out of messages: iterating opens them one by one.

    Of a secret that has words (`Token t-123...`, `session=t-123...; theme=x`) the long ones are secrets as well.
    """

    __slots__ = ("_values",)

    def __init__(self, values: Iterable[SecretStr] = ()) -> None:
        self._values = tuple(values)

    def __iter__(self) -> Iterator[str]:
        for sealed_value in self._values:
            value = sealed_value.get_secret_value().removeprefix("Bearer ")
            yield value
            if _BORDERS.search(value):
                yield from _WORD.findall(value)

    def __repr__(self) -> str:
        return f"Secrets({len(self._values)})"


class Redactor:
    """Cleans the messages of one call. `keys` are all its API keys, `texts` returns the texts of its prompt."""

    __slots__ = ("_keys", "_texts")

    def __init__(self, keys: Iterable[str] = (), texts: Callable[[], Iterable[str]] = tuple) -> None:
        self._keys = keys
        self._texts = texts

    def clean(self, message: str) -> str:
        """`message` without the call's keys in any form and without quotes of the prompt."""
        for cleaned in self.steps(message):
            if cleaned is not None:
                return cleaned
        raise AssertionError("the last step returns the message")

    def literally(self, text: str) -> str:
        """`text` without exact copies of the call's keys. For ids and names, which are never truncated."""
        found = [key for key in self._keys if len(key) >= _SHORTEST_KEY and key in text]
        for key in sorted(found, key=len, reverse=True):
            text = text.replace(key, KEY_MASK)
        return text

    def clean_values(self, *places: dict[str, Any], names: Iterable[str] = NAMES) -> None:
        """Remove the call's keys from the texts under `names`: those of an answer go into events, spans and logs.

        Keys are rare there. So all texts are searched together first.
        """
        texts = [text for place in places for name in names if isinstance(text := place.get(name), str)]
        together = "\n".join(texts)
        if self.literally(together) == together:
            return
        for place in places:
            place.update({name: self.literally(place[name]) for name in names if isinstance(place.get(name), str)})

    def keyless(self, text: str) -> str:
        """`text` without the call's keys, and without a truncated key at the end of the text."""
        forms = {form for key in self._keys if len(key) >= _SHORTEST_KEY for form in (key, quote(key, safe=""))}
        keys = sorted(forms, key=len, reverse=True)
        for key in keys:
            text = text.replace(key, KEY_MASK)
        end = text.rstrip("… .")
        for key in keys:
            length = next((n for n in range(len(key) - 1, _SHORTEST_KEY - 1, -1) if end.endswith(key[:n])), 0)
            if length:
                return end[:-length] + KEY_MASK + text[len(end) :]
        return text

    def steps(self, message: str) -> Iterator[str | None]:
        """`clean` in steps of bounded length. Yields None after each step, then the clean message."""
        message = self.keyless(message[:MOST_CHARACTERS])
        folded = _Folded(message)
        if folded.data:
            for text in self._texts():
                for start in range(0, len(text), SLICE_CHARACTERS):
                    if start:
                        yield None
                    # Slices overlap by the length of the message, the longest possible quote.
                    folded.look(text[max(0, start - len(message) - 1) : start + SLICE_CHARACTERS], whole=not start)
        yield folded.cleaned()


class _Folded:
    """A message as folded bytes, and the positions of the bytes that quote the prompt."""

    __slots__ = ("_all_marks", "_left", "_looked", "_marks", "_message", "_quotes", "data")

    def __init__(self, message: str) -> None:
        self._message = message
        self.data = _fold(message)
        self._marks: dict[int, list[int]] = {}
        for at in range(len(self.data) - _MARK + 1):
            mark = int.from_bytes(self.data[at : at + _MARK], _ORDER)
            self._marks.setdefault(mark, []).append(at)
        self._all_marks = frozenset(self._marks)
        self._quotes = bytearray(len(self.data))
        """1 for each byte that belongs to a quote."""
        self._looked = bytearray()
        """The same for the current slice only: a quote from an earlier slice may continue in this slice."""
        self._left = 0
        """How many places of the current slice may still be compared."""

    def look(self, text: str, *, whole: bool) -> None:
        """Mark the bytes that quote `text`. A short text counts only if `whole`, and only if quoted completely.

        The work is bounded: of a text that resembles the message in too many places, all these are masked.
        """
        prompt = _fold(text)
        if len(prompt) < SHORTEST_QUOTE:
            if whole and len(prompt) >= _SHORTEST_TEXT:
                self._look_for_all(prompt)
            return
        if 0 not in self._quotes:
            return
        dense = len(prompt) <= _DENSE
        self._looked, self._left = bytearray(len(self.data)), _MOST_COMPARED_DENSE if dense else _MOST_COMPARED
        for shift in range(_MARK if dense else 1):
            marks = array("Q", prompt[shift : shift + (len(prompt) - shift) // _MARK * _MARK])
            step = 1 if dense else _STRIDE
            marks = marks[::step]
            shared = self._all_marks.intersection(marks)
            places: dict[int, list[int]] = {}
            for place, mark in enumerate(marks) if shared else ():
                if mark in shared:
                    places.setdefault(mark, []).append(shift + place * step * _MARK)
            for mark, where in places.items():
                self._compare(mark, where, prompt)

    def _look_for_all(self, prompt: bytes) -> None:
        at = self.data.find(prompt)
        while at >= 0:
            _fill(self._quotes, at, at + len(prompt))
            at = self.data.find(prompt, at + 1)

    def _compare(self, mark: int, places: list[int], prompt: bytes) -> None:
        """Compare the message with the `places` of the prompt that have this fingerprint."""
        for place in places[:_MOST_PLACES]:
            for at in self._marks[mark]:
                if self._looked[at] and self._looked[at + _MARK - 1]:
                    continue
                self._left -= 1
                if self._left < 0:
                    break
                first, last = _around(self.data, at, prompt, place)
                if last - first >= SHORTEST_QUOTE:
                    _fill(self._quotes, first, last)
                    if last - first >= _WIDE:  # a shorter one may be chance, and the real quote be longer
                        _fill(self._looked, first, last)
        if len(places) < _MOST_PLACES and self._left >= 0:
            return
        # The prompt repeats this fingerprint too often to compare all places: mask it and the bytes around it.
        for at in self._marks[mark]:
            _fill(self._quotes, max(0, at - _WIDE), min(len(self.data), at + _MARK + _WIDE))

    def cleaned(self) -> str:
        """The message with a mask for each quote."""
        if 1 not in self._quotes:
            return self._message
        hidden = self._characters()
        parts: list[str] = []
        inside = False
        for position, character in enumerate(self._message):
            # A character without folded bytes belongs to the quote around it.
            quoted = position in hidden or (inside and not _fold(character) and self._goes_on(position, hidden))
            if not quoted:
                parts.append(character)
            elif not inside:
                parts.append(PROMPT_MASK)
            inside = quoted
        return "".join(parts)

    def _characters(self) -> set[int]:
        """The indexes of the message's characters that have a byte of a quote."""
        hidden: set[int] = set()
        at = 0
        for position, character in enumerate(self._message):
            size = len(_fold(character))
            if 1 in self._quotes[at : at + size]:
                hidden.add(position)
            at += size
        return hidden

    def _goes_on(self, position: int, hidden: set[int]) -> bool:
        after = position
        while after < len(self._message) and not _fold(self._message[after]):
            after += 1
        return after in hidden


_ORDER: Final = "little" if array("H", [1]).tobytes()[0] else "big"


def _fold(text: str) -> bytes:
    return text.encode("utf-8", "replace").translate(None, _FOLDED)


def _fill(mask: bytearray, first: int, last: int) -> None:
    mask[first:last] = b"\1" * (last - first)


def _around(one: bytes, at: int, other: bytes, place: int) -> tuple[int, int]:
    """The longest stretch of `one` around its byte `at` that equals `other` around its byte `place`."""
    first, last = at, at
    offset = place - at
    for step in _STEPS:
        while (
            first >= step
            and first + offset >= step
            and one[first - step : first] == other[first + offset - step : first + offset]
        ):
            first -= step
        while last + step <= len(one) and one[last : last + step] == other[last + offset : last + offset + step]:
            last += step
    return first, last
