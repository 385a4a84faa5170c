"""What the caller gives a call, over real HTTP: `accept=`, a context, threads, subscribers."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from queue import SimpleQueue

import pytest

from openrouter_fallback import (
    AllModelsFailedError,
    Completion,
    DeadlineExceededError,
    FailureKind,
    FallbackClient,
    Stream,
    current_routing,
    routing,
)
from openrouter_fallback.call.portal import portal
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.events import AttemptEnded, AttemptStarted, CallEnded, CallStarted, Event

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_TEXT
from ..support import leaving
from ..support.clients import HASTY_FIRST, KEY, PATIENT, SHORT, client_for, kinds
from ..support.surfaces import STREAMED, SURFACES, ask

K = FailureKind


@pytest.mark.parametrize("surface", ["chat", "achat"])
def test_accept_turns_an_answer_down_without_harm(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    seen: list[Completion] = []

    def accept(completion: Completion) -> bool:
        seen.append(completion)
        return completion.model == SECOND

    outcome = ask(client, surface, accept=accept)
    assert [completion.model for completion in seen] == [FIRST, SECOND]
    assert [len(completion.attempts) for completion in seen] == [1, 2]
    assert kinds(outcome.answer) == [K.BAD_ANSWER, None]
    assert client.health()[FIRST].failures == 0
    refused = ask(client, surface, accept=lambda completion: False)
    assert type(refused.raised) is AllModelsFailedError
    assert client.health()[SECOND].failures == 0


@pytest.mark.parametrize("surface", STREAMED)
def test_accept_is_not_asked_after_text_was_delivered(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    assert ask(client, surface, accept=lambda completion: False).answer.text == FIRST_TEXT


@pytest.mark.parametrize("surface", STREAMED)
def test_accept_is_asked_for_tool_calls_that_nobody_has_seen(
    emulator: Emulator, client: FallbackClient, surface: str
) -> None:
    emulator.reply(tool_calls=[{"name": "forbidden"}], model=FIRST)
    outcome = ask(client, surface, accept=lambda completion: not completion.tool_calls)
    assert (outcome.answer.text, outcome.delivered) == (SECOND_TEXT, SECOND_TEXT)
    assert not any(piece.tool_calls for piece in outcome.pieces)


def test_accept_may_call_the_client_itself(emulator: Emulator, client: FallbackClient) -> None:
    def accept(completion: Completion) -> bool:
        return client.chat("Is it good?", models=[SECOND]).text == SECOND_TEXT

    assert client.chat("Hello", accept=accept).text == FIRST_TEXT
    assert emulator.count() == 2


@pytest.mark.parametrize("surface", ["chat", "achat"])
def test_accept_may_be_a_coroutine_function(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    async def accept(completion: Completion) -> bool:
        judged = await client.achat("Is it good?", models=[SECOND])
        return judged.text == SECOND_TEXT and completion.model == SECOND

    assert ask(client, surface, accept=accept).answer.text == SECOND_TEXT
    assert emulator.count() == 4


class Unhappy(Exception):
    """What the caller's own function raises."""


@pytest.mark.parametrize("error", [Unhappy("no"), AllModelsFailedError("of another call")], ids=["own", "ours"])
async def test_an_accept_that_raises_ends_the_call_with_that(
    emulator: Emulator, client: FallbackClient, error: Exception
) -> None:
    def accept(completion: Completion) -> bool:
        raise error

    events: list[Event] = []
    stop = client.subscribe(events.append)
    with pytest.raises(type(error), match=str(error)):
        client.chat("Hello", accept=accept)
    with pytest.raises(type(error), match=str(error)):
        await client.achat("Hello", accept=accept)
    stop()
    assert balanced(events) == ["failed", "failed"]
    assert emulator.count() == 2
    assert client.health()[FIRST].failures == 0
    assert client.chat("Hello").text == FIRST_TEXT


class Leaving(BaseException):
    """Not an `Exception`."""


ENDS = [Leaving(), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), asyncio.CancelledError()]


