"""No answer is taken for another call's: a connection with anything left over, early or unread is closed.

Bytes that come between the last look at a connection and the server's reading of the request cannot be told from the
answer by anybody, in HTTP/1.1; the servers here send theirs before that.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpcore2
import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.http.socket import JoinedStream

from ..support.byteserver import Asked, ByteServer, Step, body, chunked, events, plain, reply
from ..support.certificates import server_context

_ANOTHER = plain(body("another call"))
# Each in one segment: what arrives after the next request was written cannot be told from its answer.
_BEHIND: dict[str, Callable[[str], list[Step]]] = {
    "two answers in one segment": lambda nonce: [plain(body(nonce)) + _ANOTHER],
    "two streams in one segment": lambda nonce: [chunked(events(nonce)) + chunked(events("another call"))],
    "an answer behind the last chunk": lambda nonce: [chunked(events(nonce)) + _ANOTHER],
    "half an answer behind the last chunk": lambda nonce: [chunked(events(nonce)) + _ANOTHER[:40]],
    "an empty answer with a body": lambda nonce: [
        plain(body(nonce)) + b"HTTP/1.1 204 No Content\r\n\r\n" + _ANOTHER,
    ],
    "an interim answer behind": lambda nonce: [plain(body(nonce)) + b"HTTP/1.1 103 Early Hints\r\n\r\n"],
    "a line end behind": lambda nonce: [plain(body(nonce)) + b"\r\n"],
    "junk behind": lambda nonce: [plain(body(nonce)) + b"\x00\xff junk"],
}


def _served(faulty: Callable[[str], list[Step]]) -> Callable[[Asked], Iterable[Step]]:
    """The first request of each connection has its odd answer, the next ones would be answered properly."""
    return lambda asked: faulty(asked.nonce) if asked.number == 0 else [plain(body(asked.nonce))]


@pytest.fixture
def client_for() -> Iterator[Callable[[ByteServer], FallbackClient]]:
    made: list[FallbackClient] = []

    def make(server: ByteServer) -> FallbackClient:
        made.append(FallbackClient(["a/a"], base_url=server.base_url, api_key="sk-or-v1-test"))
        return made[-1]

    yield make
    for client in made:
        client.close()


MakeClient = Callable[[ByteServer], FallbackClient]


@pytest.mark.parametrize("surface", ["chat", "stream"])
@pytest.mark.parametrize("case", list(_BEHIND))
def test_what_stands_behind_an_answer_is_nobodys(client_for: MakeClient, case: str, surface: str) -> None:
    with ByteServer(_served(_BEHIND[case])) as server:
        client = client_for(server)
        for nonce in ("one", "two", "three"):
            if surface == "chat":
                text = client.chat(nonce).text
            else:
                with client.stream(nonce) as stream:
                    text = "".join(piece.text for piece in stream)
            assert text == reply(nonce)
        assert [asked.connection for asked in server.requests] == [0, 1, 2]


def test_what_comes_on_an_idle_connection_is_nobodys(client_for: MakeClient) -> None:
    with ByteServer(lambda asked: [plain(body(asked.nonce))]) as server:
        client = client_for(server)
        assert client.chat("one").text == reply("one")
        server.send(_ANOTHER)
        answer = client.chat("two")
        assert answer.text == reply("two")
        assert len(answer.attempts) == 1
        assert [asked.connection for asked in server.requests] == [0, 1]


def test_an_answer_before_the_request_is_nobodys(client_for: MakeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openrouter_fallback.decision.rounds.RECONNECT_SECONDS", 0.0)
    # The connection is used only when the early answer has arrived.
    connected = _connected_late(monkeypatch)
    greetings = {0: [_ANOTHER]}
    with ByteServer(lambda asked: [plain(body(asked.nonce))], lambda number: greetings.get(number, [])) as server:
        client = client_for(server)
        answer = client.chat("one")
        assert answer.text == reply("one")
        assert [attempt.kind for attempt in answer.attempts] == ["connection", None]
        assert [asked.connection for asked in server.requests] == [1]
        assert connected


def _connected_late(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Wait, once a connection is made, until it is readable (the first) or not at all (the others)."""
    import select

    from openrouter_fallback.http import socket

    really = socket.Backend.connect_tcp
    made: list[object] = []

    async def connect(self: socket.Backend, *args: object, **kwargs: object) -> object:
        stream = await really(self, *args, **kwargs)  # type: ignore[arg-type]
        if not made:
            select.select([stream.get_extra_info("socket")], [], [], 10)
        made.append(stream)
        return stream

    monkeypatch.setattr(socket.Backend, "connect_tcp", connect)
    return made


@pytest.mark.parametrize("interim", [1, 3])
def test_interim_answers_are_read_over(client_for: MakeClient, interim: int) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * interim
    with ByteServer(lambda asked: [b"HTTP/1.1 100 Continue\r\n\r\n", hints + plain(body(asked.nonce))]) as server:
        client = client_for(server)
        for nonce in ("one", "two"):
            assert client.chat(nonce).text == reply(nonce)
        assert [asked.connection for asked in server.requests] == [0, 0]


