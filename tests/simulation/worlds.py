"""Worlds from a seed: models, the failures of models and endpoints, and calls.

The reply of a model is a function of the seed, the model, the time in steps of 10 ms, and the number of the call. It
does not depend on a shared stream of random numbers or on earlier requests, so two policies meet the same world.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

Kind = Literal[
    "up", "down", "error", "flaky", "limited", "silent", "drip", "slow", "cut", "lost_item", "unauthorized",
    "combination", "lacking",
]  # fmt: skip
BlipKind = Literal["reset", "refuse", "black_hole", "reload", "half_open"]

FOREVER = math.inf
SLOW_TO_FAIL = ("silent", "drip", "slow")
"""The phases in which a request may wait for a deadline before it fails."""
DRIP_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Phase:
    """The behaviour of a model from `start` (seconds of the world) on. `reply` defines the meaning of `value`."""

    start: float
    kind: Kind
    value: float = 0.0

    def __str__(self) -> str:
        value = f"({self.value:g})" if self.value else ""
        return f"{self.kind}{value}@{self.start:.2f}"


@dataclass(frozen=True, slots=True)
class Model:
    """A model. Its first token arrives after `first_token` seconds, then `tokens` more tokens, `gap` seconds apart."""

    key: str
    endpoint: str
    first_token: float
    tokens: int
    gap: float
    phases: tuple[Phase, ...]

    @property
    def answer_seconds(self) -> float:
        return self.first_token + self.tokens * self.gap

    def phase(self, at: float) -> Phase:
        """The phase for a request that arrives at second `at`."""
        return self.phases[max(0, bisect_right(self.phases, at, key=lambda phase: phase.start) - 1)]

    def spans(self) -> list[tuple[float, float, Phase]]:
        """Each phase as (start, end, phase)."""
        ends = [*(phase.start for phase in self.phases[1:]), FOREVER]
        return [(phase.start, end, phase) for phase, end in zip(self.phases, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class Blip:
    """A short fault of the connections of an endpoint.

    - `reset`: open connections are reset, new connections are refused.
    - `refuse`: new connections are refused.
    - `black_hole`: connections in use become silent, new connections time out.
    - `reload`: idle connections are closed; the client notices that only when it writes a request.
    - `half_open`: idle connections lose the next request without an error.
    """

    endpoint: str
    start: float
    end: float
    kind: BlipKind
    process: int | None = None
    """The process of a fleet whose connections are concerned; None for all processes."""

    def __str__(self) -> str:
        return f"{self.endpoint} {self.kind} {self.start:.2f}-{self.end:.2f}"


@dataclass(frozen=True, slots=True)
class CallSpec:
    """One call: its start, its kind, and the time when its caller leaves."""

    number: int
    at: float
    streamed: bool = False
    total: float | None = None
    leaves: float | None = None
    tools: bool = False
    """Whether the request has tools. The answer does not call them."""
    idempotent: bool = True


@dataclass(frozen=True, slots=True)
class World:
    """A chain of models, the blips of their endpoints, the calls, and the settings of the client."""

    seed: int
    shape: str
    models: tuple[Model, ...]
    blips: tuple[Blip, ...]
    calls: tuple[CallSpec, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    keep_alive: float = 60.0
    """Seconds after which a server closes an idle connection."""
    seen: bool = True
    """Whether the client notices a closed idle connection before it writes a request."""
    wall_steps: tuple[tuple[float, float], ...] = ()

    @property
    def total(self) -> float:
        return float(self.settings.get("total_timeout_seconds", 300.0))

    @property
    def attempts(self) -> int | None:
        """The attempts per model and call from the settings; None if the settings do not contain them."""
        given = self.settings.get("max_retries_per_model")
        return None if given is None else int(given)

    def model(self, key: str) -> Model:
        return next(model for model in self.models if model.key == key)

    def blips_of(self, endpoint: str) -> tuple[Blip, ...]:
        return tuple(blip for blip in self.blips if blip.endpoint == endpoint)

    def row(self) -> str:
        """The world in a readable form, which can become a row of the timelines."""
        lines = [f"seed {self.seed} ({self.shape}): {len(self.calls)} calls {_calls(self.calls)}"]
        lines += [
            f"  {model.key} [{model.endpoint}] first token {model.first_token:.2f}, {model.tokens} x {model.gap:.3f}: "
            + " ".join(map(str, model.phases))
            for model in self.models
        ]
        lines += [f"  blip {blip}" for blip in self.blips]
        if self.settings:
            lines.append(f"  settings {self.settings}")
        lines.append(f"  idle connections live {self.keep_alive:g} s, their end is {'' if self.seen else 'not '}seen")
        return "\n".join(lines)


def _calls(calls: Sequence[CallSpec]) -> str:
    times = [call.at for call in calls]
    streamed = sum(call.streamed for call in calls)
    leavers = sum(call.leaves is not None for call in calls)
    return f"{times[0]:.2f}-{times[-1]:.2f} s, {streamed} streamed, {leavers} leave"


# The replies of models


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response. `steps` are (seconds since the request, event). After the last step, the model is silent."""

    status: int
    steps: tuple[tuple[float, Literal["head", "token", "finish", "cut"]], ...]
    retry_after: float | None = None
    message: str = ""

    @property
    def answered_after(self) -> float | None:
        """The seconds until the answer is complete; None if it is never complete."""
        at, what = self.steps[-1]
        return at if what == "finish" and self.status == 200 else None

    @property
    def failed_after(self) -> float | None:
        """The seconds until the client knows that the request has failed; None if the client never gets to know."""
        at, what = self.steps[-1]
        return at if what == "cut" or self.status != 200 else None


