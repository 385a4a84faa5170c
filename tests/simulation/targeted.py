"""Handwritten worlds, each for one rule. Random worlds have these cases rarely, or only with many calls."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from .fleet import Fleet
from .worlds import Blip, CallSpec, Kind, Model, Phase, World
from .worlds import world as seeded

Played = tuple[World, Fleet | None]
"""A world, and the fleet that plays the world; None for one process."""


def model(place: int, *phases: tuple[float, Kind] | tuple[float, Kind, float], first: float = 0.2) -> Model:
    """The model at this position of the chain. It is up outside of the given phases; three tokens follow the first."""
    told = tuple(Phase(*phase) for phase in ((0.0, "up"), *phases))
    return Model(f"lab/m{place}", "openrouter", first, 3, 0.02, told)


def calls(*waves: tuple[float, int, float], **common: Any) -> tuple[CallSpec, ...]:
    """Waves of calls. Each wave is (start of the first call, number of calls, seconds between calls)."""
    times = sorted(start + number * gap for start, count, gap in waves for number in range(count))
    return tuple(CallSpec(number, at, **common) for number, at in enumerate(times))


def world(
    shape: str,
    models: tuple[Model, ...],
    when: tuple[CallSpec, ...],
    *,
    blips: tuple[Blip, ...] = (),
    fleet: Fleet | None = None,
    **settings: Any,
) -> Played:
    """A world of these models and calls; `settings` are the client's."""
    return World(0, shape, models, blips, when, settings, 60.0, seen=False), fleet


def _blip(at: float, kind: Any, lasts: float = 0.0, process: int | None = None) -> Blip:
    return Blip("openrouter", at, at + lasts, kind, process)


UP = model(1)
RELOAD = world(
    "reload", (model(0),), calls((0.0, 10, 0.01), (3.0, 10, 0.01)), blips=(_blip(2.0, "reload"),),
    max_retries_per_model=1,
)  # fmt: skip
ONE_RESET = world("blip", (model(0, first=1.0),), calls((0.0, 60, 0.005)), blips=(_blip(0.6, "reset", 0.005),))
TWO_RESETS = world(
    "blip", (model(0, first=1.0), UP), calls((0.0, 40, 0.005), (4.0, 40, 0.005), (7.0, 20, 0.05)),
    blips=(_blip(0.5, "reset", 0.005), _blip(4.5, "reset", 0.005)),
)  # fmt: skip
_EPISODES: list[tuple[float, Kind]] = []
for _n in range(6):
    _EPISODES += [(20.0 * _n, "down"), (20.0 * _n + 0.9, "up")]
FIVE_SILENT = world("silent", (*(model(place, (0.0, "silent")) for place in range(5)), model(5)), calls((0.0, 3, 1.0)))
ALL_DOWN = world("dead", (model(0, (0.0, "down")), model(1, (0.0, "down"))), calls((0.0, 60, 0.02)))
SHORT_OUTAGES = world(
    "alone", (model(0, *_EPISODES, first=0.05),), calls(*((20.0 * n + 0.01, 5, 0.001) for n in range(6)))
)
_FLASHES: tuple[tuple[float, Kind], ...] = ((0.0, "down"), (19.0, "up"))
REFUSED = world(
    "blip", (model(0),), calls((0.0, 3, 0.1), (1.0, 40, 0.01), (3.1, 40, 0.01)), blips=(_blip(0.9, "refuse", 2.0),)
)
FAILING_OVER = world(
    "failing_over", (model(0, (0.0, "down")), model(1, first=11.0)), calls((0.0, 60, 0.001)), max_retries_per_model=1
)
RECOVERED = world("home", (model(0, (0.0, "down"), (5.0, "up")), UP), calls((0.0, 10, 0.5), (9.0, 400, 0.01)))
FEW_CALLS = world(
    "home", (model(0, (0.0, "down"), (12.0, "up")), UP), calls((0.0, 5, 0.5), (10.0, 16, 5.0)), fleet=Fleet(1)
)
SILENT_STORE = world(
    "home", (model(0, (0.0, "down"), (3.0, "up")), UP), calls((0.0, 8, 0.3), (8.6, 60, 0.2), idempotent=False),
    fleet=Fleet(2, outages=((8.5, 80.0),), silent=True),
)  # fmt: skip
SILENT = world("home", (model(0, (2.0, "silent")), UP), calls((0.0, 90, 1.0)))
BAD_LINE = world(
    "home", (model(0, first=3.0), UP), calls((5.0, 9, 0.4), (9.0, 120, 0.5)), fleet=Fleet(3),
    blips=(_blip(8.0, "black_hole", 50.0, process=0),),
)  # fmt: skip
ANY_ERROR = world(
    "home", (model(0, (5.0, "error"), (6.0, "up")), UP), calls((0.0, 90, 1.0)), policy="any_error",
    disable_duration_seconds=60.0,
)  # fmt: skip
COMBINATION = world(
    "lost_item", (model(0, (0.0, "combination"), (1.0, "up")), UP), calls((0.0, 5, 0.1), (40.0, 5, 1.0), tools=True)
)
LACKING = world(
    "home", (model(0, (0.0, "lacking"), (1.0, "up")), UP), calls((0.0, 3, 0.1), (640.0, 5, 1.0), tools=True)
)
LACKED = world(
    "home", (model(0, (0.0, "lacking"), (1.0, "up")), model(1, (40.0, "down"), (42.0, "up"))),
    calls((0.0, 3, 0.1), (40.5, 8, 0.1), (80.0, 5, 1.0), (130.0, 15, 1.0), tools=True),
)  # fmt: skip
AUTH_BLIP = world("home", (model(0, (5.0, "unauthorized"), (6.0, "up")), UP), calls((0.0, 3, 0.5), (5.1, 5, 0.1)))
SILENT_LATER = world(
    "silent", (model(0, (100.0, "silent")), model(1, (126.0, "down"))), calls((0.0, 260, 0.38), (100.5, 4, 0.1)),
    total_timeout_seconds=120.0,
)  # fmt: skip
SLOW_ANSWER = world(
    "silent", (model(0, (0.0, "slow", 40.0)), model(1, (0.0, "down"))), calls((0.0, 4, 1.0)), total_timeout_seconds=60.0
)
SLOWER_NOW = world("silent", (model(0, (106.0, "slow", 8.0)), UP), calls((0.0, 700, 0.15), (106.0, 140, 1.0)))
ALL_SLOW = world(
    "silent",
    (
        model(0, (0.0, "combination"), (2.5, "up"), (14.0, "slow", 12.0)),
        *(model(n, (14.0, "slow", 12.0)) for n in (1, 2)),
    ),
    calls((0.0, 1200, 0.01), (14.0, 30, 5.0), tools=True),
)  # fmt: skip
_TURNS: list[tuple[float, Kind, float]] = []
for _n in range(10):
    _TURNS += [(40.0 + 6.0 * _n, "slow", 8.0), (44.5 + 6.0 * _n, "up", 0.0)]
