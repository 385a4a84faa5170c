"""Builds the parts of a client, and gives tests and simulators access to them.

A client is a facade. `compose` creates its parts and connects them. `parts_of` returns the parts of an existing client.
The parts are not public: they may change in any release.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
import weakref
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from .call.arguments import CallArguments
from .call.bills import Bills
from .call.planner import Planner
from .call.portal import portal
from .call.runtime import Runtime
from .catalog.catalog import Catalog
from .catalog.refresh import Refresh, on_this_machine
from .config.models import OPENROUTER, FallbackConfig, HedgeConfig, SpendLimit
from .decision.commands import Hedging
from .endpoints.api import Lists, generation_cost
from .endpoints.destinations import Destinations, attribution
from .endpoints.keys import ApiKey, Keys
from .errors import ConfigError
from .events import Events
from .failures.policy import policy
from .health import HealthStore, MemoryHealth, Rules, SharedHealth
from .health.shared.protocol import NO_ACCOUNT, SpendAccount
from .http.protocol import Transport
from .routes.router import Router
from .routes.sticking import Sticking
from .spending.ledger import Ledger

if TYPE_CHECKING:
    from .client import FallbackClient
    from .http.transport import HttpTransport


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts that a client shares with its copies. Tests may replace clocks and dice of `runtime` before a call."""

    keys: Keys
    destinations: Destinations
    events: Events
    transport: HttpTransport
    runtime: Runtime
    store: HealthStore | None
    catalog: Catalog
    refresh: Refresh
    router: Router
    planner: Planner
    arguments: partial[CallArguments]
    """Makes a call's arguments, with the client's memory of histories."""


def parts_of(client: FallbackClient) -> Parts:
    """The parts of a client."""
    return client._parts


def compose(
    config: FallbackConfig,
    api_key: ApiKey | None,
    headers: Mapping[str, str] | None,
    app_url: str | None,
    app_title: str | None,
) -> Parts:
    """Build the parts of a client with this configuration. Raises `ConfigError`."""
    # A local import: loading a configuration or printing help must not import the HTTP libraries.
    from .http.transport import HttpTransport

    settings = config.settings
    rules = Rules(
        window_seconds=settings.health_window_minutes * 60.0,
        min_samples=settings.min_samples,
        skip_threshold=settings.skip_threshold,
        longest_open=settings.disable_duration_seconds,
    )
    keys = Keys(config, api_key)
    destinations = Destinations(config, attribution(app_url, app_title), headers)
    events, transport, ledger = Events(), HttpTransport(), ledger_of(settings.spend_limit_usd)
    shares = {
        "retry_budget": settings.retry_budget,
        "hedge_share": settings.hedge.max_fraction if settings.hedge is not None else 0.0,
    }
    store = health_store(config, rules, shares, ledger, keys)
    urls = {name: endpoint.base_url for name, endpoint in config.endpoints.items()}
    kept = [name for name, url in urls.items() if settings.catalog == "always" or not on_this_machine(url)]
    catalog = Catalog(urls, config.split, Lists(destinations, keys, transport), kept=kept)
    runtime = Runtime(
        transport=transport,
        health=MemoryHealth(rules, random.random, **shares) if store is None else store.health,
        policy=policy(settings.policy, settings.on_failure),
        events=events,
        ledger=ledger,
        bills=bills_of(ledger, transport),
        lease=None if store is None else store.lease,
        known=_KnownIds(config, catalog),
        sticking=Sticking(settings.stick_seconds),
        stick_to=settings.stick_to,
    )
    router = Router(config, runtime.health, catalog)
    refresh = Refresh(catalog, kept if settings.catalog != "never" else ())
    return Parts(
        keys=keys,
        destinations=destinations,
        events=events,
        transport=transport,
        runtime=runtime,
        store=store,
        catalog=catalog,
        refresh=refresh,
        router=router,
        planner=Planner(config, runtime, router, keys, destinations, catalog, refresh, store, hedging(settings.hedge)),
        arguments=partial(CallArguments, histories=runtime.histories),
    )


