"""What must hold in every world. Each function gives the violations of one invariant, as text that says which call.

I1  a candidate is healthy for 12 s and its answer's time while the call lives: the call is answered
I2  no candidate's attempt fails: one request, but for probes and attempts beside
I3  plain SDK and plain loop: not better than we are, in aggregate; per call where all phases last 2 s or more
I4  failing probes of one scope begin 20 s apart; a dead world gets (1 + budget) requests per call and 10 per 10 s
I5  the second call later than 30 s after the first model's last failure begins a request to it
I6  at rest nothing is held, and the ledger equals the servers' bills
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from . import references
from .play import Played, Result
from .worlds import SLOW_TO_FAIL, CallSpec, Model, World

HEALTHY_SECONDS = 12.0
HOME_SECONDS = 30.0
LEARNT_SECONDS = 5.0
"""The shortest deadline for a first token that is learnt."""
PROBE_SECONDS = 20.0
RETRY_BUDGET = 0.2
BUDGET_FLOOR = 10
FIRST_TOKEN_SECONDS = 30.0
STALL_SECONDS = 30.0
_MIN_SAMPLES = 3
_SLACK = 0.05


@dataclass
class Judged:
    """One world's verdicts. `answered` counts calls by who answered them, `lost` and `won` against each reference."""

    world: World
    violations: dict[str, list[str]] = field(default_factory=dict)
    answered: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    won: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    requests: int = 0


def judge(played: Played) -> Judged:
    """Check every invariant, and compare with both references."""
    judged = Judged(played.world, calls=len(played.results), requests=len(played.requests))
    for name, check in CHECKS.items():
        found = check(played)
        if found:
            judged.violations[name] = found
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


REFERENCES: Mapping[str, Callable[[World, CallSpec], float | None]] = {
    "sdk": references.plain_sdk,
    "loop": references.plain_loop,
}


def healthy_spans(world: World, model: Model) -> list[tuple[float, float]]:
    """When the model would answer every request, and its endpoint lets it."""
    spans = [(start, end) for start, end, phase in model.spans() if phase.kind == "up"]
    for blip in world.blips_of(model.endpoint):
        # A blip that only kills idle connections interrupts nothing: a client that notices sends again.
        if blip.kind != "reload":
            cut = blip.end if blip.kind != "half_open" else blip.end + 0.001
            spans = [
                piece
                for start, end in spans
                for piece in ((start, min(end, blip.start)), (max(start, cut), end))
                if piece[0] < piece[1]
            ]
    return spans


def patience(world: World, call: CallSpec, but: Model) -> float:
    """What the call may spend on candidates that fail slowly before it comes to a healthy one."""
    seconds = 0.0
    for model in world.models:
        slow = any(phase.kind in SLOW_TO_FAIL for phase in model.phases)
        if slow and model is not but:
            seconds += FIRST_TOKEN_SECONDS + STALL_SECONDS
    holes = [blip for blip in world.blips if blip.kind in ("black_hole", "half_open")]
    if holes:
        seconds = math.inf  # a plain client hears no more of such a request either
    return seconds


def i1(played: Played) -> list[str]:
    found = []
    for result in played.results:
        if result.answered or result.left:
            continue
        call, world = result.call, played.world
        deadline = call.at + (call.total or world.total)
        for model in world.models:
            need = HEALTHY_SECONDS + model.answer_seconds + patience(world, call, model)
            for start, end in healthy_spans(world, model):
                since, until = max(start, call.at), min(end, deadline)
                lived = until if start <= call.at else min(until, result.ended)
                before = sum(one.model == model.key and one.at < start for one in played.requests_of(call.number))
                if before >= references.attempts(world):
                    continue
                if lived - since >= need and not _limited(model, call.at):
                    found.append(f"{_name(result)}: {model.key} is healthy {since:.2f}-{until:.2f}")
    return found


def outweighed(lost: int, won: int, alpha: float = 1e-6) -> bool:
    """Whether so many lost calls, against so many won ones, are more than chance: a one-sided binomial test."""
    number = lost + won
    tail = sum(math.comb(number, k) for k in range(lost, number + 1))
    return lost > won and tail < alpha * 2**number


def _limited(model: Model, at: float) -> bool:
    """Whether a cooldown that a server asked for may still hold at the call's beginning."""
    return any(
        phase.kind == "limited" and phase.start <= at < end + max(phase.value, 16.0) for _, end, phase in model.spans()
    )


def i2(played: Played) -> list[str]:
    found = []
    probed = {(model, round(at, 3)) for model, at, _ in played.probes}
    for result in played.results:
        requests = played.requests_of(result.call.number)
        if not result.answered or len(requests) < 2:
            continue
        if any(one.reply.answered_after is None or _slow(played.world, one.model, one.at) for one in requests):
            continue
        if any(attempt.kind is not None and attempt.kind != "cancelled" for attempt in result.attempts):
            continue
        if any(attempt.kind == "cancelled" and attempt.seconds >= LEARNT_SECONDS for attempt in result.attempts):
            continue  # its first token was overdue: another was called beside it
        beside = [one for one in requests if (one.model, round(one.at, 3)) in probed]
        if len(requests) - len(beside) > 1 and not any(attempt.probe for attempt in result.attempts):
            found.append(f"{_name(result)}: {len(requests)} requests to {[one.model for one in requests]}")
    return found


