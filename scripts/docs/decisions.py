"""The drawings about the decisions of a call, and the tables of `how-it-decides.md` between its `made` marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Final

from openrouter_fallback import Settings
from openrouter_fallback.decision.beside import MOST_BESIDE
from openrouter_fallback.decision.timeouts import (
    FIRST_TOKEN_SECONDS,
    SLOW_FIRST_TOKEN_SECONDS,
    SLOW_STALL_SECONDS,
    STALL_SECONDS,
)
from openrouter_fallback.failures.kinds import FailureKind
from openrouter_fallback.failures.policy import SMART, Action, Rule
from openrouter_fallback.health import State
from openrouter_fallback.health.breaker import PROBE_SETTLES_SECONDS
from scripts.docs.drawing import LINE, Arrow, Box, drawing, text
from scripts.docs.machines import (
    BREAKER_EVENTS,
    Step,
    admitted,
    breaker_steps,
    call_steps,
    least_open_share,
    open_seconds,
)

PAGE: Final = "how-it-decides.md"

DONE_NEXT: Final[Mapping[Action, tuple[str, str]]] = {
    Action.NEXT: ("the next candidate", "at once"),
    Action.RETRY: ("the same model once more", "after a moment, then the next candidate"),
    Action.RECONNECT: ("the same model once more", "after a second, then other endpoints"),
    Action.AFFORDABLE: ("models that may cost less", "or of unknown price, then other endpoints"),
    Action.OTHER_ACCOUNT: ("another key", "models that are reached with one; else raise"),
    Action.QUEUE: ("the same model", "as soon as this machine can"),
    Action.RAISE: ("raise", "no other model is called"),
    Action.USE_UP: ("the same model", "until its attempts are used up, then the next"),
}
"""The meaning of each action, and a longer explanation."""

HURTS: Final = {"model": "the model", "endpoint": "the endpoint", None: "nothing"}


def whose(rule: Rule) -> str:
    """The object whose health a failure worsens, in words."""
    return "the model: its circuit opens at once" if rule.disables else HURTS[rule.hurts]


def made(docs: Path) -> dict[str, str]:
    """The text of the drawings, and of the page with updated tables, by file name."""
    page = (docs / PAGE).read_text()
    for name, table in (("breaker", breaker_table()), ("open", _open_times()), ("time", _deadlines())):
        page = re.sub(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", rf"\1\n{table}\n\2", page, flags=re.DOTALL)
    return {
        PAGE: page,
        "drawn/breaker.svg": breaker_drawing(),
        "drawn/call.svg": call_drawing(),
        "drawn/failures.svg": failures_drawing(),
    }


# The breaker

_SHORT: Final = {
    "a forced call is answered": "a forced call is answered",
    f"the first token came {PROBE_SETTLES_SECONDS:g} s ago": f"its first token came {PROBE_SETTLES_SECONDS:g} s ago",
}
_PROBE: Final = {"a call is answered": "the probe is answered", "a call fails": "the probe fails"}
_WIDTH: Final = 760
_BREAKER_BOXES: Final = {
    State.CLOSED: Box(5, 100, 150, 90, "closed", ("every call is admitted",), "good"),
    State.OPEN: Box(305, 100, 150, 90, "open", ("the model is skipped",), "bad"),
    State.HALF_OPEN: Box(605, 100, 150, 90, "half-open", ("one call: the probe",), "wary"),
}
_BREAKER_ARROWS: Final = {
    (State.CLOSED, State.OPEN): (Arrow("M155 122H303", 229, 28, middle=True), 24),
    (State.OPEN, State.CLOSED): (Arrow("M305 168H157", 230, 188, middle=True), 20),
    (State.OPEN, State.HALF_OPEN): (Arrow("M455 122H603", 529, 112, middle=True), 24),
    (State.HALF_OPEN, State.OPEN): (Arrow("M605 168H457", 530, 188, middle=True), 20),
    (State.HALF_OPEN, State.CLOSED): (
        Arrow("M680 190V285Q680 300 665 300H95Q80 300 80 285V192", 380, 274, middle=True),
        80,
    ),
}
"""The arrows, and the longest line of their labels in characters."""


def breaker_drawing() -> str:
    """The drawing of a breaker's states and transitions."""
    moves = _grouped(step for step in breaker_steps() if step.source != step.target)
    said = "; ".join(f"from {_words(a)} to {_words(b)}: {', '.join(events)}" for (a, b), events in moves.items())
    parts = [box.svg() for box in _BREAKER_BOXES.values()]
    for (source, target), events in moves.items():
        names = {**_SHORT, **_PROBE} if source == State.HALF_OPEN else _SHORT
        arrow, width = _BREAKER_ARROWS[State(source), State(target)]
        label = ", or ".join(names.get(event, event) for event in events)
        parts.append(arrow.svg("breaker", wrap(label, width)))
    return drawing("breaker", _WIDTH, 310, "The states of a circuit breaker", said, parts)