SLOW_IN_PARTS = world("silent", (model(0, *_TURNS, first=0.05), UP), calls((0.0, 600, 0.06), (40.1, 48, 1.2)))
DRIP = world("drip", (model(0, (0.0, "drip", 1000.0)), UP), calls((0.0, 4, 0.1)), total_timeout_seconds=60.0)
BROWN_OUT = world("storm", (model(0, (0.0, "flaky", 0.5)),), calls((0.0, 400, 0.02)))
HALF_OPEN = world(
    "limited", (model(0, (0.14, "limited", 5.0), (0.56, "up")),), calls((0.0, 20, 0.02), streamed=True),
    blips=(_blip(0.41, "half_open"),), total_timeout_seconds=45.0,
)  # fmt: skip

HELD: dict[str, tuple[Played, int]] = {
    "the only model's kept connections are half-open": (HALF_OPEN, 20),
    "one attempt each, all circuits open, the second model recovers within milliseconds": (
        (seeded(50105), None), 45,
    ),
    "a slow first model, beside which the second breaks off": ((seeded(370171, "mixed"), None), 50),
    "a stream was cut off, and the next model is silent until the deadline": ((seeded(504291), None), 22),
    "a cooldown that passes while the call waits for the retry budget": ((seeded(508902), None), 46),
    "30 s in all: the first model breaks off, and the second is silent": ((seeded(561218), None), 54),
    "a limit of 120 s, then one of 20 s: the call waits for its own Retry-After": ((seeded(573166), None), 9),
    "a stream that drips is continued by the next model, in its own 60 s": (
        world("drip", (model(0, (0.0, "drip", 1000.0)), UP), calls((0.0, 20, 1.0), streamed=True, total=60.0)),
        20,
    ),
    "a short failure of the first model, and a second that drips": ((seeded(644999), None), 43),
    "the first model's answer is cut off, the second refuses a connection, and drips": ((seeded(19959), None), 45),
    "51 calls at once, a short failure of the first model, and a second that is down": ((seeded(561431), None), 51),
    "a silent first model, and a second model whose connections were silent": ((seeded(506046), None), 27),
    "the connections of all models are silent for 168 s, and the retry budget is empty": ((seeded(301406), None), 0),
    "a Retry-After that ends as the call's time does, and a limit that ends earlier": ((seeded(400397), None), 29),
    "the only model's Retry-After ends within the last second of the call, as it says": (
        world("limited", (model(0, (0.0, "limited", 19.0), (19.0, "up")),), calls((0.05, 1, 1.0), total=20.0)),
        1,
    ),
    "the last model is silent, and the first has refused once": (
        world(
            "mixed",
            (model(0, (0.9, "error"), (1.5, "up")), model(1, (0.0, "silent"))),
            calls((1.0, 3, 0.1), streamed=True),
        ),
        3,
    ),
    "in a fleet, the second model cuts its answers, and the first is silent: a waiting call asks for the lease": (
        (seeded(600813), Fleet(3, latency=0.001)),
        54,
    ),
    "in a fleet, a call that has used its attempts takes no lease from those that have not": (
        (seeded(690494), Fleet(5, latency=0.001, outages=((1.7, 22.0),), silent=True)),
        49,
    ),
    "all models of a fleet are down, and its store answers after 200 ms": (
        world(
            "dead",
            (model(0, (0.0, "error")), model(1, (0.0, "error"))),
            calls((0.0, 50, 0.3)),
            fleet=Fleet(5, latency=0.2),
        ),
        0,
    ),
    "a stream of 20 s whose model falls silent after its first tokens": (
        world(
            "silent", (model(0, (0.0, "drip", 5.0)), UP), calls((0.0, 20, 1.0), streamed=True, total=20.0)
        ),
        20,
    ),
    "a limit without Retry-After, over after 70 s, one model": (
        world(
            "limited", (model(0, (0.0, "limited"), (70.0, "up")),), calls((0.0, 45, 1.5))
        ),
        25,
    ),
    "the only model without an open circuit falls silent, streamed": (
        world(
            "mixed",
            (model(0, (2.0, "error"), (60.0, "up")), model(1, (9.0, "silent"))),
            calls((0.0, 40, 0.5), streamed=True),
        ),
        39,
    ),
    "a limit of 120 s that another call's answer has lifted": (
        world(
            "limited",
            (model(0, (1.0, "limited", 120.0), (1.2, "up")), model(1, (0.0, "limited", 120.0))),
            calls((0.9, 1, 0.0), (1.05, 1, 0.0)),
            total_timeout_seconds=60.0,
        ),
        2,
    ),
    "a limit with Retry-After 5, after others without, one model": (
        world(
            "limited",
            (model(0, (0.0, "limited"), (310.0, "limited", 5.0), (317.0, "up")),),
            calls(*((at, 1, 0.0) for at in (0.0, 5.0, 10.0, 20.0, 40.0, 80.0, 150.0, 230.0, 311.0))),
            total_timeout_seconds=60.0,
        ),
        1,
    ),
}  # fmt: skip
"""Worlds that break no invariant, each with the least number of answered calls."""

