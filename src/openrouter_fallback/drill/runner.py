"""Runs scenarios and measures them by the emulator's log, not by what the client says of itself.

Only one thing is taken from the client: until when it leaves the primary out. What it does then, the server counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext, suppress

from openrouter_fallback import FallbackClient, FallbackConfig, FallbackError
from openrouter_fallback.drill.results import DrillResult, ScenarioResult, Tally
from openrouter_fallback.drill.scenarios import HEALTHY, SCENARIOS, Mode, Scenario
from openrouter_fallback.drill.stage import DEADLINES, RefusingPort, Stage, no_proxies
from openrouter_fallback.emulator import Request

EXAMPLE_CHAIN = ("anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct")

_PROMPT = "Is anybody there?"
_ENOUGH_UNANSWERED = 3
_MARGIN = 0.01


def run_drill(
    config: FallbackConfig | None = None,
    scenarios: Sequence[Scenario] = SCENARIOS,
    *,
    starting: Callable[[Scenario], object] = lambda scenario: None,
) -> DrillResult:
    """Put the default chain of `config` (None: `EXAMPLE_CHAIN`) through `scenarios`; takes about two seconds for each.

    Everything happens on loopback, without a real key. `starting` is called before each scenario.
    """
    config = config or FallbackConfig(default_chain=EXAMPLE_CHAIN)
    begun = time.monotonic()
    stage = Stage(config)
    with no_proxies(), stage.emulator:
        starting(HEALTHY)
        healthy = _run(stage, HEALTHY, None)
        results = []
        for scenario in scenarios:
            starting(scenario)
            results.append(_run(stage, scenario, healthy.with_failover.median_seconds))
    return DrillResult(stage.chain, healthy, tuple(results), DEADLINES, time.monotonic() - begun)


def _run(stage: Stage, scenario: Scenario, baseline: float | None) -> ScenarioResult:
    with RefusingPort() if scenario.refused else nullcontext() as port:
        refused = port.url if port is not None else None
        with FallbackClient(config=stage.without_failover(refused)) as client:
            plain = _Run(stage, scenario, client, port=port)
            plain.make(scenario.calls)
        with FallbackClient(config=stage.with_failover(refused, scenario.left_out)) as client:
            ours = _Run(stage, scenario, client, port=port, key=stage.key(stage.primary, refused))
            ours.make(scenario.calls)
            if scenario.calls_after and not ours.gave_up:
                ours.wait_for_primary()
                ours.make(scenario.calls_after)
    return ours.result(plain.tally(), baseline)


class _Run:
    """The calls of one client in one scenario, one after the other, and what the server saw of them.

    `key` is the primary's id at the client; without it the client is a plain one, which remembers nothing.
    """

    def __init__(
        self,
        stage: Stage,
        scenario: Scenario,
        client: FallbackClient,
        *,
        port: RefusingPort | None,
        key: str | None = None,
    ) -> None:
        self.gave_up = False
        self._stage = stage
        self._scenario = scenario
        self._client = client
        self._port = port
        self._key = key
        self._calls = 0
        self._answered_by: Counter[str] = Counter()
        self._requests: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._seconds: list[float] = []
        self._known_dead = False
        self._while_dead = self._probes = self._probed = 0
        self._warm_up()

    def make(self, calls: int) -> None:
        """Make calls, with the scenario's fault in force; no more than a few once they are not answered."""
        scenario, emulator = self._scenario, self._stage.emulator
        primary, details = self._stage.primary, scenario.details
        with emulator.fault(scenario.fault, model=primary, **details) if scenario.fault else nullcontext():
            for _ in range(calls):
                self._call(scenario.modes[self._calls % len(scenario.modes)])
                self.gave_up = self._key is not None and self._errors.total() >= _ENOUGH_UNANSWERED
                if self.gave_up:
                    return

    def wait_for_primary(self) -> None:
        """Wait until the primary may be tried again."""
        left = self._left_out()
        while left is not None:
            time.sleep(left + _MARGIN)
            left = self._left_out()

    def tally(self) -> Tally:
        """What was counted so far."""
        answered = self._answered_by
        seconds = tuple(self._seconds)
        return Tally(self._calls, answered.total(), answered, self._requests, seconds, self._errors)

    def result(self, plain: Tally, baseline: float | None) -> ScenarioResult:
        """The scenario's figures; `baseline` is the healthy median in seconds."""
        ours = self.tally()

        def added(seconds: float | None) -> float | None:
            return None if seconds is None or baseline is None else seconds - baseline

        return ScenarioResult(
            scenario=self._scenario,
            with_failover=ours,
            without_failover=plain,
            primary_requests=None if self._port is not None else self._requests[self._stage.primary],
            requests_while_dead=self._while_dead if self._known_dead else None,
            probes=self._probes,
            probed_calls=self._probed,
            added_median=added(ours.median_seconds),
            added_worst=added(ours.worst_seconds),
        )

    def _warm_up(self) -> None:
        """Make the first connection before anything is timed, and forget what was learnt by it."""
        if self._port is None:
            with suppress(FallbackError):
                self._client.chat(_PROMPT)
            self._client.reset()

    def _call(self, mode: Mode) -> None:
        if self._key is None:
            self._client.reset()
        left = self._left_out()
        log = self._stage.emulator.log
        begun = time.monotonic()
        text = self._ask(mode)
        entries = self._stage.emulator.log[len(log) :]
        self._calls += 1
        self._requests.update(entry.model for entry in entries if entry.model is not None)
        self._judge(text, entries, begun)
        self._count_primary(entries, None if left is None else begun + left)

    def _ask(self, mode: Mode) -> str | None:
        """What the caller gets: a text, or None and the error's name in the tally."""
        try:
            if mode == "chat":
                return self._client.chat(_PROMPT).text
            with self._client.stream(_PROMPT) as stream:
                return "".join(piece.text for piece in stream)
        except FallbackError as error:
            self._errors[type(error).__name__] += 1
            return None

    def _judge(self, text: str | None, entries: Sequence[Request], begun: float) -> None:
        """Answered is a call whose text is, letter by letter, what one model has finished saying by the log."""
        if text is None:
            return
        for entry in entries:
            whole = entry.ended == "finished" and entry.finished_at is not None
            if whole and entry.model is not None and text == self._stage.texts[entry.model]:
                self._answered_by[entry.model] += 1
                self._seconds.append((entry.finished_at or begun) - begun)
                return
        self._errors["a wrong text"] += 1

    def _count_primary(self, entries: Sequence[Request], dead_until: float | None) -> None:
        """Whether requests went to a primary that was known to be dead, or that was tried again after that."""
        at = [entry.opened_at for entry in entries if entry.model == self._stage.primary]
        if self._port is not None:
            at = [time.monotonic()] * self._port.knocks()
            if self._left_out() is not None:
                self._port.watch()
        if dead_until is not None:
            self._known_dead = True
        if self._known_dead:
            probes = sum(dead_until is None or opened >= dead_until for opened in at)
            self._probes += probes
            self._while_dead += len(at) - probes
            self._probed += probes > 0

    def _left_out(self) -> float | None:
        """For how many seconds the client will leave the primary out; None if it may be asked."""
        # A Retry-After may be longer than a model is left out for.
        longest = self._client.config.settings.disable_duration_seconds
        left = (skipped.seconds_left for skipped in self._client.route().skipped if skipped.model == self._key)
        return next((min(seconds, longest) for seconds in left if seconds), None)
