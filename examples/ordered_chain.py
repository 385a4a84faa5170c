"""An ordered chain: the models are called one after the other until one answers."""

from openrouter_fallback import FallbackClient

CHAIN = ["anthropic/claude-sonnet-4.5", "openai/gpt-5.1", "meta-llama/llama-3.3-70b-instruct"]


def main() -> None:
    client = FallbackClient(CHAIN)  # the key comes from OPENROUTER_API_KEY
    answer = client.chat("In one sentence: why do fallbacks need a budget?", temperature=0.2)
    for attempt in answer.attempts:
        print(f"{attempt.model}: {attempt.kind or 'answered'} after {attempt.seconds:.2f} s")
    print(f"{answer.model} says: {answer.text}")


if __name__ == "__main__":
    main()
