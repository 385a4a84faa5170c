"""An agent with a tool, on a chain: if a model fails in mid-answer, the next one continues, and the tool runs once.

Needs the extra `langchain`, and langchain itself for its agents.
"""

from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessageChunk

from langchain_openrouter_fallback import ChatOpenRouterFallback

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def get_weather(city: str) -> str:
    """The weather in a city."""
    print(f"[the tool runs: {city}]")
    return f"It is sunny in {city}."


llm = ChatOpenRouterFallback(models=CHAIN, app_title="langchain_agent.py")
agent: Any = create_agent(llm, tools=[get_weather])
question = {"messages": [("user", "Please get_weather for 'Paris', and tell me what to wear.")]}

messages: list[Any] = []
for mode, part in agent.stream(question, stream_mode=["messages", "values"]):
    if mode == "values":
        messages = part["messages"]
    elif isinstance(part[0], AIMessageChunk):
        print(part[0].text, end="", flush=True)

print()
for message in messages:
    for attempt in message.response_metadata.get("attempts", []):
        print(f"{attempt['model']}: {attempt.get('kind', 'answered')}")
