"""Tools, their choice, and structured output on the wire, each as OpenRouter takes them."""

from __future__ import annotations

from typing import Any, Generic, Literal, TypeVar

import pytest
from langchain_core.messages import (
    AIMessage,
)
from pydantic import BaseModel

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from openrouter_fallback.emulator import Emulator

from .conftest import CLAUDE, Make
from .schemas import Found, Typed, body, find

T = TypeVar("T")

CHOICES: list[tuple[Any, Any]] = [
    ("find", {"type": "function", "function": {"name": "find"}}),
    ("any", "required"),
    ("required", "required"),
    ("auto", "auto"),
    ("none", "none"),
    (True, {"type": "function", "function": {"name": "find"}}),
    ({"type": "tool", "name": "find"}, {"type": "function", "function": {"name": "find"}}),
    (
        {"type": "function", "function": {"name": "find"}},
        {"type": "function", "function": {"name": "find"}},
    ),
]


@pytest.mark.parametrize(("choice", "wire"), CHOICES, ids=lambda value: str(value)[:20])
def test_tools_and_their_choice(emulator: Emulator, llm: ChatOpenRouterFallback, choice: Any, wire: Any) -> None:
    llm.bind_tools([find], tool_choice=choice, strict=True, parallel_tool_calls=False).invoke("hi")

    sent = body(emulator)
    assert sent["tool_choice"] == wire
    assert sent["parallel_tool_calls"] is False
    (function,) = [entry["function"] for entry in sent["tools"]]
    assert (function["name"], function["strict"], function["parameters"]["additionalProperties"]) == (
        "find",
        True,
        False,
    )


@pytest.mark.parametrize(("choice", "told"), [("fnid", "['find', 'Found']"), (True, "there are 2")])
def test_a_choice_that_is_none_is_told(llm: ChatOpenRouterFallback, choice: Any, told: str) -> None:
    with pytest.raises(ConfigError) as raised:
        llm.bind_tools([find, Found], tool_choice=choice)
    assert told in str(raised.value)


def test_openrouters_own_tools_can_be_bound(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    search = {"type": "openrouter:web_search", "parameters": {"max_results": 2}}
    llm.bind_tools([search, find]).invoke("hi")
    assert body(emulator)["tools"][0] == search
    assert body(emulator)["tools"][1]["function"]["name"] == "find"


def test_no_tools_are_none(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.bind_tools([], tool_choice="any").invoke("hi")
    assert {"tools", "tool_choice"}.isdisjoint(body(emulator))


@pytest.mark.parametrize("include_raw", [False, True])
@pytest.mark.parametrize(
    "schema", [Found, Typed, Found.model_json_schema()], ids=["pydantic", "TypedDict", "JSON schema"]
)
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode", None])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_structured_output(
    emulator: Emulator,
    llm: ChatOpenRouterFallback,
    method: Literal["json_schema", "function_calling", "json_mode"] | None,
    schema: Any,
    include_raw: bool,
    asynchronous: bool,
) -> None:
    if method == "json_mode":
        emulator.reply(text='{"number": 7}')
    model = llm.with_structured_output(schema, method=method, include_raw=include_raw)

    answer = await model.ainvoke("The number is 7") if asynchronous else model.invoke("The number is 7")

    parsed = answer["parsed"] if include_raw else answer
    assert parsed == (Found(number=7) if schema is Found else {"number": 7})
    if include_raw:
        assert answer["parsing_error"] is None
        assert isinstance(answer["raw"], AIMessage)
    sent = body(emulator)
    expected = {"json_mode": "json_object", "function_calling": None}.get(method or "", "json_schema")
    assert sent.get("response_format", {}).get("type") == expected
    assert (sent.get("tool_choice") is None) == (method != "function_calling")


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_schema_in_openais_wrapping(
    emulator: Emulator,
    llm: ChatOpenRouterFallback,
    wrapped: bool,
    method: Literal["json_schema", "function_calling"],
) -> None:
    inner = {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]}
    schema: dict[str, Any] = {"name": "Found", "description": "What was found.", "schema": inner, "strict": True}
    model = llm.with_structured_output(
        {"type": "json_schema", "json_schema": schema} if wrapped else schema, method=method
    )
    assert model.invoke("It is 7") == {"number": 7}
    sent = body(emulator)
    named = sent["tools"][0]["function"] if method == "function_calling" else sent["response_format"]["json_schema"]
    assert (named["name"], named["strict"]) == ("Found", True)


class Pair(BaseModel, Generic[T]):
    """Two of a kind, the second one optional."""

    first: T
    second: T | None = None


def test_a_strict_schema_is_one_that_openai_takes(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    """A name of ASCII letters, digits, _ and -; no additional properties, at any depth."""
    llm.with_structured_output(Pair[Found], method="json_schema", strict=True).invoke("It is 7")
    sent = body(emulator)["response_format"]["json_schema"]
    assert (sent["name"], sent["strict"]) == ("Pair_Found_", True)
    assert sent["schema"]["additionalProperties"] is False
    assert sent["schema"]["properties"]["first"]["additionalProperties"] is False


def test_an_answer_that_is_no_json_goes_to_the_next_model(emulator: Emulator, make: Make) -> None:
    emulator.reply(text="no JSON", model="openai/gpt-5.1")
    assert make().with_structured_output(Found, method="json_schema").invoke("It is 7") == Found(number=7)
    assert emulator.count(CLAUDE) == 1


def test_a_parsing_error_is_kept_with_the_raw_answer(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    emulator.reply(text='{"other": 1}')
    answer = llm.with_structured_output(Found, method="json_mode", include_raw=True).invoke("hi")
    assert (answer["parsed"], answer["raw"].text) == (None, '{"other": 1}')
    assert answer["parsing_error"] is not None