# The known losses. `docs/do-no-harm.md` has the figures.

KNOWN_LOSSES: dict[str, Played] = {
    "a chain of one that answers every twentieth request, 50 calls a second": world(
        "storm", (model(0, (0.0, "flaky", 0.95)),), calls((0.0, 300, 0.02))
    ),
    "a model that is well for one second in twenty, 5 calls a second": world(
        "alone",
        (model(0, *[(20.0 * n + after, kind) for n in range(4) for after, kind in _FLASHES]),),
        calls((1.0, 300, 0.2)),
    ),
    "all models are down, 50 calls a second": world(
        "dead", (model(0, (0.0, "down")), model(1, (0.0, "down"))), calls((0.0, 300, 0.02))
    ),
    "idempotent=False and one attempt: kept connections die": (
        replace(RELOAD[0], calls=calls((0.0, 10, 0.01), (3.0, 10, 0.01), idempotent=False)), None,
    ),
    "first_token_timeout_seconds: 2, and a model that needs 3 s": world(
        "silent", (model(0, first=3.0),), calls((0.0, 20, 1.0)), first_token_timeout_seconds=2.0
    ),
    "two models cut every answer, the first recovers after 5 s": (seeded(526137), None),
    "a limit that is lifted 18 s before its Retry-After ends, and comes back after 4 s": world(
        "limited", (model(0, (0.0, "limited", 20.0), (2.0, "up"), (6.0, "limited", 20.0)),), calls((0.5, 30, 0.25))
    ),
    "three silent models before one that is well": world(
        "silent", (*(model(place, (0.0, "silent")) for place in range(3)), model(3)), calls((0.0, 10, 1.0))
    ),
    "60 s in all, a stream of 40 s at 6 characters a second, the next model is down": world(
        "drip",
        (replace(model(0), tokens=20, gap=2.0), model(1, (0.0, "down"))),
        calls((0.0, 12, 1.0), streamed=True, total=60.0),
    ),
}  # fmt: skip

BREAKS: dict[str, set[str]] = {
    "idempotent=False and one attempt: kept connections die": {"I1", "I3"},
    "first_token_timeout_seconds: 2, and a model that needs 3 s": {"I1", "I3"},
    "60 s in all, a stream of 40 s at 6 characters a second, the next model is down": {"I1", "I3"},
}
"""The invariants that these worlds break because of a setting of the user."""
