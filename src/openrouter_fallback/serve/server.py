"""The server process: the socket, the signals, and the shutdown.

After SIGTERM or SIGINT no new call begins, and `/readyz` answers 503. Active calls may continue for `drain_seconds`.
Then each remaining call ends with an error, and the server stops. A second signal stops the server at once.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from types import FrameType

import uvicorn

from .. import ConfigError, FallbackClient
from .app import App
from .connection import Connection
from .files import fitted
from .metrics import mark_dead
from .options import Options
from .workers import run

logger = logging.getLogger("openrouter_fallback.serve")
_LAST_WORDS_SECONDS = 2.0
_SHUTDOWN_SECONDS = 5
_BACKLOG, _LEAST_BACKLOG = 2048, 16


class Server(uvicorn.Server):
    """A uvicorn server for one `App`. `started` is called with the base URL when the server listens."""

    def __init__(self, app: App, listener: socket.socket, started: Callable[[str], object] = str) -> None:
        bounds = app.options.bounds
        limits = {"header_seconds": bounds.header_seconds, "most_connections": bounds.connections}
        protocol = type("Bounded", (Connection,), limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level="error",  # with a line for each broken request, a client could fill the log
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=max(1, round(bounds.keep_alive_seconds)),
                timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
                h11_max_incomplete_event_size=bounds.header_bytes + 64 * 2**10,
                # asyncio accepts as many at once before it tells of the first.
                backlog=max(_LEAST_BACKLOG, min(_BACKLOG, bounds.connections // 2)),
            )
        )
        self._app = app
        self._listener = listener
        self._on_started = started
        self._deadline: float | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup([self._listener])
        self._on_started(url_of(self._listener))

    async def on_tick(self, counter: int) -> bool:
        """Whether the server stops. uvicorn calls this method ten times a second."""
        if not self._app.draining:
            return await super().on_tick(counter)
        now = time.monotonic()
        if self._deadline is None:
            self._deadline = now + self._app.options.drain_seconds
            if count := self._app.under_way:
                calls = f"{count} calls have" if count > 1 else "a call has"
                seconds = self._app.options.drain_seconds
                logger.warning("stopping: %s %g s to end; a second signal ends the server at once", calls, seconds)
        if self.should_exit or now >= self._deadline:
            self._app.drain()
        return self.should_exit or not self._app.under_way or now >= self._deadline + _LAST_WORDS_SECONDS

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drain after the first signal; stop after the second signal."""
        if self._app.draining:
            self.should_exit = self.force_exit = True
        self._app.draining = True


def serve(
    client: FallbackClient, options: Options, started: Callable[[str], object] = str, *, workers: int = 1
) -> None:
    """Run the server in `workers` processes until a signal arrives. Raises `ConfigError` if the address is unusable.

    `started` is called once, with the base URL. The limits are lowered to what the limit of open files allows.
    """
    options = replace(options, bounds=fitted(options.bounds))
    listener = bound(options)
    try:
        if workers == 1:
            Server(App(client, options), listener, started).run()
            return
        started(url_of(listener))
        run(workers, lambda: Server(App(client, options), listener).run(), mark_dead)
    finally:
        listener.close()


def url_of(listener: socket.socket) -> str:
    """The base URL for a client, in place of `https://api.openai.com/v1`."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/v1"


def bound(options: Options) -> socket.socket:
    """A socket that is bound to the address of the options. Raises `ConfigError` if the address is unusable."""
    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        # asyncio sets TCP_NODELAY only if the socket names its protocol. Without TCP_NODELAY an answer takes 40 ms.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {options.host} port {options.port}: {error.strerror}; choose another with --port,"
            " or --port 0 for a free one"
        ) from None
    return listener
