"""LlamaIndex: an agent with tools. A model may fail in a tool call or in mid-answer: the tool still runs once."""

import asyncio
from typing import Any

from llama_index.core.agent.workflow import AgentStream, FunctionAgent, ToolCallResult

from llamaindex_openrouter_fallback import OpenRouterFallback
from openrouter_fallback import FallbackError

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def check_stock(item: str) -> str:
    """Say how many of an item there are."""
    return f"There are 12 {item}."


def place_order(item: str, number: int) -> str:
    """Order some of an item."""
    return f"Ordered {number} {item}."


async def main() -> None:
    agent: Any = FunctionAgent(tools=[check_stock, place_order], llm=OpenRouterFallback(CHAIN))
    handler = agent.run("How many 'bolts' are in stock?")
    try:
        async for event in handler.stream_events():
            if isinstance(event, ToolCallResult):
                print(f"{event.tool_name}{event.tool_kwargs}: {event.tool_output.content}")
            elif isinstance(event, AgentStream):
                print(event.delta, end="", flush=True)
        answer = await handler
        print(f"\n{answer.raw['model']} had the last word")
    except FallbackError as error:
        print(f"no model answered: {error}")


if __name__ == "__main__":
    asyncio.run(main())
