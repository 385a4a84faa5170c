"""Parses server-sent events from bytes, with bounds. Comments are dropped at once and never counted.

httpx2's `EventSource` decodes to text first and makes an object per event; measured on loopback, this takes a fifth
more CPU per streamed call than splitting the bytes here.
"""

from __future__ import annotations

MAX_EVENT_BYTES = 32 * 1024 * 1024
"""The longest event: an image comes as one event."""
MAX_BODY_BYTES = 64 * 1024 * 1024
MAX_EVENT_LINES = 65_536
"""The most lines of one event. Each line is one object: 32 MiB of the shortest lines would take 370 MB."""
MAX_EVENTS = 1_000_000
"""The most events of one body; the longest answers have a few ten thousand."""
SLICE_BYTES = 256 * 1024
"""The bytes that are split into lines at a time."""


class Oversized(Exception):
    """An event or a body beyond its bound."""


class EventReader:
    """Bytes in, the `data` of complete events out. Lines may end in LF, CRLF or CR (WHATWG, section 9.2)."""

    __slots__ = ("_carriage", "_comment", "_data", "_events", "_line", "_size", "_total")

    def __init__(self) -> None:
        self._line: list[bytes] = []
        self._size = 0
        self._total = 0
        self._events = 0
        self._data: list[bytes] = []
        self._comment = False
        self._carriage = False

    def feed(self, data: bytes) -> list[bytes]:
        """The events that `data` completes. Raises `Oversized`."""
        if not data:
            return []
        if len(data) > SLICE_BYTES:
            slices = (data[start : start + SLICE_BYTES] for start in range(0, len(data), SLICE_BYTES))
            return [event for part in slices for event in self._feed(part)]
        if self._data or self._comment or self._carriage or b"\r" in data:
            return self._feed(data)
        return self._plain(b"".join(self._line) + data if self._line and b"\n" in data else data) or self._feed(data)

    def _plain(self, data: bytes) -> list[bytes]:
        """The events of bytes that hold only one data line per event, as most reads do; none for other bytes.

        Comments may come before the events. Reads may end in the middle of a line.
        """
        start, end = 0, data.rfind(b"\n\n")
        while data.startswith(b":", start) and data.find(b"\n", start) == (stop := data.find(b"\n\n", start)) < end:
            start = stop + 2
        if end < start or not data.startswith(b"data: ", start):
            return []
        events = data[start + 6 : end].split(b"\n\ndata: ")
        breaks = 2 * len(events) - 2
        if data.count(b"\n", start, end) != breaks:
            return []
        self._line.clear()
        self._size = 0
        self._total += end - start - breaks
        self._events += len(events)
        if end + 2 < len(data):
            self._feed(data[end + 2 :])  # the beginning of the next event
        self._check()
        return events

    def _feed(self, data: bytes) -> list[bytes]:
        if self._carriage and data.startswith(b"\n"):
            data = data[1:]
        self._carriage = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *rest = data.split(b"\n")
        if not rest:
            self._keep(first)
            return []
        if self._comment:
            rest_of_comment, self._comment = True, False
        else:
            rest_of_comment = False
            if self._line:
                kept = b"".join(self._line)
                self._line.clear()
                self._size -= len(kept)
                first = kept + first
        last = rest.pop()
        events: list[bytes] = []
        if not rest_of_comment:
            self._take(first, events)
        for line in rest:
            if line.startswith(b"data: ") and not self._data:
                # The common line, without a function call.
                self._data.append(line[6:])
                self._size = len(line)
                self._total += len(line)
            elif line or self._data:
                self._take(line, events)
        if last:
            self._keep(last)
        self._events += len(events)
        self._check()
        return events

    def _check(self) -> None:
        """Raise `Oversized` if an event or the body exceeds a bound."""
        if self._total > MAX_BODY_BYTES:
            raise Oversized(f"the body exceeds {MAX_BODY_BYTES} bytes")
        if self._size > MAX_EVENT_BYTES:
            raise Oversized(f"an event exceeds {MAX_EVENT_BYTES} bytes")
        if len(self._data) > MAX_EVENT_LINES:
            raise Oversized(f"an event exceeds {MAX_EVENT_LINES} lines")
        if self._events > MAX_EVENTS:
            raise Oversized(f"the body exceeds {MAX_EVENTS} events")

    def is_pending(self, event: bytes) -> bool:
        """Whether the bytes since the last event are this event, without the end of its line or its empty line."""
        if self._data:
            return self._data == [event] and not self._line
        return self._size <= len(event) + 6 and b"".join(self._line) in (b"data: " + event, b"data:" + event)

    def finish(self) -> list[bytes]:
        """The event that the end of the body leaves unterminated, if any."""
        events: list[bytes] = []
        if self._line:
            self._take(b"".join(self._line), events)
            self._line.clear()
        self._take(b"", events)
        return events

    def _keep(self, part: bytes) -> None:
        """Keep the beginning of an incomplete line, unless it is a comment."""
        if self._comment or not part:
            return
        if not self._line and part.startswith(b":"):
            self._comment = True
            return
        self._line.append(part)
        self._size += len(part)
        if self._size > MAX_EVENT_BYTES:
            raise Oversized(f"an event exceeds {MAX_EVENT_BYTES} bytes")

    def _take(self, line: bytes, events: list[bytes]) -> None:
        if not line:
            if self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data = []
            self._size = 0
        elif line.startswith(b"data:"):
            value = line[6:] if line.startswith(b"data: ") else line[5:]
            self._data.append(value)
            self._size += len(line)
            self._total += len(line)
        elif line.startswith(b"\xef\xbb\xbf"):
            rest = line[3:]
            if not rest.startswith(b"\xef\xbb\xbf"):  # else a line of byte order marks would recurse once per mark
                self._take(rest, events)