def chance(world: World, model: str, at: float, number: int, what: str = "") -> float:
    """A number in [0, 1) for this request, the same for every policy that sends the request in the same 10 ms."""
    told = f"{world.seed}/{model}/{int(at * 100)}/{number}/{what}".encode()
    return int.from_bytes(hashlib.blake2b(told, digest_size=7).digest(), "big") / 2**56


_REFUSALS: dict[Kind, Reply] = {
    "down": Reply(503, ((0.01, "head"),)),
    "error": Reply(500, ((0.01, "head"),)),
    "lost_item": Reply(404, ((0.01, "head"),), message="Item with id 'rs_1' not found."),
    "unauthorized": Reply(401, ((0.01, "head"),), message="No auth credentials found"),
    "lacking": Reply(404, ((0.01, "head"),), message="No endpoints found that support tool use."),
    "combination": Reply(404, ((0.01, "head"),), message="No endpoints found that support the provided tool_choice."),
}


def reply(world: World, model: Model, at: float, number: int) -> Reply:
    """The reply of `model` to the request of call `number` that arrives at second `at`."""
    phase = model.phase(at)
    kind = phase.kind
    if kind == "flaky":
        kind = "error" if chance(world, model.key, at, number) < phase.value else "up"
    if kind == "lost_item":
        kind = "up" if chance(world, model.key, 0.0, number, "item") >= phase.value else kind
    if kind in _REFUSALS:
        return _REFUSALS[kind]
    if kind == "limited":
        return Reply(429, ((0.01, "head"),), retry_after=phase.value or None)
    if kind == "silent":
        return Reply(200, ((0.02, "head"),))
    first = phase.value if kind == "slow" else model.first_token
    tokens = [(first + n * model.gap, "token") for n in range(model.tokens + 1)]
    if kind == "drip":
        tokens = [(first + n * DRIP_SECONDS, "token") for n in range(int(phase.value))]
        return Reply(200, ((0.02, "head"), *tokens))  # type: ignore[arg-type]
    end = tokens[-1][0]
    if kind == "cut":
        kept = tokens[: max(1, int(len(tokens) * phase.value))]
        return Reply(200, ((0.02, "head"), *kept, (kept[-1][0], "cut")))  # type: ignore[arg-type]
    return Reply(200, ((0.02, "head"), *tokens, (end, "finish")))  # type: ignore[arg-type]


