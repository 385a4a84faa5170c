"""Health that is shared by the processes of a fleet. Memory decides; what others tell is one more thing that it learns.

Pure as the rest of health: a store carries an `SyncRequest` out and an `SyncResponse` in. The rules:

- Counts go into the windows of all, per bucket, so that what was forgotten when a breaker closed stays forgotten.
- A model's breaker that opens elsewhere opens here, unless the model has answered an attempt that began here since
  then. What opened it counts: an HTTP status at once; a deadline of the other process's only if a second process
  (this one, too) has missed one lately; a connection that failed never. So a dead model is left by all at once, and
  one process with a bad line cannot take a working model from the others. Breakers of endpoints are not shared.
- Of what several tell of one breaker, the store's order decides; nothing is heard of what changed here meanwhile.
- A half-open breaker admits a probe only in the process that holds its lease. The call that would make the probe asks
  for it (`unleased`, `leased`), so that the lease cannot miss its call. Without the store, one probe per process; also
  where a lease has been refused for a minute, since then nobody alive holds it.
- A process that sees a model fail, or its circuit change, exchanges soon (`hurry`): so a dead model costs a fleet few
  more requests than the process that opens the circuit first has made.
- Cooldowns and refusals of a key hold for all who use that key, and nobody else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial

from ..admission import AvailabilityStatus, HealthScopes
from ..breaker import Breaker, BreakerPermit, Rules, State
from ..memory import _MOST_COOLDOWNS, MemoryHealth, _Cooldown, _keep
from ..window import BUCKETS
from .protocol import Counts, HealthEvent, ReceivedEvent, SyncRequest, SyncResponse

PERIOD_SECONDS = 1.0
"""How often a process tells and hears."""
SOON_SECONDS = 0.1
"""How soon a process exchanges that has something to tell, or to ask, of a failing model."""
UNEASY_SECONDS = 2.0
"""For so long after a failure in a closed circuit's row a process goes on to exchange soon."""
PERIODS_ALONE = 3
"""Exchanges missed until a process goes by itself."""
LEASE_SECONDS = 20.0
"""How long a lease holds, from when it was asked for, and anew at each exchange while the probe is under way."""
ASK_AGAIN_SECONDS = 1.0
"""So long after a lease was refused no call asks again."""
LONGEST_REFUSED_SECONDS = 60.0
"""A lease that is refused for longer is of nobody who lives: the process goes by itself."""
SECOND_WITNESS_SECONDS = 60.0
"""How long a deadline that one process has missed waits for a second one."""
MOST_NEWS = 256
"""What one exchange tells; the rest waits for the next."""
_MOST_UNKNOWN = 4096
_WORTH_TELLING_SECONDS = 0.5
_NEVER = -math.inf
# Kinds of failure that may be of the line, and not of the model.
_CONNECTION, _TIMED_OUT = "connection", "timed_out"


