"""What this process knows about models, endpoints and keys. Memory is the place that decides."""

from __future__ import annotations

import math
import os
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import partial

from .admission import READY, Availability, AvailabilityStatus, HealthScopes, Permit
from .breaker import Breaker, Rules, State
from .budget import HEDGE_FLOOR, HEDGE_SECONDS, Budget
from .changes import BreakerChange, Changes
from .learnt import Fact, Learnt, LearntFacts
from .window import Latencies

PATIENCE_SECONDS = 10.0
"""Silence that counts as a time-out before a model's own p99 is known."""
_PATIENCE_SAMPLES = 100
_USUAL_SAMPLES = 20
_ACCEPTED_SECONDS = 3600.0
"""How long a key that was accepted is believed in, against a 401."""
EARNED_PER_SUCCESS = 4
MOST_EARNED = 400
"""Extra requests that successes of a model have earned for it, for times when the retry budget is used up."""
LEARNT_SECONDS = 3600.0
LEARNT_SAMPLES = 200
SHORTEST_LEARNT_SECONDS = 5.0
LEARNT_TIMES_P99 = 4.0
"""A first-token deadline is learnt from so many first tokens of a class, within so long."""
_LEARN_AGAIN_SECONDS = 10.0
_LATE_SECONDS = 60.0
_MOST_COOLDOWNS = 4096
_ACCOUNT_SECONDS = 60.0
_REFUSAL_SECONDS = 86_400.0
_NOTHING: frozenset[str] = frozenset()
FREE = ":free"
"""The end of a free model's id; also the model under which the limit that they share is kept."""
LONGEST_FREE_SECONDS = 86_400.0
"""The limit of free models starts anew every day."""


@dataclass(slots=True)
class _Cooldown:
    until: float = 0.0
    server_until: float = 0.0
    steps: int = 0


@dataclass(slots=True)
class _Pace:
    """First tokens of one class of requests to a model: its slowness, and the size of its prompt.

    `learnt`: what follows from them, as of `learnt_at`; `token_at`: when the last one came.
    """

    latencies: Latencies = field(default_factory=lambda: Latencies(LEARNT_SECONDS / 2))
    learnt: float | None = None
    learnt_at: float | None = None
    token_at: float | None = None


@dataclass(slots=True)
class _Model:
    breaker: Breaker
    latencies: Latencies
    earned: int = 0
    paces: dict[int, _Pace] = field(default_factory=dict)
    disabled_until: float | None = None


@dataclass(frozen=True, slots=True)
class ModelHealth:
    """A snapshot of one model: breaker state, success rate, counts, seconds to the first token, seconds left out.

    `first_token_overdue`: the learnt seconds after which a short request's first token is overdue; None: not learnt.
    """

    model: str
    state: str
    success_rate: float
    successes: int
    failures: int
    first_token_p50: float | None
    first_token_p95: float | None
    seconds_left: float | None
    reason: str
    first_token_overdue: float | None = None


