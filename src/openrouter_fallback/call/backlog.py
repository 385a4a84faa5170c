"""Bytes of a call that is not streamed to its caller: collected as they come, and decoded together."""

from __future__ import annotations

from collections import deque

from ..answer.slices import SLICE_BYTES
from ..decision.deadlines import LOOK_SECONDS

MAX_UNREAD_BYTES = 256 * 1024
"""The most that is collected before it is decoded, in slices."""
_DONE_LINE = b"[DONE]\n\n"


class Backlog:
    """The collected bytes of one attempt, in the order in which they came."""

    __slots__ = ("_size", "parts", "since")

    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        self.since = 0.0
        """When the first of them came."""
        self._size = 0

    def add(self, data: bytes, now: float) -> bool:
        """Collect bytes. Returns whether they should be decoded now."""
        if not self.parts:
            self.since = now
        self.parts.append(data)
        self._size += len(data)
        return self._size > MAX_UNREAD_BYTES or now - self.since >= LOOK_SECONDS or data.endswith(_DONE_LINE)

    def take(self) -> bytes:
        """The next bytes, joined: about `SLICE_BYTES`."""
        data = self.parts.popleft()
        if self.parts and len(data) < SLICE_BYTES:
            joined, size = [data], len(data)
            while self.parts and size < SLICE_BYTES:
                joined.append(self.parts.popleft())
                size += len(joined[-1])
            data = b"".join(joined)
        if not self.parts:
            self._size = 0
        return data
