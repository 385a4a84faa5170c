"""What the server lets in: loopback names, one key, bodies up to a bound; and that no page elsewhere may read it."""

from __future__ import annotations

import socket
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.http import guard

from ..helpers import Asker, request

PATHS = ["/chat/completions", "/models", "/key", "/nowhere"]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", "[::2]:1"])
def test_other_hosts_are_refused(emulator: Emulator, ask: Asker, host: str, path: str) -> None:
    method = "POST" if path == PATHS[0] else "GET"
    response = ask.http.request(method, path, json=request(), headers={"Host": host})
    assert response.status_code == 403
    assert emulator.log == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.1.2.3:9", "[::1]:80", "localhost."])
def test_loopback_names_pass(ask: Asker, host: str) -> None:
    assert ask.http.post("/chat/completions", json=request(), headers={"Host": host}).status_code == 200
    assert ask.http.get("/models", headers={"Host": host}).status_code == 200


def test_a_refusal_says_what_is_answered(ask: Asker) -> None:
    error = ask.http.get("/models", headers={"Host": "evil.example"}).json()["error"]
    assert error == {
        "code": 403,
        "message": "The emulator answers requests of 127.0.0.1, [::1] and localhost, not of 'evil.example'.",
    }


@pytest.mark.parametrize("stream", [True, False])
def test_no_other_origin_may_read_it(emulator: Emulator, ask: Asker, stream: bool) -> None:
    emulator.fault("server", requests=1)
    for _ in range(2):
        response = ask.http.post(
            "/chat/completions", json=request(stream=stream), headers={"Origin": "http://evil.example"}
        )
        assert not [name for name in response.headers if name.startswith("access-control")]
    preflight = ask.http.options("/chat/completions", headers={"Origin": "http://evil.example"})
    assert preflight.status_code >= 400
    assert not [name for name in preflight.headers if name.startswith("access-control")]


def test_the_key_is_random_unless_given() -> None:
    one, other, given = Emulator(), Emulator(), Emulator(api_key="mine")
    assert one.api_key != other.api_key
    assert one.api_key.startswith("sk-or-v1-")
    assert len(one.api_key) == len("sk-or-v1-") + 64
    assert given.api_key == "mine"


def test_another_key_is_refused(emulator: Emulator) -> None:
    with httpx2.Client(base_url=emulator.base_url) as http:
        for header in ({}, {"Authorization": "Bearer sk-or-v1-emulator"}, {"Authorization": emulator.api_key}):
            assert http.post("/chat/completions", json=request(), headers=header).status_code == 401
            assert http.get("/key", headers=header).status_code == 401


def test_a_body_has_a_bound(emulator: Emulator, ask: Asker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_BODY_BYTES", 2**20)
    response = ask.post("x" * 2**20)
    assert response.status_code == 413
    assert response.json()["error"]["metadata"] == {"error_type": "payload_too_large"}
    assert response.headers["connection"] == "close"
    assert emulator.log == []
    assert ask.post("x" * 2**19).status_code == 200


def test_an_endless_body_is_not_waited_for(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard, "MOST_BODY_BYTES", 2**20)
    address = urlsplit(emulator.base_url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=10)) as raw:
        raw.sendall(b"POST /api/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        got: Any = b""
        for _ in range(17):
            raw.sendall(piece)
        while b"\r\n\r\n" not in got:
            got += raw.recv(65536)
    assert got.startswith(b"HTTP/1.1 413 ")


async def test_a_body_in_many_pieces_is_joined_once() -> None:
    """Each piece is looked at once: what is joined is the list of them."""
    left = [b"x"] * 50_000

    async def receive() -> Any:
        return {"type": "http.request", "body": left.pop(), "more_body": bool(left)}

    assert await guard.read_body(receive) == b"x" * 50_000
