"""The invariants of every world. Each function returns the violations of one invariant, as texts that name the call.

I1  a candidate is healthy for 12 s and its answer's time while the call lives: the call is answered
I2  no candidate's attempt fails: the call sends one request (apart from probes and attempts beside others)
I3  plain SDK and plain loop: not better than we are, in aggregate; per call where health lasts 2 s and an answer
I4  failing probes of one scope begin 20 s apart; if no model works, (1 + budget) requests per call and 10 per 10 s
I5  the second call later than 30 s after the first model's last failure begins a request to it
I6  at rest nothing is held, and the ledger equals the servers' bills
I7  I1 for the processes of a fleet, whose store may be slow, silent or gone

I1 subtracts from the healthy time of a candidate: the time of the call's earlier request to the candidate, a cooldown
of at most 60 s, the first-token deadlines of other silent candidates, and the time after a call that has ended because
its retry budget was exhausted. If the configured attempts at the candidate are exhausted, I1 requires nothing.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from openrouter_fallback.decision.rounds import BUDGET_WAIT_SECONDS
from openrouter_fallback.health.shared.redis import ASK_SECONDS
from openrouter_fallback.http.socket import UNACKNOWLEDGED_SECONDS

from . import references
from .play import Played, Result
from .worlds import DRIP_SECONDS, SLOW_TO_FAIL, CallSpec, Model, World

HEALTHY_SECONDS = 12.0
HOME_SECONDS = 30.0
LEARNT_SECONDS = 5.0
LEARNT_SAMPLES = 250
"""The shortest learned first-token deadline in seconds, and the number of samples from which it is surely learned."""
PROBE_SECONDS = 20.0
RETRY_BUDGET = 0.2
BUDGET_FLOOR = 10
FIRST_TOKEN_SECONDS = 30.0
STALL_SECONDS = 30.0
DRIPS_FOR = 10.0
BACKOFF_SECONDS = 2.0
LONGEST_COOLDOWN_SECONDS = 60.0
OWN_COOLDOWN_SECONDS = 16.0
MOST_BESIDE = 3
SLOW_START_SECONDS = 3.0
PROBE_COSTS_SECONDS = 1.0
COMES_HOME_SECONDS = 120.0
COMES_HOME_FIRST_TOKEN = 10.0
_SLACK = 0.05
_OPENS = ("down", "error", "silent", "cut")
"""Phases that open a model's circuit."""
_MUTE = ("silent", "drip", "slow")
"""Phases in which a model accepts a request and does not answer it in time."""
_ILL = ("overloaded", "unavailable", "timed_out", "bad_answer")
"""Kinds of failures that show that a probed model is ill. A rate limit or a cancelled call shows nothing."""


@dataclass
class Judged:
    """The verdict on one world. `answered` counts the answered calls of each policy; `lost` and `won` compare us with
    each reference."""

    world: World
    violations: dict[str, list[str]] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    requests: int = 0


def judge(played: Played) -> Judged:
    """Check every invariant of a played world, and compare it with both references."""
    judged = Judged(played.world, calls=len(played.results), requests=len(played.requests))
    for name, check in CHECKS.items():
        found = check(played)
        if found:
            judged.violations["I7" if name == "I1" and played.fleet is not None else name] = found
    for result in played.results:
        if result.left:
            continue
        judged.answered["us"] += result.answered
        for name, policy in REFERENCES.items():
            theirs = policy(played.world, result.call) is not None
            judged.answered[name] += theirs
            judged.lost[name] += theirs and not result.answered
            judged.won[name] += result.answered and not theirs
    return judged


REFERENCES: Mapping[str, Callable[..., float | None]] = {
    "sdk": references.plain_sdk,
    "loop": references.plain_loop,
}


def healthy_spans(world: World, model: Model) -> list[tuple[float, float]]:
    """The (start, end) of each time in which the model would answer every request and its endpoint works."""
    spans = [(start, end) for start, end, phase in model.spans() if phase.kind == "up"]
    for blip in world.blips_of(model.endpoint):
        # A blip that only closes idle connections interrupts no request, because the client sends the request again.
        if blip.kind != "reload":
            cut = blip.end if blip.kind != "half_open" else blip.end + 0.001
            spans = [
                piece
                for start, end in spans
                for piece in ((start, min(end, blip.start)), (max(start, cut), end))
                if piece[0] < piece[1]
            ]
    return spans


