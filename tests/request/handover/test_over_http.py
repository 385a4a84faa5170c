"""A conversation that changes hands, over real HTTP: what each model is sent, and what the caller gets."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from openrouter_fallback import ConfigError, FallbackClient, FallbackError, ModelConfig
from openrouter_fallback.composition import parts_of

from ...support.bodies import delta, part
from ...support.clients import client_for
from ...support.rawserver import RawServer, Reply, sse
from ...support.surfaces import STREAMED, SURFACES, ask
from .histories import Json, call, calling, result, signed, user

KIMI, CLAUDE, MISTRAL, GPT = (
    "moonshotai/kimi-k2-thinking",
    "anthropic/claude-sonnet-4.5",
    "mistralai/mistral-large-2512",
    "openai/gpt-5.1",
)
DOWN = Reply([b'{"error": {"code": 503, "message": "down"}}'], status=503, content_type="application/json")
LATER = Reply(
    [b'{"error": {"code": 429, "message": "Rate limited, try again in 100s"}}'],
    status=429,
    content_type="application/json",
)
HI = Reply([sse(delta(content="Sunny.", finish="stop"), "[DONE]")])
TOOL: Json = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
SERVERS: Json = {"type": "reasoning.server_tool_call", "id": "1"}
LOOP = [user(), calling(call("functions.get_weather:0"), reasoning="Hm."), result("functions.get_weather:0")]


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def _calls(*calls: tuple[str | None, str]) -> Reply:
    parts = [part(number, id, name, "{}") for number, (id, name) in enumerate(calls)]
    return Reply([sse(delta(tool_calls=parts), delta(finish="tool_calls"), "[DONE]")])


def _refused(message: str, status: int = 400) -> Reply:
    error = {"message": "Provider returned error", "code": status, "metadata": {"provider_name": "X", "raw": message}}
    return Reply([json.dumps({"error": error}).encode()], status=status, content_type="application/json")


def _client(raw: RawServer, models: Sequence[Any], **settings: Any) -> FallbackClient:
    return client_for(raw.base_url, list(models), **settings)


def _sent(raw: RawServer) -> list[tuple[str, list[Json]]]:
    return [(request.body["model"], request.body["messages"]) for request in raw.requests if request.body]


@pytest.mark.parametrize("surface", SURFACES)
def test_kimi_calls_a_tool_and_dies_and_claude_goes_on(raw: RawServer, surface: str) -> None:
    raw.answer(DOWN, HI)
    client = _client(raw, [KIMI, CLAUDE])
    assert ask(client, surface, LOOP).answer.text == "Sunny."
    (kimi, first), (claude, second) = _sent(raw)
    assert (kimi, claude) == (KIMI, CLAUDE)
    assert first == LOOP
    id = second[1]["tool_calls"][0]["id"]
    assert id.startswith("call_")
    assert second == [user(), calling({**LOOP[1]["tool_calls"][0], "id": id}), result(id)]


@pytest.mark.parametrize("surface", SURFACES)
def test_a_refusal_of_the_form_asks_the_same_model_once_more(raw: RawServer, surface: str) -> None:
    """Unseen, uncharged, remembered: the next call is sent the strictest form at once."""
    unknown = "acme/new-model"
    raw.answer(_refused("Tool call id was toolu_1 but must be a-z, A-Z, 0-9, with a length of 9."), HI)
    client = _client(raw, [unknown, CLAUDE], retry_budget=0.0)
    messages = [user(), calling(call("toolu_1")), result("toolu_1")]
    answer = ask(client, surface, messages).answer
    assert [(attempt.model, attempt.kind) for attempt in answer.attempts] == [(unknown, None)]
    (_, first), (model, second) = _sent(raw)
    assert (model, first) == (unknown, messages)
    assert len(second[1]["tool_calls"][0]["id"]) == 9
    assert [str(fact) for fact in client.route().learnt] == [f"{unknown} form strict"]

    raw.answer(HI)
    ask(client, surface, messages)
    ((_, third),) = _sent(raw)
    assert third == second


def test_calls_are_told_to_a_provider_that_reads_them_only_beside_tools(raw: RawServer) -> None:
    """A summary, a last answer: requests without the tools of the history. With tools nothing changes."""
    raw.answer(
        _refused("The toolConfig field must be defined when using toolUse and toolResult content blocks."), HI, HI
    )
    client = _client(raw, [CLAUDE], retry_budget=0.0)
    messages = [user(), calling(call("toolu_1")), result("toolu_1"), user("Sum up.")]
    client.chat(messages)
    client.chat(messages, tools=[TOOL])
    first, second, third = [sent for _, sent in _sent(raw)]
    assert first == third == messages
    assert second == [
        user(),
        {"role": "assistant", "content": "[call toolu_1: get_weather({})]"},
        user("[result of call toolu_1:] sunny"),
        user("Sum up."),
    ]


def test_a_signature_that_is_not_verified_stays_out_for_ten_minutes(raw: RawServer) -> None:
    raw.answer(_refused("messages.1.content.0: Invalid `signature` in `thinking` block"), HI)
    client = _client(raw, [CLAUDE])
    own = calling(call("toolu_1"), reasoning_details=[signed()])
    client.chat([user(), own, result("toolu_1")])
    first, second = [messages[1] for _, messages in _sent(raw)]
    assert first == own
    assert second == calling(call("toolu_1"))
    (fact,) = client.route().learnt
    assert fact.value == "unsigned"
    assert fact.until == pytest.approx(parts_of(client).runtime.clock() + 600.0, abs=60.0)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"message": "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' "
                         ": property 'metadata' is unsupported)]", "type": "invalid_request_error"}}),
        (422, {"object": "error", "message": {"detail": [{"type": "extra_forbidden",
                         "loc": ["body", "messages", 1, "assistant", "metadata"],
                         "msg": "Extra inputs are not permitted"}]}, "type": "invalid_request_error"}),
    ],
    ids=["Groq", "Mistral"],
)  # fmt: skip
def test_a_note_of_another_program_is_taken_out_where_it_is_refused(raw: RawServer, status: int, body: Json) -> None:
    raw.answer(Reply([json.dumps(body).encode()], status=status, content_type="application/json"), HI)
    noted = {"role": "assistant", "content": "Sunny.", "metadata": {"trimmed": True}}
    assert _client(raw, ["acme/new-model"], retry_budget=0.0).chat([user(), noted, user("Why?")]).text == "Sunny."
    (_, first), (_, second) = _sent(raw)
    assert (first[1], second[1]) == (noted, {"role": "assistant", "content": "Sunny."})


def test_a_refusal_in_the_strictest_form_is_a_refusal(raw: RawServer) -> None:
    refusal = _refused("Tool call id was toolu_1 but must be a-z, A-Z, 0-9, with a length of 9.")
    raw.answer(refusal, refusal, HI)
    client = _client(raw, ["acme/new-model", CLAUDE])
    answer = client.chat([user(), calling(call("toolu_1")), result("toolu_1")])
    assert [attempt.model for attempt in answer.attempts] == ["acme/new-model", CLAUDE]
    assert client.route().learnt == ()


def test_a_model_that_demands_reasoning_gets_some(raw: RawServer) -> None:
    raw.answer(_refused("thinking is enabled but reasoning_content is missing in assistant tool call message"), HI)
    client = _client(raw, ["acme/new-model"])
    client.chat([user(), calling(call("a")), result("a")])
    assert _sent(raw)[1][1][1]["reasoning"] == "(not recorded)"


@pytest.mark.parametrize(
    "messages",
    [[user()], [user(), {"role": "assistant", "content": "Hi"}, user()]],
    ids=["a prompt", "plain text"],
)
def test_a_refusal_that_no_other_form_answers_is_not_asked_twice(raw: RawServer, messages: list[Json]) -> None:
    raw.answer(_refused("messages.0.name: invalid"), HI)
    client = _client(raw, [GPT, CLAUDE])
    assert [attempt.model for attempt in client.chat(messages).attempts] == [GPT, CLAUDE]


# Names


@pytest.mark.parametrize("surface", SURFACES)
def test_names_of_functions_come_back_as_the_caller_wrote_them(raw: RawServer, surface: str) -> None:
    name = "mcp.server/get weather"
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}]
    client = _client(raw, [GPT])
    raw.answer(HI)
    ask(client, surface, "Hi", tools=tools, tool_choice={"type": "function", "function": {"name": name}})
    body = raw.requests[-1].body
    written = body["tools"][0]["function"]["name"]
    assert body["tool_choice"]["function"]["name"] == written != name

    raw.answer(_calls(("call_1", written)))
    outcome = ask(client, surface, "Hi", tools=tools)
    assert [one.name for one in outcome.answer.tool_calls] == [name]
    if surface in STREAMED:
        assert [one.name for piece in outcome.pieces for one in piece.tool_calls] == [name]


# Delivered ids


@pytest.mark.parametrize("surface", SURFACES)
def test_an_id_that_stands_in_the_history_is_delivered_anew(raw: RawServer, surface: str) -> None:
    messages = [*LOOP, {"role": "assistant", "content": "Sunny."}, user("And now?")]
    raw.answer(_calls(("functions.get_weather:0", "get_weather"), (None, "get_weather"), ("own", "get_weather")))
    outcome = ask(_client(raw, [KIMI]), surface, messages, tools=[TOOL])
    first, second, third = [one.id for one in outcome.answer.tool_calls]
    assert first.startswith("call_")
    assert second.startswith("call_")
    assert first != second
    assert third == "own"
    if surface in STREAMED:
        assert [one.id for piece in outcome.pieces for one in piece.tool_calls] == [first, second, third]


# Thinking


def test_claude_is_not_asked_to_think_behind_anothers_loop(raw: RawServer) -> None:
    raw.answer(DOWN, HI)
    client = _client(raw, [KIMI, ModelConfig(CLAUDE, params={"reasoning": {"effort": "low"}})])
    answer = client.chat(LOOP, reasoning={"effort": "high"})
    first, second = [request.body for request in raw.requests if request.body]
    assert first["reasoning"] == {"effort": "high"}
    assert "reasoning" not in second
    assert "thinking is switched off: another model began this tool loop" in answer.attempts[-1].notes
    assert answer.attempts[0].notes == ()


def test_claude_thinks_on_in_its_own_loop(raw: RawServer) -> None:
    raw.answer(HI)
    own = calling(call("toolu_1"), reasoning_details=[signed()])
    answer = _client(raw, [CLAUDE]).chat([user(), own, result("toolu_1")], reasoning={"effort": "high"})
    assert raw.requests[-1].body["reasoning"] == {"effort": "high"}
    assert answer.attempts[-1].notes == ()


def test_what_could_not_be_brought_along_is_logged_once(raw: RawServer, caplog: pytest.LogCaptureFixture) -> None:
    raw.answer(HI)
    client = _client(raw, [GPT])
    messages = [user(), calling(call("a"), reasoning_details=[signed()]), result("a")]
    with caplog.at_level(logging.DEBUG, "openrouter_fallback"):
        client.chat(messages)
        client.chat(messages)
    said = [(record.levelname, record.getMessage()) for record in caplog.records if "reasoning" in record.getMessage()]
    line = f"{GPT}, in what was sent to it: signed reasoning of another model"
    assert said == [("INFO", line), ("DEBUG", line)]


# Signatures


@pytest.mark.parametrize("surface", SURFACES)
def test_what_another_model_of_the_family_signed_stays_out(raw: RawServer, surface: str) -> None:
    """The message does not say who wrote it; this client has delivered it."""
    opus = "anthropic/claude-opus-4.5"
    thought = Reply([sse(delta(reasoning_details=[signed()]), delta(content="Sunny.", finish="stop"), "[DONE]")])
    raw.answer(thought, DOWN, HI)
    client = _client(raw, [CLAUDE, opus])
    began = ask(client, surface, [user()]).answer
    ask(client, surface, [user(), began.message, user()])
    (_, _), (_, own), (reader, others) = _sent(raw)
    assert own[1]["reasoning_details"] == [signed()]
    assert reader == opus
    assert "reasoning_details" not in others[1]


@pytest.mark.parametrize("surface", STREAMED)
def test_what_goes_on_from_delivered_text_is_not_signed(raw: RawServer, surface: str) -> None:
    """Claude's signature would hold for a request with the instruction to go on, which the history will not have."""
    goes_on = Reply(
        [sse(delta(reasoning_details=[signed(), SERVERS]), delta(content=" and warm.", finish="stop"), "[DONE]")]
    )
    raw.answer(Reply([sse(delta(content="Sunny"))]), goes_on)
    answer = ask(_client(raw, [GPT, ModelConfig(CLAUDE, continues="instruct")]), surface, [user()]).answer
    assert answer.text == "Sunny and warm."
    assert answer.message["reasoning_details"] == [SERVERS]


