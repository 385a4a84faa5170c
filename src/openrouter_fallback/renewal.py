"""Getting an endpoint's `GET /models`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping

from .diagnosis import from_response
from .errors import CatalogError
from .wire import Transport, TransportError

MAX_LISTING_BYTES = 32 * 1024 * 1024
FETCH_SECONDS = 30.0


async def fetch(transport: Transport, endpoint: str, url: str, headers: Mapping[str, str]) -> bytes:
    """The body of an endpoint's listing, within 30 s. Raises `CatalogError`, which says why there is none."""
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _fetch(transport, endpoint, url, headers)
    except TimeoutError:
        why = f"no answer within {FETCH_SECONDS:g} s"
    except TransportError as error:
        why = f"{error.fault.value.replace('_', ' ')}: {error.detail}"
    raise CatalogError(f"{endpoint}: GET /models failed: {why}")


async def _fetch(transport: Transport, endpoint: str, url: str, headers: Mapping[str, str]) -> bytes:
    answer = await transport.open(url, headers, None)
    try:
        body = bytearray()
        while (data := await answer.read()) is not None:
            body += data
            if len(body) > MAX_LISTING_BYTES:
                raise CatalogError(f"{endpoint}: GET /models failed: it is longer than {MAX_LISTING_BYTES} bytes")
    finally:
        await answer.aclose()
    if answer.status != 200:
        failure = from_response(answer.status, answer.headers, bytes(body), now=time.time())
        raise CatalogError(f"{endpoint}: GET /models failed: {answer.status}, {failure.message}")
    return bytes(body)
