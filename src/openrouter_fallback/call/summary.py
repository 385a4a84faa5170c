"""An attempt as the caller and the events are told of it, and what it cost."""

from __future__ import annotations

from decimal import Decimal

from .. import figures
from ..catalog.prices import cost
from ..failures.kinds import Failure
from ..request.request import Request
from ..results import Attempt, Usage
from ..routes.needs import written_tokens
from .attempt import AttemptReader


def attempt_of(
    reading: AttemptReader, failure: Failure | None, now: float, usd: Decimal | None, estimated: bool
) -> Attempt:
    """The attempt that `reading` carried out, which ends `now` with `failure` or with an answer."""
    ask = reading.ask
    started = ask.ticket.started
    assembled = reading.completion.raw if reading.completion is not None else None
    generation = reading.generation_id
    return Attempt(
        model=ask.candidate.key,
        endpoint=ask.candidate.target.endpoint,
        kind=failure.kind if failure is not None else None,
        seconds=now - started,
        first_token=None if reading.first_token_at is None else reading.first_token_at - started,
        status=failure.status if failure is not None and failure.status is not None else reading.status,
        message=failure.message if failure is not None else "",
        provider=failure.provider
        if failure is not None
        else figures.name(assembled.get("provider"))
        if assembled
        else None,
        generation_id=figures.name(generation),
        cost=None if usd is None else float(usd),
        probe=ask.ticket.probe,
        estimated=estimated,
        notes=reading.request.handed(ask.candidate, ask.form).notes,
    )


def cost_of(reading: AttemptReader, request: Request) -> tuple[Decimal | None, bool]:
    """USD of an attempt, and whether that is an estimate: it produced tokens and did not say what they cost."""
    known = reading.usage if isinstance(reading.usage, dict) else None
    reported = figures.cost(known)
    if reported is not None:
        return Decimal(str(reported)), False
    info = reading.ask.candidate.info
    if reading.first_token_at is None or info is None:
        return None, False
    usage = Usage.read(known) or Usage(request.tokens(), written_tokens(reading.partial, reading.said))
    estimate = cost(info, usage.prompt_tokens, usage.completion_tokens)
    return estimate, estimate is not None