@pytest.mark.parametrize(
    ("model", "last"),
    [
        (CLAUDE, "assistant"),
        ("anthropic/claude-opus-4.6", "user"),
        (MISTRAL, "user"),
        (ModelConfig(MISTRAL, continues="prefill"), "assistant"),
    ],
    ids=str,
)
def test_where_a_prefill_is_refused_a_seam_asks_by_instruction_at_once(raw: RawServer, model: Any, last: str) -> None:
    raw.answer(Reply([sse(delta(content="Sunny"))]), Reply([sse(delta(content=" and warm.", finish="stop"), "[DONE]")]))
    (surface, *_) = STREAMED
    answer = ask(_client(raw, [GPT, model]), surface, [user()]).answer
    assert answer.text == "Sunny and warm."
    assert len(raw.requests) == 2
    assert _sent(raw)[1][1][-1]["role"] == last


# A loop stays with its model


@pytest.mark.parametrize("surface", SURFACES)
def test_a_loop_that_a_fallback_began_stays_with_it(raw: RawServer, surface: str) -> None:
    client = _client(raw, [KIMI, CLAUDE], min_samples=100)
    raw.answer(DOWN, _calls(("toolu_1", "get_weather")), HI)
    began = ask(client, surface, [user()], tools=[TOOL]).answer
    assert began.attempts[-1].model == CLAUDE
    loop = [user(), {**began.message}, result(began.tool_calls[0].id)]
    assert client.route(messages=loop, tools=[TOOL]).candidates == (CLAUDE, KIMI)
    assert client.route(messages=loop).notes == (f"{CLAUDE} goes first: its tool calls are answered",)
    ask(client, surface, loop, tools=[TOOL])
    assert [model for model, _ in _sent(raw)] == [KIMI, CLAUDE, CLAUDE]

    home = [*loop, {"role": "assistant", "content": "Sunny."}, user("And now?")]
    ask(client, surface, home, tools=[TOOL])
    assert _sent(raw)[-1][0] == KIMI
    assert client.route(messages=home).notes == ()


