"""The types between the machine of one call and its driver: the limits of the call, and the commands."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from ..answer.seam import ContinuationMode
from ..failures.kinds import Failure
from ..health import Permit
from ..request.handover import Form
from ..results import Skipped
from ..routes.candidate import Candidate


@dataclass(frozen=True, slots=True)
class Hedging:
    """When a second candidate is called beside a silent one: after `after` seconds, or after a `quantile` of the
    model's times to first token. At most `max_parallel` attempts are under way at once.
    """

    after: float | None = None
    quantile: float = 0.95
    max_parallel: int = 2


@dataclass(slots=True)
class Limits:
    """The time a call may take, in seconds.

    `total` bounds the time until the caller has an answer; with `wall_clock` the whole call, also while tokens flow.
    `whole`: the call is not streamed to the caller. The others are None if the user has not set them.
    """

    total: float = 300.0
    wall_clock: bool = True
    whole: bool = False
    first_token: float | None = None
    stall: float | None = None
    attempt: float | None = None
    hedge: Hedging | None = None


@dataclass(slots=True)
class StartAttempt:
    """Send the request to `candidate`. Deadlines are times of the clock; `stall` and `tool_stall` are seconds.

    `ignore` names providers that OpenRouter should not use for this attempt; `way`: how to continue the delivered text;
    `hedges`: another attempt is under way. `drip_by`: a stream that drips is given up then, since others can continue
    it; None: it is not. `without`: parameters that the endpoint refuses; `max_tokens`: the longest
    answer that the account can pay for; `form`: the form of the history.
    """

    candidate: Candidate
    number: int
    permit: Permit
    first_token_by: float
    total_by: float
    attempt_by: float | None
    stall: float
    tool_stall: float
    ignore: tuple[str, ...] = ()
    way: ContinuationMode | None = None
    hedges: bool = False
    without: frozenset[str] = frozenset()
    max_tokens: int | None = None
    form: Form = Form.NORMAL
    drip_by: float | None = None

    def later(self, seconds: float) -> StartAttempt:
        """The same command with its deadlines moved by `seconds`, for which the consumer has held a piece."""
        return replace(
            self,
            first_token_by=self.first_token_by + seconds,
            total_by=self.total_by + seconds,
            attempt_by=None if self.attempt_by is None else self.attempt_by + seconds,
            drip_by=None if self.drip_by is None else self.drip_by + seconds,
        )


@dataclass(slots=True)
class SleepUntil:
    """Call no model until `until` (a time of the clock), then send `woke`. `total_by`: the call's deadline."""

    until: float
    total_by: float = math.inf


@dataclass(frozen=True, slots=True)
class KeepWaiting:
    """Start no attempt: another attempt of this call is under way."""


@dataclass(frozen=True, slots=True)
class Succeed:
    """The call is answered."""


@dataclass(slots=True)
class Fail:
    """The call has failed. `why` says how; `failure` is the deciding failure; `retry_after`: seconds, if known.

    `over_budget`: a model could be called again, but the retry budget is exhausted.
    """

    why: Literal["raised", "exhausted", "interrupted", "deadline"]
    failure: Failure | None = None
    retry_after: float | None = None
    skipped: tuple[Skipped, ...] = ()
    over_budget: bool = False


Command = StartAttempt | SleepUntil | KeepWaiting | Succeed | Fail
