"""What the core knows of HTTP: `Transport` and `Exchange`. Another HTTP client can come behind these two protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..failures.kinds import TransportFault
from ..sealed import Headers

MAX_CONNECTIONS = 512
"""Requests under way at a time, on one event loop."""


class TransportError(Exception):
    """The request could not be sent, or its answer not be read."""

    def __init__(self, fault: TransportFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class Exchange(Protocol):
    """An open answer: its status and headers are there, its body is read piece by piece."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes | None:
        """The next bytes of the decoded body, None at its end. Raises `TransportError`."""

    async def aclose(self) -> None:
        """Close; where the body was not read to its end, the connection with it."""


class Transport(Protocol):
    """Opens requests."""

    async def open(
        self,
        url: str,
        headers: Headers,
        body: bytes | None,
        *,
        resend: bool = True,
        resent: Callable[[], None] | None = None,
    ) -> Exchange:
        """Send a POST (a GET where there is no body) and read the answer's head. Raises `TransportError`.

        `resend`: a request whose connection, used before, is lost without a byte of an answer goes out once more.
        `resent` is called each time that one does.
        """

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""
