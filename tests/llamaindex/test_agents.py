"""Agents over the LLM: they run to the end while models fail, and pass on what cannot be mended."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
    ToolCallResult,
)
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.memory import BaseMemory, ChatMemoryBuffer, Memory
from llama_index.core.tools import FunctionTool
from llama_index.core.workflow import Context, JsonSerializer
from pydantic import BaseModel

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import AllModelsFailedError, AuthenticationError, ContentPolicyError
from openrouter_fallback.emulator import Emulator
from openrouter_fallback.emulator.http.log import Request

from ..cases.matrix import FIRST, SECOND
from .conftest import Make


class Tools:
    """Tools that note how often they ran."""

    def __init__(self) -> None:
        self.ran: list[str] = []

    def look_up(self, query: str) -> str:
        """Look something up."""
        self.ran.append(f"look_up {query}")
        return f"found {query}"

    async def add(self, number: int) -> str:
        """Add to the count."""
        self.ran.append(f"add {number}")
        return "added"


@pytest.fixture
def tools() -> Tools:
    return Tools()


@pytest.mark.parametrize("down", [False, True], ids=["healthy", "first down"])
@pytest.mark.parametrize("streaming", [True, False])
async def test_a_function_agent(
    llm: OpenRouterFallback, emulator: Emulator, tools: Tools, streaming: bool, down: bool
) -> None:
    agent: Any = FunctionAgent(tools=[tools.look_up, tools.add], llm=llm, streaming=streaming)
    if down:
        emulator.fault("overloaded", model=FIRST)

    handler = agent.run("look_up 'the seam' and add 3")
    events = [event async for event in handler.stream_events()]
    output = await handler

    served = SECOND if down else FIRST
    assert sorted(tools.ran) == ["add 3", "look_up the seam"]
    assert str(output).startswith(f"{served} answers:")
    assert output.raw["model"] == served
    assert sorted(event.tool_name for event in events if isinstance(event, ToolCallResult)) == ["add", "look_up"]
    if streaming:
        # One answer in words: its deltas make the whole.
        last_step = [event for event in events if isinstance(event, AgentStream) and event.response]
        assert "".join(event.delta for event in last_step) == str(output)


async def test_thinking_reaches_the_stream_of_an_agent(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(text="Yes", reasoning="Let me think")

    agent: Any = FunctionAgent(llm=llm)
    handler = agent.run("Say something")
    thought = [event.thinking_delta async for event in handler.stream_events() if isinstance(event, AgentStream)]
    await handler

    assert "".join(delta or "" for delta in thought) == "Let me think"


async def test_the_primary_dies_in_mid_answer(llm: OpenRouterFallback, emulator: Emulator, tools: Tools) -> None:
    agent: Any = FunctionAgent(tools=[tools.look_up], llm=llm)
    emulator.pace(token_interval=0.01)
    emulator.fault("cut", model=FIRST, requests=(2, None), after_tokens=6)

    output = await agent.run("look_up 'the seam'")

    assert tools.ran == ["look_up the seam"]
    assert str(output).startswith(f"{FIRST} answers:")
    assert output.raw["model"] == SECOND
    assert emulator.count(FIRST) == 2


class Answer(BaseModel):
    """The answer."""

    text: str
    number: int


@pytest.mark.parametrize("streaming", [True, False])
async def test_an_output_class(llm: OpenRouterFallback, emulator: Emulator, streaming: bool) -> None:
    agent: Any = FunctionAgent(llm=llm, output_cls=Answer, streaming=streaming)
    emulator.fault("overloaded", model=FIRST)

    output = await agent.run("Say 'something' of 7")

    assert output.get_pydantic_model(Answer) == Answer(text="something", number=7)


async def test_a_context_goes_into_a_file_and_back(make: Make, emulator: Emulator, tools: Tools) -> None:
    llm = make([SECOND, FIRST])
    agent: Any = FunctionAgent(tools=[tools.look_up], llm=llm)
    context = Context(agent)
    emulator.reply(reasoning=True)
    await agent.run("look_up 'the seam'", ctx=context)

    saved = context.to_dict(serializer=JsonSerializer())
    restored = Context.from_dict(FunctionAgent(tools=[tools.look_up], llm=llm), saved, serializer=JsonSerializer())
    await agent.run("And now?", ctx=restored)

    asked = emulator.log[-1].body["messages"]
    assert [message["role"] for message in asked] == ["user", "assistant", "tool", "assistant", "user"]
    assert asked[1]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": '{"query": "the seam"}'}
    assert asked[2]["tool_call_id"] == asked[1]["tool_calls"][0]["id"]
    assert asked[1]["reasoning_details"][0]["signature"]
    assert emulator.api_key not in str(saved)


@pytest.mark.parametrize("streaming", [True, False])
async def test_a_react_agent(llm: OpenRouterFallback, emulator: Emulator, tools: Tools, streaming: bool) -> None:
    agent: Any = ReActAgent(tools=[tools.look_up], llm=llm, streaming=streaming)
    emulator.fault("overloaded", model=FIRST)
    emulator.reply(text="Thought: I can answer without using any more tools.\nAnswer: It is the seam.")

    output = await agent.run("What is it?")

    assert str(output) == "It is the seam."
    assert output.raw["model"] == SECOND


async def test_a_react_agent_s_tool(llm: OpenRouterFallback, emulator: Emulator, tools: Tools) -> None:
    emulator.reply(
        text='Thought: I need a tool.\nAction: look_up\nAction Input: {"query": "the seam"}',
    )
    agent: Any = ReActAgent(tools=[FunctionTool.from_defaults(tools.look_up, return_direct=True)], llm=llm)

    output = await agent.run("What is it?")

    assert tools.ran == ["look_up the seam"]
    assert str(output) == "found the seam"


@pytest.mark.parametrize("down", [False, True], ids=["healthy", "first down"])
async def test_agents_hand_off(llm: OpenRouterFallback, emulator: Emulator, down: bool) -> None:
    reader = FunctionAgent(name="reader", description="Reads.", llm=llm, can_handoff_to=["writer"])
    writer = FunctionAgent(name="writer", description="Writes.", llm=llm.with_options())
    workflow: Any = AgentWorkflow(agents=[reader, writer], root_agent="reader")
    if down:
        emulator.fault("overloaded", model=FIRST)

    handler = workflow.run("handoff to the 'writer'")
    outputs = [event async for event in handler.stream_events() if isinstance(event, AgentOutput)]
    output = await handler

    assert [event.current_agent_name for event in outputs] == ["reader", "writer"]
    assert output.raw["model"] == (SECOND if down else FIRST)


async def test_a_memory_buffer(llm: OpenRouterFallback, emulator: Emulator) -> None:
    await _remembers(llm, emulator, ChatMemoryBuffer.from_defaults(llm=llm))


async def test_memory(llm: OpenRouterFallback, emulator: Emulator) -> None:
    memory: Any = Memory.from_defaults()
    await _remembers(llm, emulator, memory)
    await memory.sql_store._async_engine.dispose()


async def _remembers(llm: OpenRouterFallback, emulator: Emulator, memory: BaseMemory) -> None:
    agent: Any = FunctionAgent(llm=llm)
    await agent.run("One", memory=memory)
    await agent.run("Two", memory=memory)
    assert [message["role"] for message in emulator.log[-1].body["messages"]] == ["user", "assistant", "user"]


ERRORS = [
    ("authentication", AuthenticationError),
    ("content_policy_violation", ContentPolicyError),
    ("not_found", AllModelsFailedError),
]


@pytest.mark.parametrize(("fault", "error"), ERRORS)
@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("kind", [FunctionAgent, ReActAgent])
async def test_errors_come_up_unchanged(
    llm: OpenRouterFallback, emulator: Emulator, kind: Any, streaming: bool, fault: str, error: type[Exception]
) -> None:
    emulator.fault(fault)
    with pytest.raises(error) as raised:
        await kind(llm=llm, streaming=streaming).run("Say something")
    assert type(raised.value) is error
    assert raised.value.attempts  # type: ignore[attr-defined]


async def test_errors_come_up_through_a_workflow(llm: OpenRouterFallback, emulator: Emulator, tools: Tools) -> None:
    emulator.fault("not_found", requests=(2, None))
    agent: Any = FunctionAgent(name="reader", description="Reads.", tools=[tools.look_up], llm=llm)

    with pytest.raises(AllModelsFailedError):
        await AgentWorkflow(agents=[agent]).run("look_up 'the seam'")
    assert tools.ran == ["look_up the seam"]


def gone(log: list[Request]) -> bool:
    return [request.ended for request in log] == ["gone"]


async def test_cancelling_a_run_closes_the_connection(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.reply(tokens=400)
    emulator.pace(token_interval=0.05)
    handler = FunctionAgent(llm=llm).run("Say something")
    async for event in handler.stream_events():
        if isinstance(event, AgentStream):
            break

    await handler.cancel_run()

    (request,) = await emulator.await_for(gone)
    assert request.tokens_sent < 400
    with pytest.raises(Exception):  # noqa: B017 - which one, is the workflow's affair
        await handler


async def test_many_agents_at_a_time(llm: OpenRouterFallback, emulator: Emulator) -> None:
    emulator.fault("overloaded", model=FIRST, probability=0.5)

    async def run(number: int) -> list[str]:
        tools = Tools()
        await FunctionAgent(tools=[tools.look_up], llm=llm).run(f"look_up '{number}'")
        return tools.ran

    ran = await asyncio.gather(*(run(number) for number in range(20)))

    assert ran == [[f"look_up {number}"] for number in range(20)]


def test_what_an_agent_says_before(llm: OpenRouterFallback, emulator: Emulator) -> None:
    """An assistant's last message is gone on from by the model itself, as everywhere on OpenRouter."""
    emulator.reply(text="One two three.")
    response = llm.chat([ChatMessage("Count"), ChatMessage("One two", role="assistant")])
    assert response.message.content == " three."
