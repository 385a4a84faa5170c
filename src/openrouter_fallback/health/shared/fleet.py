"""Health that the processes of a fleet share. Memory decides; events of other processes are one more input.

Pure, as the rest of health: a store carries a `SyncRequest` out and a `SyncResponse` in. The rules:

- Counts are shared per bucket of the window. Counts that a closing breaker has cleared stay cleared.
- A model's breaker that opens in another process opens here too, unless the model has since answered an attempt that
  began here after that. An HTTP status opens the breaker at once; a missed deadline only if a second process (or this
  one) has missed one lately; a failed connection never. So all processes leave a dead model, and one process with a
  bad network does not take a working model from the others. Breakers of endpoints are not shared.
- If several processes report one breaker, the last report in the store wins, but not over an unsent change.
- A half-open breaker admits a probe only in the process that holds its lease. The call that would make the probe
  requests the lease (`unleased`, `leased`). Without the store, each process makes its own probe; also after the lease
  was refused for a minute, since then no living process holds it.
- A process in which a model fails or a circuit changes exchanges soon (`hurry`): a dead model costs few requests.
- Cooldowns and refusals of a key apply to the processes that use this key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from ..accounts import MOST_KNOWN
from ..admission import AvailabilityStatus, HealthScopes
from ..breaker import Breaker, Rules, State
from ..memory import MemoryHealth
from ..window import BUCKETS
from .breaker import LEASE_SECONDS, NEVER, SharedBreaker
from .protocol import HealthEvent, ReceivedEvent, SyncRequest, SyncResponse
from .totals import Totals

PERIOD_SECONDS = 1.0
"""Seconds between two exchanges of a process."""
SOON_SECONDS = 0.1
"""Seconds between two exchanges while a model fails or its circuit has changed."""
PERIODS_ALONE = 3
"""Missed exchanges after which a process decides alone."""
ASK_AGAIN_SECONDS = 1.0
"""Seconds after a refused lease in which no call requests the lease again."""
SECOND_WITNESS_SECONDS = 60.0
"""Seconds within which a second process must miss a deadline, so that a breaker opens in all."""
MOST_NEWS = 256
"""The most events of one exchange; the next exchange sends the rest."""
_MOST_UNKNOWN = 4096
_WORTH_TELLING_SECONDS = 0.5
# Kinds of failure whose cause may be the process's network and not the model.
_CONNECTION, _TIMED_OUT = "connection", "timed_out"


class SharedHealth(MemoryHealth):
    """`MemoryHealth` that exchanges events with other processes.

    `addresses` maps endpoint names to URLs without their scheme: one name may mean two servers.
    """

    def __init__(
        self,
        rules: Rules,
        random: Callable[[], float],
        addresses: Mapping[str, str],
        *,
        period: float = PERIOD_SECONDS,
        retry_budget: float | None = None,
        hedge_share: float | None = 0.0,
    ) -> None:
        super().__init__(rules, random, retry_budget=retry_budget, hedge_share=hedge_share)
        self.period = period
        self.bucket_seconds = rules.window_seconds / BUCKETS
        self.longest_open = rules.longest_open
        self.in_step_until = NEVER
        """The clock's time until which this process is in step with the fleet."""
        self.hurry: Callable[[], None] = _nothing
        """Requests an exchange soon. Called with the lock held, from any thread. The store sets this function."""
        self._idents = {name: f"{name}@{address}" for name, address in addresses.items()}
        self._names = {ident: name for name, ident in self._idents.items()}
        self._totals = Totals()
        self._unknown: dict[str, tuple[float, int, str]] = {}
        self._told: dict[str, float] = {}
        self._suspected: dict[str, tuple[str, float]] = {}
        """By model: the process that last reported a missed deadline, and when this process received the report."""

    def status_of(self, target: HealthScopes, now: float, needs: Iterable[str] = ()) -> AvailabilityStatus:
        self._create(target)
        return super().status_of(target, now, needs)

    def _create(self, target: HealthScopes) -> None:
        """Create the model's breaker if other processes have reported it before this process calls the model."""
        if self._unknown and (scope := self._scope(target.endpoint, target.model)) in self._unknown:
            with self._lock:
                if scope in self._unknown:
                    self._model(target)

    # Leases

    def unleased(self, targets: Iterable[HealthScopes], now: float) -> tuple[str, ...]:
        """The lease that a call to these models, in this order, needs for its first request; at most one.

        The caller requests the lease from the store and passes the answer to `leased`. Cheap if no circuit is open.
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
        """Take the store's answers. Without an answer in time, a lease counts as granted."""
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
        breaker = SharedBreaker(rules, self.random, scope, self)
        heard = self._unknown.pop(scope, None)
        if heard is not None:
            breaker.follow(*heard)
            breaker.told = (breaker.epoch, 0, 0)
        breaker.window.others = self._totals.others(scope)
        return breaker

    def _breakers(self) -> list[SharedBreaker]:
        return [breaker for breaker in self.breakers.values() if isinstance(breaker, SharedBreaker)]

    def uneasy(self, now: float) -> bool:
        """Whether the next exchange should run soon: a model fails, or its circuit has changed."""
        with self._lock:
            return any(breaker.uneasy(now) for breaker in self._breakers())

    # Sending

    def collect(self, now: float, store_now: float) -> SyncRequest:
        """The events and counts since the last successful exchange. `store_now`: the store's approximate time."""
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
                if breaker.probe is not None and state is State.HALF_OPEN:
                    kept.append(breaker.scope)
            news += self._keys(now)
            bucket = int(store_now // self.bucket_seconds)
            return SyncRequest(now, bucket, counts, tuple(news[:MOST_NEWS]), tuple(kept))

    def _keys(self, now: float) -> list[HealthEvent]:
        """Cooldowns and refusals of keys that are new, or hold longer than was last sent."""
        news = [
            HealthEvent(what, "|".join(filter(None, (what, self._account(account), model))), until - now)
            for what, account, model, until in self.accounts.holds(now)
        ]
        self._told = {scope: until for scope, until in self._told.items() if until > now}
        return [
            one
            for one in news
            if one.left > 0.0 and now + one.left > self._told.get(one.scope, NEVER) + _WORTH_TELLING_SECONDS
        ]

    # Receiving

    def apply(self, inbox: SyncResponse, sent: SyncRequest, now: float) -> None:
        """Apply the response of an exchange, and record that the request has arrived."""
        with self._lock:
            self.in_step_until = now + PERIODS_ALONE * self.period
            told = {one.scope: one.what for one in sent.news}
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
                mine = told.get(heard.news.scope)
                # What this process has just told is newer. If both have opened, the later end holds for both.
                if mine is None or mine == heard.news.what == "opened":
                    self._learn(heard, breakers.get(heard.news.scope), inbox.now, now)
            for breaker in breakers.values():
                if breaker.rebase:
                    breaker.rebase = False
                    self._totals.forget(breaker.scope)
                breaker.window.others = self._totals.others(breaker.scope)

    def resend(self) -> None:
        """The store has lost what this process sent: send it again."""
        with self._lock:
            self._told.clear()
            for breaker in self._breakers():
                if breaker.open_until is not None:
                    breaker.told = (breaker.epoch - 1, *breaker.told[1:])

    def detach(self) -> None:
        """The store does not answer: drop the counts of other processes, and let probes start without a lease."""
        with self._lock:
            self.in_step_until = NEVER
            for breaker in self._breakers():
                breaker.window.others = (0, 0)

    def after_fork(self) -> None:
        """In a forked child: what was sent and the leases belong to the parent."""
        super().after_fork()
        self.in_step_until = NEVER
        self._totals = Totals()
        for breaker in self._breakers():
            breaker.told = (breaker.epoch, breaker.window.all_good, breaker.window.all_bad)
            breaker.leased_until = NEVER
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
                if len(self._unknown) < _MOST_UNKNOWN or news.scope in self._unknown:
                    end, trips, _ = self._unknown.get(news.scope, (NEVER, 0, ""))
                    until = max(end, min(until, now + self._rules.longest_open))
                    self._unknown[news.scope] = (until, max(trips, news.trips), news.why)
            elif breaker.answered <= happened and breaker.told[0] == breaker.epoch and breaker.probe is None:
                breaker.follow(min(until, now + breaker.rules.longest_open), news.trips, news.why)
                breaker.told = (breaker.epoch, *breaker.told[1:])
        elif until > now:
            self._learn_key(news, until, now)

    def _believed(self, heard: ReceivedEvent, breaker: SharedBreaker | None, now: float) -> bool:
        """Whether the cause of an opening in another process is the model, and not that process's network."""
        why, scope = heard.news.why, heard.news.scope
        if why == _CONNECTION:
            return False
        if why != _TIMED_OUT or (breaker is not None and (breaker.open_until is not None or breaker.failures_in_a_row)):
            return True
        by, at = self._suspected.get(scope, (heard.by, NEVER))
        if len(self._suspected) < _MOST_UNKNOWN or scope in self._suspected:
            self._suspected[scope] = heard.by, now
        return by != heard.by and now - at <= SECOND_WITNESS_SECONDS

    def _learn_key(self, news: HealthEvent, until: float, now: float) -> None:
        _, account_scope, *model = news.scope.split("|", 2)
        ident, _, fingerprint = account_scope.rpartition("#")
        name = self._names.get(ident)
        if name is None or (len(self._told) >= MOST_KNOWN and news.scope not in self._told):
            return
        account = f"{name}#{fingerprint}"
        self._told[news.scope] = max(until, self._told.get(news.scope, NEVER))
        if news.what == "cooling" and model:
            self.accounts.cool(account, model[0], min(until, now + self._rules.longest_open), until)
        elif news.what == "no_auth" or news.what == "no_credits":
            self.accounts.refuse(news.what, account, until, now)

    def _account(self, account: str) -> str:
        name, _, fingerprint = account.rpartition("#")
        return f"{self._idents.get(name, name)}#{fingerprint}"


def _nothing() -> None:
    """There is no store yet."""


def _change(breaker: SharedBreaker, now: float) -> HealthEvent:
    if breaker.open_until is None:
        return HealthEvent("closed", breaker.scope)
    left, ago = max(0.0, breaker.open_until - now), max(0.0, now - breaker.opened_at)
    return HealthEvent("opened", breaker.scope, left, ago, breaker.trips, breaker.reason)
