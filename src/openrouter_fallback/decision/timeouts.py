"""How long an attempt may take: to its first token, between two tokens, and before another starts beside it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..health import Fact, MemoryHealth
from ..routes.candidate import Candidate
from ..routes.needs import RequestTraits
from .commands import Limits

FIRST_TOKEN_SECONDS = 30.0
SLOW_FIRST_TOKEN_SECONDS = 120.0
STALL_SECONDS = 30.0
SLOW_STALL_SECONDS = 300.0
PROOF_SECONDS = 10.0
"""The least time for the first token of an overtaken probe."""
HEDGE_SECONDS = 2.0
"""The hedge delay while the model's times to first token are not known."""


@dataclass(slots=True)
class Timeouts:
    """The timeouts of one call, in seconds. `slow_models` keeps the results of `slow` by candidate."""

    limits: Limits
    traits: RequestTraits
    health: MemoryHealth
    slow_models: dict[int, bool] = field(default_factory=dict)

    def slow(self, candidate: Candidate) -> bool:
        """Whether this request to this model is expected to take long."""
        if self.traits.slow:
            return True
        known = self.slow_models.get(id(candidate))
        if known is None:
            known = candidate.slow or self.health.facts.get(candidate.key, Fact.REASONS) is not None
            self.slow_models[id(candidate)] = known
        return known

    def forget(self) -> None:
        """Drop the kept results of `slow`: a model has been found to reason."""
        self.slow_models.clear()

    def pace(self, candidate: Candidate) -> int:
        """The class of requests with which this request's time to first token is compared."""
        return 2 * self.traits.size + self.slow(candidate)

    def usual_first_token(self, candidate: Candidate) -> tuple[float, bool]:
        """The model's deadline for the first token, and whether the user has set it."""
        chosen = self.limits.first_token if self.limits.first_token is not None else candidate.timeout
        if chosen is not None:
            return chosen, True
        if not candidate.streams:
            return float("inf"), False
        return SLOW_FIRST_TOKEN_SECONDS if self.slow(candidate) else FIRST_TOKEN_SECONDS, False

    def first_token(self, candidate: Candidate, remaining: float, *, others: bool, probe: bool) -> tuple[float, bool]:
        """Seconds to the first token, and whether that time ends the attempt.

        The call has `remaining` seconds left. Only a deadline of the user ends the attempt. The last candidate may use
        all of them; while there are `others`, half is kept for them, and after this deadline another model is called
        beside this one.
        """
        usual, user_set = self.usual_first_token(candidate)
        share = remaining / 4 if probe else remaining / 2
        if user_set and (usual < remaining or not others):
            return min(usual, remaining), True
        return (min(usual, share) if others else remaining), not self.traits.idempotent

    def learnt(self, candidate: Candidate, now: float) -> float:
        """The deadline for this request's first token, learnt from the model's first tokens; `inf` if not known."""
        usual, user_set = self.usual_first_token(candidate)
        if user_set or not candidate.streams:
            return float("inf")
        learnt = self.health.learnt_first_token(candidate.key, self.pace(candidate), usual, now)
        return float("inf") if learnt is None or self.health.others_late(candidate.key, now) else learnt

    def proof(self, candidate: Candidate, now: float) -> float:
        """The deadline for the first token of a detached probe, after which the probe has failed.

        The user's deadline; else that of its class, learnt or by default, but at least `PROOF_SECONDS`.
        """
        usual, user_set = self.usual_first_token(candidate)
        if not candidate.streams and not user_set:
            return SLOW_FIRST_TOKEN_SECONDS
        learnt = None if user_set else self.health.learnt_first_token(candidate.key, self.pace(candidate), usual, now)
        return usual if user_set else max(PROOF_SECONDS, usual if learnt is None else learnt)

    def stall(self, candidate: Candidate, remaining: float, *, others: bool) -> float:
        """The deadline between two tokens.

        A stream that must end within `remaining` seconds leaves half of them to the `others`, which can go on with it.
        """
        if self.limits.stall is not None or self.slow(candidate):
            return self.limits.stall or SLOW_STALL_SECONDS
        return min(STALL_SECONDS, remaining / 2) if self._shared(others) else STALL_SECONDS

    def drips(self, candidate: Candidate, remaining: float, *, others: bool) -> float | None:
        """Seconds after which a stream that drips is given up, so that the `others` can continue it; None: never."""
        return remaining / 2 if self._shared(others) and not self.slow(candidate) else None

    def _shared(self, others: bool) -> bool:
        """Whether the call is a stream that must end in a given time, and `others` can continue it."""
        return others and self.limits.wall_clock and not self.limits.whole

    def hedge_after(self, candidate: Candidate) -> float:
        """Seconds without a first token after which the next candidate is called too."""
        hedging = self.limits.hedge
        if hedging is None or not self.traits.idempotent:
            return float("inf")
        if hedging.after is not None:
            return hedging.after
        if not candidate.streams:
            return float("inf")  # without a stream, the time of the first token is unknown
        return self.health.usual_first_token(candidate.key, hedging.quantile) or HEDGE_SECONDS