def patience(played: Played, call: CallSpec, but: Model) -> float:
    """The seconds that the call may spend on other, silent candidates before it calls a healthy candidate."""
    world = played.world
    total = call.total or world.total
    slow = [model for model in world.models if any(phase.kind in SLOW_TO_FAIL for phase in model.phases)]
    seconds, silent = 0.0, 0
    for model in world.models:
        if model is but:
            continue
        kinds = {phase.kind for start, end, phase in model.spans() if start < call.at + total and call.at < end}
        if kinds & {"silent", "slow"} or _swallowed(world, model, call):
            learnt = _learnt(played, model, call.at) if len(slow) == 1 else FIRST_TOKEN_SECONDS
            seconds += min(learnt, total / 2)
            silent += 1
        drips = [phase.value * DRIP_SECONDS for _, _, phase in model.spans() if phase.kind == "drip"]
        if drips and call.streamed and call.total:
            seconds += max(total / 2, DRIPS_FOR)  # then another model continues it
        elif drips and call.streamed:
            seconds += max(drips) + STALL_SECONDS  # a dripping stream is delivered as long as it drips
        elif drips:
            seconds += total / 2
        elif call.streamed and _swallowed(world, model, call):
            seconds += STALL_SECONDS
    return math.inf if silent >= MOST_BESIDE else seconds


def _learnt(played: Played, model: Model, at: float) -> float:
    """The first-token deadline in seconds that may be learned from the first tokens of the last hour."""
    tokens = [
        request.reply.steps[1][0]
        for request in played.requests
        if request.model == model.key and request.reply.answered_after is not None and at - 3600.0 < request.at < at
    ]
    if played.fleet is not None or len(tokens) < LEARNT_SAMPLES:
        return FIRST_TOKEN_SECONDS
    p99 = sorted(tokens)[int(0.99 * len(tokens))]
    return min(max(LEARNT_SECONDS, 4.0 * 1.2 * p99), FIRST_TOKEN_SECONDS)


def _swallowed(world: World, model: Model, call: CallSpec) -> bool:
    """Whether requests of the call to the model may be lost in the connections of its endpoint."""
    until = call.at + (call.total or world.total)
    return any(
        blip.kind in ("black_hole", "half_open") and blip.start < until and call.at < blip.end + FIRST_TOKEN_SECONDS
        for blip in world.blips_of(model.endpoint)
    )


def i1(played: Played) -> list[str]:
    """The calls that were not answered although a candidate was healthy.

    A call that has exhausted its attempts at the candidate is no violation. A call that ended because its retry budget
    was exhausted is a violation only if the candidate was healthy for 12 s while the call lived.
    """
    found = []
    for result in played.results:
        if result.answered or result.left:
            continue
        call, world = result.call, played.world
        deadline = call.at + (call.total or world.total)
        tried = played.tried_by(call.number)
        for model in world.models:
            own = [one for one in tried if one.model == model.key]
            need = HEALTHY_SECONDS + model.answer_seconds + patience(played, call, model)
            if any(blip.kind == "half_open" for blip in world.blips_of(model.endpoint)):
                need += UNACKNOWLEDGED_SECONDS  # then the connection that swallowed the request is given up
            need += _waits_of_others(played, call, model)
            for start, end in healthy_spans(world, model):
                if sum(one.began < start for one in own) >= references.attempts(world):
                    continue
                since = max(start, call.at, _pending(played, model, call.at))
                # A model with a silent attempt is not called again while that attempt is active.
                since = max([since, *(one.ended for one in own if one.began < start <= one.ended)])
                until = min(end, deadline)
                if "retry budget" in result.message:
                    until = min(until, result.ended)
                if until - since >= need:
                    found.append(f"{_name(result)}: {model.key} is healthy {since:.2f}-{until:.2f}")
    return found


