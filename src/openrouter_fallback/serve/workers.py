"""Worker processes that share one socket. The parent forks them, forwards signals, and replaces a dead worker."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

logger = logging.getLogger("openrouter_fallback.serve")
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_RESTART_SECONDS = 1.0


def run(count: int, work: Callable[[], None], gone: Callable[[int], object] = int) -> None:
    """Fork `count` processes that each run `work`. Return when a signal has ended all of them.

    A process that ends without a signal is replaced. `gone` is called with the id of each process that has ended.
    """
    children: set[int] = set()
    stopping = False

    def forward(number: int, frame: FrameType | None) -> None:
        nonlocal stopping
        stopping = True
        for pid in children:
            os.kill(pid, number)

    before = {number: signal.signal(number, forward) for number in _SIGNALS}
    try:
        while children or not stopping:
            while len(children) < count and not stopping:
                children.add(_fork(work))
            pid, status = os.wait()
            children.discard(pid)
            gone(pid)
            if not stopping:
                logger.error("worker %d ended with status %d; another one starts", pid, status)
                time.sleep(_RESTART_SECONDS)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fork(work: Callable[[], None]) -> int:
    # Signals are blocked from the fork until the child has set its own handlers, so that none is lost.
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        pid = os.fork()
        if pid == 0:
            _child(work)
        return pid
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)


def _child(work: Callable[[], None]) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C reaches only the parent, which forwards it once
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        work()
        status = 0
    except BaseException:
        logger.exception("a worker failed")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
