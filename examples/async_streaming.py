"""Async: three streamed answers at a time, each with a failover of its own."""

import asyncio

from openrouter_fallback import FallbackClient

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]
QUESTIONS = ["What is a hedge?", "What is a breaker?", "What is a budget?"]


async def ask(client: FallbackClient, question: str) -> str:
    text = ""
    async with client.astream(f"In one sentence: {question}") as stream:
        async for piece in stream:
            text += piece.text
    return f"{question} {stream.completion.model}, attempts: {len(stream.completion.attempts)}: {text}"


async def main() -> None:
    async with FallbackClient(CHAIN) as client:
        for line in await asyncio.gather(*(ask(client, question) for question in QUESTIONS)):
            print(line)
        answer = await client.achat("Say hello.")  # not streamed
        print(f"{answer.model} answered: {answer.text}")


if __name__ == "__main__":
    asyncio.run(main())
