"""The wheel as its users get it: run by `.ci/run` in clean environments, with the installed extras as the argument.

Without extras: the core imports nothing but its own libraries, makes one call over HTTP, and says what the rest needs.
With each extra: what it is for can be imported and started.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import socket
import subprocess
import sys
import sysconfig
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

FOREIGN = {
    "jinja2",
    "langchain",
    "langchain_core",
    "langchain_openai",
    "llama_index",
    "openai",
    "opentelemetry",
    "prometheus_client",
    "redis",
    "rich",
    "starlette",
    "typer",
    "uvicorn",
    "vl_convert",
}
BRINGS = {"serve": {"emulator"}}
"""What an extra brings along of others: starlette and uvicorn are all that the emulator needs."""
EXTRAS = ("cli", "emulator", "report", "langchain", "llamaindex", "otel", "redis", "serve")
MODULES = {
    "openrouter_fallback.emulator": {"emulator"},
    "openrouter_fallback.picture": {"report"},
    "openrouter_fallback.serve": {"serve"},
    "langchain_openrouter_fallback": {"langchain"},
    "llamaindex_openrouter_fallback": {"llamaindex"},
}
CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"]
EVENTS = (
    b'data: {"model":"openai/gpt-5.1","choices":[{"index":0,"delta":{"role":"assistant","content":"still "}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"here"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


class Upstream(BaseHTTPRequestHandler):
    """An endpoint that fails once, then answers: the emulator needs an extra."""

    asked = 0

    def do_POST(self) -> None:
        type(self).asked += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(503 if self.asked == 1 else 200)
        body = b"{}" if self.asked == 1 else EVENTS
        self.send_header("Content-Type", "application/json" if self.asked == 1 else "text/event-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def check_core() -> None:
    from openrouter_fallback import ConfigError, FallbackClient, __version__

    logging.getLogger("openrouter_fallback").addHandler(logging.NullHandler())
    installed = Path(sys.modules["openrouter_fallback"].__file__ or "").parent
    expect(installed.parent == Path(sysconfig.get_path("purelib")), f"imported from {installed}, not from the wheel")
    expect((installed / "py.typed").is_file(), "py.typed is missing")
    try:
        FallbackClient(["gpt-5.1"])
    except ConfigError as error:
        expect("openai/gpt-5.1" in str(error) or "prefix" in str(error), f"unhelpful: {error}")
    else:
        expect(False, "a model id without a prefix was taken")
    server = HTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = FallbackClient(CHAIN, base_url=f"http://127.0.0.1:{server.server_port}/api/v1", api_key="sk-or-v1-none")
    expect(list(client.route().candidates) == CHAIN, str(client.route()))
    answer = client.chat("Are you there?")
    server.shutdown()
    server.server_close()
    expect(answer.text == "still here", answer.text)
    expect([attempt.answered for attempt in answer.attempts] == [False, True], str(answer.attempts))
    foreign = FOREIGN & {name.partition(".")[0] for name in sys.modules}
    expect(not foreign, f"the core imported {sorted(foreign)}")
    print(f"openrouter-fallback {__version__}: the core answers, and imported none of {', '.join(sorted(FOREIGN))}")


def check_extra(module: str, extras: set[str], needed: set[str]) -> None:
    if needed <= extras:
        importlib.import_module(module)
        print(f"{module}: imported")
        return
    try:
        importlib.import_module(module)
    except ImportError as error:
        expect("pip install" in str(error), f"{module} does not say how to install what it needs: {error}")
        print(f"{module}: {error}")
    else:
        expect(False, f"{module} was imported without its extra")


def check_settings(extras: set[str]) -> None:
    """Settings that need an extra work with it, and say so without."""
    from openrouter_fallback import ConfigError, FallbackClient

    for extra, settings in (("otel", {"opentelemetry": True}), ("redis", {"health_store": "redis://127.0.0.1:1/0"})):
        try:
            FallbackClient(CHAIN, api_key="sk-or-v1-none", settings=settings).close()
        except ConfigError as error:
            expect(extra not in extras and "pip install" in str(error), f"{extra}: {error}")
            print(f"settings {settings}: {error}")
        else:
            expect(extra in extras, f"{settings} were taken without the extra {extra}")
            print(f"settings {settings}: taken")


def check_serve(extras: set[str]) -> None:
    """What the Dockerfile starts, in this environment: its entry point answers its health check, and drains."""
    if not {"cli", "serve"} <= extras:
        return
    lines = (Path(__file__).parents[1] / "Dockerfile").read_text().splitlines()
    said = {name: json.loads(rest) for name, _, rest in (line.partition(" ") for line in lines) if rest.startswith("[")}
    health = json.loads(next(line for line in lines if line.startswith("HEALTHCHECK")).partition("CMD ")[2])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "fallback.yaml"
        config.write_text(f"fallback: {{default_chain: {json.dumps(CHAIN)}}}")
        program, *args = said["ENTRYPOINT"]
        args = [str(config) if arg.endswith("fallback.yaml") else arg for arg in args]
        command = [str(Path(sysconfig.get_path("scripts")) / program), *args, "--port", port]
        keys = {"OPENROUTER_API_KEY": "sk-or-v1-none", "SERVE_API_KEY": "a-key-of-sixteen-or-more"}
        with subprocess.Popen(command, env={**os.environ, **keys}, stderr=subprocess.PIPE, text=True) as server:
            try:
                probe = [sys.executable, *(arg.replace("8788", port) for arg in health[1:])]
                told = [] if server.stderr is None else [server.stderr.readline(), server.stderr.readline()]
                expect(any("Serving" in line for line in told), f"serve did not start: {told}")
                done = subprocess.run(probe, capture_output=True, text=True, timeout=30)
                expect(done.returncode == 0, f"the health check failed: {done.stderr}")
                server.terminate()
                expect(server.wait(timeout=30) == 0, f"serve ended with {server.returncode}")
            finally:
                server.kill()
    print("openrouter-fallback serve: answers the Dockerfile's health check, and drains")


def check_command(extras: set[str]) -> None:
    command = Path(sysconfig.get_path("scripts")) / "openrouter-fallback"
    done = subprocess.run([command, "--help"], capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    if "cli" in extras:
        expect(done.returncode == 0 and "drill" in said, said)
        print("openrouter-fallback --help: started")
    else:
        expect(done.returncode != 0 and "openrouter-fallback[cli]" in said and "Traceback" not in said, said)
        print(f"openrouter-fallback --help: {said.strip()}")


def expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SystemExit(f"the wheel is wrong: {otherwise}")


def main() -> None:
    given = set(sys.argv[1:])
    extras = set(EXTRAS) if "all" in given else given.union(*(BRINGS.get(extra, set()) for extra in given))
    check_core()
    for module, needed in MODULES.items():
        check_extra(module, extras, needed)
    check_settings(extras)
    check_command(extras)
    check_serve(extras)


if __name__ == "__main__":
    main()
