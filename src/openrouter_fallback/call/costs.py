"""What one call may spend under the client's spend limits, and the booking of what its attempts cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from .. import figures
from ..config.models import OPENROUTER
from ..decision.commands import StartAttempt
from ..errors import FallbackError
from ..failures.kinds import Failure
from ..results import Skipped
from ..routes.candidate import Plan
from ..spending.quotes import CostReservation, Quote, Unaffordable
from .attempt import AttemptReader
from .error_messages import too_dear
from .outcome import Outcome
from .runtime import Call, Runtime
from .summary import was_cut


class CallCosts:
    """Reserves the highest cost of each request before it is sent, and books the cost of each attempt at its end."""

    __slots__ = ("_call", "_priceless", "_reservation", "_runtime", "limited", "refused")

    def __init__(self, runtime: Runtime, call: Call) -> None:
        self._runtime = runtime
        self._call = call
        self._reservation = CostReservation(runtime.ledger, call.request.history.messages, call.request.params)
        self._priceless = False
        self.limited = self._reservation.limited
        """Whether the client has a spend limit."""
        self.refused = False
        """Whether a request was not sent, since its cost exceeds a spend limit."""

    # Before a request

    def affordable(self, plan: Plan) -> Plan:
        """The plan without the candidates that the spend limits exclude. Raises `SpendLimitError` if none is left."""
        if not self.limited:
            return plan
        quotes = [(one, self._reservation.quote(one.info, one.params)) for one in plan.candidates]
        kept = tuple(one for one, found in quotes if isinstance(found, Quote))
        refused = [(one, found) for one, found in quotes if isinstance(found, Unaffordable)]
        beyond = [Skipped(one.key, found.reason) for one, found in refused]
        self._priceless = any(found.priceless for _, found in refused)
        if not kept and beyond:
            raise self.error((*beyond, *plan.excluded))
        return replace(plan, candidates=kept, excluded=(*plan.excluded, *beyond))

    def withheld(self, start: StartAttempt, outcome: Outcome) -> str | None:
        """Reserve the highest cost of a request. Returns why the request must not be sent, or None.

        A request that continues the delivered text sends that text, too.
        """
        if not self.limited:
            return None
        candidate = start.candidate
        delivered = (outcome.text, outcome.written) if start.way is not None else ("", 0)
        why = self._reservation.hold(start.number, candidate.info, candidate.params, *delivered)
        if why is None:
            return None
        self.refused, self._priceless = True, self._priceless or why.priceless
        return why.reason

    def longest(self, start: StartAttempt) -> int | None:
        """The longest answer in tokens that the spend limits and the account allow; None: as the caller says."""
        bounds = self._reservation.bounds.get(start.number), start.max_tokens
        return min((bound for bound in bounds if bound is not None), default=None)

    def error(self, skipped: Sequence[Skipped]) -> FallbackError:
        """The error of a call whose `skipped` models all exceed a spend limit, or are skipped for another reason."""
        runtime = self._runtime
        return too_dear(skipped, runtime.ledger.spend(), runtime.wall(), priceless=self._priceless)

    # After a request

    def detach(self, number: int) -> None:
        """The attempt outlives the call: `settle` does nothing for it until `attach`."""
        self._reservation.detached.add(number)

    def attach(self, number: int) -> bool:
        """The detached attempt has ended: now `settle` it. Returns False if it was settled already."""
        detached = self._reservation.detached
        if number not in detached:
            return False
        detached.discard(number)
        return True

    def settle(
        self,
        number: int,
        reader: AttemptReader,
        failure: Failure | None,
        now: float,
        usd: Decimal | None,
        estimated: bool,
    ) -> None:
        """Book the cost of an attempt: `usd`, which may be an estimate. For a cut one, look up the bill later."""
        reservation = self._reservation
        if number in reservation.detached:
            return
        if not (self.limited and was_cut(reader, failure)):
            reservation.settle(number, usd, estimated=estimated)
            return
        start, runtime = reader.start, self._runtime
        seconds, candidate = now - start.permit.started, start.candidate
        booked = reservation.settle_cut(number, usd, candidate.info, candidate.params, seconds)
        if candidate.target.endpoint == OPENROUTER and runtime.bills is not None:
            destination, generation = self._call.destination(candidate), figures.name(reader.generation_id)
            runtime.bills.look_up(destination, generation, booked)

    def close(self) -> None:
        """The call has ended: release all reserved costs, except those of detached attempts."""
        self._reservation.close()
