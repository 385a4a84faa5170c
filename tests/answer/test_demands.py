"""What a request demands of its answer: looked at by itself, and over real HTTP."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from openrouter_fallback import FailureKind, FallbackError
from openrouter_fallback.answer.demands import Demands, fits

from ..support.bodies import delta, part
from ..support.clients import client_for
from ..support.rawserver import RawServer, Reply, sse
from ..support.surfaces import SURFACES, ask

Json = dict[str, Any]

FIRST, SECOND = "openai/gpt-5.1", "anthropic/claude-sonnet-4.5"
TOOL: Json = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object"}}}
NAMED: Json = {"type": "function", "function": {"name": "look_up"}}
ALLOWED: Json = {"mode": "required", "tools": [NAMED]}
SCHEMA: Json = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
FORM: Json = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}


# By itself


@pytest.mark.parametrize(
    ("params", "call"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, True),
        ({"tools": [TOOL], "tool_choice": NAMED}, True),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": ALLOWED}}, True),
        (
            {"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {**ALLOWED, "mode": "auto"}}},
            False,
        ),
        ({"tools": [TOOL], "tool_choice": "auto"}, False),
        ({"tools": [TOOL], "tool_choice": "none"}, False),
        ({"tools": [TOOL]}, False),
        ({"tool_choice": "required"}, False),
        ({"tools": [TOOL, {"type": "openrouter:web_search"}], "tool_choice": "required"}, False),
        ({"functions": [{"name": "look_up"}], "function_call": {"name": "look_up"}}, True),
        ({"tools": [TOOL], "tool_choice": ["odd"]}, False),
    ],
)
def test_which_requests_force_a_call(params: Json, call: bool) -> None:
    assert Demands.of(params, "user").call is call


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ('{"name": "Ann"}', '{"name": "Ann"}'),
        ('```json\n{"name": "Ann"}\n```', '{"name": "Ann"}'),
        ('Here it is:\n```\n{"name": "Ann", "age": 3}\n```\nAnything else?', '{"name": "Ann", "age": 3}'),
        ('Sure! {"name": "Ann"} is the answer.', '{"name": "Ann"}'),
        ('First {"x": 1}, then {"name": "A}n\\"n"}.', '{"name": "A}n\\"n"}'),
        ('{"name": 7}', None),
        ("no JSON at all", None),
        ('an open { and {"name": "Ann"', None),
        ('```json\n{"name": "Ann"', None),
        ("[" * 100_000, None),
    ],
)
def test_json_with_something_around_it(text: str, inside: str | None) -> None:
    assert Demands(json=True, schema=SCHEMA).unwrapped(text) == inside


@pytest.mark.parametrize(
    ("value", "schema", "good"),
    [
        (1, {"type": "integer"}, True),
        (1.0, {"type": "integer"}, True),
        (1.5, {"type": "integer"}, False),
        (True, {"type": "integer"}, False),
        (True, {"type": "number"}, False),
        (None, {"type": ["string", "null"]}, True),
        ("b", {"enum": ["a", "b"]}, True),
        ("c", {"enum": ["a", "b"]}, False),
        ("c", {"const": "a"}, False),
        ([1, "a"], {"type": "array", "items": {"type": "integer"}}, False),
        ({"a": {"b": 1}}, {"$defs": {"B": {"required": ["b"]}}, "properties": {"a": {"$ref": "#/$defs/B"}}}, True),
        ({"a": {}}, {"$defs": {"B": {"required": ["b"]}}, "properties": {"a": {"$ref": "#/$defs/B"}}}, False),
        (1, {"anyOf": [{"type": "string"}, {"type": "integer"}]}, True),
        (1, {"allOf": [{"type": "integer"}, {"enum": [2]}]}, False),
        ({"x": 1}, {"additionalProperties": False, "properties": {}}, False),
        (1, {"$ref": "#/nowhere"}, True),
        (1, {"$ref": "#"}, True),
        (1, {"type": "unheard of"}, True),
    ],
)
def test_a_value_fits_a_schema(value: object, schema: Json, good: bool) -> None:
    assert fits(value, schema) is good


# Over HTTP


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def says(text: str, finish: str = "stop") -> Reply:
    """A body that came whole, so that nothing is delivered before it is looked at."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return Reply([json.dumps({"model": "m", "choices": [choice]}).encode()], content_type="application/json")


CALL = Reply([sse(delta(tool_calls=[part(0, "call_1", "look_up", "{}")]), delta(finish="tool_calls"), "[DONE]")])
DOWN = Reply([b'{"error": {"code": 503, "message": "down"}}'], status=503, content_type="application/json")


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("choice", ["required", NAMED], ids=["any", "named"])
def test_prose_where_a_call_was_forced_goes_to_the_next_model(raw: RawServer, surface: str, choice: object) -> None:
    raw.answer(says("I would look it up."), CALL)
    client = client_for(raw.base_url, [FIRST, SECOND])
    answer = ask(client, surface, "Hi", tools=[TOOL], tool_choice=choice).answer
    assert [(one.model, one.kind) for one in answer.attempts] == [(FIRST, FailureKind.BAD_ANSWER), (SECOND, None)]
    assert [call.name for call in answer.tool_calls] == ["look_up"]
    assert client.health()[FIRST].success_rate == 1.0


