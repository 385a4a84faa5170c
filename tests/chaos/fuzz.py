"""Fuzzes the parsers: `python -m tests.chaos.fuzz --inputs 1000000`. An input that finds an error is kept in `corpus/`.

Inputs are derived from the corpus: a seed is cut, repeated, joined with another seed, and mixed with bytes that have a
meaning for the parser. A parser may return any value, and may raise only its declared errors. The script also prints
the time of each parser as a curve over the size of the input.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import h11
import orjson

from openrouter_fallback.answer.decoder import AnswerDecoder, Ended, Pieces
from openrouter_fallback.answer.sse import EventReader, Oversized
from openrouter_fallback.answer.surrogates import Halves, decode, whole
from openrouter_fallback.catalog.listing import Listing, read_listing
from openrouter_fallback.failures.classifier import find_error, from_error, from_response
from openrouter_fallback.http.chunks import Chunks
from openrouter_fallback.http.decoding import Undecodable, decoder

CORPUS = Path(__file__).parent / "corpus"
LONGEST = 5000
SIZES = (1_000, 4_000, 16_000, 64_000)
"""The sizes of the curve in bytes. If the microseconds per kilobyte grow with the size, the parser is quadratic."""
_HEADS = (
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\ncontent-length: 30\n\n",
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
)


def _pieces(data: bytes, dice: Random) -> Iterator[bytes]:
    while data:
        size = dice.choice((1, 3, 30, len(data)))
        yield data[:size]
        data = data[size:]


def _chunks(data: bytes, dice: Random) -> None:
    """h11 must read the same data, whether chunks are joined or not."""
    parts = list(_pieces(dice.choice(_HEADS) + data, dice))
    joined = Chunks()
    assert _heard(parts) == _heard([joined.joined(part) for part in parts])


def _heard(parts: list[bytes]) -> tuple[bytes, str]:
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "here")]))
    connection.send(h11.EndOfMessage())
    body = b""
    for part in [*parts, b""]:
        try:
            connection.receive_data(part)
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Data):
                    body += bytes(event.data)
                if isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                    return body, type(event).__name__
        except h11.RemoteProtocolError:
            return b"", "refused"  # the amount of data read before the error may differ
    return body, "open"


def _events(data: bytes, dice: Random) -> None:
    """The events must be the same for all boundaries of reads."""
    alone = EventReader()
    events = [*alone.feed(data), *alone.finish()]
    reader = EventReader()
    assert [event for piece in _pieces(data, dice) for event in reader.feed(piece)] + reader.finish() == events


def _answer(data: bytes, dice: Random) -> None:
    """The verdict must be the same for all boundaries of reads, and whether alike chunks are read together."""
    at_once = _decoded([data], deliver=False)
    assert _decoded(list(_pieces(data, dice)), deliver=False) == at_once
    assert _decoded([data], deliver=True) == at_once


def _decoded(parts: list[bytes], *, deliver: bool) -> tuple[Any, str | None]:
    """The whole answer and the kind of its failure. One event ends it, and it is the last."""
    decoder = AnswerDecoder({"content-type": "text/event-stream"}, deliver=deliver)
    events = [event for part in parts for event in decoder.feed(part, 0.0)] + decoder.end(0.0)
    *others, end = events
    assert isinstance(end, Ended)
    assert not any(isinstance(event, Ended) for event in others)
    if end.completion is None:
        assert end.failure is not None
        return None, end.failure.kind
    if deliver:
        told = [piece for event in others if isinstance(event, Pieces) for piece in event.pieces]
        told += decoder.last_pieces(end.completion.raw)
        assert "".join(piece.text for piece in told if not piece.index) == end.completion.text
    return end.completion.raw, None


def _chunk(text: str, **more: Any) -> bytes:
    """An event of a stream; the events of one answer differ only in their text."""
    choice = {"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None, **more}
    return b"data: " + orjson.dumps({"id": "g", "model": "m", "choices": [choice]}) + b"\n\n"


_LAST = b'data: {"id":"g","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
_DONE = b"data: [DONE]\n\n"


def _repair(data: bytes, dice: Random) -> None:
    value = whole(decode(data))
    if isinstance(value, dict):
        Halves().mend(value)


def _error(data: bytes, dice: Random) -> None:
    headers = {"retry-after": data[:9].decode("latin-1"), "location": data[:200].decode("latin-1")}
    failure = from_response(dice.choice((302, 400, 404, 429, 500)), headers, data, now=0)
    assert len(failure.message) <= 300
    try:
        value = decode(data)
    except ValueError:
        return
    if isinstance(value, dict) and (error := find_error(value)) is not None:
        from_error(error, now=0)


def _listing(data: bytes, dice: Random) -> None:
    for info in Listing(read_listing(data)).models():
        info.can("tools")


def _inflate(data: bytes, dice: Random) -> None:
    inflater = decoder(dice.choice(("gzip", "deflate")))
    assert inflater is not None
    for piece in _pieces(data, dice):
        for part in inflater.feed(piece):
            assert len(part) <= 64 * 1024
    inflater.finish()


@dataclass(frozen=True)
class Parser:
    """A parser: the function that drives it, its declared errors, its seeds, and the bytes that have a meaning."""

    drive: Callable[[bytes, Random], None]
    raises: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = ()
    marks: tuple[bytes, ...] = (b"\x00", b"\xff", b"\r", b"\n", b"\r\n")


_JSON_MARKS = (b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\ud83d", b"\\", b"1e999", b"-0", b"null", b"NaN", b"\xff")
PARSERS: dict[str, Parser] = {
    "chunks": Parser(
        _chunks,
        seeds=(b"5\r\nhello\r\n3;x=y\r\nabc\r\n0\r\n\r\n", b"a\r\n0123456789\r\n1\r\nx\r\n0\r\nt: v\r\n\r\n"),
        marks=(
            b"\r\n",
            b"\n",
            b"0\r\n",
            b"fffffff\r\n",
            b";",
            b"-",
            b" ",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"\r\ntransfer-encoding: chunked\r\n\r\n",
        ),
    ),
    "sse": Parser(
        _events,
        (Oversized,),
        seeds=(
            b'data: {"a":1}\n\n: c\n\nevent: x\r\ndata: y\r\n\r\n',
            b"\xef\xbb\xbfdata:x\rdata: y\r\rdata: [DONE]\n\n",
        ),
        marks=(b"\r", b"\n", b"\r\n", b"data", b":", b"data: ", b"\xef\xbb\xbf", b"\n\n"),
    ),
    "answers": Parser(
        _answer,
        seeds=(
            b"".join(map(_chunk, ("Hel", "lo", " wor", "ld", "."))) + _LAST + _DONE,
            b"".join(map(_chunk, ("a", 'say "b"', "\n", "é", "\U0001f600", "c" * 60, "\\"))) + _LAST,
            _chunk("a", logprobs=None) * 3 + _chunk("b") * 3 + _chunk("c", finish_reason="stop") + _DONE,
            b'data: {"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f",'
            b'"arguments":"{}"}}]}}]}\n\ndata: {"choices":[{"delta":{},"finish_reason":"tool_calls"}]}\n\n' + _DONE,
            b'{"id":"g","choices":[{"message":{"content":"Hi."},"finish_reason":"stop"}],"usage":{"cost":0.1}}',
            _chunk("x") * 3 + b'data: {"error":{"message":"late","code":502}}\n\n' + _chunk("y") * 2,
        ),
        marks=(
            *(b'"', b"\\", b"\\ud83d", b"\\n", b",", b"}", b"\n\n", b"data: ", b": x\n\n", b"\r\n", b"\xef\xbb\xbf"),
            *(
                _chunk("z"),
                _chunk("z") * 3,
                _chunk(""),
                _LAST,
                _DONE,
                b'"content":"a"',
                b'"content":"',
                b'","refusal":"no',
            ),
        ),
    ),
    "json repair": Parser(
        _repair,
        (ValueError,),
        seeds=(b'{"choices":[{"index":0,"delta":{"content":"\\ud83d"}}]}', b'{"a":"\xff","b":[1,2.5e3,null]}'),
        marks=_JSON_MARKS,
    ),
    "error bodies": Parser(
        _error,
        seeds=(
            b'{"error":{"message":"no","code":402,"metadata":{"raw":"{\\"error\\":{\\"message\\":\\"x\\"}}"}}}',
            b'data: {"error":[{"detail":[{"msg":"x"}]}]}\n\n',
            b"<html><title>502</title></html>",
        ),
        marks=(*_JSON_MARKS, b"<title>", b'"error":', b'"metadata":{', b"data: "),
    ),
    "lists of models": Parser(
        _listing,
        (ValueError,),
        seeds=(
            b'{"data":[{"id":"a/b","context_length":1e5,"pricing":{"prompt":"0.1"},"supported_parameters":["tools"]}]}',
            b'[{"id":"a/b:free","created":1,"architecture":{"input_modalities":["text"]},"top_provider":null}]',
        ),
        marks=(*_JSON_MARKS, b'"id":', b'"pricing":', b"1e400"),
    ),
    "content encodings": Parser(
        _inflate,
        (Undecodable,),
        seeds=(
            bytes.fromhex("1f8b08000000000002ffcb48cdc9c95728cf2fca49010085114a0d0b000000"),
            bytes.fromhex("789ccb48cdc9c95728cf2fca49010 01a0b045d".replace(" ", "")),
        ),
    ),
}


@dataclass
class Found:
    """An input that has found an error."""

    parser: str
    data: bytes
    why: str

    def keep(self) -> Path:
        """Write the input into the corpus. Later runs try the inputs of the corpus first."""
        folder = CORPUS / self.parser.replace(" ", "-")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / hashlib.sha256(self.data).hexdigest()[:16]
        path.write_bytes(self.data)
        return path


def kept(name: str) -> list[bytes]:
    """The inputs of the corpus, which once found an error."""
    folder = CORPUS / name.replace(" ", "-")
    return [path.read_bytes() for path in sorted(folder.iterdir())] if folder.is_dir() else []


def grown(parser: Parser, pool: list[bytes], dice: Random) -> bytes:
    """A new input that is derived from older inputs."""
    data = dice.choice(pool)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(data) + 1)
        match dice.randrange(7):
            case 0:
                data = data[:at] + dice.choice(parser.marks) + data[at:]
            case 1:
                data = data[:at] + data[at + dice.randint(1, 8) :]
            case 2:
                data = data[:at] + bytes([dice.randrange(256)]) + data[at + 1 :]
            case 3:
                other = dice.choice(pool)
                data = data[:at] + other[dice.randrange(len(other) + 1) :]
            case 4:
                end = min(len(data), at + dice.randint(1, 20))
                data = data[:at] + data[at:end] * dice.choice((2, 3, 50)) + data[end:]
            case 5:
                data = data[:at] + dice.choice(parser.marks) * dice.choice((10, 300, 2000)) + data[at:]
            case _:
                data = data[at:] + data[:at]
    return data[:LONGEST]


def attempt(name: str, data: bytes, dice: Random) -> Found | None:
    """Drive one parser with one input. Returns the error that the input finds, or None."""
    parser = PARSERS[name]
    try:
        parser.drive(data, dice)
    except parser.raises:
        return None
    except Exception:
        return Found(name, data, traceback.format_exc(limit=-3))
    return None


@dataclass
class Report:
    """The report on one parser: the number of inputs, the errors, and the seconds per input for each of `SIZES`."""

    inputs: int = 0
    found: list[Found] = field(default_factory=list)
    curve: list[float] = field(default_factory=list)


def fuzz(name: str, inputs: int, seed: int) -> Report:
    """Drive one parser with `inputs` inputs, first with those of the corpus."""
    parser, dice, report = PARSERS[name], Random(f"{seed} {name}"), Report()
    pool = [*parser.seeds, *kept(name)]
    for data in pool:
        report.inputs += 1
        if (found := attempt(name, data, dice)) is not None:
            report.found.append(found)
    while report.inputs < inputs and len(report.found) < 20:
        data = grown(parser, pool, dice)
        report.inputs += 1
        if (found := attempt(name, data, dice)) is not None:
            report.found.append(found)
        elif len(pool) < 500 and dice.random() < 0.02:
            pool.append(data)
    return report


def curve(name: str, seed: int = 1) -> list[float]:
    """The CPU seconds for an input of each of `SIZES`, the minimum of several runs: repeated seeds, then marks only."""
    parser, times = PARSERS[name], []
    shapes = [parser.seeds[0], *parser.marks]
    for size in SIZES:
        longest = 0.0
        for shape in shapes:
            data = (shape * (size // len(shape) + 1))[:size]
            spent = []
            for _ in range(3):
                begun = time.thread_time()
                attempt(name, data, Whole())
                spent.append(time.thread_time() - begun)
            longest = max(longest, min(spent))
        times.append(longest)
    return times


class Whole(Random):
    """Dice with which the input is not cut, so that the curve shows only the parser."""

    def choice(self, seq: Any) -> Any:
        return seq[-1]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="inputs for all parsers together")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    wrong = 0
    print("parser              inputs  found  " + "  ".join(f"{size // 1000:>3} kB, us/kB" for size in SIZES))
    for name in PARSERS:
        report = fuzz(name, given.inputs // len(PARSERS), given.seed)
        per_byte = [seconds / size * 1e9 for seconds, size in zip(curve(name), SIZES, strict=True)]
        print(f"{name:18} {report.inputs:>7} {len(report.found):>6}  " + "  ".join(f"{one:>13.1f}" for one in per_byte))
        for found in report.found:
            print("  kept as", found.keep(), found.why, sep="\n")
        wrong += len(report.found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
