"""Removes API keys, prompts and control characters from messages. Every failure's message passes here once.

A message is short, a prompt may be long. So the loops over a prompt run in C: its bytes are folded (white space,
quotes and backslashes removed, because endpoints change them when they quote), an 8-byte fingerprint is taken at every
16th byte, and these are looked up among the message's fingerprints. Every quote of 47 characters contains one
fingerprint. The work is done in steps of bounded length, so that an event loop can run in between, and what was folded
is kept for the next failure of the call. A prompt of 1 MB takes 5 ms in sum, so a client remembers the messages that
quoted nothing (`Quoteless`): most failures repeat the words of an earlier one.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final
from urllib.parse import quote

from pydantic import SecretStr

KEY_MASK: Final = "***"
PROMPT_MASK: Final = "[prompt]"

SLICE_CHARACTERS: Final = 64 * 1024
"""Characters of the prompt that are read in one step: about 0.3 ms. Comparisons count as characters, too."""
MOST_CHARACTERS: Final = 2_000
"""A longer message is cut to this length."""
NAMES: Final = ("id", "model", "provider")
"""The fields of an answer that name the answer, the model and the provider."""
SHORTEST_QUOTE: Final = 20
"""An equal stretch of this many folded bytes counts as a quote of the prompt."""

_MARK: Final = 8  # bytes of a fingerprint: one integer of an array
_STRIDE: Final = 2  # only every second of a long prompt's adjacent fingerprints is looked up
_DENSE: Final = 4_000  # of a text of at most this many bytes, each is looked up
_OVERLAP: Final = 256  # bytes of a slice that the next slice begins with: a quote may lie across the border
_WIDE: Final = 47  # an equal stretch this long is no chance; masked around a fingerprint that repeats too often
_MOST_PLACES: Final = 16  # occurrences of one fingerprint in one slice that are compared
_MOST_COMPARED: Final = 100  # places of one slice that are compared, of all fingerprints together
_STEPS: Final = (512, 64, 8, 1)  # bytes that are compared at once
_EACH: Final = 1_024  # a text, or a place that is compared, takes as long as so many characters more
_AGAIN: Final = 64  # a place that may be compared already
_LOOK: Final = 4_096  # and to look for such places, as so many
_CHARACTER_BYTES: Final = 3  # of a text that is not ASCII
_MOST_KNOWN: Final = 16  # messages of a call that are remembered
_MOST_QUOTELESS: Final = 4_096  # messages of a client that are remembered
_SHORTEST_TEXT: Final = 6
_SHORTEST_KEY: Final = 6
_PART: Final = 12  # so many characters of a key in a row are masked, too
_HOP: Final = _PART - _MARK + 1  # every such part contains one of the pieces of a key that begin so far apart
_FOLDED: Final = b" \t\n\r\v\f\"'\\"
_FOLDED_TEXT: Final = _FOLDED.decode()

_QUOTE: Final = re.compile(rb"\x01+")
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


def clean_values(keys: Iterable[str], *places: dict[str, Any], names: Iterable[str]) -> None:
    """Remove exact copies of the keys from the texts under `names`.

    Keys are rare there. So all texts are searched together first.
    """
    texts = [text for place in places for name in names if isinstance(text := place.get(name), str)]
    together = "\n".join(texts)
    if _without_copies(together, keys) == together:
        return
    for place in places:
        place.update({name: _without_copies(place[name], keys) for name in names if isinstance(place.get(name), str)})


def _without_copies(text: str, keys: Iterable[str]) -> str:
    found = [key for key in keys if len(key) >= _SHORTEST_KEY and key in text]
    for key in sorted(found, key=len, reverse=True):
        text = text.replace(key, KEY_MASK)
    return text


class Quoteless:
    """The messages that quoted nothing of the prompt when a client first got them; their digests, not their texts.

    In a later call with another prompt the same message is not searched again: the server chose its words before it got
    that prompt, and the client has shown them already.
    """

    __slots__ = ("_digests",)

    def __init__(self) -> None:
        self._digests: set[bytes] = set()

    def __contains__(self, message: str) -> bool:
        return _digest(message) in self._digests

    def add(self, message: str) -> None:
        """Remember a message that was searched to its end."""
        if len(self._digests) >= _MOST_QUOTELESS:
            self._digests.clear()
        self._digests.add(_digest(message))


class Redactor:
    """Cleans the messages of one call. `keys` are all its API keys, `texts` returns the texts of its prompt.

    `quoteless` is shared by the calls of a client.
    """

    __slots__ = ("_keys", "_known", "_quoteless", "_slices", "_unread")

    def __init__(
        self,
        keys: Iterable[str] = (),
        texts: Callable[[], Iterable[str]] = tuple,
        quoteless: Quoteless | None = None,
    ) -> None:
        self._keys = keys
        self._quoteless = Quoteless() if quoteless is None else quoteless
        self._slices: list[_Slice] = []
        self._unread = _slices(texts)
        self._known: dict[str, str] = {}
        """Messages and what they are without quotes: each attempt at a model tends to fail with the same words."""

    def clean(self, message: str) -> str:
        """`message` without the call's keys in any form and without quotes of the prompt."""
        for cleaned in self.steps(message):
            if cleaned is not None:
                return cleaned
        raise AssertionError("the last step returns the message")

    def literally(self, text: str) -> str:
        """`text` without exact copies of the call's keys. For ids and names, which are never truncated."""
        return _without_copies(text, self._keys)

    def clean_values(self, *places: dict[str, Any], names: Iterable[str] = NAMES) -> None:
        """Remove the call's keys from the texts under `names`: those of an answer go into events, spans and logs."""
        clean_values(self._keys, *places, names=names)

    def keyless(self, text: str) -> str:
        """`text` without the call's keys and long parts of them, and without a truncated key at the end of the text."""
        forms = {form for key in self._keys if len(key) >= _SHORTEST_KEY for form in (key, quote(key, safe=""))}
        keys = sorted(forms, key=len, reverse=True)
        for key in keys:
            text = text.replace(key, KEY_MASK)
        for key in keys:
            text = _without_parts(text, key)
        end = text.rstrip("… .")
        for key in keys:
            length = next((n for n in range(len(key) - 1, _SHORTEST_KEY - 1, -1) if end.endswith(key[:n])), 0)
            if length:
                return end[:-length] + KEY_MASK + text[len(end) :]
        return text

    def steps(self, message: str) -> Iterator[str | None]:
        """`clean` in steps of bounded length. Yields None after each step, then the clean message."""
        message = self.keyless(message[:MOST_CHARACTERS])
        clean = message if message in self._quoteless else self._known.get(message)
        if clean is None:
            work, search = 0, _Search(message)
            for cost in search.run(self._prompt()):
                if work and work + cost > SLICE_CHARACTERS:
                    yield None
                    work = 0
                work += cost
            clean = search.cleaned()
            if clean == message:
                self._quoteless.add(message)
            elif len(self._known) < _MOST_KNOWN:
                self._known[message] = clean
        yield clean

    def _prompt(self) -> Iterator[_Slice]:
        """The slices of the prompt. They are made when they are needed first, and kept."""
        slices, number = self._slices, 0
        while True:
            if number == len(slices):
                one = next(self._unread, None)
                if one is None:
                    return
                slices.append(one)
            yield slices[number]
            number += 1


