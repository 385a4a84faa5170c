"""The event loop thread that serves synchronous callers: one daemon thread for each process, started on first use.

The caller's thread waits at a queue. Functions that must run in this thread (`accept=`, subscribers) come through the
same queue, so that they may call the client themselves. After a fork the child makes its own portal and does not touch
the inherited one: closing an inherited connection would end the parent's stream.

When the interpreter ends, only daemon threads may still be in a call. Their calls are cancelled and their connections
closed; each thread then ends with `SystemExit`, for which `threading` prints nothing.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import os
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NoReturn, TypeVar

from ..errors import LocalError
from ..events import Event, Events
from ..forks import renew_in_child
from ..results import Piece

T = TypeVar("T")

CLOSING_SECONDS = 2.0


class Portal:
    """An event loop in a daemon thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.process = os.getpid()
        self.ending = False
        """Whether the interpreter ends: no call can start any more."""
        self._thread = threading.Thread(target=self._serve, name="openrouter-fallback", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while True:
            try:
                self.loop.run_forever()
            except BaseException:  # noqa: BLE001, S112 - a task ended in SystemExit or KeyboardInterrupt: its caller gets it
                continue
            return

    def close(self) -> None:
        """At the end of the process: end active calls, close their connections, then close the loop."""
        self.ending = True
        ending = asyncio.run_coroutine_threadsafe(self._wind_up(), self.loop)
        with suppress(TimeoutError, asyncio.CancelledError):
            ending.result(CLOSING_SECONDS)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(CLOSING_SECONDS)
        if not self._thread.is_alive():
            self.loop.close()

    async def _wind_up(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.loop.shutdown_asyncgens()

    @property
    def here(self) -> bool:
        """Whether the calling thread is the portal's own."""
        return threading.current_thread() is self._thread


class _Portals:
    """The portal of this process, started on first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._own: Portal | None = None
        self._inherited: list[Portal] = []
        """Never read. Keeps the parent's portals from being garbage-collected in the child."""
        renew_in_child(self)
        atexit.register(self._close)

    def portal(self) -> Portal:
        """The process's portal."""
        if self._own is None:
            with self._lock:
                if self._own is None:
                    self._own = Portal()
        return self._own

    def portal_at_hand(self) -> Portal | None:
        """The process's portal; None while the portal is starting, for instance further up in this thread's stack.

        For code that may run during a garbage collection.
        """
        if self._own is None and self._lock.acquire(blocking=False):
            try:
                self._own = self._own or Portal()
            except RuntimeError:  # no thread can be started
                return None
            finally:
                self._lock.release()
        return self._own

    def after_fork(self) -> None:
        """In a forked child: its portal is not the parent's, whose connections it must not close."""
        self._lock = threading.Lock()
        if self._own is not None:
            self._inherited.append(self._own)
            self._own = None

    def _close(self) -> None:
        if self._own is not None and self._own.process == os.getpid():
            self._own.close()


_portals = _Portals()
portal, portal_at_hand = _portals.portal, _portals.portal_at_hand


class SyncBridge:
    """Connects the thread of one synchronous call with the portal's loop; the call's `CallbackHost`."""

    def __init__(self, events: Events) -> None:
        self._portal = portal()
        if self._portal.here:
            raise RuntimeError("a synchronous call from inside the portal's own loop would wait for itself")
        self._events = events
        self._box: SimpleQueue[Callable[[], None] | list[Piece] | asyncio.Task[Any]] = SimpleQueue()
        self._context = contextvars.copy_context()
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self._ended = False

    @property
    def process(self) -> int:
        """The id of the process that made this bridge."""
        return self._portal.process

    # In the caller's thread

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the portal's loop and wait for its result. Ctrl-C cancels the coroutine and is raised."""
        self.spawn(work)
        try:
            while True:
                item = self._box.get()
                if isinstance(item, asyncio.Task):
                    result: T = self._result(item)
                    return result
                if not isinstance(item, list):
                    item()
        except BaseException:
            if not self._ended:  # also if the task is done: events for subscribers are in the queue
                self.stop()
            raise

    def spawn(self, work: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Start a coroutine on the portal's loop; its end is put into the queue."""

        def start() -> None:
            if self._portal.ending:
                self._box.put(self._leave)
                return
            self._task = self._portal.loop.create_task(work(), context=self._context)
            self._task.add_done_callback(self._box.put)
            if self._cancelled:
                self._task.cancel()

        self.soon(start)

    def _result(self, task: asyncio.Task[Any]) -> Any:
        """The result of the coroutine. Raises the coroutine's exception."""
        self._ended = True
        if task.cancelled() and self._portal.ending and not self._cancelled:
            self._leave()
        return task.result()

    def _leave(self) -> NoReturn:
        """The interpreter ends: end the calling thread without a traceback."""
        self._ended = True
        if threading.current_thread() is threading.main_thread():
            raise LocalError("The interpreter is ending: no call can be made any more.")
        raise SystemExit

    def receive(self) -> list[Piece] | None:
        """The next batch in the queue; None when the coroutine has ended. Raises the coroutine's exception."""
        while True:
            item = self._box.get()
            if isinstance(item, list):
                return item
            if isinstance(item, asyncio.Task):
                self._box.put(item)  # for a thread that waits in `stop` or reads after it
                self._result(item)
                return None
            item()

    def stop(self) -> None:
        """Cancel the coroutine and wait briefly until it has closed its connection."""
        if self._portal.ending:
            return  # already cancelled, and this thread may end at any moment
        self.soon(self.cancel)
        try:
            while True:
                item = self._box.get(timeout=CLOSING_SECONDS)
                if isinstance(item, asyncio.Task):
                    self._box.put(item)
                    if not item.cancelled():
                        item.exception()
                    return
                if not isinstance(item, list):
                    item()
        except Empty:
            pass

    def abandon(self) -> None:
        """Cancel the coroutine without waiting. Subscribers get its last events in a new thread."""
        if self._ended or self._portal.ending:
            return
        # RuntimeError: the interpreter ends, no thread can be started.
        with suppress(RuntimeError):
            self.soon(self.cancel)
            if self._events.heard:
                threading.Thread(target=self.stop, name="openrouter-fallback-goodbye", daemon=True).start()

    def soon(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the portal's loop. If the interpreter ends and the loop is closed, ends this thread."""
        try:
            self._portal.loop.call_soon_threadsafe(callback)
        except RuntimeError:
            if not self._portal.ending:
                raise
            self._leave()

    # On the portal's loop

    def cancel(self) -> None:
        """Cancel the coroutine, or make it end as soon as it starts."""
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def put(self, batch: list[Piece]) -> None:
        """Pass a batch to the caller's thread."""
        self._box.put(batch)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run the caller's function in the caller's thread. An awaitable result is awaited on the portal's loop."""
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        def there() -> None:
            result, raised = None, None
            try:
                result = function(*args)
            except Exception as error:  # noqa: BLE001 - raised again in the call
                raised = error
            self.soon(lambda: _settle(answer, result, raised))

        self._box.put(there)
        result = await answer
        return await result if inspect.isawaitable(result) else result

    @property
    def heard(self) -> bool:
        """Whether there are subscribers."""
        return self._events.heard

    def emit(self, event: Event) -> None:
        """Pass an event to the subscribers, in the caller's thread."""
        self._box.put(lambda: self._events.emit(event))


def _settle(answer: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if answer.done():
        return
    if isinstance(error, StopIteration):
        # A future refuses StopIteration; generators raise RuntimeError instead, too.
        wrapped = RuntimeError("a function of the caller's raised StopIteration")
        wrapped.__cause__ = error
        answer.set_exception(wrapped)
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
