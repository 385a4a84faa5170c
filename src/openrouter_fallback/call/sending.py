"""The requests of one call: the reader of each attempt, with what it sends and how its answer is decoded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from ..answer.decoder import AnswerDecoder
from ..answer.demands import Demands
from ..answer.seam import ContinuationMode, SeamJoiner
from ..decision.commands import StartAttempt
from ..http.protocol import Exchange
from ..request.request import Request
from ..routes.needs import most_tokens, wants_json
from .attempt import AttemptReader
from .costs import CallCosts
from .outcome import Outcome
from .runtime import Call, Runtime


class Sender:
    """Makes the readers of one call's attempts. `deliver`: the call is streamed to the caller."""

    __slots__ = ("_call", "_costs", "_deliver", "_outcome", "_runtime")

    def __init__(self, runtime: Runtime, call: Call, outcome: Outcome, costs: CallCosts, *, deliver: bool) -> None:
        self._runtime = runtime
        self._call = call
        self._outcome = outcome
        self._costs = costs
        self._deliver = deliver

    def reader(self, start: StartAttempt) -> AttemptReader:
        """The reader that carries out a `StartAttempt`. It sends the request when it is first read."""
        call, runtime = self._call, self._runtime
        request, splice = call.request, None
        if start.way is not None:
            text, written = self._outcome.text, self._outcome.written
            request = request.continued(text, start.way, written)
            splice = SeamJoiner(text, trusted=start.way is start.candidate.continues is ContinuationMode.PREFILL)
        return AttemptReader(
            start,
            request,
            partial(self._send, start, request),
            partial(_decoder, start, request, splice, self._deliver),
            runtime.clock,
            runtime.wall,
            deliver=self._deliver,
            total_counts=call.limits.wall_clock,
            splice=splice,
            redactor=call.redactor,
        )

    def _send(self, start: StartAttempt, request: Request, resent: Callable[[], None]) -> Awaitable[Exchange]:
        """Send the request of an attempt."""
        destination = self._call.destination(start.candidate)
        body = request.body(start.candidate, start.ignore, self._costs.longest(start), start.without, start.form)
        resend = request.traits.idempotent
        return self._runtime.transport.open(destination.url, destination.headers, body, resend=resend, resent=resent)


def _decoder(
    start: StartAttempt,
    request: Request,
    splice: SeamJoiner | None,
    deliver: bool,
    headers: Mapping[str, str],
    demands: Demands,
) -> AnswerDecoder:
    """The decoder of the answer to an attempt's request."""
    candidate, own = start.candidate, start.candidate.params
    return AnswerDecoder(
        headers,
        deliver=deliver,
        wants_json=request.wants_json or (bool(own) and wants_json(own)),
        choices=wanted if isinstance(wanted := request.params.get("n"), int) else 1,
        max_tokens=most_tokens(request.params, own) if own else request.max_tokens,
        model=candidate.model,
        demands=demands,
        offered=partial(request.offered, candidate, start.form),
        prepare=partial(request.deliver, candidate=candidate, form=start.form),
        splice=splice,
    )
