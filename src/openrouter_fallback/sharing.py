"""Whether a client's health is shared with other processes, and by what."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from .config import FallbackConfig
from .errors import ConfigError
from .health import HealthStore, Rules, SharedHealth
from .portal import portal
from .spend import Ledger


def health_store(config: FallbackConfig, rules: Rules, shares: Mapping[str, Any], ledger: Ledger) -> HealthStore | None:
    """What `settings.health_store` names; None for memory. Raises `ConfigError`."""
    url = config.settings.health_store
    if isinstance(url, str):
        return None
    try:
        from .health.redis import RedisStore
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError('health_store needs redis-py: pip install "openrouter-fallback[redis]"') from None
    places = {name: at.base_url.partition("://")[2] for name, at in config.endpoints.items()}
    try:
        return RedisStore(
            SharedHealth(rules, random.random, places, **shares),
            url.get_secret_value(),
            clock=time.monotonic,
            random=random.random,
            spawn=_spawn,
            till=ledger,
        )
    except (TypeError, ValueError) as error:
        # redis-py quotes what it does not understand.
        raise ConfigError(f"health_store: redis-py does not take this URL ({type(error).__name__})") from None


def _spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    running = work()
    try:
        asyncio.run_coroutine_threadsafe(running, portal().loop)
    except RuntimeError:  # no thread can be started, or the interpreter is ending: the call goes on without
        running.close()