@pytest.mark.parametrize(
    ("id", "writer"),
    [(CLAUDE, "anthropic/claude-4.5-sonnet-20250929"), ("anthropic/claude-sonnet-4", "claude-sonnet-4-0")],
)
def test_the_writer_that_a_framework_names_goes_first(raw: RawServer, id: str, writer: str) -> None:
    client = _client(raw, [KIMI, id])
    raw.answer(HI)
    client.chat([user(), calling(call("toolu_1"), model=writer), result("toolu_1")])
    ((model, messages),) = _sent(raw)
    assert model == id
    assert "model" not in messages[1]


@pytest.mark.parametrize("why", ["disabled", "not in this chain", "open", "half-open", "cooling down"])
def test_only_the_order_changes_and_only_while_it_is_healthy(raw: RawServer, why: str) -> None:
    client = _client(raw, [KIMI, CLAUDE], min_samples=1)
    raw.answer(HI)
    messages = [user(), calling(call("toolu_1"), model=CLAUDE), result("toolu_1")]
    more: Json = {}
    if why == "disabled":
        client.disable(CLAUDE)
    elif why in ("open", "half-open"):
        raw.answer(DOWN, HI)
        client.chat([user()], models=[CLAUDE, GPT])
        assert client.health()[CLAUDE].state == "open"
        if why == "half-open":
            parts_of(client).runtime.clock = lambda: time.monotonic() + 1000.0
            assert client.health()[CLAUDE].state == "half_open"
        raw.answer(HI)
    elif why == "cooling down":
        raw.answer(LATER, HI)
        client.chat([user()], models=[CLAUDE, GPT])
        raw.answer(HI)
    else:
        more = {"models": [KIMI, GPT]}
    assert client.chat(messages, **more).attempts[0].model == KIMI
    assert client.route(messages=messages, **more).notes == ()


