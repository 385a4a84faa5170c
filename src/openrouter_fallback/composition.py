"""Whether a client's health is shared with other processes, and by what."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any

from .call.bills import Bills
from .call.portal import portal
from .config.models import (
    OPENROUTER,
    FallbackConfig,
    HedgeConfig,
    SpendLimit,
)
from .decision.commands import Hedging
from .endpoints.api import generation_cost
from .endpoints.keys import Keys
from .errors import ConfigError
from .health import HealthStore, Rules, SharedHealth
from .health.shared.protocol import NO_ACCOUNT, SpendAccount
from .http.protocol import Transport
from .spending.ledger import Ledger


def health_store(
    config: FallbackConfig, rules: Rules, shares: Mapping[str, Any], ledger: Ledger, keys: Keys
) -> HealthStore | None:
    """What `settings.health_store` names; None for memory. Raises `ConfigError`."""
    url = config.settings.health_store
    if isinstance(url, str):
        return None
    try:
        from .health.shared.redis import RedisStore
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
            account=lambda: spend_account(config, keys),
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


def hedging(hedge: HedgeConfig | None) -> Hedging | None:
    """When a second candidate is asked beside a silent one; None: never."""
    if hedge is None:
        return None
    if isinstance(hedge.after, str):
        return Hedging(quantile=int(hedge.after[1:]) / 100, max_parallel=hedge.max_parallel)
    return Hedging(after=hedge.after, max_parallel=hedge.max_parallel)


def spend_account(config: FallbackConfig, keys: Keys) -> SpendAccount:
    """Who pays for what a client spends: the account of its OpenRouter key, or else of its other endpoints' keys.

    Clients with other keys, or whose endpoints have other addresses, do not share a day's limit.
    """
    try:
        known = {name: key.get_secret_value() for name, key in keys.fixed().items() if key is not None}
    except ConfigError:  # a key that cannot be one: each call says so
        known = {}
    paying = [OPENROUTER] if OPENROUTER in known else sorted(known)
    if not paying:
        return NO_ACCOUNT
    seed = hashlib.sha256(b"openrouter-fallback spending")
    for name in paying:
        seed.update(f"\n{config.endpoints[name].base_url}\n{known[name]}".encode())
    secret = seed.digest()
    return SpendAccount(hashlib.sha256(secret).hexdigest()[:12], secret)


def bills_of(ledger: Ledger, transport: Transport) -> Bills | None:
    """Who asks for what cut attempts have cost; nobody where no limit is set."""
    return Bills(partial(generation_cost, transport)) if ledger else None


def ledger_of(limit: SpendLimit | None) -> Ledger:
    """The books of a client with these limits."""
    return Ledger() if limit is None else Ledger(limit.per_call, limit.per_day)
