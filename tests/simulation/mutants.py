"""The rules of health and failover, each switched off: what the simulator must notice.

A mutant names the invariant that it breaks, and worlds in which it does. Without the mutant nothing is broken there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from openrouter_fallback.call import attempt
from openrouter_fallback.decision import failover, rounds
from openrouter_fallback.failures import classifier
from openrouter_fallback.failures.kinds import Failure, FailureKind
from openrouter_fallback.health import breaker


def _of_the_model(status: int, *args: Any, **more: Any) -> Failure:
    """Every 404 means that the model does not exist."""
    if status == 404:
        return Failure(FailureKind.NOT_FOUND, "not found", status)
    return classifier.from_response(status, *args, **more)


@dataclass(frozen=True)
class Mutant:
    """One rule without which an `invariant` breaks: the `patches` are (object, name, value)."""

    rule: str
    invariant: str
    shape: str
    seeds: tuple[int, ...]
    patches: tuple[tuple[Any, str, Any], ...]

    @contextmanager
    def alive(self) -> Iterator[None]:
        with ExitStack() as stack:
            for owner, name, value in self.patches:
                stack.enter_context(mock.patch.object(owner, name, value))
            yield


def _doubling(one: breaker.Breaker) -> float:
    longest: float = min(10.0 * 2.0 ** min(one.trips + 1, 9), one.rules.longest_open)
    return longest * one._spread()


MUTANTS: Mapping[str, Mutant] = {
    mutant.rule: mutant
    for mutant in (
        Mutant(
            "one event is one observation",
            "I5",
            "blip",
            (61, 94),
            ((breaker.Breaker, "_same_event", lambda *_: False),),
        ),
        Mutant("a chain of one gets three requests", "I3", "alone", (39, 49), ((failover, "ATTEMPTS_OF_ONE", 1),)),
        Mutant(
            "a long cooldown is not waited for",
            "I3",
            "limited",
            (20, 60),
            ((rounds, "after_cooldown", lambda *_: None),),
        ),
        Mutant("the budget waits", "I3", "blip", (21, 82), ((rounds, "BUDGET_WAIT_SECONDS", 0.0),)),
        Mutant("open circuits do not grow", "I5", "home", (4, 23), ((breaker.Breaker, "_probe_seconds", _doubling),)),
        Mutant("a probe keeps its slot", "I4", "home", (4, 5), ((breaker, "PROBE_SECONDS", 5.0),)),
        Mutant(
            "a 404 about an item disables nobody",
            "I5",
            "lost_item",
            (4, 6),
            ((attempt, "from_response", _of_the_model),),
        ),
    )
}
