"""The fault matrix for every peer: each way in which the first model fails, on each of the four ways to ask.

The rows are this project's own (`tests/cases/matrix.py`), but for those that only it has words for. Both models would
say the same, so a cell is good if the caller gets that text, whole, once; or, where no other model may be asked or text
was delivered already, an error that tells what happened.
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
"""Seconds: the first is each peer's bound on a model's silence, after the second nobody waits any more."""
TEXT = "Whole, in many pieces: “naïve” 東京 e\u0301 — one two three four five six seven eight nine ten."
PACE = 0.02
"""Between two tokens where the fault comes after some: the first of them is delivered before."""
MOST_BYTES = 2**24


def _class_of(case: Case) -> str:
    """Which line of the picture a row belongs to; the first that holds."""
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
    """Rows about tools, other endpoints and this project's bound on an event's size say nothing of peers."""
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
    """The rows of the matrix: "all", the "typical" ones, or ("quick") one of each class."""
    return [case for case in _ROWS[which] if _class_of(case) in classes]


def measure(
    peers: Sequence[Peer], *, rows: Sequence[Case], here: bool, jobs: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """By peer: each cell as wanted or not, with a note; `jobs` peers at once."""

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
    asked.sort(key=lambda cell: not cell[0].hasty)  # Those that wait wait together.
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
    """Whether the caller got what he should, and in a few words what he got."""
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
    """The upstream's status or its words are in the error, or in one of its causes."""
    row = ERRORS.get(case.fault)
    status = case.details.get("status", row.status if row else FAULTS[case.fault].details.get("status"))
    words = [case.details.get("message", row.message if row else None), *_WORDS.get(case.kind, ())]
    message = outcome["message"].lower()
    if status in outcome["statuses"] or re.search(rf"\b{status}\b", message):
        return True
    known = [word.lower() for word in words if word]
    return any(word in message for word in known) or (status is None and not known)
