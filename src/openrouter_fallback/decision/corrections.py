"""Corrections: the same model is called again at once, with the same request in another form.

A correction answers a refusal of something that this library has added (a prefill, a form of history, a parameter),
or an account that can pay only for a shorter answer. The refusal is no failure of the model and uses up no attempt.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..answer.seam import ContinuationMode
from ..failures.classifier import refused_parameter
from ..failures.kinds import Failure, FailureKind
from ..failures.policy import Action
from ..health import Fact
from ..request.handover import Form
from ..spending.quotes import LEAST_TOKENS
from .candidates import ActiveAttempt, CallState

_REFUSALS = frozenset({FailureKind.REJECTED, FailureKind.INVALID_REQUEST, FailureKind.UNSUPPORTED})
"""Kinds that a refused prefill may have: providers word this refusal differently."""


UNSIGNED_SECONDS = 600.0
"""How long `Form.UNSIGNED` is remembered: an invalid signature concerns one conversation, other forms the model."""


@dataclass(frozen=True, slots=True)
class ByInstruction:
    """Continue the delivered text by an instruction: the endpoint has refused the prefill."""


@dataclass(frozen=True, slots=True)
class Without:
    """Omit a parameter that the endpoint refuses."""

    parameter: str


@dataclass(frozen=True, slots=True)
class InForm:
    """Send the history in a stricter form."""

    form: Form


@dataclass(frozen=True, slots=True)
class AtMost:
    """Request at most as many tokens as the account can pay for."""

    tokens: int


Correction = ByInstruction | Without | InForm | AtMost


def correction(
    call: CallState, attempt: ActiveAttempt, failure: Failure, stricter: Form | None = None
) -> Correction | None:
    """The correction that a failed attempt needs; None: the attempt has failed for another reason.

    `stricter`: the form of history that the model may accept, after a refusal that names a part of the history.
    """
    start = attempt.start
    if not attempt.token:
        if start.way is ContinuationMode.PREFILL and failure.status == 400 and failure.kind in _REFUSALS:
            return ByInstruction()
        parameter = None if call.delivered else refused_parameter(failure, start.without)
        if parameter is not None:
            return Without(parameter)
        if stricter is not None:
            return InForm(stricter)
    return _shorter(call, attempt, failure)


def _shorter(call: CallState, attempt: ActiveAttempt, failure: Failure) -> AtMost | None:
    """Once per model, and only if the user has not set the length of its answer."""
    state, tokens = attempt.state, failure.affordable_tokens or 0
    if tokens < LEAST_TOKENS or state.max_tokens is not None or call.traits.bounded or state.candidate.bounded:
        return None
    return AtMost(tokens) if call.policy.rule(failure).action is Action.AFFORDABLE else None


def correct(call: CallState, attempt: ActiveAttempt, change: Correction, now: float) -> None:
    """Apply a correction to the candidate's next request, and learn from the refusal."""
    health, state = call.health, attempt.state
    health.endpoint_answered(attempt.permit, now)
    health.release(attempt.permit)
    match change:
        case ByInstruction():
            state.way = ContinuationMode.INSTRUCT
            health.facts.learn(state.candidate.key, Fact.CONTINUES, now, value=state.way)
        case Without(parameter):
            health.facts.learn(state.candidate.taker, Fact.REFUSES, now, subject=parameter)
        case InForm(form):
            state.form = form
        case AtMost(tokens):
            state.max_tokens = tokens


def confirm(call: CallState, attempt: ActiveAttempt, now: float) -> None:
    """The model has answered: remember the form of history that it accepted after it had refused another one."""
    state = attempt.state
    if state.form is not None:
        seconds = UNSIGNED_SECONDS if state.form is Form.UNSIGNED else None
        call.health.facts.learn(state.candidate.key, Fact.FORM, now, value=state.form, seconds=seconds)