def _pending(played: Played, model: Model, at: float) -> float:
    """The end of a cooldown that is short enough to wait for: the server's own wait, else our default."""
    ends = [
        request.at + (request.reply.retry_after or OWN_COOLDOWN_SECONDS)
        for request in played.requests
        if request.model == model.key and request.reply.status == 429
    ]
    return max([end for end in ends if end - at <= LONGEST_COOLDOWN_SECONDS], default=0.0)


def _waits_of_others(played: Played, call: CallSpec, model: Model) -> float:
    """The seconds of the other models' waits, if this model has named a longer one: the call keeps to the shorter ones.

    That the model's limit was lifted before its time shows only when these are over.
    """
    longer = (request for request in played.requests if request.model == model.key and request.at <= call.at)
    if all(request.at + (request.reply.retry_after or 0.0) - call.at <= LONGEST_COOLDOWN_SECONDS for request in longer):
        return 0.0
    others = [other for other in played.world.models if other is not model]
    first = max([_pending(played, other, call.at) - call.at for other in others], default=0.0)
    own = [one.reply.retry_after or 0.0 for one in played.requests_of(call.number) if one.model != model.key]
    return max(0.0, first) + sum(wait for wait in own if wait <= LONGEST_COOLDOWN_SECONDS)


def outweighed(lost: int, won: int, alpha: float = 1e-6) -> bool:
    """Whether `lost` exceeds `won` by more than chance explains: a one-sided binomial test."""
    if lost <= won:
        return False
    number = lost + won
    ways = tail = math.comb(number, lost)
    for k in range(lost, number):
        ways = ways * (number - k) // (k + 1)
        tail += ways
    chance: int = 2**number
    return tail * round(1 / alpha) < chance


def i2(played: Played) -> list[str]:
    found = []
    for result in played.results:
        requests = played.requests_of(result.call.number)
        if not result.answered or len(requests) < 2:
            continue
        if any(one.reply.answered_after is None or _slow(played.world, one.model, one.at) for one in requests):
            continue
        if any(attempt.kind is not None and attempt.kind != "cancelled" for attempt in result.attempts):
            continue
        if any(attempt.kind == "cancelled" and attempt.seconds >= LEARNT_SECONDS for attempt in result.attempts):
            continue  # its first token was overdue, so another model was called beside it
        if not any(one.probe for one in played.tried_by(result.call.number)):
            found.append(f"{_name(result)}: {len(requests)} requests to {[one.model for one in requests]}")
    return found


def _kind(world: World, key: str, at: float) -> str:
    return world.model(key).phase(at).kind


def _slow(world: World, key: str, at: float) -> bool:
    return _kind(world, key, at) in SLOW_TO_FAIL


def i3(played: Played) -> list[str]:
    """Compares call by call, in worlds without chance whose healthy times all last for a pause of 2 s and an answer.

    Seven kinds of calls are compared in aggregate only. A call that begins in the last moments of a model, or whose
    Retry-After ends in them. A call that waits for a limit that an earlier call has met. A call of which all models
    were silent, or dripped, when it called them. A call that has called each model and has waited for the retry budget.
    A call that has used all its attempts at each model, because health had chosen the order; not within less than 2 s.
    A call of a chain within 30 s of a model's recovery: its circuit may still be open.
    """
    world = played.world
    if any(phase.kind == "flaky" for model in world.models for phase in model.phases):
        return []
    if any(blip.kind == "half_open" for blip in world.blips):
        return []  # the references have no idle connections
    if any(one.kind == "black_hole" and two.start < one.start < two.end for one in world.blips for two in world.blips):
        return []  # whether a request is refused, reset or swallowed is a matter of milliseconds
    # A model that is healthy at the beginning counts as always healthy before.
    spans = [(model, *span) for model in world.models for span in healthy_spans(world, model)]
    if any(start > 0.0 and end - start < 2.0 + model.answer_seconds for model, start, end in spans):
        return []
    ends = [(model.spans()[0][1], model) for model in world.models]
    # Calls before this, or just before the end of any healthy time, may meet a model in its last moments.
    soon_over = max([end for end, model in ends if end < 2.0 + model.answer_seconds], default=0.0)
    back = [start for model, start, _ in spans if start > 0.0 and model.phase(start - 0.001).kind in _OPENS]
    found = []
    for result in played.results:
        at = result.call.at
        if result.answered or result.left or at < soon_over:
            continue
        if any(start > 0.0 and at <= end < at + model.answer_seconds for model, start, end in spans):
            continue
        if len(world.models) > 1 and any(0.0 < start <= at < start + HOME_SECONDS for start in back):
            continue  # the model's circuit may still be open
        if _told_to_wait(played, result.call) or _waited_for_budget(played, result):
            continue
        if _used_up(played, result) or _met_silence(played, result) or _waited_out(played, result):
            continue
        for name, policy in REFERENCES.items():
            # A kept connection's request arrives earlier than a new one's, and in the last moment of an outage fails.
            theirs = policy(world, result.call) if policy(world, result.call, kept=True) is not None else None
            if theirs is not None:
                found.append(f"{_name(result)}: the plain {name} has its answer at {theirs:.2f}")
    return found


