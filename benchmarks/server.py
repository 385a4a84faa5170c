"""A minimal server for benchmarks: it answers every chat completion with precomputed bytes.

The emulator makes an answer for each request, and writes each event through an ASGI stack. It is slower than a fast
client, so its speed would change how many events the client reads at a time. This server sends the same bytes
(`chunks.split`) with one `write`. The name of the model chooses the answer: `bench/<tokens>` is sent at once;
`bench/<tokens>-paced` is sent event by event with a pause, so that the client reads each event separately.

Every answer begins after a wait, so that each client has to wait for it, as for a model. Without the wait the server
has answered after some 80 µs. Then a client that still works after it has sent a request finds the answer there, and
one that is ready earlier sleeps. After a sleep, the same work takes more CPU time. So less work would show as more.

    python benchmarks/server.py [--wait 0.001] [--pause 0.0003]      prints the base URL; ends when stdin is closed
"""

from __future__ import annotations

import argparse
import asyncio
import socket
import sys
import time
from functools import cache
from typing import Any

import orjson

from openrouter_fallback.emulator.answers.chunks import COMMENT, DONE, event, split

_TEXT_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: %s\r\ncache-control: no-cache\r\nx-generation-id: gen-bench\r\n"
_STREAM_HEAD = _TEXT_HEAD % b"text/event-stream" + b"transfer-encoding: chunked\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"


def body(model: str, tokens: int) -> dict[str, Any]:
    """The unstreamed answer: `tokens` words, with usage and cost in OpenRouter's form."""
    text = " ".join("token" for _ in range(tokens))
    message = {"role": "assistant", "content": text, "refusal": None, "reasoning": None}
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": "stop",
        "native_finish_reason": "stop",
        "logprobs": None,
    }
    details = {"cached_tokens": 0, "audio_tokens": 0}
    usage = {
        "prompt_tokens": 12,
        "completion_tokens": tokens,
        "total_tokens": 12 + tokens,
        "cost": 0.0000123,
        "is_byok": False,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"reasoning_tokens": 0},
    }
    head = {"id": "gen-bench", "provider": "Bench", "model": model, "object": "chat.completion", "created": 1_700_000}
    return {**head, "system_fingerprint": None, "choices": [choice], "usage": usage}


@cache
def answer(model: str, stream: bool) -> list[bytes]:
    """The bytes of a response, in parts that are written separately."""
    tokens, _, pace = model.partition("/")[2].partition("-")
    whole = body(model, int(tokens))
    if not stream:
        data = orjson.dumps(whole)
        return [_TEXT_HEAD % b"application/json" + b"content-length: %d\r\n\r\n" % len(data) + data]
    parts = [_chunk(COMMENT), *(_chunk(event(chunk)) for chunk in split(whole)), _chunk(DONE) + _LAST_CHUNK]
    return [_STREAM_HEAD + parts[0], *parts[1:]] if pace else [_STREAM_HEAD + b"".join(parts)]


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Answering(asyncio.Protocol):
    """One connection. Requests arrive one after another; pipelining is not supported."""

    def __init__(self, wait: float, pause: float) -> None:
        self._wait = wait
        self._pause = pause
        self._received = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._received = b""
        request = orjson.loads(rest)
        parts = answer(request["model"], bool(request.get("stream")))
        asyncio.get_running_loop().call_later(self._wait, self._answer, parts)

    def _answer(self, parts: list[bytes]) -> None:
        assert self._transport is not None
        for part in parts:
            self._transport.write(part)
            end = time.perf_counter() + self._pause
            while self._pause and time.perf_counter() < end:
                pass


async def serve(wait: float, pause: float) -> None:
    """Serve until stdin is closed."""
    loop = asyncio.get_running_loop()
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    server = await loop.create_server(lambda: Answering(wait, pause), sock=bound, backlog=1024)
    print(f"http://127.0.0.1:{bound.getsockname()[1]}/api/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wait", type=float, default=0.001, help="seconds before an answer begins")
    parser.add_argument("--pause", type=float, default=0.0003, help="seconds between the events of a paced answer")
    chosen = parser.parse_args()
    asyncio.run(serve(chosen.wait, chosen.pause))
