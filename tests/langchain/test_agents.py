"""Agents: the chain is seen as the chat model it is, and middlewares see the right errors."""

from __future__ import annotations

from functools import reduce
from operator import add
from types import SimpleNamespace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents import middleware as middleware_module
from langchain.agents.middleware import (
    AgentMiddleware,
    ModelFallbackMiddleware,
    ModelRetryMiddleware,
    SummarizationMiddleware,
)
from langchain.agents.structured_output import ToolStrategy
from langchain_core import exceptions as lc_exceptions
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.runnables import RunnableLambda
from langchain_core.tools import tool
from pydantic import BaseModel

from langchain_openrouter_fallback import ChatOpenRouterFallback
from langchain_openrouter_fallback.errors import AllModelsFailedError, ContextLengthError
from openrouter_fallback import routing
from openrouter_fallback.emulator import MODELS, Emulator

from ..support.clients import undiced
from .conftest import CLAUDE, GPT, LLAMA, Make

PHI = "microsoft/phi-4"
"""It has structured outputs and a small context, but no tools."""
GEMMA = "google/gemma-3-27b-it:free"


class Found(BaseModel):
    """What was found."""

    number: int


@tool
def look_up(query: str) -> str:
    """Look something up."""
    return f"nothing about {query}"


def agent_of(*args: Any, **kwargs: Any) -> Any:
    """An agent; its overloads take no plain dictionaries."""
    return create_agent(*args, **kwargs)


def asked(text: str = "Please look_up 'whales'") -> dict[str, Any]:
    return {"messages": [HumanMessage(text)]}


def test_the_profile_is_what_all_can(make: Make) -> None:
    llm = make(models=[GPT, CLAUDE])
    profile = llm.profile or {}
    assert (profile["tool_calling"], profile["structured_output"], profile["image_inputs"]) == (True, True, True)
    assert profile["max_input_tokens"] == 400_000
    small = make(models=[GPT, LLAMA]).profile or {}
    assert (small["image_inputs"], small["max_input_tokens"]) == (False, 131_072)


def test_structured_output_is_chosen_by_what_is_known_by_then() -> None:
    schema = {"title": "F", "type": "object", "properties": {}}
    with Emulator(models=MODELS, strict=True) as emulator:
        llm = ChatOpenRouterFallback(["openai/gpt-4o-audio-preview"], base_url=emulator.base_url, api_key="sk-or-v1-x")
        assert "response_format" in llm.with_structured_output(schema).first.kwargs  # type: ignore[attr-defined]
        llm.client.refresh_catalog()
        assert "tools" in llm.with_structured_output(schema).first.kwargs  # type: ignore[attr-defined]


async def test_the_profile_follows_the_catalog_and_the_routing(emulator: Emulator, make: Make) -> None:
    llm = make(config={"default_chain": [GPT], "task_chains": {"small": [PHI]}})
    await llm.client.catalog.refresh()
    copy = llm.with_routing(task="small")
    assert (copy.profile or {})["max_input_tokens"] == 16_384
    assert (copy.profile or {})["tool_calling"] is False
    assert (llm.with_routing(models=["nobody/knows"]).profile or {}).get("tool_calling") is None
    given = make(profile={"max_input_tokens": 7})
    assert given.with_routing(models=[GPT]).profile == {"max_input_tokens": 7}


@pytest.mark.parametrize(
    ("models", "native"),
    [
        ([GPT, CLAUDE], True),
        ([GPT, "amazon/nova-pro-v1"], False),
        ([GPT, "google/gemini-2.5-pro"], False),  # it takes a schema, but none beside tools
        (["openai/gpt-4o-audio-preview"], False),  # by its name LangChain would think that it can
    ],
    ids=["all can", "one cannot", "one cannot beside tools", "not as named"],
)
async def test_agents_choose_the_strategy_by_the_profile(
    emulator: Emulator, make: Make, models: list[str], native: bool
) -> None:
    llm = make(models=models)
    await llm.client.catalog.refresh()
    one = make(model=models[0]) if len(models) == 1 else make(models=models)
    one.core = llm.core  # whose list of models is there
    for model in (llm.with_routing(models=models), one.with_routing(max_cost_tier=None)):
        agent = agent_of(model, [look_up], response_format=Found)
        result = await agent.ainvoke(asked("The number is 7"))
        assert result["structured_response"] == Found(number=7)
        assert ("response_format" in emulator.log[-1].body) is native


