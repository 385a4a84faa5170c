"""Decodes compressed bodies: one content encoding, in slices of a bounded size.

httpx2's decoders are not used: they accept any number of nested encodings and decode a whole read at once, so that 260
bytes of threefold gzip become gigabytes before a limit can apply.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Final

SLICE_BYTES: Final = 64 * 1024
"""The longest slice that a decoder returns."""
MAX_DECODED_BYTES: Final = 64 * 1024 * 1024
"""The most bytes of one decoded body, including white space and comments."""


class Undecodable(Exception):
    """A body that cannot be decoded: its encoding is unknown, or its bytes are damaged, cut or too many."""


class Inflater:
    """gzip, of one or several members (RFC 1952), or deflate (RFC 9110, section 8.4.1)."""

    def __init__(self, *, gzip: bool) -> None:
        self._gzip = gzip
        self._inflate = _gunzip() if gzip else None
        self._head = b""
        self._size = 0

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The decoded slices of `data`. Raises `Undecodable`."""
        inflate = self._inflate
        if inflate is None:
            data = self._head = self._head + data
            if len(data) < 2:
                return
            # "deflate" is the zlib format; some servers send the raw stream, without the header and its checksum.
            zlib_header = data[0] & 0x0F == zlib.DEFLATED and int.from_bytes(data[:2]) % 31 == 0
            inflate = self._inflate = zlib.decompressobj(zlib.MAX_WBITS if zlib_header else -zlib.MAX_WBITS)
        full = False
        while data or full:
            if inflate.eof and data:
                if not self._gzip or not data.startswith(_MEMBER):
                    raise Undecodable("bytes behind the end of the compressed body")
                inflate = self._inflate = _gunzip()
            try:
                piece = inflate.decompress(data, SLICE_BYTES)
            except zlib.error as error:
                raise Undecodable(str(error)) from None
            self._size += len(piece)
            if self._size > MAX_DECODED_BYTES:
                raise Undecodable(f"the decoded body exceeds {MAX_DECODED_BYTES} bytes")
            if piece:
                yield piece
            data = inflate.unconsumed_tail or inflate.unused_data
            full = len(piece) == SLICE_BYTES

    def finish(self) -> None:
        """The body has ended. Raises `Undecodable` if it was cut."""
        if self._inflate is None or not self._inflate.eof:
            raise Undecodable("the compressed body is cut off")


def _gunzip() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)


_MEMBER: Final = b"\x1f"
"""The first byte of a gzip member."""
_ENCODINGS: Final = ("gzip", "x-gzip", "deflate")


def decoder(encoding: str) -> Inflater | None:
    """The decoder for a `Content-Encoding` header; None for a plain body. Raises `Undecodable` for any other."""
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return None
    if name not in _ENCODINGS:
        raise Undecodable(f"content encoding {name[:40]!r}; accepted is one of gzip, deflate, identity")
    return Inflater(gzip=name != "deflate")
