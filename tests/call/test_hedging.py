"""Hedging over real HTTP: the first token wins, the loser's connection is closed at once, nobody is left behind."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from openrouter_fallback import (
    Completion,
    ConfigError,
    ContentPolicyError,
    DeadlineExceededError,
    FailureKind,
    FallbackClient,
    HedgeConfig,
    load_config,
)
from openrouter_fallback.composition import parts_of
from openrouter_fallback.emulator import Emulator, Request
from openrouter_fallback.events import AttemptEnded, Event, Hedged
from openrouter_fallback.http.protocol import Exchange
from openrouter_fallback.http.transport import HttpTransport

from ..cases.matrix import FIRST, FIRST_TEXT, SECOND, SECOND_TEXT
from ..support.bodies import delta
from ..support.clients import PATIENT, client_for, free_slots
from ..support.rawserver import Gate, RawServer, Reply, sse
from ..support.surfaces import STREAMED, SURFACES, ask

K = FailureKind
THIRD = "meta-llama/llama-3.3-70b-instruct"
THIRD_TEXT = "And this is the third."
AT_ONCE = 0.01


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    for model, text in ((FIRST, FIRST_TEXT), (SECOND, SECOND_TEXT), (THIRD, THIRD_TEXT)):
        served.reply(text=text, model=model)
    return served


def hedging(emulator: Emulator, models: list[str] | None = None, **hedge: Any) -> FallbackClient:
    return hedging_at(emulator.base_url, models, **hedge)


def hedging_at(base_url: str, models: list[str] | None = None, **hedge: Any) -> FallbackClient:
    client = client_for(base_url, models, hedge={"after": AT_ONCE, "max_fraction": 1.0, **hedge})
    parts_of(client).runtime.health.hedges.share = None  # also where a single call makes several
    return client


@pytest.fixture
def client(emulator: Emulator) -> Iterator[FallbackClient]:
    with hedging(emulator) as made:
        yield made


def ends(emulator: Emulator, *expected: tuple[str, str]) -> list[Request]:
    """Wait until the server has seen exactly these requests end so, in any order."""
    return emulator.wait_for(lambda log: sorted((one.model or "", one.ended) for one in log) == sorted(expected))


# The first token wins


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(("fault", "details"), [("silence", {}), ("no_response", {}), ("stall", {"after_tokens": 0})])
def test_the_second_answers_for_a_silent_first(
    emulator: Emulator, client: FallbackClient, surface: str, fault: str, details: dict[str, Any]
) -> None:
    emulator.fault(fault, model=FIRST, **details)
    seen: list[Event] = []
    client.subscribe(seen.append)
    outcome = ask(client, surface)
    assert outcome.answer.text == SECOND_TEXT
    loser, winner = outcome.answer.attempts
    assert (loser.model, loser.kind, loser.first_token) == (FIRST, K.CANCELLED, None)
    assert (winner.model, winner.kind) == (SECOND, None)
    assert [(event.silent, event.next) for event in seen if isinstance(event, Hedged)] == [(FIRST, SECOND)]
    assert [event.number for event in seen if isinstance(event, AttemptEnded)] == [1, 2]
    log = ends(emulator, (FIRST, "gone"), (SECOND, "finished"))
    assert log[0].tokens_sent == 0, "the loser is closed before it has sent anything"
    assert client.health()[FIRST].failures == 0


@pytest.mark.parametrize("surface", SURFACES)
def test_the_first_wins_where_its_token_comes_first(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("slow", model=FIRST, delay=0.1)
    emulator.fault("silence", model=SECOND)
    outcome = ask(client, surface)
    assert outcome.answer.text == FIRST_TEXT
    ends(emulator, (FIRST, "finished"), (SECOND, "gone"))


@pytest.mark.parametrize("surface", SURFACES)
def test_a_healthy_first_is_asked_alone(emulator: Emulator, surface: str) -> None:
    with hedging(emulator, after=PATIENT) as client:
        assert ask(client, surface).answer.text == FIRST_TEXT
    ends(emulator, (FIRST, "finished"))


@pytest.mark.parametrize("surface", SURFACES)
def test_three_side_by_side(emulator: Emulator, surface: str) -> None:
    for model in (FIRST, SECOND):
        emulator.fault("silence", model=model)
    with hedging(emulator, [FIRST, SECOND, THIRD], max_parallel=3) as client:
        assert ask(client, surface).answer.text == THIRD_TEXT
    ends(emulator, (FIRST, "gone"), (SECOND, "gone"), (THIRD, "finished"))


@pytest.mark.parametrize("surface", SURFACES)
def test_a_tool_call_is_whole_whoever_makes_it(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("silence", model=FIRST)
    emulator.reply(tool_calls=[{"name": "look_up", "arguments": {"word": "hedge"}}], model=SECOND)
    tools = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}]
    outcome = ask(client, surface, tools=tools)
    calls = outcome.answer.tool_calls
    assert [(call.name, call.arguments) for call in calls] == [("look_up", {"word": "hedge"})]


# Failures beside one another


@pytest.mark.parametrize("surface", SURFACES)
def test_the_second_fails_and_the_third_is_asked_at_once(emulator: Emulator, surface: str) -> None:
    emulator.fault("silence", model=FIRST)
    emulator.fault("provider_overloaded", model=SECOND)
    with hedging(emulator, [FIRST, SECOND, THIRD]) as client:
        outcome = ask(client, surface)
    assert outcome.answer.text == THIRD_TEXT
    assert [(one.model, one.kind) for one in outcome.answer.attempts] == [
        (SECOND, K.OVERLOADED), (FIRST, K.CANCELLED), (THIRD, None),
    ]  # fmt: skip
    ends(emulator, (FIRST, "gone"), (SECOND, "fault"), (THIRD, "finished"))


@pytest.mark.parametrize("surface", SURFACES)
def test_a_refused_content_ends_both(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("silence", model=FIRST)
    emulator.fault("content_policy_violation", model=SECOND)
    outcome = ask(client, surface)
    assert isinstance(outcome.error, ContentPolicyError)
    ends(emulator, (FIRST, "gone"), (SECOND, "fault"))


@pytest.mark.parametrize("surface", STREAMED)
def test_the_winner_breaks_off_and_the_loser_goes_on_from_its_text(
    emulator: Emulator, client: FallbackClient, surface: str
) -> None:
    emulator.fault("silence", model=FIRST, requests=1)
    emulator.fault("truncated", model=SECOND, after_tokens=3)
    emulator.reply(text=SECOND_TEXT, model=FIRST)
    outcome = ask(client, surface)
    assert outcome.answer.text == SECOND_TEXT
    assert [one.model for one in outcome.answer.attempts] == [FIRST, SECOND, FIRST]


PROMPT = "name: Jane Miller\nborn:  1 May 1980\n\nIBAN: DE02 1203 0000\nsalary: 93,000"


class Sent(Gate):
    """A place in an answer that says that what stands before it was sent."""

    def __init__(self, told: threading.Semaphore) -> None:
        self._told = told

    async def passed(self) -> None:
        self._told.release()


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_failure_in_the_turn_of_the_winner_quotes_no_prompt(
    streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened, begun, sent = [0], asyncio.Event(), threading.Semaphore(0)
    really = HttpTransport.open

    async def noted(self: HttpTransport, *args: Any, **options: Any) -> Exchange:
        exchange = await really(self, *args, **options)
        opened[0] += 1
        if opened[0] == 2:
            begun.set()
        return exchange

    monkeypatch.setattr(HttpTransport, "open", noted)
    with RawServer() as server, hedging_at(server.base_url) as client:
        gate = server.gate()
        refusal = json.dumps({"error": {"message": f"Invalid input: {PROMPT}", "code": 400}}).encode()
        server.answer(
            Reply([gate, sse(delta(content=FIRST_TEXT), delta(finish="stop", content=""), "[DONE]"), Sent(sent)]),
            Reply([gate, refusal, Sent(sent)], 400, "application/json"),
        )
        task = asyncio.ensure_future(read(client, PROMPT) if streamed else client.achat(PROMPT))
        await begun.wait()  # both have read their status
        gate.open()
        assert all(sent.acquire(timeout=10) for _ in range(2)), "the loop finds both answers at once"
        answer = await task
        await client.aclose()
    loser = answer.attempts[0]
    assert (answer.text, loser.model) == (FIRST_TEXT, SECOND)
    assert loser.kind is not K.CANCELLED, "it has failed by itself, in the turn in which the winner's token came"
    assert loser.message == "Invalid input: [prompt]"


async def read(client: FallbackClient, prompt: str) -> Completion:
    async with client.astream(prompt) as stream:
        async for _ in stream:
            pass
        return stream.completion


# Endpoints that do not stream


def unstreamed(emulator: Emulator, models: list[str], **settings: Any) -> FallbackClient:
    """A client whose models are on an endpoint of its own that is not asked to stream, but for those on OpenRouter."""
    url = emulator.base_url
    own = {"base_url": url, "api_key": "sk-or-v1-emulator", "stream_upstream": False}
    client = FallbackClient(
        config={
            "default_chain": models,
            "endpoints": {"openrouter": {"base_url": url}, "own": own},
            "settings": {"hedge": {"after": AT_ONCE, "max_fraction": 1.0}, **settings},
        },
        api_key="sk-or-v1-emulator",
    )
    parts_of(client).runtime.health.hedges.share = None
    return client


@pytest.mark.parametrize("surface", [surface for surface in SURFACES if surface not in STREAMED])
def test_a_whole_answer_wins_and_is_turned_down(emulator: Emulator, surface: str) -> None:
    emulator.fault("slow", model=FIRST, delay=0.1)
    emulator.fault("silence", model=SECOND, requests=1)
    with unstreamed(emulator, [f"own:{FIRST}", f"own:{SECOND}"]) as client:
        outcome = ask(client, surface, accept=lambda answer: answer.text != FIRST_TEXT)
    assert outcome.answer.text == SECOND_TEXT


@pytest.mark.parametrize("surface", STREAMED)
def test_a_whole_answer_goes_on_at_the_side_of_another(emulator: Emulator, surface: str) -> None:
    emulator.fault("truncated", model=FIRST, after_tokens=3)
    emulator.reply(text=FIRST_TEXT, model=SECOND)
    emulator.fault("slow", model=SECOND, delay=0.1)
    emulator.fault("silence", model=THIRD)
    with unstreamed(emulator, [FIRST, f"own:{SECOND}", THIRD], max_retries_per_model=1) as client:
        outcome = ask(client, surface)
    assert outcome.delivered == outcome.answer.text == FIRST_TEXT


# Time, and leaving


@pytest.mark.parametrize("surface", SURFACES)
def test_the_deadline_of_the_call_ends_both(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    for model in (FIRST, SECOND):
        emulator.fault("silence", model=model)
    outcome = ask(client, surface, total_timeout=0.3)
    assert isinstance(outcome.error, DeadlineExceededError)
    once_more = [] if "stream" in surface else [FIRST]  # at half of the time, beside the silent two
    assert sorted(attempt.model for attempt in outcome.error.attempts) == sorted([FIRST, SECOND, *once_more])
    ends(emulator, (FIRST, "gone"), (SECOND, "gone"), *((model, "gone") for model in once_more))


@pytest.mark.parametrize("streamed", [False, True])
async def test_cancelling_the_caller_closes_both(emulator: Emulator, client: FallbackClient, streamed: bool) -> None:
    for model in (FIRST, SECOND):
        emulator.fault("silence", model=model)

    async def read() -> None:
        async for _ in client.astream("hello"):
            pass

    task = asyncio.ensure_future(read() if streamed else client.achat("hello"))
    await asyncio.to_thread(emulator.wait_for, lambda log: len(log) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not parts_of(client).runtime.connection_slots().locked()
    await asyncio.to_thread(ends, emulator, (FIRST, "gone"), (SECOND, "gone"))


async def test_closing_the_stream_from_another_task_closes_both(emulator: Emulator, client: FallbackClient) -> None:
    for model in (FIRST, SECOND):
        emulator.fault("silence", model=model)
    stream = client.astream("hello")
    reading = asyncio.ensure_future(anext(stream, None))
    await asyncio.to_thread(emulator.wait_for, lambda log: len(log) == 2)
    await stream.aclose()
    assert await reading is None
    await asyncio.to_thread(ends, emulator, (FIRST, "gone"), (SECOND, "gone"))


def test_closing_a_synchronous_stream_from_another_thread_closes_both(
    emulator: Emulator, client: FallbackClient
) -> None:
    import threading

    for model in (FIRST, SECOND):
        emulator.fault("silence", model=model)
    stream = client.stream("hello")
    reader = threading.Thread(target=lambda: list(stream), daemon=True)
    reader.start()
    emulator.wait_for(lambda log: len(log) == 2)
    stream.close()
    reader.join(PATIENT)
    assert not reader.is_alive()
    ends(emulator, (FIRST, "gone"), (SECOND, "gone"))


async def test_every_place_is_given_back(emulator: Emulator, client: FallbackClient) -> None:
    free = free_slots(client)
    emulator.fault("silence", model=FIRST)
    for _ in range(3):
        await client.achat("hello")
    assert free_slots(client) == free


async def test_without_a_place_nobody_is_asked_too(emulator: Emulator, client: FallbackClient) -> None:
    emulator.fault("slow", model=FIRST, delay=0.05)
    places = parts_of(client).runtime.connection_slots()
    taken = free_slots(client) - 1
    for _ in range(taken):
        await places.acquire()
    try:
        assert (await client.achat("hello")).text == FIRST_TEXT
    finally:
        for _ in range(taken):
            places.release()
    await asyncio.to_thread(ends, emulator, (FIRST, "finished"))


# Where it is not wanted


@pytest.mark.parametrize("surface", SURFACES)
def test_not_for_a_call_that_may_be_made_only_once(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    emulator.fault("slow", model=FIRST, delay=0.05)
    assert ask(client, surface, idempotent=False).answer.text == FIRST_TEXT
    ends(emulator, (FIRST, "finished"))


def test_the_configuration() -> None:
    chain = {"default_chain": [FIRST, SECOND]}
    config = load_config({**chain, "settings": {"hedge": {"after": "p99"}}})
    assert config.settings.hedge == HedgeConfig(after="p99", max_fraction=0.05, max_parallel=2)
    assert load_config(chain).settings.hedge is None
    client = FallbackClient(config=config, api_key="sk-or-v1-emulator")
    hedging = parts_of(client).planner.limits(None, None, None, deliver=False).hedge
    assert hedging is not None
    assert (hedging.after, hedging.quantile, hedging.max_parallel) == (None, 0.99, 2)
    with pytest.raises(ConfigError, match="max_fracton"):
        HedgeConfig(max_fracton=0.1)  # type: ignore[call-arg]