@pytest.mark.parametrize("surface", SURFACES)
def test_where_all_answer_in_prose_the_last_is_delivered(
    raw: RawServer, surface: str, caplog: pytest.LogCaptureFixture
) -> None:
    raw.answer(says("First prose."), says("Last prose."), DOWN)
    client = client_for(raw.base_url, [FIRST, SECOND], max_retries_per_model=1)
    with caplog.at_level(logging.WARNING, "openrouter_fallback"):
        outcome = ask(client, surface, "Hi", tools=[TOOL], tool_choice="required")
    assert outcome.answer.text == "Last prose."
    assert outcome.answer.attempts[-1].model == SECOND
    assert outcome.answer.attempts[-1].notes == ("a tool call was forced and none was made",)
    assert "no model did better" in caplog.text
    if outcome.pieces:
        assert outcome.delivered == "Last prose."


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"tools": [TOOL], "tool_choice": "required"}, "a tool call was forced and none was made"),
        ({"response_format": FORM}, "JSON was asked for and the answer is not JSON"),
    ],
    ids=["a call", "JSON"],
)
def test_a_streamed_answer_that_was_delivered_ends_with_a_warning(
    raw: RawServer, caplog: pytest.LogCaptureFixture, asked: Json, said: str
) -> None:
    raw.answer(Reply([sse(delta(content="I would ")), sse(delta(content="look it up.", finish="stop"), "[DONE]")]))
    with caplog.at_level(logging.WARNING, "openrouter_fallback"), pytest.MonkeyPatch.context() as patch:
        patch.setattr("openrouter_fallback.http.chunks.Chunks.joined", lambda _, data: data)
        outcome = ask(client_for(raw.base_url, [FIRST]), "stream", "Hi", **asked)
    assert outcome.delivered == outcome.answer.text == "I would look it up."
    assert f"{FIRST}: {said}; its text was delivered as it came" in caplog.text


# An end without words

RESULT: list[Json] = [
    {"role": "user", "content": "Look it up."},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", **NAMED}]},
    {"role": "tool", "tool_call_id": "call_1", "content": "done"},
]
RESULT[1]["tool_calls"][0]["function"] = {"name": "look_up", "arguments": "{}"}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("models", [[FIRST, SECOND], [FIRST]], ids=["another", "the same"])
def test_a_second_end_without_words_behind_a_result_is_one(raw: RawServer, surface: str, models: list[str]) -> None:
    raw.answer(says(""))
    answer = ask(client_for(raw.base_url, models), surface, RESULT).answer
    assert (answer.text, answer.finish_reason) == ("", "stop")
    assert [(one.model, one.kind) for one in answer.attempts] == [(FIRST, FailureKind.BAD_ANSWER), (models[-1], None)]


@pytest.mark.parametrize(
    ("messages", "reply"), [("Hi", says("")), (RESULT, says("", finish="tool_calls"))], ids=["no result", "no stop"]
)
def test_any_other_answer_without_words_is_none(raw: RawServer, messages: Any, reply: Reply) -> None:
    raw.answer(reply)
    with pytest.raises(FallbackError):
        client_for(raw.base_url, [FIRST, SECOND], max_retries_per_model=1).chat(messages)


# JSON


@pytest.mark.parametrize("surface", SURFACES)
def test_json_in_a_fence_is_unwrapped(raw: RawServer, surface: str) -> None:
    raw.answer(says('Here:\n```json\n{"name": "Ann"}\n```'))
    outcome = ask(client_for(raw.base_url, [FIRST]), surface, "Hi", response_format=FORM)
    assert outcome.answer.text == '{"name": "Ann"}'
    assert len(outcome.answer.attempts) == 1
    if outcome.pieces:
        assert outcome.delivered == '{"name": "Ann"}'


def test_what_is_json_stays_as_it_is_whether_or_not_it_fits(raw: RawServer) -> None:
    raw.answer(says('{"nom": "Ann"}'))
    assert client_for(raw.base_url, [FIRST]).chat("Hi", response_format=FORM).text == '{"nom": "Ann"}'


def test_an_answer_that_is_no_json_is_the_last_resort(raw: RawServer) -> None:
    raw.answer(says("Ann."), DOWN)
    client = client_for(raw.base_url, [FIRST, SECOND], max_retries_per_model=1)
    answer = client.chat("Hi", response_format=FORM)
    assert answer.text == "Ann."
    assert [one.model for one in answer.attempts] == [SECOND, FIRST]
    assert answer.attempts[-1].notes == ("the request wants JSON and the answer is not JSON",)


def test_a_better_answer_goes_first(raw: RawServer) -> None:
    raw.answer(says("Ann."), says('{"name": "Ann"}'))
    answer = client_for(raw.base_url, [FIRST, SECOND]).chat("Hi", response_format=FORM)
    assert (answer.text, answer.attempts[-1].model) == ('{"name": "Ann"}', SECOND)
