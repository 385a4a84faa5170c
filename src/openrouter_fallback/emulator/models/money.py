"""The costs of answers: exact prices, the prompt cache, and the account that is charged."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from ..answers import tools
from ..answers.chunks import pieces
from . import routing
from .bundled import Host
from .registry import Model

Json = Mapping[str, Any]

_REMEMBERED = 10_000
_BLOCK_TOKENS = 128
_LEAST_IMPLICIT = 1024
_NONE = Decimal(0)


@dataclass(frozen=True, slots=True)
class Served:
    """The model and provider that answer a request, and the request's prompt-cache tokens (read, written)."""

    model: Model
    host: Host
    prompt_tokens: int
    cached: int = 0
    written: int = 0


def priced(served: Served, completion: int, images: int = 0, searches: int = 0) -> tuple[Decimal, Decimal]:
    """The exact costs in USD of the prompt and of the completion. `images` counts the completion's image tokens."""
    prices = served.model.prices_at(served.host)
    plain = served.prompt_tokens - served.cached - served.written
    prompt = plain * prices["prompt"]
    prompt += served.cached * prices.get("input_cache_read", prices["prompt"])
    prompt += served.written * prices.get("input_cache_write", prices["prompt"])
    prompt += prices.get("request", _NONE) + searches * prices.get("web_search", _NONE)
    drawn = images * prices.get("image_output", prices["completion"])
    return prompt, (completion - images) * prices["completion"] + drawn


class PromptCache:
    """The prompt prefixes that each model has read. The oldest prefixes are dropped."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, None] = OrderedDict()

    def look_up(self, model: Model, request: Json, prompt_tokens: int) -> tuple[int, int, list[bytes]]:
        """The tokens read from the cache, the tokens written to the cache, and the keys to pass to `remember`.

        A breakpoint (`cache_control`) is cached at any length. Without breakpoints, a model with automatic caching
        caches prompts of 1,024 tokens or more, in blocks of 128.
        """
        ends, explicit = _breakpoints(request), True
        if not ends and prompt_tokens >= _LEAST_IMPLICIT and _caches_by_itself(model):
            ends, explicit = _blocks(request), False
        keys = [model.id.encode() + digest for _, digest in ends]
        known = [tokens for (tokens, _), key in zip(ends, keys, strict=True) if key in self._seen]
        cached = max(known, default=0)
        written = max((tokens for tokens, _ in ends), default=0) - cached if explicit else 0
        return cached, written, keys

    def remember(self, keys: list[bytes]) -> None:
        """Add the keys of a prompt that the model has read."""
        for key in keys:
            self._seen[key] = None
            self._seen.move_to_end(key)
        while len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)


def _caches_by_itself(model: Model) -> bool:
    return "input_cache_read" in model.prices and "input_cache_write" not in model.prices


def _blocks(request: Json) -> list[tuple[int, bytes]]:
    """For each whole block: the number of tokens up to its end, and a digest of that prefix."""
    found = pieces("\0".join(f"{m['role']}:{tools.text_of(m.get('content'))}" for m in request["messages"]))
    digest, ends = hashlib.sha256(), []
    for end in range(_BLOCK_TOKENS, len(found) + 1, _BLOCK_TOKENS):
        digest.update("".join(found[end - _BLOCK_TOKENS : end]).encode("utf-8", "replace"))
        ends.append((end, digest.digest()))
    return ends


def _breakpoints(request: Json) -> list[tuple[int, bytes]]:
    """For each breakpoint: the number of tokens up to it, and a digest of that prefix."""
    ends: list[tuple[int, bytes]] = []
    if not request.get("cache_control") and not any(isinstance(m.get("content"), list) for m in request["messages"]):
        return ends
    tokens, digest = 0, hashlib.sha256()
    for message in request["messages"]:
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
        tokens += 4
        digest.update(str(message["role"]).encode())
        for part in parts:
            tokens += routing.message_tokens({"content": [part]}) - 4
            digest.update(str(part.get("text") or part.get(part["type"])).encode("utf-8", "replace"))
            if part.get("cache_control") or part.get("prompt_cache_breakpoint"):
                ends.append((tokens, digest.digest()))
    if request.get("cache_control"):
        ends.append((tokens, digest.digest()))
    return ends


@dataclass(slots=True)
class Generation:
    """The account's record of one answer."""

    id: str
    served: Served
    streamed: bool
    created: float
    usage: Json | None
    tokens_sent: int
    cancelled: bool
    finish: str | None
    native_finish: str | None
    latency: float | None
    seconds: float
    headers: Mapping[str, str]
    responses: list[dict[str, Any]]

    @property
    def cost(self) -> Decimal:
        """The cost in USD. An answer that was cut off costs the tokens that were sent. No tokens cost nothing."""
        if self.usage is not None:
            return Decimal(str(self.usage.get("cost") or 0))
        return sum(priced(self.served, self.tokens_sent), _NONE) if self.tokens_sent else _NONE

    def bill(self) -> dict[str, Any]:
        """The `data` of `GET /generation`."""
        usage = self.usage or {}
        cost = float(self.cost)
        completion = usage.get("completion_tokens", self.tokens_sent)
        prompt = usage.get("prompt_tokens", self.served.prompt_tokens if self.tokens_sent else 0)
        details = usage.get("completion_tokens_details") or {}
        searched = (usage.get("server_tool_use_details") or {}).get("web_search_requests")
        return {
            "id": self.id,
            "upstream_id": f"chatcmpl-{self.id}",
            "total_cost": cost,
            "usage": cost,
            "cache_discount": None,
            "upstream_inference_cost": 0.0,
            "created_at": datetime.fromtimestamp(self.created, UTC).isoformat(),
            "model": self.served.model.slug,
            "app_id": None,
            "streamed": self.streamed,
            "cancelled": self.cancelled,
            "provider_name": self.served.host.name,
            "latency": None if self.latency is None else round(self.latency * 1000, 3),
            "moderation_latency": None,
            "generation_time": round(self.seconds * 1000, 3),
            "finish_reason": self.finish,
            "native_finish_reason": self.native_finish,
            "service_tier": None,
            "tokens_prompt": prompt,
            "tokens_completion": completion,
            "native_tokens_prompt": prompt,
            "native_tokens_completion": completion,
            "native_tokens_completion_images": details.get("image_tokens", 0),
            "native_tokens_reasoning": details.get("reasoning_tokens", 0),
            "native_tokens_cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            "num_media_prompt": None,
            "num_input_audio_prompt": None,
            "num_media_completion": None,
            "num_search_results": searched,
            "num_fetches": None,
            "web_search_engine": "exa" if searched else None,
            "origin": self.headers.get("http-referer", ""),
            "is_byok": False,
            "external_user": None,
            "api_type": "completions",
            "preset_id": None,
            "router": None,
            "provider_responses": self.responses,
            "user_agent": self.headers.get("user-agent"),
            "http_referer": self.headers.get("http-referer"),
            "data_region": "global",
            "workspace_id": None,
            "request_id": None,
            "session_id": None,
        }