class SharedBreaker(Breaker):
    """A breaker whose probe needs a lease, and that knows what the others know of it."""

    __slots__ = (
        "answered",
        "ask_at",
        "fleet",
        "leased_until",
        "opened_at",
        "rebase",
        "refused_since",
        "scope",
        "telling",
        "told",
    )

    def __init__(self, rules: Rules, jitter: Callable[[], float], scope: str, fleet: SharedHealth) -> None:
        super().__init__(rules, jitter)
        self.scope = scope
        self.fleet = fleet
        self.answered = self.opened_at = self.ask_at = self.leased_until = _NEVER
        self.refused_since: float | None = None
        self.rebase = False
        self.told = (0, 0, 0)
        """What the others know: the epoch, all successes, all failures."""
        self.telling = 0

    def admits(self, now: float) -> bool:
        if self.open_until is None:
            return True
        return super().admits(now) and (self.open_until is None or self._leased(now))

    def unleased(self, now: float) -> bool:
        """Whether an attempt may begin but for the lease, which may be asked for."""
        return now >= self.ask_at and super().admits(now) and self.open_until is not None and not self._leased(now)

    def leased(self, granted: bool, now: float) -> None:
        """The store has given the lease to this process, or has not."""
        if not granted:
            self.refused_since = now if self.refused_since is None else self.refused_since
            granted = now - self.refused_since >= LONGEST_REFUSED_SECONDS
        if granted:
            self.refused_since, self.leased_until = None, now + LEASE_SECONDS

    def _leased(self, now: float) -> bool:
        return now < self.leased_until or now >= self.fleet.in_step_until

    def success(self, held: BreakerPermit, now: float) -> None:
        self.answered = max(self.answered, held.began)
        super().success(held, now)

    def failure(
        self, held: BreakerPermit, now: float, *, open_for: float | None = None, counts: bool = True, why: str = ""
    ) -> bool:
        opened = super().failure(held, now, open_for=open_for, counts=counts, why=why)
        if self.uneasy(now):
            self.fleet.hurry()
        return opened

    def uneasy(self, now: float) -> bool:
        """Whether its state is to be told, or calls of this process have failed here just now."""
        if self.open_until is not None:
            return self.told[0] != self.epoch
        at = self._event_at
        return self.failures_in_a_row > 0 and at is not None and now - at <= UNEASY_SECONDS

    def close(self, now: float | None = None) -> None:
        super().close(now)
        self.rebase, self.refused_since = True, None
        if now is not None:  # by an answer here, not by what was heard
            self.fleet.hurry()

    def _open(self, now: float, seconds: float) -> None:
        super()._open(now, seconds)
        self.opened_at, self.refused_since = now, None

    @property
    def probing(self) -> bool:
        """Whether a probe is under way here."""
        return self._probe is not None

    def follow(self, until: float, trips: int, why: str) -> None:
        """Another process has opened it."""
        if self.open_until is None:
            self._why = why
            super()._open(until, 0.0)
        else:
            self.open_until = max(self.open_until, until)
        self.refused_since = None
        self.trips = max(self.trips, trips)


