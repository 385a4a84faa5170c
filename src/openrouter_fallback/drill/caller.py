"""Makes the calls of one run, and records them from the emulator's log, not from the client's own reports.

Only one fact comes from the client: which models it skips, and until when. The emulator's log shows what the client
did.
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
from .surfaces import QUESTION, TASK, WORD, Surface, SurfaceAnswer

ENOUGH_UNANSWERED = 3
_MARGIN = 0.01
_MARK = re.compile(r"\[drill call (\d+)\]")
_FILLER = "All work and no play makes a long prompt. "
_FILLER_TOKENS = 9

_current: ContextVar[_Trace | None] = ContextVar("openrouter_fallback_drill_call", default=None)


@dataclass(slots=True)
class _Trace:
    """A call as its caller saw it. Times are `time.monotonic()` seconds.

    `skipped_until` maps each model that was skipped when the call began to the end of its skip. `available` are the
    other models. `connections` counts the connections to the refusing port.
    """

    number: int
    mode: str
    started: float
    skipped_until: Mapping[str, float]
    available: frozenset[str]
    ended: float = 0.0
    answer: SurfaceAnswer | None = None
    error: str = ""
    message: str = ""
    attempts: list[tuple[float, Attempt]] = field(default_factory=list)
    connections: int = 0


class Caller:
    """Runs the workload of one scenario through one surface. `failover` is False for a plain client.

    `on_call` is called after every call with (number of the call, whether it got an answer, answering model). After
    `stopped` is set, no further call begins.
    """

    def __init__(
        self,
        stage: Stage,
        scenario: Scenario,
        surface: Surface,
        *,
        failover: bool,
        stopped: threading.Event,
        on_call: Callable[[int, bool, str | None], object] = lambda *_: None,
    ) -> None:
        self._stage = stage
        self._workload = scenario.workload
        self._surface = surface
        self._client = surface.client
        self._failover = failover
        self._endless = all(fault.requests is None and fault.seconds is None for fault in scenario.faults)
        self._stopped = stopped
        self._on_call = on_call
        self._names = stage.names() if failover else {stage.key(stage.primary): stage.primary}
        self._lock = threading.Lock()
        self._numbers = count(1)
        self._traces: list[_Trace] = []
        self._changes: list[Change] = []
        self._states: dict[str, str] = {}
        self._unanswered = self._answered = 0
        self._warm_up()
        self._started = time.monotonic()
        self._unsubscribe = self._client.subscribe(self._listen)

    @property
    def states(self) -> Mapping[str, str]:
        """The current breaker state of each model."""
        return dict(self._states)

    @property
    def gave_up(self) -> bool:
        """Whether no call was answered and the faults never end, so that more calls would show nothing new."""
        return self._failover and self._endless and not self._answered and self._unanswered >= ENOUGH_UNANSWERED

    def make(self, calls: int, seconds: float | None = None) -> None:
        """Make `calls` calls; with `seconds`, make calls for so many seconds instead."""
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
        """Wait until the client no longer skips the primary."""
        left = self._seconds_skipped().get(self._stage.primary)
        while left is not None:
            time.sleep(left + _MARGIN)
            left = self._seconds_skipped().get(self._stage.primary)

    def run(self) -> Run:
        """The record of all calls so far."""
        self._unsubscribe()
        seconds = time.monotonic() - self._started
        traces = sorted(self._traces, key=lambda trace: trace.started)
        entries: dict[int, list[Request]] = {}
        for entry in self._stage.emulator.log:
            number = _number(entry)
            if number is not None and entry.model is not None:
                entries.setdefault(number, []).append(entry)
        recorder = _CallRecorder(self._stage, self._names, self._started)
        calls = tuple(recorder.call(trace, entries.get(trace.number, [])) for trace in traces)
        changes = tuple(sorted(self._changes, key=lambda change: change.at))
        return Run(calls, changes, seconds, bool(recorder.ever_skipped), self._stage.port is not None)

    def _warm_up(self) -> None:
        """Open the first connection before the measurement begins, and reset the client's health."""
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
        if not self._failover:
            self._client.reset()
        started = time.monotonic()
        left = self._seconds_skipped()
        still = frozenset(self._stage.chain) - left.keys()
        trace = _Trace(number, mode, started, {name: started + seconds for name, seconds in left.items()}, still)
        self._record_states()
        token = _current.set(trace)
        try:
            trace.answer = self._send(mode, number)
        except Exception as error:  # noqa: BLE001 - every exception that reaches a caller is counted
            trace.error, trace.message = type(error).__name__, str(error)
        finally:
            _current.reset(token)
            trace.ended = time.monotonic()
        if self._stage.port is not None:
            trace.connections = self._stage.port.connections()
            if self._seconds_skipped():
                self._stage.port.watch()
        self._record_states()
        good = trace.answer is not None and bool(trace.answer.text)
        with self._lock:
            self._traces.append(trace)
            self._answered += good
            self._unanswered += not good
        answered = next((attempt.model for _, attempt in reversed(trace.attempts) if attempt.answered), None)
        self._on_call(number, good, self._names.get(answered or ""))

    def _send(self, mode: str, number: int) -> SurfaceAnswer:
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
            self._record_states()

    def _record_states(self) -> None:
        """Record the breakers whose state has changed."""
        if not self._failover:
            return
        health = self._client.health()
        with self._lock:
            now = time.monotonic() - self._started
            for key, name in self._names.items():
                one = health[key]
                state = "cooldown" if one.state == "closed" and one.seconds_left else one.state
                if self._states.get(name) != state:
                    self._states[name] = state
                    self._changes.append(Change(now, name, state))

    def _seconds_skipped(self) -> dict[str, float]:
        """For each model that the client skips now: the seconds until the client calls it again."""
        # A Retry-After may be longer than the time for which a model is skipped.
        longest = self._client.config.settings.disable_duration_seconds
        skipped = self._client.route().skipped
        return {self._names[one.model]: min(one.seconds_left, longest) for one in skipped if one.seconds_left}