def _slices(texts: Callable[[], Iterable[str]]) -> Iterator[_Slice]:
    for text in texts():
        size = SLICE_CHARACTERS if text.isascii() else SLICE_CHARACTERS // _CHARACTER_BYTES
        for start in range(0, len(text), size):
            yield _Slice(text, start, size)


class _Slice:
    """A slice of a text of the prompt. It is folded when it is needed first."""

    __slots__ = ("_text", "cost", "folded", "marks", "size", "start", "step", "whole")

    def __init__(self, text: str, start: int, size: int) -> None:
        self._text = text
        self.start = start
        self.size = min(len(text) - start, size)
        self.cost = self.size if text.isascii() else self.size * _CHARACTER_BYTES
        """What it takes to read the slice, in ASCII characters."""
        self.whole = self.size == len(text)
        self.folded: bytes | None = None
        self.marks: array[int] = array("Q")
        self.step = _MARK
        """The bytes from one fingerprint to the next."""

    def fold(self, before: bytes) -> bytes:
        """The folded bytes of the slice, behind the last ones of the slice `before` it."""
        if self.folded is None:
            folded = self.folded = before[-_OVERLAP:] + _fold(self._text[self.start : self.start + self.size])
            self._text = ""
            self.marks = array("Q", folded[: len(folded) // _MARK * _MARK])
            if len(folded) > _DENSE:
                self.marks, self.step = self.marks[::_STRIDE], _MARK * _STRIDE
        return self.folded


class _Search:
    """A message as folded bytes, and which of them quote the prompt."""

    __slots__ = ("_data", "_left", "_looked", "_marks", "_message", "_quotes")

    def __init__(self, message: str) -> None:
        self._message = message
        self._data = data = _fold(message)
        self._marks: set[int] = set()
        for shift in range(min(_MARK, len(data))):
            self._marks.update(array("Q", data[shift : shift + (len(data) - shift) // _MARK * _MARK]))
        self._quotes = bytearray(len(data))
        """1 for each byte that belongs to a quote."""
        self._looked = bytearray()
        """The same for the current slice only: a quote from an earlier slice may continue in this slice."""
        self._left = 0
        """How many places of the current slice may still be compared."""

    def run(self, prompt: Iterable[_Slice]) -> Iterator[int]:
        """Find the quotes. Yields the cost of each piece of work before it is done, in characters of the prompt.

        A text of a few bytes counts only if it is quoted completely.
        """
        short, before = len(self._data) < SHORTEST_QUOTE, b""
        for one in prompt if self._data else ():
            yield _EACH
            if short and (one.start or one.size > _DENSE):
                continue  # longer than what such a message can quote
            if 0 not in self._quotes:
                break
            yield one.cost
            prompt_bytes = before = one.fold(before if one.start else b"")
            if len(prompt_bytes) < SHORTEST_QUOTE:
                if one.whole and len(prompt_bytes) >= _SHORTEST_TEXT:
                    yield from self._look_for_all(prompt_bytes)
            elif not self._marks.isdisjoint(one.marks):
                yield one.cost + _LOOK
                yield from self._look(one, prompt_bytes)
        if 1 in self._quotes:
            yield SLICE_CHARACTERS  # for the masks

    def _look_for_all(self, prompt: bytes) -> Iterator[int]:
        for at in _places(self._data, prompt):
            yield _AGAIN
            _fill(self._quotes, at, at + len(prompt))

    def _look(self, one: _Slice, prompt: bytes) -> Iterator[int]:
        """Mark the bytes that quote a slice, whose folded bytes are `prompt`.

        The work is bounded: of a text that resembles the message in too many places, all these are masked.
        """
        self._looked, self._left = bytearray(len(self._data)), _MOST_COMPARED
        shared, step = self._marks.intersection(one.marks), one.step
        places: dict[int, list[int]] = {}
        for place, mark in enumerate(one.marks):
            if mark in shared:
                places.setdefault(mark, []).append(place * step)
        for mark, where in places.items():
            yield _EACH
            yield from self._compare(list(_places(self._data, mark.to_bytes(_MARK, _ORDER))), where, prompt)

    def _compare(self, own: list[int], places: list[int], prompt: bytes) -> Iterator[int]:
        """Compare the message around `own` with the prompt around `places`, all of which have one fingerprint."""
        looked = self._looked
        for place in places[:_MOST_PLACES]:
            yield _AGAIN * (len(own) + 1)
            own = [at for at in own if not (looked[at] and looked[at + _MARK - 1])]
            if not own or self._left < 0:
                break
            for at in own:
                if looked[at] and looked[at + _MARK - 1]:
                    continue
                self._left -= 1
                if self._left < 0:
                    break
                yield _EACH + len(self._data) // 2
                first, last = _around(self._data, at, prompt, place)
                if last - first >= SHORTEST_QUOTE:
                    _fill(self._quotes, first, last)
                    if last - first >= _WIDE:  # a shorter one may be chance, and the real quote be longer
                        _fill(looked, first, last)
        if len(places) < _MOST_PLACES and self._left >= 0:
            return
        # The prompt repeats this fingerprint too often to compare all places: mask it and the bytes around it.
        yield _EACH * len(own)
        for at in own:
            _fill(self._quotes, max(0, at - _WIDE), min(len(self._data), at + _MARK + _WIDE))

    def cleaned(self) -> str:
        """The message with a mask for each quote."""
        if 1 not in self._quotes:
            return self._message
        message, parts, end = self._message, [], 0
        if message.isascii():
            owners = [at for at, character in enumerate(message) if character not in _FOLDED_TEXT]
        else:
            owners = [at for at, character in enumerate(message) for _ in range(len(_fold(character)))]
        for found in _QUOTE.finditer(self._quotes):
            parts += [message[end : owners[found.start()]], PROMPT_MASK]
            end = owners[found.end() - 1] + 1
        return "".join([*parts, message[end:]])


_ORDER: Final = "little" if array("H", [1]).tobytes()[0] else "big"


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _fold(text: str) -> bytes:
    return text.encode("utf-8", "replace").translate(None, _FOLDED)


def _fill(mask: bytearray, first: int, last: int) -> None:
    mask[first:last] = b"\1" * (last - first)


def _places(data: bytes, piece: bytes) -> Iterator[int]:
    """Where `piece` stands in `data`."""
    at = data.find(piece)
    while at >= 0:
        yield at
        at = data.find(piece, at + 1)


def _without_parts(text: str, key: str) -> str:
    """`text` with a mask for each part of the key: a server may shorten it, escape signs, or change letters' case."""
    data, whole = _letters(text), _letters(key)
    found = bytearray(len(data))
    for place in range(0, len(whole) - _MARK + 1, _HOP):
        piece = whole[place : place + _MARK]
        at = data.find(piece)
        while at >= 0:
            first, last = _around(data, at, whole, place)
            if last - first >= _PART:
                _fill(found, first, last)
            at = data.find(piece, last)
    if 1 not in found:
        return text
    parts, end = [], 0
    for part in _QUOTE.finditer(found):
        parts += [text[end : part.start()], KEY_MASK]
        end = part.end()
    return "".join([*parts, text[end:]])


def _letters(text: str) -> bytes:
    """One byte for each character, without case."""
    return text.encode("latin-1", "replace").lower()


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
