"""A uvicorn connection that also reports a client's disconnect and can be closed in the middle of a response."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Connection(H11Protocol):
    """One HTTP/1.1 connection. The application finds the connection in `scope["state"]["connection"]`."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self.gone = False
        self.hung_up = False
        self._sleeper: asyncio.Future[None] | None = None

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = not self.hung_up
        self._wake()
        super().connection_lost(exc)

    async def sleep(self, seconds: float) -> None:
        """Sleep for some seconds, or until the client disconnects."""
        if self.gone or self.hung_up:
            return
        self._sleeper = self.loop.create_future()
        timer = self.loop.call_later(seconds, self._wake)
        try:
            await self._sleeper
        finally:
            timer.cancel()
            self._sleeper = None

    def hang_up(self, reset: bool) -> None:
        """Close the connection before the response is complete: with a FIN, or with an RST if `reset`."""
        # Else uvicorn logs an error because the response is incomplete.
        self.cycle.disconnected = True
        self.hung_up = True
        if reset:
            raw: socket.socket = self.transport.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            self.transport.abort()
        else:
            self.transport.close()

    def _wake(self) -> None:
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(None)
