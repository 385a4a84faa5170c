"""What is known of accounts (an endpoint and its key): cooldowns of rate-limited models, refused and accepted keys."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass
from typing import Literal

from ..forks import renew_in_child
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
Hold = Literal["cooling", "no_auth", "no_credits"]


@dataclass(slots=True)
class Cooldown:
    """Until when a model cools down, and until when as the server has it. `guessed`: no server has said how long."""

    until: float = 0.0
    server_until: float = 0.0
    steps: int = 0
    guessed: bool = False


class Accounts:
    """The accounts of one client. Safe to use from several threads: a look-up needs no lock, a change takes it."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        renew_in_child(self)
        self.cooldowns: dict[tuple[str, str], Cooldown] = {}
        """By account and model; by account and `FREE` for its free models together."""
        self.refused: dict[Refusal, dict[str, float]] = {"no_auth": {}, "no_credits": {}}
        """By account: until when its key counts as refused, or the account as without credits."""
        self._accepted: dict[str, float] = {}
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
        """`auth` or `credits` while the account is known to be refused for that, else None. Only orders candidates."""
        if now < self.refused["no_auth"].get(account, 0.0):
            return "auth"
        return "credits" if now < self.refused["no_credits"].get(account, 0.0) else None

    @property
    def any_refused(self) -> bool:
        """Whether any account has been refused; while none has, `status` need not be called."""
        return any(self.refused.values())

    def accepted(self, account: str, now: float) -> bool:
        """Whether the account's key was accepted within the last hour."""
        return now - self._accepted.get(account, -math.inf) <= ACCEPTED_SECONDS

    # What attempts show

    def rate_limited(self, target: HealthScopes, now: float, retry_after: float | None, *, free: bool = False) -> float:
        """Keep the model cool for this account; returns the time at which the server (or 1, 2, 4 ... 16 s) allows it.

        The server's word replaces a guess; of two words the later time holds.
        `free`: the limit is that of all free models of the key. They cool down together, until the server's own time.
        """
        with self._lock:
            self._forget_ended(now)
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

    def out_of_credits(self, target: HealthScopes, now: float, retry_after: float | None) -> None:
        """Record that the account has no credits: its models go last for `retry_after` seconds, or 60."""
        seconds = REFUSED_SECONDS if retry_after is None else retry_after
        self.refuse("no_credits", target.account, now + seconds, now)

    def unauthorized(self, target: HealthScopes, now: float) -> None:
        """Record that the key was refused: the account's models go last for a minute."""
        self.refuse("no_auth", target.account, now + REFUSED_SECONDS, now)

    def refuse(self, why: Refusal, account: str, until: float, now: float) -> None:
        """The account is refused until `until`. Of very many, those that are refused no longer are forgotten."""
        with self._lock:
            refused = self.refused[why]
            if len(refused) >= MOST_KNOWN:
                for known in [known for known, end in refused.items() if end <= now]:
                    del refused[known]
            refused[account] = until

    def answered(self, target: HealthScopes, now: float) -> None:
        """The model has given a complete answer: its cooldown ends, and the key counts as accepted."""
        with self._lock:
            self.cooldowns.pop((target.account, target.model), None)
            if target.model.endswith(FREE):
                self.cooldowns.pop((target.account, FREE), None)
            self.refused["no_auth"].pop(target.account, None)
            if len(self._accepted) < MOST_KNOWN or target.account in self._accepted:
                self._accepted[target.account] = now

    # For a fleet

    def holds(self, now: float) -> list[tuple[Hold, str, str, float]]:
        """What keeps models from being called: kind, account, the model of a cooldown, and when it ends."""
        with self._lock:
            self._forget_ended(now)
            cooling = self.cooldowns.items()
            found: list[tuple[Hold, str, str, float]] = [("cooling", *key, kept.server_until) for key, kept in cooling]
            for why, refused in self.refused.items():
                found += [(why, account, "", until) for account, until in refused.items()]
            return found

    def cool(self, account: str, model: str, until: float, server_until: float) -> None:
        """Another process has reported a cooldown: it holds at least so long."""
        with self._lock:
            cooldown = self.cooldowns.setdefault((account, model), Cooldown())
            cooldown.until = max(cooldown.until, until)
            cooldown.server_until = max(cooldown.server_until, server_until)

    # By hand

    def end_cooldowns(self, model: str) -> None:
        """End the cooldowns of a model with every account, also that of the free models if the model is one."""
        self._forget({model, FREE} if model.endswith(FREE) else {model})

    def forget(self, model: str) -> None:
        """Forget the cooldowns of one model."""
        self._forget({model})

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self.cooldowns.clear()
            for times in (self._accepted, *self.refused.values()):
                times.clear()

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    def _forget(self, models: set[str]) -> None:
        with self._lock:
            self.cooldowns = {key: kept for key, kept in self.cooldowns.items() if key[1] not in models}

    def _forget_ended(self, now: float) -> None:
        """Forget cooldowns that have ended, if there are very many."""
        if len(self.cooldowns) > MOST_KNOWN:
            self.cooldowns = {key: kept for key, kept in self.cooldowns.items() if now < kept.until}
