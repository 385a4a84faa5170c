"""The responses of a hostile server: a table of faults, each a function of dice and of the correct bytes."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from random import Random
from typing import Any

from ..support.byteserver import Step

Parts = list[bytes]
"""The correct body: the events of a stream, or one whole body."""
Fault = Callable[[Random, Parts, bool], Iterable[Step]]
"""A function of dice, the correct body, and whether the body is a stream; returns the steps of the server."""

_EVENTS, _JSON = "text/event-stream", "application/json"
MARK = b"@the-key-that-was-sent-1@"
"""The server replaces this mark by the API key of the request. The keys of the suite have the same length."""
ANOTHER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 129\r\n\r\n"
    + b'{"id":"gen-x","model":"a/a","choices":[{"index":0,"finish_reason":"stop","message":'
    + b'{"role":"assistant","content":"of another"}}]}'
)


def whole(parts: Parts, stream: bool, headers: str = "", *, status: str = "200 OK", chunks: bool = True) -> bytes:
    kind = _EVENTS if stream else _JSON
    head = f"HTTP/1.1 {status}\r\ncontent-type: {kind}\r\n{headers}"
    if not chunks:
        body = b"".join(parts)
        return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
    body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts if part)
    return f"{head}transfer-encoding: chunked\r\n\r\n".encode() + body + b"0\r\n\r\n"


def _at_any_place(dice: Random, data: bytes) -> int:
    """A random position, more often in the head, where every byte has another meaning."""
    return dice.randrange(min(len(data), 200)) if dice.random() < 0.5 else dice.randrange(len(data))


def healthy(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream, chunks=dice.random() < 0.7)]


def slow_bytes(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    data, steps = whole(parts, stream), []
    while data:
        size = dice.choice((1, 2, 3, 50, 400))
        steps.append(data[:size])
        data = data[size:]
    return steps


def reset(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    data = whole(parts, stream)
    return [data[: _at_any_place(dice, data)], "reset"]


def close(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    data = whole(parts, stream, chunks=dice.random() < 0.5)
    return [data[: _at_any_place(dice, data)], "close"]


def no_byte(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [dice.choice(("reset", "close"))]


def garbage_before(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [dice.randbytes(dice.randint(1, 300)) + whole(parts, stream), "close"]


def garbage_behind(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream) + dice.randbytes(dice.randint(1, 300))]


def another_behind(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream, chunks=dice.random() < 0.5) + ANOTHER]


def another_cut_behind(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream) + ANOTHER[: dice.randint(1, len(ANOTHER))]]


def interim(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    hints = b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" * dice.randint(1, 30)
    return [b"HTTP/1.1 100 Continue\r\n\r\n", hints + whole(parts, stream)]


def upgraded(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n" + whole(parts, stream), "close"]


def wrong_length(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    body = b"".join(parts)
    length = max(0, len(body) + dice.choice((-20, -1, 1, 20)))
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {_EVENTS if stream else _JSON}\r\ncontent-length: {length}\r\n\r\n"
    return [head.encode() + body, "close"]


def odd_head(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    odd = dice.choice(
        (
            "content-length: 5\r\n",
            "content-length: 5\r\ncontent-length: 6\r\n",
            "content-length: -1\r\n",
            "content-length: 0x10\r\n",
            "transfer-encoding: gzip, chunked\r\n",
            "transfer-encoding: identity\r\n",
            " folded: x\r\n",
            "no colon\r\n",
            "x" * 120_000 + ": y\r\n",
            "".join(f"x-{number}: y\r\n" for number in range(3000)),
            "nul: \x00\r\n",
            "retry-after: 1e999\r\n",
            "content-type: \xff\r\n",
        )
    )
    head = f"HTTP/1.1 200 OK\r\n{odd}content-type: {_EVENTS if stream else _JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head.encode("latin-1") + whole(parts, stream).partition(b"\r\n\r\n")[2], "close"]


def odd_status(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    line = dice.choice(
        (b"HTTP/2 200", b"HTTP/1.1 99 X", b"HTTP/1.1 1000 X", b"ICY 200 OK", b"HTTP/1.1", b"\r\n\r\n", b"")
    )
    return [line + b"\r\n" + whole(parts, stream).partition(b"\r\n")[2], "close"]


def no_body(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream, status=dice.choice(("204 No Content", "205 Reset", "304 Same")))]


def bad_chunk(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    data = whole(parts, stream)
    at = data.index(b"\r\n\r\n") + 4
    broken = dice.choice(
        (b"zz\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", b"\r\n", b"5\r\nab", b"7fffffff\r\nab", b"1;" * 9000)
    )
    return [data[:at] + broken + data[at:], "close"]


def odd_chunks(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    """Chunks of one byte each, with extensions and a trailer: unusual, but correct."""
    data = b"".join(parts)
    chunks = b"".join(b"1;x=y\r\n%b\r\n" % data[at : at + 1] for at in range(len(data)))
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {_EVENTS if stream else _JSON}\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head.encode() + chunks + b"0\r\nx-trailer: y\r\n\r\n"]


def unusual(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    """Unusual, but correct: a byte order mark, members of gzip, lines that end at a bare LF and look like a head."""
    kind, body = dice.randrange(3), b"".join(parts)
    if kind == 0:
        return [whole([b"\xef", b"\xbb\xbf", *parts], stream)]
    if kind == 1:
        at = dice.randrange(len(body) + 1)
        members = [gzip.compress(part) for part in (b"", body[:at], body[at:])]
        return [whole(members, stream, "content-encoding: gzip\r\n", chunks=dice.random() < 0.5)]
    like = b"\r\ntransfer-encoding: chunked\r\n\r\n1\r\n \r\n1\r\n \r\n"
    body = b": " + like + body if stream else like[:2] + body
    head = f"HTTP/1.1 200 OK\ncontent-type: {_EVENTS if stream else _JSON}\ncontent-length: {len(body)}\n\n"
    return [head.encode() + body]


def interim_flood(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [b"HTTP/1.1 103 Early Hints\r\n\r\n" * dice.randint(300, 3000), whole(parts, stream), "close"]


def zipped(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    data = gzip.compress(b"".join(parts))
    kind = dice.randrange(6)
    if kind == 1:
        data = data[: dice.randrange(len(data))]
    elif kind == 2:
        at = dice.randrange(10, len(data) - 8)
        data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    elif kind == 3:
        data = gzip.compress(data)
    elif kind == 4:
        data = gzip.compress(b" " * (1 << 20))
    elif kind == 5:
        data += b"junk"
    encoding = "gzip, gzip" if kind == 3 else "gzip"
    return [whole([data], stream, f"content-encoding: {encoding}\r\n", chunks=dice.random() < 0.5)]


def other_encoding(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    return [whole(parts, stream, f"content-encoding: {dice.choice(('br', 'zstd', 'compress', 'x'))}\r\n")]


def status(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    code = dice.choice((400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529, 302, 308, 599))
    body: Any = dice.choice(
        (
            {"error": {"message": "no", "code": code}},
            {"error": {"message": {"error": "odd"}, "metadata": {"raw": "{" * 700}}},
            {"error": [[[]]] * 3},
            ["x"],
            None,
            "<html><title>Odd</title>",
            json.loads("[" * 90 + "]" * 90),
        )
    )
    raw = json.dumps(body).encode() if dice.random() < 0.9 else dice.randbytes(200)
    return [whole([raw], False, "retry-after: 0\r\nlocation: http://[x\r\n", status=f"{code} Odd")]


def echoes(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    """An error that repeats the API key of the request. The server replaces the marks when the request arrives."""
    code = dice.choice((400, 401, 403, 404, 429, 500, 503))
    key = MARK.decode()
    says = dice.choice((f"bad key {key} given", f"{'x' * 280} {key}", f"Bearer {key}", key, f'{{"error":"{key}"}}'))
    body = {"error": {"message": says, "code": code, "metadata": {"raw": says, "provider_name": key}}}
    return [whole([json.dumps(body).encode()], False, f"x-generation-id: {key}\r\n", status=f"{code} {key}")]


def echoes_in_answer(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    """A correct answer with the API key in its id, model, provider, status line and headers."""
    names = b'{"model":"m %b","provider":"%b",' % (MARK, MARK)
    body = [part.replace(b'{"id":"gen-', names + b'"id":"gen-' + MARK, 1) for part in parts]
    key = MARK.decode()
    return [whole(body, stream, f"x-generation-id: {key}\r\nx-more: {key}\r\n", status=f"200 {key}")]


def odd_events(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    if not stream:
        return [whole([b" \r\n\t" * 50, *parts], stream)]
    odd: Parts = []
    for part in parts:
        filler = dice.choice(
            (b"", b": a comment\n\n", b"event: x\n\n", b"\n\n\n", b"id: 1\nretry: 5\n\n", b"data:\n\n")
        )
        odd += [filler, part.replace(b"\n", dice.choice((b"\n", b"\r\n", b"\r")))]
    return [whole([dice.choice((b"", b"\xef\xbb\xbf")), *odd], stream)]


def bad_events(dice: Random, parts: Parts, stream: bool) -> Iterable[Step]:
    bad = dice.choice(
        (
            b"data: [1, 2]\n\n",
            b"data: {\n\n",
            b"data: " + b"[" * 3000 + b"\n\n",
            b"data: {" + b'"a":{' * 700 + b"}" * 701 + b"\n\n",
            b'data: {"choices":[{"index":1e300,"delta":{"content":5}}]}\n\n',
            b'data: {"choices":[{"index":0,"delta":{"role":"\\ud800"}}],"usage":{"cost":-1e300}}\n\n',
            b'data: {"choices":{"x":1},"id":["x"],"usage":[]}\n\n',
            b'data: {"error":{"message":"late","code":502}}\n\n',
            b"data: \xff\xfe\n\n",
            b"<html>odd</html>\n\n",
        )
    )
    at = dice.randrange(len(parts) + 1)
    return [whole([*parts[:at], bad, *parts[at:]], stream)]


FAULTS: tuple[Fault, ...] = (
    slow_bytes,
    reset,
    close,
    no_byte,
    garbage_before,
    garbage_behind,
    another_behind,
    another_cut_behind,
    interim,
    upgraded,
    wrong_length,
    odd_head,
    odd_status,
    no_body,
    bad_chunk,
    odd_chunks,
    unusual,
    interim_flood,
    zipped,
    other_encoding,
    status,
    echoes,
    echoes_in_answer,
    odd_events,
    bad_events,
)