def _grouped(steps: Iterable[Step]) -> dict[tuple[str, str], list[str]]:
    """The events of each transition from one state to another."""
    moves: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        events = moves.setdefault((step.source, step.target), [])
        if step.event not in events:
            events.append(step.event)
    return moves


def breaker_table() -> str:
    """The table of the effect of every event in every state."""
    led = {(step.event, step.source): step.target for step in breaker_steps()}
    rows = ["| | " + " | ".join(f"in {_words(state)}" for state in State) + " |", "|---|---|---|---|"]
    rows.append("| admitted | " + " | ".join(admitted()[state] for state in State) + " |")
    for event in BREAKER_EVENTS:
        cells = [_cell(state, led.get((event, state))) for state in State]
        rows.append(f"| {_code(event)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _cell(state: State, target: str | None) -> str:
    return "" if target is None else "stays" if target == state else f"**{_words(target)}**"


def _words(state: str) -> str:
    return state.replace("_", "-")


def _code(event: str) -> str:
    return f"`{event}`" if event.endswith("()") else event


def _open_times() -> str:
    times = [f"{seconds:g}" for seconds in open_seconds()[:-1]]
    less = round((1 - least_open_share()) * 100)
    return (
        f"A breaker is open for {', '.join(times[:-1])} s, and then for {times[-1]} s from the start of each probe that"
        " fails. It is never open for longer than `disable_duration_seconds`. Each time is shortened at random by up to"
        f" {less} %, so that many processes do not probe at once. So a model is back within 30 s of an outage of any"
        " length.\n"
    )


def _deadlines() -> str:
    slow = f"{SLOW_FIRST_TOKEN_SECONDS:g} s if reasoning, images, server tools or a long prompt make the request slow"
    slow_stall = f"{SLOW_STALL_SECONDS:g} s for slow requests, and in a tool call"
    total = f"{Settings().total_timeout_seconds:g} s; for a stream it bounds the waiting, unless given with the call"
    keys = "`first_token_timeout_seconds`, a model's `timeout`"
    rows = (
        ("deadline", "runs from", "without a setting", "key"),
        ("---",) * 4,
        ("first token", "the start of connecting", f"{FIRST_TOKEN_SECONDS:g} s; {slow}", keys),
        ("stall", "the last token", f"{STALL_SECONDS:g} s; {slow_stall}", "`stall_timeout_seconds`"),
        ("attempt", "its start", "none", "`attempt_timeout_seconds`"),
        ("call", "its start", total, "`total_timeout_seconds`"),
    )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


# One call

_CALL_BOXES: Final = {
    "begun": Box(230, 12, 190, 54, "begin", ("the plan is made",)),
    "calling": Box(
        230, 150, 190, 84, "calling", ("one attempt is under way,", f"or up to {MOST_BESIDE} side by side"), "wary"
    ),
    "waiting": Box(230, 350, 190, 84, "waiting", ("for a moment, a cooldown", "or a breaker"), "wary"),
    "answered": Box(600, 140, 130, 64, "answered", ("one whole answer",), "good"),
    "raised": Box(600, 260, 130, 78, "raised", ("one error that says", "what was tried"), "bad"),
    "left": Box(600, 420, 130, 64, "left", ("connections close",)),
}
_CALL_ARROWS: Final = {
    ("begun", "calling"): Arrow("M325 66V148", 333, 112),
    ("begun", "waiting"): Arrow("M230 39H25Q10 39 10 54V377Q10 392 25 392H228", 20, 62),
    ("begun", "raised"): Arrow("M420 39H733Q748 39 748 54V284Q748 299 733 299H732", 430, 31),
    ("calling", "calling"): Arrow("M230 168H205Q190 168 190 183V203Q190 218 205 218H228", 20, 152),
    ("calling", "waiting"): Arrow("M290 234V348", 245, 296),
    ("waiting", "calling"): Arrow("M355 350V236", 363, 296),
    ("waiting", "waiting"): Arrow("M270 434V459Q270 474 285 474H310Q325 474 325 459V436", 137, 462),
    ("calling", "answered"): Arrow("M420 172H598", 430, 164),
    ("calling", "raised"): Arrow("M420 196H457Q472 196 472 211V265Q472 280 487 280H598", 480, 216),
    ("waiting", "raised"): Arrow("M420 370H505Q520 370 520 355V333Q520 318 535 318H598", 535, 356),
    ("calling", "left"): Arrow("M420 218H430Q445 218 445 233V425Q445 440 460 440H598", 456, 432),
    ("waiting", "left"): Arrow("M380 434V449Q380 464 395 464H598", 400, 481),
}
_CALL_WORDS: Final = {
    ("begun", "calling", "begin"): "a candidate is ready",
    ("begun", "waiting", "begin"): "all are rate-limited,\nand there is time to wait",
    ("begun", "raised", "begin"): "no candidate is allowed",
    ("calling", "calling", "failed"): "failed: the same, or\nthe next candidate",
    ("calling", "calling", "withheld"): "too expensive: the next",
    ("calling", "calling", "hedge"): "silent: one more attempt",
    ("calling", "calling", "first_token"): "first token: others end",
    ("calling", "waiting", "failed"): "failed",
    ("calling", "waiting", "withheld"): "",
    ("calling", "answered", "succeeded"): "the answer is whole",
    ("calling", "raised", "failed"): "failed: raise at\nonce, or no model\nis left",
    ("calling", "raised", "withheld"): "",
    ("calling", "raised", "out_of_time"): "time is over",
    ("calling", "left", "left"): "the caller left",
    ("waiting", "calling", "woke"): "the wait\nis over",
    ("waiting", "waiting", "woke"): "the wait is longer",
    ("waiting", "raised", "woke"): "no model is left",
    ("waiting", "raised", "out_of_time"): "time is over",
    ("waiting", "left", "left"): "the caller left",
}
"""The label of each event in the drawing; "" for an event that another label covers."""


def call_drawing() -> str:
    """The drawing of the states of one call."""
    steps = call_steps()
    order = list(_CALL_WORDS)
    steps.sort(key=lambda step: order.index((step.source, step.target, step.event)))
    parts = [box.svg() for box in _CALL_BOXES.values()]
    told = []
    for (source, target), events in _grouped(steps).items():
        words = [word for event in events if (word := _CALL_WORDS[source, target, event])]
        arrow = _CALL_ARROWS[source, target]
        parts.append(arrow.svg("call", [line for word in words for line in word.split("\n")]))
        told.append(f"from {source} to {target}: {', '.join(words)}".replace("\n", " "))
    return drawing("call", _WIDTH, 496, "The states of one call", "; ".join(told), parts)


# The actions after each kind of failure

_KIND_WIDTH, _PER_LINE = 143, 3
_MARKS: Final = {"model": "●", "endpoint": "■", "out": "×", None: "○"}


def failures_drawing() -> str:
    """The drawing of the kinds of failure and the next action for each."""
    rows: dict[Action, list[FailureKind]] = {}
    for kind, rule in SMART.items():
        rows.setdefault(rule.action, []).append(kind)
    parts, told, top = [], [], 5.0
    for action, kinds in rows.items():
        lines = [kinds[start : start + _PER_LINE] for start in range(0, len(kinds), _PER_LINE)]
        height = 26.0 + len(lines) * (LINE + 5)
        parts.append(f'<rect x="5" y="{top:g}" width="432" height="{height:g}" rx="8"/>')
        for number, line in enumerate(lines):
            for place, kind in enumerate(line):
                rule = SMART[kind]
                mark = _MARKS["out" if rule.disables else rule.hurts]
                at = 17 + place * _KIND_WIDTH
                parts.append(text(at, top + 29 + number * (LINE + 5), [f"{mark} {kind}"], "m"))
        middle = top + height / 2
        parts.append(Arrow(f"M437 {middle:g}H461", 0, 0).svg("failures", []))
        tone = "bad" if action is Action.RAISE else "wary" if action is Action.QUEUE else "good"
        parts.append(Box(463, top, 294, height, DONE_NEXT[action][0], DONE_NEXT[action][1:], tone).svg())
        told.append(f"{', '.join(kinds)}: {', '.join(DONE_NEXT[action])}")
        top += height + 14
    key = "● counts against the model   ■ against its endpoint   × opens the circuit at once   ○ against nothing"
    parts.append(text(12, top + 12, [key], "s"))
    title = "What each kind of failure leads to"
    return drawing("failures", _WIDTH, top + 24, title, "; ".join(told), parts)
