"""Broken and hostile requests: the right status, nothing sent upstream, and the next call is fine.

They go over a plain socket, byte by byte as given: no client would send most of them.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest

from openrouter_fallback import FallbackClient
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.serve import ApiKey, ApiKeys, Bounds, Options

from ..support.serving import Served, serving

KEY = "serve-key-0123456789"
GOOD = {"model": "default", "messages": [{"role": "user", "content": "Hello"}]}
BOUNDS = Bounds(body_bytes=20_000, header_bytes=4_000, header_seconds=0.3, body_seconds=0.3)


@pytest.fixture(scope="module")
def server(shared: FallbackClient) -> Iterator[Served]:
    keys = ApiKeys([ApiKey.of("tests", KEY), ApiKey.of("narrow", f"{KEY}-narrow", ["task:coding"])])
    with serving(shared, Options(keys=keys, bounds=BOUNDS, access_log=False)) as running:
        yield running


def post(body: bytes, *headers: str, path: str = "/v1/chat/completions", key: str = KEY, length: bool = True) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Authorization: Bearer {key}", *headers]
    if not any(line.lower().startswith("content-type") for line in headers):
        lines.append("Content-Type: application/json")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def asking(**changes: object) -> bytes:
    return post(json.dumps({**GOOD, **changes}).encode())


def without(name: str) -> bytes:
    return post(json.dumps({key: value for key, value in GOOD.items() if key != name}).encode())


_WHOLE = json.dumps(GOOD).encode()
_CHUNKED = ("Transfer-Encoding: chunked",)
_IN_CHUNKS = b"%x\r\n%s\r\n0\r\n\r\n" % (len(_WHOLE), _WHOLE)
_DEEP = b'{"model": "default", "messages": ' + b"[" * 600 + b"]" * 600 + b"}"
_DEEP_PARAM = _WHOLE[:-1] + b', "metadata": {"a": ' + b"[" * 500 + b"]" * 500 + b"}}"

BROKEN: list[tuple[str, bytes, int]] = [
    ("not JSON", post(b"hello"), 400),
    ("no body", post(b""), 400),
    ("half JSON", post(_WHOLE[:-5]), 400),
    ("not UTF-8", post(b'{"model": "\xff\xfe"}'), 400),
    ("half a surrogate", post(b'{"model": "default", "messages": [{"role": "user", "content": "\\ud800"}]}'), 400),
    ("NaN", post(_WHOLE[:-1] + b', "temperature": NaN}'), 400),
    ("a list", post(b"[1, 2]"), 400),
    ("a string", post(b'"default"'), 400),
    ("nested too deep", post(_DEEP), 400),
    ("a parameter nested too deep", post(_DEEP_PARAM), 400),
    ("no model", without("model"), 400),
    ("no messages", without("messages"), 400),
    ("model of a wrong type", asking(model=1), 400),
    ("messages of a wrong type", asking(messages="Hello"), 400),
    ("empty messages", asking(messages=[]), 400),
    ("a message of a wrong type", asking(messages=["Hello"]), 400),
    ("a message without a role", asking(messages=[{"content": "Hello"}]), 400),
    ("a content of a wrong type", asking(messages=[{"role": "user", "content": {"text": "Hello"}}]), 400),
    ("stream of a wrong type", asking(stream="yes"), 400),
    ("temperature of a wrong type", asking(temperature="hot"), 400),
    ("max_tokens of a wrong type", asking(max_tokens=True), 400),
    ("too many choices", asking(n=100_000), 400),
    ("tools of a wrong type", asking(tools=["look_up"]), 400),
    ("a misspelt parameter", asking(temprature=0.5), 400),
    ("unknown model", asking(model="openai/gpt-99"), 404),
    ("unknown task", asking(model="task:codign"), 404),
    ("an unknown one among models", asking(models=["openai/gpt-99"]), 404),
    ("a long unknown model", asking(model="x" * 10_000), 404),
    ("no JSON type", post(_WHOLE, "Content-Type: text/plain"), 415),
    ("compressed", post(_WHOLE, "Content-Encoding: gzip"), 415),
    ("wrong key", post(_WHOLE, key="wrong"), 401),
    ("wrong key, and a body that never ends", post(_WHOLE, "Content-Length: 9999", key="wrong", length=False), 401),
    ("another path, and a body that never ends", post(b"x", "Content-Length: 9999", path="/v2", length=False), 404),
    ("a body where none belongs", post(_WHOLE, path="/healthz").replace(b"POST", b"GET", 1), 400),
    ("empty key", post(_WHOLE, key=""), 401),
    ("two keys", post(_WHOLE, "Authorization: Bearer other"), 401),
    ("a chain that the key may not use", post(_WHOLE, key=f"{KEY}-narrow"), 403),
    ("too large", post(b"x" * 100_000), 413),
    ("too large, told before", post(_WHOLE, f"Content-Length: {100 * 2**20}", length=False), 413),
    ("too large, in chunks", post(b"fffff\r\n" + b"x" * 0xFFFFF, *_CHUNKED, length=False), 413),
    ("headers too large", post(_WHOLE, f"X-Long: {'x' * 5_000}"), 431),
    ("headers far too large", post(_WHOLE, f"X-Long: {'x' * 200_000}"), 431),
    ("many headers", post(_WHOLE, *[f"X-{n}: x" for n in range(2_000)]), 431),
    ("headers that never end", b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ", 408),
    ("a body that never ends", post(_WHOLE[:10], f"Content-Length: {len(_WHOLE)}", length=False), 408),
    ("both lengths", post(b"0\r\n\r\n", *_CHUNKED), 400),
    ("two lengths", post(_WHOLE, "Content-Length: 3"), 400),
    ("a negative length", post(_WHOLE, "Content-Length: -1", length=False), 400),
    ("a length that is no number", post(_WHOLE, "Content-Length: 0x10", length=False), 400),
    ("an unknown transfer coding", post(_WHOLE, "Transfer-Encoding: xchunked", length=False), 501),
    ("no transfer coding at all", post(_WHOLE, "Transfer-Encoding: identity", length=False), 501),
    ("two transfer codings", post(_IN_CHUNKS, "Transfer-Encoding: gzip, chunked", length=False), 501),
    ("chunked, then not", post(_IN_CHUNKS, *_CHUNKED, "Transfer-Encoding: identity", length=False), 501),
    ("chunked twice", post(_IN_CHUNKS, *_CHUNKED, *_CHUNKED, length=False), 501),
    ("a control before the transfer coding", post(_IN_CHUNKS, "Transfer-Encoding: \x0bchunked", length=False), 400),
    ("chunked with white space before the colon", post(_IN_CHUNKS, "Transfer-Encoding : chunked"), 400),
    ("chunked in HTTP/1.0", post(_IN_CHUNKS, *_CHUNKED, length=False).replace(b"HTTP/1.1", b"HTTP/1.0"), 400),
    ("a length with a sign", post(_WHOLE, f"Content-Length: +{len(_WHOLE)}", length=False), 400),
    ("a length with white space", post(_WHOLE, f"Content-Length: {len(_WHOLE)} 1", length=False), 400),
    ("a list of two lengths", post(_WHOLE, f"Content-Length: {len(_WHOLE)}, 3", length=False), 400),
    ("a length of 5000 digits", post(_WHOLE, f"Content-Length: {'9' * 5_000}", length=False), 400),
    ("a chunk of hexadecimal prefix", post(b"0x5\r\nhello\r\n0\r\n\r\n", *_CHUNKED, length=False), 400),
    ("a chunk of negative size", post(b"-5\r\nhello\r\n0\r\n\r\n", *_CHUNKED, length=False), 400),
    ("a chunk larger than 64 bits", post(b"ffffffffffffffff0\r\nx", *_CHUNKED, length=False), 408),
    ("a chunk longer than it says", post(_IN_CHUNKS.replace(b"\r\n0", b"XX0"), *_CHUNKED, length=False), 400),
    ("a bare carriage return", post(_WHOLE, "X-Odd: 1\rX-Two: 2"), 400),
    ("a header without a name", post(_WHOLE, ": 1"), 400),
    ("a null in a header's name", post(_WHOLE, "X\x00Y: 1"), 400),
    ("a line before the request", b"\r\n" + b" " + post(_WHOLE), 400),
    ("a whole URL as its path", post(_WHOLE, path="http://evil.example/v1/chat/completions"), 404),
    ("a tunnel", b"CONNECT evil.example:443 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", 404),
    ("HTTP/2 without asking", b"PRI * HTTP/2.0\r\nHost: 127.0.0.1\r\n\r\nSM\r\n\r\n", 505),
    ("broken chunks", post(b"zz\r\nhello\r\n0\r\n\r\n", *_CHUNKED, length=False), 400),
    ("white space before the colon", post(_WHOLE, "X-Odd : 1"), 400),
    ("a line break in a header", post(_WHOLE, "X-Odd: 1\n2\x00"), 400),
    ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
    ("no version", b"POST /v1/chat/completions\r\n\r\n", 400),
    ("two hosts", post(_WHOLE, "Host: evil.example"), 400),
    ("another host", post(_WHOLE).replace(b"Host: 127.0.0.1", b"Host: evil.example:8788"), 403),
    ("a host with a user", post(_WHOLE).replace(b"Host: 127.0.0.1", b"Host: evil@127.0.0.1"), 403),
    ("a host that ends otherwise", post(_WHOLE).replace(b"Host: 127.0.0.1", b"Host: localhost.evil.example"), 403),
    ("a list of hosts", post(_WHOLE).replace(b"Host: 127.0.0.1", b"Host: localhost, evil.example"), 403),
    ("an empty host", post(_WHOLE).replace(b"Host: 127.0.0.1", b"Host: "), 403),
    ("no host, in HTTP/1.0", post(_WHOLE).replace(b"HTTP/1.1\r\nHost: 127.0.0.1", b"HTTP/1.0"), 403),
    ("no host", post(_WHOLE).replace(b"Host: 127.0.0.1\r\n", b""), 400),
    ("another method", post(_WHOLE).replace(b"POST", b"PUT", 1), 405),
    ("another path", post(_WHOLE, path="/v1/embeddings"), 404),
    ("a path that climbs", post(_WHOLE, path="/v1/../../etc/passwd"), 404),
    ("preflight of a page", post(b"").replace(b"POST", b"OPTIONS", 1), 405),
]


def exchange(server: Served, request: bytes) -> bytes:
    """Send the bytes, and read until the server closes or one response is whole."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        try:
            connection.sendall(request)
        except OSError:
            pass  # refused while it was being sent
        answer = b""
        while not _is_whole(answer) and (data := connection.recv(65536)):
            answer += data
    return answer