def _told_to_wait(played: Played, call: CallSpec) -> bool:
    """Whether each model has a cooldown that ends after the call's begin, and one ends soon enough to wait for.

    It is the server's Retry-After, else our own. The references remember no limit of an earlier call, so they find out
    that a limit was lifted before its time.
    """
    latest = min(call.at + LONGEST_COOLDOWN_SECONDS, call.at + (call.total or played.world.total))
    told: dict[str, float] = {}
    for request in played.requests:
        own = OWN_COOLDOWN_SECONDS if request.reply.status == 429 else 0.0
        until = request.at + (request.reply.retry_after or own)
        if request.at <= call.at < until:
            told[request.model] = until
    return len(told) == len(played.world.models) and min(told.values()) < latest


def _waited_out(played: Played, result: Result) -> bool:
    """Whether a Retry-After of the call ends less than 2 s and an answer before the end of a model's healthy time."""
    for request in played.requests_of(result.call.number):
        model, until = played.world.model(request.model), request.at + (request.reply.retry_after or 0.0)
        last = 2.0 + model.answer_seconds
        spans = healthy_spans(played.world, model)
        if until > request.at and any(start < until <= end < until + last for start, end in spans):
            return True
    return False


def _met_silence(played: Played, result: Result) -> bool:
    """Whether each model has an attempt of the call that began in its silence or drip, and was under way to the end.

    A reference may call the model a moment later, when it is well. A model that has only said its limit counts, too.
    """
    world, tried = played.world, played.tried_by(result.call.number)
    waiting = [one for one in tried if one.ended >= result.ended - _SLACK]
    # The request arrives a moment after the attempt begins.
    mute = {
        one.model for one in waiting for pause in (0.01, 0.1) if _kind(world, one.model, one.began + pause) in _MUTE
    }
    limited = {one.model for one in tried} - {one.model for one in tried if one.kind != "rate_limited"}
    return bool(mute) and mute | limited == {model.key for model in world.models}


def _waited_for_budget(played: Played, result: Result) -> bool:
    """Whether the call has called each model, and has then waited for the retry budget until it failed."""
    tried = played.tried_by(result.call.number)
    if {one.model for one in tried} != {model.key for model in played.world.models}:
        return False
    begins = [*(one.began for one in tried[1:]), result.ended]
    waits = [begin - max(one.ended for one in tried[: place + 1]) for place, begin in enumerate(begins)]
    waited = sum(wait for wait in waits if wait > 0.0)
    return "retry budget" in result.message and waited > 0.9 * BUDGET_WAIT_SECONDS


def _used_up(played: Played, result: Result) -> bool:
    """Whether the call has used all its attempts at each of several models, over at least 2 s if these are several.

    An attempt that ran into a deadline does not count: a reference may have waited for its answer.
    """
    tried, attempts = played.tried_by(result.call.number), references.attempts(played.world)
    counts = Counter(one.model for one in tried)
    if len(played.world.models) == 1 or any(counts[model.key] < attempts for model in played.world.models):
        return False
    waited = tried[-1].began - tried[0].began >= 2.0 and all(one.kind != "timed_out" for one in tried)
    return len(tried) == len(played.world.models) if attempts == 1 else waited


