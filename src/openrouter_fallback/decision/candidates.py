"""The state of one call, of its candidates and of its active attempts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..answer.seam import ContinuationMode
from ..failures.kinds import Failure, FailureKind
from ..failures.policy import Policy, Rule
from ..health import Availability, AvailabilityStatus, Fact, MemoryHealth, Permit
from ..request.handover import Form, rule_for
from ..routes.candidate import Candidate
from ..routes.needs import RequestTraits
from .commands import Limits, StartAttempt
from .timeouts import Timeouts

ANSWER_SECONDS = 1.0
"""The most seconds before a call's deadline that count as too few for an answer."""
_REFUSED_FOR_NOW = frozenset(
    {FailureKind.OVERLOADED, FailureKind.UNAVAILABLE, FailureKind.RATE_LIMITED, FailureKind.CONNECTION}
)
"""Kinds of failures that come at once and may pass. A model that stalled could overtake a slow one by a first token."""


class CandidateState:
    """The state of one candidate within one call."""

    __slots__ = (
        "active",
        "attempts",
        "backoff_until",
        "candidate",
        "excluded",
        "failed_mid_stream",
        "failure",
        "form",
        "held_back",
        "max_tokens",
        "most_attempts",
        "pending_penalty",
        "permit",
        "ready_at",
        "retried",
        "way",
        "why",
    )

    def __init__(self, candidate: Candidate, most_attempts: int | None = None) -> None:
        self.candidate = candidate
        self.most_attempts = candidate.attempts if most_attempts is None else most_attempts
        self.attempts = 0
        self.failure: Failure | None = None
        self.ready_at = 0.0
        self.backoff_until = 0.0
        self.held_back: bool | None = None
        self.retried = False
        self.excluded = False
        self.why = ""
        self.active = 0
        """The number of active attempts at this candidate."""
        self.pending_penalty: Rule | None = None
        self.permit: Permit | None = None
        self.way: ContinuationMode | None = None
        """How the table of rules says that the model continues a text; None: not looked up yet."""
        self.form: Form | None = None
        self.failed_mid_stream = False
        self.max_tokens: int | None = None

    @property
    def exhausted(self) -> bool:
        """Whether the candidate is excluded from this call or has used all its attempts."""
        return self.excluded or self.attempts >= self.most_attempts


@dataclass(slots=True, eq=False)
class ActiveAttempt:
    """An attempt under way. `reached`: the endpoint has sent an HTTP status; `token`: the first token has come.

    Another model is called beside this attempt at `hedge_at` (the user's `hedge`), `doubt_at` (the first token is
    overdue), `probe_at` (the attempt is a probe) and `half_at` (half of the call's time has passed without a complete
    answer). Each is None once it has passed. `late`: `half_at` has passed; `probing`: `probe_at` has passed.
    """

    state: CandidateState
    start: StartAttempt
    hedge_at: float | None = None
    doubt_at: float | None = None
    half_at: float | None = None
    probe_at: float | None = None
    late: bool = False
    probing: bool = False
    reached: bool = False
    token: bool = False

    @property
    def permit(self) -> Permit:
        """The attempt's admission."""
        return self.start.permit


