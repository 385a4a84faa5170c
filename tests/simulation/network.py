"""Connections in memory, byte by byte, with httpcore2's network interface; the servers of a world answer on them."""

from __future__ import annotations

import asyncio
import math
import socket
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import httpcore2
import orjson

from .loop import START, VirtualLoop
from .worlds import Blip, Reply, World, reply

ONE_WAY = 0.005
HOSTS = {"one.test": "openrouter", "two.test": "other"}
COST = 0.001
_RESETS = ("reset", "black_hole")


@dataclass(slots=True)
class Request:
    """A request that a server has received. `billed`: the server has sent its usage."""

    number: int
    model: str
    at: float
    reply: Reply
    billed: bool = False
    reused: bool = False


@dataclass
class Network:
    """All servers of a world. `requests` are the requests that reached a server."""

    world: World
    loop: VirtualLoop
    requests: list[Request] = field(default_factory=list)
    open: set[Connection] = field(default_factory=set)
    process: Callable[[], int] = lambda: 0
    """Returns the number of the fleet's process that is running."""

    @property
    def now(self) -> float:
        return self.loop.time() - START

    def blips(self, endpoint: str, process: int) -> list[Blip]:
        """The blips of the connections from this process to the endpoint."""
        return [blip for blip in self.world.blips if blip.endpoint == endpoint and blip.process in (None, process)]

    def blip(self, endpoint: str, process: int, now: float) -> Blip | None:
        """The blip that prevents new connections now, or None."""
        return next((blip for blip in self.blips(endpoint, process) if blip.start <= now < blip.end), None)