def i4(played: Played) -> list[str]:
    """The distance of failing probes, and the number of requests.

    If the store answers later than a call waits for a lease, or never, each process of a fleet probes.
    """
    found = []
    last: dict[str, float] = {}
    alone = played.fleet is not None and (bool(played.fleet.outages) or played.fleet.latency >= ASK_SECONDS)
    for probe in played.tried:
        if probe.kind not in (*_ILL, "connection"):
            continue
        # A failed connection is evidence about the endpoint, not about the model.
        scope = played.world.model(probe.model).endpoint if probe.kind == "connection" else probe.model
        if scope not in probe.probes:
            continue
        if alone or (probe.kind == "connection" and played.fleet is not None):
            scope += f" in process {probe.number % played.processes}"
        at = probe.began
        soon = scope in last and at - last[scope] < PROBE_SECONDS - _SLACK
        if soon and not _answered(played, scope, last[scope], at):
            found.append(f"probes of {scope} at {last[scope]:.2f} and {at:.2f}")
        last[scope] = at
    world = played.world
    found += _slow_start(played) + _paid_for_probes(played) + _side_by_side(played) + _late_errors(played)
    found += _doubled(played)
    if world.shape == "dead" and not world.blips:
        times = [call.at for call in world.calls]
        # The floor of the budget at once, then 10 more in each 10 s. 9.5: the window drops its oldest twentieth early.
        periods = 1 + (max(request.at for request in played.requests) - times[0]) / 9.5
        most = (1 + RETRY_BUDGET) * (len(times) + _free(played)) + BUDGET_FLOOR * periods * played.processes
        if len(played.requests) > most:
            found.append(f"{len(played.requests)} requests for {len(times)} calls, at most {most:.0f}")
    return found


def _side_by_side(played: Played) -> list[str]:
    """Without a hedge of the user, a call has at most three attempts under way, besides probes."""
    found = []
    for result in played.results:
        tried = [one for one in played.tried_by(result.call.number) if not one.probe]
        most = max([sum(other.began <= one.began < other.ended for other in tried) for one in tried], default=0)
        if most > MOST_BESIDE and "hedge" not in played.world.settings:
            found.append(f"{_name(result)}: {most} attempts at a time")
    return found


def _doubled(played: Played) -> list[str]:
    """While all models are slow, at most every fifth call, and the first four, call a second model beside."""
    world = played.world
    if len(world.models) == 1 or world.blips or world.settings or played.fleet is not None:
        return []

    def all_slow(at: float) -> bool:
        phases = [model.phase(at) for model in world.models]
        return all(one.kind == "slow" and LEARNT_SECONDS < one.value < FIRST_TOKEN_SECONDS for one in phases)

    results = [one for one in played.results if not one.left and all_slow(one.call.at)]
    extra = sum(len(played.requests_of(one.call.number)) - 1 for one in results)
    if extra <= len(results) / 5 + 4:
        return []
    return [f"all models were slow, and {len(results)} calls had {extra} further requests"]


def _late_errors(played: Played) -> list[str]:
    """Where all models are down, a call waits 10 s for the retry budget after a backoff, and no longer."""
    found = []
    for result in played.results if played.world.shape == "dead" and not played.world.blips else ():
        tried = played.tried_by(result.call.number)
        begins = [*(one.began for one in tried[1:]), result.ended]
        waits = [begin - max(one.ended for one in tried[: place + 1]) for place, begin in enumerate(begins)]
        cools = any(one.reply.status == 429 for one in played.requests_of(result.call.number))
        if tried and not cools and max(waits) > BUDGET_WAIT_SECONDS + BACKOFF_SECONDS:
            found.append(f"{_name(result)}: waits {max(waits):.2f} s between two requests")
    return found


