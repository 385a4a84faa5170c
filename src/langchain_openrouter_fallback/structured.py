"""Structured output: the request parameters, and the parsers of the answers."""

from __future__ import annotations

from collections.abc import Mapping
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from langchain_core import exceptions
from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import JsonOutputParser, PydanticOutputParser
from langchain_core.output_parsers.base import OutputParserLike
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser, PydanticToolsParser
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from .call_options import json_format
from .errors import ConfigError
from .tools import name_of, openai_tool

if TYPE_CHECKING:
    from .chat_model import ChatOpenRouterFallback

METHODS = ("json_schema", "function_calling", "json_mode")


def structured(
    llm: ChatOpenRouterFallback,
    schema: dict[str, Any] | type | None,
    method: str | None,
    *,
    include_raw: bool,
    strict: bool | None,
    arguments: dict[str, Any],
) -> Runnable[LanguageModelInput, Any]:
    """The chat model followed by a parser. `method` is one of `METHODS`; None: the best that all models support."""
    if method is None:
        method = "json_schema" if llm.takes_schemas else "function_calling"
    if method not in METHODS:
        raise ConfigError(f"method={method!r} is not known; there are: {', '.join(METHODS)}")
    if schema is None and method != "json_mode":
        raise ConfigError(f"method={method!r} needs a schema")
    schema, strict = _unwrapped(schema, strict)
    is_pydantic = isinstance(schema, type) and is_basemodel_subclass(schema)
    parser: OutputParserLike[Any] = JsonAnswerParser()
    if is_pydantic:
        parser = PydanticAnswerParser(pydantic_object=schema)  # type: ignore[arg-type]
    told: dict[str, Any] = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    bound: Runnable[LanguageModelInput, Any]
    if method == "function_calling" and schema is not None:
        name = name_of(openai_tool(schema))
        bound = llm.bind_tools([schema], tool_choice=name, strict=strict, ls_structured_output_format=told, **arguments)
        if is_pydantic:
            parser = PydanticCallParser(tools=[schema], first_tool_only=True)  # type: ignore[list-item]
        else:
            parser = JsonCallParser(key_name=name, first_tool_only=True)
    elif method == "json_schema" and schema is not None:
        form = json_format(schema, strict)
        bound = llm.bind(response_format=form, ls_structured_output_format=told, **arguments)
    else:
        bound = llm.bind(response_format={"type": "json_object"}, ls_structured_output_format=told, **arguments)
    if not include_raw:
        return bound | parser
    parsed = RunnablePassthrough.assign(parsed=itemgetter("raw") | parser, parsing_error=lambda _: None)
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    return RunnableMap(raw=bound) | parsed.with_fallbacks([failed], exception_key="parsing_error")


class JsonAnswerParser(JsonOutputParser):
    """LangChain's parser, but a refusal raises a refusal error also before langchain-core 1.7.5."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _raise_refusal(result)
        return super().parse_result(result, partial=partial)


class PydanticAnswerParser(PydanticOutputParser[Any]):
    """`JsonAnswerParser` for pydantic classes."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _raise_refusal(result)
        return super().parse_result(result, partial=partial)


class PydanticCallParser(PydanticToolsParser):
    """LangChain's parser, but an answer without the tool call raises an error instead of returning None."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _raise_refusal(result)
        return _called(super().parse_result(result, partial=partial), result, partial=partial)


class JsonCallParser(JsonOutputKeyToolsParser):
    """`PydanticCallParser` for JSON schemas."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        _raise_refusal(result)
        return _called(super().parse_result(result, partial=partial), result, partial=partial)


def _raise_refusal(result: list[Generation]) -> None:
    """If the model refused, raise LangChain's `ModelRefusalError`, or `OutputParserException` in older versions."""
    message = getattr(result[0], "message", None) if result else None
    said = message.additional_kwargs.get("refusal") if isinstance(message, BaseMessage) else None
    if not said:
        return
    refusal_error = getattr(exceptions, "ModelRefusalError", None)
    if refusal_error is None:
        raise OutputParserException(f"the model refused to answer: {said}", llm_output=said)
    raise refusal_error.from_refusal({"type": "refusal", "refusal": said}, raw_message=message)


def _called(parsed: Any, result: list[Generation], *, partial: bool) -> Any:
    if parsed is None and not partial:
        raise OutputParserException(
            "the model answered without the tool call of the structured output",
            llm_output=result[0].text if result else "",
        )
    return parsed


def _unwrapped(
    schema: dict[str, Any] | type | None, strict: bool | None
) -> tuple[dict[str, Any] | type | None, bool | None]:
    """A JSON schema without OpenAI's wrapper (the wrapper's name becomes the title), and the wrapper's `strict`."""
    if not isinstance(schema, Mapping):
        return schema, strict
    named = schema.get("json_schema", schema)
    inner = named.get("schema") if isinstance(named, Mapping) else None
    if not isinstance(inner, Mapping):
        return schema, strict
    known = {"title": named.get("name"), "description": named.get("description")}
    plain = {**inner, **{key: value for key, value in known.items() if value}}
    plain.setdefault("title", "answer")
    return plain, named.get("strict") if strict is None else strict
