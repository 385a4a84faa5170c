"""Routing per call: each way to say it, sync and async, through chains, batches, agents and graphs; one precedence."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, ModelRequest
from langchain_core.caches import InMemoryCache
from langchain_core.messages import HumanMessage
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import ConfigurableField, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph

from langchain_openrouter_fallback import ChatOpenRouterFallback
from openrouter_fallback import FallbackError, routing
from openrouter_fallback.emulator import Emulator

from ..cases import levels
from ..cases.levels import LEVELS
from .conftest import CLAUDE, GPT, LLAMA, Make
from .surfaces import SURFACES, aask

MINI = "openai/gpt-5-mini"
CONFIG = {
    "default_chain": [GPT],
    "task_chains": {"coding": [CLAUDE], "fast": [MINI]},
    "cost_tiers": {"budget": [MINI], "standard": [LLAMA]},
}

Ask = Callable[[ChatOpenRouterFallback, str], Any]


@pytest.fixture
def llm(make: Make) -> ChatOpenRouterFallback:
    return make(config=CONFIG)


def served(emulator: Emulator) -> list[str]:
    return [str(request.model) for request in emulator.log]


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return "nothing"


def coding(
    llm: ChatOpenRouterFallback,
) -> dict[str, Callable[[], tuple[Any, dict[str, Any], AbstractContextManager[None]]]]:
    """Way -> what is asked, the call's arguments, the context of the call."""
    here = nullcontext
    said = {"config": {"configurable": {"task": "coding"}}}
    prompt = ChatPromptTemplate.from_messages([("human", "{input}")])
    return {
        "keyword": lambda: (llm, {"task": "coding"}, here()),
        "constructor": lambda: (ChatOpenRouterFallback(**_arguments(llm), task="coding"), {}, here()),
        "bind": lambda: (llm.bind(task="coding"), {}, here()),
        "bind before bind_tools": lambda: (llm.bind(task="coding").bind_tools([look_up]), {}, here()),  # type: ignore[attr-defined]
        "bind after bind_tools": lambda: (llm.bind_tools([look_up]).bind(task="coding"), {}, here()),
        "bind_tools": lambda: (llm.bind_tools([look_up], task="coding"), {}, here()),
        "bind with others": lambda: (llm.bind(temperature=0, task="coding"), {}, here()),
        "bind after others": lambda: (llm.bind(temperature=0).bind(task="coding"), {}, here()),
        "configurable": lambda: (llm, said, here()),
        "configurable, bound": lambda: (llm.bind_tools([look_up]), said, here()),
        "with_config": lambda: (llm.with_config(configurable={"task": "coding"}), {}, here()),
        "context": lambda: (llm, {}, routing(task="coding")),
        "with_routing": lambda: (llm.with_routing(task="coding"), {}, here()),
        "models": lambda: (llm, {"models": [CLAUDE]}, here()),
        "model": lambda: (llm, {"model": CLAUDE}, here()),
        "configurable models": lambda: (llm, {"config": {"configurable": {"models": [CLAUDE]}}}, here()),
        "configurable_fields": lambda: (
            llm.configurable_fields(task=ConfigurableField(id="what for")),
            {"config": {"configurable": {"what for": "coding"}}},
            here(),
        ),
        "with_retry": lambda: (llm.bind(task="coding").with_retry(), {}, here()),
        "with_fallbacks": lambda: (llm.with_fallbacks([llm]), {"task": "coding"}, here()),
        "chain": lambda: (prompt | llm | RunnableLambda(_same), {**said, "input": True}, here()),
    }


def _arguments(llm: ChatOpenRouterFallback) -> dict[str, Any]:
    return {"config": llm.config, "base_url": llm.openrouter_api_base, "api_key": llm.openrouter_api_key}


def _any(value: Any) -> Any:
    return value


def _same(message: Any) -> Any:
    return message