def _paid_for_probes(played: Played) -> list[str]:
    """A call whose first request is a probe takes at most one second longer than the answer of the next model."""
    world = played.world
    if len(world.models) == 1 or world.blips or any(phase.kind != "up" for phase in world.models[1].phases):
        return []
    if any(phase.kind in ("drip", "cut") for phase in world.models[0].phases):
        return []  # the first token arrives, and that is enough for a probe
    found = []
    for result in played.results:
        tried = played.tried_by(result.call.number)
        waited = result.ended - result.call.at - world.models[1].answer_seconds
        if result.answered and tried[0].probe and tried[0].kind is not None and waited > PROBE_COSTS_SECONDS:
            found.append(f"{_name(result)}: waits {waited:.2f} s for a probe of {tried[0].model}")
    return found


def _slow_start(played: Played) -> list[str]:
    """In the first 3 s after a successful probe, the model gets two attempts at a time and a share of the calls.

    This holds only if the next model is healthy.
    """
    world = played.world
    if len(world.models) == 1 or world.blips or any(phase.kind != "up" for phase in world.models[1].phases):
        return []
    found = []
    first = world.models[0]
    for probe in played.tried:
        if probe.model != first.key or not probe.probe or probe.kind is not None:
            continue
        until = probe.ended + SLOW_START_SECONDS
        calls = sum(probe.ended < result.call.at < until for result in played.results)
        begun = sum(one.model == first.key and probe.ended < one.began < until for one in played.tried)
        most = 2 * (1 + SLOW_START_SECONDS / first.answer_seconds) + calls * (SLOW_START_SECONDS / 10.0) ** 2
        if begun > 1.5 * most * played.processes:
            found.append(f"{begun} of {calls} calls begin at {first.key} just after {probe.ended:.2f}")
    return found


def _answered(played: Played, scope: str, since: float, until: float) -> bool:
    """Whether the model or endpoint has answered any call in this time, so that its circuit was closed then."""
    return any(
        since < one.at < until and one.reply.answered_after is not None
        for one in played.requests
        if scope.split(" in ")[0] in (one.model, played.world.model(one.model).endpoint)
    )


def _free(played: Played) -> int:
    """The number of free requests after the first request of a call.

    Free are a call's first request to each candidate, until all circuits are open, and probes.
    """
    seen: set[tuple[int, str]] = set()
    begun: set[int] = set()
    free = 0
    for one in played.tried:
        first = (one.number, one.model) not in seen
        free += first and one.number in begun and (one.probe or not one.dead)
        seen.add((one.number, one.model))
        begun.add(one.number)
    return free


def i5(played: Played) -> list[str]:
    """The calls after the last failure of the chain's first model, until a call has begun a request to that model."""
    world = played.world
    first = world.models[0]
    if len(world.models) == 1:
        return []
    tried = [one for one in played.tried if one.model == first.key]
    begun = {one.number for one in tried}
    seen = sorted(one.ended for one in tried if one.kind not in (None, "cancelled"))
    if "disable_duration_seconds" in world.settings:
        return _as_the_user_said(played, begun)
    pending = [
        (request.at, request.at + request.reply.retry_after)
        for request in played.requests
        if request.model == first.key and request.reply.retry_after
    ]
    found = []
    for failed, following in zip(seen, [*seen[1:], math.inf][: len(seen)], strict=True):
        since = max([failed, *(until for at, until in pending if at <= failed)]) + HOME_SECONDS
        late = [r for r in played.results if since < r.call.at < following and not r.left]
        late.sort(key=lambda one: one.call.at)
        if len(late) < 2 or any(failed < one.began <= late[1].call.at for one in tried):
            continue
        if not {result.call.number for result in late[:2]} & begun:
            found.append(f"{_name(late[1])}: {first.key} failed last at {failed:.2f} and is not called")
    for check in (_after_events, _unharmed, _comes_home):
        found += check(played, begun)
    return found


