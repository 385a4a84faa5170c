"""A router for a configuration, with separate health and a separate catalog."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from openrouter_fallback import Catalog, FallbackConfig, load_config
from openrouter_fallback.health import HealthScopes, MemoryHealth, Rules
from openrouter_fallback.results import Route
from openrouter_fallback.routes.candidate import NO_NEEDS, Candidate, Plan
from openrouter_fallback.routes.choice import Choice
from openrouter_fallback.routes.needs import Needs
from openrouter_fallback.routes.router import Router

CHAINS: Mapping[str, Any] = {
    "default_chain": ["anthropic/sonnet", "openai/gpt", "meta/llama"],
    "task_chains": {
        "coding": ["anthropic/sonnet", "deepseek/chat"],
        "fast": ["anthropic/haiku", "openai/mini"],
    },
    "cost_tiers": {
        "premium": ["anthropic/opus"],
        "budget": ["anthropic/haiku", "openai/mini"],
        "standard": ["anthropic/sonnet", "openai/gpt"],
    },
}


Json = dict[str, Any]


def _catalog(config: FallbackConfig, listed: Sequence[Json]) -> Catalog:
    """A catalog with this list of models of OpenRouter."""

    async def fetch(endpoint: str) -> bytes:
        return json.dumps({"data": listed if endpoint == "openrouter" else []}).encode()

    catalog = Catalog({"openrouter": ""}, config.split, fetch)
    if listed:
        asyncio.run(catalog.refresh())
    return catalog


class Bench:
    """A router for a configuration, with separate health."""

    def __init__(
        self, config: Mapping[str, Any] | FallbackConfig = CHAINS, listed: Sequence[Json] = (), **settings: Any
    ) -> None:
        given = config if isinstance(config, FallbackConfig) else load_config({**config, "settings": settings})
        self.health = MemoryHealth(Rules(), lambda: 0.0)
        self.router = Router(given, self.health, _catalog(given, listed))
        self._endpoints = tuple(given.endpoints)

    def plan(self, choice: Choice | None = None, now: float = 0.0, key: str = "key", needs: Needs = NO_NEEDS) -> Plan:
        return self.router.plan(choice or Choice(), now, self._accounts(key), needs)

    def route(self, choice: Choice | None = None, now: float = 0.0, needs: Needs = NO_NEEDS) -> Route:
        return self.router.route(choice or Choice(), now, self._accounts("key"), needs)

    def candidate(self, id: str) -> Candidate:
        return self.router.candidate(id, self._accounts("key"))

    def target(self, id: str) -> HealthScopes:
        return self.candidate(id).target

    def _accounts(self, key: str) -> dict[str, str]:
        return {name: f"{name}#{key}" for name in self._endpoints}

    def ids(self, *, now: float = 0.0, **choice: Any) -> list[str]:
        return [candidate.key for candidate in self.plan(Choice.of(**choice), now).candidates]

    def excluded(self, **choice: Any) -> dict[str, str]:
        return {skip.model: skip.reason for skip in self.plan(Choice.of(**choice)).excluded}

    def outcome(self, model: str, good: bool, first_token: float | None = None) -> None:
        permit = self.health.begin(self.target(model), 0.0, forced=True)
        assert permit is not None
        if first_token is not None:
            self.health.first_token(permit, first_token)
        if good:
            self.health.success(permit, 0.0)
        else:
            self.health.model_failed(permit, 0.0)