def _slow(world: World, key: str, at: float) -> bool:
    return world.model(key).phase(at).kind in SLOW_TO_FAIL


def i3(played: Played) -> list[str]:
    """Call by call, where no time of health lasts less than 2 s and nothing is left to chance."""
    world = played.world
    if any(phase.kind == "flaky" for model in world.models for phase in model.phases):
        return []
    if any(blip.kind == "half_open" for blip in world.blips):
        return []  # the references have no idle connections
    # What is healthy at the beginning was so for ever.
    if any(start > 0.0 and end - start < 2.0 for model in world.models for start, end in healthy_spans(world, model)):
        return []
    found = []
    for result in played.results:
        if result.answered or result.left:
            continue
        for name, policy in REFERENCES.items():
            at = policy(world, result.call)
            if at is not None and not _lucky(world, result.call, at):
                found.append(f"{_name(result)}: the plain {name} has its answer at {at:.2f}")
    return found


def _lucky(world: World, call: CallSpec, answered: float) -> bool:
    """Whether the answer hung on a moment: asked just after a recovery, or from a model that soon was ill."""
    return any(
        0.0 <= answered - model.answer_seconds - start < 0.1 or answered <= end < call.at + 2.0
        for model in world.models
        for start, end in healthy_spans(world, model)
    )


def i4(played: Played) -> list[str]:
    found = []
    last: dict[str, float] = {}
    for model, at, verdict in sorted(played.probes, key=lambda probe: probe[1]):
        if not verdict:
            continue
        soon = model in last and at - last[model] < PROBE_SECONDS - _SLACK
        if soon and not _answered(played, model, last[model], at):
            found.append(f"probes of {model} at {last[model]:.2f} and {at:.2f}")
        last[model] = at
    world = played.world
    if world.shape == "dead" and not world.blips:
        times = [call.at for call in world.calls]
        periods = (max(request.at for request in played.requests) - times[0]) // 10.0 + 2
        # The first request to each candidate is no extra one, where nothing is known of it yet.
        most = (1 + RETRY_BUDGET) * len(times) + BUDGET_FLOOR * periods + _unlearnt(world)
        if len(played.requests) > most:
            found.append(f"{len(played.requests)} requests for {len(times)} calls, at most {most:.0f}")
    return found


def _answered(played: Played, model: str, since: float, until: float) -> bool:
    """Whether the model has answered anybody meanwhile: its circuit was closed then."""
    return any(
        since < one.at < until for one in played.requests if one.model == model and one.reply.answered_after is not None
    )


def _unlearnt(world: World) -> float:
    """Requests to models of which nothing bad is known yet: what begins before failures can be seen, and probes."""
    first, last = world.calls[0].at, world.calls[-1].at
    at_once = sum(call.at < first + 1.0 for call in world.calls)
    return len(world.models) * (at_once + 2 * _MIN_SAMPLES + (last - first) / PROBE_SECONDS + 1)


def i5(played: Played) -> list[str]:
    """Of a chain's first model: calls after its last failure, until one of them has begun a request to it."""
    world = played.world
    first = world.models[0]
    if len(world.models) == 1 or any(phase.kind == "limited" for phase in first.phases):
        return []
    seen = [
        request.at + (request.reply.failed_after or FIRST_TOKEN_SECONDS)
        for request in played.requests
        if request.model == first.key and request.reply.answered_after is None
    ]
    seen += [blip.end for blip in world.blips if blip.endpoint == first.endpoint]
    asked = [request for request in played.requests if request.model == first.key]
    begun = {request.number for request in asked} | {
        result.call.number for result in played.results if any(one.model == first.key for one in result.attempts)
    }
    found = []
    for failed, following in zip(sorted(seen), [*sorted(seen)[1:], float("inf")][: len(seen)], strict=True):
        late = [r for r in played.results if failed + HOME_SECONDS < r.call.at < following and not r.left]
        late.sort(key=lambda one: one.call.at)
        if len(late) < 2 or any(failed < request.at <= late[1].call.at for request in asked):
            continue
        if not {result.call.number for result in late[:2]} & begun:
            found.append(f"{_name(late[1])}: {first.key} failed last at {failed:.2f} and is not called")
    return found + _after_one_event(played, begun)


def _after_one_event(played: Played, begun: set[int]) -> list[str]:
    """One short reset in a world where all is well: calls more than a second later begin at the first model."""
    world = played.world
    well = all(phase.kind == "up" for model in world.models for phase in model.phases)
    if not well or len(world.blips) != 1 or world.blips[0].kind != "reset" or world.settings:
        return []
    end = world.blips[0].end
    if end - world.blips[0].start > 0.01:
        return []
    later = [result for result in played.results if result.call.at > end + 1.0 and not result.left]
    return [f"{_name(one)}: does not begin at {world.models[0].key}" for one in later if one.call.number not in begun]


def i6(played: Played) -> list[str]:
    return [f"{what}: {value:g}" for what, value in played.rest.items() if value]


def _name(result: Result) -> str:
    end = result.error or ("left" if result.left else "answered")
    return f"call {result.call.number} at {result.call.at:.2f}, {end} at {result.ended:.2f}"


CHECKS: Mapping[str, Callable[[Played], list[str]]] = {"I1": i1, "I2": i2, "I3": i3, "I4": i4, "I5": i5, "I6": i6}