def _is_whole(answer: bytes) -> bool:
    head, ended, body = answer.partition(b"\r\n\r\n")
    if not ended:
        return False
    lines = head.lower().split(b"\r\n")
    return len(body) >= next((int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length")), 0)


@pytest.mark.parametrize(("request_", "status"), [row[1:] for row in BROKEN], ids=[row[0] for row in BROKEN])
def test_a_broken_request_is_refused(
    server: Served, client: FallbackClient, emulator: Emulator, request_: bytes, status: int
) -> None:
    answer = exchange(server, request_)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:500]
    error = json.loads(body)["error"]
    assert error["message"]
    assert error["metadata"]["error_type"]
    assert KEY.encode() not in answer
    assert emulator.log == []
    assert exchange(server, post(_WHOLE)).startswith(b"HTTP/1.1 200 ")
    assert emulator.count() == 1


def test_a_request_hidden_in_the_body_of_a_refused_one_is_not_answered(server: Served, emulator: Emulator) -> None:
    hidden = post(_WHOLE)
    answer = exchange(server, post(b"0\r\n\r\n" + hidden, *_CHUNKED))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in answer.lower()
    assert emulator.log == []


@pytest.mark.parametrize("key", ["wrong", KEY])
def test_a_client_that_never_ends_its_body_is_dropped(server: Served, key: str) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        connection.sendall(post(_WHOLE[:10], "Content-Length: 9999", key=key, length=False))
        while connection.recv(1000):
            pass


def test_a_connection_that_says_nothing_is_closed(server: Served) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as connection:
        assert connection.recv(100) == b""