class Account:
    """The credits and the generations of the one API key. Only the server's thread writes; any thread may read."""

    def __init__(self, credits: Decimal | None = None) -> None:
        self._lock = threading.Lock()
        self._generations: OrderedDict[str, Generation] = OrderedDict()
        self._credits = credits
        self.spent = _NONE

    @property
    def left(self) -> Decimal | None:
        """The remaining credits in USD; None if the account has no limit."""
        return None if self._credits is None else self._credits - self.spent

    def charge(self, generation: Generation) -> None:
        """Record a generation, and subtract its cost from the credits."""
        with self._lock:
            self.spent += generation.cost
            self._generations[generation.id] = generation
            if len(self._generations) > _REMEMBERED:
                self._generations.popitem(last=False)

    def generation(self, name: str) -> Generation | None:
        """The generation with this id, or None."""
        with self._lock:
            return self._generations.get(name)

    def credits(self) -> dict[str, Any]:
        """The `data` of `GET /credits`. An account without a limit reports 100 USD more than it has spent."""
        total = self.spent + 100 if self._credits is None else self._credits
        return {"total_credits": float(total), "total_usage": float(self.spent)}

    def key(self, api_key: str) -> dict[str, Any]:
        """The `data` of `GET /key`."""
        spent, left = float(self.spent), self.left
        return {
            "label": f"{api_key[:12]}...{api_key[-3:]}",
            "limit": None if self._credits is None else float(self._credits),
            "limit_remaining": None if left is None else float(left),
            "limit_reset": None,
            "usage": spent,
            "usage_daily": spent,
            "usage_weekly": spent,
            "usage_monthly": spent,
            "byok_usage": 0.0,
            "byok_usage_daily": 0.0,
            "byok_usage_weekly": 0.0,
            "byok_usage_monthly": 0.0,
            "include_byok_in_limit": False,
            "is_free_tier": False,
            "is_management_key": False,
            "is_provisioning_key": False,
            "creator_user_id": None,
            "expires_at": None,
            "rate_limit": {"requests": -1, "interval": "10s", "note": "This field is deprecated and safe to ignore."},
        }
