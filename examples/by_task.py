"""By task: a chain for each kind of work. An unknown task uses the default chain, and says so once in the log."""

from openrouter_fallback import FallbackClient, FallbackConfig, routing

CONFIG = FallbackConfig(
    default_chain=["anthropic/claude-sonnet-4.5", "openai/gpt-5.1"],
    task_chains={
        "coding": ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "deepseek/deepseek-chat"],
        "creative": ["openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"],
        "fast": ["anthropic/claude-haiku-4.5", "openai/gpt-5-mini", "mistralai/mistral-small"],
    },
)


def main() -> None:
    client = FallbackClient(config=CONFIG)
    for task in ("coding", "creative", "translation"):
        answer = client.chat("Say hello.", task=task)
        print(f"{task}: {' > '.join(attempt.model for attempt in answer.attempts)} answered: {answer.text}")
    with routing(task="fast"):  # for every call in this context
        print(f"fast: {client.chat('Say hello.').model} answered")


if __name__ == "__main__":
    main()
