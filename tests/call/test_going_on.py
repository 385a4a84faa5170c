"""Going on in mid-stream over real HTTP: a model breaks off after delivered text, others go on from it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from openrouter_fallback import (
    ContentPolicyError,
    DeadlineExceededError,
    FailureKind,
    FallbackClient,
    FallbackError,
    ModelConfig,
    Piece,
    StreamInterruptedError,
)
from openrouter_fallback.answer.seam import only_by_prefill
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.answers.chunks import pieces
from openrouter_fallback.request.continuation import INSTRUCTION
from openrouter_fallback.routes.needs import CHARACTERS_PER_TOKEN

from ..cases.matrix import TOOL
from ..cases.seams import CUT, TEXTS
from ..support.bodies import choice, delta, part
from ..support.clients import SHORT, client_for
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import STREAMED, Outcome, ask

K = FailureKind
FIRST, SECOND, THIRD = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5", "deepseek/deepseek-chat"
CHAIN = [FIRST, SECOND, THIRD]
PACE = 0.005
SAID = "The first model has begun to answer "
REST = "and the second one goes on."


@pytest.fixture
def emulator(served: Emulator) -> Emulator:
    served.clear()
    served.clear_replies()
    served.pace(latency=0.0, token_interval=PACE)
    return served


@pytest.fixture(scope="module")
def shared(served: Emulator) -> Iterator[FallbackClient]:
    with client_for(served.base_url, CHAIN) as client:
        yield client


def models_of(outcome: Outcome) -> list[str]:
    return [attempt.model for attempt in outcome.answer.attempts]


# Behaviours

SUBSET = (
    "prose, in a word",
    "code, in a fence",
    "a table, in a cell",
    "a list, in an item",
    "Arabic",
    "a flag, in two",
)
WAYS: Mapping[str, tuple[dict[str, str], str]] = {
    "continue": ({"prefill": "continue"}, "went_on"),
    "restart": ({"prefill": "restart"}, "restarted"),
    "overlap": ({"prefill": "overlap"}, "overlapped"),
    "preface": ({"prefill": "preface"}, "went_on"),
    "refuse, continue": ({"prefill": "refuse", "instruct": "continue"}, "went_on"),
    "refuse, restart": ({"prefill": "refuse", "instruct": "restart"}, "restarted"),
    "refuse, overlap": ({"prefill": "refuse", "instruct": "overlap"}, "overlapped"),
    "refuse, preface": ({"prefill": "refuse", "instruct": "preface"}, "went_on"),
}


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", SUBSET)
def test_a_second_model_goes_on(emulator: Emulator, client: FallbackClient, name: str, way: str, surface: str) -> None:
    text = TEXTS[name].replace(CUT, "")
    knobs, how = WAYS[way]
    emulator.reply(text, model=FIRST)
    emulator.reply(text, model=SECOND, **knobs)  # type: ignore[arg-type]
    emulator.fault("cut", model=FIRST, after_tokens=max(8, len(pieces(text)) // 2))
    outcome = ask(client, surface, models=[FIRST, SECOND])
    if name.startswith("code") and knobs["prefill"] == "refuse":
        # Half a code block is only gone on from by prefill: the first itself, until the block is whole.
        assert outcome.delivered == (outcome.raised.partial if outcome.completion is None else text)
        for request in emulator.log:
            if request.body["messages"][-1]["content"] == INSTRUCTION:
                assert not only_by_prefill(request.body["messages"][-2]["content"])
        return
    assert outcome.delivered == outcome.answer.text == text
    assert models_of(outcome) == [FIRST, SECOND]
    (seam,) = outcome.answer.seams
    assert outcome.pieces[-1].seams == (seam,)
    assert (seam.before, seam.after, seam.how) == (FIRST, SECOND, how)
    assert emulator.count(SECOND) == (2 if knobs["prefill"] == "refuse" else 1)
    assert client.health()[SECOND].failures == 0
    assert client.health()[SECOND].successes == 1


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("prefill", ["refuse", "restart"])
def test_what_a_model_does_is_remembered(
    emulator: Emulator, client: FallbackClient, prefill: str, surface: str
) -> None:
    text = TEXTS["a list, in an item"].replace(CUT, "")
    emulator.reply(text, model=FIRST)
    emulator.reply(text, model=SECOND, prefill=prefill)
    emulator.fault("cut", model=FIRST, after_tokens=10)
    for _ in range(2):
        assert ask(client, surface).delivered == text
    ends = [r.body["messages"][-1] for r in emulator.log if r.model == SECOND]
    assert [end["role"] for end in ends] == (
        ["assistant", "user", "user"] if prefill == "refuse" else ["assistant", "user"]
    )
    assert ends[-1]["content"] == INSTRUCTION


@pytest.mark.parametrize("surface", STREAMED)
def test_several_seams(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    text = " ".join(f"Sentence {n} is about {n * 37 % 100} things." for n in range(12))
    for model in CHAIN:
        emulator.reply(text, model=model)
    emulator.fault("cut", model=FIRST, after_tokens=10)
    emulator.fault("reset_mid", model=SECOND, after_tokens=12)
    outcome = ask(client, surface)
    answer = outcome.answer
    assert outcome.delivered == answer.text == text
    one, two = answer.seams
    assert [(one.before, one.after), (two.before, two.after)] == [(FIRST, SECOND), (SECOND, THIRD)]
    assert 0 < one.offset < two.offset < len(text)
    prefills = [request.body["messages"][-1]["content"] for request in emulator.log[1:]]
    assert prefills == [text[: one.offset].rstrip(), text[: two.offset].rstrip()]
    assert [attempt.kind for attempt in answer.attempts] == [K.BAD_ANSWER, K.BAD_ANSWER, None]
    assert answer.usage is not None
    assert answer.usage.estimated
    assert answer.usage.completion_tokens == len(pieces(text))
    assert answer.model == THIRD


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("params", [{"n": 2}, {"response_format": {"type": "json_object"}}], ids=["n", "JSON"])
def test_what_is_not_gone_on_with(
    emulator: Emulator, client: FallbackClient, params: dict[str, Any], surface: str
) -> None:
    emulator.fault("cut", model=FIRST, after_tokens=5)
    outcome = ask(client, surface, **params)
    assert type(outcome.raised) is StreamInterruptedError
    assert outcome.raised.partial == outcome.delivered != ""
    assert emulator.count() == 1


@pytest.mark.parametrize("surface", STREAMED)
def test_everybody_breaks_off(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    text = " ".join(f"Sentence {n} is about {n * 37 % 100} things." for n in range(40))
    emulator.reply(text)
    emulator.fault("cut", after_tokens=6)
    outcome = ask(client, surface)
    assert type(outcome.raised) is StreamInterruptedError
    assert outcome.raised.partial == outcome.delivered
    assert text.startswith(outcome.delivered)
    assert len(pieces(outcome.delivered)) >= 6 * 4
    asked = [attempt.model for attempt in outcome.raised.attempts]
    assert asked[:3] == CHAIN, "who broke off is asked again when nobody else is left"
    assert sorted(asked) == sorted(CHAIN * 2)


@pytest.mark.parametrize("surface", STREAMED)
def test_tools_stay_and_tokens_are_spent(emulator: Emulator, client: FallbackClient, surface: str) -> None:
    text = TEXTS["prose, in a word"].replace(CUT, "")
    for model in (FIRST, SECOND):
        emulator.reply(text, tool_calls=[{"name": "look_up", "arguments": {"query": "it"}}], model=model)
    emulator.fault("cut", model=FIRST, after_tokens=6)
    outcome = ask(client, surface, tools=[TOOL], max_tokens=200)
    assert outcome.delivered == text
    (tool_call,) = outcome.answer.tool_calls
    assert tool_call.arguments == {"query": "it"}
    assert [call for piece in outcome.pieces for call in piece.tool_calls] == [tool_call]
    sent = emulator.log[-1].body
    delivered = sent["messages"][-1]["content"]
    assert (sent["tools"], sent["max_tokens"]) == ([TOOL], 200 - max(6, len(delivered) // CHARACTERS_PER_TOKEN))


@pytest.mark.parametrize("surface", STREAMED)
def test_long_pieces_are_as_many_tokens_everywhere(raw: RawServer, surface: str) -> None:
    said = ["Eight hundred characters of prose in two pieces. ".ljust(400, letter) for letter in "ab"]
    raw.listing = Reply(
        [json.dumps({"data": [PRICED | {"id": model} for model in CHAIN]}).encode()], 200, "application/json"
    )
    raw.answer(Reply([sse(*(delta(content=text) for text in said))], ending="cut"), streamed("the rest of it"))
    with FallbackClient(
        CHAIN, base_url=raw.base_url, api_key="sk-or-v1-emulator", settings={"catalog": "always"}
    ) as client:
        client.refresh_catalog()
        raw.requests.clear()
        answer = ask(client, surface, max_tokens=200).answer
    raw.listing = None
    assert answer.usage is not None
    last = len("the rest of it") // CHARACTERS_PER_TOKEN
    assert (answer.usage.completion_tokens, answer.usage.estimated) == (160 + last, True)
    assert [attempt.cost for attempt in answer.attempts] == pytest.approx([160e-6, last * 1e-6])
    assert answer.cost == pytest.approx((160 + last) * 1e-6)
    assert 160 < answer.usage.prompt_tokens < 180  # the second's prompt holds what the first has written
    assert answer.estimated
    assert raw.requests[1].body["max_tokens"] == 200 - 160


PRICED = {"name": "m", "context_length": 100_000, "pricing": {"prompt": "0", "completion": "0.000001"}}


# Exactly this and then that: a server that waits until the text was read


@pytest.fixture(scope="module")
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def text_of_second(raw: RawServer) -> str:
    content: str = raw.requests[1].body["messages"][-1]["content"]
    return content


def streamed(*texts: str, finish: str = "stop") -> Reply:
    return Reply([sse(*(delta(content=text) for text in texts), delta(finish=finish))])


def whole(text: str) -> Reply:
    body = {"id": "gen", "object": "chat.completion", "model": "raw/model", "choices": [choice(content=text)]}
    return Reply([json.dumps(body).encode()], content_type="application/json")


def run(
    client: FallbackClient, surface: str, on_text: Callable[[str], None], **params: Any
) -> tuple[list[Piece], FallbackError | None]:
    """Read to the end; `on_text` hears the text so far after each piece."""
    read: list[Piece] = []

    def take(piece: Piece) -> None:
        read.append(piece)
        on_text("".join(p.text for p in read))

    async def arun() -> None:
        async with client.astream("Hello", **params) as stream:
            async for piece in stream:
                take(piece)
            assert stream.completion.text == "".join(p.text for p in read)

    try:
        if surface == "astream":
            asyncio.run(arun())
        else:
            with client.stream("Hello", **params) as stream:
                for piece in stream:
                    take(piece)
                assert stream.completion.text == "".join(p.text for p in read)
    except FallbackError as error:
        return read, error
    return read, None


def broken_off(
    raw: RawServer, surface: str, *then: Reply, said: str = SAID, models: list[Any] | None = None, **params: Any
) -> tuple[str, FallbackError | None, FallbackClient]:
    """The first model says `said` and breaks off once that is read; then come these replies."""
    gate = raw.gate()
    raw.answer(Reply([sse(delta(content=said)), gate], ending="cut"), *then)
    client = client_for(raw.base_url, models or CHAIN)

    def hear(text: str) -> None:
        if text == said:
            gate.open()

    read, error = run(client, surface, hear, **params)
    client.close()
    return "".join(piece.text for piece in read), error, client


FINE: Mapping[str, Reply] = {
    "streamed": streamed("and the second", " one goes", " on."),
    "with reasoning first": Reply(
        [sse(delta(reasoning="Hm. "), delta(reasoning="So."), delta(content=REST), delta(finish="stop"))]
    ),
    "in one JSON body": whole(REST),
    "one JSON body that starts over": whole(SAID + REST),
    "one JSON body with a preface": whole("Sure, here is the rest:\n\n" + REST),
    "only at its finish is it clear": streamed("and the", " second one goes on."),
    "without an end after the finish": Reply([sse(delta(content=REST), delta(finish="stop"))], ending="cut"),
    "cut off by its length": streamed(REST, finish="length"),
}


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("name", FINE)
def test_a_continuation(raw: RawServer, name: str, surface: str) -> None:
    delivered, error, client = broken_off(raw, surface, FINE[name])
    assert (delivered, error) == (SAID + REST, None)
    assert text_of_second(raw) == SAID.rstrip()
    assert len(raw.requests) == 2
    assert client.health()[SECOND].failures == 0


@pytest.mark.parametrize("surface", STREAMED)
def test_text_that_comes_in_one_read_with_its_failure_was_never_seen(raw: RawServer, surface: str) -> None:
    broken = sse(delta(content=SAID), {"error": {"code": 503, "message": "gone"}, "choices": []})
    raw.answer(Reply([broken]), streamed(REST))
    client = client_for(raw.base_url, CHAIN)
    read, error = run(client, surface, lambda text: None)
    client.close()
    assert ("".join(piece.text for piece in read), error) == (REST, None)
    assert [request.body["messages"] for request in raw.requests] == [[{"role": "user", "content": "Hello"}]] * 2


SAID_WHOLE = "The first model has said all there is to say."
NOTHING: Mapping[str, Reply] = {
    "nothing": Reply([sse(delta(content=""), delta(finish="stop"))]),
    "reasoning only": Reply([sse(delta(reasoning="It is whole."), delta(finish="stop"))]),
    "white space": streamed("\n"),
    "nothing, in one JSON body": whole(""),
}


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("name", NOTHING)
def test_a_whole_text_whose_finish_was_lost(raw: RawServer, name: str, surface: str) -> None:
    gate = raw.gate()
    raw.answer(Reply([sse(delta(content=SAID_WHOLE)), gate], ending="cut"), NOTHING[name])
    with client_for(raw.base_url, CHAIN) as client:
        seams: list[Any] = []
        read, error = run(client, surface, lambda text: gate.open() if text == SAID_WHOLE else None)
        seams = [seam for piece in read for seam in piece.seams]
    assert ("".join(piece.text for piece in read), error) == (SAID_WHOLE, None)
    assert len(raw.requests) == 2
    assert [(seam.how, seam.offset, seam.before, seam.after) for seam in seams] == [
        ("completed", len(SAID_WHOLE), FIRST, SECOND)
    ]


@pytest.mark.parametrize("surface", STREAMED)
def test_half_a_text_is_not_completed_by_silence(raw: RawServer, surface: str) -> None:
    delivered, error, _ = broken_off(raw, surface, NOTHING["nothing"], streamed(REST))
    assert (delivered, error) == (SAID + REST, None)
    assert len(raw.requests) == 3


LOST = streamed("The first model has begun to say it in other words.")


@pytest.mark.parametrize("surface", STREAMED)
def test_where_a_seam_is_lost_the_next_one_is_asked(raw: RawServer, surface: str) -> None:
    delivered, error, client = broken_off(raw, surface, LOST, streamed(REST))
    assert (delivered, error) == (SAID + REST, None)
    assert [request.body["model"] for request in raw.requests] == CHAIN
    assert client.health()[SECOND].failures == 0, "that is harmless"


@pytest.mark.parametrize("surface", STREAMED)
def test_where_every_seam_is_lost_the_stream_is_interrupted(raw: RawServer, surface: str) -> None:
    delivered, error, _ = broken_off(raw, surface, LOST)
    assert type(error) is StreamInterruptedError
    assert error.partial == delivered == SAID
    assert {attempt.kind for attempt in error.attempts} == {K.BAD_ANSWER}
    assert {attempt.model for attempt in error.attempts} == set(CHAIN)


@pytest.mark.parametrize("surface", STREAMED)
def test_an_attempt_that_dies_while_its_text_is_held_back(raw: RawServer, surface: str) -> None:
    held = Reply([sse(delta(content="The first model"))], ending="cut")
    delivered, error, _ = broken_off(raw, surface, held, streamed(REST))
    assert (delivered, error) == (SAID + REST, None)
    assert [r.body["messages"][-1]["content"] for r in raw.requests[1:]] == [SAID.rstrip()] * 2


@pytest.mark.parametrize("surface", STREAMED)
def test_a_content_policy_keeps_its_class(raw: RawServer, surface: str) -> None:
    end = Reply([sse(delta(content=REST), delta(finish="content_filter"))])
    _, error, _ = broken_off(raw, surface, end)
    assert type(error) is ContentPolicyError
    assert len(raw.requests) == 2


@pytest.mark.parametrize("surface", STREAMED)
def test_half_a_tool_call_after_the_text_is_never_delivered(raw: RawServer, surface: str) -> None:
    half = Reply([sse(delta(content=REST), delta(tool_calls=[part(0, "c", "f", '{"x"')]))], ending="cut")
    good = Reply([sse(delta(tool_calls=[part(0, "c", "f", '{"x": 1}')]), delta(finish="tool_calls"))])
    delivered, error, _ = broken_off(raw, surface, half, good)
    assert (delivered, error) == (SAID + REST, None)
    assert raw.requests[2].body["messages"][-1]["content"] == SAID + REST


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("status", [400, 503])
def test_a_model_that_never_goes_on_is_left_out(raw: RawServer, status: int, surface: str) -> None:
    models = [FIRST, ModelConfig(SECOND, continues="never"), THIRD]
    refusal = Reply([b'{"error": {"code": %d, "message": "no"}}' % status], status, "application/json")
    delivered, error, _ = broken_off(raw, surface, refusal, streamed(REST), models=models)
    assert (delivered, error) == (SAID + REST, None)
    assert SECOND not in [request.body["model"] for request in raw.requests]
    assert raw.requests[1].body["model"] == THIRD


@pytest.mark.parametrize("surface", STREAMED)
def test_a_model_that_is_known_to_go_on_may_say_the_same_again(raw: RawServer, surface: str) -> None:
    models = [FIRST, ModelConfig(SECOND, continues="prefill")]
    again = streamed(SAID.rstrip() + ", he said twice.")
    delivered, error, _ = broken_off(raw, surface, again, models=models)
    assert (delivered, error) == (SAID + SAID.rstrip() + ", he said twice.", None)


@pytest.mark.parametrize("surface", STREAMED)
def test_a_known_way_is_not_trusted_where_it_was_refused(raw: RawServer, surface: str) -> None:
    models = [FIRST, ModelConfig(SECOND, continues="prefill")]
    refused = Reply([b'{"error": {"code": 400, "message": "Bad Request"}}'], 400, "application/json")
    delivered, error, _ = broken_off(raw, surface, refused, streamed(SAID + REST), models=models)
    assert (delivered, error) == (SAID + REST, None)
    assert raw.requests[2].body["messages"][-1]["content"] == INSTRUCTION


@pytest.mark.parametrize("surface", STREAMED)
def test_unfinished_json_is_only_gone_on_from_by_prefill(raw: RawServer, surface: str) -> None:
    refused = Reply([b'{"error": {"code": 400, "message": "Bad Request"}}'], 400, "application/json")
    models = [FIRST, ModelConfig(SECOND, continues="instruct"), THIRD]
    said = '{"a long enough name": 1, "b": '
    delivered, error, _ = broken_off(raw, surface, streamed("2}"), said=said, models=models)
    assert (delivered, error) == (said + "2}", None)
    assert [request.body["model"] for request in raw.requests] == [FIRST, THIRD]
    delivered, error, _ = broken_off(raw, surface, refused, said=said, models=models)
    assert type(error) is StreamInterruptedError
    assert error.partial == delivered == said
    assert all(r.body["messages"][-1]["content"] != INSTRUCTION for r in raw.requests)
    assert [(a.model, a.kind) for a in error.attempts] == [(FIRST, K.BAD_ANSWER)], "a refused prefill is no attempt"


@pytest.mark.parametrize("surface", STREAMED)
def test_the_deadline_of_the_call_holds_over_its_seams(raw: RawServer, surface: str) -> None:
    gate = raw.gate()
    silent = Reply([b": OPENROUTER PROCESSING\n\n", gate])
    delivered, error, _ = broken_off(raw, surface, silent, total_timeout=SHORT)
    gate.open()
    assert type(error) is DeadlineExceededError
    assert error.partial == delivered == SAID


def test_leaving_a_continuation_closes_the_upstream(emulator: Emulator, client: FallbackClient) -> None:
    emulator.reply(tokens=3000, model=FIRST)
    emulator.reply(tokens=3000, model=SECOND)
    emulator.fault("cut", model=FIRST, after_tokens=5)
    with client.stream("Hello") as stream:
        for _ in stream:
            if emulator.count(SECOND) and emulator.log[-1].tokens_sent > 3:
                break
    _, second = emulator.wait_for(lambda log: log[-1].ended == "gone")
    assert second.tokens_sent < 2900


async def test_cancelling_a_continuation_closes_the_upstream(emulator: Emulator, client: FallbackClient) -> None:
    emulator.reply(tokens=3000, model=FIRST)
    emulator.fault("cut", model=FIRST, after_tokens=5)
    emulator.fault("silence", model=SECOND)

    async def read() -> None:
        async for _ in client.astream("Hello"):
            pass

    task = asyncio.create_task(read())
    await emulator.await_for(lambda log: len(log) == 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _, second = await emulator.await_for(lambda log: log[-1].ended == "gone")
    assert second.model == SECOND
    assert client.health()[SECOND].failures == 0


# Characters in two events

GRIN = "\U0001f600"
HIGH, LOW = "\ud83d", "\ude00"
SPLIT: Mapping[str, tuple[list[dict[str, Any]], list[str]]] = {
    "in two": ([delta(content=f"a{HIGH}"), delta(content=f"{LOW}b")], ["a", f"{GRIN}b"]),
    "alone": ([delta(content="a"), delta(content=HIGH), delta(content=LOW)], ["a", GRIN]),
    "never whole": ([delta(content=f"a{HIGH}"), delta(content="b")], ["a", "\ufffdb"]),
    "never whole at the end": ([delta(content=f"a{HIGH}")], ["a", "\ufffd"]),
    "only a low one": ([delta(content=f"a{LOW}b")], ["a\ufffdb"]),
    "twice": ([delta(content=HIGH), delta(content=LOW + HIGH), delta(content=LOW)], [GRIN, GRIN]),
}


@pytest.mark.parametrize("surface", STREAMED)
@pytest.mark.parametrize("name", SPLIT)
def test_characters_are_delivered_whole(raw: RawServer, name: str, surface: str) -> None:
    chunks, texts = SPLIT[name]
    raw.answer(Reply([sse(*chunks, delta(finish="stop"))]))
    client = client_for(raw.base_url, CHAIN)
    read, error = run(client, surface, lambda text: None)
    client.close()
    assert error is None
    assert [piece.text for piece in read if piece.text] == texts
    assert json.dumps([piece.raw for piece in read], ensure_ascii=False).encode()
    assert len(raw.requests) == 1


def test_the_rest_of_a_split_character_is_not_delivered_before_it_is_whole(raw: RawServer) -> None:
    delivered, error, _ = broken_off(
        raw, "stream", Reply([sse(delta(content=f"{GRIN} on."), delta(finish="stop"))]), said=SAID
    )
    assert (delivered, error) == (f"{SAID}{GRIN} on.", None)


@pytest.mark.parametrize("body", [whole("x"), Reply([sse(delta(content="x"), delta(finish="stop"))])])
def test_half_a_character_in_other_places(raw: RawServer, body: Reply) -> None:
    lone = Reply([bytes(body.pieces[0]).replace(b'"x"', b'"x\\ud83d"')], content_type=body.content_type)  # type: ignore[arg-type]
    raw.answer(lone)
    client = client_for(raw.base_url, CHAIN)
    assert client.chat("Hello").text == "x\ufffd"
    client.close()


def test_the_arguments_of_a_tool_are_whole_too(raw: RawServer) -> None:
    calls = [part(0, "c", "f", f'{{"x": "{HIGH}'), part(0, None, None, f'{LOW}"}}')]
    raw.answer(Reply([sse(*(delta(tool_calls=[one]) for one in calls), delta(finish="tool_calls"))]))
    client = client_for(raw.base_url, CHAIN)
    (made,) = client.chat("Hello").tool_calls
    assert made.arguments == {"x": GRIN}
    client.close()


@pytest.mark.parametrize("data", ['{"choices": "\\ud83d', '{"x": NaN, "y": "\\ud83d"}', "[" * 5000 + '"\\ud83d'])
def test_what_is_not_json_is_still_not_json(raw: RawServer, data: str) -> None:
    raw.answer(Reply([sse(data)]), streamed("fine"))
    client = client_for(raw.base_url, CHAIN)
    completion = client.chat("Hello")
    assert (completion.text, [a.kind for a in completion.attempts]) == ("fine", [K.BAD_ANSWER, None])
    client.close()
