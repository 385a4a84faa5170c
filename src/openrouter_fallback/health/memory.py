"""The health of models, endpoints and keys, as this process knows it. Every decision rests on this memory."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

from ..forks import renew_in_child
from .accounts import Accounts
from .admission import READY, Availability, AvailabilityStatus, HealthScopes, ModelHealth, Permit
from .breaker import Breaker, Rules, State
from .budget import HEDGE_FLOOR, HEDGE_SECONDS, Budget
from .changes import BreakerChange, Changes
from .first_tokens import PATIENCE_SECONDS, FirstTokens
from .learnt import Fact, LearntFacts

EARNED_PER_SUCCESS = 4
MOST_EARNED = 400
"""The most extra requests that a model earns by its successes; they are used when the retry budget is exhausted."""
_LATE_SECONDS = 60.0


@dataclass(slots=True)
class _Model:
    breaker: Breaker
    first_tokens: FirstTokens
    earned: int = 0
    answered_at: float | None = None
    disabled_until: float | None = None


class MemoryHealth:
    """The health of all models, endpoints and keys of a client. Safe to use from several threads and event loops.

    Every method takes the time as `now` (seconds of any monotonic clock) and does no I/O. `retry_budget`: extra
    requests per request, None for no bound; `hedge_share`: hedges per request.
    """

    def __init__(
        self,
        rules: Rules,
        random: Callable[[], float],
        *,
        retry_budget: float | None = None,
        hedge_share: float | None = 0.0,
    ) -> None:
        self._rules = rules
        self.random = random
        self.extras = Budget(retry_budget)
        self.hedges = Budget(hedge_share, seconds=HEDGE_SECONDS, floor=HEDGE_FLOOR)
        self._models: dict[str, _Model] = {}
        self._endpoints: dict[str, Breaker] = {}
        self.accounts = Accounts()
        """The accounts: their cooldowns and refusals."""
        self._late: dict[str, float] = {}
        self.facts = LearntFacts()
        """The facts learnt about models and endpoints."""
        self.changes = Changes()
        # Re-entrant: a suspended call that is garbage-collected ends in whatever thread the collector runs.
        self._lock = threading.RLock()
        renew_in_child(self)

    # Queries

    def status_of(self, target: HealthScopes, now: float, needs: Iterable[str] = ()) -> AvailabilityStatus:
        """Whether the model may be called now. Takes no probe slot."""
        with self._lock:
            model = self._models.get(target.model)
            if model is not None and model.disabled_until is not None:
                if now < model.disabled_until:
                    return AvailabilityStatus(Availability.DISABLED, "disabled by hand", model.disabled_until)
                model.disabled_until = None
            cooldown = self.accounts.cooling(target, now)
            if cooldown is not None:
                return AvailabilityStatus(Availability.COOLING, "rate-limited", cooldown.server_until)
            if model is None:
                closed = True
            else:
                closed = model.breaker.state(now) is State.CLOSED
                if not model.breaker.admits(now):
                    return _circuit_open(model.breaker, now, model.breaker.reason or "failing")
            lack = self.facts.first(target.model, Fact.LACKS, needs, now)
            if lack is not None:
                return AvailabilityStatus(Availability.UNFIT, f"does not support {lack.subject}", lack.until)
            endpoint = self._endpoints.get(target.endpoint)
            if endpoint is not None and not endpoint.admits(now):
                reason = f"endpoint {target.endpoint} cannot be reached"
                return _circuit_open(endpoint, now, reason, unreachable=closed)
            if closed and (endpoint is None or endpoint.state(now) is State.CLOSED):
                return READY
            return AvailabilityStatus(Availability.PROBE, "half-open")

    def holds_back(self, target: HealthScopes, now: float, *, elsewhere: bool) -> bool:
        """Whether a call should go to another ready model, since this model has recovered within the last 10 s.

        `elsewhere`: the other model has another endpoint: a recovering endpoint counts too. The chance falls with time.
        """
        with self._lock:
            model = self._models.get(target.model)
            if model is not None and model.breaker.holds_back(now, self.random()):
                return True
            endpoint = self._endpoints.get(target.endpoint) if elsewhere else None
            return endpoint is not None and endpoint.holds_back(now, self.random())

    @property
    def breakers(self) -> dict[str, Breaker]:
        """The circuit breakers by the names of their models and endpoints."""
        with self._lock:
            return {**{name: known.breaker for name, known in self._models.items()}, **self._endpoints}

    def success_rate(self, model: str, now: float) -> float:
        """Share of successful calls in the window, 1.0 without data."""
        with self._lock:
            known = self._models.get(model)
            return known.breaker.window.rate(now) if known else 1.0

    def state(self, model: str, now: float) -> State:
        """The state of the model's breaker."""
        with self._lock:
            known = self._models.get(model)
            return known.breaker.state(now) if known else State.CLOSED

    def first_token_quantile(self, model: str, share: float) -> float | None:
        """A quantile of the seconds to the first token; None without data."""
        with self._lock:
            known = self._models.get(model)
            return known.first_tokens.quantile(share) if known else None

    def patience(self, model: str) -> float:
        """Seconds of silence after which an abandoned attempt counts as timed out."""
        with self._lock:
            known = self._models.get(model)
            return known.first_tokens.patience if known else PATIENCE_SECONDS

    def usual_first_token(self, model: str, share: float) -> float | None:
        """As `first_token_quantile`, but None on fewer than 20 samples."""
        with self._lock:
            known = self._models.get(model)
            return known.first_tokens.usual(share) if known else None

    def learnt_first_token(self, model: str, pace: int, longest: float, now: float) -> float | None:
        """The learnt first-token deadline of this class in seconds, 5 to `longest`; None on fewer than 200 samples."""
        with self._lock:
            known = self._models.get(model)
            return known.first_tokens.learnt(pace, longest, now) if known else None

    def late(self, model: str, now: float) -> None:
        """Record that a first token of the model is overdue."""
        self._late[model] = now

    def others_late(self, model: str, now: float) -> bool:
        """Whether a first token of another model was overdue within the last minute: a sign that all are slow."""
        return any(other != model and now - at <= _LATE_SECONDS for other, at in list(self._late.items()))

    def spoke_since(self, permit: Permit) -> bool:
        """Whether any call has got a first token of this class from the model since the attempt began."""
        with self._lock:
            known = self._models.get(permit.target.model)
            return known is not None and known.first_tokens.came_since(permit.pace, permit.started)

    def snapshot(self, target: HealthScopes, now: float) -> ModelHealth:
        """The health of one model at `now`."""
        status_of = self.status_of(target, now)
        with self._lock:
            model = self._model(target)
            good, bad = model.breaker.window.counts(now)
            return ModelHealth(
                model=target.model,
                state=str(model.breaker.state(now)),
                success_rate=model.breaker.window.rate(now),
                successes=good,
                failures=bad,
                first_token_p50=model.first_tokens.quantile(0.5),
                first_token_p95=model.first_tokens.quantile(0.95),
                seconds_left=max(0.0, status_of.until - now) if status_of.until is not None else None,
                reason=status_of.reason,
                first_token_overdue=self.learnt_first_token(target.model, 0, math.inf, now),
            )

    def affords(self, now: float, models: Iterable[str] = ()) -> bool:
        """Whether the retry budget has room for an extra request, or one of the `models` has earned one."""
        with self._lock:
            return self.extras.allows(now) or any(self._earned(self._models.get(model)) for model in models)

    def answered_since(self, models: Iterable[str], since: float) -> bool:
        """Whether one of the models has answered a call after the time `since`."""
        with self._lock:
            found = [self._models.get(model) for model in models]
        return any(model is not None and model.answered_at is not None and model.answered_at > since for model in found)

    @property
    def retries_forbidden(self) -> bool:
        """Whether the retry budget is 0: a call need not wait for it."""
        return self.extras.share == 0

    def _earned(self, model: _Model | None) -> bool:
        """Whether the model has an earned request. Not while its circuit is open: that would multiply an outage."""
        if model is None or model.earned <= 0 or self.retries_forbidden:
            return False
        return model.breaker.open_until is None

    # One attempt, from start to end

    def begin(
        self,
        target: HealthScopes,
        now: float,
        *,
        forced: bool = False,
        extra: bool = False,
        hedge: bool = False,
        pace: int = 0,
    ) -> Permit | None:
        """Admit an attempt when it starts. In a half-open breaker an attempt that is not `forced` takes the probe slot.

        `extra`: charge the retry budget, or a request that the model has earned; `hedge`: charge the hedge budget too.
        Returns None if the attempt may not begin: a circuit is open, another attempt has the probe slot, or a budget is
        exhausted. `forced` overrides circuits, not budgets.
        """
        with self._lock:
            known = self._model(target)
            model = known.breaker
            endpoint = self._endpoint(target.endpoint)
            if not forced and not (model.admits(now) and endpoint.admits(now)):
                return None
            allowed = not extra or self.extras.allows(now)
            if not allowed and (hedge or not self._earned(known)):
                return None
            if hedge and not self.hedges.allows(now):
                return None
            if not allowed:
                known.earned -= 1
            (self.extras.take if extra else self.extras.count)(now)
            if hedge:
                self.hedges.take(now)
            elif not extra:
                self.hedges.count(now)
            return Permit(target, now, model.begin(now, forced=forced), endpoint.begin(now, forced=forced), pace)

    def first_token(self, permit: Permit, now: float) -> None:
        """Record the time to first token. A probe counts as a success 5 s later, unless it has failed by then."""
        with self._lock:
            self._waited(permit, now, token=True).breaker.first_token(permit.model, now)
            self._endpoint(permit.target.endpoint).first_token(permit.endpoint, now)

    def outlasted(self, permit: Permit, now: float) -> None:
        """The attempt ended without a first token: record the time waited as a lower bound of that time."""
        with self._lock:
            self._waited(permit, now, token=False)

    def _waited(self, permit: Permit, now: float, *, token: bool) -> _Model:
        """Record the wait for a first token, and that it was late, even while late first tokens change nothing."""
        model = self._model(permit.target)
        if model.first_tokens.record(permit.pace, permit.started, now, token=token):
            self._late[permit.target.model] = now
        return model

    def success(self, permit: Permit, now: float, needs: Iterable[str] = ()) -> None:
        """Record a complete answer. `needs`: the features that the request used; the model supports them."""
        target = permit.target
        with self._lock:
            model = self._model(target)
            model.breaker.success(permit.model, now)
            model.earned = min(model.earned + EARNED_PER_SUCCESS, MOST_EARNED)
            model.answered_at = now
            if needs:
                self.facts.unlearn(target.model, Fact.LACKS, needs)
            self._endpoint(target.endpoint).success(permit.endpoint, now)
            self.accounts.answered(target, now)

    def proved(self, permit: Permit, now: float) -> None:
        """Record a success: an overtaken probe has its first token."""
        with self._lock:
            self._waited(permit, now, token=True).breaker.success(permit.model, now)
            self._endpoint(permit.target.endpoint).success(permit.endpoint, now)

    def ended(self, permit: Permit) -> None:
        """End the attempt; its outcome may be recorded later. A probe keeps its slot."""
        with self._lock:
            self._model(permit.target).breaker.end(permit.model)
            self._endpoint(permit.target.endpoint).end(permit.endpoint)

    def model_failed(
        self, permit: Permit, now: float, *, open_for: float | None = None, counts: bool = True, reason: str = ""
    ) -> bool:
        """Record a failure of the model. Returns whether its breaker opened."""
        with self._lock:
            breaker = self._model(permit.target).breaker
            opened = breaker.failure(permit.model, now, open_for=open_for, counts=counts, why=reason)
            # It says nothing about the endpoint, whose probe this may have been.
            self._endpoint(permit.target.endpoint).release(permit.endpoint)
            return opened

    def endpoint_failed(self, permit: Permit, now: float) -> bool:
        """Record that the endpoint could not be reached. Returns whether its breaker opened."""
        with self._lock:
            return self._endpoint(permit.target.endpoint).failure(permit.endpoint, now, why="connection")

    def endpoint_answered(self, permit: Permit, now: float) -> None:
        """Record an HTTP status. Any status is a success of the endpoint."""
        with self._lock:
            self._endpoint(permit.target.endpoint).success(permit.endpoint, now)

    def release(self, permit: Permit) -> None:
        """End the attempt without an outcome. A probe gives its slot back."""
        with self._lock:
            self._model(permit.target).breaker.release(permit.model)
            self._endpoint(permit.target.endpoint).release(permit.endpoint)

    def cut_short(self, permit: Permit) -> None:
        """Release an overtaken probe that was closed without a verdict. The model's next probe runs alone."""
        with self._lock:
            self._model(permit.target).breaker.alone = True
            self.release(permit)

    def probes_alone(self, target: HealthScopes) -> bool:
        """Whether the next probe of the model runs alone, without another attempt beside it."""
        known = self._models.get(target.model)
        return known is not None and known.breaker.alone

    def take_changes(self, now: float) -> list[BreakerChange]:
        """The changes of breakers that have not been reported yet."""
        with self._lock:
            return self.changes.take(now)

    # By hand

    def disable(self, target: HealthScopes, until: float) -> None:
        """Do not call the model before `until`, whatever its health."""
        with self._lock:
            self._model(target).disabled_until = until

    def enable(self, target: HealthScopes) -> None:
        """Undo `disable`, close the model's breaker and end its cooldowns."""
        with self._lock:
            model = self._model(target)
            model.disabled_until = None
            self.facts.forget(target.model, Fact.LACKS)
            if model.breaker.open_until is not None:
                model.breaker.close()
            self.accounts.end_cooldowns(target.model)

    def forget(self, target: HealthScopes) -> None:
        """Forget the health of one model, its cooldowns and its learnt facts."""
        with self._lock:
            known = self._models.pop(target.model, None)
            if known is not None:
                known.breaker.close()
            self.facts.forget(target.model)
            self.accounts.forget(target.model)

    def reset(self) -> None:
        """Forget all health, cooldowns and learnt facts."""
        with self._lock:
            for breaker in self.breakers.values():
                breaker.close()
            self._models.clear()
            self.facts.clear()
            self._endpoints.clear()
            self.accounts.clear()

    # Called with the lock held

    def _model(self, target: HealthScopes) -> _Model:
        known = self._models.get(target.model)
        if known is None:
            rules = replace(self._rules, longest_open=target.longest_open)
            breaker = self._breaker(rules, target.endpoint, target.model)
            known = _Model(self.changes.watch(breaker, "model", target.model), FirstTokens(self._rules.window_seconds))
            self._models[target.model] = known
        return known

    def _endpoint(self, name: str) -> Breaker:
        known = self._endpoints.get(name)
        if known is None:
            breaker = self._breaker(self._rules, name, None)
            known = self._endpoints[name] = self.changes.watch(breaker, "endpoint", name)
        return known

    def _breaker(self, rules: Rules, endpoint: str, model: str | None) -> Breaker:
        """A new breaker for a model, or for the endpoint itself."""
        return Breaker(rules, self.random)

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[object, ...]:
        fresh = partial(type(self), retry_budget=self.extras.share, hedge_share=self.hedges.share)
        return fresh, (self._rules, self.random)


def _circuit_open(breaker: Breaker, now: float, reason: str, *, unreachable: bool = False) -> AvailabilityStatus:
    probing = breaker.state(now) is State.HALF_OPEN
    reason = f"{reason}, a probe is under way" if probing else reason
    return AvailabilityStatus(Availability.CIRCUIT_OPEN, reason, breaker.open_until, breaker.forced, unreachable)
