"""The cost of a history that needs no translation, compared with the whole call. See README.md.

python benchmarks/handover.py [--messages 200] [--blocks 9] [--calls 40]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from typing import Any

import orjson
import runner

from openrouter_fallback import FallbackClient
from openrouter_fallback.request.handover import (
    Delivered,
    Handover,
    Histories,
    Target,
    loop_models,
    rule_for,
    translate,
)

CLAUDE, GPT, GEMINI = "anthropic/20", "openai/20", "google/20"
"""A model of each family, which the server answers with 20 tokens."""
SIGNATURE = "Et0BCkgIChACGAIqQA2s7h7tA7IG35fbwVkou9PM" * 20
DELIVERED, NAMES = Delivered(), frozenset({"get_weather"})
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}]


def chat(count: int) -> list[dict[str, Any]]:
    """Turns of plain text."""
    roles = ("user", "assistant")
    return [{"role": roles[n % 2], "content": f"Message {n}: " + "some words " * 30} for n in range(count - 1)]


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


def ways(messages: list[dict[str, Any]], count: int, calls: int) -> list[tuple[str, list[list[dict[str, Any]]]]]:
    """The histories of each call: the same one, one that grows, and one that is not known from its first message on."""
    first, *rest = messages[: count - 1]
    return [
        ("repeated", [messages[: count - 1]] * calls),
        ("two messages more in each call", [messages[: len(messages) - 2 * n] for n in reversed(range(calls))]),
        ("read for the first time", [[{**first, "content": f"{n}: {first['content']}"}, *rest] for n in range(calls)]),
    ]


def handed(messages: list[dict[str, Any]], roles: list[str], target: Target, histories: Histories) -> Handover:
    """What a call does with its history: write and read it, find the model of its tool loop, translate it.

    `roles` come from the check of the messages, which each request makes.
    """
    history, _ = histories.read(messages, roles)
    loop_models(history, DELIVERED)
    return translate(history, target, NAMES)


class Talk:
    """The states of one conversation: what each call sends, and a call's share for its history."""

    def __init__(self, model: str, states: list[list[dict[str, Any]]], url: str) -> None:
        self.states, self.roles = states, [[message["role"] for message in state] for state in states]
        self.target = Target(rule_for(model), model)
        self._url = url

    def microseconds(self) -> float:
        """The CPU time of reading and translating a state, without that of writing it as JSON."""
        histories = Histories()
        handed(self.states[0], self.roles[0], self.target, histories)
        begun = time.process_time()
        for state, roles in zip(self.states, self.roles, strict=True):
            handed(state, roles, self.target, histories)
        read = time.process_time()
        for state in self.states:
            orjson.dumps(state)
        return ((read - begun) - (time.process_time() - read)) / len(self.states) * 1e6

    async def call_microseconds(self) -> float:
        """The CPU time of one whole call."""
        async with FallbackClient([self.target.model], base_url=self._url, api_key=runner.KEY) as client:
            await client.achat(self.states[0], tools=TOOLS)
            begun = time.process_time()
            for state in self.states:
                await client.achat(state, tools=TOOLS)
            return (time.process_time() - begun) / len(self.states) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=200)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--calls", type=int, default=40)
    options = parser.parse_args()
    print(f"{options.messages} messages within one family                       history        call    share")
    with runner.served("fixed") as url, asyncio.Runner() as loop_runner:
        runner.pin(0)
        longest = options.messages + options.calls
        for name, model, messages, untouched in histories(longest):
            same = handed(messages, [one["role"] for one in messages], Target(rule_for(model), model), Histories())
            assert (same.messages is messages) is untouched, "nothing is copied that needs no change"
            for how, states in ways(messages, options.messages, options.calls):
                talk = Talk(model, states, url)
                costs, calls, shares = [], [], []
                for _ in range(options.blocks):
                    costs.append(statistics.median([talk.microseconds() for _ in range(5)]))
                    calls.append(loop_runner.run(talk.call_microseconds()))
                    shares.append(costs[-1] / calls[-1])
                median = statistics.median
                print(f"{name:34} {how:30} {median(costs):6,.1f} µs {median(calls):8,.1f} µs {median(shares):8.2%}")


if __name__ == "__main__":
    main()
