"""Fetches the lists of models for an LLM's metadata. Engines size their prompts by it before the first call."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from typing import TYPE_CHECKING

from openrouter_fallback import FallbackError

if TYPE_CHECKING:
    from openrouter_fallback import FallbackClient

logger = logging.getLogger("openrouter_fallback")

LOOK_SECONDS, LOOP_SECONDS = 5.0, 2.0
"""The longest time that an LLM's metadata waits for the lists of models; the second value applies on an event loop."""
AGAIN_SECONDS = 60.0
"""The time before the next fetch, if a fetch failed or the lists do not contain the model."""


class Contexts:
    """Fetches the lists of models if a context length is unknown. All copies of an LLM share this object."""

    def __init__(self) -> None:
        self._next = 0.0
        self._lock = threading.Lock()

    def fetch(self, client: FallbackClient) -> None:
        """Fetch the lists, at most once in `AGAIN_SECONDS`, and never with `settings.catalog: never`. Never raises."""
        if client.config.settings.catalog == "never":
            return
        with self._lock:
            if time.monotonic() < self._next:
                return
            self._next = time.monotonic() + AGAIN_SECONDS
            looking = threading.Thread(target=_look, args=(client,), daemon=True)
            looking.start()
            looking.join(LOOP_SECONDS if _on_a_loop() else LOOK_SECONDS)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _look(client: FallbackClient) -> None:
    try:
        client.refresh_catalog()
    except FallbackError as error:
        logger.debug("the contexts of models are not known yet: %s", error)
