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

CLAUDE, GPT, GEMINI = "anthropic/20", "openai/20", "google/20"
"""A model of each family, which the server answers with 20 tokens."""
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


def encrypted(count: int, form: str, id: str) -> list[dict[str, Any]]:
    """A tool loop with encrypted reasoning before each call; `id` is the entry's, `{}` the call's."""
    messages = loop(count)
    for message in messages:
        for call in message.get("tool_calls", ()):
            entry = {"type": "reasoning.encrypted", "data": SIGNATURE, "format": form, "index": 0}
            message["reasoning_details"] = [{**entry, "id": id.format(call["id"])}]
    return messages


def named(count: int) -> list[dict[str, Any]]:
    """A tool loop whose messages name their model, as those of LangChain's adapter do."""
    return [{**message, "model": CLAUDE} if message["role"] == "assistant" else message for message in loop(count)]


def histories(count: int) -> list[tuple[str, str, list[dict[str, Any]], bool]]:
    """Each history: its name, its model, its messages, and whether they are sent as they are."""
    return [
        ("plain text", CLAUDE, chat(count), True),
        ("a tool loop", CLAUDE, loop(count), True),
        ("a loop with signed reasoning", CLAUDE, thoughts(count), True),
        ("a loop of Gemini's", GEMINI, encrypted(count, "google-gemini-v1", "{}"), True),
        ("a loop of GPT's, with response ids", GPT, encrypted(count, "openai-responses-v1", "rs_{}"), False),
        ("a loop that names its model", CLAUDE, named(count), False),
    ]


def handed(messages: list[dict[str, Any]], roles: list[str], target: Target) -> Handover:
    """What a call does with its history: read it, find the model of its tool loop, translate it.

    `roles` come from the check of the messages, which each request makes.
    """
    history = History(messages, roles)
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
    print(f"{options.messages} messages within one family      translation        call    share")
    with runner.served("fixed") as url, asyncio.Runner() as loop_runner:
        runner.pin(0)
        for name, model, messages, untouched in histories(options.messages):
            client = FallbackClient([model], base_url=url, api_key=runner.KEY)
            target, roles = Target(rule_for(model), model), [message["role"] for message in messages]
            same = handed(messages, roles, target).messages is messages
            assert same is untouched, "nothing is copied that needs no change"
            shares, costs, calls = [], [], []
            for _ in range(options.blocks):
                cost = microseconds(lambda: handed(messages, roles, target), options.calls * 5)  # noqa: B023
                call = loop_runner.run(call_microseconds(client, messages, options.calls))
                costs.append(cost)
                calls.append(call)
                shares.append(cost / call)
            share = statistics.median(shares)
            print(f"{name:34} {statistics.median(costs):8,.1f} µs {statistics.median(calls):8,.1f} µs {share:8.2%}")


if __name__ == "__main__":
    main()