@dataclass(slots=True, eq=False)
class CallState:
    """The state that the parts of one call's machine share. Times are times of the clock.

    `started` counts the attempts, `queued` those of them that found a local server's queue full. `doubtful`: an attempt
    is overdue, so that others need not wait for it; `to_the_end`: half of the call's time is over, and the first whole
    answer wins. `later_at`: when a candidate beside those under way may be called next. `unpaid_since`: since when the
    call waits for the retry budget, and `unpaid_seconds`: how long it did so before; `waits_on`: one of its models has
    answered since, so that it waits once more; `over_budget`: it may fail for the budget. `overdue`: the deadlines that
    attempts, by number, have missed while they went on.
    """

    candidates: list[CandidateState]
    policy: Policy
    health: MemoryHealth
    limits: Limits
    traits: RequestTraits
    random: Callable[[], float]
    deadline: float
    timing: Timeouts = field(init=False)
    active: dict[int, ActiveAttempt] = field(default_factory=dict)
    permits: dict[str, Permit] = field(default_factory=dict)
    overdue: dict[int, str] = field(default_factory=dict)
    started: int = 0
    queued: int = 0
    delivered: bool = False
    only_prefill: bool = False
    doubtful: bool = False
    to_the_end: bool = False
    over_budget: bool = False
    waits_on: bool = False
    later_at: float | None = None
    unpaid_since: float | None = None
    unpaid_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.timing = Timeouts(self.limits, self.traits, self.health)

    @property
    def side_by_side(self) -> bool:
        """Whether two models may be called at a time without a `hedge` of the user."""
        return self.traits.idempotent and not self.policy.any_error

    @property
    def others_wanted(self) -> bool:
        """Whether another candidate may be called now: an active attempt is overdue, or a probe past its `probe_at`."""
        return self.doubtful or any(attempt.probing for attempt in self.active.values())

    @property
    def first_whole_wins(self) -> bool:
        """Whether a first token ends no other attempt: the answer is delivered whole, and a first token is overdue.

        The overdue model may still answer where the faster one breaks off. Hedges and probes end at the first token.
        """
        if self.to_the_end:
            return True
        beside = self.limits.whole and self.doubtful and self.limits.hedge is None
        return beside and not any(attempt.probing for attempt in self.active.values())

    @property
    def latest_wait(self) -> float:
        """The last end of a wait that leaves time for an answer: a twentieth of the call's time, a second at most."""
        return self.deadline - min(ANSWER_SECONDS, 0.05 * self.limits.total)

    @property
    def begun(self) -> bool:
        """Whether an active attempt has its first token."""
        return any(attempt.token for attempt in self.active.values())

    @property
    def committed(self) -> bool:
        """Whether an active attempt has its first token and the first token wins: no model is called beside it."""
        return self.begun and not self.to_the_end

    def status_of(self, state: CandidateState, now: float) -> AvailabilityStatus:
        """The availability of a candidate. An endpoint's open circuit only matters if another endpoint is available."""
        candidate = state.candidate
        at = self.health.status_of(candidate.target, now, self.traits.needs)
        if candidate.unfit:
            at = candidate.fitting(at)
        if at.unreachable and not self.reachable_elsewhere(state, now):
            return AvailabilityStatus(Availability.READY, unreachable=True)
        return at

    def reachable_elsewhere(self, state: CandidateState, now: float) -> bool:
        """Whether a candidate of another endpoint may be called."""
        endpoint = state.candidate.target.endpoint
        return any(
            other.candidate.target.endpoint != endpoint
            and self.open(other)
            and self.health.status_of(other.candidate.target, now).admits
            for other in self.candidates
        )

    def all_circuits_open(self, now: float) -> bool:
        """Whether the circuit of every candidate that is not excluded is open."""
        candidates = [state for state in self.candidates if not state.excluded]
        return all(self.status_of(state, now).availability is Availability.CIRCUIT_OPEN for state in candidates)

    def open(self, state: CandidateState) -> bool:
        """Whether the candidate may be called (again), and can continue the delivered text, if there is any."""
        return not state.exhausted and (not self.delivered or self._can_continue(state))

    def _can_continue(self, state: CandidateState) -> bool:
        """Whether this model can continue the delivered text. Only where a prefill is needed does its way matter."""
        if self.only_prefill:
            return self.way(state) is not None
        return (state.way or state.candidate.continues) is not ContinuationMode.NEVER

    def way(self, state: CandidateState) -> ContinuationMode | None:
        """How this model would continue the delivered text; None: it cannot."""
        way = state.way or state.candidate.continues or self._known_way(state.candidate)
        if way is ContinuationMode.NEVER or (way is ContinuationMode.INSTRUCT and self.only_prefill):
            return None
        return way

    def _known_way(self, candidate: Candidate) -> ContinuationMode:
        """The way that the model's answers have shown, else that of the table of rules."""
        learnt = self.health.facts.value(candidate.key, Fact.CONTINUES)
        if learnt is not None:
            return ContinuationMode(learnt)
        takes_prefill = rule_for(candidate.model, candidate.slug, candidate.host).prefills
        return ContinuationMode.PREFILL if takes_prefill else ContinuationMode.INSTRUCT

    def affords(self, state: CandidateState, now: float) -> bool:
        """Whether the retry budget has room for a request. The first request is free; so is one after a full queue."""
        free = self.started <= self.queued or self.policy.any_error
        return free or self.health.affords(now, (state.candidate.key,))

    def fresh(self, state: CandidateState, now: float) -> bool:
        """Whether the candidate is untried in this call and its circuits are closed."""
        if state.failure is not None or state.active or not self.open(state):
            return False
        at = self.status_of(state, now)
        return at.availability is Availability.READY and not at.unreachable

    def untried(self, state: CandidateState) -> bool:
        """Whether the call has not tried the candidate yet, and may."""
        return not (state.attempts or state.active) and self.open(state)

    def ready(self, state: CandidateState, now: float) -> bool:
        """Whether the candidate is untried and may be called now, be it as a probe."""
        if not self.untried(state):
            return False
        at = self.status_of(state, now)
        return at.admits and not at.unreachable

    def probeable(self, state: CandidateState, now: float) -> bool:
        """Whether the candidate is untried and due for a probe."""
        return self.untried(state) and self.status_of(state, now).availability is Availability.PROBE

    def goes_on(self, state: CandidateState, now: float, *, forced: bool = False) -> bool:
        """Whether there is an untried candidate besides this one that the call can go on to."""
        return any(self.still_to_come(other, now, forced=forced) for other in self.candidates if other is not state)

    def may_recover(self, state: CandidateState, now: float) -> bool:
        """Whether another candidate may be called beside this one if it is silent.

        That is one whose circuits are open, or one that has refused a request, has attempts left, cools down in time.
        """
        return self.side_by_side and any(
            other is not state and not other.active and self.open(other) and self._may_recover(other, now)
            for other in self.candidates
        )

    def broke_off(self, state: CandidateState) -> bool:
        """Whether a candidate other than this one has failed without a stall, and has attempts left."""
        return any(
            other.failure is not None and other.failure.kind is not FailureKind.TIMED_OUT and not other.exhausted
            for other in self.candidates
            if other is not state
        )

    def _may_recover(self, state: CandidateState, now: float) -> bool:
        at = self.status_of(state, now)
        if state.failure is None or state.failure.kind not in _REFUSED_FOR_NOW:
            return at.availability is Availability.CIRCUIT_OPEN
        if at.availability is Availability.COOLING:
            return at.until is not None and at.until < self.deadline
        return at.availability in (Availability.CIRCUIT_OPEN, Availability.READY, Availability.PROBE)

    def still_to_come(self, state: CandidateState, now: float, *, forced: bool) -> bool:
        """Whether the candidate is untried and may be called before the call's deadline."""
        if not self.untried(state):
            return False
        at = self.status_of(state, now)
        if at.availability is Availability.COOLING:
            return at.until is not None and at.until < self.deadline
        return at.admits or (forced and at.availability is Availability.CIRCUIT_OPEN)