# Worlds


def world(seed: int, shape: str | None = None) -> World:
    """The world of `seed`."""
    dice = Random(seed)
    shape = shape or dice.choice(SHAPES)
    chain = dice.choice(_CHAINS.get(shape, (1, 2, 2, 2, 3, 4)))
    several = dice.choice((1, 2, 2) if shape == "blip" else (1, 1, 2))
    endpoints = ["openrouter", "other"][: several if chain > 1 else 1]
    calls, horizon = _arrivals(dice, shape)
    models = []
    for place in range(chain):
        endpoint = "openrouter" if place == 0 else dice.choice(endpoints)
        key = f"lab/m{place}" if endpoint == "openrouter" else f"other:m{place}"
        tokens = dice.choice((1, 3, 5))
        speed = dice.choice((0.05, 0.2, 0.5, 1.0, 3.0))
        phases = _phases(dice, shape, place, calls, horizon, speed)
        models.append(Model(key, endpoint, speed, tokens, dice.choice((0.0, 0.02, 0.1)), phases))
    blips = _blips(dice, shape, endpoints, calls)
    settings: dict[str, Any] = {}
    if dice.random() < 0.3:
        settings["max_retries_per_model"] = dice.choice((1, 2, 3))
    if dice.random() < 0.3:
        settings["total_timeout_seconds"] = dice.choice((30.0, 60.0, 120.0))
    steps = ((dice.uniform(0, horizon), dice.uniform(-4000, 4000)),) if dice.random() < 0.1 else ()
    keep_alive = dice.choice((5.0, 20.0, 60.0))
    return World(seed, shape, tuple(models), blips, calls, settings, keep_alive, dice.random() < 0.5, steps)


SHAPES = (
    "calm", "alone", "blip", "reload", "outage", "brown_out", "home", "limited", "silent", "drip", "cut", "dead",
    "lost_item", "mixed", "failing_over", "storm",
)  # fmt: skip
_MORE = (2, 2, 2, 3, 4)
_CHAINS = {
    "alone": (1,), "storm": (1,), "blip": (1, 1, 2, 2, 3), "limited": (1, 1, 2, 3), "home": _MORE, "silent": _MORE,
    "drip": _MORE, "failing_over": _MORE,
}  # fmt: skip
_MOST_CALLS = 60
_RATES = {"home": (-1.3, 0.5), "storm": (1.0, 3.0)}
"""The range of calls per second, as powers of ten."""


def _arrivals(dice: Random, shape: str) -> tuple[tuple[CallSpec, ...], float]:
    if shape in ("blip", "reload"):
        # Waves of simultaneous calls, before and after the event.
        size, waves = dice.choice((10, 20, 40, 60)), dice.choice((2, 3))
        times = sorted(wave * 4.0 + dice.uniform(0, 0.5) for wave in range(waves) for _ in range(size))
    else:
        low, high = _RATES.get(shape, (-3.5, 3.0))
        rate = 10 ** dice.uniform(low, high)
        if shape in ("calm", "mixed") and dice.random() < 0.5:
            rate = 10 ** dice.uniform(-1, 1)
        number = dice.randint(15, _MOST_CALLS)
        now, times = 0.0, []
        for _ in range(number):
            now += dice.expovariate(rate) if dice.random() < 0.9 else 0.0
            times.append(now)
    leavers = dice.random() < 0.15
    streamed, own = dice.choice((0.0, 0.0, 0.5, 1.0)), dice.random() < 0.15
    calls = tuple(
        CallSpec(
            number,
            at,
            dice.random() < streamed,
            dice.choice((20.0, 60.0)) if own and dice.random() < 0.5 else None,
            dice.uniform(0.1, 12.0) if leavers and dice.random() < 0.3 else None,
        )
        for number, at in enumerate(times)
    )
    return calls, max(times[-1], 1.0)


