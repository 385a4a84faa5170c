"""What somebody reads at night: one line for each failover and each change of a circuit breaker, with its facts."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import pytest

from openrouter_fallback import AllModelsFailedError, FallbackClient
from openrouter_fallback.call.log import LogLines, breaker_event, duration
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import BreakerClosed, BreakerEvent, BreakerHalfOpened, BreakerOpened, Event, FailedOver
from openrouter_fallback.failures.kinds import FailureKind
from openrouter_fallback.health import BreakerChange, State

A, B = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5"
KEY = "sk-or-v1-of-the-test"
NOWHERE = "http://127.0.0.1:9/v1"
WARNING, INFO = logging.WARNING, logging.INFO


class Clock:
    """The clock, put forward by a test."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


# A change -> the level and the line.
LINES = (
    (
        BreakerChange("model", A, State.OPEN, "overloaded", 3, 0.0, 9.2),
        WARNING,
        f"{A}: circuit open (3 failures, the last: overloaded), next probe in 9 s",
    ),
    (
        BreakerChange("model", A, State.OPEN, "unsupported", 0, 0.0, 300.0),
        WARNING,
        f"{A}: circuit open (unsupported), next probe in 5 min",
    ),
    (
        BreakerChange("model", A, State.OPEN, "overloaded", 4, 35.0, 21.0, again=True),
        INFO,
        f"{A}: circuit open again, the probe failed (overloaded) after 35 s, next probe in 21 s",
    ),
    (
        BreakerChange("model", A, State.HALF_OPEN, "overloaded", 3, 9.5),
        INFO,
        f"{A}: circuit half-open after 10 s, a probe is sent",
    ),
    (BreakerChange("model", A, State.CLOSED, "overloaded", 3, 240.0), WARNING, f"{A} is back after 4 min"),
    (BreakerChange("endpoint", "groq", State.CLOSED, "connection", 3, 7200.0), WARNING, "groq is back after 2 h"),
    (
        BreakerChange("endpoint", "groq", State.OPEN, "connection", 3, 0.0, 8.0),
        WARNING,
        "groq: circuit open (3 failures, the last: connection), next probe in 8 s",
    ),
)


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, "openrouter_fallback")
    return caplog


@pytest.fixture(scope="module")
def server() -> Iterator[Emulator]:
    with Emulator(api_key=KEY) as emulator:
        yield emulator


@pytest.fixture
def emulator(server: Emulator) -> Emulator:
    server.clear()
    return server


def lines(log: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in log.records if record.name == "openrouter_fallback"]


@pytest.mark.parametrize(("change", "level", "line"), LINES)
def test_a_change_is_one_line_with_its_facts(
    change: BreakerChange, level: int, line: str, log: pytest.LogCaptureFixture
) -> None:
    LogLines().breaker(breaker_event(7, change))
    [record] = log.records
    assert (record.levelno, record.getMessage()) == (level, line)
    facts = record.__dict__
    named = "endpoint" if change.scope == "endpoint" else "model"
    assert facts[named] == change.name
    assert [facts[name] for name in ("call", "state", "cause", "count", "seconds", "next_probe")] == [
        7,
        str(change.state),
        change.cause,
        change.count,
        change.seconds,
        change.next_probe,
    ]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.0, "0 s"), (0.4, "0.4 s"), (59.6, "60 s"), (240, "4 min"), (7200, "2 h"), (400_000, "5 days")],
)
def test_a_time_as_people_write_it(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_circuit_that_opens_and_closes_is_told_at_each_change(
    emulator: Emulator, log: pytest.LogCaptureFixture
) -> None:
    seen: list[Event] = []
    clock = Clock()
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=KEY) as client:
        parts_of(client).runtime.clock = clock
        client.subscribe(seen.append)
        emulator.fault("provider_overloaded", model=A, requests=3)
        for _ in range(4):
            client.chat("Hello")
        clock.ahead += 240.0
        assert client.chat("Hello").model == A
    changes = [event for event in seen if isinstance(event, BreakerEvent)]
    assert [type(event) for event in changes] == [BreakerOpened, BreakerHalfOpened, BreakerClosed]
    assert {(event.name, event.cause, event.count) for event in changes} == {(A, "overloaded", 3)}
    assert [round(event.seconds, -1) for event in changes] == [0, 240, 240]
    opened = changes[0]
    assert isinstance(opened, BreakerOpened)
    assert opened.next_probe is not None
    assert 8 <= opened.next_probe <= 10
    assert lines(log)[-3:] == [
        f"{A}: circuit open (3 failures, the last: overloaded), next probe in {opened.next_probe:.0f} s",
        f"{A}: circuit half-open after 4 min, a probe is sent",
        f"{A} is back after 4 min",
    ]
    assert [line.endswith(f"going on with {B}") for line in lines(log)] == [True] * 3 + [False] * 3
    [first, *_] = log.records
    assert (first.__dict__["model"], first.__dict__["next"], first.__dict__["kind"]) == (A, B, "overloaded")


def test_a_probe_that_fails_is_no_second_warning(emulator: Emulator, log: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=KEY) as client:
        parts_of(client).runtime.clock = clock
        emulator.fault("provider_overloaded", model=A)
        for _ in range(3):
            client.chat("Hello")
        clock.ahead += 11.0
        client.chat("Hello")
    told = [(record.levelno, record.getMessage().partition(" (")[0]) for record in log.records]
    assert [one for one in told if "circuit" in one[1]] == [
        (WARNING, f"{A}: circuit open"),
        (INFO, f"{A}: circuit half-open after 11 s, a probe is sent"),
        (INFO, f"{A}: circuit open again, the probe failed"),
    ]


