"""Agents over three turns in which a model dies at each point; the emulator checks each history as its servers do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.workflow import Context, JsonSerializer

from openrouter_fallback.emulator import Emulator

from .conftest import Make

KIMI, CLAUDE, MISTRAL = "moonshotai/kimi-k2-thinking", "anthropic/claude-sonnet-4.5", "mistralai/mistral-large-2512"
GEMINI, NEW_CLAUDE, GPT = "google/gemini-3-pro-preview", "anthropic/claude-sonnet-4.6", "openai/gpt-5.1"
CHAINS = [(KIMI, CLAUDE), (NEW_CLAUDE, MISTRAL), (GEMINI, GPT)]
TURNS = ("Rome", "Oslo", "Lima")
SETTINGS = {"retry_budget": None, "min_samples": 1000, "catalog": "never"}


class Tools:
    """A tool that notes for which cities it ran."""

    def __init__(self) -> None:
        self.ran: Counter[str] = Counter()

    def get_weather(self, city: str) -> str:
        """The weather of a city."""
        self.ran[city] += 1
        return "sunny"


def function_agent(llm: Any, tools: Tools) -> Any:
    return FunctionAgent(tools=[tools.get_weather], llm=llm)


def workflow(llm: Any, tools: Tools) -> Any:
    agent = FunctionAgent(name="weather", description="Knows it.", tools=[tools.get_weather], llm=llm)
    return AgentWorkflow(agents=[agent], root_agent="weather")


@pytest.mark.parametrize("fault", ["provider_overloaded", "cut"], ids=["before", "in its answer"])
@pytest.mark.parametrize("death", range(1, 7))
@pytest.mark.parametrize("made", [function_agent, workflow])
@pytest.mark.parametrize("chain", CHAINS, ids=" then ".join)
async def test_three_turns_with_a_death_at_each_point(
    make: Make, emulator: Emulator, chain: tuple[str, str], made: Any, death: int, fault: str
) -> None:
    """Each turn is of a new agent that knows nothing but the saved context."""
    tools = Tools()
    more: dict[str, Any] = {"after_tokens": 3} if fault == "cut" else {}
    emulator.fault(fault, model=chain[0], requests=(death, death), **more)
    saved: Any = None
    for city in TURNS:
        llm = make(chain, settings=SETTINGS, additional_kwargs={"reasoning": {"effort": "low"}})
        agent = made(llm, tools)
        context = Context(agent) if saved is None else Context.from_dict(agent, saved, serializer=JsonSerializer())
        output = await agent.run(f'Please call get_weather for "{city}"', ctx=context)
        assert str(output)
        assert [one for one in llm.client.route().learnt if one.value != "prefill"] == []
        saved = context.to_dict(serializer=JsonSerializer())
    assert tools.ran == dict.fromkeys(TURNS, 1)
    assert [one.model for one in emulator.log if one.status in (400, 404, 422)] == []
    last = emulator.log[-1].body["messages"]
    called = [call["id"] for message in last for call in message.get("tool_calls") or ()]
    assert len(set(called)) == 3
    assert [message["tool_call_id"] for message in last if message["role"] == "tool"] == called