class _CallRecorder:
    """Joins the caller's record and the server's log of each call, in the order of the calls."""

    def __init__(self, stage: Stage, names: Mapping[str, str], started: float) -> None:
        self._stage = stage
        self._names = names
        self._started = started
        self._unrecovered: set[str] = set()
        self.ever_skipped: set[str] = set()

    def call(self, trace: _Trace, entries: list[Request]) -> Call:
        """The record of one call."""
        self._unrecovered |= trace.skipped_until.keys()
        self.ever_skipped |= trace.skipped_until.keys()
        asked = sorted([*map(self._request, entries), *self._refused_requests(trace)], key=lambda one: one.at)
        asked = list(self._with_flags(trace, asked))
        self._unrecovered -= {one.model for one in asked if one.ended == "finished"}
        last = next((one for one in reversed(asked) if one.ended == "finished"), None)
        outcome: Outcome = "unanswered"
        if trace.answer is not None:
            good = last is not None and self._is_whole(trace.answer, trace.mode, entries)
            outcome = "answered" if good else "partial"
        return Call(
            number=trace.number,
            mode=trace.mode,
            at=trace.started - self._started,
            seconds=last.until - (trace.started - self._started)
            if last is not None and outcome == "answered"
            else trace.ended - trace.started,
            outcome=outcome,
            model=last.model if last is not None and outcome == "answered" else None,
            error=trace.error or ("a wrong text" if outcome == "partial" else ""),
            message=trace.message,
            text=trace.answer.text if trace.answer is not None else "",
            asked=tuple(asked),
            attempts=tuple(self._named(attempt) for _, attempt in trace.attempts),
            seams=tuple(self._renamed(seam) for seam in trace.answer.seams) if trace.answer is not None else (),
        )

    def _is_whole(self, answer: SurfaceAnswer, mode: str, entries: list[Request]) -> bool:
        """Whether the caller got exactly the text with which a healthy server answers one of the call's requests.

        If one model continued another model's text, that is the text of the first model. An agent's tool must have run
        once, with complete arguments.
        """
        looked_up = (WORD,) if mode == "agent" else ()
        return bool(answer.text) and answer.looked_up == looked_up and answer.text in map(self._stage.answer, entries)

    def _request(self, entry: Request) -> Asked:
        now = time.monotonic()
        return Asked(
            model=entry.model or "",
            at=entry.opened_at - self._started,
            until=(entry.finished_at or now) - self._started,
            first_token=None if entry.first_token_at is None else entry.first_token_at - self._started,
            status=entry.status,
            fault=entry.fault,
            ended=entry.ended,
            tokens=entry.tokens_sent,
            cost=entry.cost,
        )

    def _refused_requests(self, trace: _Trace) -> list[Asked]:
        """The refused connections, which the server cannot see.

        They come from the client's attempts. If the port counted more connections, the rest come from the port.
        """
        at = trace.started - self._started
        primary = self._stage.primary
        reported = [
            Asked(primary, ended - attempt.seconds - self._started, ended - self._started, ended="refused")
            for ended, attempt in trace.attempts
            if attempt.kind is FailureKind.CONNECTION and self._names.get(attempt.model) == primary
        ]
        unseen = trace.connections - len(reported)
        return [*reported, *[Asked(primary, at, at, ended="refused")] * max(0, unseen)] if self._stage.port else []

    def _with_flags(self, trace: _Trace, asked: list[Asked]) -> Iterator[Asked]:
        """The requests with the flags `known_dead` and `probe`.

        A request to a skipped model is not wasted if all other models have failed in this call.
        """
        before: set[str] = set()
        for one in asked:
            until = trace.skipped_until.get(one.model)
            skipped = until is not None and one.at + self._started < until
            known_dead = skipped and bool(trace.available - before)
            before.add(one.model)
            yield replace(one, known_dead=known_dead, probe=one.model in self._unrecovered and not skipped)

    def _named(self, attempt: Attempt) -> Attempt:
        return replace(attempt, model=self._names.get(attempt.model, attempt.model))

    def _renamed(self, seam: Any) -> Any:
        return replace(
            seam, before=self._names.get(seam.before, seam.before), after=self._names.get(seam.after, seam.after)
        )


def _number(entry: Request) -> int | None:
    """The number of the call to which a request belongs, read from the prompt."""
    for message in entry.body.get("messages", ()):
        content = message.get("content")
        parts = content if isinstance(content, list) else [{"text": content}]
        for part in parts:
            found = _MARK.search(str(part.get("text"))[:200])
            if found is not None:
                return int(found[1])
    return None
