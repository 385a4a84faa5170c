"""Lists of models in time for an LLM's metadata: engines budget their prompts by it before the first call."""

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
"""The longest that an LLM's metadata waits for the lists of models; where an event loop waits with it, the second."""
AGAIN_SECONDS = 60.0
"""How long after that nothing is asked, where a list did not come or does not name the model."""


class Contexts:
    """Fetches the lists of models where a context is not known; shared by all copies of an LLM, as their client is."""

    def __init__(self) -> None:
        self._next = 0.0
        self._lock = threading.Lock()

    def fetch(self, client: FallbackClient) -> None:
        """Fetch the lists, but not often, and not against `settings.catalog: never`. Raises nothing."""
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
