"""The cost of an outage of the primary: answers, waiting time, failed requests. Each peer has its own emulator."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from openrouter_fallback.emulator import Emulator

from .crew import Failed, Member
from .table import Peer

FIRST, SECOND = "bench/first", "bench/second"
HEALTHY_SECONDS = 0.05
TIMEOUT = 2.0
"""Seconds after which a silent model fails, set with each peer's own option. The defaults are 30 s (ours) to 10 min."""
DEADLINE = 20.0
"""Seconds after which the benchmark stops waiting for an answer."""
AT_A_TIME = 4
TEXT = "The whole answer, one word after another, and then its end."


@dataclass(frozen=True)
class Scenario:
    """One outage of the primary; the second model is healthy."""

    name: str
    doc: str
    fault: str | None
    details: Mapping[str, Any] = field(default_factory=dict)
    surface: str = "acall"
    probability: float = 1.0


SCENARIOS = (
    Scenario("healthy", "nothing is wrong", None),
    Scenario("dead", "each request is a 503", "provider_overloaded"),
    Scenario("rate-limited", "each is a 429 with Retry-After: 5", "rate_limit_exceeded", {"retry_after": 5}),
    Scenario("hung", "no byte ever comes", "no_response"),
    Scenario("stalling", "the first token of a stream, then silence", "stall_dead", {"after_tokens": 1}, "astream"),
    Scenario("flaky", "30 % of the requests are a 503", "provider_overloaded", probability=0.3),
)


def measure(
    peers: Sequence[Peer],
    *,
    calls: int,
    seconds: float,
    here: bool,
    jobs: int,
    scenarios: Sequence[Scenario],
    say: Callable[[str], None],
) -> dict[str, dict[str, Any]]:
    """By scenario and peer: the share of complete answers, seconds, requests. `jobs` peers are measured at a time."""

    def one(peer: Peer) -> dict[str, dict[str, Any]]:
        found = {}
        with Emulator() as emulator, Member(peer, here=here) as member:
            for scenario in (scenarios[0], *scenarios):  # the first run warms up and does not count
                try:
                    found[scenario.name] = _scenario(member, emulator, scenario, calls, seconds)
                except Failed as failure:
                    found[scenario.name] = {"failed": str(failure)}
        say(f"outages: {peer.name}")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        results = dict(zip((peer.name for peer in peers), pool.map(one, peers), strict=True))
    for rows in results.values():
        normal = rows.get("healthy", {}).get("p50")
        for row in rows.values():
            for name in ("p50", "p99"):
                if normal is not None and row.get(name) is not None:
                    row[f"added_{name}"] = max(0.0, row[name] - normal)
    return {scenario.name: {name: rows[scenario.name] for name, rows in results.items()} for scenario in scenarios}


def _scenario(member: Member, emulator: Emulator, scenario: Scenario, calls: int, seconds: float) -> dict[str, Any]:
    emulator.clear()
    emulator.pace(latency=HEALTHY_SECONDS, token_interval=0.002)
    emulator.reply(text=TEXT)
    if scenario.fault is not None:
        emulator.fault(scenario.fault, model=FIRST, probability=scenario.probability, **scenario.details)
    answer = member.tell(
        "outage",
        patience=seconds + DEADLINE + 120,
        base_url=emulator.base_url,
        key=emulator.api_key,
        models=[FIRST, SECOND],
        timeout=TIMEOUT,
        surface=scenario.surface,
        calls=calls,
        at_a_time=AT_A_TIME,
        seconds=seconds,
        deadline=DEADLINE,
    )
    outcomes = answer["outcomes"]
    whole = [outcome["seconds"] for outcome in outcomes if outcome["text"] == TEXT and outcome["error"] is None]
    wrong = [outcome for outcome in outcomes if outcome["error"] is None and not outcome["hung"]]
    faulty = sum(request.fault is not None for request in emulator.log)
    return {
        "calls": len(outcomes),
        "answered": len(whole) / len(outcomes),
        "passed_as_good": sum(outcome["text"] != TEXT for outcome in wrong) / len(outcomes),
        "hung": sum(outcome["hung"] for outcome in outcomes) / len(outcomes),
        "errors": sorted({outcome["error"] for outcome in outcomes if outcome["error"] is not None}),
        "p50": statistics.median(whole) if whole else None,
        "p99": statistics.quantiles(whole, n=100, method="inclusive")[98] if len(whole) > 1 else None,
        "in_vain_per_call": faulty / len(outcomes),
        "requests_per_call": len(emulator.log) / len(outcomes),
    }
