"""Across providers: the models of one provider first, then those of all others."""

from openrouter_fallback import FallbackClient, FallbackConfig

CONFIG = FallbackConfig(
    default_chain=["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"],
    providers={
        "anthropic": ["anthropic/claude-sonnet-4.5", "anthropic/claude-haiku-4.5"],
        "openai": ["openai/gpt-5.1", "openai/gpt-5-mini"],
        "meta": ["meta-llama/llama-3.3-70b-instruct"],
    },
)


def main() -> None:
    client = FallbackClient(config=CONFIG)
    for provider in ("anthropic", "openai", "meta"):
        print(f"{provider} first: {', '.join(client.available(primary_provider=provider))}")
    answer = client.chat("Say hello.", primary_provider="anthropic")
    for attempt in answer.attempts:
        print(f"{attempt.model}: {attempt.kind or 'answered'}")


if __name__ == "__main__":
    main()
