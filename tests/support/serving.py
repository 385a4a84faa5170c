"""A server of `openrouter_fallback.serve` in a thread, in front of an emulator."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace

from openrouter_fallback import FallbackClient
from openrouter_fallback.serve import App, Options
from openrouter_fallback.serve.server import Server, bound


@dataclass
class Served:
    """A running server."""

    base_url: str
    app: App
    client: FallbackClient

    @property
    def origin(self) -> str:
        return self.base_url.removesuffix("/v1")

    @property
    def port(self) -> int:
        return int(self.origin.rpartition(":")[2])


@contextmanager
def serving(client: FallbackClient, options: Options | None = None) -> Iterator[Served]:
    """Run a server with `client` on a free port. It stops at the end of the `with` block."""
    options = replace(options or Options(access_log=False), port=0)
    app, listener = App(client, options), bound(options)
    started: Future[str] = Future()
    server = Server(app, listener, started.set_result)

    def run() -> None:
        try:
            server.run()
        except BaseException as failed:
            if started.done():
                raise
            started.set_exception(failed)

    thread = threading.Thread(target=run, name="serve", daemon=True)
    thread.start()
    try:
        yield Served(started.result(timeout=10), app, client)
    finally:
        server.should_exit = server.force_exit = True
        thread.join(timeout=10)
        listener.close()
