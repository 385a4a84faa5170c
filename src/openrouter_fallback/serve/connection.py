"""A uvicorn connection with a time limit for the headers of a request, and with errors as JSON."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import orjson
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .errors import error_object

# Names of h11's states. Comparing names avoids an import of h11, which is uvicorn's dependency.
_IDLE, _DONE, _MUST_CLOSE, _MAY_ANSWER = "IDLE", "DONE", "MUST_CLOSE", ("IDLE", "SEND_RESPONSE")
_REASONS = {400: "Bad Request", 408: "Request Timeout", 431: "Request Header Fields Too Large", 501: "Not Implemented"}
_MESSAGES = {408: "The headers did not come in time.", 431: "The headers are too large."}


class Connection(H11Protocol):
    """One HTTP/1.1 connection. The application finds the connection in `scope["state"]["connection"]`."""

    header_seconds = 10.0
    most_connections = 4000

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._headers_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            transport.abort()
            return
        self._headers_due = self.loop.call_later(self.header_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if str(self.conn.their_state) == _MUST_CLOSE:
            return  # Their last request is complete; h11 would take a line break behind it for a broken request.
        super().data_received(data)
        if self.flow.read_paused and str(self.conn.their_state) == _DONE:
            self._read_on()
        if str(self.conn.their_state) != _IDLE:
            self._in_time()
        elif self._headers_due is None and not self.transport.is_closing():
            self._headers_due = self.loop.call_later(self.header_seconds, self._late)

    def _read_on(self) -> None:
        """Read while an answer is sent and a next request waits: else nobody would see that the client leaves."""
        if len(self.conn.trailing_data[0]) < (self.config.h11_max_incomplete_event_size or 0):
            self.flow.resume_reading()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if str(self.conn.their_state) == _IDLE:
            self._in_time()

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not valid HTTP, with the status that h11 suggests."""
        error = sys.exception()
        status = getattr(error, "error_status_hint", 400)
        self._refuse(status if status in _REASONS else 400)

    def _in_time(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _late(self) -> None:
        self._headers_due = None
        if self.conn.trailing_data[0]:
            self._refuse(408)
        else:
            self.transport.close()

    def _refuse(self, status: int) -> None:
        if str(self.conn.our_state) in _MAY_ANSWER:
            message = _MESSAGES.get(status, "This is not an HTTP request.")
            body = orjson.dumps(error_object(message, "invalid_request_error", "invalid_http", "invalid_request"))
            head = f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            self.transport.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
        self.transport.close()
