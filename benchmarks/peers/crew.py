"""Controls a peer's process with commands, one per line."""

from __future__ import annotations

import contextlib
import json
import select
import subprocess
from functools import partial
from types import TracebackType
from typing import IO, Any, Self

from benchmarks import runner

from . import environments
from .table import Peer


class Failed(Exception):
    """A command of the peer's process failed. The message comes from the process."""


class Member:
    """The process of one peer. The end of a `with` block kills the process."""

    def __init__(self, peer: Peer, *, here: bool, core: int | None = None) -> None:
        self.peer = peer
        command = environments.command(peer, "worker.py", here=here)
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=dict(environments.variables()),
            preexec_fn=None if core is None else partial(runner.pin, core),
        )

    def tell(self, do: str, *, patience: float, **arguments: Any) -> dict[str, Any]:
        """Run a command in the process; return its answer. Raises `Failed` after `patience` seconds or on an error."""
        stdin, stdout = _open(self._process.stdin), _open(self._process.stdout)
        try:
            stdin.write(json.dumps({"do": do, "options": dict(self.peer.options), **arguments}) + "\n")
            stdin.flush()
            ready, _, _ = select.select([stdout], [], [], patience)
            line = stdout.readline() if ready else ""
        except BrokenPipeError:
            line = ""
        if not line:
            self.kill()
            raise Failed(f"{do}: no answer within {patience:g} s" if not ready else f"{do}: its process ended")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise Failed(f"{do}: {answer['failed']}")
        return answer

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):  # unread commands of a process that has ended
                _open(pipe).close()


def _open(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
