"""What is said about one call in LangChain's words, pydantic's or ChatOpenRouter's: honoured or told."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from langchain_core import exceptions as lc_exceptions
from langchain_core.exceptions import OutputParserException
from pydantic import BaseModel

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import ConfigError
from openrouter_fallback.emulator import Emulator

from ..support.rawserver import RawServer, Reply, sse
from .conftest import Make
from .schemas import Found, Typed, body, find

FORMATS: dict[str, tuple[Any, str]] = {
    "pydantic": (Found, "Found"),
    "TypedDict": (Typed, "Typed"),
    "JSON schema": (Found.model_json_schema(), "Found"),
    "JSON schema without a title": (
        {"type": "object", "properties": {"number": {"type": "integer"}}, "required": ["number"]},
        "answer",
    ),
    "named": ({"name": "Found", "schema": Found.model_json_schema(), "strict": True}, "Found"),
    "of the Responses API": ({"type": "json_schema", "name": "Found", "schema": Found.model_json_schema()}, "Found"),
    "OpenAI's": (
        {"type": "json_schema", "json_schema": {"name": "found", "schema": Found.model_json_schema()}},
        "found",
    ),
    "OpenAI's, of a class": ({"type": "json_schema", "json_schema": {"name": "found", "schema": Found}}, "found"),
}


@pytest.mark.parametrize("where", ["call", "bind", "constructor"])
@pytest.mark.parametrize("name", FORMATS)
def test_the_response_format_of_a_call(emulator: Emulator, make: Make, name: str, where: str) -> None:
    form, named = FORMATS[name]
    if where == "call":
        answer = make().invoke("It is 7", response_format=form)
    elif where == "bind":
        answer = make().bind(response_format=form).invoke("It is 7")
    else:
        answer = make(model_kwargs={"response_format": form}).invoke("It is 7")
    assert Found.model_validate_json(answer.text) == Found(number=7)
    sent = body(emulator)["response_format"]
    assert (sent["type"], sent["json_schema"]["name"]) == ("json_schema", named)


@pytest.mark.parametrize("form", [{"type": "json_object"}, {"type": "text"}, {"type": "grammar", "grammar": "x"}])
def test_another_response_format_stays_as_it_is(emulator: Emulator, llm: ChatOpenRouterFallback, form: Any) -> None:
    emulator.reply(text='{"a": 1}')
    llm.invoke("hi", response_format=form)
    assert body(emulator)["response_format"] == form


def lookup(query: str) -> str:
    """Look something up."""
    return query


SEARCH = {"type": "openrouter:web_search"}
TOOLS: dict[str, tuple[Any, list[str]]] = {
    "tool": ([find], ["find"]),
    "function": ([lookup], ["lookup"]),
    "pydantic": ([Found], ["Found"]),
    "Anthropic's": ([{"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {}}}], ["f"]),
    "OpenAI's": ([{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}], ["f"]),
    "mixed": ([SEARCH, find, Found], ["openrouter:web_search", "find", "Found"]),
}


@pytest.mark.parametrize("where", ["call", "bind", "constructor"])
@pytest.mark.parametrize("name", TOOLS)
def test_the_tools_of_a_call(emulator: Emulator, make: Make, name: str, where: str) -> None:
    tools, names = TOOLS[name]
    asked: Any = {"tools": tools, "tool_choice": "any"}
    if where == "call":
        make().invoke("hi", **asked)
    elif where == "bind":
        make().bind(**asked).invoke("hi")
    else:
        make(model_kwargs=asked).invoke("hi")
    sent = body(emulator)
    assert [(one.get("function") or {}).get("name") or one["type"] for one in sent["tools"]] == names
    assert sent["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"tools": [7]}, "tools= holds int, which cannot be described to a model"),
        ({"tools": find}, "give a list"),
        ({"tools": [find], "tool_choice": "fnid"}, "neither a tool of this call"),
        ({"response_format": int}, "int cannot be written as a JSON schema"),
        ({"timeout_ms": 30000}, "timeout_ms= is ChatOpenRouter's"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_a_call_cannot_take_is_told(llm: ChatOpenRouterFallback, given: dict[str, Any], told: str) -> None:
    """By no error of LangChain's or pydantic's."""
    with pytest.raises(ConfigError) as raised:
        llm.invoke("hi", **given)
    assert told in str(raised.value)


def test_a_cached_answer_is_not_that_of_another_class_of_the_same_name(llm: ChatOpenRouterFallback) -> None:
    def made(kind: type) -> type[BaseModel]:
        class Answer(BaseModel):
            """An answer."""

            number: kind  # type: ignore[valid-type]

        return Answer

    keys = {llm._get_llm_string(response_format=made(kind), tools=[made(kind)]) for kind in (int, str)}
    assert len(keys) == 2


REFUSED = getattr(lc_exceptions, "ModelRefusalError", OutputParserException)


@pytest.mark.parametrize("schema", [Found, Typed], ids=["pydantic", "TypedDict"])
@pytest.mark.parametrize("method", ["json_schema", "function_calling", "json_mode"])
def test_a_refusal_is_raised_as_one(
    make: Make, method: Literal["json_schema", "function_calling", "json_mode"], schema: Any
) -> None:
    """LangChain has an error for it from langchain-core 1.7.5 on."""
    refusal = {"index": 0, "delta": {"role": "assistant", "refusal": "I would rather not."}, "finish_reason": "stop"}
    with RawServer() as server:
        server.answer(Reply([sse({"id": "gen-1", "model": "openai/gpt-5.1", "choices": [refusal]}, "[DONE]")]))
        llm = make(base_url=server.base_url)
        with pytest.raises(REFUSED, match="I would rather not"):
            llm.with_structured_output(schema, method=method).invoke("It is 7")
        answer = llm.with_structured_output(schema, method=method, include_raw=True).invoke("It is 7")
    assert isinstance(answer["parsing_error"], REFUSED)
    assert (answer["parsed"], answer["raw"].additional_kwargs["refusal"]) == (None, "I would rather not.")


@pytest.mark.parametrize("name", ["timeout", "request_timeout"])
def test_milliseconds_are_told(make: Make, name: str) -> None:
    """As ChatOpenRouter's users write them: nothing would ever be given up."""
    with pytest.raises(ConfigError, match=r"milliseconds in ChatOpenRouter\. Write timeout=30,"):
        make(**{name: 30000})
    with pytest.raises(ConfigError, match=r"Write timeout=1\.5,"):
        make().bind(**{name: 1500}).invoke("hi")
    slow = make(settings={"first_token_timeout_seconds": 1200})
    assert slow.client.config.settings.first_token_timeout_seconds == 1200
    assert make(timeout=600).client.config.settings.first_token_timeout_seconds == 600


