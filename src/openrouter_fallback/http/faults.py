"""Turns the exceptions of the HTTP library into `TransportError`, which names the fault."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Iterator

import httpcore2
import httpx2

from ..failures.kinds import TransportFault
from .decoding import Undecodable
from .protocol import TransportError

_BEFORE_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (httpcore2.ConnectTimeout, TransportFault.NOT_CONNECTED),
    (httpcore2.PoolTimeout, TransportFault.POOL_EXHAUSTED),
    (httpcore2.ProxyError, TransportFault.PROXY),
    (httpcore2.ConnectError, TransportFault.REFUSED),
    (httpcore2.LocalProtocolError, TransportFault.OUR_BUG),
    (httpcore2.UnsupportedProtocol, TransportFault.OUR_BUG),
    (httpx2.InvalidURL, TransportFault.OUR_BUG),
    (httpcore2.NetworkError, TransportFault.RESET_BEFORE_STATUS),
    (httpcore2.TimeoutException, TransportFault.RESET_BEFORE_STATUS),
    (httpcore2.ProtocolError, TransportFault.RESET_BEFORE_STATUS),
    (OSError, TransportFault.REFUSED),
)
_AFTER_STATUS: tuple[tuple[type[Exception], TransportFault], ...] = (
    (Undecodable, TransportFault.UNDECODABLE),
    (Exception, TransportFault.CUT_AFTER_STATUS),
)
# Causes that are more exact than the exception around them.
_CAUSES: tuple[tuple[type[BaseException], TransportFault], ...] = (
    (ssl.SSLError, TransportFault.TLS),
    (socket.gaierror, TransportFault.DNS),
)
_ELSEWHERE = frozenset({TransportFault.REFUSED, TransportFault.NOT_CONNECTED, TransportFault.DNS, TransportFault.TLS})
"""Faults whose message names the server."""
HARMLESS = (httpcore2.NetworkError, httpcore2.ProtocolError, OSError, RuntimeError)
"""Exceptions that are ignored while a connection is closed."""


def translated(error: Exception, *, before_status: bool, where: str = "") -> TransportError:
    """The `TransportError` for an exception of the HTTP library or of a library below it."""
    if isinstance(error, RuntimeError):
        fault = TransportFault.LOOP_CLOSED if "loop is closed" in str(error) else TransportFault.OUR_BUG
    else:
        fault = _fault(error, before_status=before_status)
    place = f" ({where})" if where and fault in _ELSEWHERE else ""
    return TransportError(fault, f"{_detail(error)}{place}")


def cut_tracebacks(error: BaseException, outer: BaseException | None) -> None:
    """Remove the tracebacks of an exception: frames of the HTTP library hold the request's headers.

    `outer` is the exception that the caller is handling; it and its causes are left unchanged.
    """
    for one in _chain(error, outer):
        one.__traceback__ = None


def _fault(error: Exception, *, before_status: bool) -> TransportFault:
    for cause in _chain(error):
        if isinstance(cause, OSError) and cause.errno in (errno.EMFILE, errno.ENFILE):
            return TransportFault.NO_FILES
        if before_status:
            for kind, fault in _CAUSES:
                if isinstance(cause, kind):
                    return fault
    table = _BEFORE_STATUS if before_status else _AFTER_STATUS
    return next((fault for kind, fault in table if isinstance(error, kind)), TransportFault.OUR_BUG)


def _chain(error: BaseException, outer: BaseException | None = None) -> Iterator[BaseException]:
    """An exception, its causes and contexts, and the members of groups; without `outer`."""
    seen = {id(outer)}
    pending: list[BaseException | None] = [error]
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        pending += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            pending += one.exceptions


def _detail(error: Exception) -> str:
    return str(error) or type(error).__name__
