"""Requests for an endpoint's own data: lists of models, OpenRouter's data on the key, the cost of a generation."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import orjson

from .. import figures
from ..config.models import OPENROUTER
from ..errors import AuthenticationError, CatalogError, FallbackError
from ..failures.classifier import from_response
from ..http.protocol import Transport, TransportError
from ..redaction import Redactor, Secrets
from ..sealed import sealed_values
from .destinations import Destination, Destinations
from .keys import Keys

MAX_LISTING_BYTES = 32 * 1024 * 1024
FETCH_SECONDS = 30.0


class Lists:
    """Fetches lists of models. Called with an endpoint's name, returns the body of its `GET /models`.

    Raises `CatalogError` with the reason. Never calls the user's function for API keys.
    """

    def __init__(self, destinations: Destinations, keys: Keys, transport: Transport) -> None:
        self._destinations = destinations
        self._keys = keys
        self._transport = transport

    async def __call__(self, endpoint: str) -> bytes:
        ring = self._keys.known()
        if endpoint in ring.missing and endpoint != OPENROUTER:
            raise CatalogError(self._keys.no_key(endpoint))
        return await _get(self._transport, f"{endpoint}: GET /models failed", self._destinations.models(endpoint, ring))


async def key_info(transport: Transport, destination: Destination) -> Mapping[str, Any]:
    """The `data` of `GET /key`. Raises `AuthenticationError` at a 401, else `CatalogError`."""
    body = await _get(transport, "openrouter: GET /key failed", destination, unauthorized=AuthenticationError)
    data = _data(body)
    if data is None:
        raise CatalogError("openrouter: the answer to GET /key says nothing of a key; check base_url")
    return data


async def generation_cost(transport: Transport, destination: Destination) -> Decimal | None:
    """The cost of a generation in USD, from `GET /generation`; None if not given. Raises `CatalogError`.

    With a provider key of the caller's own (`is_byok`) the cost is OpenRouter's fee plus the provider's charge.
    """
    data = _data(await _get(transport, "openrouter: GET /generation failed", destination))
    if data is None or data.get("id") != destination.url.rpartition("=")[2]:
        return None
    upstream = {"upstream_inference_cost": data.get("upstream_inference_cost")}
    usd = figures.cost({"cost": data.get("total_cost"), "is_byok": data.get("is_byok"), "cost_details": upstream})
    return None if usd is None else Decimal(str(usd))


def _data(body: bytes) -> dict[str, Any] | None:
    """The `data` object of a response body; None if there is none."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    data = said.get("data") if isinstance(said, dict) else None
    return data if isinstance(data, dict) else None


async def _get(
    transport: Transport, what: str, destination: Destination, *, unauthorized: type[FallbackError] = CatalogError
) -> bytes:
    try:
        async with asyncio.timeout(FETCH_SECONDS):
            return await _fetch(transport, what, destination, unauthorized)
    except TimeoutError:
        why = f"no answer within {FETCH_SECONDS:g} s"
    except TransportError as error:
        why = f"{error.fault.value.replace('_', ' ')}: {_keyless(destination, error.detail)}"
    raise CatalogError(f"{what}: {why}")


def _keyless(destination: Destination, text: str) -> str:
    return Redactor(Secrets(sealed_values(destination.headers))).clean(text)


async def _fetch(transport: Transport, what: str, destination: Destination, unauthorized: type[FallbackError]) -> bytes:
    answer = await transport.open(destination.url, destination.headers, None)
    try:
        body = bytearray()
        while (data := await answer.read()) is not None:
            body += data
            if len(body) > MAX_LISTING_BYTES:
                raise CatalogError(f"{what}: it is longer than {MAX_LISTING_BYTES} bytes")
    finally:
        await answer.aclose()
    if answer.status != 200:
        failure = from_response(answer.status, answer.headers, bytes(body), now=time.time())
        error = unauthorized if answer.status == 401 else CatalogError
        raise error(f"{what}: {answer.status}, {_keyless(destination, failure.message)}")
    return bytes(body)