def test_the_environment_of_chat_openrouter(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "API_KEY": emulator.api_key,
        "API_BASE": emulator.base_url,
        "APP_URL": "https://x.org",
        "APP_TITLE": "X",
        "SESSION_ID": "s-1",
    }.items():
        monkeypatch.setenv(f"OPENROUTER_{name}", value)

    ChatOpenRouterFallback(models=["openai/gpt-5.1"]).invoke("hi")
    given: dict[str, Any] = {"app_url": "https://y.org", "app_title": "Y", "session_id": "s-2"}
    ChatOpenRouterFallback(models=["openai/gpt-5.1"], **given).invoke("hi")

    told = [(r.headers["http-referer"], r.headers["x-title"], r.body["session_id"]) for r in emulator.log]
    assert told == [("https://x.org", "X", "s-1"), ("https://y.org", "Y", "s-2")]


def test_our_own_variable_goes_before_chat_openrouters(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_BASE_URL", emulator.base_url)
    monkeypatch.setenv("OPENROUTER_API_BASE", emulator.refused_url())
    monkeypatch.setenv("OPENROUTER_APP_TITLE", "")
    llm = ChatOpenRouterFallback(models=["openai/gpt-5.1"], api_key=emulator.api_key)
    assert llm.invoke("hi").text
    assert "x-title" not in emulator.log[0].headers


def test_what_else_chat_openrouter_takes(emulator: Emulator, make: Make) -> None:
    llm = make(app_categories=["cli-agent", "chat"], route="fallback", stream_usage=False)
    chunks = list(llm.stream("hi"))
    llm.invoke("hi", route="sort")
    make(app_categories=["a"], default_headers={"x-openrouter-categories": "mine"}).invoke("hi")

    first, second, third = emulator.log
    assert first.headers["x-openrouter-categories"] == "cli-agent,chat"
    assert (first.body["route"], second.body["route"]) == ("fallback", "sort")
    assert third.headers["x-openrouter-categories"] == "mine"
    assert all(chunk.usage_metadata is None for chunk in chunks)
    assert chunks[-1].response_metadata["finish_reason"] == "stop"
    assert list(llm.stream("hi", stream_usage=True))[-1].usage_metadata
    assert list(make().stream("hi", stream_usage=False))[-1].usage_metadata is None
    assert llm.invoke("hi").usage_metadata
    assert all("stream_usage" not in request.body for request in emulator.log)