WAYS = list(coding(ChatOpenRouterFallback(config=CONFIG, api_key="sk-or-v1-x")))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("way", WAYS)
async def test_each_way_reaches_the_core(
    emulator: Emulator, llm: ChatOpenRouterFallback, way: str, surface: str
) -> None:
    model, arguments, context = coding(llm)[way]()
    asked = {"input": "hello"} if arguments.pop("input", False) else "hello"
    if way == "chain" and surface in ("stream", "astream"):
        model = model.first | model.middle[0]  # a lambda at the end would wait for the whole answer
    with context:
        outcome = await aask(model, surface, asked, **arguments)

    assert outcome.answer.response_metadata["model_name"] == CLAUDE
    assert served(emulator) == [CLAUDE]
    assert llm.task is None


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_batch_takes_a_config_for_each(
    emulator: Emulator, llm: ChatOpenRouterFallback, asynchronous: bool
) -> None:
    configs: list[Any] = [{"configurable": {"task": "coding"}}, {"configurable": {"task": "fast"}}, {}]
    prompt = ChatPromptTemplate.from_messages([("human", "{input}")])
    for model, asked in ((llm, ["a", "b", "c"]), (prompt | llm, [{"input": "a"}, {"input": "b"}, {"input": "c"}])):
        batch: Any = model
        answers = await (
            batch.abatch(asked, configs) if asynchronous else asyncio.to_thread(batch.batch, asked, configs)
        )
        assert [answer.response_metadata["model_name"] for answer in answers] == [CLAUDE, MINI, GPT]


@pytest.mark.parametrize("version", ["v2", "v3"])
@pytest.mark.filterwarnings("ignore:The method `BaseChatModel._achat_model_stream_v3")
@pytest.mark.filterwarnings("ignore:The function `_achat_model_stream_v3")
async def test_events_take_it_too(emulator: Emulator, llm: ChatOpenRouterFallback, version: Any) -> None:
    config: Any = {"configurable": {"task": "coding"}}
    if version == "v2":
        events = [event async for event in llm.astream_events("hello", config, version="v2")]
        assert {"on_chat_model_start", "on_chat_model_stream", "on_chat_model_end"} == {e["event"] for e in events}
    else:
        stream = await llm.astream_events("hello", config, version="v3")
        assert (await stream.output).text.startswith(CLAUDE)
    assert served(emulator) == [CLAUDE]


