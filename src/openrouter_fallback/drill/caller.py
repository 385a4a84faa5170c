"""Makes the calls of one run, and records them by the emulator's log, not by what the client says of itself.

Only one thing is taken from the client: which models it leaves out, and until when. What it does then, the server says.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

from .. import Attempt, FailureKind, FallbackError
from ..emulator import Request
from ..events import AttemptEnded, Event
from .records import Asked, Call, Change, Outcome, Run
from .scenarios import Scenario
from .stage import Stage
from .surfaces import QUESTION, TASK, WORD, Said, Surface

ENOUGH_UNANSWERED = 3
_MARGIN = 0.01
_MARK = re.compile(r"\[drill call (\d+)\]")
_FILLER = "All work and no play makes a long prompt. "
_FILLER_TOKENS = 9

_current: ContextVar[_Trace | None] = ContextVar("openrouter_fallback_drill_call", default=None)


@dataclass(slots=True)
class _Trace:
    """A call as its caller saw it. `dead` says until when models were left out as it began, `open` who was not."""

    number: int
    mode: str
    begun: float
    dead: Mapping[str, float]
    open: frozenset[str]
    ended: float = 0.0
    said: Said | None = None
    error: str = ""
    message: str = ""
    attempts: list[tuple[float, Attempt]] = field(default_factory=list)
    knocks: int = 0


class Caller:
    """The workload of one scenario through one surface. `remembers` is False for a plain client.

    `told` is called after every call with its number, whether it got an answer, and the model that gave it. No call
    begins once `stopped` is set.
    """

    def __init__(
        self,
        stage: Stage,
        scenario: Scenario,
        surface: Surface,
        *,
        remembers: bool,
        stopped: threading.Event,
        told: Callable[[int, bool, str | None], object] = lambda *_: None,
    ) -> None:
        self._stage = stage
        self._workload = scenario.workload
        self._surface = surface
        self._client = surface.client
        self._remembers = remembers
        self._endless = all(fault.requests is None and fault.seconds is None for fault in scenario.faults)
        self._stopped = stopped
        self._told = told
        self._names = stage.names() if remembers else {stage.key(stage.primary): stage.primary}
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._traces: list[_Trace] = []
        self._changes: list[Change] = []
        self._states: dict[str, str] = {}
        self._unanswered = self._answered = 0
        self._warm_up()
        self._begun = time.monotonic()
        self._unsubscribe = self._client.subscribe(self._listen)

    @property
    def states(self) -> Mapping[str, str]:
        """The breakers now, by model."""
        return dict(self._states)

    @property
    def gave_up(self) -> bool:
        """Nobody answers, and nothing will change that: more calls would show nothing."""
        return self._remembers and self._endless and not self._answered and self._unanswered >= ENOUGH_UNANSWERED

    def make(self, calls: int, seconds: float | None = None) -> None:
        """Make so many calls, or calls for so many seconds."""
        until = None if seconds is None else time.monotonic() + seconds
        turns = iter(range(calls)) if until is None else count()
        if self._workload.concurrency == 1:
            self._work(turns, until)
            return
        with ThreadPoolExecutor(self._workload.concurrency) as pool:
            try:
                for done in [pool.submit(self._work, turns, until) for _ in range(self._workload.concurrency)]:
                    done.result()
            except BaseException:
                self._stopped.set()
                raise

    def wait_for_primary(self) -> None:
        """Wait until the primary may be tried again."""
        left = self._left_out().get(self._stage.primary)
        while left is not None:
            time.sleep(left + _MARGIN)
            left = self._left_out().get(self._stage.primary)

    def run(self) -> Run:
        """What has happened."""
        self._unsubscribe()
        seconds = time.monotonic() - self._begun
        traces = sorted(self._traces, key=lambda trace: trace.begun)
        entries: dict[int, list[Request]] = {}
        for entry in self._stage.emulator.log:
            number = _number(entry)
            if number is not None and entry.model is not None:
                entries.setdefault(number, []).append(entry)
        judge = _Judge(self._stage, self._names, self._begun)
        calls = tuple(judge.call(trace, entries.get(trace.number, [])) for trace in traces)
        changes = tuple(sorted(self._changes, key=lambda change: change.at))
        return Run(calls, changes, seconds, bool(judge.ever_dead), self._stage.port is not None)

    def _warm_up(self) -> None:
        """Make the first connection before anything is timed, and forget what was learnt by it."""
        if self._stage.port is None:
            with suppress(FallbackError):
                self._client.chat(QUESTION)
            self._client.reset()

    def _work(self, turns: Iterator[int], until: float | None) -> None:
        while not self.gave_up and not self._stopped.is_set() and (until is None or time.monotonic() < until):
            with self._lock:
                turn = next(turns, None)
                number = next(self._numbers)
            if turn is None:
                return
            self._call(number, self._workload.modes[turn % len(self._workload.modes)])
            if self._workload.pause:
                time.sleep(self._workload.pause)

    def _call(self, number: int, mode: str) -> None:
        if not self._remembers:
            self._client.reset()
        begun = time.monotonic()
        left = self._left_out()
        still = frozenset(self._stage.chain) - left.keys()
        trace = _Trace(number, mode, begun, {name: begun + seconds for name, seconds in left.items()}, still)
        self._look()
        token = _current.set(trace)
        try:
            trace.said = self._ask(mode, number)
        except Exception as error:  # noqa: BLE001 - whatever reaches a caller in place of an answer is counted
            trace.error, trace.message = type(error).__name__, str(error)
        finally:
            _current.reset(token)
            trace.ended = time.monotonic()
        if self._stage.port is not None:
            trace.knocks = self._stage.port.knocks()
            if self._left_out():
                self._stage.port.watch()
        self._look()
        good = trace.said is not None and bool(trace.said.text)
        with self._lock:
            self._traces.append(trace)
            self._answered += good
            self._unanswered += not good
        answered = next((attempt.model for _, attempt in reversed(trace.attempts) if attempt.answered), None)
        self._told(number, good, self._names.get(answered or ""))

    def _ask(self, mode: str, number: int) -> Said:
        mark = f"[drill call {number}] "
        if mode == "agent":
            return self._surface.agent(mark + TASK)
        if mode == "stream":
            return self._surface.stream(mark + QUESTION)
        long = _FILLER * (self._workload.prompt_tokens // _FILLER_TOKENS) if mode == "long" else ""
        return self._surface.chat(mark + long + QUESTION)

    def _listen(self, event: Event) -> None:
        trace = _current.get()
        if trace is not None and isinstance(event, AttemptEnded):
            trace.attempts.append((time.monotonic(), event.attempt))
            self._look()

    def _look(self) -> None:
        """Note whose breaker has another state than before."""
        if not self._remembers:
            return
        health = self._client.health()
        with self._lock:
            now = time.monotonic() - self._begun
            for key, name in self._names.items():
                one = health[key]
                state = "cooldown" if one.state == "closed" and one.seconds_left else one.state
                if self._states.get(name) != state:
                    self._states[name] = state
                    self._changes.append(Change(now, name, state))

    def _left_out(self) -> dict[str, float]:
        """For how many seconds the client will leave which models out."""
        # A Retry-After may be longer than a model is left out for.
        longest = self._client.config.settings.disable_duration_seconds
        skipped = self._client.route().skipped
        return {self._names[one.model]: min(one.seconds_left, longest) for one in skipped if one.seconds_left}


class _Judge:
    """Puts what a caller saw and what the server saw together, call after call."""

    def __init__(self, stage: Stage, names: Mapping[str, str], begun: float) -> None:
        self._stage = stage
        self._names = names
        self._begun = begun
        self._dead: set[str] = set()
        self.ever_dead: set[str] = set()

    def call(self, trace: _Trace, entries: list[Request]) -> Call:
        """The record of one call."""
        self._dead |= trace.dead.keys()
        self.ever_dead |= trace.dead.keys()
        asked = sorted([*map(self._asked, entries), *self._refused(trace)], key=lambda one: one.at)
        asked = list(self._wasted(trace, asked))
        self._dead -= {one.model for one in asked if one.ended == "finished"}
        last = next((one for one in reversed(asked) if one.ended == "finished"), None)
        outcome: Outcome = "unanswered"
        if trace.said is not None:
            good = last is not None and self._whole(trace.said, trace.mode, entries)
            outcome = "answered" if good else "partial"
        return Call(
            number=trace.number,
            mode=trace.mode,
            at=trace.begun - self._begun,
            seconds=last.until - (trace.begun - self._begun)
            if last is not None and outcome == "answered"
            else trace.ended - trace.begun,
            outcome=outcome,
            model=last.model if last is not None and outcome == "answered" else None,
            error=trace.error or ("a wrong text" if outcome == "partial" else ""),
            message=trace.message,
            text=trace.said.text if trace.said is not None else "",
            asked=tuple(asked),
            attempts=tuple(self._named(attempt) for _, attempt in trace.attempts),
            seams=tuple(self._renamed(seam) for seam in trace.said.seams) if trace.said is not None else (),
        )

    def _whole(self, said: Said, mode: str, entries: list[Request]) -> bool:
        """Whether a caller got, letter by letter, what a healthy server says to one of the call's requests.

        Where one model goes on from another's text, that is what the first one would have said. An agent's tool must
        have run once, with whole arguments.
        """
        looked_up = (WORD,) if mode == "agent" else ()
        return bool(said.text) and said.looked_up == looked_up and said.text in map(self._stage.answer, entries)

    def _asked(self, entry: Request) -> Asked:
        now = time.monotonic()
        return Asked(
            model=entry.model or "",
            at=entry.opened_at - self._begun,
            until=(entry.finished_at or now) - self._begun,
            first_token=None if entry.first_token_at is None else entry.first_token_at - self._begun,
            status=entry.status,
            fault=entry.fault,
            ended=entry.ended,
            tokens=entry.tokens_sent,
            cost=entry.cost,
        )

    def _refused(self, trace: _Trace) -> list[Asked]:
        """What the server cannot see: as the client tells it, or, once it is watched for, as the port has counted."""
        at = trace.begun - self._begun
        primary = self._stage.primary
        told = [
            Asked(primary, ended - attempt.seconds - self._begun, ended - self._begun, ended="refused")
            for ended, attempt in trace.attempts
            if attempt.kind is FailureKind.CONNECTION and self._names.get(attempt.model) == primary
        ]
        unseen = trace.knocks - len(told)
        return [*told, *[Asked(primary, at, at, ended="refused")] * max(0, unseen)] if self._stage.port else []

    def _wasted(self, trace: _Trace, asked: list[Asked]) -> Iterator[Asked]:
        """Whether requests went to models known to be dead, or to those that were tried again after that.

        Where all others have failed, a dead one is asked all the same: that is no waste.
        """
        before: set[str] = set()
        for one in asked:
            until = trace.dead.get(one.model)
            left_out = until is not None and one.at + self._begun < until
            known_dead = left_out and bool(trace.open - before)
            before.add(one.model)
            yield replace(one, known_dead=known_dead, probe=one.model in self._dead and not left_out)

    def _named(self, attempt: Attempt) -> Attempt:
        return replace(attempt, model=self._names.get(attempt.model, attempt.model))

    def _renamed(self, seam: Any) -> Any:
        return replace(
            seam, before=self._names.get(seam.before, seam.before), after=self._names.get(seam.after, seam.after)
        )


def _number(entry: Request) -> int | None:
    """The number of the call that a request belongs to, from its prompt."""
    for message in entry.body.get("messages", ()):
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            found = _MARK.search(str(part.get("text"))[:200])
            if found is not None:
                return int(found[1])
    return None
