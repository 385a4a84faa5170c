"""Who says which models a call may ask: argument over context over copy over configuration, in all three packages."""

from __future__ import annotations

from typing import Any

CONFIG: dict[str, Any] = {
    "default_chain": ["anthropic/sonnet", "openai/gpt", "meta/llama"],
    "task_chains": {
        "coding": ["anthropic/sonnet", "deepseek/chat"],
        "fast": ["anthropic/haiku", "openai/mini"],
    },
    "cost_tiers": {"budget": ["anthropic/haiku", "openai/mini"], "standard": ["anthropic/sonnet", "openai/gpt"]},
}
FAST, CODING = ("anthropic/haiku", "openai/mini"), ("anthropic/sonnet", "deepseek/chat")
DEFAULT = ("anthropic/sonnet", "openai/gpt", "meta/llama")
ONE, OTHER = {"models": ["x/y"]}, {"models": ["z/w"]}
Routing = dict[str, Any]

# what is told: (argument, context, copy, the models that may be asked, in order)
LEVELS: dict[str, tuple[Routing, Routing, Routing, tuple[str, ...]]] = {
    "nothing": ({}, {}, {}, DEFAULT),
    # `task` and `models` say which models: whoever says either replaces both
    "task over the context's models": ({"task": "fast"}, ONE, {}, FAST),
    "task over the copy's models": ({"task": "fast"}, {}, ONE, FAST),
    "task over both": ({"task": "fast"}, OTHER, ONE, FAST),
    "the context's task over the copy's models": ({}, {"task": "fast"}, ONE, FAST),
    "models over tasks": (ONE, {"task": "fast"}, {"task": "coding"}, ("x/y",)),
    "models over models": (ONE, OTHER, OTHER, ("x/y",)),
    "an unknown task over models": ({"task": "default"}, ONE, OTHER, DEFAULT),
    # the others hold beside them, each as the nearest says
    "a tier for the context's task": ({"max_cost_tier": "standard"}, {"task": "coding"}, {}, ("anthropic/sonnet",)),
    "a task under the copy's tier": ({"task": "coding"}, {}, {"max_cost_tier": "standard"}, ("anthropic/sonnet",)),
    "tier over tier": ({"max_cost_tier": "standard"}, {}, {"max_cost_tier": "budget", "task": "fast"}, FAST),
    "tier under tier": ({"max_cost_tier": "budget"}, {"max_cost_tier": "standard"}, {}, FAST),
    "a provider for the copy's task": ({"primary_provider": "openai"}, {}, {"task": "fast"}, FAST[::-1]),
    "a task for the copy's provider": ({"task": "fast"}, {}, {"primary_provider": "openai"}, FAST[::-1]),
    "provider over provider": (
        {"primary_provider": "meta"},
        {"primary_provider": "openai"},
        {},
        ("meta/llama", "anthropic/sonnet", "openai/gpt"),
    ),
    "each its own": (
        {"task": "coding"},
        {"primary_provider": "openai", "task": "fast"},
        {"max_cost_tier": "standard", "models": ["x/y"]},
        ("anthropic/sonnet",),
    ),
    "a price for the copy's models": ({"max_price": 1000}, {}, ONE, ()),  # its price is not known
    "models under the copy's price": (ONE, {}, {"max_price": 1000}, ()),
}
