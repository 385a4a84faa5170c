"""The cost of translating a history that needs no translation, compared with the whole call. See README.md.

python benchmarks/handover.py [--messages 200] [--blocks 9] [--calls 40]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import runner

from openrouter_fallback import FallbackClient
from openrouter_fallback.request.handover import Delivered, Handover, History, Target, loop_models, rule_for, translate

CLAUDE = "anthropic/20"
"""A model of Anthropic's family, which the server answers with 20 tokens."""
SIGNATURE = "Et0BCkgIChACGAIqQA2s7h7tA7IG35fbwVkou9PM" * 20
DELIVERED, NAMES = Delivered(), frozenset({"get_weather"})
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


def chat(count: int) -> list[dict[str, Any]]:
    """Turns of plain text."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"Message {n}: " + "some words " * 30} for n in range(count - 1)] + [
        {"role": "user", "content": "And now?"}
    ]


def loop(count: int, **more: Any) -> list[dict[str, Any]]:
    """A tool loop with alternating calls and results."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": "What is the weather?"}]
    for number in range((count - 1) // 2):
        id = f"toolu_{number:022d}"
        function = {"name": "get_weather", "arguments": json.dumps({"city": f"City {number}"})}
        call = {"id": id, "type": "function", "function": function}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call], **more})
        messages.append({"role": "tool", "tool_call_id": id, "content": f"Sunny, {number} degrees, " * 10})
    return messages


def thoughts(count: int) -> list[dict[str, Any]]:
    """A tool loop with signed reasoning before each call."""
    text = "I should look up the weather. " * 5
    detail = {"type": "reasoning.text", "text": text, "signature": SIGNATURE, "index": 0}
    return loop(count, reasoning=text, reasoning_details=[{**detail, "format": "anthropic-claude-v1"}])


def handed(messages: list[dict[str, Any]], target: Target) -> Handover:
    """Everything that a call does with its history: read it, find the model of its tool loop, translate it."""
    history = History(messages)
    loop_models(history, DELIVERED)
    return translate(history, target, NAMES)


def microseconds(run: Any, times: int) -> float:
    """The CPU time of one run, in microseconds."""
    begun = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - begun) / times * 1e6


async def call_microseconds(client: FallbackClient, messages: list[dict[str, Any]], times: int) -> float:
    """The CPU time of one whole call, in microseconds."""
    begun = time.process_time()
    for _ in range(times):
        await client.achat(messages, tools=TOOLS)
    return (time.process_time() - begun) / times * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--calls", type=int, default=40)
    options = parser.parse_args()
    target = Target(rule_for(CLAUDE), CLAUDE)
    print(f"{options.messages} messages within one family      translation        call    share")
    with runner.served("fixed") as url, asyncio.Runner() as loop_runner:
        runner.pin(0)
        client = FallbackClient([CLAUDE], base_url=url, api_key=runner.KEY)
        for name, make in (("plain text", chat), ("a tool loop", loop), ("a loop with signed reasoning", thoughts)):
            messages = make(options.messages)
            assert handed(messages, target).messages is messages, "nothing is copied"
            shares, costs, calls = [], [], []
            for _ in range(options.blocks):
                cost = microseconds(lambda: handed(messages, target), options.calls * 5)  # noqa: B023
                call = loop_runner.run(call_microseconds(client, messages, options.calls))
                costs.append(cost)
                calls.append(call)
                shares.append(cost / call)
            share = statistics.median(shares)
            print(f"{name:34} {statistics.median(costs):8,.1f} µs {statistics.median(calls):8,.1f} µs {share:8.2%}")


if __name__ == "__main__":
    main()
