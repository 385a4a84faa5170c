"""A server of `openrouter_fallback.serve` in front of an emulator, in a thread or as a process, and its callers."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx2

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve import App, Options
from openrouter_fallback.serve.server import Server, bound

from ..cases.matrix import FIRST, SECOND
from .commands import command

KEY = "serve-key-0123456789"
PROMPT = "a prompt that stands in no log"
CALL: dict[str, Any] = {"model": "default", "messages": [{"role": "user", "content": PROMPT}]}
PACE = 0.02


@dataclass
class Served:
    """A running server."""

    base_url: str
    app: App
    client: FallbackClient

    @property
    def origin(self) -> str:
        return self.base_url.removesuffix("/v1")

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])


@contextmanager
def serving(client: FallbackClient, options: Options | None = None) -> Iterator[Served]:
    """Run a server with `client` on a free port. It stops at the end of the `with` block."""
    options = replace(options or Options(access_log=False), port=0)
    app, listener = App(client, options), bound(options)
    started: Future[str] = Future()
    server = Server(app, listener, started.set_result)

    def run() -> None:
        try:
            server.run()
        except BaseException as failed:
            if started.done():
                raise
            started.set_exception(failed)

    thread = threading.Thread(target=run, name="serve", daemon=True)
    thread.start()
    try:
        yield Served(started.result(timeout=10), app, client)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(timeout=10)
        listener.close()


def post(base_url: str, body: dict[str, Any] = CALL, key: str = "", **headers: str) -> httpx2.Response:
    if key:
        headers["authorization"] = f"Bearer {key}"
    return httpx2.post(f"{base_url}/chat/completions", json=body, headers=headers, timeout=30)


@contextmanager
def process(
    emulator: Emulator, *args: str, before: str = "", **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The command as a process, and its base URL; `before` is Python that runs first in it."""
    environment = {**os.environ, "OPENROUTER_BASE_URL": emulator.base_url, "OPENROUTER_API_KEY": emulator.api_key}
    chain = () if "--config" in args else ("-m", FIRST, "-m", SECOND)
    started = command("serve", *chain, "--port", "0", *args, before=before)
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(started, env={**environment, **variables}, **pipes) as child:
        assert child.stderr is not None
        try:
            said: list[str] = []  # the configuration's name, warnings, and then where it serves
            while (found := re.search(r"http://\S+/v1", "".join(said))) is None:
                said.append(child.stderr.readline())
                assert said[-1], said
            yield child, found[0]
        finally:
            child.kill()


class Streaming:
    """A call in a thread of its own; `begun` is set with its first line. Once `leave` is set it stops reading."""

    def __init__(self, base_url: str) -> None:
        self.lines: list[str] = []
        self.begun = threading.Event()
        self.leave = threading.Event()
        self._url = base_url
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        assert self.begun.wait(10)

    def _read(self) -> None:
        body = {**CALL, "stream": True}
        with httpx2.stream("POST", f"{self._url}/chat/completions", json=body, timeout=30) as response:
            for line in filter(None, response.iter_lines()):
                self.lines.append(line.removeprefix("data: "))
                self.begun.set()
                if self.leave.is_set():
                    break

    def ended(self) -> list[str]:
        self._thread.join(15)
        assert not self._thread.is_alive()
        return self.lines


@contextmanager
def uploading(base_url: str) -> Iterator[Callable[[], bytes]]:
    """A call whose headers the server has read and whose body is still to come; what sends it and reads the answer."""
    body = json.dumps(CALL).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
    with socket.create_connection(("127.0.0.1", httpx2.URL(base_url).port or 0), timeout=15) as connection:
        kind = "Content-Type: application/json\r\nConnection: close\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall((head + kind).encode())
        assert connection.recv(1000).startswith(b"HTTP/1.1 100 ")

        def answer() -> bytes:
            connection.sendall(body)
            return b"".join(iter(lambda: connection.recv(65536), b""))

        yield answer