class _KnownIds:
    """The model ids of the configuration and of OpenRouter's list; before it is fetched, the well-known ids."""

    __slots__ = ("_catalog", "_config")

    def __init__(self, config: FallbackConfig, catalog: Catalog) -> None:
        self._config = config
        self._catalog = catalog

    def __call__(self) -> list[str]:
        from .catalog.families import IDS  # a local import: needed only after a mistake

        return [*self._config.ids(), *(tuple(info.id for info in self._catalog.models()) or IDS)]


def health_store(
    config: FallbackConfig, rules: Rules, shares: Mapping[str, Any], ledger: Ledger, keys: Keys
) -> HealthStore | None:
    """The store that `settings.health_store` names; None for memory. Raises `ConfigError`."""
    url = config.settings.health_store
    if isinstance(url, str):
        return None
    try:
        from .health.shared.redis import RedisStore
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] != "redis":
            raise
        raise ConfigError('health_store needs redis-py: pip install "openrouter-fallback[redis]"') from None
    addresses = {name: at.base_url.partition("://")[2] for name, at in config.endpoints.items()}
    try:
        return RedisStore(
            SharedHealth(rules, random.random, addresses, **shares),
            url.get_secret_value(),
            clock=time.monotonic,
            random=random.random,
            spawn=spawn,
            counter=ledger,
            account=lambda: spend_account(config, keys),
        )
    except (TypeError, ValueError) as error:
        # redis-py quotes a part of the URL in its message, which may hold a password.
        raise ConfigError(f"health_store: redis-py does not take this URL ({type(error).__name__})") from None


def spawn(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    running = work()
    try:
        asyncio.run_coroutine_threadsafe(running, portal().loop)
    except RuntimeError:  # no thread can be started, or the interpreter is ending: continue without the task
        running.close()


def hedging(hedge: HedgeConfig | None) -> Hedging | None:
    """When a call starts a second candidate beside a silent one; None: never."""
    if hedge is None:
        return None
    if isinstance(hedge.after, str):
        return Hedging(quantile=int(hedge.after[1:]) / 100, max_parallel=hedge.max_parallel)
    return Hedging(after=hedge.after, max_parallel=hedge.max_parallel)


def spend_account(config: FallbackConfig, keys: Keys) -> SpendAccount:
    """The account that pays for a client's requests: that of its OpenRouter key, else that of its other keys together.

    Clients with other keys or other endpoint URLs do not share a limit per day.
    """
    try:
        known = {name: key.get_secret_value() for name, key in keys.fixed().items() if key is not None}
    except ConfigError:  # an invalid key: each call reports this error
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
    """Fetches the cost of interrupted attempts afterwards; None without a spend limit."""
    return Bills(partial(generation_cost, transport)) if ledger.limited else None


def ledger_of(limit: SpendLimit | None) -> Ledger:
    """The ledger of a client with these limits."""
    return Ledger() if limit is None else Ledger(limit.per_call, limit.per_day)


def instrument(
    config: FallbackConfig, runtime: Runtime, tracer_provider: Any, meter_provider: Any
) -> Callable[[], None]:
    """Record OpenTelemetry spans and metrics of a client's calls. Returns a function that ends recording.

    Raises `ConfigError` without the extra `otel`.
    """
    try:
        from .telemetry.otel import OpenTelemetry
    except ImportError as missing:
        if (missing.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise ConfigError('opentelemetry needs its API: pip install "openrouter-fallback[otel]"') from None
    clock, alive = runtime.clock, weakref.ref(runtime.health)

    def states() -> dict[str, str]:
        health = alive()
        return {} if health is None else {key: str(health.state(key, clock())) for key in config.ids()}

    telemetry = OpenTelemetry(config, states, tracer_provider, meter_provider)
    remove = runtime.events.add_observer(telemetry, telemetry.awake)

    def end() -> None:
        remove()
        telemetry.end()

    return end