def _structured(llm: ChatOpenRouterFallback) -> Any:
    schema = {"title": "Answer", "type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    return llm.with_structured_output(schema, task="coding")


def test_structured_output_takes_it(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    assert _structured(llm).invoke("Give me 7") == {"n": 7}
    assert served(emulator) == [CLAUDE]


class Route(AgentMiddleware):
    def wrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
        return handler(request.override(model_settings={"task": "coding"}))

    async def awrap_model_call(self, request: ModelRequest, handler: Any) -> Any:
        return await handler(request.override(model_settings={"task": "coding"}))


def _graph(llm: ChatOpenRouterFallback) -> Any:
    async def ask(state: MessagesState) -> Any:
        return {"messages": [await llm.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_edge(START, "ask")
    graph.add_edge("ask", END)
    return graph.compile()


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("way", ["bound model", "configurable", "context", "copy", "middleware", "graph"])
async def test_agents_and_graphs_take_it(
    emulator: Emulator, llm: ChatOpenRouterFallback, way: str, asynchronous: bool
) -> None:
    tools = [look_up]
    made: dict[str, Callable[[], Any]] = {
        "bound model": lambda: create_agent(_any(llm.bind(task="coding")), tools),
        "copy": lambda: create_agent(llm.with_routing(task="coding"), tools),
        "middleware": lambda: create_agent(llm, tools, middleware=[Route()]),
        "graph": lambda: _graph(llm),
    }
    agent: Any = made[way]() if way in made else create_agent(llm, tools)
    config = {"configurable": {"task": "coding"}} if way in ("configurable", "graph") else {}
    asked = {"messages": [HumanMessage("Please look_up 'whales'")]}
    with routing(task="coding") if way == "context" else nullcontext():
        if asynchronous or way == "graph":
            await agent.ainvoke(asked, config)
        else:
            await asyncio.to_thread(agent.invoke, asked, config)
    assert served(emulator) == [CLAUDE] * (1 if way == "graph" else 2)


def test_the_nearest_word_wins(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    """Argument over config over context over copy over configuration."""
    config: Any = {"configurable": {"models": [LLAMA]}}
    copy = llm.with_routing(models=["qwen/qwen3-max"])
    with routing(models=[CLAUDE]):
        copy.invoke("hello", config, models=[MINI])
        copy.invoke("hello", config)
        copy.invoke("hello")
    copy.invoke("hello")
    llm.invoke("hello")
    assert served(emulator) == [MINI, LLAMA, CLAUDE, "qwen/qwen3-max", GPT]


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("how", ["argument", "configurable", "constructor", "copy of a copy"])
def test_what_is_said_nearer_holds(emulator: Emulator, make: Make, name: str, how: str) -> None:
    argument, context, copy, expected = LEVELS[name]
    if how == "constructor":
        llm = make(config=levels.CONFIG, **copy)
    else:
        llm = make(config=levels.CONFIG)
        if how == "copy of a copy" and not {"task", "models"}.isdisjoint(copy):
            llm = llm.with_routing(task="fast", models=["o/o"])
        llm = llm.with_routing(**copy)
    said: dict[str, Any] = {"config": {"configurable": argument}} if how == "configurable" else argument
    with routing(**context):
        try:
            llm.invoke("hello", **said)
        except FallbackError:
            assert expected == ()
    assert served(emulator) == [*expected[:1]]


async def test_a_stream_is_routed_when_it_is_asked_for(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    with routing(task="coding"):
        stream, astream, answer = llm.stream("hello"), llm.astream("hello"), llm.ainvoke("hello")
        events = llm.astream_events("hello")
    with routing(task="fast"):
        await asyncio.to_thread(lambda: list(stream))
        assert [chunk async for chunk in astream]
        await answer
        assert [event async for event in events]
    assert served(emulator) == [CLAUDE] * 4


@pytest.mark.parametrize("surface", SURFACES)
async def test_one_model_of_an_argument_goes_before_the_models_of_the_config(
    emulator: Emulator, llm: ChatOpenRouterFallback, surface: str
) -> None:
    config: Any = {"configurable": {"models": [LLAMA]}}
    (await aask(llm, surface, "hello", config=config, model=CLAUDE)).answer  # noqa: B018
    assert served(emulator) == [CLAUDE]


def test_a_graphs_own_configuration_is_let_alone(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.invoke("hello", {"configurable": {"model": "openai", "thread_id": "1", "temperature": 9}})
    assert served(emulator) == [GPT]
    assert "temperature" not in emulator.log[0].body


def test_a_tier_caps_and_a_provider_comes_first(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.invoke("hello", max_cost_tier="standard")
    llm.with_routing(max_cost_tier="standard").invoke("hello", primary_provider="meta-llama")
    assert served(emulator) == [MINI, LLAMA]


def test_a_copy_shares_health_and_connections(llm: ChatOpenRouterFallback) -> None:
    copy = llm.with_routing(task="coding").with_routing(max_cost_tier="standard")
    assert (copy.task, copy.max_cost_tier) == ("coding", "standard")
    assert copy.core is llm.core
    copy.client.disable(GPT)
    assert llm.client.available() == ()


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"max_cost_teir": "budget"}, "max_cost_tier"),
        ({"model": GPT, "models": [GPT]}, "not both"),
        ({"config": {"configurable": {"task": 3}}}, "task=3 is a int"),
    ],
    ids=["misspelt", "twice", "no string"],
)
async def test_a_mistake_is_told(
    llm: ChatOpenRouterFallback, arguments: dict[str, Any], meant: str, surface: str
) -> None:
    outcome = await aask(llm, surface, "hello", **arguments)
    assert meant in str(outcome.raised)


async def test_different_routes_never_share_a_cached_answer(emulator: Emulator, llm: ChatOpenRouterFallback) -> None:
    llm.cache = InMemoryCache()
    copy, other = llm.with_routing(task="coding"), llm.with_routing(models=[LLAMA])
    for _ in range(2):
        answers = [
            llm.invoke("hello"),
            llm.invoke("hello", task="fast"),
            copy.invoke("hello"),
            other.invoke("hello"),
            llm.invoke("hello", {"configurable": {"models": ["qwen/qwen3-max"]}}),
        ]
        with routing(models=["mistralai/mistral-nemo"]):
            answers.append(llm.invoke("hello"))
            answers.append(await llm.ainvoke("hello"))
        models = [answer.response_metadata["model_name"] for answer in answers]
        assert models == [GPT, MINI, CLAUDE, LLAMA, "qwen/qwen3-max", *["mistralai/mistral-nemo"] * 2]
    assert emulator.count() == 6


def test_configurable_fields_keep_what_was_learnt(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    llm = make().configurable_fields(temperature=ConfigurableField(id="heat"))
    heats = [0.0, 0.5, 1.0, 1.5]
    for heat in heats:
        llm.invoke("hello", {"configurable": {"heat": heat}})
    assert emulator.count(GPT) == 3  # then its breaker is open
    assert [request.body["temperature"] for request in emulator.log if request.model == CLAUDE] == heats


def test_alternatives_and_failures_of_the_whole_chain(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    down, up = make(model=GPT), make(model=CLAUDE)
    assert down.with_fallbacks([up]).invoke("hello").response_metadata["model_name"] == CLAUDE
    chosen = down.configurable_alternatives(ConfigurableField(id="which"), up=up)
    assert chosen.with_config(configurable={"which": "up"}).invoke("hello").response_metadata["model_name"] == CLAUDE
    with pytest.raises(FallbackError):
        down.invoke("hello")
