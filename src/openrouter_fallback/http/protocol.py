"""The core's view of HTTP: the protocols `Transport` and `Exchange`. Another HTTP client can implement both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..failures.kinds import TransportFault
from ..sealed import Headers

MAX_CONNECTIONS = 512
"""The most requests under way at a time on one event loop."""


class TransportError(Exception):
    """The request could not be sent, or its response could not be read."""

    def __init__(self, fault: TransportFault, detail: str) -> None:
        super().__init__(detail)
        self.fault = fault
        self.detail = detail


class Exchange(Protocol):
    """An open response: status and headers are known, the body is read in pieces."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes | None:
        """The next bytes of the decoded body; None at its end. Raises `TransportError`."""

    async def aclose(self) -> None:
        """Close the response, and the connection too if the body was not read to its end."""


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
        """Send a POST (a GET without a body) and read the response's head. Raises `TransportError`.

        `resend`: if a reused connection is lost without a byte of a response, send the request again. `resent` is
        called each time.
        """

    async def aclose(self) -> None:
        """Close the idle connections of the running loop."""
