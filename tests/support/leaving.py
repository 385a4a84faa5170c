"""The ways in which a caller can leave a synchronous stream before its end."""

from __future__ import annotations

import pytest

from openrouter_fallback import Stream


def _break(stream: Stream) -> None:
    for _ in stream:
        break


def _close(stream: Stream) -> None:
    next(stream)
    stream.close()
    stream.close()
    assert list(stream) == []


def _with(stream: Stream) -> None:
    with stream:
        next(stream)


def _raise(stream: Stream) -> None:
    def use() -> None:
        with stream:
            next(stream)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()


WAYS = [_break, _close, _with, _raise]