async def test_without_tools_a_schema_is_asked_for_where_all_take_one(emulator: Emulator, make: Make) -> None:
    llm = make(models=[GPT, "google/gemini-2.5-pro"])
    await llm.client.catalog.refresh()
    assert llm.with_structured_output(Found).invoke("The number is 7") == Found(number=7)
    assert "response_format" in emulator.log[-1].body


@pytest.mark.parametrize("faulty", [False, True])
async def test_response_format_with_tools_and_a_dying_model(emulator: Emulator, make: Make, faulty: bool) -> None:
    if faulty:
        emulator.fault("cut", model=GPT, after_tokens=1)
    agent = agent_of(make(), [look_up], response_format=ToolStrategy(Found))
    result = agent.invoke(asked("Please look_up 'whales', the number is 7"))
    assert result["structured_response"] == Found(number=7)


async def test_requests_that_need_more_go_to_those_that_can(emulator: Emulator, make: Make) -> None:
    llm = make(models=[GEMMA, CLAUDE])
    await llm.client.catalog.refresh()
    await llm.bind_tools([look_up]).ainvoke("Please look_up 'whales'")
    assert emulator.log[-1].model == CLAUDE


def test_a_retry_middleware_does_not_multiply_an_outage(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable")
    llm = make()
    undiced(llm.client)
    with pytest.raises(AllModelsFailedError) as raised:
        llm.invoke("hello")
    once = emulator.count()
    emulator.log.clear()
    llm.client.reset()
    retry = ModelRetryMiddleware(max_retries=3, initial_delay=0.0, on_failure="error")
    agent = agent_of(llm, [look_up], middleware=[retry])
    with pytest.raises(AllModelsFailedError):
        agent.invoke(asked())
    assert emulator.count() == 2 * once
    assert not raised.value.is_retryable


def test_a_fallback_middleware_adds_its_chain_and_multiplies_nothing(emulator: Emulator, make: Make) -> None:
    """Each chain is walked once, whatever the other has done; and what answers answers."""
    emulator.fault("temporarily_unavailable", model=GPT)
    emulator.fault("temporarily_unavailable", model=CLAUDE)
    first, second = make(models=[GPT, CLAUDE]), make(models=[LLAMA])
    undiced(first.client)
    with pytest.raises(AllModelsFailedError):
        first.invoke("hello")
    once = emulator.count()
    first.client.reset()
    agent = agent_of(first, [look_up], middleware=[ModelFallbackMiddleware(second)])
    messages = agent.invoke(asked())["messages"]
    steps = 2  # a call of the tool, and the answer
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert emulator.count(LLAMA) == steps
    assert emulator.count() <= once + steps * (once + 1)


def test_a_fallback_middleware_over_a_healthy_chain_asks_once(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable", model=GPT)
    agent = agent_of(make(), [look_up], middleware=[ModelFallbackMiddleware(make(models=[LLAMA]))])
    agent.invoke(asked())
    assert emulator.count(LLAMA) == 0


@pytest.mark.parametrize("streamed", [False, True])
async def test_the_same_chain_as_its_own_fallback_is_walked_once_per_step(
    emulator: Emulator, make: Make, streamed: bool
) -> None:
    """The second walk would send the same requests to the same models, a moment later."""
    emulator.fault("temporarily_unavailable")
    llm = make(streaming=streamed)
    undiced(llm.client)
    now = SimpleNamespace(seconds=0.0)
    assert llm.core is not None
    llm.core.failed.clock = lambda: now.seconds
    with pytest.raises(AllModelsFailedError):
        llm.invoke("hello")
    once = emulator.count()
    with pytest.raises(AllModelsFailedError):
        llm.invoke("hello")  # no step of an agent: each call counts
    assert emulator.count() > once
    agent = agent_of(llm, [look_up], middleware=[ModelFallbackMiddleware(llm, llm.with_routing(task=None))])
    for call in (agent.invoke, agent.ainvoke):
        llm.client.reset()
        before = emulator.count()
        with pytest.raises(AllModelsFailedError) as raised:
            await call(asked())
        assert emulator.count() - before == once
        assert raised.value.attempts


def test_only_the_same_request_of_the_same_step_is_not_sent_again(emulator: Emulator, make: Make) -> None:
    emulator.fault("temporarily_unavailable")
    llm = make(models=[GPT])
    undiced(llm.client)
    now = SimpleNamespace(seconds=0.0)
    assert llm.core is not None
    llm.core.failed.clock = lambda: now.seconds

    def step(_: Any) -> list[int]:
        sent = []
        for text, seconds in (("one", 0.0), ("one", 0.09), ("two", 0.09), ("two", 0.2)):
            now.seconds = seconds
            llm.client.reset()
            before = emulator.count()
            with pytest.raises(AllModelsFailedError):
                llm.invoke(text)
            sent.append(emulator.count() - before)
        return sent

    first, again, other, later = RunnableLambda(step).invoke(None)
    assert again == 0
    assert first == other == later > 0


class Router(AgentMiddleware[Any, Any, Any]):
    """As LangChain's own, which needs a model that decides: a model for each call of the run."""

    def __init__(self, model: BaseChatModel) -> None:
        super().__init__()
        self._model = model

    def wrap_model_call(self, request: Any, handler: Any) -> Any:
        return handler(request.override(model=self._model))

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        return await handler(request.override(model=self._model))


@pytest.mark.parametrize("native", [True, False])
async def test_a_router_middleware_chooses_among_chains(emulator: Emulator, make: Make, native: bool) -> None:
    """The strategy of the answer is that of the chain which was chosen."""
    models = [CLAUDE, GPT] if native else [CLAUDE, "amazon/nova-pro-v1"]
    llm = make(models=[LLAMA])
    await llm.client.catalog.refresh()
    emulator.fault("temporarily_unavailable", model=CLAUDE)
    agent = agent_of(llm, [look_up], middleware=[Router(llm.with_routing(models=models))], response_format=Found)
    result = await agent.ainvoke(asked("The number is 7"))
    assert result["structured_response"] == Found(number=7)
    assert {request.model for request in emulator.log} == set(models)
    assert ("response_format" in emulator.log[-1].body) is native


@pytest.mark.skipif(not hasattr(middleware_module, "ModelRouterMiddleware"), reason="langchain has it from 1.5 on")
@pytest.mark.filterwarnings("ignore")  # it is in beta
def test_langchains_router_middleware(emulator: Emulator, make: Make) -> None:
    router: Any = middleware_module
    choices = {
        "fast": router.ModelChoice(model=make(models=[LLAMA, GPT]), criteria="simple tasks"),
        "strong": router.ModelChoice(model=make(models=[CLAUDE]), criteria="others"),
    }
    emulator.fault("temporarily_unavailable", model=LLAMA)
    decides = RunnableLambda(
        lambda _: SimpleNamespace(choices={"model_route": SimpleNamespace(choice="fast", type="choice")})
    )
    middleware = router.ModelRouterMiddleware(choices=choices, instructions="Choose.", classifier=decides)
    messages = agent_of(make(models=[CLAUDE]), [look_up], middleware=[middleware]).invoke(asked())["messages"]
    assert [message.type for message in messages] == ["human", "ai", "tool", "ai"]
    assert (emulator.count(CLAUDE), emulator.count(GPT)) == (0, 2)


@pytest.mark.skipif(not hasattr(middleware_module, "ModelRefusalMiddleware"), reason="langchain has it from 1.5 on")
@pytest.mark.filterwarnings("ignore")  # it is in beta
@pytest.mark.parametrize("streamed", [False, True])
def test_langchains_refusal_middleware_sees_a_refusal(emulator: Emulator, make: Make, streamed: bool) -> None:
    """Behind a fallback middleware the next chain answers; alone it raises LangChain's error."""
    emulator.reply(refusal="I would rather not.", model=GPT)
    refuses: Any = getattr(middleware_module, "ModelRefusalMiddleware")()  # noqa: B009
    first, second = make(models=[GPT], streaming=streamed), make(models=[CLAUDE])
    with pytest.raises(getattr(lc_exceptions, "ModelRefusalError")):  # noqa: B009
        agent_of(first, [look_up], middleware=[refuses]).invoke(asked("hello"))
    before = emulator.count(GPT)
    agent = agent_of(first, [look_up], middleware=[ModelFallbackMiddleware(second), refuses])
    answer = agent.invoke(asked("hello"))["messages"][-1]
    assert answer.response_metadata["model_name"] == CLAUDE
    assert (emulator.count(GPT) - before, emulator.count(CLAUDE)) == (1, 1)


@pytest.mark.parametrize("known", [True, False], ids=["known", "refused"])
async def test_a_context_that_only_one_model_holds_is_routed(emulator: Emulator, make: Make, known: bool) -> None:
    """Turn by turn an agent outgrows the small model; nothing is raised, and no middleware has to shorten anything."""
    llm = make(models=[LLAMA, GPT])
    if known:
        await llm.client.catalog.refresh()

    @tool
    def read(query: str) -> str:
        """Read something long."""
        return f"{query}: " + "whales sing " * 12_000

    agent = agent_of(llm, [read])
    state: Any = {"messages": []}
    for number in range(5):
        if number == 3 and not known:
            emulator.fault("context_length_exceeded", model=LLAMA)
        state["messages"].append(HumanMessage(f"Please read 'book {number}'"))
        state = await agent.ainvoke(state)
    assert [message.type for message in state["messages"]] == ["human", "ai", "tool", "ai"] * 5
    writers = [message.response_metadata["model_name"] for message in state["messages"] if message.type == "ai"]
    assert (writers[:6], writers[-1]) == ([LLAMA] * 6, GPT)


@pytest.mark.skipif(
    not hasattr(SummarizationMiddleware, "_overflow_retry_prompt"), reason="langchain does so from 1.4.4 on"
)
def test_an_overflow_in_the_summary_is_summarized_shorter(emulator: Emulator, make: Make) -> None:
    llm = make(profile={"max_input_tokens": 100_000})
    emulator.fault("context_length_exceeded", requests=2)  # both models, once
    middleware = SummarizationMiddleware(llm, trigger=("messages", 3), keep=("messages", 1))
    agent = agent_of(llm, [look_up], middleware=[middleware])
    history = [HumanMessage("long " * 200), AIMessage("very long " * 200), HumanMessage("hello")]
    messages = agent.invoke({"messages": history})["messages"]
    assert "summary" in messages[0].text.lower()
    sizes = [len(str(request.body["messages"])) for request in emulator.log]
    assert sizes[2] < sizes[0] == sizes[1]


def test_an_overflow_is_langchains_own(emulator: Emulator, make: Make) -> None:
    emulator.fault("context_length_exceeded")
    with pytest.raises(ContextLengthError):
        agent_of(make(), [look_up]).invoke(asked())


def test_fractions_of_the_context_are_known(make: Make) -> None:
    SummarizationMiddleware(make(), trigger=("fraction", 0.8), keep=("fraction", 0.3))


@pytest.mark.parametrize("mode", ["messages", "updates", "values", "custom"])
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_streaming_modes_do_not_double_tokens(
    emulator: Emulator, make: Make, mode: Any, asynchronous: bool
) -> None:
    emulator.pace(token_interval=0.005)
    emulator.fault("cut", model=GPT, after_tokens=5)
    agent = agent_of(make(), [look_up])
    modes: Any = [mode, "values"]
    if asynchronous:
        parts = [part async for part in agent.astream(asked(), stream_mode=modes)]
    else:
        parts = list(agent.stream(asked(), stream_mode=modes))
    final = parts[-1][1]["messages"]
    assert [message.type for message in final] == ["human", "ai", "tool", "ai"]
    if mode == "messages":
        chunks = [data[0] for kind, data in parts if kind == mode and isinstance(data[0], AIMessageChunk)]
        by_id: dict[str | None, list[AIMessageChunk]] = {}
        for chunk in chunks:
            by_id.setdefault(chunk.id, []).append(chunk)
        answers = [message for message in final if message.type == "ai"]
        assert [reduce(add, some).text for some in by_id.values()] == [answer.text for answer in answers]
        assert [reduce(add, some).tool_calls for some in by_id.values()] == [answer.tool_calls for answer in answers]
    elif mode == "updates":
        texts = [m.text for kind, data in parts if kind == mode for node in data.values() for m in node["messages"]]
        assert texts == [message.text for message in final[1:]]


async def test_a_model_in_a_tool_keeps_the_routing(emulator: Emulator, make: Make) -> None:
    llm = make(config={"default_chain": [GPT], "task_chains": {"coding": [CLAUDE]}})

    @tool
    async def ponder(query: str) -> str:
        """Ponder something."""
        return (await llm.ainvoke(query)).text

    agent = agent_of(llm, [ponder])
    with routing(task="coding"):
        await agent.ainvoke(asked("Please ponder 'whales'"))
    assert {request.model for request in emulator.log} == {CLAUDE}
    assert emulator.count() == 3


def test_the_agent_sees_a_chat_model(llm: ChatOpenRouterFallback) -> None:
    assert isinstance(llm.bind(task="coding"), BaseChatModel)
    assert isinstance(llm.with_routing(task="coding"), BaseChatModel)