def test_an_endpoint_that_cannot_be_reached_is_one_line_for_all_models_and_calls(
    log: pytest.LogCaptureFixture,
) -> None:
    with FallbackClient([f"author/model-{n}" for n in range(8)], base_url=NOWHERE, api_key=KEY) as client:
        for _ in range(4):
            with pytest.raises(AllModelsFailedError, match="connection refused"):
                client.chat("Hello", total_timeout=0.3)
    [failover, circuit] = lines(log)
    assert failover.startswith("author/model-0, author/model-1, author/model-2 and 4 more failed (connection, ")
    assert circuit.startswith("openrouter: circuit open (3 failures, the last: connection), next probe in ")


def test_one_connection_that_fails_is_a_failover_like_another(
    emulator: Emulator, log: pytest.LogCaptureFixture
) -> None:
    config = {"default_chain": ["gone:x", A], "endpoints": {"gone": {"base_url": NOWHERE}}}
    with FallbackClient(config=config, base_url=emulator.base_url, api_key=KEY) as client:
        client.chat("Hello")
    [line] = lines(log)
    assert line.startswith("gone:x failed (connection, ")
    assert line.endswith(f"going on with {A}")


def test_no_call_goes_on_with_a_model_that_the_same_line_calls_failed(log: pytest.LogCaptureFixture) -> None:
    told = LogLines()
    for call, (failed, then) in enumerate([(A, B), (B, A), (A, B)]):
        told.failed_over(FailedOver(call, failed, then, FailureKind.CONNECTION, None, 0.01), "openrouter")
    told.call_ended()
    assert lines(log) == [f"{A}, {B} failed (connection, 0.01 s)"]
    assert log.records[0].__dict__["next"] == B


def test_while_the_circuit_of_an_endpoint_is_open_its_failovers_are_for_debugging(
    log: pytest.LogCaptureFixture,
) -> None:
    told, event = LogLines(), FailedOver(1, "gone:x", A, FailureKind.CONNECTION, None, 0.01)
    told.breaker(breaker_event(1, BreakerChange("endpoint", "gone", State.OPEN, "connection", 3, 0.0, 9.0)))
    told.failed_over(event, "gone")
    told.call_ended()
    assert len(log.records) == 1
    told.breaker(breaker_event(2, BreakerChange("endpoint", "gone", State.CLOSED, "connection", 3, 60.0)))
    told.failed_over(event, "gone")
    told.call_ended()
    again = f"gone:x failed (connection, 0.01 s), going on with {A}"
    assert lines(log)[1:] == ["gone is back after 60 s (1 more failover)", again]


def test_failovers_that_say_the_same_have_three_lines_a_minute_and_then_their_number(
    log: pytest.LogCaptureFixture,
) -> None:
    log.set_level(logging.DEBUG, "openrouter_fallback")
    clock = Clock()
    told = LogLines(clock)

    def fails(times: int, kind: FailureKind = FailureKind.AUTH, model: str = A) -> None:
        for _ in range(times):
            told.failed_over(FailedOver(1, model, B, kind, 401, 0.4), "openrouter")

    fails(20)
    fails(1, FailureKind.UNAVAILABLE)
    fails(1, model="other/model")
    clock.ahead += 61.0
    fails(4)
    told.breaker(breaker_event(2, BreakerChange("model", A, State.CLOSED, "unavailable", 4, 90.0)))
    fails(1)
    warned = [record for record in log.records if record.levelno == WARNING]
    same = f"{A} failed (auth 401, 0.40 s), going on with {B}"
    assert [record.getMessage() for record in warned] == [
        *[same] * 3,
        f"{A} failed (unavailable 401, 0.40 s), going on with {B}",
        f"other/model failed (auth 401, 0.40 s), going on with {B}",
        f"{same}; 17 more like it since the last such line",
        *[same] * 2,
        f"{A} is back after 90 s (1 more failover)",
        same,
    ]
    assert [record.__dict__["count"] for record in warned] == [1, 1, 1, 1, 1, 18, 1, 1, 4, 1]
    assert [record.getMessage() for record in log.records if record.levelno == logging.DEBUG] == [same] * 18


def test_an_outage_of_every_model_fills_no_log(emulator: Emulator, log: pytest.LogCaptureFixture) -> None:
    log.set_level(logging.DEBUG, "openrouter_fallback")
    emulator.fault("provider_overloaded")
    once = {"max_retries_per_model": 1, "min_samples": 10}
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=KEY, settings=once) as client:
        for _ in range(6):
            with pytest.raises(AllModelsFailedError):
                client.chat("Hello")
    failovers = [record for record in log.records if "going on with" in record.getMessage()]
    assert [(one.__dict__["model"], one.levelno) for one in failovers] == [
        *[(A, WARNING)] * 3,
        *[(A, logging.DEBUG)] * 3,
    ]


def test_what_is_done_by_hand_is_an_event_and_a_line(emulator: Emulator, log: pytest.LogCaptureFixture) -> None:
    seen: list[Event] = []
    with FallbackClient([A, B], base_url=emulator.base_url, api_key=KEY) as client:
        client.subscribe(seen.append)
        emulator.fault("model_not_found", model=A)
        for undo in (client.enable, client.reset):
            client.chat("Hello")
            undo(A)
    closed = [event for event in seen if isinstance(event, BreakerClosed)]
    assert [(event.call, event.name, event.cause) for event in closed] == [(0, A, "not_found")] * 2
    by_hand = [line.removesuffix(" s").rpartition(" ") for line in lines(log) if "by hand" in line]
    assert [before for before, _, _ in by_hand] == [f"{A}: circuit closed by hand after"] * 2
    assert all(float(seconds) >= 0 for _, _, seconds in by_hand)
    assert not any("keeps failing" in line for line in lines(log))
