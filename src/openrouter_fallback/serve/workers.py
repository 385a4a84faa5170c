"""Several processes behind one socket: forked, told of signals, and replaced when one dies."""

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
    """Fork `count` processes that each do `work`, and wait until a signal has ended them all.

    A process that ends before a signal came is replaced. `gone` is called with the id of each that has ended.
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
    # A signal between the fork and the child's own handlers would be lost.
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
        os.setpgid(0, 0)  # Ctrl-C reaches the parent alone, which tells the others once
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