def _after_events(played: Played, begun: set[int]) -> list[str]:
    """In a healthy world with one or two short resets, calls from a second later on begin at the first model."""
    world = played.world
    well = all(phase.kind == "up" for model in world.models for phase in model.phases)
    short = all(blip.kind == "reset" and blip.end - blip.start <= 0.01 for blip in world.blips)
    if not well or not short or not 1 <= len(world.blips) < 3 or world.settings:
        return []
    later = [
        result
        for result in played.results
        if any(blip.end + 1.0 < result.call.at for blip in world.blips)
        and not any(blip.start <= result.call.at <= blip.end + 1.0 for blip in world.blips)
        and not result.left
    ]
    return [f"{_name(one)}: does not begin at {world.models[0].key}" for one in later if one.call.number not in begun]


def _unharmed(played: Played, begun: set[int]) -> list[str]:
    """If the first model never fails, each call of a process with a working connection begins at the first model.

    A slow model has not failed, if somebody got a first token from it during each attempt that was given up.
    """
    world = played.world
    lines = {blip.process for blip in world.blips}
    kinds = {phase.kind for phase in world.models[0].phases}
    if None in lines or len(lines) > 1 or not kinds <= {"up", "slow"}:
        return []
    return [
        f"{_name(one)}: does not begin at {world.models[0].key}, which never failed here"
        for one in played.results
        if one.call.number % played.processes not in lines and one.call.number not in begun and not one.left
        if "slow" not in kinds or _spoke(played, one.call.at)
    ]


def _spoke(played: Played, before: float) -> bool:
    """Whether the first model gave somebody a first token during each of its attempts that were overdue before."""
    first = played.world.models[0]
    came = [
        request.at + request.reply.steps[1][0]
        for request in played.requests
        if request.model == first.key and first.phase(request.at).kind == "up"
    ]
    return all(
        one.kind in (None, "cancelled", "timed_out") and any(one.began < at < min(one.ended, before) for at in came)
        for one in played.tried
        if one.model == first.key and one.began + LEARNT_SECONDS < min(one.ended, before)
    )


def _comes_home(played: Played, begun: set[int]) -> list[str]:
    """A first model that has sent each first token within 10 s for two minutes answers some calls."""
    world = played.world
    first, last = world.models[0], world.models[0].phases[-1]
    well = last.kind == "up" or (last.kind == "slow" and last.value <= COMES_HOME_FIRST_TOKEN)
    if not well or world.blips or len(world.models) == 1:
        return []
    late = [one for one in played.results if one.call.at > last.start + COMES_HOME_SECONDS and not one.left]
    between = sum(last.start < one.call.at <= last.start + COMES_HOME_SECONDS for one in played.results)
    home = any(attempt.model == first.key and attempt.answered for one in late for attempt in one.attempts)
    if between < 10 or len(late) < 10 or home:
        return []
    return [f"{first.key} answers since {last.start:.2f} and none of {len(late)} calls is answered by it"]


def _as_the_user_said(played: Played, begun: set[int]) -> list[str]:
    """With `any_error`, a model is skipped after each failure, for the time that the user has set."""
    world, first = played.world, played.world.models[0]
    seconds = world.settings.get("disable_duration_seconds")
    if world.settings.get("policy") != "any_error" or seconds is None:
        return []
    tried = [one for one in played.tried if one.model == first.key]
    found = []
    for failed in [one.ended for one in tried if one.kind is not None]:
        early = [one for one in tried if failed < one.began < failed + seconds - _SLACK]
        found += [f"{first.key} failed at {failed:.2f} and is called at {one.began:.2f}" for one in early]
        late = [one for one in played.results if one.call.at > failed + seconds + _SLACK]
        found += [f"{_name(one)}: does not begin at {first.key}" for one in late if one.call.number not in begun]
    return found


def i6(played: Played) -> list[str]:
    """Resources that remain at the end. In a fleet each ledger has the costs of all processes; one must agree."""
    return [f"{what}: {value:g}" for what, value in played.rest.items() if value]


def _name(result: Result) -> str:
    end = result.error or ("left" if result.left else "answered")
    return f"call {result.call.number} at {result.call.at:.2f}, {end} at {result.ended:.2f}"


CHECKS: Mapping[str, Callable[[Played], list[str]]] = {"I1": i1, "I2": i2, "I3": i3, "I4": i4, "I5": i5, "I6": i6}
INVARIANTS = (*CHECKS, "I7")
