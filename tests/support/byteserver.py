"""A server of bytes: the test decides which bytes each connection sends, and when. Every request is recorded.

`RawServer` sends correct HTTP with unusual bodies. With this server the HTTP itself can be incorrect.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import threading
import weakref
from asyncio.trsock import TransportSocket
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Step = bytes | Literal["close", "reset"]
"""The next action of the server: send bytes in one segment, close the connection, or reset the connection."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: the number of its connection, its number on that connection, its headers and its body."""

    connection: int
    number: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def nonce(self) -> str:
        """The text of the last message. Each call of these tests has a different text."""
        content = self.body["messages"][-1]["content"]
        return content if isinstance(content, str) else str(content[0]["text"])


Script = Callable[[Asked], Iterable[Step]]


@dataclass
class ByteServer:
    """Answers each request with the steps of `script`. `greeting` is sent when a connection is accepted."""

    script: Script
    greeting: Callable[[int], Iterable[Step]] = field(default=lambda _: ())
    requests: list[Asked] = field(default_factory=list)
    connections: int = 0
    base_url: str = ""
    keep: bool = True
    """Whether requests are recorded."""
    tls: ssl.SSLContext | None = None
    # No part of a repr: they change in the server's thread, while a test may print a traceback with its locals.
    _open: set[asyncio.StreamWriter] = field(default_factory=set, repr=False)
    _closing: weakref.WeakSet[asyncio.StreamWriter] = field(default_factory=weakref.WeakSet, repr=False)
    _secured: list[TransportSocket] = field(default_factory=list, repr=False)
    """The sockets of all connections over TLS."""

    def __enter__(self) -> ByteServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="byte-server", daemon=True)
        self._thread.start()
        starting = asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512, ssl=self.tls)
        self._server = asyncio.run_coroutine_threadsafe(starting, self._loop).result()
        scheme = "http" if self.tls is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/api/v1"
        return self

    def __exit__(self, *exc: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def on_loop(self, function: Callable[[], object]) -> None:
        """Run a function on the server's event loop, and wait until it has returned."""

        async def run() -> None:
            function()

        asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def send(self, data: bytes) -> None:
        """Send bytes on every open connection."""

        def write() -> None:
            for writer in self._open:
                writer.write(data)

        self.on_loop(write)

    def reset_all(self) -> None:
        """Reset every open connection. Call this on the server's event loop, for example in a script."""
        for writer in list(self._open):
            _reset(writer)

    @property
    def held(self) -> int:
        """The number of open connections."""
        return len(self._open)

    async def _close(self) -> None:
        await close_server(self._server, self._closing)
        # A closed TLS transport waits for its client's closing alert, and it may no longer be aborted.
        for one in self._secured:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for _ in range(5 if self._secured else 0):
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = self.connections
        self.connections += 1
        self._open.add(writer)
        if self.tls is not None:
            self._secured.append(writer.get_extra_info("socket"))
        number = 0
        try:
            going = await _carry_out(self.greeting(connection), writer)
            while going:
                asked = await _read(reader, connection, number)
                if self.keep:
                    self.requests.append(asked)
                number += 1
                going = await _carry_out(self.script(asked), writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # cancelled only by `_close`
        finally:
            self._open.discard(writer)
            self._closing.add(writer)
            writer.close()


async def close_server(server: asyncio.Server, closing: Iterable[asyncio.StreamWriter]) -> None:
    """Close a server and all its connections; `closing` are those whose handlers have ended."""
    # asyncio gives up a connection that was accepted but begins after `close`, and nobody would close one whose
    # handler has not begun.
    loop = asyncio.get_running_loop()
    for listener in server.sockets:
        loop.remove_reader(listener.fileno())
    for _ in range(3):
        await asyncio.sleep(0)
    server.close()
    tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for writer in list(closing):
        writer.transport.abort()  # its client may never read what is left to be sent
    await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader, connection: int, number: int) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    _, *lines = head.rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = json.loads(await reader.readexactly(int(headers.get("content-length", 0))) or b"{}")
    return Asked(connection, number, headers, body)


async def _carry_out(steps: Iterable[Step], writer: asyncio.StreamWriter) -> bool:
    """Execute the steps; return whether the connection is still usable."""
    for step in steps:
        if step == "close":
            return False
        if step == "reset":
            _reset(writer)
            return False
        writer.write(step)
        await writer.drain()
    return True


def _reset(writer: asyncio.StreamWriter) -> None:
    raw: socket.socket = writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


# Answers


def reply(nonce: str) -> str:
    """The text of the answer to a request. It contains the nonce of the request."""
    return f"answer to <{nonce}>"


def body(nonce: str, **fields: Any) -> bytes:
    """A whole answer as JSON."""
    message = {"role": "assistant", "content": reply(nonce)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return json.dumps({"id": f"gen-{nonce}", "model": "a/a", "choices": [choice], **fields}).encode()


def events(nonce: str, pieces: int = 3) -> list[bytes]:
    """The answer of `body` as server-sent events, with `[DONE]`."""
    text = reply(nonce)
    size = -(-len(text) // pieces)
    parts = [text[start : start + size] for start in range(0, len(text), size)]
    chunks: list[dict[str, Any]] = [
        {"id": f"gen-{nonce}", "choices": [{"index": 0, "delta": {"content": part}, "finish_reason": None}]}
        for part in parts
    ]
    chunks.append({"id": f"gen-{nonce}", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    return [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks] + [b"data: [DONE]\n\n"]


def plain(content: bytes, *, status: str = "200 OK", headers: str = "", kind: str = "application/json") -> bytes:
    """A response with a Content-Length."""
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{headers}content-length: {len(content)}\r\n\r\n"
    return head.encode() + content


def chunked(parts: Iterable[bytes], *, headers: str = "", kind: str = "text/event-stream") -> bytes:
    """A response with a chunked body."""
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\n{headers}transfer-encoding: chunked\r\n\r\n".encode()
    return head + b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