class _Flood(httpcore2.AsyncNetworkStream):
    """A connection that brings the same bytes again and again."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109
        return self._data

    def get_extra_info(self, info: str) -> Any:
        return None


@pytest.mark.parametrize("at_once", [300, 50])
async def test_interim_answers_without_end_are_not_read_on(at_once: int) -> None:
    """64 kB of them held the loop for 35 ms, again and again until the deadline."""
    stream = JoinedStream(_Flood(b"HTTP/1.1 103 Early Hints\r\n\r\n" * at_once))
    for _ in range(200 // at_once):
        await stream.read(65536)
    with pytest.raises(httpcore2.RemoteProtocolError, match="more than 200 interim responses"):
        await stream.read(65536)
    assert stream.answered, "the request is not sent again by the connection"


# TLS: what stands behind an answer may wait in the answer's record, or in a record that was read with it.

RECORD = 16_384
"""The plain bytes of the longest record (RFC 8446, section 5.1)."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    made = server_context(tmp_path_factory.mktemp("tls"))
    if made is None:
        pytest.skip("no openssl, which makes the server's certificate")
    return made


@pytest.fixture
def tls(certificate: tuple[ssl.SSLContext, Path], monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[1]))
    return certificate[0]


def _padded(nonce: str) -> bytes:
    """A whole answer that fills one record."""
    short = plain(body(nonce) + b" " * (RECORD - 1000))
    return plain(body(nonce) + b" " * (RECORD - 1000 + RECORD - len(short)))


_BEHIND_TLS: dict[str, Callable[[str], list[Step]]] = {
    **{
        case: _BEHIND[case] for case in ("two answers in one segment", "an answer behind the last chunk", "junk behind")
    },
    "an answer in the next record": lambda nonce: [_padded(nonce) + _ANOTHER],
    "half an answer in the next record": lambda nonce: [_padded(nonce) + _ANOTHER[:40]],
}


@pytest.mark.parametrize("surface", ["chat", "stream"])
@pytest.mark.parametrize("case", list(_BEHIND_TLS))
def test_what_stands_behind_an_answer_over_tls_is_nobodys(
    client_for: MakeClient, tls: ssl.SSLContext, case: str, surface: str
) -> None:
    assert len(_padded("one")) == RECORD
    with ByteServer(_served(_BEHIND_TLS[case]), tls=tls) as server:
        client = client_for(server)
        for nonce in ("one", "two", "three"):
            if surface == "chat":
                text = client.chat(nonce).text
            else:
                with client.stream(nonce) as stream:
                    text = "".join(piece.text for piece in stream)
            assert text == reply(nonce)
        assert [asked.connection for asked in server.requests] == [0, 1, 2]


def test_what_comes_on_an_idle_connection_over_tls_is_nobodys(client_for: MakeClient, tls: ssl.SSLContext) -> None:
    with ByteServer(lambda asked: [plain(body(asked.nonce))], tls=tls) as server:
        client = client_for(server)
        assert client.chat("one").text == reply("one")
        server.send(_ANOTHER)
        answer = client.chat("two")
        assert answer.text == reply("two")
        assert len(answer.attempts) == 1
        assert [asked.connection for asked in server.requests] == [0, 1]


def test_a_clean_connection_over_tls_is_used_again(client_for: MakeClient, tls: ssl.SSLContext) -> None:
    with ByteServer(lambda asked: [_padded(asked.nonce)], tls=tls) as server:
        client = client_for(server)
        for nonce in ("one", "two", "three"):
            assert client.chat(nonce).text == reply(nonce)
        assert [asked.connection for asked in server.requests] == [0, 0, 0]


async def test_a_tunnel_through_a_proxy_is_used_again(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked in plain text; the same connection then carries TLS."""
    asked: list[bytes] = []
    over = asyncio.Event()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)
        writer.close()

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method, target, _ = (await reader.readuntil(b"\r\n\r\n")).split(b" ", 2)
        asked.append(method)
        host, _, port = target.decode().rpartition(":")
        there = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(pass_on(reader, there[1]), pass_on(there[0], writer), return_exceptions=True)
        finally:
            for end in (there[1], writer):
                end.close()
            over.set()

    async with await asyncio.start_server(tunnel, "127.0.0.1", 0) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
        with ByteServer(lambda one: [_padded(one.nonce)], tls=tls) as server:
            async with FallbackClient(["a/a"], base_url=server.base_url, api_key="sk-or-v1-test") as client:
                for nonce in ("one", "two", "three"):
                    assert (await client.achat(nonce)).text == reply(nonce)
            assert [one.connection for one in server.requests] == [0, 0, 0]
        await over.wait()
    assert asked == [b"CONNECT"]