class MemoryHealth:
    """The health of everything a client talks to; safe to use from several threads and event loops.

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
        self._random = random
        self._extras = Budget(retry_budget)
        self._hedges = Budget(hedge_share, seconds=HEDGE_SECONDS, floor=HEDGE_FLOOR)
        self._models: dict[str, _Model] = {}
        self._endpoints: dict[str, Breaker] = {}
        self._cooldowns: dict[tuple[str, str], _Cooldown] = {}
        self._no_credits: dict[str, float] = {}
        self._no_auth: dict[str, float] = {}
        self._accepted: dict[str, float] = {}
        self._late: dict[str, float] = {}
        self._learnt = LearntFacts()
        self.changes = Changes()
        # Re-entrant: a suspended call that is garbage-collected ends in whatever thread the collector runs.
        self._lock = threading.RLock()
        _live.add(self)

    # Questions

    def standing(self, target: HealthScopes, now: float, needs: Iterable[str] = ()) -> AvailabilityStatus:
        """Whether the model may be asked now; takes no probe slot."""
        with self._lock:
            model = self._models.get(target.model)
            if model is not None and model.disabled_until is not None:
                if now < model.disabled_until:
                    return AvailabilityStatus(Availability.DISABLED, "disabled by hand", model.disabled_until)
                model.disabled_until = None
            cooldown = self._cooldowns.get((target.account, target.model))
            if cooldown is not None and now < cooldown.until:
                return AvailabilityStatus(Availability.COOLING, "rate-limited", cooldown.server_until)
            if target.model.endswith(FREE):
                cooldown = self._cooldowns.get((target.account, FREE))
                if cooldown is not None and now < cooldown.until:
                    return AvailabilityStatus(Availability.COOLING, "rate-limited", cooldown.server_until)
            if model is None:
                closed = True
            else:
                closed = model.breaker.state(now) is State.CLOSED
                if not model.breaker.admits(now):
                    return _left_out(model.breaker, now, model.breaker.reason or "failing")
            lack = self._learnt.first(target.model, Fact.LACKS, needs, now)
            if lack is not None:
                return AvailabilityStatus(Availability.UNFIT, f"does not support {lack.subject}", lack.until)
            endpoint = self._endpoints.get(target.endpoint)
            if endpoint is not None and not endpoint.admits(now):
                reason = f"endpoint {target.endpoint} cannot be reached"
                return _left_out(endpoint, now, reason, unreachable=closed)
            if closed and (endpoint is None or endpoint.state(now) is State.CLOSED):
                return READY
            return AvailabilityStatus(Availability.PROBE, "half-open")

    def holds_back(self, target: HealthScopes, now: float, *, elsewhere: bool) -> bool:
        """Whether a call should go to another model that is ready: this one has only just recovered.

        `elsewhere`: or its endpoint has, for the other model has another one. Random: the longer ago, the fewer calls.
        """
        with self._lock:
            model = self._models.get(target.model)
            if model is not None and model.breaker.holds_back(now, self._random()):
                return True
            endpoint = self._endpoints.get(target.endpoint) if elsewhere else None
            return endpoint is not None and endpoint.holds_back(now, self._random())

    def accepted(self, target: HealthScopes, now: float) -> bool:
        """Whether the account's key was accepted within the last hour."""
        return now - self._accepted.get(target.account, -math.inf) <= _ACCEPTED_SECONDS

    def account_standing(self, target: HealthScopes, now: float) -> str | None:
        """`auth` or `credits` while the account behind the key is known to be refused for that; for the order only."""
        with self._lock:
            if now < self._no_auth.get(target.account, 0.0):
                return "auth"
            return "credits" if now < self._no_credits.get(target.account, 0.0) else None

    @property
    def any_account_refused(self) -> bool:
        """Whether any account has lately been refused; so that the common case costs nothing."""
        return bool(self._no_auth or self._no_credits)

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
            return known.latencies.quantile(share) if known else None

    def patience(self, model: str) -> float:
        """Seconds of silence after which an abandoned attempt counts as timed out."""
        with self._lock:
            known = self._models.get(model)
            if known is None or known.latencies.count < _PATIENCE_SAMPLES:
                return PATIENCE_SECONDS
            return known.latencies.quantile(0.99) or PATIENCE_SECONDS

    def usual_first_token(self, model: str, share: float) -> float | None:
        """As `first_token_quantile`, but None on fewer than 20 samples."""
        with self._lock:
            known = self._models.get(model)
            return known.latencies.quantile(share) if known and known.latencies.count >= _USUAL_SAMPLES else None

    def learnt_first_token(self, model: str, pace: int, longest: float, now: float) -> float | None:
        """The learnt deadline for a first token of this class, 5 s to `longest`; None on fewer than 200 samples."""
        with self._lock:
            known = self._models.get(model)
            seen = known.paces.get(pace) if known is not None else None
            if seen is None:
                return None
            if seen.learnt_at is None or now - seen.learnt_at > _LEARN_AGAIN_SECONDS:
                enough = seen.latencies.count >= LEARNT_SAMPLES
                p99 = seen.latencies.quantile(0.99) if enough else None
                seen.learnt, seen.learnt_at = (None if p99 is None else LEARNT_TIMES_P99 * p99), now
            return None if seen.learnt is None else min(max(seen.learnt, SHORTEST_LEARNT_SECONDS), longest)

    def late(self, model: str, now: float) -> None:
        """A first token of the model is overdue."""
        self._late[model] = now

    def others_late(self, model: str, now: float) -> bool:
        """Whether first tokens of another model were overdue within the last minute: then everything is slow."""
        return any(other != model and now - at <= _LATE_SECONDS for other, at in list(self._late.items()))

    def spoke_since(self, ticket: Permit) -> bool:
        """Whether the model has given anybody a first token of this class since the attempt began."""
        with self._lock:
            known = self._models.get(ticket.target.model)
            seen = known.paces.get(ticket.pace) if known is not None else None
            return seen is not None and seen.token_at is not None and seen.token_at > ticket.started

    def reasons_unasked(self, model: str) -> bool:
        """Whether the model was seen to reason without having been asked to."""
        return self._learnt.get(model, Fact.REASONS) is not None

    def snapshot(self, target: HealthScopes, now: float) -> ModelHealth:
        """What is known of one model."""
        standing = self.standing(target, now)
        with self._lock:
            model = self._model(target)
            good, bad = model.breaker.window.counts(now)
            return ModelHealth(
                model=target.model,
                state=str(model.breaker.state(now)),
                success_rate=model.breaker.window.rate(now),
                successes=good,
                failures=bad,
                first_token_p50=model.latencies.quantile(0.5),
                first_token_p95=model.latencies.quantile(0.95),
                seconds_left=max(0.0, standing.until - now) if standing.until is not None else None,
                reason=standing.reason,
                first_token_overdue=self.learnt_first_token(target.model, 0, math.inf, now),
            )

    def affords(self, now: float, models: Iterable[str] = ()) -> bool:
        """Whether the retry budget has room for an extra request, or one of the `models` has earned one."""
        with self._lock:
            return self._extras.allows(now) or any(self._earned(self._models.get(model)) for model in models)

    @property
    def retries_forbidden(self) -> bool:
        """Whether the retry budget was set to 0: there is nothing to wait for."""
        return self._extras.share == 0

    def _earned(self, model: _Model | None) -> bool:
        """What a model has earned counts while its circuit is closed: in an outage old successes would multiply it."""
        if model is None or model.earned <= 0 or self.retries_forbidden:
            return False
        return model.breaker.open_until is None

    # An attempt's life

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
        """Admit an attempt, at the moment it starts; half-open and not forced, it takes the one probe's slot.

        `extra`: it is charged to the retry budget, or to what the model's successes have earned; `hedge`: to the budget
        of hedges too. None: it is not forced and may not begin, for instance since another thread has just taken that
        slot, or a budget is exhausted.
        """
        with self._lock:
            known = self._model(target)
            model = known.breaker
            endpoint = self._endpoint(target.endpoint)
            if not forced and not (model.admits(now) and endpoint.admits(now)):
                return None
            allowed = not extra or self._extras.allows(now)
            if not allowed and (hedge or not self._earned(known)):
                return None
            if hedge and not self._hedges.allows(now):
                return None
            if not allowed:
                known.earned -= 1
            (self._extras.take if extra else self._extras.count)(now)
            if hedge:
                self._hedges.take(now)
            elif not extra:
                self._hedges.count(now)
            return Permit(target, now, model.begin(now, forced=forced), endpoint.begin(now, forced=forced), pace)

    def first_token(self, ticket: Permit, now: float) -> None:
        """The first token has come: its latency is recorded, and a probe has five seconds to prove itself."""
        with self._lock:
            model = self._model(ticket.target)
            self._record(model, ticket, now).token_at = now
            model.breaker.first_token(ticket.model, now)
            self._endpoint(ticket.target.endpoint).first_token(ticket.endpoint, now)

    def outlasted(self, ticket: Permit, now: float) -> None:
        """The attempt ended before its first token: record the time it waited as the least that this takes."""
        with self._lock:
            self._record(self._model(ticket.target), ticket, now)

    def _record(self, model: _Model, ticket: Permit, now: float) -> _Pace:
        seen = model.paces.get(ticket.pace)
        if seen is None:
            seen = model.paces[ticket.pace] = _Pace()
        seconds = now - ticket.started
        model.latencies.record(seconds, now)
        seen.latencies.record(seconds, now)
        return seen

    def success(self, ticket: Permit, now: float, needs: Iterable[str] = ()) -> None:
        """A complete answer to a request that rested on `needs`: the model does not lack them."""
        target = ticket.target
        with self._lock:
            model = self._model(target)
            model.breaker.success(ticket.model, now)
            model.earned = min(model.earned + EARNED_PER_SUCCESS, MOST_EARNED)
            if needs:
                self._learnt.unlearn(target.model, Fact.LACKS, needs)
            self._endpoint(target.endpoint).success(ticket.endpoint, now)
            self._cooldowns.pop((target.account, target.model), None)
            if target.model.endswith(FREE):
                self._cooldowns.pop((target.account, FREE), None)
            self._no_auth.pop(target.account, None)
            if len(self._accepted) < _MOST_COOLDOWNS or target.account in self._accepted:
                self._accepted[target.account] = now

    def proved(self, ticket: Permit, now: float) -> None:
        """A probe that was overtaken has its first token: the model answers."""
        with self._lock:
            model = self._model(ticket.target)
            self._record(model, ticket, now).token_at = now
            model.breaker.success(ticket.model, now)
            self._endpoint(ticket.target.endpoint).success(ticket.endpoint, now)

    def ended(self, ticket: Permit) -> None:
        """The attempt is over, whatever is to be said of it later; the slot of a probe stays taken."""
        with self._lock:
            self._model(ticket.target).breaker.end(ticket.model)
            self._endpoint(ticket.target.endpoint).end(ticket.endpoint)

    def model_failed(
        self, ticket: Permit, now: float, *, open_for: float | None = None, counts: bool = True, reason: str = ""
    ) -> bool:
        """The call failed at this model; returns whether its breaker opened."""
        with self._lock:
            breaker = self._model(ticket.target).breaker
            opened = breaker.failure(ticket.model, now, open_for=open_for, counts=counts, why=reason)
            # It says nothing about the endpoint, whose probe this may have been.
            self._endpoint(ticket.target.endpoint).release(ticket.endpoint)
            return opened

    def endpoint_failed(self, ticket: Permit, now: float) -> bool:
        """The endpoint could not be reached; returns whether its breaker opened."""
        with self._lock:
            return self._endpoint(ticket.target.endpoint).failure(ticket.endpoint, now, why="connection")

    def endpoint_answered(self, ticket: Permit, now: float) -> None:
        """Any HTTP status is a success for the endpoint."""
        with self._lock:
            self._endpoint(ticket.target.endpoint).success(ticket.endpoint, now)

    def release(self, ticket: Permit) -> None:
        """The attempt ended in a way that says nothing about health."""
        with self._lock:
            self._model(ticket.target).breaker.release(ticket.model)
            self._endpoint(ticket.target.endpoint).release(ticket.endpoint)

    def cut_short(self, ticket: Permit) -> None:
        """A probe that another attempt had overtaken was closed before it could tell: the next one goes alone."""
        with self._lock:
            self._model(ticket.target).breaker.alone = True
            self.release(ticket)

    def probes_alone(self, target: HealthScopes) -> bool:
        """Whether the next probe of the model goes alone."""
        known = self._models.get(target.model)
        return known is not None and known.breaker.alone

    # What one failure taught

    def rate_limited(self, target: HealthScopes, now: float, retry_after: float | None, *, free: bool = False) -> float:
        """Keep the model cool for this account; returns the time at which the server (or 1, 2, 4 ... s) allows it.

        `free`: the limit is that of all free models of the key. They cool down together, until the server's own time.
        """
        with self._lock:
            if len(self._cooldowns) > _MOST_COOLDOWNS:
                self._cooldowns = {key: kept for key, kept in self._cooldowns.items() if now < kept.until}
            cooldown = self._cooldowns.setdefault((target.account, FREE if free else target.model), _Cooldown())
            if retry_after is None and now < cooldown.until:
                # Begun before the model cooled: one burst is one step.
                return cooldown.server_until
            wait = 2.0**cooldown.steps if retry_after is None else retry_after
            cooldown.steps = min(cooldown.steps + 1, 10)
            kept = min(wait, LONGEST_FREE_SECONDS if free else target.longest_open)
            cooldown.until = max(cooldown.until, now + kept)
            cooldown.server_until = max(cooldown.server_until, now + (kept if retry_after is None else wait))
            return cooldown.server_until

    def out_of_credits(self, target: HealthScopes, now: float, retry_after: float | None) -> None:
        """The account has no credits: its models go last for a while."""
        until = now + (_ACCOUNT_SECONDS if retry_after is None else retry_after)
        with self._lock:
            _keep(self._no_credits, target.account, until, now)

    def unauthorized(self, target: HealthScopes, now: float) -> None:
        """The key was refused: the account's models go last for a minute."""
        with self._lock:
            _keep(self._no_auth, target.account, now + _ACCOUNT_SECONDS, now)

    def learn_lack(self, model: HealthScopes, need: str, now: float) -> None:
        """The model does not support `need`; remembered for ten minutes, or until it does."""
        with self._lock:
            self._learnt.learn(model.model, Fact.LACKS, now, subject=need)

    def learn_refusal(self, taker: str, parameter: str, now: float) -> None:
        """The endpoint (or the model, behind a gateway) refuses a parameter; remembered for a day."""
        with self._lock:
            self._learnt.learn(taker, Fact.REFUSES, now, subject=parameter)

    def refusals(self, taker: str, now: float) -> frozenset[str]:
        """The parameters that are known to be refused there."""
        with self._lock:
            return self._learnt.subjects(taker, Fact.REFUSES, now)

    def learn_reasons(self, target: HealthScopes) -> None:
        """The model reasons without being asked."""
        with self._lock:
            if self._learnt.get(target.model, Fact.REASONS) is None:
                self._learnt.learn(target.model, Fact.REASONS, 0.0)

    def learn_way(self, target: HealthScopes, way: str) -> None:
        """How the model goes on from delivered text, as it has shown."""
        with self._lock:
            self._learnt.learn(target.model, Fact.CONTINUES, 0.0, value=way)

    def way(self, model: str) -> str | None:
        """How the model has shown to go on from delivered text."""
        known = self._learnt.get(model, Fact.CONTINUES)
        return known.value if known is not None else None

    def learn_form(self, target: HealthScopes, form: str, now: float, seconds: float | None = None) -> None:
        """The form of a history that the model took after it refused another; remembered for `seconds`, or a day."""
        with self._lock:
            self._learnt.learn(target.model, Fact.FORM, now, value=form, seconds=seconds)

    def form(self, model: str, now: float) -> str | None:
        """The form of a history that the model is known to take; None: the usual one."""
        with self._lock:
            known = self._learnt.get(model, Fact.FORM, now)
            return known.value if known is not None else None

    def learnt(self, scopes: Iterable[str], now: float) -> tuple[Learnt, ...]:
        """What is known of these models and endpoints, for people to read."""
        with self._lock:
            return self._learnt.about(scopes, now)

    def take_changes(self, now: float) -> list[BreakerChange]:
        """The changes of breakers that have not been reported yet."""
        with self._lock:
            return self.changes.take(now)

    # By hand

    def disable(self, target: HealthScopes, until: float) -> None:
        """Leave the model out until then, whatever its health."""
        with self._lock:
            self._model(target).disabled_until = until

    def enable(self, target: HealthScopes) -> None:
        """Undo `disable` and close the model's breaker; its cooldowns end."""
        with self._lock:
            model = self._model(target)
            model.disabled_until = None
            self._learnt.forget(target.model, Fact.LACKS)
            if model.breaker.open_until is not None:
                model.breaker.close()
            cooled = {target.model, FREE} if target.model.endswith(FREE) else {target.model}
            for key in [key for key in self._cooldowns if key[1] in cooled]:
                del self._cooldowns[key]

    def forget(self, target: HealthScopes) -> None:
        """Forget everything that was learnt about one model."""
        with self._lock:
            known = self._models.pop(target.model, None)
            if known is not None:
                known.breaker.close()
            self._learnt.forget(target.model)
            self._cooldowns = {key: kept for key, kept in self._cooldowns.items() if key[1] != target.model}

    def reset(self) -> None:
        """Forget everything that was learnt."""
        with self._lock:
            for breaker in (*(known.breaker for known in self._models.values()), *self._endpoints.values()):
                breaker.close()
            self._models.clear()
            self._learnt.clear()
            self._endpoints.clear()
            self._cooldowns.clear()
            self._no_credits.clear()
            self._no_auth.clear()
            self._accepted.clear()

    # Inside the lock

    def _model(self, target: HealthScopes) -> _Model:
        known = self._models.get(target.model)
        if known is None:
            rules = replace(self._rules, longest_open=target.longest_open)
            breaker = self._breaker(rules, target.endpoint, target.model)
            known = _Model(self.changes.watch(breaker, "model", target.model), Latencies(self._rules.window_seconds))
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
        return Breaker(rules, self._random)

    def __reduce__(self) -> tuple[object, ...]:
        fresh = partial(type(self), retry_budget=self._extras.share, hedge_share=self._hedges.share)
        return fresh, (self._rules, self._random)


def _left_out(breaker: Breaker, now: float, reason: str, *, unreachable: bool = False) -> AvailabilityStatus:
    probing = breaker.state(now) is State.HALF_OPEN
    reason = f"{reason}, a probe is under way" if probing else reason
    return AvailabilityStatus(Availability.LEFT_OUT, reason, breaker.open_until, breaker.forced, unreachable)


def _keep(refused: dict[str, float], account: str, until: float, now: float) -> None:
    if len(refused) >= _MOST_COOLDOWNS:
        for known in [known for known, end in refused.items() if end <= now]:
            del refused[known]
    refused[account] = until


# A lock that another thread holds while the process forks stays locked in the child for ever.
_live: weakref.WeakSet[MemoryHealth] = weakref.WeakSet()


def _after_fork() -> None:
    for health in _live:
        health._lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
