"""The catalog of models: prices, context lengths, capabilities and expiry, from each endpoint's `GET /models`.

Only the first lookup of an endpoint reads a file. A lookup never sends a request. None means unknown.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from ..config.model_ids import OPENROUTER
from ..errors import CatalogError, ConfigError
from . import cache
from .listing import Families, Listing, ModelInfo, entries_of, read_listing

logger = logging.getLogger("openrouter_fallback")


FRESH_SECONDS = 6 * 3600.0
"""The age from which a list is fetched again in the background."""


Fetch = Callable[[str], Awaitable[bytes]]
"""Fetches the body of an endpoint's `GET /models`. Raises `CatalogError`."""


class Catalog:
    """The models of a client's endpoints. Safe to use from several threads and event loops.

    `refresh` or a background thread (`settings.catalog`) fetches the lists. Before the first fetch a small table gives
    context and capabilities, but no prices, of OpenRouter's well-known families. Lists are cached in the user's cache
    directory, except those of servers on this machine. An old list stays in use until a new list is fetched.
    """

    def __init__(
        self,
        endpoints: Mapping[str, str],
        split: Callable[[str], tuple[str, str]],
        fetch: Fetch,
        *,
        kept: Collection[str] = (),
    ) -> None:
        self._endpoints = dict(endpoints)
        self._split = split
        self._fetch = fetch
        self._kept = frozenset(kept)
        self._listings: dict[str, Listing] = {}

    def get(self, id: str) -> ModelInfo | None:
        """The model of an id as in a chain (`endpoint:model` on another endpoint); also of a variant or an alias."""
        return self.listed(*self._split(id))

    def listed(self, endpoint: str, model: str) -> ModelInfo | None:
        """The model with this name at `endpoint`."""
        return self._listing(endpoint).get(model)

    def models(self, endpoint: str = OPENROUTER) -> tuple[ModelInfo, ...]:
        """All models that an endpoint lists, in its order. Empty before the first fetch."""
        return self._listing(endpoint).models()

    def fetched(self, endpoint: str = OPENROUTER) -> datetime | None:
        """The time at which the endpoint's list was fetched; None if never."""
        fetched = self._listing(endpoint).fetched
        return None if fetched is None else datetime.fromtimestamp(fetched, UTC)

    async def refresh(self, *endpoints: str) -> None:
        """Fetch the lists of these endpoints (default: all) now. `CatalogError` names each endpoint that failed."""
        unknown = [endpoint for endpoint in endpoints if endpoint not in self._endpoints]
        if unknown:
            raise ConfigError(f"unknown endpoint {unknown[0]!r}; configured: {', '.join(self._endpoints)}")
        failed = []
        for endpoint in endpoints or self._endpoints:
            try:
                self._take(endpoint, await self._fetch(endpoint))
            except CatalogError as error:
                failed.append(str(error))
        if failed:
            raise CatalogError("\n".join(failed))

    def stale(self, endpoint: str) -> bool:
        """Whether the endpoint's list must be fetched again. First loads a newer list of another process from disk."""
        if self._fresh(self._listing(endpoint)):
            return False
        anew = self._load(endpoint)
        if self._fresh(anew):
            self._listings[endpoint] = anew
            return False
        return True

    def _take(self, endpoint: str, body: bytes) -> None:
        try:
            entries = read_listing(body)
        except ValueError as error:
            raise CatalogError(f"{endpoint}: the answer to GET /models is no list of models: {error}") from None
        now = time.time()
        self._listings[endpoint] = Listing(entries, now)
        if endpoint in self._kept:
            try:
                cache.save(self._endpoints[endpoint], entries, now)
            except (OSError, RuntimeError) as error:
                logger.debug("the list of models of %s cannot be kept: %s", endpoint, error)

    def _fresh(self, listing: Listing) -> bool:
        return listing.fetched is not None and 0 <= time.time() - listing.fetched < FRESH_SECONDS

    def _listing(self, endpoint: str) -> Listing:
        listing = self._listings.get(endpoint)
        if listing is None:
            listing = self._listings[endpoint] = self._load(endpoint)
        return listing

    def _load(self, endpoint: str) -> Listing:
        kept = cache.load(self._endpoints[endpoint]) if endpoint in self._kept else None
        if kept is not None:
            with suppress(ValueError):
                return Listing(entries_of(kept.entries), kept.fetched)
        return Families() if endpoint == OPENROUTER else Listing(())
