"""Routing per call: argument, context, copy, configuration, in that order, wherever the call is made."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any

import pytest
from llama_index.core import Document, MockEmbedding, SummaryIndex, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent, ReActAgent
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.chat_engine.types import ChatMode
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import ConfigError, FallbackConfig, FallbackError, ModelConfig, routing
from openrouter_fallback.emulator import Emulator

from ..cases import levels
from ..cases.levels import LEVELS
from .test_calls import SONG, Song

CONFIG = FallbackConfig(
    default_chain=("config/model",),
    task_chains={"argument": ("argument/model",), "context": ("context/model",), "copy": ("copy/model",)},
    cost_tiers={"budget": ("argument/model",), "standard": ("context/model",)},
)
ASKED = [ChatMessage("Say something")]
TOOL = FunctionTool.from_defaults(lambda query: query, name="look_up", description="Looks up.")


@pytest.fixture
def llm(make: Any) -> OpenRouterFallback:
    made: OpenRouterFallback = make(None, config=CONFIG)
    return made


ORDER = [
    # argument, context, copy, who is asked
    (None, None, None, "config/model"),
    (None, None, "copy", "copy/model"),
    (None, "context", None, "context/model"),
    (None, "context", "copy", "context/model"),
    ("argument", None, None, "argument/model"),
    ("argument", "context", None, "argument/model"),
    ("argument", None, "copy", "argument/model"),
    ("argument", "context", "copy", "argument/model"),
]


async def alast(awaited: Any) -> Any:
    return [one async for one in await awaited][-1]


async def now(value: Any) -> Any:
    return value


# Where keywords of a call go through.
WITH_ARGUMENTS: dict[str, Callable[..., Awaitable[Any]]] = {
    "chat": lambda llm, **task: now(llm.chat(ASKED, **task)),
    "achat": lambda llm, **task: llm.achat(ASKED, **task),
    "stream_chat": lambda llm, **task: now(list(llm.stream_chat(ASKED, **task))),
    "astream_chat": lambda llm, **task: alast(llm.astream_chat(ASKED, **task)),
    "complete": lambda llm, **task: now(llm.complete("Say something", **task)),
    "acomplete": lambda llm, **task: llm.acomplete("Say something", **task),
    "stream_complete": lambda llm, **task: now(list(llm.stream_complete("Say something", **task))),
    "astream_complete": lambda llm, **task: alast(llm.astream_complete("Say something", **task)),
    "chat_with_tools": lambda llm, **task: now(llm.chat_with_tools([TOOL], "Say something", **task)),
    "astream_chat_with_tools": lambda llm, **task: alast(llm.astream_chat_with_tools([TOOL], "Say it", **task)),
    "predict_and_call": lambda llm, **task: now(
        llm.predict_and_call([TOOL], "Say something", error_on_no_tool_call=False, **task)
    ),
    "structured_predict": lambda llm, **task: now(llm.structured_predict(Song, SONG, llm_kwargs=task, year=1965)),
    "astructured_predict": lambda llm, **task: llm.astructured_predict(Song, SONG, llm_kwargs=task, year=1965),
    "stream_structured_predict": lambda llm, **task: now(
        list(llm.stream_structured_predict(Song, SONG, llm_kwargs=task, year=1965))
    ),
    "as_structured_llm": lambda llm, **task: now(llm.as_structured_llm(Song).chat(ASKED, **task)),
}


def _runtime(llm: OpenRouterFallback) -> Any:
    index = VectorStoreIndex.from_documents([Document(text="Seams join.")], embed_model=MockEmbedding(embed_dim=4))
    return index.as_query_engine(llm=llm)


def _summary(llm: OpenRouterFallback) -> Any:
    index = SummaryIndex.from_documents([Document(text=f"Seam {n} joins.") for n in range(4)])
    return index.as_query_engine(llm=llm, response_mode="accumulate", use_async=True)


def _chat_engine(llm: OpenRouterFallback) -> Any:
    index = VectorStoreIndex.from_documents([Document(text="Seams join.")], embed_model=MockEmbedding(embed_dim=4))
    return index.as_chat_engine(chat_mode=ChatMode.CONDENSE_PLUS_CONTEXT, llm=llm)


def _workflow(llm: OpenRouterFallback) -> Any:
    return AgentWorkflow(agents=[FunctionAgent(name="one", description="One.", llm=llm)])


# Where they do not: there a context or a copy says it.
WITHOUT: dict[str, Callable[[OpenRouterFallback], Awaitable[Any]]] = {
    "predict": lambda llm: now(llm.predict(PromptTemplate("Say something"))),
    "stream": lambda llm: now(list(llm.stream(PromptTemplate("Say something")))),
    "apredict": lambda llm: llm.apredict(PromptTemplate("Say something")),
    "FunctionAgent": lambda llm: then_await(FunctionAgent(llm=llm, tools=[TOOL]).run("Say something")),
    "FunctionAgent, not streaming": lambda llm: then_await(FunctionAgent(llm=llm, streaming=False).run("Say it")),
    "ReActAgent": lambda llm: then_await(ReActAgent(llm=llm).run("Say something", max_iterations=2), failing=True),
    "AgentWorkflow": lambda llm: then_await(_workflow(llm).run("Say something")),
    "query": lambda llm: now(_runtime(llm).query("Say something")),
    "aquery": lambda llm: _runtime(llm).aquery("Say something"),
    "query, at once": lambda llm: asyncio.to_thread(lambda: _summary(llm).query("Say something")),
    "chat engine": lambda llm: now(_chat_engine(llm).chat("Say something")),
    "chat engine, streaming": lambda llm: now(list(_chat_engine(llm).stream_chat("Say something").response_gen)),
}


async def then_await(handler: Any, *, failing: bool = False) -> None:
    try:
        await handler
    except Exception:
        if not failing:
            raise


def asked(emulator: Emulator) -> set[str | None]:
    return {request.model for request in emulator.log}


@pytest.mark.parametrize(("argument", "context", "copy", "expected"), ORDER)
@pytest.mark.parametrize("way", WITH_ARGUMENTS)
async def test_the_order(
    llm: OpenRouterFallback,
    emulator: Emulator,
    way: str,
    argument: str | None,
    context: str | None,
    copy: str | None,
    expected: str,
) -> None:
    routed = llm.with_options(task=copy)
    with routing(task=context) if context else nullcontext():
        await WITH_ARGUMENTS[way](routed, **({"task": argument} if argument else {}))
    assert asked(emulator) == {expected}


@pytest.mark.parametrize(("argument", "context", "copy", "expected"), [row for row in ORDER if row[0] is None])
@pytest.mark.parametrize("way", WITHOUT)
async def test_the_order_where_no_argument_goes_through(
    llm: OpenRouterFallback,
    emulator: Emulator,
    way: str,
    argument: None,
    context: str | None,
    copy: str | None,
    expected: str,
) -> None:
    routed = llm.with_options(task=copy)
    with routing(task=context) if context else nullcontext():
        await WITHOUT[way](routed)
    assert asked(emulator) == {expected}


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("how", ["copy", "constructor", "pickled copy"])
def test_what_is_said_nearer_holds(make: Any, emulator: Emulator, name: str, how: str) -> None:
    argument, context, copy, expected = LEVELS[name]
    if how == "constructor":
        llm = make(**{"models": None, "config": levels.CONFIG, **copy})
    else:
        llm = make(None, config=levels.CONFIG)
        if not {"task", "models"}.isdisjoint(copy):
            llm = llm.with_options(task="fast", models=["o/o"])
        llm = llm.with_options(**copy)
    if how == "pickled copy":
        values = {key: getattr(llm, key) for key in llm.model_fields_set}
        llm = make(**{"models": None, **values})
    with routing(**context):
        try:
            llm.chat(ASKED, **argument)
        except FallbackError:
            assert expected == ()
    assert [request.model for request in emulator.log] == [*expected[:1]]


def test_a_context_in_threads(llm: OpenRouterFallback) -> None:
    def ask(task: str) -> Any:
        with routing(task=task):
            return llm.chat(ASKED).additional_kwargs["model"]

    with ThreadPoolExecutor(4) as pool:
        served = list(pool.map(ask, ["argument", "context"] * 10))

    assert served == ["argument/model", "context/model"] * 10


async def test_a_context_is_carried_into_threads(llm: OpenRouterFallback, emulator: Emulator) -> None:
    with routing(task="context"):
        await asyncio.to_thread(llm.chat, ASKED)
    assert asked(emulator) == {"context/model"}


async def test_contexts_of_tasks_do_not_meet(llm: OpenRouterFallback) -> None:
    async def ask(task: str) -> Any:
        with routing(task=task):
            return (await llm.achat(ASKED)).additional_kwargs["model"]

    served = await asyncio.gather(*(ask(task) for task in ["argument", "context"] * 10))

    assert served == ["argument/model", "context/model"] * 10


OTHER = [
    ({"max_cost_tier": "budget"}, "argument/model"),
    ({"primary_provider": "copy"}, "copy/model"),
    ({"models": ["else/where"]}, "else/where"),
    ({"models": [ModelConfig("else/where", timeout=3)]}, "else/where"),
]


@pytest.mark.parametrize(("choice", "expected"), OTHER)
def test_other_ways_to_choose(make: Any, emulator: Emulator, choice: dict[str, Any], expected: str) -> None:
    config = (
        CONFIG if "primary_provider" not in choice else FallbackConfig(default_chain=("config/model", "copy/model"))
    )
    fresh = make(None, config=config)

    fresh.chat(ASKED, **choice)
    fresh.with_options(**choice).chat(ASKED)
    with routing(**choice):
        fresh.chat(ASKED)
    make(config=config, **{"models": None, **choice}).chat(ASKED)

    assert [request.model for request in emulator.log] == [expected] * 4


def test_a_copy_shares_health_and_connections(llm: OpenRouterFallback) -> None:
    copy = llm.with_options(task="copy")

    copy.client.disable("config/model", 60)

    assert llm.client.route().candidates == ()
    assert (llm.task, copy.task) == (None, "copy")
    assert copy.with_options(max_cost_tier="standard").task == "copy"
    assert copy.metadata.model_name == "copy/model"
    assert llm.metadata.model_name == "config/model"


def test_metadata_follows_the_context(llm: OpenRouterFallback) -> None:
    with routing(task="context"):
        assert llm.metadata.model_name == "context/model"


@pytest.mark.parametrize("call", ["chat", "stream_chat"])
def test_a_misspelt_choice(llm: OpenRouterFallback, emulator: Emulator, call: str) -> None:
    with pytest.raises(ConfigError, match="did you mean max_cost_tier="):
        getattr(llm, call)(ASKED, max_cost_teir="budget")
    assert emulator.log == []
