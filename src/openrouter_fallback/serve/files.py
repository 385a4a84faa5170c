"""Open files: each connection of a client is one, and each request to a model.

Many systems allow a process 1024 unless it asks for more. A server without a free one accepts nobody, and asyncio
logs each attempt.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from .options import Bounds

try:
    import resource
except ImportError:  # Windows, which has no such limit
    resource = None  # type: ignore[assignment]

logger = logging.getLogger("openrouter_fallback.serve")
_OWN = 64
_PARTS = 4


def fitted(bounds: Bounds) -> Bounds:
    """The bounds that the limit of open files allows, after it was raised as far as they need and this process may.

    Of the files two parts are for connections of clients, one for those that wait to be accepted, one for requests to
    models; 64 are for the process itself.
    """
    if resource is None:
        return bounds
    wanted = _OWN + _PARTS * max(bounds.calls, -(-bounds.connections // 2))
    part = max(1, (_raised(wanted) - _OWN) // _PARTS)
    found = replace(bounds, calls=min(bounds.calls, part), connections=min(bounds.connections, 2 * part))
    if found != bounds:
        logger.warning(
            "this process may open %d files, so it takes at most %d calls and %d connections at a time;"
            " raise the limit (ulimit -n) to %d for more",
            _PARTS * part + _OWN,
            found.calls,
            found.connections,
            wanted,
        )
    return found


def _raised(wanted: int) -> int:
    """Raise the limit to `wanted`, or as near as this process may; the limit then."""
    unlimited = resource.RLIM_INFINITY
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted if hard == unlimited else min(wanted, hard)
    if soft == unlimited or soft >= most:
        return most
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):  # macOS refuses more than its kernel allows
        return soft
    return most
