"""The server under load: many streams at a time on one worker, while the first model fails in mid-answer.

Every stream begins with `bench/first`, which closes the connection in the middle of its answer. `bench/second`
continues the delivered text. The benchmark compares:

- the client alone: the same calls by `astream` in one process;
- `openrouter-fallback serve`;
- LiteLLM's proxy with one worker, with mid-stream continuation and a declared prefill for both models. The proxy has
  its own environment in `benchmarks/.peers/`, which is made once and takes some minutes.

CPU is the user and system time of the measured process and its children during the load. Each server starts twice; the
seconds to its first byte are those of the second start, with compiled bytecode.

    python benchmarks/serve.py [--streams 500] [--tokens 200] [--pace 0.02] [--only client serve litellm]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import orjson
import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.peers import environments

FIRST, SECOND = "bench/first", "bench/second"
PROMPT = [{"role": "user", "content": "Count."}]
KEY = "sk-or-v1-bench"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass
class Result:
    """The figures of one target."""

    name: str
    whole: int
    streams: int
    tokens: int
    seconds: float
    cpu: float
    mebibytes: float
    first_byte: float | None = None

    def line(self) -> str:
        ready = "-" if self.first_byte is None else f"{self.first_byte:.2f}"
        return (
            f"{self.name:8} {self.whole:5}/{self.streams:<5} {self.streams / self.seconds:8.1f} "
            f"{self.cpu / (self.streams * self.tokens) * 1e6:10.1f} {self.mebibytes:8.0f} {ready:>10}"
        )


# The upstream server, a separate process


class Upstream(asyncio.Protocol):
    """Answers with the words 0, 1, 2 ... The first model closes half-way; the second continues the prompt's text."""

    def __init__(self, tokens: int, pace: float) -> None:
        self._tokens, self._pace = tokens, pace
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or len(rest) < int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0] or 0):
            return
        self._received = b""
        if not rest:  # a proxy that checks whether the server is reachable
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        request = orjson.loads(rest)
        said = [m["content"] for m in request["messages"] if m["role"] == "assistant"]
        begin = len(str(said[-1]).split()) if said else 0
        dies = request["model"].endswith("first")
        self._transport.write(HEAD)
        self._send(begin, self._tokens // 2 if dies else self._tokens, dies, request["model"])

    def _send(self, n: int, end: int, dies: bool, model: str) -> None:
        if self._transport.is_closing():
            return
        if n >= end:
            if dies:
                self._transport.close()
                return
            usage = {"prompt_tokens": 1, "completion_tokens": end, "total_tokens": end + 1, "cost": 0.0}
            self._event(model, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            self._event(model, {"choices": [], "usage": usage})
            self._transport.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            return
        delta = {"role": "assistant", "content": f" {n}" if n else "0"}
        self._event(model, {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        asyncio.get_running_loop().call_later(self._pace, self._send, n + 1, end, dies, model)

    def _event(self, model: str, part: dict[str, Any]) -> None:
        chunk = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1, "model": model, **part}
        data = b"data: " + orjson.dumps(chunk) + b"\n\n"
        self._transport.write(b"%x\r\n%s\r\n" % (len(data), data))


async def upstream(tokens: int, pace: float) -> None:
    """Serve until stdin is closed."""
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.bind(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(lambda: Upstream(tokens, pace), sock=bound, backlog=2048)
    print(f"http://127.0.0.1:{bound.getsockname()[1]}/api/v1", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()


# The measurements

_CLIENT = """
import asyncio, logging, sys
logging.getLogger('openrouter_fallback').setLevel(logging.ERROR)
from openrouter_fallback import FallbackClient
url, streams, want = sys.argv[1], int(sys.argv[2]), sys.argv[3]
async def one(client):
    return "".join([piece.text async for piece in client.astream([{"role": "user", "content": "Count."}])]) == want
async def main():
    settings = {"retry_budget": None, "catalog": "never", "min_samples": 10**6}
    client = FallbackClient(["bench/first", "bench/second"], base_url=url, api_key="sk-or-v1-bench", settings=settings)
    await one(client)
    print("ready", flush=True)
    sys.stdin.readline()
    print(sum(await asyncio.gather(*[one(client) for _ in range(streams)])), flush=True)
    sys.stdin.readline()
asyncio.run(main())
"""


def wanted(tokens: int) -> str:
    return " ".join(str(n) for n in range(tokens))


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def measure_client(url: str, streams: int, tokens: int) -> Result:
    started = [sys.executable, "-c", _CLIENT, url, str(streams), wanted(tokens)]
    with subprocess.Popen(started, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        process = psutil.Process(child.pid)
        before, begun = cpu(process), time.perf_counter()
        child.stdin.write("\n")
        child.stdin.flush()
        whole = int(child.stdout.readline())
        seconds, used = time.perf_counter() - begun, cpu(process) - before
        memory = process.memory_info().rss / 2**20
        child.communicate("\n")
    return Result("client", whole, streams, tokens, seconds, used, memory)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def serving(command: list[str], port: int, environment: dict[str, str], path: str) -> Iterator[tuple[int, float]]:
    """A server process; yields its process id and the seconds from its start to its first byte."""
    begun = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        try:
            while True:
                try:
                    if httpx2.get(f"http://127.0.0.1:{port}{path}", timeout=1).status_code == 200:
                        break
                except httpx2.HTTPError:
                    time.sleep(0.01)
                if child.poll() is not None:
                    raise RuntimeError(f"{command[0]} ended with {child.returncode}")
            yield child.pid, time.perf_counter() - begun
        finally:
            child.terminate()


async def load(port: int, streams: int, want: str, pid: int) -> tuple[int, float, float, float]:
    """(complete answers, seconds, CPU seconds of the process and its children, peak memory of the process in MiB)."""
    process, peak = psutil.Process(pid), 0.0

    async def one(client: httpx2.AsyncClient) -> bool:
        text = []
        body = {"model": "default", "messages": PROMPT, "stream": True}
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        async with client.stream("POST", url, json=body, headers={"authorization": f"Bearer {KEY}"}) as response:
            async for line in response.aiter_lines():
                if line.startswith("data: {"):
                    choices = json.loads(line[6:]).get("choices") or [{}]
                    text.append((choices[0].get("delta") or {}).get("content") or "")
        return "".join(text) == want

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, sum(p.memory_info().rss for p in [process, *process.children(recursive=True)]) / 2**20)
            await asyncio.sleep(0.1)

    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx2.AsyncClient(limits=limits, timeout=300) as client:
        await asyncio.gather(one(client), return_exceptions=True)
        watcher = asyncio.create_task(watch())
        before, begun = sum(cpu(p) for p in [process, *process.children(recursive=True)]), time.perf_counter()
        done = await asyncio.gather(*[one(client) for _ in range(streams)], return_exceptions=True)
        seconds = time.perf_counter() - begun
        used = sum(cpu(p) for p in [process, *process.children(recursive=True)]) - before
        watcher.cancel()
    return sum(one is True for one in done), seconds, used, peak


_CONFIG = f"""
fallback:
  default_chain: [{FIRST}, {SECOND}]
  settings: {{retry_budget: null, catalog: never, min_samples: 1000000}}
"""
_LITELLM = """
model_list:
  - model_name: default
    litellm_params: {{model: openai/bench/first, api_base: "{url}", api_key: none}}
    model_info: {{supports_assistant_prefill: true}}
  - model_name: second
    litellm_params: {{model: openai/bench/second, api_base: "{url}", api_key: none}}
    model_info: {{supports_assistant_prefill: true}}
router_settings:
  fallbacks: [{{default: [second]}}]
  num_retries: 0
  allowed_fails: 1000000
  enable_mid_stream_fallback_continuation: true
litellm_settings: {{telemetry: false}}
"""


def measure_server(
    name: str, command: list[str], port: int, variables: dict[str, str], path: str, given: argparse.Namespace
) -> Result:
    environment = {**environments.variables(), **variables}
    with serving(command, port, environment, path):
        pass  # The first start only writes the bytecode.
    with serving(command, port, environment, path) as (pid, first_byte):
        whole, seconds, used, peak = asyncio.run(load(port, given.streams, wanted(given.tokens), pid))
    return Result(name, whole, given.streams, given.tokens, seconds, used, peak, first_byte)


def measure_serve(url: str, given: argparse.Namespace, folder: Path) -> Result:
    port, file = free_port(), folder / "fallback.yaml"
    file.write_text(_CONFIG)
    command = [sys.executable, "-m", "openrouter_fallback.cli", "serve", "--config", str(file), "--port", str(port)]
    variables = {"OPENROUTER_BASE_URL": url, "OPENROUTER_API_KEY": KEY}
    return measure_server("serve", command, port, variables, "/healthz", given)


def measure_litellm(url: str, given: argparse.Namespace, folder: Path) -> Result:
    environments.prepare(["litellm-proxy"])
    port, file = free_port(), folder / "litellm.yaml"
    file.write_text(_LITELLM.format(url=url))
    binary = environments.python_of("litellm-proxy").with_name("litellm")
    command = [str(binary), "--config", str(file), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    variables = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOG": "ERROR"}
    return measure_server("litellm", command, port, variables, "/health/liveliness", given)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, default=500, help="streams at a time")
    parser.add_argument("--tokens", type=int, default=200, help="tokens of each stream")
    parser.add_argument("--pace", type=float, default=0.02, help="seconds between two tokens of a stream")
    parser.add_argument("--only", nargs="+", default=["client", "serve", "litellm"], help="the targets to measure")
    parser.add_argument("--upstream", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.upstream:
        asyncio.run(upstream(given.tokens, given.pace))
        return
    command = [sys.executable, __file__, "--upstream", "--tokens", str(given.tokens), "--pace", str(given.pace)]
    with (
        tempfile.TemporaryDirectory() as folder,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child,
    ):
        assert child.stdout is not None
        url = child.stdout.readline().strip()
        print(f"{'':8} {'whole':>11} {'streams/s':>8} {'CPU us/tok':>10} {'MiB':>8} {'ready in s':>10}")
        if "client" in given.only:
            print(measure_client(url, given.streams, given.tokens).line(), flush=True)
        if "serve" in given.only:
            print(measure_serve(url, given, Path(folder)).line(), flush=True)
        if "litellm" in given.only:
            print(measure_litellm(url, given, Path(folder)).line(), flush=True)
        child.terminate()


if __name__ == "__main__":
    main()
