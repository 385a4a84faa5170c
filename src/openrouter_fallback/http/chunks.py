"""Joins the chunks of an HTTP/1.1 response before h11 parses them.

A stream sends each event as one chunk, and many arrive in one read; h11 makes some twenty function calls for each
chunk. One chunk with the same bytes is the same response for a tenth of that. Only complete, plain chunks are joined;
all other bytes are passed on unchanged, and h11 judges them.
"""

from __future__ import annotations

import re

_CHUNKED = b"\r\ntransfer-encoding: chunked\r\n"
_HEAD_END = b"\r\n\r\n"
_SIZE = re.compile(rb"([0-9a-fA-F]{1,7})\r\n")
_CUT_SIZE = re.compile(rb"[0-9a-fA-F]{1,7}\r?")
_LONGEST_SIZE = 9


class Chunks:
    """Joins the chunks of each read, for one response at a time. Call `begin` before each request."""

    __slots__ = ("_begun", "_chunked", "_cut", "_rest", "count")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """The next bytes are the beginning of a response."""
        self._begun = self._chunked = False
        self.count = 0
        """The chunks that were joined. The caller resets it."""
        self._rest = 0
        """The bytes of an unfinished chunk, with its line end, that are still to come."""
        self._cut = b""
        """The beginning of a chunk's size that ended the last read. It was passed on."""

    def joined(self, data: bytes) -> bytes:
        """`data` with its complete chunks joined. Does nothing unless the first read has brought the whole head."""
        start = 0
        if not self._begun:
            self._begun = True
            start = data.find(_HEAD_END) + len(_HEAD_END)
            # A head may end at a bare LF, too; then what follows an LF here may be the body.
            whole = start >= len(_HEAD_END) and data.count(b"\n", 0, start) == data.count(b"\r\n", 0, start)
            self._chunked = whole and _CHUNKED in data[:start].lower()
        return self._join(data, start) if self._chunked else data

    def _join(self, data: bytes, start: int) -> bytes:
        size = len(data)
        if self._cut and not self._completed(data):
            return data
        if self._rest > size - start:
            self._rest -= size - start
            return data
        begin = at = start + self._rest
        self._rest = 0
        parts: list[bytes] = []
        while at < size:
            head = _SIZE.match(data, at)
            length = int(head[1], 16) if head is not None else 0
            if head is None or length == 0:  # a cut size, or the last chunk, or bytes for h11 to judge
                self._chunked = head is None and self._may_go_on(data[at:])
                break
            first = head.end()
            end = first + length
            if end + 2 > size:
                self._rest = end + 2 - size
                break
            if data[end : end + 2] != b"\r\n":
                self._chunked = False
                break
            parts.append(data[first:end])
            at = end + 2
        if len(parts) < 2:
            return data
        self.count += len(parts)
        whole = b"".join(parts)
        return b"%b%x\r\n%b\r\n%b" % (data[:begin], len(whole), whole, data[at:])

    def _completed(self, data: bytes) -> bool:
        """Whether `data` completes the size that was cut; its chunk is then the unfinished one."""
        cut, self._cut = self._cut, b""
        line = cut + data[:_LONGEST_SIZE]
        head = _SIZE.match(line)
        length = int(head[1], 16) if head is not None else 0
        if head is None or length == 0:
            self._chunked = head is None and self._may_go_on(line)
            return False
        self._rest = head.end() - len(cut) + length + 2
        return True

    def _may_go_on(self, line: bytes) -> bool:
        """Whether `line`, which ends a read, may be the beginning of a chunk's size."""
        if not _CUT_SIZE.fullmatch(line):
            return False
        self._cut = line
        return True
