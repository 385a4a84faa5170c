"""What each kind of failure leads to: one table, and the user's overrides.

The table is the documentation: `SMART` is read by the machine in `decision/`, by the documentation and by the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from .kinds import REDIRECT, Failure, FailureKind

Verdict = Literal["next", "raise", "retry"]
"""What `on_failure` may say: the next model, raise at once, or the same model once more and then the next."""


class Action(StrEnum):
    """What the machine does after a failed attempt."""

    NEXT = "next"
    RETRY = "retry"
    """The same model once more after a jittered backoff, then the next."""
    RECONNECT = "reconnect"
    """Wait one second, the same model once more, then models of other endpoints first."""
    AFFORDABLE = "affordable"
    """Free models, models of unknown price, then models of other endpoints."""
    OTHER_ACCOUNT = "other_account"
    """Only models that are reached with another key, or free ones where the account is empty; none: raise."""
    QUEUE = "queue"
    """The same model as soon as this machine can, without using up an attempt."""
    RAISE = "raise"
    USE_UP = "use_up"
    """The same model until its attempts are used up, then the next (`policy: any_error`)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: what to do, whose health it hurts, and whether a later round may ask the model again."""

    action: Action
    hurts: Literal["model", "endpoint"] | None = None
    again: bool = False
    disables: bool = False


_K = FailureKind
SMART: Mapping[FailureKind, Rule] = {
    _K.RATE_LIMITED: Rule(Action.NEXT, again=True),
    _K.OVERLOADED: Rule(Action.NEXT, hurts="model", again=True),
    _K.UNAVAILABLE: Rule(Action.RETRY, hurts="model", again=True),
    _K.TIMED_OUT: Rule(Action.NEXT, hurts="model", again=True),
    _K.CONNECTION: Rule(Action.RECONNECT, hurts="endpoint", again=True),
    _K.BAD_ANSWER: Rule(Action.NEXT, hurts="model", again=True),
    _K.CONTEXT_TOO_LONG: Rule(Action.NEXT),
    _K.REJECTED: Rule(Action.NEXT),
    _K.MODERATION: Rule(Action.NEXT),
    _K.CONTENT_POLICY: Rule(Action.RAISE),
    _K.NOT_FOUND: Rule(Action.NEXT, disables=True),
    _K.UNSUPPORTED: Rule(Action.NEXT),
    _K.CREDITS: Rule(Action.AFFORDABLE),
    _K.AUTH: Rule(Action.OTHER_ACCOUNT),
    _K.FORBIDDEN: Rule(Action.NEXT),
    _K.GUARDRAIL: Rule(Action.RAISE),
    _K.INVALID_REQUEST: Rule(Action.RAISE),
    _K.LOCAL: Rule(Action.QUEUE),
    _K.CANCELLED: Rule(Action.RAISE),
}

_DISABLE_NOTHING = frozenset(
    {_K.INVALID_REQUEST, _K.AUTH, _K.CREDITS, _K.CONTENT_POLICY, _K.CONTEXT_TOO_LONG, _K.LOCAL, _K.CANCELLED}
)
_KEPT_IN_ANY_ERROR = frozenset({_K.CANCELLED, _K.LOCAL})

ANY_ERROR: Mapping[FailureKind, Rule] = {
    kind: rule
    if kind in _KEPT_IN_ANY_ERROR
    else Rule(Action.USE_UP, hurts=None if kind in _DISABLE_NOTHING else "model", disables=kind not in _DISABLE_NOTHING)
    for kind, rule in SMART.items()
}

_OVERRIDES: Mapping[Verdict, Action] = {"next": Action.NEXT, "raise": Action.RAISE, "retry": Action.RETRY}

_SAME_AGAIN = frozenset({Action.RETRY, Action.RECONNECT})
"""What `x-should-retry: false` rules out."""

# A local failure that passes by itself; any other (a closed loop, a bug) is raised at once.
_PASSING = frozenset({"no_files", "pool_exhausted"})


def _is_endpoints_bound(failure: Failure) -> bool:
    """Whether a request has more bytes than this endpoint, or the proxy before it, takes."""
    return failure.kind is _K.INVALID_REQUEST and failure.status == 413


@dataclass(frozen=True, slots=True)
class Policy:
    """The table in force for a client: `smart` or `any_error`, with the user's `on_failure` on top."""

    rules: Mapping[FailureKind, Rule]
    any_error: bool = False

    def rule(self, failure: Failure) -> Rule:
        """The row for this failure."""
        rule = self.rules[failure.kind]
        if failure.retry is False:
            rule = replace(rule, action=Action.NEXT if rule.action in _SAME_AGAIN else rule.action, again=False)
        if failure.scope == "account" and rule.action is Action.AFFORDABLE:
            return replace(rule, action=Action.OTHER_ACCOUNT)
        if failure.harmless and (rule.hurts or rule.disables) and not (self.any_error and failure.kind is _K.NOT_FOUND):
            return replace(rule, hurts=None, disables=False)
        if rule.action is Action.RAISE and (failure.code == REDIRECT or _is_endpoints_bound(failure)):
            return replace(rule, action=Action.OTHER_ACCOUNT)  # the endpoint's own affair: others are still asked
        if rule.action is Action.QUEUE and failure.code not in _PASSING:
            return replace(rule, action=Action.RAISE)
        return rule


def policy(name: Literal["smart", "any_error"], on_failure: Mapping[FailureKind, Verdict] | None = None) -> Policy:
    """Build the table for `name` with single verdicts overridden."""
    any_error = name == "any_error"
    rules = dict(ANY_ERROR if any_error else SMART)
    for kind, verdict in (on_failure or {}).items():
        rules[kind] = replace(rules[kind], action=_OVERRIDES[verdict])
    return Policy(rules, any_error)
