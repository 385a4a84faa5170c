"""A file's settings and the changes of a program: what holds in the end, in the client and in both frameworks."""

from __future__ import annotations

from typing import Any

from openrouter_fallback import HedgeConfig, Settings, SpendLimit

FILE: dict[str, Any] = {
    "default_chain": ["openai/gpt-5.1"],
    "settings": {
        "total_timeout_seconds": 120.0,
        "first_token_timeout_seconds": 7.0,
        "health_store": "redis://:secret@127.0.0.1:1/0",
        "on_failure": {"content_policy": "next"},
        "hedge": {"after": 2.0, "max_fraction": 0.5},
        "spend_limit_usd": {"per_day": 20},
    },
}

# what is changed: (the changes, the settings that are then other than in the file)
CHANGES: dict[str, tuple[dict[str, Any] | Settings, dict[str, Any]]] = {
    "nothing": ({}, {}),
    "one": ({"policy": "any_error"}, {"policy": "any_error"}),
    "one, as an object": (Settings(policy="any_error"), {"policy": "any_error"}),
    "one of the file's": ({"total_timeout_seconds": 5.0}, {"total_timeout_seconds": 5.0}),
    "back to the default": (Settings(total_timeout_seconds=300.0), {"total_timeout_seconds": 300.0}),
    "none of a limit": ({"first_token_timeout_seconds": None}, {"first_token_timeout_seconds": None}),
    "a limit beside the file's": (
        {"spend_limit_usd": {"per_call": "0.5"}},
        {"spend_limit_usd": SpendLimit(per_call="0.5", per_day=20)},
    ),
    "the same, as objects": (
        Settings(spend_limit_usd=SpendLimit(per_call="0.5")),
        {"spend_limit_usd": SpendLimit(per_call="0.5", per_day=20)},
    ),
    "no limit": ({"spend_limit_usd": None}, {"spend_limit_usd": None}),
    "a verdict beside the file's": (
        {"on_failure": {"auth": "next"}},
        {"on_failure": {"auth": "next", "content_policy": "next"}},
    ),
    "how a hedge begins": ({"hedge": {"after": "p99"}}, {"hedge": HedgeConfig(after="p99", max_fraction=0.5)}),
    "no hedge": ({"hedge": None}, {"hedge": None}),
}