@pytest.mark.parametrize("surface", ["chat", "stream"])
@pytest.mark.parametrize("error", ENDS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("later", [False, True], ids=["function", "coroutine function"])
def test_an_accept_that_raises_no_exception_ends_only_its_own_call(
    emulator: Emulator, client: FallbackClient, later: bool, error: BaseException, surface: str
) -> None:
    """A task that ended in SystemExit ended the loop of all synchronous calls: each call after it hung for ever."""

    def accept(completion: Completion) -> bool:
        raise error

    async def accept_later(completion: Completion) -> bool:
        raise error

    def judged() -> None:
        emulator.reply(tool_calls=[{"name": "f"}], model=FIRST)  # `accept=` is asked of a stream without text, too
        ask(client, surface, accept=accept_later if later else accept)

    raised = _in_a_thread(judged)
    assert type(raised) is type(error)
    assert _in_a_thread(lambda: client.chat("Hello", models=[SECOND])) is None
    assert not client.spend().held


def _in_a_thread(function: Callable[[], object]) -> BaseException | None:
    """What a function raises; so a call that hangs fails the test, and does not hang it."""
    raised: list[BaseException | None] = []

    def run() -> None:
        try:
            function()
        except BaseException as error:
            raised.append(error)
        else:
            raised.append(None)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(30)
    assert raised, "it has not ended"
    return raised[0]


def _stops(completion: Completion) -> bool:
    return next(iter(()))


async def _stops_later(completion: Completion) -> bool:
    await asyncio.sleep(0)
    return _stops(completion)


@pytest.mark.parametrize("surface", ["chat", "achat"])
@pytest.mark.parametrize("accept", [_stops, _stops_later])
def test_an_accept_that_raises_stop_iteration_ends_the_call(
    emulator: Emulator, client: FallbackClient, accept: Callable[[Completion], object], surface: str
) -> None:
    with pytest.raises(RuntimeError, match="StopIteration") as caught:
        ask(client, surface, accept=accept, total_timeout=PATIENT)
    assert isinstance(caught.value.__cause__, StopIteration)
    assert emulator.count() == 1


@pytest.mark.parametrize("surface", SURFACES)
def test_an_async_accept_counts_in_the_time_of_the_call(
    emulator: Emulator, client: FallbackClient, surface: str
) -> None:
    async def accept(completion: Completion) -> bool:
        await asyncio.get_running_loop().create_future()
        return True

    emulator.reply(tool_calls=[{"name": "look_up", "arguments": {"word": "now"}}], model=FIRST)
    outcome = ask(client, surface, accept=accept, total_timeout=SHORT)
    assert type(outcome.raised) is DeadlineExceededError
    assert [(one.model, one.kind) for one in outcome.raised.attempts] == [(FIRST, K.TIMED_OUT)]


@pytest.mark.parametrize("surface", ["achat", "astream"])
def test_an_async_function_for_the_key_counts_in_the_time_of_the_call(emulator: Emulator, surface: str) -> None:
    """It was awaited for ever."""

    async def key() -> str:
        await asyncio.get_running_loop().create_future()
        return "never"

    with FallbackClient([FIRST], base_url=emulator.base_url, api_key=key) as client:
        outcome = ask(client, surface, total_timeout=SHORT)
    assert type(outcome.raised) is DeadlineExceededError
    assert "api_key=" in str(outcome.raised)
    assert emulator.count() == 0


async def test_the_time_of_a_function_for_the_key_is_missing_later(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop, passed = asyncio.get_running_loop(), 0.0

    async def key() -> str:
        nonlocal passed
        passed += PATIENT
        return KEY

    emulator.fault("stall_dead", after_tokens=0)
    async with FallbackClient([FIRST], base_url=emulator.base_url, api_key=key) as client:
        monkeypatch.setattr(loop, "time", lambda: time.monotonic() + passed)  # the loop's timers run on this clock, too
        parts_of(client).runtime.clock = loop.time
        with pytest.raises(DeadlineExceededError):
            async with asyncio.timeout(PATIENT + 10.0):
                await client.achat("Hello", total_timeout=PATIENT + SHORT)


async def test_a_timeout_of_the_key_functions_own_is_its_own(emulator: Emulator) -> None:
    async def key() -> str:
        raise TimeoutError("the vault does not answer")

    async with FallbackClient([FIRST], base_url=emulator.base_url, api_key=key) as client:
        with pytest.raises(TimeoutError, match="the vault") as caught:
            await client.achat("Hello", total_timeout=PATIENT)
    assert not isinstance(caught.value, DeadlineExceededError)


def _ends_iteration(*_: object) -> str:
    raise StopAsyncIteration


@pytest.mark.parametrize("given", ["api_key", "accept"])
async def test_a_function_that_raises_stop_async_iteration_does_not_make_a_stream_look_whole(
    emulator: Emulator, client: FallbackClient, given: str
) -> None:
    """The loop over the stream ended without a word, as if the answer were empty."""
    emulator.reply(tool_calls=[{"name": "f"}], model=FIRST)  # `accept=` is asked of a stream without text, too
    key = FallbackClient([FIRST], base_url=emulator.base_url, api_key=_ends_iteration)
    async with key, client:
        stream = key.astream("Hello") if given == "api_key" else client.astream("Hello", accept=_ends_iteration)
        with pytest.raises(RuntimeError, match="StopAsyncIteration") as caught:
            async for _ in stream:
                pass
    assert isinstance(caught.value.__cause__, StopAsyncIteration)


@pytest.mark.parametrize("surface", ["chat", "achat"])
def test_a_timeout_of_accepts_own_is_its_own(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    def accept(completion: Completion) -> bool:
        raise TimeoutError("the database does not answer")

    with pytest.raises(TimeoutError, match="the database"):
        ask(client, surface, accept=accept)


@pytest.mark.parametrize("surface", SURFACES)
def test_json_was_asked_for(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.reply(text='{"answer": 42}', model=SECOND)
    outcome = ask(client, surface, response_format={"type": "json_object"})
    if surface in STREAMED:
        # The prose has been delivered before anyone could tell.
        assert (outcome.answer.text, kinds(outcome.answer)) == (FIRST_TEXT, [None])
    else:
        assert (outcome.answer.text, kinds(outcome.answer)) == ('{"answer": 42}', [K.BAD_ANSWER, None])
    assert client.health()[FIRST].failures == 0


VOICE: ContextVar[str] = ContextVar("voice", default="nobody's")


@pytest.mark.parametrize("surface", ["chat", "achat"])
def test_context_variables_reach_what_the_caller_gave(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    heard: list[str] = []
    stop = client.subscribe(lambda event: heard.append(VOICE.get()))
    token = VOICE.set("the caller's")
    try:
        ask(client, surface, accept=lambda completion: VOICE.get() == "the caller's" and completion.model == SECOND)
    finally:
        VOICE.reset(token)
        stop()
    assert emulator.count(SECOND) == 1
    assert set(heard) == {"the caller's"}


@pytest.mark.parametrize("surface", [surface for surface in SURFACES if surface not in STREAMED])
@pytest.mark.parametrize(
    ("fault", "kind"), [(None, None), ("silence", K.TIMED_OUT), ("truncated", K.BAD_ANSWER), ("empty", K.BAD_ANSWER)]
)
def test_without_streaming_upstream(emulator: Emulator, surface: str, fault: str | None, kind: K | None) -> None:
    client = client_for(emulator.base_url, stream_upstream=False)
    if fault:
        emulator.fault(fault, model=FIRST)
    outcome = ask(client, surface, models=HASTY_FIRST)
    assert outcome.answer.text == (SECOND_TEXT if fault else FIRST_TEXT)
    assert kinds(outcome.answer) == ([kind, None] if fault else [None])
    assert not any("stream" in request.body for request in emulator.log)
    assert outcome.delivered == (outcome.answer.text if surface in STREAMED else "")
    client.close()


async def test_a_synchronous_call_inside_a_running_loop(emulator: Emulator, client: FallbackClient) -> None:
    assert client.chat("Hello").text == FIRST_TEXT
    with client.stream("Hello") as stream:
        assert "".join(piece.text for piece in stream) == FIRST_TEXT


def test_threads_share_a_client(emulator: Emulator, client: FallbackClient) -> None:
    texts: SimpleQueue[str] = SimpleQueue()

    def talk() -> None:
        for _ in range(4):
            texts.put(client.chat("Hello").text)
            with client.stream("Hello") as stream:
                texts.put("".join(piece.text for piece in stream))

    threads = [threading.Thread(target=talk) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(texts.get() for _ in range(48)) == {FIRST_TEXT: 48}
    assert emulator.count() == 48


# Events


def balanced(events: list[Event]) -> list[str]:
    """The outcome of each call, each started and ended once, as was each of its attempts."""
    calls = [event.call for event in events if isinstance(event, CallStarted)]
    ended = {event.call: event for event in events if isinstance(event, CallEnded)}
    assert len(set(calls)) == len(calls) == len(ended)
    for call in calls:
        own = [event for event in events if event.call == call]
        assert isinstance(own[0], CallStarted)
        assert isinstance(own[-1], CallEnded)
        started = [event.number for event in own if isinstance(event, AttemptStarted)]
        finished = [event.number for event in own if isinstance(event, AttemptEnded)]
        assert started == finished == list(range(1, len(started) + 1))
        assert own[-1].attempts == len(started)
    return [ended[call].outcome for call in calls]


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("fault", "everywhere", "requests", "outcome"),
    [(None, False, 1, "answered"), ("server", False, 3, "answered"), ("empty", True, 4, "failed")],
)
def test_every_call_and_attempt_is_accounted_for(
    emulator: Emulator,
    client: FallbackClient,
    surface: str,
    fault: str | None,
    everywhere: bool,
    requests: int,
    outcome: str,
) -> None:
    if fault:
        emulator.fault(fault, model=None if everywhere else FIRST)
    events: list[Event] = []
    stop = client.subscribe(events.append)
    ask(client, surface)
    stop()
    assert balanced(events) == [outcome]
    assert sum(isinstance(event, AttemptStarted) for event in events) == requests == emulator.count()


@pytest.mark.parametrize("leave", leaving.WAYS)
def test_a_stream_that_is_left_is_accounted_for(
    emulator: Emulator, client: FallbackClient, leave: Callable[[Stream], None]
) -> None:
    emulator.pace(token_interval=0.01)
    emulator.reply(tokens=5000, model=FIRST)
    events: SimpleQueue[Event] = SimpleQueue()
    stop = client.subscribe(events.put)
    leave(client.stream("Hello"))
    gc.collect()
    seen = [events.get(timeout=5)]
    while not isinstance(seen[-1], CallEnded):
        seen.append(events.get(timeout=5))
    stop()
    assert balanced(seen) == ["cancelled"]


async def test_who_leaves_after_the_last_piece_has_been_answered(emulator: Emulator, client: FallbackClient) -> None:
    emulator.reply(tool_calls=[{"name": "look_up"}], model=FIRST)
    events: list[Event] = []
    stop = client.subscribe(events.append)
    async with client.astream("Hello") as stream:
        async for piece in stream:
            if piece.tool_calls:
                break
    stop()
    assert balanced(events) == ["answered"]


async def test_a_cancelled_call_is_accounted_for(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("silence")
    events: list[Event] = []
    stop = client.subscribe(events.append)
    task = asyncio.create_task(client.achat("Hello"))
    await emulator.await_for(lambda log: log)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    stop()
    assert balanced(events) == ["cancelled"]
    (ended,) = [event.attempt for event in events if isinstance(event, AttemptEnded)]
    assert ended.kind is K.CANCELLED


def test_an_interrupt_after_a_call_s_end_leaves_nothing_untold(emulator: Emulator, client: FallbackClient) -> None:
    """What is told lags behind the call itself, which the portal's thread may have ended long ago."""
    events: list[Event] = []

    async def ended() -> None:
        while len(asyncio.all_tasks()) > 1:  # noqa: ASYNC110 - any turn may be the last of the call's task
            await asyncio.sleep(0)

    def interrupted(event: Event) -> None:
        events.append(event)
        if isinstance(event, AttemptStarted):
            asyncio.run_coroutine_threadsafe(ended(), portal().loop).result()
            raise KeyboardInterrupt

    end = client.subscribe(interrupted)
    with pytest.raises(KeyboardInterrupt):
        client.chat("hello")
    end()
    assert [type(event) for event in events] == [CallStarted, AttemptStarted, AttemptEnded, CallEnded]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_subscriber_that_raises_harms_nothing(
    emulator: Emulator, client: FallbackClient, surface: str, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(event: Event) -> None:
        raise Unhappy

    events: list[Event] = []
    stops = [client.subscribe(fail), client.subscribe(events.append)]
    assert ask(client, surface).answer.text == FIRST_TEXT
    for stop in stops:
        stop()
    assert balanced(events) == ["answered"]
    assert "a subscriber failed on CallStarted; the call goes on" in caplog.messages
    assert emulator.count() == 1


@pytest.mark.parametrize("surface", SURFACES)
def test_a_subscriber_may_call_the_client_itself(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    answers: list[str] = []

    def talk(event: Event) -> None:
        if isinstance(event, CallEnded) and not answers:
            answers.append("")
            answers[0] = client.chat("And?", models=[SECOND]).text

    stop = client.subscribe(talk)
    assert ask(client, surface).answer.text == FIRST_TEXT
    stop()
    assert answers == [SECOND_TEXT]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_copy_has_a_listener_of_its_own(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    all_heard: list[object] = []
    own: list[object] = []
    stop = client.subscribe(all_heard.append)
    copy = client.with_options(on_event=own.append)
    ask(copy, surface)
    assert own == all_heard
    assert isinstance(own[0], CallStarted)
    assert isinstance(own[-1], CallEnded)
    stop()
    before = len(own)
    ask(client, surface)
    assert len(own) == len(all_heard) == before
    ask(copy, surface)
    assert len(own) > before
    assert len(all_heard) == before


def test_a_context_can_be_told_from_another() -> None:
    assert current_routing() == {}
    with routing(task="coding"), routing(models=["a/b"]):
        assert current_routing() == {"task": "coding", "models": ("a/b",)}
    assert current_routing() == {}
