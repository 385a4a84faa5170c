"""A server that answers before it has read the whole request: its answer counts, not the connection that it closes."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.errors import FallbackError

from ..support.byteserver import plain
from ..support.certificates import server_context
from ..support.surfaces import ask

KEY = "sk-or-v1-test"
IMAGE = "data:image/png;base64," + 9_000_000 * "A"
"""More than the system takes at once from a sender whose receiver does not read."""
PROMPT: list[dict[str, Any]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": IMAGE}},
        ],
    }
]
Then = Literal["close", "half-close", "stay"]
"""What the server does after its answer. A close with unread bytes resets the connection (RFC 9293, section 3.6.1)."""


@dataclass
class EarlyServer:
    """Answers each request as soon as its head has come, then reads no more."""

    answer: bytes
    then: Then
    tls: ssl.SSLContext | None = None
    requests: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> EarlyServer:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        scheme = "http" if self.tls is None else "https"
        self.base_url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}/api/v1"
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        self._over.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Any, *args: Any) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, connection: socket.socket) -> None:
        if self.tls is not None:
            connection = self.tls.wrap_socket(connection, server_side=True)
        with connection, contextlib.suppress(OSError):
            while not connection.recv(65_536).startswith(b"POST"):
                pass
            self.requests += 1
            connection.sendall(self.answer)
            if self.then == "half-close":
                connection.shutdown(socket.SHUT_WR)
            if self.then != "close":
                self._over.wait()


@pytest.fixture(params=["plain", "TLS"])
def tls(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ssl.SSLContext | None]:
    if request.param == "plain":
        yield None
        return
    made = server_context(tmp_path)
    if made is None:
        pytest.skip("no openssl, which makes the server's certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(made[1]))
    yield made[0]


def refusal(status: str, message: str) -> bytes:
    return plain(json.dumps({"error": {"message": message, "code": int(status[:3])}}).encode(), status=status)


TOO_LARGE = refusal("413 Payload Too Large", "Request Entity Too Large")
REFUSALS = {
    "413": (TOO_LARGE, "invalid_request"),
    "413-without-length": (b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\n\r\nToo large", "invalid_request"),
    "401": (refusal("401 Unauthorized", "No auth credentials found"), "auth"),
    "503": (refusal("503 Service Unavailable", "No instances available"), "overloaded"),
    "behind-an-interim-answer": (b"HTTP/1.1 102 Processing\r\n\r\n" + TOO_LARGE, "invalid_request"),
}


@pytest.mark.parametrize("then", ["close", "half-close", "stay"])
async def test_too_large_is_told_as_such(then: Then, tls: ssl.SSLContext | None) -> None:
    with EarlyServer(TOO_LARGE, then, tls) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            with pytest.raises(FallbackError) as caught:
                await client.achat(PROMPT)
    assert "413" in str(caught.value)
    assert [(attempt.kind, attempt.status) for attempt in caught.value.attempts] == [("invalid_request", 413)]
    assert server.requests == 1


@pytest.mark.parametrize("surface", ["chat", "achat", "stream", "astream"])
@pytest.mark.parametrize("name", REFUSALS)
def test_each_refusal_on_each_surface(name: str, surface: str) -> None:
    answer, kind = REFUSALS[name]
    with (
        EarlyServer(answer, "close") as server,
        FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client,
    ):
        outcome = ask(client, surface, PROMPT)
    assert {attempt.kind for attempt in outcome.raised.attempts} == {kind}
