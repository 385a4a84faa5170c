"""The public record of an attempt, for the caller and the events, and its cost."""

from __future__ import annotations

from decimal import Decimal

from .. import figures
from ..answer.decoder import SEAM_LOST
from ..answer.verdict import HALF_END, UNSURE_END
from ..catalog.prices import cost
from ..failures.kinds import Failure, FailureKind, TransportFault
from ..results import Attempt, Usage, text_of
from ..routes.needs import written_tokens
from .attempt import AttemptReader

_CLOSED_BY_US = frozenset({FailureKind.CANCELLED, FailureKind.TIMED_OUT})
_BROKEN_OFF: frozenset[str] = frozenset(
    {
        TransportFault.RESET_BEFORE_STATUS,
        TransportFault.CUT_AFTER_STATUS,
        TransportFault.NO_FINISH,
        TransportFault.UNDECODABLE,
        TransportFault.OVERSIZED,
        SEAM_LOST,
        UNSURE_END,
        HALF_END,
    }
)


def attempt_of(
    reader: AttemptReader, failure: Failure | None, now: float, usd: Decimal | None, estimated: bool
) -> Attempt:
    """The record of the attempt of `reader`, which ends `now` with `failure` or with an answer."""
    start = reader.start
    started = start.permit.started
    assembled = reader.completion.raw if reader.completion is not None else None
    generation = reader.generation_id
    return Attempt(
        model=start.candidate.key,
        endpoint=start.candidate.target.endpoint,
        kind=failure.kind if failure is not None else None,
        seconds=now - started,
        first_token=None if reader.first_token_at is None else reader.first_token_at - started,
        status=failure.status if failure is not None and failure.status is not None else reader.status,
        message=failure.message if failure is not None else "",
        provider=failure.provider
        if failure is not None
        else figures.name(assembled.get("provider"))
        if assembled
        else None,
        generation_id=figures.name(generation),
        cost=None if usd is None else float(usd),
        probe=start.permit.probe,
        estimated=estimated,
        resent=reader.resent,
        notes=reader.request.handed(start.candidate, start.form).notes,
    )


def tokens_of(reader: AttemptReader) -> tuple[int, int]:
    """The tokens of an attempt's prompt and of its answer, reported or estimated.

    The only estimate of an attempt's tokens in this library: from the request's text and from the answer so far.
    """
    return _tokens(reader, reader.usage)


def _tokens(reader: AttemptReader, usage: object) -> tuple[int, int]:
    known = (Usage.read(usage) if usage is not None else None) or Usage()
    return known.prompt_tokens or reader.request.tokens(), known.completion_tokens or _written(reader)


def _written(reader: AttemptReader) -> int:
    completion, tokens, (text, said) = reader.completion, reader.tokens, reader.delivered()
    pieces = max(said, tokens)
    if completion is None:
        return written_tokens(text, pieces)
    messages = [choice.get("message") or {} for choice in completion.raw["choices"]]
    written = "".join(f"{text_of(one.get('content'))}{text_of(one.get('reasoning'))}" for one in messages)
    calls = "".join(call.arguments_json for call in completion.tool_calls)
    delivered = 0 if reader.splice is None else len(reader.splice.delivered)
    return written_tokens(f"{written[delivered:]}{calls}", pieces)


def cost_of(reader: AttemptReader) -> tuple[Decimal | None, bool]:
    """The USD of an attempt, and whether they are an estimate: the attempt produced tokens and reported no cost."""
    silent = reader.first_token_at is None and reader.completion is None
    usage = reader.usage
    reported = None if usage is None else figures.cost(usage)
    if reported is not None:
        return Decimal(str(reported)), False
    info = None if silent else reader.start.candidate.info
    if info is None:
        return None, False
    estimate = cost(info, *_tokens(reader, usage))
    return estimate, estimate is not None


def was_cut(reader: AttemptReader, failure: Failure | None) -> bool:
    """Whether an attempt was cut without usage, so that its server may have generated more than was received.

    A server that reports an error, by status or in the stream, has stopped. A request that never arrived costs nothing.
    """
    if failure is None or (reader.status is not None and not 200 <= reader.status < 300):
        return False
    odd_event = failure.code == TransportFault.NOT_JSON and reader.tokens > 0  # without a token, it is no answer at all
    if failure.kind not in _CLOSED_BY_US and failure.code not in _BROKEN_OFF and not odd_event:
        return False
    usage = reader.usage
    return usage is None or Usage.read(usage) is None
