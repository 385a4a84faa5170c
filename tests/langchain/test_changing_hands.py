"""An agent whose conversation changes hands: what each model is sent, and that the tool runs once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool

from langchain_openrouter_fallback import ChatOpenRouterFallback

from ..support.bodies import delta, part
from ..support.clients import undiced
from ..support.rawserver import RawServer, Reply, sse

Json = dict[str, Any]

KIMI, CLAUDE, MISTRAL = "moonshotai/kimi-k2-thinking", "anthropic/claude-sonnet-4.5", "mistralai/mistral-large-2512"
DOWN = Reply([b'{"error": {"code": 503, "message": "down"}}'], status=503, content_type="application/json")
DETAIL: Json = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}


def calls(id: str, model: str, **more: Any) -> Reply:
    chunk = delta(tool_calls=[part(0, id, "get_weather", '{"city": "Rome"}')], **more)
    return Reply([sse({**chunk, "model": model}, delta(finish="tool_calls"), "[DONE]")])


def says(text: str) -> Reply:
    return Reply([sse(delta(content=text, finish="stop"), "[DONE]")])


@pytest.fixture
def raw() -> Iterator[RawServer]:
    with RawServer() as server:
        yield server


def sent(raw: RawServer) -> list[tuple[str, list[Json]]]:
    return [(request.body["model"], request.body["messages"]) for request in raw.requests if request.body]


def model(raw: RawServer, *models: str) -> ChatOpenRouterFallback:
    return ChatOpenRouterFallback(models=list(models), base_url=raw.base_url, api_key="sk-or-x")


def ids(messages: list[Json]) -> list[str]:
    return [call["id"] for message in messages for call in message.get("tool_calls") or ()]


@pytest.mark.parametrize("death", range(4))
def test_three_turns_with_a_death_at_each_point(raw: RawServer, death: int) -> None:
    """Kimi leads, Mistral stands in for one request: each request holds to the rules of the model that reads it."""
    ran: list[str] = []

    @tool
    def get_weather(city: str) -> str:
        """The weather."""
        ran.append(city)
        return "sunny"

    answers: list[Reply] = [
        calls("functions.get_weather:0", KIMI),
        says("Sunny."),
        calls("functions.get_weather:0", KIMI),
    ]
    answers.append(says("Still sunny."))
    if death == 0 or death == 2:
        stand_in = calls("abcdefghi" if death == 0 else "ABCDEFGHI", MISTRAL)
    else:
        stand_in = says("Sunny, says the other.")
    replies = [*answers[:death], DOWN, DOWN, stand_in, *answers[death + 1 :]]
    raw.answer(*replies)
    llm = ChatOpenRouterFallback(
        models=[KIMI, MISTRAL], base_url=raw.base_url, api_key="sk-or-x", settings={"max_retries_per_model": 2}
    )
    undiced(llm.client)
    agent = create_agent(llm, [get_weather])
    state: Any = {"messages": []}
    for question in ("What is the weather in Rome?", "And now?"):
        state = agent.invoke({"messages": [*state["messages"], HumanMessage(question)]})
    assert ran == ["Rome", "Rome"]
    for reader, messages in sent(raw):
        form = r"[a-zA-Z0-9]{9}" if reader == MISTRAL else r"functions\.get_weather:\d"
        assert all(re.fullmatch(form, id) for id in ids(messages)), (reader, ids(messages))
        assert len(set(ids(messages))) == len(ids(messages))
        answered = [message["tool_call_id"] for message in messages if message["role"] == "tool"]
        assert answered == ids(messages)
    assert MISTRAL in {reader for reader, _ in sent(raw)}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fragments_of_another_client_are_put_together(raw: RawServer) -> None:
    """ChatOpenRouter's streams leave each chunk's part of `reasoning_details` by itself, with a float index."""
    raw.answer(says("Sunny."))
    fragments = [
        {**DETAIL, "index": 0.0, "text": "I should "},
        {**DETAIL, "index": 0.0, "text": "look it up."},
        {**DETAIL, "index": 0.0, "signature": "c2ln"},
    ]
    history = [
        HumanMessage("What is the weather?"),
        AIMessage(
            "",
            tool_calls=[{"id": "toolu_1", "name": "get_weather", "args": {"city": "Rome"}}],
            additional_kwargs={"reasoning_details": fragments},
            response_metadata={"model_name": "anthropic/claude-4.5-sonnet-20250929"},
        ),
        ToolMessage("sunny", tool_call_id="toolu_1"),
    ]
    model(raw, CLAUDE).invoke(history)
    ((_, messages),) = sent(raw)
    assert messages[1]["reasoning_details"] == [{**DETAIL, "text": "I should look it up.", "signature": "c2ln"}]


def test_what_another_model_signed_stays_out_and_the_loop_goes_to_its_model(raw: RawServer) -> None:
    raw.answer(says("Sunny."))
    signed = {**DETAIL, "text": "Hm.", "signature": "c2ln"}
    history = [
        HumanMessage("What is the weather?"),
        AIMessage(
            "",
            tool_calls=[{"id": "toolu_1", "name": "get_weather", "args": {"city": "Rome"}}],
            additional_kwargs={"reasoning_details": [signed]},
            response_metadata={"model_name": "claude-sonnet-4-5-20250929"},
        ),
        ToolMessage("sunny", tool_call_id="toolu_1"),
    ]
    model(raw, MISTRAL, CLAUDE).invoke(history)
    model(raw, MISTRAL).invoke(history)
    (first, with_it), (second, without) = sent(raw)
    assert (first, second) == (CLAUDE, MISTRAL)
    assert with_it[1]["reasoning_details"] == [signed]
    assert "reasoning_details" not in without[1]
    assert "model" not in with_it[1]


def test_structured_output_by_a_call_raises_where_none_was_made(raw: RawServer) -> None:
    from langchain_core.exceptions import OutputParserException
    from pydantic import BaseModel

    class Weather(BaseModel):
        """The weather."""

        city: str

    raw.answer(says("It is sunny."))
    llm = model(raw, MISTRAL)
    for schema in (Weather, Weather.model_json_schema()):
        with pytest.raises(OutputParserException, match="without the tool call"):
            llm.with_structured_output(schema, method="function_calling").invoke("Hi")
        got = llm.with_structured_output(schema, method="function_calling", include_raw=True).invoke("Hi")
        assert got["parsed"] is None
        assert isinstance(got["parsing_error"], OutputParserException)
