"""Cuts received bytes into slices, each of which takes a bounded time to decode. A driver runs other tasks in between.

Bytes alone bound nothing: 256 kB hold a thousand events of an honest answer, or 26,000 empty events. So line ends and
objects are counted too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

SLICE_BYTES: Final = 64 * 1024
"""The most bytes of a slice."""
SLICE_PARTS: Final = 2 * 1024
"""The most line ends and objects of a slice; an honest slice of chunks has about as many."""

_PARTS: Final = b"\n\r{"
_PART_BYTES: Final = SLICE_BYTES // SLICE_PARTS
_SMALL: Final = 4


def parts(data: bytes) -> int:
    """The line ends and objects in `data`: at least the number of its events and of the values that cost time."""
    return len(data) - len(data.translate(None, _PARTS))  # one pass; to count each takes three


def weight(data: bytes) -> int:
    """What it takes to decode `data`, in bytes of an honest answer; more than `SLICE_BYTES` is more than a slice.

    Few bytes are not counted, since most reads are short: they count as dense ones.
    """
    size = len(data)
    return size * _SMALL if size <= SLICE_PARTS else max(size, parts(data) * _PART_BYTES)


def slices(data: bytes) -> Iterator[bytes]:
    """`data` in slices, in order. A slice may complete an event that began before it, with more values than its own."""
    pending = [data[start : start + SLICE_BYTES] for start in range(0, len(data), SLICE_BYTES)][::-1]
    while pending:
        one = pending.pop()
        if weight(one) <= SLICE_BYTES:
            yield one
        else:
            middle = len(one) // 2
            pending += [one[middle:], one[:middle]]
