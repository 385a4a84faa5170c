"""The streams that a call returns: iterate a stream, close it, and read its completion at the end."""

from __future__ import annotations

import asyncio
import os
import sys
import weakref
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, Self

from .call.portal import SyncBridge
from .call.runner import CallRunner
from .errors import StreamInterruptedError
from .results import Completion, Piece
from .suggest import no_attribute

READ_AHEAD = 256
"""Unread batches of a synchronous stream at which reading from the upstream pauses."""

_TWO_READERS = "another {} is reading this stream already: a stream has one reader; make a call for each"
_UNFINISHED = "the stream has not been read to its end: there is no completion yet"


class AsyncStream:
    """The pieces of an answer as they arrive: `async for piece in stream`.

    Closing or deleting the stream closes the upstream connection immediately; leaving a loop over `client.astream(...)`
    deletes its stream. After the last piece `completion` holds the whole answer.
    """

    def __init__(self, start: Callable[[], Awaitable[CallRunner]]) -> None:
        self._start = start
        self._run: CallRunner | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._guard: asyncio.Task[None] | None = None
        self._pieces: deque[Piece] = deque()
        self._ended = False
        self._busy = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        pieces = self._pieces
        if pieces:
            return pieces.popleft()
        if self._ended:
            raise StopAsyncIteration
        if self._busy:
            raise RuntimeError(_TWO_READERS.format("task"))
        self._busy = True
        try:
            run = self._run
            if run is None:
                self._loop = asyncio.get_running_loop()
                run = self._run = await self._start()
                self._guard = _guard(run)
            batch = await run.advance()
        except StopAsyncIteration as error:  # it would end the caller's loop as if the answer were complete
            self._end()
            raise RuntimeError("a function of the caller's raised StopAsyncIteration") from error
        except BaseException:
            self._end()
            raise
        finally:
            self._busy = False
        if batch is None:
            closed = self._ended
            self._end()
            if run.outcome.completion is None and not closed:
                raise StreamInterruptedError("Another task has closed the stream before its end.")
            raise StopAsyncIteration
        pieces.extend(batch)
        return pieces.popleft()

    @property
    def completion(self) -> Completion:
        """The whole answer, once the stream has been read to its end; RuntimeError before."""
        if self._run is None or self._run.outcome.completion is None:
            raise RuntimeError(_UNFINISHED)
        return self._run.outcome.completion

    async def aclose(self) -> None:
        """Stop reading and close the upstream connection."""
        self._pieces.clear()
        if not self._ended:
            self._end()
            if self._run is not None:
                await self._run.aclose()

    def _end(self) -> None:
        self._ended = True
        if self._guard is not None:
            self._guard.cancel()

    if not TYPE_CHECKING:  # a type checker must not see this method

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("an AsyncStream", "stream", name, dir(type(self)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        if self._guard is None or self._loop is None or self._run is None or self._ended:
            return
        try:
            self._loop.call_soon_threadsafe(_lose, self._run, self._guard)
        except RuntimeError:  # a closed loop can await nothing; release what the call holds
            _guards.discard(self._guard)
            if not sys.is_finalizing():
                self._run.forsake()


# Keeps a reference to each guard: else the garbage collector could end a guard together with its stream.
_guards: set[asyncio.Task[None]] = set()
_closing: set[asyncio.Task[None]] = set()


def _guard(run: CallRunner) -> asyncio.Task[None]:
    """A task that closes `run` when the task is cancelled: by the stream, or by a loop that ends before the stream.

    `asyncio.run` cancels tasks first and then closes all async generators at once, which httpx2's do not support.
    The task holds only a weak reference to `run`: a callback of the caller in `run` may hold the stream.
    """
    guarded = weakref.ref(run)

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:  # at a GeneratorExit the loop is gone, and nothing can be awaited
            left = guarded()
            if left is not None:
                await left.aclose()
            raise

    task = asyncio.create_task(wait())
    # Prevents a log message about this task from a loop that is closed without cancelling its tasks.
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    _guards.add(task)
    task.add_done_callback(_guards.discard)
    return task


def _lose(run: CallRunner, guard: asyncio.Task[None]) -> None:
    """Close `run` after its stream was deleted. Runs on the loop."""
    guard.cancel()
    task = asyncio.get_running_loop().create_task(run.aclose())
    _closing.add(task)
    task.add_done_callback(_closing.discard)


class Stream:
    """The pieces of an answer as they arrive: `for piece in stream`.

    Closing or deleting the stream closes the upstream connection immediately; leaving a loop over `client.stream(...)`
    deletes its stream. After the last piece `completion` holds the whole answer. A forked child cannot read the stream.
    """

    def __init__(self, bridge: SyncBridge, start: Callable[[], Awaitable[CallRunner]]) -> None:
        self._bridge = bridge
        self._pump = _Pump(bridge, start)
        self._pieces: deque[Piece] = deque()
        self._ended = False
        self._busy = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Piece:
        self._same_process()
        if self._pieces:
            return self._pieces.popleft()
        if self._ended:
            raise StopIteration
        if self._busy:
            raise RuntimeError(_TWO_READERS.format("thread"))
        self._busy = True
        try:
            batch = self._pump.next()
        except BaseException:
            if self._ended:
                raise StopIteration from None  # closed by another thread
            self._ended = True
            self._pump.cancel()
            raise
        finally:
            self._busy = False
        if batch is None:
            self._ended = True
            raise StopIteration
        self._pieces.extend(batch)
        return self._pieces.popleft()

    @property
    def completion(self) -> Completion:
        """The whole answer, once the stream has been read to its end; RuntimeError before."""
        run = self._pump.run
        if run is None or run.outcome.completion is None or not self._ended:
            raise RuntimeError(_UNFINISHED)
        return run.outcome.completion

    def close(self) -> None:
        """Stop reading and close the upstream connection."""
        self._pieces.clear()
        if not self._ended:
            self._ended = True
            self._same_process()
            self._pump.close()

    if not TYPE_CHECKING:  # a type checker must not see this method

        def __getattr__(self, name: str) -> NoReturn:
            raise no_attribute("a Stream", "stream", name, dir(type(self)))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._ended and self._bridge.process == os.getpid():
            self._pump.cancel()

    def _same_process(self) -> None:
        if self._bridge.process != os.getpid():
            raise RuntimeError("this stream was begun in the parent process; begin a new one after the fork")


class _Pump:
    """Reads batches ahead on the portal's event loop. A piece then needs no round trip between threads."""

    def __init__(self, bridge: SyncBridge, start: Callable[[], Awaitable[CallRunner]]) -> None:
        self.run: CallRunner | None = None
        self._bridge = bridge
        self._start = start
        self._task: asyncio.Task[None] | None = None
        self._room: asyncio.Event | None = None
        self._unread = 0
        self._begun = False

    def next(self) -> list[Piece] | None:
        """The next batch, None at the end. Raises the exception of the call."""
        if not self._begun:
            self._begun = True
            self._bridge.spawn(self._read)
        batch = self._bridge.receive()
        if batch is None:
            return None
        self._unread -= 1
        if self._room is not None and self._unread < READ_AHEAD // 2:
            room, self._room = self._room, None
            self._bridge.soon(room.set)
        return batch

    def cancel(self) -> None:
        """Stop reading. Does not wait."""
        if self._begun:
            self._bridge.abandon()

    def close(self) -> None:
        """Stop reading and wait until the connection is closed."""
        if self._begun:
            self._bridge.stop()

    async def _read(self) -> None:
        run = self.run = await self._start()
        try:
            while (batch := await run.advance()) is not None:
                self._unread += 1
                self._bridge.put(batch)
                if self._unread >= READ_AHEAD:
                    room = self._room = asyncio.Event()
                    if self._unread >= READ_AHEAD // 2:  # the consumer may have caught up before `room` was set
                        await room.wait()
        finally:
            await run.aclose()
