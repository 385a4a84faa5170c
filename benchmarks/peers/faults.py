"""The fault matrix for every peer: each fault of the first model, with each of the four kinds of calls.

The rows are those of this project (`tests/cases/matrix.py`), without rows about features that peers lack. Both models
have the same answer. A cell is good if the caller gets this text once and complete. If no other model may be called,
or if text was already delivered, a cell is also good if the caller gets an error that names the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.cases.matrix import CASES, Case

from openrouter_fallback.emulator import FAULTS, Emulator
from openrouter_fallback.emulator.faults.errors import ERRORS
from openrouter_fallback.failures.kinds import FailureKind

from .crew import Failed, Member
from .table import Peer

SURFACES = {"invoke": "call", "ainvoke": "acall", "stream": "stream", "astream": "astream"}
TIMEOUT = 3.0
DEADLINE = 15.0
"""Seconds: TIMEOUT is each peer's limit for a model's silence; after DEADLINE the benchmark stops waiting."""
TEXT = "Whole, in many pieces: “naïve” 東京 e\u0301 — one two three four five six seven eight nine ten."
PACE = 0.02
"""Seconds between two tokens before a fault, so that the first tokens are delivered before the fault."""
MOST_BYTES = 2**24


def _class_of(case: Case) -> str:
    """The row of the picture for a case: the first class that matches."""
    place = case.details.get("place")
    for name, holds in {
        "all models fail": case.everywhere,
        "odd but good answers": case.kind is None,
        "an error after some text": case.text_first and place is not None,
        "an error in a 200 body": place == "body",
        "an error in the stream": place is not None,
        "silence from the start": case.hasty and not case.text_first,
        "silence after some text": case.hasty,
        "cut off after some text": case.fault in ("truncated", "cut", "reset_mid") and case.text_first,
        "cut off before any text": case.fault in ("truncated", "cut", "reset"),
        "empty answers": case.fault in ("empty", "reasoning_only", "no_choices"),
        "garbage": case.fault in ("bad_json", "html", "redirect"),
        "content filter": case.fault == "content_filter",
        "a status that must be told": case.raises is not None,
    }.items():
        if holds:
            return name
    return "a status that another model need not have"


_TYPICAL = frozenset(
    {
        "authentication",
        "content_policy_violation",
        "context_length_exceeded",
        "http",
        "invalid_request",
        "model_not_found",
        "moderation",
        "payment_required",
        "provider_overloaded",
        "provider_unavailable",
        "rate_limit_exceeded",
        "rejected",
        "server",
        "timeout",
    }
)
_TYPICAL_IN_PLACES = frozenset({"authentication", "provider_unavailable", "rate_limit_exceeded", "server"})


def _applies(case: Case) -> bool:
    """Whether a case applies to peers. Cases about tools, other endpoints and our limit of an event's size do not."""
    return not (case.tools or ":" in case.first or ":" in case.second or case.details.get("size", 0) > MOST_BYTES)


def _typical(case: Case) -> bool:
    names = _TYPICAL_IN_PLACES if case.details.get("place") else _TYPICAL
    return case.fault in names or case.fault not in ERRORS or case.everywhere


_ROWS = {
    "all": tuple(case for case in CASES if _applies(case)),
    "typical": tuple(case for case in CASES if _applies(case) and _typical(case)),
}
CLASSES = tuple(dict.fromkeys(_class_of(case) for case in _ROWS["typical"]))
_ROWS["quick"] = tuple(next(case for case in _ROWS["typical"] if _class_of(case) == name) for name in CLASSES)


def rows(which: str, classes: Container[str] = CLASSES) -> list[Case]:
    """The cases of the matrix: "all", "typical", or "quick" (one case of each class)."""
    return [case for case in _ROWS[which] if _class_of(case) in classes]


