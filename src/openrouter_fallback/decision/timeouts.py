"""How long an attempt may take: to its first token, between two tokens, and before another starts beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..health import MemoryHealth
from ..routes.candidate import Candidate
from ..routes.needs import RequestTraits
from .commands import Limits

FIRST_TOKEN_SECONDS = 30.0
SLOW_FIRST_TOKEN_SECONDS = 120.0
STALL_SECONDS = 30.0
SLOW_STALL_SECONDS = 300.0
PROOF_SECONDS = 10.0
"""A probe that another attempt has overtaken has at least so long for its first token."""
HEDGE_SECONDS = 2.0
"""The hedge delay while a model's own times are not known."""


@dataclass(frozen=True, slots=True)
class Timeouts:
    """One call's view of time, in seconds. `slow_models`: what `slow` has found, by candidate."""

    limits: Limits
    facts: RequestTraits
    health: MemoryHealth
    slow_models: dict[int, bool] = field(default_factory=dict)

    def slow(self, candidate: Candidate) -> bool:
        """Whether this request to this model may take long without anything being wrong."""
        if self.facts.slow:
            return True
        known = self.slow_models.get(id(candidate))
        if known is None:
            known = candidate.slow or self.health.reasons_unasked(candidate.key)
            self.slow_models[id(candidate)] = known
        return known

    def forget(self) -> None:
        """A model has shown that it reasons."""
        self.slow_models.clear()

    def pace(self, candidate: Candidate) -> int:
        """The class in which this request's time to the first token is compared with others."""
        return 2 * self.facts.size + self.slow(candidate)

    def usual_first_token(self, candidate: Candidate) -> tuple[float, bool]:
        """The model's own deadline for the first token, and whether the user has set it."""
        chosen = self.limits.first_token if self.limits.first_token is not None else candidate.timeout
        if chosen is not None:
            return chosen, True
        if not candidate.streams:
            return float("inf"), False
        return SLOW_FIRST_TOKEN_SECONDS if self.slow(candidate) else FIRST_TOKEN_SECONDS, False

    def first_token(self, candidate: Candidate, remaining: float, *, others: bool, probe: bool) -> tuple[float, bool]:
        """Seconds to the first token, and whether that time ends the attempt.

        `remaining` seconds are left to the call. Only what the user has set ends it. The last candidate left may use
        all that remains; while there are `others`, half of it is kept for them, and where the time has passed another
        is asked beside this one.
        """
        usual, user_set = self.usual_first_token(candidate)
        share = remaining / 4 if probe else remaining / 2
        if user_set and (usual < remaining or not others):
            return min(usual, remaining), True
        return (min(usual, share) if others else remaining), not self.facts.idempotent

    def learnt(self, candidate: Candidate, now: float) -> float:
        """As far as the model's own first tokens show it, how long this request's may take."""
        usual, user_set = self.usual_first_token(candidate)
        if user_set or not candidate.streams:
            return float("inf")
        learnt = self.health.learnt_first_token(candidate.key, self.pace(candidate), usual, now)
        return float("inf") if learnt is None or self.health.others_late(candidate.key, now) else learnt

    def proof(self, candidate: Candidate, now: float) -> float:
        """Seconds in which a probe that runs on, detached, shows by its first token that the model answers.

        The deadline of its class, learnt or by default, but no less than `PROOF_SECONDS`.
        """
        usual, user_set = self.usual_first_token(candidate)
        if not candidate.streams and not user_set:
            return SLOW_FIRST_TOKEN_SECONDS
        learnt = None if user_set else self.health.learnt_first_token(candidate.key, self.pace(candidate), usual, now)
        return usual if user_set else max(PROOF_SECONDS, usual if learnt is None else learnt)

    def stall(self, candidate: Candidate) -> float:
        """The deadline between two tokens."""
        return self.limits.stall or (SLOW_STALL_SECONDS if self.slow(candidate) else STALL_SECONDS)

    def hedge_after(self, candidate: Candidate) -> float:
        """How long a first token is waited for before the next candidate is called too."""
        hedging = self.limits.hedge
        if hedging is None or not self.facts.idempotent:
            return float("inf")
        if hedging.after is not None:
            return hedging.after
        if not candidate.streams:
            return float("inf")  # when its first token comes is never known
        return self.health.usual_first_token(candidate.key, hedging.quantile) or HEDGE_SECONDS