# Blocks


def test_a_block_of_another_api_is_sent_in_openais_shape(raw: RawServer) -> None:
    raw.answer(HI)
    blocks = [{"type": "input_text", "text": "What is it?"}, {"type": "input_image", "image_url": "https://a/b.png"}]
    _client(raw, [GPT]).chat([{"role": "user", "content": blocks}])
    assert _sent(raw)[0][1][0]["content"] == [
        {"type": "text", "text": "What is it?"},
        {"type": "image_url", "image_url": {"url": "https://a/b.png"}},
    ]
    assert blocks[0]["type"] == "input_text"


def test_a_block_without_a_counterpart_is_named(raw: RawServer) -> None:
    block = {"type": "tool_result", "tool_use_id": "a", "content": "sunny"}
    with pytest.raises(ConfigError, match=r"messages\[0\]\.content\[0\] is a block of type 'tool_result'"):
        _client(raw, [GPT]).chat([{"role": "user", "content": [block]}])


@pytest.mark.parametrize(("message", "asked"), [("temperature must be below 2", [GPT, CLAUDE]), ("Bad Request", [GPT])])
def test_a_refusal_of_anything_else_stays_what_it_is(raw: RawServer, message: str, asked: list[str]) -> None:
    """No model is asked again in another form: a value may suit the next model, an invalid request suits none."""
    refused = Reply([json.dumps({"error": {"code": 400, "message": message}}).encode()], status=400)
    raw.answer(refused, refused)
    with pytest.raises(FallbackError):
        _client(raw, [GPT, CLAUDE]).chat(LOOP)
    assert [model for model, _ in _sent(raw)] == asked
