"""Compressed answers: one encoding, bounded, decoded in slices between which the loop turns."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from openrouter_fallback import AllModelsFailedError, FallbackClient, Settings
from openrouter_fallback.failures.kinds import TransportFault
from openrouter_fallback.http.decoding import MAX_DECODED_BYTES, SLICE_BYTES, Inflater, Undecodable, decoder
from openrouter_fallback.http.protocol import TransportError
from openrouter_fallback.http.transport import YIELD_BYTES, HttpTransport

from ..support.byteserver import ByteServer, body, chunked, events, plain, reply

KEY = "sk-or-v1-test"
ONCE = Settings(max_retries_per_model=1)


def raw_deflate(data: bytes) -> bytes:
    return zlib.compress(data)[2:-4]


GOOD: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": ("X-GZip", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate without its header": ("deflate", raw_deflate),
    "gzip in members": ("gzip", lambda data: b"".join(map(gzip.compress, (b"", data[:20], b"", data[20:], b"")))),
    "identity": ("identity", bytes),
}


@pytest.mark.parametrize("name", list(GOOD))
async def test_one_encoding_is_read(name: str) -> None:
    encoding, compress = GOOD[name]
    header = f"content-encoding: {encoding}\r\n"
    answers = {
        "whole": lambda nonce: plain(compress(body(nonce)), headers=header),
        "stream": lambda nonce: chunked([compress(b"".join(events(nonce)))], headers=header),
    }
    with ByteServer(lambda asked: [answers[asked.nonce](asked.nonce)]) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY) as client:
            for nonce in answers:
                assert (await client.achat(nonce)).text == reply(nonce)
        assert server.connections == 1


_TWICE = gzip.compress(gzip.compress(body("one")))
_ONE = gzip.compress(body("one"))
BAD = {
    "two encodings": ("content-encoding: gzip, gzip\r\n", _TWICE, "content encoding 'gzip, gzip'"),
    "two headers": ("content-encoding: gzip\r\ncontent-encoding: gzip\r\n", _TWICE, "content encoding 'gzip, gzip'"),
    "brotli": ("content-encoding: br\r\n", b"\x0b\x02\x80", "content encoding 'br'; accepted is one of gzip"),
    "zstd": ("content-encoding: zstd\r\n", b"\x28\xb5\x2f\xfd", "content encoding 'zstd'"),
    "damaged": ("content-encoding: gzip\r\n", _ONE[:15] + b"\xff" * 9 + _ONE[24:], "Error -3"),
    "not gzip": ("content-encoding: gzip\r\n", body("one"), "incorrect header check"),
    "cut": ("content-encoding: gzip\r\n", _ONE[:-9], "is cut off"),
    "empty": ("content-encoding: gzip\r\n", b"", "is cut off"),
    "junk behind": ("content-encoding: gzip\r\n", _ONE + b"junk", "bytes behind the end"),
    "a member cut off": ("content-encoding: gzip\r\n", _ONE + _ONE[:5], "is cut off"),
    "a member that is none": ("content-encoding: gzip\r\n", _ONE + b"\x1fjunk", "incorrect header check"),
    "zeros behind": ("content-encoding: gzip\r\n", _ONE + bytes(512), "bytes behind the end"),
    "members of white space without end": (
        "content-encoding: gzip\r\n",
        gzip.compress(b" " * 2**20) * (MAX_DECODED_BYTES // 2**20 + 1),
        f"exceeds {MAX_DECODED_BYTES} bytes",
    ),
    "white space without end": (
        "content-encoding: gzip\r\n",
        gzip.compress(b" " * (MAX_DECODED_BYTES + 1)),
        f"exceeds {MAX_DECODED_BYTES} bytes",
    ),
}


@pytest.mark.parametrize("case", list(BAD))
async def test_anything_else_is_a_failure_of_the_answer(case: str) -> None:
    headers, content, words = BAD[case]
    with ByteServer(lambda _: [plain(content, headers=headers)]) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY, settings=ONCE) as client:
            with pytest.raises(AllModelsFailedError) as caught:
                await client.achat("one")
    assert {attempt.kind for attempt in caught.value.attempts} == {"bad_answer"}
    assert words in caught.value.attempts[0].message


async def test_an_error_in_an_unknown_encoding_is_told_by_its_status() -> None:
    with ByteServer(lambda _: [plain(b"?", status="404 Gone", headers="content-encoding: br\r\n")]) as server:
        async with FallbackClient(["a/a"], base_url=server.base_url, api_key=KEY, settings=ONCE) as client:
            with pytest.raises(AllModelsFailedError) as caught:
                await client.achat("one")
    assert caught.value.attempts[0].kind == "not_found"


async def test_threefold_gzip_never_decodes() -> None:
    content = gzip.compress(gzip.compress(gzip.compress(b" " * (1 << 26))))
    assert len(content) < 1000
    with ByteServer(lambda _: [plain(content, headers="content-encoding: gzip, gzip, gzip\r\n")]) as server:
        transport = HttpTransport()
        answer = await transport.open(f"{server.base_url}/x", {}, b"{}")
        with pytest.raises(TransportError) as caught:
            await answer.read()
        assert caught.value.fault is TransportFault.UNDECODABLE
        await answer.aclose()
        await transport.aclose()


@pytest.mark.parametrize("form", ["gzip", "chunks of one byte"])
async def test_the_loop_turns_between_so_many_bytes(form: str) -> None:
    size = 4 * YIELD_BYTES
    if form == "gzip":
        content = plain(gzip.compress(b" " * size), headers="content-encoding: gzip\r\n")
    else:  # an extension keeps the chunks from being put together
        size = 20_000
        content = chunked([])[: -len(b"0\r\n\r\n")] + b"1;x=y\r\n \r\n" * size + b"0\r\n\r\n"
    turns = 0
    read: Counter[int] = Counter()
    pieces: Counter[int] = Counter()

    async def tick() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    with ByteServer(lambda _: [content]) as server:
        transport = HttpTransport()
        answer = await transport.open(f"{server.base_url}/x", {}, b"{}")
        ticking = asyncio.create_task(tick())
        while (data := await answer.read()) is not None:
            assert len(data) <= SLICE_BYTES
            read[turns] += len(data)
            pieces[turns] += 1
        ticking.cancel()
        await answer.aclose()
        await transport.aclose()
    assert sum(read.values()) == size
    assert max(read.values()) <= YIELD_BYTES + SLICE_BYTES
    assert max(pieces.values()) <= YIELD_BYTES // 1024 + 2


@given(st.binary(max_size=3000), st.sampled_from(list(GOOD)[:-1]), st.lists(st.integers(1, 200), max_size=30))
def test_wherever_the_borders_of_reads_fall(data: bytes, name: str, sizes: list[int]) -> None:
    encoding, compress = GOOD[name]
    inflater = decoder(encoding)
    assert inflater is not None
    compressed, out = compress(data), b""
    for size in [*sizes, len(compressed)]:
        out += b"".join(inflater.feed(compressed[:size]))
        compressed = compressed[size:]
    inflater.finish()
    assert out == data


@pytest.mark.parametrize("size", [SLICE_BYTES - 1, SLICE_BYTES, SLICE_BYTES + 1, 3 * SLICE_BYTES])
def test_slices_of_any_size_end(size: int) -> None:
    for compress, gzipped in ((gzip.compress, True), (raw_deflate, False)):
        inflater = Inflater(gzip=gzipped)
        assert sum(map(len, inflater.feed(compress(b"x" * size)))) == size
        inflater.finish()


@given(st.binary(max_size=500), st.booleans())
def test_any_bytes_are_decoded_or_undecodable(data: bytes, gzipped: bool) -> None:
    inflater = Inflater(gzip=gzipped)
    try:
        assert all(len(piece) <= SLICE_BYTES for piece in inflater.feed(data))
        inflater.finish()
    except Undecodable:
        pass
