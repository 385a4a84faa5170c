"""What is known of accounts (an endpoint and its key): cooldowns of rate-limited models, refused and accepted keys.

Not safe to use from several threads: `MemoryHealth` calls this with its lock held.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from .admission import HealthScopes

ACCEPTED_SECONDS = 3600.0
"""Seconds after an accepted request in which a 401 does not count against the key."""
LONGEST_GUESS_SECONDS = 16.0
"""The longest cooldown of a model if its rate limit does not say how long."""
MOST_KNOWN = 4096
"""The most cooldowns, and the most accounts, that are kept."""
REFUSED_SECONDS = 60.0
"""How long a refused account's models go last, if the server does not say how long."""
FREE = ":free"
"""The suffix of a free model's id; also the key of the cooldown that all free models share."""
LONGEST_FREE_SECONDS = 86_400.0
"""The longest cooldown of free models: their limit is reset every day."""


Refusal = Literal["no_auth", "no_credits"]
"""Why an account is refused: its key, or its lack of credits."""


@dataclass(slots=True)
class Cooldown:
    """Until when a model cools down, and until when as the server has it. `guessed`: no server has said how long."""

    until: float = 0.0
    server_until: float = 0.0
    steps: int = 0
    guessed: bool = False


class Accounts:
    """The accounts of one client."""

    __slots__ = ("accepted", "cooldowns", "refused")

    def __init__(self) -> None:
        self.cooldowns: dict[tuple[str, str], Cooldown] = {}
        """By account and model; by account and `FREE` for its free models together."""
        self.refused: dict[Refusal, dict[str, float]] = {"no_auth": {}, "no_credits": {}}
        """By account: until when its key counts as refused, or the account as without credits."""
        self.accepted: dict[str, float] = {}
        """By account: when its key was last accepted."""

    def cooling(self, target: HealthScopes, now: float) -> Cooldown | None:
        """The cooldown that keeps the model from being called now, its own or that of all free models."""
        cooldown = self.cooldowns.get((target.account, target.model))
        if cooldown is not None and now < cooldown.until:
            return cooldown
        if target.model.endswith(FREE):
            cooldown = self.cooldowns.get((target.account, FREE))
            if cooldown is not None and now < cooldown.until:
                return cooldown
        return None

    def status(self, account: str, now: float) -> str | None:
        """`auth` or `credits` while the account is known to be refused for that, else None."""
        if now < self.refused["no_auth"].get(account, 0.0):
            return "auth"
        return "credits" if now < self.refused["no_credits"].get(account, 0.0) else None

    def accepted_lately(self, account: str, now: float) -> bool:
        """Whether the account's key was accepted within the last hour."""
        return now - self.accepted.get(account, -math.inf) <= ACCEPTED_SECONDS

    # What attempts show

    def rate_limited(self, target: HealthScopes, now: float, retry_after: float | None, *, free: bool) -> float:
        """See `MemoryHealth.rate_limited`."""
        self.forget_ended(now)
        cooldown = self.cooldowns.setdefault((target.account, FREE if free else target.model), Cooldown())
        if retry_after is None and now < cooldown.until:
            # The attempt began before the cooldown: the failures of one burst count once.
            return cooldown.server_until
        wait = min(2.0**cooldown.steps, LONGEST_GUESS_SECONDS) if retry_after is None else retry_after
        if retry_after is not None and cooldown.guessed:
            cooldown.until = cooldown.server_until = 0.0
        cooldown.guessed = retry_after is None
        cooldown.steps = min(cooldown.steps + 1, 10)
        kept = min(wait, LONGEST_FREE_SECONDS if free else target.longest_open)
        cooldown.until = max(cooldown.until, now + kept)
        cooldown.server_until = max(cooldown.server_until, now + (kept if retry_after is None else wait))
        return cooldown.server_until

    def refuse(self, why: Refusal, account: str, until: float, now: float) -> None:
        """The account is refused until `until`. Of very many, those that are refused no longer are forgotten."""
        refused = self.refused[why]
        if len(refused) >= MOST_KNOWN:
            for known in [known for known, end in refused.items() if end <= now]:
                del refused[known]
        refused[account] = until

    def answered(self, target: HealthScopes, now: float) -> None:
        """The model has given a complete answer: its cooldown ends, and the key counts as accepted."""
        self.cooldowns.pop((target.account, target.model), None)
        if target.model.endswith(FREE):
            self.cooldowns.pop((target.account, FREE), None)
        self.refused["no_auth"].pop(target.account, None)
        if len(self.accepted) < MOST_KNOWN or target.account in self.accepted:
            self.accepted[target.account] = now

    # By hand

    def end_cooldowns(self, model: str) -> None:
        """End the cooldowns of a model with every account, also that of the free models if the model is one."""
        cooled = {model, FREE} if model.endswith(FREE) else {model}
        self.cooldowns = {key: kept for key, kept in self.cooldowns.items() if key[1] not in cooled}

    def forget(self, model: str) -> None:
        """Forget the cooldowns of one model."""
        self.cooldowns = {key: kept for key, kept in self.cooldowns.items() if key[1] != model}

    def forget_ended(self, now: float) -> None:
        """Forget cooldowns that have ended, if there are very many."""
        if len(self.cooldowns) > MOST_KNOWN:
            self.cooldowns = {key: kept for key, kept in self.cooldowns.items() if now < kept.until}

    def clear(self) -> None:
        """Forget everything."""
        self.cooldowns.clear()
        for times in (self.accepted, *self.refused.values()):
            times.clear()