class Backend(httpcore2.AsyncNetworkBackend):
    """Opens connections to the servers of a world."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore2's protocol
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        network, endpoint = self._network, HOSTS[host]
        blip = network.blip(endpoint, network.process(), network.now)
        if blip is not None and blip.kind == "black_hole":
            await asyncio.sleep(timeout or 60.0)
            raise httpcore2.ConnectTimeout("no answer to the connection's first packet")
        await asyncio.sleep(2 * ONE_WAY)  # in virtual time
        if blip is not None:
            raise httpcore2.ConnectError("connection refused")
        return Connection(network, endpoint, _unacknowledged_seconds(socket_options or ()))


def _unacknowledged_seconds(options: Iterable[Any]) -> float:
    """After how many seconds the system gives up a connection whose other side acknowledges nothing."""
    name = getattr(socket, "TCP_USER_TIMEOUT", None)
    return next((ms / 1000.0 for level, option, ms in options if (level, option) == (socket.IPPROTO_TCP, name)), 900.0)


class Connection(httpcore2.AsyncNetworkStream):
    """One connection. The server's answer is a list of (time, bytes), for which `read` waits.

    Where a written request vanishes, the connection is lost after `unacknowledged` seconds.
    """

    def __init__(self, network: Network, endpoint: str, unacknowledged: float) -> None:
        self._network = network
        self._endpoint = endpoint
        self._process = network.process()
        self._blips = network.blips(endpoint, self._process)
        self._heard = b""
        self._out: deque[tuple[float, bytes, Request | None]] = deque()
        self._at = network.now
        self._cut = self._dead = self._void = False
        self._used = 0
        self._unacknowledged = unacknowledged
        self._lost_at = math.inf
        network.open.add(self)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109
        self._befall(idle=True)
        blip = self._network.blip(self._endpoint, self._process, self._network.now)
        self._void = self._void or (blip is not None and blip.kind == "black_hole")
        self._heard += buffer
        head, separator, body = self._heard.partition(b"\r\n\r\n")
        if not separator:
            return
        length = next(
            (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
        )
        if len(body) < length:
            return
        self._heard = b""
        self._used += 1
        if self._dead or self._void or self._expired():
            self._dead = not self._void
            self._lost_at = self._network.now + self._unacknowledged if self._void else math.inf
            return
        asked = orjson.loads(body)
        self._answer(str(asked["model"]), int(asked["messages"][0]["content"].split()[1]), bool(asked.get("stream")))

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        while True:
            self._befall(idle=False)
            if self._dead:
                raise httpcore2.ReadError("connection reset by peer")
            now = self._network.now
            if now >= self._lost_at:
                raise httpcore2.ReadError("connection timed out")
            if self._out and self._out[0][0] <= now + 1e-9 and not self._void:
                _, data, request = self._out.popleft()
                self._at = now
                if request is not None:
                    request.billed = True
                if not data:
                    self._dead = True
                return data
            await self._until(now)

    async def _until(self, now: float) -> None:
        """Wait for the next bytes, or for a blip of the connection before them."""
        times = [self._out[0][0]] if self._out and not self._void else []
        times += [blip.start for blip in self._blips if blip.start > now]
        times += [self._lost_at] if self._lost_at < math.inf else []
        loop = self._network.loop
        waiting: asyncio.Future[None] = loop.create_future()
        due = min(times, default=now + 86_400.0)
        handle = loop.call_at(max(START + due, loop.time() + 1e-6), _set, waiting)
        try:
            await waiting
        finally:
            handle.cancel()

    async def aclose(self) -> None:
        self._network.open.discard(self)
        self._out.clear()
        self._dead = True

    async def start_tls(self, *args: Any, **named: Any) -> httpcore2.AsyncNetworkStream:
        raise NotImplementedError

    def get_extra_info(self, info: str) -> Any:
        if info != "is_readable":
            return None
        self._befall(idle=True)
        return (self._dead and self._network.world.seen) or self._expired()

    def _expired(self) -> bool:
        """Whether the server has closed the connection because it was idle for too long."""
        return self._used > 0 and not self._out and self._network.now - self._at > self._network.world.keep_alive

    def _befall(self, *, idle: bool) -> None:
        """Apply the blips since the last call of this method to the connection."""
        now = self._network.now
        for blip in self._blips:
            if not self._at < blip.start <= now:
                continue
            if blip.kind == "reset" or (idle and blip.kind == "reload" and self._used):
                self._dead = True
            elif (blip.kind == "black_hole" and not idle) or (blip.kind == "half_open" and idle and self._used):
                self._void = True

    def _answer(self, model: str, number: int, streamed: bool) -> None:
        network = self._network
        at = network.now + ONE_WAY
        key = model if self._endpoint == "openrouter" else f"other:{model}"
        answer = reply(network.world, network.world.model(key), at, number)
        request = Request(number, key, at, answer)
        network.requests.append(request)
        self._at = network.now
        if answer.status != 200:
            self._out.append((at + answer.steps[0][0], _refusal(answer), None))
            return
        for index, (after, what) in enumerate(answer.steps):
            word = f"n{number}at{int(at * 1000)}w{index} "  # no two answers share a word, so a seam is visible
            data, bill = _bytes(what, model, word), request if what == "finish" else None
            self._out.append((at + after + ONE_WAY, data, bill))


def _set(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


def _refusal(answer: Reply) -> bytes:
    message = answer.message or ("Rate limit exceeded" if answer.status == 429 else "overloaded")
    body = orjson.dumps({"error": {"code": answer.status, "message": message}})
    retry = b"" if answer.retry_after is None else b"Retry-After: %d\r\n" % int(answer.retry_after)
    return b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\n%sContent-Length: %d\r\n\r\n%s" % (
        answer.status, retry, len(body), body,
    )  # fmt: skip


def _bytes(what: str, model: str, word: str) -> bytes:
    if what == "head":
        return b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    if what == "cut":
        return b""
    delta: dict[str, Any] = {"delta": {"content": word}, "index": 0}
    if what == "token":
        return _chunk({"model": model, "choices": [delta]})
    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6, "cost": COST}
    end = {"model": model, "choices": [{"delta": {"content": ""}, "index": 0, "finish_reason": "stop"}]}
    last = _chunk({"model": model, "choices": [], "usage": usage})
    return _chunk(end) + last + _frame(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def _chunk(body: dict[str, Any]) -> bytes:
    return _frame(b"data: " + orjson.dumps(body) + b"\n\n")


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