def _between(dice: Random, calls: Sequence[CallSpec]) -> float:
    """A random time for the start of an event: shortly before or after a call."""
    return max(0.0, dice.choice(calls).at + dice.choice((-0.3, 0.05, 0.3)) * dice.random())


def _lasts(dice: Random) -> float:
    return float(10 ** dice.uniform(-1, 2.8))


def _phases(
    dice: Random, shape: str, place: int, calls: Sequence[CallSpec], horizon: float, speed: float
) -> tuple[Phase, ...]:
    if shape == "calm" or shape in ("blip", "reload"):
        return (Phase(0.0, "up"),)
    if shape == "storm":
        return (Phase(0.0, "flaky", dice.choice((0.3, 0.5, 0.7))),)
    if shape == "dead":
        return (Phase(0.0, dice.choice(("down", "error"))),)
    by_shape: dict[str, tuple[Kind, ...]] = {
        "alone": ("down", "error", "flaky", "limited"),
        "outage": ("down", "error"),
        "brown_out": ("flaky",),
        "storm": ("flaky",),
        "home": ("down", "error", "silent"),
        "limited": ("limited",),
        "silent": ("silent", "slow"),
        "drip": ("drip",),
        "cut": ("cut",),
        "lost_item": ("lost_item",),
        "failing_over": ("down", "error", "silent", "flaky"),
    }
    kinds = by_shape.get(shape, ("down", "error", "flaky", "limited", "silent", "slow", "cut", "drip"))
    if place and (shape in ("home", "silent", "drip", "failing_over") or dice.random() < 0.4):
        return (Phase(0.0, "up"),)
    phases = [Phase(0.0, "up")]
    for _ in range(dice.choice((1, 1, 2, 3))):
        start = 0.0 if dice.random() < 0.2 else _between(dice, calls)
        if start < phases[-1].start:
            continue
        kind = dice.choice(kinds)
        phases.append(Phase(start, kind, _value(dice, kind, speed)))
        if shape == "lost_item":
            break
        end = start + _lasts(dice)
        if dice.random() < 0.85:
            phases.append(Phase(end, "up"))
    return tuple(phases)


def _value(dice: Random, kind: Kind, speed: float) -> float:
    match kind:
        case "flaky":
            return dice.choice((0.2, 0.5, 0.8, 0.9))
        case "limited":
            return dice.choice((0.0, 1.0, 5.0, 20.0, 120.0))
        case "drip":
            return float(dice.choice((5, 100, 1000)))
        case "slow":
            return dice.choice((6.0, 12.0, 25.0, 40.0))
        case "cut":
            return dice.random()
        case "lost_item":
            return 0.2
        case _:
            return 0.0


def _blips(dice: Random, shape: str, endpoints: Sequence[str], calls: Sequence[CallSpec]) -> tuple[Blip, ...]:
    if shape == "blip":
        kinds: tuple[BlipKind, ...] = ("reset", "reset", "refuse", "black_hole")
        number = dice.choice((1, 1, 2))
    elif shape == "reload":
        kinds, number = ("reload",), dice.choice((1, 2))
    elif dice.random() < 0.15 and shape != "calm":
        kinds, number = ("reset", "refuse", "black_hole", "reload", "half_open"), 1
    else:
        return ()
    found = []
    for _ in range(number):
        start = _between(dice, calls)
        kind = dice.choice(kinds)
        lasts = _lasts(dice) if dice.random() < 0.3 else dice.choice((0.005, 0.3)) * dice.random()
        lasts = 0.0 if kind in ("reload", "half_open") else lasts
        found.append(Blip(dice.choice(endpoints), start, start + lasts, kind))
    return tuple(sorted(found, key=lambda blip: blip.start))
