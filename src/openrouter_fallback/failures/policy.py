"""The policy: a table of what the machine does after each kind of failure, and the user's overrides.

The machine in `decision/`, the documentation and the tests all read the table `SMART`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

from .kinds import REDIRECT, Failure, FailureKind

Verdict = Literal["next", "raise", "retry"]
"""The values of `on_failure`: call the next model, raise at once, or retry the same model once and then the next."""


class Action(StrEnum):
    """The actions of the machine after a failed attempt."""

    NEXT = "next"
    RETRY = "retry"
    """Retry the same model once after a jittered backoff, then call the next model."""
    RECONNECT = "reconnect"
    """Retry the same model once after one second, then call models of other endpoints first."""
    AFFORDABLE = "affordable"
    """Call free models, then models of unknown price, then models of other endpoints."""
    OTHER_ACCOUNT = "other_account"
    """Call only models with another API key, and free models if the account has no credits. Raise if there are none."""
    QUEUE = "queue"
    """Call the same model as soon as this process can open a connection; the failed attempt does not count."""
    RAISE = "raise"
    USE_UP = "use_up"
    """Retry the same model until its attempts are exhausted, then call the next model (`policy: any_error`)."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of the table.

    - `action`: what the machine does next.
    - `hurts`: the failure counts against the health of the model or of the endpoint; None: of neither.
    - `again`: a later round may call the model again.
    - `disables`: the failure opens the model's circuit at once.
    """

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
"""The actions that `x-should-retry: false` forbids."""

# The codes of temporary local failures. Any other local failure (a closed event loop, a bug) is raised at once.
_PASSING = frozenset({"no_files", "pool_exhausted"})


def _is_endpoints_bound(failure: Failure) -> bool:
    """Whether a request has more bytes than this endpoint, or the proxy before it, takes."""
    return failure.kind is _K.INVALID_REQUEST and failure.status == 413


@dataclass(frozen=True, slots=True)
class Policy:
    """The table of a client: `smart` or `any_error`, with the overrides of the user's `on_failure`."""

    rules: Mapping[FailureKind, Rule]
    any_error: bool = False

    def rule(self, failure: Failure) -> Rule:
        """The row for this failure, adjusted by its `retry`, `scope`, `harmless` and `code`."""
        rule = self.rules[failure.kind]
        if failure.retry is False:
            rule = replace(rule, action=Action.NEXT if rule.action in _SAME_AGAIN else rule.action, again=False)
        if failure.scope == "account" and rule.action is Action.AFFORDABLE:
            return replace(rule, action=Action.OTHER_ACCOUNT)
        if failure.harmless and (rule.hurts or rule.disables) and not (self.any_error and failure.kind is _K.NOT_FOUND):
            return replace(rule, hurts=None, disables=False)
        if rule.action is Action.RAISE and (failure.code == REDIRECT or _is_endpoints_bound(failure)):
            return replace(rule, action=Action.OTHER_ACCOUNT)  # this endpoint only: other endpoints can still answer
        if rule.action is Action.QUEUE and failure.code not in _PASSING:
            return replace(rule, action=Action.RAISE)
        return rule


def policy(name: Literal["smart", "any_error"], on_failure: Mapping[FailureKind, Verdict] | None = None) -> Policy:
    """Build the table `name`, with the actions of some kinds overridden by `on_failure`."""
    any_error = name == "any_error"
    rules = dict(ANY_ERROR if any_error else SMART)
    for kind, verdict in (on_failure or {}).items():
        rules[kind] = replace(rules[kind], action=_OVERRIDES[verdict])
    return Policy(rules, any_error)
