"""A tiny HTTP/1.1 server that sends given bytes in given pieces, and records the requests.

The pieces become the chunks of a chunked body. `reading` decides how many bytes a client reads at a time.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import pytest

from .byteserver import close_server

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Gate:
    """A position in a response at which the server waits until the test opens the gate."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._opened = asyncio.Event()

    def open(self) -> None:
        """Let the server continue. May be called from any thread."""
        self._loop.call_soon_threadsafe(self._opened.set)

    async def passed(self) -> None:
        await self._opened.wait()


@dataclass(frozen=True, slots=True)
class Reply:
    """One response. `ending`: the body ends correctly, or the connection is closed or reset inside the body."""

    pieces: Sequence[bytes | Gate]
    status: int = 200
    content_type: str = "text/event-stream"
    ending: Literal["proper", "cut", "reset"] = "proper"


@dataclass(frozen=True, slots=True)
class Received:
    """One request: its headers (lower-case names), its JSON body ({} if it has none), and `GET /path`."""

    headers: dict[str, str]
    body: dict[str, Any]
    line: str


@dataclass
class RawServer:
    """Sends its replies in order, and repeats the last one. A GET gets `listing`, if it is set. A context manager."""

    replies: deque[Reply] = field(default_factory=deque)
    listing: Reply | None = None
    requests: list[Received] = field(default_factory=list)
    base_url: str = ""
    _closing: weakref.WeakSet[asyncio.StreamWriter] = field(default_factory=weakref.WeakSet)

    def answer(self, *replies: Reply) -> None:
        """Clear the recorded requests, and send these replies from now on."""
        self.requests.clear()
        self.replies = deque(replies)

    def gate(self) -> Gate:
        """A new gate for one of the replies."""
        return Gate(self.loop)

    def __enter__(self) -> RawServer:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="raw-server", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0)
        self._server = asyncio.run_coroutine_threadsafe(starting, self.loop).result()
        self.base_url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self.loop).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _close(self) -> None:
        await close_server(self._server, self._closing)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # Only `_close` cancels handlers. asyncio would report a cancelled handler as failed.
            pass
        finally:
            self._closing.add(writer)
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection is still usable."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
        self.requests.append(Received(headers, body, first.rpartition(" ")[0]))
        if self.listing is not None and first.startswith("GET "):
            reply = self.listing
        else:
            reply = self.replies.popleft() if len(self.replies) > 1 else self.replies[0]
        writer.write(
            f"HTTP/1.1 {reply.status} Whatever\r\ncontent-type: {reply.content_type}\r\n"
            "x-generation-id: gen-from-the-header\r\ntransfer-encoding: chunked\r\n\r\n".encode()
        )
        for piece in reply.pieces:
            if isinstance(piece, Gate):
                await writer.drain()
                await piece.passed()
            else:
                writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if reply.ending == "proper":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
            return True
        if reply.ending == "reset":
            raw: socket.socket = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        return False


@contextmanager
def reading(longest: int, seed: int = 0) -> Iterator[None]:
    """Let the sockets of all event loops return 1 to `longest` bytes per read, with random boundaries."""
    random = Random(seed)
    transport = asyncio.selector_events._SelectorSocketTransport  # type: ignore[attr-defined]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "max_size", property(lambda _: random.randint(1, longest)))
        yield


def cut(data: bytes, longest: int, seed: int = 0) -> list[bytes]:
    """Cut bytes into pieces of 1 to `longest` bytes."""
    random = Random(seed)
    pieces = []
    start = 0
    while start < len(data):
        end = start + random.randint(1, longest)
        pieces.append(data[start:end])
        start = end
    return pieces


def sse(*chunks: object) -> bytes:
    """Chunks as server-sent events. A string is sent unchanged."""
    return b"".join(
        b"data: " + (chunk.encode() if isinstance(chunk, str) else json.dumps(chunk).encode()) + b"\n\n"
        for chunk in chunks
    )
