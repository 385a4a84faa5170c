"""The cost of a call of a healthy model: client CPU, cold start, memory. All peers call one server of fixed bytes."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from benchmarks import runner

from . import environments
from .crew import Failed, Member
from .table import REFERENCE, Peer

PATIENCE = 120.0


@dataclass(frozen=True)
class Load:
    """One column of the table. A block has `calls` calls of one surface."""

    name: str
    model: str
    surface: str
    calls: int
    at_a_time: int = 1


LOADS = (
    Load("sync, 20 tokens", "bench/20", "call", 40),
    Load("async, 20 tokens", "bench/20", "acall", 40),
    Load("stream, 500 chunks", "bench/500", "stream", 4),
    Load("async stream, 500 chunks", "bench/500", "astream", 4),
    Load("64 at a time, 20 tokens", "bench/20", "acall", 128, at_a_time=64),
)
COLD = ("cold start, s", "cold start, CPU s", "memory when imported, MiB", "memory after 64 at a time, MiB")
_COLD_KEYS = ("seconds", "cpu", "imported", "busy")


def measure(
    peers: Sequence[Peer], *, rounds: int, cold_rounds: int, hasty: bool, here: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """By load and peer: CPU milliseconds per call and the ratio to the reference, with quartiles; and the cold starts.

    In each round every peer runs one block; the order rotates from round to round. A ratio compares two blocks of the
    same round. The clients run on one core, one at a time, and the server on another core. `hasty` shortens the blocks.
    """
    found: dict[str, Any] = {}
    with runner.served("fixed") as url:
        with contextlib.ExitStack() as stack:
            crew = [stack.enter_context(Member(peer, here=here, core=runner.CLIENT_CORE)) for peer in peers]
            for load in LOADS:
                say(f"overhead: {load.name}")
                found[load.name] = _load(
                    crew, replace(load, calls=max(load.at_a_time, load.calls // 8)) if hasty else load, url, rounds
                )
        say("overhead: cold starts and memory")
        found.update(_cold(peers, url, cold_rounds, warm=not hasty, here=here))
    return found


def _load(crew: Sequence[Member], load: Load, url: str, rounds: int) -> dict[str, Any]:
    blocks: dict[str, list[float]] = {member.peer.name: [] for member in crew}
    failed: dict[str, str] = {}
    for number in range(rounds + 1):  # The first round warms up.
        turn = number % len(crew)
        for member in (*crew[turn:], *crew[:turn]):
            name = member.peer.name
            if name in failed:
                continue
            tell = partial(member.tell, "block", patience=PATIENCE, base_url=url, key=runner.KEY)
            try:
                block = tell(model=load.model, surface=load.surface, calls=load.calls, at_a_time=load.at_a_time)
            except Failed as failure:
                failed[name] = str(failure)
                continue
            if number:
                blocks[name].append(block["cpu"] * 1e3)
    return _against_reference(blocks) | {name: {"failed": why} for name, why in failed.items()}


def _against_reference(blocks: dict[str, list[float]]) -> dict[str, Any]:
    reference = blocks.get(REFERENCE.name) or []
    found = {}
    for name, values in blocks.items():
        if not values:
            continue
        row: dict[str, Any] = {"median": statistics.median(values), "blocks": values}
        ratios = [mine / other for mine, other in zip(values, reference, strict=False)]
        if ratios:
            row |= {"ratio": statistics.median(ratios), "quartiles": _quartiles(ratios)}
        found[name] = row
    return found


def _quartiles(values: Sequence[float]) -> tuple[float, float]:
    if len(values) < 2:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def _cold(peers: Sequence[Peer], url: str, rounds: int, *, warm: bool, here: bool) -> dict[str, Any]:
    figures: dict[str, dict[str, list[float]]] = {name: {peer.name: [] for peer in peers} for name in COLD}
    failed: dict[str, str] = {}
    for number in range(-warm, rounds):  # The first round, -1, compiles the bytecode.
        turn = number % len(peers)
        for peer in (*peers[turn:], *peers[:turn]):
            if peer.name in failed:
                continue
            arguments = (url, runner.KEY, json.dumps(dict(peer.options)))
            try:
                done = subprocess.run(
                    environments.command(peer, "cold.py", *arguments, here=here),
                    capture_output=True,
                    text=True,
                    env=dict(environments.variables()),
                    timeout=PATIENCE,
                    check=True,
                    preexec_fn=partial(runner.pin, runner.CLIENT_CORE),
                )
            except subprocess.SubprocessError as failure:
                words = getattr(failure, "stderr", None) or str(failure)
                failed[peer.name] = f"cold start: {str(words).strip()[-300:]}"
                continue
            values = json.loads(done.stdout.strip().rpartition("\n")[2])
            if number >= 0:
                for name, key in zip(COLD, _COLD_KEYS, strict=True):
                    figures[name][peer.name].append(values[key])
    reasons = {name: {"failed": why} for name, why in failed.items()}
    return {name: _against_reference(blocks) | reasons for name, blocks in figures.items()}