class SharedHealth(MemoryHealth):
    """`MemoryHealth` that can tell and hear.

    `places` gives each endpoint's address: a name alone may mean two servers.
    """

    def __init__(
        self,
        rules: Rules,
        random: Callable[[], float],
        places: Mapping[str, str],
        *,
        period: float = PERIOD_SECONDS,
        retry_budget: float | None = None,
        hedge_share: float | None = 0.0,
    ) -> None:
        super().__init__(rules, random, retry_budget=retry_budget, hedge_share=hedge_share)
        self.period = period
        self.bucket_seconds = rules.window_seconds / BUCKETS
        self.longest_open = rules.longest_open
        self.in_step_until = _NEVER
        """The clock's time up to which this process counts as one of the fleet."""
        self.hurry: Callable[[], None] = _nothing
        """Asks for an exchange soon; called under the lock, from any thread. Whoever carries exchanges sets it."""
        self._places = dict(places)
        self._idents = {name: f"{name}@{place}" for name, place in places.items()}
        self._names = {ident: name for name, ident in self._idents.items()}
        self._totals = _Totals()
        self._unknown: dict[str, tuple[float, int, str]] = {}
        self._told: dict[str, float] = {}
        self._suspected: dict[str, tuple[str, float]] = {}
        """By model: the process that has missed a deadline of its own last, and when that was heard."""

    def __reduce__(self) -> tuple[object, ...]:
        extras, hedges = self._extras.share, self._hedges.share
        again = partial(type(self), period=self.period, retry_budget=extras, hedge_share=hedges)
        return again, (self._rules, self._random, self._places)

    def standing(self, target: HealthScopes, now: float, needs: Iterable[str] = ()) -> AvailabilityStatus:
        self._create(target)
        return super().standing(target, now, needs)

    def _create(self, target: HealthScopes) -> None:
        """The model's breaker, where others have told of it before this process has called the model."""
        if self._unknown and (scope := self._scope(target.endpoint, target.model)) in self._unknown:
            with self._lock:
                if scope in self._unknown:
                    self._model(target)

    # Leases

    def unleased(self, targets: Iterable[HealthScopes], now: float) -> tuple[str, ...]:
        """The lease that a call to these models, in this order, would need for its first request; at most one.

        Whoever asks this asks the store, and says by `leased` what came of it. Costs next to nothing while all is well.
        """
        for target in targets:
            self._create(target)
            model = self._models.get(target.model)
            breaker = None if model is None else model.breaker
            if breaker is None or breaker.open_until is None:
                return ()
            with self._lock:
                if isinstance(breaker, SharedBreaker) and breaker.unleased(now):
                    breaker.ask_at = now + ASK_AGAIN_SECONDS
                    return (breaker.scope,)
                if breaker.admits(now):
                    return ()
        return ()

    def leased(self, answers: Mapping[str, bool], now: float) -> None:
        """Which leases the store has given to this process. One that it was not asked for in time is given."""
        with self._lock:
            for breaker in self._breakers():
                if breaker.scope in answers:
                    breaker.leased(answers[breaker.scope], now)

    def reset(self) -> None:
        super().reset()
        self._unknown.clear()
        self._suspected.clear()

    def _scope(self, endpoint: str, model: str) -> str:
        return f"model|{self._idents.get(endpoint, endpoint)}|{model}"

    def _breaker(self, rules: Rules, endpoint: str, model: str | None) -> Breaker:
        if model is None:
            return super()._breaker(rules, endpoint, model)
        scope = self._scope(endpoint, model)
        breaker = SharedBreaker(rules, self._random, scope, self)
        heard = self._unknown.pop(scope, None)
        if heard is not None:
            breaker.follow(*heard)
            breaker.told = (breaker.epoch, 0, 0)
        breaker.window.others = self._totals.others(scope)
        return breaker

    def _breakers(self) -> list[SharedBreaker]:
        known = (model.breaker for model in self._models.values())
        return [breaker for breaker in known if isinstance(breaker, SharedBreaker)]

    def uneasy(self, now: float) -> bool:
        """Whether the next exchange should come soon: a model fails, or its circuit has changed."""
        with self._lock:
            return any(breaker.uneasy(now) for breaker in self._breakers())

    # Telling

    def collect(self, now: float, store_now: float) -> SyncRequest:
        """What has happened here since the last exchange that worked. `store_now`: the store's time, about."""
        with self._lock:
            counts: dict[str, tuple[int, int]] = {}
            news: list[HealthEvent] = []
            kept = []
            for breaker in self._breakers():
                state = breaker.state(now)
                epoch, good, bad = breaker.told
                window = breaker.window
                if (window.all_good, window.all_bad) != (good, bad):
                    counts[breaker.scope] = (window.all_good - good, window.all_bad - bad)
                if breaker.epoch != epoch:
                    breaker.telling = breaker.epoch
                    news.append(_change(breaker, now))
                if breaker.probing and state is State.HALF_OPEN:
                    kept.append(breaker.scope)
            news += self._keys(now)
            bucket = int(store_now // self.bucket_seconds)
            return SyncRequest(now, bucket, counts, tuple(news[:MOST_NEWS]), tuple(kept))

    def _keys(self, now: float) -> list[HealthEvent]:
        """What holds for keys and is worth telling: new, or longer than was told."""
        if len(self._cooldowns) > _MOST_COOLDOWNS:
            self._cooldowns = {key: kept for key, kept in self._cooldowns.items() if now < kept.until}
        news = [
            HealthEvent("cooling", f"cooling|{self._account(account)}|{model}", kept.server_until - now)
            for (account, model), kept in self._cooldowns.items()
        ]
        news += [
            HealthEvent("no_auth", f"no_auth|{self._account(a)}", until - now) for a, until in self._no_auth.items()
        ]
        news += [
            HealthEvent("no_credits", f"no_credits|{self._account(a)}", until - now)
            for a, until in self._no_credits.items()
        ]
        self._told = {scope: until for scope, until in self._told.items() if until > now}
        return [
            one
            for one in news
            if one.left > 0.0 and now + one.left > self._told.get(one.scope, _NEVER) + _WORTH_TELLING_SECONDS
        ]

    # Hearing

    def apply(self, inbox: SyncResponse, sent: SyncRequest, now: float) -> None:
        """Take in what an exchange has brought, and note that what was sent has arrived."""
        with self._lock:
            self.in_step_until = now + PERIODS_ALONE * self.period
            told = {one.scope for one in sent.news}
            self._totals.told(sent.bucket, sent.counts)
            self._totals.read(inbox.counts, int(inbox.now // self.bucket_seconds))
            breakers = {breaker.scope: breaker for breaker in self._breakers()}
            for scope, breaker in breakers.items():
                epoch, good, bad = breaker.told
                more = sent.counts.get(scope, (0, 0))
                breaker.told = (breaker.telling if scope in told else epoch, good + more[0], bad + more[1])
                if scope in sent.kept:
                    breaker.leased_until = sent.at + LEASE_SECONDS
            for one in sent.news:
                if one.what not in ("opened", "closed"):
                    self._told[one.scope] = sent.at + one.left
            for heard in inbox.news:
                if heard.news.scope not in told:
                    self._learn(heard, breakers.get(heard.news.scope), inbox.now, now)
            for breaker in breakers.values():
                if breaker.rebase:
                    breaker.rebase = False
                    self._totals.forget(breaker.scope)
                breaker.window.others = self._totals.others(breaker.scope)

    def resend(self) -> None:
        """What was told has been lost: it is told again."""
        with self._lock:
            self._told.clear()
            for breaker in self._breakers():
                if breaker.open_until is not None:
                    breaker.told = (breaker.epoch - 1, *breaker.told[1:])

    def detach(self) -> None:
        """Nothing has been heard for a while: what others counted goes, and probes need no lease."""
        with self._lock:
            self.in_step_until = _NEVER
            for breaker in self._breakers():
                breaker.window.others = (0, 0)

    def after_fork(self) -> None:
        """In a forked child: what the parent has told and leased is the parent's."""
        self.in_step_until = _NEVER
        self._totals = _Totals()
        for breaker in self._breakers():
            breaker.told = (breaker.epoch, breaker.window.all_good, breaker.window.all_bad)
            breaker.leased_until = _NEVER
            breaker.window.others = (0, 0)

    def _learn(self, heard: ReceivedEvent, breaker: SharedBreaker | None, store_now: float, now: float) -> None:
        news = heard.news
        happened = now - max(0.0, store_now - heard.at) - news.ago
        until = happened + news.ago + news.left
        if news.what == "closed":
            self._unknown.pop(news.scope, None)
            if breaker is not None and breaker.open_until is not None and breaker.told[0] == breaker.epoch:
                breaker.close()
                breaker.told = (breaker.epoch, *breaker.told[1:])
        elif news.what == "opened":
            if not self._believed(heard, breaker, now):
                return
            if breaker is None:
                if len(self._unknown) < _MOST_UNKNOWN:
                    self._unknown[news.scope] = (min(until, now + self._rules.longest_open), news.trips, news.why)
            elif breaker.answered <= happened and breaker.told[0] == breaker.epoch and not breaker.probing:
                breaker.follow(min(until, now + breaker.rules.longest_open), news.trips, news.why)
                breaker.told = (breaker.epoch, *breaker.told[1:])
        elif until > now:
            self._learn_key(news, until, now)

    def _believed(self, heard: ReceivedEvent, breaker: SharedBreaker | None, now: float) -> bool:
        """Whether what opened a breaker elsewhere says something of the model, and not of that process's line."""
        why, scope = heard.news.why, heard.news.scope
        if why == _CONNECTION:
            return False
        if why != _TIMED_OUT or (breaker is not None and (breaker.open_until is not None or breaker.failures_in_a_row)):
            return True
        by, at = self._suspected.get(scope, (heard.by, _NEVER))
        if len(self._suspected) < _MOST_UNKNOWN or scope in self._suspected:
            self._suspected[scope] = heard.by, now
        return by != heard.by and now - at <= SECOND_WITNESS_SECONDS

    def _learn_key(self, news: HealthEvent, until: float, now: float) -> None:
        _, account_scope, *model = news.scope.split("|", 2)
        ident, _, fingerprint = account_scope.rpartition("#")
        name = self._names.get(ident)
        if name is None or (len(self._told) >= _MOST_COOLDOWNS and news.scope not in self._told):
            return
        account = f"{name}#{fingerprint}"
        self._told[news.scope] = max(until, self._told.get(news.scope, _NEVER))
        if news.what == "cooling" and model:
            cooldown = self._cooldowns.setdefault((account, model[0]), _Cooldown())
            cooldown.until = max(cooldown.until, min(until, now + self._rules.longest_open))
            cooldown.server_until = max(cooldown.server_until, until)
        elif news.what == "no_auth":
            _keep(self._no_auth, account, until, now)
        elif news.what == "no_credits":
            _keep(self._no_credits, account, until, now)

    def _account(self, account: str) -> str:
        name, _, fingerprint = account.rpartition("#")
        return f"{self._idents.get(name, name)}#{fingerprint}"


def _nothing() -> None:
    """Nobody carries exchanges."""


def _change(breaker: SharedBreaker, now: float) -> HealthEvent:
    if breaker.open_until is None:
        return HealthEvent("closed", breaker.scope)
    left, ago = max(0.0, breaker.open_until - now), max(0.0, now - breaker.opened_at)
    return HealthEvent("opened", breaker.scope, left, ago, breaker.trips, breaker.reason)


class _Totals:
    """What the fleet has counted in each bucket of the window, how much of that is this process's, and what is void."""

    def __init__(self) -> None:
        self._all: dict[int, Counts] = {}
        self._own: dict[int, dict[str, tuple[int, int]]] = {}
        self._void: dict[int, dict[str, tuple[int, int]]] = {}

    def told(self, bucket: int, counts: Counts) -> None:
        """So much of this process has arrived there."""
        own = self._own.setdefault(bucket, {})
        for scope, (good, bad) in counts.items():
            before = own.get(scope, (0, 0))
            own[scope] = (before[0] + good, before[1] + bad)

    def read(self, counts: Mapping[int, Counts], newest: int) -> None:
        """The sums as they stand there; buckets that have left the window go."""
        self._all.update(counts)
        for buckets in (self._all, self._own, self._void):
            for old in [bucket for bucket in buckets if not newest - BUCKETS < bucket <= newest + 1]:
                del buckets[old]

    def forget(self, scope: str) -> None:
        """What has been counted of it up to now counts no more."""
        for bucket in self._all:
            self._void.setdefault(bucket, {})[scope] = self._theirs(bucket, scope)

    def others(self, scope: str) -> tuple[int, int]:
        """Successes and failures of the other processes."""
        good = bad = 0
        for bucket in self._all:
            theirs = self._theirs(bucket, scope)
            void = self._void.get(bucket, {}).get(scope, (0, 0))
            good += theirs[0] - void[0]
            bad += theirs[1] - void[1]
        return max(0, good), max(0, bad)

    def _theirs(self, bucket: int, scope: str) -> tuple[int, int]:
        known = self._all.get(bucket, {}).get(scope, (0, 0))
        own = self._own.get(bucket, {}).get(scope, (0, 0))
        return max(0, known[0] - own[0]), max(0, known[1] - own[1])