def measure(
    peers: Sequence[Peer], *, rows: Sequence[Case], here: bool, jobs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """The cells by peer: whether each is good, and a note. `jobs` peers are measured at a time."""

    def one(peer: Peer) -> dict[str, Any]:
        try:
            with Emulator() as emulator, Member(peer, here=here) as member:
                found = _cells(member, emulator, rows)
        except Failed as failure:
            found = {"failed": str(failure)}
        say(f"faults: {peer.name}")
        return found

    with ThreadPoolExecutor(jobs) as pool:
        return dict(zip((peer.name for peer in peers), pool.map(one, peers), strict=True))


def _cells(member: Member, emulator: Emulator, rows: Sequence[Case]) -> dict[str, Any]:
    asked: list[tuple[Case, str]] = [
        (case, surface) for case in rows for surface in SURFACES if "stream" in surface or not case.only_streamed
    ]
    asked.sort(key=lambda cell: not cell[0].hasty)  # cells that wait are in the same waves
    emulator.reply(text=TEXT)
    cells = [([f"warm-{surface}/first", f"warm-{surface}/second"], surface) for surface in SURFACES.values()]
    for number, (case, surface) in enumerate(asked):
        models = [f"bench-{number}/first", f"bench-{number}/second"]
        for model in models if case.everywhere else models[:1]:
            emulator.fault(case.fault, model=model, **case.details)
            if case.text_first:
                emulator.pace(model=model, token_interval=PACE)
        if "text" in case.answer:
            emulator.reply(text=case.answer["text"], model=models[0])
        cells.append((models, SURFACES[surface]))
    answer = member.tell(
        "cells",
        patience=DEADLINE * len(cells) / 8 + 120,
        base_url=emulator.base_url,
        key=emulator.api_key,
        timeout=TIMEOUT,
        deadline=DEADLINE,
        cells=cells,
    )
    found = []
    for (case, surface), outcome in zip(asked, answer["outcomes"][len(SURFACES) :], strict=True):
        good, note = judge(case, surface, outcome)
        cell = {"case": case.id, "class": _class_of(case), "surface": surface, "good": good, "note": note}
        found.append({**cell, "seconds": outcome["seconds"], "error": outcome["message"][:300]})
    return {"cells": found}


def judge(case: Case, surface: str, outcome: dict[str, Any]) -> tuple[bool, str]:
    """Whether the outcome of a call is good, and a short description of the outcome."""
    if outcome["hung"]:
        return False, f"no end within {DEADLINE:g} s"
    text, wanted = outcome["text"], case.answer.get("text", TEXT)
    if outcome["error"] is None:
        if outcome["length"] == len(wanted) and wanted.startswith(text):
            return True, "whole"
        return False, _passed(text)
    if text and case.text_first:
        return True, "error after some text"
    if text:
        return False, "error after some text, needlessly"
    if case.raises is None:
        return (
            False,
            "error, though the answer was whole" if case.kind is None else "error, though another could answer",
        )
    return (True, "error that tells why") if _tells(case, outcome) else (False, "error that tells nothing")


def _passed(text: str) -> str:
    if not text:
        return "nothing, passed as an answer"
    if TEXT.startswith(text):
        return "cut off, passed as an answer"
    return "said twice" if text.endswith(TEXT) else "something else, passed as an answer"


_WORDS: Mapping[FailureKind | None, tuple[str, ...]] = {
    FailureKind.CONTENT_POLICY: ("content_filter", "content filter", "content policy", "content_policy")
}


def _tells(case: Case, outcome: dict[str, Any]) -> bool:
    """Whether the error, or one of its causes, contains the upstream's status or message."""
    row = ERRORS.get(case.fault)
    status = case.details.get("status", row.status if row else FAULTS[case.fault].details.get("status"))
    words = [case.details.get("message", row.message if row else None), *_WORDS.get(case.kind, ())]
    message = outcome["message"].lower()
    if status in outcome["statuses"] or re.search(rf"\b{status}\b", message):
        return True
    known = [word.lower() for word in words if word]
    return any(word in message for word in known) or (status is None and not known)
