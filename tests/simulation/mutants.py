"""Mutants: each switches off one rule of health or failover, and the simulator must notice.

A mutant names the invariant that it breaks, and worlds in which it breaks the invariant. Without the mutant, these
worlds break no invariant.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

from openrouter_fallback.call import attempt
from openrouter_fallback.decision import beside, failover, learning, rounds, starting, timeouts
from openrouter_fallback.decision.candidates import CallState, CandidateState
from openrouter_fallback.failures import classifier
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.health import Availability, AvailabilityStatus, accounts, breaker, learnt, memory
from openrouter_fallback.health.shared import fleet, redis
from openrouter_fallback.http import pool, socket

from . import targeted
from .targeted import Played
from .worlds import world

IN_AGGREGATE = "I3 in aggregate"


def _seeds(shape: str, *seeds: int) -> tuple[Played, ...]:
    return tuple((world(seed, shape), None) for seed in seeds)


@dataclass(frozen=True)
class Mutant:
    """One rule. Without the rule, the `worlds` break the `invariant`. `patches` are (object, attribute, value)."""

    rule: str
    invariant: str
    worlds: tuple[Played, ...]
    patches: tuple[tuple[Any, str, Any], ...]

    @contextmanager
    def alive(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in self.patches:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield


# The replacements of rules

_send, _following, _failure = pool.Connections.send, rounds.following, breaker.Breaker.failure
_after_cooldown, _begin = rounds.after_cooldown, memory.MemoryHealth.begin
_first_token, _with_deadlines = timeouts.Timeouts.first_token, starting.with_deadlines


async def _sent_once(one: pool.Connections, send: Callable[..., Any], *, resend: bool) -> Any:
    return await _send(one, send, resend=False)


def _all_failures(one: breaker.Breaker, now: float) -> bool:
    good, bad = one.window.counts(now)
    return good + bad >= one.rules.min_samples and good < one.rules.skip_threshold * (good + bad)


def _full_jitter(call: CallState, attempts: int) -> float:
    return call.random() * min(2.0 ** (attempts - 1), 4.0)


def _refusing(call: CallState, state: CandidateState, now: float) -> AvailabilityStatus:
    at = call.health.status_of(state.candidate.target, now, call.traits.needs)
    return replace(at, availability=Availability.DISABLED) if at.unreachable else at


def _charged(call: CallState, now: float) -> rounds.Step:
    step = _following(call, now)
    if not isinstance(step, rounds.Start) or not call.started:
        return step
    return replace(step, extra=True) if call.affords(step.state, now) else rounds._await_budget(call, [], now)


def _uncharged(one: memory.MemoryHealth, *args: Any, **more: Any) -> Any:
    return _begin(one, *args, **{**more, "extra": False})


def _asked_once(call: CallState, *args: Any) -> rounds.Step:
    step = _after_cooldown(call, *args)
    return None if isinstance(step, rounds.Start) and step.state.attempts else step


def _of_the_model(status: int, *args: Any, **more: Any) -> Failure:
    """Treat every 404 as a missing model."""
    if status == 404:
        return Failure(FailureKind.NOT_FOUND, "not found", status)
    return classifier.from_response(status, *args, **more)


def _doubling(one: breaker.Breaker) -> float:
    longest: float = min(10.0 * 2.0 ** min(one.trips + 1, 9), one.rules.longest_open)
    return longest * one._spread()


def _not_as_told(one: breaker.Breaker, held: breaker.BreakerPermit, now: float, **more: Any) -> bool:
    return _failure(one, held, now, **{**more, "open_for": None})


async def _waits(*_: Any) -> None:
    """Wait for a store that does not answer before the call is over."""
    await asyncio.sleep(400.0)  # in virtual time


def _killed(one: timeouts.Timeouts, *args: Any, **more: Any) -> tuple[float, bool]:
    return _first_token(one, *args, **more)[0], True


def _to_the_deadline(*args: Any, **more: Any) -> Any:
    start, active = _with_deadlines(*args, **more)
    active.half_at = None
    return start, active


def _mutant(rule: str, invariant: str, worlds: Played | tuple[Played, ...], *patches: tuple[Any, str, Any]) -> Mutant:
    several: Any = worlds if isinstance(worlds[0], tuple) else (worlds,)
    return Mutant(rule, invariant, several, patches)


MUTANTS: Mapping[str, Mutant] = {
    mutant.rule: mutant
    for mutant in (
        _mutant("1a a dead kept connection is replaced", "I1", targeted.RELOAD, (pool.Connections, "send", _sent_once)),
        _mutant(
            "1a a half-open kept connection is given up",
            "I1",
            targeted.HALF_OPEN,
            (socket, "_unacknowledged", tuple),
        ),
        _mutant(
            "1b one event is one observation",
            "I5",
            _seeds("blip", 61, 94),
            (breaker.Breaker, "_same_event", lambda *_: False),
        ),
        _mutant(
            "1c the success rate counts events",
            "I5",
            targeted.TWO_RESETS,
            (breaker.Breaker, "_too_low", _all_failures),
        ),
        _mutant(
            "1d a backoff is half of its step at least",
            "I3",
            targeted.SHORT_OUTAGES,
            (learning, "backoff", _full_jitter),
            (rounds, "backoff", _full_jitter),
        ),
        _mutant(
            "1d a chain of one gets three requests",
            "I3",
            _seeds("alone", 39, 49),
            (failover, "ATTEMPTS_OF_ONE", 1),
        ),
        _mutant(
            "2a an endpoint's circuit only orders",
            "I1",
            targeted.REFUSED,
            (CallState, "status_of", _refusing),
        ),
        _mutant(
            "2b the first request to a candidate is free",
            "I3",
            targeted.FAILING_OVER,
            (failover, "following", _charged),
        ),
        _mutant(
            "2c a long cooldown is not waited for",
            "I3",
            _seeds("limited", 20, 60),
            (rounds, "after_cooldown", lambda *_: None),
        ),
        _mutant(
            "2c a long cooldown: once per backoff step",
            "I3",
            _seeds("limited", 20),
            (rounds, "after_cooldown", _asked_once),
        ),
        _mutant("3a the budget waits", "I3", targeted.ONE_RESET, (rounds, "BUDGET_WAIT_SECONDS", 0.0)),
        _mutant("3a the budget waits 10 s", "I4", targeted.ALL_DOWN, (rounds, "BUDGET_WAIT_SECONDS", 3600.0)),
        _mutant(
            "3a the budget bounds the requests",
            "I4",
            ((world(34), None),),
            (memory.MemoryHealth, "affords", lambda *_: True),
            (memory.MemoryHealth, "begin", _uncharged),
        ),
        _mutant(
            "3b successes earn requests",
            IN_AGGREGATE,
            targeted.BROWN_OUT,
            (memory, "EARNED_PER_SUCCESS", 0),
        ),
        _mutant(
            "4a open circuits do not grow",
            "I5",
            _seeds("home", 4, 23),
            (breaker.Breaker, "_probe_seconds", _doubling),
        ),
        _mutant("4b a probe keeps its slot", "I4", _seeds("home", 4, 5), (breaker, "PROBE_SECONDS", 5.0)),
        _mutant(
            "4c a probe goes beside the next model", "I4", targeted.SILENT, (starting, "PROBE_ALONE_SECONDS", 3600.0)
        ),
        _mutant("4c an overtaken probe runs on", "I5", targeted.SLOWER_NOW, (beside, "detached", lambda *_: None)),
        _mutant(
            "4d a circuit that closes starts slowly",
            "I4",
            targeted.RECOVERED,
            (memory.MemoryHealth, "holds_back", lambda *_, **__: False),
        ),
        _mutant(
            "4e the call that would probe asks for the lease",
            "I5",
            targeted.FEW_CALLS,
            (redis.RedisStore, "lease", lambda *_: None),
        ),
        _mutant(
            "4e a call does not wait for a store that does not answer",
            "I7",
            targeted.SILENT_STORE,
            (redis.RedisStore, "_lease", _waits),
        ),
        _mutant(
            "4f one bad line steers no fleet",
            "I5",
            targeted.BAD_LINE,
            (fleet.SharedHealth, "_believed", lambda *_: True),
        ),
        _mutant(
            "4g a time that the user set is kept", "I5", targeted.ANY_ERROR, (breaker.Breaker, "failure", _not_as_told)
        ),
        _mutant(
            "5a a 404 about an item disables nobody",
            "I5",
            _seeds("lost_item", 4, 6),
            (attempt, "from_response", _of_the_model),
        ),
        _mutant(
            "5b a lack is learnt where the message names it",
            "I5",
            targeted.COMBINATION,
            (learning, "blamed", lambda message, needs: list(needs)),
        ),
        _mutant(
            "5b a lack expires",
            "I5",
            targeted.LACKING,
            (learnt, "SECONDS", {**learnt.SECONDS, learnt.Fact.LACKS: 3600.0}),
        ),
        _mutant(
            "5b a success unlearns a lack", "I5", targeted.LACKED, (learnt.LearntFacts, "unlearn", lambda *_: None)
        ),
        _mutant(
            "5c a key that was just accepted is good",
            "I1",
            targeted.AUTH_BLIP,
            (accounts.Accounts, "accepted", lambda *_: False),
        ),
        _mutant(
            "6a deadlines for first tokens are learnt",
            "I1",
            targeted.SILENT_LATER,
            (memory.MemoryHealth, "learnt_first_token", lambda *_: None),
        ),
        _mutant(
            "6b only the user's own deadline ends an attempt",
            "I3",
            targeted.SLOW_ANSWER,
            (timeouts.Timeouts, "first_token", _killed),
        ),
        _mutant(
            "6b a learnt deadline does not hold while another model is late",
            "I4",
            targeted.ALL_SLOW,
            (memory.MemoryHealth, "others_late", lambda *_: False),
        ),
        _mutant(
            "6b at most three attempts at a time",
            "I4",
            targeted.FIVE_SILENT,
            (beside, "MOST_BESIDE", 10),
            (failover, "MOST_BESIDE", 10),
        ),
        _mutant(
            "6c what was overtaken enters the statistics",
            "I5",
            targeted.SLOWER_NOW,
            (memory.MemoryHealth, "outlasted", lambda *_: None),
        ),
        _mutant(
            "6c a model that speaks to others is not silent",
            "I5",
            targeted.SLOW_IN_PARTS,
            (memory.MemoryHealth, "spoke_since", lambda *_: False),
        ),
        _mutant("7 half of a call's time", "I1", targeted.DRIP, (failover, "with_deadlines", _to_the_deadline)),
    )
}
